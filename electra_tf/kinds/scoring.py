"""A scorer says how likely texts and their tokens are.

In:   inputs str.
Out:  {"score", "num_tokens", "tokens"}: a sum in nats, and each token with its place
      and score.
"""

from collections.abc import Sequence
from typing import Any

from electra_tf.kinds import kind, texts
from electra_tf.text import vocabularies

_TOKEN = {"token": "tokens", "start": "starts", "end": "ends", "score": "token_scores"}


class Scoring(texts.OfTexts):
    """Scores texts."""

    name = "scoring"
    task = "ElectraScorer"
    signature = kind.Signature(
        frozenset({"text"}), frozenset({"score", "token_scores"})
    )

    def remark(self, examples: Sequence[Any]) -> None:
        """Warns of blanks, which nothing fills in here."""
        if any(vocabularies.MASK in text for text in examples):
            kind.warn(
                f"{vocabularies.MASK} in a text is scored as the characters that it is "
                "made of; python -m electra_tf.predict --network=generator fills it in"
            )

    def answer(
        self, model: Any, examples: list[Any], batch_size: int
    ) -> list[kind.Answer]:
        """Returns the score of each text, and of each of its tokens."""
        return [
            one._asdict() | {"tokens": [token._asdict() for token in one.tokens]}
            for one in model.score(examples, batch_size)
        ]

    def response(self, said: kind.Answer, example: Any) -> kind.Answer:
        """Returns the same of a server's answer."""
        count = said["num_tokens"]
        tokens = kind.objects(said, count, _TOKEN)
        return {"score": said["score"], "num_tokens": count, "tokens": tokens}


KIND = Scoring()
