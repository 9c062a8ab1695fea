"""The command: what was asked for, in a workdir; mistakes end in one line."""

import json
import os
import signal

import commands
import pytest


@pytest.fixture
def finetune(tiny_preset, tiny_task, tmp_path):
    """Starts the command on tiny_task with some flags more, or others."""

    def start(*flags):
        (tmp_path / "output").mkdir(exist_ok=True)
        return commands.Started(
            tmp_path / "output",
            commands.run_command,
            "finetune",
            f"--preset={tiny_preset}",
            "--task=text_classification",
            f"--data={tiny_task}",
            f"--workdir={tmp_path}/run",
            "--set=train.epochs=6",
            "--set=train.batch_size=8",
            "--set=train.learning_rate=1e-2",
            *flags,
        )

    return start


def test_a_killed_run_goes_on_where_it_was_and_a_terminated_one_says_so(
    finetune, tmp_path
):
    trials = tmp_path / "run" / "trials"
    process = finetune("--set=train.trials=9")
    process.wait_for(lambda: (trials / "1.json").exists())
    process.send(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    first = (trials / "1.json").read_bytes()
    process = finetune("--set=train.trials=9")
    process.wait_for(lambda: (trials / "2.json").exists())
    process.send(signal.SIGTERM)
    assert process.wait() == 0
    lines = process.stdout().splitlines()
    assert lines[0] == "trial 1 of 9, seed 42: kept"
    assert lines[-1].startswith("stopped: ")
    assert "run the same command again to go on" in lines[-1]
    process = finetune("--set=train.trials=2")
    assert process.wait() == 0
    assert (trials / "1.json").read_bytes() == first
    assert process.stdout().splitlines()[1] == "trial 2 of 2, seed 43: kept"
    found = {"config.yaml", "metrics.json", "predictions", "preset", "report.html"}
    assert found | {"run.json", "trials"} == set(os.listdir(tmp_path / "run"))
    told = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert len(told["trials"]) >= 2


@pytest.mark.parametrize(
    ("flags", "part"),
    [
        (["--preset="], "--preset is missing: name what to start from"),
        (["--task="], "--task is missing: name what to learn"),
        (["--data="], "--data is missing: name the folder of the data"),
        (["--workdir="], "--workdir is missing: name the folder that this run writes"),
        (["--preset=/none"], "/none: nothing is there; want a workdir or preset"),
        (["--task=colla"], "no task 'colla'; did you mean cola?"),
        (["--task=cola,rte"], "--task names 2 tasks and --data 1 folders"),
        (["--data=/none"], "data folder /none is not there"),
        (["--set=train.epoch=3"], "no setting train.epoch; did you mean train.epochs?"),
        (["--set=data.options.txt_column=a"], "has no option 'txt_column'; did you me"),
        (["--set=model.options.drop=0.2"], "has no 'drop'; did you mean dropout?"),
        (["--set=model.sequence_length=99"], "sequence_length=99 exceeds the position"),
        (["--set=train.patience=2"], "patience=2 needs keep_epoch: best"),
    ],
)
def test_what_is_wrong_is_said_in_one_line_and_leaves_nothing(
    flags, part, finetune, tmp_path
):
    commands.assert_ends_in_one_line(finetune(*flags), part)
    left = set(os.listdir(tmp_path)) - {"output"}
    assert not left or not (tmp_path / "run" / "trials").exists()
