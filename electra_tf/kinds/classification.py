"""Texts, or pairs of texts, have one class per text.

In:   inputs str or (str, str); labels str.
Out:  {"label", "score", "scores"}.
"""

import collections
from collections.abc import Sequence
from typing import Any, ClassVar

from electra_tf import errors
from electra_tf.datasets import dataset, glue, table_texts
from electra_tf.kinds import kind, texts


class Classification(texts.OfTextsOrPairs):
    """Says which class a text has."""

    name = "classification"
    task = "ElectraTextClassifier"
    readers: ClassVar = {
        **{name: glue.READERS[name] for name, one in glue.TASKS.items() if one.classes},
        "text_classification": table_texts.read_classification,
    }
    signature = kind.Signature(frozenset({"text"}), frozenset({"label", "classes"}))

    def answer(
        self, model: Any, examples: list[Any], batch_size: int
    ) -> list[kind.Answer]:
        """Returns the likeliest class and the probabilities of all."""
        return [
            {
                "label": str(one["label"]),
                "score": one["score"],
                "scores": {str(name): share for name, share in one["scores"].items()},
            }
            for one in model.predict_classes(examples, batch_size)
        ]

    def response(self, said: kind.Answer, example: Any) -> kind.Answer:
        """Returns the same of a server's answer."""
        scores = dict(zip(said["classes"], said["scores"], strict=True))
        return {"label": said["label"], "score": said["score"], "scores": scores}

    def head(self, labels: Sequence[str]) -> dict[str, Any]:
        """Returns the classes."""
        return {"num_classes": len(labels), "class_names": list(labels)}

    def keeps_head(
        self, model: Any, labels: Sequence[str], train: Sequence[Any]
    ) -> bool:
        """Tells whether the classes are the same, in any order."""
        same = set(model.class_names or []) == set(labels)
        return same and model.kind == self.name

    def fit(
        self, model: Any, data: dataset.Dataset, split: dataset.Split
    ) -> dataset.Split:
        """Spells whole numbers as the model's classes are spelled."""
        check_number(model, data)
        known = model.class_labels() or []
        split = dataset.respell(split, known)
        kind.refuse_unknown(split, {*(split.labels or [])}, known)
        return split

    def values(self, split: dataset.Split, answers: Sequence[kind.Answer]) -> Any:
        """Returns one class per example."""
        return [one["label"] for one in answers]

    def classes(self, values: Any) -> set[str]:
        """Returns the classes."""
        return set(values)

    def guess(self, train: Sequence[Any], dev: dataset.Split) -> Any:
        """Says the commonest class."""
        return [most_common(train)] * len(dev.ids)

    def judge(self, row: kind.Row) -> tuple[float, str] | None:
        """Tells by the probability of the wrong class."""
        if row["gold"] == row["label"]:
            return None
        return row[
            "score"
        ], f"{row['label']} ({row['score']:.3f}), right: {row['gold']}"

    def confused(self, rows: Sequence[kind.Row]) -> tuple[list[str], list[str]]:
        """Returns one class per example."""
        return [row["gold"] for row in rows], [row["label"] for row in rows]


def most_common(values: Any) -> Any:
    """Returns the value that occurs most often."""
    return collections.Counter(values).most_common(1)[0][0]


def check_number(model: Any, data: dataset.Dataset) -> None:
    """Refuses several classes per text where the model gives one, and the reverse.

    Raises:
        UserError: they do not fit.
    """
    if model.kind != data.kind:
        several = data.kind == Classification.name
        gives = "several classes per text" if several else "one class per text"
        other = "multi_label" if several else "text"
        raise errors.UserError(
            f"task {data.name} does not fit the preset, which gives {gives}; take "
            f"--task={other}_classification"
        )


KIND = Classification()
