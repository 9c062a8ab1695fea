import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
import write_build

import electra_tf
from electra_tf import errors
from electra_tf.tasks import (
    catalog,
    masked_lm,
    question_answerer,
    replaced_token_detector,
    text_classifier,
    text_regressor,
    token_classifier,
)
from electra_tf.weights import hugging_face

GOLDEN = Path(__file__).parents[1] / "golden" / "hugging_face"


def test_every_head_of_hugging_face_has_a_task():
    found = {one.hugging_face_kind for one in catalog.classes()}
    assert hugging_face.HEADS.keys() | {hugging_face.PAIR} == found - {None}


def test_the_catalog_loads_a_task_when_it_is_asked_for():
    named = {*catalog.NETWORKS.values()} & electra_tf.CLASSES.keys()
    assert len(named) == 4
    found = write_build.imports(Path(catalog.__file__))
    classes = {type_.__module__.split(".", 1)[1] for type_ in catalog.classes()}
    assert not found & {name.replace(".", "/") for name in classes}


def test_tasks_are_known_by_the_names_that_keras_keeps():
    found = catalog._registered("electra_tf>ElectraTextRegressor")
    assert found is text_regressor.ElectraTextRegressor
    assert len(catalog.classes()) == 11
    for other in (None, "", "electra_tf>ElectraBackbone", "keras_hub>BertBackbone"):
        assert catalog._registered(other) is None


def test_a_workdir_of_fine_tuning_stands_for_its_preset(tiny_tuned, tiny_preset):
    folder = tiny_tuned[0]
    assert catalog.locate(str(folder)) == str(folder / "preset")
    assert catalog.locate(str(folder / "preset")) == str(folder / "preset")
    assert catalog.locate(tiny_preset) == tiny_preset
    lines = (folder / "predictions" / "dev.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    for path in (folder, folder / "preset"):
        model = catalog.load(str(path))
        assert type(model) is text_classifier.ElectraTextClassifier
        found = model.predict_classes([row["text"] for row in rows])
        assert [one["label"] for one in found] == [row["label"] for row in rows]


def test_a_workdir_of_several_tasks_names_their_presets(tiny_tuned, tmp_path):
    for name in ("mnli", "rte"):
        shutil.copytree(tiny_tuned[0] / "preset", tmp_path / "preset" / name)
    for path in (tmp_path, tmp_path / "preset"):
        wanted = rf"name the preset of one: .*/preset/mnli, {tmp_path}/preset/rte"
        with pytest.raises(errors.UserError, match=wanted):
            catalog.class_of(str(path))
        assert catalog.locate(str(path), "rte") == f"{tmp_path}/preset/rte"
    assert catalog.learned(f"{tmp_path}/preset/rte") == (
        "text_classification",
        {},
        {},
    )
    assert catalog.learned(str(GOLDEN / "generator")) == (None, {}, {})
    with pytest.raises(errors.UserError, match=wanted):
        text_classifier.ElectraTextClassifier.from_preset(str(tmp_path))


def test_what_pre_training_left_is_a_detector_or_else_fills_in_blanks(
    tiny_preset, tmp_path
):
    model = catalog.load(tiny_preset)
    assert type(model) is replaced_token_detector.ElectraReplacedTokenDetector
    alone = Path(shutil.copytree(tiny_preset, tmp_path / "preset"))
    about = json.loads((alone / "config.json").read_text())
    del about["networks"]["discriminator"]
    (alone / "config.json").write_text(json.dumps(about))
    (alone / "SHA256SUMS").unlink()
    assert type(catalog.load(str(tmp_path))) is masked_lm.ElectraMaskedLM


@pytest.mark.parametrize(
    ("folder", "wanted"),
    [
        ("sequence_classification", text_classifier.ElectraTextClassifier),
        ("token_classification", token_classifier.ElectraTokenClassifier),
        ("question_answering", question_answerer.ElectraQuestionAnswerer),
        ("discriminator", replaced_token_detector.ElectraReplacedTokenDetector),
        ("generator", masked_lm.ElectraMaskedLM),
    ],
)
def test_a_hugging_face_directory_is_the_task_of_its_head(folder, wanted):
    assert catalog.class_of(str(GOLDEN / folder)) is wanted


@pytest.mark.parametrize(
    ("labels", "stated", "wanted"),
    [
        (1, {}, text_regressor.ElectraTextRegressor),
        (1, {"problem_type": "regression"}, text_regressor.ElectraTextRegressor),
        (3, {"problem_type": "regression"}, None),
        (
            1,
            {"problem_type": "single_label_classification"},
            text_classifier.ElectraTextClassifier,
        ),
    ],
)
def test_a_head_of_texts_is_the_task_that_it_learned(tmp_path, labels, stated, wanted):
    folder = tmp_path / "there"
    shutil.copytree(GOLDEN / "sequence_classification", folder)
    about = json.loads((folder / "config.json").read_text())
    about |= {"id2label": None, **stated}
    (folder / "config.json").write_text(json.dumps(about))
    arrays = safetensors.numpy.load_file(folder / "model.safetensors")
    for name in ("classifier.out_proj.weight", "classifier.out_proj.bias"):
        arrays[name] = arrays[name][:labels]
    safetensors.numpy.save_file(arrays, folder / "model.safetensors")
    assert catalog.class_of(str(folder)) is wanted
    if wanted is None:
        with pytest.raises(errors.UserError, match="has a head of several numbers, an"):
            catalog.load(str(folder))


def test_a_head_that_does_not_say_so_may_be_taken_for_several_classes():
    folder = str(GOLDEN / "sequence_classification")
    one = catalog.load(folder, preprocessor=None)
    several = catalog.load(folder, preprocessor=None, multi_label=True)
    assert (one.multi_label, several.multi_label) == (False, True)
    for a, b in zip(one.weights, several.weights, strict=True):
        np.testing.assert_array_equal(a, b)


def test_an_encoder_alone_answers_nothing():
    assert hugging_face.is_directory(str(GOLDEN / "encoder"))
    with pytest.raises(errors.UserError, match="has no head for a task; fine-tune it"):
        catalog.load(str(GOLDEN / "encoder"))


def test_what_is_not_there_or_damaged_is_named(tiny_tuned, tmp_path):
    with pytest.raises(errors.UserError, match="nothing is there"):
        catalog.load(str(tmp_path / "none"))
    damaged = Path(shutil.copytree(tiny_tuned[0] / "preset", tmp_path / "damaged"))
    (damaged / "task.json").write_text("{")
    with pytest.raises(errors.UserError, match=r"damaged/task\.json"):
        catalog.load(str(damaged))
    (damaged / "task.json").unlink()
    with pytest.raises(errors.UserError, match="has no head for a task"):
        catalog.load(str(damaged))
