"""What belongs to a text is found among all others; pairs are more alike or less."""

import types

import numpy as np
import pytest

from electra_tf.datasets import dataset
from electra_tf.kinds import pairs

VECTORS = {
    "up": [0, 2],
    "north": [0.1, 1],
    "right": [3, 0],
    "east": [1, 0.2],
    "down": [0, -1],
    "up too": [0.3, 1],
}
ASKED = []


def predict(texts, batch_size):
    ASKED.append((texts, batch_size))
    return np.array([VECTORS[text] for text in texts], np.float32)


MODEL = types.SimpleNamespace(predict=predict)


def test_the_rank_is_among_all_that_belongs_to_others_and_what_does_not_belong():
    examples = [("up", "north"), ("right", "east", "up too"), ("down", "east")]
    ASKED.clear()
    found = pairs.RETRIEVAL.answer(MODEL, examples, 3)
    assert ASKED == [(["up", "north", "right", "east", "up too", "down"], 3)]
    assert [one["rank"] for one in found] == [1, 1, 1]
    assert found[0]["value"] == pytest.approx(1 / np.sqrt(1.01), abs=1e-6)
    worse = pairs.RETRIEVAL.answer(MODEL, [("up", "east"), ("right", "north")], 3)
    assert [one["rank"] for one in worse] == [2, 2]


def test_another_right_answer_does_not_stand_before_one():
    examples = [("up", "north"), ("up", "up too"), ("down", "down"), ("right", "east")]
    found = pairs.RETRIEVAL.answer(MODEL, examples, 3)
    assert [one["rank"] for one in found] == [1, 1, 1, 1]


def test_a_text_does_not_find_itself():
    examples = [("up", "north"), ("right", "up"), ("down", "east")]
    assert pairs.RETRIEVAL.answer(MODEL, examples, 3)[0]["rank"] == 1


def test_where_all_vectors_are_alike_nothing_is_found():
    same = types.SimpleNamespace(predict=lambda texts, _: np.ones([len(texts), 2]))
    found = pairs.RETRIEVAL.answer(same, [("a", "b"), ("c", "d"), ("e", "f")], 3)
    assert [one["rank"] for one in found] == [3, 3, 3]


def test_a_test_file_may_have_only_what_is_looked_for():
    assert pairs.RETRIEVAL.answer(MODEL, [("up",)], 3) == [{}]
    assert pairs.RETRIEVAL.show(("up",)) == {"text": "up"}
    shown = pairs.RETRIEVAL.show(("up", "north", "down"))
    assert shown == {"text": "up", "text_pair": "north", "negatives": ["down"]}


def test_similarity_is_the_cosine_whatever_the_lengths():
    (found,) = pairs.SIMILARITY.answer(MODEL, [("up", "right")], 3)
    assert found == {"value": 0.0}
    (found,) = pairs.SIMILARITY.answer(MODEL, [("up", "up")], 3)
    assert found["value"] == pytest.approx(1)


def test_guesses_are_what_they_are_by_chance():
    split = dataset.Split(["1", "2", "3"], [()] * 3, ["a"] * 3, "dev.tsv")
    assert pairs.RETRIEVAL.guess([], split) == [2.0] * 3
    assert pairs.SIMILARITY.guess([], split) == [0.0] * 3
    assert pairs.RETRIEVAL.learns_from(["x"], ["y"]) == (["x"], None)
    assert pairs.SIMILARITY.learns_from(["x"], ["y"]) == (["x"], ["y"])


def test_a_page_shows_what_was_found_late():
    assert pairs.RETRIEVAL.judge({"rank": 1}) is None
    assert pairs.RETRIEVAL.judge({"rank": 7}) == (7.0, "found at rank 7")
