"""Reads files that others may have written, or says in one line why it does not.

In:   a path.
Out:  what the file holds; a refusal of one that is no file, cannot be read, or holds
      something else.
"""

import contextlib
import json
import os
from collections.abc import Iterator
from typing import Any

from electra_tf import errors


@contextlib.contextmanager
def explained(what: object) -> Iterator[None]:
    """Turns what the system refuses to read into one line that names `what`.

    Raises:
        UserError: it does.
    """
    try:
        yield
    except OSError as error:
        raise errors.UserError(f"cannot read {what}: {error.strerror}") from None


def read_json(path: str) -> dict[str, Any]:
    """Reads a JSON object.

    Raises:
        UserError: it cannot be read, or is something else.
    """
    refuse_pipes(path)
    with explained(path), open(path, "rb") as file:
        data = file.read()
    try:
        values = json.loads(data.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise errors.UserError(
            f"{path} is not JSON: {errors.one_line(error, 160)}"
        ) from None
    if not isinstance(values, dict):
        raise errors.UserError(f"{path}: want a JSON object, got {values!r:.60}")
    return values


def refuse_pipes(path: str) -> None:
    """Refuses what one would wait for, perhaps for ever: pipes, devices."""
    if os.path.exists(path) and not (os.path.isfile(path) or os.path.isdir(path)):
        raise errors.UserError(
            f"{path} is a pipe or a device; put a file there, or name another"
        )
