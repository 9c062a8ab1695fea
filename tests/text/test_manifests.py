"""A manifest reads back as it was written, or is refused."""

import contextlib
import json
import random

import pytest

from electra_tf import config, errors
from electra_tf.text import manifests

MANIFEST = manifests.Manifest(
    vocab_size=7,
    vocab_hash="0a1b",
    vocab_trained=False,
    unk_rate=0.25,
    replaced_characters=0,
    sources=[manifests.Source(path="t\u00eaxts", files=3, bytes=17, fingerprint="f")],
    settings=config.BuildDataConfig(),
    train=[manifests.Shard(file="a", documents=2, tokens=5, bytes=60, sha256="7c")],
    validation=[],
)


def test_every_flipped_bit_of_a_manifest_is_noticed():
    data = manifests.dump(MANIFEST).encode()
    assert manifests.parse(data, "m") == MANIFEST
    chance = random.Random(5)
    for _ in range(400):
        place, bit = chance.randrange(len(data)), chance.randrange(8)
        flipped = bytearray(data)
        flipped[place] ^= 1 << bit
        with contextlib.suppress(manifests.DamagedError):
            # Space, tab and the like mean the same between two fields.
            assert manifests.parse(bytes(flipped), "m") == MANIFEST


def test_a_manifest_of_a_later_version_is_not_taken_for_a_damaged_one():
    later = manifests.dump(MANIFEST.model_copy(update={"format_version": 3}))
    with pytest.raises(errors.UserError, match=r"format_version 3, .* update") as error:
        manifests.parse(later.encode(), "m")
    assert not isinstance(error.value, manifests.DamagedError)


def test_a_manifest_of_the_first_version_is_read():
    fields = json.loads(manifests.dump(MANIFEST))
    del fields["checksum"], fields["train"][0]["sha256"]
    old = manifests.parse(json.dumps(fields | {"format_version": 1}).encode(), "")
    assert old.num_tokens == MANIFEST.num_tokens
    assert old.records_hash is None
    assert MANIFEST.records_hash


@pytest.mark.parametrize("data", [b"", b"null", b"[" * 100_000, b"\xff", b'{"a": 1}'])
def test_what_is_no_manifest_is_damaged(data):
    with pytest.raises(manifests.DamagedError, match=r"^m is damaged .* again"):
        manifests.parse(data, "m")
