"""What a user can mend: one line that says what, where, the value and the way out."""

import difflib
import errno
import functools
import inspect
import os
import re
from collections.abc import Callable, Collection, Iterable
from typing import Any, TypeVar, cast

# What libraries say in the middle of their own words where the system refused to write.
_REFUSALS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO)

# What Hugging Face and others call it.
_ELSEWHERE = {
    "max_length": "sequence_length",
    "max_seq_length": "sequence_length",
    "num_labels": "num_classes",
    "precision": "dtype",
    "torch_dtype": "dtype",
    "truncation": "truncate",
}

Method = TypeVar("Method", bound=Callable[..., Any])


class UserError(ValueError):
    """Raised for what the user caused and can mend.

    The message is one line: what was wrong, where (file or setting), the value, and
    what to do. Commands print it last and exit 1, without a traceback.
    """


def one_line(text: object, limit: int | None = None) -> str:
    """Returns a text, or an error's message, in one line of `limit` characters."""
    return " ".join(str(text).split())[:limit]


def reason(error: Exception) -> str:
    """Says in few words why a file could not be read or written.

    HDF5 and TensorFlow put the system's reason somewhere into long messages.
    """
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno)
    text = str(getattr(error, "message", error))
    text = one_line(re.sub(r"\{\{.*?\}\}|\[Op:.*?\]", "", text))
    known = (os.strerror(number) for number in _REFUSALS)
    return next((words for words in known if words in text), text[:160])


def listed(texts: Iterable[object], limit: int = 8, separator: str = ", ") -> str:
    """Joins some texts, such as names that others gave, so that they stay on one line.

    Args:
        texts: what to list; of each, as much as helps to find it.
        limit: how many are shown; of the rest, how many they are.
        separator: between two.
    """
    cut = [str(text)[:120] for text in texts]
    shown = [text if text.isprintable() else ascii(text)[1:-1] for text in cut]
    more = f" and {len(shown) - limit} more" if len(shown) > limit else ""
    return separator.join(shown[:limit]) + more


def did_you_mean(name: str, known: Collection[str], otherwise: str) -> str:
    """Asks whether the known name nearest to one that is not known was meant."""
    if _ELSEWHERE.get(name) in known:
        return f"did you mean {_ELSEWHERE[name]}?"
    near = difflib.get_close_matches(name.lower(), known, n=1, cutoff=0.5)
    return f"did you mean {near[0]}?" if near else otherwise


def refuse_unknown(where: str, given: Iterable[str], known: Collection[str]) -> None:
    """Refuses names of options that are not known.

    Raises:
        UserError: there is one; it names the nearest that is known, or all.
    """
    for name in given:
        if name not in known:
            hint = did_you_mean(name, known, f"it has {', '.join(known)}")
            raise UserError(f"{where} has no {name!r}; {hint}")


def refuse_arguments(made: object, given: Iterable[str], *inherited: str) -> None:
    """Refuses what a constructor was given beside its own arguments.

    Args:
        made: what it makes.
        given: names of its `**kwargs`.
        *inherited: those of them that its base class takes.
    """
    own = [*inspect.signature(type(made).__init__).parameters][1:-1]
    refuse_unknown(type(made).__name__, given, [*own, *inherited])


def named_arguments(method: Method) -> Method:
    """Has a method refuse keywords that it does not know, with the nearest it does."""
    known = [*inspect.signature(method).parameters][1:]

    @functools.wraps(method)
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        if not kwargs.keys() <= set(known):
            shown = [name for name in known if not name.startswith("_")]
            refuse_unknown(f"{type(self).__name__}.{method.__name__}", kwargs, shown)
        return method(self, *args, **kwargs)

    return cast(Method, call)
