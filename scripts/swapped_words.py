"""Asks scorers which of two sentences is as written; the other has two words swapped.

python scripts/swapped_words.py --corpus=reviews/dev.tsv --pairs=2000 \
    --preset=runs/electric --preset=runs/mlm --preset=runs/mlm:word_l2r \
    --preset=runs/electra:replaced

In:   presets; a .txt, .tsv or .jsonl with texts, which are cut into sentences.
Out:  of each preset how often the sentence as it was written has the higher score, with
      the standard error, passes of a row and seconds; and of each but the first, how
      often one of both alone is right, with a sign test.

Presets of one tokenizer are to be compared, trained with the same compute. After the
colon stands a way (energy, masking, replaced), or word_l2r, for masking.
"""

import argparse
import math
import os
import random
import re
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from electra_tf.datasets import tables

WORDS = range(6, 31)  # of a sentence
TEXTS = ("text", "sentence", "review")  # columns


def main() -> None:
    """Prints one line per preset, then one per comparison."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--preset", action="append", required=True)
    parser.add_argument("--corpus", required=True)
    parser.add_argument("--pairs", type=int, default=2000)
    parser.add_argument("--adjacent", action="store_true", help="swap neighbours")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    chance = random.Random(arguments.seed)
    sentences = [one for text in texts(arguments.corpus) for one in cut(text)]
    chance.shuffle(sentences)
    swapped = (swap(one, chance, arguments.adjacent) for one in sentences)
    pairs = [
        (one, other) for one, other in zip(sentences, swapped, strict=True) if other
    ][: arguments.pairs]
    print(f"{len(pairs):,} pairs, such as {pairs[0][0]!r} and {pairs[0][1]!r}")
    found = {name: judge(name, pairs) for name in arguments.preset}
    first, *others = found
    for other in others:
        compare(first, found[first], other, found[other])


def texts(path: str, columns: tuple[str, ...] = TEXTS) -> list[str]:
    """Reads texts; of a table, the first of these columns that it has."""
    rows = [
        row
        for _, row in tables.read(Path(path), columns).rows
        if not isinstance(row, str)
    ]
    column = next((name for name in columns if rows and name in rows[0]), None)
    if column is None:
        sys.exit(f"{path} has no column {', '.join(columns)}")
    return [str(row[column]) for row in rows]


def cut(text: str) -> list[str]:
    """Cuts a text into sentences of so many WORDS that end as sentences do."""
    text = re.sub(r"<br\s*/?>", " ", text)
    found = re.split(r"(?<=[.!?])\s+", " ".join(text.split()))
    return [
        one
        for one in found
        if len(one.split()) in WORDS and one.endswith((".", "!", "?"))
    ]


def swap(sentence: str, chance: random.Random, adjacent: bool) -> str | None:
    """Swaps two words that differ, letters alone; None where there are none."""
    words = sentence.split()
    places = [i for i, word in enumerate(words) if word.isalpha()]
    pairs = [
        (a, b)
        for a in places
        for b in places
        if a < b
        and words[a].lower() != words[b].lower()
        and (b == a + 1 or not adjacent)
    ]
    if not pairs:
        return None
    a, b = chance.choice(pairs)
    words[a], words[b] = words[b], words[a]
    return " ".join(words)


def judge(name: str, pairs: list[tuple[str, str]]) -> list[float]:
    """Returns of each pair 1 where the first has the higher score, 0.5 for a tie."""
    from electra_tf.tasks import scorer

    preset, _, way = name.partition(":")
    options = {"hide": way, "way": "masking"} if way == "word_l2r" else {}
    if way and not options:
        options = {"way": way}
    model = scorer.ElectraScorer.from_preset(preset, **options)
    both = [text for pair in pairs for text in pair]
    model.score(both[:64])  # Traces.
    begin = time.perf_counter()
    scores = model.score(both, batch_size=128)
    seconds = time.perf_counter() - begin
    passes = (
        sum(one.num_tokens for one in scores) if model.way == "masking" else len(both)
    )
    right = [
        0.5 + 0.5 * ((a.score > b.score) - (a.score < b.score))
        for a, b in zip(scores[::2], scores[1::2], strict=True)
    ]
    rate = sum(right) / len(right)
    error = math.sqrt(rate * (1 - rate) / len(right))
    print(
        f"{name}: {model.way}, {model.hide}: right {100 * rate:.2f} % +- "
        f"{100 * error:.2f}, {passes:,} passes, {seconds:.1f} s",
        flush=True,
    )
    return right


def compare(name: str, one: list[float], other_name: str, other: list[float]) -> None:
    """Prints how often one alone is right, and a sign test's z of the two."""
    wins = sum(a > b for a, b in zip(one, other, strict=True))
    losses = sum(a < b for a, b in zip(one, other, strict=True))
    z = (wins - losses) / math.sqrt(max(wins + losses, 1))
    print(f"{name} alone {wins}, {other_name} alone {losses}: z = {z:.2f}")


if __name__ == "__main__":
    main()
