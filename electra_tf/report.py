"""Renders the runs of one or more workdirs as one self-contained HTML page.

python -m electra_tf.report --workdir=runs/small,runs/mlm --output=both.html
python -m electra_tf.report --workdir='runs/rate-*' --output=rates.html
"""

import os
import sys

from absl import flags

from electra_tf import cli, errors
from electra_tf.reports import report_page
from electra_tf.system import console

WORKDIR = flags.DEFINE_multi_string(
    "workdir",
    [],
    "What a run wrote. Several are compared: repeat it, or a,b, or 'runs/*'.",
)
OUTPUT = flags.DEFINE_string(
    "output", None, "HTML file to write; report.html in the first workdir if not given."
)


def main() -> None:
    """Writes the report and says where it lies."""
    if not WORKDIR.value:
        raise errors.UserError("--workdir is missing: name the workdir of a run")
    workdirs = report_page.find_workdirs(WORKDIR.value, console.say_aside)
    output = OUTPUT.value or os.path.join(workdirs[0], "report.html")
    with console.doing("writing the report"):
        report_page.write_report(workdirs, output)
    sys.stdout.write(f"{output}\n")


if __name__ == "__main__":
    cli.run(main)
