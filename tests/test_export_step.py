import gzip
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from electra_tf import config
from electra_tf.training import train_step, workdir

SCRIPTS = Path(__file__).resolve().parent.parent / "scripts"
sys.path.insert(0, str(SCRIPTS))

import export_step  # noqa: E402

STEPS = 3


def export(*flags):
    export_step.main(export_step.parse([str(flag) for flag in flags]))


def settings_of(tiny_run):
    return config.load(config.PretrainConfig, str(tiny_run), ["model.vocab_size=83"])


@pytest.fixture(scope="module")
def plain(tiny_run, tmp_path_factory):
    """A step that takes masked batches, and its weights."""
    folder = tmp_path_factory.mktemp("plain")
    export(f"--config={tiny_run}", "--set=model.vocab_size=83", "--weights",
           f"--output={folder}")  # fmt: skip
    return folder


@pytest.fixture(scope="module")
def masking(tiny_run, tmp_path_factory):
    """A step that hides tokens itself, with rows and weights."""
    folder = tmp_path_factory.mktemp("masking")
    export(f"--config={tiny_run}", "--rows", "--weights", f"--output={folder}")
    return folder


def test_every_argument_of_the_compiled_step_is_named_once(plain):
    about = json.loads((plain / "step.json").read_text())
    batch, state = dict_of(about["batch"]), dict_of(about["state"])
    assert sorted(batch) == [
        "example_ids", "mask_ids", "mask_positions", "mask_weights",
        "position_ids", "sampling_noise", "segment_ids", "token_ids",
    ]  # fmt: skip
    assert batch["token_ids"] == ["int32", [6, 24]]
    assert len(state) == len(about["state"])
    assert state["updates"] == ["int64", []]
    # What two networks share is one variable, the discriminator's or the generator's.
    tables = [name for name in state if name.endswith("word_embeddings")]
    assert len(tables) == 1
    assert state[f"{tables[0]}:m"] == state[tables[0]] == ["float32", [83, 10]]
    hlo = gzip.decompress((plain / "step.hlo.gz").read_bytes())
    assert b"HloModule" not in hlo  # A proto, not text.
    assert b"update" in hlo


def test_the_rows_are_an_epoch_with_nothing_hidden(masking, tiny_data):
    with np.load(masking / "rows.npz") as rows:
        ids, examples = rows["token_ids"], rows["example_ids"]
    vocab = (tiny_data / "vocab.txt").read_text().splitlines()
    special = [vocab.index(token) for token in ("[CLS]", "[SEP]", "[PAD]")]
    assert not np.any(ids == vocab.index("[MASK]"))
    manifest = json.loads((tiny_data / "manifest.json").read_text())
    told = sum(shard["tokens"] for shard in manifest["train"])
    words = ids[(examples > 0) & ~np.isin(ids, special)]
    assert len(words) >= 0.9 * told  # Rows that fill no block may be left over.


def test_trained_weights_come_back_as_a_run_to_go_on_with(masking, tiny_run, tmp_path):
    weights = dict(np.load(masking / "state.npz"))
    for name in weights:
        weights[name] = weights[name] + (20 if name == "updates" else 0.25)
    np.savez(tmp_path / "state.npz", **weights)
    (tmp_path / "metrics.jsonl").write_text('{"step": 5, "split": "train"}\n')
    folder = tmp_path / "run"
    export(f"--config={tiny_run}", f"--state={tmp_path / 'state.npz'}",
           f"--workdir={folder}")  # fmt: skip
    assert workdir.is_started(str(folder))
    assert (folder / "metrics.jsonl").exists()
    found = tf.train.load_checkpoint(str(folder / "checkpoints/ckpt-20"))
    names = [n for n in found.get_variable_to_shape_map() if "word_embeddings/" in n]
    table = next(n for n in weights if n.endswith("word_embeddings"))
    assert names
    np.testing.assert_array_equal(found.get_tensor(names[0]), weights[table])


def test_weights_of_another_config_are_refused(masking, tiny_run, tmp_path):
    weights = dict(np.load(masking / "state.npz"))
    del weights["updates"]
    np.savez(tmp_path / "state.npz", **weights, strange=np.zeros(3))
    with pytest.raises(SystemExit, match=r"missing \['updates'\], unknown \['strange'"):
        export(f"--config={tiny_run}", f"--state={tmp_path / 'state.npz'}",
               f"--workdir={tmp_path / 'run'}")  # fmt: skip
    assert not (tmp_path / "run").exists()


PEER = """
import json, sys
sys.path.insert(0, sys.argv[1])
import jax, numpy as np, run_step
step = run_step.Step(sys.argv[2])
update = jax.jit(step, donate_argnums=0)
state, batch = step.fresh_state(), step.random_batch()
found = []
for _ in range(int(sys.argv[3])):
    state, sums = update(state, batch)
    found.append({n: np.asarray(v).tolist() for n, v in sums.items()})
print(json.dumps({"sums": found, "audit": step.audit(), "flops": step.matrix_flops()}))
"""


@pytest.fixture
def peer():
    """Runs the step by JAX alone."""
    python = os.environ.get("ELECTRA_TF_PEER_PYTHON")
    if not python:
        pytest.skip("ELECTRA_TF_PEER_PYTHON names no Python with jax")

    def run(*arguments):
        process = subprocess.run(
            [python, *map(str, arguments)],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "JAX_PLATFORMS": "cpu"},
        )
        assert process.returncode == 0, process.stderr
        return process.stdout.splitlines()

    return run


@pytest.mark.parity
def test_jax_alone_computes_what_tensorflow_does(plain, tiny_run, peer):
    found = json.loads(peer("-c", PEER, SCRIPTS, plain, STEPS)[-1])
    learner = train_step.build(settings_of(tiny_run))
    state = export_step.state_of(learner)
    for name, value in np.load(plain / "state.npz").items():
        state[name].assign(value)
    batch = batch_like_run_step(json.loads((plain / "step.json").read_text()))
    update = tf.function(learner.update, jit_compile=True, autograph=False)
    for sums in found["sums"]:
        for name, value in update(batch).items():
            np.testing.assert_allclose(sums[name], value, rtol=2e-5, err_msg=name)
    assert len(found["sums"]) == STEPS
    assert found["sums"][0]["rtd_loss"] != found["sums"][-1]["rtd_loss"]


@pytest.mark.parity
def test_the_compiled_step_is_static_and_stays_on_the_device(plain, peer):
    found = json.loads(peer("-c", PEER, SCRIPTS, plain, 1)[-1])
    assert found["audit"]["operations"] > 1000
    assert found["audit"]["dynamic_shapes"] == found["audit"]["host_calls"] == 0
    # 2 x 3 products (forward, two gradients) of at least one hidden layer.
    assert found["flops"] > 6 * 6 * 24 * 12 * 12


@pytest.mark.parity
def test_jax_alone_trains_on_the_rows(masking, peer, tmp_path):
    peer(SCRIPTS / "run_step.py", masking, f"--train={tmp_path}", "--steps=10")
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [5, 10]
    with (
        np.load(tmp_path / "state.npz") as after,
        np.load(masking / "state.npz") as before,
    ):
        assert after["updates"] == 10
        assert set(after) == set(before)
        table = next(name for name in after if name.endswith("word_embeddings"))
        assert np.abs(after[table] - before[table]).max() > 1e-4


def batch_like_run_step(about):
    """Makes the batch of run_step.Step.random_batch; no jax is here to import it."""
    rng = np.random.default_rng(0)
    rows, length, places = about["rows"], about["length"], about["predictions"]
    ids = rng.integers(5, about["model"]["vocab_size"], (rows, length), np.int32)
    where = np.sort(np.argsort(rng.random((rows, length)), axis=1)[:, :places], axis=1)
    shape = (rows, 1)
    return {
        "token_ids": tf.constant(ids),
        "segment_ids": tf.constant(
            np.tile(np.arange(length) > length // 2, shape), "int32"
        ),
        "example_ids": tf.ones((rows, length), tf.int32),
        "position_ids": tf.constant(np.tile(np.arange(length), shape), tf.int32),
        "mask_positions": tf.constant(where, tf.int32),
        "mask_ids": tf.constant(np.take_along_axis(ids, where, axis=1)),
        "mask_weights": tf.ones((rows, places)),
        "sampling_noise": tf.constant(rng.random((rows, places)), tf.float32),
    }


def dict_of(rows):
    return {name: value for name, *value in rows}
