"""Task models answer, in JSON: the same form for files, screens and reports.

In:   a task model; examples as `datasets.dataset.Split` has them.
Out:  one object per example; and answers as `Dataset.score` takes them.
"""

import collections
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from electra_tf import errors
from electra_tf.datasets import dataset, files, metrics
from electra_tf.kinds import kind, registry
from electra_tf.system import durable
from electra_tf.tasks import task


class Predicted(NamedTuple):
    """A model's answers to a split."""

    answers: list[kind.Answer]
    values: Any  # as `Dataset.score` takes them


def find(
    model: task.ElectraTask, inputs: Sequence[Any], batch_size: int
) -> list[kind.Answer]:
    """Answers examples in their order: one object per example."""
    if not inputs:
        return []
    return registry.of_model(model).answer(model, list(inputs), batch_size)


def predict(
    model: task.ElectraTask,
    data: dataset.Dataset,
    split: dataset.Split,
    batch_size: int,
) -> Predicted:
    """Answers a split, in the way of the data's kind."""
    this = registry.KINDS[data.kind]
    inputs = list(split.inputs)
    answers = this.answer(model, inputs, batch_size) if inputs else []
    return Predicted(answers, this.values(split, answers))


def are_finite(found: Sequence[kind.Answer]) -> bool:
    """Tells whether all scores and values are finite."""
    numbers = [one[name] for one in found for name in ("score", "value") if name in one]
    for one in found:
        scores = one.get("scores", [])
        numbers += scores.values() if isinstance(scores, dict) else scores
    return bool(np.isfinite(numbers).all())


def fit(
    model: task.ElectraTask, data: dataset.Dataset, split: dataset.Split
) -> dataset.Split:
    """Returns labelled data with the labels spelled as the classes of a model.

    Raises:
        UserError: it is of another kind, or has classes that the head has not.
    """
    this = registry.KINDS[data.kind]
    wanted = this.model_class()
    if not isinstance(model, wanted):
        raise errors.UserError(
            f"task {data.name} is {data.kind}, which wants {wanted.__name__}; the "
            f"preset holds {type(model).__name__}"
        )
    if split.labels is None:
        raise errors.UserError(f"{split.source} has no labels to evaluate with")
    return this.fit(model, data, split)


def count_rules(split: dataset.Split) -> dict[str, Any]:
    """Says by whose rules how many questions are scored; of SQuAD's alone, nothing."""
    if not split.rules:
        return {}
    whose = (split.rules.get(key, metrics.SQUAD) for key in split.ids)
    return {"rules": dict(collections.Counter(whose))}


# Files.


def write(
    path: str, this: kind.Kind, split: dataset.Split, found: Sequence[kind.Answer]
) -> None:
    """Writes examples, right answers and found ones as JSON lines.

    Raises:
        UserError: the file cannot be written.
    """
    golds = [None] * len(found) if split.labels is None else split.labels
    lines = []
    for key, value, gold, one in zip(
        split.ids, split.inputs, golds, found, strict=True
    ):
        right = {} if split.labels is None else {"gold": this.show_label(gold)}
        rules = {"rules": split.rules[key]} if key in split.rules else {}
        line = {"id": key, **this.show(value), **right, **rules, **one}
        lines.append(f"{files.to_json(line)}\n")
    durable.write_text(path, "".join(lines))
