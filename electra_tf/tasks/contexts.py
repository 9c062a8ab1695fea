"""Contexts, their windows, and the spans of them that may answer a question.

In:   texts; which part of one a row shows; what a model says of tokens.
Out:  where in a row an answer is; the best spans of a text.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from electra_tf.datasets import squad
from electra_tf.tasks import inputs
from electra_tf.tasks import tokenizer as tokenizers

Places = npt.NDArray[np.int64]
Scores = npt.NDArray[np.float32]

# Spans of tokens, beside (first, last).
NONE = (-1, -2)  # There is no answer.
LOST = (-1, -1)  # The context does not hold it.


class Span(NamedTuple):
    """A part of a context that may be the answer: `context[start:end]`."""

    text: str
    start: int
    end: int
    score: float  # its probability, of start and end together, in its window


class Context(NamedTuple):
    """A text, and where in it each token has its characters."""

    text: str
    token_ids: inputs.Ids
    starts: Places
    ends: Places

    @classmethod
    def of(cls, text: str, words: tokenizers.ElectraTokenizer) -> "Context":
        """Tokenizes a text."""
        ids, offsets = words.encode_with_offsets(text)
        starts, ends = np.array(offsets, np.int64).reshape(-1, 2).T
        return cls(text, ids, starts, ends)

    def spans(
        self, firsts: Places, lasts: Places, scores: Scores, count: int
    ) -> list[Span]:
        """Returns the best spans of tokens, of different text."""
        found: dict[str, Span] = {}
        for place in np.argsort(-scores, kind="stable"):
            start, end = int(self.starts[firsts[place]]), int(self.ends[lasts[place]])
            text = self.text[start:end]
            if text and text not in found:
                found[text] = Span(text, start, end, float(np.exp(scores[place])))
            if len(found) == count:
                break
        return list(found.values())


class Window(NamedTuple):
    """A part of a context that is in one row with its question."""

    question: int
    start: int  # its first token, in the context
    size: int  # tokens
    at: int  # its first token, in the row

    def place(self, span: tuple[int, int]) -> tuple[int, int]:
        """Returns where in the row a span of the context is: 0 if not as a whole."""
        first, last = span
        if span == LOST:
            return span
        if first < self.start or last >= self.start + self.size:
            return 0, 0
        return first - self.start + self.at, last - self.start + self.at


class Notes(NamedTuple):
    """What rows of questions show: see `inputs.Rows.notes`."""

    contexts: list[Context]  # of each question
    windows: list[Window]  # of each row


def windows(rows: inputs.Rows) -> list[Window]:
    """Returns which part of its context each row shows, after the question."""
    return [
        Window(source, start, int(np.sum(segments)) - 1, int(np.argmax(segments)))
        for source, start, segments in zip(
            rows.source.tolist(), rows.starts.tolist(), rows.segment_ids, strict=True
        )
    ]


def owners(windows: list[Window], num_tokens: int) -> Places:
    """Returns which window shows each token with the most on both sides.

    As in the 2020 code, a longer window is a little better.
    """
    best = np.full(num_tokens, -1.0)
    owners = np.zeros(num_tokens, np.int64)
    for number, window in enumerate(windows):
        before = np.arange(window.size)
        around = np.minimum(before, window.size - 1 - before) + 0.01 * window.size
        here = np.arange(window.start, window.start + window.size)
        here = here[around > best[here]]
        best[here] = around[here - window.start]
        owners[here] = number
    return owners


def token_span(
    context: Context, raw_answers: list[tuple[str, int | None]]
) -> tuple[int, int]:
    """Returns the first and last token of the first answer that is in the context."""
    for text, start in raw_answers:
        answer = squad.find_answer(context.text, text, start)
        if answer.start < 0:
            continue
        end = answer.start + len(answer.text)
        first = int(np.searchsorted(context.ends, answer.start, side="right"))
        last = int(np.searchsorted(context.starts, end, side="left")) - 1
        if first <= last:
            return first, last
    return LOST if raw_answers else NONE
