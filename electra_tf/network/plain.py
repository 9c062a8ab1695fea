"""What each kernel computes, in TensorFlow's own operations and with its own gradients.

In:   what the function of the same name in `kernels` is given.
Out:  the same values and slopes: tests compare the two. To read, not to run.
"""

import tensorflow as tf

from electra_tf.network import kernels


def dropout(x: tf.Tensor, rate: float, seed: tf.Tensor | None) -> tf.Tensor:
    """Zeroes a share of the units and scales up the rest."""
    if seed is None:
        return x
    keep, scale = kernels.kept(kernels.sizes(x), rate, seed)
    return tf.where(keep, x * tf.cast(scale, x.dtype), tf.zeros_like(x))


def layer_norm(x: tf.Tensor, norm: kernels.Norm, epsilon: float) -> tf.Tensor:
    """Normalizes the last axis, then scales and shifts."""
    x32 = tf.cast(x, tf.float32)
    mean, variance = tf.nn.moments(x32, axes=[-1], keepdims=True)
    gamma, beta = (tf.cast(part, tf.float32) for part in norm)
    y = (x32 - mean) / tf.sqrt(variance + epsilon) * gamma + beta
    return tf.cast(y, x.dtype)


def exact_gelu(x: tf.Tensor) -> tf.Tensor:
    """Returns x * Phi(x)."""
    return tf.nn.gelu(x, approximate=False)


def attention(
    queries: tf.Tensor,
    keys: tf.Tensor,
    values: tf.Tensor,
    bias: tf.Tensor,
    rate: float,
    seed: tf.Tensor | None,
) -> tf.Tensor:
    """Mixes the values by how well keys fit queries."""
    batch, heads, tokens, size = kernels.sizes(queries)
    scores = tf.einsum("bhqk,bhsk->bhqs", queries, keys)
    shares = tf.nn.softmax(scores * size**-0.5 + bias)
    shares = dropout(shares, rate, seed)
    context = tf.einsum("bhqs,bhsk->bqhk", shares, values)
    return tf.reshape(context, [batch * tokens, heads * size])


def add_and_norm(
    x: tf.Tensor,
    more: tf.Tensor,
    norm: kernels.Norm,
    epsilon: float,
    rate: float,
    seed: tf.Tensor | None,
) -> tf.Tensor:
    """Adds what dropout leaves of `more` to `x` and normalizes the sum."""
    left = dropout(tf.cast(more, tf.float32), rate, seed)
    total = tf.cast(x, tf.float32) + left
    return tf.cast(layer_norm(total, norm, epsilon), x.dtype)
