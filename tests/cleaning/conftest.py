"""What the tests of this room share: presets of one network each."""

import numpy as np
import pytest

from electra_tf import config
from electra_tf.network import models
from electra_tf.weights import preset_writer


@pytest.fixture(scope="module")
def presets(tmp_path_factory, tiny_model_config, vocab):
    """Presets by the role of their only network."""
    found = {}
    for number, (role, build) in enumerate(
        {
            "discriminator": models.build_discriminator,
            "energy": models.build_discriminator,
            "generator": models.build_generator,
        }.items()
    ):
        network = build(tiny_model_config)
        chance = np.random.default_rng(number)
        for weight in network.weights:
            weight.assign(np.array(weight) + chance.normal(0, 0.3, weight.shape))
        found[role] = str(tmp_path_factory.mktemp("preset") / role)
        preset_writer.save(
            found[role],
            {role: network},
            {role: tiny_model_config},
            vocab,
            config.TokenizerConfig(),
            {},
        )
    return found
