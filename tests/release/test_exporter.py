"""Presets of all kinds become served models; the networks of pre-training too."""

import json

import numpy as np
import pytest
import seq2seq
import servers
import tensorflow as tf

from electra_tf import config, errors
from electra_tf.finetuning import task_config
from electra_tf.network import models
from electra_tf.release import exporter
from electra_tf.serving import saved_model
from electra_tf.tasks import masked_lm, replaced_token_detector, task, text_embedder
from electra_tf.text import vocabularies
from electra_tf.weights import preset, preset_writer

SETTINGS = task_config.ExportConfig()


def export(origin, base, settings=SETTINGS, **kwargs):
    said = []
    exporter.export(str(origin), str(base), settings, say=said.append, **kwargs)
    return said


def test_the_encoder_of_pretraining_answers_as_its_task_does(tiny_preset, tmp_path):
    base = tmp_path / "vectors"
    said = export(tiny_preset, base, network="encoder", batch_sizes=[1])
    assert said[0] == f"wrote {base}/1: ElectraTextEmbedder"
    assert said[1].startswith("serve it: docker run ")
    found = servers.Served(str(base / "1"))("embed", text=["the cat sat"])["embedding"]
    want = text_embedder.ElectraTextEmbedder.from_preset(tiny_preset)
    np.testing.assert_allclose(found, want.predict(["the cat sat"]), atol=1e-5)
    places = [str(tmp_path), tiny_preset, tf.sysconfig.get_lib(), exporter.__file__]
    for file in base.rglob("*"):
        data = file.read_bytes() if file.is_file() else b""
        assert not [place for place in places if place.encode() in data], file


def test_the_other_networks_of_pretraining_are_their_tasks(
    tiny_preset, tmp_path, monkeypatch
):
    exported = []

    def note(self, *_, **__):
        exported.append(self)
        return saved_model.Exported("folder", "command")

    monkeypatch.setattr(task.ElectraTask, "export_for_serving", note)
    for network, kind in (
        ("discriminator", replaced_token_detector.ElectraReplacedTokenDetector),
        ("generator", masked_lm.ElectraMaskedLM),
    ):
        export(tiny_preset, tmp_path / "model", network=network)
        assert type(exported[-1]) is kind
        weights = {one.path: np.array(one) for one in exported[-1].weights}
        trained = preset.build(preset.load(tiny_preset), network)
        assert weights.keys() == {one.path for one in trained.weights}
        for one in trained.weights:
            np.testing.assert_array_equal(weights[one.path], one)


def test_a_fine_tuned_model_is_served_as_it_was_saved_or_with_other_rows(
    tiny_tuned, tmp_path
):
    settings = task_config.ExportConfig(model={"sequence_length": 8})
    for number, (stated, length) in enumerate([(SETTINGS, 13), (settings, 8)], 1):
        export(tiny_tuned[0], tmp_path / "cats", stated, batch_sizes=[1])
        folder = tmp_path / "cats" / str(number)
        about = json.loads((folder / "assets.extra" / "model.json").read_text())
        assert about["task"] == "ElectraTextClassifier"
        assert about["origin"] == "cats"
        assert about["labels"] == ["no", "yes"]
        assert about["rows"]["sequence_length"] == length
        served = servers.Served(str(folder))
        found = served("serving_default", text=["the cat sat", "the dog sat", "a " * 9])
        assert found["label"].tolist()[:2] == [b"yes", b"no"]
        assert found["truncated"].tolist() == [False, False, length == 8]


@pytest.fixture(scope="module")
def encoder(tmp_path_factory, tiny_model_config, tiny_vocab):
    """A preset without any head."""
    folder = tmp_path_factory.mktemp("preset") / "encoder"
    preset_writer.save(
        str(folder),
        {"encoder": models.build_encoder(tiny_model_config)},
        {"encoder": tiny_model_config},
        vocabularies.read(str(tiny_vocab)),
        config.TokenizerConfig(),
        {},
    )
    return str(folder)


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (None, "has no head for a task; fine-tune it"),
        ("discriminator", "has no discriminator; it has encoder"),
        ("generator", "has no generator; it has encoder"),
        ("decoder", "network='decoder': want one of encoder, discriminator, generator"),
    ],
)
def test_a_preset_without_the_asked_head_is_refused(
    network, message, encoder, tmp_path
):
    with pytest.raises(errors.UserError, match=message):
        export(encoder, tmp_path / "model", network=network)
    assert not (tmp_path / "model").exists()


def test_a_fine_tuned_model_is_no_discriminator(tiny_tuned, tmp_path):
    with pytest.raises(errors.UserError, match="has no discriminator; it has encoder"):
        export(tiny_tuned[0], tmp_path / "model", network="discriminator")


@pytest.mark.slow
def test_a_model_that_is_served_in_float16_answers_as_in_float32(tiny_preset, tmp_path):
    settings = config.load(
        task_config.ExportConfig, None, ["export.precision=mixed_float16"]
    )
    export(tiny_preset, tmp_path / "m", settings, network="encoder", batch_sizes=[1])
    found = servers.Served(str(tmp_path / "m/1"))("embed", text=["the cat sat"])
    want = text_embedder.ElectraTextEmbedder.from_preset(tiny_preset)
    difference = found["embedding"] - want.predict(["the cat sat"])
    assert 0.0 < np.max(np.abs(difference)) < 5e-3
    with pytest.raises(errors.UserError, match="tflite computes in float32"):
        config.load(
            task_config.ExportConfig,
            None,
            ["export.precision=mixed_float16", "export.format=tflite"],
        )


def test_what_writes_texts_is_a_saved_model_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(exporter.catalog, "load", lambda *_: seq2seq.build())
    for format in ("tflite", "onnx"):
        settings = task_config.ExportConfig(export={"format": format})
        with pytest.raises(errors.UserError, match="writes in a loop"):
            export("preset", tmp_path / "out", settings)
