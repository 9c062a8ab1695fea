"""Which objective is worth its compute: a list of runs at equal work, on several tasks.

    python scripts/study.py --study=scripts/study.yaml --workdir=runs/study
        [--set seeds=5] [--processes=2] [--parts=pretrain] [--runs=mlm,electra] [--list]

Pre-trains every run of the file with the same number of floating-point operations,
fine-tunes each on every task with several seeds, looks at what the discriminators miss,
and writes WORKDIR/study.html and study.svg: tables, curves over work, and the verdict.

Run the same command again to go on. What is there is kept: a run, a task, a seed; a run
that was stopped or killed goes on from its last checkpoint, bit for bit. Each process
has one thread. The page is made of what is there, and says what is missing.
"""

import argparse
import ctypes
import functools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import study_page
import study_plan
import study_results

from electra_tf import config, errors
from electra_tf.system import durable

HERE = Path(__file__).resolve().parent
PARTS = ("pretrain", "tasks", "misses")
LOOK_SECONDS = 0.5
SIGNAL_AT_PARENTS_DEATH = 1  # PR_SET_PDEATHSIG of Linux
ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "TF_NUM_INTRAOP_THREADS": "1",
    "TF_NUM_INTEROP_THREADS": "1",
}


class Job(NamedTuple):
    """One process that leaves something behind."""

    title: str
    is_done: Callable[[], bool]
    is_ready: Callable[[], bool]
    command: Callable[[], list[str]]


def jobs(
    study: study_plan.Study, parts: Sequence[str], runs: Sequence[str]
) -> list[Job]:
    """Lists what a study consists of, the most urgent first.

    Args:
        study: the plan.
        parts: of PARTS.
        runs: their names.
    """
    found: list[Job] = []
    for name in runs:
        if "pretrain" in parts:
            found += pretraining(study, name)
    for name in runs:
        if "tasks" in parts:
            found += fine_tuning(study, name, 1.0)
        if "misses" in parts and name != study.settings.baseline:
            found.append(missing(study, name))
    for share in study.settings.shares:
        for name in runs:
            if "tasks" in parts:
                found.append(preset_of(study, name, share))
                found += fine_tuning(study, name, share)
    unique = {job.title: job for job in found}
    return list(unique.values())


def pretraining(study: study_plan.Study, name: str) -> Iterator[Job]:
    """Yields what it takes to train a run: what it starts from, its cost, itself."""
    origin = study.settings.runs[name].starts_from
    if origin and origin.share < 1.0:
        yield preset_of(study, origin.run, origin.share)

    def has_origin() -> bool:
        return origin is None or study.has_preset(origin.run, origin.share)

    needed = dict.fromkeys([study.settings.work.run, name])
    for one in needed if study.steps_there(name) is None else [name]:
        yield counting(study, one, has_origin if one == name else lambda: True)
    yield Job(
        f"train {name}",
        lambda: study.is_trained(name),
        lambda: has_origin() and study.steps(name) is not None,
        lambda: study.pretrain_command(name),
    )


def counting(study: study_plan.Study, name: str, is_ready: Callable[[], bool]) -> Job:
    """Returns the job that counts the cost of a step."""
    return Job(
        f"count {name}",
        lambda: study.is_counted(name),
        is_ready,
        lambda: [
            *script("study_work.py"),
            f"--count={study.work_file(name)}",
            f"--config={study.config_file(name)}",
            *(f"--set={one}" for one in study.overrides(name)),
        ],
    )


def preset_of(study: study_plan.Study, name: str, share: float) -> Job:
    """Returns the job that writes a run's preset at a share of its steps."""

    def step() -> int:
        return round((study.steps(name) or 0) * share)

    def is_there() -> bool:
        place = study.run_folder(name) / "checkpoints" / f"ckpt-{step()}.index"
        return place.exists()

    return Job(
        f"preset {study_plan.at(name, share)}",
        lambda: study.has_preset(name, share),
        is_there,
        lambda: [
            *script("study_work.py"),
            f"--preset={study.preset(name, share)}",
            f"--workdir={study.run_folder(name)}",
            f"--step={step()}",
        ],
    )


def fine_tuning(study: study_plan.Study, name: str, share: float) -> Iterator[Job]:
    """Yields a job a task."""
    for task in study.settings.tasks:

        def is_done(task: str = task) -> bool:
            found = study_results.trials_of(study, name, share, task)
            return len(found) >= (study.settings.seeds if share == 1.0 else 1)

        def command(task: str = task) -> list[str]:
            return study.finetune_command(name, share, task)

        title = f"tune {study_plan.at(name, share)} {task}"
        yield Job(title, is_done, lambda: study.has_preset(name, share), command)


def missing(study: study_plan.Study, name: str) -> Job:
    """Returns the job that looks at what the discriminator of a run misses."""
    judge = study.settings.baseline

    def command() -> list[str]:
        return [
            *script("study_misses.py"),
            f"--workdir={study.run_folder(name)}",
            f"--judge={study.preset(judge)}",
            f"--output={study.misses_file(name)}",
        ]

    return Job(
        f"misses {name}",
        lambda: study.misses_file(name).exists(),
        lambda: study.is_trained(name) and study.is_trained(judge),
        command,
    )


def script(name: str) -> list[str]:
    """Returns what begins the command of a script of this folder."""
    return [sys.executable, str(HERE / name)]


class Running(NamedTuple):
    """A job at work."""

    job: Job
    slot: int
    process: subprocess.Popen[bytes]
    log: IO[bytes]


class Queue:
    """Runs jobs as they become ready, so many at a time."""

    def __init__(self, folder: Path, processes: int) -> None:
        self._folder, self._processes = folder, processes
        self._running: list[Running] = []
        self._told: set[int] = set()  # pids that are to end
        self.failed: list[str] = []
        self.is_stopping = False

    def stop(self, *_: object) -> None:
        """Has all processes save and end, soon: the handler of a signal."""
        self.is_stopping = True

    def run(self, wanted: Sequence[Job]) -> list[Job]:
        """Runs jobs until none is left that can be run; returns what is not done."""
        todo = list(wanted)
        while True:
            self._gather()
            todo = [job for job in todo if not self._is_over(job)]
            if self.is_stopping:
                self._end()
            else:
                self._start(todo)
            if not self._running:
                return [job for job in wanted if not job.is_done()]
            time.sleep(LOOK_SECONDS)

    def _is_over(self, job: Job) -> bool:
        running = any(one.job.title == job.title for one in self._running)
        return not running and (job.title in self.failed or job.is_done())

    def _start(self, todo: Sequence[Job]) -> None:
        busy = {one.job.title for one in self._running}
        for job in todo:
            if len(self._running) == self._processes:
                return
            if job.title in busy or not job.is_ready():
                continue
            taken = {one.slot for one in self._running}
            slot = min({*range(self._processes)} - taken)
            path = self._folder / "logs" / f"{job.title.replace(' ', '_')}.log"
            path.parent.mkdir(parents=True, exist_ok=True)
            log = path.open("ab")
            say(job.title)
            process = subprocess.Popen(
                job.command(),
                stdout=log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                env={**os.environ, **ONE_THREAD},
                start_new_session=True,  # A terminal's Ctrl-C is passed on by `stop`.
                preexec_fn=functools.partial(settle, slot),
            )
            self._running.append(Running(job, slot, process, log))

    def _end(self) -> None:
        """Tells what runs to end, once: a second time would mean at once."""
        for one in self._running:
            if one.process.pid not in self._told:
                self._told.add(one.process.pid)
                one.process.terminate()

    def _gather(self) -> None:
        for one in [one for one in self._running if one.process.poll() is not None]:
            self._running.remove(one)
            one.log.close()
            if one.job.is_done():  # A task whose trials all failed has ended, too.
                say(f"{one.job.title}: done")
            elif not self.is_stopping:
                last = last_line(Path(one.log.name))
                say(f"{one.job.title}: failed, {one.log.name}: {last}")
                self.failed.append(one.job.title)


def settle(slot: int) -> None:
    """Readies a new process, where the system can: a core, an end with this one's.

    Of a study that is killed nothing goes on and holds the folders of its runs.
    """
    if hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, [cores[slot % len(cores)]])
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(SIGNAL_AT_PARENTS_DEATH, int(signal.SIGTERM))


def last_line(path: Path) -> str:
    """Returns the last line of a log."""
    lines = path.read_text(encoding="utf-8", errors="replace").split("\n")
    return next((line for line in reversed(lines) if line.strip()), "it is empty")


def say(text: str) -> None:
    """Says a line, with the time."""
    print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)


def show(study: study_plan.Study, wanted: Sequence[Job]) -> None:
    """Says what the runs cost, and which jobs are done."""
    for name in study.settings.runs:
        steps, flops = study.steps(name), study.step_flops(name)
        if steps and flops:
            size = study.step_positions(name) or 0
            before = study.work_before(name) or 0.0
            print(
                f"{name}: {steps:,} steps x {flops:.4g} FLOP, "
                f"{steps * size / 1e6:.1f} M positions, {before:.3g} FLOP before"
            )
    for job in wanted:
        print(f"[{'x' if job.is_done() else ' '}] {job.title}")


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--study", required=True, help="YAML file, as study.yaml")
    parser.add_argument("--workdir", required=True, help="folder of the study")
    parser.add_argument("--set", action="append", default=[], help="over the file")
    parser.add_argument("--processes", type=int, default=1, help="at a time")
    parser.add_argument("--parts", default=",".join(PARTS), help="or page alone")
    parser.add_argument("--runs", help="names, apart by commas; all, if left out")
    parser.add_argument("--list", action="store_true", help="what is done; runs none")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Does what is not done yet, and writes the page. Returns the exit code.

    Raises:
        UserError: for a file of a study, names and folders that do not do.
    """
    arguments = parse(argv)
    settings = config.load(study_plan.StudyConfig, arguments.study, arguments.set)
    parts = arguments.parts.split(",")
    runs = arguments.runs.split(",") if arguments.runs else list(settings.runs)
    errors.refuse_unknown("--parts", parts, [*PARTS, "page"])
    errors.refuse_unknown("--runs", runs, settings.runs)
    if arguments.processes < 1:
        raise errors.UserError(f"--processes={arguments.processes}: want 1 or more")
    study = study_plan.Study(settings, arguments.workdir)
    wanted = jobs(study, parts, runs)
    if arguments.list:
        show(study, wanted)
        return 0
    with durable.locked(str(study.folder / durable.LOCK), arguments.workdir):
        queue = Queue(study.folder, arguments.processes)
        signals = (signal.SIGINT, signal.SIGTERM)
        before = [signal.signal(number, queue.stop) for number in signals]
        try:
            left = queue.run(wanted)
        finally:
            for number, handler in zip(signals, before, strict=True):
                signal.signal(number, handler)
        for line in study_page.write(study):
            print(line)
    if left:
        names = errors.listed(job.title for job in left)
        print(f"not done: {names}; the same command goes on")
    return 1 if queue.failed else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except errors.UserError as error:
        sys.exit(f"error: {error}")
