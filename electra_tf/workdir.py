"""The folder of one run: opened afresh, taken up again, or refused.

In:   the settings of this invocation, and what identifies the data.
Out:  config.yaml and run.json; what there is to resume, metrics and preset follow
      (checkpoint, reporting, preset; finetuner).
"""

import datetime
import json
import os
import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

from electra_tf import config, errors

SETTINGS, RUN = "config.yaml", "run.json"

# What there is to resume: of pre-training, of fine-tuning.
PROGRESS = ("checkpoints/*.index", "trials/*.json")

RunSettings = config.PretrainConfig | config.FinetuneConfig

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


def open_workdir(
    folder: str,
    settings: RunSettings,
    facts: dict[str, Any],
    *,
    is_chief: bool,
    devices: list[str],
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

    Raises:
        UserError: the folder holds something else, or a run with other settings or
            data, or cannot be written.
    """
    path = Path(folder)
    before: dict[str, Any] = {}
    if is_started(folder):
        _refuse_changes(path / SETTINGS, settings)
        before = read_run(folder)
        _refuse_other_facts(folder, before.get("facts", {}), facts)
    elif is_chief:
        _refuse_foreign(path, type(settings))
    if is_chief:
        try:
            path.mkdir(parents=True, exist_ok=True)
            _write(path / RUN, _record(before, settings, facts, devices))
            _write(path / SETTINGS, config.dump(settings))
        except OSError as error:
            raise errors.UserError(
                f"cannot write --workdir={folder}: {error.strerror}; name a folder "
                "that can be written"
            ) from None


def is_started(folder: str) -> bool:
    """Tells whether there is something to resume, and the settings to do so."""
    path = Path(folder)
    has_progress = any(any(path.glob(pattern)) for pattern in PROGRESS)
    return has_progress and (path / SETTINGS).exists()


def read_settings(folder: str) -> config.PretrainConfig:
    """Reads the resolved settings of a pre-training run."""
    return config.load(config.PretrainConfig, str(Path(folder) / SETTINGS))


def _refuse_changes(written: Path, settings: RunSettings) -> None:
    before = config.load(type(settings), str(written))
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


def _refuse_foreign(path: Path, kind: type[RunSettings]) -> None:
    """Refuses a folder that holds anything, unless a run was stopped early in it."""
    if (path / SETTINGS).exists():
        config.load(kind, str(path / SETTINGS))
        return
    try:
        found = sorted(p.name for p in path.iterdir())
    except FileNotFoundError:
        return
    except OSError as error:
        raise errors.UserError(
            f"--workdir={path}: {error.strerror}; name a folder"
        ) from None
    # What a run leaves that was stopped between making the folder and its first file.
    if foreign := sorted(set(found) - {RUN, f"{RUN}.tmp", f"{SETTINGS}.tmp"}):
        raise errors.UserError(
            f"--workdir={path} holds something else than a run ({foreign[0]} ...); "
            "name a new or empty folder"
        )


def read_run(folder: str) -> dict[str, Any]:
    """Reads run.json; empty if there is none."""
    file = Path(folder) / RUN
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise errors.UserError(f"cannot read {file}: {error}") from None
    return value if isinstance(value, dict) else {}


def _record(
    before: dict[str, Any],
    settings: RunSettings,
    facts: dict[str, Any],
    devices: list[str],
) -> str:
    """Returns run.json: how the run started, and each session it was taken up in."""
    session = {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "command": " ".join(sys.argv),
        "commit": commit(),
        "versions": versions(),
        "hardware": f"{platform.machine()}, {os.cpu_count()} cores",
        "devices": devices,
    }
    run = {
        **session,
        "seed": settings.train.seed,
        **before,
        "facts": facts | before.get("facts", {}),
        "sessions": [*before.get("sessions", []), session],
    }
    return json.dumps(run, indent=2) + "\n"


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


def _write(path: Path, text: str) -> None:
    partial = path.with_name(path.name + ".tmp")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)
