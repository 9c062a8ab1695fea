"""Questions from SQuAD's and MRQA's files: answers found, dropped, counted, scored."""

import gzip
import json

import pytest

from electra_tf import errors
from electra_tf.datasets import metrics, squad
from electra_tf.kinds import registry

CONTEXT = "Ann has a red car. Bob has a blue car in S\u00e3o Paulo."


def qa(key, *answers, **more):
    """A question; its answers as (text, start)."""
    spans = [{"text": text, "answer_start": start} for text, start in answers]
    return {"id": key, "question": f"What is {key}?", "answers": spans} | more


def impossible(key):
    return qa(key, is_impossible=True, plausible_answers=[{"text": "car"}])


def write(file, *questions, context=CONTEXT):
    paragraphs = [{"context": context, "qas": list(questions)}]
    file.write_text(json.dumps({"version": "x", "data": [{"paragraphs": paragraphs}]}))


def read(folder, **options):
    return registry.read("squad", str(folder), **options)


def test_questions_and_answers_come_as_the_file_has_them(tmp_path):
    write(tmp_path / "train.json", qa("a", ("red", 10), ("red car", 10)))
    write(
        tmp_path / "dev-v1.1.json", qa("b", ("S\u00e3o Paulo", 41)), qa(7, ("Bob", 19))
    )
    found = read(tmp_path)
    train, dev = found.split("train"), found.split("dev")
    assert train.inputs == [("What is a?", CONTEXT)]
    assert train.labels == [[("red", 10), ("red car", 10)]]
    assert (dev.ids, dev.skipped, dev.remark) == (["b", "7"], 0, "")
    assert CONTEXT[dev.labels[0][0].start :].startswith("S\u00e3o Paulo.")
    assert (found.kind, found.metric) == ("question_answering", "f1")


def test_a_test_file_needs_no_answers(tmp_path):
    questions = [{"id": "a", "question": "What?"}, {"id": "b", "question": "Who?"}]
    write(tmp_path / "test.json", *questions)
    assert read(tmp_path).split("test").labels is None
    write(tmp_path / "dev.json", *questions)
    with pytest.raises(
        errors.UserError, match=r"qas\[0\] has no answers \(2 of 2 ques"
    ):
        read(tmp_path)
    write(tmp_path / "dev.json", qa("c", ("Bob", 19)), *questions)
    with pytest.raises(
        errors.UserError, match=r"qas\[1\] has no answers \(2 of 3 ques"
    ):
        read(tmp_path)


@pytest.mark.parametrize(
    ("text", "start", "found"),
    [
        ("car", 14, ("car", 14)),
        ("car", 15, ("car", 14)),
        ("car", 33, ("car", 34)),  # the nearest of two
        ("CAR", 30, ("car", 34)),
        ("red  car", 2, ("red car", 10)),
        ("red\ncar", None, ("red car", 10)),
        ("a", None, ("a", 8)),  # not within "has"
        ("A", 0, ("A", 0)),
        ("car", -1, ("car", 14)),
        ("car", 10**9, ("car", 34)),
        ("s\u00e3o paulo", None, ("S\u00e3o Paulo", 41)),
        ("Has", None, ("has", 4)),
        ("BOB", None, ("Bob", 19)),
        ("c.r", 14, ("c.r", -1)),  # no pattern
        ("green", 3, ("green", -1)),
    ],
)
def test_an_answer_is_where_it_should_be_or_nearby(text, start, found):
    assert squad.find_answer(CONTEXT, text, start) == found


def test_an_answer_in_its_own_case_is_found_first():
    assert squad.find_answer("Red red RED", "red", None) == ("red", 4)


def test_training_drops_answers_that_the_context_lacks(tmp_path):
    write(
        tmp_path / "train.json",
        qa("a", ("red", 11), ("green", 3)),
        qa("b", ("green", 10)),
        qa("c", ("blue", 29)),
    )
    split = read(tmp_path).split("train")
    assert split.ids == ["a", "c"]
    assert split.labels == [[("red", 10)], [("blue", 29)]]
    assert split.skipped == 1
    assert "1 dropped, whose context lacks the answer" in split.remark
    assert "1 with an answer found at another place" in split.remark


def test_evaluation_keeps_answers_that_the_context_lacks(tmp_path):
    write(tmp_path / "dev.json", qa("a", ("green", 10), ("red", 10)))
    split = read(tmp_path).split("dev")
    assert split.labels == [[("green", -1), ("red", 10)]]
    said = {"a": metrics.QaPrediction("green")}
    assert read(tmp_path).score(said, split)["exact"] == 1


def test_a_file_of_answers_to_other_texts_is_refused(tmp_path):
    write(tmp_path / "train.json", qa("a", ("green", 10)), qa("b", ("pink", 10)))
    with pytest.raises(errors.UserError, match=r"no context holds its answer \(2 q"):
        read(tmp_path)


def test_a_question_without_answer_makes_it_squad_two(tmp_path):
    write(tmp_path / "train.json", qa("a", ("red", 10)), impossible("b"))
    write(tmp_path / "dev.json", qa("c", ("red", 10)), qa("d"))
    found = read(tmp_path, null_threshold=0.5)
    dev = found.split("dev")
    assert found.split("train").labels == [[("red", 10)], []]
    assert dev.labels == [[("red", 10)], []]
    assert found.metric == "best_f1"
    said = {"c": metrics.QaPrediction("red", 0.4), "d": metrics.QaPrediction("x", 0.6)}
    assert found.score(said, dev)["exact"] == 1
    assert read(tmp_path, null_threshold=0.6).score(said, dev)["NoAns_exact"] == 0


def test_an_impossible_question_has_no_answer_whatever_it_lists(tmp_path):
    write(tmp_path / "train.json", qa("a", ("red", 10), is_impossible=True))
    assert read(tmp_path).split("train").labels == [[]]


@pytest.mark.parametrize(
    ("value", "is_impossible"),
    [("false", False), ("False", False), (0, False), ("True", True), ("1", True)],
)
def test_is_impossible_may_be_text(tmp_path, value, is_impossible):
    write(tmp_path / "train.json", qa("a", ("red", 10), is_impossible=value))
    found = read(tmp_path).split("train").labels
    assert found == ([[]] if is_impossible else [[("red", 10)]])


def test_an_is_impossible_that_says_nothing_is_a_bad_row(tmp_path):
    write(tmp_path / "train.json", qa("a", ("red", 10), is_impossible="perhaps"))
    with pytest.raises(errors.UserError, match="is_impossible is 'perhaps'"):
        read(tmp_path)


def test_answers_to_dev_that_the_context_lacks_are_told(tmp_path):
    write(tmp_path / "dev.json", qa("a", ("red", 10)), qa("b", ("violet", 3)))
    dev = read(tmp_path).split("dev")
    assert (len(dev.inputs), dev.skipped) == (2, 0)
    assert "1 kept, to be scored, whose context lacks the answer" in dev.remark


def test_a_test_file_without_any_answer_hides_them(tmp_path):
    write(tmp_path / "test.json", qa("a"), qa("b"))
    assert read(tmp_path).split("test").labels is None
    write(tmp_path / "test.json", qa("a"), impossible("b"))
    assert read(tmp_path).split("test").labels == [[], []]


def test_chinese_is_scored_by_letters_and_english_beside_it_by_words(tmp_path):
    context = "\u5317\u4eac\u662f\u4e2d\u56fd\u7684\u9996\u90fd"
    chinese = qa("a", ("\u5317\u4eac", 0))
    paragraphs = [
        {"context": context, "qas": [chinese]},
        {"context": "Ann has the red car", "qas": [qa("b", ("the red", 8))]},
    ]
    root = {"data": [{"paragraphs": paragraphs}]}
    (tmp_path / "dev.json").write_text(json.dumps(root))
    said = {"a": metrics.QaPrediction("\u5317"), "b": metrics.QaPrediction("red")}
    found = read(tmp_path)
    dev = found.split("dev")
    assert dev.rules == {"a": "mlqa"}
    assert "1 of 2 scored by the rules of MLQA: letters, not words" in dev.remark
    assert found.score(said, dev) == {
        "exact": 0.5,
        "f1": pytest.approx((2 / 3 + 1) / 2),
    }
    found = read(tmp_path, rules="squad")
    assert found.split("dev").remark == ""
    assert found.score(said, found.split("dev"))["f1"] == 0.5
    assert read(tmp_path, rules="cmrc").split("dev").rules == {"a": "cmrc", "b": "cmrc"}
    with pytest.raises(
        errors.UserError, match="rules='xquad': want one of squad, mlqa"
    ):
        read(tmp_path, rules="xquad")


def test_a_perfect_prediction_scores_one_by_the_rules_of_one(tmp_path):
    write(tmp_path / "dev.json", qa("a", ("red", 10)), qa("b", ("blue car", 29)))
    found = read(tmp_path)
    said = {
        "a": metrics.QaPrediction("the red", 99.0),
        "b": metrics.QaPrediction("car"),
    }
    score = found.score(said, found.split("dev"))
    assert score == {"exact": 0.5, "f1": pytest.approx((1 + 2 / 3) / 2)}


@pytest.mark.parametrize(
    ("bad", "complaint"),
    [
        ({"id": "z", "question": " "}, "question is ' ', want text"),
        ({"id": "z", "question": None}, "question is None, want text"),
        ({"id": None, "question": "Who?"}, "id is None, want text"),
        (qa("q3", ("red", 10)), "id 'q3' stands twice"),
        (qa("z") | {"answers": [{"text": "red"}]}, "answers are"),
        (qa("z") | {"answers": "red"}, "answers are 'red'"),
        (qa("z") | {"answers": None}, "answers are None"),
        (qa("z", (None, 3)), "answers are"),
        ("Who?", "'Who?', want an object"),
    ],
)
def test_bad_questions_are_counted_and_named(tmp_path, bad, complaint):
    good = [qa(f"q{i}", ("red", 10)) for i in range(99)]
    if isinstance(bad, dict):
        bad = {"answers": []} | bad
    write(tmp_path / "dev.json", *good[:5], bad, *good[5:])
    split = read(tmp_path).split("dev")
    assert (split.skipped, len(split.inputs)) == (1, 99)
    assert f"data[0].paragraphs[0].qas[5]: {complaint}" in split.remark
    write(tmp_path / "dev.json", good[3], bad)
    with pytest.raises(errors.UserError, match=r"1 of 2 rows are bad"):
        read(tmp_path)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("[1, 2]", r"want {\"data\": \[\.\.\.\]}"),
        ('{"data": {}}', "is not SQuAD JSON"),
        ('{"data": [{"paragraphs": 3}]}', r"data\[0\]\.paragraphs: 3, want a list"),
        ('{"data": [{"title": 3}]}', r"data\[0\]\.paragraphs: None, want a list"),
        ('{"data": [7]}', r"data\[0\]: 7, want an object"),
        ('{"data": []}', "holds no examples"),
        ('{"data": [', "train.json is not JSON: Expecting value"),
        ("[" * 100_000, "train.json is not JSON: "),
    ],
)
def test_other_json_is_refused_in_a_line(tmp_path, content, complaint):
    (tmp_path / "train.json").write_text(content)
    with pytest.raises(errors.UserError, match=complaint) as caught:
        read(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_paragraph_without_text_is_bad(tmp_path):
    write(tmp_path / "train.json", qa("a", ("red", 10)), context="")
    with pytest.raises(errors.UserError, match="context is '', want text"):
        read(tmp_path)


def test_half_a_surrogate_pair_keeps_the_places(tmp_path):
    context = "\ud83d red \U0001f600 car"
    write(tmp_path / "train.json", qa("a", ("car", 8)), context=context)
    split = read(tmp_path).split("train")
    assert split.inputs[0].context == "\ufffd red \U0001f600 car"
    assert (split.labels, split.remark) == ([[("car", 8)]], "")


# MRQA.

HEADER = {"header": {"dataset": "x", "split": "train"}}


def mrqa(key, answers, *spans, context=CONTEXT):
    detected = [
        {"text": context[a : b + 1].lower(), "char_spans": [[a, b], [0, 1]]}
        for a, b in spans
    ]
    return {
        "qid": key,
        "question": f"What is {key}?",
        "answers": answers,
        "detected_answers": detected,
    }


def write_mrqa(file, *questions):
    rows = [HEADER, {"context": CONTEXT, "qas": list(questions)}]
    text = "\n".join(map(json.dumps, rows)) + "\n"
    file.write_bytes(gzip.compress(text.encode()))


def read_mrqa(folder):
    return registry.read("mrqa", str(folder))


def test_mrqa_trains_on_what_was_detected(tmp_path):
    write_mrqa(tmp_path / "train.jsonl.gz", mrqa("a", ["Blue Car", "x"], (29, 36)))
    split = read_mrqa(tmp_path).split("train")
    assert split.inputs == [("What is a?", CONTEXT)]
    assert split.labels == [[("blue car", 29)]]
    assert split.remark == ""


def test_mrqa_scores_all_answers(tmp_path):
    write_mrqa(tmp_path / "dev.jsonl.gz", mrqa("a", ["Car", "auto"], (34, 36)))
    found = read_mrqa(tmp_path)
    dev = found.split("dev")
    assert dev.labels == [[("car", 34), ("auto", -1)]]
    assert found.score({"a": metrics.QaPrediction("Auto!")}, dev)["exact"] == 1
    assert found.metric == "f1"


def test_mrqa_without_detected_answers_searches_for_them(tmp_path):
    write_mrqa(tmp_path / "train.jsonl.gz", mrqa("a", ["BLUE"]), mrqa("b", ["green"]))
    split = read_mrqa(tmp_path).split("train")
    assert (split.ids, split.labels) == (["a"], [[("blue", 29)]])
    assert split.skipped == 1


@pytest.mark.parametrize(
    "bad",
    [
        {"answers": [], "detected_answers": []},
        {"answers": "car", "detected_answers": [{"char_spans": []}]},
        {"answers": [3], "detected_answers": []},
        {"answers": ["car"], "detected_answers": [{"char_spans": [["a", "b"]]}]},
        {"answers": ["car"], "detected_answers": 3},
    ],
)
def test_mrqa_questions_without_answers_are_bad(tmp_path, bad):
    write_mrqa(tmp_path / "train.jsonl.gz", mrqa("a", ["x"]) | bad)
    with pytest.raises(
        errors.UserError, match=r"line 2, qas\[0\]: answers are not as in"
    ):
        read_mrqa(tmp_path)


def test_a_broken_line_of_mrqa_is_named(tmp_path):
    (tmp_path / "train.jsonl").write_text(json.dumps(HEADER) + "\n\n{broken\n")
    with pytest.raises(errors.UserError, match=r"train\.jsonl, line 3 is not JSON"):
        read_mrqa(tmp_path)
