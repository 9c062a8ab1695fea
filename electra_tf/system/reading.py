"""Reads files that others may have written, or says in one line why it does not.

In:   a path.
Out:  what the file holds; a refusal of one that is no file, cannot be read, or holds
      something else.
"""

import json
import os
from typing import Any

from electra_tf import errors


def read_json(path: str) -> dict[str, Any]:
    """Reads a JSON object.

    Raises:
        UserError: it cannot be read, or is something else.
    """
    refuse_pipes(path)
    try:
        with open(path, encoding="utf-8") as file:
            values = json.load(file)
    except OSError as error:
        raise errors.UserError(f"cannot read {path}: {error.strerror}") from None
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
            f"{path} is a pipe or a device; put a file there, or name another folder"
        )
