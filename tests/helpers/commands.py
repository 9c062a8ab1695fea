"""Starts processes that have TensorFlow loaded already: a second each, not eight.

In:   a function of a test module, or the flags of a command.
Out:  the process: its exit code, and what it wrote to stdout and stderr.
"""

import contextlib
import json
import multiprocessing
import os
import runpy
import signal
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

# Its server imports these once and never starts TensorFlow: so it can be forked.
_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(
    [
        "electra_tf.training.run",
        "electra_tf.finetuning.finetuner",
        "electra_tf.finetuning.predictor",
    ]
)

TIMEOUT_SECONDS = 240


class Started:
    """A process, its output in files."""

    def __init__(
        self, folder: Path, function: Callable[..., Any], *args: Any, **environ: str
    ) -> None:
        """Starts it.

        Args:
            folder: for its output.
            function: of a module; what it raises shows as a traceback.
            args: of the function.
            environ: environment variables beside those of this process.
        """
        name = f"{time.monotonic_ns()}"
        self._files = [folder / f"{name}.stdout", folder / f"{name}.stderr"]
        self._process = _CONTEXT.Process(
            target=_become, args=(self._files, environ, function, args), daemon=True
        )
        self._process.start()

    def wait(self) -> int:
        """Returns the exit code; a signal's is negative."""
        self._process.join(TIMEOUT_SECONDS)
        assert self._process.exitcode is not None, f"still running: {self.stderr()}"
        return self._process.exitcode

    def send(self, number: signal.Signals) -> None:
        """Sends a signal, if it still runs."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._process.pid, number)

    def stdout(self) -> str:
        return self._files[0].read_text() if self._files[0].exists() else ""

    def stderr(self) -> str:
        return self._files[1].read_text() if self._files[1].exists() else ""

    def wait_for(self, claim: Callable[[], bool]) -> None:
        """Waits until a claim comes true while the process runs."""
        deadline = time.monotonic() + TIMEOUT_SECONDS
        while not claim():
            assert self._process.is_alive(), f"ended early: {self.stderr()}"
            assert time.monotonic() < deadline, f"too slow: {self.stdout()}"
            time.sleep(0.01)


def pretrain(folder: Path, *flags: str, **environ: str) -> Started:
    """Starts `python -m electra_tf.pretrain` with these flags."""
    return Started(folder, run_command, "pretrain", *flags, **environ)


def run_command(verb: str, *flags: str) -> None:
    """Does what `python -m electra_tf.<verb>` does, in this process."""
    sys.argv = [verb, *flags]
    runpy.run_module(f"electra_tf.{verb}", run_name="__main__")


def tf_config(ports: list[int], index: int) -> str:
    """Returns TF_CONFIG for worker `index` of a cluster on this machine."""
    workers = [f"localhost:{port}" for port in ports]
    return json.dumps(
        {"cluster": {"worker": workers}, "task": {"type": "worker", "index": index}}
    )


def free_ports(count: int) -> list[int]:
    """Returns ports that nobody listened on a moment ago."""
    probes = [socket.create_server(("", 0)) for _ in range(count)]
    ports = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    return ports


def assert_ends_in_one_line(process: Started, *parts: str) -> None:
    """Checks exit code 1 and one line of error, the last, that holds all `parts`."""
    assert process.wait() == 1, process.stderr()
    written = process.stderr()
    assert "Traceback" not in written
    lines = [line for line in written.splitlines() if line.startswith("error: ")]
    assert lines == written.splitlines()[-1:], written
    for part in parts:
        assert part in lines[0]


def _become(
    files: list[Path],
    environ: dict[str, str],
    function: Callable[..., Any],
    args: tuple[Any, ...],
) -> None:
    for stream, file in zip((sys.stdout, sys.stderr), files, strict=True):
        target = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(target, stream.fileno())
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.update(environ)
    function(*args)
