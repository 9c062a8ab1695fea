"""Documents of any number become summaries, one per line, some documents at a time.

In:   an encoder or a sentence classifier; texts, or a file of them: see `predictor`.
Out:  .jsonl, .tsv, .txt, or these with .gz: a summary of each document.

A .txt is one document, or several (data.document); in .txt, summaries have a sentence a
line and a blank line between them.
"""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from electra_tf import errors
from electra_tf.datasets import table_extracts, tables
from electra_tf.finetuning import predictor, summary_config
from electra_tf.kinds import columns, kind
from electra_tf.reports import progress
from electra_tf.tasks import summarizer

OUTPUTS = (*predictor.OUTPUTS, ".txt")

_COLUMNS = ("text", "sentences")

# Documents that are read at once: their sentences share batches.
_AT_ONCE = 64


def summarize(
    origin: str,
    settings: summary_config.SummarizeConfig,
    *,
    network: str | None = None,
    texts: Sequence[str] = (),
    source: str | None = None,
    output: str | None = None,
    num_sentences: int | None = None,
    ratio: float | None = None,
) -> None:
    """Summarizes texts, or the documents of a file, in their order.

    Args:
        origin: what `ElectraSummarizer.from_preset` takes.
        settings: see there.
        network: see `ElectraSummarizer.from_preset`.
        texts: single texts.
        source: a file, or "-".
        output: a file; None = JSON lines to stdout.
        num_sentences: see `ElectraSummarizer.summarize`.
        ratio: see there.

    Raises:
        UserError: there is nothing to read, or it is no text; the documents before a
            bad one have been summarized then.
    """
    if bool(texts) == bool(source):
        raise errors.UserError(
            "name what to read: either --text=... (repeatable) or --input=<file or ->"
        )
    predictor.check_output(source, output, OUTPUTS)
    summarizer.check_length(num_sentences, ratio)
    options = settings.data.options
    rows = (
        predictor.given(texts)
        if texts
        else _read(source or "-", options, settings.data.document)
    )
    # Now, for what is wrong with the file to be said before a model is loaded.
    first = next(rows, None)
    rows = itertools.chain([] if first is None else [first], rows)
    rows = _documents(rows, columns.Columns(options))
    with (
        progress.said_warnings(predictor.warn),
        predictor.writer(output, _text) as write,
    ):
        model = summarizer.ElectraSummarizer.from_preset(
            origin,
            network,
            **settings.model.model_dump(),
            **settings.summary.model_dump(),
        )
        for chunk in predictor.chunks(rows, _AT_ONCE):
            documents = [row.cells["document"] for row in chunk]
            found = model.summarize(documents, num_sentences, ratio)
            for row, one in zip(chunk, found, strict=True):
                key = {"id": row.cells["id"]} if "id" in row.cells else {}
                write({**key, **_answer(one)})


def _answer(found: summarizer.Summary) -> kind.Answer:
    """Returns a summary as JSON values."""
    return {
        "summary": found.text,
        "sentences": [one._asdict() for one in found.sentences],
        "num_sentences": found.num_sentences,
        "clusters": [
            {**one._asdict(), "words": [word._asdict() for word in one.words]}
            for one in found.clusters
        ],
    }


def _text(answer: kind.Answer) -> str:
    return "".join(f"{one['text']}\n" for one in answer["sentences"])


def _documents(
    rows: Iterable[predictor.Row], names: columns.Columns
) -> Iterator[predictor.Row]:
    """Yields rows with their documents: texts, or lists of sentences.

    Raises:
        UserError: a row has none.
    """
    for row in rows:
        name = names.name("sentences", row.cells)
        try:
            if name in row.cells and names.name("text", row.cells) not in row.cells:
                found: Any = table_extracts.get_sentences(row.cells, name)
            else:
                found = names.text(row.cells, "text")
        except tables.BadCellError as error:
            raise errors.UserError(f"{row.where}: {error}") from None
        yield predictor.Row(row.where, {**row.cells, "document": found})


def _read(
    source: str, options: dict[str, Any], document: str
) -> Iterator[predictor.Row]:
    """Yields the rows of a file; of text, lines are put together to documents."""
    rows = predictor.read(source, options, _COLUMNS)
    first = next(rows, None)
    if first is None:
        return
    rows = itertools.chain([first], rows)
    if not first.is_text or document == "line":
        yield from rows
        return
    groups = [rows] if document == "file" else _paragraphs(rows)
    for number, lines in enumerate(groups, 1):
        text = "\n".join(row.cells["text"] for row in lines)
        yield predictor.Row(f"{source}, document {number}", {"text": text})


def _paragraphs(
    rows: Iterable[predictor.Row],
) -> Iterator[Iterable[predictor.Row]]:
    """Yields the lines between blank ones."""
    for is_blank, lines in itertools.groupby(rows, lambda row: not _has_text(row)):
        if not is_blank:
            yield lines


def _has_text(row: predictor.Row) -> bool:
    return bool(row.cells["text"].strip())
