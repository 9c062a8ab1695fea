"""Lists are read whole or refused by the line; the best weight on dev is found."""

import itertools

import numpy as np
import pytest

from electra_tf import errors
from electra_tf.finetuning import nbest, predictor

ROWS = [
    {"id": "a", "hypothesis": "the cat", "score": "-2", "reference": "a cat sat"},
    {"id": "b", "hypothesis": "dogs", "score": -1, "reference": "dog"},
    {"id": "a", "hypothesis": "a cat sat", "score": -1.5, "reference": "a cat sat"},
    {"id": "b", "hypothesis": "", "score": 0.5, "reference": "dog"},
]


def read(rows, costs=False, is_dev=True, **options):
    numbered = (predictor.Row(f"x.jsonl, line {n}", r) for n, r in enumerate(rows, 1))
    return nbest.read(numbered, options, "x.jsonl", costs=costs, is_dev=is_dev)


def test_rows_of_one_id_are_a_list_wherever_they_stand_the_best_score_first():
    a, b = read(ROWS)
    assert a == ("a", [("a cat sat", -1.5, 2), ("the cat", -2.0, 1)], "a cat sat")
    assert b == ("b", [("", 0.5, 2), ("dogs", -1.0, 1)], "dog")
    assert [one.place for one in read(ROWS, costs=True)[0].hypotheses] == [1, 2]
    assert read(ROWS, costs=True)[1].hypotheses[0] == ("dogs", 1.0, 1)
    renamed = [{"id": 7, "text": "a", "am": 1.0, "reference": None}]
    options = {"hypothesis_column": "text", "score_column": "am"}
    assert read(renamed, is_dev=False, **options) == [("7", [("a", 1.0, 1)], None)]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"score": None}, "x.jsonl, line 2: column 'score' is None, want a number"),
        ({"score": "nan"}, "line 2: column 'score' is 'nan', want a number"),
        ({"score": ...}, "line 2: no column 'score'; it has 'id', 'hypothesis', 'ref"),
        ({"hypothesis": ...}, r"line 2: no column .*data\.options\.hypothesis_column="),
        ({"hypothesis": 7}, "line 2: column 'hypothesis' is 7, want text"),
        ({"id": ...}, "line 2: no column 'id'"),
        ({"reference": ...}, "line 2: no column 'reference'"),
        ({"reference": " "}, "line 2: column 'reference' is empty"),
        ({"reference": "cat"}, "line 4: another reference for the list 'b'"),
    ],
)
def test_a_row_that_lacks_a_field_is_named(change, message):
    row = {name: v for name, v in (ROWS[1] | change).items() if v is not ...}
    with pytest.raises(errors.UserError, match=message) as caught:
        read([ROWS[0], row, *ROWS[2:]])
    assert "\n" not in str(caught.value)


def test_no_rows_at_all_are_refused():
    with pytest.raises(errors.UserError, match=r"x\.jsonl has no hypotheses"):
        read([])


def test_edits_are_counted_as_by_hand():
    for found, wanted, edits in (
        ("", "", 0),
        ("a b", "", 2),
        ("", "a b c", 3),
        ("a b c", "a c", 1),
        ("a x c d", "a b c", 2),
        ("b a", "a b", 2),
        ("s i t t i n g", "k i t t e n", 3),
    ):
        assert nbest.edit_distance(found.split(), wanted.split()) == edits
        assert nbest.edit_distance(wanted.split(), found.split()) == edits


def value(name, chosen, by=None, **options):
    """The metric of one hypothesis of each of two lists."""
    judged = nbest.Judged(read(ROWS), nbest.metric(name, **options))
    return judged.value(np.array(chosen))


def test_metrics_are_sums_over_the_set():
    assert value("wer", [0, 0]) == pytest.approx(100 * (0 + 1) / 4)
    assert value("wer", [1, 1]) == pytest.approx(100 * (2 + 1) / 4)
    assert value("cer", [0, 1]) == pytest.approx(100 * (0 + 1) / (9 + 3))
    assert value("exact", [0, 0]) == 50.0
    assert value("exact", [1, 1]) == 0.0


def test_bleu_is_sacrebleus():
    sacrebleu = pytest.importorskip("sacrebleu")
    lists = [
        nbest.NBest("1", [nbest.Hypothesis("the cat sat on the mat .", 0.0, 1)], ""),
        nbest.NBest("2", [nbest.Hypothesis("a dog ran, fast", 0.0, 1)], ""),
    ]
    references = ["the cat sat on a mat .", "one dog ran, fast"]
    lists = [
        one._replace(reference=two) for one, two in zip(lists, references, strict=True)
    ]
    found = nbest.Judged(lists, nbest.metric("bleu")).value(np.array([0, 0]))
    texts = [one.hypotheses[0].text for one in lists]
    assert found == pytest.approx(sacrebleu.corpus_bleu(texts, [references]).score)
    with pytest.raises(errors.UserError, match="bleu_tokenizer=x: want one of"):
        nbest.metric("bleu", "x")


def test_the_oracle_takes_the_best_of_each_list():
    assert nbest.Judged(read(ROWS), nbest.metric("wer")).oracle() == 25.0
    assert nbest.Judged(read(ROWS), nbest.metric("exact")).oracle() == 50.0


def test_the_weight_and_the_bonus_are_those_that_find_what_is_right():
    """What is right has the highest first + 0.2 * second + 0.3 * tokens."""
    chance = np.random.default_rng(1)
    lists, scores = [], {}
    for number in range(300):
        texts = [f"{number} {place}" for place in range(6)]
        first, second = chance.normal(0, 1, 6), chance.normal(0, 5, 6)
        sizes = chance.integers(1, 20, 6)
        right = texts[np.argmax(first + 0.2 * second + 0.3 * sizes)]
        hypotheses = [
            nbest.Hypothesis(text, float(score), place)
            for place, (text, score) in enumerate(zip(texts, first, strict=True))
        ]
        hypotheses = sorted(hypotheses, key=lambda one: -one.score)[: 6 - number % 3]
        lists.append(nbest.NBest(str(number), hypotheses, right))
        scores |= dict(zip(texts, zip(second, sizes, strict=True), strict=True))
    by = nbest.metric("exact")
    judged, scored = nbest.Judged(lists, by), nbest.scored(lists, scores)
    alone = nbest.tune(scored, judged, by.is_error, with_bonus=False)
    both = nbest.tune(scored, judged, by.is_error, with_bonus=True)
    assert alone.bonus == 0.0
    assert both.before == alone.before < alone.after < both.after <= both.oracle
    assert 0.14 < both.weight < 0.28
    assert 0.2 < both.bonus < 0.45
    chosen = scored.chosen(both.weight, both.bonus)
    assert judged.value(chosen) == both.after
    sizes = [len(one.hypotheses) for one in lists]
    assert all(place < size for place, size in zip(chosen, sizes, strict=True))


def test_where_reranking_does_not_help_the_first_pass_stays():
    lists = read(ROWS)
    texts = itertools.chain(*(one.hypotheses for one in lists))
    scores = {one.text: (-10.0 if one.text == "a cat sat" else 0.0, 3) for one in texts}
    by = nbest.metric("wer")
    found = nbest.tune(
        nbest.scored(lists, scores), nbest.Judged(lists, by), by.is_error, True
    )
    assert found.bonus == 0.0
    assert found.before == found.after == 25.0
    assert 0.0 < found.weight < 0.05  # The middle of those that change nothing.
