"""Hears SIGTERM, SIGINT (Ctrl-C) and SIGHUP, at any moment of a command.

In:   a signal, while Python imports, TensorFlow compiles, or a file is being written.
Out:  `Stopped` raised, or a note that a loop looks at; within GRACE_SECONDS the end of
      the process, in one line, whatever the main thread is stuck in.

Whatever is written takes its place only when it is whole, so to end is always safe.
"""

import _thread
import contextlib
import os
import select
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

from electra_tf.system import console

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)

# How long the main thread may take to end by itself.
GRACE_SECONDS = 8.0
# Of several signals so close to each other, all are one: `timeout` sends two.
_ONE_SIGNAL_SECONDS = 1.0
_AGAIN = b"\0"


class Stopped(KeyboardInterrupt):
    """Raised in the main thread by a signal that asks a command to stop."""


class Stop:
    """What a signal does; of several that are entered, the innermost holds."""

    def __init__(
        self,
        raises: bool,
        say: Callable[[], str] | None = None,
        code: int | None = None,
    ) -> None:
        self.raises = raises
        self.say = say  # the last line; None = that it was stopped
        self.code = code  # of the exit; None = 128 + the signal
        self.requested = False
        self.is_patient = False  # Whether to wait however long it takes to save.


_AT_ONCE = Stop(raises=False)  # Before a command has begun, and after its end.
_stops = [_AT_ONCE]
_number: int | None = None  # of the first signal that was heard
_before: dict[int, Any] = {}  # handlers to be put back, where this is no command


def start() -> None:
    """Hears signals from here on: to be called first by a process that is a command."""
    for number in SIGNALS:
        # nohup asks that it be ignored. A shell asks the same of Ctrl-C for what it
        # starts in the background, and whoever sends that one by hand means it.
        ignored = signal.getsignal(number) == signal.SIG_IGN
        if not (ignored and number == signal.SIGHUP):
            signal.signal(number, _hear)


def watch() -> None:
    """Has another thread hear signals too, as the main one may be deaf for minutes."""
    reading, writing = socket.socketpair()
    writing.setblocking(False)
    signal.set_wakeup_fd(writing.fileno(), warn_on_full_buffer=False)
    threading.Thread(
        target=_watch, args=(reading,), name="signals", daemon=True
    ).start()

    def unraisable(args: Any) -> None:
        """Has Stopped raised again, if it was where it is lost: in a destructor."""
        if args.exc_type is Stopped:
            writing.send(_AGAIN)
        else:
            sys.__unraisablehook__(args)

    sys.unraisablehook = unraisable


def requested() -> bool:
    """Tells whether a signal has asked this command to stop."""
    return _number is not None


@contextlib.contextmanager
def raising(
    say: Callable[[], str] | None = None, code: int | None = None
) -> Iterator[None]:
    """While it is entered, a signal raises Stopped.

    Args:
        say: returns the last line, should the process have to be ended from outside.
        code: the exit code then; None = 128 + the signal.
    """
    with _entered(Stop(True, say, code)):
        yield


@contextlib.contextmanager
def noted() -> Iterator[Stop]:
    """While it is entered, a signal is a note alone: `requested` of what is yielded."""
    with _entered(Stop(False)) as stop:
        yield stop


@contextlib.contextmanager
def held_back() -> Iterator[None]:
    """While it is entered, processes that are started hear no signal.

    They are to call `leave_to_parent`, when they are ready to.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def leave_to_parent() -> None:
    """Has a process ignore signals: its parent hears them too, and ends it."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)


def end() -> None:
    """Ends the process because of the signal that was heard: its line, its exit code.

    At once: to take TensorFlow down takes long, and nothing waits to be written.
    """
    stop, number = _stops[-1], _number or signal.SIGINT
    line = f"stopped by {signal.Signals(number).name}; run the same command again"
    with contextlib.suppress(Exception):
        line = stop.say() if stop.say else line
    leave(128 + number if stop.code is None else stop.code, line)


def leave(code: int, line: str = "") -> None:
    """Ends the process at once, with a last line, if that can still be said."""
    if line:
        # Whoever reads may have stopped to, and that must not keep us.
        speaker = threading.Thread(target=console.say_last, args=(line,), daemon=True)
        speaker.start()
        speaker.join(1.0)
    os._exit(code)


@contextlib.contextmanager
def _entered(stop: Stop) -> Iterator[Stop]:
    is_main = threading.current_thread() is threading.main_thread()
    is_ours = is_main and signal.getsignal(signal.SIGTERM) is not _hear
    if is_ours:  # No command: somebody calls a function of ours.
        _before.update((number, signal.getsignal(number)) for number in SIGNALS)
        start()
    _stops.append(stop)
    try:
        yield stop
    finally:
        _stops.remove(stop)
        if is_ours:
            _give_back()


def _give_back() -> None:
    global _number
    _number = None
    while _before:
        number, handler = _before.popitem()
        if handler is not None:
            signal.signal(number, handler)


def _hear(number: int, frame: FrameType | None) -> None:
    """Is called in the main thread, as soon as that is back in Python."""
    global _number
    _number = _number or number
    stop = _stops[-1]
    is_first, stop.requested = not stop.requested, True
    if stop is _AT_ONCE:
        end()
    if _before:
        _give_back()  # The next signal does what it did before.
    if stop.raises and is_first:
        raise Stopped(signal.Signals(number).name)


def _watch(reading: socket.socket) -> None:
    """Ends the process where the main thread does not, or at a second signal."""
    global _number
    first = deadline = 0.0
    while True:
        wait = deadline - time.monotonic() if deadline else None
        if select.select([reading], [], [], wait and max(0.0, wait))[0]:
            received = reading.recv(64)
            heard = [number for number in received if number in SIGNALS]
            if _AGAIN in received and _number is not None:
                time.sleep(0.05)  # Until the destructor is done with.
                _stops[-1].requested = False
                _thread.interrupt_main(signal.Signals(_number))
            now = time.monotonic()
            if heard and first and now - first > _ONE_SIGNAL_SECONDS:
                end()
            elif heard and not first:
                _number = _number or heard[0]
                first, deadline = now, now + GRACE_SECONDS
        elif _stops[-1].is_patient:
            deadline = 0.0
            name = signal.Signals(_number or signal.SIGINT).name
            console.say_aside(
                f"{name}: the run stops when this step is made and saved; another "
                "signal ends it at once, at the last checkpoint"
            )
        else:
            end()
