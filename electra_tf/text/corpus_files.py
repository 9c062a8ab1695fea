"""Finds and opens the files of a corpus, by what they hold rather than what they say.

In:   a folder, a file or a pattern.
Out:  its files in order, and what was left out and why; their bytes, decompressed;
      whether these are text, JSON Lines or Parquet.
"""

import bz2
import glob
import gzip
import io
import json
import lzma
import os
import re
import stat
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, Literal, NamedTuple

from electra_tf import errors

Form = Literal["text", "jsonl", "parquet"]

# What counts in a folder; a file that is named outright may end in anything.
_TEXT, _ROWS, _PARQUET = (".txt", ".text"), (".jsonl", ".ndjson"), (".parquet",)
_COMPRESSED = (".gz", ".zst", ".bz2", ".xz")
# wiki_00, part-00000, news.en-00001-of-00100: what programs call the parts of a whole.
_NUMBERED = re.compile(r".*[-._]\d+(-of-\d+)?")

_HEAD_BYTES = 4096
_OBJECT_STARTS = re.compile(rb'(\xef\xbb\xbf)?\s*\{\s*"')

# Archives and the like, which hold no text until they are taken apart.
_ARCHIVES = {
    b"PK\x03\x04": "a zip archive",
    b"7z\xbc\xaf\x27\x1c": "a 7z archive",
    b"%PDF-": "a PDF",
    b"\xff\xfe": "UTF-16, not UTF-8",
    b"\xfe\xff": "UTF-16, not UTF-8",
}

# What reading a damaged file ends in, of the libraries that decompress.
DAMAGE = (OSError, EOFError, zlib.error, lzma.LZMAError)

# Why a file or folder is not read, if so.
Skip = Callable[[Path], str | None]


class LeftOut(NamedTuple):
    """A file, link or folder that was not read."""

    name: str  # within the folder
    why: str


class Found(NamedTuple):
    """What one path stands for."""

    files: list[Path]
    left_out: list[LeftOut]


def split(value: str) -> list[str]:
    """Splits a value of --corpus at its commas, unless a file's name has them."""
    if "," not in value or os.path.lexists(value) or glob.glob(value):
        return [value] if value else []
    return [path for path in value.split(",") if path]


def find(path: str, text_field: str, skip: Skip) -> Found:
    """Finds the files of a path.

    A folder is read with what is under it, links followed, what has a known ending;
    a file that is named, or matched by a pattern, is read whatever its ending.

    Args:
        path: a folder, a file or a pattern.
        text_field: setting, to tell the .json files in a folder that are corpora.
        skip: says why a file or folder must not be read, if so.

    Raises:
        UserError: nothing is there, or something in it cannot be read.
    """
    named = Path(path)
    if named.is_dir():
        if why := skip(named):
            raise errors.UserError(f"--corpus={path} is {why}; want a folder of text")
        return _walk(named, text_field, skip)
    if os.path.lexists(path):
        _refuse_unreadable(named)
        return Found([named], [])
    found = Found([], [])
    for name in sorted(glob.glob(path, recursive=True)):
        file = Path(name)
        why = skip(file) or (None if file.is_file() else _what_it_is(file))
        if why:
            found.left_out.append(LeftOut(name, why))
        else:
            _refuse_unreadable(file)
            found.files.append(file)
    if not found.files:
        why = f": {describe(found.left_out)} alone" if found.left_out else ""
        raise errors.UserError(
            f"--corpus={path}: no such file or folder, and as a pattern it matches "
            f"none{why}"
        )
    return found


def describe(left_out: list[LeftOut], shown: int = 3) -> str:
    """Counts what was left out, by the reason, and names the first few."""
    names: dict[str, list[str]] = {}
    for name, why in left_out:
        names.setdefault(why, []).append(name)
    return ", ".join(
        f"{len(found)} {why} ({', '.join(found[:shown])}"
        f"{' ...' if len(found) > shown else ''})"
        for why, found in names.items()
    )


def decompressed(file: Path, raw: io.BufferedReader) -> io.BufferedReader:
    """Returns what a file holds, decompressed where its first bytes say so.

    Raises:
        UserError: a library for it is missing.
    """
    magic = raw.peek(6)[:6]
    for start, reader in _READERS.items():
        if magic.startswith(start):
            return io.BufferedReader(reader(file, raw), 1 << 16)
    return raw


def form(file: Path, stream: io.BufferedReader, text_field: str) -> Form:
    """Tells what a file holds.

    Args:
        file: for its ending, and to look at its first line.
        stream: as `decompressed` returns it, at its start; not moved.
        text_field: setting; a line of text may begin as JSON does.

    Raises:
        UserError: it holds none of the three.
    """
    head = stream.peek(_HEAD_BYTES)[:_HEAD_BYTES]
    ending = _ending(file)
    for start, what in _ARCHIVES.items():
        if head.startswith(start):
            raise errors.UserError(f"{file} is {what}; convert it, or leave it out")
    if head.startswith(b"PAR1") or ending in _PARQUET:
        return "parquet"
    if ending in (*_ROWS, ".json"):
        return "jsonl"
    if _OBJECT_STARTS.match(head) and _first_row_has(file, text_field):
        return "jsonl"
    if ending not in _TEXT and b"\0" in head:
        raise errors.UserError(
            f"{file} is no text: it has bytes of 0; convert it, or leave it out"
        )
    return "text"


def _walk(folder: Path, text_field: str, skip: Skip) -> Found:
    """Returns the corpus files in and under a folder, sorted."""
    found = Found([], [])
    seen: set[tuple[int, int]] = set()
    folders = [folder]
    links: list[Path] = []  # Taken later: what they lead to may be read already.
    while folders or links:
        here = folders.pop() if folders else links.pop(0)
        place = here.stat()
        if (place.st_dev, place.st_ino) in seen:
            found.left_out.append(_left_out(folder, here, "linked, read already"))
            continue
        seen.add((place.st_dev, place.st_ino))
        for file in _entries(here):
            why = "hidden" if file.name.startswith(".") else skip(file)
            if why is None and file.is_dir():
                (links if file.is_symlink() else folders).append(file)
                continue
            if why is None:
                why = _why_not_read(file, text_field)
            if why is None:
                found.files.append(file)
            else:
                found.left_out.append(_left_out(folder, file, why))
    found.files.sort()
    found.left_out.sort()
    if not found.files:
        raise errors.UserError(
            f"--corpus={folder}: no file in this folder ends in "
            f"{' '.join((*_TEXT, *_ROWS, *_PARQUET))}"
            + (f"; left out: {describe(found.left_out)}" if found.left_out else "")
        )
    return found


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError as error:
        raise errors.UserError(
            f"cannot read folder {folder}: {error.strerror}; open or remove it"
        ) from None


def _left_out(folder: Path, file: Path, why: str) -> LeftOut:
    return LeftOut(str(file.relative_to(folder)), why)


def _why_not_read(file: Path, text_field: str) -> str | None:
    """Says why a file in a folder is left out, if it is."""
    if not file.is_file():
        return _what_it_is(file)
    ending = _ending(file)
    if ending in (*_TEXT, *_ROWS, *_PARQUET):
        _refuse_unreadable(file)
        return None
    bare = _bare(file)
    is_numbered = _NUMBERED.fullmatch(bare) or (
        bare != file.name.lower() and not ending
    )
    if ending != ".json" and not is_numbered:
        return "of other endings"
    _refuse_unreadable(file)
    try:
        if ending == ".json":
            return None if _first_row_has(file, text_field) else "of no rows of text"
        return None if _holds_text(file, text_field) else "of no text"
    except DAMAGE:
        return None  # Whoever reads it says so, and stops.


def _holds_text(file: Path, text_field: str) -> bool:
    with file.open("rb") as raw:
        stream = decompressed(file, raw)
        try:
            form(file, stream, text_field)
        except errors.UserError:
            return False
    return True


def _what_it_is(file: Path) -> str:
    """Names what is there and is no file; short, to be counted."""
    try:
        mode = file.stat().st_mode
    except OSError:
        return "a link that leads nowhere"
    kinds = {
        stat.S_IFIFO: "a pipe",
        stat.S_IFSOCK: "a socket",
        stat.S_IFCHR: "a device",
        stat.S_IFBLK: "a device",
        stat.S_IFDIR: "a folder",
    }
    return kinds.get(stat.S_IFMT(mode), "no file")


def _refuse_unreadable(file: Path) -> None:
    """Says at once what could not be read, before hours of work."""
    if not file.is_file():
        raise errors.UserError(
            f"{file} is {_what_it_is(file)}; want a file, which is read twice"
        )
    if not os.access(file, os.R_OK):
        raise errors.UserError(f"cannot read {file}: Permission denied")


def _bare(file: Path) -> str:
    """Returns a file's name without what its compression adds."""
    name = file.name.lower()
    for ending in _COMPRESSED:
        name = name.removesuffix(ending)
    return name


def _ending(file: Path) -> str:
    return os.path.splitext(_bare(file))[1]


def _first_row_has(file: Path, text_field: str) -> bool:
    """Tells whether a file's first line with anything in it is a row of JSON Lines."""
    with file.open("rb") as raw:
        stream = decompressed(file, raw)
        line = next(filter(bytes.strip, _lines(stream)), b"")
    try:
        row = json.loads(line.removeprefix(b"\xef\xbb\xbf"))
    except (ValueError, RecursionError):
        return False
    return isinstance(row, dict) and text_field in row


def _lines(stream: IO[bytes], limit: int = 1 << 28) -> Iterator[bytes]:
    while line := stream.readline(limit):
        yield line


class _ZstandardReader(io.RawIOBase):
    """Reads Zstandard's frames, and knows when the last one ends early."""

    # A frame of RLE blocks grows 30,000 times: so little is taken at once.
    _INPUT_BYTES = 1 << 13

    def __init__(self, file: Path, raw: IO[bytes]) -> None:
        try:
            import zstandard
        except ImportError:
            raise errors.UserError(
                f"{file}: reading Zstandard needs zstandard; pip install zstandard"
            ) from None
        self._library = zstandard
        self._raw = raw
        self._frame: Any = None
        self._compressed = self._held = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        """Fills a buffer; 0 bytes at the end.

        Raises:
            EOFError: the file ends within a frame.
            OSError: what is there is no such frame.
        """
        while not self._held:
            data = self._compressed or self._raw.read(self._INPUT_BYTES)
            if not data:
                if self._frame is not None:
                    raise EOFError("it ends before its last frame does")
                return 0
            if self._frame is None:
                # Frames made with --long want more than is allowed by default.
                maker = self._library.ZstdDecompressor(max_window_size=1 << 31)
                self._frame = maker.decompressobj()
            try:
                self._held = self._frame.decompress(data)
            except self._library.ZstdError as error:
                raise OSError(str(error)) from None
            self._compressed = self._frame.unused_data
            if self._frame.eof:
                self._frame = None
        size = min(len(buffer), len(self._held))
        buffer[:size] = self._held[:size]
        self._held = self._held[size:]
        return size


# By a file's first bytes.
_READERS: dict[bytes, Callable[[Path, IO[bytes]], Any]] = {
    b"\x1f\x8b": lambda _, raw: gzip.GzipFile(fileobj=raw),
    b"BZh": lambda _, raw: bz2.BZ2File(raw),
    b"\xfd7zXZ\0": lambda _, raw: lzma.LZMAFile(raw),  # noqa: SIM115
    b"\x28\xb5\x2f\xfd": _ZstandardReader,
}
