"""Measures against values worked by hand, and where they would divide by zero."""

import math
import random

import numpy as np
import pytest
from sklearn import metrics as sklearn_metrics

from electra_tf.datasets import metrics

# Six right of nine; of class 1: 3 hits, 5 said, 4 there.
GOLD = list("111100000")
SAID = list("111011000")


def test_accuracy_and_f1_are_as_by_hand():
    assert metrics.accuracy(GOLD, SAID) == pytest.approx(6 / 9)
    assert metrics.f1(GOLD, SAID) == pytest.approx(2 * 3 / (5 + 4))
    assert metrics.f1(GOLD, SAID, positive="0") == pytest.approx(2 * 3 / (4 + 5))


def test_macro_f1_is_the_mean_over_the_classes_there_are():
    # a: 1 of 1 said, 2 there; b: 1 of 2 said, 1 there; c was never said.
    assert metrics.macro_f1(list("aabc"), list("abba")) == pytest.approx(
        np.mean([2 / 4, 2 / 3, 0])
    )


def test_sets_of_classes_are_scored_as_scikit_learn_does():
    gold = [["a", "b"], [], ["c"], ["a"]]
    said = [["b", "a"], ["a"], ["a", "c"], []]
    found = metrics.multi_label(gold, said)
    hot = [
        np.array([[c in some for c in "abc"] for some in rows]) for rows in (gold, said)
    ]
    for average in ("micro", "macro"):
        want = sklearn_metrics.f1_score(*hot, average=average)
        assert found[f"{average}_f1"] == pytest.approx(want)
    assert found["subset_accuracy"] == 0.25
    by_class = metrics.multi_label_f1(gold, said)
    assert by_class["a"] == {
        "precision": pytest.approx(1 / 3),
        "recall": 0.5,
        "f1": pytest.approx(0.4),
        "count": 2.0,
    }
    assert metrics.multi_label([], []) == {
        "micro_f1": 0.0,
        "macro_f1": 0.0,
        "subset_accuracy": 0.0,
    }


def test_a_class_that_is_never_said_counts_against_both_averages():
    found = metrics.multi_label([["a"], ["a", "b"]], [["a"], ["a"]])
    assert found["micro_f1"] == pytest.approx(2 * 2 / (2 + 3))
    assert found["macro_f1"] == 0.5
    by_class = metrics.multi_label_f1([["a"], ["a", "b"]], [["a"], ["a"]])
    assert by_class["b"] == {"precision": 0.0, "recall": 0.0, "f1": 0.0, "count": 1.0}


def test_matthews_is_as_by_hand():
    hits, false, missed, rest = 3, 2, 1, 3
    by_hand = (hits * rest - false * missed) / math.sqrt(
        (hits + false) * (hits + missed) * (rest + false) * (rest + missed)
    )
    assert metrics.matthews(GOLD, SAID) == pytest.approx(by_hand)
    assert metrics.matthews(GOLD, GOLD) == pytest.approx(1)


def test_a_confusion_matrix_has_gold_as_its_rows():
    counts = metrics.confusion_matrix(list("aabbb"), list("abbbc"), list("abcd"))
    assert counts.tolist() == [[1, 1, 0, 0], [0, 2, 1, 0], [0] * 4, [0] * 4]


def test_correlations_are_as_by_hand():
    gold, said = [1.0, 2.0, 3.0, 4.0], [1.0, 3.0, 2.0, 30.0]
    # Ranks 1 3 2 4: 1 - 6 * (0 + 1 + 1 + 0) / (4 * 15).
    assert metrics.spearman(gold, said) == pytest.approx(0.8)
    # Around the means: (-1.5, -0.5, 0.5, 1.5) and (-8, -6, -7, 21).
    by_hand = (12 + 3 - 3.5 + 31.5) / math.sqrt(5 * (64 + 36 + 49 + 441))
    assert metrics.pearson(gold, said) == pytest.approx(by_hand)
    assert metrics.mean_squared_error(gold, said) == pytest.approx((1 + 1 + 676) / 4)


def test_one_answer_for_all_correlates_with_nothing():
    for same in ([2.5] * 3, [2.5, 2.5, 2.5 + 1e-16]):
        for measure in (metrics.pearson, metrics.spearman):
            assert measure([1.0, 2.0, 3.0], same) == 0
            assert measure(same, [1.0, 2.0, 3.0]) == 0
    assert metrics.matthews(list("0101"), list("1111")) == 0
    assert metrics.f1(list("000"), list("000")) == 0
    assert metrics.macro_f1(list("000"), list("111")) == 0


@pytest.mark.parametrize("broken", [math.nan, math.inf, -math.inf])
def test_broken_numbers_score_worst(broken):
    gold, said = [1.0, 2.0, 3.0], [1.0, broken, 3.0]
    assert metrics.pearson(gold, said) == 0
    assert metrics.spearman(gold, said) == 0
    assert metrics.mean_squared_error(gold, said) == math.inf


def test_huge_numbers_score_without_a_warning():
    gold, said = [1.0, 2.0, 3.0], [np.float32(1e38), np.float32(-1e38), 1e300]
    assert -1 <= metrics.pearson(gold, said) <= 1
    assert metrics.mean_squared_error(gold, said) == math.inf


def test_a_measure_of_nothing_is_zero():
    for measure in (
        metrics.accuracy,
        metrics.f1,
        metrics.macro_f1,
        metrics.matthews,
        metrics.pearson,
        metrics.spearman,
        metrics.mean_squared_error,
    ):
        assert measure([], []) == 0
    assert set(metrics.entity_f1([], []).values()) == {0}
    assert metrics.squad_score({}, {}) == {"exact": 0, "f1": 0}
    assert metrics.squad_score({}, {}, 0.0)["best_f1"] == 0


@pytest.mark.parametrize(
    "measure",
    [metrics.accuracy, metrics.f1, metrics.pearson, metrics.mean_squared_error],
)
def test_a_missing_prediction_is_refused(measure):
    with pytest.raises(ValueError, match=r"."):
        measure([1.0, 2.0, 3.0], [1.0, 2.0])


# Tags.

# The same chunks, X at 1-3, X at 3, Y at 4-6, in every scheme.
SCHEMES = {
    "IOB1": "O I-X I-X B-X I-Y I-Y O",
    "IOB2": "O B-X I-X B-X B-Y I-Y O",
    "IOE1": "O I-X E-X I-X I-Y I-Y O",
    "IOE2": "O I-X E-X E-X I-Y E-Y O",
    "BIOES": "O B-X E-X S-X B-Y E-Y O",
    "BILOU": "O B-X L-X U-X B-Y L-Y O",
    "BMES": "O B-X E-X S-X B-Y E-Y O",
}


@pytest.mark.parametrize("scheme", SCHEMES)
def test_every_scheme_marks_the_same_chunks(scheme):
    assert metrics.entities(SCHEMES[scheme].split()) == [
        (1, 3, "X"),
        (3, 4, "X"),
        (4, 6, "Y"),
    ]


@pytest.mark.parametrize(
    ("tags", "chunks"),
    [
        ("I-X I-Y", [(0, 1, "X"), (1, 2, "Y")]),  # another type begins a chunk
        ("B-X O I-X", [(0, 1, "X"), (2, 3, "X")]),
        ("E-X E-X", [(0, 1, "X"), (1, 2, "X")]),
        ("S-X I-X", [(0, 1, "X"), (1, 2, "X")]),
        ("B-X E-X I-X", [(0, 2, "X"), (2, 3, "X")]),
        ("B-X I-X I-X E-X", [(0, 4, "X")]),
        ("B-X M-X E-X", [(0, 3, "X")]),
        ("B-X-Z I-X-Z", [(0, 2, "X-Z")]),
        ("NN NN VB", [(0, 1, "NN"), (1, 2, "NN"), (2, 3, "VB")]),
        ("NP-SBJ B", [(0, 1, "NP-SBJ"), (1, 2, "B")]),
        ("O O", []),
        ("", []),
    ],
)
def test_chunks_begin_and_end_as_conlleval_says(tags, chunks):
    assert metrics.entities(tags.split()) == chunks


def test_chunk_scores_are_as_by_hand():
    gold = ["B-X I-X O B-Y".split(), "B-X O".split()]
    said = ["B-X I-X O B-X".split(), "B-X I-X".split()]
    # Found: X 0-2 right; X 3-4, X 0-2 wrong. In gold: X, Y, X.
    score = metrics.entity_f1(gold, said)
    assert score["precision"] == pytest.approx(1 / 3)
    assert score["recall"] == pytest.approx(1 / 3)
    assert score["f1"] == pytest.approx(1 / 3)
    assert score["accuracy"] == pytest.approx(4 / 6)
    by_type = metrics.entity_f1_by_type(gold, said)
    assert list(by_type) == ["X", "Y"]
    assert by_type["X"]["precision"] == pytest.approx(1 / 3)
    assert by_type["X"]["recall"] == pytest.approx(1 / 2)
    assert by_type["X"]["f1"] == pytest.approx(2 / 5)
    assert by_type["X"]["count"] == 2
    assert by_type["Y"] == {"precision": 0, "recall": 0, "f1": 0, "count": 1}


def test_chunks_do_not_reach_into_the_next_sentence():
    assert metrics.entity_f1([["B-X"], ["I-X"]], [["B-X"], ["O"]])["recall"] == 0.5


def test_parts_of_speech_are_a_chunk_a_word():
    score = metrics.entity_f1(["B E N N".split()], ["B E N V".split()])
    assert score["f1"] == score["accuracy"] == 0.75


def test_bare_prefixes_mark_chunks_where_there_are_no_other_tags():
    gold, said = ["B M E S B E".split()], ["B M E S S S".split()]
    assert metrics.entity_f1(gold, said)["precision"] == pytest.approx(2 / 4)
    assert metrics.entity_f1(gold, said)["recall"] == pytest.approx(2 / 3)


def test_a_tag_too_few_is_refused():
    with pytest.raises(ValueError, match="sentence 1: 1 tags for 2 words"):
        metrics.entity_f1([["O"], ["O", "O"]], [["O"], ["O"]])


# Answers.


def answers(**texts):
    return {key: metrics.QaPrediction(text) for key, text in texts.items()}


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("The  Cat's\thouse!", "cats house"),
        ("an apple a day", "apple day"),
        ("Theory of a.n. Other", "theory of other"),
        ("caf\u00e9 \u5317\u4eac", "caf\u00e9 \u5317\u4eac"),
        ("the", ""),
    ],
)
def test_answers_are_normalized_as_the_official_scripts_do(text, normal):
    assert metrics.normalize_answer(text) == normal


def test_the_best_of_several_right_answers_counts():
    gold = {"a": ["red house", "the big house"], "b": ["1999"], "c": ["x y z"]}
    score = metrics.squad_score(gold, answers(a="Big house.", b="2000", c="x y"))
    # c: 2 of 2 words are right, of 3.
    assert score == {"exact": pytest.approx(1 / 3), "f1": pytest.approx(1.8 / 3)}


def test_words_said_twice_count_once_where_gold_has_them_once():
    score = metrics.squad_score({"a": ["cat"]}, answers(a="cat cat cat"))
    assert score["f1"] == pytest.approx(2 / 4)


def test_a_question_without_a_prediction_is_wrong():
    gold = {"a": ["x"], "b": ["y"], "c": []}
    assert metrics.squad_score({"a": ["x"], "b": ["y"]}, answers(a="x"))["f1"] == 0.5
    assert metrics.squad_score(gold, answers(a="x"), 0.0)["exact"] == pytest.approx(
        1 / 3
    )


def test_articles_alone_score_as_in_each_official_script():
    gold = {"a": ["The"], "b": ["x"]}
    assert metrics.squad_score(gold, answers(a="the", b="x")) == {"exact": 1, "f1": 0.5}
    assert metrics.squad_score(gold, answers(a="the", b="x"), 0.0)["f1"] == 1


# Null scores a threshold apart: two with an answer, three without.
NULL_GOLD = {"a": ["x"], "b": ["y z"], "c": [], "d": [], "e": []}
NULL_SAID = {
    "a": metrics.QaPrediction("x", -3.0),
    "b": metrics.QaPrediction("y", 1.0),
    "c": metrics.QaPrediction("w", -1.0),
    "d": metrics.QaPrediction("w", 2.0),
    "e": metrics.QaPrediction("", -2.0),
}


def test_above_the_threshold_there_is_no_answer():
    score = metrics.squad_score(NULL_GOLD, NULL_SAID, threshold=0.0)
    # a right, b says null, c says w, d says null, e says nothing.
    assert score["exact"] == pytest.approx(3 / 5)
    assert score["HasAns_exact"] == pytest.approx(1 / 2)
    assert score["HasAns_f1"] == pytest.approx(1 / 2)
    assert score["NoAns_exact"] == score["NoAns_f1"] == pytest.approx(2 / 3)
    at_the_score = metrics.squad_score(NULL_GOLD, NULL_SAID, threshold=1.0)
    assert at_the_score["HasAns_f1"] == pytest.approx((1 + 2 / 3) / 2)


def test_the_best_thresholds_are_as_by_hand():
    score = metrics.squad_score(NULL_GOLD, NULL_SAID, threshold=0.0)
    # After a: 1 + 3 right; c takes one back, b gives 0 exact and 2/3 of F1.
    assert score["best_exact"] == pytest.approx(4 / 5)
    assert score["best_exact_thresh"] == -3
    assert score["best_f1_thresh"] == -3


def test_scoring_with_the_best_threshold_gives_the_best_score():
    chance = random.Random(11)
    words = "the x y z .".split()
    num_ties = 0
    for _ in range(50):
        keys = range(chance.randint(1, 12))
        gold = {str(k): chance.sample(words, chance.randint(0, 2)) for k in keys}
        said = {
            key: metrics.QaPrediction(
                " ".join(chance.sample(words, chance.randint(0, 2))),
                float(chance.randint(-3, 3)),
            )
            for key in gold
        }
        scores = {p.null_score for p in said.values()}
        num_ties += len(scores) < len(said)
        for name in ("exact", "f1"):
            found = metrics.squad_score(gold, said, 0.0)
            best = found[f"best_{name}"]
            there = metrics.squad_score(gold, said, found[f"best_{name}_thresh"])
            tried = [metrics.squad_score(gold, said, t)[name] for t in {*scores, -9.0}]
            assert there[name] == pytest.approx(best) == pytest.approx(max(tried))
    assert num_ties > 10


# Scripts without blanks between words.


def score_one(gold, said, rules=None, threshold=None):
    found = {"a": metrics.QaPrediction(said)}
    rules = {"a": rules} if rules else None
    score = metrics.squad_score({"a": gold}, found, threshold, rules)
    return score["exact"], score["f1"]


@pytest.mark.parametrize(
    ("gold", "said", "exact", "f1"),
    [
        ("\u5317\u4eac\u5e02", "\u5317\u4eac", 0, 2 * 2 / 5),
        ("\u5317\u4eac", "\u5317 \u4eac", 1, 1),
        ("\u300a\u7ea2\u697c\u68a6\u300b", "\u7ea2\u697c\u68a6\u3002", 1, 1),
        ("1945\u5e74", "1945", 0, 2 / 3),
        ("\u82f9\u679c iPhone 15", "iphone 15", 0, 2 * 2 / 6),
        ("A\u578b", "a\u578b", 1, 1),
        ("\u3068\u3046\u304d\u3087\u3046", "\u3068\u3046", 0, 2 * 2 / 7),
        ("\u30c8\u30fc\u30af", "\u30c8\u30fc", 0, 2 * 2 / 5),
        ("\u0e01\u0e23\u0e38\u0e07", "\u0e01\u0e23", 0, 2 * 2 / 6),
        ("\U00020000\u4eba", "\U00020000", 0, 2 / 3),
    ],
)
def test_letters_count_where_words_have_no_blanks_between(gold, said, exact, f1):
    assert score_one([gold], said, "mlqa") == (exact, pytest.approx(f1))


def test_cmrc_counts_the_longest_run():
    gold, said = "\u4e2d\u534e\u4eba\u6c11", "\u4e2d\u56fd\u4eba\u6c11"
    assert score_one([gold], said, "mlqa")[1] == pytest.approx(3 / 4)
    assert score_one([gold], said, "cmrc")[1] == pytest.approx(2 / 4)
    assert score_one([gold], gold, "cmrc") == (1, 1)
    assert score_one([gold], "\u65e5", "cmrc") == (0, 0)


def test_no_answer_is_one_by_all_rules():
    for rules in metrics.RULES:
        assert score_one([], "", rules, threshold=1.0) == (1, 1)
        assert score_one([], "x", rules, threshold=1.0) == (0, 0)


@pytest.mark.parametrize(
    ("text", "is_without"),
    [
        ("\u5317\u4eac\u662f\u9996\u90fd\u3002", True),
        ("\u82f9\u679c\u516c\u53f8\u53d1\u5e03\u4e86 iPhone 15 Pro Max", True),
        ("\u3053\u308c\u306f\u672c\u3067\u3059", True),
        ("\u0e01\u0e23\u0e38\u0e07\u0e40\u0e17\u0e1e", True),
        ("The capital is Beijing (\u5317\u4eac), a city of old.", False),
        ("\uc11c\uc6b8\uc740 \ud55c\uad6d\uc758 \uc218\ub3c4", False),
        ("\u0926\u093f\u0932\u094d\u0932\u0940 \u0939\u0948", False),
        ("", False),
    ],
)
def test_scripts_without_blanks_are_known(text, is_without):
    assert metrics.is_without_blanks(text) is is_without
