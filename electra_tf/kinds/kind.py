"""What a kind of task says of itself, so that every command can work with it.

In:   rows of files, labelled data, what a model or a server says.
Out:  examples, heads, answers in JSON, scores, guesses, what a page shows.

A method that says nothing of its own does what stands here.
"""

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

import electra_tf
from electra_tf import errors
from electra_tf.datasets import dataset, tables
from electra_tf.kinds import columns

Answer = dict[str, Any]  # of JSON values
Row = dict[str, Any]  # a line of predictions/<split>.jsonl: an input, its label, answer
Reader = Callable[..., dataset.Dataset]

# What the data say of a model's head: no options for the user to give.
OF_DATA = frozenset({"num_classes", "class_names", "multi_label"})


class Signature(NamedTuple):
    """What `serving_default` takes and returns, by which a server's model is told."""

    inputs: frozenset[str]
    outputs: frozenset[str]


class Table(NamedTuple):
    """A table that a page shows of a split."""

    title: str
    heads: list[str]  # of all columns
    rows: list[list[str]]
    style: str = "numeric"  # or "texts"


class Kind:
    """A kind of task.

    Those that nothing is learned in, such as embedding, need the first half alone.
    """

    name: ClassVar[str]  # as `Dataset.kind` and a task's `kind` have it
    # The class of its model: its name in electra_tf, or the class.
    task: ClassVar[str | type]
    # Task -> a function of a folder and options, which are its keyword arguments.
    readers: ClassVar[Mapping[str, Reader]] = {}
    # The network of a preset that answers where it has no head, as that has no weights.
    network: ClassVar[str | None] = None
    # Of an example, by which files have it if data.options do not say otherwise.
    fields: ClassVar[tuple[str, ...]]
    signature: ClassVar[Signature | None] = None  # None: no server has such a model.

    # Examples.

    def example(self, names: columns.Columns, row: tables.Row) -> Any:
        """Reads an example to answer.

        Raises:
            tables.BadCellError: the row has none.
        """
        raise NotImplementedError

    def show(self, example: Any) -> dict[str, Any]:
        """Returns an example as JSON values, by the names of its columns."""
        raise NotImplementedError

    def remark(self, examples: Sequence[Any]) -> None:
        """Warns of examples that are likely meant for another kind."""

    # Answers.

    def answer(self, model: Any, examples: list[Any], batch_size: int) -> list[Answer]:
        """Has a model answer examples, one object each, in their order."""
        raise NotImplementedError

    def request(self, example: Any) -> dict[str, Any]:
        """Turns an example into what a server is sent of it, by its inputs' names.

        Raises:
            UserError: a server cannot be asked of it.
        """
        raise NotImplementedError

    def response(self, said: Answer, example: Any) -> Answer:
        """Turns what a server says of an example into what `answer` would say."""
        raise NotImplementedError

    # Models.

    def model_class(self) -> Any:
        """Returns the class of its model; loads TensorFlow."""
        task = self.task
        return getattr(electra_tf, task) if isinstance(task, str) else task

    def head(self, labels: Sequence[str]) -> dict[str, Any]:
        """Returns arguments of its model that go by the data.

        Args:
            labels: as `Dataset.labels`.
        """
        return {}

    def keeps_head(
        self, model: Any, labels: Sequence[str], train: Sequence[Any]
    ) -> bool:
        """Tells whether the head that a model has is for such labels.

        Args:
            model: of this class.
            labels: as `Dataset.labels`.
            train: the labels to be learned.
        """
        return True

    # Labelled data.

    epochs: ClassVar[int] = 3  # passes over the data (paper)
    hint = ""  # what else may help where nothing was learned

    def lessons(
        self, inputs: list[Any], labels: list[Any]
    ) -> tuple[list[Any], list[Any]]:
        """Returns what is learned of examples: inputs, and a label for each."""
        return inputs, labels

    def group(self, example: Any) -> Any:
        """Returns what examples that are held out together share; None = nothing."""
        return None

    def learns_from(self, inputs: list[Any], labels: list[Any]) -> tuple[Any, Any]:
        """Returns what its model's `fit` takes of labelled inputs."""
        return inputs, labels

    def fit(
        self, model: Any, data: dataset.Dataset, split: dataset.Split
    ) -> dataset.Split:
        """Returns labelled data with the labels spelled as the classes of a model.

        Raises:
            UserError: it has classes that the head has not.
        """
        return split

    # Options of readers that a model learns, too, as attributes of these names.
    learned: ClassVar[tuple[str, ...]] = ()

    def values(self, split: dataset.Split, answers: Sequence[Answer]) -> Any:
        """Returns the answers to a split as `Dataset.score` takes them."""
        raise NotImplementedError

    def settle(
        self, model: Any, scores: Mapping[str, float], answers: list[Answer]
    ) -> list[Answer]:
        """Learns from the scores on dev what training does not; returns the answers.

        Args:
            model: it may change.
            scores: of the answers.
            answers: to dev.
        """
        return answers

    def classes(self, values: Any) -> set[str]:
        """Returns what was said at all, of labels or of `values`; {} = not classes."""
        return set()

    def guess(self, train: Sequence[Any], dev: dataset.Split) -> Any:
        """Returns what is said of dev without reading it: the best for train.

        Args:
            train: labels.
            dev: whose inputs count, at most by their number or length.
        """
        raise NotImplementedError

    def by_class(
        self, gold: Sequence[Any], values: Sequence[Any]
    ) -> dict[str, dict[str, float]]:
        """Returns precision, recall, f1 and count of each class, where that is told."""
        return {}

    def signatures(self, split: dataset.Split, values: Any) -> dict[str, str]:
        """Returns what else decides on scores, by their names: rules, versions."""
        return {}

    # Files and pages.

    hands_in_all = False  # Whether every split has files to hand in, not tests alone.

    def show_label(self, label: Any) -> Any:
        """Returns an example's label as a JSON value."""
        return label

    def hand_in(
        self,
        folder: str,
        data: dataset.Dataset,
        name: str,
        split: dataset.Split,
        answers: Sequence[Answer],
    ) -> None:
        """Writes what a leaderboard or an official script takes of a split."""
        if data.write_submission and split.labels is None:
            data.write_submission(folder, name, split, self.values(split, answers))

    hardest = "that the model was surest of"  # Which mistakes a page shows first.

    def judge(self, row: Row) -> tuple[float, str] | None:
        """Tells how sure a wrong answer was, and what to say of it; None if right."""
        raise NotImplementedError

    def confused(self, rows: Sequence[Row]) -> tuple[list[str], list[str]] | None:
        """Returns what is right and what was said, class by class, for a matrix."""
        return None

    def page_tables(self, rows: Sequence[Row]) -> list[Table]:
        """Returns what else a page shows of a split."""
        return []

    def page_texts(self, row: Row) -> Iterator[str]:
        """Yields the texts of an example that a page shows beside a wrong answer."""
        return (row[name] for name in self.fields if name in row)


def refuse_unknown(split: dataset.Split, said: set[str], known: Sequence[str]) -> None:
    """Refuses labels that are none of a model's classes.

    Raises:
        UserError: there is one.
    """
    if unknown := sorted(said - {*known}):
        raise errors.UserError(
            f"{split.source}: label {unknown[0]!r:.60} is none of the classes of the "
            f"preset: {errors.listed(known)}"
        )


def sendable(text: str) -> str:
    """Replaces halves of characters, which UTF-8 has not."""
    return text.encode(errors="replace").decode()


def objects(said: Answer, count: int, names: Mapping[str, str]) -> list[Answer]:
    """Turns lists into a list of objects: the keys of `names` from the lists named."""
    return [
        {key: said[name][place] for key, name in names.items()}
        for place in range(count)
    ]


def warn(message: str) -> None:
    """Says what a user may want to know, once."""
    warnings.warn(message, stacklevel=3)
