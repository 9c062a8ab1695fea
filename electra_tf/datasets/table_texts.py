"""Tables of texts, or pairs of texts, with a class or a number for each.

In:   columns text, text_pair, label (`tabular`).
Out:  a Dataset to classify, or one of numbers.
"""

import collections
from collections.abc import Mapping, Sequence

from electra_tf import errors
from electra_tf.datasets import dataset, metrics, tables, tabular


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
    columns = tabular.text_columns(
        text_column, text_pair_column, label_column, id_column
    )
    columns = columns._replace(
        read_label=lambda row: tables.get_name(row, label_column)
    )
    splits = tabular.read_splits(
        folder, tabular.Given(train, dev, test, quoted), columns
    )
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
    quoted: bool | None = None,
) -> dataset.Dataset:
    """Reads texts, or pairs of them, and a number for each.

    Raises:
        UserError: files or columns are missing, or are not what they should be.
    """
    columns = tabular.text_columns(
        text_column, text_pair_column, label_column, id_column
    )
    columns = columns._replace(
        read_label=lambda row: tables.get_number(row, label_column)
    )
    return dataset.Dataset(
        name="text_regression",
        kind="regression",
        labels=(),
        splits=tabular.read_splits(
            folder, tabular.Given(train, dev, test, quoted), columns
        ),
        metric="pearson",
        score=_score_numbers,
    )


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
        splits[name] = labelled[name] = dataset.respell(split, tabular.labels_of(first))
    counts = collections.Counter[str]()
    for name, split in labelled.items():
        if "train" in labelled and name != "train":
            labels = tabular.labels_of(split)
            tabular.refuse_unseen(split, labels, labelled["train"], counts)
        else:
            counts.update(tabular.labels_of(split))
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
    if tabular.are_numbers(counts) and len(counts) > max(50, counts.total() // 2):
        raise errors.UserError(
            f"{first.source}: column {column!r} has {len(counts)} different values in "
            f"{counts.total()} rows; for numbers take the task text_regression"
        )
    return tabular.in_order(counts)


def _is_no_label(label: str, counts: Mapping[str, int]) -> bool:
    """Tells whether a label may stand for none: all others count from 0."""
    others = {name for name in counts if name != label}
    return label in counts and others == {str(n) for n in range(len(others))} != set()


def _score_classes(
    predictions: Sequence[str], split: dataset.Split
) -> dict[str, float]:
    gold = tabular.labels_of(split)
    return {
        "accuracy": metrics.accuracy(gold, predictions),
        "macro_f1": metrics.macro_f1(gold, predictions),
        "matthews": metrics.matthews(gold, predictions),
    }


def _score_numbers(
    predictions: Sequence[float], split: dataset.Split
) -> dict[str, float]:
    gold = tabular.labels_of(split)
    return {
        "pearson": metrics.pearson(gold, predictions),
        "spearman": metrics.spearman(gold, predictions),
        "mean_squared_error": metrics.mean_squared_error(gold, predictions),
    }
