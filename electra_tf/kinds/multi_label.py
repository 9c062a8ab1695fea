"""Texts, or pairs of texts, have several classes, one or none.

In:   inputs str or (str, str); labels lists of str.
Out:  {"labels", "scores"}.
"""

import collections
from collections.abc import Sequence
from typing import Any, ClassVar

from electra_tf.datasets import dataset, metrics, table_labels
from electra_tf.kinds import classification, kind, texts

_HEADS = ["precision", "recall", "f1"]


class MultiLabel(texts.OfTextsOrPairs):
    """Says which classes a text has."""

    name = "multi_label"
    task = "ElectraTextClassifier"
    readers: ClassVar = {"multi_label_classification": table_labels.read_multi_label}
    signature = kind.Signature(frozenset({"text"}), frozenset({"labels", "num_labels"}))
    hint = ", lower thresholds in model.options say more classes"

    def answer(
        self, model: Any, examples: list[Any], batch_size: int
    ) -> list[kind.Answer]:
        """Returns the classes above the thresholds and the probabilities of all."""
        return [
            {
                "labels": [str(name) for name in one["labels"]],
                "scores": {str(name): share for name, share in one["scores"].items()},
            }
            for one in model.predict_classes(examples, batch_size)
        ]

    def response(self, said: kind.Answer, example: Any) -> kind.Answer:
        """Returns the same of a server's answer."""
        scores = dict(zip(said["classes"], said["scores"], strict=True))
        return {"labels": said["labels"][: said["num_labels"]], "scores": scores}

    def head(self, labels: Sequence[str]) -> dict[str, Any]:
        """Returns the classes, each with a sigmoid of its own."""
        return {**classification.KIND.head(labels), "multi_label": True}

    def keeps_head(
        self, model: Any, labels: Sequence[str], train: Sequence[Any]
    ) -> bool:
        """Tells whether the classes are the same, in any order."""
        same = set(model.class_names or []) == set(labels)
        return same and model.kind == self.name

    def fit(
        self, model: Any, data: dataset.Dataset, split: dataset.Split
    ) -> dataset.Split:
        """Refuses other classes than the model's."""
        classification.check_number(model, data)
        said = {label for some in split.labels or [] for label in some}
        kind.refuse_unknown(split, said, model.class_labels() or [])
        return split

    def values(self, split: dataset.Split, answers: Sequence[kind.Answer]) -> Any:
        """Returns one list of classes per example."""
        return [one["labels"] for one in answers]

    def classes(self, values: Any) -> set[str]:
        """Returns the sets of classes, each in a string."""
        return {", ".join(some) or "no class" for some in values}

    def guess(self, train: Sequence[Any], dev: dataset.Split) -> Any:
        """Says the classes that, said of every example, have the best micro F1."""
        counts = collections.Counter(label for some in train for label in some)
        best, score, hits = 0, 0.0, 0
        ranked = counts.most_common()
        for number, (_, count) in enumerate(ranked, 1):
            hits += count
            if (found := 2 * hits / (number * len(train) + counts.total())) > score:
                best, score = number, found
        return [[label for label, _ in ranked[:best]]] * len(dev.ids)

    def by_class(
        self, gold: Sequence[Any], values: Sequence[Any]
    ) -> dict[str, dict[str, float]]:
        """Returns it of every class."""
        return metrics.multi_label_f1(gold, values)

    def judge(self, row: kind.Row) -> tuple[float, str] | None:
        """Tells by the surest of its errors: said wrongly, or missed."""
        said, right = set(row["labels"]), set(row["gold"])
        if said == right:
            return None
        scores = row["scores"]
        wrong = {name: scores[name] for name in said - right}
        missed = {name: scores.get(name, 0.0) for name in right - said}
        parts = [f"not {name} ({share:.3f})" for name, share in wrong.items()]
        parts += [f"also {name} ({share:.3f})" for name, share in missed.items()]
        sure = max([*wrong.values(), *(1.0 - share for share in missed.values())])
        return sure, ", ".join(parts)

    def page_tables(self, rows: Sequence[kind.Row]) -> list[kind.Table]:
        """Shows how well each class is found, the commonest first."""
        found = self.by_class(
            [row["gold"] for row in rows], [row["labels"] for row in rows]
        )
        ranked = sorted(found.items(), key=lambda item: -item[1]["count"])
        cells = [
            [name, *(f"{one[head]:.4f}" for head in _HEADS), f"{one['count']:,.0f}"]
            for name, one in ranked
        ]
        return [kind.Table("Classes", ["", *_HEADS, "examples"], cells)]


KIND = MultiLabel()
