"""Your own tables, whatever they hold."""

import csv
import gzip
import json

import pytest
from table_files import (
    ROWS,
    TAGS,
    WORDS,
    WRITERS,
    complaint,
    read,
    write_csv,
    write_jsonl,
    write_tsv,
)

from electra_tf.kinds import registry


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("ending", WRITERS)
def test_a_table_reads_the_same_in_every_format(tmp_path, ending, packed):
    file = tmp_path / f"train{ending}"
    WRITERS[ending](file, ROWS)
    if packed:
        (tmp_path / f"{file.name}.gz").write_bytes(gzip.compress(file.read_bytes()))
        file.unlink()
    found = read("text_classification", tmp_path)
    split = found.split("train")
    assert split.inputs == [row["text"] for row in ROWS]
    assert split.labels == [row["label"] for row in ROWS]
    assert (split.skipped, split.remark) == (0, "")
    assert (found.kind, found.labels) == ("classification", ("2", "10"))


def test_a_quoted_cell_may_hold_what_parts_cells_and_lines(tmp_path):
    text = 'He said "no",\nand\tleft'
    rows = [{"text": text, "label": "a"}, {"text": "x", "label": "b"}]
    write_csv(tmp_path / "train.csv", rows)
    split = read("text_classification", tmp_path).split("train")
    assert split.inputs == [text, "x"]
    assert split.ids == ["3", "4"]  # The lines on which the rows end.


def test_quotes_in_tsv_are_text(tmp_path):
    rows = [{"text": '"open', "label": "a"}, {"text": 'x "y"', "label": "b"}]
    write_tsv(tmp_path / "train.tsv", rows)
    split = read("text_classification", tmp_path).split("train")
    assert split.inputs == ['"open', 'x "y"']


@pytest.mark.parametrize("ending", [".csv", ".tsv"])
def test_a_carriage_return_within_a_line_is_text(tmp_path, ending):
    mark = "," if ending == ".csv" else "\t"
    for lines, text in (("a\rb{}1\nc{}0\n", "a\rb"), ('"a\r\nb"{}1\r\nc{}0', "a\r\nb")):
        table = f"text{{}}label\n{lines}".replace("{}", mark)
        (tmp_path / f"train{ending}").write_bytes(table.encode())
        found = read("text_classification", tmp_path).split("train")
        assert (found.inputs, found.labels) == ([text, "c"], ["1", "0"])


def test_a_cell_may_be_longer_than_pythons_limit(tmp_path):
    before = csv.field_size_limit()
    rows = [{"text": "x" * (before + 1), "label": "a"}, {"text": "x", "label": "b"}]
    write_csv(tmp_path / "train.csv", rows)
    split = read("text_classification", tmp_path).split("train")
    assert len(split.inputs[0]) == before + 1
    assert csv.field_size_limit() == before


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('text,label\n"open,1\nx,2\n', "line 3 is not CSV: unexpected end of data"),
        ('text,label\n"a"b,1\n', "line 2 is not CSV: ',' expected after '\"'"),
        ("text,label\ra,1\rb,0\r", "lines end in carriage returns alone, as on old"),
        ("text,text\na,b\n", "has 2 columns 'text'"),
        ('""\n', "holds no examples"),
        (",,\n", "holds no examples"),
    ],
)
def test_broken_csv_is_named_by_line(tmp_path, text, message):
    (tmp_path / "train.csv").write_text(text, newline="")
    assert message in complaint("text_classification", tmp_path)


def test_a_broken_json_line_is_named(tmp_path):
    lines = [json.dumps(ROWS[0]), "", '{"text": "a"']
    (tmp_path / "train.jsonl").write_text("\n".join(lines))
    message = complaint("text_classification", tmp_path)
    assert "train.jsonl, line 3 is not JSON: " in message


def test_columns_that_are_not_there_are_named_with_those_that_are(tmp_path):
    for ending, write in WRITERS.items():
        write(tmp_path / f"x{ending}", ROWS)
        message = complaint(
            "text_classification", tmp_path, train=f"x{ending}", text_column="review"
        )
        assert f"x{ending} has no column 'review'; it has 'text', 'label':" in message
        assert "the first line names the columns; say which is which with" in message
    message = complaint(
        "text_classification", tmp_path, train="x.tsv", text_pair_column="b"
    )
    assert "no column 'b'" in message
    message = complaint("text_regression", tmp_path, dev="x.tsv", id_column="key")
    assert "no column 'key'" in message


def test_another_kind_of_file_is_refused(tmp_path):
    (tmp_path / "mine.xlsx").write_text("x")
    message = complaint("tagging", tmp_path, train="mine.xlsx")
    assert "mine.xlsx: want a name that ends in .tsv .csv .jsonl" in message


@pytest.mark.parametrize(
    ("texts", "quoting", "is_quoted"),
    [
        (['He said "hi"', "plain"], csv.QUOTE_MINIMAL, True),
        (["a\tb", "plain"], csv.QUOTE_MINIMAL, True),
        (["a\nb", "plain"], csv.QUOTE_MINIMAL, True),
        (["a", "plain"], csv.QUOTE_ALL, True),
        (["a, b", "plain"], csv.QUOTE_ALL, True),
        (['"whole"', "plain"], csv.QUOTE_NONE, False),
        (['"whole, of it"', "no, none"], csv.QUOTE_NONE, False),
        (['"open', "plain"], csv.QUOTE_NONE, False),
        (['5" long', '6" long'], csv.QUOTE_NONE, False),
        (['"a" and "b"', "x"], csv.QUOTE_NONE, False),
    ],
)
def test_the_quoting_of_tsv_is_looked_up(tmp_path, texts, quoting, is_quoted):
    with (tmp_path / "train.tsv").open("w", newline="") as stream:
        mark = None if quoting == csv.QUOTE_NONE else '"'
        writer = csv.writer(stream, "excel-tab", quoting=quoting, quotechar=mark)
        writer.writerows([["text", "label"], [texts[0], "x"], [texts[1], "y"]])
    split = read("text_classification", tmp_path).split("train")
    assert split.inputs == texts
    assert ("quotes are around cells" in split.remark) == is_quoted


def test_quotes_around_cells_that_need_none_are_text_and_said(tmp_path):
    (tmp_path / "train.tsv").write_text('text\tlabel\n"whole"\tx\nplain\ty\n')
    split = read("text_classification", tmp_path).split("train")
    assert split.inputs[0] == '"whole"'
    assert "1 cells begin and end with quotes, which are text here" in split.remark
    split = read("text_classification", tmp_path, quoted=True).split("train")
    assert split.inputs[0] == "whole"
    (tmp_path / "train.tsv").write_text('text\tlabel\n"a ""b"""\tx\nplain\ty\n')
    split = read("text_classification", tmp_path, quoted=False).split("train")
    assert split.inputs[0] == '"a ""b"""'


@pytest.mark.parametrize(
    ("text", "note"),
    [
        ("text;label\na, b;1\nc;0\n", "its cells end at ';'"),
        ("text\tlabel\na, b\t1\nc\t0\n", r"its cells end at '\t'"),
        ("sep=;\ntext;label\na, b;1\nc;0\n", "its cells end at ';'"),
        (' Text , "LABEL"\n"a, b",1\nc,0\n', ""),
        ('text,label,,\n"a, b",1,,\nc,0,,\n', ""),
        (',text,label\n0,"a, b",1\n1,c,0\n', ""),
    ],
)
def test_csv_is_read_as_spreadsheets_write_it(tmp_path, text, note):
    text = text.replace(', "', ',"')
    for encoding in ("utf-8-sig", "utf-16"):
        (tmp_path / "train.csv").write_text(text, encoding, newline="\r\n")
        split = read("text_classification", tmp_path).split("train")
        assert (split.inputs, split.labels) == (["a, b", "c"], ["1", "0"])
        assert note in split.remark
        assert bool(note) == bool(split.remark)


@pytest.mark.parametrize(
    "text",
    [
        '[{"text": "a", "label": 1},\n {"text": "b", "label": 0}]',
        '{"text": "a", "label": 1}\n{"text": "b", "label": 0}\n',
        '{"data": [{"text": "a", "label": 1}, {"text": "b", "label": 0}]}',
        '{"text": {"0": "a", "1": "b"}, "label": {"0": 1, "1": 0}}',
    ],
)
def test_json_is_read_however_pandas_wrote_it(tmp_path, text):
    (tmp_path / "train.json").write_text(text)
    split = read("text_classification", tmp_path).split("train")
    assert (split.inputs, split.labels) == (["a", "b"], ["1", "0"])
    (tmp_path / "train.json").write_text("[" + text)
    assert "train.json is not JSON" in complaint("text_classification", tmp_path)


def test_rows_of_parquet_hold_lists(tmp_path):
    pyarrow = pytest.importorskip("pyarrow", reason="pyarrow is an extra")
    parquet = pytest.importorskip("pyarrow.parquet")
    table = pyarrow.table({"words": [WORDS], "tags": [TAGS]})
    parquet.write_table(table, tmp_path / "train.parquet")
    split = read("tagging", tmp_path).split("train")
    assert (split.inputs, split.labels) == ([WORDS], [TAGS])
    whole = (tmp_path / "train.parquet").read_bytes()
    (tmp_path / "train.parquet").write_bytes(whole[:-20])
    assert "is not Parquet, or damaged: " in complaint("tagging", tmp_path)


@pytest.mark.parametrize(
    ("labels", "learned", "found"),
    [
        (["-1", "-1"], "01", None),
        (["", ""], "01", None),
        (["-1", ""], "01", None),
        (["-1.0", "-1.0"], "01", None),
        (["-1", "-1"], ["-1", "1"], ["-1", "-1"]),
        (["1", "0"], "01", ["1", "0"]),
    ],
)
def test_labels_of_a_test_file_may_be_hidden(tmp_path, labels, learned, found):
    write_tsv(tmp_path / "train.tsv", [{"text": "x", "label": one} for one in learned])
    write_tsv(tmp_path / "test.tsv", [{"text": "y", "label": one} for one in labels])
    test = read("text_classification", tmp_path).split("test")
    assert test.labels == found
    assert ("no label says anything" in test.remark) == (found is None)


def test_a_test_file_has_all_labels_or_none(tmp_path):
    write_tsv(tmp_path / "train.tsv", ROWS)
    rows = [{"text": "y", "label": one} for one in ("2", "", "10", "")]
    write_tsv(tmp_path / "test.tsv", rows)
    message = complaint("text_classification", tmp_path)
    assert "test.tsv, line 3 has no label (2 of 4 rows)" in message
    (tmp_path / "test.tsv").unlink()
    write_jsonl(tmp_path / "test.jsonl", [{"text": "y"}, ROWS[0]])
    message = complaint("text_classification", tmp_path)
    assert "test.jsonl, line 1 has no label (1 of 2 rows)" in message
    write_jsonl(tmp_path / "test.jsonl", [{"text": "y", "label": -1}, {"text": "y"}])
    assert read("text_classification", tmp_path).split("test").labels is None


@pytest.mark.parametrize(
    ("task", "row", "hidden"),
    [
        ("text_regression", {"text": "x", "label": 0.5}, {"label": -1}),
        ("text_regression", {"text": "x", "label": 0.5}, {"label": None}),
        ("tagging", {"words": ["a"], "tags": ["O"]}, {"tags": None}),
        ("tagging", {"words": ["a"], "tags": ["O"]}, {"tags": []}),
        ("tagging", {"words": ["a"], "tags": ["O"]}, {"tags": [-1]}),
        (
            "multiple_choice",
            {"prompt": "x", "choices": ["a", "b"], "label": 1},
            {"label": -1},
        ),
        (
            "question_answering",
            {"question": "q", "context": "x", "answer": "x"},
            {"answer": {"text": [], "answer_start": []}},
        ),
    ],
)
def test_hidden_labels_are_known_in_every_task(tmp_path, task, row, hidden):
    write_jsonl(tmp_path / "train.jsonl", [row])
    write_jsonl(tmp_path / "test.jsonl", [row | hidden] * 2)
    found = read(task, tmp_path)
    assert found.split("test").labels is None
    assert found.split("test").inputs == found.split("train").inputs * 2


@pytest.mark.parametrize(
    ("task", "row"),
    [
        ("text_classification", {"text": ""}),
        ("text_regression", {"text": None}),
        ("tagging", {"words": []}),
        ("tagging", {"words": ""}),
        ("multiple_choice", {"prompt": "", "choices": '["a", "b"]'}),
        ("question_answering", {"question": "", "context": "x"}),
    ],
)
def test_a_row_to_predict_may_be_empty(tmp_path, task, row):
    write_jsonl(tmp_path / "test.jsonl", [row] * 3)
    assert len(read(task, tmp_path).split("test").inputs) == 3


def test_a_blank_line_is_a_row_where_there_is_one_column(tmp_path):
    for name, text in (("a.csv", 'text\ngood\n""\nbad\n'), ("a.tsv", "text\ng\n\nb")):
        (tmp_path / name).write_text(text)
        test = read("text_classification", tmp_path, test=name).split("test")
        assert (len(test.inputs), test.inputs[1]) == (3, "")


def test_a_test_file_may_lack_labels_and_no_other(tmp_path):
    rows = [{"text": row["text"]} for row in ROWS]
    write_tsv(tmp_path / "test.tsv", rows)
    assert read("text_classification", tmp_path).split("test").labels is None
    write_tsv(tmp_path / "dev.tsv", rows)
    assert "no column 'label'" in complaint("text_classification", tmp_path)
    (tmp_path / "dev.tsv").unlink()
    write_tsv(tmp_path / "test.tsv", ROWS)
    assert read("text_classification", tmp_path).split("test").labels[1] == "10"


def test_ids_are_lines_or_a_column(tmp_path):
    write_jsonl(tmp_path / "train.jsonl", [row | {"key": 7} for row in ROWS])
    split = read("text_classification", tmp_path).split("train")
    assert split.ids == ["1", "2", "3"]
    split = read("text_classification", tmp_path, id_column="key").split("train")
    assert split.ids == ["7"] * 3


def test_bad_rows_are_counted_named_and_refused_when_many(tmp_path):
    good = ["x\t0", "y\t1"] * 150
    bad = [" \t0", "half", "x\t "]
    file = tmp_path / "train.tsv"
    file.write_text("\n".join(["text\tlabel", *good, *bad]))
    split = read("text_classification", tmp_path).split("train")
    assert (split.skipped, len(split.inputs)) == (3, 300)
    assert "line 302: column 'text' is empty" in split.remark
    assert "line 303: 1 columns, want 2" in split.remark
    assert "line 304: column 'label' is empty" in split.remark
    file.write_text("\n".join(["text\tlabel", *good[:290], *bad]))
    message = complaint("text_classification", tmp_path)
    assert "line 292: column 'text' is empty (3 of 293 rows are bad)" in message


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"text": None, "label": "a"}, "column 'text' is None, want text"),
        ({"text": ["x"], "label": "a"}, "column 'text' is ['x'], want text"),
        ({"text": "x", "label": None}, "column 'label' is None"),
        ({"text": "x", "label": float("nan")}, "column 'label' is nan"),
        ({"text": "x", "label": {}}, "column 'label' is {}"),
        ({"label": "a"}, "no column 'text'"),
        (["x", "a"], "['x', 'a'], want an object"),
    ],
)
def test_json_of_another_type_is_a_bad_row(tmp_path, row, message):
    write_jsonl(tmp_path / "train.jsonl", [*ROWS, row])
    assert f"line 4: {message}" in complaint("text_classification", tmp_path)


def test_every_kind_of_task_has_a_table(tmp_path):
    rows = [
        {"text": "x", "label": str(i), "words": "x", "tags": "O", "prompt": "x"}
        | {
            "labels": "a",
            "choices": '["a", "b"]',
            "question": "x",
            "context": "x",
            "answer": "x",
        }
        for i in range(2)
    ]
    write_tsv(tmp_path / "train.tsv", rows)
    kinds = [
        read(task, tmp_path).kind
        for task in "text_classification multi_label_classification text_regression "
        "tagging question_answering multiple_choice".split()
    ]
    assert tuple(kinds) == tuple(registry.KINDS)[:6]
