"""Sentences end where readers of a language end them, and no character is lost."""

import pytest

from electra_tf.text import sentences


def texts_of(text):
    return [sentence.text for sentence in sentences.split(text)]


# Sentences that stand beside each other are written with a bar between them.
CASES = {
    "a point, a question, a call": "It works. | Does it? | It does!",
    "titles": "Dr. Smith met Mrs. Jones. | They spoke.",
    "initials": "J. R. R. Tolkien wrote it. | C. S. Lewis read it.",
    "a letter that is no initial": "It has vitamin C. | The rest is water.",
    "decimals, versions, addresses": "Pi is 3.14 in v2.0. | See example.com. | Good.",
    "short forms within": "Fruit, e.g. Apples, i.e. these, cf. Fig. 3 and Eq. 4. | "
    "Yes.",
    "short forms that may end": "I live in the U.S. | The U.S. Senate met at 5 "
    "p.m. | He came.",
    "a number, and the word no": "See no. 5 now. | I said no. | He left.",
    "references": "Smith et al. found it. | As did (Jones et al. 1990). | Good.",
    "brackets are kept whole": "It works (see below. Really.) and more. | (He "
    "left.) | So did she.",
    "quotes are kept whole": 'He said "I am here. You are there." | Then he left.',
    "who said it stays": '"What?" he asked. | "Go!" she said. | So he went.',
    "curved quotes": "\u201cIt is. It was.\u201d | She nodded.",
    "ellipses": "Well... maybe not. | Wait... | What\u2026 | No!",
    "names with marks": "Yahoo! is a company. | It sells ads.",
    "blanks that are missing": "Great!The film was bad?Yes. | No.",
    "no capitals at all": "what? | no way. | i think so.",
    "text cut into tokens": "We show it . | Results et al . ( 2007 ) are good . | "
    "We won .",
    "German": "Am 3. Mai kam er z.B. nach Berlin. | Nr. 5 lebt ca. 20 Jahre. | Gut.",
    "French": "M. Dupont est l\u00e0. | \u00ab Oui. Non. \u00bb | Il part.",
    "Spanish": "\u00bfQu\u00e9 tal? | \u00a1Bien! | La Sra. P\u00e9rez vive.",
    "Greek": "\u03a4\u03b9 \u03ba\u03ac\u03bd\u03b5\u03b9\u03c2; | "
    "\u039a\u03b1\u03bb\u03ac.",
    "Russian": (
        "\u0410. \u0421. \u041f\u0443\u0448\u043a\u0438\u043d, \u0442.\u0435. "
        "\u043f\u043e"
        "\u044d\u0442, \u0440\u043e\u0434\u0438\u043b\u0441\u044f \u0432 1799 "
        "\u0433. \u0432 "
        "\u041c\u043e\u0441\u043a\u0432\u0435. | \u041e\u043d \u0443\u043c\u0435\u0440."
    ),
    "Chinese": (
        "\u5929\u6c14\u5f88\u597d\u3002|\u4f60\u53bb\u5417\uff1f\uff01|\u4ed6\u8bf4"
        "\uff1a\u201c"
        "\u597d\u3002\u8d70\u5427\u3002\u201d|\u8d70\u4e86!|\u597d\u3002"
    ),
    "Japanese": "\u672c\u3067\u3059\u3002|\u300c\u306f\u3044\u3002\u884c\u304f"
    "\u3002\u300d|\u3046\u3093\uff61|\u306f\u3044",
    "Korean": "\uc548\ub155\ud558\uc138\uc694. | \ubc18\uac11\uc2b5\ub2c8\ub2e4!",
    "Hindi": "\u092f\u0939 \u0939\u0948\u0964 | \u0935\u0939 \u0939\u0948\u0965 | "
    "\u0915\u094d\u092f\u093e?",
    "Arabic": "\u0643\u064a\u0641 \u062d\u0627\u0644\u0643\u061f | "
    "\u0623\u0646\u0627 \u0628\u062e\u064a\u0631. | \u0634\u0643\u0631\u0627!",
    "Urdu": "\u06cc\u06c1 \u06c1\u06d2\u06d4 | \u0648\u06c1 \u06c1\u06d2\u06d4",
    "Hebrew": "\u05e9\u05dc\u05d5\u05dd. | \u05de\u05d4 \u05e0\u05e9\u05de\u05e2?",
    "Amharic": "\u1230\u120b\u121d\u1362 | \u12f0\u1205\u1293\u1367",
    "Burmese": "\u1019\u1004\u103a\u1039\u104b | \u1000\u102c\u104b",
    "emoji": "Fine! | \U0001f600 Next one.",
}


@pytest.mark.parametrize("case", CASES)
def test_sentences_end_where_a_reader_would_end_them(case):
    bar = "|" if " | " not in CASES[case] else " | "
    expected = CASES[case].split(bar)
    if case == "blanks that are missing":
        expected = ["Great!", "The film was bad?", "Yes.", "No."]
    assert texts_of(CASES[case].replace(bar, bar.strip("|")[:1])) == expected


def test_lines_go_on_where_they_were_cut_and_end_where_they_were_not():
    text = """A heading

This is a paragraph that was wrapped at some
width as mail is, and it says in the City of
London what it says. It goes
on, not ending. Here.

- first item
- second. Two of it
1. number one. More
a) letter
Last words"""
    assert texts_of(text) == [
        "A heading",
        "This is a paragraph that was wrapped at some width as mail is, and it says in "
        "the City of London what it says.",
        "It goes on, not ending.",
        "Here.",
        "- first item",
        "- second.",
        "Two of it",
        "1. number one.",
        "More",
        "a) letter",
        "Last words",
    ]
    assert texts_of("One\r\nTwo\rThree\u2028Four") == ["One", "Two", "Three", "Four"]
    # Ideographs have no blank where a line was cut.
    assert texts_of("\u4eca\u5929\uff0c\n\u5f88\u597d\u3002") == [
        "\u4eca\u5929\uff0c\u5f88\u597d\u3002"
    ]


def test_scripts_without_marks_end_at_blanks_and_what_has_no_end_is_cut():
    thai = "\u0e2a\u0e27\u0e31\u0e2a\u0e14\u0e35\u0e04\u0e23\u0e31\u0e1a"
    found = texts_of(" ".join([thai] * 30))
    assert len(found) == 5
    assert all(60 <= len(one) <= 70 for one in found)
    assert [len(one) for one in texts_of("x" * 1500)] == [600, 600, 300]
    words = texts_of("word " * 400)
    assert len(words) == 4
    assert all(one.split() == ["word"] * len(one.split()) for one in words)
    # An accent stays with its letter, wherever text is cut.
    for shift in (0, 1):
        accents = "b" * shift + "a\u0301" * 600
        for one in sentences.split(accents):
            assert one.text[0] != "\u0301"


@pytest.mark.parametrize("text", ["", "  \n\t ", "\u3000\u00a0"])
def test_blank_texts_have_no_sentences(text):
    assert sentences.split(text) == []


@pytest.mark.parametrize(
    "text",
    [
        *(case.replace("|", "\n ") for case in CASES.values()),
        "...", "?!", ")", "\ud83d half. B.", "( ( a. b) \" c. d", "\x00. A.", "a" * 700,
    ],
)  # fmt: skip
def test_no_character_is_lost_and_places_are_in_order(text):
    found = sentences.split(text)
    outside, end = "", 0
    for one in found:
        assert one.start >= end
        assert text[one.start : one.end].split() == one.text.split() or "\n" in text
        outside += text[end : one.start]
        end = one.end
    assert not (outside + text[end:]).strip()
    assert all(one.text for one in found)


@pytest.mark.parametrize(
    "piece",
    ["(", "( ", '" ', "\u201c", ". ", ".", " \n", "\n", " ", "a. ", "(a", "- a\n"],
)
def test_hostile_texts_take_time_in_proportion(piece):
    # Quadratic work would be 10,000 times as much, and not end.
    assert len(sentences.spans(piece * 20_000)) <= 20_000


def test_sentences_are_put_together_as_they_are_written():
    assert sentences.joined(["A cat.", "A dog."]) == "A cat. A dog."
    assert (
        sentences.joined(["\u597d\u3002", "\u8d70\u3002"]) == "\u597d\u3002\u8d70\u3002"
    )
    assert sentences.joined([]) == ""
