"""A corpus is scored once, whoever ends the process; the scores decide what stays."""

import gzip
import json
import math
import os

import numpy as np
import pytest

from electra_tf import config, errors
from electra_tf.cleaning import (
    clean_config,
    clean_page,
    cleaner,
    oddness,
    scores,
    selection,
)
from electra_tf.network import models
from electra_tf.tasks import scorer
from electra_tf.text import corpus
from electra_tf.weights import preset_writer

DOCUMENTS = [
    ["cats sat", "the dogs saw trees and cats", "a"],
    ["saw"],
    ["and trees sat the cat", "\u6f22 cats dog and the", "\u0301", "cats " * 30],
]


@pytest.fixture(scope="module")
def presets(tmp_path_factory, tiny_model_config, vocab):
    """Presets by the role of their only network."""
    found = {}
    for number, (role, build) in enumerate(
        {
            "discriminator": models.build_discriminator,
            "energy": models.build_discriminator,
            "generator": models.build_generator,
        }.items()
    ):
        network = build(tiny_model_config)
        chance = np.random.default_rng(number)
        for weight in network.weights:
            weight.assign(np.array(weight) + chance.normal(0, 0.3, weight.shape))
        found[role] = str(tmp_path_factory.mktemp("preset") / role)
        preset_writer.save(
            found[role],
            {role: network},
            {role: tiny_model_config},
            vocab,
            config.TokenizerConfig(),
            {},
        )
    return found


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


@pytest.mark.parametrize("role", ["discriminator", "energy"])
def test_scores_are_the_scorers_dealt_to_the_lines(presets, role):
    found = oddness.Judge(presets[role], clean_config.ScoreConfig()).judge(DOCUMENTS)
    way = {"discriminator": "replaced", "energy": "energy"}[role]
    asked = scorer.ElectraScorer.from_preset(presets[role], way=way)
    for document, lines in zip(DOCUMENTS, found, strict=True):
        (whole,) = asked.score(["\n".join(document)])
        assert sum(line.num_tokens for line in lines) == whole.num_tokens
        start = 0
        for text, line in zip(document, lines, strict=True):
            end = start + len(text)
            mine = [t.score for t in whole.tokens if start <= t.start < end]
            assert line.num_tokens == len(mine)
            assert line.surprise == pytest.approx(-np.mean(mine) if mine else 0, 1e-4)
            below = [one < math.log(0.5) for one in mine]
            assert line.replaced == pytest.approx(np.mean(below) if mine else 0)
            start = end + 1


def test_without_context_a_line_is_read_alone(presets):
    settings = clean_config.ScoreConfig(context=False)
    found = oddness.Judge(presets["discriminator"], settings).judge(DOCUMENTS)
    alone = [[line] for document in DOCUMENTS for line in document]
    together = oddness.Judge(presets["discriminator"], clean_config.ScoreConfig())
    for line, (other,) in zip(
        [line for lines in found for line in lines], together.judge(alone), strict=True
    ):
        assert line.num_tokens == other.num_tokens
        assert line.surprise == pytest.approx(other.surprise, 1e-4)


def test_a_masked_language_model_guesses_each_token_once_in_a_few_passes(presets):
    judge = oddness.Judge(presets["generator"], clean_config.ScoreConfig(passes=3))
    text = "the dogs saw trees and cats"
    ((line,),) = judge.judge([[text]])
    task = scorer.ElectraScorer.from_preset(presets["generator"], way="masking")
    ids = task.preprocessor.tokenizer.encode_with_offsets(text)[0]
    frame = task.preprocessor.frame
    row = np.array([frame.cls_id, *ids, frame.sep_id], np.int32)
    want = []
    for first in range(1, 4):
        places = np.arange(first, len(row) - 1, 3)
        hidden = row.copy()
        hidden[places] = task.preprocessor.tokenizer.mask_token_id
        out = task(
            {
                "token_ids": hidden[None],
                "segment_ids": 0 * row[None],
                "padding_mask": 0 * row[None] + 1,
                "mask_positions": places[None],
                "mask_ids": row[places][None],
            }
        )
        want += np.array(out).ravel().tolist()
    assert line.num_tokens == len(ids) == len(want)
    assert line.surprise == pytest.approx(-np.mean(want), 1e-4)


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
    with pytest.raises(errors.UserError, match="contradict each other"):
        config.check(
            clean_config.CleanConfig, {"select": {"most": 1, "drop_rate": 0.1}}, "--set"
        )
    (texts / "a.txt").write_text("\n \n")
    refused("the corpus is empty")


def test_the_bound_drops_the_share_that_is_asked_for():
    lines = [[oddness.Line(9, value, None)] for value in range(100)]
    for rate, count in ((0.0, 0), (0.05, 5), (0.5, 50), (1.0, 99)):
        select = clean_config.SelectConfig(drop_rate=rate)
        most = selection.bound(lines, select)
        said = [selection.decide(one, most, select)[0].keep for one in lines]
        assert said.count(False) == count


def test_a_document_counts_its_lines_by_their_tokens():
    found = selection.whole([oddness.Line(1, 4.0, 1.0), oddness.Line(3, 0.0, 0.0)])
    assert found == oddness.Line(4, 1.0, 0.25)
    assert selection.whole([oddness.Line(0, 0.0, None)]) == oddness.Line(0, 0.0, None)


def test_the_page_shows_both_ends():
    ends = clean_page.Ends(2)
    for value in (3.0, 1.0, 2.0, 5.0, 4.0):
        ends.add(clean_page.Shown(value, str(value), True))
    assert [one.value for one in ends.low()] == [1.0, 2.0]
    assert [one.value for one in ends.high()] == [5.0, 4.0]


def test_damaged_scores_are_named(tmp_path):
    path = str(tmp_path / "scores.jsonl")
    scores.append(path, [[oddness.Line(3, 0.5, 0.25)], []])
    assert scores.mend(path) == 2
    assert [*scores.read(path)] == [[oddness.Line(3, 0.5, 0.25)], []]
    with open(path, "ab") as file:
        file.write(b"[[1,\x00]]\n[[")
    assert scores.mend(path) == 3
    assert os.path.getsize(path) == len("[[3,0.5,0.25]]\n[]\n[[1,.]]\n")
    with pytest.raises(errors.UserError, match="line 3 is damaged"):
        list(scores.read(path))
