"""Times the building of data beside bare tokenization by `tokenizers`.

    python scripts/bench_build.py --corpus=my_texts --vocab=vocab.txt

ours: `python -m electra_tf.build_data`, from text to shards, start included.
bare: a process that reads the same files and does nothing but `encode_batch`, on all
cores, start included. In turn, on the whole corpus and on a fourth of its files, with
the peak memory of the largest process of each, which should not grow with the corpus.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import sides

ROOT = Path(__file__).resolve().parent.parent
BATCH_LINES = 10_000


class Run(NamedTuple):
    """What a side took."""

    rate: float  # MB/s
    memory: float  # MiB


def main() -> None:
    """Prints a line a size and side, and the ratios."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--corpus", help="folder of .txt files")
    parser.add_argument("--vocab", required=True, help="vocab.txt")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--side", nargs="+", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.side:
        encode(arguments.side, arguments.vocab)
        return
    files = sorted(Path(arguments.corpus).glob("**/*.txt"))
    for part in (files[: max(1, len(files) // 4)], files):
        names = [str(file) for file in part]
        runs: dict[str, list[Run]] = {"ours": [], "bare": []}
        for _ in range(arguments.turns):
            with tempfile.TemporaryDirectory() as folder:
                flags = [f"--corpus={name}" for name in names]
                build = ["-m", "electra_tf.build_data", *flags, f"--output={folder}/x"]
                runs["ours"].append(run([*build, f"--vocab={arguments.vocab}"], names))
            bare = [__file__, f"--vocab={arguments.vocab}", "--side", *names]
            runs["bare"].append(run(bare, names))
        for name, found in runs.items():
            rate = statistics.median(each.rate for each in found)
            memory = statistics.median(each.memory for each in found)
            line = f"{len(names)} files, {name}: {rate:.1f} MB/s, {memory:.0f} MiB"
            print(line, flush=True)
        rates = [[each.rate for each in found] for found in runs.values()]
        print(f"{len(names)} files: ours over bare {sides.ratios(*rates)}")


def run(command: Sequence[str], files: Sequence[str]) -> Run:
    """Runs a command over files, with a Python that has counted no children before."""
    script = (
        "import resource, subprocess, sys; "
        "subprocess.run(sys.argv[1:], check=True, stdout=2, stderr=subprocess.DEVNULL);"
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    )
    began = time.perf_counter()
    process = subprocess.run(
        [sys.executable, "-c", script, sys.executable, *command],
        cwd=ROOT,
        check=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    seconds = time.perf_counter() - began
    size = sum(os.path.getsize(file) for file in files)
    return Run(size / 1e6 / seconds, int(process.stdout) / 1024)


def encode(files: Sequence[str], vocab: str) -> None:
    """Tokenizes the lines of files and forgets them."""
    import tokenizers

    words = Path(vocab).read_text(encoding="utf-8").splitlines()
    bare = tokenizers.BertWordPieceTokenizer(
        {word: index for index, word in enumerate(words)}
    )
    for file in files:
        lines = Path(file).read_text(encoding="utf-8").splitlines()
        for start in range(0, len(lines), BATCH_LINES):
            bare.encode_batch(lines[start : start + BATCH_LINES])


if __name__ == "__main__":
    main()
