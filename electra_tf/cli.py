"""The flags all commands share, and how a command starts and ends.

A verb defines its own flags, calls `flags.adopt_module_key_flags(cli)` so that --help
shows the shared ones, and ends in `cli.run(main)`.
"""

import os
import sys
from collections.abc import Callable
from typing import TypeVar

from absl import app, flags

from electra_tf import config, errors

# Errors alone (2), and before TensorFlow is loaded: it looks only then.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

CONFIG = flags.DEFINE_string("config", None, "YAML file with the settings of this run.")
SET = flags.DEFINE_multi_string(
    "set", [], "section.field=value, over the file; repeatable."
)
PRINT_CONFIG = flags.DEFINE_bool(
    "print_config", False, "Print every setting, resolved and described, and stop."
)

AnySettings = TypeVar("AnySettings", bound=config.Settings)


def load(kind: type[AnySettings]) -> AnySettings:
    """Reads this invocation's settings; with --print_config, prints them and exits."""
    settings = config.load(kind, CONFIG.value, SET.value)
    if PRINT_CONFIG.value:
        print(config.describe(settings), flush=True)
        sys.exit(0)
    return settings


def require(name: str, way_out: str) -> str:
    """Returns the value of a flag that this command cannot do without."""
    value = flags.FLAGS[name].value
    if not value:
        raise errors.UserError(f"--{name} is missing: {way_out}")
    return str(value)


def run(main: Callable[[], None]) -> None:
    """Parses the flags, calls `main`; what the user can mend becomes exit code 1.

    A `UserError` ends the program with its message as the last line, no traceback. A
    full disk or a folder without permission, where nothing closer to it has said more,
    does the same. Anything else is our bug and shows its traceback.
    """

    def start(argv: list[str]) -> None:
        try:
            if argv[1:]:
                raise errors.UserError(
                    f"unexpected argument {argv[1]!r}: every argument is a --flag"
                )
            main()
        except errors.UserError as error:
            _end(str(error))
        except BrokenPipeError:  # Whoever read, such as head, has seen enough.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        except OSError as error:
            if error.filename is None or error.strerror is None:
                raise
            _end(f"{error.filename}: {error.strerror}")

    # Else app.run raises the verbosity to INFO, and TensorFlow tells of every save.
    flags.FLAGS["verbosity"].using_default_value = False
    app.run(start)


def _end(message: str) -> None:
    sys.stdout.flush()
    print(f"error: {message}", file=sys.stderr)
    sys.exit(1)
