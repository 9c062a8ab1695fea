import collections

import keras
import numpy as np
import pytest
import tensorflow as tf

from electra_tf import errors
from electra_tf.tasks import columns


class Series:
    """A column as polars has it: a length, items, and to_list."""

    def __init__(self, values):
        self._values = values
        self.shape = (len(values),)

    def __len__(self):
        return len(self._values)

    def to_list(self):
        return list(self._values)


class Chunked:
    """A column as PyArrow has it."""

    def __init__(self, values):
        self._values = values

    def to_pylist(self):
        return list(self._values)


class DataFrame:
    """A table as pandas has it: to iterate over it gives the names of its columns."""

    def __init__(self, **columns):
        self.columns = list(columns)
        self._columns = columns

    def __len__(self):
        return len(self._columns[self.columns[0]])

    def __iter__(self):
        return iter(self.columns)

    def __array__(self, dtype=None, copy=None):
        return np.array(list(self._columns.values()), object).T


class Table:
    """A table as PyArrow and `datasets` have it."""

    column_names = ("text", "label")


@pytest.mark.parametrize(
    "column",
    [
        ["a", "b"],
        ("a", "b"),
        collections.deque(["a", "b"]),
        {"a": 1, "b": 2}.keys(),
        np.array(["a", "b"]),
        np.array(["a", "b"], object),
        np.array([["a"], ["b"]]),
        Series(["a", "b"]),
        Chunked(["a", "b"]),
        [np.str_("a"), np.array("b")],
    ],
)
def test_a_column_of_any_library_is_a_list(column):
    found = columns.values(column, "inputs")
    assert found == ["a", "b"]
    assert all(isinstance(value, str) for value in found)


@pytest.mark.parametrize(
    "column",
    [
        np.array([b"a", b"b"]),
        tf.constant(["a", "b"]),
        tf.constant([["a"], ["b"]]),
        [tf.constant("a"), tf.constant("b")],
    ],
)
def test_tensors_and_bytes_are_bytes(column):
    assert columns.values(column, "inputs") == [b"a", b"b"]


@pytest.mark.parametrize(
    "column",
    [
        [[1, 2], [3]],
        tf.ragged.constant([[1, 2], [3]]),
        Series([np.array([1, 2]), np.array([3])]),
        np.array([np.array([1, 2]), np.array([3])], object),
        np.array([[1, 2], [3]], object),
        [tf.constant([1, 2]), Series([3])],
    ],
)
def test_values_may_be_columns_themselves(column):
    found = columns.values(column, "inputs")
    assert found == [[1, 2], [3]]
    assert type(found[0][0]) is int


@pytest.mark.parametrize("kind", [np.int64, np.float32, np.bool_, np.uint8])
def test_numbers_are_pythons(kind):
    for column in (
        np.array([1, 0], kind),
        tf.constant(np.array([1, 0], kind)),
        [kind(1), kind(0)],
    ):
        found = columns.values(column, "labels")
        assert found == [1, 0]
        assert type(found[0]) in (bool, int, float)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (
            DataFrame(text=["a"], label=[1]),
            r"a DataFrame with columns text, label; .*'text'",
        ),
        (Table(), "a Table with columns text, label"),
        ({"text": ["a"]}, "a dict with columns text; give one"),
        (np.zeros(2, [("text", "S1")]), "a ndarray with columns text"),
    ],
)
def test_a_table_is_no_column(table, message):
    with pytest.raises(errors.UserError, match=f"^the inputs are {message}") as told:
        columns.values(table, "inputs")
    assert "\n" not in str(told.value)


class Batches(keras.utils.PyDataset):
    def __len__(self):
        return 1

    def __getitem__(self, index):
        raise AssertionError("was read")


def endless():
    raise AssertionError("was read")
    yield


@pytest.mark.parametrize(
    ("stream", "name"),
    [(endless(), "generator"), (map(str, [1]), "map"), (Batches(), "Batches")],
)
def test_what_may_have_no_end_is_refused_before_it_is_read(stream, name):
    with pytest.raises(errors.UserError, match=f"a {name}, which .*from_generator"):
        columns.values(stream, "inputs")


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (None, "the labels are None"),
        (3, "the labels are 3"),
        ("ab", "the labels are 'ab'"),
        ({1, 2}, "the labels are a set"),
        (np.array("a"), "the labels are one value, 'a'"),
        (tf.sparse.from_dense([[1, 0]]), "the labels are a SparseTensor"),
        (tf.data.Dataset.range(2), "the labels are a _RangeDataset"),
    ],
)
def test_what_holds_no_values_in_order_is_refused(x, message):
    with pytest.raises(errors.UserError, match=f"^{message}; want"):
        columns.values(x, "labels")


def test_columns_of_pandas_are_lists_and_its_tables_are_refused():
    pandas = pytest.importorskip("pandas")
    table = pandas.DataFrame({"text": ["a", "b"], "n": [1, 2]}, index=[7, 9])
    assert columns.values(table["text"], "inputs") == ["a", "b"]
    assert columns.values(table["n"], "labels") == [1, 2]
    assert columns.values(table["text"].astype("category"), "labels") == ["a", "b"]
    assert columns.values(table.to_numpy(), "inputs") == [["a", 1], ["b", 2]]
    with pytest.raises(errors.UserError, match="a DataFrame with columns text, n"):
        columns.values(table, "inputs")
    with pytest.raises(errors.UserError, match="a DataFrame with columns text;"):
        columns.values(table[["text"]], "inputs")
