"""Asks which lines were damaged: networks, an n-gram model and the frequency of words.

    python scripts/bench_clean.py --train=reviews/ --corpus=reviews/dev.tsv \
        --foreign=en_de/dev.tsv --foreign_column=target --preset=runs/mine

A line is a sentence. In each document every eighth line or so is damaged; all kinds
together, in turn. Who scores reads the damaged document and ranks its lines; told is
the area under the ROC curve, lines of a kind against all lines that were left as they
were, with a standard error (Hanley and McNeil 1982), and tokens a second.

    words swapped   a third of the line's words change places
    words put in    a sixth of the words are drawn from the text of --train
    slips           a letter in fifteen becomes its neighbour on the keyboard
    shuffled        a line of another document stands here instead
    markup          tags, entities and scraps of a page's menu among the words
    foreign         a line of --foreign stands here instead

The n-gram model is as KenLM's: interpolated Kneser-Ney of three words, with one
discount for each order, small letters, punctuation apart, learned from --train, as is
the frequency of words. Both score a line by nats a word.

In:   text files, or tables with a column text, sentence or review.
Out:  a table, and with --output a line of JSON for each scorer.
"""

import argparse
import json
import math
import os
import random
import re
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import swapped_words

from electra_tf.text import sentences

EVERY = 8  # lines of a document for one that is damaged
WORDS = range(6, 41)  # of a line that is damaged, or judged
TOKEN = re.compile(r"\w+|[^\w\s]")
NEIGHBOURS = dict(
    zip(
        "qwertyuiopasdfghjklzxcvbnm",
        "wa qes wrd etf ryg tuh yij uok ipl op aqsz adwx sfec dgrv fhtb gjyn hkum jlin "
        "kpo zsx xzdc cxfv vcgb bvhn nbjm mnk".split(),
        strict=True,
    )
)
TAGS = ("<br />", "</div>", '<span class="txt">', "<p>", "&nbsp;", "&amp;", "<li>")
MENU = ("Home | About | Contact", "Read more &raquo;", "[edit]", "Share this:", "0 0 5")

Documents = list[list[str]]
Floats = npt.NDArray[np.float64]
# Turns documents into scores of their lines, by what the scores are.
Scorer = Callable[[Documents], dict[str, list[Floats]]]


class Damaged(NamedTuple):
    """A document some of whose lines were damaged."""

    lines: list[str]
    kinds: list[str | None]  # of each line; None: as it was


def main() -> None:
    """Damages documents, and prints who tells it."""
    arguments = parse()
    chance = random.Random(arguments.seed)
    documents = [
        lines for lines in cut(swapped_words.texts(arguments.corpus)) if len(lines) >= 4
    ]
    chance.shuffle(documents)
    elsewhere = [line for one in documents[arguments.documents :] for line in one]
    foreign = [
        line
        for lines in cut(
            swapped_words.texts(arguments.foreign, (arguments.foreign_column,))
        )
        for line in lines
        if len(line.split()) in WORDS
    ]
    opened = [network(preset) for preset in arguments.preset]
    begun = time.perf_counter()
    model = NGrams(learned_from(arguments.train, arguments.train_words))
    print(
        f"{model.num_words:,} words learned in {time.perf_counter() - begun:.0f} s",
        flush=True,
    )
    kinds = damages(model.some_words(chance), elsewhere, foreign)
    made = [damage(one, kinds, chance) for one in documents[: arguments.documents]]
    scorers = [
        by_line("frequency of words", model.rarity),
        by_line("n-gram model", model.surprise),
        *opened,
    ]
    for scorer in scorers:
        report(scorer, made, [*kinds], arguments.output)


def parse() -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--preset", action="append", default=[], help="or NAME:network")
    parser.add_argument("--train", required=True, help="for the n-grams")
    parser.add_argument("--train_words", type=int, default=20_000_000)
    parser.add_argument("--corpus", required=True, help="held-out text to damage")
    parser.add_argument("--foreign", required=True, help="text of another language")
    parser.add_argument("--foreign_column", default="text")
    parser.add_argument("--documents", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--output", help="JSON lines")
    return parser.parse_args()


def cut(texts: Iterable[str]) -> Iterator[list[str]]:
    """Cuts each text into sentences; line breaks of HTML are taken out."""
    for text in texts:
        plain = re.sub(r"<br\s*/?>", " ", text)
        yield [" ".join(one.text.split()) for one in sentences.split(plain)]


def learned_from(path: str, most: int) -> list[list[str]]:
    """Returns the words of each sentence, at most so many in all."""
    found, count = [], 0
    files = sorted(Path(path).iterdir()) if Path(path).is_dir() else [path]
    for lines in cut(text for file in files for text in swapped_words.texts(str(file))):
        for line in lines:
            found.append(words_of(line))
            count += len(found[-1])
        if count >= most:
            break
    return found


def words_of(line: str) -> list[str]:
    """Cuts a line into small words and marks."""
    return TOKEN.findall(line.lower())


# What is done to a line.


def damages(
    drawn: Callable[[], str], elsewhere: Sequence[str], foreign: Sequence[str]
) -> dict[str, Callable[[str, random.Random], str]]:
    """Returns what damages a line, by its name."""
    lines = [line for line in elsewhere if len(line.split()) in WORDS]

    def put_in(line: str, chance: random.Random) -> str:
        words = line.split()
        for at in chance.sample(range(len(words)), math.ceil(len(words) / 6)):
            words[at] = drawn()
        return " ".join(words)

    return {
        "words swapped": swapped,
        "words put in": put_in,
        "slips": slips,
        "shuffled": lambda _, chance: chance.choice(lines),
        "markup": markup,
        "foreign": lambda _, chance: chance.choice(foreign),
    }


def swapped(line: str, chance: random.Random) -> str:
    """Lets a third of the words change places, two at least."""
    words = line.split()
    at = chance.sample(range(len(words)), max(2, len(words) // 3))
    for place, word in zip(at, [words[one] for one in at[1:] + at[:1]], strict=True):
        words[place] = word
    return " ".join(words)


def slips(line: str, chance: random.Random) -> str:
    """Puts the neighbour on the keyboard for one letter of fifteen, one at least."""
    letters = [at for at, letter in enumerate(line) if letter.lower() in NEIGHBOURS]
    found = list(line)
    for at in chance.sample(letters, min(len(letters), 1 + len(letters) // 15)):
        found[at] = chance.choice(NEIGHBOURS[line[at].lower()])
    return "".join(found)


def markup(line: str, chance: random.Random) -> str:
    """Puts three or four scraps of a page among the words."""
    words = line.split()
    for _ in range(chance.randint(2, 3)):
        words.insert(chance.randint(0, len(words)), chance.choice(TAGS))
    return " ".join([*words, chance.choice(MENU)])


def damage(
    lines: list[str],
    kinds: dict[str, Callable[[str, random.Random], str]],
    chance: random.Random,
) -> Damaged:
    """Damages one line of `EVERY`, at least one if there is any long enough."""
    found = list(lines)
    marks: list[str | None] = [None] * len(lines)
    long = [at for at, line in enumerate(lines) if len(line.split()) in WORDS]
    for at in chance.sample(long, min(len(long), math.ceil(len(lines) / EVERY))):
        name = chance.choice([*kinds])
        changed = kinds[name](lines[at], chance)
        if changed != lines[at]:
            found[at], marks[at] = changed, name
    return Damaged(found, marks)


# Who scores.


class NGrams:
    """Interpolated Kneser-Ney of three words.

    A word that it does not know gets one share of an even distribution, as in KenLM.
    """

    def __init__(self, texts: Sequence[Sequence[str]]) -> None:
        """Counts."""
        self.ids = {"<unk>": 0, "<s>": 1, "</s>": 2}
        for text in texts:
            for word in text:
                self.ids.setdefault(word, len(self.ids))
        self._base = len(self.ids)
        ids = np.concatenate([self._framed(text) for text in texts])
        self._words = [*self.ids]
        self._drawn = ids[ids > 2]
        self.num_words = self._drawn.size
        counts = np.bincount(self._drawn, minlength=self._base) + 1.0
        self._rarity = -np.log(counts / counts.sum())
        pairs = ids[:-1] * self._base + ids[1:]
        # As one number each: int64 holds those of two million words.
        triples = pairs[:-1] * self._base + ids[2:]
        triples = triples[ids[2:] > 1]  # What ends in <s> crosses a sentence's end.
        grams, times = np.unique(triples, return_counts=True)
        self._three = _Order(grams, times.astype(float), self._base)
        # Lower orders count what different words stood before.
        tails = np.unique(self._three.grams % self._base**2, return_counts=True)
        self._two = _Order(tails[0], tails[1].astype(float), self._base)
        ends = np.unique(self._two.grams % self._base, return_counts=True)
        self._one = np.full(self._base, 0.0)
        self._one[ends[0]] = ends[1]
        discount = _discount(ends[1])
        total = self._one.sum()
        left = discount * ends[0].size / total / (self._base - 1)  # all but <s>
        self._one = np.maximum(self._one - discount, 0.0) / total + left
        self._one[1] = 0.0

    def _framed(self, text: Sequence[str]) -> npt.NDArray[np.int64]:
        ids = [self.ids.get(word, 0) for word in text]
        return np.array([1, 1, *ids, 2], np.int64)

    def probabilities(self, ids: npt.NDArray[np.int64]) -> Floats:
        """Returns of each word from the third on how likely it is after two."""
        last = ids[2:]
        two = self._two.interpolate(ids[1:-1], last, self._one[last])
        return self._three.interpolate(ids[:-2] * self._base + ids[1:-1], last, two)

    def surprise(self, line: str) -> float:
        """Returns nats a word, the end among them."""
        return float(-np.log(self.probabilities(self._framed(words_of(line)))).mean())

    def rarity(self, line: str) -> float:
        """Returns nats a word by its frequency alone, plus one."""
        found = [self._rarity[self.ids.get(word, 0)] for word in words_of(line)]
        return float(np.mean(found)) if found else 0.0

    def some_words(self, chance: random.Random) -> Callable[[], str]:
        """Returns a function that draws a word of the text, of letters."""

        def draw() -> str:
            while True:
                word = self._words[int(self._drawn[chance.randrange(self.num_words)])]
                if word.isalpha():
                    return word

        return draw


class _Order:
    """Counts of n-grams, by number: the context's times the base, plus the last."""

    def __init__(self, grams: npt.NDArray[np.int64], counts: Floats, base: int) -> None:
        self.grams, self._counts, self._base = grams, counts, base
        self._discount = _discount(counts)
        self._contexts, first, kinds = np.unique(
            grams // base, return_index=True, return_counts=True
        )
        self._totals = np.add.reduceat(counts, first)
        self._left = self._discount * kinds / self._totals

    def interpolate(
        self,
        contexts: npt.NDArray[np.int64],
        last: npt.NDArray[np.int64],
        lower: Floats,
    ) -> Floats:
        """Returns probabilities, by those of the order below."""
        at, known = _find(self._contexts, contexts)
        where, seen = _find(self.grams, contexts * self._base + last)
        counts = np.where(seen, self._counts[where] - self._discount, 0.0)
        mixed = counts / self._totals[at] + self._left[at] * lower
        return np.where(known, mixed, lower)


def _find(
    table: npt.NDArray[np.int64], wanted: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.bool_]]:
    at = np.minimum(np.searchsorted(table, wanted), table.size - 1)
    return at, table[at] == wanted


def _discount(counts: npt.NDArray[np.generic]) -> float:
    once, twice = int(np.sum(counts == 1)), int(np.sum(counts == 2))
    return once / (once + 2 * twice) if once else 0.5


def by_line(name: str, score: Callable[[str], float]) -> Scorer:
    """Makes a scorer of documents from one of lines."""
    return lambda documents: {
        name: [np.array([score(line) for line in lines]) for lines in documents]
    }


def network(name: str) -> Scorer:
    """Returns the scorer that `clean` has of a preset."""
    from electra_tf.cleaning import clean_config, oddness
    from electra_tf.system import cores

    cores.share_out()
    preset, _, role = name.partition(":")
    judge = oddness.Judge(preset, clean_config.ScoreConfig(network=role or "auto"))
    judge.judge([["One line, so that what follows is not the first."]])
    title = f"{Path(preset).name}, {judge.network}"

    def score(documents: Documents) -> dict[str, list[Floats]]:
        judged = judge.judge(documents)
        names = ["surprise", *(["replaced"] if judge.tells_replaced else [])]
        return {
            f"{title}, {name}": [
                np.array([getattr(line, name) for line in lines]) for lines in judged
            ]
            for name in names
        }

    return score


# What is told.


def report(
    scorer: Scorer, made: Sequence[Damaged], kinds: Sequence[str], output: str | None
) -> None:
    """Scores, and prints a row for each kind of scores."""
    begun = time.perf_counter()
    found = scorer([one.lines for one in made])
    seconds = time.perf_counter() - begun
    lines = [line for one in made for line in one.lines]
    marks = np.array([kind or "" for one in made for kind in one.kinds])
    is_judged = np.array([len(line.split()) in WORDS for line in lines])
    speed = sum(len(words_of(line)) for line in lines) / seconds
    for name, scores in found.items():
        values = np.concatenate(scores)
        clean = values[(marks == "") & is_judged]
        areas = {kind: area(values[marks == kind], clean) for kind in kinds}
        areas["all"] = area(values[marks != ""], clean)
        told = "  ".join(f"{kind} {a:.3f}+-{e:.3f}" for kind, (a, e) in areas.items())
        print(f"{name}: {told}  {speed:,.0f} words/s", flush=True)
        if output:
            row = {"name": name, "words_per_second": speed, "areas": areas}
            with open(output, "a", encoding="utf-8") as out:
                print(json.dumps(row, ensure_ascii=False), file=out)


def area(bad: Floats, clean: Floats) -> tuple[float, float]:
    """Returns the area under the ROC curve, ties half, and its standard error."""
    below = np.searchsorted(np.sort(clean), bad, side="left")
    above = np.searchsorted(np.sort(clean), bad, side="right")
    value = float((below + above).mean() / 2 / clean.size)
    one, two = value / (2 - value), 2 * value**2 / (1 + value)
    spread = (
        value * (1 - value)
        + (bad.size - 1) * (one - value**2)
        + (clean.size - 1) * (two - value**2)
    ) / (bad.size * clean.size)
    return value, math.sqrt(max(spread, 0.0))


if __name__ == "__main__":
    main()
