"""What is said, whoever reads it: a terminal, a full disk, nobody."""

import io
import json
import os
import pty
import subprocess
import sys
import textwrap
import time

import pytest

from electra_tf.system import console


def test_what_a_terminal_would_obey_is_spelt_out():
    text = "a\x1b[31mb\x07\x9b\u202ec\u2028d\re\x7f"
    assert console.harmless(text) == (
        r"a\u001b[31mb\u0007\u009b\u202ec\u2028d\u000de\u007f"
    )


def test_text_of_any_language_is_left_alone():
    text = (
        "\tna\u00efve \u4eac\u90fd \u0645\u0631\u062d\u0628\u0627\u200c \U0001f600\r\n"
    )
    assert console.harmless(text) == text


def test_json_remains_what_it_was():
    value = {"text": "\u202e\x9b\u2028 \x1b"}
    said = console.harmless(json.dumps(value, ensure_ascii=False))
    assert said.isascii()
    assert json.loads(said) == value


# A command like any other, but for what it does.
COMMAND = """
    import os, sys, time
    from electra_tf import cli
    from electra_tf.system import console

    def main():
        for line in range(3):
            print("line", line)
            time.sleep(0.05)
        os.write(2, b"I0000 00:00:17.9 23 port.cc:1] chatter\\n")
        os.write(2, b"E0000 00:00:17.9 23 port.cc:1] trouble\\n")
        if "deliver" in os.environ:
            console.deliver("answer\\n")
        open(os.environ["DONE"], "w").close()

    cli.run(main)
"""


@pytest.fixture
def run(tmp_path):
    """Runs the command in a shell, after it so much of the shell's own."""
    script = tmp_path / "command.py"
    script.write_text(textwrap.dedent(COMMAND), encoding="utf-8")

    def start(shell, **environ):
        done = tmp_path / "done"
        done.unlink(missing_ok=True)
        process = subprocess.run(
            ["bash", "-o", "pipefail", "-c", f"'{sys.executable}' '{script}' {shell}"],
            env={"PYTHONPATH": ".", "DONE": str(done), **environ},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        return process.returncode, process.stderr.splitlines(), done.exists()

    return start


TROUBLE = "E0000 00:00:17.9 23 port.cc:1] trouble"


@pytest.mark.parametrize(
    ("shell", "reason"),
    [
        ("| true", "Broken pipe"),
        (">/dev/full", "No space left on device"),
        (">&-", "it is closed"),
    ],
)
def test_work_that_lies_in_files_goes_on_without_a_reader(shell, reason, run):
    code, stderr, is_done = run(shell)
    assert sorted(stderr) == [
        TROUBLE,
        f"standard output: {reason}; going on without it",
    ]
    assert (code, is_done) == (0, True)


def test_what_nobody_could_read_is_no_success(run):
    code, stderr, is_done = run(">/dev/full", deliver="1")
    assert "error: standard output: No space left on device" in stderr
    assert (code, is_done) == (1, False)


@pytest.mark.parametrize("shell", ["2>/dev/full", "2>&-", "<&- >&- 2>&-"])
def test_without_standard_error_work_goes_on(shell, run):
    assert run(shell) == (0, [], True)


def test_a_log_in_which_nobody_is_interested_is_shown_on_request(run):
    _, stderr, _ = run(">/dev/null", TF_CPP_MIN_LOG_LEVEL="0")
    assert stderr[0].endswith("chatter")


def test_on_a_terminal_the_last_line_is_redrawn_and_text_cannot():
    master, slave = pty.openpty()
    with open(slave, "w", encoding="utf-8") as terminal:
        screen = console.Screen(console.Stream("standard output", terminal))
        assert screen.is_terminal
        screen.draw("[## ]")
        screen.say("\x1b]0;title\x07")
        screen.close()
        written = ""
        while not written.endswith("]\r\n"):
            written += os.read(master, 1000).decode()
    os.close(master)
    assert written == "\r[## ]\x1b[K\r\x1b[K\\u001b]0;title\\u0007\r\n[## ]\r\n"


def test_a_silence_is_filled_with_what_is_being_done(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(console, "SILENT_SECONDS", 0.3)
    ticker, said = console._Ticker(), io.StringIO()
    monkeypatch.setattr(console, "_ticker", ticker)
    monkeypatch.setattr(sys, "stderr", console.Stream("standard error", said))
    ticker.start()
    with console.doing("working"), console.doing("compiling"):
        time.sleep(1.2)
    with console.doing("compiling"):
        time.sleep(0.9)
    ticker.tasks.clear()
    lines = said.getvalue().splitlines()
    assert lines[0] in ("compiling (0 s)", "compiling (1 s)")
    assert lines[-1].endswith(", 1 s the last time)")
