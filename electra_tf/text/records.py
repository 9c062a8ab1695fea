"""Records: tokenized documents, and the shards that hold them.

In:   token ids and sentence lengths of a document.
Out:  serialized records, files of them.

Without TensorFlow, which takes longer to load than most corpora to build (D27).
"""

import hashlib
import struct
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import google_crc32c
import numpy as np
import numpy.typing as npt
from google.protobuf import (
    descriptor_pb2,
    descriptor_pool,
    message_factory,
    text_format,
)

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


class Record(NamedTuple):
    """A document as a record holds it."""

    token_ids: npt.NDArray[np.uint32]  # of all sentences, no special tokens
    sentence_lengths: list[int]  # in tokens


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


def deserialize(record: bytes) -> Record:
    """Reads back what `serialize` returned."""
    example = _Example.FromString(record)
    values = {
        entry.key: entry.value.int64_list.value for entry in example.features.feature
    }
    token_ids = np.array(values["token_ids"], np.uint32)
    return Record(token_ids, list(values["sentence_lengths"]))


def write(file: Path, serialized: Iterable[bytes]) -> str:
    """Writes records as a TFRecord file, and returns its SHA-256 in hex.

    Each stands between its length and its checksum, as TensorFlow's record_writer.cc
    has it: uint64 and uint32, little-endian, the length with a checksum of its own.
    """
    digest = hashlib.sha256()
    with file.open("wb") as stream:
        for record in serialized:
            length = struct.pack("<Q", len(record))
            piece = length + _checksum(length) + record + _checksum(record)
            digest.update(piece)
            stream.write(piece)
    return digest.hexdigest()


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
