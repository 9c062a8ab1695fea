"""Measures how the cost of a training step grows with what it is given.

    python scripts/bench_growth.py [--config=configs/reviews_long.yaml] \
        [--set section.field=value] [--plot=docs/growth.svg]

One setting at a time is varied: row length (with as many positions a step), rows,
layers, width, vocabulary. For each value: positions a second, peak memory of the
process, and the share of the step that its matrix products take when computed alone
(`bench_step.py`, "products"): near 1, the arithmetic is the limit; far below, what
surrounds it, memory traffic and the start of operations. --plot draws the speeds.
"""

import argparse
import math
import statistics
import sys
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import bench_step
import sides

from electra_tf import config

ROOT = Path(__file__).resolve().parent.parent
WIDTH, HEIGHT, EDGE = 230, 190, 42  # of a panel


class Point(NamedTuple):
    """What a step came to."""

    value: int
    speed: float  # positions a second
    memory: float  # GiB
    share: float  # matrix products alone / step


def main() -> None:
    """Prints a table a setting; draws them all."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--config", default=str(ROOT / "configs/reviews_long.yaml"))
    parser.add_argument("--set", action="append", default=[])
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--steps", type=int, default=3, help="in a turn")
    parser.add_argument("--plot", help="SVG file to write")
    arguments = parser.parse_args()
    rows = 32
    stated = [f"train.batch_size={rows}", "model.vocab_size=8192", *arguments.set]
    panels: dict[str, list[Point]] = {}
    for name, changes in variations(rows).items():
        print(
            f"\n| {name} | positions/s | GiB | matrix products |\n|---:|---:|---:|---:|"
        )
        panels[name] = []
        for value, change in changes.items():
            settings = config.load(
                config.PretrainConfig, arguments.config, [*stated, *change]
            )
            point = measure(value, settings, arguments.turns, arguments.steps)
            panels[name].append(point)
            print(
                f"| {value:,} | {point.speed:,.0f} | {point.memory:.2f} | "
                f"{point.share:.0%} |",
                flush=True,
            )
    if arguments.plot:
        Path(arguments.plot).write_text(draw(panels), encoding="utf-8")


def variations(rows: int) -> dict[str, dict[int, list[str]]]:
    """Returns, for each setting that is varied, what sets each of its values."""
    lengths = (64, 128, 256, 512)
    return {
        "row length": {
            n: [
                f"data.row_tokens={n}",
                f"data.example_tokens={n}",
                f"train.batch_size={rows * 128 // n}",
            ]
            for n in lengths
        },
        "rows": {n: [f"train.batch_size={n}"] for n in (4, 8, 16, 32, 64)},
        "layers": {n: [f"model.num_layers={n}"] for n in (2, 4, 8, 16)},
        "width": {
            n: [
                f"model.hidden_size={n}",
                f"model.num_heads={n // 64}",
                f"model.intermediate_size={4 * n}",
            ]
            for n in (64, 128, 256, 512)
        },
        "vocabulary": {
            n: [f"model.vocab_size={n}"] for n in (2048, 8192, 32_768, 131_072)
        },
    }


def measure(
    value: int, settings: config.PretrainConfig, turns: int, steps: int
) -> Point:
    """Runs our step and its matrix products in turn."""
    shape: dict[str, Any] = bench_step.shape_of(settings) | {"root": str(ROOT)}
    asked = {
        name: sides.Side(sys.executable, bench_step.__file__, name, shape)
        for name in ("ours", "products")
    }
    seconds: dict[str, list[float]] = {name: [] for name in asked}
    for _ in range(turns):
        for name, side in asked.items():
            seconds[name].append(side.ask(steps) / steps)
    step, products = (statistics.median(times) for times in seconds.values())
    positions = shape["rows"] * shape["length"]
    memory = asked["ours"].ask("memory")
    for side in asked.values():
        side.close()
    return Point(value, positions / step, memory, products / step)


def draw(panels: dict[str, list[Point]]) -> str:
    """Draws the speeds, both axes logarithmic, all panels to one scale of speed."""
    speeds = [point.speed for points in panels.values() for point in points]
    low, high = math.log(min(speeds) / 1.3), math.log(max(speeds) * 1.3)
    drawn = []
    for number, (name, points) in enumerate(panels.items()):
        first, last = (math.log(points[index].value) for index in (0, -1))

        def place(
            point: Point, first: float = first, last: float = last
        ) -> list[float]:
            across = (math.log(point.value) - first) / (last - first)
            up = (math.log(point.speed) - low) / (high - low)
            room = WIDTH - EDGE - 20
            return [EDGE + across * room, HEIGHT - EDGE - up * (HEIGHT - EDGE - 24)]

        places = [place(point) for point in points]
        line = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        drawn.append(f'<g transform="translate({number * WIDTH} 0)">')
        drawn.append(f'<text x="{WIDTH / 2}" y="14" font-weight="bold">{name}</text>')
        drawn.append(f'<polyline points="{line}" fill="none" stroke="#1f77b4"/>')
        for point, (x, y) in zip(points, places, strict=True):
            drawn.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="#1f77b4"/>')
            drawn.append(
                f'<text x="{x:.1f}" y="{y - 8:.1f}">{short(point.speed)}</text>'
            )
            under = f'<text x="{x:.1f}" y="{HEIGHT - 14}">{short(point.value)}</text>'
            drawn.append(under)
        drawn.append("</g>")
    size = f'width="{WIDTH * len(panels)}" height="{HEIGHT}"'
    style = 'font-family="sans-serif" font-size="11" text-anchor="middle"'
    ground = '<rect width="100%" height="100%" fill="white"/>'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} {style}>'
    return "\n".join([head, ground, *drawn, "</svg>"]) + "\n"


def short(value: float) -> str:
    """Writes 131072 as 131k."""
    return f"{value:.0f}" if value < 1000 else f"{value / 1000:.3g}k"


if __name__ == "__main__":
    main()
