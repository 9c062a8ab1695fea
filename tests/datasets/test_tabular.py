"""Your own tables, by the names of their columns; what is wrong with them is named."""

import csv
import gzip
import json

import pytest

from electra_tf import errors
from electra_tf.datasets import dataset, metrics
from electra_tf.kinds import registry

# The same three examples in every format.
ROWS = [
    {"text": "a fine film", "label": "2"},
    {"text": "caf\u00e9 \u5317\u4eac", "label": "10"},
    {"text": "it 's bad", "label": "2"},
]


def write_tsv(file, rows):
    lines = ["\t".join(rows[0]), *("\t".join(row.values()) for row in rows)]
    file.write_text("\n".join(lines), "utf-8")


def write_csv(file, rows):
    with file.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, rows[0])
        writer.writeheader()
        writer.writerows(rows)


def write_jsonl(file, rows):
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")


WRITERS = {".tsv": write_tsv, ".csv": write_csv, ".jsonl": write_jsonl}


def read(task, folder, **options):
    return registry.read(task, str(folder), **options)


def complaint(task, folder, **options):
    with pytest.raises(errors.UserError) as caught:
        read(task, folder, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


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


# Classification.


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


# Regression.


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


# Tagging.

WORDS = ["New York", "is", "[big]"]
TAGS = ["B-LOC", "O", "B-X"]


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


# Multiple choice.


def test_choices_are_a_list_or_several_columns(tmp_path):
    lists = {"prompt": "I am", "choices": ["a", "b", "c"], "label": 2}
    write_jsonl(tmp_path / "train.jsonl", [lists])
    found = read("multiple_choice", tmp_path)
    assert found.split("train").inputs == [("I am", ("a", "b", "c"))]
    assert found.split("train").labels == [2]
    (tmp_path / "train.jsonl").unlink()
    columns = {"prompt": "I am", "e0": "a a", "e1": "b", "e2": "c", "label": "2"}
    write_csv(tmp_path / "train.csv", [columns])
    found = read("multiple_choice", tmp_path, choices_column="e0, e1,e2")
    split = found.split("train")
    assert split.inputs == [dataset.Choice("I am", ("a a", "b", "c"))]
    assert found.score([2], split) == {"accuracy": 1}
    assert found.score([1], split) == {"accuracy": 0}


@pytest.mark.parametrize("label", [3, -1, 1.5, "b", None])
def test_a_choice_that_is_not_there_is_refused(tmp_path, label):
    row = {"prompt": "I am", "choices": ["a", "b", "c"], "label": label}
    write_jsonl(tmp_path / "train.jsonl", [row])
    assert "line 1: column 'label' is" in complaint("multiple_choice", tmp_path)


def test_one_choice_is_none(tmp_path):
    row = {"prompt": "I am", "choices": ["a"], "label": 0}
    write_jsonl(tmp_path / "train.jsonl", [row])
    assert "'choices' holds 1 choices" in complaint("multiple_choice", tmp_path)


# Question answering.

CONTEXT = "Ann has a red car."


@pytest.mark.parametrize(
    ("cells", "answers"),
    [
        ({"answer": "red"}, [("red", 10)]),
        ({"answer": "RED"}, [("red", 10)]),
        ({"answer": ["red", "red car"]}, [("red", 10), ("red car", 10)]),
        ({"answer": ""}, []),
        ({"answer": None}, []),
        ({"answer": []}, []),
        ({"answer": {"text": ["a"], "answer_start": [8]}}, [("a", 8)]),
        ({"answer": {"text": [], "answer_start": []}}, []),
        ({"answer": "{'text': array(['a']), 'answer_start': [8]}"}, [("a", 8)]),
        ({"answer": '{"text": ["a"], "answer_start": [8]}'}, [("a", 8)]),
        ({"answer": "['red' 'red car']"}, [("red", 10), ("red car", 10)]),
        ({"answer": "[x]", "context": "as in [x]"}, [("[x]", 6)]),
        ({"answer": "[]"}, []),
    ],
)
def test_answers_are_found_in_the_context(tmp_path, cells, answers):
    row = {"question": "What?", "context": CONTEXT} | cells
    write_jsonl(tmp_path / "train.jsonl", [row])
    found = read("question_answering", tmp_path)
    split = found.split("train")
    assert split.inputs == [dataset.Question("What?", row["context"])]
    assert split.labels == [answers]
    assert found.metric == ("f1" if answers else "best_f1")


@pytest.mark.parametrize("ending", WRITERS)
def test_answers_may_say_where_they_start(tmp_path, ending):
    rows = [
        {"q": "What?", "c": "x b x", "a": "x", "at": "4"},
        {"q": "What?", "c": "x b x", "a": "x", "at": ""},
    ]
    WRITERS[ending](tmp_path / f"dev{ending}", rows)
    found = read(
        "question_answering",
        tmp_path,
        question_column="q",
        context_column="c",
        answer_column="a",
        start_column="at",
    )
    dev = found.split("dev")
    assert dev.labels == [[("x", 4)], [("x", 0)]]
    said = {key: metrics.QaPrediction("x") for key in dev.ids}
    assert found.score(said, dev) == {"exact": 1, "f1": 1}


def test_a_score_of_questions_is_by_their_ids(tmp_path):
    rows = [
        {"question": "What?", "context": CONTEXT, "answer": text, "key": text}
        for text in ("red", "car")
    ]
    write_jsonl(tmp_path / "dev.jsonl", rows)
    found = read("question_answering", tmp_path, id_column="key")
    said = {"car": metrics.QaPrediction("car"), "red": metrics.QaPrediction("x")}
    assert found.score(said, found.split("dev"))["exact"] == 0.5


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        ({"answer": 3}, "column 'answer' is 3, want text"),
        ({"answer": ["red", None]}, None),
        ({"answer": {"text": ["a"], "answer_start": [8, 9]}}, "2 starts for 1 answers"),
        ({"answer": {"text": ["a"], "answer_start": ["x"]}}, "starts at 'x', want a"),
        ({"answer": "red", "question": ""}, "question is '', want text"),
        ({"answer": "red", "context": 3}, "context is 3, want text"),
    ],
)
def test_broken_questions_are_bad_rows(tmp_path, cells, message):
    row = {"question": "What?", "context": CONTEXT} | cells
    write_jsonl(tmp_path / "train.jsonl", [row])
    if message is None:
        split = read("question_answering", tmp_path).split("train")
        assert split.labels == [[("red", 10)]]
    else:
        assert f"line 1: {message}" in complaint(
            "question_answering", tmp_path
        ).replace("answer starts", "starts")


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


# Several classes of one text.

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
