import numpy as np
import pytest
import tensorflow as tf

from electra_tf.objectives import corruption

PAD, CLS, SEP, MASK = 0, 2, 3, 4

# The largest float32 below 1: what tf.random.uniform gives at most.
ALMOST_ONE = np.nextafter(np.float32(1), np.float32(0))

# Row 0 hides 7, 8 and 9, of which 9 still shows; row 1 hides 6 alone, and its unused
# slots point at [CLS] and at the hidden place itself.
BATCH = {
    "token_ids": tf.constant(
        [[CLS, MASK, MASK, 5, 9, SEP, PAD], [CLS, 5, 10, MASK, SEP, PAD, PAD]]
    ),
    "mask_positions": tf.constant([[1, 2, 4], [3, 0, 3]]),
    "mask_ids": tf.constant([[7, 8, 9], [6, 0, 0]]),
    "mask_weights": tf.constant([[1.0, 1.0, 1.0], [1.0, 0.0, 0.0]]),
}
ORIGINAL = [[CLS, 7, 8, 5, 9, SEP, PAD], [CLS, 5, 10, 6, SEP, PAD, PAD]]


def softmax(logits):
    powers = np.exp(np.float64(logits) - np.max(logits, axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def draw_evenly(logits, draws=1000, temperature=1.0):
    """Returns the share of each token at evenly spread noise: softmax +- 1 / draws."""
    noise = (np.arange(draws, dtype=np.float32) + 0.5) / draws
    logits = np.broadcast_to(np.float32(logits), [1, draws, len(logits)])
    sampled = corruption.sample(tf.constant(logits), noise[None], temperature)
    return np.bincount(sampled[0], minlength=logits.shape[-1]) / draws


def test_values_go_to_their_positions_and_nothing_else_changes():
    values = tf.constant([[6, 10, 5], [1, 8, 9]])
    where = BATCH["mask_positions"], BATCH["mask_weights"]
    filled = corruption.fill_in(BATCH["token_ids"], *where, values)
    np.testing.assert_array_equal(
        filled, [[CLS, 6, 10, 5, 5, SEP, PAD], [CLS, 5, 10, 1, SEP, PAD, PAD]]
    )


def test_an_unused_slot_changes_nothing_even_where_a_used_one_writes():
    tokens = tf.constant([[5, 6, 7]])
    filled = corruption.fill_in(
        tokens,
        tf.constant([[1, 1, 0, 2]]),
        tf.constant([[0.0, 1.0, 0.0, 0.0]]),
        tf.constant([[9, 8, 10, 11]]),
    )
    np.testing.assert_array_equal(filled, [[5, 8, 7]])


def test_what_was_sampled_stands_at_every_hidden_position():
    rows = corruption.corrupt(BATCH, tf.constant([[6, 10, 5], [1, 8, 9]]))
    assert rows.token_ids.dtype == tf.int32
    np.testing.assert_array_equal(
        rows.token_ids, [[CLS, 6, 10, 5, 5, SEP, PAD], [CLS, 5, 10, 1, SEP, PAD, PAD]]
    )
    np.testing.assert_array_equal(
        rows.is_replaced, [[0, 1, 1, 0, 1, 0, 0], [0, 0, 0, 1, 0, 0, 0]]
    )


def test_a_lucky_guess_is_not_a_replacement():
    rows = corruption.corrupt(BATCH, tf.constant([[7, 10, 9], [6, 8, 9]]))
    np.testing.assert_array_equal(
        rows.token_ids, [[CLS, 7, 10, 5, 9, SEP, PAD], [CLS, 5, 10, 6, SEP, PAD, PAD]]
    )
    np.testing.assert_array_equal(
        rows.is_replaced, [[0, 0, 1, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0, 0]]
    )


def test_sampling_the_original_everywhere_restores_the_rows():
    rows = corruption.corrupt(BATCH, BATCH["mask_ids"])
    np.testing.assert_array_equal(rows.token_ids, ORIGINAL)
    assert not np.any(rows.is_replaced)


@pytest.mark.parametrize("vocab_size", [1, 2, 3, 11, 16, 17, 24, 30])
def test_samples_are_distributed_as_the_softmax(vocab_size):
    logits = np.random.default_rng(vocab_size).normal(0, 2, vocab_size)
    shares = draw_evenly(logits)
    # Evenly spread noise misses a share by one draw at most, at either end.
    np.testing.assert_allclose(shares, softmax(logits), atol=2 / 1000)


def test_samples_at_random_noise_are_distributed_as_the_softmax():
    rows, places, logits = 50, 400, np.float32([0.0, 1.0, -1.0, 2.0, 0.5])
    noise = np.random.default_rng(5).random([rows, places], dtype=np.float32)
    sampled = corruption.sample(
        tf.constant(np.broadcast_to(logits, [rows, places, 5])), noise
    )
    shares = np.bincount(np.ravel(sampled), minlength=5) / (rows * places)
    # The standard error of a share over 20,000 draws is at most 0.0036; allow four.
    np.testing.assert_allclose(shares, softmax(logits), atol=0.0144)


def test_each_place_is_sampled_by_its_own_logits_and_noise():
    logits = np.random.default_rng(2).normal(0, 3, [2, 3, 11]).astype(np.float32)
    noise = np.random.default_rng(3).random([2, 3], dtype=np.float32)
    together = corruption.sample(tf.constant(logits), noise)
    for row in range(2):
        for place in range(3):
            alone = corruption.sample(
                tf.constant(logits[row : row + 1, place : place + 1]),
                noise[row : row + 1, place : place + 1],
            )
            assert alone[0, 0] == together[row, place]
    assert len(np.unique(together)) > 2


def test_temperature_divides_the_logits():
    logits = np.float32([0.0, 1.0, 2.0, -3.0, 0.5, 4.0, 1.5])
    np.testing.assert_allclose(
        draw_evenly(logits, temperature=2.5), softmax(logits / 2.5), atol=2 / 1000
    )
    assert draw_evenly(logits, temperature=0.01)[5] == 1.0  # the argmax


@pytest.mark.parametrize("vocab_size", [11, 16])
def test_a_certain_token_is_sampled_whatever_the_noise(vocab_size):
    noise = tf.constant([[0.0, 0.5, ALMOST_ONE]] * vocab_size)
    logits = np.full([vocab_size, 3, vocab_size], -1e9, np.float32)
    for token in range(vocab_size):
        logits[token, :, token] = 0.0
    sampled = corruption.sample(tf.constant(logits), noise)
    np.testing.assert_array_equal(sampled, np.tile(np.arange(vocab_size), [3, 1]).T)


def test_impossible_tokens_are_never_sampled_at_the_ends_of_the_noise():
    # 30 = 6 blocks of 5: a whole block, and single tokens, at both ends and within.
    impossible = [0, 1, 2, 3, 4, 5, 9, 13, 24, 25, 26, 27, 28, 29]
    logits = np.random.default_rng(1).normal(0, 1, [1, 30]).astype(np.float32)
    logits[:, impossible] = -1e9
    noise = np.concatenate([[0.0, ALMOST_ONE], np.linspace(0, ALMOST_ONE, 2001)])
    places = len(noise)
    sampled = corruption.sample(
        tf.constant(np.broadcast_to(logits[:, None], [1, places, 30])),
        np.float32(noise)[None],
    )
    assert set(np.ravel(sampled)) == set(range(30)) - set(impossible)
    assert sampled[0, 0] == 6
    assert sampled[0, 1] == 23


@pytest.mark.parametrize("vocab_size", [30, 1009, 30522])
def test_samples_stay_within_the_vocabulary(vocab_size):
    noise = np.float32([[0.0, 1e-9, 0.5, 0.999999, ALMOST_ONE]])
    rng = np.random.default_rng(vocab_size)
    for scale in (0.0, 1.0, 100.0):
        logits = rng.normal(0, scale, [1, 5, vocab_size]).astype(np.float32)
        sampled = np.asarray(corruption.sample(tf.constant(logits), noise))
        assert sampled.min() >= 0
        assert sampled.max() < vocab_size
        if scale == 0.0:
            assert sampled[0, 0] == 0
            assert sampled[0, 4] > 0.95 * vocab_size


def test_sampling_agrees_with_the_inverse_of_the_cumulative_distribution():
    rng = np.random.default_rng(8)
    logits = rng.normal(0, 2, [40, 50, 997]).astype(np.float32)
    noise = rng.random([40, 50], dtype=np.float32)
    cumulative = np.cumsum(softmax(logits), axis=-1)
    want = np.sum(cumulative <= noise[..., None], axis=-1)
    same = np.mean(np.asarray(corruption.sample(tf.constant(logits), noise)) == want)
    # float32 moves each of 997 borders by 1e-7 or so: 2e-4 of all noise, about.
    assert same > 0.998


def test_no_gradient_passes_through_sampling():
    logits = tf.Variable(
        np.random.default_rng(4).normal(0, 1, [2, 3, 11]), dtype="float32"
    )
    noise = tf.constant([[0.1, 0.5, 0.9], [0.2, 0.4, 0.8]])
    with tf.GradientTape() as tape:
        sampled = corruption.sample(logits, noise)
        rows = corruption.corrupt(BATCH, sampled)
        total = tf.reduce_sum(tf.cast(rows.token_ids, tf.float32))
    assert tape.gradient(total, logits) is None
