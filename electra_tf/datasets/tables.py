"""Tables in files become rows: a cell for each named column.

In:   .tsv (not quoted), .csv (quoted where need be), .jsonl, or these with .gz; the
      first line of .tsv and .csv names the columns.
Out:  rows, and what their cells mean.

A list in a cell of .tsv or .csv is JSON, or words apart by blanks.
"""

import collections
import csv
import json
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from electra_tf import errors
from electra_tf.datasets import files

Row = dict[str, Any]  # A cell by column: text, of .jsonl any JSON value.

_MAX_CELL_CHARACTERS = (1 << 31) - 1


class BadCellError(ValueError):
    """Says what is wrong with a cell."""


def read_rows(path: Path, bad: files.BadRows) -> Iterator[tuple[int, Row]]:
    """Yields (line, row), but for rows that have no columns, which go to `bad`.

    Raises:
        UserError: the file cannot be read, or is not what its name says.
    """
    ending = Path(path.name.removesuffix(".gz")).suffix
    if ending not in ENDINGS:
        raise errors.UserError(f"{path}: want a name that ends in {' '.join(ENDINGS)}")
    return ENDINGS[ending](path, bad)


def get_text(row: Row, column: str, or_blank: bool = False) -> str:
    """Returns a text, not blank unless it may be; null is blank."""
    value = row[column]
    if value is None and or_blank:
        return ""
    if not isinstance(value, str):
        raise BadCellError(f"column {column!r} is {value!r:.40}, want text")
    if not value.strip() and not or_blank:
        raise BadCellError(f"column {column!r} is empty")
    return files.clean(value)


def get_name(row: Row, column: str) -> str:
    """Returns a class or an id: text, or a number or truth value of JSON as text."""
    value = row[column]
    if isinstance(value, int | float) and math.isfinite(value):
        value = json.dumps(value)
    return get_text({column: value}, column).strip()


def get_number(row: Row, column: str) -> float:
    """Returns a finite number."""
    value = row[column]
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise BadCellError(f"column {column!r} is {value!r:.40}, want a number")
    return number


def get_list(row: Row, column: str) -> list[str]:
    """Returns the items of a list as text."""
    value = row[column]
    if isinstance(value, str):
        try:
            parsed = json.loads(value) if value.lstrip().startswith("[") else None
        except (ValueError, RecursionError):
            parsed = None
        value = parsed if isinstance(parsed, list) else value.split()
    if not isinstance(value, list) or not value:
        raise BadCellError(f"column {column!r} is {row[column]!r:.40}, want a list")
    return [get_name({column: item}, column) for item in value]


def _parse_tsv(path: Path, bad: files.BadRows) -> Iterator[tuple[int, Row]]:
    rows = ((line, text.split("\t")) for line, text in files.read_lines(path) if text)
    return _with_header(path, rows, bad)


def _parse_csv(path: Path, bad: files.BadRows) -> Iterator[tuple[int, Row]]:
    lines = re.findall(r"[^\n]*\n|[^\n]+", files.read_text(path))
    reader = csv.reader(lines, strict=True)

    def read_rows() -> Iterator[tuple[int, list[str]]]:
        limit = csv.field_size_limit(_MAX_CELL_CHARACTERS)  # Of the whole process.
        try:
            for cells in reader:
                if any(cell.strip() for cell in cells):
                    yield reader.line_num, cells
        except csv.Error as error:
            raise errors.UserError(
                f"{path}, line {reader.line_num} is not CSV: {error}"
            ) from None
        finally:
            csv.field_size_limit(limit)

    return _with_header(path, read_rows(), bad)


def _with_header(
    path: Path, rows: Iterator[tuple[int, list[str]]], bad: files.BadRows
) -> Iterator[tuple[int, Row]]:
    header = [cell.strip() for cell in next(rows, (0, []))[1]]
    for name, count in collections.Counter(header).items():
        if count > 1:
            raise errors.UserError(f"{path} has {count} columns {name!r:.40}")
    for line, cells in rows:
        if len(cells) == len(header):
            yield line, dict(zip(header, cells, strict=True))
        else:
            bad.add(f"line {line}", f"{len(cells)} columns, want {len(header)}")


def _parse_jsonl(path: Path, bad: files.BadRows) -> Iterator[tuple[int, Row]]:
    for line, text in files.read_lines(path):
        if not text:
            continue
        row = files.parse_json(text, f"{path}, line {line}")
        if isinstance(row, dict):
            yield line, row
        else:
            bad.add(f"line {line}", f"{row!r:.40}, want an object")


ENDINGS = {".tsv": _parse_tsv, ".csv": _parse_csv, ".jsonl": _parse_jsonl}
