"""A disk whose power may be cut: it keeps what was synced, and nothing else.

In:   the calls of fsync and rename that a test makes.
Out:  whether every file and every name under a path would be there after a cut.
"""

import os
import stat
from pathlib import Path


class Disk:
    """What is on the disk: bytes of files, names in folders, by their inodes."""

    def __init__(self, monkeypatch):
        """Listens to this process from now on."""
        self._synced = {}
        real = {name: getattr(os, name) for name in ("fsync", "replace", "rename")}

        def fsync(opened):
            real["fsync"](opened)
            self._synced[os.fstat(opened).st_ino] = self._state(opened)

        def rename(name):
            def moved(source, target, **kwargs):
                self.assert_holds(source, with_name=False)
                real[name](source, target, **kwargs)

            return moved

        monkeypatch.setattr(os, "fsync", fsync)
        monkeypatch.setattr(os, "replace", rename("replace"))
        monkeypatch.setattr(os, "rename", rename("rename"))

    def assert_holds(self, path, with_name=True):
        """Checks a file, or a folder with all in it; and their names."""
        path = Path(path)
        for one in [path, *path.rglob("*")] if path.is_dir() else [path]:
            opened = os.open(one, os.O_RDONLY)
            try:
                now = self._state(opened)
            finally:
                os.close(opened)
            kept = self._synced.get(one.stat().st_ino, {})
            is_kept = now.items() <= kept.items()  # Names that are gone do not matter.
            assert is_kept, f"not on the disk: {one}"
        if with_name:
            names = self._synced.get(path.parent.stat().st_ino, {})
            assert names.get(path.name) == path.stat().st_ino, f"no name: {path}"

    def _state(self, opened):
        about = os.fstat(opened)
        if stat.S_ISDIR(about.st_mode):
            with os.scandir(f"/proc/self/fd/{opened}") as entries:
                return {entry.name: entry.inode() for entry in entries}
        return {"size": about.st_size, "time": about.st_mtime_ns}
