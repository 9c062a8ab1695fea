"""What a task makes its batches of."""

import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf
from classifying import LABELS, TEXTS, Rates, arrays_of

from electra_tf import errors
from electra_tf.tasks import (
    inputs,
    text_classifier,
    text_regressor,
)

Classifier = text_classifier.ElectraTextClassifier


def test_no_length_of_the_position_table_is_too_short_for_padding(build_classifier):
    model = build_classifier()
    table = model.backbone.model_config.max_positions
    length = next(n for n in range(table, 16, -1) if n % 2)
    model.backbone.get_layer("positions")._max_positions = length  # As if it ended.
    model.preprocessor.change(sequence_length=length)
    rows = model.rows(["the cat sat " * table])
    (x,) = next(iter(inputs.batches(rows, None, 2)))
    assert x["token_ids"].shape == (1, length)
    with pytest.warns(UserWarning, match="lost their end"):
        assert model.predict(["the cat sat " * table]).shape == (1, 3)


def test_a_split_holds_out_the_end_with_its_labels_and_weights(
    build_classifier, monkeypatch
):
    classifier, seen = build_classifier(), []
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


def test_weights_of_samples_scale_their_losses(build_classifier):
    classifier = build_classifier()
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


@pytest.mark.parametrize(
    "long_texts", [pytest.param("truncate", marks=pytest.mark.slow), "windows"]
)
def test_a_dataset_of_strings_is_read_as_a_list_is(long_texts, build_classifier):
    classifier = build_classifier()
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


def test_what_has_no_effect_on_a_dataset_is_refused(build_classifier):
    classifier = build_classifier()
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


@pytest.mark.slow
def test_a_dataset_of_strings_is_predicted_and_trained_on_as_a_list_is(
    build_classifier,
):
    classifier = build_classifier()
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


def test_token_ids_are_taken_as_they_are_without_a_preprocessor(build_classifier):
    classifier = build_classifier()
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
def test_what_cannot_be_trained_on_is_refused_in_one_line(
    x, y, message, build_classifier
):
    with pytest.raises(errors.UserError, match=message) as told:
        build_classifier().fit(x, y, verbose=0)
    assert "\n" not in str(told.value)


# Weights of classes.


def weighed_loss(classifier, weights, texts=TEXTS, labels=LABELS):
    """The mean of the losses, each times the weight of its class."""
    logs = np.log(np.asarray(tf.nn.softmax(classifier.predict(texts))))
    each = -logs[np.arange(len(labels)), labels]
    return np.mean(np.array(weights)[labels] * each)


@pytest.mark.parametrize("kind", ["lists", "one-hot", "dataset", "windows", "ids"])
def test_class_weight_weighs_the_losses_of_its_class(kind, build_classifier):
    classifier = build_classifier(class_names=["a", "b", "c"])
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


def test_weights_of_samples_and_classes_are_multiplied_and_windows_share_them(
    build_classifier,
):
    classifier = build_classifier()
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
    build_classifier, tiny_backbone, tiny_preprocessor
):
    regressor = text_regressor.ElectraTextRegressor(tiny_backbone, tiny_preprocessor)
    with pytest.raises(errors.UserError, match="Regressor has no classes to weigh"):
        regressor.fit(TEXTS, LABELS, class_weight={0: 1.0}, verbose=0)
    classifier = build_classifier()
    with pytest.raises(errors.UserError, match="'x' is none of the classes"):
        classifier.fit(TEXTS, LABELS, class_weight={"x": 1.0}, verbose=0)
    classifier.compile(loss=keras.losses.BinaryCrossentropy(from_logits=True))
    with pytest.raises(errors.UserError, match="may have several classes each"):
        classifier.fit(TEXTS, np.eye(3)[LABELS], class_weight={0: 1.0}, verbose=0)


def endless():
    raise AssertionError("was read")
    yield


@pytest.mark.parametrize("y", [None, LABELS])
def test_what_may_have_no_end_is_refused_at_once(y, build_classifier):
    for act in (
        lambda x: build_classifier().fit(x, y, steps_per_epoch=2, verbose=0),
        lambda x: build_classifier().fit(x, y, validation_split=0.5, verbose=0),
        lambda x: build_classifier().evaluate(x, y, verbose=0),
        lambda x: build_classifier().fit(TEXTS, LABELS, validation_data=x, verbose=0),
    ):
        with pytest.raises(errors.UserError, match=r"a generator, which .*from_gen"):
            act(endless())
