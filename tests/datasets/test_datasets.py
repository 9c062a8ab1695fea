"""Names find readers, folders find files, and damaged files say what is wrong."""

import gzip
import os

import pytest

from electra_tf import errors
from electra_tf.datasets import files
from electra_tf.kinds import registry

ROWS = "text\tlabel\nfine\t1\nbad\t0\n"


def test_every_task_is_known_by_its_name():
    assert {*registry.readers()} == set(
        "cola sst-2 mrpc sts-b qqp mnli qnli rte wnli ax squad mrqa conll conll2000 "
        "conll2003 text_classification multi_label_classification "
        "text_regression tagging multiple_choice "
        "question_answering seq2seq text_similarity text_retrieval extraction "
        "aclsum".split()
    )


@pytest.mark.parametrize(
    ("task", "near"), [("sst2", "sst-2"), ("CoLA", "cola"), ("squad2", "squad")]
)
def test_a_misspelt_task_is_told_the_nearest(tmp_path, task, near):
    with pytest.raises(
        errors.UserError, match=f"no task '{task}'; did you mean {near}"
    ):
        registry.read(task, str(tmp_path))


def test_a_task_like_no_other_is_told_all(tmp_path):
    with pytest.raises(errors.UserError, match=r"no task '\?'; there are cola, sst-2"):
        registry.read("?", str(tmp_path))


def test_options_are_checked_before_files(tmp_path):
    def complaint(task, **options):
        with pytest.raises(errors.UserError) as caught:
            registry.read(task, str(tmp_path / "missing"), **options)
        return str(caught.value)

    assert complaint("text_classification", textcolumn="a") == (
        "task text_classification has no option 'textcolumn'; did you mean text_column?"
    )
    assert (
        complaint("cola", train="a") == "task cola has no option 'train'; it has none"
    )
    assert "word_column='0', want int" in complaint("conll", word_column="0")
    assert "word_column=True, want int" in complaint("conll", word_column=True)
    assert "train=3, want str | None" in complaint("squad", train=3)
    assert "missing is not there" in complaint("squad", train=None, null_threshold=-2)


def read(folder, **options):
    return registry.read("text_classification", str(folder), **options)


def test_options_reach_the_reader(tmp_path):
    (tmp_path / "mine.tsv").write_text(ROWS.replace("text", "review"))
    found = read(tmp_path, train="mine.tsv", text_column="review")
    assert found.split("train").inputs == ["fine", "bad"]


def test_a_missing_split_is_named_with_those_that_are_there(tmp_path):
    (tmp_path / "train.tsv").write_text(ROWS)
    with pytest.raises(
        errors.UserError, match=r"no dev split; it has train \(.*train.t"
    ):
        read(tmp_path).split("dev")


# Files.


def test_files_are_found_by_the_names_people_give_them(tmp_path):
    (tmp_path / "train.csv").write_text("text,label\na,1\nb,0\n")
    (tmp_path / "validation.jsonl").write_text('{"text": "c", "label": 1}\n')
    (tmp_path / "test.tsv.gz").write_bytes(gzip.compress(b"text\nd\ne\nf\n"))
    splits = read(tmp_path).splits
    assert {name: len(split.inputs) for name, split in splits.items()} == {
        "train": 2,
        "dev": 1,
        "test": 3,
    }
    assert splits["test"].labels is None


def test_two_files_for_a_split_are_a_question(tmp_path):
    (tmp_path / "train.csv").write_text("text,label\na,1\nb,0\n")
    (tmp_path / "train.tsv").write_text(ROWS)
    with pytest.raises(errors.UserError, match=r"train\.tsv and train\.csv; say which"):
        read(tmp_path)
    assert read(tmp_path, train="train.csv").split("train").inputs == ["a", "b"]


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "train.tsv holds no examples"),
        (b" \n\n", "train.tsv holds no examples"),
        (b"text\tlabel\n", "train.tsv holds no examples"),
        (
            b"text\tlabel\nfine\t1\ncaf\xe9\t1\n",
            r"line 3 is not UTF-8 \(byte 21 is 0xe9",
        ),
        ("text\tlabel\n".encode("utf-16-le"), "line 1 holds bytes of 0.*UTF-16"),
        (b"\xff\xfe\0\xdct\0", "begins as UTF-16 and is not .*; save it as UTF-8"),
    ],
)
def test_files_that_hold_no_text_say_so(tmp_path, content, complaint):
    (tmp_path / "train.tsv").write_bytes(content)
    with pytest.raises(errors.UserError, match=complaint):
        read(tmp_path)


def test_damaged_archives_say_so(tmp_path):
    whole = gzip.compress(ROWS.encode() * 100)
    for damaged in (ROWS.encode(), whole[:-20], whole[:30] + b"\0\0" + whole[32:]):
        (tmp_path / "train.tsv.gz").write_bytes(damaged)
        with pytest.raises(errors.UserError, match=r"train\.tsv\.gz is damaged"):
            read(tmp_path)


def test_folders_and_files_that_are_not_there_say_so(tmp_path):
    with pytest.raises(errors.UserError, match=r"a/b is not there"):
        read(tmp_path / "a/b")
    with pytest.raises(
        errors.UserError, match=r"holds no dev, test, train, valid.*\.csv"
    ):
        read(tmp_path)
    with pytest.raises(
        errors.UserError, match=r"cannot read .*mine\.tsv: No such file"
    ):
        read(tmp_path, train="mine.tsv")
    (tmp_path / "folder.tsv").mkdir()
    with pytest.raises(errors.UserError, match=r"folder\.tsv: Is a directory"):
        read(tmp_path, train="folder.tsv")


def test_pipes_and_devices_are_no_files(tmp_path):
    os.mkfifo(tmp_path / "pipe.tsv")
    for name in ("pipe.tsv", "/dev/zero"):
        with pytest.raises(
            errors.UserError, match="is a pipe or a device; name a file"
        ):
            read(tmp_path, train=name)


def test_a_single_file_is_all_there_is(tmp_path):
    for name in ("train.tsv", "mine.tsv", "test.tsv"):
        (tmp_path / name).write_text(ROWS)
    file = str(tmp_path / "mine.tsv")
    assert list(registry.read("text_classification", file).splits) == ["train"]
    found = registry.read("text_classification", file, "dev")
    assert {name: split.source for name, split in found.splits.items()} == {"dev": file}
    found = registry.read("text_classification", file, dev="test.tsv")
    assert list(found.splits) == ["train", "dev"]


def test_a_single_file_of_glue_says_by_its_name_which_split_it_is(tmp_path):
    file = tmp_path / "dev_mismatched.tsv"
    file.write_text("sentence1\tsentence2\tgold_label\na\tb\tneutral\n")
    assert list(registry.read("mnli", str(file), "dev").splits) == ["dev_mismatched"]
    other = file.rename(tmp_path / "mine.tsv")
    with pytest.raises(
        errors.UserError, match=r"does not say which .* want train\.tsv"
    ):
        registry.read("mnli", str(other))


def test_a_byte_order_mark_and_windows_line_ends_are_no_text(tmp_path):
    for name in ("train.tsv", "train.csv"):
        text = ROWS.replace("\n", "\r\n").replace("\t", "," if "csv" in name else "\t")
        (tmp_path / name).write_bytes(b"\xef\xbb\xbf" + text.encode())
        found = read(tmp_path, train=name).split("train")
        assert (found.inputs, found.labels) == (["fine", "bad"], ["1", "0"])


def test_only_line_feeds_end_a_line(tmp_path):
    text = "a\u2028b\x0bc\x85d"
    (tmp_path / "train.tsv").write_text(f"text\tlabel\n{text}\t1\nbad\t0", "utf-8")
    assert read(tmp_path).split("train").inputs[0] == text


def check(num_good, num_bad, labelled=True):
    bad = files.BadRows("some.tsv")
    for line in range(num_bad):
        bad.add(f"line {line + 7}", "too odd")
    return bad.check(num_good, labelled)


def test_a_few_bad_rows_are_counted_and_named():
    assert check(100, 0) == (0, "")
    skipped, remark = check(99, 1)
    assert skipped == 1
    assert remark == "some.tsv: 1 of 100 rows skipped: line 7: too odd"
    assert check(990, 9)[1].endswith(
        "line 7: too odd; line 8: too odd; line 9: too odd and 6 more"
    )


def test_many_bad_rows_are_refused():
    with pytest.raises(
        errors.UserError, match=r"some.tsv, line 7: too odd \(1 of 99 r"
    ):
        check(98, 1)


def test_no_bad_row_may_be_among_those_to_predict():
    with pytest.raises(errors.UserError, match=r"line 7: too odd \(1 of 1000 rows"):
        check(999, 1, labelled=False)
