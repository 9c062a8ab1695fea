"""Task models answer, in JSON: the same form for files, screens and reports.

In:   a task model; examples as `datasets.dataset.Split` has them.
Out:  one object per example; and answers as `Dataset.score` takes them.
"""

import collections
import json
import os
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from electra_tf import errors
from electra_tf.datasets import dataset, files, metrics
from electra_tf.system import durable
from electra_tf.tasks import (
    catalog,
    masked_lm,
    multiple_choice,
    question_answerer,
    replaced_token_detector,
    task,
    text_classifier,
    text_embedder,
    text_regressor,
    token_classifier,
)

Answer = dict[str, Any]  # of JSON values


class Predicted(NamedTuple):
    """A model's answers to a split."""

    answers: list[Answer]
    values: Any  # as `Dataset.score` takes them


def find(
    model: task.ElectraTask, inputs: Sequence[Any], batch_size: int
) -> list[Answer]:
    """Answers examples, one object each, in their order."""
    answer = next(
        answer for kind, answer in _ANSWERS.items() if isinstance(model, kind)
    )
    return answer(model, list(inputs), batch_size) if inputs else []


def columns(model: task.ElectraTask) -> str:
    """Names what an example of the model is, as `predictor` reads it."""
    return next(
        (name for kind, name in _COLUMNS.items() if isinstance(model, kind)), "text"
    )


def predict(
    model: task.ElectraTask,
    data: dataset.Dataset,
    split: dataset.Split,
    batch_size: int,
) -> Predicted:
    """Answers a split."""
    answers = find(model, split.inputs, batch_size)
    if data.kind != "question_answering":
        return Predicted(answers, [one[_VALUES[data.kind]] for one in answers])
    found = {
        key: metrics.QaPrediction(_best_text(one), one["null_score"])
        for key, one in zip(split.ids, answers, strict=True)
    }
    return Predicted(answers, found)


def apply_threshold(answers: Sequence[Answer], threshold: float) -> list[Answer]:
    """Takes back answers to questions whose null_score is above a threshold."""
    return [
        {**one, "answer": "", "start": 0, "end": 0}
        if one["null_score"] > threshold
        else one
        for one in answers
    ]


def are_finite(found: Sequence[Answer]) -> bool:
    """Tells whether all scores and values are finite."""
    numbers = [one.get(name, 0.0) for one in found for name in ("score", "value")]
    numbers += [n for one in found if "tags" in one for n in one["scores"]]
    numbers += [n for one in found if "labels" in one for n in one["scores"].values()]
    return bool(np.isfinite(numbers).all())


def fit(
    model: task.ElectraTask, data: dataset.Dataset, split: dataset.Split
) -> dataset.Split:
    """Returns labelled data with the labels spelled as the classes of a model.

    Raises:
        UserError: it is of another kind, or has classes that the head has not.
    """
    wanted = catalog.OF_KIND[data.kind]
    if not isinstance(model, wanted):
        raise errors.UserError(
            f"task {data.name} is {data.kind}, which wants {wanted.__name__}; the "
            f"preset holds {type(model).__name__}"
        )
    if split.labels is None:
        raise errors.UserError(f"{split.source} has no labels to evaluate with")
    if data.kind not in ("classification", "multi_label", "tagging"):
        return split
    _check_number_of_classes(model, data)
    known = model.class_labels() or []
    if data.kind == "classification":
        split = dataset.respell(split, known)
    said = split.labels or []
    if data.kind != "classification":
        said = [tag for sentence in said for tag in sentence]
    if unknown := sorted({*said} - {*known}):
        raise errors.UserError(
            f"{split.source}: label {unknown[0]!r:.60} is none of the classes of the "
            f"preset: {', '.join(known[:20])}"
        )
    return split


def count_rules(split: dataset.Split) -> dict[str, Any]:
    """Says by whose rules how many questions are scored; of SQuAD's alone, nothing."""
    if not split.rules:
        return {}
    whose = (split.rules.get(key, metrics.SQUAD) for key in split.ids)
    return {"rules": dict(collections.Counter(whose))}


def _check_number_of_classes(model: Any, data: dataset.Dataset) -> None:
    """Refuses several classes per text where the model gives one, and the reverse."""
    several = bool(getattr(model, "multi_label", False))
    if several != (data.kind == "multi_label"):
        gives = "several classes per text" if several else "one class per text"
        other = "multi_label" if several else "text"
        raise errors.UserError(
            f"task {data.name} does not fit the preset, which gives {gives}; take "
            f"--task={other}_classification"
        )


def show_label(label: Any) -> Any:
    """Returns an example's label as a JSON value: of a question, the right answers."""
    if isinstance(label, list):
        return [one.text if isinstance(one, dataset.Answer) else one for one in label]
    return label


# Files.


def write(path: str, split: dataset.Split, found: Sequence[Answer]) -> None:
    """Writes examples, right answers and found ones as JSON lines.

    Raises:
        UserError: the file cannot be written.
    """
    golds = [None] * len(found) if split.labels is None else split.labels
    lines = []
    for key, value, gold, one in zip(
        split.ids, split.inputs, golds, found, strict=True
    ):
        right = {} if split.labels is None else {"gold": show_label(gold)}
        rules = {"rules": split.rules[key]} if key in split.rules else {}
        line = {"id": key, **dataset.show_input(value), **right, **rules, **one}
        lines.append(f"{files.to_json(line)}\n")
    durable.write_text(path, "".join(lines))


def write_submission(
    folder: str,
    data: dataset.Dataset,
    name: str,
    split: dataset.Split,
    found: Predicted,
) -> None:
    """Writes what a leaderboard or an official script takes, if there is one.

    For questions these are predictions.json, nbest.json and null_odds.json. Answers to
    labelled splits are never blank, as the official script takes them with null_odds;
    those to hand in are, where the model says that there is none.
    """
    if data.kind == "question_answering":
        _write_question_files(folder, name, split, found.answers)
    elif data.write_submission and split.labels is None:
        data.write_submission(folder, name, split, found.values)


def _write_question_files(
    folder: str, name: str, split: dataset.Split, found: Sequence[Answer]
) -> None:
    keyed = dict(zip(split.ids, found, strict=True))
    files: dict[str, dict[str, Any]] = {
        "predictions": {
            key: one["answer"] if split.labels is None else _best_text(one)
            for key, one in keyed.items()
        },
        "nbest": {
            key: [
                {"text": span["text"], "probability": span["score"]}
                for span in one["n_best"]
            ]
            for key, one in keyed.items()
        },
        "null_odds": {key: one["null_score"] for key, one in keyed.items()},
    }
    for what, values in files.items():
        path = os.path.join(folder, f"{name}_{what}.json")
        durable.write_text(path, json.dumps(values, ensure_ascii=False) + "\n")


def _classify(model: Any, inputs: list[Any], batch_size: int) -> list[Answer]:
    if model.multi_label:
        return [
            {
                "labels": [str(name) for name in one["labels"]],
                "scores": {str(name): share for name, share in one["scores"].items()},
            }
            for one in model.predict_classes(inputs, batch_size)
        ]
    return [
        {
            "label": str(one["label"]),
            "score": one["score"],
            "scores": {str(name): share for name, share in one["scores"].items()},
        }
        for one in model.predict_classes(inputs, batch_size)
    ]


def _rate(model: Any, inputs: list[Any], batch_size: int) -> list[Answer]:
    return [{"value": float(value)} for value in model.predict(inputs, batch_size)]


def _tag(model: Any, inputs: list[Any], batch_size: int) -> list[Answer]:
    return [
        {
            "tags": [str(word["tag"]) for word in words],
            "scores": [word["score"] for word in words],
        }
        for words in model.predict_words(inputs, batch_size)
    ]


def _answer(model: Any, inputs: list[Any], batch_size: int) -> list[Answer]:
    return [
        {
            "answer": one.text,
            "start": one.start,
            "end": one.end,
            "score": one.score,
            "null_score": one.null_score,
            "n_best": [span._asdict() for span in one.n_best],
        }
        for one in model.predict(inputs, batch_size)
    ]


def _choose(model: Any, inputs: list[Any], batch_size: int) -> list[Answer]:
    return list(model.predict_choices(inputs, batch_size))


def _suspect(model: Any, inputs: list[Any], batch_size: int) -> list[Answer]:
    return [
        {"tokens": [suspicion._asdict() for suspicion in text]}
        for text in model.predict(inputs, batch_size)
    ]


def _fill_in(model: Any, inputs: list[Any], batch_size: int) -> list[Answer]:
    return [
        {"blanks": [[guess._asdict() for guess in blank] for blank in text]}
        for text in model.predict(inputs, batch_size)
    ]


def _embed(model: Any, inputs: list[Any], batch_size: int) -> list[Answer]:
    vectors = np.asarray(model.predict(inputs, batch_size), np.float64)
    return [{"embedding": vector.tolist()} for vector in vectors]


def _best_text(answer: Answer) -> str:
    """Returns the best answer that is none but a span, whatever the threshold."""
    return str(answer["n_best"][0]["text"]) if answer["n_best"] else ""


_ANSWERS: dict[
    type[task.ElectraTask], Callable[[Any, list[Any], int], list[Answer]]
] = {
    text_classifier.ElectraTextClassifier: _classify,
    text_regressor.ElectraTextRegressor: _rate,
    token_classifier.ElectraTokenClassifier: _tag,
    question_answerer.ElectraQuestionAnswerer: _answer,
    multiple_choice.ElectraMultipleChoice: _choose,
    replaced_token_detector.ElectraReplacedTokenDetector: _suspect,
    masked_lm.ElectraMaskedLM: _fill_in,
    text_embedder.ElectraTextEmbedder: _embed,
}

# What an example is, where it is more than a text.
_COLUMNS: dict[type[task.ElectraTask], str] = {
    text_classifier.ElectraTextClassifier: "text_or_pair",
    text_regressor.ElectraTextRegressor: "text_or_pair",
    text_embedder.ElectraTextEmbedder: "text_or_pair",
    token_classifier.ElectraTokenClassifier: "words",
    question_answerer.ElectraQuestionAnswerer: "question",
    multiple_choice.ElectraMultipleChoice: "choice",
}

# The field of an answer that is scored.
_VALUES = {
    "classification": "label",
    "multi_label": "labels",
    "regression": "value",
    "tagging": "tags",
    "multiple_choice": "index",
}
