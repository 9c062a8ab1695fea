"""The tokenizer against Hugging Face's BERT tokenizer."""

import collections
import string
import subprocess
import sys

import pytest
import wordpiece

from electra_tf import config, errors
from electra_tf.text import tokenizer, vocabularies

UNCASED, CASED = wordpiece.UNCASED, wordpiece.CASED


@pytest.fixture(scope="module", params=wordpiece.ALL_CONFIGS, ids=str)
def case(request):
    return wordpiece.case(request.param)


def test_the_offline_encoder_equals_hugging_face(case):
    settings, texts, vocab, want = case
    encoder = tokenizer.Encoder(vocab, settings)
    for _ in "first from the library", "then from memory":
        for text, ids in zip(texts, want, strict=True):
            assert encoder.encode(text).tolist() == ids, ascii(text)


def test_offsets_lead_from_the_ids_into_the_text(case):
    settings, texts, vocab, want = case
    encoder = tokenizer.Encoder(vocab, settings)
    for text, given in zip(texts, want, strict=True):
        ids, offsets = encoder.encode_with_offsets(text)
        assert ids.tolist() == given, ascii(text)
        assert len(offsets) == len(given), ascii(text)
        assert all(0 <= start <= end <= len(text) for start, end in offsets)


def test_offsets_count_characters_of_the_text_as_it_was_given():
    vocab = [*vocabularies.SPECIAL_TOKENS, "film", "cafe", "##s", "!", "\u4f60"]
    encoder = tokenizer.Encoder(vocab, UNCASED)
    text = "FI\x00LM\u4f60 \U0001f600 CAF\u00c9S!"
    ids, offsets = encoder.encode_with_offsets(text)
    words = "film \u4f60 [UNK] cafe ##s !".split()
    assert [vocab[i] for i in ids] == words
    places = [text[start:end] for start, end in offsets]
    assert places == ["FI\x00LM", "\u4f60", "\U0001f600", "CAF\u00c9", "S", "!"]


def test_the_texts_show_most_of_what_they_hold(case):
    _, _, vocab, want = case
    ids = [i for row in want for i in row]
    assert 0.01 < ids.count(vocab.index("[UNK]")) / len(ids) < 0.5
    assert len(set(ids)) > 1000


def test_an_encoder_whose_memory_is_full_still_answers(monkeypatch):
    monkeypatch.setattr(tokenizer, "_MAX_REMEMBERED", 3)
    vocab = wordpiece.vocab_with(list(wordpiece.NASTY.values()), UNCASED)
    encoder = tokenizer.Encoder(vocab, UNCASED)
    found = [encoder.encode(text).tolist() for text in wordpiece.NASTY.values()]
    assert found == wordpiece.expected(vocab, UNCASED, list(wordpiece.NASTY.values()))


def test_a_document_keeps_its_sentence_lengths_and_loses_empty_ones():
    vocab = [*vocabularies.SPECIAL_TOKENS, *wordpiece.WORDS]
    document = tokenizer.Encoder(vocab, UNCASED).encode_document(
        ["good film", "\x00\ufffd", "unable!"]
    )
    tokens = [vocab[i] for i in document.token_ids]
    assert tokens == ["good", "film", "un", "##able", "!"]
    assert document.sentence_lengths == [2, 3]
    assert document.num_unk == 0


@pytest.mark.parametrize("config", wordpiece.ALL_CONFIGS, ids=str)
def test_a_document_is_its_sentences_one_after_the_other(config):
    nasty = list(wordpiece.NASTY.values())
    vocab = wordpiece.vocab_with(nasty, config)
    encoder = tokenizer.Encoder(vocab, config)
    for sentences in (nasty, nasty[::-1], ["Good film\nof two lines", *nasty], []):
        whole = encoder.encode_document(sentences)
        parts = [ids for ids in map(encoder.encode, sentences) if ids.size]
        assert whole.sentence_lengths == [ids.size for ids in parts]
        found = [number for ids in parts for number in ids.tolist()]
        assert whole.token_ids.tolist() == found
        assert whole.num_unk == found.count(vocab.index("[UNK]"))
        words = [word for text in sentences for word in encoder.unknown_words(text)]
        assert collections.Counter(whole.unknown_words) == collections.Counter(words)


def test_neither_tensorflow_nor_its_text_ops_load_with_the_encoder():
    code = (
        "import sys; from electra_tf.text import tokenizer; "
        "sys.exit(any(m.startswith('tensorflow') for m in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("stated", [{}, {"strip_accents": None}])
def test_accents_follow_lowercase_unless_they_are_stated(stated):
    for lowercase in (True, False):
        settings = config.TokenizerConfig(lowercase=lowercase, **stated)
        normal = tokenizer.normalizer(settings).normalize_str("M\u00dc")
        assert normal == ("mu" if lowercase else "M\u00dc")
        assert settings.model_dump()["strip_accents"] == lowercase  # Both are stored.
    both = config.TokenizerConfig(lowercase=False, strip_accents=True)
    assert tokenizer.normalizer(both).normalize_str("M\u00dc") == "MU"


LETTERS = [*string.ascii_lowercase, *(f"##{c}" for c in string.ascii_lowercase)]
SPECIAL = [*vocabularies.SPECIAL_TOKENS, "[UNUSED1]", "<S>"]


@pytest.mark.parametrize(
    ("settings", "tokens", "message"),
    [
        (UNCASED, [*LETTERS, "film"], None),
        (
            UNCASED,
            [*LETTERS, "Film"],
            "1 of 53 tokens, such as 'Film', can ",
        ),
        (UNCASED, [*LETTERS, "##\u00e9"], "lower-cased and stripped of its accents"),
        (wordpiece.UNCASED_WITH_ACCENTS, [*LETTERS, "##\u00e9"], None),
        (
            wordpiece.CASED_WITHOUT_ACCENTS,
            ["\u00e9"],
            "that is stripped of its accents",
        ),
        (CASED, [*LETTERS, "Film"], None),
        (CASED, LETTERS, None),  # Few words; no capital may have come.
        (CASED, [*LETTERS, *(c + c for c in LETTERS)], "no token has a capital"),
        (CASED, ["\u4f60", "\ud55c", "film\u0301"], None),
    ],
)
def test_a_vocabulary_that_contradicts_the_casing_is_told(settings, tokens, message):
    found = tokenizer.doubt_casing([*SPECIAL, *tokens], settings)
    assert message in found if message else found is None


def test_a_few_strangers_do_not_change_the_casing_that_is_guessed():
    many = [f"w{c}{d}" for c in string.ascii_lowercase for d in range(20)]
    assert tokenizer.guess_casing([*SPECIAL, *many, "GmbH", "caf\u00e9"]) == UNCASED
    capitals = list(string.ascii_uppercase)
    assert tokenizer.guess_casing([*SPECIAL, *many, *capitals]) == CASED
    umlauts = [f"w\u00fc{c}" for c in string.ascii_lowercase]
    german = tokenizer.guess_casing([*SPECIAL, *many, *umlauts])
    assert german == wordpiece.UNCASED_WITH_ACCENTS
    assert tokenizer.guess_casing([]) == UNCASED


ADDED = [
    config.AddedToken(content="[ENT]", special=True, normalized=False),
    config.AddedToken(content="<e>", lstrip=True, rstrip=True, normalized=False),
    config.AddedToken(content="cov", single_word=True),
    config.AddedToken(content="COVID-19"),
    config.AddedToken(content="film", normalized=False, is_word=True),
]
WITH_ADDED = [
    "x [ENT]y[ENT] [ent]",
    "  x  <e>  film Film filmx <E>",
    "cov covx xcov cov-x",
    "covid-19 COVID-19s xCovid-19 covid - 19",
    "[MASK] \u4f60[ENT]\u4f60",
]


def test_added_tokens_are_found_as_the_library_finds_them():
    words = "x y f i l m ##x ##film ##s - 19 [ ent ] mask co covid ##v \u4f60".split()
    # Not at the end, and not in the order of their ids.
    contents = [token.content for token in ADDED]
    vocab = [*vocabularies.SPECIAL_TOKENS, *contents, "", *words]
    settings = config.TokenizerConfig(added_tokens=ADDED)
    encoder = tokenizer.Encoder(vocab, settings)
    reference = wordpiece.hugging_face(
        [*vocabularies.SPECIAL_TOKENS, *words, "film"], UNCASED
    )
    reference.add_tokens([tokenizer.library_token(token) for token in ADDED])
    names = {i: token for token, i in reference.get_vocab().items()}
    for text in WITH_ADDED:
        want = reference.encode(text, add_special_tokens=False)
        ids, places = encoder.encode_with_offsets(text)
        assert [vocab[i] for i in ids] == [names[i] for i in want.ids], text
        assert encoder.encode(text).tolist() == ids.tolist()
        pieces = [text[start:end].strip() for start, end in want.offsets]
        assert [text[start:end] for start, end in places] == pieces
    found = [vocab[i] for i in encoder.encode(" ".join(WITH_ADDED))]
    assert set(contents) <= set(found)
    assert encoder.unknown_words("x qq [ENT]") == ["qq"]
    assert encoder.encode_document(["x", "[ENT] qq"]).unknown_words == ["qq"]


@pytest.mark.parametrize("content", ["none", "[MASK]"])
def test_an_added_token_must_be_in_the_vocabulary(content):
    settings = config.TokenizerConfig(added_tokens=[{"content": content}])
    with pytest.raises(errors.UserError, match=r"'(none|\[MASK\])' is not in the voc"):
        tokenizer.Encoder([*vocabularies.SPECIAL_TOKENS, "film"], settings)
