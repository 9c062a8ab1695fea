"""Several classes of one text: labels become vectors, probabilities sets of classes.

In:   classes of each input, by name or number, or a vector of 0 and 1 of each.
Out:  float32 [N, C]; places of classes; F1.

N inputs, C classes.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from electra_tf import errors
from electra_tf.tasks import labels

# Above which probability a class is one of a text's.
THRESHOLD = 0.5

Thresholds = float | Sequence[float]  # of all classes, or one each


def check_thresholds(thresholds: Any, num_classes: int) -> float | list[float]:
    """Returns thresholds as numbers.

    Raises:
        UserError: they are not between 0 and 1, or not one or `num_classes`.
    """
    try:
        values = np.asarray(thresholds, np.float64)
    except (TypeError, ValueError):
        values = np.array([math.nan])
    fits = values.shape in ((), (num_classes,))
    if not fits or not ((values > 0.0) & (values < 1.0)).all():
        raise errors.UserError(
            f"thresholds={thresholds!r:.60}: want a number between 0 and 1, or "
            f"{num_classes} of them, one per class"
        )
    found: float | list[float] = values.tolist()
    return found


def lists(y: Any, num_inputs: int) -> list[list[Any]]:
    """Returns the labels of each input as a list, whatever they came in.

    Raises:
        UserError: there are not as many as inputs, or some are no list.
    """
    if hasattr(y, "toarray"):  # a sparse matrix
        y = y.toarray()
    return [
        _list(row, number) for number, row in enumerate(labels.of_inputs(y, num_inputs))
    ]


def _list(row: Any, number: int) -> list[Any]:
    if isinstance(row, str | bytes | bool | int | float) and row == row:
        return [row]
    if isinstance(row, list | tuple | set | frozenset):
        return [one.decode() if isinstance(one, bytes) else one for one in row]
    raise errors.UserError(
        f"label {number} is {row!r:.60}; want a list of classes, or a vector of 0 and 1"
    )


def vectors(
    rows: Sequence[list[Any]], num_classes: int, number: Callable[[Any], int]
) -> npt.NDArray[np.float32]:
    """Turns lists of labels into vectors, float32 [N, C].

    They are vectors already where each has a number from 0 to 1 for each class.

    Args:
        rows: as `lists` returns them.
        num_classes: C.
        number: returns the number of a class, by its name or number.

    Raises:
        UserError: some are neither.
    """
    if rows and all(_is_vector(row, num_classes) for row in rows):
        return np.array(rows, np.float32)
    found = np.zeros((len(rows), num_classes), np.float32)
    for place, row in enumerate(rows):
        for label in row:
            found[place, number(label)] = 1.0
    return found


def _is_vector(row: list[Any], size: int) -> bool:
    return len(row) == size and all(
        isinstance(value, bool | int | float) and 0.0 <= value <= 1.0 for value in row
    )


def vectors_in_graph(
    y: Any, num_classes: int, number: Callable[[tf.Tensor], tf.Tensor]
) -> tf.Tensor:
    """Turns a batch of labels into vectors, float32 [B, C].

    Args:
        y: numbers [B, C]; strings [B, n], "" for none; or ragged ones.
        num_classes: C.
        number: turns class names, or numbers, into class numbers.

    Raises:
        UserError: it is none of these.
    """
    if isinstance(y, tf.RaggedTensor):
        hot = tf.one_hot(number(y.values), num_classes)
        return tf.minimum(
            tf.math.unsorted_segment_sum(hot, y.value_rowids(), y.nrows()), 1.0
        )
    if y.shape.rank == 2 and y.dtype == tf.string:
        places = tf.where(tf.not_equal(y, ""))
        hot = tf.one_hot(number(tf.gather_nd(y, places)), num_classes)
        return tf.minimum(
            tf.math.unsorted_segment_sum(hot, places[:, 0], tf.shape(y)[0]), 1.0
        )
    if y.shape.rank == 2 and y.shape[1] in (None, num_classes):
        return tf.cast(y, tf.float32)
    raise errors.UserError(
        f"labels of shape {tuple(y.shape)}, {y.dtype.name}, in a tf.data.Dataset; want "
        f"vectors [B, {num_classes}] of 0 and 1, or a RaggedTensor of classes"
    )


@keras.saving.register_keras_serializable(package="electra_tf")
class MicroF1(keras.metrics.Metric):
    """F1 over all pairs of an input and a class.

    Args:
        thresholds: above which probability a class is predicted; one, or one per class.
        from_logits: whether predictions are logits.
    """

    def __init__(
        self,
        thresholds: Thresholds = THRESHOLD,
        from_logits: bool = False,
        name: str = "micro_f1",
        **kwargs: Any,
    ) -> None:
        super().__init__(name=name, **kwargs)
        self.thresholds, self.from_logits = thresholds, from_logits
        self.hits = self.add_variable((), "zeros", name="hits")
        self.said = self.add_variable((), "zeros", name="said")

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Counts a batch, [B, C]; weights are of its rows."""
        shares = keras.ops.sigmoid(y_pred) if self.from_logits else y_pred
        found = keras.ops.cast(shares > np.asarray(self.thresholds), "float32")
        right = keras.ops.cast(keras.ops.greater(y_true, 0.5), "float32")
        hits = keras.ops.sum(found * right, axis=-1)
        said = keras.ops.sum(found + right, axis=-1)
        if sample_weight is not None:
            weight = keras.ops.reshape(keras.ops.cast(sample_weight, "float32"), (-1,))
            hits, said = hits * weight, said * weight
        self.hits.assign_add(keras.ops.sum(hits))
        self.said.assign_add(keras.ops.sum(said))

    def result(self) -> Any:
        """Returns it; 0 where nothing was said and nothing is right."""
        return keras.ops.divide_no_nan(2.0 * self.hits, self.said)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments that make the same metric."""
        return {
            **super().get_config(),
            "thresholds": self.thresholds,
            "from_logits": self.from_logits,
        }
