import json
import shutil
from pathlib import Path

import pytest

from electra_tf import errors
from electra_tf.finetuning import evaluator, task_config
from electra_tf.tasks import question_answerer, text_classifier

OWN = "text_classification"


def evaluate(
    preset, folder, task=OWN, split="dev", output=None, say=lambda _: None, **s
):
    settings = task_config.FinetuneConfig(**s)
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


def test_the_preset_knows_its_task_and_a_file_is_enough(
    tiny_tuned, tiny_task, tmp_path
):
    for path in (tiny_tuned[0], tiny_tuned[0] / "preset"):
        scores = evaluate(path, tiny_task, task=None)
        assert scores["accuracy"] == 1.0
    file = Path(tmp_path, "mine.csv")
    file.write_text("Text,LABEL\nthe cat,yes\na cat,yes\n")  # One class alone.
    output = tmp_path / "metrics.json"
    scores = evaluate(tiny_tuned[0], file, task=None, output=str(output))
    assert scores["accuracy"] == 1.0
    written = json.loads(output.read_text())
    assert (written["task"], written["split"], written["examples"]) == (OWN, "dev", 2)


@pytest.fixture(scope="module")
def own_columns(tiny_tuned, tmp_path_factory):
    """A preset that learned from reviews.csv, by columns of its own."""
    folder = shutil.copytree(
        tiny_tuned[0] / "preset", tmp_path_factory.mktemp("own") / "preset"
    )
    about = json.loads((folder / "metadata.json").read_text())
    about["electra_tf"]["origin"]["options"] = {
        "text_column": "review",
        "label_column": "has cat",
        "dev": "reviews.csv",
    }
    (folder / "metadata.json").write_text(json.dumps(about))
    (folder / "SHA256SUMS").unlink()
    return folder


def test_a_preset_remembers_its_columns_and_files(own_columns, tiny_task, tmp_path):
    text = "review,has cat\nthe cat,yes\na dog,no\n"
    (tmp_path / "reviews.csv").write_text(text)
    assert evaluate(own_columns, tmp_path, task=None)["accuracy"] == 1.0
    (tmp_path / "reviews.csv").rename(tmp_path / "dev.csv")
    assert evaluate(own_columns, tmp_path, task=None)["accuracy"] == 1.0
    given = {"options": {"text_column": "text", "label_column": "label"}}
    assert evaluate(own_columns, tiny_task, task=None, data=given)["accuracy"] == 1.0
    assert evaluate(own_columns, tiny_task, "text_classification", data=given)


def test_whole_numbers_are_spelled_as_the_classes_are(
    tiny_backbone, tiny_preprocessor, tmp_path
):
    model = text_classifier.ElectraTextClassifier(
        backbone=tiny_backbone, preprocessor=tiny_preprocessor, class_names=["0", "1"]
    )
    model.save_to_preset(str(tmp_path / "preset"))
    (tmp_path / "dev.csv").write_text("text,label\nthe cat,1.0\na cat,1.0\n")
    said = []
    scores = evaluate(tmp_path / "preset", tmp_path / "dev.csv", say=said.append)
    assert scores["accuracy"] in (0.0, 0.5, 1.0)
    with pytest.raises(errors.UserError, match="does not say what it learned: name it"):
        evaluate(tmp_path / "preset", tmp_path / "dev.csv", task=None)


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


def test_several_classes_are_scored_together_and_each(
    tiny_backbone, tiny_preprocessor, tmp_path
):
    model = text_classifier.ElectraTextClassifier(
        tiny_backbone,
        class_names=["cat", "dog"],
        preprocessor=tiny_preprocessor,
        multi_label=True,
        thresholds=1e-9,
    )
    model.save_to_preset(str(tmp_path / "model"))
    rows = ["text,labels", "a cat,cat", "the dog and cat,dog|cat", "a bird,"]
    (tmp_path / "dev.csv").write_text("\n".join(rows))
    evaluator.evaluate(
        str(tmp_path / "model"),
        "multi_label_classification",
        str(tmp_path),
        "dev",
        task_config.FinetuneConfig(),
        str(tmp_path / "found.json"),
        say=(said := []).append,
    )
    found = json.loads((tmp_path / "found.json").read_text())
    # Every text is said to have both: hits 3, said 6, right 3.
    assert found["metrics"]["micro_f1"] == pytest.approx(2 * 3 / 9)
    assert found["metrics"]["subset_accuracy"] == pytest.approx(1 / 3)
    assert found["classes"]["dog"]["recall"] == 1.0
    assert any(line.startswith("f1 of cat ") for line in said)
