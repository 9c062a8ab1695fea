import keras
import numpy as np
import pytest
import tensorflow as tf

from electra_tf import errors
from electra_tf.tasks import preprocessor
from electra_tf.tasks import tokenizer as tokenizers
from electra_tf.text import vocabularies


@pytest.fixture
def words(tiny_vocab):
    return tokenizers.ElectraTokenizer(str(tiny_vocab))


@pytest.fixture
def tokens(tiny_vocab):
    """Turns ids back into tokens."""
    vocab = vocabularies.read(tiny_vocab)
    return lambda ids: " ".join(vocab[i] for i in ids)


PAIRS = [("the cat", "a dog sat"), ("the bird", "ran .")]
FIRSTS, SECONDS = map(list, zip(*PAIRS, strict=True))


@pytest.mark.parametrize(
    "x",
    [
        PAIRS,
        [list(pair) for pair in PAIRS],
        np.array(PAIRS),
        (FIRSTS, SECONDS),
        (np.array(FIRSTS), tf.constant(SECONDS)),
    ],
    ids=["tuples", "lists", "array", "two lists", "two arrays"],
)
def test_pairs_come_in_any_form(x):
    assert preprocessor.split_pairs(x) == (FIRSTS, SECONDS)


@pytest.mark.parametrize(
    "x",
    [
        FIRSTS,
        (*FIRSTS, "on"),
        np.array(FIRSTS),
        np.array(FIRSTS, object),
        tf.constant(FIRSTS),
        [b"the cat", b"the bird"],
        (text for text in FIRSTS),
    ],
    ids=["list", "tuple", "array", "objects", "tensor", "bytes", "generator"],
)
def test_texts_come_in_any_form(x):
    firsts, seconds = preprocessor.split_pairs(x)
    assert firsts[:2] == FIRSTS
    assert seconds is None
    assert preprocessor.single_texts(FIRSTS) == FIRSTS


def test_one_text_one_pair_and_none_are_inputs_too():
    assert preprocessor.split_pairs("the cat") == (["the cat"], None)
    assert preprocessor.split_pairs(np.array("the cat")) == (["the cat"], None)
    assert preprocessor.split_pairs(b"\xff") == (["\ufffd"], None)
    assert preprocessor.split_pairs(("the cat", "ran")) == (["the cat"], ["ran"])
    assert preprocessor.split_pairs([]) == ([], None)
    assert preprocessor.split_pairs(([], [])) == ([], [])


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (None, "the inputs are None; want a list"),
        (7, "the inputs are 7; want"),
        (np.array(7), "the inputs are 7; want a list"),
        ({"text": ["the cat"]}, "a dict with columns text; give one of them"),
        (["the cat", 7], "input 1 is 7, a int; want a string"),
        (["the cat", None], "input 1 is None, a NoneType"),
        (["the cat", ("the", "dog")], "input 1 is .*, a tuple; want a string"),
        ([("the", "dog"), "the cat"], "input 0 is .*, a tuple"),
        ([("the", "dog"), ("a", 7)], "input 1 is 7"),
        ((["a", "b"], ["c"]), "2 first texts and 1 second ones"),
        ((["a", "b"], None), "the inputs are None"),
        ([["a", "b", "c"]], "input 0 is .*, a list"),
        ([float("nan")], "input 0 is nan, a float"),
    ],
)
def test_what_is_neither_texts_nor_pairs_is_refused_in_one_line(x, message):
    with pytest.raises(errors.UserError, match=message) as told:
        preprocessor.split_pairs(x)
    assert "\n" not in str(told.value)


def test_pairs_are_no_single_texts():
    with pytest.raises(errors.UserError, match="are pairs of texts; want single"):
        preprocessor.single_texts(PAIRS)


def test_texts_become_rows(words, tokens):
    made = preprocessor.ElectraTextPreprocessor(words, sequence_length=8)
    rows = made.rows([("The cat", "a dog sat"), ("", "ran.")])
    assert [tokens(row) for row in rows.token_ids] == [
        "[CLS] the cat [SEP] a dog sat [SEP]",
        "[CLS] [SEP] ran . [SEP]",
    ]
    assert rows.segment_ids[0].tolist() == [0, 0, 0, 0, 1, 1, 1, 1]


@pytest.mark.parametrize("truncate", ["round_robin", "waterfall"])
def test_in_a_graph_the_same_texts_become_the_same_rows(truncate, words):
    made = preprocessor.ElectraTextPreprocessor(
        words, sequence_length=9, truncate=truncate
    )
    long = "a bird flew on the mat under a tree"
    firsts = ["the cat sat on the mat", "the", "", "the cat sat under"]
    seconds = ["a bird", long, "", long]
    odd = ["C\u00e0t\u200d, [SEP] \u732b dog", "", long]
    for x in (odd, (firsts, seconds)):
        rows = made.rows(x)
        assert rows.num_truncated >= 1
        data = tf.data.Dataset.from_tensors({"x": x})
        (found,) = data.map(lambda fields: made(fields["x"], y=None))
        for index, pieces in enumerate(zip(*rows[:2], strict=True)):
            length = len(pieces[0])
            mask = [1] * length + [0] * (9 - length)
            want = [np.pad(field, (0, 9 - length)).tolist() for field in pieces]
            assert found["token_ids"][index].numpy().tolist() == want[0]
            assert found["segment_ids"][index].numpy().tolist() == want[1]
            assert found["padding_mask"][index].numpy().tolist() == mask


def test_windows_are_rows_of_one_text(words):
    made = preprocessor.ElectraTextPreprocessor(
        words, sequence_length=6, long_texts="windows", stride=3
    )
    rows = made.rows(["the cat sat on the mat .", "ran"])
    assert rows.source.tolist() == [0, 0, 1]
    assert rows.starts.tolist() == [0, 3, 0]
    assert rows.num_truncated == 0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"sequence_length": 2}, "sequence_length=2: want at least 3"),
        ({"sequence_length": -1}, "sequence_length=-1: want at least 3"),
        ({"truncate": "left"}, 'truncate=\'left\': want "round_robin" or "waterfall"'),
        ({"long_texts": "drop"}, 'long_texts=\'drop\': want "truncate" or "windows"'),
        ({"stride": 0}, "stride=0: want at least 1"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings, message, words):
    with pytest.raises(errors.UserError, match=message):
        preprocessor.ElectraTextPreprocessor(words, **settings)
    with pytest.raises(errors.UserError, match=message):
        preprocessor.ElectraTextPreprocessor(words).change(**settings)


def test_pairs_need_longer_rows_than_texts(words):
    made = preprocessor.ElectraTextPreprocessor(words, sequence_length=4)
    assert len(made.rows(["the cat sat"]).token_ids[0]) == 4
    with pytest.raises(errors.UserError, match="=4 is too short for pairs of texts"):
        made.rows(PAIRS)


def test_a_preprocessor_is_made_again_from_its_settings(words, tiny_vocab):
    settings = {
        "sequence_length": 13,
        "truncate": "waterfall",
        "long_texts": "windows",
        "stride": 5,
    }
    made = preprocessor.ElectraTextPreprocessor(words, **settings)
    again = keras.saving.deserialize_keras_object(
        keras.saving.serialize_keras_object(made)
    )
    assert {name: getattr(again, name) for name in settings} == settings
    again.tokenizer.set_vocabulary(str(tiny_vocab))
    assert np.concatenate(again.rows(PAIRS).token_ids).tolist() == (
        np.concatenate(made.rows(PAIRS).token_ids).tolist()
    )
