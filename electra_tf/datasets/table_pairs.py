"""Tables of texts that belong together, or of pairs with a score.

In:   columns text, text_pair, and a negative's or a score's (`tabular`).
Out:  a Dataset for vectors: what belongs to a text, or how alike two are.
"""

from collections.abc import Sequence
from typing import Any

from electra_tf.datasets import dataset, metrics, tables, tabular


def read_retrieval(
    folder: str,
    *,
    text_column: str = "text",
    text_pair_column: str = "text_pair",
    negative_column: str | None = None,
    id_column: str | None = None,
    train: str | None = None,
    dev: str | None = None,
    test: str | None = None,
    quoted: bool | None = None,
) -> dataset.Dataset:
    """Reads texts and what belongs to each: questions and answers, translations.

    Args:
        folder: of train.tsv and the like.
        text_column: what is looked for.
        text_pair_column: what should be found.
        negative_column: a text that looks alike and does not belong, or a list of
            them; or several columns, as in "negative_1,negative_2".
        id_column: None = the numbers of the lines.
        train: a file of any name; dev and test the same.
        dev: see train.
        test: see train.
        quoted: whether quotes are around cells of .tsv and .csv; None = look.

    Raises:
        UserError: files or columns are missing, or are not what they should be.
    """
    names = tuple(part.strip() for part in (negative_column or "").split(",") if part)

    def read_texts(row: tables.Row, or_empty: bool) -> tuple[str, ...]:
        # A test file may have no more than what is looked for.
        there = [n for n in (text_column, text_pair_column) if n in row]
        texts = [tables.get_text(row, name, or_empty) for name in there]
        return (*texts, *(text for name in names for text in _negatives(row, name)))

    columns = tabular.Columns(
        (text_column, *names),
        (text_pair_column,),
        read_texts,
        lambda row: tables.get_text(row, text_pair_column, or_blank=True),
        id_column,
    )
    return dataset.Dataset(
        name="text_retrieval",
        kind="retrieval",
        labels=(),
        splits=tabular.read_splits(
            folder, tabular.Given(train, dev, test, quoted), columns
        ),
        metric="mrr",
        score=lambda ranks, _: metrics.retrieval(ranks),
        columns={"text_column": text_column},
    )


def read_similarity(
    folder: str,
    *,
    text_column: str = "text",
    text_pair_column: str = "text_pair",
    label_column: str = "label",
    id_column: str | None = None,
    train: str | None = None,
    dev: str | None = None,
    test: str | None = None,
    quoted: bool | None = None,
) -> dataset.Dataset:
    """Reads pairs of texts, and how alike each is: a number, higher for more.

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
        name="text_similarity",
        kind="similarity",
        labels=(),
        splits=tabular.read_splits(
            folder, tabular.Given(train, dev, test, quoted), columns
        ),
        metric="spearman",
        score=_score_cosines,
        columns={"text_column": text_column},
    )


def _negatives(row: tables.Row, name: str) -> list[str]:
    """Returns the texts of a cell: a list of them, one, or none where it is empty."""
    value: Any = row.get(name)
    is_list = isinstance(value, list) or (
        isinstance(value, str) and value.lstrip().startswith("[")
    )
    if is_list:
        return tables.get_list(row, name, or_empty=True)
    text = tables.get_text(row, name, or_blank=True) if value is not None else ""
    return [text] if text.strip() else []


def _score_cosines(
    predictions: Sequence[float], split: dataset.Split
) -> dict[str, float]:
    gold = tabular.labels_of(split)
    return {
        "spearman": metrics.spearman(gold, predictions),
        "pearson": metrics.pearson(gold, predictions),
    }
