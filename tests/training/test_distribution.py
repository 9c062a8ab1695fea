"""One device, several, several machines: the same numbers; and what may be amiss."""

import os

import commands
import numpy as np
import pytest
import tensorflow as tf

from electra_tf import config, errors
from electra_tf.training import distribution, loop, train_step

STEPS, BATCH, LENGTH, PREDICTIONS, VOCAB = 10, 8, 14, 3, 23

SETTINGS = config.PretrainConfig(
    model=config.ModelConfig(
        vocab_size=VOCAB,
        embedding_size=6,
        hidden_size=12,
        num_layers=1,
        num_heads=3,
        intermediate_size=20,
        max_positions=LENGTH,
        hidden_dropout_rate=0.0,
        attention_dropout_rate=0.0,
    ),
    generator=config.GeneratorConfig(width_scale=0.5),
    data=config.DataConfig(example_tokens=LENGTH, row_tokens=LENGTH),
    train=config.TrainConfig(
        steps=STEPS, warmup_steps=2, batch_size=BATCH, learning_rate=1e-2
    ),
    run=config.RunConfig(log_every_steps=5, evaluate_every_steps=5, save_every_steps=5),
)


def make_rows(count):
    """Makes rows with more and fewer real tokens, so that means of means are wrong."""
    chance = np.random.default_rng(5)
    lengths = chance.integers(PREDICTIONS + 1, LENGTH + 1, (count, 1))
    real = np.arange(LENGTH) < lengths
    ids = chance.integers(5, VOCAB, (count, LENGTH)) * real
    order = np.argsort(chance.random((count, LENGTH)) + ~real, axis=1)
    positions = np.sort(order[:, :PREDICTIONS], axis=1)
    rows = {
        "token_ids": ids,
        "segment_ids": np.zeros_like(ids),
        "example_ids": real,
        "position_ids": np.arange(LENGTH) * real,
        "mask_positions": positions,
        "mask_ids": np.take_along_axis(ids, positions, axis=1),
        "data_position": np.arange(1, count + 1)[:, None] * [0, 0, 0, 1],
    }
    rows = {name: values.astype(np.int32) for name, values in rows.items()}
    rows["mask_weights"] = (chance.random(positions.shape) < 0.8).astype(np.float32)
    rows["sampling_noise"] = chance.random(positions.shape).astype(np.float32)
    return rows


def open_rows(position, worker, num_workers, rows):
    """Opens this worker's share of each global batch."""

    def share(batch):
        size = BATCH // num_workers
        return {
            name: v[worker * size : (worker + 1) * size] for name, v in batch.items()
        }

    batches = tf.data.Dataset.from_tensor_slices(make_rows(STEPS * BATCH)).batch(BATCH)
    options = tf.data.Options()
    options.autotune.enabled = False  # As input_pipeline's.
    mine = batches.map(share).unbatch().batch(rows, drop_remainder=True)
    return mine.with_options(options)


def weights(model):
    """Returns weights by place and path; a path alone is unique in one network only."""
    variables = model.trainable_variables
    return {f"{i} {v.path}": v.value.numpy() for i, v in enumerate(variables)}


def train(strategy):
    """Returns all weights after the steps, and the last evaluation."""
    held_out = {
        name: tf.constant(value[:4])
        for name, value in make_rows(4).items()
        if name != "data_position"
    }
    with strategy.scope():
        model = train_step.build(SETTINGS)
    # Three batches: the replicas take one each, and one is left.
    data = loop.Data(open_rows, [held_out] * 3, lambda: None)
    running = loop.Loop(model, strategy, data, SETTINGS.train)
    running.start(None)
    outcome = loop.run(
        running, model, None, SETTINGS.train, SETTINGS.run, loop.Silence()
    )
    return weights(model) | {"loss": outcome.validation["loss"]}


def train_as_worker(file):
    strategy = distribution.strategy()
    found = train(strategy)
    distribution.refuse_different(strategy, 7, 2)
    index = strategy.cluster_resolver.task_id
    with pytest.raises(errors.UserError, match="this worker goes on from step"):
        distribution.refuse_different(strategy, index, 1)
    with pytest.raises(errors.UserError, match=r"train.streams=auto is \d on this wo"):
        distribution.refuse_different(strategy, 7, 1 + index)
    np.savez(file, **{name.replace("/", "|"): value for name, value in found.items()})


def assert_all_close(found, expected):
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, atol=1e-5, err_msg=name)


@pytest.fixture(scope="module")
def trained_on_one():
    return train(tf.distribute.OneDeviceStrategy("/cpu:0"))


def test_training_changed_the_weights(trained_on_one):
    start = weights(train_step.build(SETTINGS))
    moved = [np.abs(trained_on_one[name] - start[name]).max() for name in start]
    assert len(moved) > 20
    assert np.median(moved) > 1e-2  # Key biases hardly have a gradient.


@pytest.mark.slow
def test_two_replicas_learn_what_one_learns(trained_on_one, two_replicas):
    assert_all_close(train(two_replicas), trained_on_one)


def test_two_workers_learn_what_one_learns(trained_on_one, tmp_path):
    ports = commands.free_ports(2)
    files = [tmp_path / f"{index}.npz" for index in range(2)]
    workers = [
        commands.Started(
            tmp_path, train_as_worker, file, TF_CONFIG=commands.tf_config(ports, index)
        )
        for index, file in enumerate(files)
    ]
    for worker, file in zip(workers, files, strict=True):
        assert worker.wait() == 0, worker.stderr()
        with np.load(file) as found:
            values = {name.replace("|", "/"): found[name] for name in found.files}
        assert_all_close(values, trained_on_one)


# How the work is shared out.


def test_without_anything_said_a_machine_without_gpus_uses_its_cpu(monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    strategy = distribution.strategy()
    assert isinstance(strategy, tf.distribute.OneDeviceStrategy)
    assert distribution.is_chief(strategy)


@pytest.mark.parametrize(
    ("xla", "compiled"), [("auto", False), ("on", True), ("off", False)]
)
def test_a_cpu_compiles_only_when_told(xla, compiled):
    strategy = tf.distribute.OneDeviceStrategy("/cpu:0")
    assert distribution.compile_step(strategy, xla) == compiled


def test_replicas_and_micro_batches_must_divide_the_batch(two_replicas):
    assert distribution.rows_per_replica(two_replicas, 12, 3) == 6
    with pytest.raises(errors.UserError, match=r"batch_size=10: 2 replicas times .*=3"):
        distribution.rows_per_replica(two_replicas, 10, 3)


# What may be amiss.


def test_a_worker_that_is_lost_is_named_in_a_line(monkeypatch):
    monkeypatch.setenv("TF_CONFIG", "{}")
    with (
        pytest.raises(errors.UserError, match="lost a worker after step 7; run the sa"),
        distribution.explained_loss("after step 7"),
    ):
        raise tf.errors.UnavailableError(None, None, "Collective ops is aborted")


@pytest.mark.parametrize("name", ["nope", "local"])
def test_without_such_a_tpu_it_says_so(name, tmp_path):
    process = commands.Started(tmp_path, ask_for_tpu, name)
    process.wait()
    assert process.stdout().startswith(f"--tpu={name}: no TPU of that name can be reac")
    assert len(process.stdout().splitlines()) == 1


def ask_for_tpu(name):
    with pytest.raises(errors.UserError) as error:
        distribution.strategy(name)
    os.write(1, f"{error.value}\n".encode())
