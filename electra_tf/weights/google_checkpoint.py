"""Opens Google's TF1 checkpoints of ELECTRA: `model.ckpt-1000.index` and its data.

In:   a checkpoint of the 2020 code; beside it vocab.txt and the configuration, if any.
Out:  `preset.Pretrained`: generator and discriminator, or what there is of them.

The architecture is read off names and shapes, which say all but the number of heads and
the activation: the JSON files beside the checkpoint may. Optimizer slots, the step and
fine-tuned heads are passed over; of any other array it must be known whose it is.
"""

import glob
import math
import os
import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any, NamedTuple

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from electra_tf import config, errors
from electra_tf.text import tokenizer, vocabularies
from electra_tf.weights import google_configuration, weight_map

_SLOTS = ("/adam_m", "/adam_v")
_STEP = "global_step"
_FINE_TUNED = "task_specific/"
# Electric's generator: two causal encoders, which are none of our networks.
_TOWERS = ("generator_ltr/", "generator_rtl/", "cloze_predictions/")

_FILE_ENDING = re.compile(r"\.(index|meta|data-\d+-of-\d+)$")
_LATEST = re.compile(r'^model_checkpoint_path: "(.*)"', re.MULTILINE)


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
        self._refuse_absurd(
            sum(math.prod(s) * kinds[name].size for name, s in self.shapes.items())
        )

    def read(self, name: str, dtype: Any = np.float32) -> npt.NDArray[Any]:
        try:
            return np.asarray(self._reader.get_tensor(name)).astype(dtype)
        except (tf.errors.OpError, LookupError, RuntimeError, ValueError) as error:
            raise self._unreadable(name, error) from None

    def _refuse_absurd(self, stated: int) -> None:
        """Refuses an index that describes more bytes of arrays than are there.

        A network of those sizes would take all memory before an array was read.
        """
        files = glob.glob(f"{glob.escape(self._prefix)}.data-*")
        found = sum(map(os.path.getsize, files))
        if stated > found:
            raise errors.UserError(
                f"checkpoint {self._prefix}: its index describes {stated:,} bytes of "
                f"arrays, and {found:,} are there; fetch its files again"
            )

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
    beside = google_configuration.Configurations(
        prefix, {setting: sizes[name] for setting, name in encoders.items()}, given
    )
    heads = {
        setting: beside.count_heads(setting, name) for setting, name in encoders.items()
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
    weight_map.check_vocab(vocab, file, networks, prefix)
    return vocab
