"""Tables of questions, the texts that may hold their answers, and the answers.

In:   columns question, context, answer (`tabular`).
Out:  a Dataset, as of SQuAD.
"""

import re
from typing import Any

from electra_tf.datasets import dataset, literals, squad, tables, tabular


def read_question_answering(
    folder: str,
    *,
    question_column: str = "question",
    context_column: str = "context",
    answer_column: str = "answer",
    start_column: str | None = None,
    id_column: str | None = None,
    train: str | None = None,
    dev: str | None = None,
    test: str | None = None,
    quoted: bool | None = None,
    null_threshold: float = 0.0,
    rules: str | None = None,
) -> dataset.Dataset:
    """Reads questions, the texts that may hold their answers, and the answers.

    Args:
        folder: of train.tsv and the like.
        question_column: the question.
        context_column: the text.
        answer_column: a text of the context, or a list of them; none is an
            unanswerable question. Also {"text": [...], "answer_start": [...]}. A cell
            that prints one of these is one, unless the context holds its very text.
        start_column: where the answer starts, in characters; None = search for it.
        id_column: None = the numbers of the lines.
        train: a file of any name; dev and test the same.
        dev: see train.
        test: see train.
        quoted: whether quotes are around cells of .tsv and .csv; None = look.
        null_threshold: a null_score above it says that there is no answer.
        rules: how answers are scored: squad, mlqa or cmrc; None = by the text.

    Raises:
        UserError: files or columns are missing, or are not what they should be.
    """
    labels = (answer_column, *([start_column] if start_column else []))
    columns = tabular.Columns(
        (question_column, context_column),
        labels,
        lambda row, _: (row[question_column], row[context_column]),
        lambda row: _answers(
            row, answer_column, start_column, str(row[context_column])
        ),
        id_column,
    )
    splits = {}
    for split, path in tabular.locate(
        folder, tabular.Given(train, dev, test, quoted)
    ).items():
        questions = squad.Questions(path, split, rules)
        found = tabular.examples(path, split, columns, quoted, questions.bad)
        for where, key, content, answers, _ in found:
            question, context = content
            questions.add(where, key, question, context, answers)
        splits[split] = questions.finish()
    return squad.build("question_answering", splits, null_threshold)


def _answers(
    row: tables.Row, column: str, start_column: str | None, context: str
) -> list[squad.RawAnswer]:
    value: Any = _printed(row[column], column, context)
    starts = _printed(row[start_column], start_column, "") if start_column else None
    if isinstance(value, dict):
        value, starts = value.get("text"), value.get("answer_start")
    texts = _as_list(value)
    places = starts if isinstance(starts, list) else [starts] * len(texts)
    if len(places) != len(texts):
        raise tables.BadCellError(f"{len(places)} starts for {len(texts)} answers")
    return [
        (tables.get_text({column: text}, column, or_blank=True), _start(place))
        for text, place in zip(texts, places, strict=True)
    ]


def _printed(value: Any, column: str, context: str) -> Any:
    """Returns the answers that a cell of text prints, as in {'text': ['a'], ...}."""
    if not isinstance(value, str) or (value.strip() and value in context):
        return value
    if re.match(r"\s*(\{\s*['\"].*\}|\[.*\])\s*$", value, re.DOTALL):
        try:
            return literals.parse(value)
        except ValueError as error:
            raise tables.BadCellError(f"column {column!r}: {error}") from None
    return value


def _as_list(value: Any) -> list[Any]:
    if isinstance(value, list):
        return value
    return [] if value in (None, "") else [value]


def _start(value: Any) -> int | None:
    if value is None or value == "":
        return None
    try:
        return int(value)
    except (TypeError, ValueError, OverflowError):
        raise tables.BadCellError(
            f"answer starts at {value!r:.40}, want a number"
        ) from None
