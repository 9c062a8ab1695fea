"""Opens Google's TF1 checkpoints of ELECTRA: `model.ckpt-1000.index` and its data.

In:   a checkpoint of the 2020 code, its vocab.txt, its number of heads.
Out:  `preset.Pretrained`: generator and discriminator, or what there is of them.

The architecture is read off names and shapes, which say all but the number of heads.
Optimizer slots, the step and fine-tuned heads are passed over; of any other array it
must be known whose it is.
"""

import os
import re
import unicodedata
from collections.abc import Collection, Iterable, Mapping
from typing import Any, NamedTuple

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from electra_tf import config, errors, tokenizer, weight_map

HEAD_WIDTH = 64  # of every model of the 2020 code

_SLOTS = ("/adam_m", "/adam_v")
_STEP = "global_step"
_FINE_TUNED = "task_specific/"
# Electric's generator: two causal encoders, which are none of our networks.
_TOWERS = ("generator_ltr/", "generator_rtl/", "cloze_predictions/")

_FILE_ENDING = re.compile(r"\.(index|meta|data-\d+-of-\d+)$")
_LATEST = re.compile(r'^model_checkpoint_path: "(.*)"', re.MULTILINE)
_SPECIAL_TOKEN = re.compile(r"\[.*\]|<.*>")

_LISTED = 8  # names in an error


class GoogleCheckpoint(NamedTuple):
    """A TF1 checkpoint and what its names and shapes say (`preset.Pretrained`)."""

    folder: str  # its prefix: a folder may hold several
    networks: dict[str, config.ModelConfig]
    tokenizer: config.TokenizerConfig
    vocab: list[str] | None
    origin: dict[str, Any]
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
    path: str, vocab_file: str | None = None, num_heads: int | None = None
) -> GoogleCheckpoint:
    """Finds out which networks a checkpoint holds; reads no weights yet.

    A vocabulary must have a token for each row of the embedding table. One that is
    shorter is refused, although some tables were padded: nothing tells padding from
    a file that lost its end, and a line such as [unused1] a row mends it.

    Casing is guessed from the vocabulary: one with upper-case letters is of a cased
    model; a letter with an accent says that accents were kept. Without a vocabulary,
    as in the 2020 code: lower-cased, accents dropped.

    Args:
        path: prefix of the checkpoint, one of its files, or its folder.
        vocab_file: its vocabulary; None takes vocab.txt beside it, if there.
        num_heads: of the discriminator, or of the only network; None makes them 64
            wide. The generator's are as wide where that divides its width, else 64.

    Raises:
        UserError: no checkpoint, several, a damaged one, or not ELECTRA's.
    """
    prefix = _find(path)
    arrays = _Arrays(prefix)
    names = {name for name in arrays.names if not name.endswith(_SLOTS)}
    scopes = _scopes(names, prefix)
    networks = _networks(arrays.shapes, scopes, num_heads, prefix)
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
    casing = _guess_casing(vocab) if vocab else config.TokenizerConfig()
    return GoogleCheckpoint(prefix, networks, casing, vocab, origin, scopes, arrays)


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
            reason = f"{' '.join(str(error).split())[:200]}; fetch it again"
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
            f"{_list(map(os.path.basename, found))}; name one, such as {found[-1]}"
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
        f"holds {_list(tops)}{bert}"
    )


def _networks(
    shapes: Mapping[str, tuple[int, ...]],
    scopes: Mapping[str, weight_map.Scopes],
    num_heads: int | None,
    prefix: str,
) -> dict[str, config.ModelConfig]:
    models: dict[str, config.ModelConfig] = {}
    width = HEAD_WIDTH
    for name, scope in scopes.items():  # the discriminator first, if there
        sizes = _sizes(shapes, scope, prefix)
        given = num_heads is not None and not models
        heads = num_heads if given else _count_heads(sizes["hidden_size"], width)
        if heads is None:
            raise errors.UserError(
                f"{prefix}: its {name} is {sizes['hidden_size']} wide, which heads "
                f"{width} wide do not divide; give num_heads, the number that the "
                "model was trained with"
            )
        models[name] = model = config.check(
            config.ModelConfig, {**sizes, "num_heads": heads}, f"{prefix}: its {name}"
        )
        if given:
            width = model.hidden_size // model.num_heads
    return models


def _count_heads(hidden_size: int, width: int) -> int | None:
    """Counts heads by their width or, as the 2020 code does, by 64; None: neither."""
    if hidden_size % width == 0:
        return hidden_size // width
    heads = max(1, hidden_size // HEAD_WIDTH)
    return None if hidden_size % heads else heads


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
            f"could be found in it: {_list(sorted(unknown))}"
        )


def _read_vocab(
    prefix: str, file: str | None, networks: Mapping[str, config.ModelConfig]
) -> list[str] | None:
    beside = os.path.join(os.path.dirname(prefix), "vocab.txt")
    if file is None and not os.path.isfile(beside):
        return None
    file = file or beside
    vocab = tokenizer.read_vocab(file)
    for name, model in networks.items():
        if len(vocab) != model.vocab_size:
            raise errors.UserError(
                f"vocabulary {file} has {len(vocab)} tokens, the {name}'s embedding "
                f"table in {prefix} {model.vocab_size} rows; give the vocabulary that "
                "it was trained with, in which a row that no token uses has a line "
                "too, such as [unused1]"
            )
    return vocab


def _guess_casing(vocab: Collection[str]) -> config.TokenizerConfig:
    """Asks what text the tokens can have come from; special tokens say nothing."""
    words = [token for token in vocab if not _SPECIAL_TOKEN.fullmatch(token)]
    lowercase = all(word == word.lower() for word in words)
    stripped = all(word == _strip_accents(word) for word in words)
    return config.TokenizerConfig(
        lowercase=lowercase, strip_accents=lowercase and stripped
    )


def _strip_accents(word: str) -> str:
    letters = unicodedata.normalize("NFD", word)
    return "".join(c for c in letters if unicodedata.category(c) != "Mn")


def _list(names: Iterable[str]) -> str:
    """Joins some names that are not ours, so that they stay on one line."""
    names = list(names)
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return ", ".join(ascii(name)[1:-1][:120] for name in names[:_LISTED]) + more
