"""What the tests of the network share: an architecture whose sizes all differ."""

import numpy as np

from electra_tf import config

# V=11, E=5, D=6, H=3, K=2, F=8.
MODEL = config.ModelConfig(
    vocab_size=11,
    embedding_size=5,
    hidden_size=6,
    num_layers=2,
    num_heads=3,
    intermediate_size=8,
    max_positions=9,
)
EPSILON = MODEL.layer_norm_epsilon
NEVER = {"hidden_dropout_rate": 0.0, "attention_dropout_rate": 0.0}
HALF = {"hidden_dropout_rate": 0.5, "attention_dropout_rate": 0.5}


def normalize(x):
    """Returns what LayerNorm makes of its input before it scales, in float64."""
    x = np.float64(x)
    variance = x.var(axis=-1, keepdims=True)
    return (x - x.mean(axis=-1, keepdims=True)) / np.sqrt(variance + EPSILON)


def randomize(layer, seed):
    """Gives a layer weights that no initializer gives: no zero bias, no gamma of 1."""
    rng = np.random.default_rng(seed)
    for variable in layer.trainable_variables:
        variable.assign(rng.normal(0, 0.5, variable.shape))
    return layer


def randomize_built(layer, seed):
    """Does the same to a layer that takes states [B, L, 6], built for that."""
    layer.build((None, None, 6))
    return randomize(layer, seed)
