"""Two masked rows, and objectives with tiny networks whose weights are not small."""

import numpy as np
import tensorflow as tf

from electra_tf import config
from electra_tf.network import models
from electra_tf.objectives import registry

MODEL = config.ModelConfig(
    vocab_size=11,
    embedding_size=5,
    hidden_size=6,
    num_layers=1,
    num_heads=3,
    intermediate_size=8,
    max_positions=9,
)

# B=2, L=7, P=3; [CLS] 2, [SEP] 3, [MASK] 4. Row 1 ends in padding and has two unused
# slots.
BATCH = {
    "token_ids": np.int32([[2, 7, 4, 3, 4, 4, 3], [2, 9, 4, 3, 0, 0, 0]]),
    "segment_ids": np.int32([[0, 0, 0, 0, 1, 1, 1], [0, 0, 0, 0, 0, 0, 0]]),
    "example_ids": np.int32([[1, 1, 1, 1, 2, 2, 2], [1, 1, 1, 1, 0, 0, 0]]),
    "position_ids": np.int32([[0, 1, 2, 3, 0, 1, 2], [0, 1, 2, 3, 0, 0, 0]]),
    "mask_positions": np.int32([[2, 4, 5], [2, 0, 2]]),
    "mask_ids": np.int32([[8, 6, 10], [5, 0, 0]]),
    "mask_weights": np.float32([[1, 1, 1], [1, 0, 0]]),
    "sampling_noise": np.float32([[0.1, 0.5, 0.9], [0.3, 0.7, 0.2]]),
    "data_position": np.int32([[0, 1, 2, 3], [0, 1, 2, 4]]),
}
BATCH = {name: tf.constant(value) for name, value in BATCH.items()}
HIDDEN = [(0, 2, 8), (0, 4, 6), (0, 5, 10), (1, 2, 5)]  # row, position, token


# What an objective cannot do without: settings, blocks, a generator of some size.
NEEDED = {
    "frozen_generator": {"generator": "a preset"},
    "teams": {"shared_layers": 1, "candidates": 4},
}
LAYERS = {"teams": 3}
GENERATORS = {"teams": {"width_scale": 1.0, "depth_scale": 0.67}}


def settings_of(name="electra", shares="embeddings", **settings):
    settings = NEEDED.get(name, {}) | settings
    small = GENERATORS.get(name, {"width_scale": 0.5})
    layers = LAYERS.get(name, MODEL.num_layers)
    sections = {
        "model": MODEL.model_copy(update={"num_layers": layers}),
        "generator": {"shares": shares, **small},
        "objective": {"name": name, **settings},
        "data": {"example_tokens": 7, "row_tokens": 7},
    }
    return config.check(config.PretrainConfig, sections, "test")


def weights_of(objective):
    """Returns the weight of each loss."""
    return {name: loss.weight for name, loss in objective.declared.losses.items()}


def build(name="electra", shares="embeddings", **settings):
    objective = registry.build(settings_of(name, shares, **settings))
    rng = np.random.default_rng(9)
    for network in objective.networks.values():
        for variable in network.trainable_variables:
            mean = 1.0 if variable.path.endswith("gamma") else 0.0
            sigma = 0.6 if len(variable.shape) == 2 else 0.2
            variable.assign(rng.normal(mean, sigma, variable.shape))
    return objective


def guess(objective):
    generator = objective.networks["generator"]
    return np.float64(generator(models.inputs_of(generator, BATCH)))


def judge(objective, token_ids):
    discriminator = objective.networks["discriminator"]
    rows = models.inputs_of(discriminator, BATCH)
    return np.float64(discriminator(rows | {"token_ids": tf.constant(token_ids)}))


def vary_noise(times):
    """Returns the batch so many times over, each with other noise."""
    batch = {name: tf.repeat(value, times, axis=0) for name, value in BATCH.items()}
    noise = np.random.default_rng(2).random([2 * times, 3], dtype=np.float32)
    return batch | {"sampling_noise": tf.constant(noise)}


def minus_log_p(logits):
    """Sums over HIDDEN in plain numpy; logits [B, P, V], slots 0, 1, 2 and 0."""
    total = 0.0
    for slot, (row, _, token) in zip([0, 1, 2, 0], HIDDEN, strict=True):
        x = logits[row, slot]
        total += np.log(np.sum(np.exp(x))) - x[token]
    return total


def fill(sampled):
    """Returns the corrupted rows, and where they differ from the original ones."""
    original, corrupted = (np.array(BATCH["token_ids"]) for _ in range(2))
    for slot, (row, position, token) in zip([0, 1, 2, 0], HIDDEN, strict=True):
        original[row, position] = token
        corrupted[row, position] = sampled[row, slot]
    return corrupted, corrupted != original
