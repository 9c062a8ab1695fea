"""Puts the losses of two runs side by side; exits 1 where they part.

    python scripts/compare_losses.py runs/before runs/after --tolerance=1e-4

Before a change of numerics is handed in: same numbers, or a decision with a curve
(CONTRIBUTING.md). Compares every field with "loss" in its name, at the steps and
splits that both runs logged.
"""

import argparse
import json
import math
import sys
from pathlib import Path

Losses = dict[tuple[str, int, str], float]  # (split, step, field) -> nats


def read_losses(workdir: Path) -> Losses:
    """Reads a run's losses; of a step logged twice (resumed), the last counts."""
    losses: Losses = {}
    file = workdir / "metrics.jsonl"
    for line in file.read_text(encoding="utf-8").splitlines():
        record = json.loads(line)
        for field, value in record.items():
            if "loss" in field:
                losses[record["split"], record["step"], field] = float(value)
    return losses


def compare(first: Losses, second: Losses, tolerance: float) -> int:
    """Prints one line per loss and returns how many part by more than `tolerance`."""
    num_apart = 0
    for split, step, field in sorted(first.keys() & second.keys()):
        a, b = first[split, step, field], second[split, step, field]
        is_apart = not math.isclose(a, b, rel_tol=tolerance)  # NaN is close to nothing.
        num_apart += is_apart
        flag = "  <- apart" if is_apart else ""
        print(f"{split:10} {step:8} {field:10} {a:12.6f} {b:12.6f} {b - a:9.1e}{flag}")
    return num_apart


def main() -> None:
    """Compares the two runs named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("first", type=Path, help="workdir")
    parser.add_argument("second", type=Path, help="workdir")
    parser.add_argument("--tolerance", type=float, default=1e-4, help="relative")
    arguments = parser.parse_args()

    try:
        first, second = read_losses(arguments.first), read_losses(arguments.second)
    except OSError as error:
        sys.exit(f"error: {error.filename}: {error.strerror}")
    num_shared = len(first.keys() & second.keys())
    if not num_shared:
        sys.exit("error: the two runs logged no loss at a step they share")
    num_apart = compare(first, second, arguments.tolerance)
    print(f"{num_apart} of {num_shared} losses part by over {arguments.tolerance:g}")
    sys.exit(1 if num_apart else 0)


if __name__ == "__main__":
    main()
