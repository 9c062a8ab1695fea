"""The command clean: a corpus and a preset become a folder, and nothing else."""

import json

import commands


def start(folder, *flags):
    return commands.Started(folder, commands.run_command, "clean", *flags)


def test_a_corpus_loses_its_oddest_lines(tiny_preset, tmp_path):
    (tmp_path / "texts.txt").write_text("the cat sat\nthe dogs saw\n\nand trees\n")
    process = start(
        tmp_path,
        f"--preset={tiny_preset}",
        f"--corpus={tmp_path / 'texts.txt'}",
        f"--output={tmp_path / 'clean'}",
        "--set=select.drop_rate=0.4",
        "--set=select.min_tokens=1",
    )
    assert process.wait() == 0, process.stderr()
    assert "kept, lines: 2 of 3" in process.stdout()
    state = json.loads((tmp_path / "clean/clean.json").read_text())
    assert state["counted"]["kept_lines"] == 2


def test_what_is_wrong_is_said_in_one_line(tmp_path):
    commands.assert_ends_in_one_line(
        start(tmp_path, "--corpus=a"), "--preset is missing: name whose network"
    )
