"""Renders runs as one self-contained HTML page: no other file, no network, no library.

In:   workdirs: metrics.jsonl and, if there, run.json, config.yaml, samples.json.
Out:  report.html: what ran, what differs between the runs and what came of it, curves
      of all overlaid, held-out rows with what was filled in and the verdicts, settings.

A run says itself how its values and rows are told (run.json, samples.json): nothing
here knows an objective, and no code of the run is loaded.

Runs that differ by their seed alone are one row, with mean and standard deviation, and
one curve within a band of it.

Everything from a file is escaped: a token may well be `<script>`.
"""

import dataclasses
import datetime
import glob
import html
import json
import math
import os
import statistics
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml

import electra_tf
from electra_tf import config, errors
from electra_tf.objectives import objective
from electra_tf.reports import progress, sample_rows
from electra_tf.system import console, durable

SPLITS = ("train", "validation")
METRICS = "metrics.jsonl"
SEED = "train.seed"
MAX_POINTS = 500
NUM_COLOURS = 8

# A curve's drawing area, in the units of its viewBox.
WIDTH, HEIGHT = 440, 230
# A label is up to 7 characters of 7 units: right of LEFT's, around RIGHT's tick.
LEFT, RIGHT, TOP, BOTTOM = 58, 414, 10, 204

Point = tuple[int, float]


@dataclasses.dataclass(frozen=True)
class Run:
    """What one workdir tells."""

    name: str
    records: list[dict[str, Any]]
    info: dict[str, Any]  # run.json
    settings: dict[str, Any]  # {"train.steps": 2400, ...}
    samples: sample_rows.Samples | None
    notes: list[str]  # What was missing or broken.
    # How its values are shown, in their order.
    shown: Mapping[str, objective.Shown] = dataclasses.field(default_factory=dict)

    def points(self, name: str, split: str) -> list[Point]:
        """Returns the finite values of one curve, by step."""
        return [
            (record["step"], value)
            for record in self.records
            if record.get("split", "train") == split
            and (value := _finite(record.get(name))) is not None
        ]


class Group(NamedTuple):
    """Runs that differ by their seed alone; most often one."""

    runs: list[Run]

    @property
    def name(self) -> str:
        """Returns the name of its run, or of the first with all seeds."""
        if len(self.runs) == 1:
            return self.runs[0].name
        seeds = ", ".join(str(run.settings[SEED]) for run in self.runs)
        return f"{self.runs[0].name} (seeds {seeds})"

    def points(self, name: str, split: str) -> list[tuple[int, list[float]]]:
        """Returns the values of all its runs at the steps that all of them have."""
        curves = [dict(run.points(name, split)) for run in self.runs]
        return [
            (step, [curve[step] for curve in curves])
            for step in curves[0]
            if all(step in curve for curve in curves)
        ]


def group(runs: Sequence[Run]) -> list[Group]:
    """Puts together the runs of one kind, in the order of the first of each.

    They have all settings but the seed in common, and the data.
    """
    groups: dict[Any, Group] = {}
    for index, run in enumerate(runs):
        same = {name: value for name, value in run.settings.items() if name != SEED}
        key: Any = index  # Of a run whose settings are not known: none is like it.
        if SEED in run.settings:
            key = json.dumps([same, run.info.get("facts")], sort_keys=True, default=str)
        groups.setdefault(key, Group([])).runs.append(run)
    return list(groups.values())


def find_workdirs(
    names: Sequence[str], say: Callable[[str], None] = print
) -> list[str]:
    """Returns the folders that names stand for: themselves, lists, patterns.

    Args:
        names: a folder each; or several, apart by commas; or patterns such as "runs/*",
            of which those count that hold a run.
        say: is told which folders of a pattern do not.

    Raises:
        UserError: a pattern matches no run.
    """
    found: list[str] = []
    for name in names:
        parts = [name] if os.path.isdir(name) else filter(None, name.split(","))
        for part in parts:
            if os.path.isdir(part) or not glob.has_magic(part):
                found.append(part)
                continue
            folders = sorted(filter(os.path.isdir, glob.glob(part)))
            there = [f for f in folders if os.path.exists(os.path.join(f, METRICS))]
            if not there:
                raise errors.UserError(
                    f"--workdir={part}: no folder of this pattern holds {METRICS}"
                )
            if others := sorted({*folders} - {*there}):
                say(f"note: left out, for want of {METRICS}: {', '.join(others)}")
            found += there
    return found


def write_report(workdirs: Sequence[str], output: str) -> None:
    """Renders the runs of `workdirs` into the file `output`.

    Raises:
        UserError: if a workdir has no metrics, or `output` cannot be written.
    """
    folders = list(dict.fromkeys(os.path.normpath(workdir) for workdir in workdirs))
    names = [os.path.basename(os.path.abspath(folder)) for folder in folders]
    runs = [
        read_run(folder, name if names.count(name) == 1 else folder)
        for folder, name in zip(folders, names, strict=True)
    ]
    durable.write_text(output, render(runs))


def read_run(workdir: str, name: str) -> Run:
    """Reads what a workdir tells; metrics it must have, the rest it may.

    Raises:
        UserError: if it has no metrics.
    """
    metrics_file = os.path.join(workdir, METRICS)
    if not os.path.isfile(metrics_file):
        raise errors.UserError(
            f"no {metrics_file}: name the workdir of a run that has logged something"
        )
    records, num_broken = progress.read_metrics(metrics_file)
    if not records:
        raise errors.UserError(
            f"{metrics_file} holds no records yet: wait for the first, or leave it out"
        )
    lost = progress.lost_records(records, num_broken)
    notes = [f"{METRICS}: {remark}" for remark in lost]
    info = _read_mapping(os.path.join(workdir, "run.json"), json.loads, notes)
    # The first session stands above as the run's own; of the others, when.
    shown = _read_shown(info.pop("values", None), records)
    resumed = [session.get("date", "?") for session in info.pop("sessions", [])[1:]]
    if resumed:
        info["resumed"] = ", ".join(resumed)
    settings = _read_mapping(
        os.path.join(workdir, "config.yaml"), yaml.safe_load, notes
    )
    samples = None
    try:
        samples = sample_rows.read(os.path.join(workdir, "samples.json"))
    except errors.UserError as error:
        notes.append(f"no held-out rows: {error}")
    last = datetime.datetime.fromtimestamp(
        os.path.getmtime(metrics_file), datetime.UTC
    ).strftime("%Y-%m-%d %H:%M UTC")
    facts = {
        "workdir": workdir,
        "steps": f"{max(record['step'] for record in records):,}",
        "time": _duration(records[-1].get("seconds")),
        "last record": last,
    }
    return Run(name, records, facts | info, flatten(settings), samples, notes, shown)


def _read_shown(
    values: object, records: Sequence[Mapping[str, Any]]
) -> dict[str, objective.Shown]:
    """Returns how values are shown; those of which the run says nothing, by name.

    Of a run that says nothing of any, such as one of an earlier version, all are
    compared.
    """
    said = values if isinstance(values, dict) else {}
    shown = {
        str(name): objective.Shown(
            str(one.get("title", name)), is_compared=bool(one.get("is_compared"))
        )
        for name, one in said.items()
        if isinstance(one, dict)
    }
    names = dict.fromkeys(name for record in records for name in record)
    others = [
        name for name in names if name not in (*shown, "step", "split", "seconds")
    ]
    return shown | {n: objective.Shown(n, is_compared=not shown) for n in others}


def _all_shown(runs: Sequence[Run]) -> dict[str, objective.Shown]:
    """Returns how the values of all runs are shown, as the first says that does."""
    found: dict[str, objective.Shown] = {}
    for run in runs:
        for name, one in run.shown.items():
            if name not in found or found[name].title == name:
                found[name] = one
    return found


def render(runs: Sequence[Run]) -> str:
    """Returns the page as HTML."""
    title = " and ".join(run.name for run in runs)
    return page(
        title,
        [
            _facts(runs),
            _comparison(runs),
            _last_metrics(runs),
            curves(runs, {n: one.title for n, one in _all_shown(runs).items()}),
            _held_out_rows(runs),
            settings(runs, config.PretrainConfig()),
        ],
    )


def page(title: str, sections: Iterable[str], style: str = "") -> str:
    """Returns a whole page; empty sections are left out.

    Args:
        title: plain text.
        sections: HTML.
        style: CSS beside that of all reports.
    """
    body = "\n".join(filter(None, sections))
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f"<title>{escape(title)}</title>\n"
        f"<style>\n{_STYLE}{style}</style>\n</head>\n<body>\n"
        f"<main>\n<h1>{escape(title)}</h1>\n{body}\n"
        f"<footer>electra_tf {electra_tf.__version__}</footer>\n</main>\n"
        f'<div id="tip" role="status" hidden></div>\n<script>\n{_SCRIPT}</script>\n'
        "</body>\n</html>\n"
    )


def thin(points: Sequence[Point], limit: int = MAX_POINTS) -> list[Point]:
    """Thins to at most `limit` points: of each stretch the lowest and the highest.

    So a spike survives, however long the run.
    """
    if len(points) <= limit:
        return list(points)
    inner = points[1:-1]
    size = math.ceil(len(inner) / ((limit - 2) // 2))
    kept = [points[0]]
    for start in range(0, len(inner), size):
        stretch = inner[start : start + size]
        ends = {min(stretch, key=_value), max(stretch, key=_value)}
        kept += sorted(ends)
    return [*kept, points[-1]]


def _facts(runs: Sequence[Run]) -> str:
    names = dict.fromkeys(name for run in runs for name in run.info)
    rows = [
        [name, *(_text(run.info.get(name, ""), name) for run in runs)] for name in names
    ]
    notes = "".join(
        f'<p class="note">{escape(f"{run.name}: {note}")}</p>'
        for run in runs
        for note in run.notes
    )
    return section("Runs", _table(runs, rows) + notes)


def _last_metrics(runs: Sequence[Run]) -> str:
    rows = []
    for name in _all_shown(runs):
        last = [run.points(name, split)[-1:] for run in runs for split in SPLITS]
        if any(last):
            rows.append([name, *(_number(end[0][1]) if end else "" for end in last)])
    table = _table(runs, rows, columns=SPLITS, numeric=True)
    return section("Last metrics", table)


def _comparison(runs: Sequence[Run]) -> str:
    """Lists runs, one kind per row: the settings that differ, and what came of them."""
    if len(runs) == 1:
        return ""
    groups = group(runs)
    firsts = [one.runs[0].settings for one in groups]
    different = [
        name
        for name in dict.fromkeys(name for values in firsts for name in values)
        if name != SEED and len({_text(s.get(name, "")) for s in firsts}) > 1
    ]
    compared = [name for name, one in _all_shown(runs).items() if one.is_compared]
    ends = [(name, split) for name in compared for split in SPLITS]
    ends = [end for end in ends if any(one.points(*end) for one in groups)]
    heads = [*different, "step", *(f"{name}, {split}" for name, split in ends)]
    rows = []
    for index, one in enumerate(groups):
        steps = {step for end in ends for step, _ in one.points(*end)[-1:]}
        cells = [_text(one.runs[0].settings.get(name, "")) for name in different]
        cells += [f"{max(steps, default=0):,}", *(_last(one, *end) for end in ends)]
        label = f"<th>{_swatch(index)}{escape(one.name)}</th>"
        rows.append(label + "".join(f"<td>{escape(cell)}</td>" for cell in cells))
    head = "".join(f"<th>{escape(cell)}</th>" for cell in ["", *heads])
    note = (
        '<p class="count">Settings that differ between the runs, and the last values; '
        "of several seeds, mean and standard deviation.</p>"
    )
    return section("Comparison", note + _frame(head, rows, "numeric"))


def _last(one: Group, name: str, split: str) -> str:
    """Shows the last values of a group: one, or their mean and deviation."""
    end = one.points(name, split)[-1:]
    if not end:
        return ""
    values = end[0][1]
    mean = _number(statistics.fmean(values))
    if len(values) == 1:
        return mean
    return f"{mean} \u00b1 {statistics.stdev(values):.2g}"


def curves(runs: Sequence[Run], titles: Mapping[str, str]) -> str:
    """Draws the values that have a title, a chart each, all runs overlaid."""
    groups = group(runs)
    legend = "".join(
        f"<li>{_swatch(index)}{escape(one.name)}" for index, one in enumerate(groups)
    )
    key = (
        '<li><svg class="key" viewBox="0 0 30 8"><path d="M0 4H30"/></svg>train'
        '<li><svg class="key validation" viewBox="0 0 30 8"><path d="M0 4H30"/>'
        '<circle cx="15" cy="4" r="3"/></svg>validation'
    )
    charts = "\n".join(_chart(name, title, groups) for name, title in titles.items())
    legend = f'<ul class="legend">{legend}{key}</ul>'
    return section("Curves", f'{legend}\n<div class="grid">{charts}</div>')


class _Series(NamedTuple):
    """A value of one run, or of several of a kind, in one split."""

    label: str
    colour: int
    split: str
    points: list[Point]
    deviations: list[float]  # of each point; none of a single run


class _Frame(NamedTuple):
    """Where a step and a value lie in a drawing."""

    last_step: int
    low: float
    high: float

    def x(self, step: float) -> float:
        return LEFT + (RIGHT - LEFT) * step / self.last_step

    def y(self, value: float) -> float:
        return BOTTOM - (BOTTOM - TOP) * (value - self.low) / (self.high - self.low)


def _series(name: str, groups: Sequence[Group]) -> Iterator[_Series]:
    for index, one in enumerate(groups):
        for split in SPLITS:
            colour = index % NUM_COLOURS
            several = dict(one.points(name, split))
            if len(one.runs) > 1 and several:
                means = [(at, statistics.fmean(found)) for at, found in several.items()]
                points = thin(means)
                apart = [statistics.stdev(several[at]) for at, _ in points]
                yield _Series(f"{one.name}, {split}", colour, split, points, apart)
                continue
            for run in one.runs:
                if points := run.points(name, split):
                    label = f"{run.name}, {split}"
                    yield _Series(label, colour, split, thin(points), [])


def _chart(name: str, title: str, groups: Sequence[Group]) -> str:
    """Draws one value of all runs over the steps; empty if no run has it."""
    series = list(_series(name, groups))
    if not series:
        return ""
    values = [edge for line in series for edge in _edges(line)]
    last_step = max(1, *(line.points[-1][0] for line in series))
    frame = _Frame(last_step, *_padded(min(values), max(values)))
    lines = "".join(_line(line, frame) for line in series)
    ends = "; ".join(f"{line.label} {_number(line.points[-1][1])}" for line in series)
    data = {
        "frame": [LEFT, RIGHT, WIDTH, last_step],
        "series": [[line.label, line.colour, _rounded(line.points)] for line in series],
    }
    return (
        f'<figure class="chart" data-curves="{escape(_compact(data))}">'
        f"<figcaption>{escape(title)}</figcaption>"
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="{escape(f"{title} over steps. Last: {ends}")}">'
        f'{_axes(frame)}{lines}<path class="cursor" d="M0 {TOP}V{BOTTOM}" hidden=""/>'
        "</svg></figure>"
    )


def _edges(series: _Series) -> list[float]:
    """Returns all values that a drawing has room for."""
    return [
        value + side * apart
        for (_, value), apart in zip(
            series.points, series.deviations or [0.0] * len(series.points), strict=True
        )
        for side in (-1, 1)
    ]


def _axes(frame: _Frame) -> str:
    marks = []
    for tick in ticks(frame.low, frame.high):
        y = frame.y(tick)
        marks.append(f'<path class="rule" d="M{LEFT} {y:.1f}H{RIGHT}"/>')
        label = _short(tick)
        marks.append(f'<text class="y" x="{LEFT - 6}" y="{y + 4:.1f}">{label}</text>')
    for tick in ticks(0, frame.last_step):
        x, label = frame.x(tick), _short(tick)
        marks.append(f'<text class="x" x="{x:.1f}" y="{BOTTOM + 18}">{label}</text>')
    return "".join(marks)


def _line(series: _Series, frame: _Frame) -> str:
    places = [
        (f"{frame.x(step):.1f}", f"{frame.y(v):.1f}") for step, v in series.points
    ]
    path = "L".join(" ".join(place) for place in places)
    has_dots = len(places) == 1 or (series.split == "validation" and len(places) <= 60)
    dots = "".join(
        f'<circle cx="{x}" cy="{y}" r="2.5"/>' for x, y in places if has_dots
    )
    kind = f"{series.split} c{series.colour}"
    return f'<g class="{kind}">{_band(series, frame)}<path d="M{path}"/>{dots}</g>'


def _band(series: _Series, frame: _Frame) -> str:
    """Draws a mean's standard deviation to both sides, where there is one."""
    if not series.deviations:
        return ""
    edges = list(zip(series.points, series.deviations, strict=True))
    upper = [(step, value + apart) for (step, value), apart in edges]
    lower = [(step, value - apart) for (step, value), apart in reversed(edges)]
    places = " ".join(f"{frame.x(s):.1f},{frame.y(v):.1f}" for s, v in upper + lower)
    return f'<polygon class="band" points="{places}"/>'


def _held_out_rows(runs: Sequence[Run]) -> str:
    blocks: list[str] = []
    for index, run in enumerate(runs):
        if run.samples is None or not run.samples.rows:
            continue
        rows = "\n".join(
            _row(number, row, run.samples)
            for number, row in enumerate(run.samples.rows, start=1)
        )
        plain = escape("\n".join(sample_rows.lines(run.samples)))
        summary = f"{_swatch(index)}{escape(run.name)}, step {run.samples.step:,}"
        blocks.append(
            f"<details{'' if blocks else ' open'}><summary>{summary}</summary>\n"
            f"{_key(run.samples)}{rows}"
            '\n<details><summary>The same as plain text</summary><pre dir="auto">'
            f"{plain}</pre></details></details>"
        )
    if not blocks:
        return ""
    return section("Held-out rows", "\n".join(blocks))


def _key(samples: sample_rows.Samples) -> str:
    """Explains the marks of held-out rows."""
    filled, judge = escape(samples.filled_by), escape(samples.judged_by)
    ramp = ""
    if judge:
        ramp = _RAMP.format(judge=judge, judged=escape(samples.judged))
    return _SAMPLES_KEY.format(filled=filled, ramp=ramp)


def _row(number: int, row: sample_rows.Row, told: sample_rows.Samples) -> str:
    text = "".join(
        ("<br>" if span.gap == "\n" else span.gap) + _token(span, told)
        for span in sample_rows.spans(row)
    )
    return (
        f'<div class="row"><p class="count">Row {number}: {_count(row, told)}</p>'
        f'<p class="text" dir="auto">{text}</p></div>'
    )


def _count(row: sample_rows.Row, told: sample_rows.Samples) -> str:
    """Says how often those who fill in and who judge were right."""
    replaced = {item.position for item in row.hidden if item.is_replaced}
    lucky = len(row.hidden) - len(replaced)
    text = (
        f"{len(row.hidden)} hidden, {lucky} of them guessed right by "
        f"{escape(told.filled_by)}"
    )
    if row.probability is None:
        return text
    flagged = {position for position, p in enumerate(row.probability) if p > 0.5}
    return (
        f"{text}; {escape(told.judged_by)} flags "
        f"{len(flagged & replaced)} of {len(replaced)} "
        f"replaced and {len(flagged - replaced)} of "
        f"{len(row.tokens) - len(replaced)} other tokens"
    )


def _token(span: sample_rows.Span, told_by: sample_rows.Samples) -> str:
    text = escape(span.token[2:] if sample_rows.is_piece(span.token) else span.token)
    kind, told = "t", [span.token]
    if span.hidden and span.hidden.is_replaced:
        was, put = span.hidden.original, span.hidden.sampled
        kind, told = "t hid", [f"was {was}", f"{told_by.filled_by} put {put}"]
        text = f"<del>{escape(was)}</del> <ins>{escape(put)}</ins>"
    elif span.hidden:
        kind, told = (
            "t hid lucky",
            [f"was {span.token}", f"guessed right by {told_by.filled_by}"],
        )
        text += "&#8239;&#10003;"
    elif span.token in ("[CLS]", "[SEP]"):
        kind = "s"
    style = ""
    if span.probability is not None:
        style = f' style="--p:{span.probability:.3f}"'
        told.append(f"p({told_by.judged}) {span.probability:.3f}")
    tip = escape("; ".join(told))
    # What is no running text must not decide whether the row runs right to left.
    tag = "span" if kind == "t" else "bdi"
    return f'<{tag} class="{kind}"{style} title="{tip}">{text}</{tag}>'


def settings(runs: Sequence[Run], usual: config.Settings) -> str:
    """Lists the settings of runs, and first those that are not the usual ones."""
    if not any(run.settings for run in runs):
        return ""
    defaults = flatten(usual.model_dump())
    everything, different = [], []
    for name in dict.fromkeys(name for run in runs for name in run.settings):
        values = [
            _text(run.settings[name]) if name in run.settings else "" for run in runs
        ]
        default = _text(defaults[name]) if name in defaults else ""
        everything.append([name, default, *values])
        if any(value != default for value in values):
            different.append([name, default, *values])
    return section(
        "Settings that differ from the defaults",
        (_table(runs, different, before="default") if different else "<p>None.</p>")
        + "<details><summary>All settings</summary>"
        + _table(runs, everything, before="default")
        + "</details>",
    )


def section(title: str, body: str) -> str:
    """Returns a part of the page; title and body are HTML."""
    return f"<section>\n<h2>{title}</h2>\n{body}\n</section>"


def _table(
    runs: Sequence[Run],
    rows: Iterable[Sequence[str]],
    *,
    before: str | None = None,
    columns: Sequence[str] = (),
    numeric: bool = False,
) -> str:
    """Renders a table with one column per run, or `columns` of each.

    Args:
        runs: they head the columns.
        rows: a label and plain texts.
        before: head of a column between the labels and the runs.
        columns: heads below each run's.
        numeric: aligns the texts to the right.
    """
    span = f' colspan="{len(columns)}"' if columns else ""
    head = "<th></th>" + (f"<th>{escape(before)}</th>" if before else "")
    colours = {
        id(run): index for index, one in enumerate(group(runs)) for run in one.runs
    }
    head += "".join(
        f"<th{span}>{_swatch(colours[id(run)])}{escape(run.name)}</th>" for run in runs
    )
    if columns:
        below = "".join(f"<th>{column}</th>" for column in columns) * len(runs)
        head += f"</tr><tr><th></th>{below}"
    cells = [
        f"<th>{escape(row[0])}</th>"
        + "".join(f"<td>{escape(cell)}</td>" for cell in row[1:])
        for row in rows
    ]
    return _frame(head, cells, "numeric" if numeric else "")


def _frame(head: str, rows: Iterable[str], kind: str) -> str:
    """Returns a table of HTML cells that scrolls where it is too wide."""
    body = "\n".join(f"<tr>{row}</tr>" for row in rows)
    attribute = f' class="{kind}"' if kind else ""
    return (
        f'<div class="wide" tabindex="0"><table{attribute}><thead><tr>{head}</tr>'
        f"</thead>\n<tbody>{body}</tbody></table></div>"
    )


def _swatch(index: int) -> str:
    return f'<i class="swatch c{index % NUM_COLOURS}"></i>'


def _value(point: Point) -> float:
    return point[1]


def _padded(low: float, high: float) -> tuple[float, float]:
    pad = (high - low) * 0.05 or abs(high) * 0.1 or 1.0
    return (0.0 if 0.0 <= low < pad else low - pad), high + pad


def ticks(low: float, high: float) -> list[float]:
    """Returns the few round numbers within the bounds."""
    size = 10.0 ** math.floor(math.log10(high - low))
    steps = (size * part for part in (0.2, 0.5, 1.0, 2.0))
    step = next(step for step in steps if (high - low) / step <= 6)
    first = math.ceil(low / step)
    return [index * step for index in range(first, math.floor(high / step + 1e-9) + 1)]


def _short(value: float) -> str:
    if abs(value) >= 1e6:
        return f"{value / 1e6:g}M"
    if abs(value) >= 1e4:
        return f"{value / 1e3:g}k"
    return f"{value:,.0f}" if abs(value) >= 1e3 else f"{value:.3g}"


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1e3 else f"{value:#.4g}"


def _duration(seconds: object) -> str:
    known = _finite(seconds)
    return "" if known is None else str(datetime.timedelta(seconds=round(known)))


def _finite(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) else None


def _rounded(points: Sequence[Point]) -> list[Point]:
    return [(step, float(f"{value:.5g}")) for step, value in points]


def _text(value: Any, name: str = "") -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_text(item)}" for key, item in value.items())
    if isinstance(value, list | tuple):
        return (" " if name == "command" else ", ").join(_text(item) for item in value)
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Returns {"train.steps": 5} for {"train": {"steps": 5}}."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = value
    return flat


def _read_mapping(
    path: str, parse: Callable[[str], Any], notes: list[str]
) -> dict[str, Any]:
    """Reads a file that holds names and values; notes if it cannot be read."""
    name = os.path.basename(path)
    try:
        values = parse(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        notes.append(f"no {name}: {error.strerror}")
        return {}
    except (yaml.YAMLError, ValueError):
        values = None
    if isinstance(values, dict):
        return values
    notes.append(f"{name} is broken and left out")
    return {}


def _compact(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))


def escape(text: str) -> str:
    """Returns plain text as HTML; what would turn the page around is spelt out."""
    return html.escape(console.harmless(text), quote=True)


_SAMPLES_KEY = """<p class="samples-key">
<span class="t hid"><del>was</del> <ins>put</ins></span> hidden, and what {filled} put
there; <span class="t hid lucky">was&#8239;&#10003;</span> hidden and guessed right.
{ramp}Point at a token, or tap it, for the numbers.</p>
"""
_RAMP = """Background: how probably the token is {judged}, says {judge},
<span class="ramp"><b style="--p:0">0</b><b style="--p:.25">.25</b><b
style="--p:.5">.5</b><b style="--p:.75">.75</b><b style="--p:1">1</b></span>.
"""

# Both go into the page, which is one file.
_HERE = Path(__file__)
_STYLE = _HERE.with_suffix(".css").read_text(encoding="utf-8")
_SCRIPT = _HERE.with_suffix(".js").read_text(encoding="utf-8")
