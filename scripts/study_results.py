"""What the runs of a study came to: scores by task and seed, losses, a verdict.

In:   a study's folder, as far as it is done.
Out:  numbers, in points (1 is 0.01 of a metric); what is missing.
"""

import json
import statistics
from collections.abc import Sequence
from typing import Any, NamedTuple

import study_plan

from electra_tf import errors
from electra_tf.finetuning import trials
from electra_tf.reports import report_page

Scores = dict[str, dict[int, float]]  # points by task and seed


class Result(NamedTuple):
    """What one run came to, so far."""

    name: str
    positions: int | None  # of its own; None = not begun
    work: float | None  # operations behind it so far, with those of its start
    before: float  # of them, those of what it starts from
    held_out: dict[str, float]  # the last values that comparisons list, by title
    scores: Scores
    failed: dict[str, int]  # seeds that learned nothing, by task
    on_the_way: dict[float, dict[str, float]]  # means by share of its steps, and task

    def averages(self, tasks: Sequence[str]) -> dict[int, float]:
        """Returns the mean over tasks, of each seed that all of them have."""
        found = [self.scores.get(task, {}) for task in tasks]
        seeds = set.intersection(*(set(one) for one in found)) if found else set()
        return {
            seed: statistics.fmean(one[seed] for one in found) for seed in sorted(seeds)
        }


class Lead(NamedTuple):
    """How far a run is ahead of the baseline, in points."""

    name: str
    tasks: list[str]  # those that both have
    by_seed: dict[int, float]
    is_whole: bool  # whether no task and no seed is missing

    @property
    def mean(self) -> float:
        """Returns the mean over the seeds."""
        return statistics.fmean(self.by_seed.values())


def read(study: study_plan.Study) -> list[Result]:
    """Reads what is there of every run.

    Raises:
        UserError: a file is damaged.
    """
    return [_read_run(study, name) for name in study.settings.runs]


def _read_run(study: study_plan.Study, name: str) -> Result:
    told = curve(study, name)
    steps = max((record["step"] for record in told.records), default=0) if told else 0
    size, flops = study.step_positions(name), study.step_flops(name)
    before = study.work_before(name) or 0.0
    held_out = {}
    for key, shown in told.shown.items() if told else ():
        last = told.points(key, "validation")[-1:] if told else []
        if shown.is_compared and key != "loss" and last:
            held_out[shown.title] = last[0][1]
    scores, failed = _scores(study, name, 1.0)
    on_the_way = {}
    for share in study.settings.shares:
        found, _ = _scores(study, name, share)
        means = {task: statistics.fmean(one.values()) for task, one in found.items()}
        on_the_way[share] = means
    return Result(
        name,
        steps * size if size and steps else None,
        before + steps * flops if flops and steps else None,
        before,
        held_out,
        scores,
        failed,
        on_the_way,
    )


def curve(study: study_plan.Study, name: str) -> report_page.Run | None:
    """Returns what a run has logged; None if that is nothing yet."""
    try:
        return report_page.read_run(str(study.run_folder(name)), name)
    except errors.UserError:
        return None


def trials_of(
    study: study_plan.Study, name: str, share: float, task: str
) -> list[trials.Trial]:
    """Returns the seeds of a task that have ended."""
    return trials.read(str(study.task_folder(name, share, task)))


def _scores(
    study: study_plan.Study, name: str, share: float
) -> tuple[Scores, dict[str, int]]:
    """Returns points by task and seed, and how many seeds failed by task."""
    scores: Scores = {}
    failed = {}
    for task, plan in study.settings.tasks.items():
        ended = trials_of(study, name, share, task)
        found = {
            trial.seed: 100.0 * _score(study, (name, share, task), plan.split, trial)
            for trial in ended
            if trial.scores
        }
        if found:
            scores[task] = found
        if bad := sum(bool(trial.failures) for trial in ended):
            failed[task] = bad
    return scores, failed


def _score(
    study: study_plan.Study,
    where: tuple[str, float, str],
    split: str,
    trial: trials.Trial,
) -> float:
    """Returns a trial's main metric on a split."""
    path = study.task_folder(*where) / "metrics.json"
    try:
        tasks: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))["tasks"]
        ((task, about),) = tasks.items()
        splits = trial.scores[task]
    except (OSError, ValueError, KeyError) as error:
        raise errors.UserError(
            f"{path} is damaged ({error}); delete the folder, and the task is run again"
        ) from None
    if split not in splits:
        raise errors.UserError(
            f"tasks.{where[2]}.split={split}: it has {', '.join(splits)}"
        )
    return splits[split][about["metric"]]


def leads(study: study_plan.Study, results: Sequence[Result]) -> list[Lead]:
    """Returns how far runs are ahead of the baseline, where there is what to compare.

    On the tasks and seeds that both have: the same seed is compared with the same.
    """
    base = next(one for one in results if one.name == study.settings.baseline)
    found = []
    for one in results:
        tasks = [
            t for t in study.settings.tasks if t in one.scores and t in base.scores
        ]
        ours, theirs = one.averages(tasks), base.averages(tasks)
        by_seed = {seed: ours[seed] - theirs[seed] for seed in ours if seed in theirs}
        if one is base or not by_seed:
            continue
        whole = len(tasks) == len(study.settings.tasks)
        whole &= len(by_seed) >= study.settings.seeds
        found.append(Lead(one.name, tasks, by_seed, whole))
    return sorted(found, key=lambda lead: -lead.mean)


def verdict(study: study_plan.Study, results: Sequence[Result]) -> list[str]:
    """Says who beats the baseline on the average of the tasks, with every seed.

    Returns:
        A line a run, the best first, and the verdict in the last.
    """
    aim, base = study.settings.aim, study.settings.baseline
    lines, winners, is_whole = [], [], True
    found = leads(study, results)
    for lead in found:
        low, high = min(lead.by_seed.values()), max(lead.by_seed.values())
        so_far = "" if lead.is_whole else f", so far, on {', '.join(lead.tasks)}"
        seeds = f"{low:+.2f} to {high:+.2f}, {len(lead.by_seed)} seeds"
        lines.append(f"{lead.name} - {base}: {lead.mean:+.2f} points ({seeds}{so_far})")
        is_whole &= lead.is_whole
        if low >= aim and lead.is_whole:
            winners.append(lead.name)
    is_whole &= len(found) == len(results) - 1
    if winners:
        said = f"yes, {', '.join(winners)}"
    else:
        said = "no" if is_whole else "open, as some of it is missing"
    question = f"Does one beat {base} on the average of the tasks by at least {aim:g}"
    points = "point" if aim == 1 else "points"
    return [*lines, f"{question} {points}, with every seed? {said}."]


def missing(study: study_plan.Study, results: Sequence[Result]) -> list[str]:
    """Says what is not there yet, a line each."""
    lines = []
    for one in results:
        steps = study.steps(one.name)
        if not study.is_trained(one.name):
            size = study.step_positions(one.name) or 1
            done = (one.positions or 0) // size
            whole = f"{steps:,}" if steps else "?"
            lines.append(f"{one.name}: {done:,} of {whole} steps")
            continue
        for task in study.settings.tasks:
            there = len(one.scores.get(task, {}))
            if there < study.settings.seeds:
                lines.append(
                    f"{one.name}, {task}: {there} of {study.settings.seeds} seeds"
                )
    return [*lines, *study.work_notes()]
