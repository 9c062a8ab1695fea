import os

import commands


def start(folder, *flags):
    return commands.Started(folder, commands.run_command, "export", *flags)


def test_it_writes_a_version_and_prints_how_to_serve_it(tiny_tuned, tmp_path):
    base = tmp_path / "cats"
    process = start(
        tmp_path,
        f"--preset={tiny_tuned[0]}",
        f"--output={base}",
        "--version=3",
        "--batch_sizes=1,5",
        "--set",
        "model.sequence_length=8",
    )
    assert process.wait() == 0, process.stderr()
    wrote, command = process.stdout().splitlines()
    assert wrote == f"wrote {base}/3: ElectraTextClassifier"
    assert command.startswith("serve it: docker run ")
    assert set(os.listdir(base)) == {"3", "batching.config", "models.config"}
    assert "max_batch_size { value: 5 }" in (base / "batching.config").read_text()


def test_what_is_wrong_is_said_in_one_line(tiny_preset, tmp_path):
    for flags, message in (
        ([], "--preset is missing: name the model"),
        (["--preset=x"], "--output is missing: name the folder to write"),
        (["--preset=x", "--output=y", "--batch_sizes=1,many"], "want numbers"),
        ([f"--preset={tiny_preset}", f"--output={tiny_preset}"], "no version of a"),
    ):
        commands.assert_ends_in_one_line(start(tmp_path, *flags), message)
