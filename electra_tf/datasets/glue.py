"""The GLUE tasks, in the files and columns of gluebenchmark.com.

In:   a task's folder, or the folder that holds it (glue/CoLA or glue); or a file.
Out:  a Dataset; with its predictions, the file to hand in.

A task is a row of TASKS. The files are not quoted.
"""

import functools
import math
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from electra_tf import errors
from electra_tf.datasets import dataset, files, metrics
from electra_tf.system import durable

# What `score` may measure.
_MEASURES: dict[str, Callable[[Any, Any], float]] = {
    "accuracy": metrics.accuracy,
    "f1": metrics.f1,  # of the class 1
    "matthews": metrics.matthews,
    "pearson": metrics.pearson,
    "spearman": metrics.spearman,
}

_BINARY = ("0", "1")
_ENTAILMENT = ("entailment", "not_entailment")
_NLI = ("contradiction", "entailment", "neutral")

_SPLITS = {"train": "train.tsv", "dev": "dev.tsv", "test": "test.tsv"}

# Microsoft's own files; GLUE took its dev.tsv out of their train file.
_MSR = {"train": "msr_paraphrase_train.txt", "dev": "msr_paraphrase_test.txt"}


class Task(NamedTuple):
    """A row of the table."""

    name: str  # of folder and submission
    texts: tuple[str, ...]  # columns
    label: str  # column
    classes: tuple[str, ...]  # none: a number from 0 to 5
    measures: tuple[str, ...]  # the first is the main one, as in the paper
    layouts: tuple[Mapping[str, str], ...] = (
        _SPLITS,
    )  # files; the first that is there
    header: tuple[str, ...] = ()  # the columns of files without header line
    symmetric: bool = False
    submissions: Mapping[str, str] = {}  # split -> file; else test -> <name>.tsv


TASKS = {
    "cola": Task(
        "CoLA",
        ("sentence",),
        "label",
        _BINARY,
        ("matthews", "accuracy"),
        header=("source", "label", "star", "sentence"),
    ),
    "sst-2": Task("SST-2", ("sentence",), "label", _BINARY, ("accuracy",)),
    "mrpc": Task(
        "MRPC",
        ("#1 String", "#2 String"),
        "Quality",
        _BINARY,
        ("accuracy", "f1"),
        layouts=(_SPLITS, _MSR),
        symmetric=True,
    ),
    "sts-b": Task(
        "STS-B",
        ("sentence1", "sentence2"),
        "score",
        (),
        ("spearman", "pearson"),
        symmetric=True,
    ),
    "qqp": Task(
        "QQP",
        ("question1", "question2"),
        "is_duplicate",
        _BINARY,
        ("accuracy", "f1"),
    ),
    "mnli": Task(
        "MNLI",
        ("sentence1", "sentence2"),
        "gold_label",
        _NLI,
        ("accuracy",),
        layouts=(
            {
                "train": "train.tsv",
                "dev": "dev_matched.tsv",
                "dev_mismatched": "dev_mismatched.tsv",
                "test": "test_matched.tsv",
                "test_mismatched": "test_mismatched.tsv",
                "diagnostic": "diagnostic.tsv",
            },
        ),
        submissions={
            "test": "MNLI-m.tsv",
            "test_mismatched": "MNLI-mm.tsv",
            "diagnostic": "AX.tsv",
        },
    ),
    "qnli": Task("QNLI", ("question", "sentence"), "label", _ENTAILMENT, ("accuracy",)),
    "rte": Task("RTE", ("sentence1", "sentence2"), "label", _ENTAILMENT, ("accuracy",)),
    "wnli": Task("WNLI", ("sentence1", "sentence2"), "label", _BINARY, ("accuracy",)),
    "ax": Task(
        "diagnostic",
        ("sentence1", "sentence2"),
        "label",
        _NLI,
        ("matthews",),
        layouts=({"diagnostic": "diagnostic.tsv"},),
        submissions={"diagnostic": "AX.tsv"},
    ),
}


def read(name: str, folder: str) -> dataset.Dataset:
    """Reads the splits of a task of TASKS.

    Raises:
        UserError: files are missing, or not what they should be.
    """
    task = TASKS[name]
    return dataset.Dataset(
        name=name,
        kind="classification" if task.classes else "regression",
        labels=task.classes,
        splits={
            split: _read_split(task, split, path)
            for split, path in _locate(task, folder).items()
        },
        metric=task.measures[0],
        columns=dict(
            zip(("text_column", "text_pair_column"), task.texts, strict=False)
        ),
        score=functools.partial(_score, task),
        symmetric=task.symmetric,
        write_submission=functools.partial(_write_submission, task),
    )


READERS = {name: functools.partial(read, name) for name in TASKS}


def _locate(task: Task, folder: str) -> dict[str, Path]:
    if os.path.isfile(folder):
        return _split_of(task, Path(folder))
    root = files.check_folder(folder)
    for place in (root, root / task.name):
        for layout in task.layouts:
            paths = {split: place / file for split, file in layout.items()}
            found = {split: path for split, path in paths.items() if path.is_file()}
            if found:
                return _with_diagnostic(task, place, found)
    wanted = " or ".join(", ".join(layout.values()) for layout in task.layouts)
    raise errors.UserError(
        f"{folder} holds no file of {task.name}, nor does {root / task.name}; "
        f"want {wanted}"
    )


def _split_of(task: Task, file: Path) -> dict[str, Path]:
    """Tells by its name what split a file is."""
    for layout in task.layouts:
        for split, name in layout.items():
            if file.name == name:
                return {split: file}
    names = [name for layout in task.layouts for name in layout.values()]
    raise errors.UserError(
        f"{file}: its name does not say which split of {task.name} it is; want "
        f"{', '.join(names)}"
    )


def _with_diagnostic(
    task: Task, place: Path, found: dict[str, Path]
) -> dict[str, Path]:
    """GLUE's download keeps the diagnostic set in a folder beside MNLI's."""
    beside = place.parent / "diagnostic" / "diagnostic.tsv"
    if "diagnostic" in task.layouts[0] and beside.is_file():
        return {"diagnostic": beside} | found
    return found


def _read_split(task: Task, split: str, path: Path) -> dataset.Split:
    labelled = split.startswith(("train", "dev"))
    columns, rows = _read_rows(task, path)
    labels_column = [task.label] if labelled else []
    files.check_columns(path, columns, [*task.texts, *labels_column])
    id_column = next((c for c in ("index", "id") if c in columns), None)
    bad = files.BadRows(path)
    ids, inputs, labels = [], [], []
    for count, (line, cells) in enumerate(rows):
        row = dict(zip(columns, cells, strict=False))
        if len(cells) != len(columns):
            bad.add(f"line {line}", f"{len(cells)} columns, want {len(columns)}")
            continue
        if labelled:
            label = _parse_label(task, row[task.label])
            if label is None:
                bad.add(f"line {line}", f"{task.label} is {row[task.label]!r:.40}")
                continue
            labels.append(label)
        texts = tuple(row[column] for column in task.texts)
        inputs.append(texts if len(texts) > 1 else texts[0])
        ids.append(row[id_column] if id_column else str(count))
    skipped, remark = bad.check(len(inputs), labelled)
    return dataset.Split(
        ids, inputs, labels if labelled else None, str(path), skipped, remark
    )


def _read_rows(
    task: Task, path: Path
) -> tuple[Sequence[str], list[tuple[int, list[str]]]]:
    """Returns the names of the columns, and (line, cells) of each row."""
    rows = [(line, text.split("\t")) for line, text in files.read_lines(path) if text]
    first = rows[0][1]
    if task.header and not set(task.texts) <= set(first):
        return task.header, rows
    return first, rows[1:]


def _parse_label(task: Task, text: str) -> str | float | None:
    text = text.strip()
    if task.classes:
        return text if text in task.classes else None
    try:
        value = float(text)
    except ValueError:
        return None
    return value if 0 <= value <= 5 else None


def _score(
    task: Task, predictions: Sequence[Any], split: dataset.Split
) -> dict[str, float]:
    assert split.labels is not None, f"{split.source} has no labels"
    return {
        measure: _MEASURES[measure](split.labels, predictions)
        for measure in task.measures
    }


def _write_submission(
    task: Task,
    folder: str,
    split_name: str,
    split: dataset.Split,
    predictions: Sequence[Any],
) -> str:
    """Writes the file that gluebenchmark.com takes.

    Raises:
        UserError: the split is none to hand in, or the file cannot be written.
    """
    submissions = task.submissions or {"test": f"{task.name}.tsv"}
    if split_name not in submissions:
        raise errors.UserError(
            f"{task.name}: there is no submission of {split_name}; "
            f"want {' or '.join(submissions)}"
        )
    path = os.path.join(folder, submissions[split_name])
    lines = ["index\tprediction"]
    for key, prediction in zip(split.ids, predictions, strict=True):
        lines.append(f"{key}\t{_spell(task, prediction)}")
    durable.write_text(path, "\n".join(lines) + "\n")
    return path


def _spell(task: Task, prediction: Any) -> str:
    if task.classes:
        assert prediction in task.classes, prediction
        return str(prediction)
    value = float(prediction) if math.isfinite(prediction) else 0.0
    return f"{min(max(value, 0.0), 5.0):.3f}"
