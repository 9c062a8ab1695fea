"""Files are found and told apart by what they hold; what is left out is named."""

import gzip
import os
import sys

import pytest

from electra_tf import config, errors
from electra_tf.text import corpus, corpus_files


def read(*paths, skip=lambda _: None, **settings) -> list[list[str]]:
    kind = config.BuildDataConfig(**settings)
    return list(corpus.Corpus([str(path) for path in paths], kind, skip).documents())


def find(path, skip=lambda _: None) -> corpus_files.Found:
    return corpus_files.find(str(path), "text", skip)


ROW = b'{"text": "one\\ntwo", "url": "x"}\n'


@pytest.mark.parametrize(
    "name", ["wiki_00", "a.dump", "A.JSON", "a.json.gz", "rows", "a.txt", "\u4e2d"]
)
def test_a_file_that_is_named_is_read_by_what_it_holds(tmp_path, name):
    file = tmp_path / name
    for data, want in (
        (b"one\ntwo\n\nthree", [["one", "two"], ["three"]]),
        (ROW + ROW, [["one", "two"]] * 2),
        (b"\n" + ROW, [["one", "two"]]),
    ):
        if name.lower().startswith("a.json") and data[:3] == b"one":
            continue
        file.write_bytes(data)
        assert read(file) == want
        file.write_bytes(gzip.compress(data))
        assert read(file) == want
        assert read(tmp_path / f"{name[:1]}*") == want


def test_text_that_begins_as_json_does_stays_text(tmp_path):
    (tmp_path / "a.txt").write_text('{"title": "x"}\n{ "not": json\n')
    assert read(tmp_path) == [['{"title": "x"}', '{ "not": json']]


def test_parquet_is_read_whatever_its_name(tmp_path):
    pyarrow = pytest.importorskip("pyarrow", reason="pyarrow is an extra")
    parquet = pytest.importorskip("pyarrow.parquet")
    parquet.write_table(pyarrow.table({"text": ["one", "two"]}), tmp_path / "part-0")
    assert read(tmp_path / "part-0") == [["one"], ["two"]]
    assert read(tmp_path) == [["one"], ["two"]]
    data = gzip.compress((tmp_path / "part-0").read_bytes())
    (tmp_path / "b.gz").write_bytes(data)
    with pytest.raises(errors.UserError, match=r"b\.gz is compressed Parquet; decomp"):
        read(tmp_path / "b.gz")


def test_zstandard_is_read_and_its_damage_is_named(tmp_path):
    zstandard = pytest.importorskip("zstandard", reason="zstandard is an extra")
    frames = zstandard.compress(ROW * 999) + zstandard.compress(ROW)
    (tmp_path / "a.jsonl.zst").write_bytes(frames)
    assert read(tmp_path) == [["one", "two"]] * 1000
    flipped = bytearray(frames)
    flipped[9] ^= 255
    for damaged in (frames[:-3], frames[:20], frames + b"more", bytes(flipped)):
        (tmp_path / "a.jsonl.zst").write_bytes(damaged)
        with pytest.raises(
            errors.UserError, match=r"a\.jsonl\.zst is damaged: .*; copy"
        ):
            read(tmp_path)


def test_zstandard_without_its_library_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "zstandard", None)
    for name in ("a.jsonl.zst", "a.json.zst", "wiki_00.zst"):
        (tmp_path / name).write_bytes(b"\x28\xb5\x2f\xfd\0\0")
        with pytest.raises(errors.UserError, match=rf"{name}: .*pip install zstandard"):
            read(tmp_path)
        (tmp_path / name).unlink()


@pytest.mark.parametrize("name", ["a.json.gz", "wiki_00.gz", "part.gz"])
def test_a_damaged_file_is_no_file_to_leave_out(tmp_path, name):
    whole = gzip.compress(ROW * 99)
    for damaged in (whole[:12], whole[:11] + b"\xff" * 30, whole[:-3]):
        (tmp_path / name).write_bytes(damaged)
        with pytest.raises(errors.UserError, match=rf"{name} is damaged: "):
            read(tmp_path)


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"PK\x03\x04...", "a zip archive"),
        (b"%PDF-1.7 ...", "a PDF"),
        ("text".encode("utf-16"), "UTF-16, not UTF-8"),
        (b"\x7fELF\0\0", "no text: it has bytes of 0"),
    ],
)
def test_what_holds_no_text_is_refused_when_named(tmp_path, data, what):
    for name in ("a.bin", "a.jsonl", "a.txt")[: 1 if "bytes" in what else 3]:
        file = tmp_path / name
        file.write_bytes(data)
        with pytest.raises(
            errors.UserError, match=rf"{name} is {what}; convert it, or"
        ):
            read(file)


def test_folders_are_read_by_endings_and_the_rest_is_counted_and_named(tmp_path):
    wanted = [
        "a.TXT",
        "b.text",
        "c.ndjson",
        "d.json",
        "part-00001",
        "wiki_00.gz",
        "z.gz",
    ]
    unwanted = ["README", "a.md", "b.html", "c.csv", "config.json", "model-1", ".x.txt"]
    for name in wanted + unwanted:
        data = ROW if "json" in name else b"text"
        (tmp_path / name).write_bytes(gzip.compress(data) if "gz" in name else data)
    (tmp_path / "config.json").write_text('{\n "no": "rows"\n}')
    (tmp_path / "model-1").write_bytes(b"\0\1")
    found = find(tmp_path)
    assert [file.name for file in found.files] == wanted
    assert corpus_files.describe(found.left_out) == (
        "1 hidden (.x.txt), 4 of other endings (README, a.md, b.html ...), "
        "1 of no rows of text (config.json), 1 of no text (model-1)"
    )


def test_links_are_followed_once_and_what_leads_nowhere_is_named(tmp_path):
    store, texts = tmp_path / "store", tmp_path / "texts"
    for folder in (store, texts / "sub"):
        folder.mkdir(parents=True)
    (store / "a.txt").write_text("stored")
    (texts / "sub" / "b.txt").write_text("sub")
    (texts / "wiki").symlink_to(store)
    (texts / "again").symlink_to(texts / "sub")
    (texts / "sub" / "loop").symlink_to(texts)
    (texts / "file.txt").symlink_to(store / "a.txt")
    (texts / "gone.txt").symlink_to(tmp_path / "none")
    found = find(texts)
    names = [str(file.relative_to(texts)) for file in found.files]
    assert names == ["file.txt", "sub/b.txt", "wiki/a.txt"]
    assert corpus_files.describe(found.left_out) == (
        "2 linked, read already (again, sub/loop), "
        "1 a link that leads nowhere (gone.txt)"
    )


def test_a_folder_that_cannot_be_read_stops_the_build(tmp_path, monkeypatch):
    (tmp_path / "closed").mkdir()
    (tmp_path / "a.txt").write_text("text")

    def refuse(folder):
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patch:  # Root may read all there is.
        patch.setattr(corpus_files.Path, "iterdir", refuse)
        with pytest.raises(
            errors.UserError, match=r"cannot read folder .*: Permission"
        ):
            find(tmp_path)
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(errors.UserError, match=r"cannot read .*a\.txt: Permission"):
        find(tmp_path)


def test_pipes_and_devices_do_not_hang(tmp_path):
    os.mkfifo(tmp_path / "pipe.txt")
    with pytest.raises(errors.UserError, match=r"pipe\.txt is a pipe; want a file"):
        find(tmp_path / "pipe.txt")
    with pytest.raises(errors.UserError, match=r"null is a device; want a file"):
        find("/dev/null")
    (tmp_path / "gone").symlink_to(tmp_path / "none")
    with pytest.raises(errors.UserError, match="gone is a link that leads nowhere; wa"):
        find(tmp_path / "gone")
    with pytest.raises(errors.UserError, match=r"matches none: 1 a pipe \(.*pipe"):
        find(tmp_path / "pipe*")
    (tmp_path / "a.txt").write_text("text")
    assert find(tmp_path).left_out == [
        ("gone", "a link that leads nowhere"),
        ("pipe.txt", "a pipe"),
    ]


def test_what_must_be_skipped_is(tmp_path):
    for name in ("a.txt", "data/b.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)

    def skip(path):
        return "ours" if path.name == "data" else None

    assert read(tmp_path, skip=skip) == [["a.txt"]]
    assert find(tmp_path, skip).left_out == [("data", "ours")]
    with pytest.raises(
        errors.UserError, match=r"--corpus=.*data is ours; want a folder"
    ):
        find(tmp_path / "data", skip)


def test_a_path_that_gives_no_file_is_refused(tmp_path):
    with pytest.raises(errors.UserError, match=r"--corpus=\S*none: no such file"):
        find(tmp_path / "none")
    with pytest.raises(
        errors.UserError, match=r"\*\.txt: .*as a pattern it matches none"
    ):
        find(tmp_path / "*.txt")
    with pytest.raises(errors.UserError, match="no file in this folder ends in"):
        find(tmp_path)
    (tmp_path / "a.pdf").write_text("")
    with pytest.raises(
        errors.UserError, match=r"ends in .*; left out: 1 of other endings \(a\.pdf\)"
    ):
        find(tmp_path)


def test_commas_separate_unless_a_name_has_them(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a,b.txt", "a", "c,1", "c,2"):
        (tmp_path / name).write_text(name)
    assert corpus_files.split("a,b.txt") == ["a,b.txt"]
    assert corpus_files.split("c,*") == ["c,*"]
    assert corpus_files.split("a,builtin,,") == ["a", "builtin"]
    assert corpus_files.split("") == []


def test_a_name_that_is_a_pattern_too_is_taken_as_it_stands(tmp_path):
    (tmp_path / "a[1].txt").write_text("as it stands")
    (tmp_path / "a1.txt").write_text("as a pattern")
    assert read(tmp_path / "a[1].txt") == [["as it stands"]]
