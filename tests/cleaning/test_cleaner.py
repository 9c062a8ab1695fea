"""A corpus is scored once, whoever ends the process; the scores decide what stays."""

import gzip
import json

import pytest

from electra_tf import config, errors
from electra_tf.cleaning import (
    clean_config,
    cleaner,
    oddness,
    scores,
)
from electra_tf.text import corpus

DOCUMENTS = [
    ["cats sat", "the dogs saw trees and cats", "a"],
    ["saw"],
    ["and trees sat the cat", "\u6f22 cats dog and the", "\u0301", "cats " * 30],
]


Judge = oddness.Judge


@pytest.fixture(scope="module")
def opened():
    return {}


@pytest.fixture(autouse=True)
def _opened_once(opened, monkeypatch):
    """Has each network opened once for all tests, which takes a second."""

    def open_once(origin, settings):
        key = origin, settings.model_dump_json()
        if key not in opened:
            opened[key] = Judge(origin, settings)
        return opened[key]

    monkeypatch.setattr(oddness, "Judge", open_once)


@pytest.fixture
def texts(tmp_path):
    folder = tmp_path / "texts"
    folder.mkdir()
    (folder / "a.txt").write_text("\n\n".join("\n".join(d) for d in DOCUMENTS))
    return folder


def clean(preset, texts, output, **sections):
    settings = clean_config.CleanConfig.model_validate(sections)
    return cleaner.clean(preset, [str(texts)], str(output), settings)


def read_rows(path):
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def test_what_is_kept_and_what_is_dropped_is_the_corpus(presets, texts, tmp_path):
    out = tmp_path / "out"
    state = clean(
        presets["discriminator"], texts, out, select={"drop_rate": 0.5, "min_tokens": 2}
    )
    kept = (out / "kept.txt").read_text("utf-8").rstrip("\n").split("\n\n")
    dropped = read_rows(out / "dropped.jsonl")
    stays = {(number, line) for number, d in enumerate(DOCUMENTS) for line in d}
    gone = {(row["document"], row["text"]) for row in dropped}
    assert gone
    lines = [line for document in kept for line in document.split("\n")]
    assert sorted(lines) == sorted(line.strip() for _, line in stays - gone_of(gone))
    for row in dropped:
        assert row["surprise"] > state["most"] or "too short" in row["reason"]
        assert DOCUMENTS[row["document"]][row["line"]].strip() == row["text"]
    counted = state["counted"]
    assert counted["kept_lines"] + len(dropped) == counted["lines"] == 8
    assert not any(file.suffix == ".partial" for file in out.iterdir())
    assert "not kept" in (out / "report.html").read_text("utf-8")


def gone_of(gone):
    return {
        (number, line)
        for number, document in enumerate(DOCUMENTS)
        for line in document
        if (number, line.strip()) in gone
    }


def test_with_other_bounds_nothing_is_scored_again(
    presets, texts, tmp_path, monkeypatch
):
    out = tmp_path / "out"
    clean(presets["discriminator"], texts, out)
    before = (out / scores.FILE).read_bytes()

    def judged(*_):
        raise AssertionError("scored again")

    monkeypatch.setattr(Judge, "judge", judged)
    state = clean(
        presets["discriminator"],
        texts,
        out,
        select={"most": 0.0, "min_tokens": 1},
        write={"form": "jsonl", "gzip": True},
    )
    assert (out / scores.FILE).read_bytes() == before
    assert not (out / "kept.txt").exists()
    assert not gzip.decompress((out / "kept.jsonl.gz").read_bytes())
    assert state["files"] == ["kept.jsonl.gz", "dropped.jsonl.gz", "report.html"]


def test_a_killed_run_goes_on_where_it_stopped(presets, texts, tmp_path, monkeypatch):
    whole = tmp_path / "whole"
    clean(presets["discriminator"], texts, whole)
    monkeypatch.setattr(cleaner, "_CHARACTERS_AT_ONCE", 1)
    out, judge, seen = tmp_path / "out", Judge.judge, []

    def killed(self, documents):
        if len(seen) == 2:
            raise KeyboardInterrupt
        seen.append(documents)
        return judge(self, documents)

    monkeypatch.setattr(Judge, "judge", killed)
    with pytest.raises(KeyboardInterrupt):
        clean(presets["discriminator"], texts, out)
    with (out / scores.FILE).open("ab") as file:
        file.write(b"[[5,0.1")  # What a process that is killed leaves.
    seen.clear()
    clean(presets["discriminator"], texts, out)
    assert seen == [[[line.strip() for line in DOCUMENTS[2]]]]
    for name in (scores.FILE, "kept.txt", "dropped.jsonl"):
        assert (out / name).read_bytes() == (whole / name).read_bytes()


def test_documents_are_judged_as_a_whole_where_asked(presets, texts, tmp_path):
    out = tmp_path / "out"
    select = {"unit": "document", "drop_rate": 0.4, "min_tokens": 1}
    clean(presets["discriminator"], texts, out, select=select)
    dropped = {row["document"] for row in read_rows(out / "dropped.jsonl")}
    assert len(dropped) == 1
    kept = (out / "kept.txt").read_text("utf-8").rstrip("\n").split("\n\n")
    want = [
        "\n".join(line.strip() for line in document)
        for number, document in enumerate(DOCUMENTS)
        if number not in dropped
    ]
    assert kept == want


def test_marked_text_is_all_there_with_scores_a_line(presets, texts, tmp_path):
    out = tmp_path / "out"
    clean(presets["discriminator"], texts, out, write={"action": "mark"})
    rows = read_rows(out / "marked.jsonl")
    assert [row["text"].split("\n") for row in rows] == [
        [line.strip() for line in document] for document in DOCUMENTS
    ]
    for row in rows:
        count = len(row["text"].split("\n"))
        for name in ("keep", "num_tokens", "surprise", "replaced"):
            assert len(row[name]) == count


def test_parquet_and_json_are_read_as_they_are_written(presets, texts, tmp_path):
    pytest.importorskip("pyarrow")
    for form in ("jsonl", "parquet"):
        out = tmp_path / form
        clean(
            presets["energy"],
            texts,
            out,
            select={"drop_rate": 0.0},
            write={"form": form},
        )
        found = corpus.Corpus([str(out / f"kept.{form}")], config.BuildDataConfig())
        assert [*found.documents()] == [
            [line.strip() for line in document] for document in DOCUMENTS
        ]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"score": {"context": False}}, "holds scores of other settings of score"),
        ({"role": "energy"}, "holds scores of other weights"),
        ({"more": "cats"}, "holds scores of other text"),
    ],
)
def test_scores_of_something_else_are_not_used(
    presets, texts, tmp_path, change, message
):
    out = tmp_path / "out"
    clean(presets["discriminator"], texts, out)
    before = {file: file.read_bytes() for file in out.iterdir()}
    if "more" in change:
        (texts / "b.txt").write_text(change["more"])
    sections = {"score": change["score"]} if "score" in change else {}
    with pytest.raises(errors.UserError, match=message):
        clean(presets[change.get("role", "discriminator")], texts, out, **sections)
    assert {file: file.read_bytes() for file in out.iterdir()} == before


def test_what_cannot_be_done_is_refused_in_one_line(presets, texts, tmp_path):
    def refused(message, preset="discriminator", output="new", **sections):
        with pytest.raises(errors.UserError, match=message):
            clean(presets[preset], texts, tmp_path / output, **sections)

    (tmp_path / "full").mkdir()
    (tmp_path / "full/mine.txt").write_text("mine")
    refused("holds mine.txt and no clean.json", output="full")
    assert (tmp_path / "full/mine.txt").read_text() == "mine"
    refused("select.by=replaced: the energy", "energy", select={"by": "replaced"})
    refused(
        "score.network=energy: .* take generator",
        "generator",
        score={"network": "energy"},
    )
    refused("write.gzip: Parquet", write={"form": "parquet", "gzip": True})
    long = {"sequence_length": 10_000}
    refused("score.sequence_length=10000: the position table", score=long)
    (texts / "a.txt").write_text("\n \n")
    refused("the corpus is empty")
