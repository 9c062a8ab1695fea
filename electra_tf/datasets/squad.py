"""Questions about a text, whose answer is a span of it.

In:   SQuAD 1.1 and 2.0 JSON; MRQA JSON lines; questions from anywhere, one by one.
Out:  a Dataset, scored by the official rules: of 2.0 where a question has no answer;
      of MLQA where a text is of a script without blanks (Chinese, Japanese, Thai).
"""

import functools
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from electra_tf import errors
from electra_tf.datasets import dataset, files, metrics

# An answer as files have it: its text, and its first character where they say so.
RawAnswer = tuple[str, int | None]

# What looking into JSON of another shape raises.
_MALFORMED = (TypeError, KeyError, IndexError, ValueError, AttributeError)

_STEMS = {
    "train": ("train", "train-v1.1", "train-v2.0"),
    "dev": (*files.STEMS["dev"], "dev-v1.1", "dev-v2.0"),
    "test": files.STEMS["test"],
}


def read_squad(
    folder: str,
    *,
    train: str | None = None,
    dev: str | None = None,
    test: str | None = None,
    null_threshold: float = 0.0,
    rules: str | None = None,
) -> dataset.Dataset:
    """Reads SQuAD JSON; whether it is 1.1 or 2.0 is told by its questions.

    Args:
        folder: of train.json, dev.json, test.json.
        train: a file in it, of any name; dev and test the same.
        dev: see train.
        test: see train.
        null_threshold: a null_score above it says that there is no answer.
        rules: how answers are scored: squad, mlqa or cmrc; None = by the text.

    Raises:
        UserError: files are missing, or not what they should be.
    """
    given = {"train": train, "dev": dev, "test": test}
    paths = files.locate(folder, _STEMS, [".json"], given)
    splits = {split: _read_squad(path, split, rules) for split, path in paths.items()}
    return build("squad", splits, null_threshold)


def read_mrqa(
    folder: str,
    *,
    train: str | None = None,
    dev: str | None = None,
    test: str | None = None,
    rules: str | None = None,
) -> dataset.Dataset:
    """Reads the JSON lines of the MRQA 2019 shared task.

    Args:
        folder: of train.jsonl, dev.jsonl, test.jsonl, or these with .gz.
        train: a file in it, of any name; dev and test the same.
        dev: see train.
        test: see train.
        rules: how answers are scored: squad, mlqa or cmrc; None = by the text.

    Raises:
        UserError: files are missing, or not what they should be.
    """
    given = {"train": train, "dev": dev, "test": test}
    paths = files.locate(folder, files.STEMS, [".jsonl"], given)
    splits = {split: _read_mrqa(path, split, rules) for split, path in paths.items()}
    return build("mrqa", splits)


READERS = {"squad": read_squad, "mrqa": read_mrqa}


def build(
    name: str, splits: dict[str, dataset.Split], null_threshold: float = 0.0
) -> dataset.Dataset:
    """Makes a Dataset of splits that `Questions` made."""
    has_null = any(
        not answers for split in splits.values() for answers in split.labels or []
    )
    return dataset.Dataset(
        name=name,
        kind="question_answering",
        labels=(),
        splits=splits,
        # Scores at the best threshold do not hang on one that was guessed.
        metric="best_f1" if has_null else "f1",
        score=functools.partial(_score, null_threshold if has_null else None),
    )


class Questions:
    """Collects the questions of a split: answers are found in the context.

    In training a question whose answers are not in its context is dropped and counted;
    elsewhere it stays, for official scores are over all questions, and is counted, too.
    A test file in which no question has an answer, or is said to have none, is one
    whose answers are hidden.
    """

    def __init__(self, path: Path, split: str, rules: str | None = None) -> None:
        """Starts without any.

        Args:
            path: of their file.
            split: its name.
            rules: how answers are scored: one of metrics.RULES; None = by the text.

        Raises:
            UserError: there are no such rules.
        """
        if rules not in (None, *metrics.RULES):
            raise errors.UserError(
                f"rules={rules!r:.40}: want one of {', '.join(metrics.RULES)}, or null "
                "to choose by the text"
            )
        self._given_rules = rules
        self._rules: dict[str, str] = {}
        self.bad = files.BadRows(path)
        self._path = path
        self._split = split
        self._keys: dict[str, None] = {}
        self._inputs: list[dataset.Question] = []
        self._labels: list[list[dataset.Answer]] = []
        self._unlabelled: list[str] = []
        self._num_moved = 0
        self._num_lacking = 0  # whose answers are not in their context
        self._says_impossible = False

    def add(
        self,
        where: str,
        key: Any,
        question: Any,
        context: Any,
        raw_answers: Sequence[RawAnswer] | None,
        is_impossible: bool = False,
    ) -> None:
        """Takes a question, or counts it as bad.

        Args:
            where: its place in the file.
            key: its id.
            question: not blank but in test; nor the context.
            context: text.
            raw_answers: none = unanswerable; None = unknown.
            is_impossible: the file says so, beside having no answers.
        """
        for name, text in (("question", question), ("context", context)):
            is_blank = self._split != "test" and not str(text).strip()
            if not isinstance(text, str) or is_blank:
                self.bad.add(where, f"{name} is {text!r:.40}, want text")
                return
        if not isinstance(key, str | int):
            self.bad.add(where, f"id is {key!r:.40}, want text")
            return
        key = files.clean(str(key))
        if key in self._keys:
            self.bad.add(where, f"id {key!r:.40} stands twice")
            return
        if raw_answers is None:
            self._unlabelled.append(where)
        self._says_impossible = self._says_impossible or is_impossible
        context = files.clean(context)
        answers = self._place(context, raw_answers or [])
        if answers is None:
            return
        rules = self._given_rules or (
            metrics.MLQA if metrics.is_without_blanks(context) else metrics.SQUAD
        )
        if rules != metrics.SQUAD:
            self._rules[key] = rules
        self._keys[key] = None
        self._inputs.append(dataset.Question(files.clean(question), context))
        self._labels.append(answers)

    def finish(self) -> dataset.Split:
        """Returns the split.

        Raises:
            UserError: no question is left, too many are bad, or answers are missing.
        """
        is_hidden = (
            self._split == "test"
            and not any(self._labels)
            and not self._says_impossible
        )
        labelled = len(self._unlabelled) < len(self._inputs) and not is_hidden
        if self._unlabelled and (labelled or self._split in ("train", "dev")):
            raise errors.UserError(
                f"{self._path}, {self._unlabelled[0]} has no answers "
                f"({len(self._unlabelled)} of {len(self._inputs)} questions)"
            )
        if self._num_lacking and not self._inputs:
            raise errors.UserError(
                f"{self._path}: no context holds its answer "
                f"({self._num_lacking} questions)"
            )
        num_dropped = self._num_lacking if self._split == "train" else 0
        num_bad, remark = self.bad.check(len(self._inputs), labelled)
        return dataset.Split(
            ids=list(self._keys),
            inputs=self._inputs,
            labels=self._labels if labelled else None,
            source=str(self._path),
            skipped=num_bad + num_dropped,
            remark="; ".join(filter(None, [remark, self._remark()])),
            rules=self._rules,
        )

    def _place(
        self, context: str, raw_answers: Sequence[RawAnswer]
    ) -> list[dataset.Answer] | None:
        """Returns the answers with their places; None for a question to drop."""
        raw_answers = [(files.clean(t), at) for t, at in raw_answers if t.strip()]
        answers = [find_answer(context, text, start) for text, start in raw_answers]
        self._num_moved += any(
            start is not None and 0 <= answer.start != start
            for answer, (_, start) in zip(answers, raw_answers, strict=True)
        )
        found = [answer for answer in answers if answer.start >= 0]
        lacks = bool(answers) and not found
        self._num_lacking += lacks
        if self._split != "train":
            return answers
        return None if lacks else found

    def _remark(self) -> str:
        found = []
        if self._num_lacking:
            became = "dropped" if self._split == "train" else "kept, to be scored"
            found.append(
                f"{self._num_lacking} {became}, whose context lacks the answer"
            )
        if self._num_moved:
            found.append(f"{self._num_moved} with an answer found at another place")
        if self._rules and self._split != "train":
            whose = next(iter(self._rules.values()))
            found.append(
                f"{len(self._rules)} of {len(self._inputs)} scored by the rules of "
                f"{whose.upper()}: letters, not words (the option rules=squad counts "
                "words)"
            )
        return f"{self._path}: questions: {'; '.join(found)}" if found else ""


def find_answer(context: str, text: str, start: int | None) -> dataset.Answer:
    """Returns an answer's span: where it should start, else the nearest that reads so.

    Case and the kind of blanks do not matter. Without `start` it is the first, whole
    words before parts of them. Where the context lacks the text, start is -1.
    """
    if start is not None and start >= 0 and context.startswith(text, start):
        return dataset.Answer(text, start)
    pattern = r"\s+".join(map(re.escape, text.split()))
    best = min(
        re.finditer(pattern, context, re.IGNORECASE),
        key=lambda match: (
            0 if start is None else abs(match.start() - start),
            _cuts_a_word(context, match),
            match[0] != text,
        ),
        default=None,
    )
    return dataset.Answer(best[0], best.start()) if best else dataset.Answer(text, -1)


def _cuts_a_word(context: str, match: re.Match[str]) -> bool:
    def is_within_word(place: int) -> bool:
        around = context[max(place - 1, 0) : place + 1]
        return len(around) == 2 and around.isalnum()

    return is_within_word(match.start()) or is_within_word(match.end())


def _score(
    threshold: float | None,
    predictions: Mapping[str, metrics.QaPrediction],
    split: dataset.Split,
) -> dict[str, float]:
    assert split.labels is not None, f"{split.source} has no labels"
    gold = {
        key: [answer.text for answer in answers]
        for key, answers in zip(split.ids, split.labels, strict=True)
    }
    return metrics.squad_score(gold, predictions, threshold, split.rules)


# SQuAD.


def _read_squad(path: Path, split: str, rules: str | None) -> dataset.Split:
    root = files.parse_json(files.read_text(path), str(path))
    if not isinstance(root, dict) or not isinstance(root.get("data"), list):
        raise errors.UserError(f'{path} is not SQuAD JSON: want {{"data": [...]}}')
    questions = Questions(path, split, rules)
    for where, context, qa in _walk(root, questions.bad):
        try:
            answers = _squad_answers(qa)
        except _MALFORMED:
            questions.bad.add(
                where,
                f"answers are {qa.get('answers')!r:.60}, "
                f"is_impossible is {qa.get('is_impossible', False)!r:.20}",
            )
            continue
        questions.add(
            where,
            qa.get("id"),
            qa.get("question"),
            context,
            answers,
            "is_impossible" in qa and answers == [],
        )
    return questions.finish()


def _walk(
    root: dict[str, Any], bad: files.BadRows
) -> Iterator[tuple[str, Any, dict[str, Any]]]:
    """Yields (place, context, question) of all that is a question."""
    for at, article in _items("data", root["data"], bad):
        paragraphs = _items(f"{at}.paragraphs", article.get("paragraphs"), bad)
        for within, paragraph in paragraphs:
            for place, qa in _items(f"{within}.qas", paragraph.get("qas"), bad):
                yield place, paragraph.get("context"), qa


def _items(
    place: str, values: Any, bad: files.BadRows
) -> Iterator[tuple[str, dict[str, Any]]]:
    if not isinstance(values, list):
        bad.add(place, f"{values!r:.40}, want a list")
        return
    for number, value in enumerate(values):
        if isinstance(value, dict):
            yield f"{place}[{number}]", value
        else:
            bad.add(f"{place}[{number}]", f"{value!r:.40}, want an object")


def _squad_answers(qa: dict[str, Any]) -> list[RawAnswer] | None:
    if _is_true(qa.get("is_impossible", False)):
        return []
    if "answers" not in qa:
        return None
    return [_raw_answer(a["text"], a["answer_start"]) for a in qa["answers"]]


def _is_true(value: Any) -> bool:
    """Reads a truth value, also where a table made text or a number of it.

    Raises:
        KeyError: it is none.
    """
    spelled = {"true": True, "1": True, "false": False, "0": False}
    return spelled[str(value).strip().lower()]


def _raw_answer(text: Any, start: Any) -> RawAnswer:
    if not isinstance(text, str) or not isinstance(start, int):
        raise TypeError
    return text, start


# MRQA.


def _read_mrqa(path: Path, split: str, rules: str | None) -> dataset.Split:
    questions = Questions(path, split, rules)
    for number, line in files.read_lines(path):
        if not line:
            continue
        where = f"line {number}"
        row = files.parse_json(line, f"{path}, {where}")
        if isinstance(row, dict) and "header" in row:
            continue
        if not isinstance(row, dict):
            questions.bad.add(where, f"{row!r:.40}, want an object")
            continue
        context = row.get("context")
        for place, qa in _items(f"{where}, qas", row.get("qas"), questions.bad):
            try:
                answers = _mrqa_answers(qa, context, split)
            except _MALFORMED:
                questions.bad.add(place, "answers are not as in MRQA")
                continue
            key = qa.get("qid", qa.get("id"))
            questions.add(place, key, qa.get("question"), context, answers)
    return questions.finish()


def _mrqa_answers(
    qa: dict[str, Any], context: Any, split: str
) -> list[RawAnswer] | None:
    """Returns what was detected to train on, else the answers that scoring takes.

    Raises:
        One of _MALFORMED: they are.
    """
    if "answers" not in qa and "detected_answers" not in qa:
        return None
    detected: list[RawAnswer] = []
    for answer in qa.get("detected_answers") or []:
        first, last = answer["char_spans"][0][:2]
        text, start = _raw_answer(context[first : last + 1], first)
        if text.strip():
            detected.append((text, start))
    places = {text.lower(): start for text, start in detected}
    answers = [(text, places.get(text.lower())) for text in qa.get("answers") or []]
    wanted = (detected or answers) if split == "train" else (answers or detected)
    if not wanted:
        raise ValueError  # MRQA has no unanswerable questions.
    return wanted
