"""Tables of texts and what is to become of them: translations, summaries, headlines.

In:   columns source, target (`tabular`).
Out:  a Dataset, scored by chrF, BLEU and ROUGE (`text_metrics`).

An example may have several targets: in JSON a list of them, elsewhere several columns.
Each is learned; scores take the nearest. A source in JSON may be a list, too, of its
sentences. Columns within others are named with a dot: summary.outcome.
"""

from collections.abc import Sequence
from typing import Any

from electra_tf import errors
from electra_tf.datasets import dataset, metrics, tables, tabular, text_metrics


def read_seq2seq(
    folder: str,
    *,
    source_column: str = "source",
    target_column: str = "target",
    id_column: str | None = None,
    train: str | None = None,
    dev: str | None = None,
    test: str | None = None,
    quoted: bool | None = None,
    metric: str = text_metrics.CHRF,
) -> dataset.Dataset:
    """Reads texts, and what is to become of each.

    Args:
        folder: of train.tsv and the like.
        source_column: the text.
        target_column: what becomes of it; or several columns, as in "first,second".
        id_column: None = the numbers of the lines.
        train: a file of any name; dev and test the same.
        dev: see train.
        test: see train.
        quoted: whether quotes are around cells of .tsv and .csv; None = look.
        metric: by which epochs and trials are compared: one of `text_metrics.NAMES`.

    Raises:
        UserError: files or columns are missing, or are not what they should be.
    """
    if metric not in text_metrics.NAMES:
        raise errors.UserError(
            f"metric={metric!r:.40}: want one of {', '.join(text_metrics.NAMES)}"
        )
    names = tuple(name.strip() for name in target_column.split(","))

    def read_source(row: tables.Row, or_empty: bool) -> str:
        text = get_text(row, source_column)
        if not (text.strip() or or_empty):
            raise tables.BadCellError(f"column {source_column!r} is empty")
        return text

    def read_targets(row: tables.Row) -> tuple[str, ...]:
        found = [text for name in names for text in get_texts(row, name)]
        kept = tuple(text for text in found if text.strip())
        if not kept:
            raise tables.BadCellError(f"column {target_column!r} is empty")
        return kept

    columns = tabular.Columns(
        (source_column,), names, read_source, read_targets, id_column, "source_column"
    )
    splits = tabular.read_splits(
        folder, tabular.Given(train, dev, test, quoted), columns
    )
    return dataset.Dataset(
        name="seq2seq",
        kind="seq2seq",
        labels=(),
        splits=splits,
        metric=metric,
        score=_score,
    )


def get_text(row: tables.Row, column: str) -> str:
    """Returns a text, perhaps blank; of a list of sentences, all of them."""
    value = row[column]
    if not isinstance(value, list | tuple):
        return tables.get_text(row, column, or_blank=True)
    parts = [tables.get_text({column: one}, column, or_blank=True) for one in value]
    return ("" if metrics.is_without_blanks("".join(parts)) else " ").join(parts)


def get_texts(row: tables.Row, column: str) -> list[str]:
    """Returns the texts of a list, or the one that is none."""
    value: Any = row[column]
    several = value if isinstance(value, list | tuple) else [value]
    return [tables.get_text({column: one}, column, or_blank=True) for one in several]


def _score(predictions: Sequence[str], split: dataset.Split) -> dict[str, float]:
    return text_metrics.measure(predictions, tabular.labels_of(split)).scores
