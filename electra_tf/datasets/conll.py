"""Files with a word and its tags a line become sentences to tag.

In:   columns in any order, apart by blanks or tabs; an empty line ends a sentence.
Out:  a Dataset, scored over chunks by the rules of conlleval.

-DOCSTART- lines are no words. Nor are comments: lines that begin with # and have
another number of columns than the rest, or read as # sent_id = 1. Of CoNLL-U (10
columns, words numbered from 1) the ranges (1-2 stands for the two words that follow)
and the empty nodes (1.1, which no one wrote) are left out; its words are in column 1,
its tags in column 3 (UPOS) if not said otherwise.
"""

import collections
import dataclasses
import functools
import itertools
import re
from collections.abc import Callable, Sequence
from pathlib import Path

from electra_tf import errors
from electra_tf.datasets import dataset, files, metrics

_STEMS = {
    "train": (*files.STEMS["train"], "eng.train"),
    "dev": (*files.STEMS["dev"], "testa", "eng.testa"),
    "test": (*files.STEMS["test"], "testb", "eng.testb"),
}

_ENDINGS = (".txt", "", ".conll", ".conllu", ".tsv")

# Where words and tags are: usually; in CoNLL-U.
_COLUMNS, _CONLLU_COLUMNS = (0, -1), (1, 3)

_CONLLU_WIDTH = 10

# What stands in a test file whose tags are hidden.
_NO_TAGS = frozenset(["_", "-", "?", "-1", "-X-"])

# "# sent_id = 1", "# newdoc id = x": in CoNLL-U and what takes after it.
_COMMENT = re.compile(r"#\s*([^\s=]+\s*=|newdoc\b|newpar\b)")


def read(
    name: str,
    folder: str,
    *,
    word_column: int | None = None,
    tag_column: int | None = None,
    train: str | None = None,
    dev: str | None = None,
    test: str | None = None,
) -> dataset.Dataset:
    """Reads the splits of a tagging task.

    Args:
        name: of the task.
        folder: of its files.
        word_column: from 0; negative numbers count from the last. None = the first;
            of CoNLL-U 1, the form.
        tag_column: the same. None = the last; of CoNLL-U 3, the part of speech.
        train: a file of any name; else train.txt and the like are looked for.
        dev: the same; valid.txt, testa.txt ...
        test: the same; testb.txt ...

    Raises:
        UserError: files are missing, or not what they should be.
    """
    given = {"train": train, "dev": dev, "test": test}
    splits: dict[str, dataset.Split] = {}
    train_width = 0
    for split, path in files.locate(folder, _STEMS, _ENDINGS, given).items():
        width, rows = _read_rows(path)
        usual = _CONLLU_COLUMNS if _is_conllu(width, rows) else _COLUMNS
        columns = (
            usual[0] if word_column is None else word_column,
            usual[1] if tag_column is None else tag_column,
        )
        if usual is _CONLLU_COLUMNS:
            rows = [row for row in rows if not row[1] or row[1][0].isdigit()]
        train_width = train_width or width
        # A test file may lack the tags.
        labelled = split != "test" or train_width <= width > 1
        _check_columns(path, width, columns if labelled else columns[:1])
        splits[split] = _read_split(path, rows, width, columns, labelled)
    if "test" in splits:
        splits["test"] = _without_hidden(splits["test"], splits.get("train"))
    return build(name, splits)


READERS = {
    name: functools.partial(read, name) for name in ("conll", "conll2000", "conll2003")
}


def build(name: str, splits: dict[str, dataset.Split]) -> dataset.Dataset:
    """Makes a Dataset of tagged sentences."""
    tags = {
        tag
        for split in splits.values()
        for sentence in split.labels or []
        for tag in sentence
    }
    return dataset.Dataset(
        name=name,
        kind="tagging",
        labels=tuple(sorted(tags, key=lambda tag: (tag != "O", tag))),
        splits=splits,
        metric="f1",
        score=_score,
    )


def _score(
    predictions: Sequence[Sequence[str]], split: dataset.Split
) -> dict[str, float]:
    assert split.labels is not None, f"{split.source} has no labels"
    return metrics.entity_f1(split.labels, predictions)


def _read_rows(path: Path) -> tuple[int, list[tuple[int, list[str]]]]:
    """Returns the number of columns and (line, cells); no cells between sentences."""
    lines = list(files.read_lines(path))
    width, rows = _split(lines, lambda line: re.split(r"[ \t]+", line.strip(" \t")))
    if any(len(cells) not in (0, width) for _, cells in rows):
        # Words with blanks in them, or empty columns.
        by_tab = _split(lines, lambda line: [c.strip(" ") for c in line.split("\t")])
        if by_tab[0] > 1 and all(
            len(cells) in (0, by_tab[0]) for _, cells in by_tab[1]
        ):
            return by_tab
    return width, rows


def _split(
    lines: list[tuple[int, str]], parts: Callable[[str], list[str]]
) -> tuple[int, list[tuple[int, list[str]]]]:
    rows: list[tuple[int, list[str]]] = []
    for number, line in lines:
        starts = not rows or not rows[-1][1]
        if starts and _COMMENT.match(line):
            continue
        cells = parts(line) if line else []
        rows.append((number, [] if "-DOCSTART-" in cells else cells))
    widths = collections.Counter(len(cells) for _, cells in rows if cells)
    width = widths.most_common(1)[0][0] if widths else 0
    return width, [
        (number, cells)
        for number, cells in rows
        if len(cells) in (0, width) or not cells[0].startswith("#")
    ]


def _without_hidden(test: dataset.Split, train: dataset.Split | None) -> dataset.Split:
    """Takes tags off that only stand for them: the same mark on all words."""
    tags = {tag for sentence in test.labels or [] for tag in sentence}
    learned = {tag for sentence in (train and train.labels) or [] for tag in sentence}
    if len(tags) != 1 or not tags <= _NO_TAGS - learned:
        return test
    note = f"tags are {min(tags)!r} always: taken as without"
    return dataset.remark_on(dataclasses.replace(test, labels=None), note)


def _is_conllu(width: int, rows: list[tuple[int, list[str]]]) -> bool:
    """Tells CoNLL-U by its numbers: each sentence has a word 1, ranges and nodes."""
    ids = [cells[0] for _, cells in rows if cells]
    numbers = all(re.fullmatch(r"\d+([-.]\d+)?", key) for key in ids)
    return width == _CONLLU_WIDTH and numbers and "1" in ids


def _check_columns(path: Path, width: int, columns: Sequence[int]) -> None:
    for name, column in zip(("word_column", "tag_column"), columns, strict=False):
        if not -width <= column < width:
            raise errors.UserError(
                f"{path} has {width} columns; option {name}={column} is none of them"
            )
    if len({column % width for column in columns}) < len(columns):
        raise errors.UserError(
            f"{path}: word_column and tag_column are the same of {width} columns"
        )


def _read_split(
    path: Path,
    rows: list[tuple[int, list[str]]],
    width: int,
    columns: tuple[int, int],
    labelled: bool,
) -> dataset.Split:
    bad = files.BadRows(path)
    wanted = columns if labelled else columns[:1]
    inputs, labels = [], []
    for _, group in itertools.groupby(rows, key=lambda row: bool(row[1])):
        sentence = [(line, cells) for line, cells in group if cells]
        if not sentence:
            continue
        problem = next(
            filter(None, (_problem(*row, width, wanted) for row in sentence)), None
        )
        if problem:
            bad.add(*problem)
            continue
        inputs.append([cells[columns[0]] for _, cells in sentence])
        if labelled:
            labels.append([cells[columns[1]] for _, cells in sentence])
    skipped, remark = bad.check(len(inputs), labelled)
    return dataset.Split(
        ids=[str(number) for number in range(len(inputs))],
        inputs=inputs,
        labels=labels if labelled else None,
        source=str(path),
        skipped=skipped,
        remark=remark,
    )


def _problem(
    line: int, cells: list[str], width: int, wanted: Sequence[int]
) -> tuple[str, str] | None:
    if len(cells) != width:
        return f"line {line}", f"{len(cells)} columns, want {width}"
    if not all(cells[column] for column in wanted):
        return f"line {line}", "an empty word or tag"
    return None
