"""Pairs become rows that several of them share."""

import numpy as np

from electra_tf.tasks import pairs


def ids(*lengths):
    return [np.arange(length, dtype=np.int32) + 10 for length in lengths]


def test_every_pair_stands_once_in_a_row_with_its_weight():
    chance = np.random.default_rng(0)
    sources = ids(*chance.integers(2, 60, 40))
    targets = ids(*chance.integers(2, 90, 40))
    weights = np.arange(40, dtype=np.float32) + 1
    first, numbers, before, numbers_too, after, heed = pairs.pack(
        sources, targets, weights
    )
    assert first.shape[0] < 40
    assert max(first.shape[1], before.shape[1]) <= pairs.ROW
    seen = []
    for row in range(len(first)):
        for number in range(1, numbers[row].max() + 1):
            here, there = numbers[row] == number, numbers_too[row] == number
            (pair,) = {int(weight) - 1 for weight in heed[row, there]}
            np.testing.assert_array_equal(first[row, here], sources[pair])
            np.testing.assert_array_equal(before[row, there], targets[pair][:-1])
            np.testing.assert_array_equal(after[row, there], targets[pair][1:])
            assert (np.diff(np.flatnonzero(here)) == 1).all()
            seen.append(pair)
    assert sorted(seen) == list(range(40))
    assert not first[numbers == 0].any()
    assert not heed[numbers_too == 0].any()


def test_rows_are_nearly_full():
    chance = np.random.default_rng(0)
    sizes = chance.integers(3, 60, [200, 2])
    rows = pairs.fill(sizes, np.array([128, 128]))
    assert sorted(pair for row in rows for pair in row) == list(range(200))
    assert all((sizes[row].sum(axis=0) <= 128).all() for row in rows)
    # Of the longer side, whose tokens alone would fill so many rows.
    assert len(rows) <= 1.15 * sizes.sum(axis=0).max() / 128


def test_a_pair_longer_than_a_row_has_one_for_itself():
    found = pairs.pack(ids(300, 5), ids(4, 200), np.ones(2))
    assert found[0].shape == (2, 304)
    np.testing.assert_array_equal(found[1].sum(axis=1), [300, 5])


def test_every_epoch_has_an_order_of_its_own_and_every_pair():
    sources, targets = ids(*range(3, 25)), ids(*range(4, 26))

    data = pairs.batches(sources, targets, 5, shuffle_seed=1)
    assert int(data.cardinality()) == 5
    epochs = [
        [x["encoder_padding_mask"].copy() for x, _, _ in data.as_numpy_iterator()]
        for _ in range(2)
    ]
    sums = [sum((mask > 0).sum() for mask in epoch) for epoch in epochs]
    assert sums == [sum(map(len, sources))] * 2
    assert any(
        a.shape != b.shape or (a != b).any() for a, b in zip(*epochs, strict=True)
    )
    again = pairs.batches(sources, targets, 5, shuffle_seed=1)
    for (x, _, _), mask in zip(again.as_numpy_iterator(), epochs[0], strict=True):
        np.testing.assert_array_equal(x["encoder_padding_mask"], mask)
