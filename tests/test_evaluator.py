import json
from pathlib import Path

import pytest

from electra_tf import config, errors, evaluator
from electra_tf.tasks import question_answerer

OWN = "text_classification"


def evaluate(
    preset, folder, task=OWN, split="dev", output=None, say=lambda _: None, **s
):
    settings = config.FinetuneConfig(**s)
    return evaluator.evaluate(
        str(preset), task, str(folder), split, settings, output, say
    )


def test_it_finds_what_the_run_found(tiny_tuned, tiny_task, tmp_path):
    said = []
    output = tmp_path / "metrics.json"
    scores = evaluate(tiny_tuned[0], tiny_task, output=str(output), say=said.append)
    told = json.loads((tiny_tuned[0] / "metrics.json").read_text())
    found = told["summary"][OWN]["dev"]
    assert scores == {name: found[name]["best"] for name in found}
    written = json.loads(output.read_text())
    assert written["metrics"] == scores
    assert (written["task"], written["split"], written["examples"]) == (OWN, "dev", 9)
    assert said[0].split() == ["accuracy", "1.0000"]


def test_it_tells_wrong_from_right(tiny_tuned, tiny_task, tmp_path):
    text = Path(tiny_task, "dev.tsv").read_text()
    swapped = text.replace("\tno", "\t?").replace("\tyes", "\tno").replace("?", "yes")
    (tmp_path / "other.tsv").write_text(swapped)
    scores = evaluate(tiny_tuned[0], tmp_path, data={"options": {"dev": "other.tsv"}})
    assert scores["accuracy"] == 0.0


def test_settings_cap_the_examples_and_change_rows(tiny_tuned, tiny_task, tmp_path):
    output = tmp_path / "metrics.json"
    evaluate(
        tiny_tuned[0],
        tiny_task,
        output=str(output),
        data={"max_eval_examples": 4},
        model={"sequence_length": 8},
    )
    assert json.loads(output.read_text())["examples"] == 4
    with pytest.raises(errors.UserError, match="sequence_length=99 exceeds"):
        evaluate(tiny_tuned[0], tiny_task, model={"sequence_length": 99})


def test_what_does_not_fit_is_said_in_one_line(
    tiny_tuned, tiny_preset, tiny_task, tmp_path
):
    for preset, arguments, said in (
        (tiny_tuned[0], {"split": "test"}, "has no labels to evaluate with"),
        (tiny_tuned[0], {"split": "tset"}, "has no tset split; it has train"),
        (tiny_tuned[0], {"task": "text_clasification"}, "did you mean text_class"),
        (tiny_preset, {}, "which wants ElectraTextClassifier; the preset holds Elec"),
        (tmp_path, {}, "none of these; want a workdir"),
    ):
        with pytest.raises(errors.UserError, match=said) as caught:
            evaluate(preset, tiny_task, **arguments)
        assert "\n" not in str(caught.value)


def test_questions_are_judged_by_the_threshold_of_the_preset(
    tiny_backbone, tiny_preprocessor, tmp_path
):
    model = question_answerer.ElectraQuestionAnswerer(
        backbone=tiny_backbone, preprocessor=tiny_preprocessor, null_threshold=-1e9
    )
    model.save_to_preset(str(tmp_path / "preset"))
    qas = [
        {"id": "a", "question": "the", "answers": [], "is_impossible": True},
        {"id": "b", "question": "on", "answers": [{"text": "dog", "answer_start": 2}]},
    ]
    data = {"data": [{"paragraphs": [{"context": "a dog sat", "qas": qas}]}]}
    (tmp_path / "dev.json").write_text(json.dumps(data))
    scores = evaluate(tmp_path / "preset", tmp_path, "squad")
    assert (scores["NoAns_f1"], scores["HasAns_f1"]) == (1.0, 0.0)  # All without.
    options = {"options": {"null_threshold": 1e9}}
    scores = evaluate(tmp_path / "preset", tmp_path, "squad", data=options)
    assert scores["NoAns_f1"] == 0.0
