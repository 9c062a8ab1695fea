"""Tables of questions with answers."""

import pytest
from table_files import WRITERS, complaint, read, write_jsonl

from electra_tf.datasets import dataset, metrics

CONTEXT = "Ann has a red car."


@pytest.mark.parametrize(
    ("cells", "answers"),
    [
        ({"answer": "red"}, [("red", 10)]),
        ({"answer": "RED"}, [("red", 10)]),
        ({"answer": ["red", "red car"]}, [("red", 10), ("red car", 10)]),
        ({"answer": ""}, []),
        ({"answer": None}, []),
        ({"answer": []}, []),
        ({"answer": {"text": ["a"], "answer_start": [8]}}, [("a", 8)]),
        ({"answer": {"text": [], "answer_start": []}}, []),
        ({"answer": "{'text': array(['a']), 'answer_start': [8]}"}, [("a", 8)]),
        ({"answer": '{"text": ["a"], "answer_start": [8]}'}, [("a", 8)]),
        ({"answer": "['red' 'red car']"}, [("red", 10), ("red car", 10)]),
        ({"answer": "[x]", "context": "as in [x]"}, [("[x]", 6)]),
        ({"answer": "[]"}, []),
    ],
)
def test_answers_are_found_in_the_context(tmp_path, cells, answers):
    row = {"question": "What?", "context": CONTEXT} | cells
    write_jsonl(tmp_path / "train.jsonl", [row])
    found = read("question_answering", tmp_path)
    split = found.split("train")
    assert split.inputs == [dataset.Question("What?", row["context"])]
    assert split.labels == [answers]
    assert found.metric == ("f1" if answers else "best_f1")


@pytest.mark.parametrize("ending", WRITERS)
def test_answers_may_say_where_they_start(tmp_path, ending):
    rows = [
        {"q": "What?", "c": "x b x", "a": "x", "at": "4"},
        {"q": "What?", "c": "x b x", "a": "x", "at": ""},
    ]
    WRITERS[ending](tmp_path / f"dev{ending}", rows)
    found = read(
        "question_answering",
        tmp_path,
        question_column="q",
        context_column="c",
        answer_column="a",
        start_column="at",
    )
    dev = found.split("dev")
    assert dev.labels == [[("x", 4)], [("x", 0)]]
    said = {key: metrics.QaPrediction("x") for key in dev.ids}
    assert found.score(said, dev) == {"exact": 1, "f1": 1}


def test_a_score_of_questions_is_by_their_ids(tmp_path):
    rows = [
        {"question": "What?", "context": CONTEXT, "answer": text, "key": text}
        for text in ("red", "car")
    ]
    write_jsonl(tmp_path / "dev.jsonl", rows)
    found = read("question_answering", tmp_path, id_column="key")
    said = {"car": metrics.QaPrediction("car"), "red": metrics.QaPrediction("x")}
    assert found.score(said, found.split("dev"))["exact"] == 0.5


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        ({"answer": 3}, "column 'answer' is 3, want text"),
        ({"answer": ["red", None]}, None),
        ({"answer": {"text": ["a"], "answer_start": [8, 9]}}, "2 starts for 1 answers"),
        ({"answer": {"text": ["a"], "answer_start": ["x"]}}, "starts at 'x', want a"),
        ({"answer": "red", "question": ""}, "question is '', want text"),
        ({"answer": "red", "context": 3}, "context is 3, want text"),
    ],
)
def test_broken_questions_are_bad_rows(tmp_path, cells, message):
    row = {"question": "What?", "context": CONTEXT} | cells
    write_jsonl(tmp_path / "train.jsonl", [row])
    if message is None:
        split = read("question_answering", tmp_path).split("train")
        assert split.labels == [[("red", 10)]]
    else:
        assert f"line 1: {message}" in complaint(
            "question_answering", tmp_path
        ).replace("answer starts", "starts")
