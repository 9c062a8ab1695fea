"""Sentences that were chosen, and what was right, become numbers.

In:   of each document, scores of its sentences and the chosen ones; `dataset.Extract`.
Out:  rates from 0 to 1.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from electra_tf.datasets import dataset, metrics, text_metrics

AVERAGE_PRECISION = "average_precision"
ROUGE = ("rouge1", "rouge2", "rougeLsum")


class Scored(NamedTuple):
    """What is said of a document's sentences."""

    scores: Sequence[float]  # of each, from 0 to 1: how much it tells
    chosen: Sequence[int]  # those of the summary, ascending


def score(said: Sequence[Scored], split: dataset.Split) -> dict[str, float]:
    """Measures what was said of a split.

    Returns:
        average_precision: of the order of the scores, the mean over documents with a
            marked sentence. precision_at_k: the share of the chosen sentences that are
            marked, the mean over documents. f1: of all sentences with a score of 0.5 or
            more. Where all documents have a summary: ROUGE of the chosen ones.
    """
    labels: list[dataset.Extract] = list(split.labels or ())
    pairs = list(zip(said, labels, strict=True))
    marked = [str(mark) for one in labels for mark in one.marks]
    taken = [str(int(share >= 0.5)) for one in said for share in one.scores]
    found = {
        AVERAGE_PRECISION: _mean([_average_precision(*pair) for pair in pairs]),
        "precision_at_k": _mean([_precision(*pair) for pair in pairs]),
        "f1": metrics.f1(marked, taken),
    }
    if labels and all(one.summary.strip() for one in labels):
        texts = [
            "\n".join(sentences[place] for place in one.chosen)
            for sentences, one in zip(split.inputs, said, strict=True)
        ]
        right = [[one.summary] for one in labels]
        found |= text_metrics.rouge(texts, right, ROUGE, stems=True)
    return found


def _average_precision(said: Scored, label: dataset.Extract) -> float | None:
    """Returns the mean precision down to each marked sentence; None without any."""
    order = np.argsort(-np.asarray(said.scores), kind="stable")
    marks = np.asarray(label.marks)[order]
    if not marks.any():
        return None
    precisions = np.cumsum(marks) / np.arange(1, len(marks) + 1)
    return float(precisions[marks == 1].mean())


def _precision(said: Scored, label: dataset.Extract) -> float | None:
    if not said.chosen:
        return None
    return sum(label.marks[place] for place in said.chosen) / len(said.chosen)


def _mean(values: Sequence[Any]) -> float:
    there = [value for value in values if value is not None]
    return float(np.mean(there)) if there else 0.0
