"""The loop: what it tells, when it saves and stops, and from where it goes on."""

import math
import os
import signal

import numpy as np
import pytest
import tensorflow as tf

from electra_tf import config, errors
from electra_tf.training import checkpoint, loop, train_step

STEPS, BATCH, LENGTH, PREDICTIONS, VOCAB = 12, 4, 9, 2, 17
ROWS = 28  # Seven batches: an epoch ends amid the run.

SETTINGS = config.PretrainConfig(
    model=config.ModelConfig(
        vocab_size=VOCAB,
        embedding_size=6,
        hidden_size=10,
        num_layers=1,
        num_heads=2,
        intermediate_size=14,
        max_positions=LENGTH,
    ),
    generator=config.GeneratorConfig(width_scale=0.5),
    data=config.DataConfig(example_tokens=LENGTH, row_tokens=LENGTH),
    train=config.TrainConfig(
        steps=STEPS, warmup_steps=2, batch_size=BATCH, steps_per_loop=5
    ),
    run=config.RunConfig(log_every_steps=4, evaluate_every_steps=6, save_every_steps=3),
)


def make_rows():
    chance = np.random.default_rng(3)
    ids = chance.integers(5, VOCAB, (ROWS, LENGTH))
    positions = np.sort(np.argsort(chance.random(ids.shape))[:, :PREDICTIONS])
    place = np.arange(1, ROWS + 1)[:, None] * [0, 0, 0, 1]
    rows = {
        "token_ids": ids,
        "segment_ids": np.zeros_like(ids),
        "example_ids": np.ones_like(ids),
        "position_ids": np.arange(LENGTH) + np.zeros_like(ids),
        "mask_positions": positions,
        "mask_ids": np.take_along_axis(ids, positions, axis=1),
        "data_position": place,
    }
    rows = {name: values.astype(np.int32) for name, values in rows.items()}
    rows["mask_weights"] = np.ones(positions.shape, np.float32)
    rows["sampling_noise"] = chance.random(positions.shape).astype(np.float32)
    return rows


def open_rows(position, worker, num_workers, rows):
    dataset = tf.data.Dataset.from_tensor_slices(make_rows())
    return dataset.repeat().skip(position[3]).batch(rows)


class Trainee:
    """One traced loop that many tests start afresh: tracing takes most of the time."""

    def __init__(self):
        strategy = tf.distribute.OneDeviceStrategy("/cpu:0")
        with strategy.scope():
            self.model = train_step.build(SETTINGS)
        held_out = {
            name: tf.constant(value[:BATCH])
            for name, value in make_rows().items()
            if name != "data_position"
        }
        self.data = loop.Data(open_rows, [held_out], lambda: None)
        self.loop = loop.Loop(self.model, strategy, self.data, SETTINGS.train)
        self._first = [v.value.numpy() for v in self.variables()]

    def variables(self):
        return [*self.model.weights, *self.model.learner.variables]

    def begin(self, positions=None):
        """Puts weights and optimizer back, and opens the data."""
        for variable, value in zip(self.variables(), self._first, strict=True):
            variable.assign(value)
        self.loop.data = self.data
        self.loop.start(positions)

    def weights(self):
        return [v.value.numpy() for v in self.model.weights]

    def run(self, folder, listener=None, settings=SETTINGS, step=0):
        return loop.run(
            self.loop,
            self.model,
            checkpoint.Checkpoints(str(folder), self.model),
            settings.train,
            settings.run,
            listener or Notes(),
            step,
        )


class Notes:
    """Notes down what a listener is told."""

    def __init__(self):
        self.trained, self.evaluated, self.advanced, self.said = {}, {}, [], []

    def train(self, step, values):
        self.trained[step] = values

    def evaluation(self, step, values):
        self.evaluated[step] = values

    def advance(self, step):
        self.advanced.append(step)

    def say(self, text):
        self.said.append(text)


@pytest.fixture(scope="module")
def shared_trainee():
    return Trainee()


@pytest.fixture
def trainee(shared_trainee):
    shared_trainee.begin()
    return shared_trainee


@pytest.fixture(scope="module")
def whole(shared_trainee, tmp_path_factory):
    """A run to the end: its notes, outcome, weights and checkpoints."""
    shared_trainee.begin()
    notes, folder = Notes(), tmp_path_factory.mktemp("whole")
    outcome = shared_trainee.run(folder, notes)
    return notes, outcome, shared_trainee.weights(), folder


def saved_steps(trainee, folder):
    return checkpoint.Checkpoints(str(folder), trainee.model).steps()


def test_it_logs_evaluates_and_saves_when_it_should(whole, trainee):
    notes, outcome, _, folder = whole
    assert list(notes.trained) == [4, 8, 12]
    assert list(notes.evaluated) == [6, 12]
    assert saved_steps(trainee, folder) == [3, 6, 9, 12]
    assert notes.advanced[-1] == 12
    assert notes.advanced == sorted(set(notes.advanced))
    assert outcome == (12, True, notes.evaluated[12])


def test_what_it_logs_are_means_over_the_steps_since_the_last_time(whole):
    notes = whole[0]
    # The rate rises for two steps to 5e-4 and falls to 0 at step 12.
    rates = [0.0, 0.5, *(1 - step / STEPS for step in range(2, STEPS))]
    for step, values in notes.trained.items():
        mean = 5e-4 * np.mean(rates[step - 4 : step])
        np.testing.assert_allclose(values["learning_rate"], mean, rtol=0.13)
        assert values["row_fill"] == 1.0
        assert values["tokens_per_second"] > 0
    losses = [values["loss"] for values in notes.trained.values()]
    assert all(math.isfinite(loss) for loss in losses)
    assert losses[0] > losses[-1]


def test_it_goes_on_bit_for_bit_from_any_checkpoint(whole, shared_trainee, tmp_path):
    _, _, weights, folder = whole
    for step in (3, 9):
        shared_trainee.begin()
        checkpoints = checkpoint.Checkpoints(str(folder), shared_trainee.model)
        checkpoints.steps = lambda step=step: [step]
        restored, positions = checkpoints.restore(pytest.fail)
        assert positions == [(0, 0, 0, step * BATCH % ROWS)]
        shared_trainee.loop.start(positions)
        shared_trainee.run(tmp_path, step=restored)
        for was, now in zip(weights, shared_trainee.weights(), strict=True):
            np.testing.assert_array_equal(now, was)


def test_a_run_that_is_over_makes_no_step(whole, trainee, tmp_path):
    notes = Notes()
    assert trainee.run(tmp_path, notes, step=12) == (12, True, {})
    assert notes.advanced == []
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_it_at_a_step_that_is_saved(number, trainee, tmp_path):
    class Impatient(Notes):
        def advance(self, step):
            super().advance(step)
            if step == 5:
                os.kill(os.getpid(), number)

    before = signal.getsignal(number)
    settings = SETTINGS.model_copy(
        update={"train": SETTINGS.train.model_copy(update={"steps_per_loop": 1})}
    )
    notes = Impatient()
    outcome = trainee.run(tmp_path, notes, settings)
    # A signal is heard between two calls, and the call after it still runs.
    assert outcome == (6, False, notes.evaluated[6])
    assert saved_steps(trainee, tmp_path) == [3, 6]
    assert list(notes.trained) == [4, 6]
    assert notes.said == ["stopped at step 6; run the same command to go on"]
    assert signal.getsignal(number) == before


@pytest.mark.parametrize("place", ["weights", "rate"])
def test_what_is_not_finite_stops_it_at_that_step(place, trainee, tmp_path):
    class Saboteur(Notes):
        def train(self, step, values):
            super().train(step, values)
            if step == 4 and place == "weights":
                table = trainee.model.weights[0]
                table.assign(table.value * np.nan)
            elif step == 4:
                gamma = trainee.model.weights[3]
                gamma.assign(gamma.value * 1e38)

    notes = Saboteur()
    with pytest.raises(errors.UserError, match=r"step 5: loss or gradient is not fin"):
        trainee.run(tmp_path, notes)
    assert saved_steps(trainee, tmp_path) == [3]
    checkpoints = checkpoint.Checkpoints(str(tmp_path), trainee.model)
    assert checkpoints.restore(pytest.fail)[0] == 3
    assert all(np.isfinite(value).all() for value in trainee.weights())


def test_a_step_after_one_that_is_not_finite_is_not_made(trainee):
    table = trainee.model.weights[0]
    table.assign(table.value * np.nan)
    sums, _ = trainee.loop.run(5, stopping=False)
    assert (int(sums["steps"]), int(sums["finite"])) == (1, 0)
    assert trainee.loop.positions == [(0, 0, 0, BATCH)]


def test_a_damaged_shard_is_named():
    def name_damaged():
        return "data/part-3: record 7 is damaged"

    with (
        pytest.raises(
            errors.UserError,
            match=r"damaged data after step 4: data/part-3: record 7 is damaged; copy",
        ),
        loop.explained_damage(name_damaged, "after step 4"),
    ):
        raise tf.errors.DataLossError(None, None, "corrupted record at 17")


def test_a_worker_that_is_lost_in_an_evaluation_is_told_as_in_training(
    trainee, monkeypatch
):
    def measure():
        raise tf.errors.UnavailableError(None, None, "Collective ops is aborted")

    monkeypatch.setenv("TF_CONFIG", "{}")
    monkeypatch.setattr(trainee.loop, "evaluate", measure)
    with pytest.raises(errors.UserError, match="lost a worker after step 6; run the"):
        loop.evaluate(trainee.loop, trainee.model, 6)


def test_an_error_of_ours_is_not_blamed_on_the_data():
    with (
        pytest.raises(tf.errors.InvalidArgumentError),
        loop.explained_damage(lambda: None, "after step 4"),
    ):
        raise tf.errors.InvalidArgumentError(None, None, "a bug")


def test_as_many_workers_must_go_on_as_before(trainee):
    with pytest.raises(
        errors.UserError, match=r"by 3 input workers, this run has 1; ru"
    ):
        trainee.loop.start([(0, 0, 0, 4)] * 3)
