"""The best spans of contexts, inside a TensorFlow graph: for serving.

In:   what `question_answerer` says of windows; contexts as text.
Out:  of each context the likeliest spans of different text, as the task finds them in
      Python (D49).

N questions, R windows, K starts of a window, A ends of a start, S spans, T tokens of
all contexts.
"""

from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from electra_tf.tasks import graph


class Candidates(NamedTuple):
    """Spans of windows: from a token of the window on, of 1 to A tokens."""

    starts: tf.Tensor  # int64 [R, K], tokens; none of the window where negative
    scores: tf.Tensor  # float32 [R, K, A], log-probabilities


class Spans(NamedTuple):
    """The best spans of each context, the likeliest first, and then none."""

    texts: tf.Tensor  # string [N, S]
    starts: tf.Tensor  # int32 [N, S], characters
    ends: tf.Tensor  # int32 [N, S]
    scores: tf.Tensor  # float32 [N, S], log-probabilities; -inf where there is none
    counts: tf.Tensor  # int32 [N], how many there are


def best(
    contexts: tf.Tensor,
    starts: tf.RaggedTensor,
    ends: tf.RaggedTensor,
    rows: graph.Rows,
    found: Candidates,
    count: int,
) -> Spans:
    """Chooses among the spans that lie in their windows.

    A span counts in the window in which its start has most context, unless no span
    does. Of the same text, the likeliest one stays.

    Args:
        contexts: string [N].
        starts: int32 [N, (tokens)], the first character of each token.
        ends: int32 [N, (tokens)], the one after its last.
        rows: questions with the windows of their contexts.
        found: of each window.
        count: S, spans of a context at most.
    """
    length = tf.shape(found.scores, tf.int64)[2]
    last = found.starts[..., None] + tf.range(length)  # [R, K, A]
    counts = rows.counts[:, None]
    is_here = (found.starts >= 0) & (found.starts < counts)  # [R, K]
    fits = is_here[..., None] & (last < counts[..., None])
    begin = tf.gather(rows.first, rows.source) + rows.starts  # [R], among all tokens
    owner, _ = graph.best_places(rows)
    start = tf.where(is_here, begin[:, None] + found.starts, 0)  # [R, K]
    number = tf.range(tf.size(begin, tf.int64))
    # There may be no tokens at all.
    owner = tf.gather(tf.concat([owner, [-1]], 0), start)
    is_owned = fits & tf.equal(owner, number[:, None])[..., None]
    num_texts = tf.size(rows.first)
    any_owned = tf.math.unsorted_segment_max(
        tf.cast(tf.reduce_any(is_owned, axis=[1, 2]), tf.int32), rows.source, num_texts
    )
    taken = tf.where(
        tf.gather(any_owned > 0, rows.source)[:, None, None], is_owned, fits
    )
    places = tf.where(taken)  # in the order of windows, starts and ends
    scores = tf.gather_nd(found.scores, places)
    firsts = tf.gather_nd(start, places[:, :2])
    text = tf.gather(rows.source, places[:, 0])
    spans = tf.RaggedTensor.from_value_rowids(
        tf.stack([firsts, firsts + places[:, 2]], axis=-1),
        text,
        tf.size(rows.first, tf.int64),
    )  # [N, (spans), 2], first and last token
    codes = tf.strings.unicode_decode(contexts, "UTF-8")  # [N, (characters)]

    def choose(number: tf.Tensor) -> Spans:
        here = slice(spans.row_splits[number], spans.row_splits[number + 1])
        first, last = spans.values[here, 0], spans.values[here, 1]
        return _best_of_one(
            codes[number],
            tf.gather(starts.values, first),
            tf.gather(ends.values, last),
            scores[here],
            count,
        )

    chosen: Spans = tf.map_fn(
        choose,
        tf.range(tf.size(rows.first)),
        fn_output_signature=Spans(
            tf.TensorSpec([count], tf.string),
            tf.TensorSpec([count], tf.int32),
            tf.TensorSpec([count], tf.int32),
            tf.TensorSpec([count], tf.float32),
            tf.TensorSpec([], tf.int32),
        ),
    )
    return chosen


def _best_of_one(
    codes: tf.Tensor, starts: tf.Tensor, ends: tf.Tensor, scores: tf.Tensor, count: int
) -> Spans:
    """Chooses among the spans of a text.

    Args:
        codes: int32 [characters].
        starts: int32 [spans], characters.
        ends: int32 [spans].
        scores: float32 [spans], log-probabilities.
        count: S.
    """
    order = tf.argsort(scores, direction="DESCENDING", stable=True)
    starts, ends = tf.gather(starts, order), tf.gather(ends, order)
    place = tf.ragged.range(starts, ends)
    texts = tf.strings.unicode_encode(
        place.with_values(tf.gather(codes, place.values)), "UTF-8"
    )
    found, which = tf.unique(texts)
    size = tf.minimum(tf.size(found), count)
    # `unique` keeps the order; the first of each text is its likeliest.
    chosen = tf.math.unsorted_segment_min(
        tf.range(tf.size(which)), which, tf.size(found)
    )[:size]

    def padded(values: tf.Tensor, padding: Any = 0) -> tf.Tensor:
        rest = tf.fill([count - size], tf.constant(padding, values.dtype))
        return tf.ensure_shape(tf.concat([values, rest], 0), [count])

    return Spans(
        padded(found[:size], ""),
        padded(tf.gather(starts, chosen)),
        padded(tf.gather(ends, chosen)),
        padded(tf.gather(tf.gather(scores, order), chosen), -np.inf),
        size,
    )
