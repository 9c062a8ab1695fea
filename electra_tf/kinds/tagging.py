"""Words have one tag per word.

In:   inputs lists of words; labels lists of as many tags.
Out:  {"tags", "scores"}, one of each per word.
"""

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

from electra_tf import errors
from electra_tf.datasets import conll, dataset, table_words, tables
from electra_tf.kinds import classification, columns, kind


class Tagging(kind.Kind):
    """Says which tag a word has."""

    name = "tagging"
    task = "ElectraTokenClassifier"
    readers: ClassVar = {
        **conll.READERS,
        "tagging": table_words.read_tagging,
    }
    fields = ("words",)
    signature = kind.Signature(frozenset({"text"}), frozenset({"words", "tags"}))

    def example(self, names: columns.Columns, row: tables.Row) -> Any:
        """Reads a list of words, of the column text where there is none of words."""
        found = names.name("words", row), names.name("text", row)
        name = found[1] if found[1] in row and found[0] not in row else found[0]
        names.check(row, name)
        return tables.get_list(row, name, or_empty=True)

    def show(self, example: Any) -> dict[str, Any]:
        """Returns the words."""
        return {"words": example}

    def answer(
        self, model: Any, examples: list[Any], batch_size: int
    ) -> list[kind.Answer]:
        """Returns the likeliest tag of each word, and its probability."""
        return [
            {
                "tags": [str(word["tag"]) for word in words],
                "scores": [word["score"] for word in words],
            }
            for words in model.predict_words(examples, batch_size)
        ]

    def request(self, example: Any) -> dict[str, Any]:
        """Asks of the words, as a text."""
        for word in example:
            if word.split() != [word]:
                raise errors.UserError(
                    f"word {word!r:.60}: a server splits texts at whitespace and "
                    "cannot be asked of a word that is empty or has some; predict with "
                    "--preset"
                )
        return {"text": kind.sendable(" ".join(example))}

    def response(self, said: kind.Answer, example: Any) -> kind.Answer:
        """Returns the same of a server's answer."""
        return {name: said[name][: said["num_words"]] for name in ("tags", "scores")}

    def head(self, labels: Sequence[str]) -> dict[str, Any]:
        """Returns the tags."""
        return classification.KIND.head(labels)

    def keeps_head(
        self, model: Any, labels: Sequence[str], train: Sequence[Any]
    ) -> bool:
        """Tells whether the tags are the same, in any order."""
        return set(model.class_names or []) == set(labels)

    def fit(
        self, model: Any, data: dataset.Dataset, split: dataset.Split
    ) -> dataset.Split:
        """Refuses other tags than the model's."""
        said = self.classes(split.labels or [])
        kind.refuse_unknown(split, said, model.class_labels() or [])
        return split

    def values(self, split: dataset.Split, answers: Sequence[kind.Answer]) -> Any:
        """Returns one list of tags per example."""
        return [one["tags"] for one in answers]

    def classes(self, values: Any) -> set[str]:
        """Returns the tags."""
        return {tag for sentence in values for tag in sentence}

    def guess(self, train: Sequence[Any], dev: dataset.Split) -> Any:
        """Says the commonest tag of every word."""
        common = classification.most_common(tag for words in train for tag in words)
        return [[common] * len(words) for words in dev.inputs]

    def judge(self, row: kind.Row) -> tuple[float, str] | None:
        """Tells by the surest wrong tag."""
        said = zip(row["gold"], row["tags"], row["scores"], strict=True)
        wrong = [score for gold, tag, score in said if gold != tag]
        if not wrong:
            return None
        return max(wrong), f"{len(wrong)} of {len(row['tags'])} tags are wrong"

    def confused(self, rows: Sequence[kind.Row]) -> tuple[list[str], list[str]]:
        """Returns one tag per word."""
        return (
            [tag for row in rows for tag in row["gold"]],
            [tag for row in rows for tag in row["tags"]],
        )

    def page_texts(self, row: kind.Row) -> Iterator[str]:
        """Yields the words, wrong tags beside them."""
        said = zip(row["words"], row["gold"], row["tags"], strict=True)
        yield " ".join(
            word if gold == tag else f"{word} [{gold}, not {tag}]"
            for word, gold, tag in said
        )


KIND = Tagging()
