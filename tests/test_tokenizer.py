"""The tokenizers against Hugging Face's BERT tokenizer, and the vocabulary's rules."""

import itertools
import random
import subprocess
import sys
import unicodedata

import pytest
import tensorflow as tf
import tokenizers
from tokenizers import models, normalizers, pre_tokenizers

from electra_tf import config, errors, tokenizer

UNCASED = config.TokenizerConfig()
CASED = config.TokenizerConfig(lowercase=False, strip_accents=False)
CASED_WITHOUT_ACCENTS = config.TokenizerConfig(lowercase=False)
UNCASED_WITH_ACCENTS = config.TokenizerConfig(strip_accents=False)
WITHOUT_CJK = config.TokenizerConfig(split_cjk=False)
ALL_CONFIGS = [
    UNCASED,
    CASED,
    CASED_WITHOUT_ACCENTS,
    UNCASED_WITH_ACCENTS,
    WITHOUT_CJK,
]

WORDS = (
    "film good un ##able ##s ' , . ! ( ) [ ] mask cls caf\u00e9 cafe na\u00efve".split()
)

NASTY = {
    "empty": "",
    "spaces": "  film   good ",
    "tabs and line ends": "film\tgood\r\nfilm\ngood\x0bfilm\x0cgood",
    "special tokens": "film [MASK] [PAD][UNK] [cls] ##s",
    "accents": "Caf\u00e9 cafe\u0301 na\u00efve \u1e69 \u0130I\u0131",
    "final sigma": "\u039f\u0394\u039f\u03a3 \u039f\u0394\u039f\u03a3. \u03a3",
    "sharp s and half": "\u1e9e\u00df \u00bd \u00b4 \u00a8 \u01c5 \ufb03",
    "Chinese": "\u4f60\u597d film\u4e16\u754c\u3002\U00020000\uf900",
    "Japanese and Korean": "\u3053\u3093 \u30ab\u3099 \ud55c\uad6d\uc5b4",
    "Hebrew": "\u05e9\u05c1\u05dc\u05d5\u05dd\u05be\u05d0 \u202egood\u202c film",
    "Arabic": "\u0645\u064e\u0631\u0652\u062d\u0628\u0627\u060c \u0622\u0626 \ufefb",
    "emoji": "good\U0001f600film \U0001f468\u200d\U0001f469 \u2764\ufe0f",
    "controls": "fi\x00lm go\x7fod \x80\x85\x9f un\x1cable\x1f",
    "format and private": "fi\u200blm \ufeffgood \u00adun\ue000able \U000f0000",
    "replacement": "fi\ufffdlm \ufffd",
    "unassigned": "fi\u0378lm \U0001fbff \u2fe0",
    "odd spaces": "film\u00a0good\u3000un\u2028able\u2029\u1680\u180e",
    "punctuation": "film'good, (un-able)! \u00bfgood\u2026 \u2e43 \u061d $+<=>^`|~",
    "combining first": "\u0301film .\u0301good",
    "word of 100": "a" * 100,
    "word of 101": "film " + "a" * 101 + " good",
    "word of 100, 400 bytes": "\U0001d4d0" * 100,
    "word of 101, 202 bytes": "\u0434" * 101,
    "100 once the accents are gone": "e\u0301" * 100,
    "Hangul grows to 102": "\ud55c" * 34,
    "Hangul grows to 99": "\ud55c" * 33,
}


def hugging_face(
    vocab: list[str], settings: config.TokenizerConfig
) -> tokenizers.Tokenizer:
    """Written out again here, so that a slip in the module shows."""
    reference = tokenizers.Tokenizer(
        models.WordPiece(
            {token: i for i, token in enumerate(vocab)},
            unk_token="[UNK]",
            max_input_chars_per_word=100,
        )
    )
    reference.normalizer = normalizers.BertNormalizer(
        clean_text=True,
        handle_chinese_chars=settings.split_cjk,
        strip_accents=settings.strip_accents,
        lowercase=settings.lowercase,
    )
    reference.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return reference


def vocab_with(texts: list[str], settings: config.TokenizerConfig) -> list[str]:
    """A vocabulary that knows most characters of the texts, so that each one shows."""
    normalizer = hugging_face(list(tokenizer.SPECIAL_TOKENS), settings).normalizer
    seen = sorted(set("".join(map(normalizer.normalize_str, texts))) - set(" "))
    seen = [c for i, c in enumerate(seen) if i % 11]  # Some stay unknown.
    tokens = [*tokenizer.SPECIAL_TOKENS, *WORDS, *seen, *(f"##{c}" for c in seen)]
    return list(dict.fromkeys(tokens))


def random_texts(count: int) -> list[str]:
    """Texts of characters from all of Unicode, its crowded parts most often."""
    rng = random.Random(7)
    parts = [(0, 0x250), (0x250, 0x3100), (0x3100, 0xD800), (0xE000, 0x10000)]
    parts += [(0x10000, 0x12000), (0x12000, 0x33500), (0xE0000, 0x110000)]
    texts = []
    for _ in range(count):
        low, high = rng.choice(parts)
        letters = [
            chr(rng.randrange(low, high))
            if rng.random() < 0.6
            else rng.choice(" aZ\u03a3.")
            for _ in range(rng.randrange(50))
        ]
        texts.append("".join(letters))
    return texts


def expected(vocab: list[str], settings: config.TokenizerConfig, texts: list[str]):
    encodings = hugging_face(vocab, settings).encode_batch(
        texts, add_special_tokens=False
    )
    return [encoding.ids for encoding in encodings]


@pytest.fixture(scope="module", params=ALL_CONFIGS, ids=str)
def case(request):
    """Settings, texts of every kind, a vocabulary, and Hugging Face's answer."""
    texts = [*NASTY.values(), *random_texts(1500)]
    vocab = vocab_with(texts, request.param)
    return request.param, texts, vocab, expected(vocab, request.param, texts)


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
    vocab = [*tokenizer.SPECIAL_TOKENS, "film", "cafe", "##s", "!", "\u4f60"]
    encoder = tokenizer.Encoder(vocab, UNCASED)
    text = "FI\x00LM\u4f60 \U0001f600 CAF\u00c9S!"
    ids, offsets = encoder.encode_with_offsets(text)
    words = "film \u4f60 [UNK] cafe ##s !".split()
    assert [vocab[i] for i in ids] == words
    places = [text[start:end] for start, end in offsets]
    assert places == ["FI\x00LM", "\u4f60", "\U0001f600", "CAF\u00c9", "S", "!"]


def test_the_graph_tokenizer_equals_hugging_face(case):
    settings, texts, vocab, want = case
    tokenize = tf.function(tokenizer.GraphTokenizer(vocab, settings))
    for text, found, ids in zip(
        texts, tokenize(tf.constant(texts)).to_list(), want, strict=True
    ):
        assert found == ids, ascii(text)


def test_the_texts_show_most_of_what_they_hold(case):
    _, _, vocab, want = case
    ids = [i for row in want for i in row]
    assert 0.01 < ids.count(vocab.index("[UNK]")) / len(ids) < 0.5
    assert len(set(ids)) > 1000


def test_the_one_known_difference_is_the_order_of_marks_that_are_kept():
    # Two musical marks in the order that Unicode does not call canonical.
    flag, stem = "\U0001d16d", "\U0001d165"
    vocab = [*tokenizer.SPECIAL_TOKENS, "x", f"##{flag}", f"##{stem}"]
    text = "x" + flag + stem
    found = tokenizer.GraphTokenizer(vocab, UNCASED)(tf.constant([text])).to_list()
    assert found == [[5, 6, 7]]
    assert tokenizer.Encoder(vocab, UNCASED).encode(text).tolist() == [5, 7, 6]


def test_tokens_of_the_graph_stand_for_the_characters_that_hugging_face_says(case):
    settings, texts, vocab, _ = case
    encode = tf.function(tokenizer.GraphTokenizer(vocab, settings).encode_with_offsets)
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


def test_bytes_that_are_not_utf8_are_dropped_in_the_graph():
    vocab = [*tokenizer.SPECIAL_TOKENS, "film"]
    tokenize = tokenizer.GraphTokenizer(vocab, UNCASED)
    assert tokenize(tf.constant([b"fi\xfflm", b"\xc3"])).to_list() == [[5], []]


def test_a_saved_graph_tokenizer_answers_as_before(tmp_path):
    vocab = vocab_with(list(NASTY.values()), UNCASED)
    module = tf.Module()
    module.tokenize = tf.function(
        tokenizer.GraphTokenizer(vocab, UNCASED),
        input_signature=[tf.TensorSpec([None], tf.string)],
    )
    tf.saved_model.save(module, str(tmp_path))
    texts = list(NASTY.values())
    found = tf.saved_model.load(str(tmp_path)).tokenize(tf.constant(texts)).to_list()
    assert found == expected(vocab, UNCASED, texts)


def test_an_encoder_whose_memory_is_full_still_answers(monkeypatch):
    monkeypatch.setattr(tokenizer, "_MAX_REMEMBERED", 3)
    vocab = vocab_with(list(NASTY.values()), UNCASED)
    encoder = tokenizer.Encoder(vocab, UNCASED)
    found = [encoder.encode(text).tolist() for text in NASTY.values()]
    assert found == expected(vocab, UNCASED, list(NASTY.values()))


def test_a_document_keeps_its_sentence_lengths_and_loses_empty_ones():
    vocab = [*tokenizer.SPECIAL_TOKENS, *WORDS]
    document = tokenizer.Encoder(vocab, UNCASED).encode_document(
        ["good film", "\x00\ufffd", "unable!"]
    )
    tokens = [vocab[i] for i in document.token_ids]
    assert tokens == ["good", "film", "un", "##able", "!"]
    assert document.sentence_lengths == [2, 3]


def test_neither_tensorflow_nor_its_text_ops_load_with_the_encoder():
    code = (
        "import sys; from electra_tf import tokenizer; "
        "sys.exit(any(m.startswith('tensorflow') for m in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


TEXTS = [
    "The lowest of the low, lower than lowly; the newest of the new!",
    "Newer and newest, wider and widest: \u4f60\u597d \u4e16\u754c \u4f60\u597d.",
    "\u00c9t\u00e9 \u00e9t\u00e9 d\u00e9j\u00e0 newest lowest widest the the",
]


def test_a_trained_vocabulary_is_valid_and_as_large_as_asked_for():
    tokens = tokenizer.train_vocab(TEXTS * 3, 57, UNCASED)
    tokenizer.check_vocab(tokens, "trained")
    assert tokens[:5] == list(tokenizer.SPECIAL_TOKENS)
    assert len(tokens) == 57


def test_training_learns_the_words_of_the_text_as_the_settings_cut_them():
    assert {"newest", "ete", "the"} < set(
        tokenizer.train_vocab(TEXTS * 3, 997, UNCASED)
    )
    assert {"\u00e9t\u00e9"} < set(tokenizer.train_vocab(TEXTS * 3, 997, CASED))


def test_the_same_text_trains_the_same_vocabulary():
    texts = random_texts(300) + TEXTS
    first = tokenizer.train_vocab(texts, 2000, UNCASED)
    assert all(tokenizer.train_vocab(texts, 2000, UNCASED) == first for _ in range(3))


def test_a_vocabulary_knows_nearly_all_of_the_text_it_was_trained_on():
    rng = random.Random(3)
    # 1,500 characters: more than the library keeps unless told.
    texts = [
        "".join(chr(rng.randrange(0x4E00, 0x53DC)) for _ in range(200))
        for _ in range(200)
    ]
    tokens = tokenizer.train_vocab(texts, 8000, UNCASED)
    ids = [i for text in texts for i in tokenizer.Encoder(tokens, UNCASED).encode(text)]
    assert len(ids) == 40_000
    assert ids.count(tokens.index("[UNK]")) / len(ids) < 0.001


def test_a_vocabulary_is_read_as_it_was_written(tmp_path):
    tokens = [*tokenizer.SPECIAL_TOKENS, "caf\u00e9", "\u2028", "##\u4f60"]
    tokens.remove("\u2028")  # A blank token is none.
    tokenizer.write_vocab(tmp_path / "vocab.txt", tokens)
    assert tokenizer.read_vocab(tmp_path / "vocab.txt") == tokens


def test_a_vocabulary_with_windows_line_ends_is_the_same(tmp_path):
    file = tmp_path / "vocab.txt"
    file.write_bytes("\r\n".join([*tokenizer.SPECIAL_TOKENS, "film", ""]).encode())
    assert tokenizer.read_vocab(file) == [*tokenizer.SPECIAL_TOKENS, "film"]


def test_the_hash_tells_vocabularies_apart():
    assert tokenizer.vocab_hash(["a", "b"]) == tokenizer.vocab_hash(["a", "b"])
    hashes = {tokenizer.vocab_hash(v) for v in (["a", "b"], ["b", "a"], ["ab"], ["a"])}
    assert len(hashes) == 4


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("[PAD] [UNK] [CLS] [SEP] film", r"has no \[MASK\]"),
        (
            "[PAD] [UNK] [CLS] [SEP] [MASK] film good film",
            "'film' stands twice.* 6 and 8",
        ),
        ("film [PAD] [UNK] [CLS] [SEP] [MASK]", r"first token is 'film', want \[PAD\]"),
        ("[PAD] [UNK] [CLS] [SEP] [MASK]  film", "line 6 is empty"),
    ],
)
def test_a_bad_vocabulary_is_refused_by_name(tmp_path, lines, message):
    file = tmp_path / "vocab.txt"
    file.write_text(lines.replace(" ", "\n") + "\n")
    with pytest.raises(errors.UserError, match=message) as error:
        tokenizer.read_vocab(file)
    assert str(file) in str(error.value)


def test_a_vocabulary_that_is_not_there_or_not_text_is_refused(tmp_path):
    with pytest.raises(errors.UserError, match="cannot read vocabulary"):
        tokenizer.read_vocab(tmp_path / "none.txt")
    (tmp_path / "model.bin").write_bytes(b"[PAD]\n\xff")
    with pytest.raises(errors.UserError, match="not UTF-8 at byte 6"):
        tokenizer.read_vocab(tmp_path / "model.bin")
