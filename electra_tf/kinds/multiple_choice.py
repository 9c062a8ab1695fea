"""Of some choices, one fits a prompt best.

In:   inputs `dataset.Choice`; labels int, the right one's number from 0.
Out:  {"index", "choice", "score", "scores"}.
"""

from collections.abc import Sequence
from typing import Any, ClassVar

from electra_tf import errors
from electra_tf.datasets import dataset, table_choices, tables
from electra_tf.kinds import classification, columns, kind


class MultipleChoice(kind.Kind):
    """Chooses."""

    name = "multiple_choice"
    task = "ElectraMultipleChoice"
    readers: ClassVar = {"multiple_choice": table_choices.read_multiple_choice}
    fields = ("prompt", "choices")
    signature = kind.Signature(
        frozenset({"prompt", "choices"}), frozenset({"index", "choice"})
    )

    def example(self, names: columns.Columns, row: tables.Row) -> Any:
        """Reads a prompt and its choices: a list, or several columns."""
        choices = names.name("choices", row, several=True)
        several = [name.strip() for name in choices.split(",")]
        for name in several:
            names.check(row, name)
        if len(several) > 1:
            found = [tables.get_text(row, name, or_blank=True) for name in several]
        else:
            found = tables.get_list(row, several[0])
        return dataset.Choice(names.text(row, "prompt"), tuple(found))

    def show(self, example: Any) -> dict[str, Any]:
        """Returns the prompt and its choices."""
        return {**example._asdict()}

    def answer(
        self, model: Any, examples: list[Any], batch_size: int
    ) -> list[kind.Answer]:
        """Returns the likeliest choice, and the probabilities of all."""
        return list(model.predict_choices(examples, batch_size))

    def request(self, example: Any) -> dict[str, Any]:
        """Asks of the prompt."""
        if "" in example.choices:
            raise errors.UserError(
                f"prompt {example.prompt!r:.60}: a server takes an empty choice for "
                "none; predict with --preset"
            )
        choices = [kind.sendable(choice) for choice in example.choices]
        return {"prompt": kind.sendable(example.prompt), "choices": choices}

    def response(self, said: kind.Answer, example: Any) -> kind.Answer:
        """Returns the same of a server's answer."""
        found = {name: said[name] for name in ("index", "choice", "score")}
        return {**found, "scores": said["scores"][: len(example.choices)]}

    def values(self, split: dataset.Split, answers: Sequence[kind.Answer]) -> Any:
        """Returns one number per example."""
        return [one["index"] for one in answers]

    def guess(self, train: Sequence[Any], dev: dataset.Split) -> Any:
        """Says the commonest place."""
        return [classification.most_common(train)] * len(dev.ids)

    def judge(self, row: kind.Row) -> tuple[float, str] | None:
        """Tells by the probability of the wrong choice."""
        if row["gold"] == row["index"]:
            return None
        right = row["choices"][row["gold"]]
        return row["score"], f"{row['choice']} ({row['score']:.3f}), right: {right}"

    def page_texts(self, row: kind.Row) -> Any:
        """Yields the prompt; what was chosen is said beside it."""
        yield row["prompt"]


KIND = MultipleChoice()
