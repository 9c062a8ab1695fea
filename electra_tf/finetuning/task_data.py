"""The data of a fine-tuning run, ready to train on and to score.

In:   names of tasks, folders, settings.
Out:  a job a task: what to train on, what to evaluate on, and what is no better than
      guessing.
"""

import collections
import dataclasses
import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from electra_tf import errors
from electra_tf.datasets import dataset
from electra_tf.finetuning import task_config
from electra_tf.kinds import kind as kinds
from electra_tf.kinds import registry

# Passes over the data where that is not the kind's (paper).
_TASK_EPOCHS = {"rte": 10, "sts-b": 10}


class Examples(NamedTuple):
    """What a task learns from."""

    inputs: list[Any]
    labels: list[Any]


@dataclasses.dataclass(frozen=True)
class Job:
    """A task and its data."""

    name: str  # of the task; numbered where there are two of it
    task: str
    data: dataset.Dataset
    train: Examples
    splits: dict[str, dataset.Split]  # all but train; there is a "dev"
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)  # of reading

    @property
    def kind(self) -> kinds.Kind:
        """Says what there is to say of such tasks."""
        return registry.KINDS[self.data.kind]


def read(
    tasks: Sequence[str],
    folders: Sequence[str],
    settings: task_config.FinetuneConfig,
    say: Callable[[str], None],
) -> dict[str, Job]:
    """Reads the data of all tasks.

    Raises:
        UserError: there are not as many folders as tasks; the data are not what they
            should be.
    """
    if len(tasks) == 1 and os.path.exists(",".join(folders)):
        folders = [",".join(folders)]  # --data is cut at commas, those of a name too.
    if len(tasks) != len(folders):
        raise errors.UserError(
            f"--task names {len(tasks)} tasks and --data {len(folders)} folders; want "
            "a folder, or a file, for each task"
        )
    names = _numbered(tasks)
    jobs = {}
    for name, task, folder in zip(names, tasks, folders, strict=True):
        options = options_of(settings.data.options, "data.options", name, names)
        data = registry.read(task, folder, **options)
        for split in data.splits.values():
            if split.remark:
                say(f"note: {split.remark}")
        job = _make_job(name, task, data, settings, say)
        jobs[name] = dataclasses.replace(job, options=options)
    return jobs


def pick(split: dataset.Split, places: Sequence[int]) -> dataset.Split:
    """Returns some examples of a split."""
    labels = split.labels
    return dataclasses.replace(
        split,
        ids=[split.ids[place] for place in places],
        inputs=[split.inputs[place] for place in places],
        labels=None if labels is None else [labels[place] for place in places],
    )


def options_of(
    options: Mapping[str, Any], setting: str, name: str, names: Sequence[str]
) -> dict[str, Any]:
    """Returns the options of one task: all there are, or its part.

    Args:
        options: of a setting.
        setting: its name.
        name: of the task.
        names: of all tasks of the run.

    Raises:
        UserError: there are several tasks, and options that say not whose they are.
    """
    if len(names) == 1:
        return dict(options)
    for key, value in options.items():
        if key not in names or not isinstance(value, dict):
            raise errors.UserError(
                f"{setting}.{key}={value!r:.60}: with several tasks, options are by "
                f"task, as in {setting}.{names[0]}.<option>; there are "
                f"{', '.join(names)}"
            )
    return dict(options.get(name, {}))


def epochs(jobs: Mapping[str, Job]) -> int:
    """Returns how many passes over the data the paper makes."""
    if len(jobs) == 1:
        (job,) = jobs.values()
        return _TASK_EPOCHS.get(job.task, job.kind.epochs)
    return max(job.kind.epochs for job in jobs.values())


def fingerprint(jobs: Mapping[str, Job]) -> str:
    """Returns a hash of all examples and labels."""
    found = hashlib.sha256()
    for job in jobs.values():
        found.update(json.dumps([job.name, job.train]).encode())
        for name, split in job.splits.items():
            found.update(json.dumps([name, split.inputs, split.labels]).encode())
    return found.hexdigest()[:16]


def failures(job: Job, values: Any, scores: Mapping[str, float]) -> list[str]:
    """Says in what a trial is no better than guessing, as an unlucky seed may be.

    Args:
        job: the task.
        values: the answers to its dev split, as `score` takes them.
        scores: what they scored.
    """
    found = []
    said = job.kind.classes(values)
    if len(said) == 1 and len(job.kind.classes(job.splits["dev"].labels)) > 1:
        found.append(f"{job.name}: all predictions are {said.pop()!r:.60}")
    metric = job.data.metric
    baseline = guess_score(job)
    if scores[metric] <= baseline + 1e-9:
        found.append(
            f"{job.name}: dev {metric} {scores[metric]:.4f} is no better than "
            f"guessing ({baseline:.4f}); another seed, a lower train.learning_rate or "
            f"more train.epochs may learn{job.kind.hint}"
        )
    return found


def guess_score(job: Job) -> float:
    """Returns the main metric on dev of always the same answer, the best for train."""
    dev = job.splits["dev"]
    guess = job.kind.guess(job.train.labels, dev)
    return job.data.score(guess, dev)[job.data.metric]


def _numbered(tasks: Sequence[str]) -> list[str]:
    """Returns a name for each task: its own, with a number from the second on."""
    seen = collections.Counter[str]()
    names = []
    for task in tasks:
        seen[task] += 1
        names.append(task if seen[task] == 1 else f"{task}-{seen[task]}")
    return names


def _hold_out(
    name: str,
    train: dataset.Split,
    rate: float,
    order: Sequence[int],
    group: Callable[[Any], Any],
) -> set[int]:
    """Returns which examples of train become the dev split.

    They are the first of a random order, with all others of their groups.

    Raises:
        UserError: that is none of them, or all.
    """
    count = round(rate * len(order))
    together: dict[Any, list[int]] = collections.defaultdict(list)
    for place in order:
        shared = group(train.inputs[place])
        together[place if shared is None else shared].append(place)
    held: set[int] = set()
    for places in together.values():
        if len(held) < count:
            held.update(places)
    if not 0 < len(held) < len(order):
        raise errors.UserError(
            f"{name} has no dev split, and data.dev_rate={rate} of {len(order)} train "
            "examples is none, or all; give a dev split"
        )
    return held


def _make_job(
    name: str,
    task: str,
    data: dataset.Dataset,
    settings: task_config.FinetuneConfig,
    say: Callable[[str], None],
) -> Job:
    wanted = settings.data
    train = data.split("train")
    chance = np.random.default_rng([settings.train.seed, 2])
    order = chance.permutation(len(train.ids)).tolist()
    splits = {key: split for key, split in data.splits.items() if key != "train"}
    dev = splits.get("dev")
    if dev is None or dev.labels is None:
        group = registry.KINDS[data.kind].group
        held = _hold_out(name, train, wanted.dev_rate, order, group)
        splits = {"dev": pick(train, sorted(held)), **splits}
        order = [place for place in order if place not in held]
        say(
            f"note: {name} has no dev split; {len(held):,} of {len(train.ids):,} train "
            f"examples are held out, drawn by train.seed={settings.train.seed} "
            f"(data.dev_rate={wanted.dev_rate:g})"
        )
    if wanted.max_train_examples:
        order = order[: wanted.max_train_examples]
    if wanted.max_eval_examples:
        splits = {
            key: pick(split, range(len(split.ids))[: wanted.max_eval_examples])
            for key, split in splits.items()
        }
    kept = pick(train, sorted(order))
    assert kept.labels is not None, f"{train.source} has no labels"
    examples = Examples(*registry.KINDS[data.kind].lessons(kept.inputs, kept.labels))
    if data.symmetric and wanted.double_unordered:
        swapped = [(second, first) for first, second in kept.inputs]
        examples = Examples(kept.inputs + swapped, kept.labels * 2)
    return Job(name, task, data, examples, splits)
