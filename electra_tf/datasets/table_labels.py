"""Tables of texts, or pairs of texts, with several classes, one or none for each.

In:   columns text, text_pair, labels (`tabular`).
Out:  a Dataset.
"""

import dataclasses
import re
from collections.abc import Callable, Mapping, Sequence

from electra_tf import errors
from electra_tf.datasets import dataset, metrics, tables, tabular


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
    columns = tabular.text_columns(
        text_column, text_pair_column, label_column, id_column
    )
    columns = columns._replace(
        labels=names, read_label=lambda row: _read_labels(row, names)
    )
    splits = tabular.read_splits(
        folder, tabular.Given(train, dev, test, quoted), columns
    )
    return dataset.Dataset(
        name="multi_label_classification",
        kind="multi_label",
        labels=_split_labels(splits, label_column, label_separator),
        splits=splits,
        metric="micro_f1",
        score=lambda predictions, split: metrics.multi_label(
            tabular.labels_of(split), predictions
        ),
    )


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
    every = [one for split in labelled.values() for one in tabular.labels_of(split)]
    texts = [one for one in every if isinstance(one, str)]
    if separator is None:
        separator = _find_separator(texts, column)
    read = _reader_of_labels(every, separator)
    for name, split in labelled.items():
        note = ""
        if any(
            len(read(one)) > 1
            for one in tabular.labels_of(split)
            if isinstance(one, str)
        ):
            how = repr(separator) if separator.strip() else "blanks"
            note = (
                f"{split.source}: column {column!r} is split at {how}; "
                "data.options.label_separator sets another"
            )
        splits[name] = labelled[name] = dataclasses.replace(
            split,
            labels=[read(one) for one in tabular.labels_of(split)],
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
        name: {label for some in tabular.labels_of(split) for label in some}
        for name, split in labelled.items()
    }
    known = seen.get("train", set().union(*seen.values()))
    if labelled and not known:
        source = next(iter(labelled.values())).source
        raise errors.UserError(f"{source}: column {column!r} has no class in any row")
    for name, split in labelled.items():
        if name != "train" and "train" in labelled:
            tabular.refuse_unseen(split, sorted(seen[name]), labelled["train"], known)
    return tabular.in_order(known)
