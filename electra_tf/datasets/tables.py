"""Tables in files become rows: a cell for each named column.

In:   .tsv, .csv, .jsonl, .json, .parquet, .txt (one text per line), or these with .gz;
      the first line of .tsv and .csv names the columns.
Out:  rows in the order of the file, none left out, and what their cells mean.

What .csv and .tsv leave open is told by the file and said in a note: whether semicolons
or tabs part the cells of .csv; whether cells of .tsv are quoted, as pandas and Excel do
where a cell holds a quote, a tab or the end of a line.
"""

import collections
import csv
import io
import itertools
import json
import math
import re
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from electra_tf import errors
from electra_tf.datasets import files, literals

Row = dict[str, Any]  # A cell by column: text, of JSON and Parquet any value.

_MAX_CELL_CHARACTERS = (1 << 31) - 1

# Stands for a carriage return while `csv` reads: no character, says Unicode.
_RETURN = "\ufdd0"

# Of one quoted cell; beyond, a quote at the start of a cell is but text.
_MAX_CELL_LINES = 10_000

_QUOTED, _PLAIN = r'"[^"]*(?:""[^"]*)*"', r'[^"\t\n]*'
_QUOTED_ROW = re.compile(rf"(?:{_QUOTED}|{_PLAIN})(?:\t(?:{_QUOTED}|{_PLAIN}))*")
_CELLS = re.compile(rf"(?:^|\t)({_QUOTED}|{_PLAIN})")


class BadCellError(ValueError):
    """Says what is wrong with a cell."""


class Table(NamedTuple):
    """A file that is read as its rows are asked for."""

    unit: str  # what its numbers count, from 1: "line" or "row"
    rows: Iterator[tuple[int, Row | str]]  # a row, or why it is none
    note: str = ""  # how it is read, where its name does not say
    is_text: bool = False  # whether rows are lines of text, and have no columns


def read(path: Path, names: Iterable[str] = (), quoted: bool | None = None) -> Table:
    """Opens a table.

    Args:
        path: of the file.
        names: columns that will be asked for: where the file has one but for its
            capitals, it gets this name.
        quoted: whether quotes are around cells of .tsv and .csv; None = as the file
            tells: .csv always, .tsv where all quotes fit.

    Raises:
        UserError: the file cannot be read, or is not what its name says; also later,
            where its end is not.
    """
    ending = ending_of(path.name)
    if ending not in ENDINGS:
        hint = "; save it as .csv" if ending in (".xlsx", ".xls", ".ods") else ""
        raise errors.UserError(
            f"{path}: want a name that ends in {' '.join(ENDINGS)}{hint}"
        )
    return ENDINGS[ending](path, _Renaming(names), quoted)


def ending_of(name: str) -> str:
    """Returns what tells the format, of a.csv.gz ".csv"."""
    return Path(name.removesuffix(".gz")).suffix.lower()


# Lines of text, of JSON.


def parse_text(lines: Iterable[str]) -> Iterator[tuple[int, Row | str]]:
    """Reads one text per line, blank ones too."""
    for number, line in enumerate(lines, 1):
        yield number, {"text": line.removesuffix("\n").removesuffix("\r")}


def parse_json_lines(
    lines: Iterable[str], name: str, names: Iterable[str] = ()
) -> Iterator[tuple[int, Row | str]]:
    """Reads one object per line; lines without any are no rows.

    Raises:
        UserError: a line of the file `name` is not JSON.
    """
    rename = _Renaming(names)
    for number, line in enumerate(lines, 1):
        if line.strip():
            value = files.parse_json(line, f"{name}, line {number}")
            yield number, _as_row(value, rename)


def _as_row(value: Any, rename: "_Renaming") -> Row | str:
    return (
        rename(value) if isinstance(value, dict) else f"{value!r:.40}, want an object"
    )


def _lines(path: Path) -> Iterator[str]:
    return files.decode_lines(str(path), lambda: files.unpacked(path))


def _read_text(path: Path, _: "_Renaming", __: bool | None) -> Table:
    return Table("line", parse_text(_lines(path)), is_text=True)


def _read_json_lines(path: Path, rename: "_Renaming", _: bool | None) -> Table:
    return Table("line", parse_json_lines(_lines(path), str(path), rename.names))


def _read_json(path: Path, rename: "_Renaming", _: bool | None) -> Table:
    """Reads a list of objects, what `DataFrame.to_json` writes, or JSON lines."""
    text = files.read_text(path)
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        if text.lstrip().startswith("[") or "\n" not in text.strip():
            files.parse_json(text, str(path))  # It says what is wrong.
        return Table(
            "line", parse_json_lines(io.StringIO(text), str(path), rename.names)
        )
    rows = _rows_of(value, path)
    return Table(
        "row", ((place, _as_row(row, rename)) for place, row in enumerate(rows, 1))
    )


def _rows_of(value: Any, path: Path) -> list[Any]:
    if isinstance(value, dict) and isinstance(value.get("data"), list):
        value = value["data"]
    if isinstance(value, dict) and all(isinstance(v, dict) for v in value.values()):
        columns = list(value.values())
        keys = list(columns[0]) if columns else []
        if any(list(column) != keys for column in columns):
            raise errors.UserError(
                f"{path}: its columns have not the same rows; want a list of objects, "
                "as DataFrame.to_json(orient='records') writes"
            )
        return [{name: value[name][key] for name in value} for key in keys]
    return value if isinstance(value, list) else [value]


def _read_parquet(path: Path, rename: "_Renaming", _: bool | None) -> Table:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise errors.UserError(
            f"{path}: reading Parquet needs pyarrow; pip install pyarrow"
        ) from None

    def rows() -> Iterator[tuple[int, Row | str]]:
        with files.explained(str(path)), files.unpacked(path) as raw:
            try:
                batches = parquet.ParquetFile(raw).iter_batches(batch_size=1000)
                found = (row for batch in batches for row in batch.to_pylist())
                for number, row in enumerate(found, 1):
                    yield number, rename(row)
            except (pyarrow.ArrowException, UnicodeDecodeError, OSError) as error:
                if isinstance(error, OSError) and error.errno:
                    raise  # Of the disk, not of what pyarrow read there.
                raise errors.UserError(
                    f"{path} is not Parquet, or damaged: {errors.one_line(error, 200)}"
                ) from None

    return Table("row", rows())


# Cells apart by a mark.


def _read_tsv(path: Path, rename: "_Renaming", quoted: bool | None) -> Table:
    note = ""
    if quoted is None:
        quoted, note = _look_for_quotes(path)
    return _read_cells(path, _lines(path), "\t", rename, quoted, note)


def _read_csv(path: Path, rename: "_Renaming", quoted: bool | None) -> Table:
    lines = _lines(path)
    first = next(lines, "")
    mark = _mark_of(first)
    note = "" if mark == "," else f"its cells end at {mark!r}"
    if first.startswith("sep="):  # Excel says so, and takes it for no row.
        first = "\n"
    lines = itertools.chain([first], lines)
    return _read_cells(path, lines, mark, rename, quoted is not False, note)


def _read_cells(
    path: Path,
    lines: Iterable[str],
    mark: str,
    rename: "_Renaming",
    quoted: bool,
    note: str,
) -> Table:
    rows = _parse_csv(lines, mark, path) if quoted else _split_lines(lines, mark)
    filled = (cells for _, cells in rows if any(cell.strip() for cell in cells))
    header = rename.header(next(filled, []))
    _check_header(path, header)
    return Table("line", _under(header, rows), f"{path}: {note}" if note else "")


def _mark_of(first: str) -> str:
    """Returns what parts the cells of a .csv, by its header."""
    if found := re.fullmatch(r"sep=(.)\r?\n?", first):
        return found[1]
    bare = re.sub(_QUOTED, "", first)
    return max(",;\t", key=bare.count) if "," not in bare else ","


def _split_lines(lines: Iterable[str], mark: str) -> Iterator[tuple[int, list[str]]]:
    for number, line in enumerate(lines, 1):
        text = line.removesuffix("\n").removesuffix("\r")
        yield number, text.split(mark)


def _parse_csv(
    lines: Iterable[str], mark: str, path: Path
) -> Iterator[tuple[int, list[str]]]:
    reader = csv.reader(map(_hide_returns, lines), delimiter=mark, strict=True)
    limit = csv.field_size_limit(_MAX_CELL_CHARACTERS)  # Of the whole process.
    try:
        for cells in reader:
            yield reader.line_num, [cell.replace(_RETURN, "\r") for cell in cells]
    except csv.Error as error:
        raise errors.UserError(
            f"{path}, line {reader.line_num} is not CSV: {error}"
        ) from None
    finally:
        csv.field_size_limit(limit)


def _hide_returns(line: str) -> str:
    """Spells a carriage return within a line otherwise: `csv` takes it for its end."""
    if "\r" not in line:
        return line
    text = line.removesuffix("\n").removesuffix("\r")
    return text.replace("\r", _RETURN) + line[len(text) :]


def _check_header(path: Path, header: list[str]) -> None:
    if any("\r" in name for name in header):
        raise errors.UserError(
            f"{path}: its lines end in carriage returns alone, as on old Macs; convert "
            "them, for example with tr '\\r' '\\n'"
        )
    for name, count in collections.Counter(header).items():
        if count > 1 and name:  # Programs that keep no names leave these empty.
            raise errors.UserError(f"{path} has {count} columns {name!r:.40}")


def _under(
    header: list[str], rows: Iterable[tuple[int, list[str]]]
) -> Iterator[tuple[int, Row | str]]:
    """Puts cells under their names; a blank line is a row where there is one column."""
    for line, cells in rows:
        if not cells and len(header) == 1:
            cells = [""]
        if len(cells) == len(header):
            yield line, dict(zip(header, cells, strict=True))
        elif len(cells) > 1 or any(cell.strip() for cell in cells):
            yield line, f"{len(cells)} columns, want {len(header)}"


class _Renaming:
    """Gives columns the names they are asked for by, whatever their capitals."""

    def __init__(self, names: Iterable[str]) -> None:
        self.names = tuple(names)
        self._by_fold = {name.casefold(): name for name in self.names}

    def header(self, cells: Sequence[str]) -> list[str]:
        stripped = [cell.strip() for cell in cells]
        return [self._new(name, stripped) for name in stripped]

    def __call__(self, row: Row) -> Row:
        if all(name in row for name in self.names):
            return row
        found = {self._new(name, row): value for name, value in row.items()}
        inner = (name for name in self.names if "." in name and name not in found)
        within = ((name, _within(row, name)) for name in inner)
        return found | {name: value for name, value in within if value is not None}

    def _new(self, name: str, there: Container[str]) -> str:
        wanted = self._by_fold.get(name.strip().casefold(), name)
        return name if wanted in there else wanted


def _within(row: Row, name: str) -> Any:
    """Returns what stands at a.b of {"a": {"b": ...}}; None where nothing does."""
    value: Any = row
    for part in name.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value


# Are the cells of a .tsv quoted?


def _look_for_quotes(path: Path) -> tuple[bool, str]:
    """Tells whether quotes are around cells, and what to say of it.

    They are if each quote of the file belongs to a cell that is quoted as a whole, with
    its own quotes doubled, and such cells had to be: for a quote, a tab, the end of a
    line, or as those of the header are; or for a comma, as Excel does, where none
    stands in other cells. The files of GLUE have quotes, and are none of this.
    """
    if not path.is_file():
        return False, ""  # A pipe is read once.
    seen = _Quotes()
    fits = all(map(seen.add, _whole_rows(_lines(path)))) and seen.has_columns()
    if not fits or not seen.num_quoted:
        return False, ""
    for_commas = seen.num_with_comma == seen.num_quoted and not seen.plain_comma
    if seen.num_needed or seen.in_header or for_commas:
        return True, (
            "quotes are around cells, as pandas and Excel write them (the option "
            "quoted=false takes them for text)"
        )
    return False, (
        f"{seen.num_quoted} cells begin and end with quotes, which are text here (the "
        "option quoted=true takes them off)"
    )


class _Quotes:
    """What the quotes of a .tsv look like."""

    def __init__(self) -> None:
        self.num_quoted = self.num_needed = self.num_with_comma = 0
        self.plain_comma = self.in_header = False
        self._width = self._num_rows = self._num_misfits = 0

    def add(self, row: str | None) -> bool:
        """Takes a row; tells whether all its quotes are around cells."""
        if row is None:
            return False
        if '"' not in row:
            self.plain_comma = self.plain_comma or "," in row
            self._width = self._width or row.count("\t") + 1
            return True
        if not _QUOTED_ROW.fullmatch(row):
            return False
        cells = _CELLS.findall(row)
        quoted = [cell[1:-1] for cell in cells if cell.startswith('"')]
        self.in_header = self.in_header or not self._width
        self._width = self._width or len(cells)
        self._num_rows += 1
        self._num_misfits += len(cells) != self._width
        self.num_quoted += len(quoted)
        # One column of a blank line and one that is empty are told apart by quotes.
        self.num_needed += any(re.search(r'["\t\n]', inner) for inner in quoted) or (
            self._width == 1 and quoted == [""]
        )
        self.num_with_comma += sum("," in inner for inner in quoted)
        self.plain_comma = self.plain_comma or any(
            "," in cell for cell in cells if not cell.startswith('"')
        )
        return True

    def has_columns(self) -> bool:
        """Tells whether the rows are as wide as the header, but for a few."""
        return self._num_misfits <= files.MAX_BAD_RATE * self._num_rows


def _whole_rows(lines: Iterable[str]) -> Iterator[str | None]:
    """Joins lines while a quote is open; None where it is for too long."""
    waiting: list[str] = []
    is_open = 0
    for line in lines:
        waiting.append(line)
        is_open ^= line.count('"') % 2
        if len(waiting) > _MAX_CELL_LINES:
            yield None
        if not is_open:
            yield "".join(waiting).removesuffix("\n").removesuffix("\r")
            waiting = []
    if waiting:
        yield None


# What cells mean.


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


def get_list(row: Row, column: str, or_empty: bool = False) -> list[str]:
    """Returns the items of a list as text; of text that is none, its words."""
    value = row[column]
    if isinstance(value, str):
        value = parse_list(value, column)
    value = [] if value is None and or_empty else value
    if not isinstance(value, list | tuple) or not (value or or_empty):
        raise BadCellError(f"column {column!r} is {row[column]!r:.40}, want a list")
    return [get_name({column: item}, column) for item in value]


def parse_list(text: str, column: str) -> Any:
    """Returns the list that a text prints (`literals.parse`), else its words.

    A text from [ to ] is never words: it would be cut at the blanks in its items.
    """
    text = text.strip()
    is_list = text.startswith("[") and text.endswith("]")
    if not is_list and not re.match(r"(np\.|numpy\.)?array\(|\(\s*['\"].*\)$", text):
        return text.split()
    try:
        return literals.parse(text)
    except ValueError as error:
        raise BadCellError(f"column {column!r}: {error}") from None


ENDINGS: dict[str, Callable[[Path, _Renaming, bool | None], Table]] = {
    ".tsv": _read_tsv,
    ".csv": _read_csv,
    ".jsonl": _read_json_lines,
    ".json": _read_json,
    ".parquet": _read_parquet,
    ".txt": _read_text,
}
