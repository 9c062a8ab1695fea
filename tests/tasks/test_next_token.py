"""Loss and perplexity of the next token, beside numpy."""

import numpy as np
import pytest
import tensorflow as tf

from electra_tf import errors
from electra_tf.tasks import next_token


@pytest.fixture
def batch():
    chance = np.random.default_rng(4)
    logits = chance.normal(0, 2, [2, 3, 7]).astype(np.float32)
    weights = np.float32([[1, 1, 0], [1, 0, 0]])
    return chance.integers(0, 7, [2, 3]), logits, weights


def log_shares(logits):
    logits = np.float64(logits)
    return logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.6])
def test_the_loss_is_cross_entropy_towards_a_smoothed_target(smoothing, batch):
    ids, logits, weights = batch
    target = (1 - smoothing) * np.eye(7)[ids] + smoothing / 7
    loss = -(target * log_shares(logits)).sum(axis=-1)
    found = next_token.SmoothedCrossEntropy(smoothing)(ids, logits, weights)
    np.testing.assert_allclose(found, (loss * weights).sum() / 3, rtol=1e-5)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_its_slopes_are_those_of_the_formula(smoothing, batch):
    ids, logits, weights = batch
    with tf.GradientTape() as tape:
        x = tf.Variable(logits)
        loss = next_token.SmoothedCrossEntropy(smoothing)(ids, x, weights)
    target = (1 - smoothing) * np.eye(7)[ids] + smoothing / 7
    slopes = (np.exp(log_shares(logits)) - target) * weights[..., None] / 3
    np.testing.assert_allclose(tape.gradient(loss, x), slopes, rtol=1e-4, atol=1e-6)


def test_very_likely_and_very_unlikely_tokens_have_finite_losses():
    logits = np.float32([[[900.0, -900.0, 0.0], [900.0, -900.0, 0.0]]])
    loss = next_token.smoothed(np.array([[0, 1]]), logits, 0.0)
    np.testing.assert_allclose(loss, [[0.0, 1800.0]])


def test_perplexity_is_that_of_all_tokens_of_all_batches(batch):
    ids, logits, weights = batch
    metric = next_token.Perplexity()
    metric.update_state(ids, logits, weights)
    metric.update_state(ids[:1], logits[1:], weights[:1])
    own = np.take_along_axis(log_shares(logits), ids[..., None], -1)[..., 0]
    other = np.take_along_axis(log_shares(logits[1:]), ids[:1, :, None], -1)[..., 0]
    total = (own * weights).sum() + (other * weights[:1]).sum()
    np.testing.assert_allclose(metric.result(), np.exp(-total / 5), rtol=1e-5)


def test_smoothing_beyond_all_is_refused():
    with pytest.raises(errors.UserError, match=r"label_smoothing=-0.1: want 0"):
        next_token.SmoothedCrossEntropy(-0.1)
