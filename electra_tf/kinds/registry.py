"""Every kind of task by its name, and what reads the data of each task.

In:   names; a folder, or a single file, and options.
Out:  kinds; a data set.
"""

import inspect
import os
import typing
from typing import Any

from electra_tf import errors
from electra_tf.datasets import dataset
from electra_tf.kinds import (
    classification,
    embedding,
    extraction,
    kind,
    masked_words,
    multi_label,
    multiple_choice,
    pairs,
    question_answering,
    regression,
    replaced_tokens,
    scoring,
    seq2seq,
    tagging,
)

KINDS: dict[str, kind.Kind] = {
    one.name: one
    for one in (
        classification.KIND,
        multi_label.KIND,
        regression.KIND,
        tagging.KIND,
        question_answering.KIND,
        multiple_choice.KIND,
        seq2seq.KIND,
        extraction.KIND,
        embedding.KIND,
        pairs.RETRIEVAL,
        pairs.SIMILARITY,
        scoring.KIND,  # Before the next: its answers have all that theirs have.
        replaced_tokens.KIND,
        masked_words.KIND,
    )
}


def of_model(model: Any) -> kind.Kind:
    """Returns the kind of a task's model."""
    assert model.kind in KINDS, f"{type(model).__name__}.kind={model.kind!r}"
    return KINDS[model.kind]


def readers() -> dict[str, kind.Reader]:
    """Returns what reads the data of each task."""
    return {task: read for one in KINDS.values() for task, read in one.readers.items()}


def network_of(task: str | None) -> str | None:
    """Returns which network of a preset without a head answers a task, if one does."""
    return next((one.network for one in KINDS.values() if task in one.readers), None)


def learned_options(task: str | None) -> set[str]:
    """Returns the options of a task's reader that its models learn."""
    return {
        option
        for one in KINDS.values()
        for option in one.learned
        if task in one.readers
    }


def columns() -> list[str]:
    """Returns the columns of files that some kind reads."""
    return [*dict.fromkeys(name for one in KINDS.values() for name in one.fields)]


_SPLITS = ("train", "dev", "test")


def read(
    task: str, folder: str, file_is: str = "train", **options: Any
) -> dataset.Dataset:
    """Reads the data set of a task.

    Args:
        task: a name in `readers`.
        folder: of its files; or a file, which is all there is.
        file_is: the split that a file is. GLUE's files say so by their names.
        options: such as train="my_train.tsv" or text_column="review"; the reader of
            the task says which.

    Raises:
        UserError: no such task or option, or files that are not what they should be.
    """
    if task not in (known_tasks := readers()):
        raise errors.UserError(f"no task {task!r}; {_nearest(task, list(known_tasks))}")
    reader = known_tasks[task]
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
