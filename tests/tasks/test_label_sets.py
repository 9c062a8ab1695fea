"""Several classes of one text: labels in every form become the same vectors."""

import keras
import numpy as np
import pytest
import scipy.sparse
import tensorflow as tf

from electra_tf import errors
from electra_tf.tasks import label_sets

NAMES = ["a", "b", "c"]
WANTED = np.float32([[1, 0, 1], [0, 0, 0], [0, 1, 0], [1, 1, 1]])


def number(label):
    return NAMES.index(label) if isinstance(label, str) else int(label)


def number_in_graph(labels):
    if labels.dtype != tf.string:
        return labels
    return tf.argmax(tf.equal(labels[:, None], tf.constant(NAMES)), axis=1)


@pytest.mark.parametrize(
    "labels",
    [
        WANTED,
        WANTED.astype(bool),
        WANTED.tolist(),
        tf.constant(WANTED),
        scipy.sparse.csr_matrix(WANTED),
        [["a", "c"], [], ["b"], ["c", "b", "a"]],
        [("a", "c"), (), "b", {"a", "b", "c"}],
        [[0, 2], [], [1], [0, 1, 2]],
        [np.array([0, 2]), np.array([]), 1, np.array([0, 1, 2])],
        tf.ragged.constant([[b"a", b"c"], [], [b"b"], [b"a", b"b", b"c"]]),
    ],
    ids=lambda value: type(value).__name__,
)
def test_labels_in_every_form_are_the_same_vectors(labels):
    found = label_sets.vectors(label_sets.lists(labels, 4), 3, number)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, WANTED)


def test_shares_stay_what_they_are():
    soft = [[0.25, 0.5, 1.0], [0.0, 0.125, 0.0]]
    found = label_sets.vectors(label_sets.lists(soft, 2), 3, number)
    np.testing.assert_array_equal(found, np.float32(soft))


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([["a"]], "1 labels for 2 inputs; want one each"),
        ("ab", "the labels are 'ab'; want a list"),
        ([["a"], None], "label 1 is None; want a list of classes, or a vector"),
        ([["a"], {"a": 1}], "label 1 is {'a': 1}; want a list of classes"),
    ],
)
def test_what_is_no_list_is_refused(labels, message):
    with pytest.raises(errors.UserError, match=message):
        label_sets.lists(labels, 2)


@pytest.mark.parametrize(
    "labels",
    [
        tf.constant(WANTED, tf.int64),
        tf.ragged.constant([["a", "c"], [], ["b"], ["c", "b", "a"]], dtype=tf.string),
        tf.ragged.constant([[0, 2], [], [1], [2, 1, 0]], dtype=tf.int32),
        tf.constant([["a", "c", ""], [""] * 3, ["b", "", ""], ["c", "b", "a"]]),
    ],
    ids=["vectors", "names", "numbers", "padded"],
)
def test_a_batch_in_a_graph_is_the_same_vectors(labels):
    found = label_sets.vectors_in_graph(labels, 3, number_in_graph)
    np.testing.assert_array_equal(found, WANTED)


@pytest.mark.parametrize("labels", [tf.constant(["a", "b"]), tf.zeros([2, 4])])
def test_a_batch_of_another_shape_is_refused(labels):
    with pytest.raises(errors.UserError, match=r"want vectors \[B, 3\] of 0 and 1, or"):
        label_sets.vectors_in_graph(labels, 3, number_in_graph)


@pytest.mark.parametrize("thresholds", [0.0, 1.0, [0.5, 0.5], "x", [0.1, 0.2, 3.0]])
def test_thresholds_are_probabilities_one_or_one_a_class(thresholds):
    assert label_sets.check_thresholds([0.1, 0.2, 0.3], 3) == [0.1, 0.2, 0.3]
    assert label_sets.check_thresholds(0.25, 3) == 0.25
    with pytest.raises(errors.UserError, match="want a number between 0 and 1, or 3 "):
        label_sets.check_thresholds(thresholds, 3)


def test_f1_is_over_all_pairs_of_text_and_class():
    shares = np.float32([[0.9, 0.3, 0.7], [0.6, 0.1, 0.2], [0.1, 0.9, 0.4]])
    right = WANTED[:3]
    metric = label_sets.MicroF1()
    metric.update_state(right, shares)
    # Found 4, right 3, hits 3.
    assert float(metric.result()) == pytest.approx(6 / 7)
    logits = label_sets.MicroF1(from_logits=True)
    logits.update_state(right, np.log(shares / (1 - shares)))
    assert float(logits.result()) == pytest.approx(6 / 7)
    strict = label_sets.MicroF1(thresholds=[0.95, 0.5, 0.5])
    strict.update_state(right, shares, sample_weight=[1.0, 1.0, 2.0])
    # Weighed: found 1 + 2, right 2 + 2, hits 1 + 2.
    assert float(strict.result()) == pytest.approx(6 / 7)
    again = keras.saving.deserialize_keras_object(
        keras.saving.serialize_keras_object(strict)
    )
    assert again.thresholds == [0.95, 0.5, 0.5]
    assert float(again.result()) == 0.0
