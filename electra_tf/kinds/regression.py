"""Texts, or pairs of texts, have one number per text.

In:   inputs str or (str, str); labels float.
Out:  {"value"}, in the units of the labels.
"""

import statistics
from collections.abc import Sequence
from typing import Any, ClassVar

from electra_tf.datasets import dataset, glue, table_texts
from electra_tf.kinds import kind, texts


class Regression(texts.OfTextsOrPairs):
    """Gives a text a number."""

    name = "regression"
    task = "ElectraTextRegressor"
    readers: ClassVar = {
        **{
            name: glue.READERS[name]
            for name, one in glue.TASKS.items()
            if not one.classes
        },
        "text_regression": table_texts.read_regression,
    }
    signature = kind.Signature(frozenset({"text"}), frozenset({"value"}))

    def answer(
        self, model: Any, examples: list[Any], batch_size: int
    ) -> list[kind.Answer]:
        """Returns the numbers."""
        found = model.predict(examples, batch_size)
        return [{"value": float(value)} for value in found]

    def response(self, said: kind.Answer, example: Any) -> kind.Answer:
        """Returns the same of a server's answer."""
        return {"value": said["value"]}

    def keeps_head(
        self, model: Any, labels: Sequence[str], train: Sequence[Any]
    ) -> bool:
        """Tells whether the numbers are of the same range."""
        if model.offset is None or model.scale is None:
            return False
        apart = abs(statistics.fmean(train) - model.offset)
        spread = statistics.pstdev(train)
        return bool(apart <= model.scale and 0.5 <= spread / model.scale <= 2.0)

    def values(self, split: dataset.Split, answers: Sequence[kind.Answer]) -> Any:
        """Returns one number per example."""
        return [one["value"] for one in answers]

    def guess(self, train: Sequence[Any], dev: dataset.Split) -> Any:
        """Says the mean."""
        return [statistics.fmean(train)] * len(dev.ids)

    def judge(self, row: kind.Row) -> tuple[float, str] | None:
        """Tells by how far off a number is."""
        apart = abs(row["value"] - row["gold"])
        said = f"{row['value']:.3f}, right: {row['gold']:g}"
        return (apart, said) if apart else None


KIND = Regression()
