import json

import pytest

from electra_tf import errors
from electra_tf.datasets import dataset, table_extracts
from electra_tf.kinds import registry

ACLSUM = {
    "id": "P1",
    "sentences": {"abstract": ["One.", "Two."], "conclusion": ["Three."]},
    "highlights": {
        "challenge": {"abstract": [1, 0], "conclusion": [0]},
        "outcome": {"abstract": [0, 0], "conclusion": [1]},
    },
    "summary": {"challenge": "First.", "outcome": "Third."},
}


def write(folder, rows, name="train.jsonl"):
    text = rows if isinstance(rows, str) else "\n".join(map(json.dumps, rows))
    (folder / name).write_text(text, encoding="utf-8")
    return str(folder)


def test_aclsum_is_read_with_all_aspects_or_one(tmp_path):
    folder = write(tmp_path, [ACLSUM])
    train = registry.read("aclsum", folder).split("train")
    assert train.ids == ["P1"]
    assert train.inputs == [["One.", "Two.", "Three."]]
    assert train.labels == [dataset.Extract([1, 0, 1], "First.\nThird.")]
    one = registry.read("aclsum", folder, aspect="outcome").split("train")
    assert one.labels == [dataset.Extract([0, 0, 1], "Third.")]
    with pytest.raises(errors.UserError, match="no aspect 'result'; it has challenge"):
        registry.read("aclsum", folder, aspect="result")


def test_tables_of_ones_own_are_read(tmp_path):
    rows = [
        {"sentences": ["A.", " ", "B."], "marks": [True, False, 1.0]},
        {"sentences": "It was. It is.", "marks": [0, 1], "summary": "It is."},
    ]
    train = registry.read("extraction", write(tmp_path, rows)).split("train")
    assert train.inputs == [["A.", " ", "B."], ["It was.", "It is."]]
    assert train.labels == [
        dataset.Extract([1, 0, 1], ""),
        dataset.Extract([0, 1], "It is."),
    ]
    table = 'text\tkept\n["A b.", "C"]\t0 1\nIs it? Yes.\t[1, 0]\n'
    folder = write(tmp_path, table, "other.tsv")
    options = {"sentences_column": "text", "marks_column": "kept"}
    found = registry.read(
        "extraction", folder, train="other.tsv", dev="other.tsv", **options
    )
    assert found.split("dev").inputs == [["A b.", "C"], ["Is it?", "Yes."]]
    assert [one.marks for one in found.split("dev").labels] == [[0, 1], [1, 0]]
    assert found.metric == "average_precision"


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"sentences": ["A."], "marks": [1, 0]}, "2 marks for 1 sentences"),
        ({"sentences": ["A."], "marks": [2]}, "has 2, want 0 or 1"),
        ({"sentences": ["A."], "marks": 1}, "column 'marks' is 1, want a list"),
        ({"sentences": [3], "marks": [1]}, "column 'sentences' has 3, want text"),
        ({"sentences": [" "], "marks": [1]}, "column 'sentences' is empty"),
        ({"sentences": ["A."], "marks": [0]}, "no sentence is marked"),
        ({"text": "A."}, "no column 'sentences'"),
    ],
)
def test_what_is_wrong_is_named(row, message, tmp_path):
    with pytest.raises(errors.UserError, match=message):
        registry.read("extraction", write(tmp_path, [row]))


def test_a_cell_is_a_list_lists_by_part_or_a_text():
    def get(value):
        return table_extracts.get_sentences({"it": value}, "it")

    assert get({"a": ["x"], "b": [], "c": ["y"]}) == ["x", "y"]
    assert get("One. Two.") == ["One.", "Two."]
    assert get("[1] is cited. Two.") == ["[1] is cited.", "Two."]
    assert get('["One", "Two"]') == ["One", "Two"]
    assert get(None) == get("") == get([]) == []
