import commands


def start(folder, *flags):
    return commands.Started(folder, commands.run_command, "rerank", *flags)


def test_a_missing_field_is_said_with_its_line(tiny_preset, tmp_path):
    (tmp_path / "dev.tsv").write_text("id\thypothesis\tscore\n1\ta cat\t-2\n")
    flags = [f"--preset={tiny_preset}", f"--dev={tmp_path}/dev.tsv"]
    commands.assert_ends_in_one_line(
        start(tmp_path, *flags, f"--weights={tmp_path}/w.json"),
        "dev.tsv, line 2: no column 'reference'; it has 'id', 'hypothesis', 'score'",
    )
    commands.assert_ends_in_one_line(
        start(tmp_path, *flags), "--weights is missing: name the file of the weight"
    )
