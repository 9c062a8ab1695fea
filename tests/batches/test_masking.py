"""Rows to masked rows: the right number, the right places, and nothing lost."""

import itertools

import numpy as np
import pytest
import tensorflow as tf

from electra_tf.batches import masking

PAD, UNK, CLS, SEP, MASK = range(5)
ROWS = tf.constant([
    [CLS, 10, 11, 12, 13, SEP, 14, 15, UNK, SEP, CLS, 16, SEP],
    [CLS, 20, SEP, PAD, PAD, PAD, PAD, PAD, PAD, PAD, PAD, PAD, PAD],
    [CLS, SEP, CLS, MASK, SEP, PAD, PAD, PAD, PAD, PAD, PAD, PAD, PAD],
    [PAD] * 13,
])  # fmt: skip
NUM_CANDIDATES = [8, 1, 0, 0]
V = 60


def join(lists):
    return list(itertools.chain.from_iterable(lists))


def hide(rows, seed=(1, 2), is_continuation=None, **settings):
    rows = tf.constant(rows, tf.int32)
    candidates = masking.find_candidates(rows, rows, (CLS, SEP, MASK))
    word_starts = None
    if is_continuation is not None:
        word_starts = masking.find_words(rows, candidates, tf.constant(is_continuation))
    settings = {"rate": 0.5, "max_predictions": 5, "mask_token_rate": 0.85} | settings
    return masking.hide_tokens(
        rows,
        candidates,
        mask_id=MASK,
        seed=tf.constant(seed),
        word_starts=word_starts,
        **settings,
    )


def put_back(masked):
    """Writes what was hidden over the masked rows."""
    rows = masked.token_ids.numpy().copy()
    for row, slot in np.argwhere(masked.mask_weights.numpy() == 1):
        rows[row, masked.mask_positions[row, slot]] = masked.mask_ids[row, slot]
    return rows


def hidden_positions(masked):
    """Lists the hidden positions of each row."""
    return [
        positions[weights == 1].tolist()
        for positions, weights in zip(
            masked.mask_positions.numpy(), masked.mask_weights.numpy(), strict=True
        )
    ]


def test_a_row_worked_by_hand():
    masked = hide([[CLS, 10, SEP]], mask_token_rate=1.0, max_predictions=2)
    assert masked.token_ids.numpy().tolist() == [[CLS, MASK, SEP]]
    assert masked.mask_positions.numpy().tolist() == [[1, 0]]
    assert masked.mask_ids.numpy().tolist() == [[10, 0]]
    assert masked.mask_weights.numpy().tolist() == [[1.0, 0.0]]


@pytest.mark.parametrize("rate", [0.0, 0.15, 0.5, 1.0])
def test_putting_the_hidden_tokens_back_restores_the_rows(rate):
    masked = hide(ROWS, rate=rate)
    np.testing.assert_array_equal(put_back(masked), ROWS)
    assert not np.array_equal(masked.token_ids, ROWS)


def test_only_candidates_are_hidden_and_none_twice():
    candidates = masking.find_candidates(ROWS, ROWS, (CLS, SEP, MASK)).numpy()
    assert candidates.sum(axis=1).tolist() == NUM_CANDIDATES
    hidden = set()
    for seed in range(50):
        for row, positions in enumerate(hidden_positions(hide(ROWS, seed=(seed, 0)))):
            assert positions == sorted(set(positions))
            assert candidates[row, positions].all()
            hidden |= {(row, position) for position in positions}
    assert len(hidden) == sum(NUM_CANDIDATES), "every candidate has its turn, [UNK] too"


@pytest.mark.parametrize(
    ("rate", "expected"),
    [
        (0.0, [1, 1, 0, 0]),
        (0.3, [2, 1, 0, 0]),
        (0.35, [3, 1, 0, 0]),
        (0.5, [4, 1, 0, 0]),
        (1.0, [5, 1, 0, 0]),
    ],
)
def test_a_row_hides_its_share_one_at_least_and_no_more_than_there_is_room_for(
    rate, expected
):
    masked = hide(ROWS, rate=rate)
    assert masked.mask_weights.numpy().sum(axis=1).tolist() == expected


def test_a_row_with_nothing_to_hide_stays_as_it_is():
    masked = hide(ROWS)
    np.testing.assert_array_equal(masked.token_ids[2:], ROWS[2:])
    for field in (masked.mask_positions, masked.mask_ids, masked.mask_weights):
        assert not np.any(field[2:])


def test_every_candidate_is_hidden_equally_often():
    rows = np.tile(np.arange(10, 31), [4000, 1])
    masked = hide(rows, rate=0.15, max_predictions=9, mask_token_rate=1.0)
    share = np.mean(masked.token_ids == MASK, axis=0)
    # The standard error of 3 of 21 over 4,000 rows is 0.0055; allow five of them.
    np.testing.assert_allclose(share, 3 / 21, atol=0.028)


def test_some_of_the_hidden_tokens_keep_their_face():
    rows = np.tile(np.arange(10, 30), [3000, 1])
    masked = hide(rows, mask_token_rate=0.85, max_predictions=10)
    assert masked.mask_weights.numpy().sum() == 30_000
    # The standard error of 0.85 over 30,000 tokens is 0.002; allow five of them.
    share = np.sum(masked.token_ids == MASK) / 30_000
    np.testing.assert_allclose(share, 0.85, atol=0.01)


def test_the_same_seed_hides_the_same_and_another_hides_others():
    first, again, other = (hide(ROWS, seed=(seed, 0)) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first.token_ids, again.token_ids)
    assert hidden_positions(first) != hidden_positions(other)
    # Where all is hidden, the seed still says what shows [MASK].
    faces = [
        hide(ROWS, seed=(seed, 0), rate=1.0, max_predictions=8, mask_token_rate=0.5)
        for seed in range(4)
    ]
    assert len({str(masked.token_ids.numpy()) for masked in faces}) > 1


def test_a_word_is_hidden_whole_or_not_at_all():
    # Words of 1, 2, 3 and 4 tokens, twice; ids from 40 on continue a word.
    words = [[10], [11, 40], [12, 41, 42], [13, 43, 44, 45]]
    rows = np.tile([CLS, *join(words), SEP, *join(words[::-1]), SEP], [300, 1])
    masked = hide(
        rows, rate=0.35, max_predictions=8, is_continuation=np.arange(V) >= 40
    )
    np.testing.assert_array_equal(put_back(masked), rows)
    word_of = np.cumsum(rows[0] < 40)
    sizes = set()
    for positions in hidden_positions(masked):
        assert len(positions) in (6, 7)  # 6: no word of one token was left.
        taken = set(word_of[positions])
        assert np.isin(word_of, list(taken)).sum() == len(positions)
        sizes |= {np.sum(word_of == word) for word in taken}
    assert sizes == {1, 2, 3, 4}


def test_a_word_longer_than_the_budget_is_passed_over():
    row = [[CLS, 10, 40, 41, 42, 43, 11, SEP]]  # Words of 5 and 1; the budget is 2.
    for seed in range(10):
        masked = hide(
            row, seed=(seed, 0), rate=0.35, is_continuation=np.arange(V) >= 40
        )
        assert hidden_positions(masked) == [[6]]
    masked = hide([row[0][:6]], rate=0.35, is_continuation=np.arange(V) >= 40)
    assert hidden_positions(masked) == [[]]


def test_words_do_not_cross_segments():
    row = tf.constant([[CLS, 10, 40, SEP, 41, 42, SEP, CLS, 43, SEP]])
    candidates = masking.find_candidates(row, row, (CLS, SEP, MASK))
    starts = masking.find_words(row, candidates, tf.range(V) >= 40)
    assert np.flatnonzero(starts).tolist() == [1, 4, 8]


def test_words_are_drawn_one_by_one_until_the_budget_is_full():
    """Against a plain loop over the words in the order that the noise gives."""
    rng = np.random.default_rng(0)
    rows = np.where(rng.random([200, 31]) < 0.5, 40, 10)
    rows[:, 0] = 10
    candidates = tf.ones(rows.shape, tf.bool)
    starts = masking.find_words(tf.constant(rows), candidates, tf.range(V) >= 40)
    wanted = rng.integers(1, 12, 200).astype(np.int32)
    noise = rng.random(rows.shape).astype(np.float32)
    hidden = masking._draw_words(
        candidates, starts, tf.constant(wanted), tf.constant(noise)
    )
    num_passed_over = 0
    for row in range(200):
        begins = np.flatnonzero(rows[row] == 10)
        words = np.split(np.arange(31), begins[1:])
        expected = np.zeros(31, bool)
        for word in np.argsort(noise[row]):
            if word < len(words) and expected.sum() + len(words[word]) <= wanted[row]:
                expected[words[word]] = True
            elif word < len(words) and expected.sum() < wanted[row]:
                num_passed_over += 1
        np.testing.assert_array_equal(hidden[row], expected)
    assert num_passed_over > 50
