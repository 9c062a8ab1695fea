"""Says how a run goes, and keeps what it says.

In:   values by name (mlm_loss, rtd_auc, tokens_per_second, ...) at a step, and how they
      are shown.
Out:  a bar on a terminal, lines elsewhere; metrics.jsonl, tensorboard/ in the workdir.

Only the chief reports. Nothing here needs TensorFlow, so that a report renders quickly.
"""

import collections
import contextlib
import datetime
import io
import itertools
import json
import math
import os
import shutil
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self, TextIO

from electra_tf import errors
from electra_tf.objectives import objective
from electra_tf.system import console, durable, reading


class Reporter:
    """The voice of one run: `with Reporter(workdir, steps) as reporter:`.

    A run that resumes rolls back what a killed one wrote after its last checkpoint, in
    metrics.jsonl and in TensorBoard, so that no step is told twice.
    """

    def __init__(
        self,
        workdir: str,
        total_steps: int,
        shown: Mapping[str, objective.Shown],
        *,
        resumed_step: int = 0,
        stream: TextIO | None = None,
    ) -> None:
        """Opens nothing yet.

        Args:
            workdir: a local folder, made if it is not there.
            total_steps: where the run ends.
            shown: how values are, by their names; the first on a line, which a narrow
                terminal does without last.
            resumed_step: step of the checkpoint it goes on from; 0 starts afresh.
            stream: where progress goes, standard output unless given.
        """
        self._workdir = workdir
        self._metrics_file = os.path.join(workdir, "metrics.jsonl")
        self._total_steps = total_steps
        self._lines = {name: one.line for name, one in shown.items() if one.line}
        self._resumed_step = resumed_step
        self._screen = console.Screen(stream or sys.stdout)
        self._start = time.monotonic()
        self._seconds_before = 0.0
        self._values: Mapping[str, float] = {}
        self._marks = collections.deque([(self._start, resumed_step)], maxlen=20)
        self._event_files: dict[str, _EventFile] = {}

    def __enter__(self) -> Self:
        with durable.explained(self._workdir):
            durable.make_folder(self._workdir)
        self._seconds_before, lost = _roll_back(self._metrics_file, self._resumed_step)
        for remark in lost:
            self.say(f"{self._metrics_file}: {remark}")
        durable.append(self._metrics_file, b"")  # A refusal is better said now.
        try:
            self._event_files = {
                split: _EventFile(
                    os.path.join(self._workdir, "tensorboard", split),
                    self._resumed_step + 1,
                )
                for split in ("train", "validation")
            }
        except ImportError:
            self.say("tensorboard is not installed: writing no files for it")
        return self

    def __exit__(self, *exception: object) -> None:
        self._screen.close()

    def train(self, step: int, values: Mapping[str, float]) -> None:
        """Records averages over the steps since the last time, and shows them."""
        self._record(step, "train", values)
        self._values = values
        self.advance(step)
        if not self._screen.is_terminal:
            self._screen.say("  ".join(self._fields(step, values).values()))

    def evaluation(self, step: int, values: Mapping[str, float]) -> None:
        """Records and says what the validation rows gave."""
        self._record(step, "validation", values)
        text = "  ".join(self._told(values).values())
        self._screen.say(f"validation at step {step:,}: {text}")

    def advance(self, step: int) -> None:
        """Notes that the run got as far as `step`; on a terminal, redraws the bar."""
        if step != self._marks[-1][1]:
            self._marks.append((time.monotonic(), step))
        if len(self._marks) > 2 and self._marks[0][1] == self._resumed_step:
            self._marks.popleft()  # The first stretch holds tracing and compiling.
        if self._screen.is_terminal:
            fields = self._fields(step, self._values)
            done = step / self._total_steps
            width = shutil.get_terminal_size().columns - 1
            self._screen.draw(_bar(fields, done, width))

    def say(self, text: str) -> None:
        """Prints a line, above the bar if there is one."""
        self._screen.say(text)

    def _record(self, step: int, split: str, values: Mapping[str, float]) -> None:
        seconds = self._seconds_before + time.monotonic() - self._start
        record = {"step": step, "split": split, "seconds": round(seconds, 3)}
        record |= {name: float(value) for name, value in values.items()}
        durable.append(self._metrics_file, _line(record).encode())
        if split in self._event_files:
            self._event_files[split].append(step, values)

    def _fields(self, step: int, values: Mapping[str, float]) -> dict[str, str]:
        fields = {"step": f"step {step:,}/{self._total_steps:,}"} | self._told(values)
        (then, old_step), (now, new_step) = self._marks[0], self._marks[-1]
        if new_step > old_step:
            left = (self._total_steps - step) * (now - then) / (new_step - old_step)
            fields["eta"] = f"ETA {datetime.timedelta(seconds=round(left))}"
        return fields

    def _told(self, values: Mapping[str, float]) -> dict[str, str]:
        return {
            name: form.format(values[name])
            for name, form in self._lines.items()
            if name in values
        }


class _EventFile:
    """A file that TensorBoard reads: one session of one split."""

    def __init__(self, folder: str, first_step: int) -> None:
        from tensorboard.compat.proto import event_pb2

        with durable.explained(folder):
            durable.make_folder(folder)
        # TensorBoard reads the files of a folder in the order of their names.
        self._path = os.path.join(folder, f"events.out.tfevents.{time.time_ns()}")
        self._write(file_version="brain.Event:2")
        # At this event it forgets the points of earlier files from first_step on.
        start = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
        self._write(step=first_step, session_log=start)

    def append(self, step: int, values: Mapping[str, float]) -> None:
        from tensorboard.compat.proto import summary_pb2

        points = [
            summary_pb2.Summary.Value(tag=name, simple_value=float(value))
            for name, value in values.items()
        ]
        self._write(step=step, summary=summary_pb2.Summary(value=points))

    def _write(self, **fields: Any) -> None:
        from tensorboard.compat.proto import event_pb2
        from tensorboard.summary.writer import record_writer

        event = event_pb2.Event(wall_time=time.time(), **fields)
        framed = io.BytesIO()
        record_writer.RecordWriter(framed).write(event.SerializeToString())
        durable.append(self._path, framed.getvalue())


def read_metrics(path: str) -> tuple[list[dict[str, Any]], int]:
    """Returns the records of a metrics.jsonl, and how many lines are none.

    Raises:
        UserError: if there is no such file.
    """
    with reading.explained(path):
        lines = Path(path).read_bytes().split(b"\n")
    lines = [line for line in lines if line.strip()]
    records = []
    for line in lines:
        with contextlib.suppress(ValueError):
            record = json.loads(line)
            if isinstance(record, dict) and type(record.get("step")) is int:
                records.append(record)
    return records, len(lines) - len(records)


def _bar(fields: Mapping[str, str], done: float, width: int) -> str:
    """Fits the fields into `width` columns, and a bar into what they leave.

    Where there is no room for all, the last goes first; the time left goes after all,
    the step never.
    """
    kept = dict(fields)
    values = [name for name in reversed(kept) if name not in ("step", "eta")]
    for name in (*values, "eta"):
        if len("  ".join(kept.values())) > width:
            kept.pop(name, None)
    text = "  ".join(kept.values())[:width]
    cells = min(30, width - len(text) - 3)
    if cells < 5:
        return text
    full = min(cells, math.floor(cells * done))
    return f"[{'=' * full}{' ' * (cells - full)}] {text}"


def lost_records(
    records: Sequence[Mapping[str, Any]], num_broken: int, until: int | None = None
) -> list[str]:
    """Says what a metrics.jsonl has lost: lines that are broken, steps not recorded.

    A step is missed where two records lie further apart than most do, and than those
    around them: another interval, from some step on, is no loss.

    Args:
        records: in their order.
        num_broken: lines that were none.
        until: the step that the run has got to; None = that of the last record.
    """
    found = [f"broken lines skipped: {num_broken}"] if num_broken else []
    for split in ("train", "validation"):
        steps = sorted({r["step"] for r in records if r.get("split", "train") == split})
        if not steps:
            continue
        ends = [0, *steps, *([until] if until and until > steps[-1] else [])]
        apart = [after - before for before, after in itertools.pairwise(ends)]
        (usual, _), *_ = collections.Counter(apart).most_common(1)
        for place, width in enumerate(apart):
            around = [0, *apart, 0][place : place + 3 : 2]
            if width > max(usual, *around):
                found.append(
                    f"no {split} record between steps {ends[place]:,} and "
                    f"{ends[place + 1]:,}, where there should be some"
                )
    return found


def _roll_back(path: str, step: int) -> tuple[float, list[str]]:
    """Drops later records and broken lines.

    Returns:
        the seconds run until `step`, and what has been lost before it.
    """
    if not os.path.isfile(path):
        lost = [f"is gone, with the records up to step {step:,}"] if step else []
        return 0.0, lost
    records, num_broken = read_metrics(path)
    kept = [record for record in records if record["step"] <= step]
    durable.write_text(path, "".join(_line(record) for record in kept))
    lost = lost_records(kept, num_broken, step)
    return (float(kept[-1].get("seconds") or 0.0) if kept else 0.0), lost


def _line(record: Mapping[str, Any]) -> str:
    """JSON knows no NaN and no infinity: they become null."""
    finite = {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in record.items()
    }
    return json.dumps(finite) + "\n"


@contextlib.contextmanager
def said_warnings(say: Callable[[str], None]) -> Iterator[None]:
    """Says each warning in one line, once."""
    seen = set[str]()

    def show(message: Warning | str, *_: Any, **__: Any) -> None:
        text = errors.one_line(message)
        if text not in seen:
            seen.add(text)
            say(f"warning: {text}")

    with warnings.catch_warnings():
        warnings.simplefilter("always", UserWarning)
        warnings.showwarning = show
        yield
