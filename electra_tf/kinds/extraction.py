"""Of the sentences of a document, some tell most of it.

In:   inputs lists of sentences; labels `dataset.Extract`.
Out:  {"summary", "chosen", "scores"}: the chosen sentences in one line, their numbers,
      and a probability per sentence.
"""

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import numpy as np

from electra_tf.datasets import dataset, extracts, table_extracts, tables
from electra_tf.kinds import columns, kind
from electra_tf.text import sentences


class Extraction(kind.Kind):
    """Chooses sentences."""

    name = "extraction"
    task = "ElectraSentenceClassifier"
    readers: ClassVar = {
        "extraction": table_extracts.read_extraction,
        "aclsum": table_extracts.read_aclsum,
    }
    fields = ("sentences",)
    signature = kind.Signature(
        frozenset({"sentences"}), frozenset({"scores", "chosen"})
    )
    hint = ", as may a larger train.learning_rate"

    def example(self, names: columns.Columns, row: tables.Row) -> Any:
        """Reads a list of sentences; of a text where there is none, its sentences."""
        found = names.name("sentences", row), names.name("text", row)
        name = found[1] if found[1] in row and found[0] not in row else found[0]
        names.check(row, name)
        return table_extracts.get_sentences(row, name)

    def show(self, example: Any) -> dict[str, Any]:
        """Returns the sentences."""
        return {"sentences": example}

    def answer(
        self, model: Any, examples: list[Any], batch_size: int
    ) -> list[kind.Answer]:
        """Returns the sentences that tell most, and the scores of all."""
        found = []
        scores = model.predict(examples, batch_size)
        for example, one in zip(examples, scores, strict=True):
            order = np.argsort(-np.asarray(one), kind="stable")
            chosen = sorted(order[: model.num_sentences].tolist())
            found.append(_answer(example, chosen, np.asarray(one, np.float64).tolist()))
        return found

    def request(self, example: Any) -> dict[str, Any]:
        """Asks of the sentences; a server takes "" for none."""
        return {"sentences": [kind.sendable(one) or " " for one in example]}

    def response(self, said: kind.Answer, example: Any) -> kind.Answer:
        """Returns the same of a server's answer."""
        chosen = [place for place in said["chosen"] if place >= 0]
        return _answer(example, chosen, said["scores"][: len(example)])

    def values(self, split: dataset.Split, answers: Sequence[kind.Answer]) -> Any:
        """Returns scores and chosen sentences."""
        return [extracts.Scored(one["scores"], one["chosen"]) for one in answers]

    def guess(self, train: Sequence[Any], dev: dataset.Split) -> Any:
        """Says that the first sentences tell most."""
        del train
        return [
            extracts.Scored(
                [1.0 / (2.0 + place) for place in range(len(one))],
                [*range(min(3, len(one)))],
            )
            for one in dev.inputs
        ]

    def show_label(self, label: Any) -> Any:
        """Returns the marks and the summary."""
        return label._asdict()

    def judge(self, row: kind.Row) -> tuple[float, str] | None:
        """Tells by the surest sentence, if it is not marked."""
        if not row["scores"]:
            return None
        surest = int(np.argmax(row["scores"]))
        if row["gold"]["marks"][surest]:
            return None
        score = row["scores"][surest]
        return score, f"{row['sentences'][surest]} ({score:.3f})"

    def page_texts(self, row: kind.Row) -> Iterator[str]:
        """Yields the sentences that are marked."""
        pairs = zip(row["sentences"], row["gold"]["marks"], strict=True)
        yield " / ".join(text for text, mark in pairs if mark)


def _answer(example: Any, chosen: list[int], scores: list[float]) -> kind.Answer:
    summary = sentences.joined(example[place] for place in chosen)
    return {"summary": summary, "chosen": chosen, "scores": scores}


KIND = Extraction()
