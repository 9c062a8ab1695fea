import numpy as np
import pytest

from electra_tf import errors
from electra_tf.tasks import questions


@pytest.mark.parametrize(
    "value",
    [
        ("the cat", 4),
        [("the cat", 4)],
        (b"the cat", np.int64(4)),
        {"text": "the cat", "start": 4},
        {"text": "the cat", "answer_start": 4},
        {"text": ["the cat"], "answer_start": [4]},
        [[("the cat", 4)]],
    ],
)
def test_an_answer_has_many_forms(value):
    assert questions.raw_answers(value, 0) == [("the cat", 4)]


def test_no_answer_is_none_or_blank():
    for value in (None, [], {"text": [], "answer_start": []}, ("", 0), " "):
        assert questions.raw_answers(value, 0) == []
    assert questions.raw_answers("cat", 0) == [("cat", None)]


def test_what_is_no_answer_is_said_in_one_line():
    for value in (7, ("cat", 1, 2), {"start": [3]}):
        with pytest.raises(errors.UserError, match=r"label 5 is .*; want None, \(text"):
            questions.raw_answers(value, 5)


def test_questions_come_with_their_contexts_or_are_refused():
    want = ["q", "r"], ["c", "d"]
    for x in (
        [("q", "c"), ("r", "d")],
        (["q", "r"], ["c", "d"]),
        {"question": ["q", "r"], "context": ["c", "d"]},
        [{"question": "q", "context": "c"}, {"question": "r", "context": "d"}],
    ):
        assert questions.pairs(x) == want
    with pytest.raises(errors.UserError, match="input 0 is 'q' alone; want"):
        questions.pairs(["q"])
