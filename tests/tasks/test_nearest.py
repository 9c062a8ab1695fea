"""Nearest vectors are those of a plain sort, however they are cut into blocks."""

import numpy as np
import pytest

from electra_tf.tasks import nearest

CHANCE = np.random.default_rng(3)
CANDIDATES = nearest.normalized(CHANCE.normal(0, 1, [50, 6]))
QUERIES = nearest.normalized(CHANCE.normal(0, 1, [7, 6]))


@pytest.mark.parametrize("size", [1, 7, 50])
@pytest.mark.parametrize("count", [1, 4, 50, 60])
def test_blocks_give_what_a_sort_of_all_gives(size, count):
    blocks = [CANDIDATES[start : start + size] for start in range(0, 50, size)]
    found = nearest.best(QUERIES, blocks, count)
    near = QUERIES @ CANDIDATES.T
    want = np.argsort(-near, axis=1, kind="stable")[:, :count]
    np.testing.assert_array_equal(found.places, want)
    np.testing.assert_allclose(
        found.cosines, np.take_along_axis(near, want, axis=1), atol=1e-6
    )


def test_of_equals_the_first_comes_first_and_of_nothing_nothing():
    same = np.tile(CANDIDATES[:1], [9, 1])
    assert nearest.best(QUERIES, [same], 9).places.tolist() == [[*range(9)]] * 7
    assert nearest.best(QUERIES, [], 3).places.shape == (7, 0)


def test_blocks_have_length_one_and_zeros_stay():
    (block,) = nearest.blocks_of(np.array([[3, 4], [0, 0]]))
    np.testing.assert_allclose(block, [[0.6, 0.8], [0, 0]])


def test_ranks_are_counted_as_by_hand():
    own = [3, 9, 0, 49, 5, 6, 7]
    passed = [{1, 2}, (), {0}, (), (), (), ()]
    found = nearest.ranks(QUERIES, CANDIDATES, own, passed)
    near = QUERIES @ CANDIDATES.T
    for row, place, others, rank in zip(near, own, passed, found, strict=True):
        before = [c for c in range(50) if c != place and c not in others]
        assert rank == 1 + sum(row[c] >= row[place] for c in before)
    broken = np.full_like(QUERIES[:1], np.nan)
    assert nearest.ranks(broken, CANDIDATES, [4], [()]) == [51]
