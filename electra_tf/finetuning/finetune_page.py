"""Renders a fine-tuning run as one self-contained HTML page.

In:   a workdir: metrics.json, trials, predictions, run.json, config.yaml.
Out:  report.html: what the trials came to, their curves, confusion matrices, the
      hardest mistakes, settings.

Everything from a file is escaped: a text may well be `<script>`.
"""

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import yaml

from electra_tf.datasets import metrics
from electra_tf.finetuning import task_config, trials
from electra_tf.kinds import registry
from electra_tf.kinds.kind import Row
from electra_tf.reports import report_page
from electra_tf.reports.report_page import escape, section
from electra_tf.system import durable, reading
from electra_tf.training import workdir

# Beyond this many classes a matrix is no picture any more.
MAX_CLASSES = 40

# Characters of a text that a mistake shows.
MAX_CHARACTERS = 1200

# The side of a matrix' cell, and the width of a label's letter, in pixels.
CELL, LETTER = 46, 7


def write_report(folder: str, output: str, num_mistakes: int) -> None:
    """Renders a workdir into the file `output`.

    Raises:
        UserError: the workdir lacks something, or `output` cannot be written.
    """
    values = reading.read_json(os.path.join(folder, "metrics.json"))
    ended = trials.read(folder)
    name = os.path.basename(os.path.abspath(folder))
    sections = [
        _facts(folder, values),
        _summary(values),
        _failures(values),
        report_page.curves(_runs(folder, ended), _titles(ended)),
    ]
    for task, about in values["tasks"].items():
        where = [] if len(values["tasks"]) == 1 else [task]
        for split in about["splits"]:
            path = os.path.join(folder, "predictions", *where, f"{split}.jsonl")
            rows = _read_rows(path)
            if rows and "gold" in rows[0]:
                title = " ".join([*where, split])
                sections.append(_confusion(title, about, rows))
                sections.append(_tables(title, about, rows))
                sections.append(_mistakes(title, about, rows, num_mistakes))
    usual = task_config.FinetuneConfig()
    sections.append(report_page.settings([_settings_run(folder, name)], usual))
    durable.write_text(output, report_page.page(name, sections, _STYLE))


def _read_rows(path: str) -> list[Row]:
    """Reads the lines of a file; none of one that is not there."""
    if not os.path.exists(path):
        return []
    with open(path, encoding="utf-8") as file:
        return [json.loads(line) for line in file]


# Numbers.


def _facts(folder: str, values: Mapping[str, Any]) -> str:
    run = workdir.read_run(folder)
    rows = [["workdir", folder], ["preset", values["preset"]]]
    for task, about in values["tasks"].items():
        sizes = [f"{about['train_examples']:,} train"]
        sizes += [f"{count:,} {split}" for split, count in about["splits"].items()]
        rows.append([task, f"{about['kind'].replace('_', ' ')}: {', '.join(sizes)}"])
    seconds = sum(trial["seconds"] for trial in values["trials"])
    rows.append(["trials", f"{len(values['trials'])}, {seconds:,.0f} s"])
    rows += [
        [name, str(run[name])]
        for name in ("date", "command", "commit", "hardware")
        if name in run
    ]
    return section("Run", _table([], rows))


def _summary(values: Mapping[str, Any]) -> str:
    heads = ["median", f"best (trial {values['best_trial']})", "min", "max", "sd"]
    columns = ["median", "best", "min", "max", "standard_deviation"]
    several = len(values["tasks"]) > 1
    rows = []
    for task, splits in values["summary"].items():
        for split, scores in splits.items():
            for metric, found in scores.items():
                name = " ".join([task] * several + [split, metric])
                rows.append([name, *(f"{found[column]:.4f}" for column in columns)])
        guess = values["tasks"][task]
        name = " ".join([task] * several + ["dev", guess["metric"]])
        rows.append([f"{name}, always the same answer", f"{guess['guessing']:.4f}"])
    return section("Metrics", _table(["", *heads], rows, "numeric"))


def _failures(values: Mapping[str, Any]) -> str:
    items = [
        f"<li>Trial {one['trial']}, seed {one['seed']}: "
        f"{escape('; '.join(one['reasons']))}"
        for one in values["failed"]
    ]
    return section("Failed trials", f"<ul>{''.join(items)}</ul>") if items else ""


def _runs(folder: str, ended: Sequence[trials.Trial]) -> list[report_page.Run]:
    return [
        report_page.Run(
            f"trial {trial.number}, seed {trial.seed}", trial.records, {}, {}, None, []
        )
        for trial in ended
    ]


def _titles(ended: Sequence[trials.Trial]) -> dict[str, str]:
    """Returns titles of all curves: losses in training, metrics on dev."""
    found: dict[str, str] = {}
    for trial in ended:
        for record in trial.records:
            held_out = record["split"] != "train"
            for name in record.keys() - {"step", "split"}:
                found[name] = f"Dev {name}" if held_out else f"Training {name}"
    return dict(sorted(found.items(), key=lambda item: item[1], reverse=True))


def _settings_run(folder: str, name: str) -> report_page.Run:
    try:
        with open(os.path.join(folder, workdir.SETTINGS), encoding="utf-8") as file:
            values = yaml.safe_load(file)
    except (OSError, yaml.YAMLError):
        values = {}
    return report_page.Run(name, [], {}, report_page.flatten(values or {}), None, [])


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]], kind: str = "") -> str:
    head = "".join(f"<th>{escape(cell)}</th>" for cell in heads)
    body = "\n".join(
        f"<tr><th>{escape(row[0])}</th>"
        + "".join(f"<td>{escape(cell)}</td>" for cell in row[1:])
        + "</tr>"
        for row in rows
    )
    head = f"<thead><tr>{head}</tr></thead>\n" if heads else ""
    return (
        f'<div class="wide" tabindex="0"><table class="{kind}">{head}'
        f"<tbody>{body}</tbody></table></div>"
    )


# The confusion matrix.


def _confusion(title: str, about: Mapping[str, Any], rows: Sequence[Row]) -> str:
    """Draws how often each class was taken for which; empty where that says nothing."""
    confused = registry.KINDS[about["kind"]].confused(rows)
    if confused is None:
        return ""
    gold, found = confused
    labels = [label for label in about["labels"] if label in {*gold, *found}]
    if not 2 <= len(labels) <= MAX_CLASSES:
        return ""
    counts = metrics.confusion_matrix(gold, found, labels)
    note = (
        '<p class="note">Rows: what is right. Columns: what was predicted. Shade: '
        "share of the row.</p>"
    )
    return section(f"Confusion on {escape(title)}", note + draw_matrix(labels, counts))


def _tables(title: str, about: Mapping[str, Any], rows: Sequence[Row]) -> str:
    """Shows what else the kind of task has to show."""
    return "".join(
        section(
            f"{escape(table.title)} on {escape(title)}",
            _table(table.heads, table.rows, table.style),
        )
        for table in registry.KINDS[about["kind"]].page_tables(rows)
    )


def draw_matrix(labels: Sequence[str], counts: Any) -> str:
    """Returns SVG of a table of counts [C, C], shaded by their shares of the row."""
    shown = [label if len(label) <= 24 else f"{label[:22]}..." for label in labels]
    longest = max(map(len, shown))
    margin = LETTER * longest + 12
    size = margin + CELL * len(labels)
    marks = []
    for i, name in enumerate(shown):
        middle = margin + CELL * i + CELL / 2
        marks.append(
            f'<text class="y" x="{margin - 6}" y="{middle + 4:.0f}">'
            f"{escape(name)}</text>" + _column_head(name, middle, margin, longest > 5)
        )
        total = max(1, int(counts[i].sum()))
        for j, other in enumerate(labels):
            count = int(counts[i, j])
            share = count / total
            place = f'x="{margin + CELL * j}" y="{margin + CELL * i}"'
            tip = f"{labels[i]} taken for {other}: {count:,}, {share:.1%} of {total:,}"
            kind = "right" if i == j else "wrong"
            marks.append(
                f'<g class="{kind}"><title>{escape(tip)}</title><rect {place} '
                f'width="{CELL - 2}" height="{CELL - 2}" style="--p:{share:.3f}"/>'
                f'<text class="x" x="{margin + CELL * j + CELL / 2 - 1:.0f}" '
                f'y="{middle + 4:.0f}">{count if count else ""}</text></g>'
            )
    return (
        f'<div class="wide" tabindex="0"><svg class="matrix" width="{size}" '
        f'height="{size}" viewBox="0 0 {size} {size}" role="img" '
        f'aria-label="Confusion matrix of {len(labels)} classes">{"".join(marks)}'
        "</svg></div>"
    )


def _column_head(name: str, middle: float, margin: int, is_upright: bool) -> str:
    if is_upright:
        turned = f"translate({middle + 4:.0f} {margin - 6}) rotate(90)"
        return f'<text class="y" transform="{turned}">{escape(name)}</text>'
    return f'<text class="x" x="{middle:.0f}" y="{margin - 8}">{escape(name)}</text>'


# Mistakes.


def _mistakes(
    title: str, about: Mapping[str, Any], rows: Sequence[Row], limit: int
) -> str:
    """Shows the wrong answers that the model was surest of."""
    this = registry.KINDS[about["kind"]]
    found = []
    for row in rows:
        wrong = this.judge(row)
        if wrong:
            found.append((*wrong, row))
    found.sort(key=lambda one: -one[0])
    if not found or not limit:
        return ""
    items = "\n".join(
        _mistake(said, row, this.page_texts(row)) for _, said, row in found[:limit]
    )
    return section(
        f"Hardest mistakes on {escape(title)}",
        f'<p class="note">{len(found):,} of {len(rows):,} are wrong; the '
        f"{min(limit, len(found))} {this.hardest}.</p>{items}",
    )


def _mistake(said: str, row: Row, texts: Iterable[str]) -> str:
    shown = "".join(
        f'<p class="text" dir="auto">{escape(_cut(text))}</p>' for text in texts
    )
    return (
        f'<div class="row"><p class="count">{escape(str(row["id"]))}: '
        f"{escape(_cut(said))}</p>{shown}</div>"
    )


def _cut(text: str) -> str:
    return text if len(text) <= MAX_CHARACTERS else f"{text[:MAX_CHARACTERS]} ..."


_STYLE = """
.texts td { white-space: normal; min-width: 16em; vertical-align: top }
.matrix { font-size: 12px }
.matrix text { fill: var(--ink) } .matrix text.y { text-anchor: end }
.matrix text.x { text-anchor: middle }
.matrix rect { rx: 3px; stroke: var(--line) }
.matrix .right rect { fill: rgb(22 136 74 / calc(var(--p) * .75)) }
.matrix .wrong rect { fill: rgb(var(--flag) / calc(var(--p) * .9)) }
"""
