"""Texts that belong together: the loss by hand, twice the same text, two replicas."""

import math

import keras
import numpy as np
import pytest
import tensorflow as tf

from electra_tf import errors
from electra_tf.tasks import contrast

CHANCE = np.random.default_rng(5)
VECTORS = CHANCE.normal(0, 1, [4, 3, 5]).astype(np.float32)


def cosines(vectors):
    flat = vectors.reshape(-1, vectors.shape[-1])
    flat = flat / np.linalg.norm(flat, axis=-1, keepdims=True)
    return (flat @ flat.T).reshape(*vectors.shape[:2], *vectors.shape[:2])


def by_hand(texts, vectors, temperature):
    """The loss of each row in plain loops."""
    found = []
    near = cosines(vectors) / temperature
    rows = range(len(texts))
    for i in rows:
        right = {texts[i][1], texts[i][0]}
        right |= {texts[j][1] for j in rows if texts[j][0] == texts[i][0]}
        others = [
            near[i, 0, j, n]
            for j in rows
            for n in range(1, len(texts[j]))
            if texts[j][n] not in right | {-1}
        ]
        own = near[i, 0, i, 1]
        total = math.exp(own) + sum(map(math.exp, others))
        found.append(math.log(total) - own)
    return found


@pytest.mark.parametrize(
    "texts",
    [
        [[0, 1], [2, 3], [4, 5], [6, 7]],
        [[0, 1, 8], [2, 3, -1], [4, 5, 9], [6, 7, 3]],
        [[0, 1], [2, 1], [4, 5], [0, 7]],  # The same other; the same first.
        [[0, 0], [2, 2], [0, 0], [6, 6]],  # Texts that belong to themselves.
    ],
)
def test_the_loss_is_that_of_plain_loops(texts):
    vectors = VECTORS[:, : len(texts[0])]
    loss = contrast.PairLoss(0.5)
    found = loss.call(tf.constant(texts), tf.constant(vectors)).numpy()
    np.testing.assert_allclose(found, by_hand(texts, vectors, 0.5), rtol=1e-5)
    assert float(loss(np.array(texts), vectors)) == pytest.approx(
        found.mean(), rel=1e-6
    )


def test_a_text_that_stands_twice_in_a_batch_is_no_negative():
    """Four times the same pair: there is nothing to tell it from."""
    texts = np.array([[3, 7]] * 4)
    loss = contrast.PairLoss()(texts, VECTORS[:, :2])
    assert float(loss) == pytest.approx(0, abs=1e-6)


def test_pairs_with_higher_scores_are_to_be_nearer():
    scores = np.float32([1, 3, 3, 0])
    near = [cosines(VECTORS[:, :2])[i, 0, i, 1] for i in range(4)]
    want = [
        math.log(1 + sum(math.exp((b - a) / 0.1) for b, t in pairs if t < s))
        for a, s in zip(near, scores, strict=True)
        for pairs in [list(zip(near, scores, strict=True))]
    ]
    for shaped in (scores, scores[:, None]):
        found = contrast.PairLoss(0.1).call(shaped, tf.constant(VECTORS[:, :2]))
        np.testing.assert_allclose(found, want, rtol=1e-5, atol=1e-6)
    assert want[3] == 0 < want[0]  # Nothing is below the lowest.


@pytest.mark.parametrize("cut", [2, 1])
@pytest.mark.parametrize("kind", ["texts", "scores"])
def test_two_replicas_see_each_others_texts(two_replicas, cut, kind):
    """Losses and gradients are those of one replica; the parts may differ in size."""
    loss = contrast.PairLoss(0.5)
    y = np.array([[0, 1, 8], [2, 3, -1], [4, 5, 9], [6, 7, 3]])
    y = y if kind == "texts" else np.float32([1, 3, 2, 0])
    whole = tf.Variable(VECTORS)
    with tf.GradientTape() as tape:
        want = loss.call(tf.constant(y), whole)
        total = tf.reduce_sum(want)
    gradient = tape.gradient(total, whole)
    strategy = two_replicas

    def part(values):
        return strategy.experimental_distribute_values_from_function(
            lambda c: tf.constant(
                values[:cut] if c.replica_id_in_sync_group == 0 else values[cut:]
            )
        )

    @tf.function
    def run(texts, vectors):
        def step(texts, vectors):
            with tf.GradientTape() as tape:
                tape.watch(vectors)
                found = loss.call(texts, vectors)
                total = tf.reduce_sum(found)
            return found, tape.gradient(total, vectors)

        return strategy.run(step, (texts, vectors))

    found, gradients = run(part(y), part(VECTORS))
    both = [
        tf.concat(strategy.experimental_local_results(one), 0)
        for one in (found, gradients)
    ]
    np.testing.assert_allclose(both[0], want, rtol=1e-5)
    np.testing.assert_allclose(both[1], gradient, atol=1e-5)


def test_the_loss_is_saved_with_its_temperature():
    loss = contrast.PairLoss(0.2)
    again = keras.saving.deserialize_keras_object(
        keras.saving.serialize_keras_object(loss)
    )
    assert again.temperature == 0.2
    for bad in (0, -1, float("nan")):
        with pytest.raises(errors.UserError, match="want more than 0"):
            contrast.PairLoss(bad)


@pytest.mark.parametrize(
    "x",
    [
        [("a", "b"), ("c", "d")],
        [["a", "b"], ["c", "d"]],
        (["a", "c"], ["b", "d"]),
        (np.array(["a", "c"]), np.array(["b", "d"])),
        [(b"a", b"b"), ("c", "d")],
    ],
)
def test_examples_come_in_several_forms(x):
    want = [("a", "b"), ("c", "d")]
    assert contrast.examples(x) == want
    assert contrast.with_scores(["a", "c"], ["b", "d"]) == (want, None)
    assert contrast.examples("a") == [("a", "a")]
    assert contrast.examples(["a", "c"]) == [("a", "a"), ("c", "c")]
    assert contrast.examples(("a", "b", "c")) == [("a", "b", "c")]
    found, scores = contrast.with_scores(x, [1, 0.5])
    assert found == want
    np.testing.assert_array_equal(scores, np.float32([1, 0.5]))


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        ([("a",)], None, "input 0 is .*; want a text, or a tuple of two texts or more"),
        (["a", 3], None, "input 1 is 3"),
        ((["a"], ["b", "c"]), None, "1 and 2 texts; want as many"),
        (["a"], ["b", "c"], "1 and 2 texts; want as many"),
        ([("a", "b", "c")], [1.0], "scores are of pairs"),
        ([("a", "b")], [1.0, 2.0], "2 labels for 1 inputs"),
        ([("a", "b")], [float("nan")], "a score is not finite"),
        ([("a", "b")], [[1, 2]], "want a number a pair"),
    ],
)
def test_what_is_no_example_is_refused(x, y, message):
    with pytest.raises(errors.UserError, match=message):
        contrast.with_scores(x, y)


def test_the_same_text_has_the_same_number():
    found = contrast.numbered([("a", "b"), ("c", "a", "d")])
    assert found.tolist() == [[0, 1, contrast.NO_TEXT], [2, 0, 3]]
