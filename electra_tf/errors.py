"""What a user can mend: one line that says what, where, the value and the way out."""


class UserError(ValueError):
    """Raised for what the user caused and can mend.

    The message is one line: what was wrong, where (file or setting), the value, and
    what to do. Commands print it last and exit 1, without a traceback.
    """
