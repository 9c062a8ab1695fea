import pytest

from electra_tf.datasets import dataset, extracts, text_metrics


def split_of(inputs, labels):
    return dataset.Split([*map(str, range(len(inputs)))], inputs, labels, "it")


INPUTS = [["The cats sat.", "A dog ran.", "Birds fly."], ["One.", "Two."], []]
LABELS = [
    dataset.Extract([1, 0, 1], "The cat sat.\nA bird flew."),
    dataset.Extract([0, 0], "Two."),
    dataset.Extract([], "Nothing."),
]
SAID = [
    extracts.Scored([0.9, 0.6, 0.2], [0, 1]),
    extracts.Scored([0.1, 0.7], [1]),
    extracts.Scored([], []),
]


def rouge(texts, references):
    right = [[one] for one in references]
    return text_metrics.rouge(texts, right, extracts.ROUGE, stems=True)


def test_each_number_is_as_by_hand():
    found = extracts.score(SAID, split_of(INPUTS, LABELS))
    # Marked are the first and the third of the first document alone.
    assert found["average_precision"] == pytest.approx((1 + 2 / 3) / 2)
    assert found["precision_at_k"] == pytest.approx((1 / 2 + 0) / 2)
    # Three have a score of a half; of two that are marked, one.
    assert found["f1"] == pytest.approx(2 * 1 / (3 + 2))
    # "the cat sat a dog ran" beside "the cat sat a bird flew": four of six words.
    assert found["rouge1"] == pytest.approx((4 / 6 + 1 + 0) / 3)
    assert found["rouge2"] == pytest.approx((3 / 5 + 0 + 0) / 3)


def test_without_summaries_there_is_no_rouge_and_of_nothing_all_is_0():
    bare = [label._replace(summary="") for label in LABELS]
    assert set(extracts.score(SAID, split_of(INPUTS, bare))) == {
        "average_precision",
        "precision_at_k",
        "f1",
    }
    assert set(extracts.score([], split_of([], [])).values()) == {0.0}


def test_rouge_knows_words_of_all_scripts():
    chinese = rouge(["\u5317\u4eac\u5f88\u5927"], ["\u5317\u4eac\u5927"])
    assert chinese["rouge1"] == pytest.approx(2 * 3 / 7)
    hindi = rouge(
        ["\u0939\u093f\u0902\u0926\u0940 \u0939\u0948"],
        ["\u0939\u093f\u0902\u0926\u0940"],
    )
    assert hindi["rouge1"] == pytest.approx(2 / 3)
    english = rouge(["running dogs"], ["run dog"])  # Stemmed.
    assert english["rougeLsum"] == 1.0


def test_rouge_of_english_is_that_of_the_library():
    from rouge_score import rouge_scorer

    texts = "It's 3.5 times as fast (on two cores)!\nWe're glad, sort-of."
    right = "It is three times faster.\nOur two cores are glad."
    theirs = rouge_scorer.RougeScorer(list(extracts.ROUGE), use_stemmer=True)
    wanted = theirs.score(right, texts)
    found = rouge([texts], [right])
    for name in extracts.ROUGE:
        assert found[name] == pytest.approx(wanted[name].fmeasure)
