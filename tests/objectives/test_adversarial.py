import masked_rows
import numpy as np
import pytest
import tensorflow as tf

from electra_tf import errors
from electra_tf.network import models

SLOTS = [(0, 0), (0, 1), (0, 2), (1, 0)]  # of the hidden tokens: row, slot
HEAT = 1.4


@pytest.fixture(scope="module")
def learned():
    return masked_rows.build("adversarial", temperature=HEAT)


def parts(learned):
    """Returns advantages, chances of the truth, q [4, V] and samples, in numpy."""
    batch = masked_rows.BATCH
    generator = learned.networks["generator"]
    logits, baseline = generator(models.inputs_of(generator, batch))
    sampled = np.asarray(learned.verdicts(batch)["sampled"])
    token_ids, is_replaced = masked_rows.fill(sampled)
    verdicts = masked_rows.judge(learned, token_ids)
    rewards = []
    for row, position, _ in masked_rows.HIDDEN:
        z = verdicts[row, position]
        rewards.append(np.log1p(np.exp(-z if is_replaced[row, position] else z)))
    at = [np.float64(baseline)[slot] for slot in SLOTS]
    q = np.exp([np.float64(logits)[slot] / HEAT for slot in SLOTS])
    q /= q.sum(-1, keepdims=True)
    drawn = [sampled[slot] for slot in SLOTS]
    return np.array(rewards), np.array(at), q, drawn


def test_each_loss_is_the_papers(learned):
    rewards, baseline, q, drawn = parts(learned)
    sums, metrics = learned.sums(masked_rows.BATCH, False, 0.0)
    guess = 1.0 / (1.0 + np.exp(-baseline))  # -log of it is the baseline
    advantage = rewards + np.log(guess)
    log_q = np.log([q[number, token] for number, token in enumerate(drawn)])
    np.testing.assert_allclose(sums["reinforce"], -(advantage * log_q).sum(), rtol=1e-4)
    truth = np.exp(-rewards)
    cross = -truth * np.log(guess) - (1.0 - truth) * np.log(1.0 - guess)
    np.testing.assert_allclose(sums["baseline"], cross.sum(), rtol=1e-4)
    np.testing.assert_allclose(metrics["rewards"], rewards.sum(), rtol=1e-4)
    np.testing.assert_allclose(metrics["entropy"], -(q * np.log(q)).sum(), rtol=1e-4)
    np.testing.assert_allclose(metrics["heat"], 4 * HEAT, rtol=1e-6)
    assert masked_rows.weights_of(learned) == {
        "mlm": 0.0,
        "rtd": 50.0,
        "reinforce": 1.0,
        "baseline": 1.0,
    }


def test_the_slope_is_that_of_reinforce(learned):
    rewards, baseline, q, drawn = parts(learned)
    advantage = rewards - np.log1p(np.exp(-baseline))
    bias = next(
        v
        for v in learned.networks["generator"].trainable_variables
        if v.path.endswith("output_bias")
    )
    with tf.GradientTape() as tape:
        loss = learned.sums(masked_rows.BATCH, False, 0.0)[0]["reinforce"]
    want = np.zeros(11)
    for number, token in enumerate(drawn):
        chosen = np.eye(11)[token]
        want -= advantage[number] * (chosen - q[number]) / HEAT
    np.testing.assert_allclose(
        tape.gradient(loss, bias.value), want, rtol=1e-3, atol=1e-5
    )


def test_what_the_generator_gains_does_not_change_the_discriminator(learned):
    discriminator, generator = (
        learned.networks[name].trainable_variables
        for name in ("discriminator", "generator")
    )
    own = {id(v) for v in generator}
    with tf.GradientTape(persistent=True) as tape:
        sums, _ = learned.sums(masked_rows.BATCH, False, 0.0)
    others = [v.value for v in discriminator if id(v) not in own]
    for name in ("reinforce", "baseline"):
        assert all(slope is None for slope in tape.gradient(sums[name], others))
    slopes = tape.gradient(sums["baseline"], [v.value for v in generator])
    reached = [v.path for v, s in zip(generator, slopes, strict=True) if s is not None]
    assert reached == ["baseline/kernel", "baseline/bias"]


def test_the_baseline_is_not_kept(learned):
    network = learned.networks["generator"]
    kept = learned.declared.networks["generator"].kept(network)
    assert {v.path for v in network.weights} - {v.path for v in kept.weights} == {
        "baseline/kernel",
        "baseline/bias",
    }


def test_samples_that_avoid_the_original_are_refused():
    with pytest.raises(errors.UserError, match=r"objective\.disallow_correct"):
        masked_rows.build("adversarial", disallow_correct=True)
