import json
import subprocess
import sys
from pathlib import Path

import commands


def start(folder, *flags):
    return commands.Started(folder, commands.run_command, "predict", *flags)


def test_it_answers_texts_in_order(tiny_tuned, tmp_path):
    process = start(
        tmp_path, f"--preset={tiny_tuned[0]}", "--text=a cat", "--text=a, dog"
    )
    assert process.wait() == 0, process.stderr()
    lines = [json.loads(line) for line in process.stdout().splitlines()]
    assert [line["text"] for line in lines] == ["a cat", "a, dog"]


def test_a_reader_that_goes_away_is_told_in_one_line(tiny_tuned, tmp_path):
    (tmp_path / "in.txt").write_text("the cat sat\n" * 9000)
    command = [sys.executable, "-m", "electra_tf.predict"]
    command += [f"--preset={tiny_tuned[0]}", f"--input={tmp_path}/in.txt"]
    with subprocess.Popen(
        command,
        cwd=Path(__file__).parent.parent,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert json.loads(process.stdout.readline())["text"] == "the cat sat"
        process.stdout.close()
        said = process.stderr.read().decode()
    assert process.returncode == 1  # Not all that was asked for was delivered.
    assert [line for line in said.splitlines() if line.startswith("error: ")]
    assert "Traceback" not in said


def test_what_is_wrong_is_said_in_one_line(tiny_tuned, tmp_path):
    commands.assert_ends_in_one_line(
        start(tmp_path, f"--preset={tiny_tuned[0]}"), "name what to read: either --text"
    )
    commands.assert_ends_in_one_line(
        start(tmp_path, "--text=a"), "--preset is missing: name the model"
    )
