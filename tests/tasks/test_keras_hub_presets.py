"""KerasHub presets in and out: what goes round comes back bit by bit."""

import json
import os
import re
import shutil
from typing import NamedTuple

import damaging
import disk
import keras
import keras_hub
import numpy as np
import pytest

from electra_tf import config, errors
from electra_tf.release import converter
from electra_tf.tasks import (
    backbone,
    keras_hub_presets,
    masked_lm,
    replaced_token_detector,
)
from electra_tf.tasks import tokenizer as tokenizers
from electra_tf.text import tokenizer
from electra_tf.weights import preset, weight_map

SETTINGS = config.TokenizerConfig(lowercase=False, strip_accents=True, split_cjk=False)

INPUTS = {
    "token_ids": np.array([[2, 7, 8, 3, 9, 3, 0], [2, 10, 11, 12, 13, 14, 3]]),
    "segment_ids": np.array([[0, 0, 0, 0, 1, 1, 0], [0] * 7]),
    "padding_mask": np.array([[1, 1, 1, 1, 1, 1, 0], [1] * 7]),
}
REAL = INPUTS["padding_mask"] == 1


class Source(NamedTuple):
    """Networks in memory, as somebody's files."""

    networks: dict
    built: dict
    vocab: list
    tokenizer: config.TokenizerConfig = SETTINGS
    folder: str = "the source"
    origin: dict = {"settings": {"train": {"steps": 7}}}  # noqa: RUF012

    def load_weights(self, name, network):
        network.set_weights(self.built[name].get_weights())


def make_source(model_config, vocab, **kwargs):
    """Two networks with weights as large as trained ones, biases and norms too."""
    narrow = {"hidden_size": 8, "num_heads": 2, "num_layers": 1}
    networks = {
        "discriminator": model_config,
        "generator": model_config.model_copy(update=narrow),
    }
    built = {name: preset.BUILDERS[name](model) for name, model in networks.items()}
    chance = np.random.default_rng(5)
    for network in built.values():
        for variable in network.weights:
            value = chance.normal(scale=0.2, size=variable.shape)
            variable.assign(value + ("gamma" in variable.path))
    return Source(networks, built, vocab, **kwargs)


@pytest.fixture(scope="module")
def source(tiny_model_config, vocab):
    return make_source(tiny_model_config, vocab)


@pytest.fixture(scope="module")
def approximate(tiny_model_config, vocab):
    """What KerasHub's ELECTRA can be without loss."""
    same = {"activation": "gelu_approximate"}
    return make_source(
        tiny_model_config.model_copy(update=same),
        vocab,
        tokenizer=config.TokenizerConfig(),
    )


@pytest.fixture(scope="module")
def saved_ours(source, tmp_path_factory):
    folder = tmp_path_factory.mktemp("ours") / "preset"
    keras_hub_presets.save_backbone(str(folder), source, "discriminator")
    return folder


@pytest.fixture(scope="module")
def saved_theirs(approximate, tmp_path_factory):
    folder = tmp_path_factory.mktemp("theirs") / "preset"
    keras_hub_presets.save_keras_hub_electra(str(folder), approximate, "discriminator")
    return folder


@pytest.fixture(params=["saved_ours", "saved_theirs"])
def saved(request, tmp_path):
    """A copy of either, to damage; of a version before there were checksums."""
    folder = tmp_path / "preset"
    shutil.copytree(request.getfixturevalue(request.param), folder)
    (folder / "SHA256SUMS").unlink()
    return folder


def test_a_bit_that_flips_is_noticed_before_the_file_is_used(saved_ours, tmp_path):
    folder = shutil.copytree(saved_ours, tmp_path / "preset")
    data = bytearray((folder / "model.weights.h5").read_bytes())
    data[len(data) // 2] ^= 4
    (folder / "model.weights.h5").write_bytes(data)
    with pytest.raises(errors.UserError, match=r"weights\.h5 is not what was wri"):
        keras_hub_presets.open_preset(str(folder))


def test_it_is_on_the_disk_when_it_is_saved(source, tmp_path, monkeypatch):
    watched = disk.Disk(monkeypatch)
    keras_hub_presets.save_backbone(str(tmp_path / "out"), source, "discriminator")
    watched.assert_holds(tmp_path / "out")


def encoder_of(source, name):
    rows = weight_map.encoder_rows(source.networks[name])
    found = weight_map.variables(source.built[name])
    return {row.ours: found[row.ours] for row in rows}


def assert_same_encoder(network, source, name):
    found, wanted = weight_map.variables(network), encoder_of(source, name)
    assert found.keys() == wanted.keys()
    for path, variable in wanted.items():
        np.testing.assert_array_equal(found[path], variable, err_msg=path)


# Our backbone.


@pytest.mark.parametrize("name", ["discriminator", "generator"])
def test_our_networks_come_back_bit_by_bit(source, tmp_path, name):
    folder = str(tmp_path / "preset")
    keras_hub_presets.save_backbone(folder, source, name)
    found = keras_hub_presets.open_preset(folder)
    assert found.networks == {"encoder": source.networks[name]}
    assert (found.vocab, found.tokenizer) == (source.vocab, SETTINGS)
    assert found.notes == []
    assert found.origin["settings"] == source.origin["settings"]
    assert_same_encoder(preset.build(found, "encoder"), source, name)


def test_kerashub_loads_our_backbone_and_tokenizer(saved_ours, source):
    found = keras_hub.models.Backbone.from_preset(str(saved_ours))
    assert type(found) is backbone.ElectraBackbone
    assert_same_encoder(found, source, "discriminator")
    words = keras_hub.tokenizers.Tokenizer.from_preset(str(saved_ours))
    assert type(words) is tokenizers.ElectraTokenizer
    assert words.tokenizer_config == SETTINGS


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
    keras_hub_presets.save_task(folder, task, source)
    assert {"task.json", "preprocessor.json", "README.md"} <= set(os.listdir(folder))
    found = keras_hub_presets.open_preset(folder)
    assert found.networks == {name: source.networks[name]}
    assert (found.vocab, found.tokenizer) == (source.vocab, SETTINGS)
    network = weight_map.variables(preset.build(found, name))
    wanted = weight_map.variables(source.built[name])
    assert len(network) == len(wanted) > len(encoder_of(source, name))
    for path, variable in wanted.items():
        np.testing.assert_array_equal(network[path], variable, err_msg=path)
    task.backbone.weights[0].assign_add(task.backbone.weights[0])
    task.save_to_preset(folder)  # Over it: the old checksums are no reason to refuse.
    assert "SHA256SUMS" in os.listdir(folder)
    keras_hub_presets.open_preset(folder)


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


# KerasHub's ELECTRA.


@pytest.mark.parametrize("name", ["discriminator", "generator"])
def test_through_kerashubs_electra_they_come_back_bit_by_bit(
    approximate, tmp_path, name
):
    folder = str(tmp_path / "preset")
    keras_hub_presets.save_keras_hub_electra(folder, approximate, name)
    found = keras_hub_presets.open_preset(folder)
    assert found.networks == {"encoder": approximate.networks[name]}
    assert (found.vocab, found.tokenizer) == (approximate.vocab, approximate.tokenizer)
    assert_same_encoder(preset.build(found, "encoder"), approximate, name)


def test_kerashubs_electra_gives_what_ours_gives(saved_theirs, approximate):
    theirs = keras_hub.models.Backbone.from_preset(str(saved_theirs))
    assert type(theirs) is keras_hub.models.ElectraBackbone
    ours = backbone.ElectraBackbone.from_model_config(
        approximate.networks["discriminator"]
    )
    wanted = encoder_of(approximate, "discriminator")
    for path, variable in weight_map.variables(ours).items():
        variable.assign(wanted[path])
    a, b = ours(INPUTS), theirs(INPUTS)
    np.testing.assert_allclose(
        np.asarray(a["sequence_output"])[REAL],
        np.asarray(b["sequence_output"])[REAL],
        atol=2e-5,
    )
    np.testing.assert_allclose(
        np.tanh(a["pooled_output"]), b["pooled_output"], atol=2e-5
    )


def test_a_kerashub_electra_opens_as_ours_with_its_activation(tmp_path, vocab):
    theirs = keras_hub.models.ElectraBackbone(
        vocab_size=len(vocab),
        num_layers=2,
        num_heads=3,
        hidden_dim=12,
        embedding_dim=12,
        intermediate_dim=20,
        dropout=0.2,
        max_sequence_length=16,
        num_segments=3,
    )
    theirs.save_to_preset(str(tmp_path))
    words = keras_hub.tokenizers.ElectraTokenizer(vocab, lowercase=True)
    words.save_to_preset(str(tmp_path))
    found = keras_hub_presets.open_preset(str(tmp_path))
    (model,) = found.networks.values()
    assert (model.activation, model.layer_norm_epsilon) == ("gelu_approximate", 1e-12)
    assert (model.hidden_dropout_rate, model.attention_dropout_rate) == (0.2, 0.2)
    assert (model.max_positions, model.num_segments) == (16, 3)
    assert found.tokenizer == config.TokenizerConfig(strip_accents=False)
    assert found.notes == found.origin["notes"]
    for word in ("GELU", "pooled_dense", "KerasHub's tokenizer", "keeps accents"):
        assert sum(word in note for note in found.notes) >= 1, word
    network = preset.build(found, "encoder")
    rows = {
        "token_ids": INPUTS["token_ids"],
        "segment_ids": INPUTS["segment_ids"],
        "example_ids": INPUTS["padding_mask"],
        "position_ids": np.tile(np.arange(7), (2, 1)),
    }
    np.testing.assert_allclose(
        np.asarray(network(rows))[REAL],
        np.asarray(theirs(INPUTS)["sequence_output"])[REAL],
        atol=2e-5,
    )


def test_what_is_lost_is_said(source, approximate, tmp_path):
    folder = str(tmp_path / "preset")
    model = source.networks["discriminator"]
    rates = model.model_copy(update={"attention_dropout_rate": 0.3})
    lossy = source._replace(networks={"discriminator": rates})
    notes = keras_hub_presets.save_keras_hub_electra(folder, lossy, "discriminator")
    said = (
        r"GELU is its tanh",
        r"pooled_dense, .* is the identity",
        r"folds case",
        r"the head is left out",
        r"dropout is 0.1 everywhere; on attention it was 0.3",
        r"forgets split_on_cjk",
    )
    for note, words in zip(notes, said, strict=True):
        assert re.search(words, note), note
    (moved,) = [float(note.split()[-1]) for note in notes if "GELU" in note]
    assert 1e-5 < moved < 0.1
    notes = keras_hub_presets.save_keras_hub_electra(
        folder, approximate, "discriminator"
    )
    assert not any("GELU" in note or "dropout" in note for note in notes)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"activation": "relu"}, "activation=relu, which KerasHub's ELECTRA cannot"),
        ({"layer_norm_epsilon": 1e-5}, "layer_norm_epsilon=1e-05, which"),
    ],
)
def test_what_kerashubs_electra_cannot_be_is_refused(
    source, tmp_path, changed, message
):
    model = source.networks["discriminator"].model_copy(update=changed)
    other = source._replace(networks={"discriminator": model})
    folder = tmp_path / "preset"
    with pytest.raises(errors.UserError, match=message):
        keras_hub_presets.save_keras_hub_electra(str(folder), other, "discriminator")
    assert os.listdir(tmp_path) == []


# Writing.

SAVES = pytest.mark.parametrize(
    "save",
    [keras_hub_presets.save_backbone, keras_hub_presets.save_keras_hub_electra],
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


# Damage.


def change(name, **changed):
    def damage(folder):
        values = json.loads((folder / name).read_text())
        (folder / name).write_text(json.dumps(values | changed))

    return damage


def change_config(name, **changed):
    def damage(folder):
        values = json.loads((folder / name).read_text())
        values["config"] |= changed
        (folder / name).write_text(json.dumps(values))

    return damage


def write(name, text):
    return lambda folder: (folder / name).write_text(text)


VOCAB_FILE = "assets/tokenizer/vocabulary.txt"


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (write("config.json", "{"), "config.json is not JSON"),
        (write("config.json", "[" * 100_000), "config.json is not JSON"),
        (write("config.json", "[1]"), r"config.json: want a JSON object, got \[1\]"),
        (
            change("config.json", registered_name="keras_hub>BertBackbone"),
            "holds keras_hub>BertBackbone; want an ElectraBackbone",
        ),
        (change("config.json", registered_name=["x"]), "want an ElectraBackbone"),
        (change("config.json", config=3), "config.json: config=3: want an object"),
        (change_config("config.json", hidden_dim=13), "must divide hidden_size"),
        (change_config("config.json", depth=2), "config.json: no setting depth"),
        (change_config("config.json", num_layers="many"), "num_layers='many'"),
        (change_config("config.json", vocab_size=9), "tokens in .*, but 9 rows in"),
        (write("tokenizer.json", "?"), "tokenizer.json is not JSON"),
        (
            change("tokenizer.json", registered_name="keras_hub>GPT2Tokenizer"),
            "holds keras_hub>GPT2Tokenizer; want an ElectraTokenizer",
        ),
        (change_config("tokenizer.json", lowercase="maybe"), "lowercase='maybe'"),
        (write(VOCAB_FILE, "[PAD]\n"), r"vocabulary.txt has no \[UNK\]"),
        (lambda folder: os.remove(folder / VOCAB_FILE), "cannot read vocabulary"),
        (write("metadata.json", "nothing"), "metadata.json is not JSON"),
        (write("task.json", "nothing"), "task.json is not JSON"),
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
    change_config("config.json", **changed)(saved)
    with pytest.raises(errors.UserError, match=r"config.json describes .*; they are n"):
        keras_hub_presets.open_preset(str(saved))


def test_kerashub_itself_refuses_weights_that_are_left_over(saved_ours, tmp_path):
    folder = tmp_path / "preset"
    shutil.copytree(saved_ours, folder)
    change_config("config.json", num_layers=1)(folder)
    with pytest.raises(errors.UserError, match=r"arrays, and the model has .* its con"):
        keras_hub.models.Backbone.from_preset(str(folder))


def test_without_a_tokenizer_nothing_is_known_of_the_words(saved):
    os.remove(saved / "tokenizer.json")
    found = keras_hub_presets.open_preset(str(saved))
    assert found.vocab is None
    assert any("no tokenizer" in note for note in found.notes)


def test_special_tokens_that_kerashub_finds_in_a_text_are_found(saved_theirs, tmp_path):
    folder = tmp_path / "preset"
    shutil.copytree(saved_theirs, folder)
    words = "[PAD] [UNK] [CLS] [SEP] [MASK] <e> a b e < >".split()
    theirs = keras_hub.tokenizers.ElectraTokenizer(
        vocabulary=words, special_tokens=["<e>"], special_tokens_in_strings=True
    )
    theirs.save_to_preset(str(folder))
    (folder / "SHA256SUMS").unlink()
    settings, vocab, notes = keras_hub_presets._open_tokenizer(str(folder))
    ours = tokenizer.Encoder(vocab, settings)
    for text in ("a<e>b", "<e> e < e", "<e><e>a"):
        assert list(ours.encode(text)) == np.asarray(theirs(text)).tolist(), text
    assert keras_hub_presets.SPECIAL_TOKENS_CUT in notes
    for name, value in {"split": False, "suffix_indicator": "@@"}.items():
        change_config("tokenizer.json", **{name: value})(folder)
        with pytest.raises(errors.UserError, match=f"{name}={value!r} is not support"):
            keras_hub_presets.open_preset(str(folder))
        change_config("tokenizer.json", split=True)(folder)


def test_a_preset_of_kerashub_is_not_taken_for_ours_and_replaced(saved, source):
    assert not preset.is_preset(str(saved))
    before = sorted(os.listdir(saved))
    name = "generator"
    networks, configs = {name: source.built[name]}, {name: source.networks[name]}
    with pytest.raises(errors.UserError, match="is there and no preset"):
        preset.save(str(saved), networks, configs, source.vocab, SETTINGS, {})
    assert sorted(os.listdir(saved)) == before


def test_other_directories_are_no_presets_of_kerashub(saved, tmp_path):
    assert keras_hub_presets.is_preset(str(saved))
    other = tmp_path / "other"
    assert not keras_hub_presets.is_preset(str(other))
    other.mkdir()
    for text in ("{", "[]", '{"model_type": "electra"}', '{"format": 1}'):
        (other / "config.json").write_text(text)
        assert not keras_hub_presets.is_preset(str(other)), text
