"""A study becomes a plot: the average of the tasks by run, and over work.

In:   what the runs came to.
Out:  SVG, on a white ground; empty if no run has all tasks.
"""

import statistics
from collections.abc import Sequence
from html import escape

import study_plan
from study_results import Result

from electra_tf.reports import report_page

COLOURS = (
    "#1f77b4", "#d62728", "#2ca02c", "#9467bd",
    "#ff7f0e", "#17becf", "#8c564b", "#e377c2",
)  # fmt: skip
NAMES, WIDTH, GAP, EDGE, ROW = 130, 330, 60, 24, 24
LEAST_HEIGHT = 190


def draw(study: study_plan.Study, results: Sequence[Result]) -> str:
    """Draws both panels."""
    tasks = list(study.settings.tasks)
    ends = {one.name: list(one.averages(tasks).values()) for one in results}
    if not any(ends.values()):
        return ""
    height = max(LEAST_HEIGHT, EDGE * 2 + ROW * len(results))
    lines = _paths(study, results, tasks)
    drawn = [
        *_by_run(study, ends, height),
        f'<g transform="translate({NAMES + WIDTH + GAP} 0)">',
        *_over_work(lines, list(ends), height),
        "</g>",
    ]
    total = NAMES + 2 * WIDTH + GAP + EDGE
    size = f'viewBox="0 0 {total} {height}" width="{total}" height="{height}"'
    style = 'font-family="sans-serif" font-size="11" class="plot"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} {style}>'
    ground = '<rect width="100%" height="100%" fill="white"/>'
    return "\n".join([head, ground, *drawn, "</svg>"]) + "\n"


def _by_run(
    study: study_plan.Study, ends: dict[str, list[float]], height: int
) -> list[str]:
    """Draws a row a run: a dot a seed, the mean, a line at the baseline's mean."""
    values = [value for seeds in ends.values() for value in seeds]
    low, high = _bounds(values)

    def x(value: float) -> float:
        return NAMES + WIDTH * (value - low) / (high - low)

    drawn = [_title(NAMES, "average of the tasks, points: seeds and their mean")]
    for tick in report_page.ticks(low, high):
        drawn.append(_text(x(tick), height - 6, f"{tick:g}", "middle"))
        drawn.append(_rule(f"M{x(tick):.1f} {EDGE}V{height - EDGE}"))
    if base := ends.get(study.settings.baseline):
        at = x(statistics.fmean(base))
        drawn.append(
            f'<path d="M{at:.1f} {EDGE}V{height - EDGE}" stroke="#555" '
            'stroke-dasharray="4 3"/>'
        )
    for index, (name, seeds) in enumerate(ends.items()):
        y, colour = EDGE + ROW * (index + 0.5), COLOURS[index % len(COLOURS)]
        drawn.append(_text(NAMES - 10, y + 4, name, "end"))
        drawn += [
            f'<circle cx="{x(v):.1f}" cy="{y:.1f}" r="3" fill="{colour}" '
            'fill-opacity="0.5"/>'
            for v in seeds
        ]
        if seeds:
            at = x(statistics.fmean(seeds))
            mark = f"M{at:.1f} {y - 8:.1f}v16"
            drawn.append(f'<path d="{mark}" stroke="{colour}" stroke-width="2.5"/>')
    return drawn


def _paths(
    study: study_plan.Study, results: Sequence[Result], tasks: Sequence[str]
) -> dict[str, list[tuple[float, float]]]:
    """Returns (work, average) by run, where all tasks were tried."""
    found: dict[str, list[tuple[float, float]]] = {}
    for one in results:
        means = {share: dict(values) for share, values in one.on_the_way.items()}
        means[1.0] = {t: statistics.fmean(s.values()) for t, s in one.scores.items()}
        points = []
        for share in sorted(means):
            work = study.work_at(one.name, share)
            if work and all(task in means[share] for task in tasks):
                points.append((work, statistics.fmean(means[share].values())))
        found[one.name] = points
    return found


def _over_work(
    lines: dict[str, list[tuple[float, float]]], names: Sequence[str], height: int
) -> list[str]:
    """Draws the averages over work, all runs from left to right."""
    points = [point for line in lines.values() for point in line]
    if not points:
        return []
    low, high = _bounds([value for _, value in points])
    most = max(work for work, _ in points)

    def place(point: tuple[float, float]) -> tuple[float, float]:
        up = (point[1] - low) / (high - low)
        return WIDTH * point[0] / most, height - EDGE - (height - 2 * EDGE) * up

    drawn = [_title(0, f"the same over work, 0 to {most / 1e15:.3g} PFLOP")]
    for tick in report_page.ticks(low, high):
        y = place((0.0, tick))[1]
        drawn.append(_rule(f"M0 {y:.1f}H{WIDTH}"))
        drawn.append(_text(-6, y + 4, f"{tick:g}", "end"))
    for index, name in enumerate(names):
        places = [place(point) for point in lines[name]]
        colour = COLOURS[index % len(COLOURS)]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        drawn.append(f'<polyline points="{path}" fill="none" stroke="{colour}"/>')
        drawn += [
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>'
            for x, y in places
        ]
    return drawn


def _bounds(values: Sequence[float]) -> tuple[float, float]:
    room = (max(values) - min(values)) * 0.1 or 1.0
    return min(values) - room, max(values) + room


def _title(x: float, text: str) -> str:
    return f'<text x="{x}" y="14" font-weight="bold">{escape(text)}</text>'


def _text(x: float, y: float, text: str, anchor: str) -> str:
    where = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"'
    return f"<text {where}>{escape(text)}</text>"


def _rule(path: str) -> str:
    return f'<path d="{path}" stroke="#ddd"/>'
