"""Files become documents: nothing lost, nothing guessed, bad input named."""

import bz2
import gzip
import json
import lzma
import random
import sys
import tracemalloc

import pytest

from electra_tf import config, errors
from electra_tf.text import corpus


def read(*paths, **settings) -> list[list[str]]:
    kind = config.BuildDataConfig(**settings)
    return list(corpus.Corpus([str(path) for path in paths], kind).documents())


def test_a_blank_line_ends_a_document(tmp_path):
    (tmp_path / "a.txt").write_text("one\ntwo\n\n\n \t\nthree\n\nfour")
    assert read(tmp_path) == [["one", "two"], ["three"], ["four"]]


def test_a_file_is_one_document_where_the_settings_say_so(tmp_path):
    (tmp_path / "a.txt").write_text("one\n\ntwo\n")
    (tmp_path / "b.txt").write_text("three")
    assert read(tmp_path, document_per_file=True) == [["one", "two"], ["three"]]


def test_an_article_of_wikiextractor_is_a_document_without_what_is_around_it(tmp_path):
    article = '<doc id="{0}" url="x" title="T{0}">\nT{0}\n\none\n\ntwo\n\n</doc>\n'
    (tmp_path / "wiki_00").write_text(article.format(1) + article.format(2))
    assert read(tmp_path) == [["T1", "one", "two"], ["T2", "one", "two"]]
    (tmp_path / "wiki_00").write_text("of <doc id= or\n</doc>")
    assert read(tmp_path) == [["of <doc id= or", "</doc>"]]


def test_folders_are_read_in_order_with_what_is_under_them(tmp_path):
    for name in ("b.txt", "a/z.txt", "a/y.jsonl", ".hidden/x.txt", "notes.md"):
        file = tmp_path / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(json.dumps({"text": name}) if "jsonl" in name else name)
    assert read(tmp_path) == [["a/y.jsonl"], ["a/z.txt"], ["b.txt"]]


def test_a_pattern_and_a_file_are_read_in_the_order_given(tmp_path):
    for name in ("b1.txt", "b0.txt", "a.txt"):
        (tmp_path / name).write_text(name)
    found = read(tmp_path / "b*.txt", tmp_path / "a.txt")
    assert found == [["b0.txt"], ["b1.txt"], ["a.txt"]]


def test_compressed_files_read_as_their_contents(tmp_path):
    (tmp_path / "a.txt.gz").write_bytes(gzip.compress(b"one\n\ntwo") * 2)
    (tmp_path / "b.jsonl.gz").write_bytes(gzip.compress(b'{"text": "three"}\n'))
    assert read(tmp_path) == [["one"], ["twoone"], ["two"], ["three"]]


def test_a_json_row_is_a_document_whatever_blank_lines_its_text_has(tmp_path):
    rows = [{"text": "one\n\ntwo", "id": 3}, {"text": None}, {"text": "  "}]
    lines = [*map(json.dumps, rows), "", '{"text": "caf\\u00e9"}']
    (tmp_path / "a.jsonl").write_text("\n".join(lines))
    assert read(tmp_path) == [["one", "two"], ["caf\u00e9"]]


def test_the_text_field_is_a_setting(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"body": "one", "text": "two"}')
    assert read(tmp_path, text_field="body") == [["one"]]


def test_only_a_newline_ends_a_line(tmp_path):
    text = "one\u2028two\x0bthree\x85four\x00five\rsix\r\nseven"
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbf" + text.encode())
    one, seven = read(tmp_path)[0]
    assert one == "one\u2028two\x0bthree\x85four\x00five\rsix"
    assert seven == "seven"


def test_a_line_without_end_is_cut_between_words_and_none_is_lost(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(corpus, "_MAX_LINE_BYTES", 64)
    monkeypatch.setattr(corpus, "_MAX_DOCUMENT_CHARACTERS", 500)
    words = [f"w\u00f6rd{i}" for i in range(999)]
    (tmp_path / "a.txt").write_text(" ".join(words), encoding="utf-8")
    found = read(tmp_path)
    assert len(found) > 10
    assert [w for document in found for line in document for w in line.split()] == words


def test_a_line_without_spaces_is_cut_between_characters(tmp_path, monkeypatch):
    monkeypatch.setattr(corpus, "_MAX_LINE_BYTES", 64)
    text = "\u4f60\u597d\U00020000x" * 100
    (tmp_path / "a.txt").write_text(text, encoding="utf-8")
    lines = read(tmp_path)[0]
    assert len(lines) > 10
    assert "".join(lines) == text


def test_memory_stays_flat(tmp_path, monkeypatch):
    monkeypatch.setattr(corpus, "_MAX_DOCUMENT_CHARACTERS", 10_000)
    with (tmp_path / "a.txt").open("w") as file:
        for i in range(50_000):
            file.write(f"line number {i} of a file without any blank line\n")
    text = corpus.Corpus([str(tmp_path)], config.BuildDataConfig())
    tracemalloc.start()
    count = sum(1 for _ in text.documents())
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert count > 100
    assert peak < 500_000  # of 2.6 MB


def test_undecodable_bytes_are_refused_with_their_place(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"one\n\ntwo \xff three")
    with pytest.raises(
        errors.UserError, match=r"a\.txt is not UTF-8 at byte 9; .*replace"
    ):
        read(tmp_path)


def test_undecodable_bytes_are_replaced_and_counted_where_the_settings_say_so(tmp_path):
    (tmp_path / "a.txt").write_bytes(
        "one\xff\n\ntw\ufffdo \xfe".encode("latin-1", "ignore")
    )
    (tmp_path / "b.jsonl").write_text('{"text": "x\\ud800y"}')
    text = corpus.Corpus([str(tmp_path)], config.BuildDataConfig(undecodable="replace"))
    documents = list(text.documents())
    assert documents[:2] == [["one\ufffd"], ["two \ufffd"]]
    assert "\ufffd" in documents[2][0]
    assert text.num_replaced > 2


def test_half_a_surrogate_pair_in_json_is_refused(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"text": "fine"}\n{"text": "x\\ud800y"}\n')
    with pytest.raises(
        errors.UserError, match=r"a\.jsonl, line 2 is not UTF-8 at byte 1"
    ):
        read(tmp_path)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"text": "two"', r"a\.jsonl, line 3 is not JSON"),
        ('{"body": "two"}', r"line 3 has no field 'text' .*text_field.* holds 'body'"),
        ('["two"]', r"line 3 has no field 'text'"),
        ('{"text": 7}', r"line 3: field 'text' .* is 7, want text"),
        ("[" * 100_000, r"line 3: its JSON is nested too deep"),
        ('[{"text": "two"},', r"line 3 is not JSON: .*; want one object per line"),
    ],
)
def test_a_bad_json_line_is_named(tmp_path, line, message):
    (tmp_path / "a.jsonl").write_text(f'{{"text": "one"}}\n\n{line}\n')
    with pytest.raises(errors.UserError, match=message):
        read(tmp_path)


def test_a_damaged_gz_is_named(tmp_path):
    whole = gzip.compress(b"one two three four" * 99)
    for damaged in (whole[:-20], whole + b"more", whole[:20] + b"?" + whole[21:]):
        (tmp_path / "cut.txt.gz").write_bytes(damaged)
        with pytest.raises(errors.UserError, match=r"cut\.txt\.gz is damaged: .* copy"):
            read(tmp_path)


@pytest.mark.parametrize(
    ("compress", "ending"), [(bz2.compress, "bz2"), (lzma.compress, "xz")]
)
def test_other_compressions_are_read_and_their_damage_is_named(
    tmp_path, compress, ending
):
    whole = compress(b"one\n\ntwo")
    file = tmp_path / f"a.txt.{ending}"
    file.write_bytes(whole)
    assert read(tmp_path) == [["one"], ["two"]]
    file.write_bytes(whole[:-8])
    with pytest.raises(errors.UserError, match=rf"a\.txt\.{ending} is damaged: "):
        read(tmp_path)


def test_a_line_of_json_is_never_cut(tmp_path, monkeypatch):
    monkeypatch.setattr(corpus, "_MAX_LINE_BYTES", 64)
    monkeypatch.setattr(corpus, "_MAX_DOCUMENT_CHARACTERS", 300)
    words = [f"w{i}" for i in range(999)]
    book, note = " ".join(words), "one\ntwo"
    rows = "".join(json.dumps({"text": text}) + "\n" for text in (book, note))
    (tmp_path / "a.jsonl").write_text(rows)
    found = read(tmp_path)
    assert [line for document in found[-1:] for line in document] == ["one", "two"]
    # It goes on as several documents of several lines, as a line of text does.
    assert len(found) > 9
    lines = [line for document in found[:-1] for line in document]
    assert " ".join(lines).split() == words
    assert max(map(len, lines)) <= 128


def test_a_line_of_json_over_the_limit_is_refused_by_the_settings_name(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"text": "one"}\n{"text": "three"}\n')
    assert read(tmp_path, max_json_bytes=18) == [["one"], ["three"]]
    with pytest.raises(
        errors.UserError,
        match=r"a\.jsonl, line 2 has over 17 bytes \(setting max_json_b",
    ):
        read(tmp_path, max_json_bytes=17)


def test_parquet_without_pyarrow_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    (tmp_path / "a.parquet").write_bytes(b"")
    with pytest.raises(errors.UserError, match="pip install pyarrow"):
        read(tmp_path)


def test_parquet_rows_are_documents(tmp_path):
    pyarrow = pytest.importorskip("pyarrow", reason="pyarrow is an extra")
    parquet = pytest.importorskip("pyarrow.parquet")
    table = pyarrow.table({"text": ["one\ntwo", None, "three"], "id": [1, 2, 3]})
    parquet.write_table(table, tmp_path / "a.parquet")
    assert read(tmp_path) == [["one", "two"], ["three"]]
    with pytest.raises(errors.UserError, match=r"no column 'body' .*it has text, id"):
        read(tmp_path, text_field="body")
    with pytest.raises(errors.UserError, match=r"row 1: field 'id' .* is 1, want text"):
        read(tmp_path, text_field="id")
    (tmp_path / "a.parquet").write_bytes(b"PAR1 not really")
    with pytest.raises(errors.UserError, match=r"a\.parquet is not Parquet"):
        read(tmp_path)


def test_parquet_that_is_not_utf8_is_named_or_replaced(tmp_path):
    pyarrow = pytest.importorskip("pyarrow", reason="pyarrow is an extra")
    parquet = pytest.importorskip("pyarrow.parquet")
    fine = pyarrow.array(["fine", "caf\u00e9"])
    bad = pyarrow.Array.from_buffers(  # As Spark writes it: a string that is not.
        pyarrow.string(),
        1,
        [None, pyarrow.py_buffer(b"\0\0\0\0\4\0\0\0"), pyarrow.py_buffer(b"caf\xe9")],
    )
    table = pyarrow.table({"text": pyarrow.chunked_array([fine, bad])})
    parquet.write_table(table, tmp_path / "a.parquet")
    with pytest.raises(
        errors.UserError, match=r"a\.parquet, row 3 is not UTF-8 at byte 3; .*replace"
    ):
        read(tmp_path)
    found = read(tmp_path, undecodable="replace")
    assert found == [["fine"], ["caf\u00e9"], ["caf\ufffd"]]


@pytest.mark.parametrize("kind", ["large_string", "string_view", "binary", "dict"])
def test_text_is_read_however_parquet_calls_it(tmp_path, kind):
    pyarrow = pytest.importorskip("pyarrow", reason="pyarrow is an extra")
    parquet = pytest.importorskip("pyarrow.parquet")
    text = pyarrow.array(["one", None, "tw\u00f6", "one"])
    if kind == "dict":
        text = text.dictionary_encode()
    else:
        text = text.cast(getattr(pyarrow, kind)())
    parquet.write_table(pyarrow.table({"text": text}), tmp_path / "a.parquet")
    assert read(tmp_path) == [["one"], ["tw\u00f6"], ["one"]]


def test_damaged_parquet_is_one_line_whatever_the_damage(tmp_path):
    pyarrow = pytest.importorskip("pyarrow", reason="pyarrow is an extra")
    parquet = pytest.importorskip("pyarrow.parquet")
    file = tmp_path / "a.parquet"
    texts = [f"document {i} of some" for i in range(50)]
    parquet.write_table(pyarrow.table({"text": texts}), file)
    whole = file.read_bytes()
    chance = random.Random(3)
    named = 0
    for _ in range(150):
        data = bytearray(whole)
        data[chance.randrange(4, len(data))] ^= 1 << chance.randrange(8)
        file.write_bytes(data if chance.random() < 0.8 else data[: len(data) // 2])
        try:
            found = corpus.Corpus([str(file)], config.BuildDataConfig())
            found.estimate_text_bytes()
            list(found.documents())
        except errors.UserError as error:
            named += str(error).startswith(str(file))
    assert named > 50


def test_the_fingerprint_changes_with_the_files(tmp_path):
    def fingerprint() -> str:
        text = corpus.Corpus([str(tmp_path)], config.BuildDataConfig())
        return text.sources[0].fingerprint

    (tmp_path / "a.txt").write_text("one")
    first = fingerprint()
    assert fingerprint() == first
    (tmp_path / "b.txt").write_text("two")
    assert fingerprint() != first


def test_all_bytes_are_read_at_the_end(tmp_path):
    (tmp_path / "a.txt").write_text("one\n\ntwo\n")
    (tmp_path / "b.txt.gz").write_bytes(gzip.compress(b"three" * 1000))
    text = corpus.Corpus(
        [str(tmp_path), str(tmp_path / "a.txt")], config.BuildDataConfig()
    )
    seen = [text.bytes_read for _ in text.documents()]
    assert seen == sorted(seen)
    assert text.bytes_read == text.num_bytes


def test_what_compressed_files_hold_is_estimated(tmp_path, monkeypatch):
    monkeypatch.setattr(corpus, "_PART_BYTES", 2_000_000)
    text = random.Random(2).randbytes(2_000_000).hex().encode()
    (tmp_path / "a.txt").write_bytes(text)
    (tmp_path / "b.txt.gz").write_bytes(gzip.compress(text))
    (tmp_path / "c.txt.gz").write_bytes(gzip.compress(b"short"))
    found = corpus.Corpus([str(tmp_path)], config.BuildDataConfig())
    assert abs(found.estimate_text_bytes() - 2 * len(text)) < 0.2 * len(text)


def test_what_parquet_holds_is_estimated(tmp_path):
    pyarrow = pytest.importorskip("pyarrow", reason="pyarrow is an extra")
    parquet = pytest.importorskip("pyarrow.parquet")
    texts = [f"document {i} " * 300 for i in range(300)]
    file = tmp_path / "a.parquet"
    parquet.write_table(pyarrow.table({"text": texts}), file, compression="gzip")
    found = corpus.Corpus([str(tmp_path)], config.BuildDataConfig())
    size = sum(map(len, texts))
    assert file.stat().st_size < 0.1 * size
    assert 0.9 * size < found.estimate_text_bytes() < 1.1 * size


def test_docstrings_are_read_without_importing(tmp_path):
    (tmp_path / "m.py").write_text(
        '"""Module."""\nraise SystemExit\nclass A:\n    r"""Class \\d."""\n'
        '    async def f(self):\n        """Method."""\n        "Not one."\n'
        'if True:\n    def g():\n        """Nested."""\n'
    )
    assert sorted(corpus._docstrings(tmp_path / "m.py")) == [
        "Class \\d.",
        "Method.",
        "Module.",
        "Nested.",
    ]
    (tmp_path / "broken.py").write_text("def (:")
    assert list(corpus._docstrings(tmp_path / "broken.py")) == []


def test_the_builtin_corpus_does_without_libraries_that_are_not_there(monkeypatch):
    monkeypatch.setattr(corpus, "_BUILTIN_LIBRARIES", ("absl", "no_such_library"))
    corpus._builtin_texts.cache_clear()
    try:
        first = read("builtin")
        corpus._builtin_texts.cache_clear()
        assert read("builtin") == first
    finally:
        corpus._builtin_texts.cache_clear()
    texts = ["\n".join(document) for document in first]
    assert len(texts) > 200
    assert len(set(texts)) > 0.99 * len(texts)
    assert any("assert" in text for text in texts)
