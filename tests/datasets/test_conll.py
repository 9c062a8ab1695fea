"""Words and tags in columns become sentences, in every layout people use."""

import pytest

from electra_tf import errors
from electra_tf.kinds import registry

SENTENCES = [["EU", "rejects", "Bonn"], ["Go", "!"]]
TAGS = [["B-ORG", "O", "B-LOC"], ["O", "O"]]

LINES = ["EU NNP B-ORG", "rejects VBZ O", "Bonn NNP B-LOC", "", "Go VB O", "! . O"]


def write(file, lines, end="\n"):
    file.write_text(end.join(lines), "utf-8", newline="")


def read(folder, **options):
    return registry.read("conll", str(folder), **options)


@pytest.mark.parametrize(
    "lines",
    [
        LINES,
        [*LINES, "", "", " "],
        ["", *LINES],
        [line.replace(" ", "\t") for line in LINES],
        [line.replace(" ", " \t  ") + " " for line in LINES],
        ["-DOCSTART- -X- O", "", *LINES[:4], "-DOCSTART- -X- O", "", *LINES[4:]],
        ["-DOCSTART-", *LINES[:3], "-DOCSTART-", *LINES[4:]],
        ["# id = 1", *LINES[:4], "# text = Go !", "#", *LINES[4:]],
    ],
)
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_blanks_tabs_and_what_is_no_word_do_not_matter(tmp_path, lines, end):
    write(tmp_path / "train.txt", lines, end)
    found = read(tmp_path)
    split = found.split("train")
    assert (split.inputs, split.labels) == (SENTENCES, TAGS)
    assert (split.ids, split.skipped) == (["0", "1"], 0)
    assert found.labels == ("O", "B-LOC", "B-ORG")
    assert (found.kind, found.metric) == ("tagging", "f1")


def test_columns_may_be_in_any_order(tmp_path):
    write(tmp_path / "train.txt", [" ".join(reversed(row.split())) for row in LINES])
    found = read(tmp_path, word_column=2, tag_column=0).split("train")
    assert (found.inputs, found.labels) == (SENTENCES, TAGS)
    found = read(tmp_path, word_column=-1, tag_column=1)
    assert found.split("train").labels == [["NNP", "VBZ", "NNP"], ["VB", "."]]
    assert found.labels == (".", "NNP", "VB", "VBZ")


def test_words_may_hold_blanks_where_tabs_part_the_columns(tmp_path):
    write(
        tmp_path / "train.txt", ["New York\tNNP\tB-LOC", "is\tVBZ\tO", "\u00a0\tSP\tO"]
    )
    assert read(tmp_path).split("train").inputs == [["New York", "is", "\u00a0"]]


def test_a_number_sign_may_be_a_word(tmp_path):
    write(tmp_path / "train.txt", ["# NN B-X", "1 CD I-X"])
    assert read(tmp_path).split("train").inputs == [["#", "1"]]


@pytest.mark.parametrize(
    "names",
    [
        ("train.txt", "dev.txt", "test.txt"),
        ("train", "valid", "test"),
        ("train.txt", "testa.txt", "testb.txt"),
        ("eng.train", "eng.testa", "eng.testb"),
        ("train.conll", "validation.conll", "test.conll"),
    ],
)
def test_files_are_found_by_their_usual_names(tmp_path, names):
    for count, name in enumerate(names, 1):
        write(tmp_path / name, LINES * 2 * count)
    sizes = {name: len(split.inputs) for name, split in read(tmp_path).splits.items()}
    # Each repeat joins its last sentence with the next one's first.
    assert sizes == {"train": 3, "dev": 5, "test": 7}


def test_tags_are_those_of_all_splits(tmp_path):
    write(tmp_path / "train.txt", ["a B-X"])
    write(tmp_path / "dev.txt", ["a I-X", "b O"])
    write(tmp_path / "test.txt", ["a B-A"])
    assert read(tmp_path).labels == ("O", "B-A", "B-X", "I-X")


def test_a_test_file_may_lack_the_tags(tmp_path):
    write(tmp_path / "train.txt", LINES)
    for lines in (LINES, [row.rpartition(" ")[0] for row in LINES]):
        write(tmp_path / "test.txt", lines)
        split = read(tmp_path).split("test")
        assert split.inputs == SENTENCES
        assert split.labels == (TAGS if lines is LINES else None)
    write(tmp_path / "dev.txt", ["EU", "rejects"])
    with pytest.raises(errors.UserError, match=r"the same of 1 columns"):
        read(tmp_path)


CONLLU = """# newdoc id = n01
# sent_id = 1
# text = vamonos al mar , e2 de x y
1-2\tvamonos\t_\t_\t_\t_\t_\t_\t_\t_
1\tvamos\tir\tVERB\t_\t_\t0\troot\t_\t_
2\tnos\tnosotros\tPRON\t_\t_\t1\tobj\t_\t_
3-4\tal\t_\t_\t_\t_\t_\t_\t_\t_
3\ta\ta\tADP\t_\t_\t5\tcase\t_\t_
4\tel\tel\tDET\t_\t_\t5\tdet\t_\t_
4.1\tquiero\tquerer\tVERB\t_\t_\t_\t_\t1:x\t_
5\tmar azul\tmar\tNOUN\t_\t_\t1\tobl\t_\t_

# sent_id = 2
1\t#\t#\tSYM\t_\t_\t0\troot\t_\t_
"""


def test_conllu_has_words_without_ranges_and_empty_nodes(tmp_path):
    (tmp_path / "train.conllu").write_text(CONLLU)
    found = read(tmp_path)
    assert found.split("train").inputs == [
        ["vamos", "nos", "a", "el", "mar azul"],
        ["#"],
    ]
    assert found.split("train").labels == [
        ["VERB", "PRON", "ADP", "DET", "NOUN"],
        ["SYM"],
    ]
    found = read(tmp_path, tag_column=7)
    assert found.split("train").labels[0] == ["root", "obj", "case", "det", "obl"]


def test_a_comment_may_have_as_many_columns_as_words(tmp_path):
    lines = ["# id = 1", "EU NNP I-NP B-ORG", "", "# text = x", "Go VB I-VP O"]
    write(tmp_path / "train.txt", lines)
    assert read(tmp_path).split("train").inputs == [["EU"], ["Go"]]


def test_tags_of_a_test_file_may_be_hidden(tmp_path):
    write(tmp_path / "train.txt", LINES)
    write(tmp_path / "test.txt", [f"{row.split()[0]} X _" for row in LINES if row])
    test = read(tmp_path).split("test")
    assert test.labels is None
    assert "tags are '_' always: taken as without" in test.remark
    write(tmp_path / "test.txt", [f"{row.split()[0]} X O" for row in LINES if row])
    assert read(tmp_path).split("test").labels == [["O"] * 5]


def test_chunks_are_scored(tmp_path):
    write(tmp_path / "dev.txt", LINES)
    found = read(tmp_path)
    said = [["B-ORG", "O", "O"], ["O", "B-LOC"]]
    assert found.score(said, found.split("dev")) == {
        "precision": 0.5,
        "recall": 0.5,
        "f1": 0.5,
        "accuracy": 0.6,
    }


def test_a_sentence_with_a_broken_line_is_left_out(tmp_path):
    good = [*LINES, ""] * 60
    write(tmp_path / "train.txt", [*good, "half", "Go VB O", "", *good])
    split = read(tmp_path).split("train")
    assert (split.skipped, len(split.inputs)) == (1, 240)
    assert "1 of 241 rows skipped: line 421: 1 columns, want 3" in split.remark
    write(tmp_path / "train.txt", [*LINES, "half"])
    with pytest.raises(errors.UserError, match=r"line 7: 1 columns, want 3 \(1 of 2 "):
        read(tmp_path)


def test_an_empty_word_is_no_word(tmp_path):
    write(tmp_path / "train.txt", ["a b\tNN\tO", "x\t\tO", "c\tO\t"])
    with pytest.raises(errors.UserError, match=r"line 3: an empty word or tag"):
        read(tmp_path)


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"word_column": 3}, "has 3 columns; option word_column=3 is none of them"),
        ({"tag_column": -4}, "option tag_column=-4 is none of them"),
        ({"word_column": 2}, "word_column and tag_column are the same of 3 columns"),
    ],
)
def test_columns_that_are_not_there_are_named(tmp_path, options, complaint):
    write(tmp_path / "train.txt", LINES)
    with pytest.raises(errors.UserError, match=complaint):
        read(tmp_path, **options)


def test_a_file_without_words_says_so(tmp_path):
    write(tmp_path / "train.txt", ["-DOCSTART- -X- O", "", "-DOCSTART- -X- O"])
    with pytest.raises(errors.UserError, match="has 0 columns"):
        read(tmp_path)
