"""Held-out rows as people read them, once a run has ended.

In:   rows of tokens: what was hidden, what was put there, the verdicts.
Out:  samples.json in the workdir; running text with marks.
"""

import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Self

import pydantic

from electra_tf import errors
from electra_tf.system import durable, reading

Probability = Annotated[float, pydantic.Field(ge=0.0, le=1.0)]

MOST = 6  # rows to show

_OPENING = frozenset("([{")
_CLOSING = frozenset(".,;:!?)]}%")


class Hidden(pydantic.BaseModel, frozen=True, extra="forbid"):
    """A token that masking hid, and what was put there."""

    position: pydantic.NonNegativeInt
    original: str
    sampled: str

    @property
    def is_replaced(self) -> bool:
        """A lucky guess is not."""
        return self.original != self.sampled


class Row(pydantic.BaseModel, frozen=True, extra="forbid"):
    """A held-out row: its original tokens without padding, and what became of them."""

    tokens: list[str]
    hidden: list[Hidden]
    probability: list[Probability] | None  # One for each token; None: no verdicts.

    @pydantic.model_validator(mode="after")
    def _fits_together(self) -> Self:
        if any(hidden.position >= len(self.tokens) for hidden in self.hidden):
            raise ValueError(f"a hidden position exceeds the {len(self.tokens)} tokens")
        verdicts = self.probability
        if verdicts is not None and len(verdicts) != len(self.tokens):
            raise ValueError(f"{len(verdicts)} verdicts for {len(self.tokens)} tokens")
        return self


def rows_of(
    batch: Mapping[str, Any], verdicts: Mapping[str, Any], vocab: Sequence[str]
) -> list[Row]:
    """Turns held-out rows into text: what was hidden, drawn, and suspected.

    Args:
        batch: numpy arrays of a masked batch (docs/architecture.md, section 2).
        verdicts: arrays, as of `Objective.verdicts`.
        vocab: tokens in the order of their ids.
    """
    found = []
    for index in range(min(MOST, len(batch["token_ids"]))):
        row = {name: value[index] for name, value in batch.items()}
        used = row["mask_weights"] > 0
        where, ids = row["mask_positions"][used], row["mask_ids"][used]
        length = int((row["example_ids"] > 0).sum())
        original = row["token_ids"].copy()
        original[where] = ids
        drawn = verdicts["sampled"][index][used]
        hidden = [
            Hidden(position=int(place), original=vocab[i], sampled=vocab[j])
            for place, i, j in zip(where, ids, drawn, strict=True)
        ]
        probability = None
        if "probability" in verdicts:
            probability = verdicts["probability"][index][:length].tolist()
        tokens = [vocab[i] for i in original[:length]]
        found.append(Row(tokens=tokens, hidden=hidden, probability=probability))
    return [row for row in found if row.tokens]


class Samples(pydantic.BaseModel, frozen=True, extra="forbid"):
    """Held-out rows as the model of one step saw them, and the words for them."""

    step: int
    filled_by: str  # see `objective.Rows`
    judged_by: str
    judged: str
    rows: list[Row]


def write(path: str, samples: Samples) -> None:
    """Writes samples.json, replacing an older one."""
    durable.write_text(path, samples.model_dump_json() + "\n")


def read(path: str) -> Samples:
    """Reads samples.json.

    Raises:
        UserError: if it is not there or not what `write` writes.
    """
    with reading.explained(path):
        data = Path(path).read_bytes()
    try:
        return Samples.model_validate_json(data)
    except pydantic.ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise errors.UserError(
            f"{path} holds no samples: {where}: {first['msg']}; delete it, the next "
            "evaluation writes it anew"
        ) from None


class Span(NamedTuple):
    """A token in running text."""

    gap: Literal["", " ", "\n"]  # What stands before it.
    token: str
    hidden: Hidden | None
    probability: float | None  # see `objective.Rows`


def spans(row: Row) -> Iterator[Span]:
    """Yields a row as running text: word pieces joined, one line per example."""
    hidden = {item.position: item for item in row.hidden}
    verdicts = row.probability
    before = ""
    for position, token in enumerate(row.tokens):
        probability = None if verdicts is None else verdicts[position]
        yield Span(_gap(before, token), token, hidden.get(position), probability)
        before = token


def is_piece(token: str) -> bool:
    """Tells whether a token goes on with the word before it."""
    return token.startswith("##") and len(token) > 2


def lines(samples: Samples, width: int = 80) -> list[str]:
    """Returns held-out rows as plain text, after lines that explain the marks."""
    lines = [
        f"{{was->put p}}: hidden, and what {samples.filled_by} put; {{was= p}}: a "
        "lucky guess;"
    ]
    if samples.judged_by:
        lines.append(
            f"p: how probably it is {samples.judged}, says {samples.judged_by}; !: "
            "above 0.5."
        )
    for number, row in enumerate(samples.rows, start=1):
        lines += ["", f"row {number}:", ""]
        for span in spans(row):
            text = _marked(span)
            can_break = span.gap == " " or _is_wide(span.token)
            columns = _columns(lines[-1]) + len(span.gap) + _columns(text)
            if span.gap == "\n" or (can_break and columns > width):
                lines.append(text)
            else:
                lines[-1] += span.gap + text
    return lines


def _marked(span: Span) -> str:
    flagged = span.probability is not None and span.probability > 0.5
    verdict = "" if span.probability is None else f"{span.probability:.2f}"
    verdict += "!" if flagged else ""
    if span.hidden:
        sampled = f"->{span.hidden.sampled}" if span.hidden.is_replaced else "="
        return f"{{{span.token}{sampled} {verdict}".rstrip() + "}"
    text = span.token[2:] if is_piece(span.token) else span.token
    return f"{text}{{{verdict}}}" if flagged else text


def _gap(before: str, token: str) -> Literal["", " ", "\n"]:
    if before and token == "[CLS]":
        return "\n"
    if not before or is_piece(token) or token in _CLOSING or before in _OPENING:
        return ""
    return "" if _is_wide(before) and _is_wide(token) else " "


def _is_wide(token: str) -> bool:
    """Tells whether a token is of a script without spaces: wide, and not Hangul."""
    wide = unicodedata.east_asian_width(token[0]) in "WF" if token else False
    return wide and not unicodedata.name(token[0], "").startswith("HANGUL")


def _columns(text: str) -> int:
    return sum(2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text)
