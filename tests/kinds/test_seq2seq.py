"""Texts become other texts, in files, in answers, and on pages."""

import json
from types import SimpleNamespace

import pytest

from electra_tf import errors
from electra_tf.datasets import dataset, tables
from electra_tf.finetuning import (
    evaluator,
    finetuner,
    predictor,
    task_config,
    task_data,
)
from electra_tf.kinds import columns, registry, seq2seq

KIND = seq2seq.KIND


class Writer:
    """A model that says a text backwards, and then the text."""

    kind = "seq2seq"
    preprocessor = SimpleNamespace(tokenizer=SimpleNamespace(encode=str.split))

    def __init__(self, **settings):
        self.stated_generation = task_config.GenerateConfig(**settings).model_dump
        self.asked = []

    def generate(self, texts, *, num_best, **options):
        self.asked.append((texts, options))
        return [[(t[::-1], -0.5), (t, -1.0)][:num_best] for t in texts]


def test_a_source_is_read_of_its_column_or_of_text():
    row = {"source": "a", "target": "b"}
    assert KIND.example(columns.Columns({}), row) == "a"
    assert KIND.example(columns.Columns({}), {"text": "a"}) == "a"
    names = columns.Columns({"source_column": "en"})
    assert KIND.example(names, {"en": ["A.", "B."]}) == "A. B."
    assert KIND.example(names, {"text": "a"}) == "a"  # of --text
    with pytest.raises(tables.BadCellError, match=r"options\.source_column=<name>"):
        KIND.example(columns.Columns({}), {"en": "a"})


def test_the_best_text_is_the_answer_and_several_where_they_are_asked_for():
    model = Writer(num_beams=4, max_length=9)
    assert KIND.answer(model, ["ab"], 8) == [{"generated": "ba", "score": -0.5}]
    ((_, options),) = model.asked
    assert options == {
        "batch_size": 8,
        "num_beams": 4,
        "max_length": 9,
        "min_length": 0,
        "length_penalty": 1.0,
        "no_repeat_ngram_size": 0,
    }
    both = [{"generated": "ba", "score": -0.5}, {"generated": "ab", "score": -1.0}]
    assert KIND.answer(Writer(num_best=2), ["ab"], 8) == [{**both[0], "n_best": both}]


def test_of_empty_texts_nothing_comes_and_the_model_is_not_asked():
    model = Writer()
    first, second, third = KIND.answer(model, ["", "ab", " \n"], 8)
    assert first == third == {"generated": "", "score": 0.0}
    assert second["generated"] == "ba"
    assert [texts for texts, _ in model.asked] == [["ab"]]
    assert KIND.answer(Writer(num_best=2), [""], 8)[0]["n_best"] == [first, first]


def test_a_server_says_the_same():
    assert KIND.request("a") == {"text": "a"}
    said = {"generated": "x", "n_best": ["x"], "scores": [-0.5], "truncated": False}
    assert KIND.response(said, "a") == {"generated": "x", "score": -0.5}
    said |= {"n_best": ["x", "y"], "scores": [-0.5, -0.75]}
    found = KIND.response(said, "a")
    assert found["n_best"][1] == {"generated": "y", "score": -0.75}


def test_each_target_is_a_lesson():
    found = KIND.lessons(["a", "b"], [("x", "y"), ("z",)])
    assert found == (["a", "a", "b"], ["x", "y", "z"])
    settings = task_config.FinetuneConfig()
    splits = {
        name: dataset.Split(["1"], ["a"], [("x", "y")], name)
        for name in ("train", "dev")
    }
    data = dataset.Dataset("seq2seq", "seq2seq", (), splits, "chrf", score=len)
    job = task_data._make_job("seq2seq", "seq2seq", data, settings, print)
    assert job.train == (["a", "a"], ["x", "y"])
    assert job.kind.guess(["x", "y", "y"], splits["dev"]) == ["y"]


def test_files_to_hand_in_are_what_sacrebleu_reads(tmp_path):
    labels = [("a\nb", "c"), ("d",)]
    split = dataset.Split(["1", "2"], ["s", "t"], labels, "dev.tsv")
    answers = [{"generated": "x  y"}, {"generated": ""}]
    KIND.hand_in(str(tmp_path), None, "dev", split, answers)
    files = {file.name: file.read_text() for file in tmp_path.iterdir()}
    assert files == {
        "dev.hyp": "x y\n\n",
        "dev.ref": "a b\nd\n",
        "dev.ref1": "c\n\n",
    }


def test_a_page_shows_texts_beside_references_and_the_worst_first():
    rows = [
        {
            "id": str(n),
            "source": "the cat",
            "gold": "die Katze" if n else ["die Katze", "eine Katze"],
            "generated": "die Katze" if n % 2 else "das Tier",
            "score": 0.0,
        }
        for n in range(30)
    ]
    samples, scores = KIND.page_tables(rows)
    assert len(samples.rows) == seq2seq.SAMPLES
    assert samples.rows[0] == ["0", "the cat", "die Katze / eine Katze", "das Tier"]
    assert samples.style == "texts"
    (chrf, *_) = scores.rows
    assert chrf[0] == "chrf"
    assert float(chrf[1]) > float(chrf[2])
    assert "nc:6" in chrf[3]
    assert KIND.judge(rows[1]) is None
    wrong, said = KIND.judge(rows[0])
    assert 50 < wrong < 100
    assert said.startswith("das Tier (chrF ")
    assert said.endswith("right: die Katze / eine Katze")
    assert KIND.show_label(("x",)) == "x"
    assert KIND.show_label(("x", "y")) == ["x", "y"]


def test_the_signatures_of_scores_are_told():
    split = dataset.Split(["1"], ["a"], [("x", "y")], "dev")
    told = KIND.signatures(split, ["x"])
    assert {*told} == {"chrf", "bleu", "rouge"}
    assert "nrefs:2" in told["bleu"]
    assert registry.KINDS["seq2seq"].epochs == 10


WORDS = "the cat dog bird sat ran on mat tree roof".split()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_pairs_become_a_model_that_is_scored_asked_and_converted(
    tiny_preset, tmp_path, capsys
):
    data, workdir = tmp_path / "data", tmp_path / "run"
    data.mkdir()
    pairs = [(a, b) for a in WORDS for b in WORDS if a != b]
    rows = [{"en": f"{a} {b}", "de": [f"{b} {a}", a]} for a, b in pairs]
    lines = [json.dumps(row) + "\n" for row in rows]
    (data / "train.jsonl").write_text("".join(lines))
    (data / "dev.jsonl").write_text("".join(lines[::9]))
    columns = {"source_column": "en", "target_column": "de"}
    settings = task_config.FinetuneConfig(
        data={"options": columns},
        model={"sequence_length": 12, "target_length": 10},
        train={"epochs": 6, "batch_size": 10, "learning_rate": 5e-3},
    )
    with pytest.MonkeyPatch.context() as patch:
        # What is learned is for others to judge.
        patch.setattr(finetuner.task_data, "failures", lambda *_: [])
        finetuner.run(settings, tiny_preset, ["seq2seq"], [str(data)], str(workdir))
    page = (workdir / "report.html").read_text()
    assert "Samples on dev" in page
    assert "nc:6" in page
    hypotheses = (workdir / "submissions/dev.hyp").read_text().splitlines()
    assert len(hypotheses) == len(lines[::9])
    assert (workdir / "submissions/dev.ref1").read_text().splitlines()[0] == "the"

    said = []
    stated = task_config.FinetuneConfig(generate={"num_beams": 2})
    found = evaluator.evaluate(
        str(workdir),
        None,
        str(data / "dev.jsonl"),
        "dev",
        stated,
        str(tmp_path / "dev.json"),
        said.append,
    )
    assert 0 <= found["chrf"] <= 100  # So few steps teach nothing.
    assert any("tok:13a" in line for line in said)
    kept = json.loads((tmp_path / "dev.json").read_text())
    assert "nrefs:2" in kept["signatures"]["bleu"]

    source = tmp_path / "new.jsonl"
    source.write_text('{"en": "the cat"}\n{"en": ""}\n')
    capsys.readouterr()
    stated = task_config.FinetuneConfig(generate={"num_beams": 3, "num_best": 2})
    predictor.predict(str(workdir), stated, source=str(source))
    first, empty = map(json.loads, capsys.readouterr().out.splitlines())
    assert first["source"] == "the cat"
    assert len(first["n_best"]) == 2
    assert first["generated"] == first["n_best"][0]["generated"]
    assert empty["generated"] == ""

    with pytest.raises(errors.UserError, match="max_length=40: want 2 to 32"):
        predictor.predict(
            str(workdir),
            task_config.FinetuneConfig(generate={"max_length": 40}),
            texts=["the cat"],
        )
