"""Killed anywhere, a run that is started again ends as if nothing had happened.

The real command, in processes of its own; every result is compared bit for bit.
"""

import json
import re
import signal

import commands
import h5py
import numpy as np
import pytest
import tensorflow as tf

# Steps are slow enough to be killed between them.
FLAGS = ("--set=train.steps_per_loop=1", "--set=run.keep=null")
TIMED = {"seconds", "tokens_per_second", "rows_per_second"}


@pytest.fixture(scope="module")
def start(tmp_path_factory, tiny_run):
    """Starts the command on a workdir, in one process or several."""

    def start_workers(workdir, workers=1, flags=()):
        folder = tmp_path_factory.mktemp("output")
        ports = commands.free_ports(workers)
        return [
            commands.pretrain(
                folder,
                f"--config={tiny_run}",
                f"--workdir={workdir}",
                *FLAGS,
                *flags,
                **({"TF_CONFIG": commands.tf_config(ports, i)} if workers > 1 else {}),
            )
            for i in range(workers)
        ]

    return start_workers


def run_to_the_end(start, workdir, workers=1):
    for process in start(workdir, workers):
        assert process.wait() == 0, process.stderr()
    return workdir


@pytest.fixture(scope="module")
def whole(start, tmp_path_factory):
    """The workdir of a run that nobody disturbed."""
    return run_to_the_end(start, tmp_path_factory.mktemp("whole") / "run")


def last_checkpoint(workdir):
    reader = tf.train.load_checkpoint(str(workdir / "checkpoints" / "ckpt-20"))
    return {
        name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map()
    }


def preset_weights(workdir):
    found = {}
    for network in ("generator", "discriminator"):
        with h5py.File(workdir / "preset" / f"{network}.weights.h5") as file:
            names = []
            file.visit(names.append)
            for name in names:
                if isinstance(file[name], h5py.Dataset):
                    found[f"{network}/{name}"] = file[name][()]
    return found


def metrics(workdir, parted=()):
    """Returns what was told, but for training up to the steps `parted`."""
    lines = (workdir / "metrics.jsonl").read_text().splitlines()
    records = [json.loads(line) for line in lines]
    records = [r for r in records if r["split"] != "train" or r["step"] not in parted]
    return [{k: v for k, v in r.items() if k not in TIMED} for r in records]


def assert_same(workdir, whole, parted=()):
    for read in (last_checkpoint, preset_weights):
        expected, found = read(whole), read(workdir)
        assert len(expected) > 30
        assert found.keys() == expected.keys()
        for name in expected:
            np.testing.assert_array_equal(found[name], expected[name], err_msg=name)
    assert metrics(workdir, parted) == metrics(whole, parted)


def has_checkpoint(workdir, step):
    return lambda: (workdir / "checkpoints" / f"ckpt-{step}.index").exists()


def test_a_run_that_was_killed_and_stopped_ends_as_one_that_was_not(
    start, whole, tmp_path
):
    workdir = tmp_path / "run"
    (process,) = start(workdir)
    process.wait_for(has_checkpoint(workdir, 5))
    process.send(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    before = set((workdir / "checkpoints").glob("*.index"))
    # Saves at no step of its own, so that the signal's is the only one.
    (process,) = start(workdir, flags=["--set=run.save_every_steps=100"])
    process.wait_for(lambda: re.search("step 1[05]/20", process.stdout()))
    process.send(signal.SIGTERM)
    assert process.wait() == 0
    (index,) = set((workdir / "checkpoints").glob("*.index")) - before
    step = int(index.stem.removeprefix("ckpt-"))
    assert 10 < step < 20
    assert process.stdout().endswith(
        f"stopped at step {step}; run the same command to go on\n"
    )
    # Who stops tells of the steps since the last line, and the next line of the rest.
    run_to_the_end(start, workdir)
    assert_same(workdir, whole, parted={step, -(-step // 5) * 5})
    sessions = json.loads((workdir / "run.json").read_text())["sessions"]
    assert len(sessions) == 3


@pytest.mark.slow
def test_a_run_may_be_killed_in_the_middle_of_a_save(start, whole, tmp_path):
    workdir = tmp_path / "run"
    for step in (5, 10, 15):
        (process,) = start(workdir)
        parts = workdir / "checkpoints" / "saving" / f"ckpt-{step}_temp"
        whole_file = has_checkpoint(workdir, step)
        # Whichever is seen first: parts are there for some milliseconds only.
        process.wait_for(lambda p=parts, w=whole_file: p.exists() or w())
        process.send(signal.SIGKILL)
        process.wait()
    assert_same(run_to_the_end(start, workdir), whole)


@pytest.fixture(scope="module")
def whole_of_two(start, tmp_path_factory):
    """The workdir of two workers that nobody disturbed."""
    return run_to_the_end(start, tmp_path_factory.mktemp("whole") / "run", workers=2)


@pytest.mark.slow
def test_two_workers_that_were_killed_end_as_two_that_were_not(
    start, whole_of_two, tmp_path
):
    workdir = tmp_path / "run"
    workers = start(workdir, workers=2)
    workers[0].wait_for(has_checkpoint(workdir, 10))
    for worker in workers:
        worker.send(signal.SIGKILL)
        worker.wait()
    assert_same(run_to_the_end(start, workdir, workers=2), whole_of_two)


@pytest.mark.slow
def test_a_signal_to_one_of_two_workers_stops_both_at_one_step(
    start, whole_of_two, tmp_path
):
    workdir = tmp_path / "run"
    chief, other = start(workdir, 2, ["--set=run.save_every_steps=100"])
    chief.wait_for(lambda: "step 5/20" in chief.stdout())
    other.send(signal.SIGTERM)
    assert (chief.wait(), other.wait()) == (0, 0), chief.stderr()
    assert len(list((workdir / "checkpoints").glob("*.index"))) == 1
    run_to_the_end(start, workdir, workers=2)
    for name, value in last_checkpoint(whole_of_two).items():
        np.testing.assert_array_equal(last_checkpoint(workdir)[name], value)


@pytest.mark.slow
@pytest.mark.parametrize("victim", [0, 1])
def test_when_one_of_two_workers_dies_the_other_says_so(start, victim, tmp_path):
    workdir = tmp_path / "run"
    workers = start(workdir, 2, ["--set=train.steps=2000"])
    workers[0].wait_for(has_checkpoint(workdir, 5))
    workers[victim].send(signal.SIGKILL)
    survivor = workers[1 - victim]
    assert survivor.wait() == 1
    assert "Traceback" not in survivor.stderr()
    assert survivor.stderr().count("error: lost a worker after step ") == 1


@pytest.mark.slow
def test_workers_that_see_different_workdirs_are_refused(start, whole_of_two, tmp_path):
    ports = commands.free_ports(2)
    (tmp_path / "output").mkdir()
    config_file = str(whole_of_two / "config.yaml")
    workers = [
        commands.pretrain(
            tmp_path / "output",
            f"--config={config_file}",
            f"--workdir={workdir}",
            TF_CONFIG=commands.tf_config(ports, i),
        )
        for i, workdir in enumerate([whole_of_two, tmp_path / "empty"])
    ]
    for worker in workers:
        assert worker.wait() == 1
        assert "a folder that all of them share" in worker.stderr()
