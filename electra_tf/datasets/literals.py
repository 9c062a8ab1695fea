"""Lists as programs print them into a cell become lists again.

In:   the text of a cell: JSON, or what Python and numpy print, which is what pandas
      and `datasets` write into .csv: ['a', "b's"], ['a' 'b'], [np.str_('a')],
      array(['a'], dtype=object), {'text': ['a'], 'answer_start': [3]}.
Out:  the value; nothing is evaluated but constants.
"""

import ast
import json
import re
from typing import Any

_TOKEN = re.compile(
    r"""
    (?P<text>[bu]?'(?:[^'\\]|\\.)*'|[bu]?"(?:[^"\\]|\\.)*")
    |(?P<call>(?:np|numpy)\.\w+\(|array\(|list\(|tuple\()
    |(?P<mark>[\[\](){}:,])
    |(?P<word>[^\s\[\](){}:,'"]+)
    |(?P<blank>\s+)
    |(?P<bad>.)
    """,
    re.VERBOSE | re.DOTALL,
)

_OPENING, _CLOSING = frozenset("([{"), frozenset(")]}")
_AFTER_VALUE = _CLOSING | {",", ":"}

_NUMPY_WORDS = {"np.True_": "True", "np.False_": "False"}

# What reading a literal that is none may raise.
_MALFORMED = (ValueError, SyntaxError, TypeError, RecursionError, MemoryError)


def parse(text: str) -> Any:
    """Returns the list, tuple or mapping that a text prints.

    Raises:
        ValueError: it is none; what is said of it fits after "line 3: ".
    """
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        pass
    try:
        return ast.literal_eval(_as_python(text.strip()))
    except _MALFORMED as error:
        if "..." in str(error):
            raise ValueError(str(error)) from None
        raise ValueError(
            f'{text!r:.40} looks like a list and is none; write JSON, as in ["a", "b"]'
        ) from None


def _as_python(text: str) -> str:
    """Spells a value as Python does: numpy parts by blanks, and names its types.

    Two strings side by side would be one to Python, so they get their comma here.
    """
    parts: list[str] = []
    is_call: list[bool] = []  # of each bracket that is open: does it leave its mark?
    after_value = skips_text = False
    for found in _TOKEN.finditer(text):
        kind, token = str(found.lastgroup), found[0]
        if kind == "blank":
            continue
        if skips_text and kind == "text":
            skips_text = False
            continue
        if kind == "bad":
            raise ValueError(token)
        if token == "...":
            raise ValueError("numpy left out the middle of the list, as ...")
        if token.startswith("dtype="):  # The last thing in array(...), after a comma.
            parts[-1:], skips_text = [], token == "dtype="
            continue
        if after_value and token not in _AFTER_VALUE:
            parts.append(",")
        after_value = token in _CLOSING or kind in ("text", "word")
        opens_call = kind == "call"
        if opens_call or token in _OPENING:
            is_call.append(opens_call)
        token = _NUMPY_WORDS.get(token, token)
        if not (opens_call or (token in _CLOSING and is_call and is_call.pop())):
            parts.append(token)
    return "".join(parts)
