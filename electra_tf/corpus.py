r"""Files of text become documents, one after the other, with flat memory.

In:   folders, files and globs of .txt, .jsonl, .gz of both, .parquet; the word builtin.
Out:  documents: lists of sentences (lines that are not blank).

In a .txt a blank line ends a document; in .jsonl and Parquet a row is one. Only "\n"
ends a line.
"""

import ast
import collections
import functools
import glob
import gzip
import hashlib
import importlib.util
import json
import os
import pydoc_data.topics
import warnings
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple

from electra_tf import config as configs
from electra_tf import errors

BUILTIN = "builtin"

# Libraries whose docstrings are part of the built-in corpus, where installed.
_BUILTIN_LIBRARIES = ("tensorflow", "keras", "numpy", "keras_hub")

_DOCUMENTED = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef

_ENDINGS = (".txt", ".txt.gz", ".jsonl", ".jsonl.gz", ".parquet")

# Longer lines and documents go on as new ones, so that memory stays flat.
_MAX_LINE_BYTES = 1 << 22
_MAX_DOCUMENT_CHARACTERS = 1 << 22

Document = list[str]


class Source(NamedTuple):
    """What one --corpus path stands for."""

    path: str  # as given
    files: list[Path]  # none for builtin
    num_bytes: int
    fingerprint: str  # changes when a file is added, removed, written


class Corpus:
    """The documents of some paths, in the same order every time."""

    def __init__(self, paths: Sequence[str], config: configs.BuildDataConfig) -> None:
        """Finds the files.

        Raises:
            UserError: a path is not there, or holds no file that can be read.
        """
        self._config = config
        self.sources = [_find(path) for path in paths]
        self.num_bytes = sum(source.num_bytes for source in self.sources)
        self.bytes_read = 0  # Of num_bytes, by the iteration that goes on.
        self.num_replaced = 0  # Characters U+FFFD put for undecodable bytes.

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
                for document in self._parse(file, raw):
                    self.bytes_read = before + raw.tell()
                    if document:
                        yield document
                self.bytes_read = before + raw.tell()
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise errors.UserError(f"{file} is damaged: {error}") from None
        except OSError as error:
            raise errors.UserError(f"cannot read {file}: {error.strerror}") from None

    def _parse(self, file: Path, raw: IO[bytes]) -> Iterator[Document]:
        name = file.name
        if name.endswith(".parquet"):
            return self._parse_parquet(file, raw)
        if name.endswith(".gz"):
            raw = gzip.GzipFile(fileobj=raw)  # type: ignore[assignment]
            name = name.removesuffix(".gz")
        lines = self._lines(file, raw)
        if name.endswith(".jsonl"):
            return self._parse_jsonl(file, lines)
        return _group(lines, blank_line_ends=not self._config.document_per_file)

    def _lines(self, file: Path, stream: IO[bytes]) -> Iterator[str]:
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

    def _parse_jsonl(self, file: Path, lines: Iterator[str]) -> Iterator[Document]:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            where = f"{file}, line {number}"
            try:
                row = json.loads(line)
            except ValueError as error:
                raise errors.UserError(f"{where} is not JSON: {error}") from None
            if not isinstance(row, dict) or self._config.text_field not in row:
                raise errors.UserError(
                    f"{where} has no field {self._config.text_field!r} (setting "
                    f"text_field); it holds {_names(row)}"
                )
            yield self._field(where, row[self._config.text_field])

    def _parse_parquet(self, file: Path, raw: IO[bytes]) -> Iterator[Document]:
        try:
            import pyarrow
            from pyarrow import parquet
        except ImportError:
            raise errors.UserError(
                f"{file}: reading Parquet needs pyarrow; pip install pyarrow"
            ) from None
        column = self._config.text_field
        try:
            table = parquet.ParquetFile(raw)
            names = table.schema_arrow.names
            if column not in names:
                raise errors.UserError(
                    f"{file} has no column {column!r} (setting text_field); "
                    f"it has {', '.join(names)}"
                )
            batches = table.iter_batches(batch_size=1000, columns=[column])
            values = (
                value for batch in batches for value in batch.column(0).to_pylist()
            )
            for row, value in enumerate(values, 1):
                yield self._field(f"{file}, row {row}", value)
        except pyarrow.ArrowException as error:
            raise errors.UserError(f"{file} is not Parquet: {error}") from None

    def _field(self, where: str, value: Any) -> Document:
        """Returns the document that a row's text is; null is no text."""
        if value is None:
            return []
        if not isinstance(value, str):
            raise errors.UserError(
                f"{where}: field {self._config.text_field!r} (setting text_field) "
                f"is {value!r:.40}, want text"
            )
        # JSON can write half a surrogate pair, which no UTF-8 has.
        data = value.encode("utf-8", "surrogatepass")
        return _sentences(self._decode(where, data, 0))


def _find(path: str) -> Source:
    if path == BUILTIN:
        texts = _builtin_texts()
        digest = hashlib.sha256("\0".join(texts).encode()).hexdigest()
        return Source(path, [], sum(map(len, texts)), digest)
    found = Path(path)
    if found.is_dir():
        files = _walk(found)
    elif found.exists():
        files = [found]
    else:
        files = [Path(file) for file in sorted(glob.glob(path, recursive=True))]
        files = [file for file in files if file.is_file()]
        if not files:
            raise errors.UserError(
                f"--corpus={path}: no such file or folder, and as a pattern it matches "
                "none"
            )
    for file in files:
        if not file.name.endswith(_ENDINGS):
            raise errors.UserError(
                f"--corpus={path}: cannot read {file}; want {' '.join(_ENDINGS)}"
            )
    if not files:
        raise errors.UserError(
            f"--corpus={path}: no file in this folder ends in {' '.join(_ENDINGS)}"
        )
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
    )


def _walk(folder: Path) -> list[Path]:
    """Returns the corpus files in and under a folder, sorted, hidden ones left out."""
    return sorted(
        file
        for file in folder.rglob("*")
        if file.name.endswith(_ENDINGS)
        and file.is_file()
        and not any(part.startswith(".") for part in file.relative_to(folder).parts)
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
