import numpy as np
import pytest
import tensorflow as tf

from electra_tf import errors
from electra_tf.tasks import labels


@pytest.mark.parametrize("given", [None, 3, "ab", [0], [0, 1, 0]])
def test_labels_are_a_list_with_one_an_input(given):
    with pytest.raises(errors.UserError, match=r"labels .* want") as told:
        labels.of_inputs(given, 2)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    "given",
    [[0, 1], (0, 1), np.array([0, 1]), np.array([[0], [1]]), [[0], [1]]],
)
def test_labels_may_be_any_column(given):
    assert labels.of_inputs(given, 2) == [0, 1]


def test_weights_are_finite_numbers_one_an_input():
    found = labels.weights(np.array([[0.5], [2]]), 2)
    assert found.tolist() == [0.5, 2.0]
    assert found.dtype == np.float32
    for wrong in ([1, float("nan")], [1, None], [1, "2"], [[1, 2], [3, 4]]):
        with pytest.raises(errors.UserError, match=r"sample weight \d is .*; want a"):
            labels.weights(wrong, 2)


def test_class_names_are_the_different_labels_sorted():
    assert labels.learn_names(["b", "a", b"b"], 2) == ["a", "b"]
    with pytest.raises(errors.UserError, match=r"3 values \(a, b, c\), num_classes=2;"):
        labels.learn_names(["b", "a", "c"], 2)
    with pytest.raises(errors.UserError, match="label 7 is a int, others are strings"):
        labels.learn_names(["b", 7], 2)


NAMED = labels.Classes(2, ["no", "yes"])


@pytest.mark.parametrize(
    ("label", "number"),
    [("yes", 1), (b"no", 0), (1, 1), (1.0, 1), (True, 1)],
)
def test_a_label_is_a_name_or_a_place(label, number):
    assert NAMED.number(label) == number


@pytest.mark.parametrize(
    ("names", "label", "number"),
    [
        ([1, 0], 1, 0),
        ([1, 0], 0.0, 1),
        ([1, 0], "0", 1),
        ([3, 5], 5, 1),
        (["1", "0"], 1, 0),
        (["2.0", "4.0"], 4, 1),
        ([0.5, 1.5], 1.5, 1),
        (["True", "False"], True, 0),
        ([True, False], False, 1),
    ],
)
def test_where_classes_are_called_by_numbers_a_number_is_a_name(names, label, number):
    classes = labels.Classes(2, names)
    assert classes.number(label) == number
    y = tf.constant([label, label])
    assert classes.in_graph(y).numpy().tolist() == [number] * 2


@pytest.mark.parametrize(
    ("label", "names", "message"),
    [
        ("maybe", ["no", "yes"], "label 'maybe' is none of the classes: 'no', 'yes'$"),
        (b"\xff", ["no", "yes"], "is none of the classes: 'no', 'yes'$"),
        (2, None, r"label 2 is none of the classes 0 to 1; .* class_names=\[...\]$"),
        (2, ["no", "yes"], "label 2 is none of the classes 0 to 1$"),
        (1, [3, 5], "label 1 is none of the classes: 3, 5$"),
        (-1, None, "label -1 is none"),
        (0.5, None, r"label 0.5 is none"),
        (float("nan"), None, "label nan is none"),
        (float("inf"), None, "label inf is none"),
        (None, None, "label None is none"),
        ([0, 1], None, r"label \[0, 1\] is none"),
    ],
)
def test_a_label_that_is_no_class_is_refused(label, names, message):
    with pytest.raises(errors.UserError, match=message):
        labels.Classes(2, names).number(label)


def test_in_a_graph_a_label_becomes_its_number():
    number = tf.function(NAMED.in_graph)
    assert number(tf.constant(["yes", "no", "yes"])).numpy().tolist() == [1, 0, 1]
    assert number(tf.constant([[1], [0]], tf.int64)).numpy().tolist() == [[1], [0]]
    for wrong in (tf.constant(["maybe"]), tf.constant([2.0])):
        with pytest.raises(tf.errors.InvalidArgumentError, match="none of the classes"):
            number(wrong)


@pytest.mark.parametrize(
    ("num_classes", "names", "want"),
    [(3, None, 3), (None, ["a", "b"], 2), (2, np.array([1, 0]), 2)],
)
def test_classes_are_counted_or_named(num_classes, names, want):
    assert labels.count_classes(num_classes, names) == want


@pytest.mark.parametrize(
    ("num_classes", "names", "message"),
    [
        (None, None, "num_classes=None: say how many"),
        (0, None, "num_classes=0"),
        (None, [], "say how many"),
        (3, ["a", "b"], "2 class_names for num_classes=3"),
        (2, ["a", "a"], "want different names"),
        (2, [1, "1"], "want different names"),
        (2, "ab", "the class_names are 'ab'; want a list"),
        (2, ["a", None], "class_names has None, a NoneType; want strings or numbers"),
    ],
)
def test_classes_that_are_not_countable_are_refused(num_classes, names, message):
    with pytest.raises(errors.UserError, match=message):
        labels.count_classes(num_classes, names)


def test_names_are_pythons_own():
    names = labels.read_names(np.array([3, 5]))
    assert names == [3, 5]
    assert type(names[0]) is int
    assert labels.read_names([b"a", "b"]) == ["a", "b"]


# Vectors.


def test_one_hot_labels_are_vectors_or_places():
    found = labels.of_inputs(np.eye(3)[[2, 0]], 2)
    assert labels.are_vectors(found)
    assert not labels.are_vectors([1, 0])
    hot = labels.vectors(found, 3)
    assert (hot.dtype, hot.tolist()) == (np.float32, [[0, 0, 1], [1, 0, 0]])
    assert labels.hot_places(hot).tolist() == [2, 0]
    assert labels.hot_places_in_graph(tf.constant(hot)).numpy().tolist() == [2, 0]


@pytest.mark.parametrize(
    "found",
    [[[1, 0], 1], [[1, 0, 0], [0, 1, 0]], [[1, 0], [0, float("nan")]], [[1, "0"]]],
)
def test_vectors_are_of_as_many_numbers_as_there_are_classes(found):
    with pytest.raises(errors.UserError, match=r"label \d is .* want 2 numbers each"):
        labels.vectors(found, 2)


def test_several_classes_are_no_place():
    hot = np.float32([[1, 0], [1, 1]])
    with pytest.raises(
        errors.UserError, match=r"label 1 is \[1.0, 1.0\], and the loss"
    ):
        labels.hot_places(hot)
    with pytest.raises(tf.errors.InvalidArgumentError, match="not one-hot"):
        labels.hot_places_in_graph(tf.constant(hot))


# Weights of classes.


@pytest.mark.parametrize(
    "given",
    [{1: 3.0}, {"yes": 3.0}, {b"yes": 3, "no": 1}, [1, 3], np.array([1.0, 3.0])],
)
def test_classes_have_the_weights_that_are_said_and_1_else(given):
    found = NAMED.weights(given)
    assert (found.dtype, found.tolist()) == (np.float32, [1.0, 3.0])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("balanced", "class_weight='balanced': want {class: weight}"),
        ({"maybe": 2}, "'maybe' is none of the classes"),
        ({"yes": 2, 1: 3}, "1 stands there twice"),
        ({"yes": -1}, "'yes' is -1; want a number, 0 or more"),
        ({"yes": float("nan")}, "'yes' is nan"),
        ({"yes": "2"}, "'yes' is '2'"),
        ([1, 2, 3], "3 weights for 2 classes"),
    ],
)
def test_weights_of_no_class_are_refused(given, message):
    with pytest.raises(errors.UserError, match=message):
        NAMED.weights(given)
