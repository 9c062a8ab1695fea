"""Your own tables become data sets, by the names of their columns.

In:   .tsv, .csv, .jsonl, .json, .parquet, or these with .gz (`tables`).
Out:  a Dataset; of a test file whose labels are hidden (-1, empty or null in each row)
      a split without labels.

A list in a cell of .tsv or .csv is JSON, what Python or numpy print of it, or words
apart by blanks. Rows of train that lack a text are skipped and counted; elsewhere each
row is an example, empty ones too.
"""

import collections
import dataclasses
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from electra_tf import errors
from electra_tf.datasets import conll, dataset, files, literals, metrics, squad, tables


class _Columns(NamedTuple):
    """Which columns a task takes and what a row of them means."""

    inputs: tuple[str, ...]
    labels: tuple[str, ...]  # A test file may lack them.
    # Both raise tables.BadCellError. An input may be told not to mind being empty.
    read_input: Callable[[tables.Row, bool], Any]
    read_label: Callable[[tables.Row], Any]
    key: str | None  # of the id; None: line numbers


class _Given(NamedTuple):
    """The files that the user named, if any, and how they are quoted."""

    train: str | None
    dev: str | None
    test: str | None
    quoted: bool | None


class _Example(NamedTuple):
    """What a row means."""

    where: str
    key: str
    content: Any
    label: Any  # None: hidden
    hidden: bool = False  # Its label says nothing, or just -1.


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
    quoted: bool | None = None,
) -> dataset.Dataset:
    """Reads texts, or pairs of them, and the class of each.

    Raises:
        UserError: files or columns are missing, or are not what they should be.
    """
    columns = _text_columns(text_column, text_pair_column, label_column, id_column)
    columns = columns._replace(
        read_label=lambda row: tables.get_name(row, label_column)
    )
    splits = _read_splits(folder, _Given(train, dev, test, quoted), columns)
    return dataset.Dataset(
        name="text_classification",
        kind="classification",
        labels=_classes(splits, label_column),
        splits=splits,
        metric="accuracy",
        score=_score_classes,
    )


def read_multi_label(
    folder: str,
    *,
    text_column: str = "text",
    text_pair_column: str | None = None,
    label_column: str = "labels",
    label_separator: str | None = None,
    id_column: str | None = None,
    train: str | None = None,
    dev: str | None = None,
    test: str | None = None,
    quoted: bool | None = None,
) -> dataset.Dataset:
    """Reads texts, or pairs of them, and the classes of each: several, one or none.

    Args:
        folder: of train.tsv and the like.
        text_column: the text.
        text_pair_column: the second text, of pairs.
        label_column: a list of classes, or a vector with 0 or 1 for each; or several
            columns of 0 and 1, as in "toxic,obscene".
        label_separator: of classes in text that is no list; None = the one of | ; ,
            that occurs, else blanks; "" = none.
        id_column: None = the numbers of the lines.
        train: a file of any name; dev and test the same.
        dev: see train.
        test: see train.
        quoted: see `tables.read`.

    Raises:
        UserError: files or columns are missing, or are not what they should be.
    """
    names = tuple(name.strip() for name in label_column.split(","))
    columns = _text_columns(text_column, text_pair_column, label_column, id_column)
    columns = columns._replace(
        labels=names, read_label=lambda row: _read_labels(row, names)
    )
    splits = _read_splits(folder, _Given(train, dev, test, quoted), columns)
    return dataset.Dataset(
        name="multi_label_classification",
        kind="multi_label",
        labels=_split_labels(splits, label_column, label_separator),
        splits=splits,
        metric="micro_f1",
        score=lambda predictions, split: metrics.multi_label(
            _labels(split), predictions
        ),
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
    quoted: bool | None = None,
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
        splits=_read_splits(folder, _Given(train, dev, test, quoted), columns),
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
    quoted: bool | None = None,
) -> dataset.Dataset:
    """Reads lists of words, and of as many tags.

    Raises:
        UserError: files or columns are missing, or are not what they should be.
    """

    def read_tags(row: tables.Row) -> list[str]:
        words, tags = (
            tables.get_list(row, words_column, or_empty=True),
            tables.get_list(row, tags_column, or_empty=True),
        )
        if len(words) != len(tags):
            raise tables.BadCellError(f"{len(tags)} tags for {len(words)} words")
        return tags

    columns = _Columns(
        (words_column,),
        (tags_column,),
        lambda row, or_empty: tables.get_list(row, words_column, or_empty),
        read_tags,
        id_column,
    )
    splits = _read_splits(folder, _Given(train, dev, test, quoted), columns)
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
    quoted: bool | None = None,
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
        quoted: whether quotes are around cells of .tsv and .csv; None = look.

    Raises:
        UserError: files or columns are missing, or are not what they should be.
    """
    names = tuple(name.strip() for name in choices_column.split(","))

    def read_choices(row: tables.Row, or_empty: bool = True) -> tuple[str, ...]:
        if len(names) > 1:
            return tuple(tables.get_text(row, name, or_empty) for name in names)
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
        lambda row, or_empty: dataset.Choice(
            tables.get_text(row, prompt_column, or_empty), read_choices(row, or_empty)
        ),
        read_label,
        id_column,
    )
    return dataset.Dataset(
        name="multiple_choice",
        kind="multiple_choice",
        labels=(),
        splits=_read_splits(folder, _Given(train, dev, test, quoted), columns),
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
    quoted: bool | None = None,
    null_threshold: float = 0.0,
    rules: str | None = None,
) -> dataset.Dataset:
    """Reads questions, the texts that may hold their answers, and the answers.

    Args:
        folder: of train.tsv and the like.
        question_column: the question.
        context_column: the text.
        answer_column: a text of the context, or a list of them; none is an
            unanswerable question. Also {"text": [...], "answer_start": [...]}. A cell
            that prints one of these is one, unless the context holds its very text.
        start_column: where the answer starts, in characters; None = search for it.
        id_column: None = the numbers of the lines.
        train: a file of any name; dev and test the same.
        dev: see train.
        test: see train.
        quoted: whether quotes are around cells of .tsv and .csv; None = look.
        null_threshold: a null_score above it says that there is no answer.
        rules: how answers are scored: squad, mlqa or cmrc; None = by the text.

    Raises:
        UserError: files or columns are missing, or are not what they should be.
    """
    labels = (answer_column, *([start_column] if start_column else []))
    columns = _Columns(
        (question_column, context_column),
        labels,
        lambda row, _: (row[question_column], row[context_column]),
        lambda row: _answers(
            row, answer_column, start_column, str(row[context_column])
        ),
        id_column,
    )
    splits = {}
    for split, path in _locate(folder, _Given(train, dev, test, quoted)).items():
        questions = squad.Questions(path, split, rules)
        found = _examples(path, split, columns, quoted, questions.bad)
        for where, key, content, answers, _ in found:
            question, context = content
            questions.add(where, key, question, context, answers)
        splits[split] = questions.finish()
    return squad.build("question_answering", splits, null_threshold)


# Tables.


def _locate(folder: str, given: _Given) -> dict[str, Path]:
    named = given._asdict()
    del named["quoted"]
    # A .txt is read where it is named: folders of tables have others, too.
    endings = [ending for ending in tables.ENDINGS if ending != ".txt"]
    return files.locate(folder, files.STEMS, endings, named)


def _read_splits(
    folder: str, given: _Given, columns: _Columns
) -> dict[str, dataset.Split]:
    splits: dict[str, dataset.Split] = {}
    for split, path in _locate(folder, given).items():
        bad = files.BadRows(path)
        rows = list(_examples(path, split, columns, given.quoted, bad))
        train = splits["train"].labels if "train" in splits else None
        labelled = _check_hidden(path, rows, train or [])
        skipped, remark = bad.check(len(rows), labelled)
        hidden = "" if labelled or not rows[0].hidden else _HIDDEN.format(path)
        splits[split] = dataset.Split(
            ids=[row.key for row in rows],
            inputs=[row.content for row in rows],
            labels=[row.label for row in rows] if labelled else None,
            source=str(path),
            skipped=skipped,
            remark="; ".join(filter(None, [remark, hidden])),
        )
    return splits


_WAY_OUT = (
    ": the first line names the columns; say which is which with data.options, as in "
    "--set data.options.text_column=<name>"
)

_HIDDEN = "{}: no label says anything (-1, empty, null): taken as without labels"


def _check_hidden(path: Path, rows: Sequence[_Example], train: Sequence[Any]) -> bool:
    """Tells whether rows have labels.

    Args:
        path: of their file.
        rows: where they are of a test file, hidden where the label says nothing.
        train: labels that were learned: a -1 among them is a label.

    Raises:
        UserError: some have, some have not.
    """
    if not rows:
        return True
    learned = any(label in ("-1", "-1.0", -1.0) for label in train)
    if all(row.label is None or (row.hidden and not learned) for row in rows):
        return False
    if lacking := [row for row in rows if row.label is None]:
        raise errors.UserError(
            f"{path}, {lacking[0].where} has no label ({len(lacking)} of {len(rows)} "
            "rows); give all rows of a test file their labels, or none"
        )
    return True


def _examples(
    path: Path,
    split: str,
    columns: _Columns,
    quoted: bool | None,
    bad: files.BadRows,
) -> Iterator[_Example]:
    """Yields the good rows."""
    names = [*columns.inputs, *columns.labels, *([columns.key] if columns.key else [])]
    table = tables.read(path, names, quoted)
    bad.remark = table.note
    optional = columns.labels if split == "test" else ()
    wanted = [name for name in names if name not in optional]
    is_first = True
    for number, row in table.rows:
        where = f"{table.unit} {number}"
        if isinstance(row, str):
            bad.add(where, row)
            continue
        if is_first:
            files.check_columns(path, row, wanted, _WAY_OUT)
            is_first = False
        lacking = [name for name in wanted if name not in row]
        if lacking:
            bad.add(where, f"no column {lacking[0]!r}")
            continue
        has_labels = set(columns.labels) <= row.keys()
        hidden = split == "test" and has_labels and _is_hidden(row, columns.labels)
        try:
            content = columns.read_input(row, split != "train")
            label = _read_label(row, columns, hidden) if has_labels else None
            key = tables.get_name(row, columns.key) if columns.key else str(number)
        except tables.BadCellError as error:
            bad.add(where, str(error))
            continue
        yield _Example(where, key, content, label, hidden)


def _is_hidden(row: tables.Row, labels: Sequence[str]) -> bool:
    """Tells whether labels stand for none: empty, null, or -1 (GLUE's test sets)."""
    return all(_says_nothing(row[name]) for name in labels)


def _says_nothing(value: Any) -> bool:
    if isinstance(value, str):
        return value.strip() in ("", "-1", "-1.0")
    if isinstance(value, list | tuple):
        return all(map(_says_nothing, value))
    if isinstance(value, dict):
        return all(not part for part in value.values())
    return value is None or value in (-1, -1.0) or value != value


def _read_label(row: tables.Row, columns: _Columns, hidden: bool) -> Any:
    try:
        return columns.read_label(row)
    except tables.BadCellError:
        if hidden:
            return None
        raise


# Cells.


def _text_columns(
    text: str, text_pair: str | None, label: str, key: str | None
) -> _Columns:
    def read_pair(row: tables.Row, or_empty: bool) -> tuple[str, str]:
        assert text_pair
        pair = (
            tables.get_text(row, text, or_blank=True),
            tables.get_text(row, text_pair, or_blank=True),
        )
        if not (or_empty or any(part.strip() for part in pair)):
            raise tables.BadCellError(f"columns {text!r} and {text_pair!r} are empty")
        return pair

    return _Columns(
        inputs=(text, text_pair) if text_pair else (text,),
        labels=(label,),
        read_input=read_pair
        if text_pair
        else lambda row, or_empty: tables.get_text(row, text, or_empty),
        read_label=lambda row: row[label],
        key=key,
    )


def _answers(
    row: tables.Row, column: str, start_column: str | None, context: str
) -> list[squad.RawAnswer]:
    value: Any = _printed(row[column], column, context)
    starts = _printed(row[start_column], start_column, "") if start_column else None
    if isinstance(value, dict):
        value, starts = value.get("text"), value.get("answer_start")
    texts = _as_list(value)
    places = starts if isinstance(starts, list) else [starts] * len(texts)
    if len(places) != len(texts):
        raise tables.BadCellError(f"{len(places)} starts for {len(texts)} answers")
    return [
        (tables.get_text({column: text}, column, or_blank=True), _start(place))
        for text, place in zip(texts, places, strict=True)
    ]


def _printed(value: Any, column: str, context: str) -> Any:
    """Returns the answers that a cell of text prints, as in {'text': ['a'], ...}."""
    if not isinstance(value, str) or (value.strip() and value in context):
        return value
    if re.match(r"\s*(\{\s*['\"].*\}|\[.*\])\s*$", value, re.DOTALL):
        try:
            return literals.parse(value)
        except ValueError as error:
            raise tables.BadCellError(f"column {column!r}: {error}") from None
    return value


def _as_list(value: Any) -> list[Any]:
    if isinstance(value, list):
        return value
    return [] if value in (None, "") else [value]


def _start(value: Any) -> int | None:
    if value is None or value == "":
        return None
    try:
        return int(value)
    except (TypeError, ValueError, OverflowError):
        raise tables.BadCellError(
            f"answer starts at {value!r:.40}, want a number"
        ) from None


# Several classes of one text.

_SEPARATORS = "|;,"


def _read_labels(row: tables.Row, columns: Sequence[str]) -> list[str] | str:
    """Returns the classes of a row; as they stand there where that is no list."""
    if len(columns) > 1:
        return [name for name in columns if _is_set(row, name)]
    (column,) = columns
    value = row[column]
    if value is None or value != value:
        return []
    if isinstance(value, str):
        if not re.match(r"\[|(np\.|numpy\.)?array\(|\(\s*['\"]", value.strip()):
            return value.strip()
        value = tables.parse_list(value, column)
    found = value if isinstance(value, list | tuple) else [value]
    return [_whole(tables.get_name({column: label}, column)) for label in found]


def _is_set(row: tables.Row, column: str) -> bool:
    value = row[column]
    text = str(value).strip().lower()
    if text in ("0", "0.0", "false", "", "none", "nan"):
        return False
    if text in ("1", "1.0", "true"):
        return True
    raise tables.BadCellError(f"column {column!r} is {value!r:.40}, want 0 or 1")


def _whole(name: str) -> str:
    """Returns 3 for 3.0, as which pandas writes whole numbers beside empty cells."""
    return re.sub(r"^([+-]?\d+)\.0+$", r"\1", name)


def _split_labels(
    splits: dict[str, dataset.Split], column: str, separator: str | None
) -> tuple[str, ...]:
    """Makes lists of all labels; returns the classes.

    Raises:
        UserError: there are none; another split has more than train.
    """
    labelled = {name: split for name, split in splits.items() if split.labels}
    every = [one for split in labelled.values() for one in _labels(split)]
    texts = [one for one in every if isinstance(one, str)]
    if separator is None:
        separator = _find_separator(texts, column)
    read = _reader_of_labels(every, separator)
    for name, split in labelled.items():
        note = ""
        if any(len(read(one)) > 1 for one in _labels(split) if isinstance(one, str)):
            how = repr(separator) if separator.strip() else "blanks"
            note = (
                f"{split.source}: column {column!r} is split at {how}; "
                "data.options.label_separator sets another"
            )
        splits[name] = labelled[name] = dataclasses.replace(
            split,
            labels=[read(one) for one in _labels(split)],
            remark="; ".join(filter(None, [split.remark, note])),
        )
    return _classes_of_lists(labelled, column)


def _find_separator(texts: Sequence[str], column: str) -> str:
    found = [mark for mark in _SEPARATORS if any(mark in text for text in texts)]
    if len(found) > 1:
        raise errors.UserError(
            f"column {column!r} has {' and '.join(map(repr, found))} in it; say which "
            f"is between two classes: data.options.label_separator={found[0]!r}"
        )
    return found[0] if found else " "


def _reader_of_labels(
    every: Sequence[list[str] | str], separator: str
) -> Callable[[list[str] | str], list[str]]:
    """Returns what makes a list of classes of a label, as all labels stand there."""
    # Vectors, as libraries want them: of each class, whether it is there.
    are_vectors = len({len(one) for one in every}) == 1 and all(
        isinstance(one, list) and len(one) > 1 and {*one} <= {"0", "1"} for one in every
    )

    def read(label: list[str] | str) -> list[str]:
        if are_vectors:
            return [str(place) for place, value in enumerate(label) if value == "1"]
        if isinstance(label, str):
            # Blanks of any kind and number; "" splits nothing.
            label = label.split(separator.strip() or None) if separator else [label]
        names = (_whole(name.strip()) for name in label)
        return [*dict.fromkeys(name for name in names if name)]

    return read


def _classes_of_lists(
    labelled: Mapping[str, dataset.Split], column: str
) -> tuple[str, ...]:
    seen: dict[str, set[str]] = {
        name: {label for some in _labels(split) for label in some}
        for name, split in labelled.items()
    }
    known = seen.get("train", set().union(*seen.values()))
    if labelled and not known:
        source = next(iter(labelled.values())).source
        raise errors.UserError(f"{source}: column {column!r} has no class in any row")
    for name, split in labelled.items():
        if unseen := sorted(seen[name] - known):
            train = labelled["train"].source
            raise errors.UserError(
                f"{split.source}: label {unseen[0]!r:.40} is not in {train}, which has "
                f"{files.name_some(sorted(known))}"
            )
    if all(re.fullmatch(r"[+-]?\d+(\.\d+)?", label) for label in known):
        return tuple(sorted(known, key=lambda label: (float(label), label)))
    return tuple(sorted(known))


# Classes and scores.


def _classes(splits: dict[str, dataset.Split], column: str) -> tuple[str, ...]:
    """Returns the classes of train, without it of all splits; numbers by value.

    Raises:
        UserError: train has one alone, or too many for classes; or another split has
            more.
    """
    labelled = {name: split for name, split in splits.items() if split.labels}
    if not labelled:
        return ()
    first = next(iter(labelled.values()))
    for name, split in labelled.items():
        splits[name] = labelled[name] = dataset.respell(split, _labels(first))
    counts = collections.Counter[str]()
    for name, split in labelled.items():
        if "train" in labelled and name != "train":
            _refuse_unseen(split, labelled["train"].source, counts)
        else:
            counts.update(_labels(split))
    if "train" in labelled and _is_no_label("-1", counts):
        note = (
            f"label '-1' of {counts['-1']} rows is taken for a class; where it says "
            "that there is no label, leave them out"
        )
        splits["train"] = dataset.remark_on(labelled["train"], note)
    if len(counts) == 1 and "train" in labelled:
        raise errors.UserError(
            f"{first.source}: column {column!r} is {min(counts)!r:.40} always"
        )
    numeric = all(re.fullmatch(r"[+-]?\d+(\.\d+)?", label) for label in counts)
    if numeric and len(counts) > max(50, counts.total() // 2):
        raise errors.UserError(
            f"{first.source}: column {column!r} has {len(counts)} different values in "
            f"{counts.total()} rows; for numbers take the task text_regression"
        )
    if numeric:
        return tuple(sorted(counts, key=lambda label: (float(label), label)))
    return tuple(sorted(counts))


def _is_no_label(label: str, counts: Mapping[str, int]) -> bool:
    """Tells whether a label may stand for none: all others count from 0."""
    others = {name for name in counts if name != label}
    return label in counts and others == {str(n) for n in range(len(others))} != set()


def _refuse_unseen(split: dataset.Split, train: str, known: Mapping[str, int]) -> None:
    if unseen := [label for label in _labels(split) if label not in known]:
        raise errors.UserError(
            f"{split.source}: label {unseen[0]!r:.40} is not in {train}, "
            f"which has {files.name_some(sorted(known))}"
        )


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
