"""Tables of words with a tag for each.

In:   columns words, tags: lists (`tabular`).
Out:  a Dataset, as of CoNLL.
"""

from electra_tf.datasets import conll, dataset, tables, tabular


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

    columns = tabular.Columns(
        (words_column,),
        (tags_column,),
        lambda row, or_empty: tables.get_list(row, words_column, or_empty),
        read_tags,
        id_column,
    )
    splits = tabular.read_splits(
        folder, tabular.Given(train, dev, test, quoted), columns
    )
    return conll.build("tagging", splits)
