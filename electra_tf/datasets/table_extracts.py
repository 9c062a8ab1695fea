"""Tables of documents, their sentences, and which of these tell most of them.

In:   columns sentences, marks, summary (`tabular`); or those of ACLSum.
Out:  a Dataset: lists of sentences, labels `dataset.Extract`.

Cells may be nested, as those of ACLSum: lists by part of the document, marks and
summaries by aspect of what is told.
"""

from collections.abc import Mapping
from typing import Any

from electra_tf import errors
from electra_tf.datasets import dataset, extracts, files, tables, tabular
from electra_tf.text import sentences


def read_extraction(
    folder: str,
    *,
    sentences_column: str = "sentences",
    marks_column: str = "marks",
    summary_column: str = "summary",
    aspect: str | None = None,
    id_column: str | None = None,
    train: str | None = None,
    dev: str | None = None,
    test: str | None = None,
    quoted: bool | None = None,
) -> dataset.Dataset:
    """Reads documents, and which of their sentences tell most of them.

    Args:
        folder: of train.jsonl and the like.
        sentences_column: a list; or a text, which is cut into sentences.
        marks_column: as many 0 and 1.
        summary_column: a summary by people, to be compared with; the file need not
            have one.
        aspect: of marks and summaries by aspect, the one to learn; None = all.
        id_column: None = the numbers of the lines.
        train: a file of any name; dev and test the same.
        dev: see train.
        test: see train.
        quoted: whether quotes are around cells of .tsv and .csv; None = look.

    Raises:
        UserError: files or columns are missing, or are not what they should be.
    """

    def read_sentences(row: tables.Row, or_empty: bool) -> list[str]:
        found = get_sentences(row, sentences_column)
        if not (or_empty or any(map(str.strip, found))):
            raise tables.BadCellError(f"column {sentences_column!r} is empty")
        return found

    def read_marks(row: tables.Row) -> dataset.Extract:
        marks = _marks(row[marks_column], marks_column, aspect)
        count = len(read_sentences(row, or_empty=True))
        if len(marks) != count:
            raise tables.BadCellError(f"{len(marks)} marks for {count} sentences")
        return dataset.Extract(marks, _summary(row, summary_column, aspect))

    columns = tabular.Columns(
        (sentences_column,), (marks_column,), read_sentences, read_marks, id_column
    )
    splits = tabular.read_splits(
        folder, tabular.Given(train, dev, test, quoted), columns
    )
    for split in splits.values():
        if split.labels and not any(1 in one.marks for one in split.labels):
            raise errors.UserError(f"{split.source}: no sentence is marked")
    return dataset.Dataset(
        name="extraction",
        kind="extraction",
        labels=(),
        splits=splits,
        metric=extracts.AVERAGE_PRECISION,
        score=extracts.score,
        columns={"sentences_column": sentences_column},
    )


def read_aclsum(
    folder: str,
    *,
    aspect: str | None = None,
    train: str | None = None,
    dev: str | None = None,
    test: str | None = None,
) -> dataset.Dataset:
    """Reads ACLSum: papers, with marked sentences and a summary for each aspect.

    Args:
        folder: of train.jsonl and the like.
        aspect: challenge, approach or outcome; None = all three.
        train: a file of any name; dev and test the same.
        dev: see train.
        test: see train.

    Raises:
        UserError: see `read_extraction`.
    """
    return read_extraction(
        folder,
        marks_column="highlights",
        aspect=aspect,
        id_column="id",
        train=train,
        dev=dev,
        test=test,
    )


def get_sentences(row: tables.Row, column: str) -> list[str]:
    """Returns the sentences of a cell: a list, lists by part, or a text that is cut.

    Raises:
        tables.BadCellError: it is none of these.
    """
    value = row[column]
    if isinstance(value, str):
        text = value.strip()
        if not (text.startswith("[") and text.endswith("]")):
            return [one.text for one in sentences.split(files.clean(value))]
        value = tables.parse_list(text, column)
    if isinstance(value, Mapping):
        value = [one for part in value.values() for one in _list(part, column)]
    value = _list(value, column)
    if wrong := [one for one in value if not isinstance(one, str)]:
        raise tables.BadCellError(f"column {column!r} has {wrong[0]!r:.40}, want text")
    return [files.clean(one) for one in value]


def _marks(value: Any, column: str, aspect: str | None) -> list[int]:
    """Returns 0 or 1 a sentence; of several aspects, whether any has it."""
    if isinstance(value, str):
        value = tables.parse_list(value, column)
    if isinstance(value, Mapping) and any(
        isinstance(v, Mapping) for v in value.values()
    ):
        found = [_marks(one, column, None) for one in _chosen(value, column, aspect)]
        if len({*map(len, found)}) > 1:
            raise tables.BadCellError(f"column {column!r}: aspects of unequal length")
        return [int(any(marks)) for marks in zip(*found, strict=True)]
    if isinstance(value, Mapping):
        value = [one for part in value.values() for one in _list(part, column)]
    return [_mark(one, column) for one in _list(value, column)]


def _summary(row: tables.Row, column: str, aspect: str | None) -> str:
    value = row.get(column)
    if isinstance(value, Mapping):
        value = _chosen(value, column, aspect)
    if isinstance(value, list):
        value = "\n".join(str(one) for one in value)
    return tables.get_text({column: value}, column, or_blank=True)


def _chosen(value: Mapping[str, Any], column: str, aspect: str | None) -> list[Any]:
    if aspect is None:
        return list(value.values())
    if aspect not in value:
        known = ", ".join(map(str, value))
        raise tables.BadCellError(
            f"column {column!r} has no aspect {aspect!r:.40}; it has {known:.80}"
        )
    return [value[aspect]]


def _list(value: Any, column: str) -> list[Any]:
    if value is None:
        return []
    if not isinstance(value, list | tuple):
        raise tables.BadCellError(f"column {column!r} is {value!r:.40}, want a list")
    return list(value)


def _mark(value: Any, column: str) -> int:
    if str(value).lower() not in ("0", "1", "0.0", "1.0", "true", "false"):
        raise tables.BadCellError(f"column {column!r} has {value!r:.40}, want 0 or 1")
    return int(str(value).lower() in ("1", "1.0", "true"))
