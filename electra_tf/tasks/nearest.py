"""Which vectors are nearest: exact, a block after the other, on all cores.

In:   float32 vectors of length 1, as many as there are; those of questions [Q, D].
Out:  the nearest of each, best first; or the rank of one that is known.

numpy's matrix product does the work; it uses all cores. Q queries, C candidates, K
found, D width.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Vectors = npt.NDArray[np.float32]

# Rows of one product: its result is that many numbers a query.
_BLOCK = 16_384
_QUERIES = 512


class Found(NamedTuple):
    """The nearest of each query, best first; of equals, the first."""

    cosines: npt.NDArray[np.float32]  # [Q, K]
    places: npt.NDArray[np.int64]  # [Q, K], which candidates they are


def normalized(vectors: Any) -> Vectors:
    """Returns vectors of length 1; zeros stay."""
    found = np.asarray(vectors, np.float32)
    length = np.linalg.norm(found, axis=-1, keepdims=True)
    unit: Vectors = found / np.maximum(length, np.float32(1e-12))
    return unit


def best(queries: Vectors, blocks: Iterable[Vectors], count: int) -> Found:
    """Returns the nearest candidates of each query.

    Args:
        queries: [Q, D].
        blocks: candidates in their order, [any, D] each; as they come, so that no more
            than one of them is in memory.
        count: how many to find; fewer where there are fewer.
    """
    near = np.zeros([len(queries), 0], np.float32)
    places = np.zeros([len(queries), 0], np.int64)
    start = 0
    for block in blocks:
        here = queries @ block.T  # [Q, block]
        numbers = np.broadcast_to(np.arange(start, start + len(block)), here.shape)
        near = np.concatenate([near, here], axis=1)
        places = np.concatenate([places, numbers], axis=1)
        start += len(block)
        if near.shape[1] > count:
            chosen = np.argpartition(-near, count - 1, axis=1)[:, :count]
            near = np.take_along_axis(near, chosen, axis=1)
            places = np.take_along_axis(places, chosen, axis=1)
    order = np.lexsort((places, -near), axis=1)
    return Found(
        np.take_along_axis(near, order, axis=1),
        np.take_along_axis(places, order, axis=1),
    )


def blocks_of(vectors: Any) -> Iterator[Vectors]:
    """Yields vectors, in memory or mapped from a file, some at a time, of length 1."""
    for start in range(0, len(vectors), _BLOCK):
        yield normalized(vectors[start : start + _BLOCK])


def ranks(
    queries: Vectors,
    candidates: Vectors,
    own: Sequence[int],
    passed: Sequence[Collection[int]],
) -> list[int]:
    """Returns the rank of each query's own candidate, 1 = the nearest of all.

    Those that are as near as it stand before it: vectors that are all alike find
    nothing.

    Args:
        queries: [Q, D].
        candidates: [C, D].
        own: of each query, what should be found.
        passed: of each query, what does not count, such as others that are right.
    """
    found: list[int] = []
    for start in range(0, len(queries), _QUERIES):
        near = queries[start : start + _QUERIES] @ candidates.T  # [some, C]
        for row, place, others in zip(near, own[start:], passed[start:], strict=False):
            mine = row[place]
            row[[*others, place]] = -np.inf
            found.append(1 + int(np.sum(~(row < mine))))  # So that NaN is the last.
    return found
