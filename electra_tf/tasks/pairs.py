"""Pairs of texts become batches in which several pairs share a row.

In:   sources and targets as token ids, or a tf.data.Dataset of strings.
Out:  a tf.data.Dataset of (inputs, next tokens, weights): `encoder_token_ids`,
      `encoder_padding_mask` int32 [R, S], `decoder_token_ids`, `decoder_padding_mask`
      int32 [R, T]; int32 and float32 [R, T].

R rows, S tokens of sources and T of targets in each. The masks number the pairs of a
row from 1; 0 is padding. A batch has so many pairs, not rows.
"""

import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from electra_tf import errors
from electra_tf.tasks import columns, inputs, preprocessor

# Tokens that a row has room for, of sources and of targets; longer pairs have one of
# their own. Longer rows leave less unused, and attention costs more in them.
ROW = 128

SOURCE, TARGET = "encoder_text", "decoder_text"

FIELDS = (
    "encoder_token_ids",
    "encoder_padding_mask",
    "decoder_token_ids",
    "decoder_padding_mask",
)

Ids = inputs.Ids


def frame(
    texts: Sequence[Ids], cls_id: int, sep_id: int, length: int
) -> tuple[list[Ids], int]:
    """Puts [CLS] and [SEP] around texts, cut to so many tokens with both."""
    start, end = np.array([cls_id], np.int32), np.array([sep_id], np.int32)
    framed = [
        np.concatenate([start, text[: length - 2], end]).astype(np.int32)
        for text in texts
    ]
    return framed, sum(len(text) > length - 2 for text in texts)


def split(x: Any, y: Any = None) -> tuple[list[str], list[str] | None]:
    """Returns sources and targets of what `fit` is given.

    Args:
        x: a dict of both; or pairs; or sources alone.
        y: targets, where `x` has none.

    Returns:
        Both; None for targets that are not there.

    Raises:
        UserError: they are no texts, or not as many of both.
    """
    if isinstance(x, dict):
        errors.refuse_unknown("the dict of inputs", x, (SOURCE, TARGET))
        if SOURCE not in x:
            raise errors.UserError(
                f"the dict of inputs has no {SOURCE}; it has {errors.listed(x)}"
            )
        x, inner = x[SOURCE], x.get(TARGET)
        if inner is not None and y is not None:
            raise errors.UserError(
                f"targets are given twice: {TARGET} and labels; leave one out"
            )
        y = inner if inner is not None else y
        sources = preprocessor.single_texts(x)
    elif y is not None:
        sources = preprocessor.single_texts(x)
    else:
        sources, y = preprocessor.split_pairs(x)
    if y is None:
        return sources, None
    if isinstance(y, str | bytes) or getattr(y, "shape", None) == ():
        y = [columns.plain(y)]
    targets = [_text(value, i) for i, value in enumerate(columns.values(y, "targets"))]
    if len(sources) != len(targets):
        raise errors.UserError(
            f"{len(sources)} sources and {len(targets)} targets; want as many of both"
        )
    return sources, targets


def _text(value: Any, index: int) -> str:
    if isinstance(value, bytes):
        return value.decode("utf-8", errors="replace")
    if isinstance(value, str):
        return str(value)
    raise errors.UserError(
        f"target {index} is {value!r:.60}, a {type(value).__name__}; want a string"
    )


def warn_of_cut(count: int, total: int, length: int, name: str, what: str) -> None:
    """Says that texts lost their ends, if any did.

    Args:
        count: how many.
        total: of how many.
        length: tokens that were left of them.
        name: the argument of the preprocessor that says so.
        what: they are.
    """
    if count:
        warnings.warn(
            f"{count:,} of {total:,} {what} are longer than {length} tokens and lost "
            f"their end; see {name}",
            stacklevel=3,
        )


# Rows.


def fill(sizes: npt.NDArray[np.int64], room: npt.NDArray[np.int64]) -> list[list[int]]:
    """Shares pairs out to rows, the largest first, each to the first that has room.

    Args:
        sizes: int [pairs, 2], tokens of source and target.
        room: int [2], of a row; no less than the largest pair.

    Returns:
        The pairs of each row.
    """
    free = np.empty((len(sizes), 2), np.int64)
    rows: list[list[int]] = []
    for pair in np.argsort(-(sizes / room).max(axis=1), kind="stable"):
        fits = (free[: len(rows)] >= sizes[pair]).all(axis=1)
        row = int(fits.argmax()) if fits.any() else len(rows)
        if row == len(rows):
            rows.append([])
            free[row] = room
        rows[row].append(int(pair))
        free[row] -= sizes[pair]
    return rows


def pack(
    sources: Sequence[Ids],
    targets: Sequence[Ids],
    weights: Sequence[float] | npt.NDArray[np.float32],
) -> tuple[npt.NDArray[Any], ...]:
    """Makes one batch: FIELDS, next tokens, and their weights."""
    sizes = np.array(
        [
            (len(source), len(target) - 1)
            for source, target in zip(sources, targets, strict=True)
        ],
        np.int64,
    )
    rows = fill(sizes, np.maximum(sizes.max(axis=0), ROW))
    used = [sizes[row].sum(axis=0) for row in rows]
    width, wide = (inputs.rounded_up(int(size)) for size in np.max(used, axis=0))
    shapes = [(len(rows), width)] * 2 + [(len(rows), wide)] * 3
    ids, numbers, before, numbers_too, after = (np.zeros(s, np.int32) for s in shapes)
    heed = np.zeros((len(rows), wide), np.float32)
    for index, row in enumerate(rows):
        at, to = 0, 0
        for number, pair in enumerate(row, 1):
            source, target = sources[pair], targets[pair]
            here, there = slice(at, at + len(source)), slice(to, to + len(target) - 1)
            ids[index, here], numbers[index, here] = source, number
            before[index, there], after[index, there] = target[:-1], target[1:]
            numbers_too[index, there], heed[index, there] = number, weights[pair]
            at, to = here.stop, there.stop
    return ids, numbers, before, numbers_too, after, heed


def padded(rows: Sequence[Ids]) -> tuple[Ids, Ids]:
    """Makes one array of rows, to a length that recurs; and its mask."""
    width = inputs.rounded_up(max(map(len, rows)))
    ids = np.zeros((len(rows), width), np.int32)
    for row, given in zip(ids, rows, strict=True):
        row[: len(given)] = given
    lengths = np.array([len(row) for row in rows])[:, None]
    return ids, (np.arange(width) < lengths).astype(np.int32)


_DTYPES = (*[tf.int32] * 5, tf.float32)
_SIGNATURE = tuple(tf.TensorSpec([None, None], dtype) for dtype in _DTYPES)


def _element(*fields: tf.Tensor) -> Any:
    return dict(zip(FIELDS, fields[:4], strict=True)), *fields[4:]


def batches(
    sources: Sequence[Ids],
    targets: Sequence[Ids],
    batch_size: int,
    *,
    shuffle_seed: int | None = None,
    weights: npt.NDArray[np.float32] | None = None,
    in_order: bool = False,
) -> tf.data.Dataset:
    """Makes batches of pairs.

    Args:
        sources: each `[CLS] text [SEP]`.
        targets: of each of them, likewise.
        batch_size: pairs of a batch; the last may have fewer.
        shuffle_seed: shuffles anew each time the dataset is iterated over; None does
            not.
        weights: float32 [pairs], of the loss.
        in_order: whether what is not shuffled stays as it is; else the longest come
            first, which fills rows better.
    """
    count = len(sources)
    heed = np.ones(count, np.float32) if weights is None else weights
    epochs = iter(range(10**9))
    order = np.arange(count)
    if not in_order:
        lengths = [len(target) for target in targets]
        order = np.argsort(-np.array(lengths), kind="stable")

    def make() -> Iterator[tuple[npt.NDArray[Any], ...]]:
        places = order
        if shuffle_seed is not None:
            chance = np.random.default_rng([shuffle_seed, next(epochs)])
            places = chance.permutation(count)
        for start in range(0, count, batch_size):
            chosen = places[start : start + batch_size]
            yield pack(
                [sources[place] for place in chosen],
                [targets[place] for place in chosen],
                heed[chosen],
            )

    made = tf.data.Dataset.from_generator(make, output_signature=_SIGNATURE)
    made = made.apply(tf.data.experimental.assert_cardinality(-(-count // batch_size)))
    return _untuned(made.map(_element))


def stream(data: tf.data.Dataset, before: Any) -> tf.data.Dataset:
    """Makes batches of those of a dataset, which stay as they are.

    Args:
        data: batches of dicts of SOURCE and TARGET, or of (source, target), strings
            [B]; perhaps with weights, float [B], as a last element.
        before: the `ElectraSeq2SeqPreprocessor`.

    Returns:
        Batches; `lost`, int64 [2], counts the texts that lost tokens, and all.

    Raises:
        UserError: they are nothing of the kind.
    """
    _refuse_other(data.element_spec)
    lost = tf.Variable([0, 0], trainable=False, dtype=tf.int64)
    words = before.tokenizer
    lengths = before.encoder_sequence_length, before.decoder_sequence_length

    def pack_flat(*fields: Any) -> Any:
        *texts, weights = fields
        framed: list[list[Ids]] = []
        num_cut = 0
        for flat, ends, length in zip(texts[::2], texts[1::2], lengths, strict=True):
            made, cut = before.frame(np.split(flat, ends[1:-1]), length)
            framed.append(made)
            num_cut += cut
        return *pack(framed[0], framed[1], weights), np.int64(num_cut)

    def read(*element: Any) -> Any:
        sources, targets, weights = _parts(element)
        if weights is None:
            weights = tf.ones(tf.shape(sources))
        texts = [tf.cast(words(text), tf.int32) for text in (sources, targets)]
        flat = [part for text in texts for part in (text.values, text.row_splits)]
        *fields, cut = tf.numpy_function(
            pack_flat,
            [*flat, tf.cast(weights, tf.float32)],
            [*_DTYPES, tf.int64],
        )
        counts = lost.assign_add([cut, 2 * tf.size(sources, tf.int64)])
        with tf.control_dependencies([counts]):
            shaped = [tf.ensure_shape(field, [None, None]) for field in fields]
        return _element(*shaped)

    plain = tf.autograph.experimental.do_not_convert  # Its errors are pages long.
    found = _untuned(data.map(plain(read), num_parallel_calls=2, deterministic=True))
    found.lost = lost
    return found


def _parts(element: tuple[Any, ...]) -> tuple[Any, Any, Any]:
    """Returns sources, targets and weights of an element of a dataset."""
    x, *others = element
    if isinstance(x, dict):
        weight = others[-1] if len(others) == 2 else None
        sources, targets = x[SOURCE], x[TARGET]
    else:
        sources, targets, weight = x, others[0], (others[1:] or [None])[0]
    flat = [tf.reshape(text, [-1]) for text in (sources, targets)]
    return *flat, None if weight is None else tf.reshape(weight, [-1])


def _refuse_other(spec: Any) -> None:
    """Refuses what is no batch of pairs, by its specification."""
    x = keras.utils.unpack_x_y_sample_weight(spec)[0]
    is_dict = isinstance(x, dict) and x.keys() == {SOURCE, TARGET}
    is_pair = isinstance(spec, tuple) and len(spec) > 1
    texts = [*x.values()] if is_dict else [*spec[:2]] if is_pair else []
    is_text = [getattr(text, "dtype", None) == tf.string for text in texts]
    if not texts or not all(is_text):
        raise errors.UserError(
            f"the dataset holds {errors.one_line(spec, 120)}; want batches of "
            f"{{{SOURCE!r}: ..., {TARGET!r}: ...}}, or of (source, target), strings"
        )
    if any(text.shape.rank == 0 for text in texts):
        raise errors.UserError(
            "the dataset holds texts one by one; want batches: dataset.batch(32)"
        )


def _untuned(data: tf.data.Dataset) -> tf.data.Dataset:
    options = tf.data.Options()
    options.autotune.enabled = False  # See `inputs.batches`.
    return data.prefetch(2).with_options(options)
