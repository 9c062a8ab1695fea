r"""Files of text become documents, one after the other, with flat memory.

In:   folders, files and patterns of text, JSON Lines and Parquet, compressed or not;
      the word builtin.
Out:  documents: lists of sentences (lines that are not blank).

In text a blank line ends a document; in JSON Lines and Parquet a row is one. Only "\n"
ends a line.
"""

import ast
import collections
import functools
import hashlib
import importlib.util
import io
import json
import os
import pydoc_data.topics
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from electra_tf import config as configs
from electra_tf import errors
from electra_tf.text import corpus_files

BUILTIN = "builtin"

# Libraries whose docstrings are part of the built-in corpus, where installed.
_BUILTIN_LIBRARIES = ("tensorflow", "keras", "numpy", "keras_hub")

_DOCUMENTED = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef

# Longer lines and documents go on as new ones, so that memory stays flat.
_MAX_LINE_BYTES = 1 << 22
_MAX_DOCUMENT_CHARACTERS = 1 << 22

# Of a Parquet column, read at a time; of a compressed file, to see how far it grows.
_PART_BYTES = 1 << 22

# Before each article in what WikiExtractor writes.
_ARTICLE = b'<doc id="'

Document = list[str]


class Source(NamedTuple):
    """What one --corpus path stands for."""

    path: str  # as given
    files: list[Path]  # none for builtin
    num_bytes: int
    fingerprint: str  # changes when a file is added, removed, written
    left_out: list[corpus_files.LeftOut]  # what was found and is not read


class Corpus:
    """The documents of some paths, in the same order every time."""

    def __init__(
        self,
        paths: Sequence[str],
        config: configs.BuildDataConfig,
        skip: corpus_files.Skip = lambda _: None,
    ) -> None:
        """Finds the files.

        Args:
            paths: folders, files and patterns, or builtin.
            config: the settings.
            skip: says why a file or folder must not be read, if so.

        Raises:
            UserError: a path is not there, or holds no file that can be read.
        """
        self._config = config
        self.sources = [_find(path, config.text_field, skip) for path in paths]
        self.num_bytes = sum(source.num_bytes for source in self.sources)
        self.bytes_read = 0  # Of num_bytes, by the iteration that goes on.
        self.num_replaced = 0  # Characters U+FFFD put for undecodable bytes.

    def estimate_text_bytes(self) -> int:
        """Estimates how much there is once it is decompressed, from its beginnings."""
        grown = sum(_grown(file) for source in self.sources for file in source.files)
        builtin = [source.num_bytes for source in self.sources if not source.files]
        return grown + sum(builtin)

    def documents(self) -> Iterator[Document]:
        """Yields all documents that hold text.

        Raises:
            UserError: a file cannot be read, or is not what its name says; the
                message names file and place.
        """
        self.num_replaced = 0
        before = 0
        for source in self.sources:
            self.bytes_read = before
            if source.path == BUILTIN:
                for text in _builtin_texts():
                    self.bytes_read += len(text)
                    yield _sentences(text)
            for file in source.files:
                yield from self._read(file)
            before += source.num_bytes
        self.bytes_read = before

    def _read(self, file: Path) -> Iterator[Document]:
        before = self.bytes_read
        try:
            with file.open("rb") as raw:
                size = os.fstat(raw.fileno()).st_size
                for document in self._parse(file, raw):
                    self.bytes_read = before + raw.tell()
                    if document:
                        yield document
            self.bytes_read = before + size
        except corpus_files.DAMAGE as error:
            if isinstance(error, OSError) and error.errno:
                raise errors.UserError(
                    f"cannot read {file}: {error.strerror}"
                ) from None
            raise errors.UserError(_damaged(file, error)) from None

    def _parse(self, file: Path, raw: io.BufferedReader) -> Iterator[Document]:
        stream = corpus_files.decompressed(file, raw)
        form = corpus_files.form(file, stream, self._config.text_field)
        if form == "parquet":
            if stream is not raw:
                raise errors.UserError(f"{file} is compressed Parquet; decompress it")
            return self._parse_parquet(file, raw)
        if form == "jsonl":
            return self._parse_jsonl(file, stream)
        lines = self._lines(file, stream)
        if stream.peek(1).startswith(_ARTICLE):
            lines = _articles(lines)
        return _group(lines, blank_line_ends=not self._config.document_per_file)

    def _lines(self, file: Path, stream: io.BufferedReader) -> Iterator[str]:
        """Yields lines without their end; one of over 4 MB in pieces."""
        offset = 0
        rest = b""
        while piece := stream.readline(_MAX_LINE_BYTES):
            line = rest + piece
            rest = b""
            if len(piece) == _MAX_LINE_BYTES and not piece.endswith(b"\n"):
                cut = _last_word_starts(line)
                line, rest = line[:cut], line[cut:]
            text = self._decode(str(file), line, offset)
            yield text.removeprefix("\ufeff") if offset == 0 else text
            offset += len(line)
        if rest:
            yield self._decode(str(file), rest, offset)

    def _decode(self, where: str, line: bytes, offset: int) -> str:
        try:
            return line.decode("utf-8")
        except UnicodeDecodeError as error:
            if self._config.undecodable == "refuse":
                raise errors.UserError(
                    f"{where} is not UTF-8 at byte {offset + error.start}; convert it, "
                    "or --set undecodable=replace"
                ) from None
        text = line.decode("utf-8", errors="replace")
        self.num_replaced += text.count("\ufffd") - line.count(b"\xef\xbf\xbd")
        return text

    def _parse_jsonl(self, file: Path, stream: io.BufferedReader) -> Iterator[Document]:
        limit = self._config.max_json_bytes
        offset = number = 0
        while line := stream.readline(limit + 1):
            number += 1
            where = f"{file}, line {number}"
            if len(line) > limit:
                raise errors.UserError(
                    f"{where} has over {limit} bytes (setting max_json_bytes), and a "
                    "row of JSON is held in memory whole; raise the setting"
                )
            text = self._decode(str(file), line, offset)
            text = text.removeprefix("\ufeff") if offset == 0 else text
            offset += len(line)
            if text.strip():
                yield from self._field(where, self._row(where, text))

    def _row(self, where: str, line: str) -> Any:
        """Returns what the text field of a line of JSON holds."""
        try:
            row = json.loads(line)
        except RecursionError:
            raise errors.UserError(f"{where}: its JSON is nested too deep") from None
        except ValueError as error:
            hint = (
                "; want one object per line, no array" if line.startswith("[") else ""
            )
            raise errors.UserError(f"{where} is not JSON: {error}{hint}") from None
        if not isinstance(row, dict) or self._config.text_field not in row:
            raise errors.UserError(
                f"{where} has no field {self._config.text_field!r} (setting "
                f"text_field); it holds {_names(row)}"
            )
        return row[self._config.text_field]

    def _parse_parquet(self, file: Path, raw: io.BufferedReader) -> Iterator[Document]:
        try:
            import pyarrow
            from pyarrow import parquet
        except ImportError:
            raise errors.UserError(
                f"{file}: reading Parquet needs pyarrow; pip install pyarrow"
            ) from None
        column = self._config.text_field
        try:
            table = parquet.ParquetFile(raw, buffer_size=1 << 20)
            names = table.schema_arrow.names
            if column not in names:
                raise errors.UserError(
                    f"{file} has no column {column!r} (setting text_field); "
                    f"it has {', '.join(names)}"
                )
            num_rows = _rows_at_a_time(table.metadata.num_rows, file.stat().st_size)
            batches = table.iter_batches(num_rows, None, [column])
            values = (value for batch in batches for value in _values(batch.column(0)))
            for row, value in enumerate(values, 1):
                yield from self._field(f"{file}, row {row}", value)
        except pyarrow.ArrowException as error:
            raise errors.UserError(
                f"{file} is not Parquet: {errors.one_line(error, 160)}; make it again, "
                "or leave it out"
            ) from None

    def _field(self, where: str, value: Any) -> Iterator[Document]:
        """Yields the document that a row's text is, a very long one as several."""
        if value is None:  # No text.
            return
        if isinstance(value, str):
            # JSON can write half a surrogate pair, which no UTF-8 has.
            value = value.encode("utf-8", "surrogatepass")
        if not isinstance(value, bytes):
            raise errors.UserError(
                f"{where}: field {self._config.text_field!r} (setting text_field) "
                f"is {value!r:.40}, want text"
            )
        text = self._decode(where, value, 0)
        if len(text) < _MAX_DOCUMENT_CHARACTERS:
            yield _sentences(text)
        else:
            lines = (
                piece
                for line in text.split("\n")
                for piece in cut_line(line, _MAX_LINE_BYTES)
            )
            yield from _group(lines, blank_line_ends=False)


def _damaged(file: Path, error: Exception) -> str:
    return (
        f"{file} is damaged: {errors.one_line(error, 160)}; copy it again, or leave it "
        "out"
    )


def _rows_at_a_time(num_rows: int, num_bytes: int) -> int:
    """Returns how many rows of a Parquet file, as it lies on disk, are _PART_BYTES.

    Not from the sizes in its metadata: pyarrow aborts when these are damaged.
    """
    return max(1, min(1000, _PART_BYTES * num_rows // max(1, num_bytes)))


def _values(column: Any) -> list[Any]:
    """Returns a Parquet column's values, text as the bytes that stand there."""
    import pyarrow

    if pyarrow.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    for kind, raw in (
        (pyarrow.string(), pyarrow.binary()),
        (pyarrow.large_string(), pyarrow.large_binary()),
        (pyarrow.string_view(), pyarrow.binary_view()),
    ):
        if column.type == kind:
            column = column.cast(raw)
    values: list[Any] = column.to_pylist()
    return values


def _grown(file: Path) -> int:
    """Estimates what a file holds once it is decompressed."""
    size = file.stat().st_size
    try:
        with file.open("rb") as raw:
            if raw.peek(4).startswith(b"PAR1"):
                return _grown_columns(raw)
            stream = corpus_files.decompressed(file, raw)
            if stream is raw:
                return size
            held = len(stream.read(_PART_BYTES))
            # At its end the estimate is exact.
            return round(held * max(1.0, size / max(1, raw.tell())))
    except (ImportError, ValueError, *corpus_files.DAMAGE):
        return size  # Whoever reads it all will say what is wrong.


def _grown_columns(raw: io.BufferedReader) -> int:
    import pyarrow
    from pyarrow import parquet

    try:
        metadata = parquet.ParquetFile(raw).metadata
        groups = map(metadata.row_group, range(metadata.num_row_groups))
        return sum(group.total_byte_size for group in groups)
    except pyarrow.ArrowException as error:
        raise ValueError(str(error)) from None


def _find(path: str, text_field: str, skip: corpus_files.Skip) -> Source:
    if path == BUILTIN:
        texts = _builtin_texts()
        digest = hashlib.sha256("\0".join(texts).encode()).hexdigest()
        return Source(path, [], sum(map(len, texts)), digest, [])
    files, left_out = corpus_files.find(path, text_field, skip)
    stats = [file.stat() for file in files]
    listing = "\n".join(
        f"{file} {stat.st_size} {stat.st_mtime_ns}"
        for file, stat in zip(files, stats, strict=True)
    )
    return Source(
        path,
        files,
        sum(stat.st_size for stat in stats),
        hashlib.sha256(os.fsencode(listing)).hexdigest(),
        left_out,
    )


def _sentences(text: str) -> Document:
    return [line for line in map(str.strip, text.split("\n")) if line]


def _group(lines: Iterator[str], blank_line_ends: bool) -> Iterator[Document]:
    document: Document = []
    size = 0
    for line in lines:
        sentence = line.strip()
        if sentence:
            document.append(sentence)
            size += len(sentence)
        if size >= _MAX_DOCUMENT_CHARACTERS or (blank_line_ends and not sentence):
            yield document
            document = []
            size = 0
    yield document


def cut_line(line: str, size: int) -> Iterator[str]:
    """Yields a line, in pieces where it is over twice `size`, cut after a space."""
    start = 0
    while len(line) - start > 2 * size:
        cut = line.rfind(" ", start, start + size) + 1 or start + size
        yield line[start:cut]
        start = cut
    yield line[start:]


def _articles(lines: Iterator[str]) -> Iterator[str]:
    """Yields WikiExtractor's articles, a blank line in place of what is around each."""
    for line in lines:
        if line.startswith(_ARTICLE.decode()) or line.rstrip() == "</doc>":
            yield ""
        elif line.strip():
            yield line


def _last_word_starts(line: bytes) -> int:
    """Returns where to cut a piece of a line: after a space, or between characters."""
    cut = line.rfind(b" ") + 1
    if cut == 0:
        cut = len(line) - 1
        while cut > 1 and line[cut] & 0xC0 == 0x80:  # Inside a character.
            cut -= 1
    return cut


def _names(row: Any) -> str:
    return ", ".join(map(repr, row)) if isinstance(row, dict) else f"{row!r:.40}"


@functools.cache
def _builtin_texts() -> tuple[str, ...]:
    """Returns the documentation that comes with Python and the libraries, once each.

    About 13 MB; read from the sources, for importing all modules takes minutes and
    may fail.
    """
    texts = dict.fromkeys(text for _, text in sorted(pydoc_data.topics.topics.items()))
    for library in _BUILTIN_LIBRARIES:
        spec = importlib.util.find_spec(library)
        if spec is None or spec.origin is None:
            continue
        for file in sorted(Path(spec.origin).parent.rglob("*.py")):
            texts.update(dict.fromkeys(_docstrings(file)))
    return tuple(text for text in texts if text.strip())


def _docstrings(file: Path) -> Iterator[str]:
    """Yields the docstrings of a module, its classes and functions; none if broken."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Not ours to mend.
            tree = ast.parse(file.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return
    waiting: collections.deque[ast.AST] = collections.deque([tree])
    while waiting:
        node = waiting.popleft()
        if isinstance(node, _DOCUMENTED) and (text := ast.get_docstring(node)):
            yield text.encode("utf-8", "replace").decode("utf-8")
        if not isinstance(node, ast.expr):
            waiting.extend(ast.iter_child_nodes(node))
