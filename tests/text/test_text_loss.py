"""What a build says of text that its tokens do not hold."""

import pytest

from electra_tf import config
from electra_tf.text import text_loss, tokenizer, vocabularies

UNCASED = config.TokenizerConfig()
CASED = config.TokenizerConfig(lowercase=False)
VOCAB = [*vocabularies.SPECIAL_TOKENS, "film", "good", "x", "##x", "e", "ete"]


def total(documents, settings=UNCASED, vocab=VOCAB, rate=1.0):
    encoder = tokenizer.Encoder(vocab, settings)
    finder = text_loss.Finder(settings, rate)
    found = text_loss.Total()
    for sentences in documents:
        ids, _, _, unknown = encoder.encode_document(sentences)
        found.add(len(ids), int((ids == 1).sum()), finder.find(sentences, unknown))
    return found


def warnings(documents, settings=UNCASED, vocab=VOCAB, *, trained=False):
    return list(
        total(documents, settings, vocab).warnings(vocab, settings, trained=trained)
    )


def test_text_that_is_known_loses_nothing():
    found = total([["a good film"[2:], "film"], ["x" * 100]])
    assert (found.unk_rate, found.lost_rate, found.marked_rate) == (0, 0, 0)
    assert found.characters == 8 + 4 + 100
    assert found.lost_words == ()
    assert warnings([["film"]]) == []


def test_a_long_word_counts_by_its_characters():
    found = total([["good film " + "x" * 150, "film none"]])
    # 4 tokens, [UNK] for 150 characters, [UNK] for "none".
    assert found.unk_rate == pytest.approx(151 / 154)
    assert found.lost_rate == pytest.approx(154 / (8 + 150 + 8))
    assert found.num_tokens == 5
    assert found.lost_words == ("x" * 20 + "...", "none")


def test_a_word_that_grows_over_the_limit_is_long():
    found = total([["\ud55c" * 34]])  # 3 letters each once they are taken apart
    assert found.in_long_words == 34


@pytest.mark.parametrize(
    ("text", "settings", "trained", "message"),
    [
        ("film " + "x" * 101, UNCASED, True, "words of over 100 characters.* cut it"),
        ("Film GOOD x", CASED, False, r"known with --set tokenizer.lowercase=true"),
        (
            "\u00e9t\u00e9 film",
            config.TokenizerConfig(strip_accents=False),
            False,
            r"known with --set tokenizer.strip_accents=true",
        ),
        ("film \u4f60 q", UNCASED, False, r"lacks '\u4f60', 'q': is it of this lang"),
        ("film \u4f60", UNCASED, True, r"too small to hold '\u4f60': see --vocab_size"),
    ],
)
def test_the_cause_is_named(text, settings, trained, message):
    (line,) = warnings([[text]], settings, trained=trained)
    assert "of the characters are lost in them, such as '" in line
    pytest.raises(ValueError, match=message).matches(ValueError(line))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\u092f\u0939 \u0915\u0941\u091b", "'\u0915\u0941\u091b' is '\u0915\u091b'"),
        (
            "\u0e19\u0e49\u0e33 \u0e44\u0e21\u0e48",
            "'\u0e19\u0e49\u0e33' is '\u0e19\u0e33'",
        ),
        ("M\u1ea1 ma", "'M\u1ea1' is 'ma'"),
        ("\u304b\u304e", "'\u304b\u304e' is '\u304b\u304d'"),
    ],
)
def test_marks_that_are_stripped_are_told_with_the_setting_that_keeps_them(text, shown):
    vocab = [*VOCAB, *(c for c in tokenizer.normalizer(UNCASED).normalize_str(text))]
    vocab += [f"##{c}" for c in vocab[5:] if len(c) == 1 and c != "x"]
    line = warnings([[text]], vocab=list(dict.fromkeys(vocab)))[-1]
    assert shown in line
    assert "--set tokenizer.strip_accents=false, with a vocabulary" in line
    kept = config.TokenizerConfig(strip_accents=False)
    assert total([[text]], kept, vocab).marked_rate == 0


def test_hangul_and_english_lose_no_marks_to_speak_of():
    assert total([["\ud55c\uad6d\uc5b4"]]).marked_rate == 0
    text = ["film " * 200, "caf\u00e9"]
    assert 0 < total([text]).marked_rate < 0.01
    assert not any("lose a mark" in line for line in warnings([text]))


def test_marks_are_looked_for_in_the_share_of_documents_that_is_asked_for():
    documents = [[f"{i} M\u1ea1"] for i in range(400)]
    looked_at = total(documents, rate=0.25).looked_at
    assert looked_at / total(documents).looked_at == pytest.approx(0.25, abs=0.1)
    assert total(documents, rate=0.0).marked_rate == 0


def test_what_is_remembered_of_a_large_corpus_stays_small(monkeypatch):
    monkeypatch.setattr(text_loss, "_REMEMBERED", 30)
    found = total([[f"q{i}", "M\u1ea1"] for i in range(200)])
    assert len(found.words) <= 30 + text_loss._KEPT
    assert len(found.marked_words) <= 2 * text_loss._SHOWN
    assert found.lost_rate > 0.5
