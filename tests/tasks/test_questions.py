import numpy as np
import pytest
import tensorflow as tf

from electra_tf import errors
from electra_tf.datasets import dataset
from electra_tf.tasks import contexts, questions, tokenizer

QUESTION, CONTEXT = "the cat sat", "The cat sat on the Mat"


@pytest.mark.parametrize(
    "answer",
    [
        ("the Mat", 15),
        ["the Mat", 15],
        [("the Mat", 15), ("cat", 4)],
        {"text": "the Mat", "start": 15},
        [{"text": "the Mat", "answer_start": 15}],
        {"text": ["the Mat"], "answer_start": np.array([15])},
        {"text": np.array(["the Mat"], object), "answer_start": np.int32([15])},
        {"text": np.array(["the Mat", "cat"]), "answer_start": np.int64([15, 4])},
        np.array([("not there", 4), ("the Mat", 15)], object),
        [dataset.Answer("not there", -1), dataset.Answer("the Mat", 15)],
        ("the mat", None),
        "the Mat",
        ("the Mat", 14),  # The nearest that reads so.
        (b"the Mat", np.int64(15)),
    ],
)
def test_answers_may_have_many_forms(answer, tiny_vocab):
    words = tokenizer.ElectraTokenizer(str(tiny_vocab))
    context = contexts.Context.of(CONTEXT, words)
    found = questions.raw_answers(answer, 0)
    assert contexts.token_span(context, found) == (4, 5)


def test_an_answer_at_the_first_character_may_stand_in_arrays():
    answer = {"text": np.array(["The cat"], object), "answer_start": np.int32([0])}
    assert questions.raw_answers(answer, 0) == [("The cat", 0)]


@pytest.mark.parametrize(
    "answer",
    [
        None,
        [],
        "",
        " ",
        ("", 0),
        {"text": [], "answer_start": []},
        {"text": np.array([], object), "answer_start": np.array([], np.int32)},
    ],
)
def test_no_answer_may_have_many_forms(answer):
    assert questions.raw_answers(answer, 0) == []


def test_what_is_no_answer_is_said_in_one_line():
    for value in (7, ("cat", 1, 2), {"start": [3]}):
        with pytest.raises(errors.UserError, match=r"label 5 is .*; want None, \(text"):
            questions.raw_answers(value, 5)


@pytest.mark.parametrize(
    "x",
    [
        (QUESTION, CONTEXT),
        [[QUESTION, CONTEXT]],
        [{"question": QUESTION, "context": CONTEXT}],
        {"question": QUESTION, "context": CONTEXT},
        [dataset.Question(QUESTION, CONTEXT)],
        np.array([[QUESTION, CONTEXT]]),
        {"question": [QUESTION], "context": np.array([CONTEXT])},
        ([QUESTION], tf.constant([CONTEXT])),
        [(QUESTION.encode(), CONTEXT.encode())],
    ],
)
def test_questions_may_have_many_forms(x):
    assert questions.pairs(x) == ([QUESTION], [CONTEXT])


def test_a_question_without_its_context_is_refused():
    with pytest.raises(errors.UserError, match="input 0 is 'q' alone; want"):
        questions.pairs(["q"])
