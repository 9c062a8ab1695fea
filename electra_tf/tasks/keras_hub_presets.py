"""KerasHub's preset directories, in and out.

In:   a directory that `save_to_preset` wrote, of our backbone or KerasHub's ELECTRA.
Out:  a `preset.Pretrained`; and the other way round.

KerasHub's own ELECTRA is another network: GELU is its tanh approximation, and a dense
layer stands on [CLS]. What is lost on the way is said in notes, a sentence each.
"""

import os
import warnings
from collections.abc import Mapping
from typing import Any, NamedTuple

import keras
import keras_hub
import numpy as np
import numpy.typing as npt

from electra_tf import config, errors
from electra_tf.system import checksums, durable, reading
from electra_tf.tasks import backbone
from electra_tf.tasks import tokenizer as task_tokenizer
from electra_tf.text import tokenizer, vocabularies
from electra_tf.weights import model_card, opening, preset, weight_map

CONFIG = "config.json"
TASK = "task.json"
TOKENIZER = "tokenizer.json"
METADATA = "metadata.json"
WEIGHTS = "model.weights.h5"
TASK_WEIGHTS = "task.weights.h5"
VOCABULARY = os.path.join("assets", "tokenizer", "vocabulary.txt")

OURS = "electra_tf>ElectraBackbone"
# KerasHub was KerasNLP.
THEIRS = ("keras_hub>ElectraBackbone", "keras_nlp>ElectraBackbone")
OUR_TOKENIZER = "electra_tf>ElectraTokenizer"
THEIR_TOKENIZERS = ("keras_hub>ElectraTokenizer", "keras_nlp>ElectraTokenizer")

# Our tasks that are the networks of pre-training, by their registered names.
TASKS = {
    "electra_tf>ElectraReplacedTokenDetector": "discriminator",
    "electra_tf>ElectraMaskedLM": "generator",
}

# In metadata.json: we wrote this, from what.
_MARK = "electra_tf"

# KerasHub's ELECTRA is always so.
_FIXED = {"activation": "gelu_approximate", "layer_norm_epsilon": 1e-12}

# How KerasHub's tokenizer must cut words for ours to do the same.
_WORDS = {"split": True, "suffix_indicator": "##", "oov_token": vocabularies.UNK}

# What Keras keeps with a backbone's arguments.
_NOT_OF_THE_MODEL = ("name", "trainable", "dtype")

APPROXIMATE = "GELU is its tanh approximation, as in KerasHub"
POOLER_LEFT_OUT = "pooled_dense is left out: ELECTRA has no pooler"
POOLER_MADE_UP = (
    "pooled_dense, which ELECTRA does not have, is the identity: pooled_output is the "
    "tanh of the state of [CLS]"
)
HEAD_LEFT_OUT = "the head is left out"
NO_TOKENIZER = "there is no tokenizer; lower-casing is assumed"
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


class KerasHubPreset(NamedTuple):
    """What a preset of KerasHub says of itself."""

    folder: str
    networks: dict[str, config.ModelConfig]  # one
    tokenizer: config.TokenizerConfig
    vocab: list[str] | None
    origin: dict[str, Any]
    notes: list[str]  # what differs from what is there

    def load_weights(self, name: str, network: keras.Model) -> None:
        """Loads the weights of its network `name` into a network of that shape."""
        model = self.networks[name]
        if self.origin["backbone"] in THEIRS:
            theirs = _their_backbone(model)
            preset.load_file(theirs.load_weights, _weights_file(self.folder))
            weight_map.fill(
                weight_map.variables(network),
                weight_map.rows(name, model),
                _Variables(theirs),
                "keras_hub",
                self.folder,
            )
            return
        ours = backbone.ElectraBackbone.from_model_config(model)
        preset.load_file(ours.load_weights, _weights_file(self.folder))
        found = ours
        if name != "encoder":
            kind = _task_class(self.origin["task"], self.folder)
            found = kind(backbone=ours, preprocessor=None)
            found.load_task_weights(os.path.join(self.folder, TASK_WEIGHTS))
        _copy(weight_map.variables(found), weight_map.variables(network))


def is_preset(folder: str) -> bool:
    """Says whether a folder is a preset of KerasHub, of any model."""
    durable.recover(folder)
    try:
        values = _read_json(folder, CONFIG)
    except errors.UserError:
        return False
    return "registered_name" in values


def locate(path: str, task: str | None = None) -> str:
    """Returns the preset of a fine-tuning workdir; any other path as it is.

    Args:
        path: of it.
        task: the one that is wanted, where a workdir has learned several.

    Raises:
        UserError: it has learned several, and which is wanted is not said.
    """
    below = os.path.join(path, "preset")
    if is_preset(below):
        return below
    inner = path if os.path.basename(os.path.normpath(path)) == "preset" else below
    several = {name: os.path.join(inner, name) for name in _presets_in(inner)}
    if several and task not in several:
        raise errors.UserError(
            f"{path} has learned several tasks; name the preset of one: "
            f"{', '.join(several.values())}"
        )
    return several.get(str(task), path)


def _presets_in(folder: str) -> list[str]:
    if not os.path.isdir(folder):
        return []
    return sorted(
        name for name in os.listdir(folder) if is_preset(os.path.join(folder, name))
    )


def task_name(folder: str) -> str | None:
    """Returns the registered name of the task that a preset of KerasHub holds."""
    name = _read_json(folder, TASK, {}).get("registered_name")
    return None if name is None else str(name)


def is_mixed(folder: str) -> bool:
    """Says whether a backbone was saved as of a mixed policy: not openable by KerasHub.

    Ours are no longer: see `ElectraBackbone.save_to_preset`.
    """
    found: Any = _read_json(folder, CONFIG, {})
    for key in ("config", "dtype", "config", "name"):
        found = found.get(key) if isinstance(found, dict) else None
    return isinstance(found, str) and found.startswith(backbone.MIXED)


def origin_of(folder: str) -> dict[str, Any]:
    """Returns what a preset of ours says of where it comes from; else nothing."""
    return _stored_origin(_read_json(folder, METADATA, {}))


def open_any(folder: str) -> preset.Pretrained:
    """Opens weights, whoever wrote them; warns of what they leave in doubt.

    Raises:
        UserError: nothing is there that can be opened.
    """
    source: preset.Pretrained = (
        open_preset(folder) if is_preset(folder) else opening.open_pretrained(folder)
    )
    if doubt := tokenizer.doubt_casing(source.vocab, source.tokenizer):
        warnings.warn(f"{folder}: {doubt}", stacklevel=3)
    if not isinstance(source, KerasHubPreset):
        for note in getattr(source, "notes", ()):
            warnings.warn(f"{folder}: {note}", stacklevel=3)
    return source


def open_unless_ours(path: str) -> tuple[str, preset.Pretrained | None]:
    """Opens weights as `open_any`, but for those that KerasHub opens as our classes.

    Returns:
        Where they are; and what is there, or None where KerasHub is to open it.
    """
    folder = locate(path)
    if "://" in folder:
        return folder, None
    if is_preset(folder) and _read_json(folder, CONFIG)["registered_name"] == OURS:
        checksums.verify(folder)
        return folder, None
    return folder, open_any(folder)


def open_preset(folder: str) -> KerasHubPreset:
    """Reads what a preset of KerasHub says of itself, without the weights.

    Raises:
        UserError: it is damaged, or holds no ELECTRA.
    """
    checksums.verify(folder)
    about = _read_json(folder, CONFIG)
    registered = about.get("registered_name")
    if registered not in (OURS, *THEIRS):
        raise errors.UserError(
            f"{folder} holds {registered}; want an ElectraBackbone, ours or KerasHub's"
        )
    model = _model_config(about, os.path.join(folder, CONFIG))
    settings, vocab, notes = _open_tokenizer(folder)
    if vocab is not None and len(vocab) != model.vocab_size:
        raise errors.UserError(
            f"{folder}: {len(vocab)} tokens in {VOCABULARY}, but {model.vocab_size} "
            "rows in the word table; put the right vocabulary there"
        )
    count = model_card.count_parameters("encoder", model)
    if registered in THEIRS:
        count += model.hidden_size * (model.hidden_size + 1)  # the pooler
    if files := _weight_files(folder):
        preset.check_size(files, count, os.path.join(folder, CONFIG))
    if registered in THEIRS:
        notes = [APPROXIMATE, POOLER_LEFT_OUT, *notes]
    task = task_name(folder)
    name = TASKS.get(str(task), "encoder")
    metadata = _read_json(folder, METADATA, {})
    origin = {
        **_stored_origin(metadata),
        "backbone": registered,
        "task": task,
        "metadata": metadata,
        "notes": notes,
    }
    return KerasHubPreset(folder, {name: model}, settings, vocab, origin, notes)


def check_task(folder: str) -> None:
    """Refuses a task of absurd size, before KerasHub builds it.

    Raises:
        UserError: task.json describes more than the weights can be.
    """
    if "://" in folder:
        return  # It is elsewhere.
    path = os.path.join(folder, TASK)
    arguments = _settings(_read_json(folder, TASK), path)
    about = arguments.get("backbone")
    if isinstance(about, dict) and about.get("registered_name") == OURS:
        count = model_card.count_parameters("encoder", _model_config(about, path))
        if files := _weight_files(folder):
            preset.refuse_absurd(files, count, path)
    classes, head = arguments.get("num_classes"), os.path.join(folder, TASK_WEIGHTS)
    if isinstance(classes, int) and os.path.isfile(head):
        preset.refuse_absurd([head], classes, path)


def save_backbone(
    folder: str,
    source: preset.Pretrained,
    name: str,
    facts: model_card.Facts = model_card.NO_FACTS,
) -> None:
    """Writes the encoder of a network as a KerasHub preset of our own backbone.

    `keras_hub.models.Backbone.from_preset` and `keras_hub.tokenizers.Tokenizer` load
    it once `electra_tf.tasks.tokenizer` has been imported, which registers both.

    Args:
        folder: to write; one that we wrote before is replaced.
        source: where the network is.
        name: of the network: "discriminator", "generator" or "encoder".
        facts: for the model card.
    """
    words = task_tokenizer.ElectraTokenizer.from_tokenizer_config(
        _vocab(source), source.tokenizer
    )
    _, encoder = _encoder(source, name)
    ours = backbone.ElectraBackbone.from_model_config(source.networks[name])
    _copy(encoder, weight_map.variables(ours))
    _save(folder, [ours, words], name, _card(source, source.networks[name], facts))


def save_task(
    folder: str,
    model: Any,
    source: preset.Pretrained,
    facts: model_card.Facts = model_card.NO_FACTS,
) -> None:
    """Writes a task of ours as a KerasHub preset, with its head and preprocessor.

    `from_preset` of the task's class loads it, and of the KerasHub class above it.

    Args:
        folder: to write; one that we wrote before is replaced.
        model: a task on our backbone.
        source: where it comes from, for the record.
        facts: for the model card.
    """
    name = TASKS.get(keras.saving.get_registered_name(type(model)), "encoder")
    card = _card(source, model.backbone.model_config, facts)._replace(
        networks={name: model.backbone.model_config},
        head=getattr(model, "hugging_face_kind", None),
        problem_type=model.problem_type(),
        labels=model.class_labels() or (),
    )
    _save(folder, [model], name, card)


def save_keras_hub_electra(
    folder: str,
    source: preset.Pretrained,
    name: str,
    facts: model_card.Facts = model_card.NO_FACTS,
) -> list[str]:
    """Writes the encoder of a network as a preset of KerasHub's own ELECTRA.

    Args:
        folder: to write; one that we wrote before is replaced.
        source: where the network is.
        name: of the network: "discriminator", "generator" or "encoder".
        facts: for the model card.

    Returns:
        What is lost or changed, a sentence each.

    Raises:
        UserError: KerasHub's ELECTRA cannot be this network.
    """
    network, encoder = _encoder(source, name)
    model = source.networks[name]
    _refuse_unlike(model, source.folder)
    words = _their_tokenizer(_vocab(source), source.tokenizer)
    theirs = _their_backbone(model)
    targets = weight_map.variables(theirs)
    rows = weight_map.encoder_rows(model)
    for path, array in weight_map.extract(encoder, rows, "keras_hub"):
        targets[path].assign(array.reshape(targets[path].shape))
    targets["pooled_dense/kernel"].assign(np.eye(model.hidden_size))
    targets["pooled_dense/bias"].assign(np.zeros(model.hidden_size))
    notes = _notes(model, source.tokenizer, name)
    if model.activation == "gelu":
        apart = _difference(network, theirs, model)
        notes.insert(0, f"{APPROXIMATE}: hidden states move by up to {apart:.1e}")
    _save(folder, [theirs, words], name, _card(source, model, facts))
    return notes


class _Variables:
    """The weights of a Keras model, as `weight_map` reads arrays."""

    def __init__(self, model: keras.Model) -> None:
        self._variables = weight_map.variables(model)
        self.shapes = {path: tuple(v.shape) for path, v in self._variables.items()}

    def read(self, name: str) -> npt.NDArray[np.float32]:
        """Returns one array."""
        return np.asarray(self._variables[name], np.float32)


def _read_json(folder: str, name: str, missing: Any = None) -> dict[str, Any]:
    """Reads a file of the preset; `missing` stands for one that is not there."""
    path = os.path.join(folder, name)
    if missing is not None and not os.path.exists(path):
        return dict(missing)
    return reading.read_json(path)


def _settings(values: dict[str, Any], where: str) -> dict[str, Any]:
    """Returns the arguments in what Keras writes of an object."""
    arguments = values.get("config")
    if not isinstance(arguments, dict):
        raise errors.UserError(f"{where}: config={arguments!r:.60}: want an object")
    return arguments


def _model_config(about: dict[str, Any], where: str) -> config.ModelConfig:
    arguments = {
        name: value
        for name, value in _settings(about, where).items()
        if name not in _NOT_OF_THE_MODEL
    }
    if about["registered_name"] in THEIRS:
        arguments |= _FIXED
    return backbone.model_config(arguments, where)


def _open_tokenizer(
    folder: str,
) -> tuple[config.TokenizerConfig, list[str] | None, list[str]]:
    """Returns its settings, its vocabulary and what is to be said of them."""
    path = os.path.join(folder, TOKENIZER)
    if not os.path.exists(path):
        return config.TokenizerConfig(), None, [NO_TOKENIZER]
    about = _read_json(folder, TOKENIZER)
    registered = about.get("registered_name")
    given = _settings(about, path)
    notes = []
    if registered == OUR_TOKENIZER:
        names = config.TokenizerConfig.model_fields
        settings = {name: given[name] for name in names if name in given}
    elif registered in THEIR_TOKENIZERS:
        settings = {
            "lowercase": given.get("lowercase", False),
            "strip_accents": given.get("strip_accents", False),
            "split_cjk": given.get("split_on_cjk", True),
            "added_tokens": _found_in_text(given, path),
        }
        notes.append(OTHER_TOKENIZER)
        if given.get("special_tokens_in_strings"):
            notes.append(SPECIAL_TOKENS_CUT)
        if settings["lowercase"] and not settings["strip_accents"]:
            notes.append(ACCENTS_KEPT)
    else:
        raise errors.UserError(
            f"{path} holds {registered}; want an ElectraTokenizer, ours or KerasHub's"
        )
    return (
        config.check(config.TokenizerConfig, settings, path),
        vocabularies.read(os.path.join(folder, VOCABULARY)),
        notes,
    )


def _found_in_text(given: dict[str, Any], path: str) -> list[dict[str, Any]]:
    """Returns the special tokens that KerasHub's tokenizer finds in a text.

    Raises:
        UserError: it cuts words in a way that ours cannot.
    """
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


def _weights_file(folder: str) -> str:
    """Returns the file of the weights, or the one that lists their shards."""
    shards = os.path.join(folder, "model.weights.json")
    return shards if os.path.exists(shards) else os.path.join(folder, WEIGHTS)


def _weight_files(folder: str) -> list[str]:
    """Returns the files that hold the weights; none where there are none yet."""
    listed = _weights_file(folder)
    if not listed.endswith(".json"):
        return [listed] if os.path.exists(listed) else []
    places = reading.read_json(listed).get("weight_map")
    names = set[str]()
    for files in places.values() if isinstance(places, dict) else ():
        names.update(map(str, files if isinstance(files, list) else [files]))
    return [os.path.join(folder, os.path.basename(name)) for name in sorted(names)]


def _task_class(name: str, folder: str) -> Any:
    found = keras.saving.get_registered_object(name)
    if found is None:
        raise errors.UserError(
            f"{folder} holds {name}, which is not known; import its module of "
            "electra_tf.tasks"
        )
    return found


def _copy(
    source: Mapping[str, keras.Variable], target: Mapping[str, keras.Variable]
) -> None:
    """Gives each variable the value of that with its path, one at a time."""
    for path, variable in target.items():
        variable.assign(source[path])


def _encoder(
    source: preset.Pretrained, name: str
) -> tuple[keras.Model, dict[str, keras.Variable]]:
    """Builds a network, and picks its encoder and the weights of it."""
    network = preset.build(source, name)
    found = weight_map.variables(network)
    rows = weight_map.encoder_rows(source.networks[name])
    encoder = network if name == "encoder" else network.get_layer("encoder")
    return encoder, {row.ours: found[row.ours] for row in rows}


def _vocab(source: preset.Pretrained) -> list[str]:
    if source.vocab is None:
        raise errors.UserError(
            f"{source.folder} has no vocabulary; name its vocab.txt with --vocab"
        )
    return source.vocab


def _their_backbone(model: config.ModelConfig) -> keras.Model:
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


def _their_tokenizer(vocab: list[str], settings: config.TokenizerConfig) -> Any:
    if settings.added_tokens:
        names = ", ".join(repr(t.content[:40]) for t in settings.added_tokens[:8])
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


def _refuse_unlike(model: config.ModelConfig, folder: str) -> None:
    """Refuses what KerasHub's ELECTRA has no setting for."""
    for name, only in _FIXED.items():
        value = getattr(model, name)
        if value not in (only, "gelu"):
            raise errors.UserError(
                f"{folder}: {name}={value}, which KerasHub's ELECTRA cannot have "
                f"({only}); save our own backbone instead"
            )


def _notes(
    model: config.ModelConfig, settings: config.TokenizerConfig, name: str
) -> list[str]:
    """Says what KerasHub's ELECTRA does not take over, but for GELU."""
    rates = model.hidden_dropout_rate, model.attention_dropout_rate
    notes = [POOLER_MADE_UP, OTHER_TOKENIZER]
    if name != "encoder":
        notes.append(HEAD_LEFT_OUT)
    if rates[0] != rates[1]:
        notes.append(
            f"dropout is {rates[0]} everywhere; on attention it was {rates[1]}"
        )
    if not settings.split_cjk:
        notes.append(CJK_FORGOTTEN)
    return notes


def _difference(
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


def _save(
    folder: str,
    parts: list[Any],
    network: str,
    card: model_card.Card,
) -> None:
    """Writes what has `save_to_preset`, and where it comes from."""
    with durable.replacing_folder(folder, _is_ours, *preset.REFUSALS) as building:
        model_card.keep_edited(folder, building)
        # A task has a file for its backbone, and one for itself with it.
        models = [part for part in parts if isinstance(part, keras.Model)]
        preset.reserve(building, *models, *models)
        for part in parts:
            part.save_to_preset(building)
        about = {"network": network, "origin": card.origin}
        metadata = {**_read_json(building, METADATA), _MARK: about}
        durable.write_json(os.path.join(building, METADATA), metadata)
        model_card.write(building, card)
        checksums.write(building)


def _card(
    source: preset.Pretrained, model: config.ModelConfig, facts: model_card.Facts
) -> model_card.Card:
    return model_card.Card(
        "keras_hub", {"encoder": model}, source.tokenizer, source.origin, facts=facts
    )


def _is_ours(folder: str) -> bool:
    """Says whether `_save` wrote this folder."""
    return is_preset(folder) and _MARK in _read_json(folder, METADATA, {})


def _stored_origin(metadata: dict[str, Any]) -> dict[str, Any]:
    """Returns the origin that `_save` kept, if it wrote this."""
    about = metadata.pop(_MARK, None)
    origin = about.get("origin") if isinstance(about, dict) else None
    return origin if isinstance(origin, dict) else {}
