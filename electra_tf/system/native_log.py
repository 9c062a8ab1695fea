"""Passes on what native code writes to standard error, less what tells nobody anything.

In:   on standard input the log of TensorFlow, of a command and the processes it starts.
Out:  on standard error what is left of it, each line once.

A process of its own (`console.start` starts it), as the last words of a command that
crashes are what is wanted most. So it imports nothing of ours.
"""

import os
import re
import sys
from collections.abc import Iterable, Iterator

# Before each line; newer and older. Of severities I, W, E, F the first two are dropped:
# TensorFlow itself lets some of them through before it is told not to.
_PREFIX = re.compile(
    r"(?:(?P<new>[IWEF])\d{4} [\d:.]+ +\d+ |"
    r"\d{4}-\d\d-\d\d [\d:.]+: (?P<old>[IWEF]) )[\w./-]+:\d+\] "
)
_NOISE = re.compile(
    r"WARNING: All log messages before absl::InitializeLog\(\)"
    r"|To enable the following instructions: "  # The second line about AVX.
    # Python's tracker tidies up after a process that ended at once, and tells of it.
    r"|.*resource_tracker: There appear to be|  warnings\.warn\("
)
# Errors by name alone: of libraries loaded twice; of a log in a debugging build.
_NO_ERROR = re.compile(
    r"Unable to register cu\w+ (?:factory|plugin)"
    r"|Tensor RefCount not reliable"
)
_NO_GPU = re.compile(r"failed call to cuInit")


def passed_on(lines: Iterable[str], has_gpu: bool) -> Iterator[str]:
    """Yields the lines that somebody may want to read.

    Args:
        lines: of the log.
        has_gpu: whether this machine has one: that it is not found is no noise then.
    """
    said = set()
    for line in lines:
        found = _PREFIX.match(line)
        text = line[found.end() :] if found else line
        severity = (found["new"] or found["old"]) if found else ""
        is_noise = severity in ("I", "W") or bool(_NOISE.match(line))
        is_noise |= bool(_NO_ERROR.match(text))
        is_noise |= not has_gpu and bool(_NO_GPU.match(text))
        if not is_noise and not (found and text in said):
            yield line
        if found:
            said.add(text)


def main() -> None:
    """Reads to the end, whatever signal ends those who write."""
    with open(0, encoding="utf-8", errors="replace", newline="\n") as lines:
        for line in passed_on(lines, os.path.exists("/dev/nvidiactl")):
            sys.stderr.write(line)
            sys.stderr.flush()


if __name__ == "__main__":
    main()
