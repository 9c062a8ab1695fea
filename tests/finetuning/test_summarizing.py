import gzip
import io
import json

import pytest

from electra_tf import errors
from electra_tf.finetuning import summarizing, summary_config
from electra_tf.tasks import summarizer

ONE = "The cat sat on the mat. A dog ran under a tree. The bird saw it. It was a cat."
TWO = "A dog saw the cat.\nThe cat saw the dog.\nA bird sat on the roof.\n\nA cat ran."


class Model:
    """Takes the first sentences, and notes what it was built with."""

    built = ()

    def summarize(self, documents, num_sentences, ratio):
        found = [
            summarizer._document(text, number, num_sentences or 3, ratio)
            for number, text in enumerate(documents)
        ]
        return [
            summarizer._summary(one, [*range(len(one.sentences))][: one.wanted], [])
            for one in found
        ]


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    def from_preset(*args, **kwargs):
        Model.built = args, kwargs
        return Model()

    monkeypatch.setattr(
        summarizing.summarizer.ElectraSummarizer, "from_preset", from_preset
    )


def summarize(tmp_path, text, ending=".txt", output="out.jsonl", sets=None, **more):
    source = tmp_path / f"in{ending}"
    data = text.encode()
    source.write_bytes(gzip.compress(data) if ending.endswith(".gz") else data)
    settings = summary_config.SummarizeConfig(**(sets or {}))
    summarizing.summarize(
        "preset", settings, source=str(source), output=str(tmp_path / output), **more
    )
    written = (tmp_path / output).read_text("utf-8")
    if not output.endswith(".jsonl"):
        return written
    return [json.loads(line) for line in written.splitlines()]


def test_a_text_file_is_one_document_or_several(tmp_path):
    text = f"{TWO}\n\n{ONE}\n"
    (whole,) = summarize(tmp_path, text)
    assert whole["num_sentences"] == 8
    assert (
        whole["summary"]
        == "A dog saw the cat. The cat saw the dog. A bird sat on the roof."
    )
    assert list(whole) == ["summary", "sentences", "num_sentences", "clusters"]
    first = whole["sentences"][0]
    assert first == {"text": "A dog saw the cat.", "number": 0, "start": 0, "end": 18}
    for document, counts in (
        ("blank_line", [3, 1, 4]),
        ("line", [1, 1, 1, 0, 1, 0, 4]),
    ):
        found = summarize(
            tmp_path, text, ".txt.gz", sets={"data": {"document": document}}
        )
        assert [one["num_sentences"] for one in found] == counts
    assert summarize(tmp_path, "") == []


def test_rows_of_tables_are_documents_with_their_ids(tmp_path):
    rows = [{"id": 7, "text": ONE}, {"id": "b", "text": ""}]
    found = summarize(tmp_path, "\n".join(map(json.dumps, rows)), ".jsonl", ratio=0.5)
    assert [one["id"] for one in found] == [7, "b"]
    assert [len(one["sentences"]) for one in found] == [2, 0]
    lists = json.dumps({"sentences": ["A cat. B", "Dogs.", "", "It"]})
    (one,) = summarize(tmp_path, lists, ".jsonl", num_sentences=2)
    assert one["summary"] == "A cat. B Dogs."
    named = {"data": {"options": {"text_column": "review"}}}
    (one,) = summarize(tmp_path, f"review\tx\n{ONE}\t1\n", ".tsv", sets=named)
    assert one["num_sentences"] == 4
    with pytest.raises(errors.UserError, match="line 2: no column 'text'"):
        summarize(tmp_path, f"review\n{ONE}\n", ".tsv")


def test_text_and_tables_are_written_too(tmp_path):
    text = summarize(tmp_path, f"{ONE}\n\nWord", output="out.txt", num_sentences=2,
                     sets={"data": {"document": "blank_line"}})  # fmt: skip
    assert text == "The cat sat on the mat.\nA dog ran under a tree.\n\nWord\n\n"
    table = summarize(tmp_path, ONE, output="out.tsv").splitlines()
    assert table[0] == "summary\tsentences\tnum_sentences\tclusters"
    assert table[1].startswith("The cat sat on the mat. A dog")


@pytest.mark.parametrize(("text", "count"), [(ONE, 1), (json.dumps({"text": ONE}), 1)])
def test_stdin_is_a_text_or_json_lines(text, count, monkeypatch, capsys):
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(f"{text}\n".encode())))
    summarizing.summarize("preset", summary_config.SummarizeConfig(), source="-")
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [one["num_sentences"] for one in lines] == [4] * count


def test_the_settings_reach_the_model(tmp_path):
    sets = {"model": {"layer": -1, "context": True}, "summary": {"seed": 9}}
    summarize(tmp_path, ONE, sets=sets, network="generator")
    args, kwargs = Model.built
    assert args == ("preset", "generator")
    assert kwargs["layer"] == -1
    assert kwargs["context"] is True
    assert kwargs["seed"] == 9


def test_documents_before_a_bad_one_are_summarized(tmp_path):
    rows = "\n".join([*[json.dumps({"text": ONE})] * 70, '{"text": 7}'])
    with pytest.raises(errors.UserError, match="line 71: column 'text' is 7"):
        summarize(tmp_path, rows, ".jsonl")
    assert len((tmp_path / "out.jsonl").read_text().splitlines()) == 70


def test_what_is_wrong_is_said_before_a_model_is_opened(tmp_path):
    Model.built = ()
    settings = summary_config.SummarizeConfig()
    for more, message in (
        ({}, "name what to read"),
        ({"texts": ["a"], "source": "b.txt"}, "name what to read"),
        ({"texts": ["a"], "output": "a.csv"}, "ends in .jsonl or .tsv or .txt"),
        ({"texts": ["a"], "num_sentences": 0}, "num_sentences=0"),
        ({"source": str(tmp_path / "none.txt")}, "none.txt"),
    ):
        with pytest.raises(errors.UserError, match=message):
            summarizing.summarize("preset", settings, **more)
    assert Model.built == ()
