"""Your own tables become data sets, by the names of their columns.

In:   .tsv (not quoted), .csv (quoted where need be), .jsonl, or these with .gz; the
      first line of .tsv and .csv names the columns.
Out:  a Dataset.

A list in a cell of .tsv or .csv is JSON, or words apart by blanks.
"""

import collections
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from electra_tf import errors, metrics
from electra_tf.datasets import conll, dataset, files, squad, tables


class _Columns(NamedTuple):
    """Which columns a task takes and what a row of them means."""

    inputs: tuple[str, ...]
    labels: tuple[str, ...]  # A test file may lack them.
    read_input: Callable[[tables.Row], Any]  # Both raise tables.BadCellError.
    read_label: Callable[[tables.Row], Any]
    key: str | None  # of the id; None: line numbers


class _Given(NamedTuple):
    """The files that the user named, if any."""

    train: str | None
    dev: str | None
    test: str | None


def read_classification(
    folder: str,
    *,
    text_column: str = "text",
    text_pair_column: str | None = None,
    label_column: str = "label",
    id_column: str | None = None,
    train: str | None = None,
    dev: str | None = None,
    test: str | None = None,
) -> dataset.Dataset:
    """Reads texts, or pairs of them, and the class of each.

    Raises:
        UserError: files or columns are missing, or are not what they should be.
    """
    columns = _text_columns(text_column, text_pair_column, label_column, id_column)
    columns = columns._replace(
        read_label=lambda row: tables.get_name(row, label_column)
    )
    splits = _read_splits(folder, _Given(train, dev, test), columns)
    return dataset.Dataset(
        name="text_classification",
        kind="classification",
        labels=_classes(splits, label_column),
        splits=splits,
        metric="accuracy",
        score=_score_classes,
    )


def read_regression(
    folder: str,
    *,
    text_column: str = "text",
    text_pair_column: str | None = None,
    label_column: str = "label",
    id_column: str | None = None,
    train: str | None = None,
    dev: str | None = None,
    test: str | None = None,
) -> dataset.Dataset:
    """Reads texts, or pairs of them, and a number for each.

    Raises:
        UserError: files or columns are missing, or are not what they should be.
    """
    columns = _text_columns(text_column, text_pair_column, label_column, id_column)
    columns = columns._replace(
        read_label=lambda row: tables.get_number(row, label_column)
    )
    return dataset.Dataset(
        name="text_regression",
        kind="regression",
        labels=(),
        splits=_read_splits(folder, _Given(train, dev, test), columns),
        metric="pearson",
        score=_score_numbers,
    )


def read_tagging(
    folder: str,
    *,
    words_column: str = "words",
    tags_column: str = "tags",
    id_column: str | None = None,
    train: str | None = None,
    dev: str | None = None,
    test: str | None = None,
) -> dataset.Dataset:
    """Reads lists of words, and of as many tags.

    Raises:
        UserError: files or columns are missing, or are not what they should be.
    """

    def read_tags(row: tables.Row) -> list[str]:
        words, tags = (
            tables.get_list(row, words_column),
            tables.get_list(row, tags_column),
        )
        if len(words) != len(tags):
            raise tables.BadCellError(f"{len(tags)} tags for {len(words)} words")
        return tags

    columns = _Columns(
        (words_column,),
        (tags_column,),
        lambda row: tables.get_list(row, words_column),
        read_tags,
        id_column,
    )
    splits = _read_splits(folder, _Given(train, dev, test), columns)
    return conll.build("tagging", splits)


def read_multiple_choice(
    folder: str,
    *,
    prompt_column: str = "prompt",
    choices_column: str = "choices",
    label_column: str = "label",
    id_column: str | None = None,
    train: str | None = None,
    dev: str | None = None,
    test: str | None = None,
) -> dataset.Dataset:
    """Reads prompts, what may follow each, and the number from 0 of what does.

    Args:
        folder: of train.tsv and the like.
        prompt_column: the prompt.
        choices_column: a list; or several columns, as in "ending0,ending1".
        label_column: the number of the right choice.
        id_column: None = the numbers of the lines.
        train: a file of any name; dev and test the same.
        dev: see train.
        test: see train.

    Raises:
        UserError: files or columns are missing, or are not what they should be.
    """
    names = tuple(name.strip() for name in choices_column.split(","))

    def read_choices(row: tables.Row) -> tuple[str, ...]:
        if len(names) > 1:
            return tuple(tables.get_text(row, name) for name in names)
        choices = tuple(tables.get_list(row, names[0]))
        if len(choices) < 2:
            raise tables.BadCellError(
                f"column {names[0]!r} holds {len(choices)} choices"
            )
        return choices

    def read_label(row: tables.Row) -> int:
        label = tables.get_number(row, label_column)
        if label not in range(len(read_choices(row))):
            raise tables.BadCellError(
                f"column {label_column!r} is {row[label_column]!r:.40}, want the "
                f"number of a choice: 0 to {len(read_choices(row)) - 1}"
            )
        return int(label)

    columns = _Columns(
        (prompt_column, *names),
        (label_column,),
        lambda row: dataset.Choice(
            tables.get_text(row, prompt_column), read_choices(row)
        ),
        read_label,
        id_column,
    )
    return dataset.Dataset(
        name="multiple_choice",
        kind="multiple_choice",
        labels=(),
        splits=_read_splits(folder, _Given(train, dev, test), columns),
        metric="accuracy",
        score=_score_choices,
    )


def read_question_answering(
    folder: str,
    *,
    question_column: str = "question",
    context_column: str = "context",
    answer_column: str = "answer",
    start_column: str | None = None,
    id_column: str | None = None,
    train: str | None = None,
    dev: str | None = None,
    test: str | None = None,
    null_threshold: float = 0.0,
) -> dataset.Dataset:
    """Reads questions, the texts that may hold their answers, and the answers.

    Args:
        folder: of train.tsv and the like.
        question_column: the question.
        context_column: the text.
        answer_column: a text of the context, or in .jsonl a list of them; none is an
            unanswerable question. Also {"text": [...], "answer_start": [...]}.
        start_column: where the answer starts, in characters; None = search for it.
        id_column: None = the numbers of the lines.
        train: a file of any name; dev and test the same.
        dev: see train.
        test: see train.
        null_threshold: a null_score above it says that there is no answer.

    Raises:
        UserError: files or columns are missing, or are not what they should be.
    """
    labels = (answer_column, *([start_column] if start_column else []))
    columns = _Columns(
        (question_column, context_column),
        labels,
        lambda row: (row[question_column], row[context_column]),
        lambda row: _answers(row, answer_column, start_column),
        id_column,
    )
    splits = {}
    for split, path in _locate(folder, _Given(train, dev, test)).items():
        questions = squad.Questions(path, split)
        for where, key, content, answers in _examples(
            path, split, columns, questions.bad
        ):
            question, context = content
            questions.add(where, key, question, context, answers)
        splits[split] = questions.finish()
    return squad.build("question_answering", splits, null_threshold)


READERS: dict[str, Callable[..., dataset.Dataset]] = {
    "text_classification": read_classification,
    "text_regression": read_regression,
    "tagging": read_tagging,
    "multiple_choice": read_multiple_choice,
    "question_answering": read_question_answering,
}


# Tables.


def _locate(folder: str, given: _Given) -> dict[str, Path]:
    return files.locate(folder, files.STEMS, tables.ENDINGS, given._asdict())


def _read_splits(
    folder: str, given: _Given, columns: _Columns
) -> dict[str, dataset.Split]:
    splits = {}
    for split, path in _locate(folder, given).items():
        bad = files.BadRows(path)
        rows = list(_examples(path, split, columns, bad))
        labels = [label for *_, label in rows]
        labelled = not rows or labels[0] is not None
        skipped, remark = bad.check(len(rows), labelled)
        splits[split] = dataset.Split(
            ids=[key for _, key, _, _ in rows],
            inputs=[content for _, _, content, _ in rows],
            labels=labels if labelled else None,
            source=str(path),
            skipped=skipped,
            remark=remark,
        )
    return splits


def _examples(
    path: Path, split: str, columns: _Columns, bad: files.BadRows
) -> Iterator[tuple[str, str, Any, Any]]:
    """Yields (place, id, input, label) of the good rows; no labels, None."""
    has_labels, wanted = True, list[str]()
    for line, row in tables.read_rows(path, bad):
        if not wanted:
            has_labels = split != "test" or set(columns.labels) <= row.keys()
            wanted += columns.inputs
            wanted += columns.labels if has_labels else ()
            wanted += [columns.key] if columns.key else []
            files.check_columns(path, row, wanted)
        lacking = [name for name in wanted if name not in row]
        if lacking:
            bad.add(f"line {line}", f"no column {lacking[0]!r}")
            continue
        try:
            content = columns.read_input(row)
            label = columns.read_label(row) if has_labels else None
            key = tables.get_name(row, columns.key) if columns.key else str(line)
        except tables.BadCellError as error:
            bad.add(f"line {line}", str(error))
            continue
        yield f"line {line}", key, content, label


# Cells.


def _text_columns(
    text: str, text_pair: str | None, label: str, key: str | None
) -> _Columns:
    def read_pair(row: tables.Row) -> tuple[str, str]:
        assert text_pair
        pair = (
            tables.get_text(row, text, or_blank=True),
            tables.get_text(row, text_pair, or_blank=True),
        )
        if not any(part.strip() for part in pair):
            raise tables.BadCellError(f"columns {text!r} and {text_pair!r} are empty")
        return pair

    return _Columns(
        inputs=(text, text_pair) if text_pair else (text,),
        labels=(label,),
        read_input=read_pair if text_pair else lambda row: tables.get_text(row, text),
        read_label=lambda row: row[label],
        key=key,
    )


def _answers(
    row: tables.Row, column: str, start_column: str | None
) -> list[squad.RawAnswer]:
    value: Any = row[column]
    starts: Any = row[start_column] if start_column else None
    if isinstance(value, dict):
        value, starts = value.get("text"), value.get("answer_start")
    texts = value if isinstance(value, list) else [] if value in (None, "") else [value]
    places = starts if isinstance(starts, list) else [starts] * len(texts)
    if len(places) != len(texts):
        raise tables.BadCellError(f"{len(places)} starts for {len(texts)} answers")
    return [
        (tables.get_text({column: text}, column, or_blank=True), _start(place))
        for text, place in zip(texts, places, strict=True)
    ]


def _start(value: Any) -> int | None:
    if value is None or value == "":
        return None
    try:
        return int(value)
    except (TypeError, ValueError, OverflowError):
        raise tables.BadCellError(
            f"answer starts at {value!r:.40}, want a number"
        ) from None


# Classes and scores.


def _classes(splits: Mapping[str, dataset.Split], column: str) -> tuple[str, ...]:
    """Returns the classes of the first split, numbers by value.

    Raises:
        UserError: it has one alone, or too many for classes; or another split has more.
    """
    source, counts = "", collections.Counter[str]()
    for split in splits.values():
        if split.labels is None:
            continue
        if not counts:
            source, counts = split.source, collections.Counter(split.labels)
        for label in split.labels:
            if label not in counts:
                raise errors.UserError(
                    f"{split.source}: label {label!r:.40} is not in {source}, "
                    f"which has {files.name_some(sorted(counts))}"
                )
    if len(counts) == 1:
        raise errors.UserError(
            f"{source}: column {column!r} is {min(counts)!r:.40} always"
        )
    numeric = all(re.fullmatch(r"[+-]?\d+(\.\d+)?", label) for label in counts)
    if numeric and len(counts) > max(50, counts.total() // 2):
        raise errors.UserError(
            f"{source}: column {column!r} has {len(counts)} different values in "
            f"{counts.total()} rows; for numbers take the task text_regression"
        )
    if numeric:
        return tuple(sorted(counts, key=lambda label: (float(label), label)))
    return tuple(sorted(counts))


def _labels(split: dataset.Split) -> list[Any]:
    assert split.labels is not None, f"{split.source} has no labels"
    return split.labels


def _score_classes(
    predictions: Sequence[str], split: dataset.Split
) -> dict[str, float]:
    gold = _labels(split)
    return {
        "accuracy": metrics.accuracy(gold, predictions),
        "macro_f1": metrics.macro_f1(gold, predictions),
        "matthews": metrics.matthews(gold, predictions),
    }


def _score_numbers(
    predictions: Sequence[float], split: dataset.Split
) -> dict[str, float]:
    gold = _labels(split)
    return {
        "pearson": metrics.pearson(gold, predictions),
        "spearman": metrics.spearman(gold, predictions),
        "mean_squared_error": metrics.mean_squared_error(gold, predictions),
    }


def _score_choices(
    predictions: Sequence[int], split: dataset.Split
) -> dict[str, float]:
    return {"accuracy": metrics.accuracy(_labels(split), predictions)}
