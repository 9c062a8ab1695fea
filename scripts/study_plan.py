"""What a study compares: settings of pre-training runs and of tasks, and their folders.

In:   a YAML file such as scripts/study.yaml.
Out:  the commands of each run and task, where they write, how much work each did.

Work is counted in floating-point operations of the compiled step's matrix products
(`study_work.py`); all runs of a study do the same.
"""

import json
import os
import re
import sys
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import pydantic
from pydantic import Field, PositiveFloat, PositiveInt

from electra_tf import config, errors
from electra_tf.training import workdir

ROOT = Path(__file__).resolve().parent.parent

# Checkpoints, evaluations and shares of a run stand at multiples of 1/20 of it.
PARTS = 20
# A run that is there may differ by so much from the work that is asked.
TOLERANCE = 0.01


class Anchor(config.Settings):
    """How much work each run does: as much as one of them at so many positions."""

    run: str = Field(description="Name of the run that the work is taken from.")
    positions: PositiveInt = Field(description="Positions (rows x row_tokens) of it.")


class StartsFrom(config.Settings):
    """Weights of another run of the study, whose work is taken off this one's."""

    run: str = Field(description="Name of the other run.")
    share: config.Rate = Field(1.0, description="How far it has come: its preset then.")
    settings: list[str] = Field(description="Settings that take the preset's folder.")


class RunPlan(config.Settings):
    """One pre-training run."""

    config: str = Field(description="Its settings, a file.")
    changes: dict[str, Any] = Field({}, description="Settings over the file, by name.")
    starts_from: StartsFrom | None = Field(None, description="null = nothing.")


class TaskPlan(config.Settings):
    """One task."""

    task: str = Field(description="As of --task of the command finetune.")
    data: str = Field(description="Its folder or file.")
    config: str | None = Field(None, description="Settings of finetune, a file.")
    changes: dict[str, Any] = Field({}, description="Settings over it, by name.")
    split: str = Field("dev", description="The split whose score counts.")


class StudyConfig(config.Settings):
    """All settings of `scripts/study.py`."""

    work: Anchor
    baseline: str = Field("mlm", description="The run that the others are held to.")
    aim: PositiveFloat = Field(1.0, description="Points ahead of it that are aimed at.")
    records: str | None = Field(None, description="data.records of all; null = theirs.")
    task_data: str = Field(".", description="Where the tasks' data are found.")
    changes: dict[str, Any] = Field({}, description="Settings of all runs, by name.")
    runs: dict[str, RunPlan] = Field(min_length=1, description="By name, in order.")
    tasks: dict[str, TaskPlan] = Field({}, description="By name.")
    seeds: PositiveInt = Field(3, description="Seeds of each task, from 42 on.")
    shares: list[config.Rate] = Field(
        [], description="Points on the way at which tasks are tried, with one seed."
    )

    @pydantic.model_validator(mode="after")
    def _names_are_known(self) -> "StudyConfig":
        _known("work.run", self.work.run, self.runs)
        _known("baseline", self.baseline, self.runs)
        for name in (*self.runs, *self.tasks):
            if not re.fullmatch(r"[\w.-]+", name):
                raise ValueError(f"{name!r}: want a name of letters, digits, . _ -")
        before: list[str] = []
        for name, run in self.runs.items():
            if run.starts_from:
                where = f"runs.{name}.starts_from.run"
                _known(where, run.starts_from.run, before, "a run that stands before")
                _on_the_way(f"runs.{name}.starts_from.share", run.starts_from.share)
            before.append(name)
        for share in self.shares:
            _on_the_way("shares", share)
        return self


def _known(
    where: str, name: str, known: Collection[str], what: str = "one of runs"
) -> None:
    if name not in known:
        there = ", ".join(known) or "there is none"
        raise ValueError(f"{where}={name}: want {what}: {there}")


def _on_the_way(where: str, share: float) -> None:
    if share <= 0.0 or abs(share * PARTS - round(share * PARTS)) > 1e-9:
        raise ValueError(f"{where}={share:g}: want a multiple of {1 / PARTS:g}")


class Study:
    """A study and its folder: what is to be done there, and what is done."""

    def __init__(self, settings: StudyConfig, folder: str) -> None:
        self.settings, self.folder = settings, Path(folder)

    # Places.

    def run_folder(self, name: str) -> Path:
        """Returns the workdir of a run."""
        return self.folder / "runs" / name

    def preset(self, name: str, share: float = 1.0) -> Path:
        """Returns where the preset of a run is, at a share of its steps."""
        if share == 1.0:
            return self.run_folder(name) / "preset"
        return self.folder / "presets" / at(name, share)

    def task_folder(self, name: str, share: float, task: str) -> Path:
        """Returns the workdir of a fine-tuning."""
        return self.folder / "tasks" / at(name, share) / task

    def work_file(self, name: str) -> Path:
        """Returns the file with what a step of a run costs."""
        return self.folder / "work" / f"{name}.json"

    def misses_file(self, name: str) -> Path:
        """Returns the file with what the discriminator of a run misses."""
        return self.folder / "misses" / f"{name}.json"

    # What is there.

    def steps_there(self, name: str) -> int | None:
        """Returns the steps that a run was begun with; None if it is not begun."""
        folder = self.run_folder(name)
        if not workdir.is_started(str(folder)):
            return None
        return workdir.read_settings(str(folder)).train.steps

    def is_trained(self, name: str) -> bool:
        """Tells whether a run has ended: its report is the last that it writes."""
        return (self.run_folder(name) / "report.html").exists()

    def has_preset(self, name: str, share: float = 1.0) -> bool:
        """Tells whether there is a preset of a run at a share of its steps."""
        if share == 1.0:
            return self.is_trained(name)
        return (self.preset(name, share) / "config.json").exists()

    def step_flops(self, name: str) -> float | None:
        """Returns the operations of a step; None if they are not counted."""
        return self._counted(name).get("flops")

    def step_positions(self, name: str) -> int | None:
        """Returns the positions of a step; None if it is not counted."""
        return self._counted(name).get("positions")

    def _counted(self, name: str) -> dict[str, Any]:
        try:
            return dict(json.loads(self.work_file(name).read_text()))
        except FileNotFoundError:
            return {}
        except ValueError:
            raise errors.UserError(
                f"{self.work_file(name)} is damaged; delete it"
            ) from None

    def is_counted(self, name: str) -> bool:
        """Tells whether the cost of a run's step is known, for these settings."""
        return self._counted(name).get("settings") == self.overrides(name)

    # Work.

    def total_work(self) -> float | None:
        """Returns the work that each run does; None if it is not counted yet."""
        anchor = self.settings.work
        flops, size = self.step_flops(anchor.run), self.step_positions(anchor.run)
        if not flops or not size:
            return None
        steps = -(-anchor.positions // size)
        return whole_parts(steps, up=True) * flops

    def work_before(self, name: str) -> float | None:
        """Returns the work of what a run starts from; 0 for random weights."""
        origin = self.settings.runs[name].starts_from
        return self.work_at(origin.run, origin.share) if origin else 0.0

    def work_at(self, name: str, share: float) -> float | None:
        """Returns the work behind a run at a share of its steps, all counted."""
        before, flops, steps = (
            self.work_before(name),
            self.step_flops(name),
            self.steps(name),
        )
        if before is None or not flops or not steps:
            return None
        return before + share * steps * flops

    def steps(self, name: str) -> int | None:
        """Returns the steps of a run: its own if it is begun, else by the work."""
        if there := self.steps_there(name):
            return there
        total, before = self.total_work(), self.work_before(name)
        flops = self.step_flops(name)
        if total is None or before is None or not flops:
            return None
        return whole_parts((total - before) / flops)

    def work_notes(self) -> list[str]:
        """Says which runs do not do the work that is asked."""
        total = self.total_work()
        notes = []
        for name in self.settings.runs:
            done = self.work_at(name, 1.0)
            if total and done and abs(done / total - 1) > TOLERANCE:
                notes.append(f"{name} does {done / total:.3f} of the work of the study")
        return notes

    # Commands.

    def overrides(self, name: str) -> list[str]:
        """Returns the settings of a run over its file, but for how long it is."""
        run = self.settings.runs[name]
        changes = {**self.settings.changes, **run.changes}
        if self.settings.records:
            changes["data.records"] = self.settings.records
        if run.starts_from:
            preset = str(self.preset(run.starts_from.run, run.starts_from.share))
            changes |= dict.fromkeys(run.starts_from.settings, preset)
        return stated(changes)

    def config_file(self, name: str) -> str:
        """Returns the settings' file of a run."""
        return _found(self.settings.runs[name].config)

    def pretrain_command(self, name: str) -> list[str]:
        """Returns the command of a run; run again, it goes on."""
        steps = self.steps(name)
        assert steps, name
        every = max(1, steps // PARTS)
        often = {
            "train.steps": steps,
            "run.save_every_steps": every,
            "run.evaluate_every_steps": every,
            "run.keep": None,
        }
        return [
            *_module("pretrain"),
            f"--config={self.config_file(name)}",
            f"--workdir={self.run_folder(name)}",
            *_flags([*self.overrides(name), *stated(often)]),
        ]

    def finetune_command(self, name: str, share: float, task: str) -> list[str]:
        """Returns the command of a task; run again, it goes on."""
        plan = self.settings.tasks[task]
        seeds = self.settings.seeds if share == 1.0 else 1
        changes = {"train.streams": 1, **plan.changes, "train.trials": seeds}
        return [
            *_module("finetune"),
            *([f"--config={_found(plan.config)}"] if plan.config else []),
            f"--preset={self.preset(name, share)}",
            f"--task={plan.task}",
            f"--data={os.path.join(self.settings.task_data, plan.data)}",
            f"--workdir={self.task_folder(name, share, task)}",
            *_flags(stated(changes)),
        ]


def at(name: str, share: float) -> str:
    """Names a run at a share of its steps: mlm-025 at a quarter."""
    return name if share == 1.0 else f"{name}-{round(100 * share):03}"


def whole_parts(steps: float, up: bool = False) -> int:
    """Rounds steps to a number that PARTS divides; at least that."""
    parts = -(-steps // PARTS) if up else round(steps / PARTS)
    return PARTS * max(1, int(parts))


def stated(changes: Mapping[str, Any]) -> list[str]:
    """Returns settings as --set takes them: JSON is YAML."""
    return [f"{name}={json.dumps(value)}" for name, value in changes.items()]


def _flags(overrides: list[str]) -> list[str]:
    return [f"--set={override}" for override in overrides]


def _module(name: str) -> list[str]:
    return [sys.executable, "-m", f"electra_tf.{name}"]


def _found(file: str) -> str:
    """Returns a file's path: of this folder, else of this checkout."""
    return file if Path(file).exists() else str(ROOT / file)
