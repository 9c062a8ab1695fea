from electra_tf.datasets import dataset, extracts
from electra_tf.kinds import columns, extraction

KIND = extraction.KIND
NAMES = columns.Columns({})
SENTENCES = ["One is.", "", "Three are."]


def test_an_example_is_a_list_of_sentences_or_a_text():
    assert KIND.example(NAMES, {"sentences": SENTENCES}) == SENTENCES
    assert KIND.example(NAMES, {"text": "One is. Two are."}) == ["One is.", "Two are."]
    both = {"text": "No. Not.", "sentences": ["Yes."]}
    assert KIND.example(NAMES, both) == ["Yes."]
    assert KIND.show(SENTENCES) == {"sentences": SENTENCES}


def test_a_server_is_asked_and_says_the_same():
    assert KIND.request(SENTENCES) == {"sentences": ["One is.", " ", "Three are."]}
    said = {"scores": [0.5, 0.25, 0.75, 0.0], "chosen": [0, 2, -1]}
    assert KIND.response(said, SENTENCES) == {
        "summary": "One is. Three are.",
        "chosen": [0, 2],
        "scores": [0.5, 0.25, 0.75],
    }


def test_answers_are_scored_and_the_first_sentences_are_the_guess():
    answer = {"summary": "", "chosen": [2], "scores": [0.0, 0.25, 0.5]}
    split = dataset.Split(
        ["1", "2"],
        [SENTENCES, ["a", "b", "c", "d"]],
        [dataset.Extract([1, 0, 0], ""), dataset.Extract([0, 0, 0, 1], "")],
        "it",
    )
    scored = KIND.values(split, [answer])
    assert scored == [extracts.Scored([0.0, 0.25, 0.5], [2])]
    guess = KIND.guess(split.labels, split)
    assert [one.chosen for one in guess] == [[0, 1, 2], [0, 1, 2]]
    found = extracts.score(guess, split)
    assert found["average_precision"] == (1 + 1 / 4) / 2


def test_a_mistake_is_a_surest_sentence_that_is_not_marked():
    gold = KIND.show_label(dataset.Extract([1, 0, 0], "S."))
    assert gold == {"marks": [1, 0, 0], "summary": "S."}
    row = {"sentences": SENTENCES, "gold": gold, "scores": [0.5, 0.25, 0.75]}
    assert KIND.judge(row) == (0.75, "Three are. (0.750)")
    assert KIND.judge({**row, "scores": [0.9, 0.25, 0.75]}) is None
    assert KIND.judge({**row, "scores": []}) is None
    assert list(KIND.page_texts(row)) == ["One is."]
