"""What people hold values in becomes lists: columns of tables, arrays, tensors.

In:   a list, a NumPy array, a tensor (ragged too), or a column of pandas, polars,
      PyArrow or `datasets`.
Out:  a list of Python values, one per input; or a sentence that says what it was.
"""

from collections.abc import Mapping, MappingView, Sequence
from typing import Any

import keras
import numpy as np

from electra_tf import errors

# How libraries call it: PyArrow; polars, pandas and ragged tensors; NumPy and PyTorch.
_METHODS = ("to_pylist", "to_list", "tolist")


def values(x: Any, what: str) -> list[Any]:
    """Returns the values of a column as Python has them; arrays in it become lists.

    An array [N, 1] is read as [N].

    Args:
        x: the column.
        what: it is, in the plural, for errors: "inputs", "labels".

    Raises:
        UserError: it is a table, an iterator, or nothing that holds values in order.
    """
    if is_table(x):
        raise errors.UserError(
            f"the {what} are a {type(x).__name__} with columns "
            f"{errors.listed(_all_names(x))}; give one of them, such as "
            f"table[{_first(x)!r:.40}], or several as one array, [N, columns]"
        )
    refuse_streams(x, what)
    if not _is_column(x):
        raise errors.UserError(
            f"the {what} are {_told(x)}; want a list, an array or a column, one value "
            "an input"
        )
    found = plain(x)
    if not isinstance(found, list | tuple):
        raise errors.UserError(f"the {what} are one value, {found!r:.60}; want a list")
    if len(getattr(x, "shape", ())) == 2 and x.shape[1] == 1:
        found = [value for (value,) in found]
    return list(found)


def is_table(x: Any) -> bool:
    """Tells whether something has columns by name; a dict is one too."""
    if isinstance(x, Mapping) or getattr(getattr(x, "dtype", None), "names", None):
        return True
    names = "columns", "column_names"
    return not isinstance(x, type) and any(hasattr(x, name) for name in names)


def refuse_streams(x: Any, what: str) -> None:
    """Refuses what has its values one after the other, perhaps for ever."""
    if hasattr(x, "__next__") or isinstance(x, keras.utils.PyDataset):
        raise errors.UserError(
            f"the {what} are a {type(x).__name__}, which may have no end; want a list, "
            "or a tf.data.Dataset of batches, such as tf.data.Dataset.from_generator "
            "makes"
        )


def plain(value: Any) -> Any:
    """Turns arrays, tensors and columns, however deep, into lists and Python values."""
    if isinstance(value, str | bytes | bool | int | float | None):
        return value
    if isinstance(value, Mapping):
        return {key: plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        kept = tuple if isinstance(value, tuple) else list
        return kept(plain(one) for one in value)
    if not _is_column(value) or is_table(value):
        return value
    for name in _METHODS:
        if callable(method := getattr(value, name, None)):
            break
    else:
        is_array = hasattr(value, "__array__")
        method = np.asarray(value).tolist if is_array else lambda: list(value)
    found = method()
    # Those of an object array are what they were.
    return plain(found) if isinstance(found, list) else found


def _is_column(x: Any) -> bool:
    if isinstance(x, str | bytes):
        return False
    if any(hasattr(x, name) for name in (*_METHODS, "__array__")):
        return True
    return isinstance(x, Sequence | MappingView)


def _first(x: Any) -> Any:
    return next(iter(_all_names(x)), "name")


def _all_names(x: Any) -> list[Any]:
    if isinstance(x, Mapping):
        return list(x)
    names = getattr(getattr(x, "dtype", None), "names", None)
    names = names or getattr(x, "column_names", None) or getattr(x, "columns", None)
    return [] if names is None else list(names)


def _told(x: Any) -> str:
    """Says what something is: its type, where its contents would say nothing."""
    is_value = x is None or isinstance(x, str | bytes | bool | int | float)
    return f"{x!r:.60}" if is_value else f"a {type(x).__name__}"
