"""The tokenizer of the graph against Hugging Face's, and against the offline one."""

import itertools
import unicodedata

import pytest
import tensorflow as tf
import wordpiece

from electra_tf import config, errors
from electra_tf.tasks import graph_tokenizer
from electra_tf.text import tokenizer, vocabularies

UNCASED = wordpiece.UNCASED


@pytest.fixture(
    scope="module",
    params=[
        wordpiece.UNCASED,
        wordpiece.CASED,
        pytest.param(wordpiece.CASED_WITHOUT_ACCENTS, marks=pytest.mark.slow),
        pytest.param(wordpiece.UNCASED_WITH_ACCENTS, marks=pytest.mark.slow),
        wordpiece.WITHOUT_CJK,
    ],
    ids=str,
)
def case(request):
    return wordpiece.case(request.param)


def test_the_graph_tokenizer_equals_hugging_face(case):
    settings, texts, vocab, want = case
    tokenize = tf.function(graph_tokenizer.GraphTokenizer(vocab, settings))
    for text, found, ids in zip(
        texts, tokenize(tf.constant(texts)).to_list(), want, strict=True
    ):
        assert found == ids, ascii(text)


def test_the_one_known_difference_is_the_order_of_marks_that_are_kept():
    # Two musical marks in the order that Unicode does not call canonical.
    flag, stem = "\U0001d16d", "\U0001d165"
    vocab = [*vocabularies.SPECIAL_TOKENS, "x", f"##{flag}", f"##{stem}"]
    text = "x" + flag + stem
    tokenize = graph_tokenizer.GraphTokenizer(vocab, UNCASED)
    assert tokenize(tf.constant([text])).to_list() == [[5, 6, 7]]
    assert tokenizer.Encoder(vocab, UNCASED).encode(text).tolist() == [5, 7, 6]


def test_tokens_of_the_graph_stand_for_the_characters_that_hugging_face_says(case):
    settings, texts, vocab, _ = case
    encode = tf.function(
        graph_tokenizer.GraphTokenizer(vocab, settings).encode_with_offsets
    )
    encoder = tokenizer.Encoder(vocab, settings)
    # Where marks are put in order, the library says where they would have stood.
    texts = [text for text in texts if in_order(text)]
    assert len(texts) > 1000
    ids, starts, ends = encode(tf.constant(texts))
    for number, text in enumerate(texts):
        want_ids, want = encoder.encode_with_offsets(text)
        assert ids[number].numpy().tolist() == want_ids.tolist()
        found = zip(starts[number].numpy(), ends[number].numpy(), strict=True)
        assert list(found) == want, ascii(text)


def in_order(text: str) -> bool:
    """Tells whether no two combining marks follow each other."""
    marks = [unicodedata.combining(c) > 0 for c in unicodedata.normalize("NFD", text)]
    return not any(a and b for a, b in itertools.pairwise(marks))


def test_blank_lines_and_tokens_that_are_alike_keep_their_ids_in_the_graph():
    vocab = [
        *vocabularies.SPECIAL_TOKENS,
        "film",
        "",
        "\u2028",
        "##s",
        "film",
        "##s",
        "",
    ]
    tokenize = graph_tokenizer.GraphTokenizer(vocab, UNCASED)
    assert tokenize(tf.constant(["films \u2028 x"])).to_list() == [[9, 10, 1]]
    assert tokenizer.Encoder(vocab, UNCASED).encode("films \u2028 x").tolist() == [
        *[9, 10, 1]
    ]


def test_a_token_that_the_graph_cannot_hold_is_refused_by_name():
    long = "\U0001d4d0" * 65
    vocab = [*vocabularies.SPECIAL_TOKENS, "film", long]
    with pytest.raises(errors.UserError, match=r"token 6 of the voc.* 256 bytes"):
        graph_tokenizer.GraphTokenizer(vocab, UNCASED)
    assert tokenizer.Encoder(vocab, UNCASED).encode(long).tolist() == [6]


ADDED = [
    {"content": "[ENT]", "special": True, "normalized": False, "lstrip": True},
    {"content": "ENT", "normalized": False},  # Inside another.
    {"content": "COVID-19", "rstrip": True},
    {"content": "C++"},
    {"content": "covid", "is_word": True},
    {"content": "\u4f60\u597d"},
    {"content": "New  York", "normalized": False},
]
TEXTS = [
    "film[ENT]film [ENT][ENT]  [ENT] [ENTx ENT[ENT]",
    "[ent] ent ENT",
    "x COVID-19 covid-19x Covid - 19 covid covids",
    "c++ C+++ c+ film",
    "\u4f60\u597dfilm \u4f60 \u597d",
    "New  York new  york New York\u00c9",
    "",
    "[ENT]",
    "COVID-1",
]


SINGLE = [
    {"content": "film", "single_word": True, "normalized": False},
    {"content": "il", "normalized": False},  # Not where a film is refused, too.
    {"content": "Cat!", "single_word": True},
    {"content": "9", "single_word": True},
    {"content": "[E]", "special": True, "normalized": False},
]
ALONE = [
    "film a film, films filmil xfilm film_ film-il il",
    "film\u0301 film\u4f60 film\0 film\0s \u4f60film film9 film\u200d",
    "cat! cat!s Cat!! cat!_ x,cat! _cat! \u00e7at! cat!\u4f60 cat! ",
    "9 9! 99 -9- _9 9_ 9\u0301 \u0301 9\u00b2 9,,a [E]9[E] x[E]film[E]s",
    "film",
    "9",
]


@pytest.mark.parametrize(
    ("added", "texts"), [(ADDED, TEXTS), (SINGLE, ALONE)], ids=["any", "single words"]
)
def test_added_tokens_are_found_in_the_graph_as_the_library_finds_them(added, texts):
    contents = [token["content"] for token in added]
    words = "film ##s x ##x c + [ ] ent ##9 19 - \u4f60 \u597d new york e".split()
    vocab = [*vocabularies.SPECIAL_TOKENS, *contents, *words]
    settings = config.TokenizerConfig(added_tokens=added)
    encoder = tokenizer.Encoder(vocab, settings)
    encode = tf.function(
        graph_tokenizer.GraphTokenizer(vocab, settings).encode_with_offsets
    )
    ids, starts, ends = encode(tf.constant(texts))
    for number, text in enumerate(texts):
        want, places = encoder.encode_with_offsets(text)
        assert ids[number].numpy().tolist() == want.tolist(), text
        found = zip(starts[number].numpy(), ends[number].numpy(), strict=True)
        assert list(found) == places, text
    theirs = vocabularies.token_ids(vocab)
    assert {theirs[content] for content in contents} <= set(ids.flat_values.numpy())


@pytest.mark.parametrize(
    ("added", "message"),
    [
        ([{"content": "ab"}, {"content": "bc"}], "'ab' and 'bc' can overlap"),
        ([{"content": "aba"}], "'aba' and 'aba' can overlap"),
    ],
)
def test_added_tokens_that_no_graph_can_decide_are_refused_by_name(added, message):
    vocab = [*vocabularies.SPECIAL_TOKENS, "film", "ab", "bc", "aba"]
    settings = config.TokenizerConfig(added_tokens=added)
    with pytest.raises(errors.UserError, match=message):
        graph_tokenizer.GraphTokenizer(vocab, settings)


def test_bytes_that_are_not_utf8_are_dropped_in_the_graph():
    vocab = [*vocabularies.SPECIAL_TOKENS, "film"]
    tokenize = graph_tokenizer.GraphTokenizer(vocab, UNCASED)
    assert tokenize(tf.constant([b"fi\xfflm", b"\xc3"])).to_list() == [[5], []]


def test_a_saved_graph_tokenizer_answers_as_before(tmp_path):
    vocab = wordpiece.vocab_with(list(wordpiece.NASTY.values()), UNCASED)
    module = tf.Module()
    module.tokenize = tf.function(
        graph_tokenizer.GraphTokenizer(vocab, UNCASED),
        input_signature=[tf.TensorSpec([None], tf.string)],
    )
    tf.saved_model.save(module, str(tmp_path))
    texts = list(wordpiece.NASTY.values())
    found = tf.saved_model.load(str(tmp_path)).tokenize(tf.constant(texts)).to_list()
    assert found == wordpiece.expected(vocab, UNCASED, texts)
