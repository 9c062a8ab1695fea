"""A config.json of transformers becomes an architecture of ours.

In:   its values, of an ELECTRA or of a BERT.
Out:  what we act on of them; a `config.ModelConfig`.
"""

from typing import Any

import pydantic
from pydantic import NonNegativeInt, PositiveFloat, PositiveInt

from electra_tf import config, errors
from electra_tf.weights import hugging_face


class Stated(config.Settings):
    """What we act on of an ELECTRA's config.json, with transformers' defaults."""

    model_config = pydantic.ConfigDict(extra="ignore")

    model_type: str
    vocab_size: PositiveInt = 30522
    embedding_size: PositiveInt = 128
    hidden_size: PositiveInt = 256
    num_hidden_layers: PositiveInt = 12
    num_attention_heads: PositiveInt = 4
    intermediate_size: PositiveInt = 1024
    hidden_act: str = "gelu"
    hidden_dropout_prob: config.Rate = 0.1
    attention_probs_dropout_prob: config.Rate = 0.1
    max_position_embeddings: PositiveInt = 512
    type_vocab_size: PositiveInt = 2
    initializer_range: PositiveFloat = 0.02
    layer_norm_eps: PositiveFloat = 1e-12
    position_embedding_type: str | None = "absolute"
    is_decoder: bool = False
    add_cross_attention: bool = False
    classifier_dropout: config.Rate | None = None
    problem_type: hugging_face.ProblemType | None = None
    summary_last_dropout: config.Rate = 0.1
    summary_type: str = "first"
    summary_use_proj: bool = True
    summary_activation: str | None = "gelu"
    architectures: list[str] | None = None
    id2label: dict[NonNegativeInt, str] | None = None


class StatedBert(Stated):
    """The same of a BERT's, whose embeddings are as wide as its hidden layers."""

    hidden_size: PositiveInt = 768
    num_attention_heads: PositiveInt = 12
    intermediate_size: PositiveInt = 3072

    @pydantic.model_validator(mode="before")
    @classmethod
    def _has_one_width(cls, values: dict[str, Any]) -> dict[str, Any]:
        width = values.get("hidden_size", cls.model_fields["hidden_size"].default)
        return {**values, "embedding_size": width}


# By model_type.
FAMILIES: dict[str, type[Stated]] = {"electra": Stated, "bert": StatedBert}

# Why those that look like BERT are not read, where that can be said in a few words.
_LATE_POSITIONS = "which counts positions from behind its padding token"
_OTHERS = {
    **dict.fromkeys(
        ("roberta", "xlm-roberta", "camembert", "mpnet", "longformer", "esm"),
        _LATE_POSITIONS,
    ),
    "distilbert": "which has no segments",
    "albert": "whose blocks share their weights",
    "modernbert": "which has rotary positions",
    "nomic_bert": "which has rotary positions",
    "deberta": "which has relative positions",
    "deberta-v2": "which has relative positions",
}


def read(values: dict[str, Any], path: str) -> Stated:
    """Returns what we act on of a config.json.

    Args:
        values: what the file holds.
        path: of the file, for messages.

    Raises:
        UserError: it is of another model, or damaged.
    """
    family = values.get("model_type")
    if not isinstance(family, str) or family not in FAMILIES:
        reason = _OTHERS.get(str(family), "and the weights of other models do not fit")
        raise errors.UserError(
            f"{path}: model_type is {family!r:.60}, {reason}; want 'electra' or 'bert'"
        )
    return config.check(FAMILIES[family], values, path)


def architecture(stated: Stated, path: str) -> config.ModelConfig:
    """Returns the architecture that a config.json states."""
    values = {
        "vocab_size": stated.vocab_size,
        "embedding_size": stated.embedding_size,
        "hidden_size": stated.hidden_size,
        "num_layers": stated.num_hidden_layers,
        "num_heads": stated.num_attention_heads,
        "intermediate_size": stated.intermediate_size,
        "max_positions": stated.max_position_embeddings,
        "num_segments": stated.type_vocab_size,
        "activation": hugging_face.ACTIVATIONS[stated.hidden_act],
        "hidden_dropout_rate": stated.hidden_dropout_prob,
        "attention_dropout_rate": stated.attention_probs_dropout_prob,
        "layer_norm_epsilon": stated.layer_norm_eps,
        "initializer_range": stated.initializer_range,
    }
    return config.check(config.ModelConfig, values, path)


def refuse_unsupported(stated: Stated, network: str, path: str) -> None:
    """Refuses what our networks have not.

    Raises:
        UserError: it states such a thing.
    """
    wanted: dict[str, tuple[Any, ...]] = {
        "hidden_act": tuple(hugging_face.ACTIVATIONS),
        "position_embedding_type": ("absolute", None),
        "is_decoder": (False,),
        "add_cross_attention": (False,),
    }
    if network == "generator" and stated.model_type == "electra":
        # Its masked-token head has a GELU in transformers, whatever hidden_act says.
        wanted["hidden_act"] = ("gelu",)
    for name, allowed in wanted.items():
        value = getattr(stated, name)
        if value not in allowed:
            listed = " or ".join(repr(choice) for choice in allowed)
            raise errors.UserError(
                f"{path}: {name}={value!r:.60} is not supported"
                f"{' for a generator' if network == 'generator' else ''}; want {listed}"
            )
