import numpy as np
import pytest

from electra_tf.tasks import clusters

# Three heaps on a line, the members of each in no order.
HEAPS = np.array(
    [[0.0], [10.2], [0.4], [20.0], [9.7], [0.1], [20.2], [10.0]], np.float32
)


def test_each_group_has_what_is_near_and_is_told_by_the_nearest_to_its_middle():
    groups = clusters.group(HEAPS, 3, seed=5)
    assert sorted(one.members for one in groups) == [[0, 2, 5], [1, 4, 7], [3, 6]]
    assert [one.chosen for one in groups] == sorted(one.chosen for one in groups)
    chosen = {one.chosen for one in groups}
    assert {5, 7} < chosen
    assert chosen < {3, 5, 6, 7}
    for one in groups:
        assert one.nearness[one.members.index(one.chosen)] == max(one.nearness)
        assert all(0 < near <= 1 for near in one.nearness)


def test_the_seed_alone_decides():
    vectors = np.random.default_rng(3).normal(size=(40, 7)).astype(np.float32)
    assert clusters.group(vectors, 6, 1) == clusters.group(vectors, 6, 1)
    found = {str(clusters.group(vectors, 6, seed)) for seed in range(5)}
    assert len(found) > 1


def test_equal_vectors_make_fewer_groups():
    vectors = np.float32([[1.0], [1.0], [2.0], [2.0]])
    groups = clusters.group(vectors, 3, 0)  # Nor does scikit-learn warn.
    assert [one.members for one in groups] == [[0, 1], [2, 3]]


def test_a_long_document_is_grouped_part_by_part(monkeypatch):
    monkeypatch.setattr(clusters, "_MOST_DISTANCES", 300)
    vectors = np.random.default_rng(3).normal(size=(101, 7)).astype(np.float32)
    groups = clusters.group(vectors, 11, 0)
    assert len(groups) == 11
    assert sorted(row for one in groups for row in one.members) == [*range(101)]
    assert all(max(one.members) - min(one.members) < 101 / 2 for one in groups)
    assert [one.chosen for one in groups] == sorted(one.chosen for one in groups)


def words_of(texts, members, most=3):
    groups = [clusters.Group(one[0], one, [1.0] * len(one)) for one in members]
    return [
        [word.word for word in found] for found in clusters.words(texts, groups, most)
    ]


TEXTS = [
    "The Parser reads a tree.",
    "A parser is fast, and it's 40 times better.",
    "Our parser sees the tree of each word.",
    "Bread wants salt.",
    "It wants flour in the EU.",
    "Bread and tea.",
    "We thank them.",
]


def test_the_words_of_a_group_are_those_that_others_have_not():
    parsing, baking = words_of(TEXTS, [[0, 1, 2], [3, 4, 5]], most=8)
    assert parsing[:2] == ["Parser", "tree"]
    assert set(baking[:2]) == {"Bread", "wants"}
    assert "EU" in baking
    # Nothing without a meaning, no number, no letter.
    assert not {"The", "a", "40", "It", "it's", "and"} & {*parsing, *baking}
    ranked = clusters.words(TEXTS, [clusters.Group(0, [0, 1, 2], [1.0] * 3)], 8)[0]
    scores = [word.score for word in ranked]
    assert scores[0] == 1.0
    assert scores == sorted(scores, reverse=True)


def test_a_sentence_near_the_middle_says_more():
    for nearness, word in (([1, 1], "wants"), ([0.1, 1], "flour"), ([1, 0.1], "salt")):
        group = clusters.Group(3, [3, 4], nearness)
        assert clusters.words(TEXTS, [group], 1)[0][0].word == word


@pytest.mark.parametrize(
    ("texts", "found"),
    [
        # Ideographs stand in pairs; the two that both sentences of the group have.
        (["\u5317\u4eac\u5f88\u3002", "\u5317\u4eac\u597d\u3002"], "\u5317\u4eac"),
        # Vowel signs are part of a word.
        (
            ["\u0939\u093f\u0902\u0926\u0940\u0964"] * 2,
            "\u0939\u093f\u0902\u0926\u0940",
        ),
        (["na\u00efve don\u2019t-know"] * 2, "na\u00efve"),
    ],
)
def test_words_of_other_scripts(texts, found):
    others = ["x y", "z w", "\u4e0a\u6d77\u5c0f\u3002"]
    assert words_of(texts + others, [[0, 1]])[0][0] == found


def test_a_group_without_words_has_none():
    assert words_of(["...", "a I", "12", "???"], [[0], [1, 2]]) == [[], []]
