"""Scores decide what is kept: under a bound, or all but the oddest share.

In:   the scores of documents and lines.
Out:  a bound; of each document which lines stay, and why the others do not.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from electra_tf.cleaning import clean_config, oddness


class Verdict(NamedTuple):
    """What becomes of a line."""

    keep: bool
    reason: str = ""  # why not


def value(line: oddness.Line, by: str) -> float:
    """Returns the score that decides."""
    return line.surprise if by == "surprise" else float(line.replaced or 0.0)


def whole(lines: Sequence[oddness.Line]) -> oddness.Line:
    """Returns the scores of a document: the mean over its tokens."""
    total = sum(line.num_tokens for line in lines)

    def mean(values: Iterable[float]) -> float:
        pairs = zip(values, lines, strict=True)
        return sum(one * line.num_tokens for one, line in pairs) / max(1, total)

    told = all(line.replaced is not None for line in lines)
    replaced = mean(line.replaced or 0.0 for line in lines) if told else None
    return oddness.Line(total, mean(line.surprise for line in lines), replaced)


def units(
    lines: Sequence[oddness.Line], settings: clean_config.SelectConfig
) -> list[oddness.Line]:
    """Returns what of a document is judged: its lines, or it as a whole."""
    found = [whole(lines)] if settings.unit == "document" else list(lines)
    return [one for one in found if one.num_tokens >= settings.min_tokens]


def values_of(
    documents: Iterable[Sequence[oddness.Line]], settings: clean_config.SelectConfig
) -> npt.NDArray[np.float64]:
    """Returns the scores of all that is judged."""
    return np.fromiter(
        (
            value(one, settings.by)
            for lines in documents
            for one in units(lines, settings)
        ),
        np.float64,
    )


def bound(
    values: npt.NDArray[np.float64], settings: clean_config.SelectConfig
) -> float:
    """Returns the greatest of the scores that is kept."""
    if settings.most is not None:
        return settings.most
    if not values.size:
        return float("inf")
    # Of equal scores none is dropped before another: rather too few than a draw.
    keep = 1 - (settings.rate or 0.0)
    return float(np.quantile(values, keep, method="inverted_cdf"))


def decide(
    lines: Sequence[oddness.Line], most: float, settings: clean_config.SelectConfig
) -> list[Verdict]:
    """Returns what becomes of each line of a document."""
    name = settings.by
    if settings.unit == "document":
        found = value(whole(lines), name)
        if units(lines, settings) and found > most:
            reason = f"{name} of the document {found:.4g}, over {most:.4g}"
            return [Verdict(False, reason) for _ in lines]
        return [Verdict(True) for _ in lines]
    said = [
        Verdict(False, f"{name} {value(line, name):.4g}, over {most:.4g}")
        if line.num_tokens >= settings.min_tokens and value(line, name) > most
        else Verdict(True)
        for line in lines
    ]
    judged = [
        verdict
        for line, verdict in zip(lines, said, strict=True)
        if line.num_tokens >= settings.min_tokens
    ]
    if judged and not any(verdict.keep for verdict in judged):
        alone = Verdict(False, "too short to judge, and nothing else of it is left")
        return [alone if verdict.keep else verdict for verdict in said]
    return said
