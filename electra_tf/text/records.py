"""The schema of a data folder: records in shards, a manifest that vouches for them.

In:   token ids and sentence lengths of a document.
Out:  serialized records, files of them, their manifest, sealed by checksums.

Without TensorFlow, which takes longer to load than most corpora to build (D27).
"""

import hashlib
import json
import os
import struct
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import google_crc32c
import numpy as np
import numpy.typing as npt
import pydantic
from google.protobuf import (
    descriptor_pb2,
    descriptor_pool,
    message_factory,
    text_format,
)

from electra_tf import config as configs
from electra_tf import errors

MANIFEST = "manifest.json"
VOCAB = "vocab.txt"
BUILDING = ".building"

FORMAT_VERSION = 2

# What mends a data folder, whatever its damage.
BUILD_AGAIN = "run the same python -m electra_tf.build_data again, which mends it"

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
    sha256: str | None = None  # of the file; format_version 1 has none


class Source(configs.Settings):
    """One --corpus path as it was when the data were built."""

    path: str
    files: int
    bytes: int
    fingerprint: str  # of the files' names, sizes and times


class Manifest(configs.Settings):
    """What a data folder holds and what it was made of."""

    format_version: Literal[1, 2] = 2
    vocab_size: int
    vocab_hash: str  # `tokenizer.vocab_hash` of vocab.txt
    vocab_trained: bool  # on this corpus; else it was given
    unk_rate: float  # share of tokens that are [UNK]; see `text_loss.Total`
    lost_rate: float = 0.0  # share of characters in them
    lost_words: tuple[str, ...] = ()  # some of them, cut short
    marked_rate: float = 0.0  # share of characters that strip_accents changes
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
        """What the split and the order are drawn from."""
        return self.settings.seed

    @property
    def num_documents(self) -> int:
        """Of both splits."""
        return sum(shard.documents for shard in self.train + self.validation)

    @property
    def num_tokens(self) -> int:
        """Of both splits."""
        return sum(shard.tokens for shard in self.train + self.validation)

    @property
    def validation_share(self) -> float:
        """Share of the tokens held out: validation_rate, as far as the text allows."""
        return sum(shard.tokens for shard in self.validation) / self.num_tokens

    @property
    def records_hash(self) -> str | None:
        """What the records are, wherever they lie; None without checksums."""
        shards = [("train", self.train), ("validation", self.validation)]
        hashes = [(split, shard.sha256) for split, found in shards for shard in found]
        if not all(sha256 for _, sha256 in hashes):
            return None
        return hashlib.sha256(json.dumps(hashes).encode()).hexdigest()


class DamagedManifestError(errors.UserError):
    """A manifest that is not as it was written."""


def is_data_folder(path: Path) -> bool:
    """Tells whether a folder holds data that were built, or half built."""
    built = all(os.path.exists(path / name) for name in (MANIFEST, VOCAB))
    return built or os.path.exists(path / BUILDING)


def dump_manifest(manifest: Manifest) -> str:
    """Returns the manifest as a file holds it, with its checksum."""
    fields = manifest.model_dump()
    return json.dumps({**fields, "checksum": _seal(fields)}, indent=1) + "\n"


def parse_manifest(data: bytes, file: str) -> Manifest:
    """Reads a manifest back and checks it against its checksum.

    Raises:
        DamagedManifestError: it is not as it was written.
        UserError: a later version of this package wrote it.
    """
    try:
        fields = json.loads(data)
        checksum = fields.pop("checksum", None)
        is_whole = checksum == _seal(fields)
        version = fields["format_version"]
        if is_whole and version > FORMAT_VERSION:
            raise errors.UserError(
                f"{file} has format_version {version}, this electra_tf reads up to "
                f"{FORMAT_VERSION}; update it, or name another folder"
            )
        if is_whole or version == 1:
            return Manifest.model_validate(fields)
        why = "its checksum is another"
    except errors.UserError:
        raise
    except pydantic.ValidationError as error:
        first = error.errors(include_url=False)[0]
        why = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        why = "it is not the JSON that was written"
    raise DamagedManifestError(f"{file} is damaged ({why}); {BUILD_AGAIN}")


def _seal(fields: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()


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
