"""Weights are small in a SavedModel's files, and float32 once it is loaded.

In:   a model's variables, and how their matrices are stored: float16, bfloat16, int8.
Out:  what the SavedModel tracks; and, while its functions are traced, what they read.

A resource of the graph unpacks each stored matrix when the server loads the model, so
that an answer takes no longer. Vectors, a hundredth of the weights, stay float32.
"""

import contextlib
import hashlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

Tracing = Callable[[], contextlib.AbstractContextManager[Any]]


class Stored(NamedTuple):
    """What to save, and how to trace what reads it."""

    tracked: list[Any]
    tracing: Tracing


def store(variables: Sequence[keras.Variable], kind: str) -> Stored:
    """Prepares variables to be saved.

    Args:
        variables: of a Keras model.
        kind: "float32" saves them as they are; or "float16", "bfloat16", "int8".
    """
    if kind == "float32":
        return Stored([one.value for one in variables], contextlib.nullcontext)
    tracked: list[Any] = []
    unpacked: dict[int, _Unpacked] = {}
    for number, one in enumerate(variables):
        if len(one.shape) < 2:
            tracked.append(one.value)
            continue
        values = keras.ops.convert_to_numpy(one)
        found = _Unpacked(*_pack(values, kind), number)
        unpacked[id(one)] = found
        tracked += [found, *found.stored]
    return Stored(tracked, lambda: _tracing(unpacked))


@contextlib.contextmanager
def _tracing(unpacked: dict[int, "_Unpacked"]) -> Iterator[None]:
    """Makes Keras' variables read what was unpacked, in whichever graph is traced."""

    class Scope(keras.StatelessScope):
        def get_current_value(self, variable: keras.Variable) -> Any:
            found = unpacked.get(id(variable))
            return found.read() if found else super().get_current_value(variable)

    with Scope():
        yield


def _pack(values: npt.NDArray[np.float32], kind: str) -> tuple[Any, Any]:
    """Returns what is stored of a matrix, and its scales, if any.

    int8 has a scale for each index of the longer axis: a word of the table, a unit of a
    layer.
    """
    if kind != "int8":
        return tf.cast(values, kind).numpy(), None
    along = 1 if values.shape[0] > values.shape[1] else 0
    scales = np.max(np.abs(values), axis=along, keepdims=True) / 127.0
    scales = np.where(scales == 0.0, 1.0, scales).astype(np.float32)
    return np.rint(values / scales).astype(np.int8), scales


class _Unpacked(tf.saved_model.experimental.TrackableResource):
    """A float32 matrix that is made of a stored one on loading.

    TensorFlow saves the graphs of the last two methods, and runs them when it loads.
    """

    def __init__(self, values: Any, scales: Any, number: int) -> None:
        super().__init__()
        self.stored = [tf.Variable(values, trainable=False)]
        self.stored += [] if scales is None else [tf.Variable(scales, trainable=False)]
        # Models in one process share what has the same name.
        digest = hashlib.sha256(values.tobytes())
        digest.update(b"" if scales is None else scales.tobytes())
        self._name = f"unpacked_{number}_{digest.hexdigest()[:16]}"
        self._initialize()

    def read(self) -> tf.Tensor:
        """Returns the matrix."""
        found = tf.raw_ops.ReadVariableOp(
            resource=self.resource_handle, dtype=tf.float32
        )
        return tf.ensure_shape(found, self.stored[0].shape)

    def _create_resource(self) -> tf.Tensor:
        return tf.raw_ops.VarHandleOp(
            dtype=tf.float32, shape=self.stored[0].shape, shared_name=self._name
        )

    def _initialize(self) -> None:
        value = tf.cast(self.stored[0].read_value(), tf.float32)
        if len(self.stored) > 1:
            value *= self.stored[1].read_value()
        tf.raw_ops.AssignVariableOp(resource=self.resource_handle, value=value)
