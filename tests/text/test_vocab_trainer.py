"""The vocabulary that is learned: as large as asked for, the same every time."""

import random

import wordpiece

from electra_tf.text import tokenizer, vocab_trainer, vocabularies

UNCASED, CASED = wordpiece.UNCASED, wordpiece.CASED

TEXTS = [
    "The lowest of the low, lower than lowly; the newest of the new!",
    "Newer and newest, wider and widest: \u4f60\u597d \u4e16\u754c \u4f60\u597d.",
    "\u00c9t\u00e9 \u00e9t\u00e9 d\u00e9j\u00e0 newest lowest widest the the",
]


def test_a_trained_vocabulary_is_valid_and_as_large_as_asked_for():
    tokens = vocab_trainer.train(TEXTS * 3, 57, UNCASED)
    vocabularies.check(tokens, "trained")
    assert tokens[:5] == list(vocabularies.SPECIAL_TOKENS)
    assert len(tokens) == 57


def test_training_learns_the_words_of_the_text_as_the_settings_cut_them():
    assert {"newest", "ete", "the"} < set(vocab_trainer.train(TEXTS * 3, 997, UNCASED))
    assert {"\u00e9t\u00e9"} < set(vocab_trainer.train(TEXTS * 3, 997, CASED))


def test_the_same_text_trains_the_same_vocabulary():
    texts = wordpiece.random_texts(300) + TEXTS
    first = vocab_trainer.train(texts, 2000, UNCASED)
    assert all(vocab_trainer.train(texts, 2000, UNCASED) == first for _ in range(3))


def test_a_vocabulary_knows_nearly_all_of_the_text_it_was_trained_on():
    rng = random.Random(3)
    # 1,500 characters: more than the library keeps unless told.
    texts = [
        "".join(chr(rng.randrange(0x4E00, 0x53DC)) for _ in range(200))
        for _ in range(200)
    ]
    tokens = vocab_trainer.train(texts, 8000, UNCASED)
    ids = [i for text in texts for i in tokenizer.Encoder(tokens, UNCASED).encode(text)]
    assert len(ids) == 40_000
    assert ids.count(tokens.index("[UNK]")) / len(ids) < 0.001


def test_characters_that_stand_alone_take_one_place_each():
    rng = random.Random(4)
    # 900 ideographs, of which split_cjk makes words, and hardly anything else.
    texts = [
        "".join(chr(rng.randrange(0x4E00, 0x5184)) for _ in range(90)) + " film x1"
        for _ in range(300)
    ]
    tokens = vocab_trainer.train(texts, 600, UNCASED)
    assert len(tokens) == 600
    assert sum("\u4e00" <= token <= "\u9fff" for token in tokens) > 560
    assert not any(token.startswith("##") for token in tokens if token[-1] > "z")
    tokens = vocab_trainer.train(texts, 997, UNCASED)
    ids = [i for text in texts for i in tokenizer.Encoder(tokens, UNCASED).encode(text)]
    assert ids.count(tokens.index("[UNK]")) == 0
    inside = vocab_trainer.train(texts, 997, wordpiece.WITHOUT_CJK)
    assert any(token.startswith("##") for token in inside if token[-1] > "z")


def test_places_that_nothing_recurring_takes_go_to_the_rarest_characters():
    texts = ["the film " * 50_000, *(f"x{chr(c)}" for c in range(0x400, 0x410))]
    settings = wordpiece.UNCASED_WITH_ACCENTS
    tokens = vocab_trainer.train(texts, 200, settings)
    ids = tokenizer.Encoder(tokens, settings).encode(" ".join(texts[1:]))
    assert tokens.index("[UNK]") not in ids
    few = vocab_trainer.train(texts, 31, settings)  # Two for each
    assert len(few) == 31
