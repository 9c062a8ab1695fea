import math

import pytest

from electra_tf import errors
from electra_tf.finetuning import trials

MAIN = {"cola": ("dev", "matthews"), "rte": ("dev", "accuracy")}


def trial(number, cola, rte, failures=(), **others):
    scores = {
        "cola": {"dev": {"matthews": cola, "accuracy": 1 - cola}},
        "rte": {"dev": {"accuracy": rte}},
    }
    return trials.Trial(number, 40 + number, scores, [], 1.5, list(failures), **others)


def diverged(number):
    return trials.Trial(number, 40 + number, {}, [], 0.5, ["the loss is nan"])


def test_what_is_written_is_read_in_the_order_of_numbers(tmp_path):
    written = [trial(number, 0.1 * number, 0.5) for number in (10, 2, 1)]
    for one in written:
        trials.write(str(tmp_path), one)
    assert trials.read(str(tmp_path)) == written[::-1]
    assert trials.read(str(tmp_path / "none")) == []


def test_a_damaged_trial_is_named(tmp_path):
    trials.write(str(tmp_path), trial(3, 0.1, 0.5))
    path = tmp_path / "trials" / "3.json"
    for text in (path.read_text()[:-5], "{}", "[]", '{"number": 1}'):
        path.write_text(text)
        with pytest.raises(errors.UserError, match=r"3\.json is damaged .* delete it"):
            trials.read(str(tmp_path))


def test_the_best_has_the_highest_mean_of_the_main_metrics():
    found = [trial(1, 0.9, 0.1), trial(2, 0.5, 0.6), diverged(3)]
    assert trials.best(found, MAIN).number == 2
    assert trials.best([diverged(1)], MAIN) is None


def test_one_that_failed_is_best_only_where_all_did():
    good, bad = trial(1, 0.1, 0.1), trial(2, 0.9, 0.9, ["all are 'no'"])
    assert trials.best([good, bad], MAIN) is good
    assert trials.best([bad, diverged(3)], MAIN) is bad


def test_the_summary_is_over_all_trials_that_did_not_diverge():
    found = [trial(1, 0.1, 0.5), trial(2, 0.7, 0.5, ["bad luck"]), diverged(3)]
    found += [trial(4, 0.3, 0.5), trial(5, 0.2, 0.7)]
    told = trials.summarize(found, MAIN)
    scores = told["summary"]["cola"]["dev"]["matthews"]
    assert scores["median"] == pytest.approx(0.25)
    assert (scores["min"], scores["max"], scores["count"]) == (0.1, 0.7, 4)
    # Of 0.1, 0.7, 0.3, 0.2 by hand.
    assert scores["standard_deviation"] == pytest.approx(math.sqrt(0.2075 / 3))
    assert told["best_trial"] == 5
    assert scores["best"] == 0.2  # Of the best trial, though others have more.
    assert [one["trial"] for one in told["failed"]] == [2, 3]
    assert told["failed"][1]["reasons"] == ["the loss is nan"]
    assert [one["number"] for one in told["trials"]] == [1, 2, 3, 4, 5]
    assert "records" not in told["trials"][0]


def test_nothing_is_no_summary():
    assert trials.summarize([diverged(1)], MAIN)["summary"] == {}
    assert trials.summarize([diverged(1)], MAIN)["best_trial"] is None


def test_an_infinite_error_does_not_break_the_spread():
    scores = {"a": {"dev": {"mse": math.inf}}}
    found = [trials.Trial(n, n, scores, [], 0.0, []) for n in (1, 2)]
    told = trials.summarize(found, {"a": ("dev", "mse")})
    assert told["summary"]["a"]["dev"]["mse"]["standard_deviation"] == 0.0


def test_the_table_has_a_row_a_metric_in_columns():
    lines = []
    told = trials.summarize([trial(1, 0.25, 0.5)], MAIN)
    trials.table(told["summary"], lines.append)
    assert lines[0].split() == "task split metric median best min max sd".split()
    assert [line.split()[:4] for line in lines[1:]] == [
        ["cola", "dev", "matthews", "0.2500"],
        ["cola", "dev", "accuracy", "0.7500"],
        ["rte", "dev", "accuracy", "0.5000"],
    ]
    assert len({len(line) for line in lines}) == 1
