"""How a task answers."""

import threading

import numpy as np
import pytest
import tensorflow as tf
from classifying import LABELS, TEXTS

from electra_tf.tasks import (
    inputs,
    predicting,
    preprocessor,
    text_classifier,
)

Classifier = text_classifier.ElectraTextClassifier


def test_predictions_come_in_the_order_of_the_inputs(build_classifier):
    classifier = build_classifier()
    want = np.concatenate([classifier.predict([text]) for text in TEXTS])
    assert len(np.unique(want.round(5), axis=0)) == len(TEXTS)
    for batch_size in (1, 3, 32):
        found = classifier.predict(TEXTS, batch_size)
        np.testing.assert_allclose(found, want, atol=1e-5)
    assert classifier.predict([]).shape == (0, 3)
    assert classifier.predict_classes([]) == []


def test_a_batch_of_lists_is_trained_on_tested_and_predicted(build_classifier):
    classifier = build_classifier()
    want = classifier.evaluate(TEXTS, LABELS, verbose=0)
    np.testing.assert_allclose(classifier.test_on_batch(TEXTS, LABELS), want, rtol=1e-5)
    np.testing.assert_allclose(
        classifier.predict_on_batch(TEXTS), classifier.predict(TEXTS), atol=1e-5
    )
    classifier.train_on_batch(TEXTS, LABELS)
    assert int(classifier.optimizer.iterations) == 1


def test_truncation_is_said_with_its_way_out(build_classifier, tiny_preprocessor):
    classifier = build_classifier()
    classifier.preprocessor.sequence_length = 8
    message = r'2 of 11 texts are longer than 8 .*; see long_texts="windows"'
    with pytest.warns(UserWarning, match=message):
        classifier.predict(TEXTS)
    with pytest.warns(UserWarning, match=message):
        classifier.evaluate(TEXTS, LABELS, verbose=0)


def test_the_outputs_of_windows_are_averaged_and_their_losses_too(
    build_classifier, tiny_preprocessor
):
    windows = preprocessor.ElectraTextPreprocessor(
        tiny_preprocessor.tokenizer, 6, long_texts="windows", stride=2
    )
    classifier = build_classifier(preprocessor=windows)
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


def test_the_mean_over_windows_is_an_inputs():
    rows = inputs.Rows([], [], np.array([0, 0, 2]), 3, 0, np.zeros(3))
    outputs = [np.float32([1, 2]), np.float32([3, 6]), np.float32([5, 7])]
    found = predicting.mean_over_windows(outputs, rows)
    assert found.tolist() == [[2, 4], [0, 0], [5, 7]]
    assert found.dtype == np.float32


def test_two_batches_are_predicted_at_once_and_come_in_their_order():
    both = threading.Barrier(2, timeout=10)

    def square(number):
        if number < 2:
            both.wait()  # Nobody gets here alone.
        return number**2

    assert list(predicting.side_by_side(square, range(7))) == [n**2 for n in range(7)]


def test_an_error_in_a_batch_is_the_callers():
    with pytest.raises(ZeroDivisionError):
        list(predicting.side_by_side(lambda number: 1 // number, [1, 0, 1]))
