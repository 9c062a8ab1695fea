import json

import pytest

from electra_tf import errors
from electra_tf.datasets import dataset, metrics
from electra_tf.finetuning import answers
from electra_tf.kinds import embedding, registry
from electra_tf.tasks import (
    masked_lm,
    multiple_choice,
    question_answerer,
    replaced_token_detector,
    text_classifier,
    text_embedder,
    text_regressor,
    token_classifier,
)

TEXTS = ["the cat sat", "", "a dog"]
PAIRS = [("the cat", "sat"), ("", "a dog")]
WORDS = [["the", "cat"], [], ["dog"]]
QUESTIONS = [dataset.Question("the cat", "a dog sat on the mat")] * 2
CHOICES = [dataset.Choice("the", ("cat", "dog", "bird")), dataset.Choice("a", ("b",))]


def leaves(value):
    """Returns the numbers and texts in a JSON value."""
    if isinstance(value, dict):
        return [leaf for key, one in value.items() for leaf in (key, *leaves(one))]
    if isinstance(value, list):
        return [leaf for one in value for leaf in leaves(one)]
    return [value]


@pytest.mark.parametrize(
    ("kind", "arguments", "inputs", "fields"),
    [
        (
            text_classifier.ElectraTextClassifier,
            {"num_classes": 3},
            TEXTS,
            "label score scores",
        ),
        (
            text_classifier.ElectraTextClassifier,
            {"num_classes": 3, "multi_label": True},
            PAIRS,
            "labels scores",
        ),
        (text_regressor.ElectraTextRegressor, {}, PAIRS, "value"),
        (
            token_classifier.ElectraTokenClassifier,
            {"num_classes": 3, "class_names": ["O", "B", "I"]},
            WORDS,
            "tags scores",
        ),
        (
            question_answerer.ElectraQuestionAnswerer,
            {},
            QUESTIONS,
            "answer start end score null_score n_best",
        ),
        (
            multiple_choice.ElectraMultipleChoice,
            {},
            CHOICES,
            "index choice score scores",
        ),
        (
            replaced_token_detector.ElectraReplacedTokenDetector,
            {},
            TEXTS,
            "tokens",
        ),
        (masked_lm.ElectraMaskedLM, {}, ["the [MASK] sat", "no blank"], "blanks"),
        (text_embedder.ElectraTextEmbedder, {}, TEXTS, "embedding"),
    ],
)
def test_every_task_answers_in_json(kind, arguments, inputs, fields, build_task):
    model = build_task(kind, **arguments)
    found = answers.find(model, inputs, batch_size=2)
    assert len(found) == len(inputs)
    assert list(found[0]) == fields.split()
    assert json.loads(json.dumps(found)) == found
    assert answers.find(model, [], batch_size=2) == []
    # One by one, they are the same: order and batches do not matter.
    alone = answers.find(model, inputs[-1:], batch_size=2)[0]
    assert leaves(alone) == [
        value if isinstance(value, str) else pytest.approx(value, abs=1e-4)
        for value in leaves(found[-1])
    ]


def make_data(kind, labels=()):
    return dataset.Dataset("mine", kind, labels, {}, "accuracy", lambda *_: {})


def make_split(inputs, labels):
    ids = [f"k{number}" for number in range(len(inputs))]
    return dataset.Split(ids, inputs, labels, "mine.tsv")


def test_answers_to_a_split_are_as_score_takes_them(build_task):
    model = build_task(text_classifier.ElectraTextClassifier, num_classes=2)
    data, split = make_data("classification", ("0", "1")), make_split(TEXTS, None)
    found = answers.predict(model, data, split, 2)
    assert found.values == [one["label"] for one in found.answers]
    assert set(found.values) <= {"0", "1"}
    model = build_task(question_answerer.ElectraQuestionAnswerer, null_threshold=-1e9)
    split = make_split(QUESTIONS, None)
    found = answers.predict(model, make_data("question_answering"), split, 2)
    assert found.values.keys() == {"k0", "k1"}
    # Scores are of the best span; whether it is said is up to the threshold.
    assert found.answers[0]["answer"] == ""
    best = found.answers[0]["n_best"][0]["text"]
    assert found.values["k0"] == metrics.QaPrediction(
        best, found.answers[0]["null_score"]
    )


def test_the_kind_of_the_data_says_how_a_split_is_answered(build_task, monkeypatch):
    class Lengths(embedding.Embedding):
        name = "lengths"

        def answer(self, model, examples, batch_size):
            found = super().answer(model, examples, batch_size)
            return [{"length": len(one["embedding"])} for one in found]

        def values(self, split, answers):
            return [one["length"] for one in answers]

    monkeypatch.setitem(registry.KINDS, "lengths", Lengths())
    model = build_task(text_embedder.ElectraTextEmbedder)
    found = answers.predict(model, make_data("lengths"), make_split(TEXTS, None), 2)
    assert found.values == [12, 12, 12]
    assert answers.find(model, TEXTS, 2)[0].keys() == {"embedding"}


def test_data_that_do_not_fit_are_refused_in_one_line(build_task):
    model = build_task(
        text_classifier.ElectraTextClassifier, num_classes=2, class_names=["a", "b"]
    )
    labelled = make_split(["x", "y"], ["a", "b"])
    answers.fit(model, make_data("classification"), labelled)
    with pytest.raises(errors.UserError, match="mine is tagging, which wants Electra"):
        answers.fit(model, make_data("tagging"), labelled)
    with pytest.raises(
        errors.UserError, match=r"mine\.tsv: label 'c' is none of .* a, b"
    ):
        answers.fit(model, make_data("classification"), make_split(["x"], ["c"]))
    with pytest.raises(errors.UserError, match=r"mine\.tsv has no labels"):
        answers.fit(model, make_data("classification"), make_split(["x"], None))
    tagger = build_task(token_classifier.ElectraTokenClassifier, num_classes=2)
    answers.fit(tagger, make_data("tagging"), make_split([["x"]], [["1"]]))
    with pytest.raises(errors.UserError, match="label 'B-X' is none of the classes"):
        answers.fit(tagger, make_data("tagging"), make_split([["x"]], [["B-X"]]))


def test_one_class_a_text_and_several_do_not_fit_each_other(build_task):
    names = {"class_names": ["a", "b"]}
    several = build_task(
        text_classifier.ElectraTextClassifier, multi_label=True, **names
    )
    one = build_task(text_classifier.ElectraTextClassifier, **names)
    sets, classes = make_split(["x"], [["a", "b"]]), make_split(["x"], ["a"])
    answers.fit(several, make_data("multi_label"), sets)
    unknown = make_split(["x"], [["a", "c"]])
    with pytest.raises(errors.UserError, match="label 'c' is none of the classes"):
        answers.fit(several, make_data("multi_label"), unknown)
    with pytest.raises(
        errors.UserError, match="gives one class per text; take --task=te"
    ):
        answers.fit(one, make_data("multi_label"), sets)
    with pytest.raises(errors.UserError, match=r"several .*--task=multi_label_class"):
        answers.fit(several, make_data("classification"), classes)


def test_numbers_that_are_not_finite_are_found():
    assert answers.are_finite([])
    assert answers.are_finite(
        [{"score": 0.5}, {"value": 2.0}, {"tags": [], "scores": []}]
    )
    for number in (float("nan"), float("inf")):
        for one in (
            {"label": "a", "score": number, "scores": {"a": number}},
            {"value": number},
            {"tags": ["O", "O"], "scores": [0.5, number]},
        ):
            assert not answers.are_finite([{"score": 0.5}, one])


# Files.


def test_lines_hold_input_right_answer_and_found_one(tmp_path):
    path = tmp_path / "deep" / "dev.jsonl"
    answer = [dataset.Answer("a b", 2), dataset.Answer("b", 4)]
    rows = [
        ("classification", "caf\u00e9\n", "yes", {"text": "caf\u00e9\n"}),
        ("multi_label", "a", ["x", "y"], {"text": "a"}),
        ("regression", ("a", "b"), 0.5, {"text": "a", "text_pair": "b"}),
        ("tagging", ["a", "b"], ["O", "B"], {"words": ["a", "b"]}),
        (
            "multiple_choice",
            dataset.Choice("p", ("a", "b")),
            1,
            {"prompt": "p", "choices": ["a", "b"]},
        ),
        (
            "question_answering",
            dataset.Question("q", "c"),
            answer,
            {"question": "q", "context": "c"},
        ),
    ]
    for name, value, gold, wanted in rows:
        split = make_split([value], [gold])
        answers.write(str(path), registry.KINDS[name], split, [{"score": 2}])
        text = path.read_text(encoding="utf-8")
        right = ["a b", "b"] if gold is answer else gold
        assert json.loads(text) == {"id": "k0", **wanted, "gold": right, "score": 2}
        if name == "classification":
            assert "caf\u00e9" in text
    kind = registry.KINDS["classification"]
    answers.write(str(path), kind, make_split(["x", "y"], None), [{"score": 1}] * 2)
    lines = path.read_text().splitlines()
    assert [json.loads(line) for line in lines] == [
        {"id": "k0", "text": "x", "score": 1},
        {"id": "k1", "text": "y", "score": 1},
    ]
