"""Trained models on disk: what is saved is loaded, and nothing else is."""

import json
import os
import resource
import shutil
import signal
import time

import commands
import damaging
import disk
import keras
import numpy as np
import pytest

from electra_tf import config, errors
from electra_tf.network import models
from electra_tf.weights import preset, preset_writer

# Keras 3.15 saves a variable of TensorFlow 2.21 in a way that numpy 2 will drop.
TOKENIZER = config.TokenizerConfig(lowercase=False, strip_accents=True, split_cjk=False)


@pytest.fixture(scope="module")
def configs(tiny_model_config):
    narrow = {"hidden_size": 8, "num_heads": 2, "num_layers": 1}
    return {
        "generator": tiny_model_config.model_copy(update=narrow),
        "discriminator": tiny_model_config,
    }


@pytest.fixture(scope="module")
def networks(configs):
    return {name: preset.BUILDERS[name](configs[name]) for name in configs}


@pytest.fixture
def save(networks, configs, vocab):
    def write(folder, **changed):
        values = {"networks": networks, "configs": configs, "origin": {"steps": 7}}
        values |= changed
        preset_writer.save(
            str(folder),
            vocab=vocab,
            tokenizer_config=TOKENIZER,
            **values,
        )
        return folder

    return write


@pytest.fixture
def saved(save, tmp_path):
    """A preset to damage, of a version before there were checksums."""
    folder = save(tmp_path / "preset")
    (folder / "SHA256SUMS").unlink()
    return folder


def test_a_bit_that_flips_is_noticed_before_the_file_is_used(save, tmp_path):
    folder = save(tmp_path / "preset")
    for name in ("config.json", "vocab.txt", "generator.weights.h5"):
        data = bytearray((folder / name).read_bytes())
        data[len(data) // 2] ^= 4
        (folder / name).write_bytes(data)
        with pytest.raises(errors.UserError, match=f"{name} is not what was written"):
            preset.build(preset.load(str(folder)), "generator")
        data[len(data) // 2] ^= 4
        (folder / name).write_bytes(data)
    preset.build(preset.load(str(folder)), "generator")


def weights(network):
    return {v.path: v.numpy() for v in network.weights}


def test_what_is_loaded_is_what_was_saved(saved, networks, configs, vocab):
    found = preset.load(str(saved))
    assert found.networks == configs
    assert (found.vocab, found.tokenizer) == (vocab, TOKENIZER)
    assert found.origin == {"steps": 7}
    for name, network in networks.items():
        built = weights(preset.build(found, name))
        assert built.keys() == weights(network).keys()
        for path, value in weights(network).items():
            np.testing.assert_array_equal(built[path], value)


def test_it_holds_six_files_and_leaves_no_other(save, tmp_path):
    assert sorted(os.listdir(save(tmp_path / "preset"))) == [
        "README.md",
        "SHA256SUMS",
        "config.json",
        "discriminator.weights.h5",
        "generator.weights.h5",
        "vocab.txt",
    ]
    assert os.listdir(tmp_path) == ["preset"]


def test_it_is_on_the_disk_when_it_is_saved(save, tmp_path, monkeypatch):
    watched = disk.Disk(monkeypatch)
    for _ in range(2):
        watched.assert_holds(save(tmp_path / "run/preset"))


def test_an_old_preset_is_replaced_whole(saved, save, networks):
    save(saved, networks={"discriminator": networks["discriminator"]}, origin={})
    assert sorted(os.listdir(saved)) == [
        "README.md",
        "SHA256SUMS",
        "config.json",
        "discriminator.weights.h5",
        "vocab.txt",
    ]
    assert os.listdir(saved.parent) == ["preset"]
    with pytest.raises(errors.UserError, match="has no generator; it has discr"):
        preset.build(preset.load(str(saved)), "generator")


def test_a_save_that_fails_leaves_the_old_one(saved, save, networks):
    class Unwritable:
        weights = ()

        def save_weights(self, path):
            raise OSError(28, "No space left on device", path)

    with pytest.raises(
        errors.UserError, match=r"preset: No space left on device; free"
    ):
        save(saved, networks=networks | {"generator": Unwritable()})
    assert preset.load(str(saved)).origin == {"steps": 7}
    assert os.listdir(saved.parent) == ["preset"]


def test_a_save_killed_before_it_ends_leaves_the_old_one(saved, save):
    # As a kill leaves it while the new one is written.
    shutil.copytree(saved, saved.with_name(".preset.building"))
    (saved.parent / ".preset.building/config.json").unlink()
    assert preset.load(str(saved)).origin == {"steps": 7}
    save(saved, origin={"steps": 8})
    assert preset.load(str(saved)).origin == {"steps": 8}
    assert os.listdir(saved.parent) == ["preset"]


@pytest.mark.parametrize("then", ["load", "save"])
def test_a_save_killed_between_its_two_renames_loses_nothing(saved, save, then):
    # As a kill leaves it: the old one is out of the way, the new one not yet in place.
    shutil.copytree(saved, saved.with_name(".preset.building"))
    saved.rename(saved.with_name(".preset.old"))
    if then == "save":

        class Unwritable:
            weights = ()

            def save_weights(self, path):
                raise OSError(28, "No space left on device", path)

        with pytest.raises(errors.UserError, match="No space left"):
            save(saved, networks={"discriminator": Unwritable()})
    assert preset.load(str(saved)).origin == {"steps": 7}


def test_a_folder_that_is_no_preset_is_not_replaced(save, tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(errors.UserError, match="is there and no preset"):
        save(tmp_path)
    assert os.listdir(tmp_path) == ["thesis.tex"]


def damage_config(**changed):
    def change(folder):
        values = json.loads((folder / "config.json").read_text()) | changed
        (folder / "config.json").write_text(json.dumps(values))

    return change


def write(name, text):
    return lambda folder: (folder / name).write_text(text)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: shutil.rmtree(folder), "no preset at .*: No such file"),
        (write("config.json", "{"), "config.json is not JSON"),
        (write("config.json", "[]"), "no preset at .*: want a JSON object, got "),
        (damage_config(format=2), r"not a preset of this version \(format 1\)"),
        (damage_config(networks=3), "config.json: networks=3: "),
        (damage_config(networks={"generator": {"depth": 2}}), "no setting .*depth"),
        (
            damage_config(tokenizer={"lowercase": "maybe"}),
            "tokenizer.lowercase='maybe'",
        ),
        (damage_config(vocab_hash="0"), "vocab.txt is not the vocabulary this preset"),
        (write("vocab.txt", "[PAD]\n"), r"has no \[UNK\]"),
    ],
)
def test_what_is_no_preset_is_refused_in_one_line(saved, damage, message):
    damage(saved)
    with pytest.raises(errors.UserError, match=message) as error:
        preset.load(str(saved))
    assert "\n" not in str(error.value)


def flip_a_byte_of_the_head(file):
    damaging.flip_a_byte(file, 3)


@pytest.mark.parametrize("name", ["config.json", "generator.weights.h5"])
def test_a_pipe_is_not_waited_for(saved, name):
    os.remove(saved / name)
    os.mkfifo(saved / name)
    with pytest.raises(errors.UserError, match=f"{name} is a pipe or a device; put a"):
        preset.build(preset.load(str(saved)), "generator")


def architecture(**changed):
    """Changes what the configuration says of the discriminator."""

    def change(folder):
        values = json.loads((folder / "config.json").read_text())
        values["networks"]["discriminator"] |= changed
        (folder / "config.json").write_text(json.dumps(values))

    return change


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"num_layers": 1}, "not of the same model: put the file back that was writ"),
        ({"num_layers": 3}, "discriminator.weights.h5 holds .* weights, and the netw"),
        ({"intermediate_size": 21}, "config.json describes has .*; they are not of"),
        ({"num_layers": 10**8}, "config.json describes .* weights, and their files"),
        ({"num_layers": 10**12}, r"are more than 1e\+12 weights"),
        ({"hidden_size": 3 * 10**7}, r"30,000,000 wide, .* more than 1e\+12 weights"),
    ],
)
def test_a_configuration_of_another_size_is_refused_before_memory_is_taken(
    saved, changed, message
):
    architecture(**changed)(saved)
    with pytest.raises(errors.UserError, match=message) as error:
        preset.load(str(saved))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "damage", [damaging.cut_short, flip_a_byte_of_the_head, os.remove]
)
def test_damaged_weights_are_named(saved, damage):
    damage(saved / "generator.weights.h5")
    found = preset.load(str(saved))
    with pytest.raises(errors.UserError, match=r"cannot load .*generator.weights.h5: "):
        preset.build(found, "generator")
    preset.build(found, "discriminator")


@pytest.mark.parametrize("changed", [{"hidden_size": 16}, {"num_layers": 3}])
def test_weights_of_another_shape_are_refused(saved, configs, changed):
    other = models.build_discriminator(
        configs["discriminator"].model_copy(update={"num_heads": 4} | changed)
    )
    with pytest.raises(errors.UserError, match=r"cannot load .*inator.weights.h5: "):
        preset.load(str(saved)).load_weights("discriminator", other)


def save_over_and_over(folder, configs, vocab):
    networks = {name: preset.BUILDERS[name](configs[name]) for name in configs}
    for steps in range(10**6):
        preset_writer.save(
            folder, networks, configs, vocab, TOKENIZER, {"steps": steps}
        )


@pytest.mark.slow
def test_there_is_a_whole_preset_at_every_moment(tmp_path, configs, vocab):
    folder = tmp_path / "preset"
    for delay in range(5):
        process = commands.Started(
            tmp_path, save_over_and_over, str(folder), configs, vocab
        )
        process.wait_for(folder.exists)
        time.sleep(0.3 + 0.07 * delay)
        process.send(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        found = preset.load(str(folder))
        for name in configs:
            preset.build(found, name)


def test_a_disk_without_room_is_told_before_hdf5_meets_it(
    save, tmp_path, monkeypatch, capfd
):
    monkeypatch.setattr(keras.Model, "save_weights", pytest.fail)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))
    try:
        with pytest.raises(errors.UserError, match=r"preset: File too large; free"):
            save(tmp_path / "preset")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert os.listdir(tmp_path) == []
    assert capfd.readouterr().err == ""


# Roles.


@pytest.fixture
def named(save, networks, configs, tmp_path):
    """A preset of two networks that guess, and of one whose head nobody knows."""
    hidden = models.build_headless(configs["discriminator"])
    energy = keras.layers.Dense(1, name="energy")(hidden.output)
    networks = {
        "small": networks["generator"],
        "generator": preset.BUILDERS["generator"](configs["discriminator"]),
        "judge": keras.Model(hidden.input, energy),
    }
    architectures = {
        "small": configs["generator"],
        "generator": configs["discriminator"],
        "judge": configs["discriminator"],
    }
    roles = {"small": "generator", "generator": "generator", "judge": "energy"}
    folder = save(
        tmp_path / "named", networks=networks, configs=architectures, roles=roles
    )
    return networks, preset.load(str(folder))


def test_a_network_has_its_role_whatever_its_name(named):
    _, found = named
    assert {name: preset.role_of(found, name) for name in found.networks} == {
        "small": "generator",
        "generator": "generator",
        "judge": "energy",
    }
    assert preset.find(found, "generator") == "generator"  # Of two, the namesake.
    assert preset.find(found, "discriminator") is None
    assert preset.choose(found, ["discriminator", "encoder"]) == "judge"
    assert preset.choose(found, ["discriminator"]) is None
    assert preset.choose(found, ["encoder", "generator"]) == "generator"


def test_of_an_unknown_head_the_encoder_is_built_with_its_weights(named):
    networks, found = named
    for name in ("small", "generator"):
        built = preset.build(found, name)
        for want, got in zip(networks[name].weights, built.weights, strict=True):
            np.testing.assert_array_equal(got, want)
    encoder = preset.build(found, "judge")
    assert encoder.name == "encoder"
    want = {v.path: np.asarray(v) for v in networks["judge"].weights}
    got = {v.path: np.asarray(v) for v in encoder.weights}
    assert set(want) - set(got) == {"energy/kernel", "energy/bias"}
    for path, value in got.items():
        np.testing.assert_array_equal(value, want[path])
