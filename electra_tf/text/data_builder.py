"""Builds a data folder: a corpus becomes a vocabulary, shards of records, a manifest.

In:   paths of text, maybe a vocabulary, a `config.BuildDataConfig`.
Out:  a folder as in `manifests`, the manifest written last.

This process reads, writes and tokenizes, others tokenize. Results are taken in the
order of the corpus, so the shards are the same, byte for byte, whatever the number of
processes.
None of them needs TensorFlow (D27).
"""

import collections
import contextlib
import hashlib
import itertools
import math
import multiprocessing
import os
import re
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent import futures
from concurrent.futures import process as process_pools
from pathlib import Path
from typing import IO, NamedTuple, Self

import numpy as np
import numpy.typing as npt

from electra_tf import config as configs
from electra_tf import errors
from electra_tf.system import checksums, console, cores, durable, interrupts
from electra_tf.text import (
    corpus,
    corpus_files,
    manifests,
    records,
    segmented,
    text_loss,
    tokenizer,
    vocab_trainer,
    vocabularies,
)

# Text handed to a process at a time: milliseconds of work, little to hold.
_BATCH_CHARACTERS = 200_000

# Batches that this process does before it starts others.
_BATCHES_ALONE = 4

# Batches a process that are done, or begun, while the first of them is not.
_MOST_WAITING = 24

_SAY_SECONDS = 4.0  # How often, where there is no terminal, how far it is.

# Text drawn together for the sample that a vocabulary is trained on.
_PIECE_CHARACTERS = 2000

# Text in which marks that are stripped are counted, drawn over the corpus.
_LOOKED_AT_BYTES = 4_000_000

# The first documents of as many tokens are dealt last, when it is known how much to
# hold out; a data set of fewer tokens is dealt knowing all of it.
_WAITING_TOKENS = 1_000_000

# Of what is held out, the share that one document may be; else its end alone is.
_LARGEST_SHARE = 0.25

# Of what is held out, the share that may be missing in the end.
_TOLERANCE = 0.02

# Of all tokens: where blanks are to mark words, and do not.
_TOLD_UNSEGMENTED = 0.05

# A sentence is not cut into pieces of fewer tokens.
_LEAST_TOKENS = 16

# What a build calls its files, finished or not.
_OUR_FILES = re.compile(
    r"(train|validation)/part-\d{5}(-of-\d{5})?\.tfrecord|"
    rf"({re.escape(manifests.VOCAB)}|{re.escape(manifests.MANIFEST)})(\.draft)?"
)


def build(
    paths: Sequence[str],
    output: str,
    vocab: str | None,
    config: configs.BuildDataConfig,
) -> manifests.Manifest:
    """Builds the data, or finds them built already.

    Args:
        paths: folders, files and patterns of text, or "builtin".
        output: folder to write; new, empty, or of an interrupted build.
        vocab: a vocab.txt; None trains one of config.vocab_size tokens.
        config: the settings.

    Raises:
        UserError: nothing to read, something unreadable in it, or an output folder
            that holds something else.
    """
    tokens = vocabularies.read(vocab) if vocab else None
    with console.doing("looking through the corpus"):
        text = corpus.Corpus(paths, config, _skip(output, vocab))
    for source in text.sources:
        if source.left_out:
            left_out = corpus_files.describe(source.left_out)
            _say(f"left out of {source.path}: {left_out}")
    there = Path(output, manifests.MANIFEST)
    is_there = there.exists()
    if is_there:
        try:
            manifest = manifests.parse(there.read_bytes(), str(there))
            _refuse_other_data(output, manifest, text, tokens, config)
            damage = _find_damage(Path(output), manifest)
        except manifests.DamagedError:
            damage = f"{there} is damaged"
        if damage is None:
            _say(f"{output} is already built: the same corpus, settings and vocabulary")
            return manifest
        _say(f"WARNING: {damage}; building these data again")
    with _Folder(Path(output), replace=is_there) as folder:
        manifest = _write(folder, text, tokens, config)
        folder.finish(manifest)
    return manifest


def _skip(output: str, vocab: str | None) -> corpus_files.Skip:
    """Returns what tells our own files, which are no text, in a corpus."""

    def skip(path: Path) -> str | None:
        if path.is_dir():
            is_output = os.path.exists(output) and path.samefile(output)
            is_ours = is_output or manifests.is_data_folder(path)
            return "a data folder of build_data" if is_ours else None
        same_name = vocab and path.name == Path(vocab).name and path.exists()
        is_vocab = same_name and path.samefile(vocab or "")
        return "the vocabulary" if is_vocab else None

    return skip


def _find_damage(folder: Path, manifest: manifests.Manifest) -> str | None:
    """Says which file is not as it was written, if any; reads all there is."""
    vocab = folder / manifests.VOCAB
    try:
        if vocabularies.hash_of(vocabularies.read(vocab)) != manifest.vocab_hash:
            return f"{vocab} is damaged"
    except errors.UserError as error:
        return str(error)
    for shard in manifest.train + manifest.validation:
        file = folder / shard.file
        if not file.exists():
            return f"{file} is missing"
        if file.stat().st_size != shard.bytes:
            return f"{file} has {file.stat().st_size} bytes, want {shard.bytes}"
        if shard.sha256 and checksums.digest(str(file)) != shard.sha256:
            return f"{file} is damaged"
    return None


def _write(
    folder: "_Folder",
    text: corpus.Corpus,
    given: list[str] | None,
    config: configs.BuildDataConfig,
) -> manifests.Manifest:
    tokens = _train_vocab(text, config) if given is None else given
    if given and (doubt := tokenizer.doubt_casing(given, config.tokenizer)):
        _say(f"WARNING: the vocabulary given: {doubt} See tokenizer.lowercase")
    folder.write_vocab(tokens)
    loss = text_loss.Total()
    writer = _SplitWriter(folder, tokens, config)
    progress = _Progress(text)
    num_unsegmented = 0
    for index, document in enumerate(_encode(text, tokens, config)):
        num_unsegmented += document.num_unsegmented
        loss.add(document.num_tokens, document.num_unk, document.loss)
        writer.write(index, document)
        progress.update()
    train, validation = writer.close()
    progress.close()
    manifest = manifests.Manifest(
        vocab_size=len(tokens),
        vocab_hash=vocabularies.hash_of(tokens),
        vocab_trained=given is None,
        unk_rate=loss.unk_rate,
        lost_rate=loss.lost_rate,
        lost_words=loss.lost_words,
        marked_rate=loss.marked_rate,
        replaced_characters=text.num_replaced,
        sources=_sources(text),
        settings=config,
        train=train,
        validation=validation,
    )
    _summarize(manifest, progress)
    for line in loss.warnings(tokens, config.tokenizer, trained=given is None):
        _say(f"WARNING: {line}")
    if num_unsegmented > _TOLD_UNSEGMENTED * manifest.num_tokens:
        _say(
            f"WARNING: {num_unsegmented / manifest.num_tokens:.1%} of the tokens stand "
            f"in stretches of over {segmented.LONGEST_WORD} tokens without a blank, of "
            "which no words were made (setting segmented): is this text segmented?"
        )
    return manifest


def _train_vocab(text: corpus.Corpus, config: configs.BuildDataConfig) -> list[str]:
    total, wanted = text.estimate_text_bytes(), config.vocab_train_bytes
    amount = (
        "all"
        if wanted >= total
        else f"{wanted / 1e6:.4g} MB of about {total / 1e6:.4g}"
    )
    _say(f"training a vocabulary of {config.vocab_size} tokens on {amount}")
    sample = _sample(text, total, config)
    with console.doing("training the vocabulary"):
        tokens = vocab_trainer.train(sample, config.vocab_size, config.tokenizer)
    if len(tokens) < config.vocab_size:
        _say(f"the text has no more than {len(tokens)} tokens to give")
    return tokens


def _sample(
    text: corpus.Corpus, total: int, config: configs.BuildDataConfig
) -> Iterator[str]:
    """Yields vocab_train_bytes of the text, drawn over all of it; all if it has less.

    What compressed files hold is not known before they are read. Where `total`, the
    estimate, was too high, the corpus is read once more for what is missing.
    """
    wanted = config.vocab_train_bytes
    drawn, rate = 0.0, min(1.0, 1.1 * wanted / max(1, total))
    taken = 0
    while True:
        seen = 0
        for number, piece in enumerate(_pieces(text.documents())):
            share = _draw("vocab", config.seed, number)[0] if rate < 1 or drawn else 0.0
            size = sum(map(_num_bytes, piece))
            seen += size
            if drawn <= share < rate:
                taken += size
                yield from piece
        if rate == 1 or taken >= wanted:
            return
        drawn, rate = rate, min(1.0, max(2 * rate, 1.1 * wanted / max(1, seen)))


def _pieces(documents: Iterator[corpus.Document]) -> Iterator[list[str]]:
    """Yields text, about _PIECE_CHARACTERS of a document at a time."""
    for document in documents:
        piece: list[str] = []
        size = 0
        for sentence in document:
            for part in corpus.cut_line(sentence, _PIECE_CHARACTERS):
                piece.append(part)
                size += len(part)
                if size >= _PIECE_CHARACTERS:
                    yield piece
                    piece = []
                    size = 0
        if piece:
            yield piece


def _num_bytes(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode())


class _Document(NamedTuple):
    """A document as the shards take it."""

    record: bytes
    num_tokens: int
    num_unk: int  # of them
    loss: text_loss.Loss
    num_unsegmented: int  # of them, where blanks are to mark words


class _Encoder:
    """Makes documents of text."""

    def __init__(
        self, tokens: list[str], config: configs.BuildDataConfig, look_rate: float
    ) -> None:
        self._encoder = tokenizer.Encoder(tokens, config.tokenizer)
        self._finder = text_loss.Finder(config.tokenizer, look_rate)
        self._marker = (
            segmented.Marker(tokens, self._encoder) if config.segmented else None
        )

    def encode(self, document: corpus.Document) -> _Document:
        found = self._encoder.encode_document(document)
        token_ids, num_unsegmented = found.token_ids, 0
        if self._marker is not None:
            token_ids, num_unsegmented = self._marker.mark(token_ids, document)
        return _Document(
            records.serialize(token_ids, found.sentence_lengths),
            found.token_ids.size,
            found.num_unk,
            self._finder.find(document, found.unknown_words),
            num_unsegmented,
        )


def _encode(
    text: corpus.Corpus, tokens: list[str], config: configs.BuildDataConfig
) -> Iterator[_Document]:
    """Yields the corpus tokenized, in its order.

    This process begins, and alone does a small corpus: others take as long to start as
    a few megabytes.
    """
    others = (config.processes or cores.num_cores()) - 1
    look_rate = min(1.0, _LOOKED_AT_BYTES / max(1, text.num_bytes))
    encoder = _Encoder(tokens, config, look_rate)
    batches = _batches(text.documents())
    for batch in itertools.islice(batches, _BATCHES_ALONE if others else None):
        yield from map(encoder.encode, batch)
    with interrupts.held_back():  # From Python's tracker, which this starts.
        pool = futures.ProcessPoolExecutor(
            max(1, others),
            # Not fork: the threads of a program that calls us would not survive it.
            multiprocessing.get_context("spawn"),
            _start_worker,
            (tokens, config, look_rate),
        )
    try:
        yield from _encode_with(pool, others, encoder, batches)
    except process_pools.BrokenProcessPool:
        raise errors.UserError(
            f"a tokenizing process died, perhaps killed for want of memory; "
            f"--set processes={max(1, (others + 1) // 2)} needs less"
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)


def _encode_with(
    pool: futures.Executor,
    others: int,
    encoder: _Encoder,
    batches: Iterator[list[corpus.Document]],
) -> Iterator[_Document]:
    """Yields batches tokenized by others, and here while all of these have enough."""
    waiting: collections.deque[futures.Future[list[_Document]]] = collections.deque()
    asked: collections.deque[futures.Future[list[_Document]]] = collections.deque()
    for batch in batches:
        while asked and asked[0].done():
            asked.popleft()
        if len(asked) < 2 * others:
            with interrupts.held_back():  # From a process that may be started.
                result = pool.submit(_encode_batch, batch)
            asked.append(result)
        else:
            result = futures.Future()
            result.set_result(list(map(encoder.encode, batch)))
        waiting.append(result)
        while waiting and (waiting[0].done() or len(waiting) > _MOST_WAITING * others):
            yield from waiting.popleft().result()
    while waiting:
        yield from waiting.popleft().result()


_worker: _Encoder | None = None  # Of this process, if it is one that tokenizes.


def _start_worker(
    tokens: list[str], config: configs.BuildDataConfig, look_rate: float
) -> None:
    """Prepares a process for `_encode_batch`."""
    global _worker
    interrupts.leave_to_parent()
    threading.Thread(target=_end_with_the_parent, daemon=True).start()
    _worker = _Encoder(tokens, config, look_rate)


def _end_with_the_parent() -> None:
    """Else a worker whose parent was killed would wait for work for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _encode_batch(batch: Sequence[corpus.Document]) -> list[_Document]:
    assert _worker is not None
    return list(map(_worker.encode, batch))


def _batches(documents: Iterator[corpus.Document]) -> Iterator[list[corpus.Document]]:
    batch: list[corpus.Document] = []
    size = 0
    for document in documents:
        batch.append(document)
        size += sum(map(len, document))
        if size >= _BATCH_CHARACTERS:
            yield batch
            batch = []
            size = 0
    if batch:
        yield batch


def _draw(what: str, seed: int, index: int) -> tuple[float, int]:
    """Returns chance for one document: a share in [0, 1) and a large integer."""
    digest = hashlib.blake2b(f"{what} {seed} {index}".encode(), digest_size=16).digest()
    return (
        int.from_bytes(digest[:6], "little") / 2**48,
        int.from_bytes(digest[8:], "little"),
    )


class _Folder:
    """The output folder, and what in it is ours.

    Every file is listed in .building before it is made. So whatever ends a build, the
    next one knows what to remove, and removes nothing else. Damaged data stay until
    those that replace them are whole, and on the disk. One build at a time writes here.
    """

    def __init__(self, path: Path, *, replace: bool) -> None:
        self.path = path
        self._replace = replace
        self._list: IO[str] | None = None
        self._added: list[str] = []
        self._lock = contextlib.ExitStack()

    def __enter__(self) -> Self:
        lock = durable.locked(str(self.path / durable.LOCK), str(self.path))
        try:
            with durable.explained(str(self.path)):
                self._lock.enter_context(lock)
                self._open_list()
        except errors.UserError:
            self._leave()
            raise
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is not None:
            self._remove(self._added)
        (self.path / manifests.BUILDING).unlink()
        durable.sync(str(self.path))
        self._leave()

    def _open_list(self) -> None:
        """Begins the list of files; removes those of a build that was killed."""
        listed = self.path / manifests.BUILDING
        interrupted = listed.exists()
        if not interrupted:
            self._refuse_strangers()
        for folder in ("train", "validation"):
            durable.make_folder(str(self.path / folder))
        self._list = listed.open("a+", encoding="utf-8")
        if interrupted:
            _say(f"{self.path} holds an interrupted build; starting clean")
            self._remove(listed.read_text(encoding="utf-8").split("\n"))
            self._refuse_strangers()
            self._list.truncate(0)
        durable.sync(str(self.path))

    def _leave(self) -> None:
        """Lets others write here; removes folders in which there is nothing."""
        with contextlib.suppress(OSError):  # What could not be written is gone.
            if self._list is not None:
                self._list.close()
        self._lock.close()
        for folder in (self.path / "train", self.path / "validation", self.path):
            with contextlib.suppress(OSError):
                folder.rmdir()

    def add(self, *names: str) -> list[Path]:
        """Returns the paths of files to be written, noted as ours.

        Several at once, where they are known: each call waits for the disk.
        """
        assert self._list is not None
        self._added += names
        with durable.explained(str(self.path / manifests.BUILDING)):
            self._list.writelines(f"{name}\n" for name in names)
            self._list.flush()
            os.fsync(self._list.fileno())
        return [self.path / name for name in names]

    def write_vocab(self, tokens: Sequence[str]) -> None:
        """Writes the vocabulary, under another name until all is whole."""
        (draft,) = self.add(f"{manifests.VOCAB}.draft")
        with durable.explained(str(draft)):
            vocabularies.write(draft, tokens)

    def finish(self, manifest: manifests.Manifest) -> None:
        """Writes the manifest: only now the data are whole."""
        (draft,) = self.add(f"{manifests.MANIFEST}.draft")
        with durable.explained(str(draft)):
            draft.write_text(manifests.dump(manifest), encoding="utf-8")
            durable.sync_tree(str(self.path))
            (vocab,) = self.add(
                manifests.VOCAB
            )  # Now, for an old one stays until then.
            vocab.with_name(f"{manifests.VOCAB}.draft").rename(vocab)
            draft.rename(self.path / manifests.MANIFEST)
            durable.sync(str(self.path))
        new = {shard.file for shard in manifest.train + manifest.validation}
        for name in set(self._ours()) - new - {manifests.VOCAB, manifests.MANIFEST}:
            (self.path / name).unlink()

    def _remove(self, names: Sequence[str]) -> None:
        for name in filter(None, names):
            (self.path / name).unlink(missing_ok=True)

    def _ours(self) -> list[str]:
        """Returns the names of files that a build would give."""
        names = (str(file.relative_to(self.path)) for file in self.path.rglob("*"))
        return [name for name in names if _OUR_FILES.fullmatch(name)]

    def _refuse_strangers(self) -> None:
        """Raises UserError for files that are there, unless it is to replace data."""
        if self._replace:
            return
        if (self.path / manifests.MANIFEST).exists():  # It was not when we looked.
            raise errors.UserError(
                f"another build_data has just ended in {self.path}; run the command "
                "again"
            )
        for file in sorted(self.path.rglob("*")):
            name = str(file.relative_to(self.path))
            if name not in ("train", "validation", manifests.BUILDING, durable.LOCK):
                raise errors.UserError(
                    f"{self.path} holds {name} and no {manifests.MANIFEST}, so it is "
                    "no finished build; remove it, or choose another --output"
                )


class _OpenShard:
    """A shard being filled: held in memory, as its records are written in random order.

    Else an epoch would begin with what the corpus begins with, in every shard.
    """

    def __init__(self, file: str, path: Path) -> None:
        self.file = file  # as the manifest is to name it
        self.tokens = 0
        self._path = path
        self._records: list[tuple[int, bytes]] = []

    @property
    def documents(self) -> int:
        return len(self._records)

    def write(self, draw: int, record: bytes, num_tokens: int) -> None:
        self._records.append((draw, record))
        self.tokens += num_tokens

    def close(self) -> manifests.Shard:
        with durable.explained(str(self._path)):
            sha256 = records.write(
                self._path, (record for _, record in sorted(self._records))
            )
            durable.sync(str(self._path))
        closed = manifests.Shard(
            file=self.file,
            documents=self.documents,
            tokens=self.tokens,
            bytes=self._path.stat().st_size,
            sha256=sha256,
        )
        self._records = []
        return closed


class _Split:
    """Shards of one split, `num_open` of them filled side by side."""

    def __init__(
        self, folder: _Folder, name: str, num_open: int, max_tokens: int
    ) -> None:
        self._folder = folder
        self._name = name
        self._num_open = num_open
        self._max_tokens = max_tokens
        self._open: dict[int, _OpenShard] = {}
        self._closed: list[manifests.Shard] = []
        self._new: list[_OpenShard] = []  # of files that are noted, and not begun
        self.tokens = 0

    def write(self, draw: int, record: bytes, num_tokens: int) -> None:
        self.tokens += num_tokens
        slot = draw % self._num_open
        shard = self._open.get(slot)
        if shard is None:
            shard = self._open[slot] = self._next()
        shard.write(draw, record, num_tokens)
        if shard.tokens >= self._max_tokens:
            self._closed.append(self._open.pop(slot).close())

    def _next(self) -> _OpenShard:
        if not self._new:
            first = len(self._open) + len(self._closed)
            files = [
                f"{self._name}/part-{number:05}.tfrecord"
                for number in range(first, first + self._num_open)
            ]
            paths = self._folder.add(*files)
            self._new = list(map(_OpenShard, files, paths))
        return self._new.pop(0)

    def close(self) -> list[manifests.Shard]:
        """Closes the shards and gives them their names, which tell their number."""
        self._closed += [shard.close() for shard in self._open.values()]
        self._closed.sort(key=lambda shard: shard.file)
        files = [
            f"{self._name}/part-{number:05}-of-{len(self._closed):05}.tfrecord"
            for number in range(len(self._closed))
        ]
        paths = self._folder.add(*files)
        named = []
        for shard, file, path in zip(self._closed, files, paths, strict=True):
            with durable.explained(str(path)):
                (self._folder.path / shard.file).rename(path)
            named.append(shard.model_copy(update={"file": file}))
        return named


class _SplitWriter:
    """Deals documents to training and validation, by the seed and their place.

    validation_rate is a share of the tokens, so it is tokens that are counted: what is
    held out falls behind or runs ahead, and the next document's chance with it. Of a
    document that is too large a part of all that is held out, the end alone is. The
    first ones wait until the size of all is known, and settle what is missing.
    """

    def __init__(
        self, folder: _Folder, tokens: Sequence[str], config: configs.BuildDataConfig
    ) -> None:
        self._seed, self._rate = config.seed, config.validation_rate
        self._train = _Split(folder, "train", config.min_shards, config.shard_tokens)
        self._validation = _Split(folder, "validation", 1, config.shard_tokens)
        self._continues = np.array(vocabularies.continues(tokens))
        self._waiting: list[tuple[float, int, _Document]] = []
        self._waiting_tokens = 0

    def write(self, index: int, document: _Document) -> None:
        if not document.num_tokens:
            return
        share, draw = _draw("split", self._seed, index)
        if self._waiting_tokens < _WAITING_TOKENS:
            self._waiting.append((share, draw, document))
            self._waiting_tokens += document.num_tokens
            return
        dealt = self._train.tokens + self._validation.tokens
        missing = self._rate * dealt - self._validation.tokens
        largest = _LARGEST_SHARE * self._rate * (dealt + self._waiting_tokens)
        part = min(document.num_tokens, max(largest, self._rate * document.num_tokens))
        chance = self._rate * document.num_tokens * (1 + missing / max(1, largest))
        self._deal(draw, document, part if share * part < chance else 0)

    def close(self) -> tuple[list[manifests.Shard], list[manifests.Shard]]:
        """Returns the shards of training and of validation.

        Raises:
            UserError: no document at all.
        """
        if not self._waiting:
            raise errors.UserError("the corpus is empty: no document in it holds text")
        dealt = self._train.tokens + self._validation.tokens
        wanted = self._rate * (dealt + self._waiting_tokens)
        # Sorted by chance, so that the first are a random sample.
        self._waiting.sort(key=lambda waiting: waiting[0])
        for number, (_, draw, document) in enumerate(self._waiting, 1):
            missing = wanted - self._validation.tokens
            part = 0.0
            if missing > _TOLERANCE * wanted:
                most = max(_LARGEST_SHARE * wanted, self._rate * document.num_tokens)
                part = min(document.num_tokens, most, missing)
            if number == len(self._waiting) and not self._train.tokens:
                # Something must be left to train on, first of all.
                part = 0.0 if self._validation.tokens else part
                self._deal(draw, document, part, keep=True)
            else:
                self._deal(draw, document, part)
        return self._train.close(), self._validation.close()

    def _deal(
        self, draw: int, document: _Document, part: float, *, keep: bool = False
    ) -> None:
        """Writes a document, about `part` tokens of it to validation, its end.

        Args:
            draw: its chance.
            document: of one token at least.
            part: 0 for none of it.
            keep: none, rather than all of it, where it cannot be cut.
        """
        num_tokens = document.num_tokens
        if not part or num_tokens <= part:
            split = self._validation if part and not keep else self._train
            split.write(draw, document.record, num_tokens)
            return
        token_ids, lengths = records.deserialize(document.record)
        cut = _find_cut(token_ids, lengths, part, self._continues)
        if cut == 0:
            split = self._train if keep else self._validation
            split.write(draw, document.record, num_tokens)
            return
        ends = np.cumsum(lengths)
        first = int(np.searchsorted(ends, cut))  # The sentence in or after which it is.
        over = int(ends[first]) - cut
        head = [*lengths[:first], lengths[first] - over]
        tail = [over, *lengths[first + 1 :]] if over else lengths[first + 1 :]
        self._train.write(draw, records.serialize(token_ids[:cut], head), cut)
        self._validation.write(
            draw, records.serialize(token_ids[cut:], tail), num_tokens - cut
        )


def _find_cut(
    token_ids: npt.NDArray[np.uint32],
    lengths: Sequence[int],
    part: float,
    continues: npt.NDArray[np.bool_],
) -> int:
    """Returns where a document is cut so that about `part` tokens follow.

    Between sentences, or, where these are far longer than that, between words.

    Args:
        token_ids: uint32 [tokens].
        lengths: tokens of each sentence.
        part: below the number of tokens.
        continues: bool [2 V], as `vocabularies.continues` tells.

    Returns:
        Tokens before the cut; 0 where there is none.
    """
    size = len(token_ids)
    starts = np.cumsum([0, *lengths[:-1]])
    nearest = int(starts[np.abs(size - starts - part).argmin()])
    is_near = abs(size - nearest - part) <= max(part / 2, _LEAST_TOKENS)
    if size < 2 * _LEAST_TOKENS or (nearest and is_near):
        return nearest or int(starts[-1])
    cut = size - max(_LEAST_TOKENS, math.ceil(part))
    while cut not in starts and continues[token_ids[cut]]:
        cut -= 1
    return cut


class _Progress:
    """A bar on a terminal, a line every few seconds elsewhere."""

    def __init__(self, text: corpus.Corpus) -> None:
        self._text = text
        self._start = self._said = time.monotonic()
        self._screen = console.Screen(sys.stdout)
        self._documents = 0

    def update(self) -> None:
        self._documents += 1
        now = time.monotonic()
        if now - self._said >= (0.2 if self._screen.is_terminal else _SAY_SECONDS):
            self._said = now
            self._show()

    def close(self) -> None:
        self._show()
        self._screen.close()

    @property
    def megabytes_per_second(self) -> float:
        """Says what the corpus is as it lies on disk."""
        return self._text.bytes_read / 1e6 / max(1e-9, time.monotonic() - self._start)

    def _show(self) -> None:
        done = self._text.bytes_read / max(1, self._text.num_bytes)
        elapsed = time.monotonic() - self._start
        left = elapsed / max(done, 1e-9) * (1 - done)
        line = (
            f"{done:6.1%}  {self._documents} documents  "
            f"{self.megabytes_per_second:.1f} MB/s  {left:.0f} s left"
        )
        if self._screen.is_terminal:
            bar = "#" * int(30 * done)
            self._screen.draw(f"[{bar:30}] {line}")
        else:
            self._screen.say(line)


def _refuse_other_data(
    output: str,
    manifest: manifests.Manifest,
    text: corpus.Corpus,
    tokens: list[str] | None,
    config: configs.BuildDataConfig,
) -> None:
    """Raises UserError unless a build would give what is there."""
    immaterial = {"processes"} if tokens is None else {"processes", "vocab_size"}
    differences = [
        f"{name}={old} there, {new} now"
        for name, (old, new) in configs.differences(manifest.settings, config).items()
        if name not in immaterial
    ]
    if tokens is None and not manifest.vocab_trained:
        differences.append("its vocabulary was given")
    if tokens is not None and vocabularies.hash_of(tokens) != manifest.vocab_hash:
        differences.append("its vocabulary is another")
    if _sources(text) != manifest.sources:
        differences.append(
            "its corpus is another, or was changed since: "
            + ", ".join(source.path for source in manifest.sources)
        )
    if differences:
        raise errors.UserError(
            f"{output} holds other data ({'; '.join(differences)}); choose another "
            "--output, or remove that folder"
        )


def _sources(text: corpus.Corpus) -> list[manifests.Source]:
    return [
        manifests.Source(
            # JSON has no bytes that are not UTF-8, file names may.
            path=source.path.encode("utf-8", "backslashreplace").decode(),
            files=len(source.files),
            bytes=source.num_bytes,
            fingerprint=source.fingerprint,
        )
        for source in text.sources
    ]


def _summarize(manifest: manifests.Manifest, progress: _Progress) -> None:
    _say(
        f"{manifest.num_documents} documents, {manifest.num_tokens} tokens, "
        f"{progress.megabytes_per_second:.1f} MB/s, {len(manifest.train)} training and "
        f"{len(manifest.validation)} validation shards, "
        f"{manifest.validation_share:.2%} of the tokens held out, "
        f"{manifest.unk_rate:.3%} {vocabularies.UNK}"
    )
    wanted = manifest.settings.validation_rate
    if abs(manifest.validation_share - wanted) > wanted / 2:
        _say(
            f"WARNING: {manifest.validation_share:.1%} of the tokens are held out, not "
            f"{wanted:.1%} (setting validation_rate): the corpus is too small to divide"
        )
    if manifest.replaced_characters:
        _say(
            f"WARNING: {manifest.replaced_characters} undecodable places were replaced "
            "(setting undecodable)"
        )


def _say(line: str) -> None:
    # The name of a file may hold what no terminal shows.
    sys.stdout.write(line.encode("utf-8", "backslashreplace").decode() + "\n")
    sys.stdout.flush()
