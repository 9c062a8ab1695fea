"""What is written is what TensorFlow would write, byte for byte."""

import hashlib
import random

import numpy as np
import tensorflow as tf

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
