"""A whole run in this process: what it starts from, reads and leaves."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import damaging
import numpy as np
import pytest
import tensorflow as tf

from electra_tf import config, errors
from electra_tf.text import vocabularies
from electra_tf.training import run, train_step, workdir
from electra_tf.weights import hugging_face_writer, preset, preset_writer, weight_map

# Keras 3.15 saves a variable of TensorFlow 2.21 in a way that numpy 2 will drop.
GOLDEN = Path(__file__).parents[1] / "golden" / "losses_debug.txt"


@pytest.fixture
def settings(tiny_run):
    def load(*overrides):
        return config.load(config.PretrainConfig, str(tiny_run), overrides)

    return load


def configs_of(learned):
    return {name: one.config for name, one in learned.declared.networks.items()}


def records(folder, split):
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return [r for r in map(json.loads, lines) if r["split"] == split]


def test_the_first_losses_are_the_golden_ones(settings, tmp_path):
    """Guards all numerics at once, from text to update.

    To renew: delete the file and run this test twice; say why in docs/decisions.
    """
    run.run(settings("run.log_every_steps=1"), str(tmp_path))
    lines = [
        f"{r['step']} {r['mlm_loss']:.7f} {r['rtd_loss']:.7f}"
        for r in records(tmp_path, "train")
    ]
    if not GOLDEN.exists():
        GOLDEN.parent.mkdir(exist_ok=True)
        GOLDEN.write_text("# step mlm_loss rtd_loss\n" + "\n".join(lines) + "\n")
        pytest.fail(f"{GOLDEN} was missing and is written anew: look at it, run again")
    found = np.array([line.split() for line in lines], float)
    assert found.shape == (20, 3)
    np.testing.assert_allclose(found, np.loadtxt(GOLDEN), rtol=1e-4)


# Runs to its first step; prints the files that it opened and the modules it loaded.
TO_THE_FIRST_STEP = """
import json, sys
import tensorflow as tf
from electra_tf import config
from electra_tf.training import loop, run

opened = []

class Noted(tf.io.gfile.GFile):
    def __init__(self, name, *mode):
        opened.append(name)
        super().__init__(name, *mode)

def stop(*_):
    print(json.dumps([opened, list(sys.modules)]))
    sys.exit()

def note(event, arguments):
    if event == "open":
        opened.append(str(arguments[0]))

tf.io.gfile.GFile = Noted
loop.run = stop
sys.addaudithook(note)
run.run(config.load(config.PretrainConfig, sys.argv[1]), sys.argv[2])
"""


def test_a_run_reads_its_data_folder_once_and_loads_no_reader_of_others_weights(
    tiny_run, tiny_data, tmp_path
):
    process = subprocess.run(
        [sys.executable, "-c", TO_THE_FIRST_STEP, str(tiny_run), str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    opened, loaded = json.loads(process.stdout.splitlines()[-1])
    for name in ("manifest.json", "vocab.txt"):
        assert opened.count(str(tiny_data / name)) == 1, name
    assert "electra_tf.weights.preset" in loaded
    others = ("weights.google_", "weights.hugging_face", "tasks.")
    assert not [n for n in loaded if n.removeprefix("electra_tf.").startswith(others)]


def test_plain_mlm_trains_a_model_alone(settings, tmp_path, capsys):
    changed = ["objective.name=mlm", "train.steps=2", "train.warmup_steps=1"]
    run.run(settings(*changed), str(tmp_path))
    assert preset.load(str(tmp_path / "preset")).networks.keys() == {"generator"}
    (last,) = records(tmp_path, "validation")
    assert "mlm_loss" in last
    assert "rtd_loss" not in last
    assert "held-out rows" in capsys.readouterr().out


def test_an_objective_of_ones_own_runs_to_its_report_and_preset(
    settings, tmp_path, tiny_preset, capsys
):
    short = ["train.steps=2", "train.warmup_steps=1"]
    own = ["objective.name=own_objective:Energy", "generator={}"]
    chosen = settings(*short, *own, f"objective.generator={tiny_preset}")
    folder = tmp_path / "run"
    run.run(chosen, str(folder))
    said = capsys.readouterr().out
    assert "energy loss" in said
    assert "energy auc" in said
    (last,) = records(folder, "validation")
    assert {"energy_loss", "energy_auc"} <= last.keys()
    page = (folder / "report.html").read_text(encoding="utf-8")
    for words in (
        "Energy loss (nats per token)",
        "Energy AUC",
        "p(noise) ",
        "the judge",
    ):
        assert words in page
    card = (folder / "preset/README.md").read_text(encoding="utf-8")
    assert "The judge has a head of its own kind" in card

    kept = preset.load(str(folder / "preset"))
    assert kept.roles == {"small": "generator", "judge": "energy"}
    # The generator that it was given, as `fold` left it.
    frozen = weight_map.variables(preset.build(kept, "small"))
    given = preset.load(tiny_preset)
    origin = weight_map.variables(preset.build(given, "generator"))
    bias = "masked_token_head/output_bias"
    np.testing.assert_array_equal(frozen.pop(bias), np.full(origin.pop(bias).shape, 7))
    for path, variable in frozen.items():
        np.testing.assert_array_equal(variable, origin[path], path)

    # It is there to the end: what is read back is the same, and there is nothing to do.
    assert workdir.read_settings(str(folder)).objective == chosen.objective
    run.run(chosen, str(folder))
    # Another run goes on from it, head and all.
    further = settings(
        *short, *own, f"train.init_from={folder}", f"objective.generator={folder}"
    )
    run.run(further, str(tmp_path / "further"))
    assert "starts at random" not in capsys.readouterr().out


# Weights that somebody trained before.


@pytest.fixture
def trained(settings, vocab):
    """Networks of another run: discriminator and generator."""
    return train_step.build(
        settings(f"model.vocab_size={len(vocab)}", "train.seed=7")
    ).objective


# With next to no learning rate, what it ends with is what it began with.
HARDLY = ["train.learning_rate=1e-30", "train.steps=2", "train.warmup_steps=0"]


def assert_same_weights(folder, networks):
    """Compares the networks in a preset with others, array by array."""
    found = preset.load(str(folder / "preset"))
    assert found.networks.keys() == networks.keys()
    for name, network in networks.items():
        for was, now in zip(
            network.weights, preset.build(found, name).weights, strict=True
        ):
            np.testing.assert_allclose(now.numpy(), was.numpy(), atol=1e-20)


def save_run(folder, trained, vocab):
    preset_writer.save(
        str(folder / "preset"),
        trained.networks,
        configs_of(trained),
        vocab,
        config.TokenizerConfig(),
        {},
    )


def save_for_transformers(folder, trained, vocab):
    hugging_face_writer.save_networks(
        str(folder),
        trained.networks,
        configs_of(trained),
        vocab,
        config.TokenizerConfig(),
        {},
    )


def save_as_google(folder, trained, vocab):
    """Writes what the 2020 code would: embeddings once, under electra/."""
    arrays = {}
    for name, network in trained.networks.items():
        scopes = weight_map.SCOPES._replace(
            encoder="generator" if name == "generator" else "electra"
        )
        found = weight_map.variables(network)
        for row in weight_map.rows(name, configs_of(trained)[name]):
            path = row.tf1.format(**scopes._asdict())
            arrays[path] = found[row.ours].numpy()
    folder.mkdir()
    tf.raw_ops.SaveV2(
        prefix=str(folder / "model.ckpt-9"),
        tensor_names=list(arrays),
        shape_and_slices=[""] * len(arrays),
        tensors=list(arrays.values()),
    )
    vocabularies.write(folder / "vocab.txt", vocab)
    heads = configs_of(trained)["discriminator"].num_heads
    (folder / "config.json").write_text(json.dumps({"num_attention_heads": heads}))


@pytest.mark.parametrize(
    "save",
    [
        save_run,
        pytest.param(save_for_transformers, marks=pytest.mark.slow),
        pytest.param(save_as_google, marks=pytest.mark.slow),
    ],
)
def test_it_goes_on_from_weights_of_any_kind_with_longer_rows(
    save, settings, trained, vocab, tmp_path
):
    save(tmp_path / "first", trained, vocab)
    second = settings(
        f"train.init_from={tmp_path}/first",
        "data.row_tokens=31",
        "data.example_tokens=31",
        "model.hidden_dropout_rate=0.0",
        *HARDLY,
    )
    run.run(second, str(tmp_path / "second"))
    assert_same_weights(tmp_path / "second", trained.networks)
    assert records(tmp_path / "second", "validation")


def test_the_architecture_is_that_of_the_weights(settings, tiny_data, vocab, tmp_path):
    first = settings(
        f"model.vocab_size={len(vocab)}",
        "model.num_layers=2",
        "model.hidden_size=15",
        "generator.width_scale=0.4",
    )
    trained = train_step.build(first).objective
    save_run(tmp_path / "first", trained, vocab)
    second = config.load(
        config.PretrainConfig,
        None,
        [
            f"data.records={tiny_data}",
            "data.example_tokens=16",
            "data.row_tokens=24",
            "train.batch_size=6",
            f"train.init_from={tmp_path}/first",
            *HARDLY,
        ],
    )
    run.run(second, str(tmp_path / "second"))
    assert_same_weights(tmp_path / "second", trained.networks)


@pytest.mark.slow
def test_a_run_resumes_when_what_it_started_from_is_gone(
    settings, trained, vocab, tmp_path, capsys
):
    save_run(tmp_path / "first", trained, vocab)
    changed = [f"train.init_from={tmp_path}/first", "run.save_every_steps=1"]
    run.run(
        settings(*changed, "train.steps=4", "train.warmup_steps=1"),
        str(tmp_path / "second"),
    )
    shutil.rmtree(tmp_path / "first")
    shutil.rmtree(tmp_path / "second" / "preset")
    capsys.readouterr()
    run.run(
        settings(*changed, "train.steps=4", "train.warmup_steps=1"),
        str(tmp_path / "second"),
    )
    assert "starting at step 4 of 4" in capsys.readouterr().out
    assert preset_writer.is_preset(str(tmp_path / "second" / "preset"))


def test_what_the_weights_lack_is_said(settings, trained, vocab, tmp_path, capsys):
    only = {"discriminator": trained.networks["discriminator"]}
    preset_writer.save(
        str(tmp_path / "first"),
        only,
        configs_of(trained),
        vocab,
        config.TokenizerConfig(),
        {},
    )
    run.run(
        settings(f"train.init_from={tmp_path}/first", *HARDLY), str(tmp_path / "run")
    )
    assert "first has no generator: it starts at random" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"vocab": True}, r"its vocabulary \(62 tokens\) is not that of the data \(6"),
        (
            {"layers": 2},
            r"num_layers of its discriminator is 2, but model.num_layers i",
        ),
    ],
)
def test_weights_that_do_not_fit_are_refused(
    changes, message, settings, vocab, tmp_path
):
    other = vocab[:-1] if "vocab" in changes else vocab
    layers = changes.get("layers", 1)
    first = settings(f"model.vocab_size={len(other)}", f"model.num_layers={layers}")
    save_run(tmp_path / "first", train_step.build(first).objective, other)
    with pytest.raises(errors.UserError, match=message):
        run.run(settings(f"train.init_from={tmp_path}/first"), str(tmp_path / "second"))
    # Nothing was trained: the same workdir takes the mended command.
    assert not (tmp_path / "second" / "checkpoints").exists()


def test_there_must_be_something_to_start_from(settings, tmp_path):
    with pytest.raises(errors.UserError, match=r"none: nothing is there; want a workd"):
        run.run(settings(f"train.init_from={tmp_path}/none"), f"{tmp_path}/run")


# Records of the 2020 code.


def write_legacy(file, vocab_size, row_tokens=24, rows=60):
    chance = np.random.default_rng(2)
    with tf.io.TFRecordWriter(str(file)) as writer:
        for length in chance.integers(5, row_tokens + 1, rows):
            ids = [2, *chance.integers(5, vocab_size, length - 2), 3]
            features = {
                "input_ids": ids,
                "input_mask": [1] * length,
                "segment_ids": [0] * 3 + [1] * (length - 3),
            }
            example = tf.train.Example()
            for name, values in features.items():
                padded = [*values, *[0] * (row_tokens - length)]
                example.features.feature[name].int64_list.value.extend(map(int, padded))
            writer.write(example.SerializeToString())


def test_records_of_the_2020_code_train_too(settings, vocab, tiny_vocab, tmp_path):
    (tmp_path / "old").mkdir()
    write_legacy(tmp_path / "old" / "pretrain_data.tfrecord-0-of-1", len(vocab))
    changed = settings(
        f"data.records={tmp_path}/old",
        f"data.vocab={tiny_vocab}",
        "train.steps=5",
    )
    run.run(changed, str(tmp_path / "run"))
    (last,) = records(tmp_path / "run", "train")
    assert 0 < last["rtd_loss"] < 5
    assert preset.load(str(tmp_path / "run" / "preset")).vocab == vocab
    # There are no held-out rows.
    assert records(tmp_path / "run", "validation") == []
    assert not (tmp_path / "run" / "samples.json").exists()


def test_rows_of_the_2020_code_must_fit_the_position_table(
    settings, vocab, tiny_vocab, tmp_path
):
    write_legacy(tmp_path / "a.tfrecord", len(vocab), row_tokens=40, rows=3)
    changed = settings(
        f"data.records={tmp_path}", f"data.vocab={tiny_vocab}", "data.row_tokens=40"
    )
    with pytest.raises(errors.UserError, match=r"max_positions=32: rows .* are 40 tok"):
        run.run(changed, str(tmp_path / "run"))


# Data that are not as they should be.


@pytest.mark.parametrize("split", ["train", "validation"])
def test_a_corrupt_shard_is_named(split, settings, own_data, tmp_path):
    shard = sorted((own_data / split).iterdir())[-1]
    damaging.flip_a_byte(shard)
    with pytest.raises(
        errors.UserError, match=r"damaged data .*: record \d+ is dam"
    ) as e:
        run.run(settings(f"data.records={own_data}"), str(tmp_path / "run"))
    assert str(shard) in str(e.value)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["model.vocab_size=99"], "vocab_size=99, but the vocabulary of .* has 6"),
        (["objective.name=guess"], "guess"),
    ],
)
def test_settings_that_do_not_fit_are_refused(overrides, message, settings, tmp_path):
    with pytest.raises(errors.UserError, match=message):
        run.run(settings(*overrides), str(tmp_path / "run"))
    assert not (tmp_path / "run" / "checkpoints").exists()


def test_another_vocabulary_than_the_records_is_refused(settings, vocab, tmp_path):
    other = tmp_path / "vocab.txt"
    vocabularies.write(other, [*vocab[:-1], "##z"])
    with pytest.raises(errors.UserError, match=r"vocab.txt is not the vocabulary that"):
        run.run(settings(f"data.vocab={other}"), str(tmp_path / "run"))


def test_a_vocabulary_that_was_changed_is_refused(settings, own_data, vocab, tmp_path):
    vocabularies.write(own_data / "vocab.txt", [*vocab[:-1], "##z"])
    with pytest.raises(errors.UserError, match=r"is not the vocabulary these records"):
        run.run(settings(f"data.records={own_data}"), str(tmp_path / "run"))
    assert not os.path.exists(tmp_path / "run")
