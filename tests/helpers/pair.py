"""A kernel and a bias that learn from given gradients."""

import keras
import numpy as np
import tensorflow as tf

# Three gradients of a kernel [2, 3] and a bias [3].
RNG = np.random.default_rng(6)
KERNEL, BIAS = RNG.normal(0, 1, [2, 3]), RNG.normal(0, 1, [3])
KERNEL_GRADIENTS = [RNG.normal(0, 1, [2, 3]) for _ in range(3)]
BIAS_GRADIENTS = [RNG.normal(0, 1e-3, [3]) for _ in range(3)]


def variables():
    """Returns a kernel and a bias, with the paths they would have in a head."""
    found = []
    for name, value in (("kernel", KERNEL), ("bias", BIAS)):
        with keras.name_scope("layer_0"):
            found.append(keras.Variable(np.float32(value), name=name))
    return found


def learn(learner, steps=3):
    """Returns kernel and bias after the first gradients."""
    trained = variables()
    for step in range(steps):
        gradients = KERNEL_GRADIENTS[step], BIAS_GRADIENTS[step]
        gradients = [tf.constant(gradient, tf.float32) for gradient in gradients]
        learner.apply_gradients(zip(gradients, trained, strict=True))
    return [v.numpy() for v in trained]
