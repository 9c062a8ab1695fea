"""A study becomes one page: tables, curves over work, a plot, the verdict.

In:   a study's folder, as far as it is done.
Out:  study.html, which needs no other file; study.svg; the tables as Markdown.
"""

import dataclasses
import json
import statistics
from collections.abc import Sequence
from typing import Any

import study_plan
import study_plot
import study_results
from study_results import Result

from electra_tf.reports import report_page
from electra_tf.system import durable

UNIT = 1e9  # of work on the curves: GFLOP
Table = list[list[str]]  # the first row is the head


def write(study: study_plan.Study) -> list[str]:
    """Writes the page and the plot; returns the tables and the verdict as Markdown."""
    results = study_results.read(study)
    plot = study_plot.draw(study, results)
    tables = {
        "Tasks": tasks_table(study, results),
        "Pre-training": runs_table(results),
        **misses_tables(study),
    }
    said = study_results.verdict(study, results)
    absent = study_results.missing(study, results)
    sections = [
        report_page.section("Verdict", paragraphs(said) + NOTE),
        report_page.section("Average of the tasks", plot) if plot else "",
        *(
            report_page.section(title, NOTES.get(title, "") + html(one))
            for title, one in tables.items()
        ),
        curves(study, results),
        report_page.section("Missing", paragraphs(absent)) if absent else "",
    ]
    page = report_page.page("Which one, at equal compute", sections, STYLE)
    durable.write_text(str(study.folder / "study.html"), page)
    if plot:
        durable.write_text(str(study.folder / "study.svg"), plot)
    lines = []
    for title, one in tables.items():
        lines += ["", title, "", *markdown(one)]
    lines += ["", *(f"missing: {line}" for line in absent), "", *said]
    return [*lines, "", f"page: {study.folder / 'study.html'}"]


def tasks_table(study: study_plan.Study, results: Sequence[Result]) -> Table:
    """Returns mean and standard deviation by run and task, and of the averages."""
    tasks = list(study.settings.tasks)
    ahead = {lead.name: lead for lead in study_results.leads(study, results)}
    rows = [["run", *tasks, "average", f"ahead of {study.settings.baseline}"]]
    for one in results:
        cells = []
        for task in tasks:
            failed = one.failed.get(task)
            note = f", {failed} failed" if failed else ""
            cells.append(spread(list(one.scores.get(task, {}).values())) + note)
        lead = ahead.get(one.name)
        by_seed = ", ".join(f"{v:+.2f}" for v in lead.by_seed.values()) if lead else ""
        so_far = " so far" if lead and not lead.is_whole else ""
        average = spread(list(one.averages(tasks).values()))
        rows.append([one.name, *cells, average, by_seed + so_far])
    return rows


def runs_table(results: Sequence[Result]) -> Table:
    """Returns what was put in, and the held-out values that came of it."""
    titles = list(dict.fromkeys(title for one in results for title in one.held_out))
    rows = [["run", "M positions", "FLOP", "of them before", *titles]]
    for one in results:
        put_in = [
            f"{one.positions / 1e6:.1f}" if one.positions else "",
            f"{one.work:.4g}" if one.work else "",
            f"{one.before:.4g}" if one.before else "",
        ]
        values = [one.held_out.get(title) for title in titles]
        shown = ["" if value is None else f"{value:.3f}" for value in values]
        rows.append([one.name, *put_in, *shown])
    return rows


def misses_tables(study: study_plan.Study) -> dict[str, Table]:
    """Returns what the discriminators miss, by kinds of tokens (`study_misses.py`)."""
    found: dict[str, dict[str, Any]] = {}
    for name in study.settings.runs:
        path = study.misses_file(name)
        if path.exists():
            found[name] = json.loads(path.read_text(encoding="utf-8"))
    found = {name: values for name, values in found.items() if values["groups"]}
    if not found:
        return {}
    heads = [f"{name}: {what}" for name in found for what in ("AUC", "to be seen")]
    rows = [["tokens", *heads]]
    groups = dict.fromkeys(group for one in found.values() for group in one["groups"])
    for group in groups:
        cells = []
        for values in found.values():
            there = values["groups"].get(group)
            for key in ("discriminator", "judge"):
                is_known = there is not None and there[key] is not None
                cells.append(f"{there[key]:.3f}" if there and is_known else "")
        rows.append([group, *cells])
    row = ["share of samples that the judge would rather take"]
    for values in found.values():
        share = values.get("likelier_than_the_text")
        row += ["", "" if share is None else f"{share:.3f}"]
    rows.append(row)
    return {MISSES: rows}


def curves(study: study_plan.Study, results: Sequence[Result]) -> str:
    """Draws held-out values, and tasks where they were tried, over work."""
    runs, titles = [], {}
    for one in results:
        told = study_results.curve(study, one.name)
        flops = study.step_flops(one.name)
        if told is None or not flops:
            continue
        records = [
            {**record, "step": round((one.before + record["step"] * flops) / UNIT)}
            for record in told.records
            if record.get("split") == "validation"
        ]
        records += task_records(study, one)
        records.sort(key=lambda record: int(record["step"]))
        compared = {n: s.title for n, s in told.shown.items() if s.is_compared}
        titles |= {n: title for n, title in compared.items() if n != "loss"}
        runs.append(dataclasses.replace(told, records=records, settings={}))
    if not runs:
        return ""
    titles |= {f"task {task}": f"{task} (points)" for task in study.settings.tasks}
    drawn = report_page.curves(runs, titles)
    return drawn.replace("<h2>Curves</h2>", f"<h2>Curves</h2>{ACROSS}", 1)


def task_records(study: study_plan.Study, one: Result) -> list[dict[str, Any]]:
    """Returns the mean scores of tasks as records of a run, with their work."""
    points = dict(one.on_the_way)
    if one.scores:
        points[1.0] = {t: statistics.fmean(s.values()) for t, s in one.scores.items()}
    records = []
    for share, means in points.items():
        work = study.work_at(one.name, share)
        if work and means:
            values = {f"task {task}": mean for task, mean in means.items()}
            records.append(
                {"step": round(work / UNIT), "split": "validation", **values}
            )
    return records


def spread(values: Sequence[float]) -> str:
    """Shows mean and standard deviation, and of how many if that is one."""
    if not values:
        return ""
    mean = f"{statistics.fmean(values):.1f}"
    if len(values) == 1:
        return f"{mean} (one seed)"
    return f"{mean} +- {statistics.stdev(values):.1f}"


def paragraphs(lines: Sequence[str]) -> str:
    """Returns lines of plain text as HTML."""
    return "".join(f"<p>{report_page.escape(line)}</p>" for line in lines)


def html(table: Table) -> str:
    """Returns a table as HTML."""
    head, *rows = [
        "".join(f"<{tag}>{report_page.escape(cell)}</{tag}>" for cell in row)
        for tag, row in zip(["th"] + ["td"] * len(table), table, strict=False)
    ]
    body = "\n".join(f"<tr>{row}</tr>" for row in rows)
    return (
        f'<div class="wide" tabindex="0"><table class="numeric"><thead><tr>{head}</tr>'
        f"</thead>\n<tbody>{body}</tbody></table></div>"
    )


def markdown(table: Table) -> list[str]:
    """Returns a table as lines of Markdown."""
    head, *rows = table
    rule = ["---", *["---:"] * (len(head) - 1)]
    return [f"| {' | '.join(row)} |" for row in (head, rule, *rows)]


MISSES = "What the discriminators see, of what is to be seen"
NOTES = {
    MISSES: """<p class="count">AUC: how often a sample of the generator is more
suspicious than a token of the text, both at hidden places and of one group; 0.5 is
chance. "To be seen": the same by the generator's probability of the token over that of
the baseline, which knows the text better. Where this is high and the AUC is not, the
discriminator has not learned it yet; where both are near 0.5, the generator writes as
the text does.</p>"""
}
NOTE = """<p class="count">Points: 1 is 0.01 of a task's metric. Each run was
pre-trained once; seeds are those of fine-tuning, and a seed is compared with the same
seed. "Ahead" lists each seed. Work: floating-point operations of the matrix products of
the compiled step; that of what a run starts from is counted.</p>"""
ACROSS = '<p class="count">Across: work in GFLOP, with that of what it starts from.</p>'
STYLE = "svg.plot { max-width: 100%; height: auto; }\n"
