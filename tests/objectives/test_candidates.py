import collections
import itertools

import numpy as np
import tensorflow as tf

from electra_tf.objectives import candidates

V = 7
DRAWS = 20_000
LOGITS = np.random.default_rng(0).normal(size=V) * 1.5
TRUTH = 2


def draw(logits, number, times=DRAWS, temperature=1.0):
    """Draws so many times beside TRUTH: int32 [times, number]."""
    noise = np.random.default_rng(1).random([times, 1], dtype=np.float32)
    batch = {
        "mask_ids": tf.fill([times, 1], TRUTH),
        "sampling_noise": tf.constant(noise),
    }
    logits = tf.broadcast_to(tf.constant(logits, tf.float32), [times, 1, V])
    return np.asarray(candidates.draw(logits, batch, number, temperature))[:, 0]


def test_others_are_drawn_as_often_as_they_are_likely_once_those_before_are_gone():
    heat = 1.3
    found = draw(LOGITS, 4, temperature=heat)
    assert (found[:, 0] == TRUTH).all()
    often = collections.Counter(map(tuple, found[:, 1:]))
    q = np.exp(LOGITS / heat)
    q[TRUTH] = 0.0
    q /= q.sum()
    others = [token for token in range(V) if token != TRUTH]
    checked = 0
    for first, second, third in itertools.permutations(others, 3):
        p = q[first] * q[second] / (1 - q[first])
        p *= q[third] / (1 - q[first] - q[second])
        error = np.sqrt(p * (1 - p) / DRAWS)
        # Of 120 orders some are 3 standard errors off; allow five.
        assert abs(often[first, second, third] / DRAWS - p) < 5 * error + 1 / DRAWS
        checked += 1
    assert checked == 120


def test_no_token_stands_twice_however_sure_the_generator_is():
    sure = np.full(V, -300.0)
    sure[TRUTH], sure[4] = 300.0, 100.0
    found = draw(sure, V, times=500)
    assert (np.sort(found) == np.arange(V)).all()
    assert (found[:, 1] == 4).all()


def test_chance_travels_with_the_place_and_no_gradient_passes():
    logits = tf.Variable(
        np.random.default_rng(5).normal(size=[2, 3, 11]), dtype="float32"
    )
    noise = tf.constant(np.random.default_rng(6).random([2, 3]), tf.float32)
    ids = tf.constant([[8, 6, 10], [5, 0, 0]])
    with tf.GradientTape() as tape:
        both = candidates.draw(logits, {"mask_ids": ids, "sampling_noise": noise}, 5)
        total = tf.reduce_sum(tf.cast(both, tf.float32))
    assert tape.gradient(total, logits) is None
    last = {"mask_ids": ids[1:], "sampling_noise": noise[1:]}
    alone = candidates.draw(tf.constant(logits)[1:], last, 5)
    np.testing.assert_array_equal(alone, both[1:])


def test_numbers_made_of_one_tell_nothing_of_it_or_of_each_other():
    noise = np.random.default_rng(7).random(40_000, dtype=np.float32)
    numbers = np.stack([noise, *map(np.asarray, candidates.spread(noise, 4))])
    assert (numbers >= 0.0).all()
    assert (numbers < 1.0).all()
    correlation = np.corrcoef(numbers) - np.eye(5)
    assert abs(correlation).max() < 5 / np.sqrt(40_000)
    for one, other in itertools.combinations(numbers, 2):
        counts = np.histogram2d(one, other, bins=20, range=[[0, 1]] * 2)[0]
        # Chi-square over 399 degrees of freedom: 1 each, standard error 0.07.
        assert ((counts - 100) ** 2 / 100).sum() / 399 < 1.35
