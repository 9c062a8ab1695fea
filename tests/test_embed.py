import commands
import numpy as np


def test_vectors_are_written(tiny_preset, tmp_path):
    file = tmp_path / "corpus.txt"
    file.write_text("the cat sat\na dog ran\nthe bird flew\n")
    process = commands.Started(
        tmp_path,
        commands.run_command,
        "embed",
        f"--preset={tiny_preset}",
        f"--input={file}",
        f"--output={tmp_path / 'out.npy'}",
    )
    assert process.wait() == 0, process.stderr()
    assert "the vectors of 3 texts" in process.stdout()
    assert np.load(tmp_path / "out.npy").shape == (3, 12)


def test_what_is_missing_is_said_in_one_line(tmp_path):
    process = commands.Started(tmp_path, commands.run_command, "embed", "--preset=a")
    commands.assert_ends_in_one_line(process, "--input is missing: name a file")
