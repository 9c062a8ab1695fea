import numpy as np
import pytest

from electra_tf.tasks import contexts, inputs, tokenizer

TEXT = "the cat sat on the mat ."


@pytest.fixture(scope="module")
def context(tiny_vocab):
    return contexts.Context.of(TEXT, tokenizer.ElectraTokenizer(str(tiny_vocab)))


@pytest.mark.parametrize(
    ("answers", "span"),
    [
        ([("sat on", 8)], (2, 3)),
        ([("sat on", None)], (2, 3)),
        ([("the", 15)], (4, 4)),
        ([("at", 5)], (1, 1)),  # Within a word, it is the word.
        ([("dog", 0), ("cat sat", 4)], (1, 2)),  # The first that is there.
        ([("dog", 0)], contexts.LOST),
        ([], contexts.NONE),
    ],
)
def test_an_answer_is_the_tokens_that_hold_it(context, answers, span):
    assert contexts.token_span(context, answers) == span


def test_the_best_spans_are_of_different_text(context):
    firsts, lasts = np.array([0, 4, 1, 0]), np.array([0, 4, 2, 1])
    found = context.spans(firsts, lasts, np.log(np.float32([0.5, 0.4, 0.3, 0.2])), 2)
    assert [(one.text, one.start, one.end) for one in found] == [
        ("the", 0, 3),
        ("cat sat", 4, 11),
    ]
    np.testing.assert_allclose([one.score for one in found], [0.5, 0.3], rtol=1e-6)


def test_a_window_places_what_it_holds_as_a_whole():
    window = contexts.Window(question=0, start=5, size=4, at=3)
    assert window.place((5, 8)) == (3, 6)
    assert window.place((4, 6)) == window.place((8, 9)) == (0, 0)
    assert window.place(contexts.NONE) == (0, 0)
    assert window.place(contexts.LOST) == contexts.LOST


def test_a_token_belongs_to_the_window_that_shows_most_around_it():
    shown = [contexts.Window(0, start, size, 3) for start, size in ((0, 5), (3, 5))]
    assert contexts.owners(shown, 8).tolist() == [0, 0, 0, 0, 1, 1, 1, 1]
    # Of two that show the same, the longer.
    shown = [contexts.Window(0, start, size, 3) for start, size in ((0, 3), (0, 4))]
    assert contexts.owners(shown, 4).tolist() == [1, 1, 1, 1]


def test_windows_are_what_stands_behind_the_question():
    segments = [np.array([0, 0, 0, 1, 1, 1]), np.array([0, 0, 0, 0, 1, 1])]
    rows = inputs.Rows([], segments, np.array([0, 1]), 2, 0, np.array([0, 7]))
    assert contexts.windows(rows) == [
        contexts.Window(question=0, start=0, size=2, at=3),
        contexts.Window(question=1, start=7, size=1, at=4),
    ]
