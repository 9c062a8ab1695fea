"""Networks to write as presets of KerasHub, and what damages those."""

import json
from typing import NamedTuple

import numpy as np

from electra_tf import config
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


def encoder_of(source, name):
    rows = weight_map.encoder_rows(source.networks[name])
    found = weight_map.variables(source.built[name])
    return {row.ours: found[row.ours] for row in rows}


def assert_same_encoder(network, source, name):
    found, wanted = weight_map.variables(network), encoder_of(source, name)
    assert found.keys() == wanted.keys()
    for path, variable in wanted.items():
        np.testing.assert_array_equal(found[path], variable, err_msg=path)


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
