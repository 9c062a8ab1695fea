import types

import pytest

from electra_tf.kinds import multi_label

KIND = multi_label.KIND


def test_the_classes_of_the_best_f1_are_guessed():
    train = [["x", "y"], ["x"], ["x", "z"], []]
    dev = types.SimpleNamespace(ids=["1", "2"])
    # x of all four: hits 3, said 4, right 5; with y and z it would be less.
    assert KIND.guess(train, dev) == [["x"], ["x"]]


def test_a_servers_answer_is_that_of_python():
    said = {
        "labels": ["b", "", ""],
        "num_labels": 1,
        "classes": ["a", "b", "c"],
        "scores": [0.25, 0.75, 0.5],
    }
    assert KIND.response(said, "text") == {
        "labels": ["b"],
        "scores": {"a": 0.25, "b": 0.75, "c": 0.5},
    }


def test_wrong_and_missed_classes_are_told_the_surest_first():
    row = {"gold": ["a", "c"], "labels": ["a", "b"], "scores": {"b": 0.75, "c": 0.125}}
    sure, said = KIND.judge(row)
    assert sure == pytest.approx(0.875)
    assert said == "not b (0.750), also c (0.125)"
    assert KIND.judge({**row, "gold": ["b", "a"]}) is None


def test_a_page_shows_every_class_the_commonest_first():
    rows = [
        {"gold": ["b"], "labels": ["b"]},
        {"gold": ["b", "a"], "labels": ["b"]},
    ]
    (table,) = KIND.page_tables(rows)
    assert [row[0] for row in table.rows] == ["b", "a"]
    assert table.rows[0] == ["b", "1.0000", "1.0000", "1.0000", "2"]
    assert len(table.heads) == len(table.rows[0])


def test_having_no_class_is_an_answer_too():
    assert KIND.classes([[], ["a", "b"]]) == {"no class", "a, b"}
