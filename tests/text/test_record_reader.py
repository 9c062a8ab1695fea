"""Records read as they were written; a folder is whole or refused."""

import numpy as np
import pytest
import tensorflow as tf

from electra_tf import config, errors
from electra_tf.text import manifests, record_reader, records, vocabularies

DOCUMENTS = [([5, 300, 7, 70_000], [3, 1]), ([9], [1]), ([6, 7], [1, 1])]
VOCAB = [*vocabularies.SPECIAL_TOKENS, "film", "good"]


@pytest.fixture
def folder(tmp_path):
    """A data folder of two shards, made by hand."""
    shards = []
    for split, documents in (("train", DOCUMENTS[:2]), ("validation", DOCUMENTS[2:])):
        file = f"{split}/part-00000-of-00001.tfrecord"
        (tmp_path / split).mkdir()
        serialized = [
            records.serialize(np.array(token_ids, np.uint32), lengths)
            for token_ids, lengths in documents
        ]
        sha256 = records.write(tmp_path / file, serialized)
        shards.append(
            manifests.Shard(
                file=file,
                documents=len(documents),
                tokens=sum(len(token_ids) for token_ids, _ in documents),
                bytes=(tmp_path / file).stat().st_size,
                sha256=sha256,
            )
        )
    vocabularies.write(tmp_path / "vocab.txt", VOCAB)
    manifest = manifests.Manifest(
        vocab_size=len(VOCAB),
        vocab_hash=vocabularies.hash_of(VOCAB),
        vocab_trained=False,
        unk_rate=0.25,
        replaced_characters=0,
        sources=[manifests.Source(path="texts", files=3, bytes=17, fingerprint="f")],
        settings=config.BuildDataConfig(
            seed=11, tokenizer=config.TokenizerConfig(lowercase=False)
        ),
        train=shards[:1],
        validation=shards[1:],
    )
    (tmp_path / "manifest.json").write_text(manifests.dump(manifest))
    return tmp_path


def test_parsed_records_are_what_was_serialized(folder):
    file = str(folder / "train/part-00000-of-00001.tfrecord")
    serialized = next(iter(tf.data.TFRecordDataset(file).batch(7)))
    token_ids, lengths = record_reader.parse(serialized)
    assert token_ids.dtype == lengths.dtype == tf.int32
    assert token_ids.to_list() == [ids for ids, _ in DOCUMENTS[:2]]
    assert lengths.to_list() == [lengths for _, lengths in DOCUMENTS[:2]]


def test_a_manifest_is_read_as_it_was_written(folder):
    manifest = record_reader.read_manifest(str(folder))
    assert manifest.tokenizer == config.TokenizerConfig(lowercase=False)
    assert manifest.seed == 11
    assert (manifest.num_documents, manifest.num_tokens) == (3, 7)
    assert [shard.tokens for shard in manifest.train] == [5]
    assert [shard.tokens for shard in manifest.validation] == [2]


def test_the_vocabulary_of_a_folder_is_the_one_its_records_were_made_with(folder):
    assert record_reader.read_folder(str(folder)).vocab == VOCAB
    vocabularies.write(folder / "vocab.txt", [*VOCAB, "##s"])
    with pytest.raises(errors.UserError, match=r"vocab\.txt is not the vocabulary"):
        record_reader.read_folder(str(folder))
    (folder / "vocab.txt").unlink()
    with pytest.raises(errors.UserError, match=r"vocab\.txt is missing"):
        record_reader.read_folder(str(folder))


def test_a_folder_without_manifest_is_refused_with_the_reason(folder):
    (folder / "manifest.json").unlink()
    with pytest.raises(errors.UserError, match=r"has no manifest\.json"):
        record_reader.read_manifest(str(folder))
    (folder / ".building").touch()
    with pytest.raises(errors.UserError, match="interrupted build"):
        record_reader.read_manifest(str(folder))
    with pytest.raises(errors.UserError, match=r"no data folder \S*none"):
        record_reader.read_manifest(str(folder / "none"))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('{\n "format', ' "format', r"manifest\.json is damaged \(it is not the JSON"),
        ('"tokens": 5', '"tokens": 6', "its checksum is another"),
    ],
)
def test_a_manifest_that_was_changed_is_refused(folder, old, new, message):
    file = folder / "manifest.json"
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, new))
    with pytest.raises(errors.UserError, match=message) as error:
        record_reader.read_manifest(str(folder))
    assert "\n" not in str(error.value)


def test_a_shard_cut_short_or_missing_is_named(folder):
    file = folder / "validation/part-00000-of-00001.tfrecord"
    size = file.stat().st_size
    file.write_bytes(file.read_bytes()[:-3])
    with pytest.raises(
        errors.UserError, match=rf"{file} has {size - 3} bytes, want {size}"
    ):
        record_reader.read_manifest(str(folder))
    file.unlink()
    with pytest.raises(errors.UserError, match=rf"{file} is missing"):
        record_reader.read_manifest(str(folder))


def write_legacy(file, rows):
    """Writes rows as the 2020 code does."""
    with tf.io.TFRecordWriter(str(file)) as writer:
        for row in rows:
            feature = {
                name: tf.train.Feature(int64_list=tf.train.Int64List(value=values))
                for name, values in row.items()
            }
            example = tf.train.Example(features=tf.train.Features(feature=feature))
            writer.write(example.SerializeToString())


ROW = {
    "input_ids": [2, 9, 3, 0],
    "input_mask": [1, 1, 1, 0],
    "segment_ids": [0, 0, 1, 0],
}


def test_rows_of_the_2020_code_are_found_and_parsed(tmp_path):
    for number in (10, 9, 2):
        write_legacy(tmp_path / f"pretrain_data.tfrecord-{number}-of-11", [ROW] * 2)
    (tmp_path / "pretrain_data.tfrecord-3-of-11").touch()  # It leaves many empty.
    found = record_reader.find_legacy(str(tmp_path))
    assert found == record_reader.find_legacy(f"{tmp_path}/pretrain_data.tfrecord*")
    assert found.row_tokens == 4
    assert [file.rsplit("-")[-3] for file in found.files] == ["2", "9", "10"]
    serialized = next(iter(tf.data.TFRecordDataset(found.files).batch(6)))
    rows = record_reader.parse_legacy(serialized, found.row_tokens)
    for name, values in ROW.items():
        assert rows[name].dtype == tf.int32
        np.testing.assert_array_equal(rows[name], [values] * 6)


def test_nothing_else_is_taken_for_rows_of_the_2020_code(folder, tmp_path_factory):
    assert record_reader.find_legacy(str(folder)) is None
    assert record_reader.find_legacy(str(folder / "train")) is None
    assert record_reader.find_legacy(str(folder / "vocab.txt")) is None
    assert record_reader.find_legacy(str(folder / "none")) is None
    assert record_reader.find_legacy(str(tmp_path_factory.mktemp("empty"))) is None
