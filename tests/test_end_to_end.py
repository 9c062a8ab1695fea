"""From a text file to a trained preset, through the commands as people type them."""

import json
import os
import random
import re
import subprocess
import sys
from pathlib import Path

import pytest

from electra_tf.reports import sample_rows
from electra_tf.weights import preset

ROOT = Path(__file__).resolve().parent.parent
WORDS = "rain sun wind cloud falls shines blows drifts over under the a".split()

CONFIG = """
model:
  embedding_size: 10
  hidden_size: 12
  num_layers: 1
  num_heads: 3
  intermediate_size: 20
  max_positions: 32
generator: {width_scale: 0.5}
data: {example_tokens: 16, row_tokens: 24, block_rows: 16}
train: {steps: 8, batch_size: 6, warmup_steps: 2, learning_rate: 1e-3}
run: {log_every_steps: 4, evaluate_every_steps: 8, save_every_steps: 4}
"""


def run(verb, *flags):
    """Runs a command in the repository's root; returns what the process left."""
    return subprocess.run(
        [sys.executable, "-m", f"electra_tf.{verb}", *flags],
        cwd=ROOT,
        env=os.environ | {"PYTHONWARNINGS": "default"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a text file and a config file, as someone may begin."""
    folder = tmp_path_factory.mktemp("end_to_end")
    chance = random.Random(4)
    documents = [
        "\n".join(
            " ".join(chance.choices(WORDS, k=chance.randint(3, 12))).capitalize() + "."
            for _ in range(chance.randint(1, 6))
        )
        for _ in range(60)
    ]
    (folder / "weather.txt").write_text("\n\n".join(documents), encoding="utf-8")
    (folder / "tiny.yaml").write_text(CONFIG, encoding="utf-8")
    return folder


def assert_quiet(process):
    """Checks that TensorFlow has had no word, nor Python a traceback."""
    said = r"InitializeLog|oneDNN|cuInit|AVX|retracing|^[IWE]\d{4} |Traceback"
    assert not re.findall(said, process.stderr, re.M)


@pytest.fixture(scope="module")
def built(folder):
    return run(
        "build_data",
        f"--corpus={folder}/weather.txt",
        f"--output={folder}/data",
        "--vocab_size=150",
        "--set=min_shards=3",
        "--set=validation_rate=0.1",
        "--set=processes=1",
    )


@pytest.fixture(scope="module")
def pretrain(folder, built):
    assert built.returncode == 0, built.stderr

    def start(*flags):
        return run(
            "pretrain",
            f"--config={folder}/tiny.yaml",
            f"--workdir={folder}/run",
            f"--set=data.records={folder}/data",
            *flags,
        )

    return start


@pytest.fixture(scope="module")
def trained(pretrain):
    return pretrain()


def test_text_becomes_a_trained_preset(folder, trained):
    assert trained.returncode == 0, trained.stderr
    assert_quiet(trained)
    assert sorted(os.listdir(folder / "run")) == [
        "checkpoints",
        "config.yaml",
        "metrics.jsonl",
        "preset",
        "report.html",
        "run.json",
        "samples.json",
        "tensorboard",
    ]
    found = preset.load(str(folder / "run" / "preset"))
    assert "rain" in found.vocab
    assert found.origin["steps"] == 8
    assert found.origin["metrics"]["rtd_loss"] > 0
    assert preset.build(found, "discriminator").count_params() > 1000


def test_it_says_what_runs_how_it_goes_and_where_all_lies(folder, trained):
    lines = trained.stdout.splitlines()
    assert lines[0].startswith("settings: model.vocab_size=")
    assert "starting at step 0 of 8" in lines[1]
    assert re.match(r"this machine will take about \d+ seconds?$", lines[2])
    steps = [line for line in lines if line.startswith("step ")]
    assert [line.split()[1] for line in steps] == ["4/8", "8/8"]
    for part in ("mlm loss", "rtd loss", "rtd auc", "tokens/s", "fill", "ETA"):
        assert part in steps[-1]
    assert any(line.startswith("validation at step 8: mlm loss") for line in lines)
    assert f"report:  {folder}/run/report.html" in lines


def test_the_metrics_are_there_for_machines(folder, trained):
    text = (folder / "run" / "metrics.jsonl").read_text(encoding="utf-8")
    records = [json.loads(line) for line in text.splitlines()]
    assert [(r["step"], r["split"]) for r in records] == [
        (4, "train"),
        (8, "train"),
        (8, "validation"),
    ]
    for record in records:
        assert {"loss", "mlm_loss", "rtd_loss", "rtd_auc", "row_fill"} <= record.keys()
        assert 0 < record["replaced_rate"] < 0.16


def test_held_out_rows_show_what_was_hidden_drawn_and_suspected(folder, trained):
    samples = sample_rows.read(str(folder / "run" / "samples.json"))
    assert samples.step == 8
    for row in samples.rows:
        assert row.tokens[0] == "[CLS]"
        assert row.hidden
        assert len(row.probability) == len(row.tokens)
        for hidden in row.hidden:
            assert row.tokens[hidden.position] == hidden.original
    page = (folder / "run" / "report.html").read_text(encoding="utf-8")
    assert "<svg" in page or "<canvas" in page


def test_the_same_command_again_says_that_it_is_finished(folder, trained, pretrain):
    before = (folder / "run" / "metrics.jsonl").read_bytes()
    again = pretrain()
    assert again.returncode == 0, again.stderr
    assert "starting at step 8 of 8" in again.stdout
    assert "finished at step 8. held-out: loss " in again.stdout
    assert (folder / "run" / "metrics.jsonl").read_bytes() == before


def test_print_config_shows_the_settings_and_starts_nothing(folder):
    process = run("pretrain", f"--config={folder}/tiny.yaml", "--print_config")
    assert process.returncode == 0
    assert (
        "\n  batch_size: 6  # Rows per update, over all replicas.\n" in process.stdout
    )
    assert "Traceback" not in process.stderr
