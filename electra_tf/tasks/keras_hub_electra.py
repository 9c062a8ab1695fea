"""KerasHub's own ELECTRA and its tokenizer: what they share with ours, and what not.

It is another network: GELU is its tanh approximation, and a dense layer is on [CLS].

In:   an architecture, a vocabulary and its settings; or those of one of its presets.
Out:  KerasHub's objects; what is lost or changed on the way, a sentence each.
"""

from typing import Any

import keras
import keras_hub
import numpy as np
import numpy.typing as npt

from electra_tf import config, errors
from electra_tf.text import vocabularies
from electra_tf.weights import weight_map

# Their registered names. KerasHub was KerasNLP.
BACKBONES = ("keras_hub>ElectraBackbone", "keras_nlp>ElectraBackbone")
TOKENIZERS = ("keras_hub>ElectraTokenizer", "keras_nlp>ElectraTokenizer")

# KerasHub's ELECTRA is always so.
FIXED = {"activation": "gelu_approximate", "layer_norm_epsilon": 1e-12}

# How KerasHub's tokenizer must cut words for ours to do the same.
_WORDS = {"split": True, "suffix_indicator": "##", "oov_token": vocabularies.UNK}

APPROXIMATE = "GELU is its tanh approximation, as in KerasHub"
POOLER_LEFT_OUT = "pooled_dense is left out: ELECTRA has no pooler"
POOLER_MADE_UP = (
    "pooled_dense, which ELECTRA does not have, is the identity: pooled_output is the "
    "tanh of the state of [CLS]"
)
HEAD_LEFT_OUT = "the head is left out"
ACCENTS_KEPT = (
    "its tokenizer keeps accents; the released uncased models were trained without"
)
OTHER_TOKENIZER = (
    "KerasHub's tokenizer cuts some text otherwise: it folds case (sharp s becomes "
    "ss), splits words at control characters, knows no word of more than 100 bytes"
)
SPECIAL_TOKENS_CUT = (
    "its tokenizer finds [MASK], [SEP] and the like in a text; ours takes what users "
    "write for words, but for a model that fills in blanks"
)
CJK_FORGOTTEN = (
    "KerasHub forgets split_on_cjk=False when it loads a tokenizer: set it again"
)


def build_backbone(model: config.ModelConfig) -> keras.Model:
    """Builds its ELECTRA of an architecture, with weights as they are drawn."""
    return keras_hub.models.ElectraBackbone(
        vocab_size=model.vocab_size,
        num_layers=model.num_layers,
        num_heads=model.num_heads,
        hidden_dim=model.hidden_size,
        embedding_dim=model.embedding_size,
        intermediate_dim=model.intermediate_size,
        dropout=model.hidden_dropout_rate,
        max_sequence_length=model.max_positions,
        num_segments=model.num_segments,
    )


class Variables:
    """The weights of a Keras model, as `weight_map` reads arrays."""

    def __init__(self, model: keras.Model) -> None:
        self._variables = weight_map.variables(model)
        self.shapes = {path: tuple(v.shape) for path, v in self._variables.items()}

    def read(self, name: str) -> npt.NDArray[np.float32]:
        """Returns one array."""
        return np.asarray(self._variables[name], np.float32)


def refuse_unlike(model: config.ModelConfig, folder: str) -> None:
    """Refuses what it has no setting for.

    Raises:
        UserError: the network of `folder` has one.
    """
    for name, only in FIXED.items():
        value = getattr(model, name)
        if value not in (only, "gelu"):
            raise errors.UserError(
                f"{folder}: {name}={value}, which KerasHub's ELECTRA cannot have "
                f"({only}); save our own backbone instead"
            )


def difference(
    encoder: keras.Model, theirs: keras.Model, model: config.ModelConfig
) -> float:
    """Returns the largest difference of their hidden states, on random tokens."""
    length = min(128, model.max_positions)
    token_ids = np.random.default_rng(0).integers(0, model.vocab_size, [1, length])
    zeros, ones = np.zeros_like(token_ids), np.ones_like(token_ids)
    positions = np.arange(length)[None]
    shared = {"token_ids": token_ids, "segment_ids": zeros}
    a = encoder({**shared, "example_ids": ones, "position_ids": positions})
    b = theirs({**shared, "padding_mask": ones})["sequence_output"]
    return float(np.max(np.abs(np.asarray(a) - np.asarray(b))))


def build_tokenizer(vocab: list[str], settings: config.TokenizerConfig) -> Any:
    """Builds its tokenizer of a vocabulary.

    Raises:
        UserError: it cannot have such a vocabulary.
    """
    if settings.added_tokens:
        names = errors.listed(repr(t.content) for t in settings.added_tokens)
        raise errors.UserError(
            f"the tokenizer has added tokens ({names}), which KerasHub's own cannot "
            "find; save our own backbone instead (--format=keras_hub)"
        )
    if len({token.strip() for token in vocab}) < len(vocab):
        raise errors.UserError(
            "the vocabulary has lines that are alike, or several blank ones, which "
            "KerasHub's tokenizer cannot have; save our own backbone instead "
            "(--format=keras_hub)"
        )
    return keras_hub.tokenizers.ElectraTokenizer(
        vocabulary=vocab,
        lowercase=settings.lowercase,
        strip_accents=settings.strip_accents,
        split_on_cjk=settings.split_cjk,
    )


def tokenizer_settings(
    given: dict[str, Any], path: str
) -> tuple[dict[str, Any], list[str]]:
    """Returns what its tokenizer's settings are with us, and what differs then.

    Args:
        given: the arguments that Keras kept.
        path: of their file.

    Raises:
        UserError: it cuts words in a way that ours cannot.
    """
    settings = {
        "lowercase": given.get("lowercase", False),
        "strip_accents": given.get("strip_accents", False),
        "split_cjk": given.get("split_on_cjk", True),
        "added_tokens": _found_in_text(given, path),
    }
    found = [OTHER_TOKENIZER]
    if given.get("special_tokens_in_strings"):
        found.append(SPECIAL_TOKENS_CUT)
    if settings["lowercase"] and not settings["strip_accents"]:
        found.append(ACCENTS_KEPT)
    return settings, found


def _found_in_text(given: dict[str, Any], path: str) -> list[dict[str, Any]]:
    """Returns the special tokens that its tokenizer finds in a text."""
    for name, only in _WORDS.items():
        if given.get(name, only) != only:
            raise errors.UserError(
                f"{path}: {name}={given[name]!r:.40} is not supported; want {only!r}, "
                "or move the tokenizer's file away to have the weights alone"
            )
    if not given.get("special_tokens_in_strings"):
        return []
    stated = given.get("special_tokens") or []
    if not isinstance(stated, list):
        raise errors.UserError(f"{path}: special_tokens={stated!r:.40}: want a list")
    return [
        {"content": word, "normalized": False, "special": True, "is_word": True}
        for word in dict.fromkeys(stated)
        if word not in vocabularies.SPECIAL_TOKENS
    ]


def notes(
    model: config.ModelConfig, settings: config.TokenizerConfig, name: str
) -> list[str]:
    """Says what it does not take over of a network, but for GELU."""
    rates = model.hidden_dropout_rate, model.attention_dropout_rate
    found = [POOLER_MADE_UP, OTHER_TOKENIZER]
    if name != "encoder":
        found.append(HEAD_LEFT_OUT)
    if rates[0] != rates[1]:
        found.append(
            f"dropout is {rates[0]} everywhere; on attention it was {rates[1]}"
        )
    if not settings.split_cjk:
        found.append(CJK_FORGOTTEN)
    return found
