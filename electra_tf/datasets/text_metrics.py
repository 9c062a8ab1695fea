"""Texts that were written, beside how they should read: BLEU, chrF, ROUGE.

In:   texts; of each, one reference or several.
Out:  measures from 0 to 100, as sacrebleu prints them; and how they were taken.

Where an example has several references, BLEU and chrF take what is nearest as sacrebleu
does, ROUGE the best of them.
"""

import functools
import itertools
import re
import unicodedata
from collections.abc import Sequence
from typing import Any, NamedTuple

from electra_tf.datasets import metrics

# What `measure` returns, and what may choose among epochs and trials.
NAMES = CHRF, BLEU, *ROUGE = (
    "chrf",
    "bleu",
    "rouge1",
    "rouge2",
    "rougeL",
    "rougeLsum",
)

References = Sequence[Sequence[str]]  # of each text

# Where sentences end: behind a mark and a blank, and behind an ideographic mark.
_ENDS = re.compile("\n|(?<=[.!?\u2026\u061f\u06d4\u0964]) +|(?<=[\u3002\uff01\uff1f])")

_KANA = re.compile("[\u3041-\u30ff]")


class Measured(NamedTuple):
    """Numbers, and what they are."""

    scores: dict[str, float]  # by NAMES
    signatures: dict[str, str]  # of bleu, chrf, rouge: what else decides on them


def measure(texts: Sequence[str], references: References) -> Measured:
    """Measures texts.

    BLEU cuts words as languages want it: Chinese by sacrebleu's rules for it, other
    scripts without blanks into characters, all else by the rules of WMT (13a).
    """
    if not texts:
        return Measured(dict.fromkeys(NAMES, 0.0), {})
    # Here: they take seconds, and who asks a server measures nothing.
    from sacrebleu.metrics import bleu, chrf

    streams = [*itertools.zip_longest(*references)]
    scores, signatures = {}, {}
    found: Any
    for name, found in (
        (CHRF, chrf.CHRF()),
        (BLEU, bleu.BLEU(tokenize=_tokenizer(references))),
    ):
        scores[name] = float(found.corpus_score(list(texts), streams).score)
        signatures[name] = str(found.get_signature())
    # Of rougeLsum, each line is a sentence; no other measure heeds lines.
    right = [[*map(_in_lines, one)] for one in references]
    found = rouge([*map(_in_lines, texts)], right, ROUGE)
    scores |= {name: 100.0 * mean for name, mean in found.items()}
    signatures["rouge"] = f"rouge-score:{_version()}|case:lc|tok:letters|stem:no"
    return Measured(scores, signatures)


def chrf_of(text: str, references: Sequence[str]) -> float:
    """Returns the chrF of one text, from 0 to 100."""
    from sacrebleu.metrics import chrf

    return float(chrf.CHRF().sentence_score(text, list(references)).score)


def _tokenizer(references: References) -> str:
    """Returns how BLEU is to cut words."""
    some = " ".join(one[0] for one in references[:1000])
    if not metrics.is_without_blanks(some):
        return "13a"
    ideographs = re.search("[\u4e00-\u9fff]", some) and not _KANA.search(some)
    return "zh" if ideographs else "char"


def rouge(
    texts: Sequence[str],
    references: References,
    names: Sequence[str],
    stems: bool = False,
) -> dict[str, float]:
    """Returns the mean F1, 0 to 1, of words, pairs of words, or words in their order.

    Args:
        texts: a sentence a line, which rougeLsum heeds.
        references: of each text; the best one counts.
        names: of rouge-score's measures.
        stems: see `Words`.
    """
    from rouge_score import rouge_scorer  # Here: it takes seconds.

    scorer = rouge_scorer.RougeScorer(list(names), tokenizer=Words(stems))
    totals = dict.fromkeys(names, 0.0)
    for text, right in zip(texts, references, strict=True):
        found = scorer.score_multi(list(right), text)
        for name in names:
            totals[name] += float(found[name].fmeasure)
    return {name: total / max(1, len(texts)) for name, total in totals.items()}


def _in_lines(text: str) -> str:
    return "\n".join(part for part in _ENDS.split(text) if part)


class Words:
    """Cuts words as rouge-score does, of any script.

    Its own tokenizer knows the letters a to z alone. A letter of a script that has no
    blanks between words is a word.

    Args:
        stems: whether English words lose their endings, as rouge-score's users have it.
    """

    def __init__(self, stems: bool = False) -> None:
        from rouge_score import tokenizers

        english = tokenizers.DefaultTokenizer(use_stemmer=True)
        self._stem = functools.lru_cache(100_000)(english.tokenize) if stems else None

    def tokenize(self, text: str) -> list[str]:
        """Returns the words, in small letters."""
        kept = "".join(map(_kept, text.lower()))
        words = metrics.WITHOUT_BLANKS.sub(r" \g<0> ", kept).split()
        if self._stem is None:
            return words
        stemmed = (self._stem(word) if word.isascii() else [word] for word in words)
        return [part for parts in stemmed for part in parts]


@functools.lru_cache(maxsize=100_000)
def _kept(character: str) -> str:
    """Returns letters, digits and the marks on them; of all else, a blank."""
    return character if unicodedata.category(character)[0] in "LNM" else " "


@functools.cache
def _version() -> str:
    import importlib.metadata

    return importlib.metadata.version("rouge-score")
