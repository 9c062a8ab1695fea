"""Texts that were written, measured as others measure them."""

import pytest
import sacrebleu
from rouge_score import rouge_scorer

from electra_tf.datasets import text_metrics

TEXTS = [
    "The cat sat on the mat.",
    "It is a guide to action, which ensures that it is obeyed.",
    "Nothing of it",
]
RIGHT = [
    ["The cat is on the mat."],
    ["It is a guide to action that ensures obedience."],
    ["Something else entirely; really"],
]


def test_bleu_and_chrf_are_sacrebleus():
    found = text_metrics.measure(TEXTS, RIGHT)
    streams = [[one[0] for one in RIGHT]]
    bleu = sacrebleu.corpus_bleu(TEXTS, streams).score
    chrf = sacrebleu.corpus_chrf(TEXTS, streams).score
    assert found.scores["bleu"] == pytest.approx(bleu)
    assert 10 < bleu < 90
    assert found.scores["chrf"] == pytest.approx(chrf)
    assert "tok:13a" in found.signatures["bleu"]
    assert "nc:6" in found.signatures["chrf"]


def test_english_rouge_is_rouge_scores():
    names = ["rouge1", "rouge2", "rougeL"]
    scorer = rouge_scorer.RougeScorer(names)
    found = text_metrics.measure(TEXTS, RIGHT).scores
    for name in names:
        parts = [
            scorer.score(right[0], text)[name].fmeasure
            for text, right in zip(TEXTS, RIGHT, strict=True)
        ]
        assert found[name] == pytest.approx(100 * sum(parts) / len(parts))


def test_the_last_rouge_takes_sentence_by_sentence():
    one, other = "A b c. D e f!", "D e f! A b c."
    found = text_metrics.measure([one], [[other]]).scores
    assert found["rougeLsum"] == pytest.approx(100)
    assert found["rougeL"] == pytest.approx(50)


def test_the_nearest_of_several_references_counts():
    both = [[right[0], text] for text, right in zip(TEXTS, RIGHT, strict=True)]
    both[0] = both[0][::-1]
    both.append(["only one"])  # Others have more.
    found = text_metrics.measure([*TEXTS, "only one"], both)
    assert all(value == pytest.approx(100) for value in found.scores.values())
    assert "nrefs:var" in found.signatures["bleu"]


@pytest.mark.parametrize(
    ("text", "tokenizer"),
    [
        ("\u6211\u559c\u6b22\u5403\u82f9\u679c\u3002", "zh"),
        ("\u6771\u4eac\u3078\u884c\u304d\u307e\u3057\u305f\u3002", "char"),
        ("\u0e2a\u0e27\u0e31\u0e2a\u0e14\u0e35", "char"),
        ("\u041f\u0440\u0438\u0432\u0435\u0442, \u043c\u0438\u0440!", "13a"),
        ("\u0646\u0635 \u0639\u0631\u0628\u064a", "13a"),
        ("\u0939\u093f\u0928\u094d\u0926\u0940 \u092d\u093e\u0937\u093e", "13a"),
    ],
)
def test_no_script_is_dropped(text, tokenizer):
    found = text_metrics.measure([text], [[text]])
    for name in ("rouge1", "rougeL", "chrf"):
        assert found.scores[name] == pytest.approx(100)
    assert f"tok:{tokenizer}" in found.signatures["bleu"]
    other = text_metrics.measure([text[: len(text) // 2]], [[text]]).scores
    assert 0 < other["rouge1"] < 100 or " " in text


def test_letters_without_blanks_count_one_by_one_and_marks_stay_on_theirs():
    cut = text_metrics.Words().tokenize
    assert cut("\u82f9\u679c BERT-2") == ["\u82f9", "\u679c", "bert", "2"]
    assert cut("\u0939\u093f\u0928\u094d\u0926\u0940") == [
        "\u0939\u093f\u0928\u094d\u0926\u0940"
    ]


def test_of_no_texts_and_of_empty_ones_all_is_nothing():
    assert {*text_metrics.measure([], []).scores.values()} == {0.0}
    found = text_metrics.measure([""], [["a word"]]).scores
    assert found == dict.fromkeys(text_metrics.NAMES, 0.0)
    assert text_metrics.chrf_of("a word", ["no", "a word"]) == pytest.approx(100)
