"""Reads a data folder: its manifest, checked against what is there, and its records.

In:   a folder that build_data wrote, wherever `tf.io.gfile` reads.
Out:  its manifest and vocabulary; parsed records, of any length.

Reads the 2020 code's TFRecords too, which hold rows of a fixed length.
"""

import glob
import hashlib
import os
import re
from collections.abc import Sequence
from concurrent import futures
from typing import NamedTuple

import tensorflow as tf

from electra_tf import errors
from electra_tf.text import manifests, vocabularies

_LEGACY_FEATURES = {"input_ids", "input_mask", "segment_ids"}

# Bytes looked at in each of three places of a file, to know it again.
_SAMPLE_BYTES = 4096


class DataFolder(NamedTuple):
    """What a data folder says of its records."""

    manifest: manifests.Manifest
    vocab: list[str]  # that they were made with


class LegacyRecords(NamedTuple):
    """TFRecords of the 2020 code."""

    files: list[str]  # those that are not empty, in the order of their numbers
    row_tokens: int  # L


def parse(serialized: tf.Tensor) -> tuple[tf.RaggedTensor, tf.RaggedTensor]:
    """Reads records back.

    Args:
        serialized: string [n].

    Returns:
        token_ids int32 [n, (tokens)], sentence_lengths int32 [n, (sentences)].
    """
    parsed = tf.io.parse_example(
        serialized,
        {
            "token_ids": tf.io.RaggedFeature(tf.int64),
            "sentence_lengths": tf.io.RaggedFeature(tf.int64),
        },
    )
    return (
        tf.cast(parsed["token_ids"], tf.int32),
        tf.cast(parsed["sentence_lengths"], tf.int32),
    )


def parse_legacy(serialized: tf.Tensor, row_tokens: int) -> dict[str, tf.Tensor]:
    """Reads rows of the 2020 code: string [n] becomes int32 [n, L] a feature."""
    parsed = tf.io.parse_example(
        serialized,
        {
            name: tf.io.FixedLenFeature([row_tokens], tf.int64)
            for name in sorted(_LEGACY_FEATURES)
        },
    )
    return {name: tf.cast(value, tf.int32) for name, value in parsed.items()}


def read_manifest(folder: str) -> manifests.Manifest:
    """Reads a data folder's manifest and checks that its shards are there and whole.

    Raises:
        UserError: no data, data half built, of another format, or a shard or the
            vocabulary missing, cut short or changed.
    """
    file = os.path.join(folder, manifests.MANIFEST)
    if not tf.io.gfile.exists(file):
        raise errors.UserError(_why_no_manifest(folder))
    manifest = manifests.parse(_read(file), file)
    for shard in manifest.train + manifest.validation:
        _check_size(os.path.join(folder, shard.file), shard.bytes)
    return manifest


def read_folder(folder: str) -> DataFolder:
    """Reads all that a data folder says of its records, each file once.

    Raises:
        UserError: see `read_manifest`; or the vocabulary is not the records'.
    """
    manifest = read_manifest(folder)
    file = os.path.join(folder, manifests.VOCAB)
    if not tf.io.gfile.exists(file):
        raise errors.UserError(f"{file} is missing; {manifests.BUILD_AGAIN}")
    tokens = vocabularies.parse(_read(file), file)
    if vocabularies.hash_of(tokens) != manifest.vocab_hash:
        raise errors.UserError(
            f"{file} is not the vocabulary these records were built with (its hash "
            f"differs from the one in {manifests.MANIFEST}); put the right one back, "
            f"or {manifests.BUILD_AGAIN}"
        )
    return DataFolder(manifest, tokens)


def find_legacy(path: str) -> LegacyRecords | None:
    """Finds TFRecords of the 2020 code in a folder, or by a file name or pattern.

    Returns:
        None where the path holds none.
    """
    if tf.io.gfile.exists(os.path.join(path, manifests.MANIFEST)):
        return None
    pattern = os.path.join(glob.escape(path), "*") if tf.io.gfile.isdir(path) else path
    found = [
        file
        for file in tf.io.gfile.glob(pattern)
        if not tf.io.gfile.isdir(file) and tf.io.gfile.stat(file).length
    ]
    files = sorted(found, key=_by_numbers)
    if not files:
        return None
    try:
        first = next(iter(tf.data.TFRecordDataset(files[0]))).numpy()
        feature = tf.train.Example.FromString(first).features.feature
    except Exception as error:  # protobuf's own class has no public name
        if isinstance(error, MemoryError):
            raise
        return None
    if not _LEGACY_FEATURES.issubset(feature):
        return None
    return LegacyRecords(files, len(feature["input_ids"].int64_list.value))


def sampled_hash(files: Sequence[str]) -> str:
    """Returns a hash by which TFRecords without checksums are known again.

    Made of the files' sizes and of 4 KiB at the start, in the middle and at the end of
    each, in their order: whole records with TensorFlow's own checksums, where the files
    are gigabytes. Their names and folders may be others.
    """

    def look(file: str) -> bytes:
        size = tf.io.gfile.stat(file).length
        found = [str(size).encode()]
        with tf.io.gfile.GFile(file, "rb") as stream:
            for place in (0, (size - _SAMPLE_BYTES) // 2, size - _SAMPLE_BYTES):
                stream.seek(max(0, place))
                found.append(stream.read(_SAMPLE_BYTES))
        return hashlib.sha256(b"\0".join(found)).digest()

    with futures.ThreadPoolExecutor(16) as pool:  # They may be far away.
        return hashlib.sha256(b"".join(pool.map(look, files))).hexdigest()


def _read(file: str) -> bytes:
    with tf.io.gfile.GFile(file, "rb") as stream:
        return bytes(stream.read())


def _why_no_manifest(folder: str) -> str:
    if not tf.io.gfile.exists(folder):
        return f"no data folder {folder}; make it with python -m electra_tf.build_data"
    if tf.io.gfile.exists(os.path.join(folder, manifests.BUILDING)):
        return (
            f"{folder} holds the remains of an interrupted build; run the same "
            "python -m electra_tf.build_data again"
        )
    return (
        f"{folder} has no {manifests.MANIFEST}; want the --output folder of "
        "python -m electra_tf.build_data (if it is one, remove it and build again)"
    )


def _check_size(file: str, want: int) -> None:
    if not tf.io.gfile.exists(file):
        raise errors.UserError(f"shard {file} is missing; {manifests.BUILD_AGAIN}")
    found = tf.io.gfile.stat(file).length
    if found != want:
        raise errors.UserError(
            f"shard {file} has {found} bytes, want {want}: it was cut short or "
            f"changed; copy it again, or {manifests.BUILD_AGAIN}"
        )


def _by_numbers(file: str) -> list[str | int]:
    """Sorts part-10 after part-9."""
    parts = re.split(r"(\d+)", file)
    return [int(part) if part.isdecimal() else part for part in parts]
