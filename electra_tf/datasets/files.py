r"""Finds the files of a data set and reads their text.

In:   a folder, the names that a split's file may have.
Out:  paths; text without byte order mark, or its lines; a count of unusable rows.

Text is UTF-8, or UTF-16 where it begins with a byte order mark, as Excel's "Unicode
text" does. Only "\n" and "\r\n" end a line. A name that ends in .gz is unpacked.
"""

import codecs
import contextlib
import gzip
import io
import json
import re
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, cast

from electra_tf import errors
from electra_tf.system import reading

# Above this share of unusable rows a file is refused: it is another format.
MAX_BAD_RATE = 0.01

# Besides "\n", `str.splitlines` and some editors end lines at these; JSON does not.
_LINE_ENDS = re.compile("[\x85\u2028\u2029]")

# What the file of a split is called, but for its ending.
STEMS: dict[str, tuple[str, ...]] = {
    "train": ("train",),
    "dev": ("dev", "valid", "validation"),
    "test": ("test",),
}


def locate(
    folder: str,
    stems: Mapping[str, Iterable[str]],
    endings: Iterable[str],
    given: Mapping[str, str | None],
) -> dict[str, Path]:
    """Returns the file of each split that is there.

    Args:
        folder: where to look.
        stems: the names that each split's file may have, without ending.
        endings: with their dot; "" for none.
        given: files that the user named, relative to the folder; None = look, "" =
            there is none.

    Raises:
        UserError: no folder, no file, or two for one split.
    """
    root = check_folder(folder)
    endings = [ending + packed for ending in endings for packed in ("", ".gz")]
    found = {}
    for split, names in stems.items():
        name = given.get(split)
        if name == "":
            continue
        if name:
            found[split] = root / name
            continue
        names = [stem + ending for stem in names for ending in endings]
        there = [root / name for name in names if (root / name).is_file()]
        if len(there) > 1:
            raise errors.UserError(
                f"{folder} holds {' and '.join(path.name for path in there)}; "
                f"say which with the option {split}"
            )
        if there:
            found[split] = there[0]
    if not found:
        wanted = sorted({stem for names in stems.values() for stem in names})
        raise errors.UserError(
            f"{folder} holds no {', '.join(wanted)} with an ending of "
            f"{' '.join(ending or '(none)' for ending in endings)}; "
            "name the files with the options train, dev, test"
        )
    for path in found.values():
        if path.exists() and not (path.is_file() or path.is_dir()):
            raise errors.UserError(f"{path} is a pipe or a device; name a file")
    return found


def check_folder(folder: str) -> Path:
    """Returns the folder's path.

    Raises:
        UserError: it is none.
    """
    root = Path(folder)
    if not root.is_dir():
        what = "is a file, want its folder" if root.exists() else "is not there"
        raise errors.UserError(f"data folder {folder} {what}")
    return root


def read_text(path: Path) -> str:
    """Returns all text of a file.

    Raises:
        UserError: it is not there, damaged, empty, or not UTF-8.
    """
    text = "".join(decode_lines(str(path), lambda: unpacked(path)))
    if not text.strip():
        raise errors.UserError(f"{path} is empty")
    return text


def unpacked(path: Path) -> BinaryIO:
    """Opens a file to read its bytes, those in a .gz."""
    if path.name.endswith(".gz"):
        return cast(BinaryIO, gzip.open(path))
    return path.open("rb")


def decode_lines(
    name: str, opened: Callable[[], contextlib.AbstractContextManager[Any]]
) -> Iterator[str]:
    """Yields the lines of text with their ends, as they come.

    Args:
        name: of the file, for messages.
        opened: gives a stream of bytes.

    Raises:
        UserError: it is not there, damaged, or not UTF-8.
    """
    with explained(name), opened() as raw:
        stream = raw if hasattr(raw, "peek") else io.BufferedReader(raw)
        if stream.peek(2)[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
            wrapper = io.TextIOWrapper(stream, "utf-16", newline="\n")
            try:
                for line in wrapper:  # Not `yield from`, which would close it.
                    yield line
            except UnicodeError as error:
                raise errors.UserError(
                    f"{name} begins as UTF-16 and is not ({error}); save it as UTF-8"
                ) from None
            finally:
                wrapper.detach()
            return
        offset = 0
        for number, line in enumerate(stream, 1):
            if number == 1:
                _refuse_zeros(name, line)
            text = _decode(line, f"{name}, line {number}", offset)
            yield text.removeprefix("\ufeff") if number == 1 else text
            offset += len(line)


def _decode(line: bytes, where: str, offset: int) -> str:
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError as error:
        raise errors.UserError(
            f"{where} is not UTF-8 (byte {offset + error.start} is "
            f"0x{line[error.start]:02x}); convert the file, for example with iconv, "
            'or save it from Excel as "CSV UTF-8"'
        ) from None


def _refuse_zeros(name: str, line: bytes) -> None:
    if line.count(b"\0") * 3 > len(line):
        raise errors.UserError(
            f"{name}, line 1 holds bytes of 0, as binary files do, and UTF-16 without "
            "a byte order mark; save it as UTF-8"
        )


@contextlib.contextmanager
def explained(name: str) -> Iterator[None]:
    """Says of a file that cannot be read why, in one line."""
    with reading.explained(name):
        try:
            yield
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise errors.UserError(f"{name} is damaged: {error}") from None


def read_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yields (number from 1, line without its end); a blank line is "".

    Raises:
        UserError: as `read_text`.
    """
    for number, line in enumerate(read_text(path).split("\n"), 1):
        yield number, line.removesuffix("\r") if line.strip() else ""


def parse_json(text: str, where: str) -> Any:
    """Parses JSON.

    Raises:
        UserError: it is none; `where` names the place.
    """
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise errors.UserError(f"{where} is not JSON: {error}") from None


def clean(text: str) -> str:
    """Replaces halves of surrogate pairs, which JSON can write and UTF-8 cannot."""
    return re.sub("[\ud800-\udfff]", "\ufffd", text)


def check_columns(
    path: Path, there: Iterable[str], wanted: Iterable[str], way_out: str = ""
) -> None:
    """Checks that all wanted columns are there.

    Args:
        path: of the file.
        there: its columns.
        wanted: some of them.
        way_out: what to do where one is not.

    Raises:
        UserError: one is not.
    """
    there = list(there)
    for name in wanted:
        if name not in there:
            raise errors.UserError(
                f"{path} has no column {name!r}; it has "
                f"{errors.listed(map(repr, there))}{way_out}"
            )


class BadRows:
    """Rows of a file that cannot be used: few are skipped, many are refused."""

    def __init__(self, path: Path) -> None:
        self.remark = ""  # what else is to be said of the file
        self._path = path
        self._reasons: list[str] = []

    def add(self, where: str, reason: str) -> None:
        """Counts a row; `where` is its place in the file, as in "line 3"."""
        self._reasons.append(f"{where}: {reason}")

    def check(self, num_good: int, labelled: bool) -> tuple[int, str]:
        """Returns how many there are, and a line of what is to be said.

        Args:
            num_good: the other rows.
            labelled: False allows none: every row must get its prediction.

        Raises:
            UserError: too many, or no good ones.
        """
        num_bad = len(self._reasons)
        total = num_bad + num_good
        if num_bad > MAX_BAD_RATE * total or (num_bad and not labelled):
            raise errors.UserError(
                f"{self._path}, {self._reasons[0]} ({num_bad} of {total} rows are bad)"
            )
        if not num_good:
            raise errors.UserError(f"{self._path} holds no examples")
        if not num_bad:
            return 0, self.remark
        named = errors.listed(self._reasons, limit=3, separator="; ")
        skipped = f"{self._path}: {num_bad} of {total} rows skipped: {named}"
        return num_bad, "; ".join(filter(None, [self.remark, skipped]))


def to_json(value: Any) -> str:
    """Returns JSON of one line, whatever a reader takes for the end of one."""
    text = json.dumps(value, ensure_ascii=False)
    return _LINE_ENDS.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
