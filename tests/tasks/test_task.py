"""What all tasks do alike, shown on the classifier."""

import json
import os
import shutil
import threading
import warnings
from pathlib import Path

import keras
import keras_hub
import numpy as np
import pytest
import tensorflow as tf

from electra_tf import config, errors
from electra_tf.network import layers, models
from electra_tf.tasks import (
    backbone,
    inputs,
    keras_hub_presets,
    preprocessor,
    replaced_token_detector,
    task,
    text_classifier,
    text_embedder,
    text_regressor,
)
from electra_tf.tasks import tokenizer as task_tokenizer
from electra_tf.text import tokenizer
from electra_tf.training import distribution, optimizer
from electra_tf.weights import google_checkpoint, hugging_face, preset, weight_map

Classifier = text_classifier.ElectraTextClassifier

GOLDEN = Path(__file__).parents[1] / "golden" / "hugging_face"

# Of 2 to 10 tokens, special ones included, not in the order of their lengths.
TEXTS = [
    "the cat sat on the mat .",
    "",
    "a dog ran",
    "the bird flew over the tree on",
    "ran",
    "the cat ran under a tree",
    "the dog sat",
    "a",
    "the bird sat on a roof",
    "over the roof ,",
    "a cat",
]
LABELS = [i % 3 for i in range(11)]


@pytest.mark.parametrize("count", [1, 2, 5])
def test_a_batch_in_two_streams_gives_the_outputs_and_gradients_of_one(
    count, build, monkeypatch
):
    model = build()
    (x,) = next(iter(inputs.batches(model.rows(TEXTS[:count]), None, count)))

    def run():
        with tf.GradientTape() as tape:
            out = model(x, training=True)
            loss = tf.reduce_sum(out[:, 0] ** 2)
        return out, tape.gradient(loss, model.backbone.trainable_variables[3].value)

    calls = []
    call = layers.EncoderBlock.call
    monkeypatch.setattr(
        layers.EncoderBlock, "call", lambda *a, **k: calls.append(1) or call(*a, **k)
    )
    whole, slope = run()
    once = len(calls)
    monkeypatch.setattr(distribution, "_streams", 2)
    parts, slopes = run()
    assert len(calls) == 3 * once
    np.testing.assert_allclose(parts, whole, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(slopes, slope, rtol=1e-4, atol=1e-5)


def test_no_length_of_the_position_table_is_too_short_for_padding(build):
    model = build()
    table = model.backbone.model_config.max_positions
    length = next(n for n in range(table, 16, -1) if n % 2)
    model.backbone.get_layer("positions")._max_positions = length  # As if it ended.
    model.preprocessor.change(sequence_length=length)
    rows = model.rows(["the cat sat " * table])
    (x,) = next(iter(inputs.batches(rows, None, 2)))
    assert x["token_ids"].shape == (1, length)
    with pytest.warns(UserWarning, match="lost their end"):
        assert model.predict(["the cat sat " * table]).shape == (1, 3)


@pytest.fixture
def build(tiny_backbone, tiny_preprocessor):
    def make(num_classes=3, preprocessor=tiny_preprocessor, **kwargs):
        settings = {"dropout": 0.0, **kwargs}
        return Classifier(
            tiny_backbone, num_classes, preprocessor=preprocessor, **settings
        )

    return make


def arrays_of(classifier, texts):
    """Token ids as a model takes them, all rows equally wide."""
    rows = classifier.preprocessor.rows(texts)
    batches = inputs.batches(rows, None, len(texts))
    ((x,),) = batches
    return {name: field.numpy() for name, field in x.items()}


class Rates(keras.callbacks.Callback):
    """Notes the learning rate of each step."""

    def __init__(self):
        super().__init__()
        self.rates = []

    def on_train_batch_begin(self, batch, logs=None):
        self.rates.append(float(self.model.optimizer.learning_rate))


# Training.


def test_the_rate_warms_up_over_a_tenth_of_the_steps_and_decays_to_zero(build):
    classifier = build()
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


def test_fit_traces_its_step_once(build, monkeypatch):
    traced, train_step = [], Classifier.train_step

    def count(self, data):
        traced.append(self)
        return train_step(self, data)

    monkeypatch.setattr(Classifier, "train_step", count)
    classifier = build()
    classifier.fit(TEXTS, LABELS, batch_size=4, epochs=2, verbose=0)
    assert traced == [classifier]


@pytest.mark.parametrize(
    ("width", "rate", "decay"),
    [(256, 3e-4, 0.8), (257, 1e-4, 0.8), (768, 1e-4, 0.8), (1024, 5e-5, 0.9)],
)
def test_rates_are_the_papers_for_the_width(width, rate, decay, tiny_model_config):
    model = tiny_model_config.model_copy(
        update={"hidden_size": width, "num_heads": 1, "num_layers": 1}
    )
    classifier = Classifier(backbone.ElectraBackbone.from_model_config(model), 2)
    learner = classifier.optimizer
    assert learner.get_config()["learning_rate"]["config"]["peak"] == rate
    rates = learner.rates
    assert rates["classification_head/dense/kernel"] == 1.0
    assert rates["layer_0/query/kernel"] == pytest.approx(decay)
    assert rates["embeddings/word_embeddings"] == pytest.approx(decay**2)
    assert set(rates) == {v.path for v in classifier.trainable_variables}
    assert (learner.clip_norm, learner.reduce, learner.decoupled_decay) == (1, True, 0)


def test_a_layers_rate_reaches_its_weights(build):
    classifier = build()
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
    ("kwargs", "message"),
    [
        (
            {"optimizer": "adam", "learning_rate": 1e-3},
            "learning_rate=0.001 has no eff",
        ),
        (
            {"optimizer": "sgd", "layer_decay": 0.9},
            "layer_decay=0.9 .* optimizer sgd; ",
        ),
        (
            {"optimizer": keras.optimizers.Adam(), "weight_decay": 0.0},
            "weight_decay=0.0 has no effect on optimizer Adam; leave optimizer out",
        ),
        ({"learning_rate": "fast"}, "learning_rate='fast': want a number"),
        ({"learning_rate": -1.0}, "learning_rate=-1.0: want a number, 0 or more"),
        (
            {"learning_rate": keras.optimizers.schedules.CosineDecay(1e-3, 9)},
            "learning_rate=<.*: want a number.*; a schedule",
        ),
    ],
)
def test_rates_that_would_have_no_effect_are_refused(kwargs, message, build):
    classifier = build()
    with pytest.raises(errors.UserError, match=message) as refused:
        classifier.compile(**kwargs)
    assert "\n" not in str(refused.value)


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
def test_a_compile_that_failed_leaves_nothing_behind(kwargs, build):
    classifier = build()
    classifier.compile(learning_rate=0.25, metrics=[])
    before = dict(vars(classifier))
    with pytest.raises((errors.UserError, ValueError, TypeError)):
        classifier.compile(**kwargs)
    assert vars(classifier).keys() == before.keys()
    assert all(vars(classifier)[name] is value for name, value in before.items())
    optimizer_config = classifier.get_compile_config()["optimizer"]["config"]
    assert optimizer_config["learning_rate"] == 0.25


def test_no_metrics_are_none_whatever_was_compiled_before(build):
    classifier = build()
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
def test_a_callback_that_sets_the_rate_is_refused_where_a_schedule_does(setter, build):
    classifier = build()
    for optimizer_ in (
        "auto",
        keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(1e-3, 9)),
    ):
        classifier.compile(optimizer_)
        with pytest.raises(errors.UserError, match="sets the learning rate, and here"):
            classifier.fit(TEXTS, LABELS, verbose=0, callbacks=setter)


def test_a_callback_that_sets_the_rate_does_so_with_an_optimizer_of_your_own(build):
    classifier = build()
    classifier.compile(keras.optimizers.AdamW(1e-4))
    seen = Rates()
    halve = keras.callbacks.LearningRateScheduler(lambda epoch, rate: rate / 2)
    classifier.fit(
        TEXTS, LABELS, batch_size=11, epochs=2, verbose=0, callbacks=[halve, seen]
    )
    np.testing.assert_allclose(seen.rates, [5e-5, 2.5e-5], rtol=1e-5)


def test_an_early_stopping_of_yours_takes_the_place_of_ours(build):
    classifier, spoil = build(), WorseEachEpoch()
    held_out = (TEXTS[:2], [1, 2])
    yours = keras.callbacks.EarlyStopping("val_loss", patience=1)
    train = {"batch_size": 11, "epochs": 9, "verbose": 0, "validation_data": held_out}
    history = classifier.fit(TEXTS, LABELS, callbacks=[spoil, yours], **train)
    assert len(history.history["loss"]) == 2
    # It does not restore, so nothing does.
    assert not np.array_equal(classifier.get_weights()[-1], spoil.best[-1])
    with pytest.raises(errors.UserError, match="patience=2 and EarlyStopping both say"):
        classifier.fit(TEXTS, LABELS, callbacks=yours, patience=2, **train)


def test_what_is_about_validation_is_refused_without_it(build):
    for name in ("patience", "validation_steps", "validation_batch_size"):
        with pytest.raises(errors.UserError, match=f"{name}=2 has no effect without"):
            build().fit(TEXTS, LABELS, verbose=0, **{name: 2})
    with pytest.raises(errors.UserError, match="=3 leaves none of epochs=3 to train"):
        build().fit(TEXTS, LABELS, verbose=0, epochs=3, initial_epoch=3)


def test_validation_may_come_every_second_epoch_and_the_rate_ends_at_the_last(build):
    classifier, seen = build(), Rates()
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


def test_checkpoints_and_backups_of_keras_are_written_and_read(build, tmp_path):
    class Killed(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            if epoch == 1:
                raise KeyboardInterrupt

    train = {"batch_size": 4, "epochs": 4, "verbose": 0, "restore_best": False}
    classifier = build()
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


def test_an_optimizer_and_a_loss_of_your_own_are_kept(build):
    classifier = build()
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
def test_after_validation_the_weights_are_those_of_the_best_epoch(restore_best, build):
    classifier = build()
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
def test_patience_stops_early(restore_best, build):
    history = build().fit(
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


def test_a_split_holds_out_the_end_with_its_labels_and_weights(build, monkeypatch):
    classifier, seen = build(), []
    make = classifier.dataset
    monkeypatch.setattr(
        classifier, "dataset", lambda *a, **k: seen.append(a[:3]) or make(*a, **k)
    )
    weights = np.arange(11) / 10
    classifier.fit(
        TEXTS, LABELS, sample_weight=weights, validation_split=0.3, epochs=1, verbose=0
    )
    (train, *train_rest), (held_out, *held_out_rest) = seen
    assert (train, held_out) == (TEXTS[:8], TEXTS[8:])
    assert train_rest[0] + held_out_rest[0] == LABELS
    np.testing.assert_array_equal(train_rest[1], weights[:8])
    np.testing.assert_array_equal(held_out_rest[1], weights[8:])
    data = tf.data.Dataset.from_tensor_slices((TEXTS, LABELS)).batch(4)
    with pytest.raises(errors.UserError, match=r"cannot cut a .*; give"):
        classifier.fit(data, validation_split=0.3)
    for rate in (0.04, 0.96, 1.5):
        with pytest.raises(errors.UserError, match=f"={rate} of 11 .* another share"):
            classifier.fit(TEXTS, LABELS, validation_split=rate)
    # Pairs in two columns, and token ids, are cut too.
    *_, (pairs, held_out, _) = classifier._split((TEXTS, TEXTS), LABELS, None, 0.3)
    assert (pairs, held_out) == ([(text, text) for text in TEXTS[8:]], LABELS[8:])
    ids = arrays_of(classifier, TEXTS)
    train, *_, (held_out, *_) = classifier._split(ids, np.array(LABELS), None, 0.3)
    assert {*train} == {*ids}
    np.testing.assert_array_equal(held_out["token_ids"], ids["token_ids"][8:])


def test_weights_of_samples_scale_their_losses(build):
    classifier = build()
    each = [
        classifier.evaluate([t], [n], verbose=0)[0]
        for t, n in zip(TEXTS[:3], LABELS[:3], strict=True)
    ]
    weights = [0.0, 2.0, 0.5]
    loss, _ = classifier.evaluate(
        TEXTS[:3], LABELS[:3], sample_weight=weights, verbose=0
    )
    assert loss == pytest.approx(np.dot(each, weights) / 3, abs=1e-5)
    with pytest.raises(errors.UserError, match="2 sample weights for 3 inputs"):
        classifier.fit(TEXTS[:3], LABELS[:3], sample_weight=[1, 2])


def test_the_same_seed_gives_the_same_weights_and_another_others(build):
    classifier = build()
    start, ends = classifier.get_weights(), []
    for seed in (1, 1, 2):
        classifier.set_weights(start)
        classifier.compile(learning_rate=1e-2)
        classifier.fit(TEXTS, LABELS, batch_size=2, epochs=2, seed=seed, verbose=0)
        ends.append(classifier.predict(TEXTS))
    np.testing.assert_allclose(ends[0], ends[1], atol=1e-5)
    assert np.max(np.abs(ends[0] - ends[2])) > 1e-3


def test_a_frozen_backbone_leaves_the_head_to_train(build):
    classifier = build()
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
def test_lora_trains_small_kernels_which_are_saved_merged_or_alone(build, tmp_path):
    classifier = build()
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


# Inputs.


def test_predictions_come_in_the_order_of_the_inputs(build):
    classifier = build()
    want = np.concatenate([classifier.predict([text]) for text in TEXTS])
    assert len(np.unique(want.round(5), axis=0)) == len(TEXTS)
    for batch_size in (1, 3, 32):
        found = classifier.predict(TEXTS, batch_size)
        np.testing.assert_allclose(found, want, atol=1e-5)
    assert classifier.predict([]).shape == (0, 3)
    assert classifier.predict_classes([]) == []


@pytest.mark.parametrize(
    "long_texts", [pytest.param("truncate", marks=pytest.mark.slow), "windows"]
)
def test_a_dataset_of_strings_is_read_as_a_list_is(long_texts, build):
    classifier = build()
    classifier.preprocessor.change(sequence_length=7, long_texts=long_texts)
    data = tf.data.Dataset.from_tensor_slices((TEXTS, LABELS)).batch(4)

    def told(act):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            return act(), [w for w in caught if "lost their end" in str(w.message)]

    want, said = told(lambda: classifier.predict(TEXTS))
    found, said_again = told(lambda: classifier.predict(data))
    np.testing.assert_allclose(found, want, atol=1e-5)
    want, _ = told(lambda: classifier.evaluate(TEXTS, LABELS, verbose=0))
    found, once_more = told(lambda: classifier.evaluate(data, verbose=0))
    np.testing.assert_allclose(found, want, rtol=1e-5)
    _, at_last = told(lambda: classifier.fit(data, epochs=1, verbose=0))
    assert [*map(len, (said, said_again, once_more, at_last))] == (
        [1] * 4 if long_texts == "truncate" else [0] * 4
    )
    # The schedule is over the batches, which windows are more of.
    steps = len(list(classifier.dataset(data)))
    assert (steps > 3) == (long_texts == "windows")
    assert int(classifier.optimizer.iterations) == steps
    schedule = classifier.optimizer.get_config()["learning_rate"]["config"]
    assert schedule["steps"] == steps
    found, _ = told(lambda: classifier.predict_classes(data))
    assert found[0]["label"] in range(3)
    found, _ = told(lambda: classifier.predict(data.repeat(), steps=2))
    assert len(found) == 8


def test_what_has_no_effect_on_a_dataset_is_refused(build):
    classifier = build()
    data = tf.data.Dataset.from_tensor_slices((TEXTS, LABELS)).batch(4)
    for act, message in (
        (lambda: classifier.fit(data, LABELS), "labels and weights come with a"),
        (lambda: classifier.fit(data, sample_weight=LABELS), "labels and weights come"),
        (lambda: classifier.fit(data, batch_size=2), "batch_size=2 has no effect"),
        (lambda: classifier.evaluate(data, batch_size=2), "batch_size=2 has no effect"),
        (lambda: classifier.fit(data.map(lambda x, y: x)), "has no labels; want"),
        (lambda: classifier.fit(data.unbatch()), "one by one; want batches"),
        (lambda: classifier.predict(data.repeat()), "has no end; give steps"),
    ):
        with pytest.raises(errors.UserError, match=message) as refused:
            act()
        assert "\n" not in str(refused.value)


def test_a_batch_of_lists_is_trained_on_tested_and_predicted(build):
    classifier = build()
    want = classifier.evaluate(TEXTS, LABELS, verbose=0)
    np.testing.assert_allclose(classifier.test_on_batch(TEXTS, LABELS), want, rtol=1e-5)
    np.testing.assert_allclose(
        classifier.predict_on_batch(TEXTS), classifier.predict(TEXTS), atol=1e-5
    )
    classifier.train_on_batch(TEXTS, LABELS)
    assert int(classifier.optimizer.iterations) == 1


@pytest.mark.slow
def test_a_dataset_of_strings_is_predicted_and_trained_on_as_a_list_is(build):
    classifier = build()
    data = tf.data.Dataset.from_tensor_slices((TEXTS, LABELS)).batch(4)
    found = classifier.predict(data.map(lambda x, y: x), verbose=0)
    np.testing.assert_allclose(found, classifier.predict(TEXTS), atol=1e-5)
    want = classifier.evaluate(TEXTS, LABELS, verbose=0)
    np.testing.assert_allclose(classifier.evaluate(data, verbose=0), want, rtol=1e-5)
    seen = Rates()
    history = classifier.fit(
        data, validation_data=data, epochs=2, verbose=0, callbacks=[seen]
    )
    assert len(seen.rates) == 6
    assert "val_loss" in history.history
    endless = data.repeat()
    with pytest.raises(errors.UserError, match="number of batches is unknown"):
        classifier.fit(endless, verbose=0)
    classifier.fit(endless, steps_per_epoch=2, epochs=1, verbose=0)


def test_token_ids_are_taken_as_they_are_without_a_preprocessor(build):
    classifier = build()
    x = arrays_of(classifier, TEXTS)
    want = classifier.predict(TEXTS)
    want_loss = classifier.evaluate(TEXTS, LABELS, verbose=0)
    np.testing.assert_allclose(classifier.predict(x, verbose=0), want, atol=1e-5)
    classifier.preprocessor = None
    np.testing.assert_allclose(classifier.predict(x, verbose=0), want, atol=1e-5)
    loss = classifier.evaluate(x, np.array(LABELS), verbose=0)
    np.testing.assert_allclose(loss, want_loss, rtol=1e-5)
    data = tf.data.Dataset.from_tensor_slices((x, LABELS)).batch(4)
    np.testing.assert_allclose(classifier.evaluate(data, verbose=0), want_loss, 1e-5)
    classifier.compile(learning_rate=1e-2)
    history = classifier.fit(
        x, LABELS, batch_size=4, epochs=3, validation_data=(x, LABELS), verbose=0
    )
    assert history.history["val_loss"][-1] < want_loss[0]


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        ([], [], "x is empty"),
        (None, [0], "the inputs are None"),
        (TEXTS, None, "the labels are None"),
        (TEXTS, LABELS[:-1], "10 labels for 11 inputs"),
        ([*TEXTS[:-1], 7], LABELS, "input 10 is 7, a int"),
    ],
)
def test_what_cannot_be_trained_on_is_refused_in_one_line(x, y, message, build):
    with pytest.raises(errors.UserError, match=message) as told:
        build().fit(x, y, verbose=0)
    assert "\n" not in str(told.value)


def test_rows_longer_than_the_position_table_are_refused(build):
    classifier = build()
    classifier.preprocessor.sequence_length = 33
    message = "sequence_length=33 exceeds the position table of 32; take 32 or less"
    for act in (
        lambda: classifier.fit(TEXTS, LABELS),
        lambda: classifier.evaluate(TEXTS, LABELS),
        lambda: classifier.predict(TEXTS),
    ):
        with pytest.raises(errors.UserError, match=message):
            act()


def test_truncation_is_said_with_its_way_out(build, tiny_preprocessor):
    classifier = build()
    classifier.preprocessor.sequence_length = 8
    message = r'2 of 11 texts are longer than 8 .*; see long_texts="windows"'
    with pytest.warns(UserWarning, match=message):
        classifier.predict(TEXTS)
    with pytest.warns(UserWarning, match=message):
        classifier.evaluate(TEXTS, LABELS, verbose=0)


def test_the_outputs_of_windows_are_averaged_and_their_losses_too(
    build, tiny_preprocessor
):
    windows = preprocessor.ElectraTextPreprocessor(
        tiny_preprocessor.tokenizer, 6, long_texts="windows", stride=2
    )
    classifier = build(preprocessor=windows)
    pieces = ["the cat sat on", "sat on the mat", "on the mat ."]
    each = classifier.predict(pieces)
    found = classifier.predict(["a", TEXTS[0], "a dog"])
    np.testing.assert_allclose(found[1], each.mean(axis=0), atol=1e-5)
    np.testing.assert_allclose(found[0], classifier.predict(["a"])[0], atol=1e-5)
    # An input counts once, however many windows it has.
    losses = -np.log(np.asarray(tf.nn.softmax(each))[:, 2])
    shares = inputs.batches(
        (rows := windows.rows([TEXTS[0]])),
        classifier.targets([2], rows),
        8,
        weights=classifier.row_weights(rows, [3.0]),
    )
    ((_, y, weight),) = shares
    assert y.numpy().tolist() == [2, 2, 2]
    np.testing.assert_allclose(weight, [1, 1, 1])
    loss, _ = classifier.evaluate([TEXTS[0]], [2], sample_weight=[3.0], verbose=0)
    assert loss == pytest.approx(losses.mean(), abs=1e-5)


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


# Starting.


@pytest.fixture(scope="module")
def sources(tmp_path_factory, tiny_model_config, tiny_vocab):
    """The same discriminator as a preset, a workdir, for transformers, for KerasHub."""
    keras.utils.set_random_seed(3)
    folder = tmp_path_factory.mktemp("sources")
    network = models.build_discriminator(tiny_model_config)
    named = {"discriminator": network}, {"discriminator": tiny_model_config}
    words = tokenizer.read_vocab(tiny_vocab), config.TokenizerConfig()
    preset.save(str(folder / "run" / "preset"), *named, *words, {})
    hugging_face.save_networks(str(folder / "hugging_face"), *named, *words, {})
    opened = preset.load(str(folder / "run" / "preset"))
    keras_hub_presets.save_backbone(str(folder / "ours"), opened, "discriminator")
    keras_hub_presets.save_keras_hub_electra(
        str(folder / "theirs"), opened, "discriminator"
    )
    detector = replaced_token_detector.ElectraReplacedTokenDetector.from_preset(
        str(folder / "run")
    )
    detector.save_to_preset(str(folder / "another_task"))
    return folder, network


def encode(network, ids):
    ids = np.array([ids], np.int32)
    x = {"token_ids": ids, "segment_ids": 0 * ids}
    if isinstance(network, keras_hub.models.Backbone):
        x["padding_mask"] = 0 * ids + 1
        return network(x)["sequence_output"].numpy()
    x |= {"example_ids": 0 * ids + 1, "position_ids": np.arange(ids.size)[None]}
    return network.get_layer("encoder")(x).numpy()


@pytest.mark.parametrize(
    ("name", "tolerance"),
    [
        ("run", 1e-6),
        ("run/preset", 1e-6),
        ("hugging_face", 1e-6),
        ("ours", 1e-6),
        ("another_task", 1e-6),
        # GELU is another.
        ("theirs", 1e-2),
    ],
)
def test_a_task_starts_from_weights_of_any_kind(name, tolerance, sources):
    folder, network = sources
    classifier = Classifier.from_preset(str(folder / name), num_classes=3)
    assert classifier.preprocessor.sequence_length == 32
    ids = [2, 9, 17, 30, 3]
    np.testing.assert_allclose(
        encode(classifier.backbone, ids), encode(network, ids), atol=tolerance
    )
    assert classifier.predict(TEXTS).shape == (11, 3)


@pytest.mark.parametrize("name", ["run", "hugging_face", "ours", "theirs"])
def test_backbone_tokenizer_and_preprocessor_start_from_weights_of_any_kind(
    name, sources
):
    folder, network = sources
    path = folder / name
    encoder = backbone.ElectraBackbone.from_preset(path, dropout=0.25)
    assert encoder.model_config.hidden_dropout_rate == 0.25
    want = encode(network, [2, 6, 7, 3])
    tolerance = 1e-2 if name == "theirs" else 1e-6  # GELU is another.
    np.testing.assert_allclose(encode(encoder, [2, 6, 7, 3]), want, atol=tolerance)
    other = backbone.ElectraBackbone.from_preset(path, load_weights=False)
    assert np.abs(encode(other, [2, 6, 7, 3]) - want).max() > 0.1
    words = task_tokenizer.ElectraTokenizer.from_preset(path)
    assert words.get_vocabulary()[2:4] == ["[CLS]", "[SEP]"]
    assert words.vocabulary_size() == encoder.model_config.vocab_size
    before = preprocessor.ElectraTextPreprocessor.from_preset(path, sequence_length=9)
    assert before.sequence_length == 9
    assert before("the cat")["token_ids"].shape == (9,)


def test_a_task_starts_from_a_checkpoint_of_the_2020_code(
    sources, tmp_path, tiny_vocab
):
    folder, network = sources
    opened = preset.load(str(folder / "run" / "preset"))
    found = weight_map.variables(network)
    arrays = {
        row.tf1.format(**weight_map.SCOPES._asdict()): found[row.ours].numpy()
        for row in weight_map.rows("discriminator", opened.networks["discriminator"])
    }
    tf.raw_ops.SaveV2(
        prefix=str(tmp_path / "model.ckpt-5"),
        tensor_names=list(arrays),
        shape_and_slices=[""] * len(arrays),
        tensors=list(arrays.values()),
    )
    shutil.copy(tiny_vocab, tmp_path / "vocab.txt")
    source = google_checkpoint.open_checkpoint(str(tmp_path), num_heads=3)
    classifier = Classifier.from_pretrained(source, num_classes=2)
    ids = [2, 9, 17, 30, 3]
    np.testing.assert_allclose(
        encode(classifier.backbone, ids), encode(network, ids), atol=1e-6
    )
    os.remove(tmp_path / "vocab.txt")
    bare = google_checkpoint.open_checkpoint(str(tmp_path), num_heads=3)
    with pytest.raises(errors.UserError, match=r"has no vocabulary; convert it with"):
        Classifier.from_pretrained(bare, num_classes=2)
    headless = Classifier.from_pretrained(bare, num_classes=2, preprocessor=None)
    assert headless.preprocessor is None


def test_a_masked_language_model_has_an_encoder_too(
    tmp_path, tiny_model_config, tiny_vocab
):
    network = models.build_generator(tiny_model_config)
    preset.save(
        str(tmp_path),
        {"generator": network},
        {"generator": tiny_model_config},
        tokenizer.read_vocab(tiny_vocab),
        config.TokenizerConfig(),
        {},
    )
    embedder = text_embedder.ElectraTextEmbedder.from_preset(str(tmp_path))
    ids = [2, 9, 17, 30, 3]
    np.testing.assert_allclose(
        encode(embedder.backbone, ids), encode(network, ids), atol=1e-6
    )
    with pytest.raises(errors.UserError, match="has no discriminator; it has gen"):
        replaced_token_detector.ElectraReplacedTokenDetector.from_preset(str(tmp_path))


def test_the_head_of_a_hugging_face_classifier_comes_along(tmp_path):
    folder = tmp_path / "there"
    shutil.copytree(GOLDEN / "sequence_classification", folder)
    shutil.copy(GOLDEN / "vocab.txt", folder)
    opened = hugging_face.open_directory(str(folder))
    classifier = Classifier.from_preset(str(folder))
    assert classifier.class_names == opened.label_names
    kernel = classifier.classification_head.logits.kernel.numpy()
    np.testing.assert_array_equal(
        kernel.T, opened.read_head()["classifier.out_proj.weight"]
    )
    with np.load(GOLDEN / "outputs.npz") as file:
        fields = dict(file)
    x = {
        "token_ids": fields["input_ids"],
        "segment_ids": fields["token_type_ids"],
        "padding_mask": fields["attention_mask"],
    }
    want = fields["sequence_classification/logits"]
    np.testing.assert_allclose(classifier.predict(x, verbose=0), want, atol=2e-5)
    other = Classifier.from_preset(str(folder), num_classes=len(opened.label_names))
    assert other.class_names is None
    assert np.any(other.classification_head.logits.kernel.numpy() != kernel)
    # It is no regressor's: that has one output.
    regressor = text_regressor.ElectraTextRegressor.from_preset(str(folder))
    assert regressor.predict(["a"]).shape == (1,)


def test_settings_of_the_preprocessor_are_stated_with_the_preset(sources, tmp_path):
    folder, _ = sources
    stated = {
        "sequence_length": 9,
        "truncate": "waterfall",
        "long_texts": "windows",
        "stride": 2,
    }
    fresh = Classifier.from_preset(str(folder / "run"), num_classes=2, **stated)
    fresh.save_to_preset(str(tmp_path))
    again = Classifier.from_preset(str(tmp_path))
    changed = Classifier.from_preset(str(tmp_path), stride=4, sequence_length=8)
    for made, want in (
        (fresh, stated),
        (again, stated),
        (changed, {**stated, "stride": 4, "sequence_length": 8}),
    ):
        assert {name: getattr(made.preprocessor, name) for name in want} == want
    for wrong, message in (
        ({"long_texts": "drop"}, "long_texts='drop'"),
        ({"sequence_length": 33}, "exceeds the position table of 32"),
    ):
        for place in (folder / "run", tmp_path):
            with pytest.raises(errors.UserError, match=message):
                Classifier.from_preset(str(place), num_classes=2, **wrong)


def test_without_weights_it_starts_at_random(sources):
    folder, network = sources
    classifier = Classifier.from_preset(
        str(folder / "run"), load_weights=False, num_classes=2
    )
    ids = [2, 9, 17, 30, 3]
    apart = encode(classifier.backbone, ids) - encode(network, ids)
    assert np.max(np.abs(apart)) > 0.1


@pytest.mark.parametrize("kind", [str, Path])
def test_a_folder_that_is_not_there_is_named_in_one_line(kind, tmp_path):
    place = kind(tmp_path / "none")
    with pytest.raises(errors.UserError, match=r"none: nothing is there; want") as told:
        Classifier.from_preset(place, num_classes=2)
    assert "\n" not in str(told.value)


def test_the_mean_over_windows_is_an_inputs():
    rows = inputs.Rows([], [], np.array([0, 0, 2]), 3, 0, np.zeros(3))
    outputs = [np.float32([1, 2]), np.float32([3, 6]), np.float32([5, 7])]
    found = task.mean_over_windows(outputs, rows)
    assert found.tolist() == [[2, 4], [0, 0], [5, 7]]
    assert found.dtype == np.float32


def test_two_batches_are_predicted_at_once_and_come_in_their_order():
    both = threading.Barrier(2, timeout=10)

    def square(number):
        if number < 2:
            both.wait()  # Nobody gets here alone.
        return number**2

    assert list(task._side_by_side(square, range(7))) == [n**2 for n in range(7)]


def test_an_error_in_a_batch_is_the_callers():
    with pytest.raises(ZeroDivisionError):
        list(task._side_by_side(lambda number: 1 // number, [1, 0, 1]))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ("truncate", r"cannot load .*task\.weights\.h5: .*copy or write it again"),
        ("other head", r"cannot load .*task\.weights\.h5: "),
        ("fewer layers", r"model\.weights\.h5 holds .* arrays, and the model has"),
        ("no config", r"task\.json: config=None: want an object"),
        ("many layers", r"task\.json describes .* weights, and their files have"),
        ("many classes", r"task\.json describes .* weights, and their files have"),
        ("no class", r"cannot open .*preset: Attempting to load class ../x"),
    ],
)
def test_a_damaged_preset_of_a_task_is_named_in_one_line(
    tiny_tuned, tmp_path, damage, message
):
    folder = tmp_path / "preset"
    shutil.copytree(tiny_tuned[0] / "preset", folder)
    (folder / "SHA256SUMS").unlink()  # As in a preset that others wrote.
    file = folder / "task.json"
    values = json.loads(file.read_text())
    if damage == "truncate":
        weights = folder / "task.weights.h5"
        weights.write_bytes(weights.read_bytes()[:-100])
    elif damage == "other head":
        values["config"] |= {"num_classes": 3, "class_names": None}
    elif damage == "fewer layers":
        values["config"]["backbone"]["config"]["num_layers"] = 1
    elif damage == "many layers":
        values["config"]["backbone"]["config"]["num_layers"] = 10**8
    elif damage == "many classes":
        values["config"]["num_classes"] = 10**9
    elif damage == "no class":
        file = folder / "config.json"
        values = json.loads(file.read_text()) | {"registered_name": "../x"}
    else:
        del values["config"]
    file.write_text(json.dumps(values))
    with pytest.raises(errors.UserError, match=message) as error:
        Classifier.from_preset(str(folder))
    assert "\n" not in str(error.value)


# Weights of classes.


def weighed_loss(classifier, weights, texts=TEXTS, labels=LABELS):
    """The mean of the losses, each times the weight of its class."""
    logs = np.log(np.asarray(tf.nn.softmax(classifier.predict(texts))))
    each = -logs[np.arange(len(labels)), labels]
    return np.mean(np.array(weights)[labels] * each)


@pytest.mark.parametrize("kind", ["lists", "one-hot", "dataset", "windows", "ids"])
def test_class_weight_weighs_the_losses_of_its_class(kind, build):
    classifier = build(class_names=["a", "b", "c"])
    classifier.compile(optimizer=keras.optimizers.SGD(0.0))
    weights = {"c": 5.0, 0: 0.5}
    names = [classifier.class_names[label] for label in LABELS]
    want = weighed_loss(classifier, [0.5, 1.0, 5.0])
    x, y = TEXTS, names
    if kind == "one-hot":
        y = np.eye(3)[LABELS]
    elif kind == "dataset":
        x, y = tf.data.Dataset.from_tensor_slices((TEXTS, names)).batch(11), None
    elif kind == "windows":
        classifier.preprocessor.change(sequence_length=7, long_texts="windows")
        # Of one row each, for whose rows the loss is the mean.
        x = [text[:11] for text in TEXTS]
        want = weighed_loss(classifier, [0.5, 1.0, 5.0], x)
    elif kind == "ids":
        x = arrays_of(classifier, TEXTS)
    size = None if kind == "dataset" else 11
    fit = classifier.fit(
        x, y, batch_size=size, epochs=1, class_weight=weights, verbose=0
    )
    assert fit.history["loss"][0] == pytest.approx(want, rel=1e-4)


def test_weights_of_samples_and_classes_are_multiplied_and_windows_share_them(build):
    classifier = build()
    classifier.preprocessor.change(sequence_length=6, long_texts="windows", stride=2)
    weights = [float(n) for n in range(11)]
    data = classifier._weighed(
        classifier.dataset(TEXTS, LABELS, weights, batch_size=100), {2: 3.0}
    )
    ((_, y, found),) = data
    rows = classifier.rows(TEXTS)
    assert len(rows.source) > 15
    order = inputs.by_length(rows)
    counts = np.bincount(rows.source)[rows.source[order]]
    of_class = np.where(np.array(LABELS)[rows.source[order]] == 2, 3.0, 1.0)
    np.testing.assert_allclose(found, rows.source[order] / counts * of_class, rtol=1e-6)
    np.testing.assert_array_equal(y, np.array(LABELS)[rows.source[order]])


def test_class_weight_is_refused_where_there_are_no_classes_or_several(
    build, tiny_backbone, tiny_preprocessor
):
    regressor = text_regressor.ElectraTextRegressor(tiny_backbone, tiny_preprocessor)
    with pytest.raises(errors.UserError, match="Regressor has no classes to weigh"):
        regressor.fit(TEXTS, LABELS, class_weight={0: 1.0}, verbose=0)
    classifier = build()
    with pytest.raises(errors.UserError, match="'x' is none of the classes"):
        classifier.fit(TEXTS, LABELS, class_weight={"x": 1.0}, verbose=0)
    classifier.compile(loss=keras.losses.BinaryCrossentropy(from_logits=True))
    with pytest.raises(errors.UserError, match="may have several classes each"):
        classifier.fit(TEXTS, np.eye(3)[LABELS], class_weight={0: 1.0}, verbose=0)


# Inputs and labels of any kind.


def endless():
    raise AssertionError("was read")
    yield


@pytest.mark.parametrize("y", [None, LABELS])
def test_what_may_have_no_end_is_refused_at_once(y, build):
    for act in (
        lambda x: build().fit(x, y, steps_per_epoch=2, verbose=0),
        lambda x: build().fit(x, y, validation_split=0.5, verbose=0),
        lambda x: build().evaluate(x, y, verbose=0),
        lambda x: build().fit(TEXTS, LABELS, validation_data=x, verbose=0),
    ):
        with pytest.raises(errors.UserError, match=r"a generator, which .*from_gen"):
            act(endless())


def test_a_bit_that_flips_in_a_saved_task_is_noticed_on_every_road(build, tmp_path):
    build().save_to_preset(str(tmp_path))
    roads = (keras_hub.models.TextClassifier, text_classifier.ElectraTextClassifier)
    for name in ("model.weights.h5", "task.weights.h5"):
        whole = (tmp_path / name).read_bytes()
        place = len(whole) // 2
        flipped = bytes([whole[place] ^ 1])
        (tmp_path / name).write_bytes(whole[:place] + flipped + whole[place + 1 :])
        for road in roads:
            with pytest.raises(errors.UserError, match=rf"{name} is not what was"):
                road.from_preset(str(tmp_path))
        (tmp_path / name).write_bytes(whole)
    assert keras_hub.models.TextClassifier.from_preset(str(tmp_path)).num_classes
