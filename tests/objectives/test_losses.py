import numpy as np
import tensorflow as tf

from electra_tf.objectives import losses

# B=2, P=3, V=11.
GUESSES = np.random.default_rng(1).normal(0, 3, [2, 3, 11]).astype(np.float32)
MASK_IDS = np.int32([[7, 0, 10], [4, 4, 0]])
MASK_WEIGHTS = np.float32([[1, 1, 1], [1, 0, 0]])

# B=2, L=7.
VERDICTS = np.random.default_rng(2).normal(0, 3, [2, 7]).astype(np.float32)
IS_REPLACED = np.array([[0, 1, 0, 1, 1, 0, 0], [0, 0, 1, 0, 1, 0, 1]], bool)
IS_REAL = np.array([[1, 1, 1, 1, 1, 1, 1], [1, 1, 1, 1, 0, 0, 0]], bool)


def test_the_masked_token_loss_sums_minus_log_p_of_the_hidden_tokens():
    want = 0.0
    for row, place in [(0, 0), (0, 1), (0, 2), (1, 0)]:  # where the weight is 1
        logits = np.float64(GUESSES[row, place])
        want -= logits[MASK_IDS[row, place]] - np.log(np.sum(np.exp(logits)))
    loss = losses.masked_token_loss(GUESSES, MASK_IDS, MASK_WEIGHTS)
    assert loss.shape == ()
    np.testing.assert_allclose(loss, want, rtol=1e-6)


def test_certainty_costs_nothing_and_indifference_ln_v():
    certain = 100.0 * tf.one_hot(MASK_IDS, 11)
    np.testing.assert_allclose(
        losses.masked_token_loss(certain, MASK_IDS, MASK_WEIGHTS), 0.0, atol=1e-6
    )
    indifferent = tf.zeros([2, 3, 11])
    np.testing.assert_allclose(
        losses.masked_token_loss(indifferent, MASK_IDS, MASK_WEIGHTS),
        4 * np.log(11),
        rtol=1e-6,
    )


def test_unused_slots_cost_nothing_and_give_no_gradient():
    guesses = tf.Variable(GUESSES)
    with tf.GradientTape() as tape:
        loss = losses.masked_token_loss(guesses, MASK_IDS, MASK_WEIGHTS)
    slopes = np.abs(tape.gradient(loss, guesses)).max(axis=-1) > 0
    np.testing.assert_array_equal(slopes, MASK_WEIGHTS > 0)
    other = losses.masked_token_loss(
        GUESSES, MASK_IDS + np.int32(3 * (1 - MASK_WEIGHTS)), MASK_WEIGHTS
    )
    np.testing.assert_array_equal(other, loss)


def test_guesses_are_counted_where_a_token_was_hidden_and_nowhere_else():
    right = np.array([[1, 0, 1], [0, 1, 1]], bool)
    guesses = np.float32(tf.one_hot(np.where(right, MASK_IDS, MASK_IDS + 1) % 11, 11))
    batch = {"mask_ids": MASK_IDS, "mask_weights": MASK_WEIGHTS}
    assert losses.guess_sums(guesses, batch)["mlm_correct"] == 2.0
    assert losses.count_hidden(~right, batch) == 2.0


def test_the_replaced_token_loss_sums_the_cross_entropy_of_real_tokens():
    probability = 1.0 / (1.0 + np.exp(-np.float64(VERDICTS)))
    right = np.where(IS_REPLACED, probability, 1.0 - probability)
    want = -np.sum(np.log(right)[IS_REAL])
    loss = losses.replaced_token_loss(VERDICTS, IS_REPLACED, IS_REAL)
    assert loss.shape == ()
    np.testing.assert_allclose(loss, want, rtol=1e-6)


def test_padding_costs_nothing_and_gives_no_gradient():
    verdicts = tf.Variable(VERDICTS)
    with tf.GradientTape() as tape:
        loss = losses.replaced_token_loss(verdicts, IS_REPLACED, IS_REAL)
    np.testing.assert_array_equal(np.abs(tape.gradient(loss, verdicts)) > 0, IS_REAL)
    other = np.where(IS_REAL, VERDICTS, np.inf)
    np.testing.assert_array_equal(
        losses.replaced_token_loss(other, IS_REPLACED, IS_REAL), loss
    )


def test_both_losses_stay_finite_at_extreme_logits():
    guesses = np.float32(GUESSES * 1e4)
    assert np.isfinite(losses.masked_token_loss(guesses, MASK_IDS, MASK_WEIGHTS))
    verdicts = np.float32(VERDICTS * 1e4)
    assert np.isfinite(losses.replaced_token_loss(verdicts, IS_REPLACED, IS_REAL))


def test_a_token_is_flagged_from_one_half_on():
    logits = tf.constant([[0.01, -0.01, 0.4, -0.4, 0.02, 9.0]])
    is_replaced = tf.constant([[True, True, False, False, False, True]])
    is_real = tf.constant([[True, True, True, True, True, False]])
    found = losses.verdict_sums(logits, is_replaced, is_real)
    want = {"flagged": 3, "replaced": 2, "caught": 1, "rtd_correct": 2}
    assert {name: float(found[name]) for name in want} == want


def test_the_area_under_the_curve_equals_the_rank_formula():
    rng = np.random.default_rng(4)
    probabilities = 1 / (1 + np.exp(-rng.normal([[-1.0], [0.2]], 1.0, [2, 300])))
    originals, replaced = probabilities[0, :, None], probabilities[1, None, :]
    exact = np.mean((replaced > originals) + 0.5 * (replaced == originals))
    histogram = [np.histogram(p, bins=200, range=(0, 1))[0] for p in probabilities]
    # Pairs within one bin count a half where they count 0 or 1.
    error = 0.5 * np.sum(histogram[0] * histogram[1]) / 300**2
    assert error < 0.005
    found = losses.area_under_curve(
        {"rtd_histogram": tf.constant(histogram, tf.float32)}
    )
    np.testing.assert_allclose(found, exact, atol=error)
    assert 0.7 < exact < 0.9


def test_the_area_is_a_half_where_one_kind_is_missing():
    for histogram in ([[0.0, 3.0], [0.0, 0.0]], [[0.0, 0.0], [2.0, 1.0]]):
        assert (
            float(losses.area_under_curve({"rtd_histogram": tf.constant(histogram)}))
            == 0.5
        )
