"""What `fit` is given becomes batches for a task's model.

In:   Python strings and labels, arrays of token ids, or a tf.data.Dataset of either;
      weights of samples and classes.
Out:  a tf.data.Dataset of (rows, targets, weights).

It asks the task how inputs become rows and labels targets: `examples`, `rows`,
`targets`, `graph_targets`.
"""

from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from electra_tf import errors
from electra_tf.tasks import columns, inputs, labels, recipe, streams

if TYPE_CHECKING:
    from keras_hub.models import Task as _OtherHalf
else:
    _OtherHalf = object


class Batching(_OtherHalf):
    """The part of a task that makes batches."""

    def dataset(
        self,
        x: Any,
        y: Any = None,
        sample_weight: Any = None,
        batch_size: int = recipe.BATCH_SIZE,
        shuffle_seed: int | None = None,
        in_order: bool = False,
    ) -> tf.data.Dataset:
        """Makes batches for the model, from what `fit` takes.

        Args:
            x: inputs.
            y: labels.
            sample_weight: of the loss.
            batch_size: inputs a batch.
            shuffle_seed: see `inputs.batches`.
            in_order: whether what is not shuffled stays as it is; else the longest come
                first, which takes less time.
        """
        if isinstance(x, tf.data.Dataset):
            pool = 1 if in_order else self.pool_batches
            return self._of_dataset(x, shuffle_seed, pool)
        rows, targets = self.labelled_rows(x, y)
        return inputs.batches(
            rows,
            targets,
            batch_size,
            shuffle_seed=shuffle_seed,
            weights=self.row_weights(rows, sample_weight),
            order=None if in_order else inputs.by_length(rows),
        )

    def _of_dataset(
        self, data: tf.data.Dataset, shuffle_seed: int | None, pool: int
    ) -> tf.data.Dataset:
        """Makes batches of those of a dataset, of strings or of token ids."""
        self.check_length()
        if self._is_prepared(streams.inputs_of(data)):
            return data.map(self._with_targets, tf.data.AUTOTUNE).prefetch(2)
        if self.of_lists:
            raise errors.UserError(self.of_lists)
        return streams.batches(
            data,
            self.preprocessor,
            self.graph_targets,
            shuffle_seed=shuffle_seed,
            pool=pool,
        )

    @tf.autograph.experimental.do_not_convert  # Whose errors are pages long.
    def _with_targets(self, x: Any, y: Any = None, sample_weight: Any = None) -> Any:
        """Turns labels of a batch of token ids into targets."""
        y = None if y is None else self.graph_targets(y)
        return keras.utils.pack_x_y_sample_weight(x, y, sample_weight)

    def _weighed(self, data: tf.data.Dataset, class_weight: Any) -> tf.data.Dataset:
        """Gives each label of batches the weight of its class.

        Raises:
            UserError: there are no classes, or several an input.
        """
        if class_weight is None:
            return data
        if self.classes is None:
            raise errors.UserError(
                f"class_weight: {type(self).__name__} has no classes to weigh; give "
                "sample_weight, a weight an input"
            )
        table = self.classes.weights(class_weight)
        is_vector = data.element_spec[1].dtype.is_floating
        if is_vector and "categorical" not in recipe.loss_name(self.loss):
            raise errors.UserError(
                "class_weight: the labels may have several classes each, and the loss "
                "is one for all; give sample_weight, a weight an input"
            )

        @tf.autograph.experimental.do_not_convert
        def weigh(x: Any, y: tf.Tensor, sample_weight: Any = 1.0) -> Any:
            if is_vector:
                weights = tf.linalg.matvec(y, table)
            else:  # -1 stands where there is no label.
                weights = tf.gather(table, tf.maximum(y, 0))
            return x, y, weights * tf.cast(sample_weight, tf.float32)

        return data.map(weigh)

    def strings(self, x: Any, steps: int | None = None) -> tuple[Any, int | None]:
        """Returns inputs, those of a dataset of strings as a list, and what is left.

        Args:
            x: inputs.
            steps: batches of the dataset to take; None = all.

        Returns:
            The inputs; and steps, None where they were taken.

        Raises:
            UserError: they have no end.
        """
        if not isinstance(x, tf.data.Dataset) or self._is_prepared(
            streams.inputs_of(x)
        ):
            return x, steps
        if steps is None and int(x.cardinality()) == tf.data.INFINITE_CARDINALITY:
            raise errors.UserError(
                "the dataset has no end; give steps=..., or .take(...)"
            )
        return streams.texts(x if steps is None else x.take(steps)), None

    def labelled_rows(self, x: Any, y: Any) -> tuple[inputs.Rows, Any]:
        """Turns inputs into rows and labels into targets; says what was cut."""
        self.check_length()
        columns.refuse_streams(x, "inputs")
        rows = self.rows(x)
        if not rows.token_ids:
            raise errors.UserError("no inputs to train or evaluate on: x is empty")
        targets = self.targets(y, rows)
        inputs.warn_of_truncation(rows, self.preprocessor.sequence_length, self.way_out)
        return rows, targets

    def _batches(
        self,
        x: Any,
        y: Any,
        sample_weight: Any,
        batch_size: int,
        shuffle_seed: int | None = None,
        in_order: bool = False,
    ) -> tf.data.Dataset:
        """Does as `dataset`, and takes arrays of token ids too."""
        if isinstance(x, tf.data.Dataset):
            if y is not None or sample_weight is not None:
                raise errors.UserError(
                    "labels and weights come with a tf.data.Dataset: make it one of "
                    "(inputs, labels, weights)"
                )
            made = self.dataset(x, shuffle_seed=shuffle_seed, in_order=in_order)
            return streams.counted(made) if int(x.cardinality()) >= 0 else made
        if not self._is_prepared(x):
            return self.dataset(x, y, sample_weight, batch_size, shuffle_seed, in_order)
        given = ((y, "labels"), (sample_weight, "sample weights"))
        y, sample_weight = (_arrays(one, what) for one, what in given)
        fields = keras.utils.pack_x_y_sample_weight(x, y, sample_weight)
        data = tf.data.Dataset.from_tensor_slices(fields)
        if shuffle_seed is not None:
            data = data.shuffle(int(data.cardinality()), shuffle_seed)
        return data.batch(batch_size).map(self._with_targets).prefetch(2)

    def preprocess_samples(
        self, x: Any, y: Any = None, sample_weight: Any = None
    ) -> Any:
        """Turns inputs into one batch, for `train_on_batch` and `test_on_batch`."""
        (batch,) = self._batches(x, y, sample_weight, 10**9)
        return batch

    def row_weights(
        self, rows: inputs.Rows, sample_weight: Any
    ) -> npt.NDArray[np.float32] | None:
        """Turns weights, one per input, into the rows': windows share their text's."""
        return _weights(rows, sample_weight)

    def _split(self, x: Any, y: Any, weight: Any, rate: float) -> tuple[Any, ...]:
        """Holds out the end: x, y and weights of what is left; and those held out."""
        if isinstance(x, tf.data.Dataset):
            raise errors.UserError(
                "validation_split cannot cut a tf.data.Dataset; give validation_data"
            )
        columns.refuse_streams(x, "inputs")
        x = {**x} if self._is_prepared(x) else self.examples(x)
        count = len(next(iter(x.values()))) if isinstance(x, dict) else len(x)
        held_out = round(rate * count)
        if not 0 < held_out < count:
            raise errors.UserError(
                f"validation_split={rate} of {count:,} inputs leaves "
                f"{count - held_out:,} to train on and {held_out:,} to validate on; "
                "take another share, or give validation_data"
            )

        def part(cut: slice) -> tuple[Any, ...]:
            fields = (
                {name: field[cut] for name, field in x.items()}
                if isinstance(x, dict)
                else x[cut]
            )
            return (fields, *(None if one is None else one[cut] for one in others))

        others = [
            None if one is None else columns.values(one, what)
            for one, what in ((y, "labels"), (weight, "sample weights"))
        ]
        return (*part(slice(count - held_out)), part(slice(count - held_out, None)))

    def _is_prepared(self, x: Any) -> bool:
        """Tells whether inputs are token ids already."""
        return self.preprocessor is None or (isinstance(x, dict) and "token_ids" in x)

    def _refuse_idle(self, x: Any, batch_size: int | None = None) -> None:
        """Refuses what has no effect on a dataset, and a dataset without labels."""
        if not isinstance(x, tf.data.Dataset):
            return
        if self.of_lists and not self._is_prepared(streams.inputs_of(x)):
            raise errors.UserError(self.of_lists)
        if batch_size is not None:
            raise errors.UserError(
                f"batch_size={batch_size} has no effect on a tf.data.Dataset, whose "
                "batches stay as they are; see its rebatch"
            )
        if self.has_labels and not isinstance(x.element_spec, tuple):
            raise errors.UserError(
                "the dataset has no labels; want batches of (inputs, labels)"
            )

    def _length(self) -> int:
        return int(getattr(self.preprocessor, "sequence_length", 0))


def _arrays(given: Any, what: str) -> Any:
    """Returns labels or weights as arrays; by name, where the outputs are several."""
    if given is None:
        return None
    if isinstance(given, dict):
        return {name: _arrays(part, what) for name, part in given.items()}
    return np.array(columns.values(given, what))


def _weights(rows: inputs.Rows, sample_weight: Any) -> npt.NDArray[np.float32] | None:
    """Shares each input's weight out among its windows."""
    counts = np.bincount(rows.source, minlength=rows.num_inputs)
    if sample_weight is None and counts.max(initial=0) <= 1:
        return None
    if sample_weight is None:
        given = np.ones(rows.num_inputs, np.float32)
    else:
        given = labels.weights(sample_weight, rows.num_inputs)
    shares = given / np.maximum(counts, 1)
    return shares[rows.source].astype(np.float32)
