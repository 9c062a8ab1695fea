"""Runs a command by its name, or lists them: electra-tf, or python -m electra_tf.

electra-tf pretrain --config=small --workdir=runs/small
"""

import ast
import runpy
import sys
from pathlib import Path

from electra_tf import errors
from electra_tf.system import interrupts

COMMANDS = (
    "build_data",
    "pretrain",
    "report",
    "convert",
    "finetune",
    "evaluate",
    "predict",
    "embed",
    "search",
    "summarize",
    "score",
    "rerank",
    "clean",
    "export",
)


def main() -> None:
    """Does what `python -m electra_tf.NAME` does, for the name that is given first."""
    interrupts.start()
    name = sys.argv[1] if len(sys.argv) > 1 else "--help"
    if name in COMMANDS:
        del sys.argv[1]
        runpy.run_module(f"electra_tf.{name}", run_name="__main__", alter_sys=True)
    elif name in ("--help", "-h", "help"):
        sys.stdout.write(usage())
    else:
        hint = errors.did_you_mean(name, COMMANDS, "")
        line = f"no command {name!r}; {hint} There are {', '.join(COMMANDS)}"
        sys.exit(f"error: {errors.one_line(line)}")


def usage() -> str:
    """Returns the commands, one per line: what their modules say of themselves."""
    lines = ["usage: electra-tf COMMAND --FLAG=VALUE ...", ""]
    for name in COMMANDS:
        text = Path(__file__).with_name(f"{name}.py").read_text(encoding="utf-8")
        about = ast.get_docstring(ast.parse(text)) or ""
        lines.append(f"  {name:12}{about.splitlines()[0]}")
    lines += ["", "electra-tf COMMAND --help lists the flags of a command.", ""]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
