"""Texts that belong together, or are alike: what an embedder learns from.

In:   inputs (text, text that belongs to it, texts that do not ...), or (text, text)
      with a number.
Out:  {"value"}, the cosine of the first two; of what is looked for, {"rank"} too, among
      all texts of the split but the first ones.
"""

import collections
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from electra_tf.datasets import dataset, table_pairs
from electra_tf.kinds import kind, texts
from electra_tf.tasks import nearest


class Similarity(texts.OfTextsOrPairs):
    """Tells how alike two texts are."""

    name = "similarity"
    task = "ElectraTextEmbedder"
    network = "encoder"
    readers: ClassVar = {"text_similarity": table_pairs.read_similarity}

    def answer(
        self, model: Any, examples: list[Any], batch_size: int
    ) -> list[kind.Answer]:
        """Returns the cosines."""
        vectors, places = embed(model, examples, batch_size)
        cosines = [vectors[places[a]] @ vectors[places[b]] for a, b, *_ in examples]
        return [{"value": float(cosine)} for cosine in cosines]

    def values(self, split: dataset.Split, answers: Sequence[kind.Answer]) -> Any:
        """Returns one number per example."""
        return [one["value"] for one in answers]

    def guess(self, train: Sequence[Any], dev: dataset.Split) -> Any:
        """Says that all are alike."""
        return [0.0] * len(dev.ids)

    def judge(self, row: kind.Row) -> tuple[float, str] | None:
        """Returns None: a cosine and a score are of different units."""


class Retrieval(Similarity):
    """Finds what belongs to a text among all that belongs to others."""

    name = "retrieval"
    readers: ClassVar = {"text_retrieval": table_pairs.read_retrieval}

    def answer(
        self, model: Any, examples: list[Any], batch_size: int
    ) -> list[kind.Answer]:
        """Returns cosine and rank; where nothing is to be found, no rank."""
        vectors, places = embed(model, examples, batch_size)
        there = dict.fromkeys(text for _, *others in examples for text in others)
        number = {text: place for place, text in enumerate(there)}
        right: dict[str, set[int]] = collections.defaultdict(set)
        for text, *others in examples:
            # The text itself, where it belongs to another, is no answer either.
            none_of = [*others[:1], *({text} & there.keys())]
            right[text].update(number[other] for other in none_of)
        asked = [(text, others[0]) for text, *others in examples if others]
        queries = np.stack([vectors[places[a]] for a, _ in asked]) if asked else vectors
        found = nearest.ranks(
            queries[: len(asked)],
            vectors[[places[text] for text in there]],
            [number[b] for _, b in asked],
            [right[a] for a, _ in asked],
        )
        ranked = iter(zip(asked, found, strict=True))
        answers: list[kind.Answer] = []
        for _, *others in examples:
            if not others:
                answers.append({})
                continue
            (a, b), rank = next(ranked)
            near = vectors[places[a]] @ vectors[places[b]]
            answers.append({"value": float(near), "rank": rank})
        return answers

    def learns_from(self, inputs: list[Any], labels: list[Any]) -> tuple[Any, Any]:
        """Returns the texts alone: which belong together, each example says."""
        return inputs, None

    def values(self, split: dataset.Split, answers: Sequence[kind.Answer]) -> Any:
        """Returns one rank per example."""
        return [one.get("rank", len(answers)) for one in answers]

    def guess(self, train: Sequence[Any], dev: dataset.Split) -> Any:
        """Says the middle."""
        return [(len(dev.ids) + 1) / 2] * len(dev.ids)

    def show(self, example: Any) -> dict[str, Any]:
        """Returns the texts; those that do not belong as a list."""
        negatives = {"negatives": list(example[2:])} if len(example) > 2 else {}
        return {**super().show(example[:2]), **negatives}

    def judge(self, row: kind.Row) -> tuple[float, str] | None:
        """Tells how far down it was found."""
        rank = row.get("rank", 1)
        return (float(rank), f"found at rank {rank}") if rank > 1 else None


def embed(
    model: Any, examples: Sequence[tuple[str, ...]], batch_size: int
) -> tuple[nearest.Vectors, dict[str, int]]:
    """Returns the vectors of all different texts, of length 1, and their places."""
    found = dict.fromkeys(text for example in examples for text in example)
    vectors = nearest.normalized(model.predict(list(found), batch_size))
    return vectors, {text: place for place, text in enumerate(found)}


SIMILARITY = Similarity()
RETRIEVAL = Retrieval()
