"""The folder of one run: opened afresh, taken up again, or refused.

In:   the settings of this invocation, and what identifies the data.
Out:  config.yaml and run.json; what there is to resume, metrics and preset follow
      (checkpoint, reporting, preset; finetuner).
"""

import contextlib
import datetime
import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterator, Mapping
from importlib import metadata
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

from electra_tf import config, errors
from electra_tf.system import durable, reading

SETTINGS, RUN = "config.yaml", "run.json"

# What there is to resume: of pre-training, of fine-tuning.
PROGRESS = ("checkpoints/*.index", "trials/*.json")

AnyRun = TypeVar("AnyRun", bound=config.RunSettings)

# Settings that may change between two sessions of a run: none changes what is learned
# beyond the rounding of float32.
MAY_CHANGE = (
    "run.",
    "train.steps_per_loop",
    "train.xla",
    "train.recompute",
    "train.trials",
    "data.records",
    "data.vocab",
)

# Facts that say why others differ; the same records may have another history.
TOLD_ALONG = {"corpus"}


@contextlib.contextmanager
def opened(
    folder: str,
    settings: config.RunSettings,
    facts: dict[str, Any],
    *,
    is_chief: bool,
    devices: list[str],
    values: Mapping[str, Any] = MappingProxyType({}),
) -> Iterator[None]:
    """Opens a workdir, and keeps other runs out of it while it is entered.

    Raises:
        UserError: another process writes there; see `open_workdir`, which has the
            arguments.
    """
    with contextlib.ExitStack() as stack:
        if is_chief:  # Workers of one run share the folder, and it alone writes.
            lock = durable.locked(os.path.join(folder, durable.LOCK), folder)
            with durable.explained(f"--workdir={folder}"):
                stack.enter_context(lock)
        open_workdir(
            folder, settings, facts, is_chief=is_chief, devices=devices, values=values
        )
        yield


def open_workdir(
    folder: str,
    settings: config.RunSettings,
    facts: dict[str, Any],
    *,
    is_chief: bool,
    devices: list[str],
    values: Mapping[str, Any] = MappingProxyType({}),
) -> None:
    """Readies a workdir for a run that starts, or is taken up again.

    Until there is a checkpoint, or a finished trial, there is nothing to resume, and
    all may change.

    Args:
        folder: made if it is not there.
        settings: resolved.
        facts: what else must be the same on resuming, such as the vocabulary's hash,
            by name; values that JSON keeps.
        is_chief: only the chief writes.
        devices: names, for the record.
        values: what reports show of this run, and how; JSON values by name.

    Raises:
        UserError: the folder holds something else, or a run with other settings or
            data, or cannot be written.
    """
    path = Path(folder)
    facts = json.loads(json.dumps(facts))  # As they come back: of tuples, lists.
    before: dict[str, Any] = {}
    if _has_progress(path):
        if (path / SETTINGS).exists():
            _refuse_changes(path / SETTINGS, settings)
        before = read_run(folder)
        _refuse_other_facts(folder, before.get("facts", {}), facts)
    elif is_chief:
        _refuse_foreign(path, type(settings))
    if is_chief:
        with durable.explained(f"--workdir={folder}"):
            durable.make_folder(folder)
        record = _record(before, settings, facts, devices, values)
        durable.write_json(str(path / RUN), record)
        durable.write_text(str(path / SETTINGS), config.dump(settings))


def is_started(folder: str) -> bool:
    """Tells whether there is something to resume, and the settings to do so."""
    path = Path(folder)
    return _has_progress(path) and (path / SETTINGS).exists()


def read_settings(folder: str) -> config.PretrainConfig:
    """Reads the resolved settings of a pre-training run."""
    return _read_settings(config.PretrainConfig, Path(folder) / SETTINGS)


def with_streams(settings: AnyRun, folder: str, usual: int) -> AnyRun:
    """Returns settings in which `train.streams` is a number.

    The one that is stated; else as a run in this folder was begun; else the usual one.
    """
    streams = settings.streams
    if streams == "auto" and is_started(folder):
        streams = _read_settings(type(settings), Path(folder) / SETTINGS).streams
    return settings.with_streams(usual if streams == "auto" else streams)


def _has_progress(path: Path) -> bool:
    return any(any(path.glob(pattern)) for pattern in PROGRESS)


def _read_settings(kind: type[AnyRun], file: Path) -> AnyRun:
    """Reads the settings of a run that has progress: all of them were written.

    Raises:
        UserError: the file is damaged.
    """
    try:
        settings = config.load(kind, str(file))
        # Its last section: a file that was cut short, to nothing perhaps, has it not.
        reason = None if "run" in settings.model_fields_set else "it is cut short"
    except config.UnknownSettingError as error:
        raise errors.UserError(
            f"{file}: this version has no setting {', '.join(error.names)}; take it "
            "out of that file, and run the same command again"
        ) from None
    except errors.UserError as error:
        reason = str(error)
    if reason is None:
        return settings
    raise errors.UserError(
        f"{file} is damaged ({reason}); delete it and run the same command again, with "
        "the settings that the run was started with: it goes on with those"
    )


def _refuse_changes(written: Path, settings: config.RunSettings) -> None:
    before = _read_settings(type(settings), written)
    changed = [
        f"{name} was {old!r}, now {new!r}"
        for name, (old, new) in config.differences(before, settings).items()
        if not name.startswith(MAY_CHANGE)
    ]
    if changed:
        raise errors.UserError(
            f"cannot resume {written.parent} with other settings: "
            f"{'; '.join(changed)}; put them back, or start in a new --workdir "
            "(train.init_from takes over weights)"
        )


def _refuse_other_facts(
    folder: str, before: dict[str, Any], facts: dict[str, Any]
) -> None:
    """Refuses other facts; one that the run, of an earlier version, has not passes."""
    changed = {
        name: f"{name} was {before[name]}, now {value}"
        for name, value in facts.items()
        if name in before and before[name] != value
    }
    if changed.keys() - TOLD_ALONG:
        raise errors.UserError(
            f"cannot resume {folder}: {'; '.join(changed.values())}; use what it was "
            "started with, or a new --workdir"
        )


def _refuse_foreign(path: Path, kind: type[config.RunSettings]) -> None:
    """Refuses a folder that holds anything, unless a run was stopped early in it."""
    try:
        if (path / SETTINGS).exists() and (path / SETTINGS).stat().st_size:
            config.load(kind, str(path / SETTINGS))
            return
        found = {p.name for p in path.iterdir()}
    except FileNotFoundError:
        return
    except OSError as error:
        raise errors.UserError(
            f"--workdir={path}: {error.strerror}; name a folder"
        ) from None
    if RUN in found:  # It was stopped before there was anything to resume.
        return
    if foreign := sorted(found - {durable.LOCK, f".{RUN}.partial", SETTINGS}):
        raise errors.UserError(
            f"--workdir={path} holds something else than a run ({foreign[0]} ...); "
            "name a new or empty folder"
        )


def read_run(folder: str) -> dict[str, Any]:
    """Reads run.json; empty if there is none."""
    file = os.path.join(folder, RUN)
    if not os.path.exists(file):
        return {}
    try:
        return reading.read_json(file)
    except errors.UserError as error:
        raise errors.UserError(
            f"{error}; delete it and run the same command again: the run goes on, with "
            "no record of how and on which data it started"
        ) from None


def _record(
    before: dict[str, Any],
    settings: config.RunSettings,
    facts: dict[str, Any],
    devices: list[str],
    values: Mapping[str, Any],
) -> dict[str, Any]:
    """Returns run.json: how the run started, and each session it was taken up in."""
    session = {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "command": " ".join(sys.argv),
        "commit": commit(),
        "versions": versions(),
        "hardware": f"{platform.machine()}, {os.cpu_count()} cores",
        "devices": devices,
    }
    return {
        **session,
        "seed": settings.seed,
        **before,
        "facts": facts | before.get("facts", {}),
        "sessions": [*before.get("sessions", []), session],
        **({"values": dict(values)} if values else {}),
    }


def versions() -> dict[str, str]:
    """Returns the versions of what computes the numbers."""
    found = {"python": platform.python_version()}
    for name in ("tensorflow", "tensorflow-tpu", "keras", "numpy"):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def commit() -> str:
    """Returns the commit of the code that runs, with a + if changed; else "unknown"."""
    here = Path(__file__).resolve().parent
    try:
        out = subprocess.run(
            ["git", "describe", "--always", "--dirty=+", "--exclude=*"],
            cwd=here,
            capture_output=True,
            text=True,
            check=True,
            timeout=10,
        )
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return out.stdout.strip()
