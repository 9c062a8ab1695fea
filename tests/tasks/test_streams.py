import keras
import numpy as np
import pytest
import tensorflow as tf

from electra_tf import errors
from electra_tf.tasks import streams

LENGTHS = [int(n) for n in np.random.default_rng(3).integers(1, 20, 23)]
TEXTS = [" ".join(["cat"] * length) for length in LENGTHS]  # a token a word
NUMBERS = np.arange(23, dtype=np.int32)


def dataset(x=TEXTS, size=4, **kwargs):
    weights = np.arange(23, dtype=np.float32) / 4
    data = tf.data.Dataset.from_tensor_slices((x, NUMBERS, weights))
    return data.batch(size, **kwargs)


def made(before, data=None, **kwargs):
    """Batches, with 100 + the label as target."""
    data = dataset() if data is None else data
    return streams.batches(data, before, lambda y: y + 100, **kwargs)


def test_rows_are_those_of_lists_with_their_targets_and_weights(tiny_preprocessor):
    rows, seen = tiny_preprocessor.rows(TEXTS), []
    for x, y, weight in made(tiny_preprocessor):
        numbers = y.numpy() - 100
        for row, (number, share) in enumerate(zip(numbers, weight, strict=True)):
            real = x["padding_mask"][row].numpy().astype(bool)
            want = rows.token_ids[number].tolist()
            assert x["token_ids"][row].numpy()[real].tolist() == want
            assert not np.any(x["token_ids"][row].numpy()[~real])
            assert float(share) == number / 4
            seen.append(int(number))
    assert sorted(seen) == list(range(23))


@pytest.mark.parametrize(
    "x",
    [
        (TEXTS, TEXTS[::-1]),
        np.array([TEXTS, TEXTS[::-1]]).T,
    ],
)
def test_pairs_are_rows_of_two_segments(x, tiny_preprocessor):
    rows = tiny_preprocessor.rows((TEXTS, TEXTS[::-1]))
    for fields, y, _ in made(tiny_preprocessor, dataset(x)):
        for row, number in enumerate(y.numpy() - 100):
            length = len(rows.token_ids[number])
            for name in ("token_ids", "segment_ids"):
                found = fields[name][row].numpy()[:length].tolist()
                assert found == getattr(rows, name)[number].tolist()


def test_batches_are_as_many_and_of_the_same_sizes(tiny_preprocessor):
    found = made(tiny_preprocessor, pool=4)
    assert int(found.cardinality()) == 6
    assert [len(y) for _, y, _ in found] == [4, 4, 4, 4, 4, 3]
    uneven = dataset(size=4).concatenate(dataset(size=9))
    sizes = sorted(len(y) for _, y, _ in made(tiny_preprocessor, uneven))
    assert sizes == [3, 4, 4, 4, 4, 4, 5, 9, 9]
    whole = made(tiny_preprocessor, dataset(drop_remainder=True), shuffle_seed=1)
    assert [len(y) for _, y, _ in whole] == [4] * 5


def test_rows_of_like_length_share_a_batch_and_none_is_padded_to_the_limit(
    tiny_preprocessor,
):
    assert len(set(LENGTHS)) > 10
    widths = [x["token_ids"].shape[1] for x, *_ in made(tiny_preprocessor)]
    assert widths == sorted(widths)
    assert len(set(widths)) > 3
    lengths = sorted(LENGTHS)
    longest = [lengths[min(end, 23) - 1] + 2 for end in range(4, 28, 4)]
    for width, length in zip(widths, longest, strict=True):
        assert length <= width <= max(16, length * 9 // 8)


def test_a_pool_of_one_mixes_no_batches(tiny_preprocessor):
    batches = made(tiny_preprocessor, pool=1)
    found = [(y.numpy() - 100).tolist() for _, y, _ in batches]
    assert found == [list(range(n, min(n + 4, 23))) for n in range(0, 23, 4)]


def test_shuffled_batches_come_in_another_order_every_epoch_and_small_ones_last(
    tiny_preprocessor,
):
    one = made(tiny_preprocessor, shuffle_seed=1)
    same = made(tiny_preprocessor, shuffle_seed=1)
    epochs = [[y.numpy().tolist() for _, y, _ in data] for data in (one, one, same)]
    assert epochs[0] == epochs[2] != epochs[1]
    assert sorted(map(str, epochs[0])) == sorted(map(str, epochs[1]))
    assert [len(y) for y in epochs[1]] == [4, 4, 4, 4, 4, 3]


def test_what_has_no_end_is_read_as_it_is_needed(tiny_preprocessor):
    endless = made(tiny_preprocessor, dataset().repeat(), pool=3)
    assert int(endless.cardinality()) == tf.data.INFINITE_CARDINALITY
    assert len(list(endless.take(20))) == 20


def test_windows_share_the_weight_of_their_text(tiny_preprocessor):
    tiny_preprocessor.change(sequence_length=7, long_texts="windows", stride=2)
    rows = tiny_preprocessor.rows(TEXTS)
    counts = np.bincount(rows.source)
    assert counts.max() > 3
    weights = np.zeros(23)
    found = made(tiny_preprocessor)
    sizes = []
    for x, y, weight in found:
        assert x["token_ids"].shape[1] <= 7
        np.add.at(weights, y.numpy() - 100, weight.numpy())
        sizes.append(len(y))
    np.testing.assert_allclose(weights, np.arange(23) / 4, rtol=1e-5)
    assert sum(sizes) == len(rows.source)
    assert set(sizes[:-1]) == {4}
    assert int(found.cardinality()) == tf.data.UNKNOWN_CARDINALITY
    assert int(streams.counted(found).cardinality()) == len(sizes)


def test_texts_that_lost_their_end_are_counted_and_said(tiny_preprocessor):
    tiny_preprocessor.change(sequence_length=12)
    found = made(tiny_preprocessor)
    streams.warn_of_truncation(found, 12, "cut less")
    assert len(list(found)) == 6
    want = sum(length > 10 for length in LENGTHS)
    with pytest.warns(
        UserWarning, match=f"^{want} of 23 texts read .* 12 .*; cut less"
    ):
        streams.warn_of_truncation(found, 12, "cut less")
    streams.warn_of_truncation(dataset(), 12, "cut less")


def test_texts_of_a_dataset_are_read_back():
    assert streams.texts(dataset()) == [text.encode() for text in TEXTS]
    pairs = streams.texts(tf.data.Dataset.from_tensors(((TEXTS, TEXTS),)))
    assert pairs[3] == (TEXTS[3].encode(),) * 2


@pytest.mark.parametrize(
    ("x", "message"),
    [
        ("a", "holds texts one by one; want batches: dataset.batch"),
        ([1, 2], "are int32; want strings"),
        ({"text": ["a"]}, "are a dict of text; want strings"),
        ((["a"], [1]), "are int32; want strings"),
        (tf.ragged.constant([["a"], ["b", "c"]]), "are RaggedTensorSpec; want"),
        ([["a", "b", "c"]], r"are string \(1, 3\); want"),
        ((["a"], ["b"], ["c"]), "are 3 texts each"),
    ],
)
def test_other_datasets_are_refused_in_a_line(x, message, tiny_preprocessor):
    data = tf.data.Dataset.from_tensors((x, 1))
    with pytest.raises(errors.UserError, match=f"dataset .*{message}") as told:
        made(tiny_preprocessor, data)
    assert "\n" not in str(told.value)


def test_a_dataset_that_does_not_tell_its_shape_is_refused(tiny_preprocessor):
    data = tf.data.Dataset.from_generator(
        lambda: iter([(["a"], [1])]),
        output_signature=(tf.TensorSpec(None, tf.string), tf.TensorSpec([None])),
    )
    with pytest.raises(errors.UserError, match="have no shape; want"):
        made(tiny_preprocessor, data)
    assert keras.utils.unpack_x_y_sample_weight(data.element_spec)[0] == (
        streams.inputs_of(data)
    )
