"""The schema of a data folder: records in shards, a manifest that vouches for them.

In:   token ids and sentence lengths of a document.
Out:  serialized records, files of them, the fields of their manifest.

Without TensorFlow, which takes longer to load than most corpora to build (D27).
"""

import struct
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

import google_crc32c
import numpy as np
import numpy.typing as npt
from google.protobuf import (
    descriptor_pb2,
    descriptor_pool,
    message_factory,
    text_format,
)

from electra_tf import config as configs

MANIFEST = "manifest.json"
VOCAB = "vocab.txt"
BUILDING = ".building"

# What a record needs of tf.train.Example. Its map from keys to features is written as
# what it is in bytes, entries that repeat, so that they keep their order.
_EXAMPLE = """
    name: "example.proto" syntax: "proto3"
    message_type { name: "Int64List" field {
      name: "value" number: 1 label: LABEL_REPEATED type: TYPE_INT64 } }
    message_type { name: "Feature" field {
      name: "int64_list" number: 3 type: TYPE_MESSAGE type_name: "Int64List" } }
    message_type { name: "Entry"
      field { name: "key" number: 1 type: TYPE_STRING }
      field { name: "value" number: 2 type: TYPE_MESSAGE type_name: "Feature" } }
    message_type { name: "Features" field {
      name: "feature" number: 1 label: LABEL_REPEATED
      type: TYPE_MESSAGE type_name: "Entry" } }
    message_type { name: "Example" field {
      name: "features" number: 1 type: TYPE_MESSAGE type_name: "Features" } }
"""


class Shard(configs.Settings):
    """One TFRecord file."""

    file: str  # within the data folder
    documents: int
    tokens: int
    bytes: int


class Source(configs.Settings):
    """One --corpus path as it was when the data were built."""

    path: str
    files: int
    bytes: int
    fingerprint: str  # of the files' names, sizes and times


class Manifest(configs.Settings):
    """What a data folder holds and what it was made of."""

    format_version: Literal[1] = 1
    vocab_size: int
    vocab_hash: str  # `tokenizer.vocab_hash` of vocab.txt
    vocab_trained: bool  # on this corpus; else it was given
    unk_rate: float  # share of tokens that are [UNK]
    replaced_characters: int  # U+FFFD for bytes that are not UTF-8
    sources: list[Source]
    settings: configs.BuildDataConfig
    train: list[Shard]
    validation: list[Shard]

    @property
    def tokenizer(self) -> configs.TokenizerConfig:
        """How text was cut, and must be cut ever after."""
        return self.settings.tokenizer

    @property
    def seed(self) -> int:
        """Of the split and the order."""
        return self.settings.seed

    @property
    def num_documents(self) -> int:
        """Of both splits."""
        return sum(shard.documents for shard in self.train + self.validation)

    @property
    def num_tokens(self) -> int:
        """Of both splits."""
        return sum(shard.tokens for shard in self.train + self.validation)


def serialize(
    token_ids: npt.NDArray[np.uint32], sentence_lengths: Sequence[int]
) -> bytes:
    """Returns a document as a record, a tf.train.Example."""
    example = _Example()
    values = {"sentence_lengths": sentence_lengths, "token_ids": token_ids.tolist()}
    for key, numbers in values.items():
        entry = example.features.feature.add(key=key)
        entry.value.int64_list.value.extend(numbers)
    return bytes(example.SerializeToString())


def write(file: Path, serialized: Iterable[bytes]) -> None:
    """Writes records as a TFRecord file.

    Each stands between its length and its checksum, as TensorFlow's record_writer.cc
    has it: uint64 and uint32, little-endian, the length with a checksum of its own.
    """
    with file.open("wb") as stream:
        for record in serialized:
            length = struct.pack("<Q", len(record))
            stream.write(length + _checksum(length) + record + _checksum(record))


def _checksum(data: bytes) -> bytes:
    """Returns the CRC-32C, masked, as data may hold checksums themselves."""
    crc = google_crc32c.value(data)
    rotated = crc >> 15 | crc << 17
    return struct.pack("<I", (rotated + 0xA282EAD8) & 0xFFFFFFFF)


def _make_example() -> Any:
    pool = descriptor_pool.DescriptorPool()
    pool.Add(text_format.Parse(_EXAMPLE, descriptor_pb2.FileDescriptorProto()))
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("Example"))


_Example = _make_example()
