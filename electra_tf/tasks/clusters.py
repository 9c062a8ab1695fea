"""Vectors of sentences become groups, each told by a sentence and by its words.

In:   vectors [S, D] of a document's sentences; their texts.
Out:  groups: the sentence nearest to the middle, the members, the words that matter.

S sentences, D dimensions.
"""

import collections
import functools
import math
import re
import unicodedata
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

# Distances that are computed at once; beyond, a document is grouped part by part.
_MOST_DISTANCES = 2**24

# Starts of k-means, of which the best counts.
_STARTS = 10

# Letters that make no words by themselves: their neighbours say which.
_IDEOGRAPHS = re.compile("[\u3005-\u3007\u3041-\u30ff\u3400-\u4dbf\u4e00-\u9fff]+")
_WITHIN_WORDS = "'\u2019-"

Vectors = npt.NDArray[np.float32]


class Word(NamedTuple):
    """A word of a group."""

    word: str
    score: float  # 1 for the first of the group, less for those after it


class Group(NamedTuple):
    """Sentences that are alike."""

    chosen: int  # the one nearest to the middle: a row of the vectors
    members: list[int]  # rows, ascending
    nearness: list[float]  # of each member to the middle, 0 to 1


def group(vectors: Vectors, count: int, seed: int) -> list[Group]:
    """Groups sentences by k-means; returns the groups in the order of the chosen ones.

    Args:
        vectors: float32 [S, D].
        count: how many groups; fewer come where fewer vectors differ.
        seed: of k-means.
    """
    parts = math.ceil(math.sqrt(len(vectors) * count / _MOST_DISTANCES)) or 1
    splits = np.array_split(np.arange(len(vectors)), parts)
    found: list[Group] = []
    before = 0
    for place, rows in enumerate(splits, 1):
        share = count * place // parts
        if share > before:
            found += _group_part(vectors, rows, share - before, seed)
        before = share
    return sorted(found, key=lambda one: one.chosen)


def _group_part(
    vectors: Vectors, rows: npt.NDArray[np.int64], count: int, seed: int
) -> Iterator[Group]:
    # Here: it takes a second, and what is short is not grouped.
    from sklearn import cluster as sklearn_cluster

    here = vectors[rows]
    count = min(count, len(np.unique(here, axis=0)))
    means = sklearn_cluster.KMeans(count, n_init=_STARTS, random_state=seed).fit(here)
    for number in range(count):
        members = np.flatnonzero(means.labels_ == number)
        away = np.square(here[members] - means.cluster_centers_[number]).sum(axis=-1)
        usual = float(away.mean()) or 1.0
        yield Group(
            int(rows[members[np.argmin(away)]]),
            rows[members].tolist(),
            np.exp(-away / usual).tolist(),
        )


def words(texts: Sequence[str], groups: Sequence[Group], most: int) -> list[list[Word]]:
    """Returns the words that matter of each group, those that matter most first.

    Those that many of its sentences have, those near its middle above all, and few
    others: counts in the group, times the logarithm of how rare a word is among all
    sentences, times the share of these that are in the group. English words without a
    meaning of their own are left out, and words that more than half of all sentences
    have.

    Args:
        texts: all sentences of the document.
        groups: of these.
        most: words of a group.
    """
    counted = [_words_of(text) for text in texts]
    having = collections.Counter(word for found in counted for word in found)
    usual = max(len(texts) / 2, 1)
    said = []
    for one in groups:
        weights: dict[str, float] = collections.defaultdict(float)
        spelled: dict[str, str] = {}
        here = collections.Counter(w for place in one.members for w in counted[place])
        for member, near in zip(one.members, one.nearness, strict=True):
            for word, spelling in counted[member].items():
                rare = math.log((1 + len(texts)) / having[word])
                if having[word] <= usual:
                    weights[word] += near * rare * here[word] / having[word]
                    spelled.setdefault(word, spelling)
        # Of equals, the first in the text.
        ranked = sorted(weights.items(), key=lambda item: -item[1])[:most]
        best = ranked[0][1] if ranked else 1.0
        said.append([Word(spelled[word], score / best) for word, score in ranked])
    return said


def _words_of(text: str) -> dict[str, str]:
    """Returns the words of a sentence, folded, and how the first of each is spelled."""
    found: dict[str, str] = {}
    kept = "".join(map(_kept, text))
    for run in kept.split():
        for word in _cut(run.strip(_WITHIN_WORDS)):
            folded = word.casefold()
            start = re.split("['\u2019]", folded)[0]  # Of "it's".
            if folded and start not in _without_meaning():
                found.setdefault(folded, word)
    return found


def _cut(run: str) -> Iterator[str]:
    """Yields a word; of ideographs, each with its neighbour."""
    end = 0
    for part in _IDEOGRAPHS.finditer(run):
        yield from _long_enough(run[end : part.start()])
        end = part.end()
        letters = part[0]
        pairs = range(max(1, len(letters) - 1))
        yield from (letters[place : place + 2] for place in pairs)
    yield from _long_enough(run[end:])


def _long_enough(word: str) -> Iterator[str]:
    """Yields a word that is no bare number and has three letters, or is in capitals."""
    is_name = len(word) == 2 and word.isupper()
    if (len(word) > 2 or is_name) and any(map(str.isalpha, word)):
        yield word


@functools.lru_cache(maxsize=100_000)
def _kept(character: str) -> str:
    """Returns what words are of: letters, digits, their marks; of all else, a blank."""
    is_part = unicodedata.category(character)[0] in "LNM" or character in _WITHIN_WORDS
    return character if is_part else " "


@functools.cache
def _without_meaning() -> frozenset[str]:
    from sklearn.feature_extraction import text as sklearn_text

    return frozenset(sklearn_text.ENGLISH_STOP_WORDS)
