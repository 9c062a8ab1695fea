"""Documents to rows: nothing lost, nothing twice, little room left."""

import itertools

import numpy as np
import pytest
import tensorflow as tf

from electra_tf.batches import packing

CLS, SEP = 1, 2
SEED = (5, 6)


def join(lists):
    return list(itertools.chain.from_iterable(lists))


def pack(documents, example_tokens=11, row_tokens=23, seed=SEED, **rates):
    """Packs documents, given as lists of sentences."""
    rates = {"single_segment_rate": 0.0, "short_example_rate": 0.0} | rates
    return packing.pack_documents(
        tf.ragged.constant([join(document) for document in documents], tf.int64),
        tf.ragged.constant(
            [[len(s) for s in document] for document in documents], tf.int64
        ),
        example_tokens=example_tokens,
        row_tokens=row_tokens,
        cls_id=CLS,
        sep_id=SEP,
        seed=tf.constant(seed),
        **rates,
    )


def make_documents(num_documents, max_sentences=6, max_tokens=13, seed=0):
    """Makes documents whose tokens all differ, so that each can be found again."""
    rng = np.random.default_rng(seed)
    token = 10
    documents = []
    for _ in range(num_documents):
        lengths = rng.integers(1, max_tokens + 1, rng.integers(1, max_sentences + 1))
        ends = token + np.cumsum(lengths)
        document = [list(range(e - n, e)) for n, e in zip(lengths, ends, strict=True)]
        token += int(lengths.sum())
        documents.append(document)
    return documents


def examples_of(rows):
    """Lists the examples of packed rows as (tokens, segments, positions)."""
    rows = packing.PackedRows(*(field.numpy() for field in rows))
    found = []
    for row, ids in enumerate(rows.example_ids):
        for example in range(1, ids.max() + 1):
            here = ids == example
            found.append(
                tuple(
                    field[row][here].tolist()
                    for field in (rows.token_ids, rows.segment_ids, rows.position_ids)
                )
            )
    return found


def content_of(rows):
    """Lists the tokens of each example without [CLS] and [SEP]."""
    return [
        [t for t in tokens if t not in (CLS, SEP)] for tokens, _, _ in examples_of(rows)
    ]


def test_a_row_worked_by_hand():
    # 8 + 3 tokens fill an example of 11; [16] leaves 11 + 3 of the 14 tokens a row has.
    rows = pack([[[10, 11, 12], [13, 14], [15, 16, 17]], [[18]]], row_tokens=16)
    # The sentence [13, 14] crosses the middle, so the coin puts it into A or into B.
    split = int(rows.segment_ids[0].numpy().tolist().index(1))
    assert split in (5, 7)
    a, b = list(range(10, 8 + split)), list(range(8 + split, 18))
    expected = {
        "token_ids": [CLS, *a, SEP, *b, SEP, CLS, 18, SEP, 0, 0],
        "segment_ids": [0] * split + [1] * (11 - split) + [0] * 5,
        "example_ids": [1] * 11 + [2] * 3 + [0] * 2,
        "position_ids": [*range(11), 0, 1, 2, 0, 0],
    }
    for name, row in expected.items():
        np.testing.assert_array_equal(getattr(rows, name), [row], err_msg=name)


@pytest.mark.parametrize(("example_tokens", "row_tokens"), [(5, 5), (11, 23), (29, 29)])
def test_every_token_of_every_document_is_there_once_and_in_order(
    example_tokens, row_tokens
):
    documents = [join(document) for document in make_documents(157)]
    rows = pack(
        [[document] for document in documents],
        example_tokens,
        row_tokens,
        single_segment_rate=0.3,
        short_example_rate=0.3,
    )
    contents = sorted(content_of(rows))  # Tokens ascend, so this is the corpus' order.
    assert join(contents) == join(documents)
    first_tokens = {document[0] for document in documents}
    for content in contents:
        assert content[0] == min(content)
        assert not first_tokens & set(content[1:]), "an example crosses documents"


def test_examples_keep_their_length_and_their_form():
    rows = pack(make_documents(211), single_segment_rate=0.3, short_example_rate=0.3)
    num_singles = 0
    for tokens, segments, positions in examples_of(rows):
        assert 3 <= len(tokens) <= 11
        assert tokens[0] == CLS
        assert tokens[-1] == SEP
        seps = [i for i, token in enumerate(tokens) if token == SEP]
        assert segments == [int(i > seps[0]) for i in range(len(tokens))]
        assert positions == list(range(len(tokens)))
        assert len(seps) in (1, 2)
        assert all(b - a > 1 for a, b in zip([0, *seps], seps, strict=False)), (
            "an empty segment"
        )
        num_singles += len(seps) == 1
    assert 0 < num_singles < len(examples_of(rows))


def test_a_document_is_cut_where_an_example_is_full():
    document = list(range(10, 10 + 30))
    assert sorted(map(len, content_of(pack([[document]])))) == [6, 8, 8, 8]
    alone = content_of(pack([[document]], single_segment_rate=1.0))
    assert sorted(map(len, alone)) == [5, 7, 9, 9]  # Three would be too short a tail.


def test_the_last_example_of_a_document_is_no_tail_of_a_token_or_two():
    for num_tokens in range(16, 80):
        lengths = [
            len(c) for c in content_of(pack([[list(range(10, 10 + num_tokens))]]))
        ]
        assert min(lengths) >= 4, (num_tokens, lengths)
        assert max(lengths) <= 8, (num_tokens, lengths)


def test_segments_part_between_sentences_near_the_middle():
    # Content of 20; the middle is 10, in the sentence that covers 7..12.
    document = [list(range(10, 17)), list(range(17, 23)), list(range(23, 30))]
    splits = set()
    for seed in range(20):
        (example,) = examples_of(pack([document], 23, 23, seed=(seed, 1)))
        splits.add(example[0].index(SEP) - 1)
    assert splits == {7, 13}


@pytest.mark.parametrize("first", [3, 7, 13, 17])
def test_the_only_place_between_sentences_is_taken(first):
    document = [list(range(10, 10 + first)), list(range(10 + first, 30))]
    for seed in range(4):
        (example,) = examples_of(pack([document], 23, 23, seed=(seed, 1)))
        assert example[0].index(SEP) - 1 == first


def test_one_long_sentence_parts_in_the_middle():
    (example,) = examples_of(pack([[list(range(10, 27))]], 23, 23))
    assert example[0].index(SEP) == 1 + 8


def test_rates_of_single_and_short_examples():
    documents = [[list(range(10, 10 + 4000))] for _ in range(30)]
    rows = pack(documents, 23, 23, single_segment_rate=0.1, short_example_rate=0.05)
    examples = examples_of(rows)
    assert len(examples) > 5900
    singles = np.mean([max(segments) == 0 for _, segments, _ in examples])
    # Over 5,900 examples, the standard error of 0.1 is 0.004, of 0.05 0.003: allow
    # five of them.
    np.testing.assert_allclose(singles, 0.1, atol=0.02)
    # Of targets from 5 to 23, 18 of 19 are short of 23.
    short = np.mean([len(tokens) < 23 for tokens, _, _ in examples])
    np.testing.assert_allclose(short, 0.05 * 18 / 19, atol=0.015)


def test_best_fit_by_hand():
    # Room for 10: 7 + 3, 6 + 4 and 2 remain; first fit in the given order would need 4.
    places = packing.place_examples(tf.constant([4, 3, 2, 6, 7]), 10)
    rows = places.row.numpy()
    assert rows[1] == rows[4]
    assert rows[0] == rows[3]
    assert len({*rows}) == places.num_rows == 3
    assert places.offset.numpy().tolist() == [6, 7, 0, 0, 0]

    # When 3 comes, the row with 10 and 7 has room for 3 and the one with 14 for 6.
    places = packing.place_examples(tf.constant([14, 3, 10, 7]), 20)
    assert places.row.numpy().tolist() == [0, 1, 1, 1]
    assert places.offset.numpy().tolist() == [0, 17, 0, 10]


@pytest.mark.parametrize(
    "lengths",
    [
        [10, 10, 10],
        [3],
        [10, 3, 10, 3, 10, 3],
        [5] * 7,
        [9] * 4,
        np.arange(400) % 8 + 3,
    ],
    ids=["full", "one", "both", "halves", "alone", "many"],
)
def test_no_two_examples_overlap(lengths):
    places = packing.place_examples(tf.constant(lengths, tf.int32), 10)
    taken = np.zeros([int(places.num_rows), 10], int)
    for row, offset, length in zip(places.row, places.offset, lengths, strict=True):
        assert offset + length <= 10
        taken[row, offset : offset + length] += 1
    assert taken.max() == 1
    assert taken[:, 0].all(), "a row is empty"
    assert (np.sort(-taken, axis=1) == -taken).all(), "a gap between examples"
    # Best fit, longest first, needs at most 11/9 of the fewest rows, and one more.
    fewest = -(-np.sum(lengths) // 10)
    if len(lengths) > 100:
        assert places.num_rows <= fewest * 11 / 9 + 1


@pytest.mark.parametrize(
    ("example_tokens", "row_tokens"), [(64, 64), (128, 128), (64, 128)]
)
def test_rows_are_full(example_tokens, row_tokens):
    rng = np.random.default_rng(3)
    lengths = np.clip(rng.lognormal(4.5, 0.8, 3000), 5, 1500).astype(np.int64)
    documents = tf.RaggedTensor.from_row_lengths(
        tf.ones([lengths.sum()], tf.int64), lengths
    )
    rows = packing.pack_documents(
        documents,
        tf.RaggedTensor.from_row_lengths(lengths, tf.ones([3000], tf.int64)),
        example_tokens=example_tokens,
        row_tokens=row_tokens,
        single_segment_rate=0.1,
        short_example_rate=0.05,
        cls_id=CLS,
        sep_id=SEP,
        seed=tf.constant(SEED),
    )
    assert np.mean(rows.example_ids.numpy() > 0) > 0.985


def test_the_same_seed_gives_the_same_rows_and_another_gives_others():
    documents = make_documents(83)
    first, again, other = (pack(documents, seed=(1, last)) for last in (2, 2, 3))
    np.testing.assert_array_equal(first.token_ids, again.token_ids)
    assert first.token_ids.numpy().tolist() != other.token_ids.numpy().tolist()


def test_rows_are_in_random_order():
    rows = pack([[list(range(10, 10 + n))] for n in [2] * 200 + [20] * 50], 23, 23)
    is_long = rows.example_ids.numpy().max(axis=1) == 1
    assert is_long.sum() == 50
    # Half of the 50 should lie in the first half of 100; the standard error is 2.5.
    assert 13 <= np.sum(is_long[: len(is_long) // 2]) <= 37


def test_one_document_of_one_token_makes_a_row():
    rows = pack([[[10]]])
    assert rows.token_ids.numpy().tolist() == [[CLS, 10, SEP] + [0] * 20]


def test_a_very_long_document_beside_short_ones_is_cut_whole():
    documents = [[[7]], [list(range(10, 10 + 200_003))], [[8, 9]]]
    contents = content_of(pack(documents, 5, 5, short_example_rate=0.5))
    assert sum(map(len, contents)) == 200_003 + 3
