"""Tables of words with tags."""

import json

import pytest
from table_files import (
    TAGS,
    WORDS,
    complaint,
    read,
    write_csv,
    write_jsonl,
    write_tsv,
)


def test_words_and_tags_are_lists(tmp_path):
    rows = [{"words": WORDS, "tags": TAGS}, {"words": ["Go"], "tags": ["O"]}]
    write_jsonl(tmp_path / "train.jsonl", rows)
    text = [{key: json.dumps(value) for key, value in row.items()} for row in rows]
    write_csv(tmp_path / "dev.csv", text)
    write_tsv(tmp_path / "test.tsv", text)
    found = read("tagging", tmp_path)
    for split in found.splits.values():
        assert split.inputs == [WORDS, ["Go"]]
        assert split.labels == [TAGS, ["O"]]
    assert (found.kind, found.labels) == ("tagging", ("O", "B-LOC", "B-X"))
    assert found.score([TAGS, ["O"]], split)["f1"] == 1


def test_lists_may_be_words_apart_by_blanks(tmp_path):
    write_tsv(tmp_path / "train.tsv", [{"w": "[big  Go", "t": " X O"}])
    options = {"words_column": "w", "tags_column": "t"}
    split = read("tagging", tmp_path, **options).split("train")
    assert (split.inputs, split.labels) == ([["[big", "Go"]], [["X", "O"]])


@pytest.mark.parametrize(
    "spell",
    [
        repr,
        lambda items: f"[{' '.join(map(repr, items))}]",
        lambda items: f"array({items!r}, dtype=object)",
        lambda items: f"[{', '.join(f'np.str_({one!r})' for one in items)}]",
    ],
)
def test_lists_may_be_as_pandas_writes_them(tmp_path, spell):
    words, tags = ["EU", "New York's"], ["B-ORG", "O"]
    rows = [{"words": spell(words), "tags": spell(tags)}]
    write_csv(tmp_path / "train.csv", rows)
    split = read("tagging", tmp_path).split("train")
    assert (split.inputs, split.labels) == ([words], [tags])


@pytest.mark.parametrize("cell", ["[EU, rejects]", "['a' 'b' ... 'z']", "['a', None]"])
def test_what_looks_like_a_list_and_is_none_is_a_bad_row(tmp_path, cell):
    write_csv(tmp_path / "train.csv", [{"words": cell, "tags": "O O"}])
    assert "line 2: column 'words'" in complaint("tagging", tmp_path)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"words": ["a", "b"], "tags": ["O"]}, "1 tags for 2 words"),
        ({"words": [], "tags": []}, "column 'words' is [], want a list"),
        ({"words": ["a", " "], "tags": ["O", "O"]}, "column 'words' is empty"),
        ({"words": ["a"], "tags": [None]}, "column 'tags' is None"),
        ({"words": 3, "tags": ["O"]}, "column 'words' is 3, want a list"),
    ],
)
def test_words_without_their_tags_are_refused(tmp_path, row, message):
    write_jsonl(tmp_path / "train.jsonl", [row])
    assert f"line 1: {message}" in complaint("tagging", tmp_path)
