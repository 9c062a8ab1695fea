"""Saved, kept and taken up again: all that decides how a run goes on."""

import os
import re

import damaging
import disk
import momentum
import numpy as np
import pytest
import tensorflow as tf

from electra_tf import config, errors
from electra_tf.system import durable
from electra_tf.training import checkpoint, train_step, variants

POSITIONS = [(1, 2, 3, 4), (0, 5, 6, 7)]


@pytest.fixture(scope="module")
def settings(tiny_model_config):
    return config.PretrainConfig(
        model=tiny_model_config,
        generator=config.GeneratorConfig(width_scale=0.5),
        data=config.DataConfig(example_tokens=16, row_tokens=16),
    )


@pytest.fixture(scope="module")
def model(settings):
    """A pretrainer with moments that are not zero."""
    built = train_step.build(settings)
    for index, variable in enumerate(built.learner.variables):
        if variable.dtype == "float32":
            variable.assign(tf.fill(variable.shape, 0.25 + index))
    return built


@pytest.fixture
def checkpoints(model, tmp_path):
    return checkpoint.Checkpoints(str(tmp_path), model, keep=3)


def state(model):
    """Returns all that a step changes."""
    return [variable.numpy() for variable in [*model.weights, *model.learner.variables]]


def scramble(model, value=-1):
    for variable in [*model.weights, *model.learner.variables]:
        variable.assign(tf.cast(tf.fill(variable.shape, value), variable.dtype))


def save(checkpoints, model, *steps):
    """Saves steps, told apart by their number of updates."""
    for step in steps:
        model.learner.iterations.assign(step)
        checkpoints.save(step, POSITIONS)


def damage(folder, step, how):
    (data,) = (folder / "checkpoints").glob(f"ckpt-{step}.data-*")
    how(data)


def test_what_is_restored_is_what_was_saved(model, checkpoints, tmp_path):
    model.learner.iterations.assign(6)
    before = state(model)
    checkpoints.save(6, POSITIONS)
    scramble(model)
    again = checkpoint.Checkpoints(str(tmp_path), model)
    assert again.restore(pytest.fail) == (6, POSITIONS)
    after = state(model)
    assert len(before) == len(after) > 50
    for was, now in zip(before, after, strict=True):
        np.testing.assert_array_equal(was, now)


def test_every_variable_of_model_and_optimizer_is_saved(model, checkpoints, tmp_path):
    checkpoints.save(6, POSITIONS)
    stored = tf.train.load_checkpoint(str(tmp_path / "checkpoints" / "ckpt-6"))
    sizes = [
        np.prod(shape, dtype=int)
        for name, shape in stored.get_variable_to_shape_map().items()
        if name.endswith("VARIABLE_VALUE")
    ]
    kept = [*model.weights, *model.learner.variables]
    assert sum(sizes) == sum(variable.numpy().size for variable in kept)


@pytest.mark.parametrize(
    "learning",
    [
        momentum.MomentumConfig(name="momentum:Cascade", beta=0.75),
        variants.LambConfig(name="lamb"),
    ],
    ids=lambda learning: learning.name,
)
def test_a_run_of_another_optimizer_goes_on_bit_for_bit(learning, settings, tmp_path):
    train = config.TrainConfig(steps=9, warmup_steps=2)
    settings = settings.model_copy(update={"optimizer": learning, "train": train})

    def learn(model, steps):
        for step in steps:
            noise = np.random.default_rng(step)
            model.learner.learn(
                [
                    tf.constant(noise.normal(0, 0.1, v.shape), tf.float32)
                    for v in model.trainable_variables
                ]
            )

    whole = train_step.build(settings)
    learn(whole, [0, 1, 2])
    checkpoint.Checkpoints(str(tmp_path), whole).save(3, POSITIONS)
    learn(whole, [3, 4])
    resumed = train_step.build(settings)
    assert checkpoint.Checkpoints(str(tmp_path), resumed).restore(pytest.fail)
    learn(resumed, [3, 4])
    want = state(whole)
    assert len(want) > len(whole.weights) * (1 + len(whole.learner.MOMENTS))
    for got, expected in zip(state(resumed), want, strict=True):
        np.testing.assert_array_equal(got, expected)


def test_the_names_in_a_checkpoint_are_those_of_networks_paths_and_moments(
    model, checkpoints, tmp_path
):
    checkpoints.save(6, POSITIONS)
    stored = tf.train.load_checkpoint(str(tmp_path / "checkpoints" / "ckpt-6"))
    names = stored.get_variable_to_shape_map()
    # What runs of adamw wrote before there were other optimizers.
    kernel = "networks/generator/layer_1..query..kernel"  # A dot is doubled.
    for name in (kernel, f"{kernel}..m", f"{kernel}..v", "updates"):
        assert f"{name}/.ATTRIBUTES/VARIABLE_VALUE" in names
    assert "data/.ATTRIBUTES/py_state" in names


def test_without_checkpoints_there_is_nothing_to_restore(checkpoints, tmp_path):
    assert checkpoints.restore(pytest.fail) is None
    assert os.listdir(tmp_path) == []


def test_the_newest_is_restored_by_number_not_by_name(model, checkpoints):
    save(checkpoints, model, 9, 10)
    assert checkpoints.restore(pytest.fail)[0] == 10


def test_of_an_old_one_the_index_goes_first(model, tmp_path, monkeypatch):
    removed, remove = [], os.remove

    def note(file):
        removed.append(os.path.basename(file))
        remove(file)

    monkeypatch.setattr(os, "remove", note)
    save(checkpoint.Checkpoints(str(tmp_path), model, keep=1), model, 6, 9)
    assert removed == ["ckpt-6.index", "ckpt-6.data-00000-of-00001"]


def test_so_many_are_kept(model, checkpoints, tmp_path):
    save(checkpoints, model, 2, 4, 6, 8, 10)
    assert checkpoints.steps() == [6, 8, 10]
    files = os.listdir(tmp_path / "checkpoints")
    assert {re.match(r"ckpt-\d+", name)[0] for name in files} == {
        "ckpt-6",
        "ckpt-8",
        "ckpt-10",
    }
    assert len(files) == 6


def test_all_are_kept_if_no_number_is_said(model, tmp_path):
    checkpoints = checkpoint.Checkpoints(str(tmp_path), model, keep=None)
    save(checkpoints, model, 2, 4, 6, 8, 10)
    assert checkpoints.steps() == [2, 4, 6, 8, 10]


@pytest.mark.parametrize("how", [damaging.cut_short, damaging.flip_a_byte, os.remove])
def test_a_damaged_one_falls_back_to_the_one_before(how, model, checkpoints, tmp_path):
    save(checkpoints, model, 4, 6)
    damage(tmp_path, 6, how)
    scramble(model)
    said = []
    assert checkpoints.restore(said.append) == (4, POSITIONS)
    assert int(model.learner.iterations) == 4
    (warning,) = said
    assert re.fullmatch(
        r"warning: .*ckpt-6 is damaged \(.*\); trying the one before", warning
    )


def test_a_damaged_index_falls_back_too(model, checkpoints, tmp_path):
    save(checkpoints, model, 4, 6)
    damaging.cut_short(tmp_path / "checkpoints" / "ckpt-6.index")
    said = []
    assert checkpoints.restore(said.append) == (4, POSITIONS)
    assert len(said) == 1


def test_where_all_are_damaged_it_says_so(model, checkpoints, tmp_path):
    save(checkpoints, model, 4, 6)
    for step in (4, 6):
        damage(tmp_path, step, damaging.cut_short)
    said = []
    with pytest.raises(errors.UserError, match="none of 2 checkpoints can be read; st"):
        checkpoints.restore(said.append)
    assert len(said) == 2


def test_a_save_that_was_killed_does_not_count(model, checkpoints, tmp_path):
    save(checkpoints, model, 4)
    # As a kill leaves it: parts that are not yet put together, an index cut short, and
    # data that are in place without it.
    parts = tmp_path / "checkpoints" / "saving" / "ckpt-6_temp"
    parts.mkdir(parents=True)
    (parts / "part-00000-of-00001.data-00000-of-00001").write_bytes(b"half")
    (parts.parent / "ckpt-6.index").write_bytes(b"half")
    (tmp_path / "checkpoints" / "ckpt-6.data-00000-of-00001").write_bytes(b"half")
    assert checkpoints.restore(pytest.fail)[0] == 4
    save(checkpoints, model, 6)
    assert not parts.parent.exists()
    assert checkpoints.restore(pytest.fail)[0] == 6


def test_a_checkpoint_is_whole_before_it_counts(model, checkpoints, tmp_path):
    index = tmp_path / "checkpoints" / "ckpt-6.index"
    index.parent.mkdir()
    index.touch()
    os.link(index, tmp_path / "link")
    save(checkpoints, model, 6)
    # Filled in place, as TensorFlow does, it would be cut short by a kill.
    assert (tmp_path / "link").stat().st_size == 0
    assert checkpoints.restore(pytest.fail)[0] == 6


def test_where_it_cannot_write_it_says_from_where_the_run_goes_on(
    model, checkpoints, tmp_path
):
    save(checkpoints, model, 4)
    # A folder in the place of a file: not even root can write there.
    (tmp_path / "checkpoints" / "ckpt-6.data-00000-of-00001").mkdir()
    with pytest.raises(errors.UserError, match=r"cannot save .*ckpt-6: .* from step 4"):
        checkpoints.save(6, POSITIONS)
    assert checkpoints.restore(pytest.fail)[0] == 4
    assert not (tmp_path / "checkpoints" / "saving").exists()


def test_a_checkpoint_of_another_model_is_not_half_restored(
    model, settings, checkpoints, tmp_path
):
    save(checkpoints, model, 4)
    deeper = settings.model.model_copy(update={"num_layers": 3})
    other = checkpoint.Checkpoints(
        str(tmp_path), train_step.build(settings.model_copy(update={"model": deeper}))
    )
    with pytest.raises(errors.UserError, match="none of 1 checkpoints can be read"):
        other.restore(lambda text: None)


def test_it_is_on_the_disk_when_it_is_saved(model, tmp_path, monkeypatch):
    watched = disk.Disk(monkeypatch)
    checkpoints = checkpoint.Checkpoints(str(tmp_path / "run"), model, keep=1)
    save(checkpoints, model, 4, 6)
    watched.assert_holds(tmp_path / "run/checkpoints")
    watched.assert_holds(tmp_path / "run")


def test_the_last_one_stays_until_a_newer_one_is_read_back(
    model, tmp_path, monkeypatch
):
    checkpoints = checkpoint.Checkpoints(str(tmp_path), model, keep=1)
    save(checkpoints, model, 4)

    def damage_the_draft(folder):
        (data,) = (tmp_path / "checkpoints/saving").glob("ckpt-6.data-*")
        damaging.flip_a_byte(data)

    monkeypatch.setattr(durable, "sync_tree", damage_the_draft)
    with pytest.raises(errors.UserError, match=r"cannot save .*ckpt-6: .* from step 4"):
        save(checkpoints, model, 6)
    assert checkpoints.restore(pytest.fail)[0] == 4


def test_a_damaged_one_is_no_reason_to_remove_a_good_one(model, tmp_path):
    checkpoints = checkpoint.Checkpoints(str(tmp_path), model, keep=2)
    save(checkpoints, model, 4, 9)
    damage(tmp_path, 9, damaging.flip_a_byte)
    again = checkpoint.Checkpoints(str(tmp_path), model, keep=1)
    assert again.restore(lambda text: None)[0] == 4
    save(again, model, 7)
    assert again.steps() == [7]
    assert again.restore(pytest.fail)[0] == 7


def test_what_a_kill_left_between_two_removals_is_cleared(model, tmp_path):
    checkpoints = checkpoint.Checkpoints(str(tmp_path), model, keep=2)
    save(checkpoints, model, 4, 9)
    (tmp_path / "checkpoints/ckpt-4.index").unlink()
    checkpoints.clear()
    names = sorted(os.listdir(tmp_path / "checkpoints"))
    assert names == ["ckpt-9.data-00000-of-00001", "ckpt-9.index"]


def test_a_path_that_tensorflow_cannot_open_is_refused_before_the_first_step(model):
    with pytest.raises(errors.UserError, match=r"no checkpoint in a path with \["):
        checkpoint.Checkpoints("runs/a[1]", model)
