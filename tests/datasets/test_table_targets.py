"""Tables of texts and what is to become of them."""

import json

import pytest
from table_files import complaint, read, write_csv, write_jsonl, write_tsv

from electra_tf import errors

ROWS = [{"source": "a cat", "target": "eine Katze"}, {"source": "b", "target": "c"}]


@pytest.mark.parametrize(
    ("ending", "write"),
    [("tsv", write_tsv), ("csv", write_csv), ("jsonl", write_jsonl)],
)
def test_every_format_has_sources_and_targets(tmp_path, ending, write):
    write(tmp_path / f"train.{ending}", ROWS)
    found = read("seq2seq", tmp_path)
    split = found.split("train")
    assert split.inputs == ["a cat", "b"]
    assert split.labels == [("eine Katze",), ("c",)]
    assert found.metric == "chrf"
    assert found.labels == ()
    scores = found.score(["eine Katze", "c"], split)
    assert scores["chrf"] == scores["rouge1"] == pytest.approx(100)


def test_several_targets_are_a_list_or_columns_and_empty_ones_are_none(tmp_path):
    rows = [{"source": "x", "target": ["a", "", "b"]}, {"source": "y", "target": "c"}]
    write_jsonl(tmp_path / "train.jsonl", rows)
    assert read("seq2seq", tmp_path).split("train").labels == [("a", "b"), ("c",)]
    (tmp_path / "train.jsonl").unlink()
    rows = [{"de": "x", "one": "a", "two": "b"}, {"de": "y", "one": "c", "two": ""}]
    write_csv(tmp_path / "train.csv", rows)
    found = read("seq2seq", tmp_path, source_column="de", target_column="one, two")
    assert found.split("train").labels == [("a", "b"), ("c",)]


def test_columns_within_others_are_named_with_a_dot(tmp_path):
    row = {
        "summary": {"outcome": "It works."},
        "sentences": {"abstract": ["One.", "Two."]},
    }
    write_jsonl(tmp_path / "train.jsonl", [row])
    found = read(
        "seq2seq",
        tmp_path,
        source_column="sentences.abstract",
        target_column="summary.outcome",
    ).split("train")
    assert found.inputs == ["One. Two."]
    assert found.labels == [("It works.",)]
    chinese = {"source": ["\u6211\u597d\u3002", "\u4f60\u597d\u3002"], "target": "x"}
    write_jsonl(tmp_path / "train.jsonl", [chinese])
    found = read("seq2seq", tmp_path).split("train")
    assert found.inputs == ["\u6211\u597d\u3002\u4f60\u597d\u3002"]


def test_rows_without_a_source_or_a_target_are_skipped_where_few(tmp_path):
    good = [{"source": str(n), "target": str(n)} for n in range(200)]
    bad = [{"source": "x", "target": " "}, {"source": "", "target": "y"}]
    write_jsonl(tmp_path / "train.jsonl", [*good, *bad])
    split = read("seq2seq", tmp_path).split("train")
    assert split.skipped == 2
    assert len(split.ids) == 200
    assert "line 201: column 'target' is empty" in split.remark
    write_jsonl(tmp_path / "train.jsonl", bad)
    assert "column 'target' is empty (2 of 2" in complaint("seq2seq", tmp_path)


def test_a_test_file_may_have_no_targets_and_empty_sources(tmp_path):
    write_jsonl(tmp_path / "train.jsonl", ROWS)
    write_jsonl(tmp_path / "test.jsonl", [{"source": "a"}, {"source": ""}])
    split = read("seq2seq", tmp_path).split("test")
    assert split.labels is None
    assert split.inputs == ["a", ""]


def test_a_column_that_is_not_there_is_named_with_the_way_out(tmp_path):
    write_jsonl(tmp_path / "train.jsonl", [{"en": "a", "de": "b"}])
    said = complaint("seq2seq", tmp_path)
    assert "'source'" in said
    assert "data.options.source_column=<name>" in said
    rows = [{"source": 3, "target": "b"}]
    (tmp_path / "train.jsonl").write_text(json.dumps(rows[0]))
    assert "column 'source' is 3, want text" in complaint("seq2seq", tmp_path)


def test_the_metric_that_decides_is_one_of_them(tmp_path):
    write_jsonl(tmp_path / "train.jsonl", ROWS)
    assert read("seq2seq", tmp_path, metric="rougeL").metric == "rougeL"
    with pytest.raises(errors.UserError, match="metric='ter': want one of chrf, bleu"):
        read("seq2seq", tmp_path, metric="ter")
