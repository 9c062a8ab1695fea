"""Predictions and what was right become numbers: how good a task model is.

In:   lists of equal length, gold first: classes, numbers, tags, answers.
Out:  rates from 0 to 1, correlations from -1 to 1; official scripts print both x 100.

A measure of nothing is 0, and so is a rate or a correlation that would divide by zero.
"""

import collections
import difflib
import itertools
import math
import re
import string
import unicodedata
import warnings
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np


class QaPrediction(NamedTuple):
    """An answer, and how likely it is that there is none."""

    text: str  # the best answer, even where null_score is high
    null_score: float = 0.0  # higher = more likely unanswerable


class Entity(NamedTuple):
    """A chunk of words of one type."""

    start: int  # first word
    end: int  # one after the last
    type: str  # "" where tags are a bare B, I, E ...


_PREFIXES = tuple("BIMELSUW")

# Whose rules answers are scored by: words; characters; characters in a row.
RULES = SQUAD, MLQA, CMRC = "squad", "mlqa", "cmrc"

# Letters of scripts without blanks between words: Thai, Lao, Tibetan, Burmese, Khmer;
# ideographs, kana, bopomofo. Punctuation among them is gone before they are looked for.
WITHOUT_BLANKS = re.compile(
    "[\u0e00-\u0fff\u1000-\u109f\u1780-\u17ff"
    "\u3005\u3007\u3041-\u30ff\u3100-\u312f\u31a0-\u31bf\u31f0-\u31ff"
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff66-\uff9f"
    "\U00020000-\U0003ffff]"
)


# Classes.


def accuracy(gold: Sequence[object], predicted: Sequence[object]) -> float:
    """Returns the share of predictions that are right."""
    pairs = list(zip(gold, predicted, strict=True))
    return _divide(sum(a == b for a, b in pairs), len(pairs))


def f1(gold: Sequence[str], predicted: Sequence[str], positive: str = "1") -> float:
    """Returns the F1 of one class against the rest; 0 if no one ever says it."""
    pairs = list(zip(gold, predicted, strict=True))
    hits = sum(a == b == positive for a, b in pairs)
    found = sum(b == positive for _, b in pairs)
    wanted = sum(a == positive for a, _ in pairs)
    return _harmonic(hits, found, wanted)[2]


def macro_f1(gold: Sequence[str], predicted: Sequence[str]) -> float:
    """Returns the mean F1 of all classes in either list."""
    if not gold and not predicted:
        return 0.0
    from sklearn import metrics as sklearn_metrics  # Here: see `_correlation`.

    return float(
        sklearn_metrics.f1_score(gold, predicted, average="macro", zero_division=0.0)
    )


def multi_label(
    gold: Sequence[Collection[str]], predicted: Sequence[Collection[str]]
) -> dict[str, float]:
    """Returns micro_f1, macro_f1 and subset_accuracy of sets of classes.

    micro_f1 is over all pairs of an example and a class, macro_f1 the mean over the
    classes in either list, subset_accuracy the share of examples whose classes are all
    right, as scikit-learn counts them.
    """
    by_class = multi_label_f1(gold, predicted).values()
    counts = _count_classes(gold, predicted).values()
    return {
        "micro_f1": _harmonic(*(sum(one[i] for one in counts) for i in range(3)))[2],
        "macro_f1": _mean(one["f1"] for one in by_class),
        "subset_accuracy": accuracy(
            [frozenset(one) for one in gold], [frozenset(one) for one in predicted]
        ),
    }


def multi_label_f1(
    gold: Sequence[Collection[str]], predicted: Sequence[Collection[str]]
) -> dict[str, dict[str, float]]:
    """Returns precision, recall, f1 and the count in gold of each class."""
    return _by_class(_count_classes(gold, predicted))


def _count_classes(
    gold: Sequence[Collection[str]], predicted: Sequence[Collection[str]]
) -> dict[str, tuple[int, int, int]]:
    """Returns {class: (examples that have it rightly, found, in gold)}."""
    hits, found, wanted = (collections.Counter[str]() for _ in range(3))
    for right, said in zip(gold, predicted, strict=True):
        hits.update({*right} & {*said})
        found.update({*said})
        wanted.update({*right})
    return {kind: (hits[kind], found[kind], wanted[kind]) for kind in found | wanted}


def matthews(gold: Sequence[str], predicted: Sequence[str]) -> float:
    """Returns the Matthews correlation; 0 where either list is all one class."""
    if len(set(gold)) < 2 or len(set(predicted)) < 2:
        return 0.0
    from sklearn import metrics as sklearn_metrics  # Here: see `_correlation`.

    return float(sklearn_metrics.matthews_corrcoef(gold, predicted))


def confusion_matrix(
    gold: Sequence[str], predicted: Sequence[str], labels: Sequence[str]
) -> np.ndarray:
    """Returns int [C, C]: how often the class of the row was taken for the column's."""
    place = {label: index for index, label in enumerate(labels)}
    counts = np.zeros((len(labels), len(labels)), dtype=int)  # [C, C]
    for a, b in zip(gold, predicted, strict=True):
        counts[place[a], place[b]] += 1
    return counts


# Numbers.


def pearson(gold: Sequence[float], predicted: Sequence[float]) -> float:
    """Returns the linear correlation; 0 where a list is constant or not finite."""
    return _correlation("pearsonr", gold, predicted)


def spearman(gold: Sequence[float], predicted: Sequence[float]) -> float:
    """Returns the correlation of ranks; 0 where a list is constant or not finite."""
    return _correlation("spearmanr", gold, predicted)


def mean_squared_error(gold: Sequence[float], predicted: Sequence[float]) -> float:
    """Returns the mean of the squared differences; infinite if one is not finite."""
    pairs = list(zip(gold, predicted, strict=True))
    if not np.isfinite(pairs).all():
        return math.inf
    errors = [float(a) - float(b) for a, b in pairs]
    return _divide(math.fsum(e * e for e in errors), len(errors))


# Ranks.

RECALLED = (1, 5, 10)


def retrieval(ranks: Sequence[float]) -> dict[str, float]:
    """Returns the mean of 1 / rank, and the share of ranks up to 1, 5 and 10.

    Args:
        ranks: of what should be found, 1 = it was the first.
    """
    shares = {
        f"recall_at_{most}": _mean(float(rank <= most) for rank in ranks)
        for most in RECALLED
    }
    return {"mrr": _mean(1.0 / rank for rank in ranks), **shares}


def _correlation(
    measure: str,
    gold: Sequence[float],
    predicted: Sequence[float],
) -> float:
    if len(gold) != len(predicted):
        raise ValueError(f"{len(predicted)} predictions for {len(gold)} labels")
    if not np.isfinite([*gold, *predicted]).all():
        return 0.0
    if len(set(gold)) < 2 or len(set(predicted)) < 2:
        return 0.0
    # Here: it takes most of a second, and who asks a server measures nothing.
    from scipy import stats

    with warnings.catch_warnings():
        # SciPy warns of values that are almost constant.
        warnings.simplefilter("ignore")
        value = float(getattr(stats, measure)(gold, predicted)[0])
    return value if math.isfinite(value) else 0.0


# Tags.


def entities(tags: Sequence[str], has_types: bool = True) -> list[Entity]:
    """Returns the chunks that the tags of one sentence mark, by conlleval's rules.

    Reads IOB1, IOB2, IOE1, IOE2, BIOES, BMES and BILOU, and forgives what breaks them:
    an I- after another type begins a chunk. A tag without such a prefix is a chunk of
    one word (conlleval -r); O is none.

    Args:
        tags: one tag per word.
        has_types: False reads a bare B, I, E ... as a prefix; True, as a type: they
            are parts of speech, too.
    """
    found: list[Entity] = []
    goes_on = False  # May the next word continue the last chunk?
    for place, tag in enumerate(tags):
        if tag == "O":
            goes_on = False
            continue
        prefix, kind = _split_tag(tag, has_types)
        if goes_on and prefix in tuple("IMEL") and kind == found[-1].type:
            found[-1] = found[-1]._replace(end=place + 1)
        else:
            found.append(Entity(place, place + 1, kind))
        goes_on = prefix in tuple("BIM")
    return found


def entity_f1(
    gold: Sequence[Sequence[str]], predicted: Sequence[Sequence[str]]
) -> dict[str, float]:
    """Returns precision, recall and f1 over chunks, and accuracy over words.

    Args:
        gold: the tags of each sentence.
        predicted: the same, one tag per word.
    """
    by_type = _count(gold, predicted).values()
    hits, found, wanted = (sum(counts[i] for counts in by_type) for i in range(3))
    precision, recall, f_measure = _harmonic(hits, found, wanted)
    words = [list(itertools.chain.from_iterable(side)) for side in (gold, predicted)]
    return {
        "precision": precision,
        "recall": recall,
        "f1": f_measure,
        "accuracy": accuracy(*words),
    }


def entity_f1_by_type(
    gold: Sequence[Sequence[str]], predicted: Sequence[Sequence[str]]
) -> dict[str, dict[str, float]]:
    """Returns precision, recall, f1 and the count in gold of each type of chunk."""
    return _by_class(_count(gold, predicted))


def _by_class(
    counts: Mapping[str, tuple[int, int, int]],
) -> dict[str, dict[str, float]]:
    found = {}
    for kind, numbers in sorted(counts.items()):
        precision, recall, f_measure = _harmonic(*numbers)
        found[kind] = {
            "precision": precision,
            "recall": recall,
            "f1": f_measure,
            "count": float(numbers[2]),
        }
    return found


def _split_tag(tag: str, has_types: bool) -> tuple[str, str]:
    """Returns ("B", "NP") for B-NP, ("", "NN") for NN."""
    if not has_types:
        return tag, ""
    prefix, dash, kind = tag.partition("-")
    return (prefix, kind) if dash and prefix in _PREFIXES else ("", tag)


def _count(
    gold: Sequence[Sequence[str]], predicted: Sequence[Sequence[str]]
) -> dict[str, tuple[int, int, int]]:
    """Returns {type: (chunks found rightly, found, in gold)}."""
    tags = set(itertools.chain.from_iterable([*gold, *predicted]))
    has_types = not tags <= {"O", *_PREFIXES}
    hits, found, wanted = (collections.Counter[str]() for _ in range(3))
    for number, (right, said) in enumerate(zip(gold, predicted, strict=True)):
        if len(right) != len(said):
            raise ValueError(
                f"sentence {number}: {len(said)} tags for {len(right)} words"
            )
        a, b = (set(entities(side, has_types)) for side in (right, said))
        hits.update(entity.type for entity in a & b)
        found.update(entity.type for entity in b)
        wanted.update(entity.type for entity in a)
    return {kind: (hits[kind], found[kind], wanted[kind]) for kind in found | wanted}


# Answers.


def squad_score(
    gold: Mapping[str, Sequence[str]],
    predicted: Mapping[str, QaPrediction],
    threshold: float | None = None,
    rules: Mapping[str, str] | None = None,
) -> dict[str, float]:
    """Scores answers as the official scripts of SQuAD, MLQA or CMRC do.

    Differs from the script of 2.0 in the search: scoring with a best threshold gives
    the best score, also where null scores are equal or answers are mere punctuation.

    Args:
        gold: the right answers of each question by id; none = unanswerable.
        predicted: by id; a question without a prediction counts as wrong.
        threshold: None scores by the rules of SQuAD 1.1; a number, by those of 2.0: a
            null_score above it says that there is no answer.
        rules: of questions that are not scored by SQuAD's, whose: one of RULES by id.

    Returns:
        exact and f1; by the rules of 2.0 also of the questions with (HasAns_) and
        without answer (NoAns_), and best_exact, best_exact_thresh, best_f1,
        best_f1_thresh.
    """
    has_null = threshold is not None
    exact, overlap = _raw_scores(gold, predicted, has_null, rules or {})
    if threshold is None:
        return {"exact": _mean(exact.values()), "f1": _mean(overlap.values())}
    scores: dict[str, float] = {}
    for name, raw in (("exact", exact), ("f1", overlap)):
        ruled = {
            key: float(not gold[key])
            if key in predicted and predicted[key].null_score > threshold
            else score
            for key, score in raw.items()
        }
        scores[name] = _mean(ruled.values())
        for group, members in (
            ("HasAns", [key for key in gold if gold[key]]),
            ("NoAns", [key for key in gold if not gold[key]]),
        ):
            if members:
                scores[f"{group}_{name}"] = _mean(ruled[key] for key in members)
        best, where = _best_threshold(gold, predicted, raw)
        scores |= {f"best_{name}": best, f"best_{name}_thresh": where}
    return scores


def normalize_answer(text: str, rules: str = SQUAD) -> str:
    """Lowercases and drops punctuation and extra blanks.

    By the rules of SQuAD also English articles; its punctuation is that of ASCII. By
    those of MLQA and CMRC, of any script; and each letter of a script that has no
    blanks between its words stands alone, so that letters are counted, not clauses.

    Differs from MLQA's script, which parts ideographs alone: kana, Thai, Lao, Khmer,
    Burmese and Tibetan letters too. Differs from that of CMRC in the punctuation, and
    in not cutting up Latin words as NLTK does.
    """
    text = text.lower()
    if rules == SQUAD:
        text = "".join(c for c in text if c not in string.punctuation)
        return " ".join(re.sub(r"\b(a|an|the)\b", " ", text).split())
    text = "".join(c for c in text if not _is_punctuation(c))
    return " ".join(WITHOUT_BLANKS.sub(r" \g<0> ", text).split())


def is_without_blanks(text: str) -> bool:
    """Tells whether a text is of a script without blanks between words.

    Of its letters of such scripts and its words of others, the letters are over 0.3: an
    English text that cites Chinese is not, a Chinese one full of names is.
    """
    letters = len(WITHOUT_BLANKS.findall(text))
    words = len(re.findall(r"\w+", WITHOUT_BLANKS.sub(" ", text)))
    return letters > 0.3 * (letters + words)


def _is_punctuation(char: str) -> bool:
    return char in string.punctuation or unicodedata.category(char).startswith("P")


def _raw_scores(
    gold: Mapping[str, Sequence[str]],
    predicted: Mapping[str, QaPrediction],
    has_null: bool,
    rules: Mapping[str, str],
) -> tuple[dict[str, float], dict[str, float]]:
    """Returns exact match and F1 of each question, before any threshold."""
    exact, overlap = {}, {}
    for key, answers in gold.items():
        whose = rules.get(key, SQUAD)
        if has_null:
            answers = [a for a in answers if normalize_answer(a, whose)]
        said = predicted[key].text if key in predicted else None
        pairs = [] if said is None else [(a, said) for a in answers or [""]]
        exact[key] = max(
            (
                float(normalize_answer(a, whose) == normalize_answer(b, whose))
                for a, b in pairs
            ),
            default=0.0,
        )
        overlap[key] = max(
            (_token_f1(a, b, has_null, whose) for a, b in pairs), default=0.0
        )
    return exact, overlap


def _token_f1(gold: str, said: str, has_null: bool, rules: str) -> float:
    """Returns the F1 of shared tokens; by CMRC's rules, of the longest shared run."""
    wanted, found = (normalize_answer(text, rules).split() for text in (gold, said))
    if has_null and not (wanted and found):
        return float(wanted == found)
    if rules == CMRC:
        matcher = difflib.SequenceMatcher(None, wanted, found, autojunk=False)
        shared = matcher.find_longest_match().size
    else:
        counts = collections.Counter(wanted) & collections.Counter(found)
        shared = counts.total()
    return _harmonic(shared, len(found), len(wanted))[2]


def _best_threshold(
    gold: Mapping[str, Sequence[str]],
    predicted: Mapping[str, QaPrediction],
    raw: Mapping[str, float],
) -> tuple[float, float]:
    """Returns the best mean score and the lowest threshold that reaches it."""
    asked = sorted((predicted[key].null_score, key) for key in gold if key in predicted)
    if not asked:
        return 0.0, 0.0
    # Below all null scores, every question is said to have no answer.
    total = best = float(sum(not gold[key] for _, key in asked))
    where = float(np.nextafter(asked[0][0], -math.inf))
    for null_score, group in itertools.groupby(asked, key=lambda pair: pair[0]):
        total += sum(raw[key] - (not gold[key]) for _, key in group)
        if total > best:
            best, where = total, null_score
    return best / len(gold), where


def _harmonic(hits: int, found: int, wanted: int) -> tuple[float, float, float]:
    """Returns precision, recall and F1."""
    return (
        _divide(hits, found),
        _divide(hits, wanted),
        _divide(2 * hits, found + wanted),
    )


def _divide(a: float, b: float) -> float:
    return a / b if b else 0.0


def _mean(values: Iterable[float]) -> float:
    numbers = list(values)
    return _divide(math.fsum(numbers), len(numbers))
