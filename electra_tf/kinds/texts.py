"""Examples that are texts: a single one, or one or a pair.

In:   columns text, text_pair.
Out:  str, or (str, str).
"""

from typing import Any, ClassVar

from electra_tf.datasets import tables
from electra_tf.kinds import columns, kind


class OfTexts(kind.Kind):
    """Answers single texts."""

    fields: ClassVar[tuple[str, ...]] = ("text",)

    def example(self, names: columns.Columns, row: tables.Row) -> Any:
        """Reads a text."""
        return names.text(row, "text")

    def show(self, example: Any) -> dict[str, Any]:
        """Returns the text."""
        return {"text": example}

    def request(self, example: Any) -> dict[str, Any]:
        """Asks of the text."""
        return {"text": kind.sendable(example)}


class OfTextsOrPairs(OfTexts):
    """Answers texts, or pairs of texts."""

    fields = ("text", "text_pair")

    def example(self, names: columns.Columns, row: tables.Row) -> Any:
        """Reads a text; a pair, where there is a second one, or the options name it."""
        is_text = row.keys() == {"text"}  # of .txt or --text
        has_pair = names.is_given("text_pair") and not is_text
        if has_pair or names.name("text_pair", row) in row:
            return names.text(row, "text"), names.text(row, "text_pair")
        return names.text(row, "text")

    def show(self, example: Any) -> dict[str, Any]:
        """Returns the text or both."""
        texts = (example,) if isinstance(example, str) else example
        return dict(zip(self.fields, texts, strict=False))

    def request(self, example: Any) -> dict[str, Any]:
        """Asks of the text or both."""
        return {name: kind.sendable(text) for name, text in self.show(example).items()}
