"""Batches of strings in a tf.data pipeline become batches of rows of like length.

In:   a tf.data.Dataset of (inputs, labels, weights); inputs are string [B] or [B, 1],
      or pairs of them: (first, second), or [B, 2].
Out:  the same with rows int32 [B, L], as many batches of the same sizes; where long
      texts become windows, as many batches as their rows fill.

Some batches at a time are read together, sorted by length, and cut again, as `inputs`
does with lists: padded each as it comes, they would cost twice as much.
"""

import warnings
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from electra_tf import errors
from electra_tf.tasks import graph, inputs, preprocessor


def batches(
    data: tf.data.Dataset,
    before: preprocessor.ElectraTextPreprocessor,
    targets: Callable[[tf.Tensor], Any],
    *,
    shuffle_seed: int | None = None,
    pool: int = inputs.POOL_BATCHES,
    long_texts: inputs.LongTexts | None = None,
    stride: int | None = None,
) -> tf.data.Dataset:
    """Makes batches of rows.

    Args:
        data: batches of strings, perhaps without end.
        before: says how texts become rows.
        targets: turns labels [B, ...] into targets [B, ...].
        shuffle_seed: shuffles the batches of a pool; None leaves them as they are.
        pool: batches that are sorted by length together; 1 leaves all as it is.
        long_texts: None = as `before` says.
        stride: of windows, in tokens; None = as `before` says.

    Returns:
        Batches; `lost`, int64 [2], counts the texts that lost tokens, and all.

    Raises:
        UserError: they are no batches of strings.
    """
    x = inputs_of(data)
    refuse_other(x)
    is_pair = isinstance(x, tuple) or x.shape[1:] == [2]
    # Refuses rows that have no room.
    inputs.frame_texts([], [] if is_pair else None, before.frame)
    long_texts, stride = long_texts or before.long_texts, stride or before.stride
    lost = tf.Variable([0, 0], trainable=False, dtype=tf.int64)

    def read(batch: Any, seed: tf.Tensor) -> Any:
        x, y, weight = keras.utils.unpack_x_y_sample_weight(_joined(batch))
        if weight is not None and weight.shape.rank == 2:
            weight = tf.squeeze(weight, 1)
        firsts, seconds = (
            None if text is None else tf.cast(before.tokenizer(text), tf.int32)
            for text in _texts(x)
        )
        rows = graph.frame_texts(
            firsts, seconds, before.frame, before.truncate, long_texts, stride
        )
        sizes = _sizes(tf.nest.flatten(batch)[0])
        if long_texts == "windows":
            sizes = _filled(tf.size(rows.source, tf.int64), tf.reduce_max(sizes))
            weight = _shared(rows, weight)
        num_cut = tf.reduce_sum(tf.cast(rows.truncated, tf.int64))
        counts = lost.assign_add([num_cut, tf.size(rows.first, tf.int64)])
        with tf.control_dependencies([counts]):
            turns = tf.range(tf.size(sizes))
        if shuffle_seed is not None:
            turns = _shuffled(sizes, seed)
        y = None if y is None else targets(y)
        order = tf.range(tf.size(rows.source))
        if pool > 1:
            lengths = tf.reduce_sum(rows.padding_mask, axis=1)
            order = tf.argsort(lengths, stable=True)
        return _ordered(rows, order, y, weight), sizes, turns

    def cut(rows: Any, sizes: tf.Tensor, turns: tf.Tensor) -> tf.data.Dataset:
        return tf.data.Dataset.from_tensor_slices(turns).map(
            lambda turn: _taken(rows, sizes, turn, before.frame.length)
        )

    plain = tf.autograph.experimental.do_not_convert  # Its errors are pages long.
    seeds = tf.data.Dataset.random(shuffle_seed or 0, rerandomize_each_iteration=True)
    pools = tf.data.Dataset.zip(data.ragged_batch(pool), seeds.batch(2))
    found = pools.map(plain(read), num_parallel_calls=2).flat_map(plain(cut))
    count = int(data.cardinality())
    if long_texts != "windows" and count != tf.data.UNKNOWN_CARDINALITY:
        found = found.apply(tf.data.experimental.assert_cardinality(count))
    options = tf.data.Options()
    options.autotune.enabled = False  # See `inputs.batches`.
    found = found.prefetch(2).with_options(options)
    found.lost = lost
    return found


def inputs_of(data: tf.data.Dataset) -> Any:
    """Returns the specification of a dataset's inputs, without labels and weights."""
    return keras.utils.unpack_x_y_sample_weight(data.element_spec)[0]


def texts(data: tf.data.Dataset) -> list[Any]:
    """Reads all batches: a list of strings, or of pairs of them.

    Raises:
        UserError: they are no batches of strings.
    """
    refuse_other(inputs_of(data))
    found: list[Any] = []
    for batch in data:
        firsts, seconds = _texts(keras.utils.unpack_x_y_sample_weight(batch)[0])
        one = firsts.numpy().tolist()
        found += (
            one if seconds is None else zip(one, seconds.numpy().tolist(), strict=True)
        )
    return found


def refuse_other(spec: Any) -> None:
    """Refuses what is no batch of texts, or of pairs, by its specification.

    Raises:
        UserError: see above.
    """
    texts = spec if isinstance(spec, tuple) else (spec,)
    for text in texts:
        if not isinstance(text, tf.TensorSpec) or text.dtype != tf.string:
            raise errors.UserError(
                f"the inputs of the dataset are {_told(text)}; want strings, or pairs "
                "of them, (first, second): see its map"
            )
        if text.shape.rank is None:
            raise errors.UserError(
                "the inputs of the dataset have no shape; want string [None]: see "
                "tf.ensure_shape, and output_signature of from_generator"
            )
        if text.shape.rank == 0:
            raise errors.UserError(
                "the dataset holds texts one by one; want batches: dataset.batch(32)"
            )
        wide = text.shape[1] if text.shape.rank == 2 else 1
        if text.shape.rank > 2 or wide not in ((1, 2) if len(texts) == 1 else (1,)):
            raise errors.UserError(
                f"the inputs of the dataset are string {text.shape}; want [B], or "
                "pairs, [B, 2]"
            )
    if len(texts) > 2:
        raise errors.UserError(
            f"the inputs of the dataset are {len(texts)} texts each; want one, or two"
        )


def counted(data: tf.data.Dataset) -> tf.data.Dataset:
    """Counts batches where nobody knows how many they are: those of windows.

    Schedules need it, and Keras would train a step too many.

    Args:
        data: has an end.
    """
    if int(data.cardinality()) != tf.data.UNKNOWN_CARDINALITY:
        return data
    count = data.reduce(np.int64(0), lambda count, *_: count + 1)
    known = data.apply(tf.data.experimental.assert_cardinality(count))
    if (lost := getattr(data, "lost", None)) is not None:
        known.lost = lost
        lost.assign([0, 0])
    return known


def warn_of_truncation(data: tf.data.Dataset, length: int, way_out: str) -> None:
    """Says how many texts lost their ends so far, of a dataset that `batches` made."""
    num_cut, count = map(int, getattr(data, "lost", (0, 0)))
    if num_cut:
        warnings.warn(
            f"{num_cut:,} of {count:,} texts read are longer than {length} tokens and "
            f"lost their end; {way_out}",
            stacklevel=3,
        )


def _told(spec: Any) -> str:
    if isinstance(spec, dict):
        return f"a dict of {', '.join(map(str, spec))}"
    is_tensor = isinstance(spec, tf.TensorSpec)
    return str(spec.dtype.name if is_tensor else type(spec).__name__)


def _texts(x: Any) -> tuple[tf.Tensor, tf.Tensor | None]:
    """Returns first texts, string [N], and second ones; None where there are none."""
    if not isinstance(x, tuple):
        x = tuple(x[:, i] for i in range(x.shape[1])) if x.shape.rank == 2 else (x,)
    texts = [tf.reshape(text, [-1]) for text in x]
    return texts[0], texts[1] if len(texts) == 2 else None


def _joined(batch: Any) -> Any:
    """Turns batches of batches into one batch of all."""
    return tf.nest.map_structure(
        lambda field: (
            field.values
            if isinstance(field, tf.RaggedTensor)
            else tf.reshape(field, tf.concat([[-1], tf.shape(field)[2:]], 0))
        ),
        batch,
    )


def _ordered(
    rows: graph.Rows, order: tf.Tensor, y: Any, weight: tf.Tensor | None
) -> Any:
    """Returns rows in an order, each with its text's target and weight."""
    text = tf.gather(rows.source, order)
    return keras.utils.pack_x_y_sample_weight(
        {name: tf.gather(field, order) for name, field in rows.fields().items()},
        None if y is None else tf.nest.map_structure(lambda a: tf.gather(a, text), y),
        None if weight is None else tf.gather(weight, text),
    )


def _sizes(field: Any) -> tf.Tensor:
    """Returns the sizes of batches of batches, int64."""
    if isinstance(field, tf.RaggedTensor):
        return field.row_lengths()
    shape = tf.shape(field, tf.int64)
    return tf.fill(shape[:1], shape[1])


def _filled(count: tf.Tensor, size: tf.Tensor) -> tf.Tensor:
    """Returns the sizes of the batches that so many rows fill."""
    number = tf.range(-(-count // size))
    return tf.minimum(size, count - number * size)


def _shared(rows: graph.Rows, weight: tf.Tensor | None) -> tf.Tensor:
    """Shares the weight of each text out among its windows, float32 [N]."""
    count = tf.math.bincount(tf.cast(rows.source, tf.int32), dtype=tf.float32)
    return (1.0 if weight is None else tf.cast(weight, tf.float32)) / count


def _shuffled(sizes: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Returns batches in an order of chance; a smaller one comes last.

    Keras would take it for the usual size.
    """
    noise = tf.random.stateless_uniform(tf.shape(sizes), seed)
    is_small = tf.cast(sizes < tf.reduce_max(sizes), tf.float32)
    return tf.argsort(noise + is_small)


def _taken(rows: Any, sizes: tf.Tensor, turn: tf.Tensor, longest: int) -> Any:
    """Takes one batch, of the padding that its rows need; to a length that recurs."""
    end = tf.cumsum(sizes)[turn]
    x, y, weight = keras.utils.unpack_x_y_sample_weight(
        keras.tree.map_structure(lambda field: field[end - sizes[turn] : end], rows)
    )
    length = tf.reduce_max(tf.reduce_sum(x["padding_mask"], axis=1))
    width = tf.minimum(inputs.round_up(length), longest)
    x = {name: field[:, :width] for name, field in x.items()}
    return keras.utils.pack_x_y_sample_weight(x, y, weight)
