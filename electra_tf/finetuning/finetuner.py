"""A whole run of fine-tuning: where tasks and their data meet.

In:   a preset of any kind, tasks and their data, settings, a workdir.
Out:  the workdir: trials, metrics, predictions, submissions, report and preset.

A trial is one seed. Each is kept as it ends; a run that was stopped goes on with the
one that it was stopped in.
"""

import json
import math
import os
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from electra_tf import errors
from electra_tf.finetuning import (
    answers,
    finetune_page,
    task_builder,
    task_config,
    task_data,
    task_trainer,
    trials,
)
from electra_tf.reports import progress
from electra_tf.system import console, durable, interrupts
from electra_tf.tasks import catalog, keras_hub_writer
from electra_tf.training import distribution, workdir
from electra_tf.weights import preset

Say = Callable[[str], None]

REPORT = "report.html"


class _Run(NamedTuple):
    """What all trials of a run share."""

    origin: str  # the preset
    jobs: dict[str, task_data.Job]
    settings: task_config.FinetuneConfig
    folder: str
    strategy: tf.distribute.Strategy
    say: Say

    @property
    def main(self) -> dict[str, tuple[str, str]]:
        """Returns (split, metric) of each task, by which trials are compared."""
        return {name: ("dev", job.data.metric) for name, job in self.jobs.items()}


def run(
    settings: task_config.FinetuneConfig,
    origin: str,
    tasks: Sequence[str],
    folders: Sequence[str],
    folder: str,
    say: Say = print,
) -> None:
    """Trains all trials that are not there yet, and writes what they came to.

    Args:
        settings: resolved.
        origin: what `from_preset` takes, or a workdir of fine-tuning.
        tasks: names of `kinds.registry.readers`.
        folders: of their data; or a file of it, of which a part is held out.
        folder: the workdir.
        say: is told what happens, one line at a time.

    Raises:
        UserError: for data, presets, settings and folders that do not do; where no
            trial came to anything.
    """
    _refuse_cluster()
    with console.doing("reading the data"):
        jobs = task_data.read(tasks, folders, settings, say)
    task_builder.check(jobs, settings.model)
    catalog.class_of(origin)  # Nothing is written where it cannot be opened.
    if settings.train.deterministic:
        tf.config.experimental.enable_op_determinism()
    strategy = distribution.strategy()
    # As in the trials that these are to be compared with.
    settings = workdir.with_streams(settings, folder, usual=1)
    facts = {
        "preset": origin,
        "tasks": ",".join(jobs),
        "data": task_data.fingerprint(jobs),
        "replicas": strategy.num_replicas_in_sync,
    }
    devices = list(strategy.extended.worker_devices)
    this = _Run(origin, jobs, settings, folder, strategy, say)
    with workdir.opened(folder, settings, facts, is_chief=True, devices=devices):
        _run_to_the_end(this)


def _run_to_the_end(this: _Run) -> None:
    def stopped() -> str:
        done = len(trials.read(this.folder))
        return (
            f"stopped: {done} of {this.settings.train.trials} trials have ended; run "
            "the same command again to go on"
        )

    with progress.said_warnings(this.say):
        try:
            # Trials that have ended are kept: a stop like any other that is saved.
            with interrupts.raising(stopped, code=0):
                _run_trials(this)
        except KeyboardInterrupt:
            this.say(stopped())
            return
    _conclude(this)


# Trials.


def _run_trials(this: _Run) -> None:
    there = {trial.number for trial in trials.read(this.folder)}
    for number in range(1, this.settings.train.trials + 1):
        seed = this.settings.train.seed + number - 1
        title = f"trial {number} of {this.settings.train.trials}, seed {seed}"
        if number in there:
            this.say(f"{title}: kept")
            continue
        this.say(title)
        trial, models, predicted = _run_trial(this, number, seed)
        for failure in trial.failures:
            this.say(f"{title} failed: {failure}")
        before = trials.read(this.folder)
        if models and trials.best([*before, trial], this.main) is trial:
            with console.doing("writing predictions and preset"):
                _write_best(this, trial, models, predicted)
        trials.write(this.folder, trial)
        _write_outcome(this)


def _run_trial(
    this: _Run, number: int, seed: int
) -> tuple[trials.Trial, dict[str, Any], dict[str, dict[str, answers.Predicted]]]:
    """Trains one seed; returns no models where it diverged."""
    began = time.monotonic()
    keras.backend.clear_session()
    keras.utils.set_random_seed(seed)
    records: list[dict[str, Any]] = []

    def ended(scores: trials.Scores, failures: list[str]) -> trials.Trial:
        seconds = round(time.monotonic() - began, 1)
        return trials.Trial(number, seed, scores, records, seconds, failures)

    with console.doing("opening the preset"), this.strategy.scope():
        models = task_builder.build(this.jobs, this.origin, this.settings)
    try:
        dev = _train(this, models, seed, records)
    except task_trainer.DivergedError as error:
        rate = this.settings.train.learning_rate
        hint = "lower train.learning_rate" + (f" ({rate:g})" if rate else "")
        if this.settings.train.precision == "mixed_float16":
            hint += ", or set train.precision=float32"
        return ended({}, [f"{error}; {hint}"]), {}, {}
    scores: trials.Scores = {}
    predicted: dict[str, dict[str, answers.Predicted]] = {}
    for name, job in this.jobs.items():
        before = job.data.score(dev[name].values, job.splits["dev"])
        settled = job.kind.settle(models[name], before, dev[name].answers)
        predicted[name] = {"dev": dev[name]._replace(answers=settled)}
        for split, examples in job.splits.items():
            if split != "dev" and examples.labels is not None:
                predicted[name][split] = _predict(this, models[name], job, split)
        scores[name] = {
            split: job.data.score(found.values, job.splits[split])
            for split, found in predicted[name].items()
        }
    failures = [
        reason
        for name, job in this.jobs.items()
        for reason in task_data.failures(job, dev[name].values, scores[name]["dev"])
    ]
    return ended(scores, failures), models, predicted


def _train(
    this: _Run, models: dict[str, Any], seed: int, records: list[dict[str, Any]]
) -> dict[str, answers.Predicted]:
    """Trains the models; returns their answers to the dev splits."""
    train = this.settings.train
    trainer = task_trainer.Trainer(
        models,
        {
            name: task_data.Examples(*job.kind.learns_from(*job.train))
            for name, job in this.jobs.items()
        },
        train,
        mixing_power=this.settings.data.mixing_power,
        epochs=train.epochs or task_data.epochs(this.jobs),
        seed=seed,
        strategy=this.strategy,
    )
    ends = trainer.epoch_ends
    points = this.settings.run.log_points
    stops = {round(ends[-1] * (n + 1) / points) for n in range(points)} - {0} | {*ends}
    keeper = _Keeper(models, train)
    dev: dict[str, answers.Predicted] = {}
    since: list[dict[str, float]] = []  # losses of this epoch
    began = time.monotonic()
    for step, losses in trainer.run(sorted(stops)):
        since.append(losses)
        records.append({"step": step, "split": "train", **_named(this, losses)})
        if step not in ends:
            continue
        dev = {
            name: _predict(this, models[name], job, "dev")
            for name, job in this.jobs.items()
        }
        if not all(answers.are_finite(found.answers) for found in dev.values()):
            raise task_trainer.DivergedError(
                f"answers to dev are not finite after step {step:,}"
            )
        scores = {
            name: {"dev": job.data.score(dev[name].values, job.splits["dev"])}
            for name, job in this.jobs.items()
        }
        records.append({"step": step, "split": "validation", **_flat(this, scores)})
        this.say(
            f"  epoch {ends.index(step) + 1}/{len(ends)}  step {step:,}/{ends[-1]:,}  "
            f"{_shown(_named(this, _means(since)))}  dev: {_main(this, scores)}  "
            f"{time.monotonic() - began:.0f} s"
        )
        if skipped := trainer.skipped():
            this.say(f"  {skipped} of {step:,} steps skipped: float16 overflowed")
        since = []
        if keeper.has_enough(trials.mean_of(scores, this.main), dev):
            break
    return keeper.restore() or dev


def _predict(
    this: _Run, model: Any, job: task_data.Job, split: str
) -> answers.Predicted:
    size = this.settings.train.batch_size
    with console.doing(f"answering {split}"):
        return answers.predict(model, job.data, job.splits[split], size)


class _Keeper:
    """Keeps the weights of the best epoch, where these are wanted."""

    def __init__(
        self, models: dict[str, Any], train: task_config.FinetuneTrainConfig
    ) -> None:
        self._variables = {id(v): v for m in models.values() for v in m.weights}
        self._is_wanted = train.keep_epoch == "best"
        self._patience = train.patience
        self._best = -math.inf
        self._epochs_since = 0
        self._kept: tuple[dict[int, Any], Any] | None = None

    def has_enough(self, score: float, dev: dict[str, answers.Predicted]) -> bool:
        """Takes an epoch's score; tells whether to stop."""
        if not self._is_wanted:
            return False
        self._epochs_since += 1
        if score > self._best:
            self._best, self._epochs_since = score, 0
            values = {key: v.numpy() for key, v in self._variables.items()}
            self._kept = values, dev
        return self._patience is not None and self._epochs_since >= self._patience

    def restore(self) -> dict[str, answers.Predicted]:
        """Puts the best weights back; returns the answers then, if there are any."""
        if self._kept is None:
            return {}
        values, dev = self._kept
        for key, variable in self._variables.items():
            variable.assign(values[key])
        return dict(dev)


# What is written.


def _write_best(
    this: _Run,
    trial: trials.Trial,
    models: dict[str, Any],
    predicted: dict[str, dict[str, answers.Predicted]],
) -> None:
    """Writes predictions, submissions and presets of the best trial so far."""
    for name, job in this.jobs.items():
        where = [name] if len(models) > 1 else []
        for split, examples in job.splits.items():
            found = predicted[name].get(split)
            found = found or _predict(this, models[name], job, split)
            path = os.path.join(this.folder, "predictions", *where, f"{split}.jsonl")
            answers.write(path, job.kind, examples, found.answers)
            _write_submission(this, job, split, where, found)
        _write_preset(this, trial, job, models[name])


def _write_submission(
    this: _Run,
    job: task_data.Job,
    split: str,
    where: list[str],
    found: answers.Predicted,
) -> None:
    """Writes what is handed in; those of GLUE side by side, as their names differ."""
    if job.kind.hands_in_all or this.settings.data.max_eval_examples is None:
        folder = os.path.join(
            this.folder, "submissions", *(where if job.kind.hands_in_all else [])
        )
        job.kind.hand_in(folder, job.data, split, job.splits[split], found.answers)


def preset_folder(folder: str, name: str, num_tasks: int) -> str:
    """Returns where a run keeps the preset of a task."""
    return os.path.join(folder, "preset", *([name] if num_tasks > 1 else []))


def _write_preset(
    this: _Run, trial: trials.Trial, job: task_data.Job, model: Any
) -> None:
    model_config = model.backbone.model_config
    words = model.preprocessor.tokenizer
    origin = {
        "task": job.task,
        "options": dict(job.options),
        "columns": {
            **job.data.columns,
            **{k: v for k, v in job.options.items() if k.endswith("_column") and v},
        },
        "fine_tuned_from": os.path.basename(os.path.normpath(this.origin)),
        "settings": this.settings.model_dump(),
        "seed": trial.seed,
        "trial": trial.number,
        "metrics": {
            f"{split} {metric}": value
            for split, scores in trial.scores[job.name].items()
            for metric, value in scores.items()
        },
        "versions": workdir.versions(),
        "commit": workdir.commit(),
    }
    source = preset.Preset(
        this.origin,
        {"encoder": model_config},
        words.tokenizer_config,
        words.get_vocabulary(),
        origin,
    )
    folder = preset_folder(this.folder, job.name, len(this.jobs))
    keras_hub_writer.save_task(folder, model, source)


def _write_outcome(this: _Run) -> None:
    """Writes metrics.json and report.html, of the trials that have ended."""
    values = {
        "preset": this.origin,
        "tasks": {
            name: {
                "task": job.task,
                "kind": job.data.kind,
                "metric": job.data.metric,
                "labels": job.data.labels,
                "train_examples": len(job.train.inputs),
                "splits": {key: len(split.ids) for key, split in job.splits.items()},
                "guessing": task_data.guess_score(job),
                **answers.count_rules(job.splits["dev"]),
            }
            for name, job in this.jobs.items()
        },
        **trials.summarize(trials.read(this.folder), this.main),
    }
    text = json.dumps(values, indent=2, ensure_ascii=False)
    durable.write_text(os.path.join(this.folder, "metrics.json"), f"{text}\n")
    report = os.path.join(this.folder, REPORT)
    finetune_page.write_report(this.folder, report, this.settings.run.mistakes)


def _conclude(this: _Run) -> None:
    """Says what the trials came to.

    Raises:
        UserError: all of them failed; what the best of them left is there all the same.
    """
    ended = trials.read(this.folder)
    summary = trials.summarize(ended, this.main)
    reasons = "; ".join(dict.fromkeys(r for t in ended for r in t.failures))
    all_failed = f"all {len(ended)} trials failed: {reasons}"
    if summary["best_trial"] is None:
        raise errors.UserError(all_failed)
    _write_outcome(this)
    this.say("")
    trials.table(summary["summary"], this.say)
    failed = [str(one["trial"]) for one in summary["failed"]]
    if failed:
        this.say(f"failed: {len(failed)} of {len(ended)} trials ({', '.join(failed)})")
    this.say(f"\nbest:    trial {summary['best_trial']} of {len(ended)}")
    this.say(f"preset:  {this.folder}/preset\nreport:  {this.folder}/{REPORT}")
    this.say(f"metrics: {this.folder}/metrics.json")
    if len(failed) == len(ended):
        raise errors.UserError(all_failed)


def _refuse_cluster() -> None:
    if os.environ.get("TF_CONFIG"):
        raise errors.UserError(
            "TF_CONFIG is set, and fine-tuning runs on one machine; unset it"
        )


def _means(parts: Sequence[dict[str, float]]) -> dict[str, float]:
    """Returns the mean of each value over those that have it."""
    names = dict.fromkeys(name for part in parts for name in part)
    return {
        name: statistics.fmean(part[name] for part in parts if name in part)
        for name in names
    }


def _named(this: _Run, losses: dict[str, float]) -> dict[str, float]:
    """Names the losses of tasks; of one alone, "loss"."""
    if len(this.jobs) == 1:
        return {"loss": next(iter(losses.values()))}
    return {f"{name}/loss": loss for name, loss in losses.items()}


def _flat(this: _Run, scores: trials.Scores) -> dict[str, float]:
    """Names the scores on dev, as the losses."""
    return {
        f"{name}/{metric}" if len(this.jobs) > 1 else metric: value
        for name, splits in scores.items()
        for metric, value in splits["dev"].items()
    }


def _main(this: _Run, scores: trials.Scores) -> str:
    """Shows the main metric of each task."""
    return "  ".join(
        f"{name} {metric} {scores[name][split][metric]:.4f}"
        for name, (split, metric) in this.main.items()
    )


def _shown(values: dict[str, float]) -> str:
    return "  ".join(f"{name} {value:.4f}" for name, value in values.items())
