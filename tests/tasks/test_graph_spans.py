"""Spans of contexts, chosen by hand; tests/test_serving.py has whole models."""

import math

import numpy as np
import pytest
import tensorflow as tf

from electra_tf.tasks import graph, graph_spans, inputs

# One row holds question and context, 5 tokens each a letter and a space apart.
TEXT = "a b a c \u00e9"
STARTS, ENDS = [0, 2, 4, 6, 8], [1, 3, 5, 7, 9]


def best(contexts, starts, found, scores, length=16, count=4, stride=None):
    """Chooses among spans; the question is one token."""
    ids = tf.RaggedTensor.from_row_lengths(
        tf.range(10, 10 + sum(map(len, starts))), [len(row) for row in starts]
    )
    rows = graph.frame_texts(
        tf.RaggedTensor.from_tensor(tf.fill([len(contexts), 1], 5)),
        tf.cast(ids, tf.int32),
        inputs.Frame(2, 3, length),
        long_texts="windows",
        stride=stride,
    )
    places = tf.ragged.constant(starts, tf.int32, ragged_rank=1)
    candidates = graph_spans.Candidates(
        tf.constant(found, tf.int64), tf.constant(scores, tf.float32)
    )
    return rows, graph_spans.best(
        tf.constant(contexts), places, places + 1, rows, candidates, count
    )


def test_of_the_same_text_the_likeliest_span_stays():
    scores = [[[-1.0, -9.0], [-2.0, -8.0], [-0.5, -7.0]]]
    _, found = best([TEXT], [STARTS], [[0, 1, 2]], scores)
    texts = [text.decode() for text in found.texts[0].numpy()]
    assert texts == ["a", "b", "a c", "b a"]
    assert found.starts[0].numpy().tolist() == [4, 2, 4, 2]  # The second "a".
    assert found.ends[0].numpy().tolist() == [5, 3, 7, 5]
    np.testing.assert_allclose(found.scores[0], [-0.5, -2.0, -7.0, -8.0])
    assert found.counts.numpy().tolist() == [4]


def test_spans_outside_of_the_context_are_none():
    scores = [[[0.0, 0.0], [0.0, 0.0], [-3.0, -1.0], [0.0, 0.0]]]
    # [CLS], [SEP] after the question, the last token, [SEP] after the context.
    _, found = best([TEXT], [STARTS], [[-3, -1, 4, 5]], scores)
    assert found.texts[0].numpy().tolist() == ["\u00e9".encode(), b"", b"", b""]
    assert found.counts.numpy().tolist() == [1]
    assert found.scores[0].numpy().tolist() == [-3.0, *[-math.inf] * 3]


def test_a_span_counts_in_the_window_where_its_start_has_most_context():
    # Windows of 3 tokens: 0 to 2, 2 to 4. Token 2 is the edge of both; the first wins.
    rows, found = best(
        [TEXT], [STARTS], [[2], [0]], [[[-5.0]], [[-1.0]]], length=7, stride=2
    )
    assert rows.starts.numpy().tolist() == [0, 2]
    assert found.scores[0, 0].numpy() == -5.0


def test_where_no_span_is_in_its_best_window_all_count():
    _, found = best(
        [TEXT], [STARTS], [[-1], [0]], [[[-5.0]], [[-1.0]]], length=7, stride=2
    )
    assert found.texts[0, 0].numpy() == b"a"
    assert found.scores[0, 0].numpy() == -1.0


def test_each_context_has_its_own():
    _, found = best(
        ["x y", ""], [[0, 2], []], [[1], [0]], [[[-2.0, -1.0]], [[-1.0, -1.0]]]
    )
    assert found.texts[:, 0].numpy().tolist() == [b"y", b""]
    assert found.counts.numpy().tolist() == [1, 0]


@pytest.mark.parametrize("seed", range(3))
def test_spans_are_those_of_plain_python_whatever_they_are(seed):
    chance = np.random.default_rng(seed)
    texts = ["".join(chance.choice([*"aab "], size)) for size in (0, 3, 11, 17)]
    ids = [np.full(len(text), 7, np.int32) for text in texts]
    question = [np.array([5], np.int32)] * len(texts)
    frame = inputs.Frame(2, 3, 9)
    rows = inputs.frame_texts(question, ids, frame, long_texts="windows", stride=2)
    sizes = [len(row) - 4 for row in rows.token_ids]  # Of each window.
    # Starts of 5 spans a window, of one to 3 tokens; some lie outside of it.
    starts = chance.integers(-2, 8, (len(sizes), 5))
    scores = -chance.permutation(starts.size * 3).reshape(*starts.shape, 3) / 9.0
    places = [range(len(text)) for text in texts]
    _, found = best(texts, places, starts, scores, length=9, stride=2, count=4)

    alone = inputs.Rows(
        [row[2:] for row in rows.token_ids],  # Without the question: [SEP], text, [SEP]
        rows.segment_ids,
        rows.source,
        len(texts),
        0,
        rows.starts,
    )
    owners = inputs.best_places(alone)
    owned, others = ([[] for _ in texts] for _ in range(2))
    for window, number, end in np.ndindex(scores.shape):
        text, first = rows.source[window], starts[window, number]
        if first >= 0 and first + end < sizes[window]:
            start = rows.starts[window] + first
            kind = owned if owners[text][start, 0] == window else others
            span = texts[text][start : start + end + 1]
            kind[text].append((scores[window, number, end], span))
    for text, (mine, rest) in enumerate(zip(owned, others, strict=True)):
        likeliest = [span for _, span in sorted(mine or rest, reverse=True)]
        want = list(dict.fromkeys(likeliest))[:4]
        got = [span.decode() for span in found.texts[text].numpy()]
        assert got[: found.counts[text]] == want
