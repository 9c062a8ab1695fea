"""Tables of prompts with choices."""

import pytest
from table_files import complaint, read, write_csv, write_jsonl

from electra_tf.datasets import dataset


def test_choices_are_a_list_or_several_columns(tmp_path):
    lists = {"prompt": "I am", "choices": ["a", "b", "c"], "label": 2}
    write_jsonl(tmp_path / "train.jsonl", [lists])
    found = read("multiple_choice", tmp_path)
    assert found.split("train").inputs == [("I am", ("a", "b", "c"))]
    assert found.split("train").labels == [2]
    (tmp_path / "train.jsonl").unlink()
    columns = {"prompt": "I am", "e0": "a a", "e1": "b", "e2": "c", "label": "2"}
    write_csv(tmp_path / "train.csv", [columns])
    found = read("multiple_choice", tmp_path, choices_column="e0, e1,e2")
    split = found.split("train")
    assert split.inputs == [dataset.Choice("I am", ("a a", "b", "c"))]
    assert found.score([2], split) == {"accuracy": 1}
    assert found.score([1], split) == {"accuracy": 0}


@pytest.mark.parametrize("label", [3, -1, 1.5, "b", None])
def test_a_choice_that_is_not_there_is_refused(tmp_path, label):
    row = {"prompt": "I am", "choices": ["a", "b", "c"], "label": label}
    write_jsonl(tmp_path / "train.jsonl", [row])
    assert "line 1: column 'label' is" in complaint("multiple_choice", tmp_path)


def test_one_choice_is_none(tmp_path):
    row = {"prompt": "I am", "choices": ["a"], "label": 0}
    write_jsonl(tmp_path / "train.jsonl", [row])
    assert "'choices' holds 1 choices" in complaint("multiple_choice", tmp_path)
