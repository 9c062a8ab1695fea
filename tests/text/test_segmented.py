"""Blanks mark the words of text whose tokens do not tell them."""

import pytest

from electra_tf import config
from electra_tf.text import segmented, tokenizer, vocabularies

ME, LIKE, LIKE_2, EAT, APPLE, APPLE_2 = "\u6211\u559c\u6b22\u5403\u82f9\u679c"
STOP = "\u3002"
TOKENS = [*vocabularies.SPECIAL_TOKENS, ME, LIKE, LIKE_2, EAT, APPLE, APPLE_2]
TOKENS += [STOP, "a", "b", "##b", "'"]


def mark(*sentences):
    """Returns tokens, "+" before those that continue a word; how many are in none."""
    encoder = tokenizer.Encoder(TOKENS, config.TokenizerConfig())
    plain = encoder.encode_document(sentences).token_ids
    marked, num_long = segmented.Marker(TOKENS, encoder).mark(plain, sentences)
    assert (marked % len(TOKENS)).tolist() == plain.tolist()
    said = ["+" * int(i >= len(TOKENS)) + TOKENS[i % len(TOKENS)] for i in marked]
    return said, num_long


def test_tokens_between_two_blanks_are_a_word():
    line = f"{ME} {LIKE}{LIKE_2} {EAT}  {APPLE}{APPLE_2} {STOP}"
    words = [ME, LIKE, f"+{LIKE_2}", EAT, APPLE, f"+{APPLE_2}", STOP]
    assert mark(line) == (words, 0)


def test_every_sentence_and_wide_blanks_begin_a_word():
    said, _ = mark(f"{ME}", f"{LIKE}{LIKE_2}\u3000{EAT}", " ")
    assert said == [ME, LIKE, f"+{LIKE_2}", EAT]


def test_punctuation_stands_alone_even_where_no_blank_says_so():
    assert mark(f"{APPLE}{APPLE_2}{STOP}{ME}")[0] == [APPLE, f"+{APPLE_2}", STOP, ME]
    assert mark("a'b")[0] == ["a", "'", "b"]


def test_letters_and_ideographs_without_a_blank_are_one_word():
    assert mark(f"ab{EAT} a")[0] == ["a", "##b", f"+{EAT}", "a"]


@pytest.mark.parametrize(("length", "num_long"), [(12, 0), (13, 13)])
def test_what_is_too_long_for_a_word_is_none(length, num_long):
    said, found = mark(ME * length)
    assert said == [ME, *[ME if num_long else f"+{ME}"] * (length - 1)]
    assert found == num_long


def test_spaces_that_the_tokenizer_drops_leave_a_document_unmarked():
    # U+0085 is a space to Python; the tokenizer drops it and reads "ab".
    assert mark(f"{LIKE}{LIKE_2} a\u0085b")[0] == [LIKE, LIKE_2, "a", "##b"]


def test_the_ids_of_twice_the_vocabulary_continue_a_word_or_not():
    continues = vocabularies.continues(TOKENS)
    assert len(continues) == 2 * len(TOKENS)
    assert [i for i, said in enumerate(continues[: len(TOKENS)]) if said] == [14]
    assert all(continues[len(TOKENS) :])
