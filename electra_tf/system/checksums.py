"""Damage is noticed: the SHA-256 of a model's files stand beside them.

In:   a folder that is whole; a folder that is to be opened.
Out:  its SHA256SUMS, which `sha256sum -c` reads; a refusal that names the file which is
      not as it was written.

A folder without SHA256SUMS, an older one or somebody else's, passes. README.md is left
out: it is there to be edited.
"""

import contextlib
import hashlib
import os
import re
from collections.abc import Iterator, Mapping

from electra_tf import errors
from electra_tf.system import durable, reading

FILE = "SHA256SUMS"
_EDITED = ("README.md", FILE)
_LINE = re.compile(r"([0-9a-f]{64}) [ *]([^/\\][^\\]*)")


def write(folder: str) -> None:
    """Writes the checksums of all files in a folder and below it.

    Raises:
        UserError: a file cannot be read, or this one not written.
    """
    names = _stamps(folder)
    _write(folder, {name: digest(os.path.join(folder, name)) for name in names})


@contextlib.contextmanager
def renewed(folder: str | os.PathLike[str]) -> Iterator[None]:
    """Makes checksums of what is saved into a folder meanwhile, and of nothing else.

    Those of files that stay as they are stay, too: saving a part vouches for no other.
    A folder that holds somebody's other files may go on to change them.

    Args:
        folder: there or not; what is saved makes it.

    Raises:
        UserError: the checksums that are there are damaged, or cannot be written.
    """
    folder = os.fspath(folder)
    before, stored = _stamps(folder), _read(folder)
    with contextlib.suppress(FileNotFoundError):
        os.remove(os.path.join(folder, FILE))
    yield
    after = _stamps(folder)
    digests = {name: stored[name] for name in stored.keys() & after.keys()}
    for name in after:
        if after[name] != before.get(name):
            digests[name] = digest(os.path.join(folder, name))
    _write(folder, digests)


def verify(folder: str, *names: str) -> None:
    """Refuses files that are not as they were written.

    Args:
        folder: with or without checksums.
        names: of files in it; all that have a checksum unless given.

    Raises:
        UserError: one of them is damaged or gone, or the checksums are.
    """
    stored = _read(folder)
    for name in names or stored:
        path = os.path.join(folder, name)
        if stored and not (os.path.isfile(path) and stored.get(name) == digest(path)):
            raise errors.UserError(
                f"{path} is not what was written there: it has not the SHA-256 in "
                f"{FILE}; copy or make the folder again, or delete "
                f"{os.path.join(folder, FILE)} if you changed the file yourself"
            )


def verify_file(path: str) -> None:
    """Refuses a file that is not as its folder's checksums say, if they name it."""
    folder, name = os.path.split(path)
    if name in _read(folder):
        verify(folder, name)


def _stamps(folder: str) -> dict[str, tuple[int, int, int]]:
    """Returns what changes when a file is written, by its name in a folder."""
    found = {}
    for above, _, files in os.walk(folder):
        for name in files:
            if name not in _EDITED:
                path = os.path.join(above, name)
                stat = os.lstat(path)  # A link may lead nowhere.
                stamp = (stat.st_ino, stat.st_size, stat.st_mtime_ns)
                found[os.path.relpath(path, folder)] = stamp
    return found


def _write(folder: str, digests: Mapping[str, str]) -> None:
    lines = [f"{digest}  {name}\n" for name, digest in sorted(digests.items())]
    durable.write_text(os.path.join(folder, FILE), "".join(lines))


def _read(folder: str) -> dict[str, str]:
    """Returns the checksums by file; empty if there are none."""
    path = os.path.join(folder, FILE)
    if not os.path.exists(path):
        return {}
    with (
        reading.explained(path),
        open(path, encoding="utf-8", errors="replace") as file,
    ):
        lines = [_LINE.fullmatch(line.rstrip("\n")) for line in file]
    found = {line[2]: line[1] for line in lines if line}
    # No name leads out of the folder: others may have written this.
    is_safe = all(".." not in name.split("/") for name in found)
    if not found or not all(lines) or not is_safe:
        raise errors.UserError(
            f"{path} is damaged; copy or make the folder again, or delete this file to "
            "open the others unchecked"
        )
    return found


def digest(path: str) -> str:
    """Returns the SHA-256 of a file, in hexadecimal.

    Raises:
        UserError: it cannot be read.
    """
    with reading.explained(path), open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
