"""The tokenizer inside KerasHub: one answer in Python, in a graph, after a reload."""

import json

import keras
import keras_hub
import numpy as np
import pytest
import tensorflow as tf

from electra_tf import config, errors
from electra_tf.tasks import backbone
from electra_tf.tasks import tokenizer as tokenizers
from electra_tf.text import tokenizer, vocabularies

VOCAB = "[PAD] [UNK] [CLS] [SEP] [MASK] the cat ##s un ##able caf ##e ##\u00e9".split()
VOCAB += ["The", "\u4f60", "\u597d", "\u4f60\u597d", "##"]

THE_CATS = [5, 6, 7]
TEXTS = ["the cats", "", "unable [MASK] The", "caf\u00e9 \u4f60\u597d", "x\x00the"]

# How Python, or the TensorFlow graph, is made to do the work in eager mode.
PYTHON = {}
GRAPH = {"_allow_python_workflow": False}
BOTH = pytest.mark.parametrize("flags", [PYTHON, GRAPH], ids=["python", "graph"])


def made(**kwargs):
    return tokenizers.ElectraTokenizer(VOCAB, **kwargs)


def expected(texts, **settings):
    encoder = tokenizer.Encoder(VOCAB, config.TokenizerConfig(**settings))
    return [encoder.encode(text).tolist() for text in texts]


@BOTH
@pytest.mark.parametrize(
    "settings",
    [
        {"lowercase": True, "strip_accents": True, "split_cjk": True},
        {"lowercase": False, "strip_accents": False, "split_cjk": True},
        {"lowercase": True, "strip_accents": False, "split_cjk": False},
    ],
    ids=str,
)
def test_it_cuts_as_the_pre_training_tokenizer_does(flags, settings):
    assert made(**settings, **flags)(TEXTS) == expected(TEXTS, **settings)


def test_settings_matter_to_these_texts():
    lower = {"lowercase": True, "strip_accents": True}
    cased = {"lowercase": False, "strip_accents": False}
    assert expected(TEXTS, **lower) != expected(TEXTS, **cased)
    assert expected(TEXTS, split_cjk=False) != expected(TEXTS, split_cjk=True)


@pytest.mark.parametrize(
    ("given", "strips"), [({}, True), ({"lowercase": False}, False)]
)
def test_accents_go_with_the_case_unless_told(given, strips):
    assert made(**given).tokenizer_config.strip_accents == strips
    told = made(**given, strip_accents=not strips)
    assert told.tokenizer_config.strip_accents != strips


@BOTH
@pytest.mark.parametrize(
    ("inputs", "outputs"),
    [
        (["the cats", "the"], [THE_CATS, [5]]),
        (("the cats", "the"), [THE_CATS, [5]]),
        (np.array(["the cats", "the"]), [THE_CATS, [5]]),
        (np.array(["the cats", "the"], object), [THE_CATS, [5]]),
        (tf.constant(["the cats", "the"]), [THE_CATS, [5]]),
        ([b"the cats", "the"], [THE_CATS, [5]]),
        ([["the", "cats"], ["", "the"]], [[[5], [6, 7]], [[], [5]]]),
        (tf.constant([["the", "cats"]]), [[[5], [6, 7]]]),
        ([["the"], ["cats", "the"]], [[[5]], [[6, 7], [5]]]),
        (tf.ragged.constant([["the"], []]), [[[5]], []]),
        ([], []),
    ],
    ids=repr,
)
def test_several_texts_give_lists(flags, inputs, outputs):
    ids = made(**flags)
    assert ids(inputs) == outputs
    assert ids.tokenize(inputs) == outputs
    words = made(dtype="string", **flags)(inputs)
    assert words == keras.tree.map_structure(VOCAB.__getitem__, outputs)


@BOTH
@pytest.mark.parametrize(
    "text", ["the cats", b"the cats", np.str_("the cats"), tf.constant("the cats")]
)
def test_one_text_gives_an_array(flags, text):
    for dtype in ("int32", "int64"):
        ids = made(dtype=dtype, **flags)(text)
        assert keras.backend.standardize_dtype(ids.dtype) == dtype
        np.testing.assert_array_equal(ids, THE_CATS)
    assert made(dtype="string", **flags)(text) == ["the", "cat", "##s"]


@BOTH
def test_kerashub_gives_the_same_kinds_of_values(flags):
    for dtype in ("int32", "string"):
        ours = made(dtype=dtype, **flags)
        theirs = keras_hub.tokenizers.ElectraTokenizer(
            VOCAB, lowercase=True, dtype=dtype, **flags
        )
        for inputs in ("the cats", ["the", "cats"], [["the"], ["cats", "the"]]):
            a, b = ours(inputs), theirs(inputs)
            assert type(a) is type(b), (dtype, inputs)
            assert (
                np.array_equal(a, b)
                if dtype == "int32" and inputs == "the cats"
                else a == b
            )


def test_in_a_pipeline_rows_are_ragged_and_one_text_is_dense():
    ids = made()
    texts = tf.data.Dataset.from_tensor_slices(TEXTS)
    for given, found in zip(expected(TEXTS), texts.map(ids), strict=True):
        assert found.dtype == tf.int32
        np.testing.assert_array_equal(found, given)
    (batch,) = texts.batch(5).map(ids)
    assert isinstance(batch, tf.RaggedTensor)
    assert batch.to_list() == expected(TEXTS)
    (words,) = texts.take(1).map(made(dtype="string"))
    assert words.numpy().tolist() == [b"the", b"cat", b"##s"]


@BOTH
def test_text_that_utf8_cannot_hold_is_read_around(flags):
    ids = made(**flags)
    assert ids(["the \ud83d cats"]) == [THE_CATS]
    assert ids([b"the \xff cats"]) == [THE_CATS]


@pytest.mark.parametrize("wrong", [None, 3.5, float("nan"), {"text": 1}])
def test_what_is_no_text_is_refused(wrong):
    with pytest.raises(errors.UserError, match=r"cannot tokenize .*; want a string"):
        made().tokenize(["the", wrong])


def test_offsets_lead_back_into_the_text():
    text = "The CAF\u00c9s [MASK] \u4f60\u597d\ud83d unable"
    ids, offsets = made().encode_with_offsets(text)
    np.testing.assert_array_equal(ids, made().encode(text))
    places = [text[start:end] for start, end in offsets]
    assert places[:3] == ["The", "CAF\u00c9s"[:3], "\u00c9"]
    assert places[-4:] == ["\u4f60", "\u597d", "un", "able"]
    assert len(places) == len(ids)


# Back to text.


@BOTH
@pytest.mark.parametrize(
    ("ids", "text"),
    [
        (THE_CATS, "the cats"),
        ([THE_CATS, [8, 9], []], ["the cats", "unable", ""]),
        (np.array([[5, 6], [6, 7]]), ["the cat", "cats"]),
        (tf.ragged.constant([[5], [6, 7]]), ["the", "cats"]),
        (5, "the"),
        ([7, 5, 7, 7], "##s thess"),
        ([5, 17, 7], "the ##s"),
    ],
    ids=repr,
)
def test_pieces_are_joined_and_words_kept_apart(flags, ids, text):
    assert made(**flags).detokenize(ids) == text


def test_in_a_pipeline_it_joins_as_well():
    ids = tf.data.Dataset.from_tensors(tf.ragged.constant([THE_CATS, [8, 9]]))
    (texts,) = ids.map(made().detokenize)
    assert texts.numpy().tolist() == [b"the cats", b"unable"]


# The vocabulary.


def test_it_tells_of_its_vocabulary():
    words = made()
    assert words.get_vocabulary() == VOCAB
    assert words.vocabulary_size() == len(VOCAB)
    assert (words.id_to_token(6), words.token_to_id("cat")) == ("cat", 6)
    names = ("pad", "unk", "cls", "sep", "mask", "start", "end")
    ids = [getattr(words, f"{name}_token_id") for name in names]
    assert ids == [0, 1, 2, 3, 4, 2, 3]
    assert words.start_token == "[CLS]"
    assert sorted(words.special_tokens) == sorted(VOCAB[:5])


@pytest.mark.parametrize("id", [-1, len(VOCAB)])
def test_an_id_without_a_token_is_refused(id):
    with pytest.raises(errors.UserError, match=f"token id {id}: want 0 to 17"):
        made().id_to_token(id)


def test_a_token_that_is_not_there_is_refused():
    with pytest.raises(errors.UserError, match="'dog' is not in the vocabulary"):
        made().token_to_id("dog")


def test_it_reads_its_vocabulary_from_a_file(tmp_path):
    vocabularies.write(tmp_path / "vocab.txt", VOCAB)
    for file in (tmp_path / "vocab.txt", str(tmp_path / "vocab.txt")):
        assert tokenizers.ElectraTokenizer(file).get_vocabulary() == VOCAB


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"vocabulary": ["[PAD]", "the"]}, r"has no \[UNK\]"),
        ({"vocabulary": "/nowhere/vocab.txt"}, "cannot read vocabulary /nowhere"),
        ({"dtype": "float32"}, "dtype=float32: want int32, int64 or string"),
        ({"lowercase": "maybe"}, "ElectraTokenizer: lowercase='maybe'"),
    ],
)
def test_wrong_arguments_are_refused_in_one_line(arguments, message):
    with pytest.raises(errors.UserError, match=message) as error:
        tokenizers.ElectraTokenizer(**{"vocabulary": VOCAB} | arguments)
    assert "\n" not in str(error.value)


def test_without_a_vocabulary_it_says_so():
    empty = tokenizers.ElectraTokenizer()
    for call in (empty.get_vocabulary, lambda: empty.encode("the")):
        with pytest.raises(errors.UserError, match="has no vocabulary; give it one"):
            call()


# On disk.

SETTINGS = config.TokenizerConfig(lowercase=True, strip_accents=False, split_cjk=False)


def test_a_preset_keeps_every_setting(tmp_path):
    defaults = tokenizers.ElectraTokenizer(VOCAB).tokenizer_config
    words = tokenizers.ElectraTokenizer.from_tokenizer_config(VOCAB, SETTINGS)
    assert defaults != SETTINGS
    folder = str(tmp_path)
    words.save_to_preset(folder)
    backbone.ElectraBackbone(len(VOCAB), 1, 3, 6, 5, 7).save_to_preset(folder)
    saved = (tmp_path / "assets" / "tokenizer" / "vocabulary.txt").read_text("utf-8")
    assert saved.splitlines() == VOCAB
    found = keras_hub.tokenizers.Tokenizer.from_preset(folder)
    assert type(found) is tokenizers.ElectraTokenizer
    assert (found.tokenizer_config, found.get_vocabulary()) == (SETTINGS, VOCAB)
    assert found(TEXTS) == expected(TEXTS, **SETTINGS.model_dump())


def test_a_config_from_elsewhere_makes_it_read_no_file(tmp_path):
    vocabularies.write(tmp_path / "secret.txt", VOCAB)
    serialized = keras.saving.serialize_keras_object(made(dtype="int64"))
    assert "cat" not in json.dumps(serialized)
    serialized["config"]["vocabulary"] = str(tmp_path / "secret.txt")
    found = keras.saving.deserialize_keras_object(serialized)
    assert found.compute_dtype == "int64"
    with pytest.raises(errors.UserError, match="has no vocabulary"):
        found.get_vocabulary()


# In KerasHub's hands.


@BOTH
def test_kerashubs_preprocessor_packs_what_it_gives(flags):
    words = made(**flags)
    pack = keras_hub.models.TextClassifierPreprocessor(words, sequence_length=8)
    firsts, seconds = ["the cats", "unable"], ["the", "the cats unable"]
    packed = [[2, 5, 6, 7, 3, 5, 3, 0], [2, 8, 9, 3, 5, 6, 7, 3]]
    segments = [[0, 0, 0, 0, 0, 1, 1, 0], [0, 0, 0, 0, 1, 1, 1, 1]]

    def check(batch):
        np.testing.assert_array_equal(batch["token_ids"], packed)
        np.testing.assert_array_equal(batch["segment_ids"], segments)
        np.testing.assert_array_equal(batch["padding_mask"], np.array(packed) != 0)

    check(pack((firsts, seconds), np.array([0, 1]))[0])
    rows = tf.data.Dataset.from_tensor_slices(((firsts, seconds), [0, 1]))
    check(next(iter(rows.batch(2).map(pack)))[0])
    check(next(iter(rows.map(pack).batch(2)))[0])
    one = pack("the cats")
    np.testing.assert_array_equal(one["token_ids"], [2, 5, 6, 7, 3, 0, 0, 0])


@BOTH
def test_kerashubs_packer_takes_what_it_gives(flags):
    pack = keras_hub.layers.MultiSegmentPacker(6, start_value=2, end_value=3)
    words = made(**flags)
    token_ids, segment_ids = pack((words(["the cats", "the"]), words(["cat", "un"])))
    assert np.asarray(token_ids).tolist() == [[2, 5, 6, 3, 6, 3], [2, 5, 3, 8, 3, 0]]
    assert np.asarray(segment_ids).tolist() == [[0, 0, 0, 0, 1, 1], [0, 0, 0, 1, 1, 0]]
