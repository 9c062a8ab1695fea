"""A task's name and a folder, or a single file, become a data set.

A new task is a row of a format's table, or a module with READERS of its own, named
here.
"""

import inspect
import os
import typing
from collections.abc import Callable
from typing import Any

from electra_tf import errors
from electra_tf.datasets import conll, dataset, glue, squad, tabular

# Task -> a function of a folder and options, which are its keyword arguments.
READERS: dict[str, Callable[..., dataset.Dataset]] = {
    **glue.READERS,
    **squad.READERS,
    **conll.READERS,
    **tabular.READERS,
}


_SPLITS = ("train", "dev", "test")


def read(
    task: str, folder: str, file_is: str = "train", **options: Any
) -> dataset.Dataset:
    """Reads the data set of a task.

    Args:
        task: a name in READERS.
        folder: of its files; or a file, which is all there is.
        file_is: the split that a file is. GLUE's files say so by their names.
        options: such as train="my_train.tsv" or text_column="review"; the reader of
            the task says which.

    Raises:
        UserError: no such task or option, or files that are not what they should be.
    """
    if task not in READERS:
        raise errors.UserError(f"no task {task!r}; {_nearest(task, list(READERS))}")
    reader = READERS[task]
    known = {
        name: parameter
        for name, parameter in inspect.signature(reader).parameters.items()
        if parameter.kind is parameter.KEYWORD_ONLY
    }
    for name, value in options.items():
        if name not in known:
            raise errors.UserError(
                f"task {task} has no option {name!r}; {_nearest(name, list(known))}"
            )
        wanted = known[name].annotation
        if not _is_a(value, wanted):
            kind = getattr(wanted, "__name__", str(wanted))
            raise errors.UserError(f"task {task}: {name}={value!r:.40}, want {kind}")
    if os.path.isfile(folder) and "train" in known:
        folder, name = os.path.split(folder)
        files = {**dict.fromkeys(_SPLITS, ""), file_is: name}
        options = files | options
    return reader(folder or ".", **options)


def _nearest(name: str, known: list[str]) -> str:
    otherwise = f"there are {', '.join(known)}" if known else "it has none"
    return errors.did_you_mean(name, known, otherwise)


def _is_a(value: Any, wanted: Any) -> bool:
    if wanted is float and isinstance(value, int):
        return not isinstance(value, bool)
    if isinstance(value, bool):  # Python takes it for an int.
        return bool in (wanted, *typing.get_args(wanted))
    return isinstance(value, wanted)
