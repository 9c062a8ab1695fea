import json

import commands


def start(folder, *flags):
    return commands.Started(folder, commands.run_command, "evaluate", *flags)


def test_it_says_and_writes_the_metrics(tiny_tuned, tiny_task, tmp_path):
    process = start(
        tmp_path,
        f"--preset={tiny_tuned[0]}",
        f"--data={tiny_task}",
        "--split=train",
        f"--output={tmp_path}/deep/metrics.json",
    )
    assert process.wait() == 0, process.stderr()
    assert process.stdout().splitlines()[0].split() == ["accuracy", "1.0000"]
    told = json.loads((tmp_path / "deep" / "metrics.json").read_text())
    assert told["examples"] == 24


def test_what_is_wrong_is_said_in_one_line(tiny_tuned, tiny_task, tmp_path):
    flags = [f"--preset={tiny_tuned[0]}", f"--data={tiny_task}"]
    commands.assert_ends_in_one_line(
        start(tmp_path, *flags, "--task=text_regression"),
        "column 'label' is 'yes', want a number",
    )
