"""A task answers inputs, and measures its answers.

In:   inputs of any number and form; of `evaluate` labels, too.
Out:  the answers in the order of the inputs; loss and metrics.

It asks the task how outputs become answers (`answers`), and `batching` for batches.
"""

import collections
import concurrent.futures
import contextlib
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from electra_tf import errors
from electra_tf.network import tracing
from electra_tf.tasks import inputs, recipe, streams

if TYPE_CHECKING:
    from keras_hub.models import Task as _OtherHalf
else:
    _OtherHalf = object


class Predicting(_OtherHalf):
    """The part of a task that answers."""

    @errors.named_arguments
    def evaluate(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        verbose: Any = "auto",
        sample_weight: Any = None,
        steps: int | None = None,
        callbacks: Any = None,
        return_dict: bool = False,
        *,
        _use_cached_eval_dataset: bool = False,
    ) -> Any:
        """Returns loss and metrics, as `keras.Model.evaluate` does."""
        self._assert_compile_called("evaluate")
        if not _use_cached_eval_dataset:
            self._refuse_idle(x, batch_size)
            x = self._batches(x, y, sample_weight, batch_size or recipe.BATCH_SIZE)
            y = sample_weight = batch_size = None
        found = keras.Model.evaluate(
            self,
            x,
            y,
            batch_size=batch_size,
            verbose=verbose,
            sample_weight=sample_weight,
            steps=steps,
            callbacks=callbacks,
            return_dict=return_dict,
            _use_cached_eval_dataset=_use_cached_eval_dataset,
        )
        streams.warn_of_truncation(x, self._length(), self.way_out)
        return found

    def predict_on_batch(self, x: Any) -> Any:
        """Does as `predict`."""
        return self.predict(x)

    @errors.named_arguments
    def predict(
        self,
        x: Any,
        batch_size: int | None = None,
        verbose: Any = "auto",
        steps: int | None = None,
        callbacks: Any = None,
    ) -> Any:
        """Returns the task's answers, in the order of the inputs.

        The arguments are Keras'. Of Python values, which come a batch of like length
        after the other, none is left out (`steps`), and "auto" shows no progress.
        """
        x, steps = self.strings(x, steps)
        if isinstance(x, tf.data.Dataset) or self._is_prepared(x):
            data = self._batches(x, None, None, batch_size or recipe.BATCH_SIZE)
            return keras.Model.predict(
                self, data, verbose=verbose, steps=steps, callbacks=callbacks
            )
        self.check_length()
        rows, size = self.rows(x), batch_size or recipe.BATCH_SIZE
        inputs.warn_of_truncation(rows, self.preprocessor.sequence_length, self.way_out)
        with self.watched(len(rows.token_ids), size, verbose, steps, callbacks) as told:
            return self.answers(x, rows, self.outputs_of(rows, size, watchers=told))

    @contextlib.contextmanager
    def watched(
        self, count: int, batch_size: int, verbose: Any, steps: Any, callbacks: Any
    ) -> Iterator[keras.callbacks.CallbackList]:
        """Yields who is to be told of each batch of a prediction of Python values.

        Raises:
            UserError: `steps` would leave some out.
        """
        if steps is not None:
            raise errors.UserError(
                f"steps={steps} is for a tf.data.Dataset; give fewer inputs"
            )
        shown = 0 if verbose == "auto" else int(verbose)
        watchers = keras.callbacks.CallbackList(
            listed(callbacks),
            add_progbar=shown != 0,
            verbose=shown,
            epochs=1,
            steps=-(-count // batch_size),
            model=self,
        )
        watchers.on_predict_begin()
        yield watchers
        watchers.on_predict_end()

    def outputs_of(
        self,
        rows: inputs.Rows,
        batch_size: int,
        fields: dict[str, list[inputs.Ids]] | None = None,
        reduce: Callable[[Any], Any] | None = None,
        watchers: keras.callbacks.CallbackList | None = None,
        first_batch: int = 0,
    ) -> list[Any]:
        """Runs the model over rows, long ones first; returns each row's outputs.

        Args:
            rows: what to run it over.
            batch_size: rows at once.
            fields: more inputs of the model by name, one array per row, padded with 0.
            reduce: makes less of a batch's outputs, where they are large.
            watchers: are told of each batch when it is there.
            first_batch: its number, for them.

        Returns:
            One item per row: what the model returns, without the batch axis, numpy.
            Outputs a token keep the padding of their batch.
        """
        order = inputs.by_length(rows)
        longest = max(map(len, rows.token_ids), default=0)
        found: list[Any] = [None] * len(order)
        done = 0
        forward = self.forward()

        def run(places: inputs.Ids) -> Any:
            batch = inputs.padded(rows, places, longest, fields or {})
            out = forward(tf.nest.map_structure(tf.constant, batch))
            return tf.nest.map_structure(np.asarray, reduce(out) if reduce else out)

        starts = range(0, len(order), batch_size)
        batches = (order[start : start + batch_size] for start in starts)
        for number, out in enumerate(side_by_side(run, batches), first_batch):
            if watchers:
                watchers.on_predict_batch_begin(number)
                watchers.on_predict_batch_end(number, {"outputs": out})
            size = len(tf.nest.flatten(out)[0])
            for place, index in enumerate(order[done : done + size]):
                found[index] = tf.nest.map_structure(lambda a, p=place: a[p], out)
            done += size
        return found

    def forward(self) -> Any:
        """Returns the forward pass, a tf.function, anew when the variables are others.

        It takes the model's inputs by name, int32, and drops nothing.
        """
        weights = tuple(id(variable) for variable in self.weights)
        key = tracing.are_blocks_inlined(), weights
        if getattr(self, "_traced", (None, None))[0] != key:
            signature = {
                name: tf.TensorSpec(field.shape, tf.int32)
                for name, field in self.input.items()
            }
            function = tf.function(
                lambda x: self(x, training=False),
                input_signature=[signature],
                autograph=False,
            )
            function.get_concrete_function()  # Now: `outputs_of` calls it in threads.
            self._traced = (key, function)
        return self._traced[1]


def listed(callbacks: Any) -> list[Any]:
    """Returns callbacks, one or several, as a list of one's own."""
    if isinstance(callbacks, keras.callbacks.CallbackList):
        callbacks = callbacks.callbacks
    return keras.tree.flatten(callbacks) if callbacks else []


def side_by_side(
    function: Callable[[Any], Any], values: Iterable[Any]
) -> Iterator[Any]:
    """Yields the function of each value in order, while those to come are made.

    Two at once: a core that has nothing to do in one batch works at the other (D23).
    """
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        made: collections.deque[concurrent.futures.Future[Any]] = collections.deque()
        for value in values:
            made.append(pool.submit(function, value))
            if len(made) > 2:
                yield made.popleft().result()
        while made:
            yield made.popleft().result()


def mean_over_windows(outputs: list[Any], rows: inputs.Rows) -> npt.NDArray[Any]:
    """Averages arrays over the rows of each input: [inputs, ...]."""
    stacked = np.stack(outputs)
    sums = np.zeros((rows.num_inputs, *stacked.shape[1:]), np.float32)
    np.add.at(sums, rows.source, stacked)
    counts = np.bincount(rows.source, minlength=rows.num_inputs)
    counts = np.maximum(counts, 1).reshape(-1, *[1] * (sums.ndim - 1))
    return sums / counts.astype(np.float32)
