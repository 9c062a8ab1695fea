import dataclasses

import numpy as np
import pytest
import seq2seq

from electra_tf import errors
from electra_tf.datasets import dataset
from electra_tf.finetuning import task_builder, task_config, task_data
from electra_tf.tasks import (
    multiple_choice,
    question_answerer,
    text_classifier,
    text_regressor,
    token_classifier,
)


def job(kind="classification", labels=("no", "yes"), name="mine"):
    data = dataset.Dataset(name, kind, labels, {}, "accuracy", lambda *_: {})
    return task_data.Job(name, name, data, task_data.Examples([], []), {})


def build(origin, *jobs, **model):
    settings = task_config.FinetuneConfig(model=model)
    return task_builder.build({one.name: one for one in jobs}, str(origin), settings)


@pytest.mark.parametrize(
    ("kind", "wanted"),
    [
        ("classification", text_classifier.ElectraTextClassifier),
        ("multi_label", text_classifier.ElectraTextClassifier),
        ("regression", text_regressor.ElectraTextRegressor),
        ("tagging", token_classifier.ElectraTokenClassifier),
        ("question_answering", question_answerer.ElectraQuestionAnswerer),
        ("multiple_choice", multiple_choice.ElectraMultipleChoice),
    ],
)
def test_every_kind_of_data_has_its_model(kind, wanted, tiny_preset):
    model = build(tiny_preset, job(kind, ("O", "B-X", "I-X")))["mine"]
    assert type(model) is wanted
    assert getattr(model, "multi_label", False) == (kind == "multi_label")
    if kind in ("classification", "tagging"):
        assert model.class_names == ["O", "B-X", "I-X"]
    # 512, but no more than the 32 positions there are.
    assert model.preprocessor.sequence_length == 32


def test_settings_say_how_texts_become_rows(tiny_preset):
    model = build(
        tiny_preset,
        job(),
        sequence_length=17,
        long_texts="windows",
        stride=5,
        truncate="waterfall",
    )["mine"]
    rows = model.preprocessor
    assert (rows.sequence_length, rows.long_texts, rows.stride) == (17, "windows", 5)
    assert rows.truncate == "waterfall"
    with pytest.raises(errors.UserError, match="sequence_length=33 exceeds the pos"):
        build(tiny_preset, job(), sequence_length=33)


def test_options_go_to_the_tasks_class(tiny_preset):
    model = build(tiny_preset, job(), options={"head": "linear", "dropout": 0.4})
    assert (model["mine"].head, model["mine"].dropout) == ("linear", 0.4)
    two = [job(name="a"), job("regression", (), "b")]
    models = build(tiny_preset, *two, options={"b": {"dropout": 0.3}})
    assert (models["a"].dropout, models["b"].dropout) == (0.1, 0.3)


def test_options_that_the_class_has_not_are_refused():
    jobs = {"mine": job()}
    for option, hint in (
        ("droput", "did you mean dropout?"),
        ("num_classes", "ElectraTextClassifier has no 'num_classes'"),
        ("backbone", "ElectraTextClassifier has no 'backbone'"),
    ):
        with pytest.raises(errors.UserError, match=hint.replace("?", r"\?")):
            task_builder.check(
                jobs, task_config.FinetuneModelConfig(options={option: 1})
            )
    task_builder.check(jobs, task_config.FinetuneModelConfig(options={"head": "dense"}))


def test_several_tasks_share_encoder_and_words_but_not_rows(tiny_preset):
    models = build(tiny_preset, job(), job("tagging", ("O", "B"), "tags"))
    first, second = models.values()
    assert first.backbone is second.backbone
    assert first.preprocessor.tokenizer is second.preprocessor.tokenizer
    first.preprocessor.sequence_length = 9
    assert second.preprocessor.sequence_length == 32


# Starting from a fine-tuned preset.


def head_of(model):
    return [
        v.numpy() for v in model.weights if v.path.startswith("classification_head")
    ]


def test_the_head_stays_where_the_classes_agree_in_any_order(tiny_tuned):
    tuned = text_classifier.ElectraTextClassifier.from_preset(
        str(tiny_tuned[0] / "preset")
    )
    model = build(tiny_tuned[0], job(labels=("yes", "no")))["mine"]
    assert model.class_names == ["no", "yes"]
    for ours, theirs in zip(head_of(model), head_of(tuned), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    # How the preset cut texts (13) is not how this run does.
    assert model.preprocessor.sequence_length == 32


@pytest.mark.parametrize(
    "other",
    [job(labels=("no", "yes", "?")), job(labels=("a", "b")), job("regression", ())],
)
def test_the_head_is_a_new_one_where_they_do_not(other, tiny_tuned):
    folder = tiny_tuned[0] / "preset"
    tuned = text_classifier.ElectraTextClassifier.from_preset(str(folder))
    model = build(folder, other)["mine"]
    assert not np.array_equal(head_of(model)[0], head_of(tuned)[0])
    for ours, theirs in zip(
        model.backbone.get_weights(), tuned.backbone.get_weights(), strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)


@pytest.fixture(scope="module")
def rater(tiny_preset, tmp_path_factory):
    """A regressor of numbers around 3, saved."""
    model = text_regressor.ElectraTextRegressor.from_preset(
        tiny_preset, offset=3.0, scale=1.5
    )
    folder = str(tmp_path_factory.mktemp("rater") / "preset")
    model.save_to_preset(folder)
    return folder, head_of(model)[0]


@pytest.mark.parametrize(
    ("labels", "stays"),
    [([1.0, 3.0, 5.0], True), ([100.0, 900.0], False), ([3.0, 3.1], False)],
)
def test_a_head_for_numbers_stays_where_their_range_is_the_same(labels, stays, rater):
    folder, head = rater
    one = job("regression", ())
    one = dataclasses.replace(one, train=task_data.Examples(["a"], labels))
    model = build(folder, one)["mine"]
    assert np.array_equal(head_of(model)[0], head) == stays
    assert (model.offset == 3.0) == stays


def test_a_threshold_of_other_data_is_forgotten(tiny_preset, tmp_path):
    model = question_answerer.ElectraQuestionAnswerer.from_preset(
        tiny_preset, null_threshold=-2.75
    )
    model.save_to_preset(str(tmp_path / "preset"))
    model = build(tmp_path / "preset", job("question_answering", ()))["mine"]
    assert model.null_threshold is None


def test_rows_of_a_loaded_model_change_only_as_far_as_settings_state(tiny_tuned):
    model = text_classifier.ElectraTextClassifier.from_preset(
        str(tiny_tuned[0] / "preset")
    )
    task_builder.set_stated_rows(model, task_config.FinetuneModelConfig())
    assert model.preprocessor.sequence_length == 13
    task_builder.set_stated_rows(
        model, task_config.FinetuneModelConfig(sequence_length=11, long_texts="windows")
    )
    rows = model.preprocessor
    assert (rows.sequence_length, rows.long_texts) == (11, "windows")


def test_rows_and_the_writing_of_a_decoder_are_set():
    model = seq2seq.build()
    stated = task_config.FinetuneModelConfig(sequence_length=18, target_length=9)
    task_builder.set_stated_rows(model, stated)
    before = model.preprocessor
    assert before.encoder_sequence_length == 18
    assert before.decoder_sequence_length == 9
    task_builder._set_rows(model, task_config.FinetuneModelConfig())
    # 512 and 128, but no more than the 24 positions there are.
    assert before.encoder_sequence_length == before.decoder_sequence_length == 24
    for setting in ({"long_texts": "windows"}, {"stride": 5}):
        with pytest.raises(errors.UserError, match="cuts long texts off; leave it out"):
            task_builder.set_stated_rows(
                model, task_config.FinetuneModelConfig(**setting)
            )
    with pytest.raises(errors.UserError, match="exceeds the position table of 24"):
        task_builder.set_stated_rows(
            model, task_config.FinetuneModelConfig(target_length=25)
        )
    task_builder.set_generation(model, task_config.GenerateConfig(num_beams=4))
    assert model.stated_generation()["num_beams"] == 4
    assert model.settled() == {"generation": model.stated_generation()}


def test_how_to_write_is_for_models_that_do(tiny_preset):
    model = build(tiny_preset, job())["mine"]
    task_builder.set_generation(model, task_config.GenerateConfig())
    with pytest.raises(errors.UserError, match=r"generate\.num_beams: .* no texts"):
        task_builder.set_generation(model, task_config.GenerateConfig(num_beams=2))
