"""Shards to masked batches: every document an epoch, and any place to resume from."""

import dataclasses
import itertools
import os
import shutil

import numpy as np
import pytest
import tensorflow as tf

from electra_tf import config, errors
from electra_tf.batches import pipeline
from electra_tf.text import manifests, records, vocabularies

PAD, UNK, CLS, SEP, MASK = range(5)
DOCUMENTS = 71
# Two groups an epoch, of three and of two shards, and several blocks a group.
DATA = config.DataConfig(
    records="unnamed",
    example_tokens=11,
    row_tokens=23,
    shuffle_shards=3,
    block_rows=7,
    short_example_rate=0.2,
)


def serialize(**fields):
    example = tf.train.Example()
    for name, values in fields.items():
        example.features.feature[name].int64_list.value.extend(map(int, values))
    return example.SerializeToString()


def write_shards(folder, shards):
    """Writes serialized records, a list of them a shard."""
    files = []
    for i, shard in enumerate(shards):
        files.append(str(folder / f"part-{i}.tfrecord"))
        with tf.io.TFRecordWriter(files[-1]) as writer:
            for record in shard:
                writer.write(record)
    return tuple(files)


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """Five shards, one empty; all tokens differ, so that they can be found again."""
    folder = tmp_path_factory.mktemp("shards")
    lengths = np.random.default_rng(0).integers(1, 40, DOCUMENTS)
    shards = [[] for _ in range(5)]
    for i, (n, end) in enumerate(zip(lengths, np.cumsum(lengths), strict=True)):
        record = serialize(token_ids=range(5 + end - n, 5 + end), sentence_lengths=[n])
        shards[i * i % 5 if i % 3 else 2].append(record)
    assert [not shard for shard in shards] == [False, False, False, True, False]
    files = write_shards(folder, shards)
    num_tokens = 5 + int(lengths.sum())
    return pipeline.Source(
        train=files,
        validation=files[3:],
        vocab=pipeline.Vocab(
            tokens=[str(number) for number in range(num_tokens)],
            size=num_tokens,
            cls_id=CLS,
            sep_id=SEP,
            mask_id=MASK,
            is_continuation=np.arange(2 * num_tokens) % 3 == 0,
        ),
        tokenizer=config.TokenizerConfig(),
        tokens_per_record=float(np.mean(lengths)),
        legacy_row_tokens=None,
    )


def open_batches(source, data=DATA, **arguments):
    arguments = {"seed": 8, "batch_rows": 1} | arguments
    return pipeline.train_batches(source, data, **arguments)


def take_rows(source, num_rows, data=DATA, **arguments):
    """Reads single rows, as dicts of numpy."""
    batches = open_batches(source, data, **arguments).take(num_rows)
    return [{k: v[0] for k, v in row.items()} for row in batches.as_numpy_iterator()]


@pytest.fixture(scope="module")
def rows(source):
    """The first rows, which other ways to read must agree with."""
    return take_rows(source, 120)


def take_epochs(source, num_epochs, **arguments):
    """Reads the rows of whole epochs, a list an epoch."""
    epochs = [[] for _ in range(num_epochs)]
    for row in open_batches(source, **arguments).unbatch().as_numpy_iterator():
        if row["data_position"][0] == num_epochs:
            return epochs
        epochs[row["data_position"][0]].append(row)
    raise AssertionError("the batches have an end")


def tokens_in(files):
    """Lists the tokens of the documents in shards."""
    tokens = []
    for record in tf.data.TFRecordDataset(list(files)).as_numpy_iterator():
        feature = tf.train.Example.FromString(record).features.feature["token_ids"]
        tokens += feature.int64_list.value
    return tokens


def assert_same_rows(rows, expected):
    assert len(rows) == len(expected)
    for i, (a, b) in enumerate(zip(rows, expected, strict=True)):
        assert a.keys() == b.keys()
        for name in a:
            np.testing.assert_array_equal(a[name], b[name], err_msg=f"{name}, row {i}")


def tokens_of(rows):
    """Lists the documents' tokens in rows, what was hidden put back, in order."""
    tokens = []
    for row in rows:
        restored = row["token_ids"].copy()
        used = row["mask_weights"] == 1
        restored[row["mask_positions"][used]] = row["mask_ids"][used]
        tokens += restored[restored > MASK].tolist()
    return sorted(tokens)


def test_a_batch_has_the_fields_and_the_static_shapes_of_the_architecture(source):
    rows, tokens, predictions = 4, 23, DATA.max_predictions
    spec = open_batches(source, batch_rows=rows).element_spec
    by_tokens = ["token_ids", "segment_ids", "example_ids", "position_ids"]
    expected = dict.fromkeys(by_tokens, ([rows, tokens], tf.int32))
    by_prediction = ["mask_positions", "mask_ids", "mask_weights", "sampling_noise"]
    expected |= dict.fromkeys(by_prediction[:2], ([rows, predictions], tf.int32))
    expected |= dict.fromkeys(by_prediction[2:], ([rows, predictions], tf.float32))
    expected["data_position"] = ([rows, 4], tf.int32)
    assert {k: (v.shape.as_list(), v.dtype) for k, v in spec.items()} == expected
    assert (
        spec
        == pipeline.validation_batches(
            source, DATA, seed=1, batch_rows=rows, max_rows=9
        ).element_spec
    )


def test_no_tuner_watches_batches_that_have_nothing_to_tune(source):
    held_out = pipeline.validation_batches(
        source, DATA, seed=1, batch_rows=4, max_rows=9
    )
    for batches in (open_batches(source, batch_rows=4), held_out):
        assert batches.options().autotune.enabled is False


def test_every_token_comes_once_an_epoch_and_epochs_differ(source):
    first, second = take_epochs(source, 2)
    everything = list(range(5, source.vocab.size))
    assert tokens_of(first) == tokens_of(second) == everything
    texts = [[row["token_ids"].tolist() for row in rows] for rows in (first, second)]
    assert texts[0][:5] != texts[1][:5]
    places = [tuple(row["data_position"][1:]) for row in first]
    assert len(set(places)) == len(places)
    assert {group for group, _, _ in places} == {0, 1}
    assert max(block for _, block, _ in places) >= 2


def test_an_epoch_reads_the_shards_in_another_order(source):
    firsts = [
        tokens_of(row for row in rows if row["data_position"][1] == 0)
        for rows in take_epochs(source, 3)
    ]
    assert len(set(map(str, firsts))) > 1


def test_a_block_mixes_the_shards_of_its_group(source, rows):
    def shards_of(rows):
        tokens = set(tokens_of(rows))
        return {file for file in source.train if tokens & set(tokens_in([file]))}

    group = [row for row in rows if tuple(row["data_position"][:2]) == (0, 0)]
    block = [row for row in group if row["data_position"][2] == 0]
    assert shards_of(block) == shards_of(group)
    assert len(shards_of(group)) > 1


def test_an_epoch_hides_other_tokens_than_the_one_before(source):
    hidden = [
        {int(i) for row in rows for i in row["mask_ids"][row["mask_weights"] == 1]}
        for rows in take_epochs(source, 3)
    ]
    share = len(hidden[0]) / (source.vocab.size - 5)
    again = len(hidden[0] & hidden[1]) / len(hidden[0])
    assert 0.1 < share < 0.2
    # By chance, a share of 0.15 meets itself; of some 200 tokens, the error is 0.025.
    assert again < 0.15 + 5 * 0.025


def test_the_same_seed_gives_the_same_rows_and_another_gives_others(source, rows):
    assert_same_rows(take_rows(source, 120), rows)
    assert tokens_of(take_rows(source, 20, seed=9)) != tokens_of(rows[:20])


def test_the_rows_do_not_depend_on_the_batch_size(source, rows):
    for batch_rows in (3, 20):
        batches = open_batches(source, batch_rows=batch_rows).take(120 // batch_rows)
        assert_same_rows(list(batches.unbatch().as_numpy_iterator()), rows)


def test_every_position_resumes_bit_for_bit(source, rows):
    """Over the ends of blocks, groups and epochs."""
    num_rows = len(rows) - 2
    positions = np.stack([row["data_position"] for row in rows[:num_rows]])
    # All pipelines in one, so that they are built once.
    resumed = tf.data.Dataset.from_tensor_slices(positions).flat_map(
        lambda position: open_batches(source, position=position).take(2)
    )
    expected = [row for i in range(num_rows) for row in rows[i + 1 : i + 3]]
    assert_same_rows(list(resumed.unbatch().as_numpy_iterator()), expected)
    # What is skipped at first is not skipped again in later groups and epochs.
    for i in (5, 25):
        rest = take_rows(source, len(rows) - i - 1, position=positions[i])
        assert_same_rows(rest, rows[i + 1 :])
    ends = {int(np.argmax(a != b)) for a, b in itertools.pairwise(positions)}
    assert ends == {0, 1, 2, 3}, "no end of an epoch, group or block was met"


def test_resuming_reads_nothing_before_the_group(source, rows, tmp_path):
    i = next(i for i, row in enumerate(rows) if row["data_position"][1] == 1)
    position = tuple(int(x) for x in rows[i]["data_position"])
    before = tokens_of(row for row in rows[:i] if row["data_position"][1] == 0)
    # With the files of group 0 gone, group 1 can still be read.
    files = [
        str(tmp_path / "gone") if set(tokens_in([file])) & set(before) else file
        for file in source.train
    ]
    assert files.count(str(tmp_path / "gone")) in (2, 3)  # One shard is empty.
    left = dataclasses.replace(source, train=tuple(files))
    with pytest.raises(tf.errors.NotFoundError, match="gone"):
        take_rows(left, 1)
    assert_same_rows(take_rows(left, 1, position=position), rows[i + 1 : i + 2])


def test_workers_share_an_epoch_between_them(source):
    shares = [
        tokens_of(take_epochs(source, 1, worker=worker, num_workers=3)[0])
        for worker in range(3)
    ]
    assert all(shares)
    assert sorted(itertools.chain(*shares)) == list(range(5, source.vocab.size))


def test_each_worker_has_chance_of_its_own_and_each_kind_of_chance_another(
    source, monkeypatch
):
    records = list(tf.data.TFRecordDataset(source.train[0]))
    place, seeds, mask = tf.constant([1, 0, 0], tf.int64), [], pipeline._mask

    def note(source, data, rows, seed):
        seeds.append(seed)
        return mask(source, data, rows, seed)

    monkeypatch.setattr(pipeline, "_mask", note)
    one, other = (
        pipeline._block_maker(source, DATA, 7, worker, tf.zeros([4], tf.int64))(
            place, tf.stack(records)
        )["sampling_noise"]
        for worker in (0, 1)
    )
    assert not np.intersect1d(one, other).size
    drawn = tf.random.stateless_uniform(tf.shape(one), seeds[0])
    assert not np.intersect1d(one, drawn).size


def test_more_workers_than_shards_are_refused(source):
    with pytest.raises(errors.UserError, match=r"6 input workers share 5 .* shards"):
        open_batches(source, num_workers=6)


def test_it_can_be_distributed(source, rows, two_replicas):
    batches = iter(
        two_replicas.distribute_datasets_from_function(
            lambda _: open_batches(source, batch_rows=3)
        )
    )
    parts = two_replicas.experimental_local_results(next(batches)["token_ids"])
    expected = np.stack([row["token_ids"] for row in rows[:6]])
    np.testing.assert_array_equal(np.concatenate(parts), expected)


def test_words_are_hidden_whole_when_asked(source):
    whole = DATA.model_copy(update={"whole_word_masking": True, "mask_rate": 0.4})
    is_continuation = source.vocab.is_continuation
    num_words = 0
    for row in take_rows(source, 30, whole):
        used = row["mask_weights"] == 1
        tokens = row["token_ids"].copy()
        positions = row["mask_positions"][used]
        tokens[positions] = row["mask_ids"][used]
        for position in positions:
            follower = tokens[position + 1]
            if follower > MASK and is_continuation[follower]:
                assert position + 1 in positions
                num_words += 1
    assert num_words > 10


def test_words_that_blanks_marked_are_hidden_whole_and_the_marks_go(source, tmp_path):
    size = 40
    words = np.arange(5, 35)[:, None] + [0, size, size + 1]
    record = serialize(token_ids=words.ravel(), sentence_lengths=[90])
    tokens = ["[PAD]", *(f"t{i}" for i in range(1, size))]
    vocab = dataclasses.replace(
        source.vocab,
        tokens=tokens,
        size=size,
        is_continuation=np.array(vocabularies.continues(tokens)),
    )
    marked = dataclasses.replace(
        source, train=write_shards(tmp_path, [[record]]), vocab=vocab
    )
    whole = DATA.model_copy(
        update={
            "whole_word_masking": True,
            "mask_rate": 0.4,
            "example_tokens": 23,
            "single_segment_rate": 1.0,
        }
    )
    pairs = 0
    for row in take_rows(marked, 30, whole):
        assert row["token_ids"].max() < size
        assert row["mask_ids"].max() < size
        used = row["mask_positions"][row["mask_weights"] == 1]
        tokens = row["token_ids"].copy()
        tokens[used] = row["mask_ids"][row["mask_weights"] == 1]
        for place in range(1, len(tokens) - 2):
            first, second, third = tokens[place : place + 3]
            if first == second and third == second + 1 and first > MASK:
                assert len({place, place + 1, place + 2} & {*used}) in (0, 3)
                pairs += 1
    assert pairs > 100


def test_sampling_noise_is_uniform_and_never_the_same_twice(rows):
    noise = np.stack([row["sampling_noise"] for row in rows])
    assert len(np.unique(noise)) == noise.size
    assert noise.min() >= 0
    assert noise.max() < 1
    # The standard error of the mean of 360 uniform numbers is 0.015; allow five.
    np.testing.assert_allclose(noise.mean(), 0.5, atol=0.075)


def read_validation(source, batch_rows, max_rows):
    batches = pipeline.validation_batches(
        source, DATA, seed=8, batch_rows=batch_rows, max_rows=max_rows
    )
    return [list(batches.unbatch().as_numpy_iterator()) for _ in range(2)]


def test_validation_rows_are_the_same_every_time_and_the_last_batch_is_filled_up(
    source,
):
    rows, again = read_validation(source, 4, 10)
    assert_same_rows(again, rows)
    assert len(rows) == 12
    assert all(row["example_ids"].any() for row in rows[:10])
    for row in rows[10:]:
        assert not any(values.any() for values in row.values())
    assert_same_rows(read_validation(source, 5, 10)[0], rows[:10])


def test_validation_ends_with_its_shards(source):
    rows, _ = read_validation(source, 7, 1000)
    assert tokens_of(rows) == sorted(tokens_in(source.validation))
    assert len(rows) < 7 + sum(bool(row["example_ids"].any()) for row in rows)


def test_without_validation_shards_there_are_no_validation_batches(source):
    bare = dataclasses.replace(source, validation=())
    assert source.has_validation
    assert not bare.has_validation
    with pytest.raises(errors.UserError, match="no validation shards"):
        read_validation(bare, 4, 10)


def legacy_records(num_records, row_tokens):
    """Makes records as the 2020 code writes them: [CLS] A [SEP] B [SEP], padded."""
    for i in range(num_records):
        tokens = [CLS, 10 + i, SEP, *range(100 + i, 104 + i % 3 + i), SEP]
        room = [0] * (row_tokens - len(tokens))
        yield serialize(
            input_ids=tokens + room,
            input_mask=[1] * len(tokens) + room,
            segment_ids=[0] * 3 + [1] * (len(tokens) - 3) + room,
        )


def test_records_of_the_2020_code_are_rows_of_their_own(source, tmp_path):
    files = write_shards(
        tmp_path, [list(legacy_records(13, 12)), list(legacy_records(13, 12))]
    )
    legacy = dataclasses.replace(
        source, train=files, validation=(), tokens_per_record=12.0, legacy_row_tokens=12
    )
    rows = take_epochs(legacy, 1)[0]
    assert len(rows) == 26
    second_tokens = []
    for row in rows:
        size = int(row["example_ids"].sum())
        assert row["example_ids"].tolist() == [1] * size + [0] * (23 - size)
        assert row["position_ids"].tolist() == [*range(size)] + [0] * (23 - size)
        assert row["segment_ids"].tolist() == [0] * 3 + [1] * (size - 3) + [0] * (
            23 - size
        )
        assert row["mask_weights"].sum() == 1
        second_tokens.append(tokens_of([row])[0] - 10)
    assert sorted(second_tokens) == sorted(2 * list(range(13)))
    assert second_tokens != sorted(second_tokens)
    after = tuple(int(x) for x in rows[16]["data_position"])
    assert_same_rows(take_rows(legacy, 2, position=after), rows[17:19])


@pytest.fixture
def folder(tmp_path, tiny_vocab):
    """A data folder as build_data leaves it: three training shards and no other."""
    tokens = vocabularies.read(tiny_vocab)
    folder = tmp_path / "data"
    folder.mkdir()
    vocabularies.write(folder / "vocab.txt", tokens)
    document = records.serialize(np.array([7, 8, 9], np.uint32), [2, 1])
    files = write_shards(folder, [[document] * 4, [document], []])
    manifest = manifests.Manifest(
        vocab_size=len(tokens),
        vocab_hash=vocabularies.hash_of(tokens),
        vocab_trained=False,
        unk_rate=0.0,
        replaced_characters=0,
        sources=[],
        settings=config.BuildDataConfig(),
        train=[
            manifests.Shard(
                file=os.path.basename(file),
                documents=documents,
                tokens=3 * documents,
                bytes=os.path.getsize(file),
            )
            for file, documents in zip(files, (4, 1, 0), strict=True)
        ],
        validation=[],
    )
    (folder / "manifest.json").write_text(manifests.dump(manifest))
    return folder


def test_a_data_folder_says_all_there_is_to_know(folder, tiny_vocab):
    source = pipeline.open_source(DATA.model_copy(update={"records": str(folder)}))
    assert [os.path.basename(file) for file in source.train] == [
        f"part-{i}.tfrecord" for i in range(3)
    ]
    assert not source.has_validation
    assert source.tokens_per_record == 3
    assert source.legacy_row_tokens is None
    lines = tiny_vocab.read_text().splitlines()
    vocab = source.vocab
    assert [lines[i] for i in (vocab.cls_id, vocab.sep_id, vocab.mask_id)] == [
        "[CLS]",
        "[SEP]",
        "[MASK]",
    ]
    assert vocab.size == len(lines)
    assert vocab.is_continuation.tolist() == vocabularies.continues(lines)
    rows = take_epochs(source, 1)[0]
    assert tokens_of(rows) == sorted([7, 8, 9] * 5)


def test_a_folder_of_the_2020_code_says_all_there_is_to_know(tmp_path, tiny_vocab):
    files = write_shards(tmp_path, [list(legacy_records(3, 12))])
    source = pipeline.open_source(
        DATA.model_copy(update={"records": str(tmp_path), "vocab": str(tiny_vocab)})
    )
    assert source.train == files
    assert source.legacy_row_tokens == 12
    assert source.vocab.tokens == vocabularies.read(tiny_vocab)
    assert source.tokenizer == config.TokenizerConfig()
    larger = dataclasses.replace(source.vocab, size=200)
    assert len(take_epochs(dataclasses.replace(source, vocab=larger), 1)[0]) == 3


def identity_of(records, vocab=None):
    data = DATA.model_copy(update={"records": str(records), "vocab": vocab})
    return pipeline.open_source(data).identity


def test_data_are_known_by_what_they_hold_wherever_they_lie(folder, tmp_path):
    first = identity_of(folder)
    assert first["tokenizer.lowercase"] is True
    shutil.move(folder, tmp_path / "moved")
    assert identity_of(tmp_path / "moved") == first
    file = tmp_path / "moved" / "manifest.json"
    manifest = manifests.parse(file.read_bytes(), str(file))
    cased = manifest.model_copy(
        update={
            "settings": config.BuildDataConfig(
                tokenizer=config.TokenizerConfig(lowercase=False, strip_accents=True)
            )
        }
    )
    file.write_text(manifests.dump(cased))
    changed = identity_of(tmp_path / "moved")
    assert [name for name in first if first[name] != changed[name]] == [
        "tokenizer.lowercase"
    ]


def with_hashes(manifest, hashes):
    train = [
        shard.model_copy(update={"sha256": sha256})
        for shard, sha256 in zip(manifest.train, hashes, strict=True)
    ]
    return manifest.model_copy(update={"train": train})


@pytest.mark.parametrize("hashes", [["a", "b", "c"], [None] * 3])
def test_other_records_of_the_same_size_are_other_data(folder, hashes):
    file = folder / "manifest.json"
    manifest = manifests.parse(file.read_bytes(), str(file))
    file.write_text(manifests.dump(with_hashes(manifest, hashes)))
    first = identity_of(folder)
    if hashes[0] is None:  # Of format_version 1: the shards themselves are looked at.
        document = records.serialize(np.array([9, 8, 7], np.uint32), [2, 1])
        write_shards(folder, [[document] * 4, [document], []])
    else:
        changed = with_hashes(manifest, [*hashes[:2], "d"])
        file.write_text(manifests.dump(changed))
    changed = identity_of(folder)
    assert [name for name in first if first[name] != changed[name]] == ["records"]


def test_rows_of_the_2020_code_are_known_again_without_reading_them_all(
    tmp_path, tiny_vocab
):
    rows = list(legacy_records(300, 12))
    (file,) = write_shards(tmp_path, [rows])
    first = identity_of(tmp_path, str(tiny_vocab))
    os.rename(file, tmp_path / "renamed.tfrecord")
    assert identity_of(tmp_path, str(tiny_vocab)) == first
    os.remove(tmp_path / "renamed.tfrecord")
    for place in (0, 150, 299):
        write_shards(tmp_path, [[*rows[:place], rows[place - 1], *rows[place + 1 :]]])
        assert identity_of(tmp_path, str(tiny_vocab)) != first


def refuse(**settings):
    with pytest.raises(errors.UserError) as refused:
        pipeline.open_source(DATA.model_copy(update=settings))
    assert "\n" not in str(refused.value)
    return str(refused.value)


def test_what_a_user_can_mend_is_said_in_a_line(folder, tmp_path, tiny_vocab):
    assert refuse(records="").startswith("data.records is empty")
    assert str(tmp_path / "none") in refuse(records=str(tmp_path / "none"))

    other = tmp_path / "other.txt"
    other.write_text(tiny_vocab.read_text() + "zebra\n")
    assert f"data.vocab={other}" in refuse(records=str(folder), vocab=str(other))
    unmasked = tmp_path / "unmasked.txt"
    unmasked.write_text(tiny_vocab.read_text().replace("[MASK]", "[MAKS]"))
    assert "[MASK]" in refuse(records=str(folder), vocab=str(unmasked))

    file = folder / "manifest.json"
    manifest = manifests.parse(file.read_bytes(), str(file))
    none = [shard.model_copy(update={"documents": 0}) for shard in manifest.train]
    empty = manifest.model_copy(update={"train": none})
    file.write_text(manifests.dump(empty))
    assert "no training documents" in refuse(records=str(folder))


def test_records_of_the_2020_code_need_a_vocabulary_and_room(tmp_path, tiny_vocab):
    write_shards(tmp_path, [list(legacy_records(3, 29))])
    settings = {"records": str(tmp_path), "vocab": str(tiny_vocab)}
    assert "set data.row_tokens=29" in refuse(**settings)
    assert "data.vocab is missing" in refuse(
        **settings | {"vocab": None, "row_tokens": 29}
    )


def test_a_damaged_shard_is_named_with_its_record(source, tmp_path):
    assert pipeline.name_damaged(source) is None
    file = source.train[2]
    with open(file, "rb") as whole:
        content = bytearray(whole.read())
    num_records = sum(1 for _ in tf.data.TFRecordDataset(file))
    cut, flipped = tmp_path / "cut", tmp_path / "flipped"
    cut.write_bytes(content[:-3])
    content[20] ^= 255
    flipped.write_bytes(content)
    for damaged, record in ((cut, num_records), (flipped, 1)):
        files = (*source.train[:2], str(damaged))
        broken = dataclasses.replace(source, train=files, validation=())
        with pytest.raises(tf.errors.DataLossError):
            take_rows(broken, 200)
        message = pipeline.name_damaged(broken)
        assert message == f"{damaged}: record {record} is damaged or cut short"
        assert os.path.basename(file) not in message


def test_ids_of_the_2020_code_that_the_vocabulary_lacks_are_named(source, tmp_path):
    files = write_shards(
        tmp_path, [list(legacy_records(13, 12)), list(legacy_records(17, 12))]
    )
    legacy = dataclasses.replace(
        source,
        train=files,
        validation=(),
        tokens_per_record=12.0,
        legacy_row_tokens=12,
        vocab=dataclasses.replace(source.vocab, size=120),
    )
    with pytest.raises(tf.errors.InvalidArgumentError, match="without a token"):
        take_epochs(legacy, 1)
    message = rf"{files[1]}: record 17 holds token 120, but data.vocab has 120 tokens"
    with pytest.raises(errors.UserError, match=message):
        pipeline.name_damaged(legacy)
