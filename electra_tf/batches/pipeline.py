"""Reads shards into masked batches, in an order that any place can be resumed from.

In:   a data folder (or TFRecords of the 2020 code), a seed, and a place in the data.
Out:  a tf.data.Dataset of batches, the fields of docs/architecture.md, section 2.

An epoch permutes the shards and deals them to the workers; a worker reads them in
groups, a record of each in turn; so many records make a block, which is cut, packed,
shuffled and masked as one: a function of (seed, worker, epoch, group, block) alone.

B rows of a batch, R of a block, L tokens per row, P predictions per row, V vocabulary.
"""

import dataclasses
import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from electra_tf import config, errors
from electra_tf.batches import masking, packing
from electra_tf.text import manifests, record_reader, vocabularies

Batch = dict[str, tf.Tensor]
# (epoch, group, block, row) of the row to come next
Position = tuple[int, int, int, int]

# Made side by side, and so held in memory, beside the one that is being read.
_BLOCKS_IN_FLIGHT = 2
# Stands for the worker in the seed of validation rows.
_VALIDATION = -1


@dataclasses.dataclass(frozen=True)
class Vocab:
    """What packing and masking must know of the vocabulary."""

    tokens: list[str]
    size: int
    cls_id: int
    sep_id: int
    mask_id: int
    is_continuation: npt.NDArray[np.bool_]  # [2 V], see vocabularies.continues


@dataclasses.dataclass(frozen=True)
class Source:
    """What there is to read: the files, their format and their vocabulary."""

    train: tuple[str, ...]
    validation: tuple[str, ...]
    vocab: Vocab
    tokenizer: config.TokenizerConfig  # how words were cut
    tokens_per_record: float
    legacy_row_tokens: int | None  # of the 2020 code's records; None for our own
    # What must be the same when a run is resumed, wherever the files lie.
    identity: dict[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def has_validation(self) -> bool:
        """Whether documents were held out."""
        return bool(self.validation)


def open_source(data: config.DataConfig) -> Source:
    """Looks at what `data.records` holds.

    Raises:
        UserError: for a folder that is missing or not as its manifest says, or a
            vocabulary that is missing or lacks a special token.
    """
    if not data.records:
        raise errors.UserError(
            "data.records is empty: name the folder that build_data wrote"
        )
    legacy = record_reader.find_legacy(data.records)
    if legacy is None:
        return _open_folder(data)
    if legacy.row_tokens > data.row_tokens:
        raise errors.UserError(
            f"data.row_tokens={data.row_tokens}: rows in {data.records} are "
            f"{legacy.row_tokens} tokens long; set data.row_tokens={legacy.row_tokens}"
        )
    if data.vocab is None:
        raise errors.UserError(
            f"data.vocab is missing: {data.records} holds records of the 2020 code, "
            "which carry no vocabulary; name the vocab.txt they were made with"
        )
    tokens = vocabularies.read(data.vocab)
    sampled = record_reader.sampled_hash(legacy.files)
    return Source(
        train=tuple(legacy.files),
        validation=(),
        vocab=_describe_vocab(tokens),
        tokenizer=config.TokenizerConfig(),  # These records do not say.
        tokens_per_record=legacy.row_tokens,
        legacy_row_tokens=legacy.row_tokens,
        identity={
            "vocabulary": vocabularies.hash_of(tokens),
            "records": f"{len(legacy.files)} files of rows of {legacy.row_tokens} "
            f"tokens, {sampled[:16]}",
        },
    )


def train_batches(
    source: Source,
    data: config.DataConfig,
    *,
    seed: int,
    batch_rows: int,
    position: Position | tf.Tensor = (0, 0, 0, 0),
    worker: int = 0,
    num_workers: int = 1,
) -> tf.data.Dataset:
    """Builds the batches of one input worker, without end.

    The rows and their order do not depend on `batch_rows`.

    Args:
        source: as `open_source` returns it.
        data: settings of packing and masking.
        seed: of order, packing and masking.
        batch_rows: B.
        position: where to go on: `data_position` of the last row that was used.
        worker: index of this worker.
        num_workers: how many share the shards.

    Raises:
        UserError: for fewer shards than workers.
    """
    if len(source.train) < num_workers:
        raise errors.UserError(
            f"{num_workers} input workers share {len(source.train)} training shards in "
            f"{data.records}: run fewer workers, or build the data with "
            f"min_shards={num_workers}"
        )
    start = tf.cast(position, tf.int64)

    def read_epoch(epoch: tf.Tensor) -> tf.data.Dataset:
        noise = tf.random.stateless_uniform([len(source.train)], _fold(seed, [epoch]))
        shards = tf.gather(tf.constant(source.train), tf.argsort(noise))
        return _read_blocks(source, data, shards[worker::num_workers], epoch, start)

    return (
        tf.data.Dataset.range(start[0], tf.int32.max)
        .flat_map(read_epoch)
        .map(
            _block_maker(source, data, seed, worker, start),
            num_parallel_calls=_BLOCKS_IN_FLIGHT,
            deterministic=True,
        )
        .rebatch(batch_rows, drop_remainder=True)
        .prefetch(2)  # These wait, so that the device does not.
        .with_options(_options())
    )


def validation_batches(
    source: Source,
    data: config.DataConfig,
    *,
    seed: int,
    batch_rows: int,
    max_rows: int,
) -> tf.data.Dataset:
    """Builds the held-out batches: the same rows, hidden the same, every time.

    Rows that the last batch lacks are padding only, with weights of 0.

    Args:
        source: as `open_source` returns it.
        data: settings of packing and masking.
        seed: of packing and masking.
        batch_rows: B.
        max_rows: rows at most.

    Raises:
        UserError: for a source without validation shards.
    """
    if not source.has_validation:
        raise errors.UserError(
            f"{data.records} holds no validation shards: build the data with "
            "validation_rate above 0"
        )
    start = tf.zeros([4], tf.int64)

    def fill_up(rows: Batch) -> Batch:
        # All batches get one static shape, so that the step is traced once.
        missing = batch_rows - tf.shape(rows["token_ids"])[0]
        return {
            name: tf.ensure_shape(
                tf.pad(values, [[0, missing], [0, 0]]), [batch_rows, values.shape[1]]
            )
            for name, values in rows.items()
        }

    return (
        _read_blocks(source, data, tf.constant(source.validation), start[0], start)
        .map(_block_maker(source, data, seed, _VALIDATION, start))
        .unbatch()
        .take(max_rows)
        .batch(batch_rows)
        .map(fill_up)
        .prefetch(2)
        .with_options(_options())
    )


def name_damaged(source: Source) -> str | None:
    """Searches the shards for a damaged record, which TensorFlow's errors do not name.

    Returns:
        The first file that cannot be read to its end and where, or None.

    Raises:
        UserError: records of the 2020 code have ids that the vocabulary has not.
    """
    parse = _parser(source)
    for file in (*source.train, *source.validation):
        for size in (1024, 1):  # Quickly to the file, then slowly to the record.
            num_read = 0
            try:
                for found in tf.data.TFRecordDataset(file).batch(size).map(parse):
                    if source.legacy_row_tokens is not None:
                        _refuse_unknown_ids(source, file, num_read, found["input_ids"])
                    num_read += size
            except (tf.errors.DataLossError, tf.errors.InvalidArgumentError):
                if size == 1:
                    return f"{file}: record {num_read + 1} is damaged or cut short"
            else:
                break
    return None


def _refuse_unknown_ids(
    source: Source, file: str, num_read: int, token_ids: tf.Tensor
) -> None:
    """Refuses ids, int32 [n, L] of the records from `num_read` on, without a token."""
    rows, columns = np.nonzero(_unknown(source, token_ids).numpy())
    if rows.size:
        raise errors.UserError(
            f"{file}: record {num_read + rows[0] + 1} holds token "
            f"{token_ids[rows[0], columns[0]].numpy()}, but data.vocab has "
            f"{source.vocab.size} tokens: it is not the vocabulary that these records "
            "were made with; name theirs"
        )


def _unknown(source: Source, token_ids: tf.Tensor) -> tf.Tensor:
    return (token_ids < 0) | (token_ids >= source.vocab.size)


def _open_folder(data: config.DataConfig) -> Source:
    manifest, tokens = record_reader.read_folder(data.records)
    if data.vocab is not None and vocabularies.read(data.vocab) != tokens:
        raise errors.UserError(
            f"data.vocab={data.vocab} is not the vocabulary that {data.records} was "
            "built with; leave it out, or build the data with it"
        )
    documents = sum(shard.documents for shard in manifest.train)
    if not documents:
        raise errors.UserError(
            f"{data.records} holds no training documents; build the data with more "
            "text, or a lower validation_rate"
        )
    train, validation = (
        tuple(os.path.join(data.records, shard.file) for shard in shards)
        for shards in (manifest.train, manifest.validation)
    )
    return Source(
        train=train,
        validation=validation,
        vocab=_describe_vocab(tokens),
        tokenizer=manifest.tokenizer,
        tokens_per_record=sum(shard.tokens for shard in manifest.train) / documents,
        legacy_row_tokens=None,
        identity=_identify(manifest, [*train, *validation]),
    )


def _identify(manifest: manifests.Manifest, files: Sequence[str]) -> dict[str, Any]:
    """Returns what tells other data from these, by name; "corpus" is told alone.

    By the shards' checksums, else, in format_version 1, by samples of them.
    """
    known = manifest.records_hash or record_reader.sampled_hash(files)
    sources = [
        f"{source.path} ({source.bytes:,} bytes)" for source in manifest.sources[:3]
    ]
    if len(manifest.sources) > len(sources):
        sources.append(f"{len(manifest.sources) - len(sources)} more")
    changed = config.differences(config.BuildDataConfig(), manifest.settings)
    stated = [
        f"{name}={new}"
        for name, (_, new) in changed.items()
        if name != "processes" and not name.startswith("tokenizer.")
    ]
    return {
        **{
            f"tokenizer.{name}": value
            for name, value in manifest.tokenizer.model_dump(mode="json").items()
        },
        "vocabulary": manifest.vocab_hash,
        "records": f"{manifest.num_documents:,} documents, {manifest.num_tokens:,} "
        f"tokens, {known[:16]}",
        "corpus": ", ".join([*sources, *stated]),
    }


def _describe_vocab(tokens: list[str]) -> Vocab:
    return Vocab(
        tokens=tokens,
        size=len(tokens),
        cls_id=tokens.index(vocabularies.CLS),
        sep_id=tokens.index(vocabularies.SEP),
        mask_id=tokens.index(vocabularies.MASK),
        is_continuation=np.array(vocabularies.continues(tokens)),
    )


def _read_blocks(
    source: Source,
    data: config.DataConfig,
    shards: tf.Tensor,
    epoch: tf.Tensor,
    start: tf.Tensor,
) -> tf.data.Dataset:
    """Reads an epoch: ((epoch, group, block), serialized records), from `start` on."""
    group_size = data.shuffle_shards

    def read_group(group: tf.Tensor) -> tf.data.Dataset:
        here = shards[group * group_size : (group + 1) * group_size]
        is_first = tf.reduce_all(tf.equal([epoch, group], start[:2]))
        return (
            tf.data.Dataset.from_tensor_slices(here)
            .interleave(
                tf.data.TFRecordDataset, cycle_length=group_size, block_length=1
            )
            .batch(_records_per_block(source, data))
            .enumerate()
            .skip(tf.where(is_first, start[2], 0))
            .map(
                lambda block, serialized: (tf.stack([epoch, group, block]), serialized)
            )
        )

    num_groups = -(-tf.size(shards, tf.int64) // group_size)
    done = tf.where(tf.equal(epoch, start[0]), start[1], 0)
    return tf.data.Dataset.range(num_groups).skip(done).flat_map(read_group)


def _records_per_block(source: Source, data: config.DataConfig) -> int:
    """Estimates how many records make data.block_rows rows."""
    if source.legacy_row_tokens is not None:
        return data.block_rows
    examples = 1 + source.tokens_per_record // (data.example_tokens - 3)
    tokens = source.tokens_per_record + 3 * examples  # With [CLS], [SEP] and [SEP].
    return max(1, round(data.block_rows * data.row_tokens / tokens))


def _block_maker(
    source: Source, data: config.DataConfig, seed: int, worker: int, start: tf.Tensor
) -> Callable[[tf.Tensor, tf.Tensor], Batch]:
    """Returns the function that turns a block's records into its rows, R of them."""
    make_rows = _unpack_legacy if source.legacy_row_tokens is not None else _pack

    def make_block(place: tf.Tensor, serialized: tf.Tensor) -> Batch:
        block_seed = _fold(seed, [worker, *tf.unstack(place, 3)])
        row_seed, mask_seed, noise_seed = tf.unstack(tf.random.split(block_seed, 3))
        rows = make_rows(source, data, serialized, row_seed)
        masked = _mask(source, data, rows, mask_seed)

        num_rows = tf.shape(rows.token_ids)[0]
        next_row = tf.range(1, num_rows + 1)[:, None]  # [R, 1]
        place_32 = tf.repeat(tf.cast(place, tf.int32)[None], num_rows, axis=0)  # [R, 3]
        fields = rows._asdict() | masked._asdict()
        fields["sampling_noise"] = tf.random.stateless_uniform(
            tf.shape(masked.mask_ids), noise_seed
        )
        fields["data_position"] = tf.concat([place_32, next_row], axis=1)  # [R, 4]
        is_first = tf.reduce_all(tf.equal(place, start[:3]))
        done = tf.where(is_first, start[3], 0)
        return {name: values[done:] for name, values in fields.items()}

    return make_block


def _pack(
    source: Source, data: config.DataConfig, serialized: tf.Tensor, seed: tf.Tensor
) -> packing.PackedRows:
    token_ids, sentence_lengths = record_reader.parse(serialized)
    return packing.pack_documents(
        token_ids,
        sentence_lengths,
        example_tokens=data.example_tokens,
        row_tokens=data.row_tokens,
        single_segment_rate=data.single_segment_rate,
        short_example_rate=data.short_example_rate,
        cls_id=source.vocab.cls_id,
        sep_id=source.vocab.sep_id,
        seed=seed,
    )


def _unpack_legacy(
    source: Source, data: config.DataConfig, serialized: tf.Tensor, seed: tf.Tensor
) -> packing.PackedRows:
    """Takes the 2020 code's records as they are: a row holds one example."""
    legacy_tokens = source.legacy_row_tokens or 0
    parsed = record_reader.parse_legacy(serialized, legacy_tokens)
    # An accelerator would read on in silence; see `name_damaged`.
    unknown = tf.reduce_any(_unknown(source, parsed["input_ids"]))
    tf.debugging.Assert(~unknown, ["token ids without a token"])
    order = tf.argsort(tf.random.stateless_uniform(tf.shape(serialized), seed))
    room = data.row_tokens - legacy_tokens
    real, token_ids, segment_ids = (
        tf.pad(tf.gather(parsed[name], order), [[0, 0], [0, room]])  # [R, L]
        for name in ("input_mask", "input_ids", "segment_ids")
    )
    return packing.PackedRows(
        token_ids=token_ids * real,
        segment_ids=segment_ids * real,
        example_ids=real,
        position_ids=tf.range(data.row_tokens) * real,
    )


def _mask(
    source: Source, data: config.DataConfig, rows: packing.PackedRows, seed: tf.Tensor
) -> masking.MaskedTokens:
    special_ids = (source.vocab.cls_id, source.vocab.sep_id, source.vocab.mask_id)
    token_ids = rows.token_ids % source.vocab.size  # Without marks of words.
    candidates = masking.find_candidates(token_ids, rows.example_ids, special_ids)
    word_starts = None
    if data.whole_word_masking:
        word_starts = masking.find_words(
            rows.token_ids, candidates, tf.constant(source.vocab.is_continuation)
        )
    return masking.hide_tokens(
        token_ids,
        candidates,
        rate=data.mask_rate,
        max_predictions=data.max_predictions,
        mask_token_rate=data.mask_token_rate,
        mask_id=source.vocab.mask_id,
        seed=seed,
        word_starts=word_starts,
    )


def _parser(source: Source) -> Callable[[tf.Tensor], object]:
    if source.legacy_row_tokens is None:
        return record_reader.parse
    row_tokens = source.legacy_row_tokens
    return lambda serialized: record_reader.parse_legacy(serialized, row_tokens)


def _fold(seed: int, parts: Sequence[int | tf.Tensor]) -> tf.Tensor:
    """Makes a stateless seed, int64 [2], of the run's seed and a place."""
    folded = tf.constant([seed, len(parts)], tf.int64)
    for part in parts:
        folded = tf.random.fold_in(folded, tf.cast(part, tf.int64))
    return folded


def _options() -> tf.data.Options:
    options = tf.data.Options()
    options.deterministic = True
    # Nothing to tune; and freeing an iterator waits for its tuner, up to a minute.
    options.autotune.enabled = False
    # The shards are dealt to the workers already; tf.data would deal them once more.
    options.experimental_distribute.auto_shard_policy = (
        tf.data.experimental.AutoShardPolicy.OFF
    )
    return options
