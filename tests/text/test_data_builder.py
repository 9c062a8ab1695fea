"""A corpus becomes records: all of it, once, the same every time, or not at all."""

import collections
import contextlib
import gzip
import os
import random
import re
import resource
import signal
import subprocess
import sys

import damaging
import disk
import numpy as np
import pytest
import tensorflow as tf

from electra_tf import config, errors
from electra_tf.system import cores, durable
from electra_tf.text import (
    corpus,
    data_builder,
    manifests,
    record_reader,
    vocabularies,
)

VOCAB = [
    *vocabularies.SPECIAL_TOKENS,
    *(f"w{i}" for i in range(90)),
    *(f"##{i}" for i in range(10)),
]


@pytest.fixture
def texts(tmp_path):
    """A folder of 301 documents, each of its own first word and 1 to 40 words."""
    rng = random.Random(5)
    documents = [
        "\n".join(
            " ".join(f"w{rng.randrange(90)}" for _ in range(rng.randrange(1, 9)))
            for _ in range(rng.randrange(1, 6))
        )
        for _ in range(301)
    ]
    folder = tmp_path / "texts"
    folder.mkdir()
    (folder / "a.txt").write_text("\n\n".join(documents[:200]))
    (folder / "b.txt").write_text("\n\n".join(documents[200:]))
    vocabularies.write(tmp_path / "given.txt", VOCAB)
    return folder


def build(texts, output="data", vocab="given.txt", **settings) -> manifests.Manifest:
    settings = {"processes": 1, "min_shards": 3, "shard_tokens": 800, **settings}
    return data_builder.build(
        [str(texts)],
        str(texts.parent / output),
        str(texts.parent / vocab) if vocab else None,
        config.BuildDataConfig(**settings),
    )


def read(folder, shards) -> list[tuple[list[int], list[int]]]:
    documents = []
    for shard in shards:
        serialized = list(tf.data.TFRecordDataset(str(folder / shard.file)))
        token_ids, lengths = record_reader.parse(tf.stack(serialized))
        found = list(zip(token_ids.to_list(), lengths.to_list(), strict=True))
        assert len(found) == shard.documents
        assert sum(len(ids) for ids, _ in found) == shard.tokens
        documents += found
    return documents


def contents(folder) -> dict[str, bytes]:
    return {
        str(file.relative_to(folder)): file.read_bytes()
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }


def test_every_token_of_every_document_is_in_one_record(texts):
    manifest = build(texts, validation_rate=0.0)
    found = read(texts.parent / "data", manifest.train)
    want = []
    for file in ("a.txt", "b.txt"):
        for document in (texts / file).read_text().split("\n\n"):
            lines = [line.split() for line in document.split("\n")]
            ids = [VOCAB.index(word) for line in lines for word in line]
            want.append((ids, [len(line) for line in lines]))
    assert collections.Counter(map(str, found)) == collections.Counter(map(str, want))
    assert manifest.num_documents == 301
    assert manifest.unk_rate == 0


def test_shards_are_closed_when_full_and_numbered_without_gaps(texts):
    manifest = build(texts)
    assert len(manifest.train) > 4
    names = [shard.file for shard in manifest.train]
    total = len(names)
    assert names == [f"train/part-{i:05}-of-{total:05}.tfrecord" for i in range(total)]
    assert all(shard.tokens < 800 + 40 for shard in manifest.train)
    assert sum(shard.tokens < 800 for shard in manifest.train) <= 3
    files = {name for name in contents(texts.parent / "data") if "train/" in name}
    assert files == set(names)


def test_a_shard_is_a_random_sample_and_not_a_stretch(texts):
    manifest = build(texts, shard_tokens=10**6, validation_rate=0.0)
    assert len(manifest.train) == 3
    order = [str(document) for document in read(texts.parent / "data", manifest.train)]
    of_a = build_order(texts)
    first = order[: manifest.train[0].documents]
    share = np.mean([of_a[document] < 150 for document in first])
    # Half of the corpus lies before 150; the standard error over 100 is 0.05.
    assert 0.25 < share < 0.75


def build_order(texts) -> dict[str, int]:
    one = build(texts, "one", min_shards=1, shard_tokens=10**6, validation_rate=0.0)
    documents = read(texts.parent / "one", one.train)
    return {str(document): i for i, document in enumerate(documents)}


@pytest.mark.parametrize("processes", [2, 3])
def test_the_folder_is_the_same_whatever_the_number_of_processes(
    texts, processes, monkeypatch
):
    monkeypatch.setattr(data_builder, "_BATCH_CHARACTERS", 500)
    build(texts, "one")
    build(texts, "more", processes=processes)
    one, more = contents(texts.parent / "one"), contents(texts.parent / "more")
    del one["manifest.json"], more["manifest.json"]  # They hold the setting.
    assert one == more


def test_no_process_of_a_build_needs_tensorflow(texts):
    program = texts.parent / "program.py"  # Those that tokenize run its top too.
    program.write_text("""if True:
        import sys

        sys.modules["tensorflow"] = None  # Importing it fails.
        from electra_tf import config
        from electra_tf.text import data_builder

        if __name__ == "__main__":
            data_builder._BATCHES_ALONE = 0  # Else so little is done here.
            settings = config.BuildDataConfig(processes=2)
            data_builder.build([sys.argv[1]], sys.argv[2], None, settings)
    """)
    command = [sys.executable, program, texts, texts.parent / "data"]
    subprocess.run(command, env={"PYTHONPATH": ":".join(sys.path)}, check=True)
    assert record_reader.read_manifest(str(texts.parent / "data")).num_documents > 300


def test_a_process_a_core_that_this_one_may_use_tokenizes(texts, monkeypatch):
    monkeypatch.setattr(cores, "num_cores", lambda: 3)
    asked = []

    class Pool(data_builder.futures.ProcessPoolExecutor):
        def __init__(self, processes, *arguments):
            asked.append(processes)
            super().__init__(processes, *arguments)

    monkeypatch.setattr(data_builder.futures, "ProcessPoolExecutor", Pool)
    build(texts, processes=0)
    assert asked == [2]  # And this one.


def test_a_small_corpus_waits_for_no_other_process(texts, monkeypatch):
    def refuse(*_):
        raise AssertionError("a process is started")

    monkeypatch.setattr(data_builder.futures.ProcessPoolExecutor, "submit", refuse)
    build(texts, processes=3)
    monkeypatch.setattr(data_builder, "_BATCH_CHARACTERS", 500)
    with pytest.raises(AssertionError, match="a process is started"):
        build(texts, "other", processes=3)


def test_another_seed_deals_other_documents(texts):
    one = read(texts.parent / "data", build(texts).validation)
    other = read(texts.parent / "other", build(texts, "other", seed=7).validation)
    assert one != other


def rewrite(texts, documents):
    """Makes `documents`, lists of sentences, the corpus."""
    for file in texts.iterdir():
        file.unlink()
    (texts / "a.txt").write_text("\n\n".join("\n".join(d) for d in documents))


def draw_documents(kind: str) -> list[list[str]]:
    rng = random.Random(7)

    def sentence(num_words):
        return " ".join(f"w{rng.randrange(90)}" for _ in range(num_words))

    if kind == "a large one first":
        return [[sentence(7) for _ in range(500)], ["w1 w2"], ["w3"]]
    if kind == "a large one last":
        return [["w1 w2"], ["w3"], [sentence(7) for _ in range(500)]]
    if kind == "one of one long line":
        return [[sentence(5000)]]
    if kind == "long lines, the last short":
        return [[sentence(3000), "w1"], [sentence(2000), "w2"]]
    if kind == "sizes of all kinds":
        sizes = [int(rng.paretovariate(0.7)) for _ in range(400)]
        return [[sentence(9) for _ in range(min(size, 900))] for size in sizes]
    return [[sentence(11), sentence(12)] for _ in range(300)]


@pytest.mark.parametrize("waiting", [300, 1_000_000])
@pytest.mark.parametrize("rate", [0.01, 0.3])
@pytest.mark.parametrize(
    "kind",
    [
        "a large one first",
        "a large one last",
        "one of one long line",
        "long lines, the last short",
        "sizes of all kinds",
        "all alike",
    ],
)
def test_the_share_held_out_is_one_of_tokens(texts, kind, rate, waiting, monkeypatch):
    monkeypatch.setattr(data_builder, "_WAITING_TOKENS", waiting)
    documents = draw_documents(kind)
    rewrite(texts, documents)
    manifest = build(texts, validation_rate=rate, shard_tokens=10**6)
    words = [
        word for document in documents for line in document for word in line.split()
    ]
    folder = texts.parent / "data"
    found = read(folder, manifest.train + manifest.validation)
    assert sum(len(ids) for ids, _ in found) == len(words)
    assert all(sum(lengths) == len(ids) and 0 not in lengths for ids, lengths in found)
    wanted = rate * len(words)
    held_out = sum(len(ids) for ids, _ in read(folder, manifest.validation))
    # A sentence is the least, or 16 tokens of one; where documents were dealt before
    # the size of all was known, chance decides, four in ten at most here.
    tolerance = 12 + 0.05 * wanted + (0.4 * wanted if waiting == 300 else 0)
    assert abs(held_out - wanted) < tolerance


def test_a_document_that_is_cut_loses_its_end_to_validation(texts):
    rewrite(texts, draw_documents("a large one first")[:1])
    manifest = build(texts, validation_rate=0.02, shard_tokens=10**6)
    folder = texts.parent / "data"
    ((start, start_lengths),) = read(folder, manifest.train)
    ((end, end_lengths),) = read(folder, manifest.validation)
    words = (texts / "a.txt").read_text().split()
    assert [VOCAB[i] for i in [*start, *end]] == words
    assert [*start_lengths, *end_lengths] == [7] * 500
    assert len(end) == 70


def test_marks_of_words_are_in_the_records_and_no_cut_divides_one(texts):
    ideographs = [chr(0x4E00 + i) for i in range(40)]
    tokens = [*vocabularies.SPECIAL_TOKENS, *ideographs]
    vocabularies.write(texts.parent / "given.txt", tokens)
    rng = random.Random(3)
    words = ["".join(rng.choices(ideographs, k=3)) for _ in range(400)]
    rewrite(texts, [[" ".join(words)]])
    manifest = build(texts, "marked", segmented=True, validation_rate=0.2)
    assert manifest.settings.segmented
    for shards in (manifest.train, manifest.validation):
        for ids, _ in read(texts.parent / "marked", shards):
            assert [i >= len(tokens) for i in ids] == [False, True, True] * (
                len(ids) // 3
            )


def test_text_that_nobody_segmented_is_told(texts, capsys):
    tokens = [*vocabularies.SPECIAL_TOKENS, "\u4e00"]
    vocabularies.write(texts.parent / "given.txt", tokens)
    rewrite(texts, [["\u4e00" * 50]])
    build(texts, segmented=True, validation_rate=0.0)
    said = capsys.readouterr().out
    assert "100.0% of the tokens stand in stretches of over 12 tokens" in said


def test_words_are_not_cut_in_two():
    continues = np.array([False, True])
    ids = np.array([0, 1, 1, 1] * 25, np.uint32)
    for part in range(16, 80):
        cut = data_builder._find_cut(ids, [100], part, continues)
        assert cut % 4 == 0
        assert part <= 100 - cut < part + 4
    one_word = np.array([0, *[1] * 99], np.uint32)
    assert data_builder._find_cut(one_word, [100], 30, continues) == 0


@pytest.mark.parametrize(
    ("count", "rate", "train", "validation"),
    [(2, 1e-9, 1, 1), (1, 0.5, 1, 0), (2, 1.0, 1, 1), (3, 0.0, 3, 0)],
)
def test_small_corpora_have_both_splits_where_they_can(
    texts, count, rate, train, validation, capsys
):
    rewrite(texts, [["w1 w2"]] * count)
    manifest = build(texts, validation_rate=rate)
    assert sum(shard.documents for shard in manifest.train) == train
    assert sum(shard.documents for shard in manifest.validation) == validation
    assert ("too small to divide" in capsys.readouterr().out) == (0 < rate < 1)


def test_a_vocabulary_is_trained_where_none_is_given(texts, capsys):
    manifest = build(texts, vocab=None, vocab_size=150)
    tokens = record_reader.read_folder(str(texts.parent / "data")).vocab
    assert len(tokens) == manifest.vocab_size <= 150
    assert manifest.vocab_trained
    assert "w42" in tokens
    assert "training a vocabulary" in capsys.readouterr().out


def test_a_vocabulary_is_trained_on_a_sample_of_a_large_corpus(texts):
    (texts / "z.txt").write_text(
        "\n\n".join(f"zz{i:03}a zz{i:03}a" for i in range(400))
    )
    build(texts, vocab=None, vocab_size=5000, vocab_train_bytes=4000)
    tokens = record_reader.read_folder(str(texts.parent / "data")).vocab
    seen = sum(f"zz{i:03}a" in tokens for i in range(400))
    # 4,000 of about 14,000 bytes: 28 %, plus or minus 9 documents.
    assert 60 < seen < 180


def test_a_given_vocabulary_of_another_casing_is_told(texts, capsys):
    vocabularies.write(texts.parent / "cased.txt", [*VOCAB, "Berlin"])
    build(texts, vocab="cased.txt")
    assert "WARNING: the vocabulary given: 1 of" in capsys.readouterr().out
    build(texts, output="cased", vocab="cased.txt", tokenizer={"lowercase": False})
    assert "WARNING" not in capsys.readouterr().out


@pytest.mark.parametrize("wanted", [1, 100, 3000])
@pytest.mark.parametrize(
    "form", ["one document", "one line", "compressed", "sentences"]
)
def test_the_sample_for_the_vocabulary_is_as_large_as_wanted(texts, form, wanted):
    separator = {"one document": "\n", "one line": " "}.get(form, "\n\n")
    text = separator.join(f"the old house {i} stood by it" for i in range(2000))
    for file in texts.iterdir():
        file.unlink()
    if form == "compressed":
        (texts / "a.txt.gz").write_bytes(gzip.compress(text.encode()))
    else:
        (texts / "a.txt").write_text(text)
    settings = config.BuildDataConfig(vocab_train_bytes=wanted, seed=3)
    found = corpus.Corpus([str(texts)], settings)
    for estimate in (found.estimate_text_bytes(), 10**9):  # One far too high.
        sample = list(data_builder._sample(found, estimate, settings))
        size = sum(map(len, sample))
        # Pieces of 2,000 characters; one that is drawn only now is no reason to stop.
        assert wanted <= size < 2 * wanted + 9000
        assert not {word for line in sample for word in line.split()} - set(
            text.split()
        )
    build(texts, vocab=None, vocab_size=300, vocab_train_bytes=wanted)
    assert "house" in record_reader.read_folder(str(texts.parent / "data")).vocab


def test_a_corpus_may_hold_its_own_data(texts, capsys):
    alone = build(texts, "elsewhere", shard_tokens=10**6)
    vocabularies.write(texts / "given.txt", VOCAB)
    paths, output = [str(texts)], str(texts / "data")
    settings = config.BuildDataConfig(processes=1)
    first = data_builder.build(paths, output, str(texts / "given.txt"), settings)
    assert first.num_tokens == alone.num_tokens
    assert "1 the vocabulary (given.txt)" in capsys.readouterr().out
    assert (
        data_builder.build(paths, output, str(texts / "given.txt"), settings) == first
    )
    out = capsys.readouterr().out
    assert "already built" in out
    assert "1 a data folder of build_data (data), 1 the vocabulary (given.txt)" in out
    with pytest.raises(
        errors.UserError, match="is a data folder of build_data; want a"
    ):
        data_builder.build([output], str(texts / "third"), None, settings)


def test_a_path_that_is_not_utf8_is_built(texts):
    folder = os.fsencode(texts) + b"/caf\xe9"
    os.mkdir(folder)
    with open(folder + b"/a\xff.txt", "wb") as file:
        file.write(b"w1 w2\n\nw3\n\n")
    settings = config.BuildDataConfig(processes=1)
    for _ in range(2):
        manifest = data_builder.build(
            [os.fsdecode(folder)],
            os.fsdecode(folder + b"/\xfe"),
            str(texts.parent / "given.txt"),
            settings,
        )
    assert manifest.sources[0].path.endswith("caf\\udce9")
    assert manifest.num_documents == 2


def test_many_unknown_tokens_are_warned_of(texts, capsys):
    (texts / "c.txt").write_text("\u4f60 " * 50)
    manifest = build(texts)
    assert manifest.unk_rate == pytest.approx(50 / manifest.num_tokens)
    assert manifest.lost_words == ("\u4f60",)
    assert 0 < manifest.lost_rate < manifest.unk_rate
    assert "WARNING: " in (out := capsys.readouterr().out)
    assert "The vocabulary lacks '\u4f60'" in out


def test_marks_that_are_lost_are_told(texts, capsys):
    (texts / "c.txt").write_text("\u0e19\u0e49\u0e33 " * 300)
    manifest = build(texts, vocab=None, vocab_size=300)
    assert manifest.marked_rate > 0.02
    assert "WARNING: " in (out := capsys.readouterr().out)
    assert "--set tokenizer.strip_accents=false" in out


def test_replaced_bytes_are_counted_in_the_manifest(texts, capsys):
    (texts / "c.txt").write_bytes(b"w1 \xff w2 \xfe")
    assert build(texts, undecodable="replace").replaced_characters == 2
    assert "WARNING: 2 undecodable" in capsys.readouterr().out


def test_the_same_build_again_is_not_built_again(texts, capsys):
    first = build(texts)
    before = contents(texts.parent / "data")
    assert build(texts, processes=2) == first
    assert "already built" in capsys.readouterr().out
    assert contents(texts.parent / "data") == before


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("train/part-00001-of-*", damaging.cut_short),
        ("train/part-00001-of-*", damaging.flip_a_bit),
        ("validation/part-*", damaging.flip_a_bit),
        ("validation/part-*", lambda file: file.unlink()),
        ("vocab.txt", damaging.flip_a_bit),
        ("vocab.txt", lambda file: file.unlink()),
        ("manifest.json", damaging.cut_short),
        ("manifest.json", damaging.flip_a_bit),
    ],
)
def test_the_same_build_again_mends_damaged_data(texts, damage, name, capsys):
    build(texts)
    data = texts.parent / "data"
    before = contents(data)
    (file,) = data.glob(name)
    damage(file)
    build(texts)
    out = capsys.readouterr().out
    assert re.search(rf"WARNING: .*{file}.*; building these data again", out)
    assert contents(data) == before


def test_shards_without_a_manifest_are_nobodys(texts):
    build(texts)
    (texts.parent / "data/manifest.json").unlink()
    with pytest.raises(errors.UserError, match=r"no manifest\.json, .* remove it, or"):
        build(texts)


def test_damaged_data_stay_until_those_that_replace_them_are_whole(texts, monkeypatch):
    build(texts)
    data = texts.parent / "data"
    damaging.flip_a_bit(data / "manifest.json")
    before = contents(data)
    (texts / "c.txt").write_bytes(b"w1 \xff")
    with pytest.raises(errors.UserError, match="is not UTF-8"):
        build(texts)
    assert contents(data) == before
    (texts / "c.txt").unlink()
    (data / "mine.txt").write_text("mine")
    build(texts, shard_tokens=10**6)  # Fewer shards than before.
    build(texts, "other", shard_tokens=10**6)
    assert contents(data) == contents(texts.parent / "other") | {"mine.txt": b"mine"}


def test_a_rebuild_that_is_killed_is_taken_up_by_the_next(texts, monkeypatch):
    build(texts)
    before = contents(texts.parent / "data")
    damaging.flip_a_bit(texts.parent / "data/vocab.txt")

    def kill(folder, kind, *_):
        folder._list.close()

    with monkeypatch.context() as patch:
        patch.setattr(data_builder._Folder, "__exit__", kill)
        patch.setattr(data_builder._Folder, "finish", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            build(texts)
    build(texts)
    assert contents(texts.parent / "data") == before


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": 43}, "seed=42 there, 43 now"),
        ({"vocab": None}, "its vocabulary was given"),
        ({"vocab": "other.txt"}, "its vocabulary is another"),
    ],
)
def test_other_data_are_not_written_over(texts, change, message):
    vocabularies.write(texts.parent / "other.txt", [*VOCAB[:-1], "##x"])
    build(texts)
    before = contents(texts.parent / "data")
    with pytest.raises(errors.UserError, match=message):
        build(texts, **change)
    assert contents(texts.parent / "data") == before


def test_a_changed_corpus_is_noticed(texts):
    build(texts)
    (texts / "c.txt").write_text("w1")
    with pytest.raises(errors.UserError, match="its corpus is another, or was changed"):
        build(texts)


def test_a_folder_with_other_files_is_refused_and_left_alone(texts):
    data = texts.parent / "data"
    (data / "train").mkdir(parents=True)
    (data / "train/mine.txt").write_text("mine")
    with pytest.raises(errors.UserError, match=r"holds train/mine\.txt and no"):
        build(texts)
    assert contents(data) == {"train/mine.txt": b"mine"}


def interrupt(texts):
    """Leaves what a build leaves that is killed while it writes."""
    data = texts.parent / "data"
    (data / "train").mkdir(parents=True)
    (data / "validation").mkdir()
    (data / ".building").write_text(
        "vocab.txt\ntrain/part-00000.tfrecord\ntrain/gone\n"
    )
    (data / "vocab.txt").write_text("half")
    (data / "train/part-00000.tfrecord").write_bytes(b"half")
    return data


def test_an_interrupted_build_is_said_and_starts_clean(texts, capsys):
    data = interrupt(texts)
    build(texts)
    assert "interrupted build; starting clean" in capsys.readouterr().out
    build(texts, "other")
    assert contents(data) == contents(texts.parent / "other")


def test_an_interrupted_build_takes_nothing_else_with_it(texts):
    data = interrupt(texts)
    (data / "mine.txt").write_text("mine")
    with pytest.raises(errors.UserError, match=r"holds mine\.txt and no"):
        build(texts)
    assert (data / "mine.txt").read_text() == "mine"


def test_two_builds_do_not_write_to_one_folder(texts):
    data = interrupt(texts)
    with durable.locked(str(data / ".lock"), str(data)):
        who = f"data is being written by pid {os.getpid()}"
        with pytest.raises(errors.UserError, match=who):
            build(texts)
    assert (data / "vocab.txt").read_text() == "half"


def test_data_are_on_the_disk_when_they_are_there(texts, monkeypatch):
    watched = disk.Disk(monkeypatch)
    build(texts)
    watched.assert_holds(texts.parent / "data")
    assert not [name for name in os.listdir(texts.parent / "data") if name[0] == "."]


def test_data_that_another_build_just_finished_are_left_alone(texts, monkeypatch):
    data = texts.parent / "data"
    real = durable.locked

    @contextlib.contextmanager
    def wait_for_the_other(*arguments):
        with real(*arguments):
            if not data.joinpath("manifest.json").exists():
                (data / "manifest.json").write_text("its manifest")
                (data / "vocab.txt").write_text("its vocabulary")
            yield

    monkeypatch.setattr(data_builder.durable, "locked", wait_for_the_other)
    with pytest.raises(errors.UserError, match="another build_data has just ended in"):
        build(texts)
    assert contents(data) == {
        "manifest.json": b"its manifest",
        "vocab.txt": b"its vocabulary",
    }


@pytest.mark.parametrize("processes", [1, 2])
def test_a_failed_build_leaves_nothing(texts, processes):
    (texts / "c.txt").write_bytes(b"w1 \xff")
    with pytest.raises(errors.UserError, match=r"c\.txt is not UTF-8 at byte 3"):
        build(texts, processes=processes)
    assert not (texts.parent / "data").exists()


def test_an_empty_corpus_is_refused(texts):
    for file in texts.iterdir():
        file.write_text(" \n\x00\n\n")
    with pytest.raises(errors.UserError, match="the corpus is empty"):
        build(texts)
    with pytest.raises(errors.UserError, match="the corpus is empty"):
        build(texts, vocab=None)
    assert not (texts.parent / "data").exists()


@contextlib.contextmanager
def files_of_at_most(size: int):
    """As on a full disk: what is written beyond `size` fails."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def test_a_full_disk_is_one_line_and_leaves_no_half_data(texts):
    vocabularies.write(texts.parent / "long.txt", [*VOCAB, *map(str, range(9999))])
    for size, vocab, file in (
        (0, "given.txt", r"\.building"),
        (3000, "given.txt", "train/part-0000"),
        (3000, "long.txt", "vocab.txt"),
        (900, "given.txt", "manifest.json"),
    ):
        if file == "manifest.json":
            rewrite(texts, [["w1 w2"]] * 3)
        with (
            files_of_at_most(size),
            pytest.raises(errors.UserError, match=rf"cannot write .*{file}") as error,
        ):
            build(texts, vocab=vocab, min_shards=1, shard_tokens=10**6)
        assert "File too large; free some space" in str(error.value)
        assert "\n" not in str(error.value)
        assert not (texts.parent / "data").exists()
