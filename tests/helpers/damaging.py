"""What disks, downloads and people do to files."""

import os
from pathlib import Path


def cut_short(file: Path, size: int | None = None) -> None:
    """Keeps the first bytes, half of them or `size`."""
    data = file.read_bytes()
    assert len(data) > (size or 1), f"{file} has {len(data)} bytes"
    file.write_bytes(data[: len(data) // 2 if size is None else size])


def flip_a_byte(file: Path, place: int | None = None) -> None:
    """Turns all bits of a byte, the one in the middle or that at `place`."""
    data = bytearray(file.read_bytes())
    data[len(data) // 2 if place is None else place] ^= 255
    file.write_bytes(data)


def flip_a_bit(file: Path) -> None:
    """Turns one bit in the middle: text is text still."""
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 4
    file.write_bytes(data)


def empty(file: Path) -> None:
    """Leaves no byte."""
    assert file.stat().st_size
    os.truncate(file, 0)
