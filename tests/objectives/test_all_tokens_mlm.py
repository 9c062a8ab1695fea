import masked_rows
import numpy as np
import pytest
import tensorflow as tf

from electra_tf.objectives import all_tokens_mlm

RNG = np.random.default_rng(3)
SCORES = RNG.normal(size=[2, 3, 5])
GATE = RNG.normal(size=[2, 3])
IN_ROW = np.array([[4, 1, 2], [0, 3, 3]])
ORIGINAL = np.array([[4, 0, 2], [1, 3, 0]])
IS_REAL = np.array([[True, True, False], [True, True, True]])


@pytest.fixture(scope="module")
def learned():
    return masked_rows.build("all_tokens_mlm")


def minus_log_p(scores, gate, in_row, original, is_real):
    """As the paper has it, in plain numpy and without logarithms."""
    total = 0.0
    for place in map(tuple, np.argwhere(is_real)):
        shares = np.exp(scores[place]) / np.exp(scores[place]).sum()
        copy = 1.0 / (1.0 + np.exp(gate[place]))
        p = (1.0 - copy) * shares[original[place]]
        p += copy * (in_row[place] == original[place])
        total -= np.log(p)
    return total


def loss(scores, gate):
    return all_tokens_mlm.copied_token_loss(
        tf.cast(scores, tf.float32),
        tf.cast(gate, tf.float32),
        tf.constant(ORIGINAL, tf.int32),
        tf.constant(IN_ROW != ORIGINAL),
        tf.constant(IS_REAL),
    )


def test_the_loss_is_the_papers():
    want = minus_log_p(SCORES, GATE, IN_ROW, ORIGINAL, IS_REAL)
    np.testing.assert_allclose(loss(SCORES, GATE), want, rtol=1e-5)


def test_its_slopes_are_those_of_plain_numbers():
    scores, gate = tf.constant(SCORES, tf.float32), tf.constant(GATE, tf.float32)
    with tf.GradientTape() as tape:
        tape.watch([scores, gate])
        found = tape.gradient(loss(scores, gate), [scores, gate])
    for index, values in enumerate((SCORES, GATE)):
        want = np.zeros_like(values)
        for place in np.ndindex(*values.shape):
            ends = []
            for step in (1e-5, -1e-5):
                moved = [SCORES.copy(), GATE.copy()]
                moved[index][place] += step
                ends.append(minus_log_p(*moved, IN_ROW, ORIGINAL, IS_REAL))
            want[place] = (ends[0] - ends[1]) / 2e-5
        np.testing.assert_allclose(found[index], want, atol=2e-5)


def test_a_gate_that_is_sure_keeps_the_loss_and_its_slopes_finite():
    for sure in (-200.0, 200.0):
        gate = tf.fill([2, 3], sure)
        with tf.GradientTape() as tape:
            tape.watch(gate)
            value = loss(SCORES, gate)
        assert np.isfinite(value)
        assert np.isfinite(tape.gradient(value, gate)).all()


def test_every_real_token_counts_and_the_gate_is_a_discriminator(learned):
    batch = masked_rows.BATCH
    counts = {name: float(count) for name, count in learned.counts(batch).items()}
    assert counts == {"mlm": 4, "all": 11}
    sums, metrics = learned.sums(batch, False, 0.0)
    sampled = np.asarray(learned.verdicts(batch)["sampled"])
    token_ids, is_replaced = masked_rows.fill(sampled)
    scores, gate = learned._read(batch | {"token_ids": tf.constant(token_ids)}, False)
    real = np.asarray(batch["example_ids"]) > 0
    original = token_ids.copy()
    for row, position, token in masked_rows.HIDDEN:
        original[row, position] = token
    want = minus_log_p(np.float64(scores), np.float64(gate), token_ids, original, real)
    np.testing.assert_allclose(sums["all"], want, rtol=1e-5)
    flagged = np.asarray(gate) > 0
    assert float(metrics["rtd_correct"]) == ((flagged == is_replaced) & real).sum()
    named = np.asarray(scores).argmax(-1) == original
    right = np.where(flagged, named, ~is_replaced)
    assert float(metrics["all_correct"]) == (right & real).sum()


def test_what_is_kept_is_a_discriminator(learned):
    declared = learned.declared.networks["discriminator"]
    kept = declared.fold(learned.networks["discriminator"])
    paths = {v.path.split("/")[0] for v in kept.weights}
    assert "replaced_token_head" in paths
    assert "masked_token_head" not in paths
    rows = {name: masked_rows.BATCH[name] for name in kept.input}
    _, gate = learned._read(masked_rows.BATCH, training=False)
    np.testing.assert_allclose(kept(rows), gate, rtol=1e-6)
