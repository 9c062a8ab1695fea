"""Labels as people have them become class numbers, vectors, and weights.

In:   names, numbers, one-hot or multi-hot vectors, in any column; {class: weight}.
Out:  class numbers int32, or vectors float32 [N, C]; float32 weights.

N inputs, C classes.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from electra_tf import errors
from electra_tf.tasks import columns

# What a class may be called by.
Name = str | int | float


def of_inputs(y: Any, count: int, what: str = "labels") -> list[Any]:
    """Returns labels, or what `what` says, one per input; [N, 1] is read as [N].

    Raises:
        UserError: they are no column, or not as many.
    """
    found = each(y, count, what)
    if found and all(isinstance(one, list | tuple) and len(one) == 1 for one in found):
        found = [one for (one,) in found]
    return found


def each(y: Any, count: int, what: str = "labels") -> list[Any]:
    """Does as `of_inputs`, where a label may be a list."""
    found = columns.values(y, what)
    if len(found) != count:
        raise errors.UserError(f"{len(found)} {what} for {count} inputs; want one each")
    return found


def weights(sample_weight: Any, count: int) -> npt.NDArray[np.float32]:
    """Returns weights of the loss, float32 [N].

    Raises:
        UserError: they are not one per input, or no finite numbers.
    """
    found = of_inputs(sample_weight, count, "sample weights")
    for index, one in enumerate(found):
        if not isinstance(one, bool | int | float) or not math.isfinite(one):
            raise errors.UserError(
                f"sample weight {index} is {one!r:.60}; want a finite number, one an "
                "input"
            )
    return np.array(found, np.float32)


# Classes.


def count_classes(num_classes: int | None, class_names: Any) -> int:
    """Returns how many classes there are by what is stated of them.

    Raises:
        UserError: nothing is stated, or two things that do not agree.
    """
    names = None if class_names is None else read_names(class_names)
    count = num_classes if names is None else len(names)
    if count is None or count < 1:
        raise errors.UserError(
            f"num_classes={num_classes}: say how many classes there are, 1 or more"
        )
    if num_classes not in (None, count):
        raise errors.UserError(f"{count} class_names for num_classes={num_classes}")
    if names and len(set(map(str, names))) < count:
        raise errors.UserError(f"class_names={names!r:.60}: want different names")
    return count


def read_names(class_names: Any) -> list[Name]:
    """Returns the names of classes, strings or numbers, as Python has them.

    Raises:
        UserError: they are no column, or some are neither.
    """
    names = columns.values(class_names, "class_names")
    names = [decoded(name) if isinstance(name, bytes) else name for name in names]
    for name in names:
        if not isinstance(name, Name) or name != name:
            raise errors.UserError(
                f"class_names has {name!r:.60}, a {type(name).__name__}; want strings "
                "or numbers"
            )
    return names


def learn_names(labels: Iterable[Any], num_classes: int) -> list[Name]:
    """Returns the different labels, sorted.

    Raises:
        UserError: there are not `num_classes` of them, or some are no strings.
    """
    found = list(labels)
    for label in found:
        if not isinstance(label, str | bytes):
            raise errors.UserError(
                f"label {label!r:.60} is a {type(label).__name__}, others are "
                "strings; want either"
            )
    names: list[Name] = [*sorted({decoded(label) for label in found})]
    if len(names) != num_classes:
        raise errors.UserError(
            f"the labels have {len(names)} values ({errors.listed(names)}), "
            f"num_classes={num_classes}; make them agree, or give class_names"
        )
    return names


class Classes:
    """Finds the class that a label means.

    A name is the class that is called so. A number is the class that is called by it,
    where some class is called by a number, or by a string that reads like one: of
    class_names=[1, 0], the label 1 is the first. Else it is a place, from 0.

    Args:
        count: how many there are.
        names: of them, in order; None where they have none.
    """

    def __init__(self, count: int, names: Sequence[Name] | None) -> None:
        self.count, self.names = count, list(names or ())
        self._places = {str(name): place for place, name in enumerate(self.names)}
        self._values: dict[float, int] = {}
        for place, name in enumerate(self.names):
            if (value := _value(name)) is not None:
                self._values.setdefault(value, place)

    def number(self, label: Any) -> int:
        """Returns the class of a label, a name or a number.

        Raises:
            UserError: it is none of them.
        """
        place = None
        if isinstance(label, str | bytes | bool):
            place = self._places.get(decoded(label))
        if place is None and isinstance(label, int | float):
            place = self._numbered(label)
        if place is None:
            raise errors.UserError(
                f"label {label!r:.60} is none of the classes{self._told(label)}"
            )
        return place

    def _numbered(self, label: float) -> int | None:
        if self._values:
            return self._values.get(float(label))
        if math.isfinite(label) and 0 <= label < self.count and label == int(label):
            return int(label)
        return None

    def _told(self, label: Any) -> str:
        if self._values or isinstance(label, str | bytes):
            return ": " + ", ".join(map(repr, self.names))
        way_out = "; if they have other names, give class_names=[...]"
        return f" 0 to {self.count - 1}" + way_out * (not self.names)

    def in_graph(self, y: tf.Tensor) -> tf.Tensor:
        """Turns labels of any shape, names or numbers, into class numbers int32."""
        if y.dtype == tf.bool:
            is_named = {"True", "False"} <= self._places.keys()
            y = tf.where(y, "True", "False") if is_named else tf.cast(y, tf.int32)
        known: list[Any]
        if y.dtype == tf.string:
            known, places = list(self._places), list(self._places.values())
        elif self._values:
            y = tf.cast(y, tf.float64)
            known, places = list(self._values), list(self._values.values())
        else:
            known = places = [*range(self.count)]
        found = tf.equal(y[..., None], tf.constant(known, y.dtype))
        every = tf.reduce_all(tf.reduce_any(found, axis=-1))
        message = ["a label is none of the classes:", y, "; want", known]
        with tf.control_dependencies([tf.Assert(every, message)]):
            return tf.gather(tf.constant(places, tf.int32), tf.argmax(found, axis=-1))

    def weights(self, class_weight: Any) -> npt.NDArray[np.float32]:
        """Returns the weight of each class, [C]; 1 where nothing is said of it.

        Args:
            class_weight: {name or number: weight}, or C weights in a column.

        Raises:
            UserError: it is neither, or names no class, or one twice.
        """
        if isinstance(class_weight, str | bytes | int | float):
            raise errors.UserError(
                f"class_weight={class_weight!r:.60}: want {{class: weight}}, or a "
                "weight for each class in their order"
            )
        if not isinstance(class_weight, Mapping):
            given = columns.values(class_weight, "class_weight")
            if len(given) != self.count:
                raise errors.UserError(
                    f"class_weight has {len(given)} weights for {self.count} classes; "
                    "want {class: weight}, or one each"
                )
            class_weight = dict(
                zip(self.names or range(self.count), given, strict=True)
            )
        found: dict[int, float] = {}
        for label, weight in columns.plain(class_weight).items():
            place = self.number(columns.plain(label))
            if place in found:
                raise errors.UserError(
                    f"class_weight: {label!r:.60} stands there twice"
                )
            if not isinstance(weight, int | float) or not 0 <= weight < math.inf:
                raise errors.UserError(
                    f"class_weight of {label!r:.60} is {weight!r:.60}; want a number, "
                    "0 or more"
                )
            found[place] = weight
        return np.array(
            [found.get(place, 1.0) for place in range(self.count)], np.float32
        )


def decoded(label: Any) -> str:
    """Returns a name as a string."""
    return label.decode(errors="replace") if isinstance(label, bytes) else str(label)


def _value(name: Name) -> float | None:
    """Returns the number that a name is, or reads like; None where it is none."""
    try:
        value = float(name)
    except ValueError:
        return None
    return value if math.isfinite(value) and not isinstance(name, bool) else None


# One-hot and multi-hot labels.


def are_vectors(found: Sequence[Any]) -> bool:
    """Tells whether labels, as `of_inputs` returns them, are vectors."""
    return any(isinstance(one, list | tuple) for one in found)


def vectors(found: Sequence[Any], width: int) -> npt.NDArray[np.float32]:
    """Returns vectors, float32 [N, width].

    Raises:
        UserError: some are no vectors of so many finite numbers.
    """
    for index, one in enumerate(found):
        is_vector = isinstance(one, list | tuple) and len(one) == width
        if not is_vector or not all(
            isinstance(value, bool | int | float) and math.isfinite(value)
            for value in one
        ):
            raise errors.UserError(
                f"label {index} is {one!r:.60}, others are vectors; want {width} "
                "numbers each, one per class"
            )
    return np.array(found, np.float32).reshape(-1, width)


def hot_places(hot: npt.NDArray[np.float32]) -> npt.NDArray[np.int32]:
    """Returns where the 1 of each one-hot vector stands, int32 [N].

    Raises:
        UserError: one has not a single 1, all else 0.
    """
    is_hot = np.isin(hot, (0, 1)).all(axis=1) & (hot.sum(axis=1) == 1)
    if not is_hot.all():
        index = int(np.argmin(is_hot))
        raise errors.UserError(
            f"label {index} is {hot[index].tolist()!r:.60}, and the loss takes one "
            "class an input; for shares or several classes compile with a loss of "
            "vectors, such as keras.losses.BinaryCrossentropy(from_logits=True)"
        )
    return np.array(np.argmax(hot, axis=1), np.int32)


def hot_places_in_graph(hot: tf.Tensor) -> tf.Tensor:
    """Does the same to a batch of a tf.data pipeline."""
    ones = tf.cast(tf.equal(hot, 1.0), tf.float32)
    is_hot = tf.reduce_all(tf.equal(ones, hot)) & tf.reduce_all(
        tf.equal(tf.reduce_sum(ones, axis=1), 1.0)
    )
    message = ["the loss takes one class per input; labels are not one-hot:", hot]
    with tf.control_dependencies([tf.Assert(is_hot, message)]):
        return tf.argmax(hot, axis=1, output_type=tf.int32)
