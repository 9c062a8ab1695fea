"""The generator of pre-training fills in each [MASK].

In:   inputs str.
Out:  {"blanks"}: of each [MASK] the likeliest tokens, with their probabilities.
"""

from typing import Any

from electra_tf.kinds import kind, texts


class MaskedWords(texts.OfTexts):
    """Fills in blanks."""

    name = "masked_words"
    task = "ElectraMaskedLM"
    signature = kind.Signature(frozenset({"text"}), frozenset({"tokens", "num_blanks"}))

    def answer(
        self, model: Any, examples: list[Any], batch_size: int
    ) -> list[kind.Answer]:
        """Returns the guesses at each blank of each text."""
        return [
            {"blanks": [[guess._asdict() for guess in blank] for blank in text]}
            for text in model.predict(examples, batch_size)
        ]

    def response(self, said: kind.Answer, example: Any) -> kind.Answer:
        """Returns the same of a server's answer."""
        blanks = zip(said["tokens"], said["probabilities"], strict=True)
        found = [
            [
                {"token": token, "probability": share}
                for token, share in zip(*blank, strict=True)
            ]
            for blank in blanks
        ]
        return {"blanks": found[: said["num_blanks"]]}


KIND = MaskedWords()
