import pytest

from electra_tf import errors
from electra_tf.datasets import dataset
from electra_tf.kinds import columns, multiple_choice

KIND = multiple_choice.KIND
CHOICE = dataset.Choice("p", ("x", "y"))


def test_choices_come_from_a_list_or_from_several_columns():
    row = {"prompt": "p", "choices": '["x", "y"]'}
    assert KIND.example(columns.Columns({}), row) == CHOICE
    several = columns.Columns({"choices_column": "a, b"})
    assert KIND.example(several, {"prompt": "p", "a": "x", "b": "y"}) == CHOICE


def test_a_server_is_not_asked_of_empty_choices():
    assert KIND.request(CHOICE) == {"prompt": "p", "choices": ["x", "y"]}
    with pytest.raises(errors.UserError, match="takes an empty choice for none"):
        KIND.request(dataset.Choice("p", ("x", "")))
    said = {"index": 1, "choice": "y", "score": 0.75, "scores": [0.25, 0.75, 0.0]}
    assert KIND.response(said, CHOICE) == {**said, "scores": [0.25, 0.75]}


def test_a_wrong_choice_shows_the_right_one():
    row = {**KIND.show(CHOICE), "gold": 1, "index": 0, "choice": "x", "score": 0.5}
    assert KIND.judge(row) == (0.5, "x (0.500), right: y")
    assert KIND.judge({**row, "gold": 0}) is None
    assert list(KIND.page_texts(row)) == ["p"]
