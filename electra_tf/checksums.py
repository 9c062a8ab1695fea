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

from electra_tf import durable, errors

FILE = "SHA256SUMS"
_EDITED = ("README.md", FILE)
_LINE = re.compile(r"([0-9a-f]{64}) [ *]([^/\\][^\\]*)")


def write(folder: str) -> None:
    """Writes the checksums of all files in a folder and below it.

    Raises:
        UserError: a file cannot be read, or this one not written.
    """
    lines = []
    for above, _, files in os.walk(folder):
        for name in files:
            if name not in _EDITED:
                path = os.path.join(above, name)
                lines.append((os.path.relpath(path, folder), _digest(path)))
    text = "".join(f"{digest}  {name}\n" for name, digest in sorted(lines))
    durable.write_text(os.path.join(folder, FILE), text)


def remove(folder: str) -> None:
    """Removes the checksums, if there are any, of files that are to change."""
    with contextlib.suppress(FileNotFoundError):
        os.remove(os.path.join(folder, FILE))


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
        if stored and not (os.path.isfile(path) and stored.get(name) == _digest(path)):
            raise errors.UserError(
                f"{path} is not what was written there: it has not the SHA-256 in "
                f"{FILE}; copy or make the folder again, or delete "
                f"{os.path.join(folder, FILE)} if you changed the file yourself"
            )


def _read(folder: str) -> dict[str, str]:
    """Returns the checksums by file; empty if there are none."""
    path = os.path.join(folder, FILE)
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            lines = [_LINE.fullmatch(line.rstrip("\n")) for line in file]
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise errors.UserError(f"cannot read {path}: {error.strerror}") from None
    found = {line[2]: line[1] for line in lines if line}
    # No name leads out of the folder: others may have written this.
    is_safe = all(".." not in name.split("/") for name in found)
    if not found or not all(lines) or not is_safe:
        raise errors.UserError(
            f"{path} is damaged; copy or make the folder again, or delete this file to "
            "open the others unchecked"
        )
    return found


def _digest(path: str) -> str:
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise errors.UserError(f"cannot read {path}: {error.strerror}") from None
