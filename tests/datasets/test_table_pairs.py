"""Texts that belong together, and pairs with scores, out of tables."""

import json

import pytest

from electra_tf import errors
from electra_tf.datasets import metrics, table_pairs


def test_what_belongs_together_is_read_with_what_does_not(tmp_path):
    (tmp_path / "train.tsv").write_text(
        "source\ttarget\twrong\nA dog\tEin Hund\tEine Katze\nA cat\tEine Katze\t\n"
    )
    rows = [{"source": "a", "target": "b", "wrong": ["c", "d"]}]
    rows += [{"source": "e", "target": "f", "wrong": None}]
    lines = "".join(f"{json.dumps(row)}\n" for row in rows)
    (tmp_path / "dev.jsonl").write_text(lines)
    (tmp_path / "test.csv").write_text("source,wrong\na,\n")
    data = table_pairs.read_retrieval(
        str(tmp_path),
        text_column="source",
        text_pair_column="target",
        negative_column="wrong",
    )
    assert data.splits["train"].inputs == [
        ("A dog", "Ein Hund", "Eine Katze"),
        ("A cat", "Eine Katze"),
    ]
    assert data.splits["train"].labels == ["Ein Hund", "Eine Katze"]
    assert data.splits["dev"].inputs == [("a", "b", "c", "d"), ("e", "f")]
    assert (data.splits["test"].inputs, data.splits["test"].labels) == ([("a",)], None)
    assert data.score([1, 4], data.splits["dev"])["mrr"] == 0.625


def test_a_row_without_a_text_is_skipped_in_training(tmp_path):
    (tmp_path / "train.tsv").write_text("text\ttext_pair\n" + "a\tb\n" * 2000 + "c\t\n")
    data = table_pairs.read_retrieval(str(tmp_path))
    assert len(data.splits["train"].inputs) == 2000
    assert data.splits["train"].skipped == 1


def test_scores_are_numbers(tmp_path):
    (tmp_path / "dev.csv").write_text("text,text_pair,label\na,b,4.5\nc,d,1\n")
    data = table_pairs.read_similarity(str(tmp_path))
    split = data.splits["dev"]
    assert (split.inputs, split.labels) == ([("a", "b"), ("c", "d")], [4.5, 1.0])
    scores = data.score([0.9, 0.1], split)
    assert scores == {"spearman": pytest.approx(1), "pearson": pytest.approx(1)}
    (tmp_path / "dev.csv").write_text("text,text_pair,label\na,b,much\n")
    with pytest.raises(errors.UserError, match="want a number"):
        table_pairs.read_similarity(str(tmp_path))


def test_recall_counts_what_is_found_early():
    assert metrics.retrieval([1, 2, 6, 20]) == {
        "mrr": pytest.approx((1 + 1 / 2 + 1 / 6 + 1 / 20) / 4),
        "recall_at_1": 0.25,
        "recall_at_5": 0.5,
        "recall_at_10": 0.75,
    }
    assert metrics.retrieval([])["mrr"] == 0
