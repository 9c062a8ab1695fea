"""Opens Google's TF1 checkpoints of ELECTRA: `model.ckpt-1000.index` and its data.

In:   a checkpoint of the 2020 code; beside it vocab.txt and the configuration, if any.
Out:  `preset.Pretrained`: generator and discriminator, or what there is of them.

The architecture is read off names and shapes, which say all but the number of heads and
the activation: the JSON files beside the checkpoint may. Optimizer slots, the step and
fine-tuned heads are passed over; of any other array it must be known whose it is.
"""

import os
import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any, Literal, NamedTuple

import keras
import numpy as np
import numpy.typing as npt
import pydantic
import tensorflow as tf
from pydantic import PositiveInt

from electra_tf import config, errors
from electra_tf.system import reading
from electra_tf.text import tokenizer, vocabularies
from electra_tf.weights import weight_map

HEAD_WIDTH = 64  # of the published models

# Widths and depths of the 2020 code's `model_size` (2020 code, training_utils.py).
_MODEL_SIZES = {"small": (256, 12), "base": (768, 12), "large": (1024, 24)}

# A configuration is a small file; what is larger beside a checkpoint is none.
_MAX_CONFIG_BYTES = 1_000_000

_SLOTS = ("/adam_m", "/adam_v")
_STEP = "global_step"
_FINE_TUNED = "task_specific/"
# Electric's generator: two causal encoders, which are none of our networks.
_TOWERS = ("generator_ltr/", "generator_rtl/", "cloze_predictions/")

_FILE_ENDING = re.compile(r"\.(index|meta|data-\d+-of-\d+)$")
_LATEST = re.compile(r'^model_checkpoint_path: "(.*)"', re.MULTILINE)


class _Beside(config.Settings):
    """What a configuration beside a checkpoint says: BERT's and transformers' words."""

    model_config = pydantic.ConfigDict(extra="ignore")

    num_attention_heads: PositiveInt
    hidden_size: PositiveInt | None = None
    num_hidden_layers: PositiveInt | None = None
    intermediate_size: PositiveInt | None = None
    embedding_size: PositiveInt | None = None
    vocab_size: PositiveInt | None = None
    max_position_embeddings: PositiveInt | None = None
    type_vocab_size: PositiveInt | None = None
    hidden_act: Literal["gelu", "relu"] = "gelu"


# What these are called in `config.ModelConfig`.
_SIZES = {
    "hidden_size": "hidden_size",
    "num_hidden_layers": "num_layers",
    "intermediate_size": "intermediate_size",
    "embedding_size": "embedding_size",
    "vocab_size": "vocab_size",
    "max_position_embeddings": "max_positions",
    "type_vocab_size": "num_segments",
}


class GoogleCheckpoint(NamedTuple):
    """A TF1 checkpoint and what its names and shapes say (`preset.Pretrained`)."""

    folder: str  # its prefix: a folder may hold several
    networks: dict[str, config.ModelConfig]
    tokenizer: config.TokenizerConfig
    vocab: list[str] | None
    origin: dict[str, Any]
    notes: list[str]  # what was taken for granted
    scopes: dict[str, weight_map.Scopes]  # where each network stands
    arrays: weight_map.Source

    def load_weights(self, name: str, network: keras.Model) -> None:
        """Loads the weights of its network `name` into a network of that shape."""
        weight_map.fill(
            weight_map.variables(network),
            weight_map.rows(name, self.networks[name]),
            self.arrays,
            "tf1",
            self.folder,
            self.scopes[name],
        )


def is_checkpoint(path: str) -> bool:
    """Says whether a TF1 checkpoint, or several, are there."""
    return bool(_prefixes(path))


def open_checkpoint(
    path: str,
    vocab_file: str | None = None,
    num_heads: int | None = None,
    generator_num_heads: int | None = None,
) -> GoogleCheckpoint:
    """Finds out which networks a checkpoint holds; reads no weights yet.

    A vocabulary must have a token for each row of the embedding table. One that is
    shorter is refused, although some tables were padded: nothing tells padding from
    a file that lost its end, and a line such as [unused1] a row mends it.

    Casing is guessed from the vocabulary (`tokenizer.guess_casing`).

    Args:
        path: prefix of the checkpoint, one of its files, or its folder.
        vocab_file: its vocabulary; None takes vocab.txt beside it, if there.
        num_heads: of the discriminator, or of the only network. None takes what a
            configuration beside the checkpoint says, or else heads 64 wide.
        generator_num_heads: of a generator with an encoder of its own. None does the
            same, or else as the 2020 code: width // 64, at least one.

    Raises:
        UserError: no checkpoint, several, a damaged one, or not ELECTRA's; a
            configuration that is not its own; heads that nothing tells.
    """
    prefix = _find(path)
    arrays = _Arrays(prefix)
    names = {name for name in arrays.names if not name.endswith(_SLOTS)}
    scopes = _scopes(names, prefix)
    given = {"num_heads": num_heads, "generator_num_heads": generator_num_heads}
    networks, notes = _networks(arrays.shapes, scopes, given, prefix)
    towers = {name for name in names if name.startswith(_TOWERS)}
    used = {
        row.tf1.format(**scopes[network]._asdict())
        for network, model in networks.items()
        for row in weight_map.rows(network, model)
    }
    _refuse_unknown(names - used - towers, prefix)
    vocab = _read_vocab(prefix, vocab_file, networks)
    origin: dict[str, Any] = {"format": "Google TF1 checkpoint", "path": prefix}
    if _STEP in names:
        origin[_STEP] = arrays.read(_STEP, np.int64).tolist()
    if towers:
        origin["left_out"] = sorted({name.partition("/")[0] for name in towers})
    notes += [f"{scope} is left out" for scope in _left_out(names)]
    casing = tokenizer.guess_casing(vocab or ())
    return GoogleCheckpoint(
        prefix, networks, casing, vocab, origin, notes, scopes, arrays
    )


def _left_out(names: Iterable[str]) -> list[str]:
    """Returns what stands beside the networks: towers, heads of fine-tuning."""
    found = set()
    for name in names:
        if name.startswith(_FINE_TUNED):
            found.add(f"the head {'/'.join(name.split('/')[:2])}")
        elif name.startswith(_TOWERS):
            found.add(f"{name.partition('/')[0]}, of two towers (Electric),")
    return [errors.listed([name]) for name in sorted(found)]


class _Arrays:
    """A checkpoint's arrays, read from disk when asked for (`weight_map.Source`)."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        try:
            self._reader = tf.train.load_checkpoint(prefix)
            shapes = self._reader.get_variable_to_shape_map()
            kinds = self._reader.get_variable_to_dtype_map()
        except (tf.errors.OpError, LookupError, RuntimeError, ValueError) as error:
            raise self._unreadable("its index", error) from None
        self.names = set(shapes)
        self.shapes: Mapping[str, tuple[int, ...]] = {
            name: tuple(shape)
            for name, shape in shapes.items()
            if kinds[name].is_floating
        }

    def read(self, name: str, dtype: Any = np.float32) -> npt.NDArray[Any]:
        try:
            return np.asarray(self._reader.get_tensor(name)).astype(dtype)
        except (tf.errors.OpError, LookupError, RuntimeError, ValueError) as error:
            raise self._unreadable(name, error) from None

    def _unreadable(self, what: str, error: Exception) -> errors.UserError:
        # TensorFlow takes the path for a pattern in which [ and \ stand for others.
        if re.search(r"[\[\\]", self._prefix):
            reason = "TensorFlow opens no path with [ or \\ in it; rename the folder"
        else:
            reason = f"{errors.one_line(error, 200)}; fetch it again"
        return errors.UserError(
            f"checkpoint {self._prefix}: cannot read {what}: {reason}"
        )


def _prefixes(path: str) -> list[str]:
    """Returns the checkpoints a path may mean: of a folder, the one it calls latest."""
    stem = _FILE_ENDING.sub("", path)
    if os.path.isfile(f"{stem}.index"):
        return [stem]
    try:
        files = sorted(os.listdir(path))
    except (OSError, ValueError):
        return []
    names = [file.removesuffix(".index") for file in files if file.endswith(".index")]
    try:
        with open(os.path.join(path, "checkpoint"), "rb") as file:
            state = file.read(10_000).decode("utf-8", "replace")
    except OSError:
        state = ""
    latest = _LATEST.search(state)
    # The folder may have been moved since: its own files count, not the path.
    if latest and os.path.basename(latest[1]) in names:
        names = [os.path.basename(latest[1])]
    return [os.path.join(path, name) for name in names]


def _find(path: str) -> str:
    found = _prefixes(path)
    if len(found) == 1:
        return found[0]
    if found:
        raise errors.UserError(
            f"{path} holds {len(found)} checkpoints: "
            f"{errors.listed(map(os.path.basename, found))}; name one, such as "
            f"{found[-1]}"
        )
    raise errors.UserError(
        f"no TF1 checkpoint at {path}; want a prefix such as model.ckpt-1000, which "
        "has an .index file, or a folder that holds one"
    )


def _scopes(names: Collection[str], prefix: str) -> dict[str, weight_map.Scopes]:
    """Finds each network's scopes: what is shared shows in what is missing."""

    def has(scope: str) -> bool:
        return any(name.startswith(f"{scope}/") for name in names)

    if not has("electra"):
        _refuse_foreign(names, prefix)
    found = {}
    if has("discriminator_predictions"):
        found["discriminator"] = weight_map.SCOPES
    if has("generator_predictions"):
        own = "generator" if has("generator/embeddings") else "electra"
        found["generator"] = weight_map.Scopes(
            embeddings=f"{own}/embeddings",
            encoder="generator" if has("generator/encoder") else "electra",
        )
    return found or {"encoder": weight_map.SCOPES}


def _refuse_foreign(names: Collection[str], prefix: str) -> None:
    if any("/.ATTRIBUTES/" in name for name in names):
        raise errors.UserError(
            f"{prefix} is a checkpoint of TensorFlow 2, not of Google's TF1 ELECTRA; a "
            "run of this package writes what can be converted into workdir/preset"
        )
    tops = sorted({name.partition("/")[0] for name in names})
    bert = ", which is BERT's" if "bert" in tops else ""
    raise errors.UserError(
        f"{prefix} is no checkpoint of ELECTRA: nothing stands under electra/; it "
        f"holds {errors.listed(tops)}{bert}"
    )


def _networks(
    shapes: Mapping[str, tuple[int, ...]],
    scopes: Mapping[str, weight_map.Scopes],
    given: Mapping[str, int | None],
    prefix: str,
) -> tuple[dict[str, config.ModelConfig], list[str]]:
    """Finds the architectures, and what is to be said of how.

    Args:
        shapes: of the arrays.
        scopes: of each network.
        given: the number of heads, by the encoder's setting; None = not given.
        prefix: of the checkpoint.
    """
    sizes = {name: _sizes(shapes, scope, prefix) for name, scope in scopes.items()}
    encoders: dict[str, str] = {}  # Networks that are tied have one.
    for name, scope in scopes.items():  # the discriminator first, if there
        encoders.setdefault(_setting(scope), name)
    for setting, value in given.items():
        if value is not None and setting not in encoders:
            there = " and ".join(sorted(encoders))
            raise errors.UserError(
                f"{prefix}: {setting}={value}, but it has no such encoder; leave that "
                f"out (it has {there})"
            )
    beside = _Configurations(prefix, {s: sizes[n] for s, n in encoders.items()}, given)
    heads = {
        setting: _count_heads(prefix, name, setting, sizes[name], given, beside)
        for setting, name in encoders.items()
    }
    models = {}
    for name, found in sizes.items():
        setting = _setting(scopes[name])
        values = {
            **found,
            "num_heads": heads[setting],
            "activation": beside.activation(setting),
        }
        where = f"{prefix}: its {name}"
        models[name] = config.check(config.ModelConfig, values, where)
    return models, beside.notes


def _setting(scope: weight_map.Scopes) -> str:
    """Returns the name of the setting that counts an encoder's heads."""
    return "generator_num_heads" if scope.encoder == "generator" else "num_heads"


def _count_heads(
    prefix: str,
    name: str,
    setting: str,
    sizes: Mapping[str, int],
    given: Mapping[str, int | None],
    beside: "_Configurations",
) -> int:
    """Counts heads: as given, as a file says, or by the width where that is sure."""
    width, count, stated = sizes["hidden_size"], given[setting], beside.heads(setting)
    if count is not None:
        if stated not in (None, count):
            beside.notes.append(
                f"{beside.files[setting]} says {stated} heads of the {name}; "
                f"{setting}={count} goes before"
            )
        return count
    if stated is not None:
        return stated
    if setting == "generator_num_heads" and width % max(1, width // HEAD_WIDTH) == 0:
        return max(1, width // HEAD_WIDTH)  # As in the 2020 code.
    if width % HEAD_WIDTH:
        raise errors.UserError(
            f"{prefix}: its {name} is {width} wide, which heads {HEAD_WIDTH} wide do "
            "not divide, and no file beside it says how many it has; convert it with "
            f"--{setting}=<the number it was trained with> (python -m "
            "electra_tf.convert), or put its config.json there"
        )
    count = width // HEAD_WIDTH
    beside.notes.append(
        f"the {name} is taken to have {count} attention heads, {HEAD_WIDTH} wide, as "
        f"those that were published; if it was trained with others, give --{setting}"
    )
    return count


class _Configurations:
    """The JSON files beside a checkpoint that say how many heads an encoder has."""

    def __init__(
        self,
        prefix: str,
        encoders: Mapping[str, Mapping[str, int]],
        given: Mapping[str, int | None],
    ) -> None:
        """Reads them.

        Args:
            prefix: of the checkpoint.
            encoders: sizes of each, by the setting of its heads, the main one first.
            given: see `_networks`.

        Raises:
            UserError: one is damaged, or is of another model; two contradict each
                other.
        """
        self.files: dict[str, str] = {}
        self.notes: list[str] = []
        self._stated: dict[str, _Beside] = {}
        for file, stated in _read_beside(os.path.dirname(prefix) or "."):
            apart = {s: _contradiction(stated, sizes) for s, sizes in encoders.items()}
            of = [setting for setting, reason in apart.items() if not reason]
            if of:
                self._take(of[0], file, stated)
            elif any(given[setting] is not None for setting in encoders):
                self.notes.append(f"{file} is not of this checkpoint and is not read")
            else:
                raise errors.UserError(
                    f"{file} is not of the checkpoint beside it, {prefix}: "
                    f"{next(iter(apart.values()))}; put the right one there, or move "
                    "it away"
                )

    def heads(self, setting: str) -> int | None:
        """Returns how many heads a file says; None where none does."""
        stated = self._stated.get(setting)
        return stated.num_attention_heads if stated else None

    def activation(self, setting: str) -> str:
        """Returns the activation; the 2020 code's where no file says."""
        stated = self._stated.get(setting)
        return stated.hidden_act if stated else "gelu"

    def _take(self, setting: str, file: str, stated: _Beside) -> None:
        before = self._stated.setdefault(setting, stated)
        self.files.setdefault(setting, file)
        what = ("num_attention_heads", "hidden_act")
        if any(getattr(before, name) != getattr(stated, name) for name in what):
            raise errors.UserError(
                f"{self.files[setting]} and {file} do not say the same {what[0]} and "
                f"{what[1]}; move the wrong one away"
            )


def _read_beside(folder: str) -> Iterable[tuple[str, _Beside]]:
    """Yields (file, what it says) of the configurations in a folder."""
    for name in sorted(os.listdir(folder)):
        file = os.path.join(folder, name)
        is_small = os.path.isfile(file) and os.path.getsize(file) <= _MAX_CONFIG_BYTES
        if not name.endswith(".json") or not is_small:
            continue
        with open(file, "rb") as stream:
            text = stream.read()
        if b"num_attention_heads" not in text and b"hparam_overrides" not in text:
            continue
        values = reading.read_json(file)
        overrides = values.get("model_hparam_overrides")
        if isinstance(overrides, dict):
            values = _resolved(values, overrides)
        if "num_attention_heads" in values:
            yield file, config.check(_Beside, values, file)


def _resolved(values: dict[str, Any], overrides: dict[str, Any]) -> dict[str, Any]:
    """Returns the architecture that hyperparameters of the 2020 code mean."""
    size = values.get("model_size", "small")
    width, depth = _MODEL_SIZES.get(str(size), (None, None))
    width = overrides.get("hidden_size", width)
    if isinstance(width, int):  # Else it is refused when it is checked.
        values |= {
            "num_attention_heads": max(1, width // HEAD_WIDTH),
            "intermediate_size": 4 * width,
        }
    return values | {"hidden_size": width, "num_hidden_layers": depth} | overrides


def _contradiction(stated: _Beside, sizes: Mapping[str, int]) -> str:
    """Says the first size of an encoder that is not as stated; "" if there is none."""
    for name, ours in _SIZES.items():
        value = getattr(stated, name)
        if value is not None and value != sizes[ours]:
            return f"it says {name}={value}, and the arrays have {sizes[ours]}"
    return ""


def _sizes(
    shapes: Mapping[str, tuple[int, ...]], scopes: weight_map.Scopes, prefix: str
) -> dict[str, int]:
    """Reads one network's sizes off its shapes."""

    def matrix(name: str) -> tuple[int, ...]:
        shape = shapes.get(name)
        if shape is None or len(shape) != 2:
            found = "missing" if shape is None else f"of shape {list(shape)}"
            raise errors.UserError(f"{prefix}: {name} is {found}, want a float matrix")
        return shape

    blocks = re.compile(rf"{scopes.encoder}/encoder/layer_(\d+)/")
    words = matrix(f"{scopes.embeddings}/word_embeddings")
    wide = matrix(f"{scopes.encoder}/encoder/layer_0/intermediate/dense/kernel")
    return {
        "vocab_size": words[0],
        "embedding_size": words[1],
        "hidden_size": wide[0],
        "intermediate_size": wide[1],
        "num_layers": len({m[1] for name in shapes if (m := blocks.match(name))}),
        "max_positions": matrix(f"{scopes.embeddings}/position_embeddings")[0],
        "num_segments": matrix(f"{scopes.embeddings}/token_type_embeddings")[0],
    }


def _refuse_unknown(names: Collection[str], prefix: str) -> None:
    unknown = [n for n in names if n != _STEP and not n.startswith(_FINE_TUNED)]
    if unknown:
        raise errors.UserError(
            f"{prefix}: {len(unknown)} arrays belong to no network of ELECTRA's that "
            f"could be found in it: {errors.listed(sorted(unknown))}"
        )


def _read_vocab(
    prefix: str, file: str | None, networks: Mapping[str, config.ModelConfig]
) -> list[str] | None:
    beside = os.path.join(os.path.dirname(prefix), "vocab.txt")
    if file is None and not os.path.isfile(beside):
        return None
    file = file or beside
    vocab = vocabularies.read(file)
    for name, model in networks.items():
        if len(vocab) != model.vocab_size:
            raise errors.UserError(
                f"vocabulary {file} has {len(vocab)} tokens, the {name}'s embedding "
                f"table in {prefix} {model.vocab_size} rows; give the vocabulary that "
                "it was trained with, in which a row that no token uses has a line "
                "too, such as [unused1]"
            )
    return vocab
