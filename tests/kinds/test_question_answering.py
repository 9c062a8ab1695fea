import json
import types

from electra_tf.datasets import dataset, metrics
from electra_tf.kinds import question_answering

KIND = question_answering.KIND
SPAN = {"text": "cat", "start": 1, "end": 4, "score": 0.75}
FOUND = [
    {"answer": "", "null_score": 3.0, "n_best": [SPAN]},
    {"answer": "", "null_score": 9.0, "n_best": []},
]


def split(labels):
    questions = [dataset.Question("q", "c")] * 2
    return dataset.Split(["k0", "k1"], questions, labels, "mine.json")


def test_a_threshold_takes_answers_back():
    found = [
        {"answer": "cat", "start": 4, "end": 7, "score": 0.9, "null_score": score}
        for score in (0.5, 2.0, 2.5)
    ]
    kept = question_answering.apply_threshold(found, 2.0)
    assert [one["answer"] for one in kept] == ["cat", "cat", ""]
    assert (kept[2]["start"], kept[2]["end"]) == (0, 0)


def test_the_best_threshold_on_dev_is_the_models_where_there_is_one():
    model = types.SimpleNamespace(null_threshold=None)
    found = [{"answer": "cat", "null_score": 2.0}]
    assert KIND.settle(model, {"f1": 0.5}, found) is found
    assert model.null_threshold is None
    (settled,) = KIND.settle(model, {"best_f1_thresh": 1.5}, found)
    assert settled["answer"] == ""
    assert model.null_threshold == 1.5


def test_scores_are_of_the_best_span_whatever_was_said():
    assert KIND.values(split(None), FOUND) == {
        "k0": metrics.QaPrediction("cat", 3.0),
        "k1": metrics.QaPrediction("", 9.0),
    }


def test_answers_are_written_in_the_official_forms(tmp_path):
    for labels, wanted in (
        (None, {"k0": "", "k1": ""}),
        ([[], []], {"k0": "cat", "k1": ""}),
    ):
        KIND.hand_in(str(tmp_path), None, "dev", split(labels), FOUND)
        assert json.loads((tmp_path / "dev_predictions.json").read_text()) == wanted
    n_best = json.loads((tmp_path / "dev_nbest.json").read_text())
    assert n_best == {"k0": [{"text": "cat", "probability": 0.75}], "k1": []}
    odds = json.loads((tmp_path / "dev_null_odds.json").read_text())
    assert odds == {"k0": 3.0, "k1": 9.0}


def test_questions_about_a_text_are_held_out_together():
    assert KIND.group(dataset.Question("q", "c")) == "c"


def test_a_servers_answer_is_that_of_python():
    said = {name: SPAN.get(name, 0) for name in ("start", "end", "score")}
    said |= {"answer": "cat", "null_score": -2.0, "num_best": 1}
    said |= {f"n_best_{name}s": [value, value] for name, value in SPAN.items()}
    assert KIND.response(said, None) == {
        "answer": "cat",
        "start": 1,
        "end": 4,
        "score": 0.75,
        "null_score": -2.0,
        "n_best": [SPAN],
    }
