"""Texts become files of vectors, and find their nearest."""

import json

import numpy as np
import pytest

from electra_tf import errors
from electra_tf.finetuning import searcher, task_config
from electra_tf.tasks import catalog

SETTINGS = task_config.FinetuneConfig(train={"batch_size": 2})
TEXTS = ["the cat sat on the mat", "", "a dog ran", "the bird flew over", "a dog ran"]


@pytest.fixture(scope="module")
def embedder(tiny_preset):
    return catalog.load(str(tiny_preset), "encoder")


@pytest.fixture
def corpus(tmp_path):
    file = tmp_path / "corpus.txt"
    file.write_text("".join(f"{text}\n" for text in TEXTS))
    return str(file)


@pytest.fixture(autouse=True)
def several_chunks(monkeypatch):
    monkeypatch.setattr(searcher, "_BATCHES", 1)  # Two texts at once.


@pytest.fixture(autouse=True)
def one_embedder(monkeypatch, embedder):
    monkeypatch.setattr(catalog, "load", lambda path, network: embedder)


def search(preset, corpus, tmp_path, **kwargs):
    output = tmp_path / "found.jsonl"
    searcher.search(str(preset), SETTINGS, corpus, output=str(output), **kwargs)
    return [json.loads(line) for line in output.read_text().splitlines()]


def test_vectors_are_those_of_predict_in_the_order_of_the_texts(
    tiny_preset, corpus, embedder, tmp_path
):
    for name in ("out.npy", "out.jsonl"):
        count = searcher.embed(str(tiny_preset), SETTINGS, corpus, str(tmp_path / name))
        assert count == len(TEXTS)
    found = np.load(tmp_path / "out.npy", mmap_mode="r")
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, embedder.predict(TEXTS), atol=1e-6)
    text = (tmp_path / "out.jsonl").read_text()
    lines = [json.loads(line) for line in text.splitlines()]
    assert [line["text"] for line in lines] == TEXTS
    vectors = [line["embedding"] for line in lines]
    np.testing.assert_allclose(vectors, found, atol=1e-6)


def test_a_file_of_no_texts_has_no_vectors_of_the_usual_width(tiny_preset, tmp_path):
    (tmp_path / "empty.txt").write_text("")
    for name in ("out.npy", "out.jsonl"):
        source, output = str(tmp_path / "empty.txt"), str(tmp_path / name)
        assert searcher.embed(str(tiny_preset), SETTINGS, source, output) == 0
    assert np.load(tmp_path / "out.npy").shape == (0, 12)
    assert search(tiny_preset, source, tmp_path, texts=["a"]) == [
        {"text": "a", "found": []}
    ]


def test_a_text_finds_itself_first_with_stored_vectors_or_without(
    tiny_preset, corpus, tmp_path
):
    queries = [TEXTS[3], TEXTS[2]]
    stored = str(tmp_path / "out.npy")
    searcher.embed(str(tiny_preset), SETTINGS, corpus, stored)
    for made in (None, stored):
        found = search(
            tiny_preset, corpus, tmp_path, texts=queries, stored=made, top_k=2
        )
        assert [one["text"] for one in found] == queries
        assert [len(one["found"]) for one in found] == [2, 2]
        assert found[0]["found"][0] == {
            "text": TEXTS[3],
            "number": 4,
            "score": pytest.approx(1, abs=1e-5),
        }
        # Twice the same text, but in batches of its own each time.
        assert {near["number"] for near in found[1]["found"]} == {3, 5}
    everything = search(tiny_preset, corpus, tmp_path, source=corpus, top_k=99)
    assert [len(one["found"]) for one in everything] == [5] * 5


def test_columns_may_be_called_otherwise(tiny_preset, tmp_path):
    file = tmp_path / "corpus.tsv"
    file.write_text("review\tstars\na dog\t3\nthe cat\t5\n")
    named = SETTINGS.model_copy(
        update={
            "data": task_config.FinetuneDataConfig(options={"text_column": "review"})
        }
    )
    output = str(tmp_path / "out.npy")
    assert searcher.embed(str(tiny_preset), named, str(file), output) == 2
    with pytest.raises(errors.UserError, match=r"corpus.tsv, .*no column 'text'"):
        searcher.embed(str(tiny_preset), SETTINGS, str(file), output)
    assert np.load(output).shape == (2, 12)  # As it was.


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"texts": []}, "name what to look for"),
        ({"source": "more.txt"}, "name what to look for"),
        ({"top_k": 0}, "--top_k=0: want 1 or more"),
        ({"stored": "gone.npy"}, "cannot read .*gone.npy"),
        ({"stored": "corpus.txt"}, "cannot read .*corpus.txt"),
        ({"stored": "short.npy"}, "has 2 vectors, and .*corpus.txt 5 texts"),
        (
            {"stored": "wide.npy"},
            r"holds float32 \[5, 7\]; want float vectors \[texts,",
        ),
        ({"stored": "flat.npy"}, r"holds float32 \[5\]"),
        ({"stored": "whole.npy"}, r"holds int64 \[5, 12\]"),
        ({"stored": "zip.npz"}, "zip.npz holds no array"),
    ],
)
def test_what_does_not_fit_is_refused(tiny_preset, corpus, tmp_path, changes, message):
    np.save(tmp_path / "short.npy", np.zeros([2, 12], np.float32))
    np.save(tmp_path / "wide.npy", np.zeros([5, 7], np.float32))
    np.save(tmp_path / "flat.npy", np.zeros(5, np.float32))
    np.save(tmp_path / "whole.npy", np.zeros([5, 12], np.int64))
    np.savez(tmp_path / "zip.npz", a=np.zeros(3))
    if stored := changes.get("stored"):
        changes = changes | {"stored": str(tmp_path / stored)}
    with pytest.raises(errors.UserError, match=message) as error:
        search(tiny_preset, corpus, tmp_path, **{"texts": ["a"], **changes})
    assert "\n" not in str(error.value)


def test_files_are_not_written_over_what_is_read(tiny_preset, corpus, tmp_path):
    table = str(tmp_path / "corpus.jsonl")
    with pytest.raises(errors.UserError, match="is the input"):
        searcher.search(str(tiny_preset), SETTINGS, table, texts=["a"], output=table)
    with pytest.raises(errors.UserError, match=r"ends in \.npy or \.jsonl"):
        searcher.embed(str(tiny_preset), SETTINGS, corpus, str(tmp_path / "a.csv"))
    with pytest.raises(errors.UserError, match="it is read twice"):
        searcher.search(str(tiny_preset), SETTINGS, "-", texts=["a"])
