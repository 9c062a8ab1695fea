"""Texts of any number become answers, one per line, in constant memory.

In:   a preset with a head, or a server that has the model; texts, or a file: .txt (one
      text per line), .tsv, .csv, .jsonl, .json, .parquet, or these with .gz; "-" is
      stdin, of lines of text or JSON objects.
Out:  .jsonl, .tsv, or these with .gz: the inputs, and what was found; one line for
      each, for empty rows too. .json alone is read as a whole.

Columns are those that a kind of task has (`kinds`): text, text_pair; words; question,
context; prompt, choices; source; and id, which is handed through.
"""

import contextlib
import functools
import gzip
import io
import itertools
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from electra_tf import errors
from electra_tf.datasets import files, tables
from electra_tf.finetuning import client, task_config
from electra_tf.kinds import columns, kind, registry, scoring
from electra_tf.reports import progress
from electra_tf.system import console, durable

OUTPUTS = (".jsonl", ".tsv")

SCORER = "scorer"  # a key of `catalog.NETWORKS`; a server may be asked for it, too

# Batches that are read at once: rows of like length share a batch.
_BATCHES = 8


class Row(NamedTuple):
    """A line of a file."""

    where: str  # for messages
    cells: tables.Row
    is_text: bool = False  # whether it is a line of text, and has no columns


class Model(NamedTuple):
    """Who answers, here or elsewhere."""

    kind: kind.Kind
    find: Callable[[list[Any]], list[kind.Answer]]
    at_once: int  # examples
    settled: Mapping[str, Any] = MappingProxyType({})  # as of `ElectraTask.settled`


def predict(
    origin: str | None,
    settings: task_config.FinetuneConfig,
    *,
    server: str | None = None,
    network: str | None = None,
    texts: Sequence[str] = (),
    source: str | None = None,
    output: str | None = None,
    left_out: Sequence[str] = (),
) -> None:
    """Answers texts, or the rows of a file, in their order.

    Args:
        origin: what `catalog.load` takes; None = ask a server.
        settings: data.options may name columns, as in text_column, over those that the
            preset learned with; train.batch_size and train.precision;
            and how texts become rows, where they say other than the preset.
        server: what `client.Model` takes; train.batch_size is what it is asked at once.
        network: which of a preset's networks answers, as of `catalog.load`; of a
            server, None or SCORER.
        texts: single texts.
        source: a file, or "-".
        output: a file; None = JSON lines to stdout.
        left_out: fields of answers that are not written.

    Raises:
        UserError: there is nothing to read, or it is not what the model takes; the
            lines before a bad one have been answered then.
    """
    if bool(texts) == bool(source):
        raise errors.UserError(
            "name what to read: either --text=... (repeatable) or --input=<file or ->"
        )
    check_output(source, output)
    is_typed = source == "-" and sys.stdin.isatty()
    learned = _learned(origin) if origin else {}
    options = learned | settings.data.options
    rows = given(texts) if texts else read(source or "-", options, registry.columns())
    # Now, for what is wrong with the file to be said before a model is loaded.
    first = next(rows, None)
    rows = itertools.chain([] if first is None else [first], rows)
    model = open_model(origin, settings, server, network)
    parse = functools.partial(model.kind.example, columns.Columns(options))
    size = 1 if is_typed else model.at_once
    with progress.said_warnings(warn), writer(output) as write:
        for chunk in chunks(rows, size):
            inputs = [_parse(parse, row) for row in chunk]
            for row, value, one in zip(chunk, inputs, model.find(inputs), strict=True):
                key = {"id": row.cells["id"]} if "id" in row.cells else {}
                answer = {**key, **model.kind.show(value), **one}
                write({name: answer[name] for name in answer if name not in left_out})


def check_output(
    source: str | None, output: str | None, endings: Sequence[str] = OUTPUTS
) -> None:
    """Refuses an output of another form, and one that is the input.

    Raises:
        UserError: see above.
    """
    if output and tables.ending_of(output) not in endings:
        raise errors.UserError(
            f"--output={output}: want a name that ends in {' or '.join(endings)}"
        )
    if source and output and os.path.abspath(source) == os.path.abspath(output):
        raise errors.UserError(f"--output={output} is the input; name another file")


def open_model(
    origin: str | None,
    settings: task_config.FinetuneConfig,
    server: str | None = None,
    network: str | None = None,
) -> Model:
    """Opens a preset, or asks a server what it has: see `predict`.

    Raises:
        UserError: nothing is there, or nothing that answers.
    """
    if origin is None:
        return _connect(str(server), settings, network)
    return _load(origin, settings, network)


def _learned(origin: str) -> dict[str, Any]:
    """Returns the columns that a preset learned with."""
    from electra_tf.tasks import catalog

    return catalog.learned(origin).columns


def _load(
    origin: str, settings: task_config.FinetuneConfig, network: str | None
) -> Model:
    # Not above: whoever asks a server needs no TensorFlow.
    from electra_tf.finetuning import answers, task_builder
    from electra_tf.tasks import catalog

    precision = task_builder.in_precision(settings.train.precision)
    model = catalog.load(origin, network, **settings.model.options, **precision)
    task_builder.set_stated_rows(model, settings.model)
    task_builder.set_generation(model, settings.generate)
    size = settings.train.batch_size
    this = registry.of_model(model)

    def find(inputs: list[Any]) -> list[kind.Answer]:
        this.remark(inputs)
        return answers.find(model, inputs, size)

    return Model(this, find, size * _BATCHES, model.settled())


def _connect(
    server: str, settings: task_config.FinetuneConfig, network: str | None
) -> Model:
    for section in ("model", "generate"):
        if stated := sorted(getattr(settings, section).model_fields_set):
            raise errors.UserError(
                f"{section}.{stated[0]}: a server answers as its model was exported; "
                "export it anew with this setting, or leave it out"
            )
    model = client.Model(server)
    if network == SCORER and model.kind is not scoring.KIND:
        raise errors.UserError(
            f"--server={server} has a model of {model.kind.name}, which scores no "
            "texts; export one with --network=scorer"
        )
    return Model(model.kind, model.find, settings.train.batch_size)


def warn(message: str) -> None:
    """Says what a user may want to know, on standard error."""
    sys.stderr.write(f"{message}\n")


def chunks(rows: Iterable[Row], size: int) -> Iterator[list[Row]]:
    """Yields rows, some at once; those before a bad line before its error."""
    chunk: list[Row] = []
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


def _parse(read: Callable[[tables.Row], Any], row: Row) -> Any:
    try:
        return read(row.cells)
    except tables.BadCellError as error:
        raise errors.UserError(f"{row.where}: {error}") from None


# Files to rows.


def given(texts: Iterable[str]) -> Iterator[Row]:
    """Yields texts as rows."""
    for number, text in enumerate(texts, 1):
        yield Row(f"--text {number}", {"text": text})


def read(
    source: str, options: Mapping[str, Any], names: Sequence[str]
) -> Iterator[Row]:
    """Yields the rows of a file or of stdin.

    Args:
        source: a file, or "-".
        options: of columns, as `predict` takes them.
        names: of the columns that will be asked for, beside id.

    Raises:
        UserError: it cannot be read, or a line of it.
    """
    if source == "-":
        name, table = "stdin", _stdin(names)
    else:
        name = source
        given = (value for key, value in options.items() if key.endswith("_column"))
        more = [part.strip() for value in given for part in str(value).split(",")]
        table = tables.read(Path(source), ["id", *names, *more], options.get("quoted"))
    if table.note:
        warn(f"note: {table.note}")
    for number, row in table.rows:
        where = f"{name}, {table.unit} {number}"
        if isinstance(row, str):
            raise errors.UserError(f"{where}: {row}")
        yield Row(where, row, table.is_text)


def _stdin(names: Sequence[str]) -> tables.Table:
    """Reads JSON lines where the first is an object; else texts."""
    lines = files.decode_lines(
        "stdin", lambda: contextlib.nullcontext(sys.stdin.buffer)
    )
    first = next(lines, None)
    if first is None:
        return tables.Table("line", iter(()))
    lines = itertools.chain([first], lines)
    try:
        is_object = isinstance(json.loads(first), dict)
    except (ValueError, RecursionError):
        is_object = False
    if is_object:
        return tables.Table(
            "line", tables.parse_json_lines(lines, "stdin", ["id", *names])
        )
    return tables.Table("line", tables.parse_text(lines), is_text=True)


# Answers to files.


@contextlib.contextmanager
def writer(
    output: str | None, as_text: Callable[[kind.Answer], str] | None = None
) -> Iterator[Callable[[kind.Answer], None]]:
    """Yields what writes an answer, so that it can be read at once.

    Args:
        output: see `predict`.
        as_text: what stands in a .txt for an answer; None = none is written.
    """
    if output is None:
        yield lambda answer: console.deliver(f"{files.to_json(answer)}\n")
        return
    as_table = tables.ending_of(output) == ".tsv"
    as_text = as_text if tables.ending_of(output) == ".txt" else None
    header: list[str] = []

    def write(answer: kind.Answer) -> None:
        if as_table and not header:
            header.extend(answer)
            stream.write("\t".join(header) + "\n")
        if as_table:
            line = "\t".join(_cells(answer, header, output))
        else:
            line = as_text(answer) if as_text else files.to_json(answer)
        with durable.explained(output):
            stream.write(f"{line}\n")
            stream.flush()

    opened = contextlib.ExitStack()
    with durable.explained(output):
        raw: Any = opened.enter_context(io.BufferedWriter(io.FileIO(output, "wb")))
        if output.endswith(".gz"):
            raw = opened.enter_context(gzip.GzipFile("", "wb", fileobj=raw, mtime=0))
        stream = opened.enter_context(
            io.TextIOWrapper(raw, "utf-8", errors="replace", newline="\n")
        )
    try:
        yield write
    finally:
        with durable.explained(output):
            opened.close()
            if os.path.isfile(output):
                durable.sync(output)


def _cells(answer: kind.Answer, header: Sequence[str], output: str) -> Iterator[str]:
    """Yields an answer as cells of a table that has no quotes, by its header.

    Raises:
        UserError: it has a field that the header has not: an id, a second text.
    """
    if more := [name for name in answer if name not in header]:
        raise errors.UserError(
            f"{output} has no column {more[0]!r}, which the first row had not; name "
            "an --output that ends in .jsonl"
        )
    for name in header:
        value = answer.get(name, "")
        text = (
            value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        )
        yield " ".join(text.splitlines()).replace("\t", " ")
