"""KerasHub presets are opened, and damage is named."""

import json
import os
import shutil

import damaging
import hub
import keras
import keras_hub
import pytest

from electra_tf import errors
from electra_tf.release import converter
from electra_tf.tasks import keras_hub_presets
from electra_tf.weights import preset, preset_writer


def test_a_bit_that_flips_is_noticed_before_the_file_is_used(saved_ours, tmp_path):
    folder = shutil.copytree(saved_ours, tmp_path / "preset")
    data = bytearray((folder / "model.weights.h5").read_bytes())
    data[len(data) // 2] ^= 4
    (folder / "model.weights.h5").write_bytes(data)
    with pytest.raises(errors.UserError, match=r"weights\.h5 is not what was wri"):
        keras_hub_presets.open_preset(str(folder))


def test_a_task_whose_class_is_not_registered_is_named(source, saved_ours, tmp_path):
    folder = tmp_path / "preset"
    shutil.copytree(saved_ours, folder)
    name = "electra_tf>ElectraMaskedLM"
    (folder / "task.json").write_text(json.dumps({"registered_name": name}))
    found = keras_hub_presets.open_preset(str(folder))
    with (
        keras.saving.custom_object_scope({name: None}),
        pytest.raises(errors.UserError, match="ElectraMaskedLM, which is not known"),
    ):
        preset.build(found, "generator")


def test_the_head_of_another_task_is_left_out_where_the_network_alone_is_taken(
    saved_ours, tmp_path
):
    folder = tmp_path / "preset"
    shutil.copytree(saved_ours, folder)
    task = {"registered_name": "their>Task", "config": {}}
    (folder / "task.json").write_text(json.dumps(task))
    said = []
    converter.convert(
        str(folder), str(tmp_path / "hf"), "hugging_face", say=said.append
    )
    assert said[0] == "note: the head of their>Task is left out"


VOCAB_FILE = "assets/tokenizer/vocabulary.txt"


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (hub.write("config.json", "{"), "config.json is not JSON"),
        (hub.write("config.json", "[" * 100_000), "config.json is not JSON"),
        (
            hub.write("config.json", "[1]"),
            r"config.json: want a JSON object, got \[1\]",
        ),
        (
            hub.change("config.json", registered_name="keras_hub>BertBackbone"),
            "holds keras_hub>BertBackbone; want an ElectraBackbone",
        ),
        (hub.change("config.json", registered_name=["x"]), "want an ElectraBackbone"),
        (hub.change("config.json", config=3), "config.json: config=3: want an object"),
        (hub.change_config("config.json", hidden_dim=13), "must divide hidden_size"),
        (hub.change_config("config.json", depth=2), "config.json: no setting depth"),
        (hub.change_config("config.json", num_layers="many"), "num_layers='many'"),
        (hub.change_config("config.json", vocab_size=9), "tokens in .*, but 9 rows in"),
        (hub.write("tokenizer.json", "?"), "tokenizer.json is not JSON"),
        (
            hub.change("tokenizer.json", registered_name="keras_hub>GPT2Tokenizer"),
            "holds keras_hub>GPT2Tokenizer; want an ElectraTokenizer",
        ),
        (hub.change_config("tokenizer.json", lowercase="maybe"), "lowercase='maybe'"),
        (hub.write(VOCAB_FILE, "[PAD]\n"), r"vocabulary.txt has no \[UNK\]"),
        (lambda folder: os.remove(folder / VOCAB_FILE), "cannot read vocabulary"),
        (hub.write("metadata.json", "nothing"), "metadata.json is not JSON"),
        (hub.write("task.json", "nothing"), "task.json is not JSON"),
    ],
)
def test_what_is_no_electra_is_refused_in_one_line(saved, damage, message):
    damage(saved)
    with pytest.raises(errors.UserError, match=message) as error:
        keras_hub_presets.open_preset(str(saved))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("damage", [damaging.cut_short, os.remove])
def test_damaged_weights_are_named(saved, damage):
    damage(saved / "model.weights.h5")
    with pytest.raises(errors.UserError, match=r"cannot load .*model.weights.h5: "):
        preset.build(keras_hub_presets.open_preset(str(saved)), "encoder")


@pytest.mark.parametrize(
    "changed",
    [
        {"num_layers": 1},
        {"num_layers": 3},
        {"intermediate_dim": 8},
        {"num_layers": 10**8},
    ],
)
def test_a_configuration_of_another_size_is_refused(saved, changed):
    hub.change_config("config.json", **changed)(saved)
    with pytest.raises(errors.UserError, match=r"config.json describes .*; they are n"):
        keras_hub_presets.open_preset(str(saved))


def test_kerashub_itself_refuses_weights_that_are_left_over(saved_ours, tmp_path):
    folder = tmp_path / "preset"
    shutil.copytree(saved_ours, folder)
    hub.change_config("config.json", num_layers=1)(folder)
    with pytest.raises(errors.UserError, match=r"arrays, and the model has .* its con"):
        keras_hub.models.Backbone.from_preset(str(folder))


def test_without_a_tokenizer_nothing_is_known_of_the_words(saved):
    os.remove(saved / "tokenizer.json")
    found = keras_hub_presets.open_preset(str(saved))
    assert found.vocab is None
    assert any("no tokenizer" in note for note in found.notes)


def test_a_preset_of_kerashub_is_not_taken_for_ours_and_replaced(saved, source):
    assert not preset_writer.is_preset(str(saved))
    before = sorted(os.listdir(saved))
    name = "generator"
    networks, configs = {name: source.built[name]}, {name: source.networks[name]}
    with pytest.raises(errors.UserError, match="is there and no preset"):
        preset_writer.save(
            str(saved), networks, configs, source.vocab, hub.SETTINGS, {}
        )
    assert sorted(os.listdir(saved)) == before


def test_other_directories_are_no_presets_of_kerashub(saved, tmp_path):
    assert keras_hub_presets.is_preset(str(saved))
    other = tmp_path / "other"
    assert not keras_hub_presets.is_preset(str(other))
    other.mkdir()
    for text in ("{", "[]", '{"model_type": "electra"}', '{"format": 1}'):
        (other / "config.json").write_text(text)
        assert not keras_hub_presets.is_preset(str(other)), text
