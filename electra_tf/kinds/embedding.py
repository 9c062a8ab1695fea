"""Texts, or pairs of texts, become vectors. Nothing is learned by it.

In:   inputs str or (str, str).
Out:  {"embedding"}, a list of numbers.
"""

from typing import Any

import numpy as np

from electra_tf.kinds import kind, texts


class Embedding(texts.OfTextsOrPairs):
    """Gives a text a vector."""

    name = "embedding"
    task = "ElectraTextEmbedder"
    signature = kind.Signature(frozenset({"text"}), frozenset({"embedding"}))

    def answer(
        self, model: Any, examples: list[Any], batch_size: int
    ) -> list[kind.Answer]:
        """Returns the vectors."""
        vectors = np.asarray(model.predict(examples, batch_size), np.float64)
        return [{"embedding": vector.tolist()} for vector in vectors]

    def response(self, said: kind.Answer, example: Any) -> kind.Answer:
        """Returns the same of a server's answer."""
        return {"embedding": said["embedding"]}


KIND = Embedding()
