"""Marks the words of text in which blanks part them, where tokens do not tell them.

In:   lines such as "using a [blank] language [blank] model" in Chinese, segmented by
      whoever made them; their token ids.
Out:  the same ids, V added to those that continue a word.

Each ideograph is a token, so that no token says where a word begins. `##` would, as the
whole-word models of Chinese BERT and ELECTRA have it while they mask, but changes the
ids. V more is taken off again before anything but masking reads them
(docs/decisions/D64). V tokens in the vocabulary.
"""

import unicodedata
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from electra_tf.text import tokenizer, vocabularies

# More tokens than these between two blanks are no word: text that nobody segmented.
# Idioms have four ideographs, foreign names up to about ten.
LONGEST_WORD = 12

_MAX_REMEMBERED = 500_000  # stretches between blanks


class Marker:
    """Marks the tokens of documents."""

    def __init__(self, tokens: Sequence[str], encoder: tokenizer.Encoder) -> None:
        self._size = len(tokens)
        self._encode = encoder.encode
        self._pieces = np.array(vocabularies.continues(tokens))
        self._apart = np.array([_is_apart(token) for token in tokens])
        self._remembered: dict[str, tuple[npt.NDArray[np.uint32], int]] = {}

    def mark(
        self, token_ids: npt.NDArray[np.uint32], sentences: Sequence[str]
    ) -> tuple[npt.NDArray[np.uint32], int]:
        """Adds V to the tokens that continue a word.

        Args:
            token_ids: uint32 [tokens], of all sentences.
            sentences: texts.

        Returns:
            The ids, and how many stand in stretches that are too long for a word.
        """
        found = [self._word(word) for text in sentences for word in text.split()]
        marked = np.concatenate([np.zeros(0, np.uint32), *(ids for ids, _ in found)])
        # Rare spaces are none to the tokenizer, which then joins what they part.
        if not np.array_equal(marked % self._size, token_ids):
            return token_ids, 0
        return marked, sum(num_long for _, num_long in found)

    def _word(self, text: str) -> tuple[npt.NDArray[np.uint32], int]:
        """Returns a stretch between blanks, marked, and its tokens if too long."""
        if known := self._remembered.get(text):
            return known
        ids = self._encode(text).copy()
        num_long = ids.size if ids.size > LONGEST_WORD else 0
        if not num_long:
            apart = self._apart[ids]
            joined = ~(apart[1:] | apart[:-1] | self._pieces[ids[1:]])
            ids[1:] += self._size * joined.astype(np.uint32)
        if len(self._remembered) >= _MAX_REMEMBERED:
            self._remembered.clear()
        self._remembered[text] = ids, num_long
        return ids, num_long


def _is_apart(token: str) -> bool:
    """Tells whether a token is a mark, which is a word by itself."""
    return len(token) == 1 and unicodedata.category(token)[0] in "PS"
