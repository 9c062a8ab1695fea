"""Times the building of data beside bare tokenization by `tokenizers`.

    python scripts/bench_build.py --corpus=my_texts --vocab=vocab.txt \
        [--google_code=<checkout of github.com/google-research/electra>]

ours: `python -m electra_tf.build_data`, from text to shards, start included.
bare: a process that reads the same files and does nothing but `encode_batch`, on all
cores, start included.
google: `python build_pretraining_dataset.py` of the 2020 code, on our TensorFlow, with
one process per core; a file goes to one of them, so have at least four files per core.

In turn, on the whole corpus and on a fourth of its files, with the peak memory of the
largest process of each, which should not grow with the corpus.
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
    said: str  # on standard output


def main() -> None:
    """Prints one line per size and side, and the ratios."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--corpus", help="folder of .txt files")
    parser.add_argument("--vocab", required=True, help="vocab.txt")
    parser.add_argument("--google_code", help="the 2020 code, to be a third side")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--side", nargs="+", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.side:
        encode(arguments.side, arguments.vocab)
        return
    files = sorted(Path(arguments.corpus).resolve().glob("**/*.txt"))
    vocab, code = os.path.abspath(arguments.vocab), arguments.google_code
    for part in (files[: max(1, len(files) // 4)], files):
        names = [str(file) for file in part]
        runs: dict[str, list[Run]] = {"ours": [], "bare": []}
        runs |= {"google": []} if code else {}
        for _ in range(arguments.turns):
            with tempfile.TemporaryDirectory() as folder:
                flags = [f"--corpus={name}" for name in names]
                build = ["-m", "electra_tf.build_data", *flags, f"--output={folder}/x"]
                runs["ours"].append(run([*build, f"--vocab={vocab}"], names))
            bare = [__file__, f"--vocab={vocab}", "--side", *names]
            runs["bare"].append(run(bare, names))
            if code:
                runs["google"].append(run_google(code, vocab, names))
        report(runs, f"{len(names)} files")


def report(runs: dict[str, list[Run]], what: str) -> None:
    """Prints one line per side, and the ratios."""
    rates = {name: [each.rate for each in found] for name, found in runs.items()}
    for name, found in runs.items():
        rate = statistics.median(rates[name])
        memory = statistics.median(each.memory for each in found)
        print(f"{what}, {name}: {rate:.1f} MB/s, {memory:.0f} MiB", flush=True)
    for name in [name for name in runs if name != "ours"]:
        print(f"{what}: ours over {name} {sides.ratios(rates['ours'], rates[name])}")


def run_google(code: str, vocab: str, files: Sequence[str]) -> Run:
    """Runs the 2020 code's builder, as its users do, on a folder of these files."""
    affinity = getattr(os, "sched_getaffinity", None)  # Linux alone has it.
    processes = len(affinity(0)) if affinity else os.cpu_count() or 1
    with tempfile.TemporaryDirectory() as folder:
        corpus = Path(folder, "corpus")
        corpus.mkdir()
        for index, file in enumerate(files):
            (corpus / f"{index:06}.txt").symlink_to(file)
        flags = [
            f"--corpus-dir={corpus}",
            f"--vocab-file={vocab}",
            f"--output-dir={folder}/x",
            "--max-seq-length=128",
            f"--num-processes={processes}",
        ]
        found = run(["build_pretraining_dataset.py", *flags], files, cwd=code)
    if found.said.count("Done!") < processes:  # It ends well when they do not.
        sys.exit(f"a process of the 2020 code failed; it said:\n{found.said}")
    return found


def run(command: Sequence[str], files: Sequence[str], cwd: str | Path = ROOT) -> Run:
    """Runs a command over files, with a Python that has counted no children before."""
    script = (
        "import resource, subprocess, sys; "
        "subprocess.run(sys.argv[1:], check=True, stdout=2, stderr=subprocess.DEVNULL);"
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    )
    began = time.perf_counter()
    process = subprocess.run(
        [sys.executable, "-c", script, sys.executable, *command],
        cwd=cwd,
        check=True,
        capture_output=True,
        text=True,
    )
    seconds = time.perf_counter() - began
    size = sum(os.path.getsize(file) for file in files)
    memory = int(process.stdout) / 1024
    return Run(size / 1e6 / seconds, memory, said=process.stderr)


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
