"""Times how long a run of pre-training takes from the command to its first step.

    python scripts/bench_startup.py --config=configs/small.yaml --records=data/reviews \
        [--against=<another checkout of this project>]

Starts the command as people do and stops it when it tells of step 1. "built" is when it
tells of its settings: all is imported and built. Two checkouts run in turn.
"""

import argparse
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import sides

ROOT = Path(__file__).resolve().parent.parent


class Start(NamedTuple):
    """Seconds from the command on."""

    built: float
    first_step: float
    core_seconds: float  # of all threads, to the first step


def main() -> None:
    """Prints one line per start, then medians and ratios."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--config", default=str(ROOT / "configs/small.yaml"))
    parser.add_argument("--records", required=True, help="folder that build_data wrote")
    parser.add_argument("--set", action="append", default=[])
    parser.add_argument("--against", type=Path, help="root of another checkout")
    parser.add_argument("--turns", type=int, default=3)
    arguments = parser.parse_args()
    roots = {"ours": ROOT}
    if arguments.against:
        roots["other"] = arguments.against
    starts: dict[str, list[Start]] = {name: [] for name in roots}
    for _ in range(arguments.turns):
        for name, root in roots.items():
            starts[name].append(start(root, arguments))
            shown = "  ".join(
                f"{field} {value:.1f}"
                for field, value in starts[name][-1]._asdict().items()
            )
            print(f"{name}: {shown}", flush=True)
    for name, found in starts.items():
        for field, values in zip(Start._fields, zip(*found, strict=True), strict=True):
            line = f"{name}: {field}, median {statistics.median(values):.1f} s"
            if name != "ours":
                ours = [getattr(each, field) for each in starts["ours"]]
                line += f", over ours {sides.ratios(values, ours)}"
            print(line)


def start(root: Path, arguments: argparse.Namespace) -> Start:
    """Starts the command once, and stops it at its first step."""
    settings = [f"data.records={os.path.abspath(arguments.records)}", *arguments.set]
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "electra_tf.pretrain"),
                f"--config={os.path.abspath(arguments.config)}",
                f"--workdir={folder}/run",
                *(f"--set={each}" for each in settings),
                "--set=run.log_every_steps=1",
            ],
            cwd=root,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert process.stdout
        built = 0.0
        for line in process.stdout:
            if line.startswith("parameters:"):
                built = time.perf_counter() - began
            if line.startswith("step 1/"):
                break
        else:
            sys.exit("the command ended before its first step; run it by hand")
        first_step = time.perf_counter() - began
        process.send_signal(signal.SIGKILL)
        _, _, used = os.wait4(process.pid, 0)
        process.stdout.close()
    return Start(built, first_step, used.ru_utime + used.ru_stime)


if __name__ == "__main__":
    main()
