"""The GLUE tasks from files as the benchmark hands them out, and back to it."""

import pytest

from electra_tf import errors
from electra_tf.datasets import glue, metrics
from electra_tf.kinds import registry

# A file of each task, its columns as in the download: (header, row).
HEADERS = {
    "sst-2": ("sentence label", "an 'odd\" film|1"),
    "mrpc": ("Quality|#1 ID|#2 ID|#1 String|#2 String", '1|70|71|one "a|two a'),
    "sts-b": (
        "index genre filename year old_index source1 source2 sentence1 sentence2 score",
        "0|news|MSR|2012|5|none|none|one a|two a|3.750",
    ),
    "qqp": ("id qid1 qid2 question1 question2 is_duplicate", "9|3|4|one a|two a|0"),
    "mnli": (
        "index promptID pairID genre sentence1_binary_parse sentence2_binary_parse "
        "sentence1_parse sentence2_parse sentence1 sentence2 label1 gold_label",
        "0|31|31n|fiction|( a )|( a )|(S a)|(S a)|one a|two a|neutral|neutral",
    ),
    "qnli": ("index question sentence label", "0|one a|two a|entailment"),
    "rte": ("index sentence1 sentence2 label", "0|one a|two a|not_entailment"),
    "wnli": ("index sentence1 sentence2 label", "0|one a|two a|1"),
}


def write(file, header, *rows):
    file.parent.mkdir(parents=True, exist_ok=True)
    cells = header.split("|") if "|" in header else header.split()
    lines = ["\t".join(cells), *(row.replace("|", "\t") for row in rows)]
    file.write_text("\n".join(lines) + "\n", "utf-8")


def read(task, folder):
    return registry.read(task, str(folder))


def test_every_task_is_read_from_its_own_columns(tmp_path):
    labels = dict.fromkeys(HEADERS, None)
    for task, (header, row) in HEADERS.items():
        write(tmp_path / task / "train.tsv", header, row)
        found = read(task, tmp_path / task)
        split = found.split("train")
        (labels[task],) = split.labels
        if task == "sst-2":
            assert split.inputs == ["an 'odd\" film"]
        else:
            assert split.inputs[0][0].startswith("one")
            assert split.inputs[0][1] == "two a"
        assert found.labels == glue.TASKS[task].classes
        assert found.kind == ("regression" if task == "sts-b" else "classification")
        assert found.symmetric == (task in ("mrpc", "sts-b"))
    assert list(labels.values()) == [
        "1",
        "1",
        3.75,
        "0",
        "neutral",
        "entailment",
        "not_entailment",
        "1",
    ]


def test_columns_of_texts_are_told(tmp_path):
    (tmp_path / "train.tsv").write_text("question\tsentence\tlabel\na\tb\tentailment\n")
    columns = {"text_column": "question", "text_pair_column": "sentence"}
    assert registry.read("qnli", str(tmp_path)).columns == columns


def test_cola_has_a_header_in_its_test_file_alone(tmp_path):
    (tmp_path / "train.tsv").write_text("gj04\t1\t\tHe ran.\ngj04\t0\t*\tHe run.\n")
    write(tmp_path / "test.tsv", "index sentence", "0|She ran.", "1|She run.", "2|Go.")
    found = read("cola", tmp_path)
    assert found.split("train").inputs == ["He ran.", "He run."]
    assert found.split("train").labels == ["1", "0"]
    assert found.split("test").inputs == ["She ran.", "She run.", "Go."]
    assert found.split("test").labels is None


def test_a_task_is_found_within_the_folder_of_all_tasks(tmp_path):
    write(tmp_path / "RTE" / "dev.tsv", *HEADERS["rte"])
    write(tmp_path / "WNLI" / "dev.tsv", *HEADERS["wnli"])
    assert read("rte", tmp_path).split("dev").labels == ["not_entailment"]
    assert read("wnli", tmp_path).split("dev").labels == ["1"]
    with pytest.raises(
        errors.UserError, match=r"no file of QNLI, nor does .*train\.tsv"
    ):
        read("qnli", tmp_path)


def test_mnli_has_two_of_each_and_the_diagnostic_set(tmp_path):
    header, row = HEADERS["mnli"]
    for name in ("train", "dev_matched", "dev_mismatched"):
        write(tmp_path / "MNLI" / f"{name}.tsv", header, row)
    for name in ("test_matched", "test_mismatched"):
        unlabelled = "index sentence1 sentence2"
        write(tmp_path / "MNLI" / f"{name}.tsv", unlabelled, f"0|of {name}|b")
    diagnostic = "index sentence1 sentence2"
    write(tmp_path / "diagnostic" / "diagnostic.tsv", diagnostic, "0|one|two")
    for folder in (tmp_path, tmp_path / "MNLI"):
        found = read("mnli", folder)
        assert {*found.splits} == {
            *("train", "dev", "dev_mismatched"),
            *("test", "test_mismatched", "diagnostic"),
        }
        assert found.split("test").inputs == [("of test_matched", "b")]
        assert found.split("diagnostic").labels is None
    assert [*read("ax", tmp_path).splits] == ["diagnostic"]
    assert read("ax", tmp_path).labels == found.labels


def test_mrpc_is_read_from_microsofts_files_too(tmp_path):
    header, row = HEADERS["mrpc"]
    write(tmp_path / "msr_paraphrase_train.txt", "\ufeff" + header, row, row)
    write(tmp_path / "msr_paraphrase_test.txt", "\ufeff" + header, row)
    found = read("mrpc", tmp_path)
    assert len(found.split("train").inputs) == 2
    assert found.split("dev").labels == ["1"]


def test_microsofts_train_file_is_not_mixed_with_glues_dev(tmp_path):
    header, row = HEADERS["mrpc"]
    write(tmp_path / "msr_paraphrase_train.txt", header, row, row)
    write(tmp_path / "dev.tsv", header, row)
    assert [*read("mrpc", tmp_path).splits] == ["dev"]


def test_quotes_are_text(tmp_path):
    write(tmp_path / "train.tsv", "sentence label", '"open|0', 'shut"|1')
    assert read("sst-2", tmp_path).split("train").inputs == ['"open', 'shut"']


def test_bad_rows_are_counted_and_named(tmp_path):
    good = ["fine film|1"] * 198
    write(tmp_path / "train.tsv", "sentence label", "half", *good, "odd|2")
    split = read("sst-2", tmp_path).split("train")
    assert split.skipped == 2
    assert "2 of 200 rows skipped: line 2: 1 columns, want 2; line 201" in split.remark
    assert split.ids[0] == "1"  # Row 0 is the bad one.


@pytest.mark.parametrize(
    ("task", "row", "complaint"),
    [
        ("rte", "0|a|b|maybe", r"line 2: label is 'maybe' \(1 of 1"),
        ("sts-b", "0|a|b|5.1", "line 2: score is '5.1'"),
        ("sts-b", "0|a|b|nan", "line 2: score is 'nan'"),
        ("sts-b", "0|a|b|good", "line 2: score is 'good'"),
        ("qnli", "0|a|b|c", r"no column 'question'; it has 'index', 'sen"),
    ],
)
def test_files_of_another_task_are_refused(tmp_path, task, row, complaint):
    label = "score" if task == "sts-b" else "label"
    write(tmp_path / "train.tsv", f"index sentence1 sentence2 {label}", row)
    with pytest.raises(errors.UserError, match=complaint):
        read(task, tmp_path)


def test_a_bad_test_row_is_refused_however_many_are_good(tmp_path):
    write(tmp_path / "test.tsv", "index sentence", *["0|a"] * 500, "half")
    with pytest.raises(
        errors.UserError, match=r"line 502: 1 columns, want 2 \(1 of 501"
    ):
        read("cola", tmp_path)


# Scores.


def read_dev(task, folder, labels):
    header, row = HEADERS.get(task, HEADERS["sst-2"])
    rows = [row.rpartition("|")[0] + f"|{label}" for label in labels]
    if task == "mrpc":
        rows = [f"{label}|" + row.partition("|")[2] for label in labels]
    name = "dev_matched.tsv" if task == "mnli" else "dev.tsv"
    write(folder / name, header, *rows)
    return read(task, folder)


@pytest.mark.parametrize(
    ("task", "measures"),
    [
        ("sst-2", ["accuracy"]),
        ("mrpc", ["accuracy", "f1"]),
        ("qqp", ["accuracy", "f1"]),
        ("wnli", ["accuracy"]),
        ("cola", ["matthews", "accuracy"]),
    ],
)
def test_classes_are_scored_by_the_official_measures(tmp_path, task, measures):
    found = read_dev(task, tmp_path, "11100")
    score = found.score(list("11001"), found.split("dev"))
    want = {
        "accuracy": 3 / 5,
        "f1": 2 * 2 / (3 + 3),
        "matthews": (2 * 1 - 1 * 1) / (3 * 3 * 2 * 2) ** 0.5,
    }
    assert score == pytest.approx({name: want[name] for name in measures})
    assert found.metric == measures[0]


def test_similarity_is_scored_by_both_correlations(tmp_path):
    found = read_dev("sts-b", tmp_path, ["0", "1.5", "5"])
    score = found.score([1.0, 2.0, 30.0], found.split("dev"))
    assert score["spearman"] == pytest.approx(1)
    want = metrics.pearson([0, 1.5, 5], [1, 2, 30])
    assert score["pearson"] == pytest.approx(want)
    assert 0.5 < want < 0.99
    assert found.metric == "spearman"


# Submissions.

SPELLINGS = {
    "cola": ("CoLA.tsv", ["0", "1"], "0 1"),
    "sst-2": ("SST-2.tsv", ["1", "0"], "1 0"),
    "mrpc": ("MRPC.tsv", ["1", "0"], "1 0"),
    "sts-b": ("STS-B.tsv", [5.2, 1.23456], "5.000 1.235"),
    "qqp": ("QQP.tsv", ["1", "0"], "1 0"),
    "qnli": ("QNLI.tsv", ["entailment", "not_entailment"], "entailment not_entailment"),
    "rte": ("RTE.tsv", ["not_entailment", "entailment"], "not_entailment entailment"),
    "wnli": ("WNLI.tsv", ["1", "0"], "1 0"),
}


@pytest.mark.parametrize("task", SPELLINGS)
def test_submissions_have_the_official_names_and_spellings(tmp_path, task):
    texts = "|".join(glue.TASKS[task].texts)
    key = "id" if task == "qqp" else "index"
    row = "|".join(["a"] * len(glue.TASKS[task].texts))
    write(tmp_path / "test.tsv", f"{key}|{texts}", f"0|{row}", f"1|{row}")
    found = read(task, tmp_path)
    name, predictions, spelt = SPELLINGS[task]
    path = found.write_submission(
        str(tmp_path / "out"), "test", found.split("test"), predictions
    )
    assert path == str(tmp_path / "out" / name)
    first, second = spelt.split()
    with open(path, newline="") as file:
        assert file.read() == f"index\tprediction\n0\t{first}\n1\t{second}\n"


def test_mnli_hands_in_three_files(tmp_path):
    write(tmp_path / "test_matched.tsv", "index sentence1 sentence2", "5|a|b")
    found = read("mnli", tmp_path)
    for split, name in (
        ("test", "MNLI-m.tsv"),
        ("test_mismatched", "MNLI-mm.tsv"),
        ("diagnostic", "AX.tsv"),
    ):
        path = found.write_submission(
            str(tmp_path), split, found.split("test"), ["contradiction"]
        )
        assert path == str(tmp_path / name)
        with open(path) as file:
            assert file.read() == "index\tprediction\n5\tcontradiction\n"


def test_scores_below_zero_and_broken_ones_are_handed_in_as_zero(tmp_path):
    rows = [f"{i}|a|b" for i in range(3)]
    write(tmp_path / "test.tsv", "index sentence1 sentence2", *rows)
    found = read("sts-b", tmp_path)
    path = found.write_submission(
        str(tmp_path), "test", found.split("test"), [-0.5, float("nan"), 2.0]
    )
    with open(path) as file:
        assert file.read().split()[2:] == ["0", "0.000", "1", "0.000", "2", "2.000"]


def test_submissions_that_cannot_be_say_so(tmp_path):
    write(tmp_path / "test.tsv", "index sentence", "0|a")
    (tmp_path / "file").write_text("")
    found = read("cola", tmp_path)
    with pytest.raises(errors.UserError, match="no submission of dev; want test"):
        found.write_submission(str(tmp_path), "dev", found.split("test"), ["1"])
    with pytest.raises(errors.UserError, match=r"cannot write .*file/CoLA\.tsv: "):
        found.write_submission(
            str(tmp_path / "file"), "test", found.split("test"), ["1"]
        )
