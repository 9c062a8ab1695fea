"""What a command says to people, and how it says it.

In:   text from anywhere, file names and data included.
Out:  lines on a terminal or in a log that nothing in the text can disturb.

A reader that goes away, a full disk and a closed stream stop no command whose work lies
in files: it goes on and says so. What is being done is said where nothing else is.
"""

import contextlib
import io
import json
import os
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TextIO

from electra_tf import errors
from electra_tf.system import durable, native_log

# Control characters but for tabs and line feeds; what turns the direction of writing or
# ends a line elsewhere.
_HARMFUL = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]|\r(?!\n)"
)

# Nothing is silent for longer; in training, after a minute, a line per minute will do.
SILENT_SECONDS = 4.5
_OFTEN_SECONDS, _SELDOM_SECONDS = 60.0, 60.0
_ERASE = "\r\x1b[K"


def harmless(text: str) -> str:
    """Returns text in which what a terminal or a browser would obey is spelt out.

    As JSON spells it, so that JSON remains what it was.
    """
    return _HARMFUL.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def deliver(text: str) -> None:
    """Writes to standard output what a command was asked for, and for nothing else.

    Raises:
        OSError: it cannot be written; whoever reads has gone.
    """
    if isinstance(sys.stdout, Stream):
        sys.stdout.deliver(text)
    else:
        sys.stdout.write(text)
        sys.stdout.flush()


def say_aside(line: str) -> None:
    """Says a line on standard error, from any thread."""
    sys.stderr.write(f"{line}\n")


def say_last(line: str) -> None:
    """Says the last line of a process, past all locks that another thread may hold."""
    erase = _ERASE if _ticker.is_shown else ""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        text = f"{erase}{harmless(line)}\n".encode(errors="backslashreplace")
        os.write(sys.stderr.fileno(), text)


class Stream(io.TextIOBase):
    """Standard output or error: says all, obeys nothing, and fails nobody."""

    def __init__(self, name: str, stream: TextIO | None) -> None:
        """Takes over a stream; None is one that was closed from the start."""
        self._name, self._stream = name, stream
        self._failure: OSError | None = None
        self._is_told = False
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
        if stream is None:
            self._failure = OSError(None, "it is closed", name)

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """Returns that of what lies below."""
        return getattr(self._stream, "encoding", None) or "utf-8"

    def fileno(self) -> int:
        """Returns the number of the file."""
        if self._stream is None:
            raise OSError(None, "it is closed", self._name)
        return self._stream.fileno()

    def isatty(self) -> bool:
        """Tells whether it is a terminal."""
        return self._stream is not None and self._stream.isatty()

    def writable(self) -> bool:
        """Tells that it can be written to, whatever becomes of that."""
        return True

    def write(self, text: str) -> int:
        """Writes text, what a terminal would obey spelt out."""
        _ticker.clear()
        return self.control(harmless(text))

    def control(self, text: str) -> int:
        """Writes text that a terminal is to obey."""
        self._put(text, is_whole="\n" in text or "\r" in text)
        self._tell()
        return len(text)

    def flush(self) -> None:
        """Hands over what was written."""
        self._put("", is_whole=True)

    def deliver(self, text: str) -> None:
        """Does as `write`, but raises the OSError that it, or one before, met with."""
        _ticker.clear()
        self._put(harmless(text), is_whole=True)
        if self._failure is not None:
            self._is_told = True
            raise self._failure

    def _put(self, text: str, is_whole: bool) -> None:
        if self._failure is not None or self._stream is None:
            return
        try:
            self._stream.write(text)
            if is_whole:
                self._stream.flush()
        except (OSError, ValueError) as error:
            self._fail(error)

    def _fail(self, error: OSError | ValueError) -> None:
        reason = getattr(error, "strerror", None) or "it is closed"
        self._failure = OSError(getattr(error, "errno", None), reason, self._name)
        with contextlib.suppress(OSError, ValueError, AttributeError):
            # What is still buffered has to go somewhere when Python ends.
            os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())  # type: ignore[union-attr]

    def _tell(self) -> None:
        """Says on standard error, once, that nothing is said here any more.

        Not where nothing is being done, but to print --help.
        """
        if self._failure is None or self._is_told or not _ticker.tasks:
            return
        self._is_told = True
        if sys.stderr is not self and sys.stderr is not None:
            sys.stderr.write(
                f"{self._name}: {self._failure.strerror}; going on without it\n"
            )


class Screen:
    """A stream that, if it is a terminal, ends in a line that is redrawn."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._bar = ""
        self.is_terminal = stream.isatty() and os.environ.get("TERM") != "dumb"

    def say(self, text: str) -> None:
        """Writes a line, above the bar if there is one."""
        encoding = getattr(self._stream, "encoding", None) or "utf-8"
        text = harmless(text).encode(encoding, "backslashreplace").decode(encoding)
        erase = _ERASE if self._bar else ""
        self._write(f"{erase}{text}\n{self._bar}")

    def draw(self, bar: str) -> None:
        """Writes the line that the next one takes the place of."""
        self._bar = bar
        self._write(f"\r{bar}\x1b[K")

    def close(self) -> None:
        """Leaves the bar where it is."""
        if self._bar:
            self._write("\n")
        self._bar = ""

    def _write(self, text: str) -> None:
        _ticker.clear()
        if isinstance(self._stream, Stream):
            self._stream.control(text)
        else:
            self._stream.write(text)
        self._stream.flush()


@contextlib.contextmanager
def doing(what: str | Callable[[], str]) -> Iterator[None]:
    """Has a command say what it is at, and how long that took the last time.

    Only where nothing else is said for some seconds; elsewhere than in a command,
    nothing is. Contexts may stand within each other: the innermost is said.

    Args:
        what: as in "writing the preset"; or what returns it.
    """
    task = _Task(what)
    _ticker.tasks.append(task)
    try:
        yield
        task.keep()
    finally:
        _ticker.tasks.remove(task)


class _Task:
    """What is being done."""

    def __init__(self, what: str | Callable[[], str]) -> None:
        self.what = what
        self.began = time.monotonic()

    @property
    def seconds(self) -> float:
        """Returns for how long."""
        return time.monotonic() - self.began

    def line(self) -> str:
        """Returns what is said of it."""
        if not isinstance(self.what, str):
            return f"{self.what()} ({self.seconds:.0f} s)"
        before = _read_seconds().get(self._key())
        hint = f", {before:.0f} s the last time" if before else ""
        return f"{self.what} ({self.seconds:.0f} s{hint})"

    def keep(self) -> None:
        """Notes how long it took, if anybody had to wait."""
        if not _ticker.is_running or not isinstance(self.what, str):
            return
        if self.seconds > SILENT_SECONDS:
            values = {**_read_seconds(), self._key(): round(self.seconds, 1)}
            with contextlib.suppress(errors.UserError):  # It is a courtesy.
                durable.write_json(str(_seconds_file()), values)

    def _key(self) -> str:
        return f"{Path(sys.argv[0]).stem}: {self.what}"


def _seconds_file() -> Path:
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return Path(cache, "electra_tf", "seconds.json")


def _read_seconds() -> dict[str, float]:
    try:
        found = json.loads(_seconds_file().read_text(encoding="utf-8"))
        return {str(name): float(value) for name, value in found.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


class _Ticker:
    """Says what is being done, where nothing else is said."""

    def __init__(self) -> None:
        self.tasks: list[_Task] = []
        self.is_running = False
        self._heard = time.monotonic()
        self.is_shown = False  # On a terminal, until the next line.

    def start(self) -> None:
        """Begins to look, twice a second."""
        self.is_running = True
        self._heard = time.monotonic()
        threading.Thread(target=self._run, name="ticker", daemon=True).start()

    def clear(self) -> None:
        """Takes note that something else is said; makes room for it."""
        self._heard = time.monotonic()
        if self.is_shown:
            self.is_shown = False
            self._put(_ERASE)

    def _run(self) -> None:
        while True:
            time.sleep(0.5)
            tasks = self.tasks[-1:]
            if not tasks:
                continue
            often = self.is_shown or tasks[0].seconds < _OFTEN_SECONDS
            often |= isinstance(tasks[0].what, str)  # What goes on tells of itself.
            limit = SILENT_SECONDS if often else _SELDOM_SECONDS
            if time.monotonic() - self._heard > limit:
                self._say(tasks[0].line())

    def _say(self, line: str) -> None:
        line = harmless(line)
        if sys.stderr.isatty() and os.environ.get("TERM") != "dumb":
            self.is_shown = True
            self._put(f"\r{line}\x1b[K")
        else:
            self._heard = time.monotonic()
            self._put(f"{line}\n")

    def _put(self, text: str) -> None:
        if isinstance(sys.stderr, Stream):
            sys.stderr.control(text)
            sys.stderr.flush()


_ticker = _Ticker()


def start() -> None:
    """Takes over standard output and error of a process that is a command."""
    if _ticker.is_running:
        return
    _open_closed_files()
    real = _filter_native_log()
    sys.stderr = Stream("standard error", real)
    sys.stdout = Stream("standard output", sys.stdout)
    _ticker.start()


def _open_closed_files() -> None:
    """Opens what is closed of input and output, lest a data file takes its place.

    Whatever is written there then, it is nobody's file.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # The lowest number that is free.


def _filter_native_log() -> TextIO | None:
    """Has TensorFlow's log pass through `native_log`; returns standard error itself.

    Not where the environment asks for that log.
    """
    if sys.stderr is None or os.environ.get("TF_CPP_MIN_LOG_LEVEL") in ("0", "1"):
        return sys.stderr
    sys.stderr.flush()
    try:
        real = os.dup(2)
        read, write = os.pipe()
        os.posix_spawn(
            sys.executable,
            [sys.executable, "-I", "-S", native_log.__file__],
            os.environ,
            file_actions=[
                (os.POSIX_SPAWN_DUP2, read, 0),
                (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0),
            ],
            setsid=True,  # No Ctrl-C reaches it: it ends when nobody can write to it.
        )
    except (OSError, NotImplementedError, ValueError):
        return sys.stderr
    os.dup2(write, 2)
    os.close(write)
    os.close(read)
    return open(real, "w", encoding=sys.stderr.encoding, errors="backslashreplace")
