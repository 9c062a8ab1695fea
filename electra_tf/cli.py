"""The flags all commands share, and how a command starts and ends.

A verb defines its own flags, calls `flags.adopt_module_key_flags(cli)` so that --help
shows the shared ones, and ends in `cli.run(main)`.
"""

import contextlib
import logging
import os
import sys
from collections.abc import Callable, Iterator
from typing import TypeVar

from absl import app, flags
from absl import logging as absl_logging

from electra_tf import config, errors
from electra_tf.system import console, interrupts

# Errors alone (2), and before TensorFlow is loaded: it looks only then.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

CONFIG = flags.DEFINE_string(
    "config", None, "YAML file with the settings of this run; or a name, such as small."
)
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
        with contextlib.suppress(BrokenPipeError):  # head has seen enough.
            console.deliver(f"{config.describe(settings)}\n")
        sys.exit(0)
    return settings


def require(name: str, way_out: str) -> str:
    """Returns the value of a flag that this command cannot do without."""
    value = flags.FLAGS[name].value
    if not value:
        raise errors.UserError(f"--{name} is missing: {way_out}")
    return str(value)


@contextlib.contextmanager
def loading() -> Iterator[None]:
    """Stands around the imports of TensorFlow, which take some seconds."""
    if flags.FLAGS.verbosity < 0:  # Nobody asked for what libraries would like to have.
        logging.disable(logging.WARNING)
    try:
        with console.doing("loading TensorFlow"):
            yield
    finally:
        logging.disable(logging.NOTSET)
    # Nor for what TensorFlow thinks of our functions.
    logging.getLogger("tensorflow").setLevel(logging.ERROR)


def run(main: Callable[[], None]) -> None:
    """Parses the flags, calls `main`; what the user can mend becomes exit code 1.

    A `UserError` ends the program with its message as the last line, no traceback. A
    full disk or a folder without permission, where nothing closer to it has said more,
    does the same. A signal ends it with 128 + its number, or as `main` arranges.
    Anything else is our bug and shows its traceback.
    """

    def start(argv: list[str]) -> None:
        try:
            if argv[1:]:
                raise errors.UserError(
                    f"unexpected argument {argv[1]!r}: every argument is a --flag"
                )
            with interrupts.raising(), console.doing(lambda: "working"):
                main()
        except errors.UserError as error:
            _end(str(error))
        except OSError as error:
            if error.filename is None or error.strerror is None:
                raise
            _end(f"{error.filename}: {error.strerror}")
        except BaseException:
            if interrupts.requested():  # Whatever it became on its way here.
                interrupts.end()
            raise
        if interrupts.requested():
            interrupts.leave(0)  # `main` has said how it stopped.

    interrupts.start()
    console.start()
    interrupts.watch()
    handler = absl_logging.get_absl_handler()
    handler.python_handler.stream = sys.stderr  # It took the one of before.
    handler.addFilter(_Once())
    # Else app.run raises the verbosity to INFO, and TensorFlow tells of every save.
    flags.FLAGS["verbosity"].using_default_value = False
    app.run(start)


class _Once(logging.Filter):
    """Passes on a warning of the libraries the first time that they give it."""

    def __init__(self) -> None:
        super().__init__()
        self._said: set[str] = set()

    def filter(self, record: logging.LogRecord) -> bool:
        text = record.getMessage()
        is_new = text not in self._said
        self._said.add(text)
        return is_new or record.levelno != logging.WARNING


def _end(message: str) -> None:
    sys.stderr.write(f"error: {errors.one_line(message)}\n")
    sys.exit(1)
