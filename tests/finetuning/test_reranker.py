"""Hypotheses are scored, a weight is kept in a file, and the best come out."""

import json

import pytest
import servers

from electra_tf import errors
from electra_tf.finetuning import reranker, task_config
from electra_tf.release import exporter
from electra_tf.tasks import scorer

LISTS = {
    "1": ("the cat sat on the mat", ["the cat sat on the mat", "the cats sat on mat"]),
    "2": ("a dog ran", ["a dog run", "a dog ran", "a dog ran under", ""]),
    "3": ("the bird", ["the bird", "a bird"]),
}
SETTINGS = task_config.RerankConfig()


@pytest.fixture(scope="module")
def dev(tmp_path_factory):
    """Lists with references; scores of the first pass are costs that mean little."""
    rows = [
        {"id": key, "hypothesis": text, "score": place % 2, "reference": reference}
        for key, (reference, texts) in LISTS.items()
        for place, text in enumerate(texts)
    ]
    file = tmp_path_factory.mktemp("nbest") / "dev.jsonl"
    file.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return file


@pytest.fixture(scope="module")
def tuned(dev, tiny_preset):
    """The file of the weight that was chosen on dev."""
    weights = dev.parent / "weights.json"
    reranker.rerank(tiny_preset, SETTINGS, str(weights), dev=str(dev))
    return weights


def test_the_weight_is_kept_with_what_it_came_to(tuned, tiny_preset):
    found = json.loads(tuned.read_text())
    assert found["metric"] == "wer"
    assert (found["lists"], found["hypotheses"]) == (3, 8)
    assert found["oracle"] == 0.0
    assert found["oracle"] <= found["reranked"] <= found["first_pass"]
    assert found["scorer"] == {"of": tiny_preset, "way": "masking", "hide": "token"}


def test_the_best_of_each_list_come_out_by_the_weight(
    tuned, dev, tiny_preset, tmp_path, capsys
):
    known = json.loads(tuned.read_text())
    weights = tmp_path / "weights.json"
    weights.write_text(json.dumps(known | {"weight": 0.5, "bonus": 0.25}))
    settings = task_config.RerankConfig(rerank={"costs": True})
    reranker.rerank(tiny_preset, settings, str(weights), source=str(dev))
    out, said = capsys.readouterr()
    found = {row["id"]: row for row in map(json.loads, out.splitlines())}
    assert [*found] == [*LISTS]
    model = scorer.ElectraScorer.from_preset(tiny_preset)
    for key, (_, texts) in LISTS.items():
        scores = model.score(texts)
        totals = [
            -(place % 2) + 0.5 * one.score + 0.25 * one.num_tokens
            for place, one in enumerate(scores)
        ]
        best = max(range(len(texts)), key=totals.__getitem__)
        row = found[key]
        assert (row["hypothesis"], row["place"]) == (texts[best], best + 1)
        assert row["score"] == best % 2
        assert row["text_score"] == pytest.approx(scores[best].score, abs=1e-3)
    assert "wer of 3 lists" in said


@pytest.mark.slow
def test_a_server_chooses_as_the_preset_does(tuned, dev, tiny_preset, tmp_path, capsys):
    exporter.export(
        tiny_preset,
        str(tmp_path / "scorer"),
        task_config.ExportConfig(),
        network="scorer",
        batch_sizes=[1],
        say=lambda _: None,
    )
    served = servers.Served(str(tmp_path / "scorer/1"))
    with servers.serve({"scorer": served}) as addresses:
        for preset, server in (
            (tiny_preset, None),
            (None, f"{addresses.rest}/scorer"),
            (None, f"{addresses.grpc}/scorer"),
        ):
            out = f"{tmp_path}/{len(server or '')}.tsv"
            reranker.rerank(
                preset,
                SETTINGS,
                str(tuned),
                server=server,
                source=str(dev),
                output=out,
            )
    texts = [file.read_text().splitlines() for file in tmp_path.glob("*.tsv")]
    assert len(texts) == 3
    cells = [[line.split("\t")[:2] for line in text] for text in texts]
    assert cells[0] == cells[1] == cells[2]
    assert len(cells[0]) == 4


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (None, "--weights: .*; --dev chooses a weight and writes it there"),
        ("{}", "no file of weights of this version; --dev writes one"),
        ('{"format": 1, "weight": "x"}', "weights.json"),
        (
            {"scorer": {"way": "energy"}},
            "chosen for score.way=energy, and now it is ma",
        ),
        ({"scorer": {"hide": "word_l2r"}}, "chosen for score.hide=word_l2r, and now"),
    ],
)
def test_weights_that_are_none_or_of_another_scorer_are_refused(
    change, message, tuned, dev, tiny_preset, tmp_path
):
    weights = tmp_path / "weights.json"
    if isinstance(change, dict):
        change = json.dumps(json.loads(tuned.read_text()) | change)
    if change is not None:
        weights.write_text(change)
    with pytest.raises(errors.UserError, match=message) as caught:
        reranker.rerank(tiny_preset, SETTINGS, str(weights), source=str(dev))
    assert "\n" not in str(caught.value)


def test_nothing_to_do_and_missing_references_are_refused_before_a_model_is_opened(
    dev, tmp_path
):
    with pytest.raises(errors.UserError, match="name hypotheses to choose the weight"):
        reranker.rerank("nowhere", SETTINGS, str(tmp_path / "w.json"))
    with pytest.raises(errors.UserError, match="is there and holds no weights; name"):
        reranker.rerank("nowhere", SETTINGS, str(dev), dev=str(dev))
    rows = [json.loads(line) for line in dev.read_text().splitlines()]
    for row in rows[2:]:
        del row["reference"]
    file = tmp_path / "x.jsonl"
    file.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    with pytest.raises(errors.UserError, match="line 3: no column 'reference'"):
        reranker.rerank("nowhere", SETTINGS, str(tmp_path / "w.json"), dev=str(file))
