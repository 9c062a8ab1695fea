"""The arrays of a Hugging Face directory, read one at a time.

In:   model.safetensors, or shards and the index that lists them.
Out:  a `weight_map.Source`: shapes and float32 arrays by the names of today's versions.

A BERT's arrays come under the names that ELECTRA's have: see `hugging_face_bert`.
"""

import contextlib
import os
import re
import shlex
from collections.abc import Callable, Collection, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import safetensors

from electra_tf import errors
from electra_tf.system import reading
from electra_tf.weights import hugging_face

# Buffers that old versions saved; they hold 0, 1, 2 ...
_BUFFERS = re.compile(r"(electra\.|bert\.)?embeddings\.(position|token_type)_ids")

# Gives today's names of an ELECTRA for those that are there; some may be left out.
Naming = Callable[[Collection[str]], dict[str, str]]


def named_as_part(names: Collection[str]) -> dict[str, str]:
    """Names what a bare ElectraModel saves without the prefix that others have."""
    if any(name.startswith("electra.") for name in names):
        return {name: name for name in names}
    inner = ("embeddings.", "embeddings_project.", "encoder.")
    return {n: f"electra.{n}" if n.startswith(inner) else n for n in names}


class Tensors:
    """A directory's arrays by today's names: a `weight_map.Source`.

    A file is opened anew for each array, so that no more of it stays in memory.

    Args:
        folder: the directory.
        architecture: the class of transformers that can write it again, for the words
            of an error.
        naming: what the arrays are called here.

    `left_out` are the names of those that have none here.

    Raises:
        UserError: there are no weights, they are damaged, or not floats.
    """

    def __init__(
        self, folder: str, architecture: str, naming: Naming = named_as_part
    ) -> None:
        self.folder = folder
        self.shapes: dict[str, tuple[int, ...]] = {}
        self._places: dict[str, tuple[str, str]] = {}  # file and name in it
        for file, named in _weight_files(folder, architecture).items():
            with _opened(file) as tensors:
                # Names in an index that its file has not are the file's damage.
                for name in tensors.keys() if named is None else named:
                    self._add(file, name, tensors.get_slice(name))
        names = naming(self.shapes)
        self.left_out = self.shapes.keys() - names.keys()
        self.shapes = {new: self.shapes[name] for name, new in names.items()}
        self._places = {new: self._places[name] for name, new in names.items()}

    def _add(self, file: str, stored: str, entry: Any) -> None:
        """Enters an array under today's name; the first versions had TF1's."""
        name = re.sub(r"(LayerNorm)\.gamma$", r"\1.weight", stored)
        name = re.sub(r"(LayerNorm)\.beta$", r"\1.bias", name)
        if _BUFFERS.fullmatch(name):
            return
        if entry.get_dtype() not in ("F64", "F32", "F16", "BF16"):
            raise errors.UserError(
                f"{file}: {stored} is stored as {entry.get_dtype()}; want float "
                "weights, so save the model in float32"
            )
        if name in self.shapes:
            raise errors.UserError(
                f"{self.folder}: {name} stands twice, under its old and new name or "
                "in two shards; keep one"
            )
        self.shapes[name] = tuple(entry.get_shape())
        self._places[name] = file, stored

    def stored(self, name: str) -> str:
        """Returns what an array is called in its file."""
        return self._places[name][1]

    def read(self, name: str) -> npt.NDArray[np.float32]:
        """Returns one array, float32."""
        file, stored = self._places[name]
        with _opened(file) as tensors:
            return np.asarray(tensors.get_tensor(stored), np.float32)


@contextlib.contextmanager
def _opened(file: str) -> Iterator[Any]:
    try:
        # Half-precision arrays have ml_dtypes' type, which TensorFlow registers.
        with safetensors.safe_open(file, framework="numpy") as tensors:
            yield tensors
    except (OSError, safetensors.SafetensorError) as error:
        raise errors.UserError(
            f"cannot read {file}: {errors.reason(error)}; copy or download it again"
        ) from None


def _weight_files(folder: str, architecture: str) -> dict[str, list[str] | None]:
    """Returns the files with weights, and of shards which names they hold."""
    path = os.path.join(folder, hugging_face.WEIGHTS)
    if os.path.isfile(path):
        return {path: None}
    if os.path.isfile(os.path.join(folder, hugging_face.INDEX)):
        return _shards(folder)
    for file in sorted(os.listdir(folder)):
        for start, argument in hugging_face.FOREIGN_WEIGHTS.items():
            if file.startswith(start):
                code = (
                    "import transformers as t; "
                    f"t.{architecture}.from_pretrained({folder!r}{argument})"
                    f".save_pretrained({folder!r})"
                )
                raise errors.UserError(
                    f"{os.path.join(folder, file)}: only {hugging_face.WEIGHTS} is "
                    "read; write it where transformers is installed: python -c "
                    f"{shlex.quote(code)}"
                )
    raise errors.UserError(
        f"{folder} has no {hugging_face.WEIGHTS}; download or copy it beside "
        f"{hugging_face.CONFIG}"
    )


def _shards(folder: str) -> dict[str, list[str] | None]:
    path = os.path.join(folder, hugging_face.INDEX)
    places = reading.read_json(path).get("weight_map")
    files: dict[str, list[str] | None] = {}
    for name, file in places.items() if isinstance(places, dict) else ():
        if not isinstance(file, str) or file != os.path.basename(file) or not file:
            raise errors.UserError(
                f"{path}: weight_map puts {name!r} into {file!r}; want the name of a "
                "file beside it"
            )
        names = files.setdefault(os.path.join(folder, file), [])
        assert names is not None
        names.append(name)
    if not files:
        raise errors.UserError(
            f"{path} names no weights; copy or download the directory again"
        )
    return files
