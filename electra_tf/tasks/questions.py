"""Questions and their answers, in any form that people have them in.

In:   pairs, mappings, columns, arrays.
Out:  questions and contexts; answers as (text, first character or None).
"""

from collections.abc import Iterator, Mapping
from typing import Any

from electra_tf import errors
from electra_tf.tasks import columns, preprocessor


def pairs(x: Any) -> tuple[list[str], list[str]]:
    """Splits inputs into questions and contexts."""
    if isinstance(x, dict):
        x = x.get("question"), x.get("context")
    if not isinstance(x, tuple | str | bytes):
        x = [
            (value.get("question"), value.get("context"))
            if isinstance(value, Mapping)
            else value
            for value in columns.values(x, "inputs")
        ]
    questions, contexts = preprocessor.split_pairs(x)
    if contexts is None and questions:
        raise errors.UserError(
            f"input 0 is {questions[0]!r:.60} alone; want (question, context)"
        )
    return questions, contexts or []


def raw_answers(value: Any, number: int) -> list[tuple[str, int | None]]:
    """Reads the answers to a question: text, and first character or None."""
    try:
        found = _flat(columns.plain(value))
        return [(text, start) for text, start in found if text.strip()]
    except (TypeError, ValueError, AttributeError):
        raise errors.UserError(
            f"label {number} is {value!r:.80}; want None, (text, start), or a list of "
            "these"
        ) from None


def _flat(value: Any) -> Iterator[tuple[str, int | None]]:
    """Yields (text, start) of an answer in any form.

    Raises:
        TypeError, ValueError, AttributeError: it has none of them.
    """
    if value is None:
        return
    if isinstance(value, Mapping):
        text = value.get("text")
        start = value.get("start", value.get("answer_start"))
        if isinstance(text, str | bytes):
            value = text, start
        else:  # Columns, as in Hugging Face's data sets.
            value = list(zip(text or (), start or (), strict=True))
    if isinstance(value, str | bytes):
        value = value, None
    if len(value) == 2 and not isinstance(
        value[1], str | bytes | Mapping | tuple | list
    ):
        text, start = value
        if isinstance(text, str | bytes):
            text = text.decode(errors="replace") if isinstance(text, bytes) else text
            yield text, None if start is None else int(start)
            return
    for part in value:
        yield from _flat(part)
