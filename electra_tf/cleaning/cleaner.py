"""The whole run of cleaning: a corpus becomes text that is kept, and text that is not.

In:   a preset, the paths of a corpus, settings.
Out:  a folder: scores.jsonl, kept.txt (.jsonl, .parquet) and dropped.jsonl, or
      marked.jsonl; report.html; clean.json.

First all lines are scored, which takes long: what is scored is on the disk, and the
same command goes on from there. Then the scores decide, which takes no network: with
other settings of `select` and `write` the same folder is decided anew.
"""

import contextlib
import gzip
import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from electra_tf import config, errors
from electra_tf.cleaning import clean_config, clean_page, oddness, scores, selection
from electra_tf.reports import progress
from electra_tf.system import console, durable, reading
from electra_tf.text import corpus, corpus_files

STATE = "clean.json"
REPORT = "report.html"

# Scored at a time; then it is on the disk.
_CHARACTERS_AT_ONCE = 200_000

# Rows of a Parquet file that are written at once.
_ROWS_AT_ONCE = 1000

Write = Callable[[dict[str, Any]], None]


def clean(
    origin: str,
    paths: Sequence[str],
    output: str,
    settings: clean_config.CleanConfig,
) -> dict[str, Any]:
    """Scores a corpus, and writes what is kept and what is not.

    Args:
        origin: a preset or workdir, or other people's weights.
        paths: as of `build_data`.
        output: folder to write; new, empty, or of the same cleaning.
        settings: all of them.

    Returns:
        What clean.json holds.

    Raises:
        UserError: nothing to read, no network to score with, or a folder that holds
            something else.
    """
    _refuse_marks(settings.write)
    text = _open(paths, output, settings.read)
    with console.doing("opening the network"):
        judge = oddness.Judge(origin, settings.score)
    if settings.select.by == "replaced" and not judge.tells_replaced:
        raise errors.UserError(
            f"select.by=replaced: the {judge.network} of {origin} does not tell it; "
            "set select.by=surprise, or take a preset with a discriminator"
        )
    about = {
        "corpus": [source.fingerprint for source in text.sources],
        "weights": judge.fingerprint(),
        "read": settings.read.model_dump(),
        "score": {**settings.score.model_dump(), "network": judge.network},
    }
    with _folder(output) as before:
        _refuse_other(output, before, about)
        path = os.path.join(output, scores.FILE)
        if before is None:
            durable.write_json(os.path.join(output, STATE), {"about": about})
        with progress.said_warnings(console.say_aside):
            _score(text, judge, path)
        found = _decide(text, path, output, settings)
        state = {
            "about": about,
            "sources": [source.path for source in text.sources],
            "preset": origin,
            "settings": settings.model_dump(),
            **found,
        }
        durable.write_json(os.path.join(output, STATE), state)
        for name in {*(before or {}).get("files", ())} - {*found["files"]}:
            with contextlib.suppress(FileNotFoundError):
                os.remove(os.path.join(output, os.path.basename(name)))
    return state


def _refuse_marks(write: clean_config.WriteConfig) -> None:
    if write.form == "parquet":
        if write.gzip:
            raise errors.UserError(
                "write.gzip: Parquet is compressed by itself; leave it out"
            )
        try:
            import pyarrow  # noqa: F401
        except ImportError:
            raise errors.UserError(
                "write.form=parquet needs pyarrow; pip install pyarrow"
            ) from None


def _open(
    paths: Sequence[str], output: str, read: clean_config.ReadConfig
) -> corpus.Corpus:
    def skip(path: Path) -> str | None:
        ours = path.is_dir() and os.path.exists(output) and path.samefile(output)
        return "the folder to write" if ours else None

    with console.doing("looking through the corpus"):
        text = corpus.Corpus(paths, config.BuildDataConfig(**read.model_dump()), skip)
    for source in text.sources:
        if source.left_out:
            left_out = corpus_files.describe(source.left_out)
            _say(f"left out of {source.path}: {left_out}")
    return text


@contextlib.contextmanager
def _folder(output: str) -> Iterator[dict[str, Any] | None]:
    """Holds the folder; yields what an earlier run says of itself there, if any.

    Raises:
        UserError: it holds other files, or another process writes it.
    """
    with durable.explained(output):
        durable.make_folder(output)
    with durable.locked(os.path.join(output, durable.LOCK), output):
        state = os.path.join(output, STATE)
        if os.path.exists(state):
            yield reading.read_json(state)
            return
        if others := sorted({*os.listdir(output)} - {durable.LOCK}):
            raise errors.UserError(
                f"--output={output} holds {errors.listed(others)} and no {STATE}; name "
                "a new folder"
            )
        yield None


def _refuse_other(
    output: str, before: Mapping[str, Any] | None, about: Mapping[str, Any]
) -> None:
    if before is None:
        return
    there = before.get("about")
    there = there if isinstance(there, dict) else {}
    if changed := [name for name in about if there.get(name) != about[name]]:
        told = {"corpus": "text", "weights": "weights"}
        what = " and ".join(told.get(name, f"settings of {name}") for name in changed)
        raise errors.UserError(
            f"--output={output} holds scores of other {what}; put them back, or name a "
            "new folder"
        )


def _score(text: corpus.Corpus, judge: oddness.Judge, path: str) -> None:
    """Scores what is not scored yet, some documents at a time."""
    there = scores.mend(path)

    def said() -> str:
        share = text.bytes_read / max(1, text.num_bytes)
        return f"scoring, {share:.1%} of the text"

    waiting: list[corpus.Document] = []
    size = count = 0

    def score() -> None:
        scores.append(path, judge.judge(waiting))

    with console.doing(said):
        for document in text.documents():
            count += 1
            if count <= there:
                continue
            waiting.append(document)
            size += sum(map(len, document))
            if size >= _CHARACTERS_AT_ONCE:
                score()
                waiting, size = [], 0
        if waiting:
            score()
    if not count:
        raise errors.UserError("the corpus is empty: no document in it holds text")
    if count < there:
        raise errors.UserError(
            f"{path} has scores of {there} documents, and the corpus has {count}; name "
            "a new folder"
        )


def _decide(
    text: corpus.Corpus, path: str, output: str, settings: clean_config.CleanConfig
) -> dict[str, Any]:
    """Writes what is kept and what is not, and the page; returns what was counted."""
    select, write = settings.select, settings.write
    values = selection.values_of(scores.read(path), select)
    most = selection.bound(values, select)
    ends = clean_page.Ends(write.shown)
    counted = dict.fromkeys(
        ("documents", "lines", "tokens", "kept_documents", "kept_lines", "kept_tokens"),
        0,
    )
    files = _names(write)
    with contextlib.ExitStack() as stack, console.doing("writing what is kept"):
        first, *rest = [
            stack.enter_context(_writer(os.path.join(output, name), settings.read))
            for name in files
        ]
        for number, (document, lines) in enumerate(
            zip(text.documents(), scores.read(path), strict=True)
        ):
            said = selection.decide(lines, most, select)
            _count(counted, lines, said)
            _show(ends, document, lines, said, select)
            if not rest:
                first(_marked(document, lines, said, settings.read.text_field))
                continue
            kept = [line for line, one in zip(document, said, strict=True) if one.keep]
            if kept:
                first({settings.read.text_field: "\n".join(kept)})
            for row in _dropped(number, document, lines, said):
                rest[0](row)
    facts = _facts(counted, most, settings)
    page = clean_page.render(
        "Cleaned: " + ", ".join(source.path for source in text.sources),
        facts,
        values,
        most,
        clean_config.SCORES[select.by],
        ends,
    )
    durable.write_text(os.path.join(output, REPORT), page)
    for name, fact in facts.items():
        _say(f"{name}: {fact}")
    return {
        "counted": counted,
        "most": most if np.isfinite(most) else None,
        "files": [*files, REPORT],
    }


def _count(
    counted: dict[str, int],
    lines: Sequence[oddness.Line],
    said: Sequence[selection.Verdict],
) -> None:
    counted["documents"] += 1
    counted["kept_documents"] += any(one.keep for one in said)
    for line, one in zip(lines, said, strict=True):
        for prefix in ("", *["kept_"] * one.keep):
            counted[f"{prefix}lines"] += 1
            counted[f"{prefix}tokens"] += line.num_tokens


def _show(
    ends: clean_page.Ends,
    document: corpus.Document,
    lines: Sequence[oddness.Line],
    said: Sequence[selection.Verdict],
    select: clean_config.SelectConfig,
) -> None:
    """Hands what was judged to the page."""
    texts, units, keeps = list(document), list(lines), [one.keep for one in said]
    if select.unit == "document":
        texts, units = ["\n".join(document)], [selection.whole(lines)]
        keeps = [any(keeps)]
    for text, one, keep in zip(texts, units, keeps, strict=True):
        if one.num_tokens >= select.min_tokens:
            ends.add(clean_page.Shown(selection.value(one, select.by), text, keep))


def _marked(
    document: corpus.Document,
    lines: Sequence[oddness.Line],
    said: Sequence[selection.Verdict],
    field: str,
) -> dict[str, Any]:
    row = {
        field: "\n".join(document),
        "keep": [one.keep for one in said],
        "num_tokens": [line.num_tokens for line in lines],
        "surprise": [line.surprise for line in lines],
    }
    if all(line.replaced is not None for line in lines):
        row["replaced"] = [line.replaced for line in lines]
    return row


def _dropped(
    number: int,
    document: corpus.Document,
    lines: Sequence[oddness.Line],
    said: Sequence[selection.Verdict],
) -> Iterator[dict[str, Any]]:
    for place, (text, line, one) in enumerate(zip(document, lines, said, strict=True)):
        if not one.keep:
            told = {k: v for k, v in line._asdict().items() if v is not None}
            yield {
                "document": number,
                "line": place,
                "text": text,
                "reason": one.reason,
                **told,
            }


def _facts(
    counted: Mapping[str, int], most: float, settings: clean_config.CleanConfig
) -> dict[str, str]:
    marks = settings.write.action == "mark"
    found = {
        ("would be kept, " if marks else "kept, ") + name: (
            f"{counted[f'kept_{name}']:,} of {counted[name]:,} "
            f"({counted[f'kept_{name}'] / max(1, counted[name]):.1%})"
        )
        for name in ("documents", "lines", "tokens")
    }
    bound = f"{settings.select.by} of a {settings.select.unit} at most {most:.4g}"
    if settings.select.rate is not None:
        bound += f", which {settings.select.rate:.3g} of them are over"
    return {**found, "bound": bound}


def _names(write: clean_config.WriteConfig) -> list[str]:
    """Returns the files to write: the kept, then the dropped; or all of it, marked."""
    ending = ".gz" if write.gzip else ""
    if write.action == "mark":
        return [f"marked.jsonl{ending}"]
    return [f"kept.{write.form}{ending}", f"dropped.jsonl{ending}"]


@contextlib.contextmanager
def _writer(path: str, read: clean_config.ReadConfig) -> Iterator[Write]:
    """Opens a file to write rows to; it is there when all of them are."""
    form = os.path.basename(path).removesuffix(".gz").rpartition(".")[2]
    with durable.replacing_file(path) as partial:
        if form == "parquet":
            with _parquet(partial, read.text_field) as write:
                yield write
            return
        # No time in it: the same text, the same bytes.
        zipped = path.endswith(".gz")
        with open(partial, "wb") as raw:
            file: Any = gzip.GzipFile("", "wb", 6, raw, 0) if zipped else raw
            with file:

                def write_row(row: dict[str, Any]) -> None:
                    said = (
                        f"{row[read.text_field]}\n\n"
                        if form == "txt"
                        else json.dumps(row, ensure_ascii=False) + "\n"
                    )
                    file.write(said.encode("utf-8", "replace"))

                yield write_row


@contextlib.contextmanager
def _parquet(path: str, field: str) -> Iterator[Write]:
    import pyarrow
    from pyarrow import parquet

    schema = pyarrow.schema([(field, pyarrow.string())])
    waiting: list[dict[str, Any]] = []
    with parquet.ParquetWriter(path, schema) as file:

        def flush() -> None:
            file.write_table(pyarrow.Table.from_pylist(waiting, schema))
            waiting.clear()

        def write(row: dict[str, Any]) -> None:
            waiting.append(row)
            if len(waiting) == _ROWS_AT_ONCE:
                flush()

        yield write
        if waiting:
            flush()


def _say(line: str) -> None:
    sys.stdout.write(line.encode("utf-8", "backslashreplace").decode() + "\n")
    sys.stdout.flush()
