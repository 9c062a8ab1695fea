"""Tables of texts with classes and numbers."""

import pytest
from table_files import (
    ROWS,
    complaint,
    read,
    write_csv,
    write_jsonl,
    write_tsv,
)


def test_pairs_of_texts_come_in_the_order_of_the_options(tmp_path):
    rows = [
        {"a": "one", "b": "two", "label": "x"},
        {"a": "three", "b": "", "label": "y"},
    ]
    write_csv(tmp_path / "train.csv", rows)
    options = {"text_column": "b", "text_pair_column": "a"}
    found = read("text_classification", tmp_path, **options)
    assert found.split("train").inputs == [("two", "one"), ("", "three")]
    write_csv(tmp_path / "train.csv", [*rows, {"a": "", "b": " ", "label": "x"}])
    message = complaint("text_classification", tmp_path, **options)
    assert "columns 'b' and 'a' are empty" in message


def test_labels_of_json_may_be_numbers_and_truth_values(tmp_path):
    for labels, classes in (
        ([1, 0, 10], ("0", "1", "10")),
        ([True, False, True], ("false", "true")),
        (["b ", "a", "10"], ("10", "a", "b")),
        (["-1", "0.5", "0"], ("-1", "0", "0.5")),
    ):
        rows = [{"text": "x", "label": label} for label in labels]
        write_jsonl(tmp_path / "train.jsonl", rows)
        assert read("text_classification", tmp_path).labels == classes


def test_a_label_that_training_never_saw_is_refused(tmp_path):
    write_tsv(tmp_path / "train.tsv", ROWS)
    write_tsv(tmp_path / "dev.tsv", [{"text": "x", "label": "3"}])
    message = complaint("text_classification", tmp_path)
    assert "dev.tsv: label '3' is not in " in message
    assert "train.tsv, which has '10', '2'" in message


def test_whole_numbers_are_spelled_alike(tmp_path):
    write_csv(tmp_path / "train.csv", ROWS)
    rows = [{"text": "x", "label": one} for one in ("2.0", "10.0", "2")]
    write_csv(tmp_path / "dev.csv", rows)
    found = read("text_classification", tmp_path)
    assert found.split("dev").labels == ["2", "10", "2"]
    assert "label '10.0' is read as '10'" in found.split("dev").remark
    write_csv(tmp_path / "train.csv", [*rows, *ROWS])
    assert read("text_classification", tmp_path).labels == ("2", "10")
    rows = [{"text": "x", "label": one} for one in ("02", "2.10")]
    write_csv(tmp_path / "train.csv", rows)
    assert read("text_classification", tmp_path, dev="train.csv").labels == (
        "02",
        "2.10",
    )


def test_a_class_that_may_stand_for_no_label_is_told(tmp_path):
    for labels, is_told in ((["0", "1", "-1"], True), (["0", "2", "-1"], False)):
        rows = [{"text": "x", "label": one} for one in labels]
        write_tsv(tmp_path / "train.tsv", rows)
        found = read("text_classification", tmp_path)
        assert found.labels == tuple(sorted(labels, key=float))
        told = (
            "label '-1' of 1 rows is taken for a class" in found.split("train").remark
        )
        assert told == is_told


def test_a_file_to_evaluate_on_may_be_of_one_class(tmp_path):
    write_tsv(tmp_path / "dev.tsv", [{"text": "x", "label": "2"}])
    write_tsv(tmp_path / "test.tsv", [{"text": "x", "label": "1"}])
    found = read("text_classification", tmp_path)
    assert found.labels == ("1", "2")
    assert found.score(["2"], found.split("dev"))["accuracy"] == 1


def test_labels_that_are_no_classes_are_refused(tmp_path):
    write_tsv(tmp_path / "train.tsv", [{"text": "x", "label": "2"}] * 3)
    message = complaint("text_classification", tmp_path)
    assert "column 'label' is '2' always" in message
    rows = [{"text": "x", "label": str(0.5 + i)} for i in range(60)]
    write_tsv(tmp_path / "train.tsv", rows)
    message = complaint("text_classification", tmp_path)
    assert "60 different values in 60 rows; for numbers take" in message


def test_classes_are_scored(tmp_path):
    write_tsv(tmp_path / "dev.tsv", ROWS)
    found = read("text_classification", tmp_path)
    score = found.score(["2", "10", "10"], found.split("dev"))
    assert score == pytest.approx(
        {"accuracy": 2 / 3, "macro_f1": 2 / 3, "matthews": 0.5}
    )
    assert found.metric in score


def test_numbers_are_read_and_scored(tmp_path):
    rows = [{"text": "x", "label": label} for label in ("1", "-2.5", "3e1")]
    write_tsv(tmp_path / "dev.tsv", rows)
    found = read("text_regression", tmp_path)
    dev = found.split("dev")
    assert dev.labels == [1, -2.5, 30]
    score = found.score([0.0, -2.5, 20.0], dev)
    assert score["mean_squared_error"] == pytest.approx((1 + 100) / 3)
    assert score["spearman"] == pytest.approx(1)
    assert found.kind == "regression"
    assert found.metric in score


@pytest.mark.parametrize("label", ["good", "", "nan", "1e999", "1,5"])
def test_what_is_no_number_is_refused(tmp_path, label):
    write_tsv(tmp_path / "train.tsv", [*ROWS, {"text": "x", "label": label}])
    message = complaint("text_regression", tmp_path)
    assert f"line 5: column 'label' is {label!r}, want a number" in message
