"""Texts become rows of token ids, rows become batches that waste little on padding.

In:   texts, or pairs of texts, as Python strings.
Out:  a tf.data.Dataset of {token_ids, segment_ids, padding_mask} int32 [B, L] with
      labels; L is the batch's longest row, rounded up.

A row is `[CLS] a [SEP]` or `[CLS] a [SEP] b [SEP]`. A long text may become several
rows, its windows. `graph` does the same where a server has no Python; here it is in
numpy, as a call into a graph takes longer than some hundred texts do (D49).
"""

import functools
import warnings
from collections.abc import Iterator, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from electra_tf import errors

# Rows are padded to a multiple of 8, so that a length recurs; up to each of these
# lengths of a step half as large, or short rows would be a fourth padding.
_HALVED_UP_TO = (16, 32, 64)

# Batches whose rows are sorted by length together, in training.
POOL_BATCHES = 50

Ids = npt.NDArray[np.int32]
LongTexts = Literal["truncate", "windows"]


class Rows(NamedTuple):
    """What the encoder is given."""

    token_ids: list[Ids]  # a row each, special tokens included
    segment_ids: list[Ids]
    source: npt.NDArray[np.int64]  # [rows], which input each row is of
    num_inputs: int
    num_truncated: int  # inputs that lost tokens
    starts: npt.NDArray[np.int64]  # [rows], the first token that each has of its text
    notes: Any = None  # what else a task needs to make answers of them


class Frame(NamedTuple):
    """What stands around the words of a row."""

    cls_id: int
    sep_id: int
    length: int  # of a row, at most
    is_fixed: bool = False  # Rows are padded to that length always, in a graph.


def frame_texts(
    firsts: Sequence[Ids],
    seconds: Sequence[Ids] | None,
    frame: Frame,
    truncate: str = "round_robin",
    long_texts: LongTexts = "truncate",
    stride: int | None = None,
) -> Rows:
    """Puts [CLS] and [SEP] around texts that are token ids already.

    Args:
        firsts: int32 ids of the texts.
        seconds: of the second texts, where they are pairs.
        frame: special tokens and the longest row.
        truncate: see `cut`.
        long_texts: "truncate" cuts; "windows" makes several rows, each `stride` tokens
            after the one before; with pairs, it is the second text that slides.
        stride: of the windows, in tokens; None = half of the room.
    """
    _refuse_short(frame, 1 if seconds is None else 2)
    token_ids: list[Ids] = []
    segment_ids: list[Ids] = []
    source: list[int] = []
    starts: list[int] = []
    num_truncated = 0
    for index, first in enumerate(firsts):
        pair = (first,) if seconds is None else (first, seconds[index])
        if long_texts == "windows":
            pieces, begins, lost = _windows(pair, frame, stride)
        else:
            kept = cut(pair, room(frame, len(pair)), truncate)
            lost = sum(map(len, kept)) < sum(map(len, pair))
            pieces, begins = [kept], [0]
        num_truncated += lost
        for piece in pieces:
            ids, segments = _framed(piece, frame)
            token_ids.append(ids)
            segment_ids.append(segments)
            source.append(index)
        starts += begins
    return Rows(
        token_ids,
        segment_ids,
        np.array(source, np.int64),
        len(firsts),
        num_truncated,
        np.array(starts, np.int64),
    )


def room(frame: Frame, num_texts: int) -> int:
    """Returns how many tokens of text a row holds beside its special tokens."""
    return frame.length - 1 - num_texts


def _refuse_short(frame: Frame, num_texts: int) -> None:
    if room(frame, num_texts) < num_texts:
        what = "texts" if num_texts == 1 else "pairs of texts"
        raise errors.UserError(
            f"sequence_length={frame.length} is too short for {what}; want at least "
            f"{1 + 2 * num_texts}: [CLS], and of each text a token and [SEP]"
        )


def cut(texts: Sequence[Ids], room: int, truncate: str) -> list[Ids]:
    """Cuts the ends of texts until all fit.

    Args:
        texts: one or two.
        room: tokens for all of them.
        truncate: "round_robin" cuts the longer one first, and of equals the second, as
            the 2020 code does; "waterfall" the second one first.
    """
    if len(texts) == 1:
        return [texts[0][:room]]
    first, second = texts
    least = room // 2 if truncate == "round_robin" else 0
    kept = min(len(second), max(least, room - len(first)))
    return [first[: room - kept], second[:kept]]


def warn_of_truncation(rows: Rows, length: int, way_out: str) -> None:
    """Says that texts lost their ends, once."""
    if rows.num_truncated:
        warnings.warn(
            f"{rows.num_truncated:,} of {rows.num_inputs:,} texts are longer than "
            f"{length} tokens and lost their end; {way_out}",
            stacklevel=3,
        )


Target = npt.NDArray[Any] | list[Ids]


def batches(
    rows: Rows,
    targets: Target | dict[str, Target] | None,
    batch_size: int,
    *,
    shuffle_seed: int | None = None,
    weights: npt.NDArray[np.float32] | None = None,
    order: npt.NDArray[np.int64] | None = None,
    fields: dict[str, list[Ids]] | None = None,
    together: bool = False,
) -> tf.data.Dataset:
    """Makes batches of rows of like length.

    Args:
        rows: from `frame_texts`.
        targets: an array [rows, ...], or int32 arrays, one number per token of each row
            (padded with -1); or several of these by name.
        batch_size: rows of a batch; the last may have fewer.
        shuffle_seed: shuffles anew each time the dataset is iterated over; None keeps
            `order`.
        weights: float32 [rows], of the loss.
        order: of the rows, where they are not shuffled; None = as they are.
        fields: more inputs of the model by name, one array per row, padded with 0.
        together: whether all rows of an input are one example, so that batches are
            [B, rows of an input, L]; targets, weights and order are then of inputs.
    """
    ids, segments = _ragged(rows.token_ids), _ragged(rows.segment_ids)
    lengths = np.array([len(row) for row in rows.token_ids], np.int64)
    if together:
        counts = np.bincount(rows.source, minlength=rows.num_inputs)
        ids = tf.RaggedTensor.from_row_lengths(ids, counts)
        segments = tf.RaggedTensor.from_row_lengths(segments, counts)
        lengths = np.maximum.reduceat(lengths, np.cumsum(counts) - counts)
    real = tf.ones_like(ids)
    held, longest = _held(targets), int(lengths.max(initial=0))
    more = {name: _ragged(values) for name, values in (fields or {}).items()}

    def make(places: tf.Tensor) -> Any:
        x = {
            "token_ids": _rectangle(ids, places, longest),
            "segment_ids": _rectangle(segments, places, longest),
            "padding_mask": _rectangle(real, places, longest),
        } | {name: _rectangle(values, places, longest) for name, values in more.items()}
        if targets is None:
            return (x,)
        if isinstance(held, dict):
            y = {name: _chosen(one, places, longest) for name, one in held.items()}
        else:
            y = _chosen(held, places, longest)
        return (x, y) if weights is None else (x, y, tf.gather(weights, places))

    choose = _Chooser(lengths, batch_size, shuffle_seed, order)
    chosen = tf.data.Dataset.from_generator(
        choose, output_signature=tf.TensorSpec([None], tf.int64)
    ).apply(tf.data.experimental.assert_cardinality(-(-len(lengths) // batch_size)))
    options = tf.data.Options()
    # Nothing to tune; and freeing an iterator waits for its tuner, up to a minute.
    options.autotune.enabled = False
    batches = chosen.map(make, num_parallel_calls=2, deterministic=True).prefetch(2)
    return batches.with_options(options)


def padded(
    rows: Rows, places: Ids, longest: int, fields: dict[str, list[Ids]]
) -> dict[str, Ids]:
    """Makes one batch, int32 [places, L], as `batches` does.

    `longest` is the length of the longest row of all, `fields` are more inputs by name.

    For prediction, which would wait longer for a tf.data pipeline to start than for
    some thousand texts.
    """
    held = {"token_ids": rows.token_ids, "segment_ids": rows.segment_ids, **fields}
    batch = {}
    for name, values in held.items():
        chosen = [values[place] for place in places]
        width = min(rounded_up(max(map(len, chosen))), longest)
        batch[name] = np.zeros((len(places), width), np.int32)
        for row, value in zip(batch[name], chosen, strict=True):
            row[: len(value)] = value
    lengths = [len(rows.token_ids[place]) for place in places]
    real = np.arange(batch["token_ids"].shape[1]) < np.array(lengths)[:, None]
    return batch | {"padding_mask": real.astype(np.int32)}


def by_length(rows: Rows) -> npt.NDArray[np.int64]:
    """Orders rows from the longest to the shortest, so that batches waste little."""
    lengths = np.array([len(row) for row in rows.token_ids], np.int64)
    return np.argsort(-lengths, kind="stable").astype(np.int64)


def best_places(rows: Rows) -> list[npt.NDArray[np.int64]]:
    """Finds in which row each token of each text has most context on both sides.

    Args:
        rows: of single texts.

    Returns:
        Of each input, int64 [tokens, 2], row and position; not of tokens that were cut
        off.
    """
    counts = [len(ids) - 2 for ids in rows.token_ids]
    sizes = np.zeros(rows.num_inputs, np.int64)
    np.maximum.at(sizes, rows.source, rows.starts + counts)
    found = [np.zeros((size, 2), np.int64) for size in sizes]
    most = [np.full(size, -1, np.int64) for size in sizes]
    for row, (start, count) in enumerate(zip(rows.starts, counts, strict=True)):
        context = np.minimum(np.arange(count), np.arange(count)[::-1])
        window = slice(start, start + count)
        source = rows.source[row]
        better = np.flatnonzero(context > most[source][window])
        most[source][start + better] = context[better]
        found[source][start + better] = np.stack([0 * better + row, better + 1], axis=1)
    return found


def spread(
    rows: Rows, tokens: Sequence[npt.NDArray[np.int64]], values: Sequence[Ids]
) -> list[Ids]:
    """Gives values of tokens to their best places; all other places have -1.

    Args:
        rows: of single texts.
        tokens: of each input, which of its tokens have a value.
        values: of each input, of these.
    """
    targets = [np.full(len(ids), -1, np.int32) for ids in rows.token_ids]
    for places, chosen, numbers in zip(best_places(rows), tokens, values, strict=True):
        there = chosen < len(places)
        for place, number in zip(places[chosen[there]], numbers[there], strict=True):
            targets[place[0]][place[1]] = number
    return targets


def gather(rows: Rows, outputs: list[Any]) -> list[npt.NDArray[Any]]:
    """Takes each token's outputs from its best place: of each input, [tokens, ...]."""
    found = [
        [outputs[row][position] for row, position in places]
        for places in best_places(rows)
    ]
    return [np.array(values) for values in found]


class _Chooser:
    """Yields the places of each batch's rows; shuffled, anew every time."""

    def __init__(
        self,
        lengths: npt.NDArray[np.int64],
        batch_size: int,
        seed: int | None,
        order: npt.NDArray[np.int64] | None,
    ) -> None:
        self._lengths, self._batch_size, self._seed = lengths, batch_size, seed
        self._order = np.arange(len(lengths)) if order is None else order
        self._epoch = 0

    def __call__(self) -> Iterator[npt.NDArray[np.int64]]:
        size = self._batch_size
        if self._seed is None:
            yield from _cut(self._order, size)
            return
        chance = np.random.default_rng([self._seed, self._epoch])
        self._epoch += 1
        chosen = []
        # Rows of like length share a batch, out of a pool drawn at random.
        for pool in _cut(chance.permutation(len(self._lengths)), size * POOL_BATCHES):
            pool = pool[np.argsort(self._lengths[pool], kind="stable")]
            chosen += _cut(pool, size)
        # A smaller batch comes last, or Keras would take it for the usual size.
        chosen.sort(key=len, reverse=True)
        whole = sum(len(places) == size for places in chosen)
        for place in [*chance.permutation(whole), *range(whole, len(chosen))]:
            yield chosen[place]


def _cut(places: npt.NDArray[np.int64], size: int) -> list[npt.NDArray[np.int64]]:
    return [places[start : start + size] for start in range(0, len(places), size)]


def _ragged(rows: list[Ids]) -> tf.RaggedTensor:
    values = np.concatenate(rows) if rows else np.zeros(0, np.int32)
    return tf.RaggedTensor.from_row_lengths(
        values.astype(np.int32), np.array([len(row) for row in rows], np.int64)
    )


def _held(targets: Any) -> Any:
    if isinstance(targets, dict):
        return {name: _held(target) for name, target in targets.items()}
    return _ragged(targets) if isinstance(targets, list) else targets


def _chosen(target: Any, places: tf.Tensor, longest: int) -> tf.Tensor:
    if isinstance(target, tf.RaggedTensor):
        return _rectangle(target, places, longest, padding=-1)
    return tf.gather(target, places)


def _rectangle(
    rows: tf.RaggedTensor, places: tf.Tensor, longest: int, padding: int = 0
) -> tf.Tensor:
    """Picks rows and pads them to the longest, rounded up.

    But to no more than the longest of all: the position table may end there.
    """
    chosen = tf.gather(rows, places)
    width = tf.minimum(round_up(chosen.bounding_shape()[-1]), longest)
    outer = [-1] * chosen.ragged_rank
    return chosen.to_tensor(padding, shape=tf.stack([*outer, width]))


def round_up(length: tf.Tensor) -> tf.Tensor:
    """Rounds a length up to one that recurs: 16, 18, 20, ... 32, 36, ... 64, 72, ..."""
    longer = length > tf.constant(_HALVED_UP_TO, length.dtype)
    step = tf.bitwise.left_shift(
        tf.ones_like(length), tf.reduce_sum(tf.cast(longer, length.dtype))
    )
    return -(-length // step) * step


@functools.cache
def rounded_up(length: int) -> int:
    """Does as `round_up`, where there is no graph."""
    return int(round_up(tf.constant(length)))


def _framed(texts: Sequence[Ids], frame: Frame) -> tuple[Ids, Ids]:
    sep = np.array([frame.sep_id], np.int32)
    parts = [np.array([frame.cls_id], np.int32)]
    for text in texts:
        parts += [text, sep]
    second = 0 if len(texts) == 1 else len(texts[1]) + 1
    ids = np.concatenate(parts).astype(np.int32)
    segments = np.zeros(len(ids), np.int32)
    segments[len(ids) - second :] = 1
    return ids, segments


def _windows(
    pair: Sequence[Ids], frame: Frame, stride: int | None
) -> tuple[list[Sequence[Ids]], list[int], bool]:
    """Cuts the last text into windows; a first one may take half of the room, or more.

    Returns:
        The windows, where in the last text each begins, and whether the first was cut.
    """
    *before, text = pair
    space = room(frame, len(pair))
    lost = False
    if before:
        kept = before[0][: max(space // 2, space - len(text))]
        lost = len(kept) < len(before[0])
        before, space = [kept], space - len(kept)
    step = max(1, min(space, stride or space // 2))  # There may be no room left.
    last = max(0, len(text) - space)
    starts = [*range(0, last, step), last]
    pieces: list[Sequence[Ids]] = [
        [*before, text[start : start + space]] for start in starts
    ]
    return pieces, starts, lost
