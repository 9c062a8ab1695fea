"""Texts of any number become answers, a line each, in constant memory.

In:   a preset with a head, or a server that has the model; texts, or a file: .txt (a
      text a line), .tsv, .csv, .jsonl, or these with .gz; "-" is stdin, of lines of
      text or JSON objects.
Out:  .jsonl, .tsv, or these with .gz: the inputs, and what was found.

Columns are as in `datasets.tabular`: text, text_pair; words; question, context; prompt,
choices; and id, which is handed through.
"""

import contextlib
import csv
import gzip
import io
import itertools
import json
import os
import sys
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TextIO

from electra_tf import client, config, errors, reporting
from electra_tf.datasets import dataset, files, tables

INPUTS, OUTPUTS = (".txt", ".tsv", ".csv", ".jsonl"), (".jsonl", ".tsv")

# Batches that are read at once: rows of like length share a batch.
_BATCHES = 8

_MAX_CELL_CHARACTERS = (1 << 31) - 1


class _Row(NamedTuple):
    """A line of a file."""

    where: str  # for messages
    cells: tables.Row


class _Model(NamedTuple):
    """Who answers, here or elsewhere."""

    columns: str  # the method of _Columns that reads its examples
    find: Callable[[list[Any]], list[client.Answer]]
    at_once: int  # examples


def predict(
    origin: str | None,
    settings: config.FinetuneConfig,
    *,
    server: str | None = None,
    texts: Sequence[str] = (),
    source: str | None = None,
    output: str | None = None,
) -> None:
    """Answers texts, or the rows of a file, in their order.

    Args:
        origin: what `catalog.load` takes; None = ask a server.
        settings: data.options may name columns, as in text_column; train.batch_size;
            and how texts become rows, where they say other than the preset.
        server: what `client.Model` takes; train.batch_size is what it is asked at once.
        texts: single texts.
        source: a file, or "-".
        output: a file; None = JSON lines to stdout.

    Raises:
        UserError: there is nothing to read, or it is not what the model takes; the
            lines before a bad one have been answered then.
    """
    if bool(texts) == bool(source):
        raise errors.UserError(
            "name what to read: either --text=... (repeatable) or --input=<file or ->"
        )
    if output and _ending(output) not in OUTPUTS:
        raise errors.UserError(
            f"--output={output}: want a name that ends in {' or '.join(OUTPUTS)}"
        )
    if source and output and os.path.abspath(source) == os.path.abspath(output):
        raise errors.UserError(f"--output={output} is the input; name another file")
    is_typed = source == "-" and sys.stdin.isatty()
    rows = _given(texts) if texts else _read(source or "-")
    # Now, for what is wrong with the file to be said before a model is loaded.
    first = next(rows, None)
    rows = itertools.chain([] if first is None else [first], rows)
    model = _load(origin, settings) if origin else _connect(str(server), settings)
    read = getattr(_Columns(settings.data.options), model.columns)
    size = 1 if is_typed else model.at_once
    with reporting.said_warnings(_warn), _writer(output) as write:
        for chunk in _chunks(rows, size):
            inputs = [_parse(read, row) for row in chunk]
            for row, value, one in zip(chunk, inputs, model.find(inputs), strict=True):
                key = {"id": row.cells["id"]} if "id" in row.cells else {}
                write({**key, **dataset.show_input(value), **one})


def _load(origin: str, settings: config.FinetuneConfig) -> _Model:
    # Not above: whoever asks a server needs no TensorFlow.
    from electra_tf import answers, task_builder
    from electra_tf.tasks import catalog

    model = catalog.load(origin)
    task_builder.set_stated_rows(model, settings.model)
    size = settings.train.batch_size
    return _Model(
        answers.columns(model),
        lambda inputs: answers.find(model, inputs, size),
        size * _BATCHES,
    )


def _connect(server: str, settings: config.FinetuneConfig) -> _Model:
    if stated := sorted(settings.model.model_fields_set):
        raise errors.UserError(
            f"model.{stated[0]}: a server's rows are as they were exported; export the "
            "model anew with this setting, or leave it out"
        )
    model = client.Model(server)
    return _Model(model.columns, model.find, settings.train.batch_size)


def _warn(message: str) -> None:
    sys.stderr.write(f"{message}\n")


def _chunks(rows: Iterable[_Row], size: int) -> Iterator[list[_Row]]:
    """Yields rows, some at once; those before a bad line before its error."""
    chunk: list[_Row] = []
    iterator = iter(rows)
    try:
        for row in iterator:
            chunk.append(row)
            if len(chunk) == size:
                yield chunk
                chunk = []
    except errors.UserError:
        if chunk:
            yield chunk
        raise
    if chunk:
        yield chunk


# Rows to inputs.


class _Columns:
    """Turns rows into examples, by the names of their columns."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        self._options = options

    def text(self, row: tables.Row) -> str:
        return self._text(row, "text")

    def text_or_pair(self, row: tables.Row) -> Any:
        if self._name("text_pair") in row or "text_pair_column" in self._options:
            return self._text(row, "text"), self._text(row, "text_pair")
        return self._text(row, "text")

    def words(self, row: tables.Row) -> list[str]:
        names = self._name("words"), self._name("text")
        name = names[1] if names[1] in row and names[0] not in row else names[0]
        _check_column(row, name)
        return tables.get_list(row, name) if row[name] else []

    def question(self, row: tables.Row) -> dataset.Question:
        return dataset.Question(self._text(row, "question"), self._text(row, "context"))

    def choice(self, row: tables.Row) -> dataset.Choice:
        names = [name.strip() for name in self._name("choices").split(",")]
        for name in names:
            _check_column(row, name)
        if len(names) > 1:
            choices = [tables.get_text(row, name) for name in names]
        else:
            choices = tables.get_list(row, names[0])
        return dataset.Choice(self._text(row, "prompt"), tuple(choices))

    def _name(self, name: str) -> str:
        return str(self._options.get(f"{name}_column") or name)

    def _text(self, row: tables.Row, name: str) -> str:
        _check_column(row, self._name(name))
        return tables.get_text(row, self._name(name), or_blank=True)


def _check_column(row: tables.Row, name: str) -> None:
    if name not in row:
        raise tables.BadCellError(
            f"no column {name!r}; it has {files.name_some(row)}: rename one, or say "
            "which, as in --set data.options.text_column=<name>"
        )


def _parse(read: Callable[[tables.Row], Any], row: _Row) -> Any:
    try:
        return read(row.cells)
    except tables.BadCellError as error:
        raise errors.UserError(f"{row.where}: {error}") from None


# Files to rows.


def _ending(path: str) -> str:
    return Path(path.removesuffix(".gz")).suffix


def _given(texts: Iterable[str]) -> Iterator[_Row]:
    for number, text in enumerate(texts, 1):
        yield _Row(f"--text {number}", {"text": text})


def _read(source: str) -> Iterator[_Row]:
    """Yields the rows of a file or of stdin.

    Raises:
        UserError: it cannot be read, or a line of it.
    """
    if source == "-":
        return _parse_unnamed(
            _Lines(
                "stdin",
                _decode("stdin", lambda: contextlib.nullcontext(sys.stdin.buffer)),
            )
        )
    ending = _ending(source)
    if ending not in INPUTS:
        raise errors.UserError(
            f"--input={source}: want a name that ends in {' '.join(INPUTS)}, or -"
        )
    opened = gzip.open if source.endswith(".gz") else open
    return _PARSERS[ending](
        _Lines(source, _decode(source, lambda: opened(source, "rb")))
    )


class _Lines(NamedTuple):
    """A file's name, and its lines with their ends."""

    name: str
    lines: Iterator[str]


def _decode(name: str, opened: Callable[[], Any]) -> Iterator[str]:
    number = 0
    try:
        with opened() as stream:
            for number, line in enumerate(stream, 1):
                text = line.decode("utf-8")
                yield text.removeprefix("\ufeff") if number == 1 else text
    except UnicodeDecodeError as error:
        raise errors.UserError(
            f"{name}, line {number} is not UTF-8 (byte {error.start} of it); convert "
            "the file, for example with iconv"
        ) from None
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise errors.UserError(f"{name} is damaged: {error}") from None
    except OSError as error:
        raise errors.UserError(f"cannot read {name}: {error.strerror}") from None


def _parse_text(file: _Lines) -> Iterator[_Row]:
    for number, line in enumerate(file.lines, 1):
        text = line.removesuffix("\n").removesuffix("\r")
        yield _Row(f"{file.name}, line {number}", {"text": text})


def _parse_jsonl(file: _Lines) -> Iterator[_Row]:
    for number, line in enumerate(file.lines, 1):
        where = f"{file.name}, line {number}"
        if not line.strip():
            continue
        cells = files.parse_json(line, where)
        if not isinstance(cells, dict):
            raise errors.UserError(f"{where}: {line.strip()!r:.60}, want an object")
        yield _Row(where, cells)


def _parse_unnamed(file: _Lines) -> Iterator[_Row]:
    """Reads JSON lines where the first is an object; else texts."""
    first = next(file.lines, None)
    if first is None:
        return iter(())
    again = _Lines(file.name, itertools.chain([first], file.lines))
    try:
        is_object = isinstance(json.loads(first), dict)
    except (ValueError, RecursionError):
        is_object = False
    return _parse_jsonl(again) if is_object else _parse_text(again)


def _parse_tsv(file: _Lines) -> Iterator[_Row]:
    rows = (
        (number, line.removesuffix("\n").removesuffix("\r").split("\t"))
        for number, line in enumerate(file.lines, 1)
        if line.strip()
    )
    return _with_header(file.name, rows)


def _parse_csv(file: _Lines) -> Iterator[_Row]:
    reader = csv.reader(file.lines, strict=True)
    csv.field_size_limit(_MAX_CELL_CHARACTERS)

    def rows() -> Iterator[tuple[int, list[str]]]:
        try:
            for cells in reader:
                if any(cell.strip() for cell in cells):
                    yield reader.line_num, cells
        except csv.Error as error:
            raise errors.UserError(
                f"{file.name}, line {reader.line_num} is not CSV: {error}"
            ) from None

    return _with_header(file.name, rows())


def _with_header(name: str, rows: Iterator[tuple[int, list[str]]]) -> Iterator[_Row]:
    header = [cell.strip() for cell in next(rows, (0, []))[1]]
    for line, cells in rows:
        where = f"{name}, line {line}"
        if len(cells) != len(header):
            raise errors.UserError(f"{where}: {len(cells)} columns, want {len(header)}")
        yield _Row(where, dict(zip(header, cells, strict=True)))


_PARSERS: dict[str, Callable[[_Lines], Iterator[_Row]]] = {
    ".txt": _parse_text,
    ".tsv": _parse_tsv,
    ".csv": _parse_csv,
    ".jsonl": _parse_jsonl,
}


# Answers to files.


@contextlib.contextmanager
def _writer(output: str | None) -> Iterator[Callable[[client.Answer], None]]:
    """Yields what writes an answer, so that it can be read at once."""
    with contextlib.ExitStack() as stack:
        if output is None:
            stream: TextIO = sys.stdout
        else:
            raw: Any = stack.enter_context(open(output, "wb"))
            if output.endswith(".gz"):
                raw = stack.enter_context(gzip.GzipFile("", "wb", fileobj=raw, mtime=0))
            stream = stack.enter_context(
                io.TextIOWrapper(raw, "utf-8", errors="replace", newline="\n")
            )
        as_table = output is not None and _ending(output) == ".tsv"
        has_header = False

        def write(answer: client.Answer) -> None:
            nonlocal has_header
            if as_table:
                if not has_header:
                    stream.write("\t".join(answer) + "\n")
                    has_header = True
                line = "\t".join(map(_cell, answer.values()))
            else:
                line = files.to_json(answer)
            stream.write(line + "\n")
            stream.flush()

        yield write


def _cell(value: Any) -> str:
    """Returns a value as a cell of a table that has no quotes."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return " ".join(text.splitlines()).replace("\t", " ")
