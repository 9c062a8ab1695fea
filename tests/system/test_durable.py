"""Tests of durable: power cuts, full disks, second writers."""

import contextlib
import fcntl
import json
import os
import pathlib
import re
import signal
import socket
import stat
import subprocess
import sys
import threading
import time

import disk
import pytest

from electra_tf import errors
from electra_tf.system import durable


def is_ours(folder):
    return os.path.exists(os.path.join(folder, "ours"))


def write_ours(folder, text):
    with durable.replacing_folder(str(folder), is_ours) as building:
        for name in ("ours", "inner/file"):
            durable.make_folder(os.path.dirname(f"{building}/{name}"))
            with open(f"{building}/{name}", "w") as file:
                file.write(text)


def names(folder):
    return sorted(os.listdir(folder))


def test_a_text_is_whole_on_the_disk_and_so_are_the_folders_made_for_it(
    tmp_path, monkeypatch
):
    watched = disk.Disk(monkeypatch)
    for text in ("old", "new \ud800"):
        durable.write_text(str(tmp_path / "a/b/file"), text)
        watched.assert_holds(tmp_path / "a/b/file")
        watched.assert_holds(tmp_path / "a")
    assert (tmp_path / "a/b/file").read_text() == "new \\ud800"
    assert names(tmp_path / "a/b") == ["file"]


def test_a_folder_is_whole_on_the_disk_when_it_takes_the_place_of_the_old_one(
    tmp_path, monkeypatch
):
    watched = disk.Disk(monkeypatch)
    for text in ("old", "new"):
        write_ours(tmp_path / "a/preset", text)
        watched.assert_holds(tmp_path / "a/preset")
        watched.assert_holds(tmp_path / "a")
    assert (tmp_path / "a/preset/inner/file").read_text() == "new"
    assert names(tmp_path / "a") == ["preset"]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="Linux has it")
def test_values_are_whole_on_the_disk_as_json_for_people(tmp_path, monkeypatch):
    watched = disk.Disk(monkeypatch)
    durable.write_json(str(tmp_path / "new/a.json"), {"a": [1.5, None], "b": {}})
    watched.assert_holds(tmp_path / "new")
    text = (tmp_path / "new/a.json").read_text()
    assert json.loads(text) == {"a": [1.5, None], "b": {}}
    assert text.startswith('{\n  "a"')
    assert text.endswith("}\n")


def test_a_full_disk_leaves_the_old_text(tmp_path):
    durable.write_text(str(tmp_path / "file"), "old")
    (tmp_path / ".file.partial").symlink_to("/dev/full")
    with pytest.raises(errors.UserError, match="file: No space left on device; free"):
        durable.write_text(str(tmp_path / "file"), "x" * 100_000)
    assert names(tmp_path) == ["file"]
    assert (tmp_path / "file").read_text() == "old"


def fail_in_file(path, error):
    with durable.replacing_file(str(path), RuntimeError) as partial:
        pathlib.Path(partial).write_text("half")
        raise error


def fail_in_folder(path, error):
    with durable.replacing_folder(str(path), is_ours, RuntimeError) as building:
        pathlib.Path(building, "half").write_text("half")
        raise error


@pytest.mark.parametrize("fail", [fail_in_file, fail_in_folder])
def test_what_fails_leaves_the_old_and_nothing_else(tmp_path, fail):
    name = fail.__name__.removeprefix("fail_in_")
    durable.write_text(str(tmp_path / "file"), "old")
    write_ours(tmp_path / "folder", "old")
    reasons = [
        OSError(28, "in other words"),
        RuntimeError("errno = 28, error message = 'No space left on device'"),
    ]
    for error in reasons:
        message = f"cannot write .*{name}: No space left on device; free some space"
        with pytest.raises(errors.UserError, match=message):
            fail(tmp_path / name, error)
    with pytest.raises(KeyboardInterrupt):
        fail(tmp_path / name, KeyboardInterrupt())
    assert names(tmp_path) == ["file", "folder"]
    assert (tmp_path / "file").read_text() == "old"
    assert (tmp_path / "folder/inner/file").read_text() == "old"


class Killed(BaseException):
    """What a kill would be."""


def test_a_kill_at_any_step_leaves_the_old_or_the_new_and_the_next_clears_up(tmp_path):
    write_ours(tmp_path / "preset", "old")
    seen = []
    while True:
        with pytest.MonkeyPatch.context() as patch:
            kill_after(len(seen), patch)
            with contextlib.suppress(Killed):
                write_ours(tmp_path / "preset", "new")
                break
        durable.recover(str(tmp_path / "preset"))
        seen.append((tmp_path / "preset/inner/file").read_text())
        assert seen[-1] == (tmp_path / "preset/ours").read_text()
        write_ours(tmp_path / "preset", "old")
        assert names(tmp_path) == ["preset"]
    assert seen == sorted(seen, reverse=True)
    assert len(seen) > 10
    assert set(seen) == {"old", "new"}


def kill_after(steps, patch):
    """Allows so many calls that change the disk; a process has no more after a kill."""
    left = [steps]

    def counted(call):
        def count(*args, **kwargs):
            left[0] -= 1
            if left[0] < 0:
                raise Killed
            return call(*args, **kwargs)

        return count

    for name in ("fsync", "replace", "mkdir", "remove", "unlink", "rmdir"):
        patch.setattr(os, name, counted(getattr(os, name)))
    patch.setattr(fcntl, "flock", lambda *_: None)  # It would end with the process.


@pytest.mark.parametrize("there", ["file", "folder"])
def test_what_others_wrote_is_refused_and_stays(tmp_path, there):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder/mine").touch()
    (tmp_path / "file").touch()
    with pytest.raises(errors.UserError, match="move it away"):
        write_ours(tmp_path / there, "new")
    assert names(tmp_path) == ["file", "folder"]
    assert names(tmp_path / "folder") == ["mine"]


def test_a_folder_of_the_user_that_is_called_old_is_not_touched(tmp_path):
    for name in ("preset.old", "preset.building"):
        (tmp_path / name).mkdir()
    write_ours(tmp_path / "preset", "one")
    write_ours(tmp_path / "preset", "two")
    assert names(tmp_path) == ["preset", "preset.building", "preset.old"]


def test_a_link_stays_a_link(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    write_ours(tmp_path / "elsewhere/preset", "old")
    (tmp_path / "elsewhere/report").touch()
    for name in ("preset", "report"):
        (tmp_path / name).symlink_to(tmp_path / "elsewhere" / name)
    write_ours(tmp_path / "preset", "new")
    durable.write_text(str(tmp_path / "report"), "new")
    assert (tmp_path / "preset").is_symlink()
    assert (tmp_path / "report").is_symlink()
    assert (tmp_path / "elsewhere/preset/ours").read_text() == "new"
    assert (tmp_path / "elsewhere/report").read_text() == "new"
    assert names(tmp_path / "elsewhere") == ["preset", "report"]


def test_a_pipe_is_written_to_as_it_is(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    writer = threading.Thread(
        target=durable.write_text, args=(str(tmp_path / "pipe"), "text")
    )
    writer.start()
    assert (tmp_path / "pipe").read_text() == "text"
    writer.join()
    assert stat.S_ISFIFO(os.stat(tmp_path / "pipe").st_mode)


def start(code, *args):
    """Starts a Python process with a few modules at hand."""
    head = (
        "import contextlib, os, sys, time; from electra_tf import errors; "
        "from electra_tf.system import durable; "
    )
    return subprocess.Popen([sys.executable, "-c", head + code, *map(str, args)])


def test_two_writers_of_one_file_take_turns(tmp_path):
    code = "[durable.write_text(sys.argv[1], sys.argv[2] * 90_000) for _ in range(50)]"
    writers = [start(code, tmp_path / "report", letter) for letter in "ab"]
    while any(writer.poll() is None for writer in writers):
        with contextlib.suppress(FileNotFoundError):
            text = (tmp_path / "report").read_text()
            assert text in ("a" * 90_000, "b" * 90_000)
    assert [writer.returncode for writer in writers] == [0, 0]
    assert names(tmp_path) == ["report"]


HOLD = """
with durable.locked(sys.argv[1], "run"):
    time.sleep(60)
"""


def test_a_second_writer_is_refused_by_name_and_a_dead_one_is_no_obstacle(tmp_path):
    lock = str(tmp_path / "run/.lock")
    holder = start(HOLD, lock)
    while not (os.path.exists(lock) and os.path.getsize(lock)):
        time.sleep(0.01)
    who = f"being written by pid {holder.pid} on {socket.gethostname()}: "
    with pytest.raises(errors.UserError, match=re.escape(who)):
        durable.locked(lock, "run").__enter__()
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    assert os.path.exists(lock)
    with durable.locked(lock, "run"):
        pass
    assert names(tmp_path / "run") == []


RACE = """
held = 0
while held < 50:
    with contextlib.suppress(errors.UserError):
        with durable.locked(sys.argv[1] + "/.lock", "run"):
            os.close(os.open(sys.argv[1] + "/alone", os.O_CREAT | os.O_EXCL))
            os.remove(sys.argv[1] + "/alone")
            held += 1
"""


def test_a_lock_that_is_removed_each_time_is_held_by_one_at_a_time(tmp_path):
    racers = [start(RACE, tmp_path) for _ in range(3)]
    assert [racer.wait() for racer in racers] == [0] * 3


def test_a_file_system_without_locks_is_warned_of_and_written_to(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(37, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.warns(UserWarning, match="No locks available"):
        write_ours(tmp_path / "preset", "new")
    durable.write_text(str(tmp_path / "file"), "new")
    assert names(tmp_path) == ["file", "preset"]
