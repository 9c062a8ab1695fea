"""Tables of texts with several classes each."""

import pytest
from table_files import (
    WRITERS,
    complaint,
    read,
    write_csv,
    write_jsonl,
)

SEVERAL = [("x y", ["joy", "anger"]), ("z", []), ("u", ["joy"])]


@pytest.mark.parametrize(
    ("ending", "labels", "note"),
    [
        (".jsonl", [["joy", "anger"], [], ["joy"]], ""),
        (".jsonl", [["joy", "anger"], None, "joy"], ""),
        (".csv", ['["joy", "anger"]', "[]", '["joy"]'], ""),
        (".csv", ["['joy' 'anger']", "[]", "['joy']"], ""),
        (".csv", ["joy|anger", "", "joy"], "is split at '|'; data.options.label_sep"),
        (".csv", ["joy, anger", "", "joy"], "is split at ','"),
        (".tsv", ["joy;anger;joy", "", "joy"], "is split at ';'"),
        (".csv", ["joy anger", "", "joy"], "is split at blanks"),
    ],
)
def test_lists_of_classes_are_read_as_users_write_them(tmp_path, ending, labels, note):
    rows = [
        {"text": text, "labels": label}
        for (text, _), label in zip(SEVERAL, labels, strict=True)
    ]
    WRITERS[ending](tmp_path / f"train{ending}", rows)
    found = read("multi_label_classification", tmp_path)
    assert found.kind == "multi_label"
    assert found.labels == ("anger", "joy")
    assert found.split("train").inputs == [text for text, _ in SEVERAL]
    assert found.split("train").labels == [some for _, some in SEVERAL]
    assert note in found.split("train").remark
    assert bool(note) == bool(found.split("train").remark)


@pytest.mark.parametrize(
    ("labels", "wanted"),
    [
        ([[0.0, 1.0, 1.0], [0.0, 0.0, 0.0]], [["1", "2"], []]),  # vectors
        ([[0, 2], [10]], [["0", "2"], ["10"]]),
        ([[0, 1], [1]], [["0", "1"], ["1"]]),
        (["3.0,10.0", "3.0"], [["3", "10"], ["3"]]),  # as pandas writes numbers
    ],
)
def test_classes_that_are_numbers_or_vectors_are_told_apart(tmp_path, labels, wanted):
    rows = [{"text": "a", "labels": label} for label in labels]
    write_jsonl(tmp_path / "train.jsonl", rows)
    found = read("multi_label_classification", tmp_path)
    assert found.split("train").labels == wanted
    assert list(found.labels) == sorted({c for some in wanted for c in some}, key=int)


def test_each_class_may_have_a_column(tmp_path):
    rows = [
        {"text": "a", "toxic": "1", "threat": "0.0"},
        {"text": "b", "toxic": "", "threat": "true"},
        {"text": "c", "toxic": "0", "threat": "0"},
    ]
    write_csv(tmp_path / "train.csv", rows)
    options = {"label_column": "toxic,threat"}
    found = read("multi_label_classification", tmp_path, **options)
    assert found.split("train").labels == [["toxic"], ["threat"], []]
    write_csv(tmp_path / "dev.csv", [{**rows[0], "toxic": "2"}, *rows])
    said = complaint("multi_label_classification", tmp_path, **options)
    assert "column 'toxic' is '2', want 0 or 1" in said


def test_names_with_blanks_or_several_marks_want_a_separator(tmp_path):
    rows = [{"text": "a", "labels": "very good|a, b"}, {"text": "b", "labels": "c"}]
    write_csv(tmp_path / "train.csv", rows)
    said = complaint("multi_label_classification", tmp_path)
    assert "has '|' and ',' in it; say which is between two classes" in said
    found = read("multi_label_classification", tmp_path, label_separator="|")
    assert found.split("train").labels == [["very good", "a, b"], ["c"]]
    found = read("multi_label_classification", tmp_path, label_separator="")
    assert found.split("train").labels == [["very good|a, b"], ["c"]]


def test_classes_that_train_has_not_or_none_has_are_refused(tmp_path):
    write_csv(tmp_path / "train.csv", [{"text": "a", "labels": "x|y"}])
    write_csv(tmp_path / "dev.csv", [{"text": "a", "labels": "x|z"}])
    said = complaint("multi_label_classification", tmp_path)
    assert "dev.csv: label 'z' is not in" in said
    for name in ("train", "dev"):
        write_csv(tmp_path / f"{name}.csv", [{"text": "a", "labels": "[]"}])
    said = complaint("multi_label_classification", tmp_path)
    assert "train.csv: column 'labels' has no class in any row" in said
