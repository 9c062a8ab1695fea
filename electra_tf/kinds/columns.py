"""Cells of a row are found by the names that a file, or the options, give its columns.

In:   rows of `datasets.tables`; options such as text_column.
Out:  texts and lists.
"""

from collections.abc import Mapping
from typing import Any

from electra_tf import errors
from electra_tf.datasets import tables


class Columns:
    """Reads rows whose columns may be called otherwise.

    Args:
        options: a column's name is the option `<name>_column`, else its own name.
    """

    def __init__(self, options: Mapping[str, Any]) -> None:
        self._options = options

    def is_given(self, name: str) -> bool:
        """Tells whether the options name a column."""
        return f"{name}_column" in self._options

    def name(self, name: str, row: tables.Row, several: bool = False) -> str:
        """Returns what a column is called in a row.

        Args:
            name: its own name.
            row: the row.
            several: whether the option may name several columns, apart by commas.
        """
        given = str(self._options.get(f"{name}_column") or name)
        there = given in row or (several and "," in given and name not in row)
        return name if name in row and not there else given

    def text(self, row: tables.Row, name: str) -> str:
        """Returns the text of a cell, which may be blank.

        Raises:
            tables.BadCellError: there is no such column, or no text in it.
        """
        column = self.name(name, row)
        self.check(row, column)
        return tables.get_text(row, column, or_blank=True)

    @staticmethod
    def check(row: tables.Row, name: str, option: str = "text_column") -> None:
        """Refuses a row that lacks a column, which an option can name.

        Raises:
            tables.BadCellError: it does.
        """
        if name not in row:
            raise tables.BadCellError(
                f"no column {name!r}; it has {errors.listed(map(repr, row))}: rename "
                f"one, or say which, as in --set data.options.{option}=<name>"
            )
