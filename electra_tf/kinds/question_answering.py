"""Questions about texts are answered by spans of these, or have no answer.

In:   inputs `dataset.Question`; labels lists of `dataset.Answer`, empty = none.
Out:  {"answer", "start", "end", "score", "null_score", "n_best"}.
"""

import collections
import json
import os
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from electra_tf.datasets import dataset, metrics, squad, table_questions, tables
from electra_tf.kinds import columns, kind
from electra_tf.system import durable

# Fields of an answer that a server calls by the same names.
_SAME = ("answer", "start", "end", "score", "null_score")
_SPAN = {name: f"n_best_{name}s" for name in ("text", "start", "end", "score")}


class QuestionAnswering(kind.Kind):
    """Finds the answer to a question in a text."""

    name = "question_answering"
    task = "ElectraQuestionAnswerer"
    readers: ClassVar = {
        **squad.READERS,
        "question_answering": table_questions.read_question_answering,
    }
    fields = ("question", "context")
    signature = kind.Signature(
        frozenset({"question", "context"}), frozenset({"n_best_texts"})
    )
    epochs = 2
    hands_in_all = True
    learned = ("null_threshold",)

    def example(self, names: columns.Columns, row: tables.Row) -> Any:
        """Reads a question and its context."""
        return dataset.Question(names.text(row, "question"), names.text(row, "context"))

    def show(self, example: Any) -> dict[str, Any]:
        """Returns the question and its context."""
        return {**example._asdict()}

    def answer(
        self, model: Any, examples: list[Any], batch_size: int
    ) -> list[kind.Answer]:
        """Returns the best span, or none, and others."""
        return [
            {
                "answer": one.text,
                "start": one.start,
                "end": one.end,
                "score": one.score,
                "null_score": one.null_score,
                "n_best": [span._asdict() for span in one.n_best],
            }
            for one in model.predict(examples, batch_size)
        ]

    def request(self, example: Any) -> dict[str, Any]:
        """Asks the question."""
        return {name: kind.sendable(text) for name, text in example._asdict().items()}

    def response(self, said: kind.Answer, example: Any) -> kind.Answer:
        """Returns the same of a server's answer."""
        return {
            **{name: said[name] for name in _SAME},
            "n_best": kind.objects(said, said["num_best"], _SPAN),
        }

    def head(self, labels: Sequence[str]) -> dict[str, Any]:
        """Forgets the threshold of a preset, which is of other data."""
        return {"null_threshold": None}

    def group(self, example: Any) -> Any:
        """Holds questions about a text out together, so that none is learned."""
        return example.context

    def values(self, split: dataset.Split, answers: Sequence[kind.Answer]) -> Any:
        """Returns {id: best span and null_score}, whatever the threshold."""
        return {
            key: metrics.QaPrediction(_best_text(one), one["null_score"])
            for key, one in zip(split.ids, answers, strict=True)
        }

    def settle(
        self, model: Any, scores: Mapping[str, float], answers: list[kind.Answer]
    ) -> list[kind.Answer]:
        """Sets from which null_score on there is no answer: the best on dev."""
        if "best_f1_thresh" not in scores:
            return answers
        model.null_threshold = scores["best_f1_thresh"]
        return apply_threshold(answers, model.null_threshold)

    def guess(self, train: Sequence[Any], dev: dataset.Split) -> Any:
        """Says that no question has an answer."""
        return dict.fromkeys(dev.ids, metrics.QaPrediction("", 0.0))

    def show_label(self, label: Any) -> Any:
        """Returns the right answers."""
        return [one.text for one in label]

    def hand_in(
        self,
        folder: str,
        data: dataset.Dataset,
        name: str,
        split: dataset.Split,
        answers: Sequence[kind.Answer],
    ) -> None:
        """Writes predictions.json, nbest.json and null_odds.json.

        Answers to labelled splits are never blank, as the official script takes them
        with null_odds; those to hand in are, where the model says that there is none.
        """
        keyed = dict(zip(split.ids, answers, strict=True))
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

    def judge(self, row: kind.Row) -> tuple[float, str] | None:
        """Tells by the probability of the wrong span, as scores are made."""
        right = row["gold"] or [""]
        rules = row.get("rules", metrics.SQUAD)
        wanted = {metrics.normalize_answer(text, rules) for text in right}
        if metrics.normalize_answer(row["answer"], rules) in wanted:
            return None
        counts = collections.Counter(right).most_common()
        shown = " / ".join(text or "no answer" for text, _ in counts)
        said = row["answer"] or "no answer"
        return row["score"], f"{said} ({row['score']:.3f}), right: {shown}"


def apply_threshold(
    answers: Sequence[kind.Answer], threshold: float
) -> list[kind.Answer]:
    """Takes back answers to questions whose null_score is above a threshold."""
    return [
        {**one, "answer": "", "start": 0, "end": 0}
        if one["null_score"] > threshold
        else one
        for one in answers
    ]


def _best_text(answer: kind.Answer) -> str:
    """Returns the best answer that is none but a span, whatever the threshold."""
    return str(answer["n_best"][0]["text"]) if answer["n_best"] else ""


KIND = QuestionAnswering()
