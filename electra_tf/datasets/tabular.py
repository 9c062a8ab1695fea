"""Your own tables become splits, by the names of their columns.

In:   .tsv, .csv, .jsonl, .json, .parquet, or these with .gz (`tables`); which columns a
      task takes and what a row of them means.
Out:  splits; of a test file whose labels are hidden (-1, empty or null in each row) one
      without labels.

A list in a cell of .tsv or .csv is JSON, what Python or numpy print of it, or words
apart by blanks. Rows of train that lack a text are skipped and counted; elsewhere each
row is an example, empty ones too.
"""

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from electra_tf import errors
from electra_tf.datasets import dataset, files, tables


class Columns(NamedTuple):
    """Which columns a task takes and what a row of them means."""

    inputs: tuple[str, ...]
    labels: tuple[str, ...]  # A test file may lack them.
    # Both raise tables.BadCellError. An input may be told not to mind being empty.
    read_input: Callable[[tables.Row, bool], Any]
    read_label: Callable[[tables.Row], Any]
    key: str | None  # of the id; None: line numbers
    option: str = "text_column"  # that names an input, for messages


class Given(NamedTuple):
    """The files that the user named, if any, and how they are quoted."""

    train: str | None
    dev: str | None
    test: str | None
    quoted: bool | None


class Example(NamedTuple):
    """What a row means."""

    where: str
    key: str
    content: Any
    label: Any  # None: hidden
    hidden: bool = False  # Its label says nothing, or just -1.


def locate(folder: str, given: Given) -> dict[str, Path]:
    """Finds the files of the splits: those that are named, else those of usual names.

    Raises:
        UserError: one that is named is not there, or none is.
    """
    named = given._asdict()
    del named["quoted"]
    # A .txt is read where it is named: folders of tables have others, too.
    endings = [ending for ending in tables.ENDINGS if ending != ".txt"]
    return files.locate(folder, files.STEMS, endings, named)


def read_splits(
    folder: str, given: Given, columns: Columns
) -> dict[str, dataset.Split]:
    """Reads the splits of a task.

    Args:
        folder: of its files.
        given: files that the user named.
        columns: what a row means.

    Raises:
        UserError: files or columns are missing, or are not what they should be.
    """
    splits: dict[str, dataset.Split] = {}
    for split, path in locate(folder, given).items():
        bad = files.BadRows(path)
        rows = list(examples(path, split, columns, given.quoted, bad))
        train = splits["train"].labels if "train" in splits else None
        labelled = _check_hidden(path, rows, train or [])
        skipped, remark = bad.check(len(rows), labelled)
        hidden = "" if labelled or not rows[0].hidden else _HIDDEN.format(path)
        splits[split] = dataset.Split(
            ids=[row.key for row in rows],
            inputs=[row.content for row in rows],
            labels=[row.label for row in rows] if labelled else None,
            source=str(path),
            skipped=skipped,
            remark="; ".join(filter(None, [remark, hidden])),
        )
    return splits


_WAY_OUT = (
    ": the first line names the columns; say which is which with data.options, as in "
    "--set data.options.{}=<name>"
)


_HIDDEN = "{}: no label says anything (-1, empty, null): taken as without labels"


def _check_hidden(path: Path, rows: Sequence[Example], train: Sequence[Any]) -> bool:
    """Tells whether rows have labels.

    Args:
        path: of their file.
        rows: where they are of a test file, hidden where the label says nothing.
        train: labels that were learned: a -1 among them is a label.

    Raises:
        UserError: some have, some have not.
    """
    if not rows:
        return True
    learned = any(label in ("-1", "-1.0", -1.0) for label in train)
    if all(row.label is None or (row.hidden and not learned) for row in rows):
        return False
    if lacking := [row for row in rows if row.label is None]:
        raise errors.UserError(
            f"{path}, {lacking[0].where} has no label ({len(lacking)} of {len(rows)} "
            "rows); give all rows of a test file their labels, or none"
        )
    return True


def examples(
    path: Path,
    split: str,
    columns: Columns,
    quoted: bool | None,
    bad: files.BadRows,
) -> Iterator[Example]:
    """Yields the good rows."""
    names = [*columns.inputs, *columns.labels, *([columns.key] if columns.key else [])]
    table = tables.read(path, names, quoted)
    bad.remark = table.note
    optional = columns.labels if split == "test" else ()
    wanted = [name for name in names if name not in optional]
    is_first = True
    for number, row in table.rows:
        where = f"{table.unit} {number}"
        if isinstance(row, str):
            bad.add(where, row)
            continue
        if is_first:
            files.check_columns(path, row, wanted, _WAY_OUT.format(columns.option))
            is_first = False
        lacking = [name for name in wanted if name not in row]
        if lacking:
            bad.add(where, f"no column {lacking[0]!r}")
            continue
        has_labels = set(columns.labels) <= row.keys()
        hidden = split == "test" and has_labels and _is_hidden(row, columns.labels)
        try:
            content = columns.read_input(row, split != "train")
            label = _read_label(row, columns, hidden) if has_labels else None
            key = tables.get_name(row, columns.key) if columns.key else str(number)
        except tables.BadCellError as error:
            bad.add(where, str(error))
            continue
        yield Example(where, key, content, label, hidden)


def _is_hidden(row: tables.Row, labels: Sequence[str]) -> bool:
    """Tells whether labels stand for none: empty, null, or -1 (GLUE's test sets)."""
    return all(_says_nothing(row[name]) for name in labels)


def _says_nothing(value: Any) -> bool:
    if isinstance(value, str):
        return value.strip() in ("", "-1", "-1.0")
    if isinstance(value, list | tuple):
        return all(map(_says_nothing, value))
    if isinstance(value, dict):
        return all(not part for part in value.values())
    return value is None or value in (-1, -1.0) or value != value


def _read_label(row: tables.Row, columns: Columns, hidden: bool) -> Any:
    try:
        return columns.read_label(row)
    except tables.BadCellError:
        if hidden:
            return None
        raise


def text_columns(
    text: str, text_pair: str | None, label: str, key: str | None
) -> Columns:
    """Returns the columns of texts, or of pairs, with a label as it stands there.

    Args:
        text: the text.
        text_pair: the second one; None = there is none.
        label: the label.
        key: the id; None = the numbers of the lines.
    """

    def read_pair(row: tables.Row, or_empty: bool) -> tuple[str, str]:
        assert text_pair
        pair = (
            tables.get_text(row, text, or_blank=True),
            tables.get_text(row, text_pair, or_blank=True),
        )
        if not (or_empty or any(part.strip() for part in pair)):
            raise tables.BadCellError(f"columns {text!r} and {text_pair!r} are empty")
        return pair

    return Columns(
        inputs=(text, text_pair) if text_pair else (text,),
        labels=(label,),
        read_input=read_pair
        if text_pair
        else lambda row, or_empty: tables.get_text(row, text, or_empty),
        read_label=lambda row: row[label],
        key=key,
    )


def labels_of(split: dataset.Split) -> list[Any]:
    """Returns the labels of a split that has them."""
    assert split.labels is not None, f"{split.source} has no labels"
    return split.labels


def refuse_unseen(
    split: dataset.Split,
    labels: Iterable[str],
    train: dataset.Split,
    known: Collection[str],
) -> None:
    """Refuses a label of a split that is none of the classes of train.

    Raises:
        UserError: one is.
    """
    for label in labels:
        if label not in known:
            raise errors.UserError(
                f"{split.source}: label {label!r:.40} is not in {train.source}, which "
                f"has {errors.listed(map(repr, sorted(known)))}"
            )


def in_order(labels: Collection[str]) -> tuple[str, ...]:
    """Returns classes in their order: numbers by value."""
    if are_numbers(labels):
        return tuple(sorted(labels, key=lambda label: (float(label), label)))
    return tuple(sorted(labels))


def are_numbers(labels: Iterable[str]) -> bool:
    """Tells whether all classes are written as numbers."""
    return all(re.fullmatch(r"[+-]?\d+(\.\d+)?", label) for label in labels)
