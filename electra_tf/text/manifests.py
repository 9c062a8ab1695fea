"""Manifests: what a data folder holds, what it was made of, sealed by a checksum.

In:   what the shards of a data folder are, and the settings they were made with.
Out:  manifest.json, which is written last and vouches for the rest.

Without TensorFlow, as `records`.
"""

import hashlib
import json
import os
from pathlib import Path
from typing import Any, Literal

import pydantic

from electra_tf import config as configs
from electra_tf import errors

MANIFEST = "manifest.json"
VOCAB = "vocab.txt"
BUILDING = ".building"

FORMAT_VERSION = 2

# What mends a data folder, whatever its damage.
BUILD_AGAIN = "run the same python -m electra_tf.build_data again, which mends it"


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
    vocab_hash: str  # `vocabularies.hash_of` vocab.txt
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


class DamagedError(errors.UserError):
    """A manifest that is not as it was written."""


def is_data_folder(path: Path) -> bool:
    """Tells whether a folder holds data that were built, or half built."""
    built = all(os.path.exists(path / name) for name in (MANIFEST, VOCAB))
    return built or os.path.exists(path / BUILDING)


def dump(manifest: Manifest) -> str:
    """Returns the manifest as a file holds it, with its checksum."""
    fields = manifest.model_dump()
    return json.dumps({**fields, "checksum": _seal(fields)}, indent=1) + "\n"


def parse(data: bytes, file: str) -> Manifest:
    """Reads a manifest back and checks it against its checksum.

    Raises:
        DamagedError: it is not as it was written.
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
    raise DamagedError(f"{file} is damaged ({why}); {BUILD_AGAIN}")


def _seal(fields: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()
