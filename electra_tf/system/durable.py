"""What is written is whole and on the disk, or what was there before still is.

In:   a text, or what fills a file or a folder under another name.
Out:  the file or folder under its own name, whatever ends the writing: a kill, a power
      cut, a full disk, a second writer.

Files are written beside their place, synced, renamed, and the folder that holds the
name is synced: the order in which POSIX, and so ext4 and XFS, keep what they are told.
"""

import contextlib
import errno
import fcntl
import json
import os
import shutil
import socket
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from electra_tf import errors

LOCK = ".lock"  # of a folder that is written to where it stands


@contextlib.contextmanager
def explained(path: str, *others: type[Exception]) -> Iterator[None]:
    """Turns what the system refuses into one line that names `path`.

    Args:
        path: what is being written.
        others: errors beside OSError that a library raises for a full disk.
    """
    refusals: tuple[type[Exception], ...] = (OSError, *others)
    try:
        yield
    except refusals as error:
        raise errors.UserError(
            f"cannot write {path}: {errors.reason(error)}; free some space or give "
            "permission, then run the same command again"
        ) from None


def write_text(path: str, text: str) -> None:
    """Writes a whole file or leaves what was there; makes its folder.

    Raises:
        UserError: it cannot be written.
    """
    with (
        replacing_file(path) as partial,
        open(partial, "w", encoding="utf-8", errors="backslashreplace") as file,
    ):
        file.write(text)


def write_json(path: str, values: Mapping[str, Any]) -> None:
    """Writes values as JSON for people to read, whole as `write_text` does."""
    write_text(path, json.dumps(values, indent=2) + "\n")


def append(path: str, data: bytes) -> None:
    """Adds to a file that is there or is made; nothing waits in a buffer.

    Raises:
        UserError: it cannot be written.
    """
    with explained(path):
        is_new = not os.path.exists(path)
        with open(path, "ab") as file:
            file.write(data)
        sync(path)
        if is_new:
            sync(os.path.dirname(path) or ".")


@contextlib.contextmanager
def replacing_file(path: str, *others: type[Exception]) -> Iterator[str]:
    """Puts a file in the place of an old one, whole or not at all; makes its folder.

    Args:
        path: of the file; a device or a pipe is written to as it is.
        others: see `explained`.

    Yields:
        A path beside it, to write to.

    Raises:
        UserError: it cannot be written.
    """
    with explained(path, *others):
        if os.path.exists(path) and not os.path.isfile(path):
            yield path
            return
        place = os.path.realpath(path)  # A link stays one.
        partial = _beside(place, "partial")
        make_folder(os.path.dirname(place))
        lock = _lock(partial, wait=True)  # Two may write one report: in turn.
        assert lock is not None
        try:
            yield partial
            sync(partial)
            os.replace(partial, place)
            sync(os.path.dirname(place))
        except BaseException:
            with contextlib.suppress(OSError):
                os.remove(partial)
            raise
        finally:
            os.close(lock)


@contextlib.contextmanager
def replacing_folder(
    folder: str, is_ours: Callable[[str], bool], *others: type[Exception]
) -> Iterator[str]:
    """Puts a folder in the place of an old one, whole or not at all.

    Args:
        folder: to be there in the end; nothing, or one that we wrote, may be there now.
        is_ours: whether what is there now may be replaced, given its path.
        others: see `explained`.

    Yields:
        An empty folder beside it, to write to.

    Raises:
        UserError: something else is there, somebody else is writing it, or it cannot
            be written.
    """
    place = os.path.realpath(folder)
    building, old = _beside(place, "building"), _beside(place, "old")
    with explained(folder, *others), locked(_beside(place, "lock"), folder):
        _put_back(place)
        _refuse_foreign(folder, is_ours)
        shutil.rmtree(building, ignore_errors=True)
        make_folder(building)
        try:
            yield building
            sync_tree(building)
            if os.path.exists(place):
                os.replace(place, old)
            os.replace(building, place)
            sync(os.path.dirname(place))
            if os.path.exists(old):
                os.replace(old, building)  # So that whatever is called old is whole.
        finally:
            _put_back(place)
            shutil.rmtree(building, ignore_errors=True)


def recover(folder: str) -> None:
    """Puts a folder back whose replacement was killed between its last two steps."""
    place = os.path.realpath(folder)
    for _ in range(100):  # A writer that lives takes that step in a moment.
        if os.path.exists(place) or not os.path.isdir(_beside(place, "old")):
            return
        with (
            contextlib.suppress(errors.UserError, OSError),
            locked(_beside(place, "lock"), folder),
        ):
            _put_back(place)
        time.sleep(0.01)


@contextlib.contextmanager
def locked(file: str, folder: str) -> Iterator[None]:
    """Keeps other writers out of a folder.

    The system holds the lock (flock) and lets go of it when the process ends, however
    it ends: a file that was left is no obstacle. So it is on NFS, where a machine that
    is gone holds it until the server notices. A file system without locks is warned
    of, and written to.

    Args:
        file: the lock; made, with its folder, and removed in the end.
        folder: for the message.

    Raises:
        UserError: another process holds it.
    """
    lock = _lock(file)
    if lock is None:
        raise errors.UserError(
            f"{folder} is being written by {_holder(file)}; wait for it, end it, or "
            "name another folder"
        )
    command = errors.one_line(" ".join(sys.argv), 300)
    who = f"pid {os.getpid()} on {socket.gethostname()}: {command}\n"
    try:
        with contextlib.suppress(OSError):  # On a full disk it is held, namelessly.
            os.ftruncate(lock, 0)
            os.write(lock, who.encode("utf-8", "replace"))
        yield
    finally:
        with contextlib.suppress(OSError):
            os.remove(file)
        os.close(lock)


def make_folder(path: str) -> None:
    """Makes a folder and those above it, so that their names are on the disk."""
    made, above = [], os.path.abspath(path)
    while not os.path.isdir(above):
        if os.path.lexists(above):
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), above)
        made.append(above)
        above = os.path.dirname(above)
    os.makedirs(path, exist_ok=True)
    for folder in reversed(made):
        sync(os.path.dirname(folder))


def reserve(folder: str, num_bytes: int) -> None:
    """Raises OSError unless a folder has room for so many bytes.

    For what fares ill on a full disk: HDF5 prints tracebacks and may crash.
    """
    path = os.path.join(folder, ".room")
    opened = os.open(path, os.O_WRONLY | os.O_CREAT, 0o666)
    try:
        if hasattr(os, "posix_fallocate"):  # macOS has it not.
            os.posix_fallocate(opened, 0, num_bytes)
    finally:
        os.close(opened)
        os.remove(path)


def sync(path: str) -> None:
    """Waits until a file's bytes, or a folder's names, are on the disk."""
    opened = os.open(path, os.O_RDONLY)
    try:
        os.fsync(opened)
    except OSError as error:
        # Some network file systems sync no folders: they write names at once.
        if error.errno not in (errno.EINVAL, errno.ENOTSUP) or os.path.isfile(path):
            raise
    finally:
        os.close(opened)


def sync_tree(folder: str) -> None:
    """Waits until all that is in a folder is on the disk."""
    for above, _, files in os.walk(folder, topdown=False):
        for name in files:
            sync(os.path.join(above, name))
        sync(above)


def _beside(place: str, what: str) -> str:
    """Returns a hidden name in the same folder: nobody's but ours."""
    above, name = os.path.split(place)
    return os.path.join(above, f".{name}.{what}")


def _put_back(place: str) -> None:
    old = _beside(place, "old")
    if os.path.exists(place):
        shutil.rmtree(old, ignore_errors=True)
    elif os.path.isdir(old):
        os.replace(old, place)


def _refuse_foreign(folder: str, is_ours: Callable[[str], bool]) -> None:
    """Refuses to replace a file, or a folder that holds what we did not write."""
    there = os.path.isdir(folder) and os.listdir(folder)
    if os.path.isfile(folder) or (there and not is_ours(folder)):
        raise errors.UserError(
            f"{folder} is there and no preset; move it away, or name another folder"
        )


def _holder(lock: str) -> str:
    """Returns who holds a lock, as `locked` wrote it."""
    with (
        contextlib.suppress(OSError),
        open(lock, encoding="utf-8", errors="replace") as file,
    ):
        return errors.one_line(file.read(1000)) or "another process"
    return "another process"


def _lock(path: str, wait: bool = False) -> int | None:
    """Opens and locks a file that others may remove; None: another holds it."""
    for _ in range(100):
        try:
            make_folder(os.path.dirname(path) or ".")
            opened = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        except FileNotFoundError:  # Its folder was removed meanwhile.
            continue
        try:
            fcntl.flock(opened, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            os.close(opened)
            return None
        except OSError as error:
            if not wait:
                warnings.warn(
                    f"{path}: {error.strerror}: this file system has no locks; let no "
                    "other command write there",
                    stacklevel=2,
                )
            return opened
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(opened), os.stat(path)):
                return opened
        os.close(opened)  # Who held it has removed it: make another.
    raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
