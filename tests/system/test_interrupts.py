"""Signals: at the start, in Python, in native code, where nothing can be raised."""

import signal
import subprocess
import sys
import textwrap
import time

import pytest

from electra_tf.system import interrupts

# A command whose PLACE says where the signal finds it.
COMMAND = """
    import ctypes, os, time
    from electra_tf import cli
    from electra_tf.system import interrupts

    interrupts.GRACE_SECONDS = 1.0
    PLACE = os.environ["PLACE"]

    class Deaf:
        def __del__(self):
            say()
            time.sleep(60)

    def say():
        print("ready", flush=True)

    def main():
        if PLACE == "python":
            say()
            time.sleep(60)
        elif PLACE == "destructor":
            Deaf()
            time.sleep(60)
        elif PLACE == "native":
            say()
            # A call that lets other threads run, and that no signal interrupts.
            mutex = ctypes.create_string_buffer(64)
            for _ in range(2):
                ctypes.CDLL(None).pthread_mutex_lock(mutex)
        elif PLACE == "swallowed":
            say()
            try:
                time.sleep(60)
            except BaseException:
                time.sleep(60)
        elif PLACE == "bug":
            say()
            try:
                time.sleep(60)
            except KeyboardInterrupt:
                raise SystemError("native code returned with an error set")
        elif PLACE == "saved":
            with interrupts.noted() as stop:
                stop.is_patient = True
                say()
                while not stop.requested:
                    time.sleep(0.01)
                time.sleep(1.5)
                print("saved", flush=True)

    if PLACE == "imports":
        interrupts.start()
        say()
        time.sleep(60)
    cli.run(main)
"""


@pytest.fixture(scope="module")
def script(tmp_path_factory):
    file = tmp_path_factory.mktemp("command") / "command.py"
    file.write_text(textwrap.dedent(COMMAND), encoding="utf-8")
    return file


@pytest.fixture
def start(script):
    """Starts the command, and waits until the signal will find it in a place."""
    started = []

    def begin(place):
        process = subprocess.Popen(
            [sys.executable, str(script)],
            env={"PYTHONPATH": ".", "PLACE": place},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        assert process.stdout.readline() == "ready\n", process.stderr.read()
        return process

    yield begin
    for process in started:
        process.kill()
        process.communicate()


@pytest.mark.parametrize(
    ("place", "number"),
    [
        ("imports", signal.SIGINT),
        ("python", signal.SIGTERM),
        ("python", signal.SIGHUP),
        ("destructor", signal.SIGTERM),
        ("native", signal.SIGINT),
        ("swallowed", signal.SIGTERM),
        ("bug", signal.SIGINT),
    ],
)
def test_a_signal_ends_a_command_in_one_line(place, number, start):
    process = start(place)
    time.sleep(0.2 if place == "native" else 0)  # Until it is there.
    began = time.monotonic()
    process.send_signal(number)
    stdout, stderr = process.communicate(timeout=30)
    assert (stdout, stderr) == (
        "",
        f"stopped by {signal.Signals(number).name}; run the same command again\n",
    )
    assert process.returncode == 128 + number
    assert time.monotonic() - began < 10


def test_a_command_that_saves_is_waited_for_and_says_so(start):
    process = start("saved")
    process.send_signal(signal.SIGTERM)
    stdout, stderr = process.communicate(timeout=30)
    assert (process.returncode, stdout) == (0, "saved\n")
    assert stderr.startswith("SIGTERM: the run stops when this step is made and saved;")


def test_a_second_signal_ends_at_once_a_command_that_saves(start):
    process = start("saved")
    process.send_signal(signal.SIGTERM)
    time.sleep(1.1)
    process.send_signal(signal.SIGTERM)
    stdout, stderr = process.communicate(timeout=30)
    assert (process.returncode, stdout) == (128 + signal.SIGTERM, "")
    assert stderr.endswith("stopped by SIGTERM; run the same command again\n")


def test_signals_that_come_together_are_one(start):
    process = start("saved")
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGTERM):
        process.send_signal(number)
    assert process.communicate(timeout=30)[0] == "saved\n"
    assert process.returncode == 0


def test_outside_a_command_handlers_are_put_back():
    before = [signal.getsignal(number) for number in interrupts.SIGNALS]
    with interrupts.raising(), pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGTERM)
    with interrupts.noted() as stop:
        signal.raise_signal(signal.SIGHUP)
        assert stop.requested
    assert [signal.getsignal(number) for number in interrupts.SIGNALS] == before
    assert not interrupts.requested()


def test_a_process_leaves_signals_to_its_parent():
    code = """if True:
        import os, signal, subprocess, sys
        from electra_tf.system import interrupts

        child = "from electra_tf.system import interrupts; interrupts.leave_to_parent()"
        child += "; import os, signal; os.kill(os.getpid(), signal.SIGINT); print(1)"
        with interrupts.held_back():
            process = subprocess.Popen([sys.executable, "-c", child])
        for number in interrupts.SIGNALS:
            process.send_signal(number)
        assert process.wait() == 0
    """
    command = [sys.executable, "-c", code]
    process = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (process.returncode, process.stdout, process.stderr) == (0, "1\n", "")
