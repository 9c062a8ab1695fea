import itertools
import warnings

import numpy as np
import pytest
import tensorflow as tf

from electra_tf import errors
from electra_tf.tasks import inputs

CLS, SEP = 2, 3
# Frames are told apart by their length alone.
FRAME = inputs.Frame(CLS, SEP, 9)


def ids(*values):
    return np.array(values, np.int32)


def numbered(length, start=10):
    return np.arange(start, start + length, dtype=np.int32)


def rows_of(*lengths):
    """Rows of given lengths, special tokens included; row i holds only 10 + i."""
    frame = FRAME._replace(length=99)
    texts = [np.full(length - 2, 10 + i, np.int32) for i, length in enumerate(lengths)]
    return inputs.frame_texts(texts, None, frame)


def lists(arrays):
    return [array.tolist() for array in arrays]


# Rows.


def test_a_text_stands_between_cls_and_sep():
    rows = inputs.frame_texts([ids(7, 8), ids()], None, FRAME)
    assert lists(rows.token_ids) == [[CLS, 7, 8, SEP], [CLS, SEP]]
    assert lists(rows.segment_ids) == [[0, 0, 0, 0], [0, 0]]
    assert rows.source.tolist() == [0, 1]
    assert (rows.num_inputs, rows.num_truncated) == (2, 0)
    assert rows.token_ids[0].dtype == rows.segment_ids[0].dtype == np.int32


def test_the_second_text_of_a_pair_and_its_sep_are_segment_1():
    rows = inputs.frame_texts([ids(7), ids()], [ids(8, 9), ids(5)], FRAME)
    assert lists(rows.token_ids) == [[CLS, 7, SEP, 8, 9, SEP], [CLS, SEP, 5, SEP]]
    assert lists(rows.segment_ids) == [[0, 0, 0, 1, 1, 1], [0, 0, 1, 1]]


def test_no_texts_are_no_rows():
    rows = inputs.frame_texts([], None, FRAME)
    assert (rows.token_ids, rows.num_inputs, rows.source.shape) == ([], 0, (0,))
    assert inputs.by_length(rows).tolist() == []
    assert list(inputs.batches(rows, None, 4)) == []


def cut_as_in_2020(first, second, room):
    """What the 2020 code does, token by token: `_truncate_seq_pair`."""
    first, second = list(first), list(second)
    while len(first) + len(second) > room:
        (first if len(first) > len(second) else second).pop()
    return [first, second]


def test_of_a_pair_the_longer_loses_tokens_and_of_equals_the_second():
    checked = 0
    for a, b, room in itertools.product(range(8), range(8), range(2, 9)):
        first, second = numbered(a), numbered(b, 50)
        got = inputs.cut([first, second], room, "round_robin")
        assert lists(got) == cut_as_in_2020(first, second, room), (a, b, room)
        checked += a + b > room
    assert checked > 100


@pytest.mark.parametrize(
    ("lengths", "kept"),
    [((5, 3), (5, 1)), ((9, 3), (6, 0)), ((2, 9), (2, 4)), ((2, 3), (2, 3))],
)
def test_waterfall_cuts_the_second_text_first(lengths, kept):
    pair = [numbered(lengths[0]), numbered(lengths[1], 50)]
    got = inputs.cut(pair, 6, "waterfall")
    assert lists(got) == [pair[0][: kept[0]].tolist(), pair[1][: kept[1]].tolist()]


def test_texts_that_lost_tokens_are_counted():
    # 7 tokens fit beside [CLS] and [SEP].
    rows = inputs.frame_texts([numbered(n) for n in (6, 7, 8, 30)], None, FRAME)
    assert [len(row) for row in rows.token_ids] == [8, 9, 9, 9]
    assert rows.num_truncated == 2
    # 6 fit into a pair.
    rows = inputs.frame_texts(
        [numbered(2), numbered(4)], [numbered(4), numbered(3)], FRAME
    )
    assert [len(row) for row in rows.token_ids] == [9, 9]
    assert rows.num_truncated == 1


@pytest.mark.parametrize(
    ("length", "paired", "least"), [(2, False, 3), (1, False, 3), (4, True, 5)]
)
def test_a_row_too_short_for_a_token_of_each_text_is_refused(length, paired, least):
    seconds = [ids(8)] if paired else None
    with pytest.raises(errors.UserError, match=f"=.*{length} is .* at least {least}"):
        inputs.frame_texts([ids(7)], seconds, FRAME._replace(length=length))
    rows = inputs.frame_texts([ids(7)], seconds, FRAME._replace(length=least))
    assert len(rows.token_ids[0]) == least


def windows(text, frame=FRAME, stride=None, first=None):
    firsts, seconds = ([text], None) if first is None else ([first], [text])
    return inputs.frame_texts(
        firsts, seconds, frame, long_texts="windows", stride=stride
    )


def test_windows_cover_every_token_and_keep_their_stride():
    checked = 0
    for size, stride, paired in itertools.product(
        range(0, 40, 3), (None, 1, 2, 5, 7, 100), (False, True)
    ):
        text, first = numbered(size, 100), numbered(2) if paired else None
        rows = windows(text, stride=stride, first=first)
        room = 9 - 3 - 2 if paired else 9 - 2
        step = min(room, stride or room // 2)
        skipped = 4 if paired else 1  # [CLS], and the first text with its [SEP]
        covered = set()
        for start, row in zip(rows.starts, rows.token_ids, strict=True):
            inside = row[skipped:-1]
            np.testing.assert_array_equal(inside, text[start : start + room])
            covered |= set(inside.tolist())
        assert covered == set(text.tolist())
        # The last one begins earlier, so that it is full.
        assert set(np.diff(rows.starts[:-1])) <= {step}
        assert np.all(np.diff(rows.starts) <= step)
        assert rows.starts[-1] == max(0, size - room)
        assert rows.source.tolist() == [0] * len(rows.starts)
        assert rows.num_truncated == 0
        checked += len(rows.starts) > 2
    assert checked > 50


def test_a_short_text_is_one_window():
    assert windows(numbered(7)).starts.tolist() == [0]
    assert windows(numbered(0)).starts.tolist() == [0]
    assert windows(numbered(8), stride=1).starts.tolist() == [0, 1]


def test_before_windows_the_first_text_takes_half_of_the_room_or_what_is_left():
    frame = FRAME._replace(length=13)  # room for 10
    long = windows(numbered(20, 50), frame, first=numbered(8))
    assert long.token_ids[0].tolist()[:7] == [CLS, 10, 11, 12, 13, 14, SEP]
    assert long.num_truncated == 1
    short = windows(numbered(2, 50), frame, first=numbered(8))
    assert lists(short.token_ids) == [[CLS, *range(10, 18), SEP, 50, 51, SEP]]
    assert short.num_truncated == 0


def test_truncation_is_said_once_with_its_way_out():
    rows = inputs.frame_texts([numbered(30), numbered(40), ids(7)], None, FRAME)
    message = "2 of 3 texts are longer than 9 tokens and lost their end; cut less"
    with pytest.warns(UserWarning, match=message) as said:
        inputs.warn_of_truncation(rows, 9, "cut less")
    assert len(said) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        inputs.warn_of_truncation(rows_of(5, 4), 9, "cut less")


# Batches.


def places(batches):
    """Which row each row of each batch is, by the tokens that `rows_of` gives it."""
    return [(x["token_ids"][:, 1] - 10).numpy().tolist() for x, *_ in batches]


def test_lengths_are_rounded_up_to_few_that_waste_little():
    lengths = range(1, 513)
    rounded = [
        int(inputs.round_up(tf.constant(length, tf.int64))) for length in lengths
    ]
    assert rounded == sorted(rounded)
    assert len(set(rounded)) == 16 + 8 + 8 + 56
    for length, longer in zip(lengths, rounded, strict=True):
        assert length <= longer < length * 9 / 8
        assert longer % min(8, max(1, 2 ** ((longer - 1).bit_length() - 4))) == 0


def test_batches_are_padded_to_lengths_that_recur_and_the_mask_says_where():
    rows = rows_of(5, 17, 3, 8, 41)
    widths = []
    for (x,) in inputs.batches(rows, None, 2):
        assert set(x) == {"token_ids", "segment_ids", "padding_mask"}
        assert all(field.dtype == tf.int32 for field in x.values())
        lengths = np.sum(x["padding_mask"], axis=1)
        for ids_, mask, length in zip(
            x["token_ids"].numpy(), x["padding_mask"].numpy(), lengths, strict=True
        ):
            assert mask.tolist() == [1] * length + [0] * (len(mask) - length)
            assert ids_[length - 1] == SEP
            assert not ids_[length:].any()
        widths.append(x["token_ids"].shape[1])
    # The position table may end at the longest of all.
    assert widths == [18, 8, 41]


def test_a_batch_for_prediction_is_that_of_the_dataset():
    rows = rows_of(5, 17, 3, 8, 41)
    more = {"more": [np.full(n, 7, np.int32) for n in (2, 17, 0, 1, 41)]}
    order = np.array([4, 1, 3, 0, 2])
    found = inputs.batches(rows, None, 2, order=order, fields=more)
    for start, (want,) in zip(range(0, 5, 2), found, strict=True):
        got = inputs.padded(rows, order[start : start + 2], 41, more)
        assert set(got) == set(want)
        for name, field in want.items():
            np.testing.assert_array_equal(got[name], field, err_msg=name)


def test_no_tuner_watches_batches_that_have_nothing_to_tune():
    options = inputs.batches(rows_of(3, 4), None, 2).repeat().options()
    assert options.autotune.enabled is False


def test_without_a_seed_the_order_is_the_one_given():
    rows = rows_of(5, 9, 3, 8, 16)
    assert places(inputs.batches(rows, None, 2)) == [[0, 1], [2, 3], [4]]
    order = inputs.by_length(rows)
    assert places(inputs.batches(rows, None, 2, order=order)) == [[4, 1], [3, 0], [2]]


def shuffled(rows, seed, batch_size=4):
    return inputs.batches(
        rows, np.zeros(rows.num_inputs), batch_size, shuffle_seed=seed
    )


def test_every_row_comes_exactly_once_an_epoch_and_the_smaller_batch_last():
    rows = rows_of(*np.random.default_rng(4).integers(3, 40, 211).tolist())
    batches = shuffled(rows, 1)  # more than a pool of 200
    assert int(batches.cardinality()) == 53
    for _ in range(2):
        found = places(batches)
        assert sorted(itertools.chain(*found)) == list(range(211))
        assert [len(batch) for batch in found] == [4] * 52 + [3]


def test_each_epoch_has_another_order_and_the_same_seed_the_same():
    rows = rows_of(*range(3, 44))
    one, same, other = shuffled(rows, 1), shuffled(rows, 1), shuffled(rows, 2)
    epochs = [places(one), places(one)]
    assert epochs[0] != epochs[1]
    assert [places(same), places(same)] == epochs
    assert places(other) != epochs[0]


def test_rows_of_like_length_share_a_batch():
    lengths = np.random.default_rng(5).permutation(np.arange(160) // 4 * 2 + 3)
    widest = []
    for x, _ in shuffled(rows_of(*lengths.tolist()), 3):
        found = np.sum(x["padding_mask"], axis=1)
        widest.append(np.ptp(found))
    assert len(widest) == 40
    assert max(widest) == 0
    # And the batches do not come by length.
    order = [len(x["token_ids"][0]) for x, _ in shuffled(rows_of(*lengths), 3)]
    assert order != sorted(order)


def test_targets_and_weights_follow_their_rows():
    rows = rows_of(*np.random.default_rng(6).integers(3, 30, 23).tolist())
    numbers, weights = np.arange(23) * 2, np.arange(23, dtype=np.float32) / 4
    seen = 0
    for x, y, weight in inputs.batches(
        rows, numbers, 4, shuffle_seed=7, weights=weights
    ):
        row = x["token_ids"][:, 1].numpy() - 10
        np.testing.assert_array_equal(y, 2 * row)
        np.testing.assert_array_equal(weight, row / 4)
        seen += len(row)
    assert seen == 23


def test_a_target_a_token_is_padded_with_minus_1_and_targets_may_have_names():
    rows = rows_of(3, 17)
    tags = [ids(-1, 5, -1), ids(*range(17))]
    ((_, y),) = inputs.batches(rows, {"tags": tags, "number": np.array([4, 6])}, 2)
    assert y["number"].numpy().tolist() == [4, 6]
    assert y["tags"].numpy().tolist() == [
        [-1, 5, -1] + [-1] * 14,
        [*range(17)],
    ]


def test_more_fields_of_the_model_are_padded_with_zero():
    ((x,),) = inputs.batches(
        rows_of(3, 4), None, 2, fields={"mask_positions": [ids(1), ids(1, 2)]}
    )
    assert x["mask_positions"].numpy().tolist() == [[1, 0], [1, 2]]


def test_rows_of_one_input_can_stay_together():
    rows = rows_of(3, 9, 4, 5, 3)._replace(
        source=np.array([0, 0, 1, 1, 1]), num_inputs=2
    )
    ((x, y),) = inputs.batches(rows, np.array([1, 2]), 2, together=True)
    assert x["token_ids"].shape == (2, 3, 9)
    assert x["token_ids"][:, :, 1].numpy().tolist() == [[10, 11, 0], [12, 13, 14]]
    assert y.numpy().tolist() == [1, 2]


# Tokens in their windows.


def test_a_token_counts_in_the_window_where_it_has_most_context():
    text = numbered(11, 100)
    rows = windows(text, stride=3)  # at 0, 3, 4, 7 tokens each
    (found,) = inputs.best_places(rows)
    assert rows.starts.tolist() == [0, 3, 4]
    for token, (row, position) in enumerate(found):
        assert rows.token_ids[row][position] == text[token]
        inside = position - 1
        mine = min(inside, 6 - inside)
        others = [min(token - s, 6 - token + s) for s in rows.starts]
        assert mine == max(others)
    outputs = [row.astype(float) for row in rows.token_ids]
    np.testing.assert_array_equal(inputs.gather(rows, outputs)[0], text)


def test_values_of_tokens_are_spread_to_one_place_each():
    rows = windows(numbered(11, 100), stride=3)
    targets = inputs.spread(rows, [np.array([0, 5, 10])], [ids(7, 8, 9)])
    assert sorted(np.concatenate(targets)[np.concatenate(targets) >= 0]) == [7, 8, 9]
    for row, target in zip(rows.token_ids, targets, strict=True):
        for position in np.flatnonzero(target >= 0):
            assert row[position] == {7: 100, 8: 105, 9: 110}[target[position]]
