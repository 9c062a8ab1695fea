"""What is written is what TensorFlow would write, byte for byte."""

import contextlib
import hashlib
import json
import random

import numpy as np
import pytest
import tensorflow as tf

from electra_tf import config, errors
from electra_tf.text import records


def test_a_record_is_a_tf_train_example():
    token_ids, lengths = [5, 0, 300, 7, 70_000, 2**32 - 1], [3, 1, 200]
    found = records.serialize(np.array(token_ids, np.uint32), lengths)
    want = tf.train.Example()
    feature = want.features.feature
    feature["token_ids"].int64_list.value.extend(token_ids)
    feature["sentence_lengths"].int64_list.value.extend(lengths)
    assert found == want.SerializeToString(deterministic=True)
    back = records.deserialize(found)
    assert back.token_ids.tolist() == token_ids
    assert back.sentence_lengths == lengths


def test_a_shard_is_what_tensorflow_writes(tmp_path):
    rng = random.Random(3)
    serialized = [b"", b"x", *(rng.randbytes(rng.randrange(400)) for _ in range(300))]
    sha256 = records.write(tmp_path / "ours", iter(serialized))
    with tf.io.TFRecordWriter(str(tmp_path / "theirs")) as writer:
        for record in serialized:
            writer.write(record)
    assert (tmp_path / "ours").read_bytes() == (tmp_path / "theirs").read_bytes()
    assert sha256 == hashlib.sha256((tmp_path / "ours").read_bytes()).hexdigest()
    read = tf.data.TFRecordDataset(str(tmp_path / "ours"))
    assert [record.numpy() for record in read] == serialized


def test_no_records_are_an_empty_file(tmp_path):
    records.write(tmp_path / "none", [])
    assert (tmp_path / "none").read_bytes() == b""


MANIFEST = records.Manifest(
    vocab_size=7,
    vocab_hash="0a1b",
    vocab_trained=False,
    unk_rate=0.25,
    replaced_characters=0,
    sources=[records.Source(path="t\u00eaxts", files=3, bytes=17, fingerprint="f")],
    settings=config.BuildDataConfig(),
    train=[records.Shard(file="a", documents=2, tokens=5, bytes=60, sha256="7c")],
    validation=[],
)


def test_every_flipped_bit_of_a_manifest_is_noticed():
    data = records.dump_manifest(MANIFEST).encode()
    assert records.parse_manifest(data, "m") == MANIFEST
    chance = random.Random(5)
    for _ in range(400):
        place, bit = chance.randrange(len(data)), chance.randrange(8)
        flipped = bytearray(data)
        flipped[place] ^= 1 << bit
        with contextlib.suppress(records.DamagedManifestError):
            # Space, tab and the like mean the same between two fields.
            assert records.parse_manifest(bytes(flipped), "m") == MANIFEST


def test_a_manifest_of_a_later_version_is_not_taken_for_a_damaged_one():
    later = records.dump_manifest(MANIFEST.model_copy(update={"format_version": 3}))
    with pytest.raises(errors.UserError, match=r"format_version 3, .* update") as error:
        records.parse_manifest(later.encode(), "m")
    assert not isinstance(error.value, records.DamagedManifestError)


def test_a_manifest_of_the_first_version_is_read():
    fields = json.loads(records.dump_manifest(MANIFEST))
    del fields["checksum"], fields["train"][0]["sha256"]
    old = records.parse_manifest(
        json.dumps(fields | {"format_version": 1}).encode(), ""
    )
    assert old.num_tokens == MANIFEST.num_tokens
    assert old.records_hash is None
    assert MANIFEST.records_hash


@pytest.mark.parametrize("data", [b"", b"null", b"[" * 100_000, b"\xff", b'{"a": 1}'])
def test_what_is_no_manifest_is_damaged(data):
    with pytest.raises(records.DamagedManifestError, match=r"^m is damaged .* again"):
        records.parse_manifest(data, "m")
