"""What trials of one fine-tuning run came to: kept on disk, compared, summed up.

In:   scores of each trial, by task and split.
Out:  trials/<number>.json as each ends; medians and spread; which is best; which
      failed, and why.

A metric of a trial is a number at [task][split][metric].
"""

import dataclasses
import json
import math
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from electra_tf import errors
from electra_tf.system import durable

Scores = dict[str, dict[str, dict[str, float]]]  # task, split, metric

FOLDER = "trials"


@dataclasses.dataclass(frozen=True)
class Trial:
    """One seed."""

    number: int  # from 1
    seed: int
    scores: Scores  # empty if it diverged
    records: list[dict[str, Any]]  # of the curves, as in a run's metrics.jsonl
    seconds: float
    failures: list[str]  # why it counts as failed, one line each; none = it did not


def write(workdir: str, trial: Trial) -> None:
    """Keeps a trial that ended.

    Raises:
        UserError: the file cannot be written.
    """
    path = Path(workdir, FOLDER, f"{trial.number}.json")
    durable.write_text(str(path), json.dumps(dataclasses.asdict(trial)) + "\n")


def read(workdir: str) -> list[Trial]:
    """Reads the trials that ended, in order.

    Raises:
        UserError: one of them is damaged.
    """
    found = []
    for path in Path(workdir, FOLDER).glob("*.json"):
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
            found.append(Trial(**values))
        except (OSError, ValueError, TypeError) as error:
            raise errors.UserError(
                f"{path} is damaged ({error}); delete it, and the trial is run again"
            ) from None
    return sorted(found, key=lambda trial: trial.number)


def best(trials: Iterable[Trial], main: Mapping[str, tuple[str, str]]) -> Trial | None:
    """Returns the trial with the highest mean of the main metrics; None of none.

    One that failed is best only where all did.

    Args:
        trials: of one run.
        main: (split, metric) of each task.
    """
    scored = [trial for trial in trials if trial.scores]
    return max(
        scored,
        key=lambda trial: (not trial.failures, mean_of(trial.scores, main)),
        default=None,
    )


def mean_of(scores: Scores, main: Mapping[str, tuple[str, str]]) -> float:
    """Returns the mean of the tasks' main metrics."""
    return statistics.fmean(
        scores[task][split][metric] for task, (split, metric) in main.items()
    )


def summarize(
    trials: Sequence[Trial], main: Mapping[str, tuple[str, str]]
) -> dict[str, Any]:
    """Returns what metrics.json holds of several trials.

    Returns:
        summary: by task, split and metric, over all trials that did not diverge:
        median, best (of the best trial), min, max, standard_deviation (of a sample; 0
        of one), count. Also best_trial and failed.
    """
    chosen = best(trials, main)
    summary: dict[str, Any] = {}
    for task, splits in (chosen.scores if chosen else {}).items():
        for split, scores in splits.items():
            for metric, at_best in scores.items():
                values = [
                    trial.scores[task][split][metric]
                    for trial in trials
                    if trial.scores
                ]
                found = {"best": at_best, **_spread(values)}
                summary.setdefault(task, {}).setdefault(split, {})[metric] = found
    return {
        "summary": summary,
        "best_trial": chosen.number if chosen else None,
        "failed": [
            {"trial": trial.number, "seed": trial.seed, "reasons": trial.failures}
            for trial in trials
            if trial.failures
        ],
        "trials": [
            {
                name: value
                for name, value in dataclasses.asdict(trial).items()
                if name != "records"
            }
            for trial in trials
        ],
    }


def _spread(values: Sequence[float]) -> dict[str, float]:
    # A mean squared error may be infinite, and so be no number for `statistics`.
    finite = all(map(math.isfinite, values))
    deviation = statistics.stdev(values) if finite and len(values) > 1 else 0.0
    return {
        "median": statistics.median(values),
        "min": min(values),
        "max": max(values),
        "standard_deviation": deviation,
        "count": len(values),
    }


def table(summary: Mapping[str, Any], say: Callable[[str], None]) -> None:
    """Says the summary of `summarize` as a table."""
    columns = ("median", "best", "min", "max", "standard_deviation")
    heads = ("median", "best", "min", "max", "sd")
    rows = [
        [task, split, metric, *(f"{values[column]:.4f}" for column in columns)]
        for task, splits in summary.items()
        for split, scores in splits.items()
        for metric, values in scores.items()
    ]
    cells = [["task", "split", "metric", *heads], *rows]
    widths = [max(len(row[place]) for row in cells) for place in range(len(cells[0]))]
    for row in cells:
        left = [
            cell.ljust(width) for cell, width in zip(row[:3], widths[:3], strict=True)
        ]
        right = [
            cell.rjust(width) for cell, width in zip(row[3:], widths[3:], strict=True)
        ]
        say("  ".join([*left, *right]))
