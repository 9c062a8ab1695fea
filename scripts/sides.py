"""Two or more processes that do the same work in turn, for the scripts that compare.

In:   a Python of an environment each, and what to ask of them, JSON values.
Out:  what they answer. All stay alive, so that A B A B costs no start.
"""

import json
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any


class Side:
    """A process that does what it is asked: `python script --side=name`."""

    def __init__(self, python: str, script: str, name: str, setting: Any) -> None:
        """Starts it and waits until it is ready."""
        self._process = subprocess.Popen(
            [python, script, f"--side={name}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.ready = self.ask(setting)

    def ask(self, question: Any) -> Any:
        """Returns the answer, once it is there."""
        assert self._process.stdin
        assert self._process.stdout
        print(json.dumps(question), file=self._process.stdin, flush=True)
        answer = self._process.stdout.readline()
        if not answer:
            sys.exit("one side ended; its error stands above")
        return json.loads(answer)

    def close(self) -> None:
        """Ends it, which gives its memory back."""
        self._process.kill()
        self._process.communicate()


class Asker:
    """The other end of the line, seen from a side."""

    def __init__(self) -> None:
        """Keeps standard output for answers; what others print goes to stderr."""
        self._answers, sys.stdout = sys.stdout, sys.stderr

    def __iter__(self) -> Iterator[Any]:
        """Yields questions until there are no more; each wants an answer."""
        return map(json.loads, sys.stdin)

    def hear(self) -> Any:
        """Returns the next question."""
        line = sys.stdin.readline()
        if not line:
            sys.exit(0)
        return json.loads(line)

    def answer(self, value: Any) -> None:
        """Answers the question."""
        print(json.dumps(value), file=self._answers, flush=True)


def serve(side: Callable[[Any, Asker], None]) -> None:
    """Runs a side: it is given the setting, and whom to answer."""
    asker = Asker()
    side(asker.hear(), asker)


def ratios(slow: Sequence[float], fast: Sequence[float]) -> str:
    """Returns the median of the ratios pair by pair, and their range."""
    found = [a / b for a, b in zip(slow, fast, strict=True)]
    return f"{statistics.median(found):.2f} ({min(found):.2f} to {max(found):.2f})"
