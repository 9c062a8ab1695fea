"""B=2 rows, L=7 tokens, D=5: [CLS] q [SEP] c c [SEP], and padding in the second."""

import numpy as np
import pytest
import tensorflow as tf

from electra_tf.tasks import span_heads

SEGMENTS = tf.constant([[0, 0, 0, 1, 1, 1, 1], [0, 0, 0, 1, 1, 0, 0]])
MASK = tf.constant([[1] * 7, [1] * 5 + [0] * 2])
ALLOWED = np.array([[1, 0, 0, 1, 1, 1, 0], [1, 0, 0, 1, 0, 0, 0]], bool)


@pytest.fixture
def states():
    return tf.constant(np.random.default_rng(3).normal(size=(2, 7, 5)), tf.float32)


def test_only_the_context_and_no_answer_have_a_chance(states):
    plain = span_heads.PlainSpanHead()(states, SEGMENTS, MASK)
    head = span_heads.JointSpanHead(3, 2)
    joint = head(states, SEGMENTS, MASK, start_positions=tf.constant([3, 0]))
    for found in (plain["start"], plain["end"], joint["start"], joint["end"]):
        assert found.shape == (2, 7)
        np.testing.assert_array_equal(found.numpy() > span_heads.NEVER, ALLOWED)
    assert joint["null"].shape == (2, 1)


def test_the_beam_follows_the_likeliest_starts_but_not_no_answer(states):
    head = span_heads.JointSpanHead(3, 2)
    found = head(states, SEGMENTS, MASK)
    given = head(states, SEGMENTS, MASK, start_positions=found["beam"][:, 0])
    logs = tf.nn.log_softmax(given["start"]).numpy()
    for row in range(2):
        best = np.argsort(-logs[row, 1:], kind="stable")[:3] + 1
        assert found["beam"][row].numpy().tolist()[0] == best[0]
        assert 0 not in found["beam"][row].numpy()
    ends = np.pad(tf.nn.log_softmax(given["end"]), [(0, 0), (0, 2)])
    first = found["beam"][:, 0].numpy()
    for row in range(2):
        want = ends[row, first[row] : first[row] + 2]
        np.testing.assert_allclose(found["end"][row, 0], want, rtol=1e-5)
    assert found["end"].shape == (2, 3, 2)


def test_heads_are_made_anew_from_their_configs():
    for head in (span_heads.PlainSpanHead(), span_heads.JointSpanHead(3, 2)):
        again = type(head).from_config(head.get_config())
        assert again.get_config() == head.get_config()
