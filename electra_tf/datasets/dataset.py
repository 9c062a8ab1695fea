"""What a task's data is once it is read, whatever file it came from.

What an input, a label, and a prediction is, as `score` and `write_submission` take
them, the module of each kind says (`kinds`).
"""

import dataclasses
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from electra_tf import errors


class Question(NamedTuple):
    """What is asked, and the text that may hold the answer."""

    question: str
    context: str


class Answer(NamedTuple):
    """A span of the context."""

    text: str
    start: int  # in characters; -1 where the context does not hold the text


class Choice(NamedTuple):
    """A prompt and what may follow it."""

    prompt: str
    choices: tuple[str, ...]


class Extract(NamedTuple):
    """Which sentences of a document tell most of it."""

    marks: list[int]  # 0 or 1 a sentence
    summary: str  # by people, a sentence a line; "" where there is none


@dataclass(frozen=True)
class Split:
    """Examples of one split, and their labels."""

    # Unique in question answering. Else as the file has them, or its row numbers.
    ids: list[str]
    inputs: list[Any]
    labels: list[Any] | None  # None where there are none: a test set
    source: str  # the file
    skipped: int = 0  # rows that could not be used
    remark: str = ""  # one line on what was skipped or mended, for the log
    # Of questions that are not scored by SQuAD's rules: whose, by id (metrics.RULES).
    rules: Mapping[str, str] = dataclasses.field(default_factory=dict)


@dataclass(frozen=True)
class Dataset:
    """The splits of a task and how to score it."""

    name: str
    kind: str  # a name of `kinds.registry`
    # Classification, multi-label: the classes in order. Tagging: the tags of all
    # splits, sorted, O first. Else none.
    labels: tuple[str, ...]
    splits: dict[str, Split]  # train, dev, test, dev_mismatched, ..., diagnostic
    metric: str  # the main one of `score`; higher is better
    score: Callable[[Any, Split], dict[str, float]]  # (predictions, split)
    # How texts are called in its files, as the options text_column, text_pair_column.
    columns: Mapping[str, str] = dataclasses.field(default_factory=dict)
    symmetric: bool = False  # The order of a pair does not matter: MRPC, STS-B.
    # (folder, split's name, split, predictions) -> the file written.
    write_submission: Callable[[str, str, Split, Any], str] | None = None

    def split(self, name: str) -> Split:
        """Returns a split.

        Raises:
            UserError: it is not there.
        """
        if name not in self.splits:
            there = ", ".join(f"{key} ({s.source})" for key, s in self.splits.items())
            raise errors.UserError(f"{self.name} has no {name} split; it has {there}")
        return self.splits[name]


def respell(split: Split, classes: Iterable[str]) -> Split:
    """Gives whole numbers among labels the spelling that the classes have.

    pandas writes a column of 0 and 1 as 0.0 and 1.0 where one of its cells is empty.
    """
    names: dict[str, str] = {}
    for name in sorted(classes, key=len):
        names.setdefault(_whole(name), name)
    if split.labels is None:
        return split
    labels = [names.get(_whole(label), label) for label in split.labels]
    merged = sorted({*split.labels} - {*labels})
    if not merged:
        return split
    note = f"label {merged[0]!r} is read as {names[_whole(merged[0])]!r}"
    return remark_on(dataclasses.replace(split, labels=labels), note)


def remark_on(split: Split, note: str) -> Split:
    """Adds to what is to be said of a split."""
    remark = "; ".join(filter(None, [split.remark, f"{split.source}: {note}"]))
    return dataclasses.replace(split, remark=remark)


def _whole(label: str) -> str:
    found = re.fullmatch(r"([+-]?\d+)\.0+", label)
    return found[1] if found else label
