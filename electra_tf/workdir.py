"""The folder of one run: opened afresh, taken up again, or refused.

In:   the settings of this invocation, and what identifies the data.
Out:  config.yaml and run.json; checkpoints, metrics and preset follow (checkpoint,
      reporting, preset).
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

# Settings that may change between two sessions of a run: none changes what is learned
# beyond the rounding of float32.
MAY_CHANGE = ("run.", "train.steps_per_loop", "train.xla", "data.records", "data.vocab")


def open_workdir(
    folder: str,
    settings: config.PretrainConfig,
    facts: dict[str, Any],
    *,
    is_chief: bool,
    devices: list[str],
) -> bool:
    """Readies a workdir, and tells whether a run is taken up again.

    Args:
        folder: made if it is not there.
        settings: resolved.
        facts: what else must be the same on resuming, such as the vocabulary's hash.
        is_chief: only the chief writes.
        devices: names, for the record.

    Raises:
        UserError: the folder holds something else, or a run with other settings or
            data, or cannot be written.
    """
    path = Path(folder)
    written = path / "config.yaml"
    if written.exists():
        _refuse_changes(written, settings)
        _refuse_other_facts(path / "run.json", facts)
        resumed = True
    else:
        _refuse_foreign(path)
        resumed = False
    if is_chief:
        try:
            path.mkdir(parents=True, exist_ok=True)
            _write(path / "run.json", _record(path / "run.json", settings, facts, devices))
            _write(written, config.dump(settings))
        except OSError as error:
            raise errors.UserError(
                f"cannot write --workdir={folder}: {error.strerror}"
            ) from None
    return resumed


def _refuse_changes(written: Path, settings: config.PretrainConfig) -> None:
    before = config.load(config.PretrainConfig, str(written))
    changed = [
        f"{name} was {old!r}, now {new!r}"
        for name, (old, new) in config.differences(before, settings).items()
        if not name.startswith(MAY_CHANGE)
    ]
    if changed:
        raise errors.UserError(
            f"cannot resume {written.parent} with other settings: {'; '.join(changed)}; "
            "put them back, or start in a new --workdir (train.init_from takes over weights)"
        )


def _refuse_other_facts(file: Path, facts: dict[str, Any]) -> None:
    before = read_run(str(file.parent)).get("facts", {})
    for name, value in facts.items():
        if name in before and before[name] != value:
            raise errors.UserError(
                f"cannot resume {file.parent}: its {name} is {before[name]}, that of the "
                f"data now is {value}; use the data it was started with"
            )


def _refuse_foreign(path: Path) -> None:
    try:
        found = sorted(p.name for p in path.iterdir())
    except FileNotFoundError:
        return
    except OSError as error:
        raise errors.UserError(f"--workdir={path}: {error.strerror}") from None
    # What a run leaves that was stopped between making the folder and its first file.
    if set(found) - {"run.json", "run.json.tmp", "config.yaml.tmp"}:
        raise errors.UserError(
            f"--workdir={path} holds something else than a run ({found[0]} ...); "
            "name a new or empty folder"
        )


def read_run(folder: str) -> dict[str, Any]:
    """Reads run.json; empty if there is none."""
    file = Path(folder) / "run.json"
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise errors.UserError(f"cannot read {file}: {error}") from None
    return value if isinstance(value, dict) else {}


def _record(
    file: Path,
    settings: config.PretrainConfig,
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
    before = read_run(str(file.parent))
    run = {
        **session,
        "seed": settings.train.seed,
        "facts": facts,
        **before,
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
