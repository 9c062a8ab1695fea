"""N-best lists: which hypothesis of each is the best by a sum of scores, and how good.

In:   rows with id, hypothesis, score of the first pass, and on dev the reference.
Out:  lists; the weight that is best on dev; what is chosen, and its metric.

A hypothesis is judged by score + weight * s + bonus * tokens, where s is a scorer's
(Salazar et al. 2020, arXiv 1910.14659, section 3). N lists, H hypotheses at most.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from electra_tf import errors
from electra_tf.datasets import tables
from electra_tf.kinds import columns

FIELDS = ("hypothesis", "score", "reference")

# Tried on dev: first-pass scores have any unit, so weights have any size. The bonus
# does for each token what the weight does for each nat.
WEIGHTS = np.concatenate([[0.0], 10.0 ** np.arange(-3.0, 3.01, 0.125)])
_SIZES = 10.0 ** np.arange(-2.0, 1.51, 0.25)
BONUSES = np.concatenate([-_SIZES[::-1], [0.0], _SIZES])

Floats = npt.NDArray[np.float64]


class Hypothesis(NamedTuple):
    """One way to read what was heard, or to translate it."""

    text: str
    score: float  # of the first pass; higher is better
    place: int  # in its list, from 1


class NBest(NamedTuple):
    """What there is to choose among, the best of the first pass first."""

    id: str
    hypotheses: list[Hypothesis]
    reference: str | None


class Scored(NamedTuple):
    """What a scorer says of lists: float64 [N, H]; -inf where there is none."""

    first: Floats
    second: Floats
    sizes: Floats  # in tokens

    def chosen(self, weight: float, bonus: float) -> npt.NDArray[np.int64]:
        """Returns which is the best of each list, int64 [N]; of equals the first."""
        total = self.first + weight * self.second + bonus * self.sizes
        found: npt.NDArray[np.int64] = np.argmax(total, axis=1)
        return found


class Tuned(NamedTuple):
    """What was chosen on dev."""

    weight: float
    bonus: float  # for each token
    before: float  # the metric of the first pass alone
    after: float
    oracle: float  # of the best hypothesis in each list


# Rows to lists.


def read(
    rows: Iterable[Any],
    options: Mapping[str, Any],
    where: str,
    *,
    costs: bool,
    is_dev: bool,
) -> list[NBest]:
    """Gathers rows with one id into lists; a list's rows may stand anywhere.

    Args:
        rows: `predictor.Row`s.
        options: names of columns, as in {"hypothesis_column": "text"}.
        where: the file, for messages.
        costs: whether a score is the better the lower.
        is_dev: whether there must be a reference.

    Raises:
        UserError: a row lacks a field, a list has two references, or none is there.
    """
    names = columns.Columns(options)
    found: dict[str, list[Hypothesis]] = {}
    references: dict[str, str] = {}
    for row in rows:
        try:
            key, text, score, reference = _parse(names, row.cells, is_dev)
            if reference is not None and references.setdefault(key, reference) != (
                reference
            ):
                raise tables.BadCellError(f"another reference for the list {key!r:.40}")
        except tables.BadCellError as error:
            raise errors.UserError(f"{row.where}: {error}") from None
        one = found.setdefault(key, [])
        one.append(Hypothesis(text, -score if costs else score, len(one) + 1))
    if not found:
        raise errors.UserError(f"{where} has no hypotheses; want a row for each")
    return [
        NBest(key, sorted(one, key=lambda h: -h.score), references.get(key))
        for key, one in found.items()
    ]


def _parse(
    names: columns.Columns, row: tables.Row, is_dev: bool
) -> tuple[str, str, float, str | None]:
    fields = {name: names.name(name, row) for name in ("id", *FIELDS)}
    for name, column in fields.items():
        if column not in row and (is_dev or name != "reference"):
            raise tables.BadCellError(
                f"no column {column!r}; it has {errors.listed(map(repr, row))}: rename "
                f"one, or say which, as in --set data.options.{name}_column=<name>"
            )
    has_reference = fields["reference"] in row and (
        is_dev or row[fields["reference"]] is not None
    )
    return (
        tables.get_name(row, fields["id"]),
        tables.get_text(row, fields["hypothesis"], or_blank=True),
        tables.get_number(row, fields["score"]),
        tables.get_text(row, fields["reference"]) if has_reference else None,
    )


def scored(lists: Sequence[NBest], scores: dict[str, tuple[float, int]]) -> Scored:
    """Puts scores into rectangles.

    Args:
        lists: of hypotheses.
        scores: of each text, a scorer's sum and the number of tokens.
    """
    shape = len(lists), max(len(one.hypotheses) for one in lists)
    first, second, sizes = np.full(shape, -np.inf), np.zeros(shape), np.zeros(shape)
    for row, one in enumerate(lists):
        for place, hypothesis in enumerate(one.hypotheses):
            first[row, place] = hypothesis.score
            second[row, place], sizes[row, place] = scores[hypothesis.text]
    return Scored(first, second, sizes)


# Metrics: sums over the chosen hypotheses, of which a number is made.


class Metric(NamedTuple):
    """A metric of a set: of each hypothesis some counts, of their sums a number."""

    counts: Callable[[str, str], Sequence[float]]  # of hypothesis and reference
    value: Callable[[Floats], float]  # of the sums, in percent
    is_error: bool  # Whether low is good.


def metric(name: str, bleu_tokenizer: str = "13a") -> Metric:
    """Returns a metric of `task_config.RerankingConfig`.

    Raises:
        UserError: sacrebleu, which BLEU needs, is not there or has no such tokenizer.
    """
    if name == "bleu":
        return _bleu(bleu_tokenizer)
    if name == "exact":
        return Metric(lambda a, b: (a.split() == b.split(), 1), _rate, False)
    cut: Callable[[str], Sequence[str]]
    cut = str.split if name == "wer" else lambda text: " ".join(text.split())
    return Metric(
        lambda a, b: (edit_distance(cut(a), cut(b)), len(cut(b))), _rate, True
    )


def edit_distance(found: Sequence[str], wanted: Sequence[str]) -> int:
    """Returns the fewest insertions, deletions and substitutions between two lists."""
    codes: dict[str, int] = {}
    a, b = (
        np.array([codes.setdefault(item, len(codes)) for item in items], np.int64)
        for items in (found, wanted)
    )
    place = np.arange(len(b) + 1)
    row = place
    for number, item in enumerate(a, 1):
        # From above, or from above and left; then along the row, a step each.
        best = np.minimum(row[1:] + 1, row[:-1] + (b != item))
        best = np.concatenate([[number], best])
        row = np.minimum.accumulate(best - place) + place
    return int(row[-1])


def _rate(sums: Floats) -> float:
    return float(100.0 * sums[0] / max(sums[1], 1.0))


def _bleu(tokenizer: str) -> Metric:
    try:
        from sacrebleu.metrics import bleu
    except ImportError:
        raise errors.UserError(
            "rerank.metric=bleu needs sacrebleu; pip install sacrebleu"
        ) from None
    if tokenizer not in bleu.BLEU.TOKENIZERS:
        raise errors.UserError(
            f"rerank.bleu_tokenizer={tokenizer}: want one of sacrebleu's, "
            f"{', '.join(sorted(bleu.BLEU.TOKENIZERS))}"
        )
    # Of one sentence: without "effective order" it would warn; the counts are the same.
    judge = bleu.BLEU(tokenize=tokenizer, effective_order=True)

    def counts(text: str, reference: str) -> Sequence[float]:
        one = judge.sentence_score(text, [reference])
        return [*one.counts, *one.totals, one.sys_len, one.ref_len]

    def value(sums: Floats) -> float:
        numbers = sums.astype(int).tolist()
        order = (len(numbers) - 2) // 2
        found = bleu.BLEU.compute_bleu(
            correct=numbers[:order],
            total=numbers[order : 2 * order],
            sys_len=numbers[-2],
            ref_len=numbers[-1],
            smooth_method="exp",
        )
        return float(found.score)

    return Metric(counts, value, False)


class Judged:
    """How good each hypothesis of lists is, counted once."""

    def __init__(self, lists: Sequence[NBest], by: Metric) -> None:
        """Counts; every list must have a reference."""
        self._by = by
        found = [
            [by.counts(one.text, str(nbest.reference)) for one in nbest.hypotheses]
            for nbest in lists
        ]
        most = max(map(len, found))
        rows = [one + [one[0]] * (most - len(one)) for one in found]
        self._counts = np.array(rows, np.float64)  # [N, H, counts]
        self._rows = np.arange(len(found))

    def value(self, chosen: npt.NDArray[np.int64]) -> float:
        """Returns the metric of what was chosen, int64 [N]."""
        return self._by.value(self._counts[self._rows, chosen].sum(axis=0))

    def oracle(self) -> float:
        """Returns the metric of the best hypothesis in each list, taken by itself."""
        sign = 1.0 if self._by.is_error else -1.0
        costs = [[sign * self._by.value(one) for one in row] for row in self._counts]
        return self.value(np.argmin(costs, axis=1))


def tune(scores: Scored, judged: Judged, is_error: bool, with_bonus: bool) -> Tuned:
    """Chooses the weight that is best on dev, and the bonus, if there is to be one.

    All of WEIGHTS are tried with all of BONUSES. Of equally good ones, the smallest
    bonus, and of its weights the middle one: it stands farthest from worse ones.
    """
    sign = 1.0 if is_error else -1.0
    tried: dict[tuple[float, float, float], list[float]] = {}
    for bonus in BONUSES if with_bonus else [0.0]:
        for weight in WEIGHTS:
            cost = sign * judged.value(scores.chosen(weight, bonus))
            tried.setdefault((cost, abs(bonus), bonus), []).append(weight)
    best = min(tried)
    weights = tried[best]
    before = np.zeros(len(scores.first), np.int64)
    return Tuned(
        float(weights[len(weights) // 2]),
        float(best[2]),
        judged.value(before),
        sign * best[0],
        judged.oracle(),
    )
