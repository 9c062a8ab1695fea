"""KerasHub presets are written: what goes round comes back bit by bit."""

import os

import disk
import hub
import keras_hub
import numpy as np
import pytest

from electra_tf import errors
from electra_tf.tasks import (
    backbone,
    keras_hub_presets,
    keras_hub_writer,
    masked_lm,
    replaced_token_detector,
)
from electra_tf.tasks import tokenizer as tokenizers
from electra_tf.weights import preset, weight_map


def test_it_is_on_the_disk_when_it_is_saved(source, tmp_path, monkeypatch):
    watched = disk.Disk(monkeypatch)
    keras_hub_writer.save_backbone(str(tmp_path / "out"), source, "discriminator")
    watched.assert_holds(tmp_path / "out")


@pytest.mark.parametrize("name", ["discriminator", "generator"])
def test_our_networks_come_back_bit_by_bit(source, tmp_path, name):
    folder = str(tmp_path / "preset")
    keras_hub_writer.save_backbone(folder, source, name)
    found = keras_hub_presets.open_preset(folder)
    assert found.networks == {"encoder": source.networks[name]}
    assert (found.vocab, found.tokenizer) == (source.vocab, hub.SETTINGS)
    assert found.notes == []
    assert found.origin["settings"] == source.origin["settings"]
    hub.assert_same_encoder(preset.build(found, "encoder"), source, name)


def test_kerashub_loads_our_backbone_and_tokenizer(saved_ours, source):
    found = keras_hub.models.Backbone.from_preset(str(saved_ours))
    assert type(found) is backbone.ElectraBackbone
    hub.assert_same_encoder(found, source, "discriminator")
    words = keras_hub.tokenizers.Tokenizer.from_preset(str(saved_ours))
    assert type(words) is tokenizers.ElectraTokenizer
    assert words.tokenizer_config == hub.SETTINGS


@pytest.mark.parametrize("saved", ["saved_ours", "saved_theirs"])
def test_it_holds_the_files_of_kerashub_a_card_and_checksums(request, saved):
    saved = request.getfixturevalue(saved)
    assert sorted(os.listdir(saved)) == [
        "README.md",
        "SHA256SUMS",
        "assets",
        "config.json",
        "metadata.json",
        "model.weights.h5",
        "tokenizer.json",
    ]
    assert os.listdir(saved.parent) == ["preset"]


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("discriminator", replaced_token_detector.ElectraReplacedTokenDetector),
        ("generator", masked_lm.ElectraMaskedLM),
    ],
)
def test_in_a_task_they_come_back_with_their_heads(source, tmp_path, name, kind):
    folder = str(tmp_path / "preset")
    task = kind.from_pretrained(source)
    keras_hub_writer.save_task(folder, task, source)
    assert {"task.json", "preprocessor.json", "README.md"} <= set(os.listdir(folder))
    found = keras_hub_presets.open_preset(folder)
    assert found.networks == {name: source.networks[name]}
    assert (found.vocab, found.tokenizer) == (source.vocab, hub.SETTINGS)
    network = weight_map.variables(preset.build(found, name))
    wanted = weight_map.variables(source.built[name])
    assert len(network) == len(wanted) > len(hub.encoder_of(source, name))
    for path, variable in wanted.items():
        np.testing.assert_array_equal(network[path], variable, err_msg=path)
    task.backbone.weights[0].assign_add(task.backbone.weights[0])
    task.save_to_preset(folder)  # Over it: the old checksums are no reason to refuse.
    assert "SHA256SUMS" in os.listdir(folder)
    keras_hub_presets.open_preset(folder)


@pytest.mark.parametrize("name", ["discriminator", "generator"])
def test_through_kerashubs_electra_they_come_back_bit_by_bit(
    approximate, tmp_path, name
):
    folder = str(tmp_path / "preset")
    keras_hub_writer.save_keras_hub_electra(folder, approximate, name)
    found = keras_hub_presets.open_preset(folder)
    assert found.networks == {"encoder": approximate.networks[name]}
    assert (found.vocab, found.tokenizer) == (approximate.vocab, approximate.tokenizer)
    hub.assert_same_encoder(preset.build(found, "encoder"), approximate, name)


def test_kerashubs_electra_gives_what_ours_gives(saved_theirs, approximate):
    theirs = keras_hub.models.Backbone.from_preset(str(saved_theirs))
    assert type(theirs) is keras_hub.models.ElectraBackbone
    ours = backbone.ElectraBackbone.from_model_config(
        approximate.networks["discriminator"]
    )
    wanted = hub.encoder_of(approximate, "discriminator")
    for path, variable in weight_map.variables(ours).items():
        variable.assign(wanted[path])
    a, b = ours(hub.INPUTS), theirs(hub.INPUTS)
    np.testing.assert_allclose(
        np.asarray(a["sequence_output"])[hub.REAL],
        np.asarray(b["sequence_output"])[hub.REAL],
        atol=2e-5,
    )
    np.testing.assert_allclose(
        np.tanh(a["pooled_output"]), b["pooled_output"], atol=2e-5
    )


SAVES = pytest.mark.parametrize(
    "save",
    [keras_hub_writer.save_backbone, keras_hub_writer.save_keras_hub_electra],
    ids=["ours", "theirs"],
)


@SAVES
def test_an_old_one_of_ours_is_replaced_and_an_edited_card_kept(source, saved, save):
    (saved / "left_over.json").write_text("{}")
    (saved / "README.md").write_text("My own words.")
    save(str(saved) + "/", source, "generator")
    assert "left_over.json" not in os.listdir(saved)
    assert os.listdir(saved.parent) == ["preset"]
    assert (saved / "README.md").read_text() == "My own words."
    (model,) = keras_hub_presets.open_preset(str(saved)).networks.values()
    assert model.hidden_size == 8


@SAVES
def test_what_others_wrote_is_not_replaced(source, tmp_path, save):
    folder = tmp_path / "preset"
    backbone.ElectraBackbone(23, 1, 3, 6, 5, 7).save_to_preset(str(folder))
    before = sorted(os.listdir(folder))
    with pytest.raises(errors.UserError, match="is there and no preset; move it away"):
        save(str(folder), source, "discriminator")
    assert sorted(os.listdir(folder)) == before
    assert os.listdir(tmp_path) == ["preset"]


@SAVES
def test_what_is_not_there_cannot_be_written(source, tmp_path, save):
    folder = str(tmp_path / "preset")
    with pytest.raises(errors.UserError, match="the source has no encoder; it has"):
        save(folder, source, "encoder")
    with pytest.raises(errors.UserError, match="the source has no vocabulary; name"):
        save(folder, source._replace(vocab=None), "discriminator")
    assert os.listdir(tmp_path) == []
