"""What a user can mend: one line that says what, where, the value and the way out."""

import errno
import os
import re

# What libraries say in the middle of their own words where the system refused to write.
_REFUSALS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO)


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
