"""How a task trains."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from classifying import LABELS, TEXTS, Rates

from electra_tf import errors
from electra_tf.network import block
from electra_tf.tasks import (
    backbone,
    inputs,
    text_classifier,
)
from electra_tf.training import half, optimizer

Classifier = text_classifier.ElectraTextClassifier


@pytest.mark.parametrize("count", [1, 2, 5])
def test_a_batch_in_two_streams_gives_the_outputs_and_gradients_of_one(
    count, build_classifier, monkeypatch
):
    model = build_classifier()
    (x,) = next(iter(inputs.batches(model.rows(TEXTS[:count]), None, count)))

    def run():
        with tf.GradientTape() as tape:
            out = model(x, training=True)
            loss = tf.reduce_sum(out[:, 0] ** 2)
        return out, tape.gradient(loss, model.backbone.trainable_variables[3].value)

    calls = []
    call = block.EncoderBlock.call
    monkeypatch.setattr(
        block.EncoderBlock, "call", lambda *a, **k: calls.append(1) or call(*a, **k)
    )
    whole, slope = run()
    once = len(calls)
    model.streams = 2
    parts, slopes = run()
    assert len(calls) == 3 * once
    np.testing.assert_allclose(parts, whole, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(slopes, slope, rtol=1e-4, atol=1e-5)


def test_the_rate_warms_up_over_a_tenth_of_the_steps_and_decays_to_zero(
    build_classifier,
):
    classifier = build_classifier()
    seen = Rates()
    # 4 batches an epoch.
    classifier.fit(TEXTS, LABELS, batch_size=3, epochs=5, verbose=0, callbacks=[seen])
    schedule = optimizer.WarmupDecay(3e-4, 20, warmup_steps=2)
    want = [float(schedule(tf.constant(step))) for step in range(20)]
    np.testing.assert_allclose(seen.rates, want, rtol=1e-6)
    # And again, for another number of steps.
    again = Rates()
    classifier.fit(TEXTS, LABELS, batch_size=6, epochs=5, verbose=0, callbacks=[again])
    schedule = optimizer.WarmupDecay(3e-4, 10, warmup_steps=1)
    want = [float(schedule(tf.constant(step))) for step in range(10)]
    np.testing.assert_allclose(again.rates, want, rtol=1e-6)


def test_fit_traces_its_step_once(build_classifier, monkeypatch):
    traced, train_step = [], Classifier.train_step

    def count(self, data):
        traced.append(self)
        return train_step(self, data)

    monkeypatch.setattr(Classifier, "train_step", count)
    classifier = build_classifier()
    classifier.fit(TEXTS, LABELS, batch_size=4, epochs=2, verbose=0)
    assert traced == [classifier]


def test_a_layers_rate_reaches_its_weights(build_classifier):
    classifier = build_classifier()
    classifier.compile(learning_rate=1e-2, layer_decay=0.0)
    before = [variable.numpy() for variable in classifier.trainable_variables]
    classifier.fit(TEXTS, LABELS, batch_size=4, epochs=1, verbose=0)
    moved = {
        variable.path: np.any(variable.numpy() != was)
        for variable, was in zip(classifier.trainable_variables, before, strict=True)
    }
    # 0 to the power of 0 is 1: the head alone has a rate.
    assert moved == {path: path.startswith("classification_head") for path in moved}


@pytest.mark.parametrize(
    "kwargs",
    [
        {"optimizer": "adamm"},
        {"loss_weights": "heavy"},
        {"weighted_metrics": "accuracy"},
        {"metrics": 7},
        {"learning_rate": "fast"},
    ],
)
def test_a_compile_that_failed_leaves_nothing_behind(kwargs, build_classifier):
    classifier = build_classifier()
    classifier.compile(learning_rate=0.25, metrics=[])
    before = dict(vars(classifier))
    with pytest.raises((errors.UserError, ValueError, TypeError)):
        classifier.compile(**kwargs)
    assert vars(classifier).keys() == before.keys()
    assert all(vars(classifier)[name] is value for name, value in before.items())
    optimizer_config = classifier.get_compile_config()["optimizer"]["config"]
    assert optimizer_config["learning_rate"] == 0.25


def test_no_metrics_are_none_whatever_was_compiled_before(build_classifier):
    classifier = build_classifier()
    classifier.compile(metrics=None)
    history = classifier.fit(TEXTS, LABELS, batch_size=11, epochs=1, verbose=0)
    assert set(history.history) == {"loss"}


# Callbacks.


@pytest.mark.parametrize(
    "setter",
    [
        keras.callbacks.LearningRateScheduler(lambda epoch: 1e-3),
        keras.callbacks.ReduceLROnPlateau(),
    ],
)
def test_a_callback_that_sets_the_rate_is_refused_where_a_schedule_does(
    setter, build_classifier
):
    classifier = build_classifier()
    for optimizer_ in (
        "auto",
        keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(1e-3, 9)),
    ):
        classifier.compile(optimizer_)
        with pytest.raises(errors.UserError, match="sets the learning rate, and here"):
            classifier.fit(TEXTS, LABELS, verbose=0, callbacks=setter)


def test_a_callback_that_sets_the_rate_does_so_with_an_optimizer_of_your_own(
    build_classifier,
):
    classifier = build_classifier()
    classifier.compile(keras.optimizers.AdamW(1e-4))
    seen = Rates()
    halve = keras.callbacks.LearningRateScheduler(lambda epoch, rate: rate / 2)
    classifier.fit(
        TEXTS, LABELS, batch_size=11, epochs=2, verbose=0, callbacks=[halve, seen]
    )
    np.testing.assert_allclose(seen.rates, [5e-5, 2.5e-5], rtol=1e-5)


def test_an_early_stopping_of_yours_takes_the_place_of_ours(build_classifier):
    classifier, spoil = build_classifier(), WorseEachEpoch()
    held_out = (TEXTS[:2], [1, 2])
    yours = keras.callbacks.EarlyStopping("val_loss", patience=1)
    train = {"batch_size": 11, "epochs": 9, "verbose": 0, "validation_data": held_out}
    history = classifier.fit(TEXTS, LABELS, callbacks=[spoil, yours], **train)
    assert len(history.history["loss"]) == 2
    # It does not restore, so nothing does.
    assert not np.array_equal(classifier.get_weights()[-1], spoil.best[-1])
    with pytest.raises(errors.UserError, match="patience=2 and EarlyStopping both say"):
        classifier.fit(TEXTS, LABELS, callbacks=yours, patience=2, **train)


def test_what_is_about_validation_is_refused_without_it(build_classifier):
    for name in ("patience", "validation_steps", "validation_batch_size"):
        with pytest.raises(errors.UserError, match=f"{name}=2 has no effect without"):
            build_classifier().fit(TEXTS, LABELS, verbose=0, **{name: 2})
    with pytest.raises(errors.UserError, match="=3 leaves none of epochs=3 to train"):
        build_classifier().fit(TEXTS, LABELS, verbose=0, epochs=3, initial_epoch=3)


def test_validation_may_come_every_second_epoch_and_the_rate_ends_at_the_last(
    build_classifier,
):
    classifier, seen = build_classifier(), Rates()
    history = classifier.fit(
        TEXTS,
        LABELS,
        batch_size=11,
        epochs=12,
        initial_epoch=8,
        validation_data=(TEXTS[:2], [1, 2]),
        validation_freq=2,
        verbose=0,
        callbacks=seen,
    )
    assert [*map(len, history.history.values())] == [4, 4, 2, 2]
    schedule = optimizer.WarmupDecay(3e-4, 4, warmup_steps=0)
    np.testing.assert_allclose(seen.rates, [*map(schedule, range(4))], rtol=1e-6)


@pytest.mark.slow
def test_checkpoints_and_backups_of_keras_are_written_and_read(
    build_classifier, tmp_path
):
    class Killed(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            if epoch == 1:
                raise KeyboardInterrupt

    train = {"batch_size": 4, "epochs": 4, "verbose": 0, "restore_best": False}
    classifier = build_classifier()
    start = classifier.get_weights()
    best = keras.callbacks.ModelCheckpoint(
        tmp_path / "best.keras", monitor="val_loss", save_best_only=True
    )
    classifier.fit(
        TEXTS, LABELS, validation_data=(TEXTS, LABELS), callbacks=best, **train
    )
    again = keras.saving.load_model(tmp_path / "best.keras")
    np.testing.assert_allclose(again.predict(TEXTS), classifier.predict(TEXTS), 1e-4)

    classifier.set_weights(start)
    backup = keras.callbacks.BackupAndRestore(tmp_path / "backup")
    with pytest.raises(KeyboardInterrupt):
        classifier.fit(TEXTS, LABELS, callbacks=[backup, Killed()], **train)
    classifier.set_weights(start)
    seen = Rates()
    classifier.fit(TEXTS, LABELS, callbacks=[backup, seen], **train)
    schedule = optimizer.WarmupDecay(3e-4, 12, warmup_steps=1)
    done = 12 - len(seen.rates)
    assert done in (3, 6)
    np.testing.assert_allclose(seen.rates, [*map(schedule, range(done, 12))], rtol=1e-5)


def test_an_optimizer_and_a_loss_of_your_own_are_kept(build_classifier):
    classifier = build_classifier()
    learner = keras.optimizers.SGD(0.125)
    classifier.compile(
        optimizer=learner,
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=[],
    )
    history = classifier.fit(TEXTS, LABELS, batch_size=4, epochs=2, verbose=0)
    assert classifier.optimizer is learner
    assert int(learner.iterations) == 6
    assert set(history.history) == {"loss"}


class WorseEachEpoch(keras.callbacks.Callback):
    """Spoils the head after the first epoch; keeps what it was then."""

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == 1:
            self.best = self.model.get_weights()
        if epoch:
            bias = self.model.classification_head.logits.bias
            bias.assign([10.0 * epoch, 0.0, 0.0])


@pytest.mark.parametrize("restore_best", [True, False])
def test_after_validation_the_weights_are_those_of_the_best_epoch(
    restore_best, build_classifier
):
    classifier = build_classifier()
    spoil = WorseEachEpoch()
    history = classifier.fit(
        TEXTS,
        LABELS,
        batch_size=8,
        epochs=3,
        verbose=0,
        validation_data=(TEXTS[:2], [1, 2]),
        callbacks=[spoil],
        restore_best=restore_best,
    )
    losses = history.history["val_loss"]
    assert losses[0] < losses[1] < losses[2]
    pairs = zip(classifier.get_weights(), spoil.best, strict=True)
    same = all(np.array_equal(*pair) for pair in pairs)
    assert same == restore_best


@pytest.mark.parametrize("restore_best", [True, False])
def test_patience_stops_early(restore_best, build_classifier):
    history = build_classifier().fit(
        TEXTS,
        LABELS,
        batch_size=8,
        epochs=9,
        verbose=0,
        validation_data=(TEXTS[:2], [1, 2]),
        callbacks=[WorseEachEpoch()],
        patience=2,
        restore_best=restore_best,
    )
    assert len(history.history["loss"]) == 3


def test_the_same_seed_gives_the_same_weights_and_another_others(build_classifier):
    classifier = build_classifier()
    start, ends = classifier.get_weights(), []
    for seed in (1, 1, 2):
        classifier.set_weights(start)
        classifier.compile(learning_rate=1e-2)
        classifier.fit(TEXTS, LABELS, batch_size=2, epochs=2, seed=seed, verbose=0)
        ends.append(classifier.predict(TEXTS))
    np.testing.assert_allclose(ends[0], ends[1], atol=1e-5)
    assert np.max(np.abs(ends[0] - ends[2])) > 1e-3


def test_a_frozen_backbone_leaves_the_head_to_train(build_classifier):
    classifier = build_classifier()
    classifier.backbone.trainable = False
    before = [v.numpy() for v in classifier.weights]
    classifier.fit(TEXTS, LABELS, batch_size=4, epochs=1, verbose=0)
    moved = {
        v.path
        for v, was in zip(classifier.weights, before, strict=True)
        if np.any(v.numpy() != was)
    }
    assert moved == {v.path for v in classifier.classification_head.weights}


@pytest.mark.slow
def test_lora_trains_small_kernels_which_are_saved_merged_or_alone(
    build_classifier, tmp_path
):
    classifier = build_classifier()
    classifier.predict(TEXTS)
    start = classifier.predict(TEXTS)
    classifier.backbone.enable_lora(4)
    np.testing.assert_allclose(classifier.predict(TEXTS), start, atol=1e-6)
    query = classifier.backbone.get_layer("layer_0").query
    (frozen,) = (v for v in query.weights if v.path.endswith("/kernel"))
    before = frozen.numpy()
    classifier.compile(learning_rate=1e-2)
    classifier.fit(TEXTS, LABELS, batch_size=4, epochs=3, verbose=0)
    trained = {v.path for v in classifier.backbone.trainable_variables}
    assert trained == {
        f"layer_{i}/{name}/{part}"
        for i in range(2)
        for name in ("query", "value")
        for part in ("lora_kernel_a", "lora_kernel_b", "bias")
    }
    np.testing.assert_array_equal(frozen.numpy(), before)
    want = classifier.predict(TEXTS)
    assert np.max(np.abs(want - start)) > 1e-3
    classifier.save_to_preset(str(tmp_path / "merged"))
    merged = Classifier.from_preset(str(tmp_path / "merged"))
    np.testing.assert_allclose(merged.predict(TEXTS), want, atol=1e-5)
    classifier.backbone.save_lora_weights(str(tmp_path / "small.lora.h5"))
    a = classifier.backbone.get_layer("layer_1").value.lora_kernel_a
    kept = a.numpy()
    a.assign(kept * 0)
    classifier.backbone.load_lora_weights(str(tmp_path / "small.lora.h5"))
    np.testing.assert_array_equal(a.numpy(), kept)


# Several devices, several precisions.


def fit_on(strategy, tiny_model_config, tiny_preprocessor, part, start=None):
    """Trains on some texts, six at a time; returns weights before and after."""
    still = {"hidden_dropout_rate": 0.0, "attention_dropout_rate": 0.0}
    model = tiny_model_config.model_copy(update={**still, "initializer_range": 0.3})
    with strategy.scope():
        classifier = Classifier(
            backbone.ElectraBackbone.from_model_config(model),
            3,
            preprocessor=tiny_preprocessor,
            dropout=0.0,
        )
        classifier.compile(learning_rate=1e-2)
    if start is not None:
        classifier.set_weights(start)
    start = classifier.get_weights()
    history = classifier.fit(
        TEXTS[part],
        LABELS[part],
        batch_size=6,
        epochs=2,
        validation_data=(TEXTS, LABELS),
        restore_best=False,
        verbose=0,
    )
    return start, classifier.get_weights(), history.history, classifier


# Of the last batch, the first replica has 3 rows and 1 row, the second 2 and none. No
# two lengths are alike where a batch ends, so that chance has no say in what is in it.
@pytest.mark.slow
@pytest.mark.parametrize("part", [slice(11), slice(1, 8)], ids=["5 last", "1 last"])
def test_two_replicas_train_as_one_does(
    part, two_replicas, tiny_model_config, tiny_preprocessor
):
    args = tiny_model_config, tiny_preprocessor, part
    start, want, losses, one = fit_on(tf.distribute.get_strategy(), *args)
    _, found, same_losses, two = fit_on(two_replicas, *args, start)
    for a, b, was in zip(found, want, start, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-4)
        assert a.shape == was.shape
    assert max(np.max(np.abs(a - b)) for a, b in zip(want, start, strict=True)) > 1e-2
    for name, values in losses.items():
        np.testing.assert_allclose(same_losses[name], values, atol=1e-4)
    np.testing.assert_allclose(two.predict(TEXTS), one.predict(TEXTS), atol=1e-3)


# float16.


def in_float16(tiny_model_config, tiny_preprocessor, dtype="mixed_float16"):
    """Returns a classifier that drops nothing, with the weights of its namesakes."""
    still = {"hidden_dropout_rate": 0.0, "attention_dropout_rate": 0.0}
    model = tiny_model_config.model_copy(update={**still, "initializer_range": 0.3})
    keras.utils.set_random_seed(23)
    encoder = backbone.ElectraBackbone.from_model_config(model, dtype=dtype)
    classifier = Classifier(encoder, 3, preprocessor=tiny_preprocessor, dropout=0.0)
    classifier.compile(learning_rate=1e-2)
    return classifier


@pytest.mark.slow
def test_a_task_in_float16_learns_what_it_learns_in_float32(
    tiny_model_config, tiny_preprocessor, tmp_path
):
    found, losses = [], []
    for dtype in ("float32", "mixed_float16"):
        one = in_float16(tiny_model_config, tiny_preprocessor, dtype)
        history = one.fit(TEXTS, LABELS, batch_size=6, epochs=8, verbose=0)
        losses.append(history.history["loss"])
        found.append(one.predict(TEXTS))
    assert losses[0][-1] < 0.5 * losses[0][0]
    skipped = 16 - int(one.optimizer.iterations)
    assert 0 <= skipped < 6
    # Rounding to 2 ** -11, and a schedule that the skipped steps make begin later.
    np.testing.assert_allclose(losses[1][0], losses[0][0], atol=0.1)
    assert losses[1][-1] < 0.6 * losses[1][0]
    np.testing.assert_array_equal(found[1].argmax(-1), found[0].argmax(-1))
    # Its file has the scale, too.
    one.save(tmp_path / "task.keras")
    again = keras.models.load_model(tmp_path / "task.keras")
    assert again.dtype_policy.name == "mixed_float16"
    np.testing.assert_allclose(again.predict(TEXTS), found[1], atol=1e-3)
    kept, was = again.optimizer.counters(), one.optimizer.counters()
    assert {name: v.numpy() for name, v in kept.items()} == {
        name: v.numpy() for name, v in was.items()
    }


def test_who_scales_the_loss(tiny_model_config, tiny_preprocessor, two_replicas):
    one = in_float16(tiny_model_config, tiny_preprocessor)
    assert isinstance(one.optimizer, half.LossScaling)
    one.compile(auto_scale_loss=False)
    assert type(one.optimizer) is optimizer.AdamW
    assert one.get_compile_config()["auto_scale_loss"] is False
    one.compile(optimizer="adam")
    assert isinstance(one.optimizer, keras.optimizers.LossScaleOptimizer)
    with two_replicas.scope():
        two = in_float16(tiny_model_config, tiny_preprocessor)
        assert isinstance(two.optimizer, half.LossScaling)
        with pytest.raises(errors.UserError, match="leave optimizer out") as told:
            two.compile(optimizer="adam")
    assert "\n" not in str(told.value)
    assert isinstance(two.optimizer, half.LossScaling)


@pytest.mark.slow
def test_fit_stops_where_no_scale_is_left(tiny_model_config, tiny_preprocessor):
    one = in_float16(tiny_model_config, tiny_preprocessor)
    logits = one.classification_head.logits
    logits.kernel.assign(np.full(logits.kernel.shape, np.inf))
    with pytest.raises(errors.UserError, match=r"^batch 16: .* not finite in float16"):
        one.fit(TEXTS * 6, LABELS * 6, batch_size=3, epochs=1, verbose=0)


def test_keras_global_policy_decides_where_nothing_is_said(
    tiny_model_config, tiny_preprocessor
):
    keras.config.set_dtype_policy("mixed_float16")
    one = in_float16(tiny_model_config, tiny_preprocessor, dtype=None)
    assert one.dtype_policy.name == "mixed_float16"
    assert isinstance(one.optimizer, half.LossScaling)
    found = one.predict(TEXTS)
    assert found.dtype == np.float32
    assert np.all(np.isfinite(found))
