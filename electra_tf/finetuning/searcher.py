"""Vectors of many texts, and which texts are nearest to others, in constant memory.

In:   a preset of any kind; files as those of `predictor`; vectors that were written.
Out:  float32 vectors [N, D] in an .npy file, or JSON lines; of each query the nearest
      texts.
"""

import contextlib
import functools
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from electra_tf import errors
from electra_tf.datasets import tables
from electra_tf.finetuning import predictor, task_builder, task_config
from electra_tf.kinds import columns, embedding
from electra_tf.reports import progress
from electra_tf.system import durable, reading
from electra_tf.tasks import catalog, nearest

# Batches that are read at once: rows of like length share a batch.
_BATCHES = 64


class _Texts:
    """The texts of a file, with the model that makes vectors of them."""

    def __init__(self, origin: str, settings: task_config.FinetuneConfig) -> None:
        self.options: Mapping[str, Any] = (
            catalog.learned(origin).columns | settings.data.options
        )
        self._read = functools.partial(
            embedding.KIND.example, columns.Columns(self.options)
        )
        self._settings, self._origin = settings, origin
        self._size = settings.train.batch_size

    @functools.cached_property
    def model(self) -> Any:
        """The embedder; opened when the files have shown that they can be read."""
        model = catalog.load(self._origin, "encoder")
        task_builder.set_stated_rows(model, self._settings.model)
        return model

    def examples(self, source: str) -> Iterator[Any]:
        """Yields the texts, or pairs, of a file.

        Raises:
            UserError: it cannot be read, or a line of it.
        """
        names = embedding.KIND.fields
        for row in predictor.read(source, self.options, names):
            try:
                yield self._read(row.cells)
            except tables.BadCellError as error:
                raise errors.UserError(f"{row.where}: {error}") from None

    def vectors(self, examples: Iterator[Any]) -> Iterator[tuple[list[Any], Any]]:
        """Yields some texts at a time, with their vectors [some, D]."""
        size = self._size * _BATCHES
        while chunk := list(itertools.islice(examples, size)):
            yield chunk, self.model.predict(chunk, self._size)


def embed(
    origin: str, settings: task_config.FinetuneConfig, source: str, output: str
) -> int:
    """Writes the vectors of a file's texts, in their order; returns how many.

    Args:
        origin: a preset of any kind; its encoder makes the vectors.
        settings: as of `predictor.predict`.
        source: a file, or "-".
        output: .npy, float32 [N, D]; or .jsonl, a line a text with its "embedding".

    Raises:
        UserError: a file cannot be read or written.
    """
    predictor.check_output(source, output, (".npy", ".jsonl"))
    is_array = tables.ending_of(output) == ".npy"
    texts, count = _Texts(origin, settings), 0
    examples = _looked_into(texts.examples(source))
    with progress.said_warnings(predictor.warn), contextlib.ExitStack() as opened:
        write = opened.enter_context(_npy(output) if is_array else _jsonl(output))
        for chunk, vectors in texts.vectors(examples):
            write(chunk, vectors)
            count += len(chunk)
        if not count:  # A file of none has a width all the same.
            write([], texts.model.predict([]))
    return count


def search(
    origin: str,
    settings: task_config.FinetuneConfig,
    corpus: str,
    *,
    texts: Sequence[str] = (),
    source: str | None = None,
    stored: str | None = None,
    top_k: int = 10,
    output: str | None = None,
) -> None:
    """Finds the texts of a corpus that are nearest to some queries: exact cosines.

    Args:
        origin: see `embed`.
        settings: see `embed`.
        corpus: the file to find texts in.
        texts: queries.
        source: a file of queries, or "-".
        stored: the corpus' vectors, as `embed` writes them; None = make them now.
        top_k: how many texts to find for each.
        output: .jsonl or .tsv; None = JSON lines to stdout.

    Raises:
        UserError: a file cannot be read; the vectors are not the corpus'.
    """
    if bool(texts) == bool(source):
        raise errors.UserError(
            "name what to look for: either --text=... (repeatable) or --input=<file>"
        )
    if top_k < 1:
        raise errors.UserError(f"--top_k={top_k}: want 1 or more")
    if corpus == "-":
        raise errors.UserError("--corpus=-: it is read twice; name a file")
    for path in filter(None, (corpus, source)):
        predictor.check_output(path, output)
    theirs = _Texts(origin, settings)
    queries = list(texts) or list(theirs.examples(str(source)))
    with progress.said_warnings(predictor.warn), predictor.writer(output) as write:
        if stored:
            blocks = nearest.blocks_of(_stored(stored, theirs, corpus))
        else:
            made = theirs.vectors(_looked_into(theirs.examples(corpus)))
            blocks = (nearest.normalized(vectors) for _, vectors in made)
        asked = nearest.normalized(
            theirs.model.predict(queries, settings.train.batch_size)
        )
        found = nearest.best(asked, blocks, top_k)
        wanted = {int(place) for place in found.places.flat}
        lines = {
            number: text
            for number, text in enumerate(theirs.examples(corpus))
            if number in wanted
        }
        for query, places, cosines in zip(queries, *found[::-1], strict=True):
            near = [
                {
                    **embedding.KIND.show(lines[int(place)]),
                    "number": int(place) + 1,
                    "score": round(float(cosine), 6),
                }
                for place, cosine in zip(places, cosines, strict=True)
            ]
            write({**embedding.KIND.show(query), "found": near})


def _looked_into(examples: Iterator[Any]) -> Iterator[Any]:
    """Reads the first one now: what is wrong is said before a model is loaded."""
    first = list(itertools.islice(examples, 1))
    return itertools.chain(first, examples)


def _stored(path: str, texts: _Texts, corpus: str) -> Any:
    """Opens vectors of an .npy file, mapped into memory.

    Raises:
        UserError: they are none, or not those of the corpus.
    """
    reading.refuse_pipes(path)
    try:
        vectors = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise errors.UserError(f"cannot read {path}: {errors.reason(error)}") from None
    if isinstance(vectors, np.lib.npyio.NpzFile):  # several arrays, an open file
        vectors.close()
    width = texts.model.backbone.model_config.hidden_size
    is_array = isinstance(vectors, np.ndarray) and vectors.dtype.kind == "f"
    if not is_array or vectors.ndim != 2 or vectors.shape[1] != width:
        shape = getattr(vectors, "shape", "")
        raise errors.UserError(
            f"{path} holds {getattr(vectors, 'dtype', 'no array')} {list(shape)}; want "
            f"float vectors [texts, {width}], as python -m electra_tf.embed writes them"
        )
    count = sum(1 for _ in texts.examples(corpus))
    if count != len(vectors):
        raise errors.UserError(
            f"{path} has {len(vectors):,} vectors, and {corpus} {count:,} texts; make "
            "them anew with python -m electra_tf.embed"
        )
    return vectors


# What is written.

_Write = Callable[[list[Any], Any], None]


@contextlib.contextmanager
def _npy(output: str) -> Iterator[_Write]:
    """Yields what adds vectors to an .npy file, whose head says in the end how many."""
    with durable.replacing_file(output) as path, open(path, "wb") as file:
        count, width = 0, 0

        def head() -> None:
            # numpy leaves room in it for any number of rows.
            file.seek(0)
            about = {"descr": "<f4", "fortran_order": False, "shape": (count, width)}
            np.lib.format.write_array_header_1_0(file, about)

        def write(_: list[Any], vectors: Any) -> None:
            nonlocal count, width
            if not width:
                width = vectors.shape[1]
                head()
            file.write(np.ascontiguousarray(vectors, "<f4").tobytes())
            count += len(vectors)

        yield write
        head()


@contextlib.contextmanager
def _jsonl(output: str) -> Iterator[_Write]:
    """Yields what adds texts with their vectors to a file of JSON lines."""
    assert embedding.KIND.signature is not None
    (name,) = embedding.KIND.signature.outputs
    with predictor.writer(output) as line:

        def write(examples: list[Any], vectors: Any) -> None:
            for example, vector in zip(examples, vectors, strict=True):
                values = np.asarray(vector, np.float64).tolist()
                line(embedding.KIND.show(example) | {name: values})

        yield write
