"""Finds and opens KerasHub's preset directories, and weights of any kind.

In:   a directory that `save_to_preset` wrote, of our backbone or KerasHub's ELECTRA; a
      workdir of fine-tuning; what `weights.opening` opens.
Out:  a `preset.Pretrained`.
"""

import os
import warnings
from typing import Any, NamedTuple

import keras

from electra_tf import config, errors
from electra_tf.system import checksums, durable, reading
from electra_tf.tasks import backbone, keras_hub_electra
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
OUR_TOKENIZER = "electra_tf>ElectraTokenizer"

# Our tasks that are the networks of pre-training, by their registered names.
TASKS = {
    "electra_tf>ElectraReplacedTokenDetector": "discriminator",
    "electra_tf>ElectraMaskedLM": "generator",
}

# In metadata.json: we wrote this, from what.
MARK = "electra_tf"

# What Keras keeps with a backbone's arguments.
_NOT_OF_THE_MODEL = ("name", "trainable", "dtype")

NO_TOKENIZER = "there is no tokenizer; lower-casing is assumed"


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
        if self.origin["backbone"] in keras_hub_electra.BACKBONES:
            theirs = keras_hub_electra.build_backbone(model)
            preset.load_file(theirs.load_weights, _weights_file(self.folder))
            weight_map.fill(
                weight_map.variables(network),
                weight_map.rows(name, model),
                keras_hub_electra.Variables(theirs),
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
        weight_map.copy(weight_map.variables(found), weight_map.variables(network))


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


def is_ours(folder: str) -> bool:
    """Says whether `keras_hub_writer` wrote a folder."""
    return is_preset(folder) and MARK in _read_json(folder, METADATA, {})


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
    if registered not in (OURS, *keras_hub_electra.BACKBONES):
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
    if registered in keras_hub_electra.BACKBONES:
        count += model.hidden_size * (model.hidden_size + 1)  # the pooler
    if files := _weight_files(folder):
        preset.check_size(files, count, os.path.join(folder, CONFIG))
    if registered in keras_hub_electra.BACKBONES:
        notes = [
            keras_hub_electra.APPROXIMATE,
            keras_hub_electra.POOLER_LEFT_OUT,
            *notes,
        ]
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


def _read_json(folder: str, name: str, missing: Any = None) -> dict[str, Any]:
    """Reads a file of a preset; `missing` stands for one that is not there."""
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
    if about["registered_name"] in keras_hub_electra.BACKBONES:
        arguments |= keras_hub_electra.FIXED
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
    notes: list[str] = []
    if registered == OUR_TOKENIZER:
        names = config.TokenizerConfig.model_fields
        settings = {name: given[name] for name in names if name in given}
    elif registered in keras_hub_electra.TOKENIZERS:
        settings, notes = keras_hub_electra.tokenizer_settings(given, path)
    else:
        raise errors.UserError(
            f"{path} holds {registered}; want an ElectraTokenizer, ours or KerasHub's"
        )
    return (
        config.check(config.TokenizerConfig, settings, path),
        vocabularies.read(os.path.join(folder, VOCABULARY)),
        notes,
    )


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


def _stored_origin(metadata: dict[str, Any]) -> dict[str, Any]:
    """Returns the origin that `_save` kept, if it wrote this."""
    about = metadata.pop(MARK, None)
    origin = about.get("origin") if isinstance(about, dict) else None
    return origin if isinstance(origin, dict) else {}
