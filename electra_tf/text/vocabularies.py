"""Vocabularies: the tokens of a model, a line of vocab.txt each.

In:   vocab.txt, wherever it comes from.
Out:  tokens in the order of their ids, checked; vocab.txt.
"""

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path

from electra_tf import errors
from electra_tf.system import reading

PAD, UNK, CLS, SEP, MASK = SPECIAL_TOKENS = "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"

# Half a character: JSON can hold one, UTF-8 cannot.
_SURROGATE = re.compile("[\ud800-\udfff]")


def read(file: str | Path) -> list[str]:
    """Reads and checks a vocab.txt.

    Raises:
        UserError: it cannot be read, or `parse` refuses it.
    """
    reading.refuse_pipes(str(file))
    with reading.explained(f"vocabulary {file}"):
        return parse(Path(file).read_bytes(), str(file))


def parse(data: bytes, where: str) -> list[str]:
    """Returns the tokens that the bytes of a vocab.txt hold, checked.

    As `tokenizers` and the 2020 code do: every line is a token and counts, blank ones
    too, and loses the space after it; of a token that stands twice the last has its
    text. A byte order mark, which both would take for a part of the first, is dropped.

    Raises:
        UserError: not UTF-8, or `check` refuses it; `where` names it.
    """
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise errors.UserError(
            f"vocabulary {where} is not UTF-8 at byte {error.start}; "
            "want a text file with one token per line"
        ) from None
    lines = text.removeprefix("\ufeff").split("\n")
    if lines[-1] == "":
        lines.pop()
    tokens = list(map(_as_read, lines))
    check(tokens, where)
    return tokens


def check(tokens: Sequence[str], where: str) -> None:
    """Raises UserError unless tokens are a vocabulary that this code can use."""
    for token in SPECIAL_TOKENS:
        if token not in tokens:
            raise errors.UserError(
                f"vocabulary {where} has no {token}; it must hold "
                + " ".join(SPECIAL_TOKENS)
            )
        if tokens.count(token) > 1:
            first = tokens.index(token)
            raise errors.UserError(
                f"vocabulary {where}: {token} stands twice, on lines {first + 1} and "
                f"{tokens.index(token, first + 1) + 1}; rename one, such as [unused1]"
            )
    if tokens[0] != PAD:
        raise errors.UserError(
            f"vocabulary {where}: the first token is {tokens[0]!r}, want {PAD}, "
            "for 0 means padding everywhere"
        )
    for line, token in enumerate(tokens, 1):
        if writable(token) != token:
            raise errors.UserError(
                f"vocabulary {where}: token {line} is {token!r:.80}, which no line of "
                "a file can hold; no text becomes it, so leave it blank"
            )


def writable(token: str) -> str:
    """Returns a token, blank if no line can hold it; then no text becomes it either."""
    if "\n" in token or _as_read(token) != token or _SURROGATE.search(token):
        return ""
    return token


def _as_read(line: str) -> str:
    """Returns the token of a line; one of space alone stays as it is, but for CR."""
    return line.rstrip() or line.rstrip("\r")


def token_ids(tokens: Sequence[str]) -> dict[str, int]:
    """Returns the id of each token that a word can become; the last has its text."""
    return {token: i for i, token in enumerate(tokens) if token.strip()}


def continues(tokens: Sequence[str]) -> list[bool]:
    """Tells which ids continue a word, bool [2 V]: of "##...", of `segmented` + V."""
    return [token.startswith("##") for token in tokens] + [True] * len(tokens)


def write(file: str | Path, tokens: Sequence[str]) -> None:
    """Writes one token per line."""
    Path(file).write_text("".join(f"{token}\n" for token in tokens), encoding="utf-8")


def hash_of(tokens: Sequence[str]) -> str:
    """Returns the SHA-256 of the tokens as vocab.txt holds them, in hex."""
    return hashlib.sha256("\n".join(tokens).encode()).hexdigest()
