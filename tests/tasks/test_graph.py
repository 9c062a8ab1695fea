"""Rows in a graph are the rows of Python, whatever the texts are."""

import itertools
import os
import random
from pathlib import Path

import commands
import numpy as np
import pytest
import tensorflow as tf

from electra_tf.tasks import graph, inputs, predicting, preprocessor
from electra_tf.tasks import tokenizer as tokenizers

CLS, SEP = 2, 3


def ragged(rows):
    return tf.RaggedTensor.from_row_lengths(
        tf.constant(np.concatenate([*rows, np.zeros(0)]), tf.int32),
        tf.constant([len(row) for row in rows], tf.int64),
    )


def random_rows(chance, count, longest):
    return [
        np.array([chance.randrange(5, 99) for _ in range(chance.randrange(longest))])
        for _ in range(count)
    ]


def texts_of(lengths):
    """Rows of these lengths, no two tokens alike."""
    ends = np.cumsum([0, *lengths]) + 5
    return [np.arange(a, b) for a, b in itertools.pairwise(ends)]


@pytest.mark.parametrize(
    ("long_texts", "truncate", "stride"),
    [
        ("truncate", "round_robin", None),
        ("truncate", "waterfall", None),
        ("windows", "round_robin", None),
        ("windows", "round_robin", 2),
        ("windows", "round_robin", 50),
    ],
)
def test_rows_are_those_of_python(long_texts, truncate, stride):
    chance = random.Random(11)
    for length in (5, 6, 13):
        frame = inputs.Frame(CLS, SEP, length)
        firsts, seconds = random_rows(chance, 9, 40), random_rows(chance, 9, 40)
        # What has no room beside it, and what has nothing beside it.
        firsts += texts_of([40, 0, 0, 40])
        seconds += texts_of([0, 40, 0, 40])
        for pairs in (None, seconds):
            want = inputs.frame_texts(
                firsts, pairs, frame, truncate, long_texts, stride
            )
            found = graph.frame_texts(
                ragged(firsts),
                None if pairs is None else ragged(pairs),
                frame,
                truncate,
                long_texts,
                stride,
            )
            width = found.token_ids.shape[1]
            assert width <= length
            assert width == length or width == inputs.round_up(tf.constant(width))
            for row, (ids, segments) in enumerate(
                zip(want.token_ids, want.segment_ids, strict=True)
            ):
                pad = [0] * (width - len(ids))
                assert found.token_ids[row].numpy().tolist() == [*ids, *pad]
                assert found.segment_ids[row].numpy().tolist() == [*segments, *pad]
                assert found.padding_mask[row].numpy().tolist() == [1] * len(ids) + pad
            np.testing.assert_array_equal(found.source, want.source)
            np.testing.assert_array_equal(found.starts, want.starts)
            assert np.sum(found.truncated) == want.num_truncated


def test_a_batch_may_have_texts_and_pairs():
    frame = inputs.Frame(CLS, SEP, 9)
    firsts, seconds = texts_of([3, 12, 3, 12]), texts_of([2, 20, 4, 0])
    is_pair = [True, False, False, True]
    for long_texts in ("truncate", "windows"):
        found = graph.frame_texts(
            ragged(firsts),
            ragged(seconds),
            frame,
            long_texts=long_texts,
            has_second=tf.constant(is_pair),
        )
        for number, both in enumerate(is_pair):
            pair = [seconds[number]] if both else None
            want = inputs.frame_texts(
                [firsts[number]], pair, frame, long_texts=long_texts
            )
            rows = found.token_ids.numpy()[found.source.numpy() == number]
            assert len(rows) == len(want.token_ids)
            for row, ids in zip(rows, want.token_ids, strict=True):
                assert row[row > 0].tolist() == ids.tolist()


def test_no_texts_become_no_rows():
    for long_texts in ("truncate", "windows"):
        rows = graph.frame_texts(
            ragged([]), ragged([]), inputs.Frame(CLS, SEP, 16), long_texts=long_texts
        )
        assert rows.token_ids.shape == (0, 1)
        assert graph.best_places(rows)[0].shape == (0,)


@pytest.mark.parametrize("long_texts", ["truncate", "windows"])
def test_a_token_has_its_best_place_where_python_finds_it(long_texts):
    frame, texts = inputs.Frame(CLS, SEP, 9), texts_of([3, 31, 0, 7, 8, 20])
    want = inputs.frame_texts(texts, None, frame, long_texts=long_texts, stride=3)
    found = graph.frame_texts(
        ragged(texts), None, frame, long_texts=long_texts, stride=3
    )
    row, position = (np.array(one) for one in graph.best_places(found))
    ends = np.cumsum([0, *map(len, texts)])
    for start, end, places in zip(
        ends[:-1], ends[1:], inputs.best_places(want), strict=True
    ):
        kept = slice(start, start + len(places))
        np.testing.assert_array_equal(row[kept], places[:, 0])
        np.testing.assert_array_equal(position[kept], places[:, 1])
        assert (row[start + len(places) : end] == -1).all()  # Cut off.
    ids = graph.at_places(found.token_ids, (row, position))
    np.testing.assert_array_equal(ids[row >= 0], np.concatenate(texts)[row >= 0])


def test_places_are_those_of_the_second_text_of_a_pair():
    frame, seconds = inputs.Frame(CLS, SEP, 12), texts_of([3, 31, 0])
    rows = graph.frame_texts(
        ragged(texts_of([2, 3, 4])), ragged(seconds), frame, long_texts="windows"
    )
    ids = graph.at_places(rows.token_ids, graph.best_places(rows))
    np.testing.assert_array_equal(ids, np.concatenate(seconds))


@pytest.mark.parametrize("count", [0, 1, 32, 33, 70])
def test_rows_are_run_some_at_a_time_and_come_in_their_order(count, monkeypatch):
    monkeypatch.setattr(graph, "TOKENS_A_TURN", 3 * 32 + 2)
    sizes = []

    @tf.function(input_signature=[{"token_ids": tf.TensorSpec([None, None], tf.int32)}])
    def double(rows):
        x = rows["token_ids"]
        tf.py_function(lambda n: sizes.append(int(n)), [tf.shape(x)[0]], [])
        return {"twice": 2 * x, "sum": (tf.reduce_sum(x, axis=1),)}

    x = np.arange(3 * count, dtype=np.int32).reshape(count, 3)
    found = tf.function(lambda x: graph.run(double, {"token_ids": x}))(x)
    np.testing.assert_array_equal(found["twice"], 2 * x)
    np.testing.assert_array_equal(found["sum"][0], x.sum(axis=1))
    assert sum(sizes) == count
    assert max(sizes) == min(count, 32)
    assert len(sizes) == max(1, -(-count // 32))


@pytest.mark.parametrize("count", [0, 1, 9, 25])
def test_rows_of_like_length_are_run_together_and_come_in_their_order(
    count, monkeypatch
):
    # 8 rows, as wide as they are.
    monkeypatch.setattr(graph, "TOKENS_A_TURN", 8 * 60 + 3)
    widths = []

    @tf.function(input_signature=[graph.ROWS])
    def add_up(rows):
        width = tf.shape(rows["token_ids"])[1]
        tf.py_function(lambda n: widths.append(int(n)), [width], [])
        found = tf.cast(rows["token_ids"][:, :1], tf.float32) + 0.5
        return tf.ensure_shape(found, [None, 1])

    chance = random.Random(count)
    lengths = [chance.randrange(1, 60) for _ in range(count)]
    mask = (np.arange(60) < np.array(lengths)[:, None]).astype(np.int32)
    first = np.arange(count, dtype=np.int32)
    rows = dict.fromkeys(graph.ROWS, mask * first[:, None]) | {"padding_mask": mask}
    found = tf.function(lambda rows: graph.run_alike(add_up, rows))(rows)
    np.testing.assert_array_equal(found[:, 0], first + 0.5)
    ends = sorted(lengths)[7::8] + (sorted(lengths)[-1:] if count % 8 else [])
    wanted = [int(inputs.round_up(tf.constant(n))) for n in ends or [1]]
    assert sorted(widths) == [min(60, n) for n in wanted]  # Turns overlap.


@pytest.mark.parametrize("seed", range(3))
def test_places_and_means_are_those_of_python_whatever_the_texts_are(seed):
    chance = random.Random(seed)
    frame = inputs.Frame(CLS, SEP, chance.randrange(5, 12))
    texts = [*random_rows(chance, 8, 40), *texts_of([0, 25])]
    long = {"long_texts": "windows", "stride": chance.choice([None, 2, 50])}
    want = inputs.frame_texts(texts, None, frame, **long)
    rows = graph.frame_texts(ragged(texts), None, frame, **long)
    places = np.stack(graph.best_places(rows), axis=1)
    np.testing.assert_array_equal(places, np.concatenate(inputs.best_places(want)))
    outputs = np.random.default_rng(seed).normal(size=(len(want.source), 2, 3))
    np.testing.assert_allclose(
        graph.mean_over_windows(tf.constant(outputs, tf.float32), rows),
        predicting.mean_over_windows(list(outputs), want),
        rtol=1e-5,
        atol=1e-6,
    )


def test_windows_are_averaged_by_text():
    frame = inputs.Frame(CLS, SEP, 6)
    rows = graph.frame_texts(
        ragged(texts_of([9, 1])), None, frame, long_texts="windows"
    )
    count = len(rows.source) - 1
    outputs = tf.constant([[float(i), 1.0] for i in range(count)] + [[7.0, 3.0]])
    found = graph.mean_over_windows(outputs, rows)
    np.testing.assert_allclose(found, [[(count - 1) / 2, 1.0], [7.0, 3.0]])


def test_pieces_hold_all_values_and_no_more_than_they_may():
    rows, sizes = texts_of([0, 7, 3, 4, 0]), []
    row, found = graph.pieces(ragged(rows), 3)
    assert row.numpy().tolist() == [1, 1, 1, 2, 3, 3]
    sizes = found.row_lengths().numpy().tolist()
    assert sizes == [3, 3, 1, 3, 3, 1]
    np.testing.assert_array_equal(found.values, np.concatenate(rows))


def test_words_are_split_as_python_splits_them():
    spaces = [chr(code) for code in range(0x11000) if chr(code).isspace()]
    assert len(spaces) > 20
    texts = ["", " ", "a b", "\u200b x\x00y", "na\u00efve \U0001f600!", "".join(spaces)]
    texts += [f"ab{space}{space}c{space}" for space in spaces]
    words, starts, ends = graph.split_words(tf.constant(texts))
    for number, text in enumerate(texts):
        found = [word.decode() for word in words[number].numpy().tolist()]
        assert found == text.split(), ascii(text)
        places = zip(starts[number].numpy(), ends[number].numpy(), strict=True)
        assert [text[start:end] for start, end in places] == found


def test_ids_that_a_server_filled_up_with_their_first_are_padding():
    frame = inputs.Frame(CLS, SEP, 9)
    ids = [[CLS, 7, SEP, CLS, CLS], [CLS, 7, SEP, 0, 0], [CLS, 7, 8, 9, SEP]]
    rows = graph.rows_of_ids(tf.constant(ids), tf.zeros([3, 5], tf.int32), frame)
    want = [[1, 1, 1, 0, 0], [1, 1, 1, 0, 0], [1, 1, 1, 1, 1]]
    assert rows["padding_mask"].numpy().tolist() == want


# Long texts.

PARTS = [
    *"cat dog sat on mat the ab-cd".split(),
    "a" * 150,
    " " * 300,
    "e" + "\u0301" * 320 + "x",
    "\u4eac\u90fd",
    "\x01" * 90,
    "!" * 30,
]


def make_texts(count):
    chance = random.Random(4)
    texts = []
    for _ in range(count):
        parts = chance.choices(PARTS, k=chance.randint(0, 24))
        texts.append("".join(part + chance.choice(["", " "]) for part in parts))
    return [text.encode() for text in texts]


def test_what_a_row_has_room_for_is_made_of_the_start_of_a_text(
    tiny_preprocessor, monkeypatch
):
    monkeypatch.setattr(graph, "LEAST_START_BYTES", 600)
    before = graph.Preprocessor(tiny_preprocessor)
    texts = make_texts(120)
    cut = [text for text in texts if len(text) > 600]
    assert 20 < len(cut) < 110
    expected = before.encode(tf.constant(texts)).ids[:, :25].to_list()
    assert before.encode_start(tf.constant(texts)).to_list() == expected
    found = before._count_sure(before.encode([text[:600] for text in cut])).numpy()
    assert (found < 25).any()  # These are read to their ends.
    assert (found >= 25).any()


def read_long_texts(vocab):
    """Prints the kilobytes of memory that a batch took which has one long text."""
    words = tokenizers.ElectraTokenizer(vocab)
    before = graph.Preprocessor(
        preprocessor.ElectraTextPreprocessor(words, sequence_length=24)
    )
    before.rows(tf.constant(["a", "b"]))
    for long in (b"the " * 250_000, b" " * 1_000_000, b"a" * 1_000_000):
        Path("/proc/self/clear_refs").write_text("5")  # The peak begins anew.
        start = memory("VmRSS")
        rows = before.rows(tf.constant([long, *[b"the cat"] * 255]))
        assert rows.token_ids.shape[0] == 256
        os.write(1, f"{memory('VmHWM') - start}\n".encode())


def memory(kind):
    status = Path("/proc/self/status").read_text()
    return int(status.split(f"{kind}:")[1].split()[0])


@pytest.mark.skipif(not os.path.exists("/proc/self/clear_refs"), reason="not Linux")
def test_one_long_text_does_not_make_the_others_long(tiny_vocab, tmp_path):
    process = commands.Started(tmp_path, read_long_texts, str(tiny_vocab))
    assert process.wait() == 0, process.stderr()
    usual, spaces, word = map(int, process.stdout().split())
    assert usual < 20_000, usual
    # These are read to their ends: docs/serving.md says how much that takes.
    assert spaces < 250_000, spaces
    assert word < 250_000, word


def test_rows_without_a_column_are_refused_in_a_sentence():
    rows = tf.zeros([3, 2], tf.int32)
    assert graph.with_a_column(rows).shape == [3, 2]
    with pytest.raises(tf.errors.InvalidArgumentError, match="has no column: a row be"):
        tf.function(graph.with_a_column)(rows[:, :0])


def test_an_answer_with_a_place_for_each_token_is_bounded(monkeypatch):
    monkeypatch.setattr(graph, "MOST_PLACES", 12)
    values = tf.ragged.constant([[1, 2, 3, 4], [], [5]])
    assert graph.bounded(values).to_list() == values.to_list()
    with pytest.raises(tf.errors.InvalidArgumentError, match="ask for the long ones"):
        graph.bounded(values, places=2)
