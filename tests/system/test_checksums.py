"""Tests of checksums: a flipped bit is noticed, wherever; what others wrote passes."""

import os
import random
import re
import shutil
import subprocess

import pytest

from electra_tf import errors
from electra_tf.system import checksums

CONTENTS = {
    "config.json": b"{}\n",
    "model.weights.h5": bytes(range(256)) * 3,
    "assets/tokenizer/vocabulary.txt": b"[PAD]\n[UNK]\n",
}


@pytest.fixture
def folder(tmp_path):
    for name, data in CONTENTS.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(data)
    (tmp_path / "README.md").write_text("mine")
    checksums.write(str(tmp_path))
    return tmp_path


def test_any_bit_that_flips_is_noticed_and_the_file_is_named(folder):
    chance = random.Random(4)
    files = [folder / name for name in (*CONTENTS, checksums.FILE)]
    for _ in range(120):
        file = chance.choice(files)
        data = file.read_bytes()
        flipped = bytearray(data)
        flipped[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        file.write_bytes(flipped)
        with pytest.raises(errors.UserError) as error:
            checksums.verify(str(folder))
        if file.name != checksums.FILE:
            assert str(error.value).startswith(f"{file} is not what was written there")
        assert "\n" not in str(error.value)
        file.write_bytes(data)
    checksums.verify(str(folder))


def test_the_usual_tool_reads_them(folder):
    if not shutil.which("sha256sum"):
        pytest.skip("there is none")
    command = ["sha256sum", "--check", "--strict", "--quiet", checksums.FILE]
    assert subprocess.run(command, cwd=folder, check=False).returncode == 0
    (folder / "config.json").write_bytes(b"{} \n")
    assert subprocess.run(command, cwd=folder, check=False).returncode == 1


def test_one_file_alone_may_be_looked_at(folder):
    (folder / "config.json").write_bytes(b"[]\n")
    checksums.verify(str(folder), "model.weights.h5")
    for name in ("config.json", "new"):
        with pytest.raises(errors.UserError, match=f"{name} is not what was written"):
            checksums.verify(str(folder), name)


def test_who_changed_a_file_on_purpose_is_told_how_to_open_it(folder):
    (folder / "config.json").write_bytes(b"{} \n")
    message = f"or delete {re.escape(str(folder))}/SHA256SUMS if you"
    with pytest.raises(errors.UserError, match=message):
        checksums.verify(str(folder))
    (folder / checksums.FILE).unlink()
    checksums.verify(str(folder))


def test_the_card_may_be_edited_and_files_added(folder):
    (folder / "README.md").write_text("mine, too")
    (folder / "notes.txt").touch()
    checksums.verify(str(folder))
    assert (folder / "README.md").read_text() == "mine, too"


@pytest.mark.parametrize(
    "name", ["../secret", "/etc/hostname", "a/../../secret", "pipe", "assets", "gone"]
)
def test_hostile_checksums_lead_nowhere(folder, name):
    os.mkfifo(folder / "pipe")
    (folder / checksums.FILE).write_text(f"{'0' * 64}  {name}\n")
    with pytest.raises(errors.UserError, match=r"damaged|not what was written"):
        checksums.verify(str(folder))


@pytest.mark.parametrize("text", ["", "\n", "\0" * 70, "# by hand\n", "0" * 64])
def test_checksums_that_are_damaged_are_no_checksums(folder, text):
    (folder / checksums.FILE).write_text(text)
    with pytest.raises(errors.UserError, match=r"SHA256SUMS is damaged; .*delete this"):
        checksums.verify(str(folder))


def test_what_is_saved_into_a_folder_gets_checksums_and_nothing_else(tmp_path):
    (tmp_path / "diary.txt").write_text("mine")
    with checksums.renewed(tmp_path):
        (tmp_path / "config.json").write_text("{}")
    with checksums.renewed(tmp_path):  # A second part, as KerasHub's users save them.
        (tmp_path / "tokenizer.json").write_text("{}")
    (tmp_path / "diary.txt").write_text("mine, and changed")
    checksums.verify(str(tmp_path))
    text = (tmp_path / checksums.FILE).read_text()
    assert [line.split()[1] for line in text.splitlines()] == [
        "config.json",
        "tokenizer.json",
    ]


def test_saving_one_part_does_not_vouch_for_the_damage_of_another(tmp_path):
    with checksums.renewed(tmp_path):
        (tmp_path / "config.json").write_text("{}")
    (tmp_path / "config.json").write_text("[]")
    with checksums.renewed(tmp_path):
        (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(errors.UserError, match=r"config\.json is not what was written"):
        checksums.verify(str(tmp_path))
