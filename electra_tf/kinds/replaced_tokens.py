"""The discriminator of pre-training says how likely each token was replaced.

In:   inputs str.
Out:  {"tokens"}: each with its place and probability.
"""

from collections.abc import Sequence
from typing import Any

from electra_tf.kinds import kind, texts
from electra_tf.text import vocabularies

_TOKEN = {
    "token": "tokens",
    "start": "starts",
    "end": "ends",
    "probability": "probabilities",
}


class ReplacedTokens(texts.OfTexts):
    """Suspects tokens."""

    name = "replaced_tokens"
    task = "ElectraReplacedTokenDetector"
    signature = kind.Signature(frozenset({"text"}), frozenset({"tokens", "num_tokens"}))

    def remark(self, examples: Sequence[Any]) -> None:
        """Warns of blanks, which are for the generator."""
        if any(vocabularies.MASK in text for text in examples):
            kind.warn(
                f"{vocabularies.MASK} in a text is judged as any other; to have blanks "
                "filled in, take --network=generator, of a preset that has one"
            )

    def answer(
        self, model: Any, examples: list[Any], batch_size: int
    ) -> list[kind.Answer]:
        """Returns every token of each text."""
        return [
            {"tokens": [suspicion._asdict() for suspicion in text]}
            for text in model.predict(examples, batch_size)
        ]

    def response(self, said: kind.Answer, example: Any) -> kind.Answer:
        """Returns the same of a server's answer."""
        return {"tokens": kind.objects(said, said["num_tokens"], _TOKEN)}


KIND = ReplacedTokens()
