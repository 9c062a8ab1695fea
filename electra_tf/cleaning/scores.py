"""The scores of a corpus on disk: a line of JSON a document, in their order.

In:   scored documents, some at a time.
Out:  scores.jsonl; what a run that was ended had scored already.

A process that is killed leaves whole lines and perhaps a part of one, which is cut off.
"""

import json
import os
from collections.abc import Iterator, Sequence

from electra_tf import errors
from electra_tf.cleaning import oddness
from electra_tf.system import durable, reading

FILE = "scores.jsonl"

_DIGITS = 4  # of a score


def append(path: str, documents: Sequence[Sequence[oddness.Line]]) -> None:
    """Adds the scores of documents.

    Raises:
        UserError: they cannot be written.
    """
    durable.append(path, "".join(map(_written, documents)).encode())


def _written(lines: Sequence[oddness.Line]) -> str:
    values = [
        [
            line.num_tokens,
            round(line.surprise, _DIGITS),
            *([] if line.replaced is None else [round(line.replaced, _DIGITS)]),
        ]
        for line in lines
    ]
    return json.dumps(values, separators=(",", ":")) + "\n"


def mend(path: str) -> int:
    """Cuts off what a killed process left of a line; returns how many there are."""
    if not os.path.exists(path):
        return 0
    count = end = 0
    with reading.explained(path), open(path, "rb") as file:
        for line in file:
            if line.endswith(b"\n"):
                count, end = count + 1, end + len(line)
    if end < os.path.getsize(path):
        with durable.explained(path):
            os.truncate(path, end)
    return count


def read(path: str) -> Iterator[list[oddness.Line]]:
    """Yields the scores of each document.

    Raises:
        UserError: the file is damaged.
    """
    with reading.explained(path), open(path, "rb") as file:
        for number, line in enumerate(file, 1):
            try:
                yield [
                    oddness.Line(n, surprise, *(rest or [None]))
                    for n, surprise, *rest in json.loads(line)
                ]
            except (ValueError, TypeError):
                raise errors.UserError(
                    f"{path}: line {number} is damaged; delete the file, and run the "
                    "same command again"
                ) from None
