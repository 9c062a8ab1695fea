"""Tables of prompts, what may follow each, and what does.

In:   columns prompt, choices, label (`tabular`).
Out:  a Dataset.
"""

from collections.abc import Sequence

from electra_tf.datasets import dataset, metrics, tables, tabular


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

    columns = tabular.Columns(
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
        splits=tabular.read_splits(
            folder, tabular.Given(train, dev, test, quoted), columns
        ),
        metric="accuracy",
        score=_score_choices,
    )


def _score_choices(
    predictions: Sequence[int], split: dataset.Split
) -> dict[str, float]:
    return {"accuracy": metrics.accuracy(tabular.labels_of(split), predictions)}
