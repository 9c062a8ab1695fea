"""The command: each mistake a user can make ends in one line and exit code 1."""

import json
import os
import resource
import socket

import commands
import pytest

from electra_tf import config
from electra_tf.text import vocabularies
from electra_tf.training import workdir


@pytest.fixture
def pretrain(tiny_run, tmp_path):
    """Starts the command with some flags beside --config and --workdir."""

    def start(*flags, **environ):
        (tmp_path / "output").mkdir(exist_ok=True)
        return commands.pretrain(
            tmp_path / "output",
            f"--config={tiny_run}",
            f"--workdir={tmp_path}/run",
            *flags,
            **environ,
        )

    return start


@pytest.mark.parametrize(
    ("flags", "parts"),
    [
        (["--set=train.bach_size=6"], ["no setting train.bach_size; did you mean tr"]),
        (["--set=generator.width=1"], ["no setting generator.width; did you mean gen"]),
        (["--set=train.steps=none"], ["train.steps='none'"]),
        (["--set=train.warmup_steps=20"], ["warmup_steps (20) must be below steps"]),
        (["--set=model.num_heads=5"], ["num_heads (5) must divide hidden_size (12)"]),
        (
            ["--set=data.example_tokens=33", "--set=data.row_tokens=33"],
            ["data.example_tokens (33) exceeds the position table", "(32)"],
        ),
        (["--config=/none.yaml"], ["cannot read settings /none.yaml: No such file"]),
        (["--workdir="], ["--workdir is missing: name the folder"]),
        (["--set=data.records=/none"], ["no data folder /none; make it with"]),
        (["--workdir=/proc/run"], ["cannot write --workdir=/proc/run: "]),
        (["--workdir=/dev/null/run"], ["--workdir=/dev/null/run: Not a directory"]),
        (["--tpu=nope"], ["--tpu=nope: no TPU of that name can be reached"]),
    ],
)
def test_what_is_wrong_is_said_in_one_line(flags, parts, pretrain, tmp_path):
    commands.assert_ends_in_one_line(pretrain(*flags), *parts)
    assert os.listdir(tmp_path) == ["output"]


def test_a_vocabulary_without_mask_is_refused(pretrain, own_data, tiny_vocab):
    tokens = vocabularies.read(tiny_vocab)
    tokens[tokens.index("[MASK]")] = "[GAP]"
    vocabularies.write(own_data / "vocab.txt", tokens)
    commands.assert_ends_in_one_line(
        pretrain(f"--set=data.records={own_data}"),
        f"vocabulary {own_data}/vocab.txt has no [MASK]; it must hold",
    )


def test_a_shard_that_was_cut_short_is_named(pretrain, own_data):
    shard = next((own_data / "train").iterdir())
    whole = shard.read_bytes()
    shard.write_bytes(whole[:-5])
    commands.assert_ends_in_one_line(
        pretrain(f"--set=data.records={own_data}"),
        str(shard),
        f"{len(whole) - 5} bytes",
        f"{len(whole)}",
    )


def test_a_folder_of_something_else_stays_as_it_is(pretrain, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "letter.txt").write_text("dear")
    commands.assert_ends_in_one_line(
        pretrain(), f"--workdir={tmp_path}/run holds something else than a run"
    )
    assert os.listdir(tmp_path / "run") == ["letter.txt"]


def test_another_run_is_not_overwritten(pretrain, tiny_run, tmp_path):
    settings = config.load(
        config.PretrainConfig, str(tiny_run), ["train.seed=8", "model.vocab_size=63"]
    )
    folder = tmp_path / "run"
    workdir.open_workdir(str(folder), settings, {}, is_chief=True, devices=[])
    (folder / "checkpoints").mkdir()
    (folder / "checkpoints" / "ckpt-5.index").touch()
    before = sorted(folder.rglob("*"))
    commands.assert_ends_in_one_line(
        pretrain(), f"cannot resume {folder}", "train.seed was 8, now 42; put them back"
    )
    assert sorted(folder.rglob("*")) == before


def test_a_port_that_is_taken_is_named(pretrain):
    with socket.create_server(("", 0)) as taken:
        address = f"localhost:{taken.getsockname()[1]}"
        cluster = {"worker": [address, "localhost:1"]}
        text = {"cluster": cluster, "task": {"type": "worker", "index": 0}}
        commands.assert_ends_in_one_line(
            pretrain(TF_CONFIG=json.dumps(text)),
            f"TF_CONFIG: cannot listen on {address}: Address already in use; choose",
        )


def pretrain_on_a_small_disk(largest_file, *flags):
    """Fails as a full disk does: writing to a file beyond so many bytes."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, largest_file))
    commands.run_command("pretrain", *flags)


def test_a_disk_that_is_full_when_it_saves_is_said_so(tiny_run, tmp_path):
    process = commands.Started(
        tmp_path,
        pretrain_on_a_small_disk,
        20_000,  # Less than a checkpoint takes, more than all that comes before.
        f"--config={tiny_run}",
        f"--workdir={tmp_path}/run",
    )
    commands.assert_ends_in_one_line(
        process,
        f"cannot save {tmp_path}/run/checkpoints/ckpt-5: ",
        "goes on from step 0",
    )
    assert os.listdir(tmp_path / "run" / "checkpoints") == []
    assert len((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()) == 1


def test_a_rate_that_is_absurd_stops_at_that_step_and_keeps_what_was_good(
    pretrain, tmp_path
):
    process = pretrain(
        "--set=train.learning_rate=1e35",
        "--set=train.warmup_steps=0",
        "--set=run.save_every_steps=1",
    )
    commands.assert_ends_in_one_line(
        process, "loss or gradient is not finite; the last checkpoint is kept; lower"
    )
    # The first update is made with it; the second loss is already beyond all bounds.
    assert "error: step 2: " in process.stderr()
    assert (tmp_path / "run" / "checkpoints" / "ckpt-1.index").exists()
    assert not (tmp_path / "run" / "checkpoints" / "ckpt-2.index").exists()
