"""What the layers compute, written so that it is fast and keeps little.

In:   tensors, settings as plain values, a seed where chance is asked for.
Out:  dropout, LayerNorm, GELU, attention, and adding with LayerNorm, each with its
      gradient by hand (D6, D26, D30); Keras layers of the first two.

What each computes, in TensorFlow's own operations, stands in `plain`; tests compare.

B rows, Q tokens that see, S tokens that are seen, D hidden, H heads, K = D / H.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from electra_tf import config
from electra_tf.network import tracing

# As Python has it, or as `get_config` of a layer wrote it.
Architecture = config.ModelConfig | dict[str, Any]


class Norm(NamedTuple):
    """What LayerNorm scales and shifts by, both [last axis]."""

    gamma: tf.Tensor
    beta: tf.Tensor


# Dropout.


def dropout(x: tf.Tensor, rate: float, seed: tf.Tensor | None) -> tf.Tensor:
    """Zeroes a share of the units and scales up the rest.

    Args:
        x: of any shape.
        rate: share of the units, 0 to 1.
        seed: int32 [2]; the same seed drops the same units, None drops none.
    """
    drop = _dropping(sizes(x), rate, seed)
    return tracing.custom_gradient(lambda x: (drop(x), drop))(x)


def _dropping(
    shape: list[Any], rate: float, seed: tf.Tensor | None
) -> Callable[[tf.Tensor], tf.Tensor]:
    """Returns what drops the same units each time; it keeps one byte per unit."""
    if seed is None:
        return lambda x: x
    keep, scale = kept(shape, rate, seed)
    return lambda x: x * (tf.cast(keep, x.dtype) * tf.cast(scale, x.dtype))


def kept(shape: list[Any], rate: float, seed: tf.Tensor) -> tuple[tf.Tensor, float]:
    """Draws which units stay, bool of a shape, and what to scale them by.

    A unit is dropped if its random byte is below `rate` * 256. That is no whole number,
    so each place of the last axis draws whether to round it up or down (D30).
    """
    rate = min(rate, 255 / 256)
    part, whole = math.modf(rate * 256)
    places = shape[-1]
    drawn = _random_bytes(2 * places + math.prod(shape), seed)
    coins = tf.bitcast(tf.reshape(drawn[: 2 * places], [places, 2]), tf.uint16)
    up = tf.cast(coins < tf.constant(int(part * 65_536), tf.uint16), tf.uint8)
    dropped = up + tf.constant(int(whole), tf.uint8)
    return tf.reshape(drawn[2 * places :], shape) >= dropped, 1.0 / (1.0 - rate)


def _random_bytes(size: Any, seed: tf.Tensor) -> tf.Tensor:
    """Draws so many uniform bytes, four from each 32-bit word.

    Philox by name: the default generator under XLA on CPU takes ten times as long
    (measured, docs/decisions, D6).
    """
    words = tf.random.stateless_uniform(
        [(size + 3) // 4], seed, minval=None, maxval=None, dtype=tf.int32, alg="philox"
    )
    return tf.reshape(tf.bitcast(words, tf.uint8), [-1])[:size]


@keras.saving.register_keras_serializable(package="electra_tf")
class Dropout(keras.layers.Layer):
    """Zeroes a share of the units and scales up the rest, in training.

    Inside `dropout_seed` the mask depends on that seed and the order of the calls
    alone; outside, in plain `fit`, on a generator of its own and on the replica.
    """

    def __init__(self, rate: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.rate = rate
        self._generator = keras.random.SeedGenerator()
        self.built = True

    def call(self, x: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Returns `x`, of any shape, with units dropped where `training`."""
        seed = self.next_seed(training)
        return x if seed is None else dropout(x, self.rate, seed)

    def next_seed(self, training: bool) -> tf.Tensor | None:
        """Returns the seed of the next mask, int32 [2]; None where nothing drops."""
        return self._seed() if training and self.rate else None

    def _seed(self) -> tf.Tensor:
        if (seed := tracing.next_dropout_seed()) is not None:
            return seed
        seed = tf.cast(self._generator.next(ordered=False), tf.int32)
        return seed + tf.stack([_replica(), 0])

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments that make the same layer."""
        return {**super().get_config(), "rate": self.rate}


def _replica() -> tf.Tensor | int:
    """Returns the number of the replica that runs this, 0 outside a strategy."""
    context = tf.distribute.get_replica_context()
    return context.replica_id_in_sync_group if context else 0


# LayerNorm.


def layer_norm(x: tf.Tensor, norm: Norm, epsilon: float) -> tf.Tensor:
    """Normalizes the last axis, in float32, then scales and shifts.

    Args:
        x: of any shape and float dtype, in which the result is too.
        norm: what to scale and shift by.
        epsilon: added to the variance.
    """
    normalize = tracing.custom_gradient(
        lambda x, gamma, beta: _normalized(x, gamma, beta, epsilon)
    )
    return normalize(x, *norm)


def _normalized(
    x: tf.Tensor, gamma: tf.Tensor, beta: tf.Tensor, epsilon: float
) -> tuple[tf.Tensor, Callable[[tf.Tensor], tuple[tf.Tensor, ...]]]:
    """Normalizes in float32; the second output makes the gradients of all three.

    By hand, they pass over memory less (D6).
    """
    x32, gamma32 = tf.cast(x, tf.float32), tf.cast(gamma, tf.float32)
    centered = x32 - tf.reduce_mean(x32, axis=-1, keepdims=True)
    variance = tf.reduce_mean(tf.square(centered), axis=-1, keepdims=True)
    inverse = tf.math.rsqrt(variance + epsilon)
    normal = centered * inverse
    outer = list(range(len(x.shape) - 1))

    def gradient(dy: tf.Tensor) -> tuple[tf.Tensor, ...]:
        dy = tf.cast(dy, tf.float32)
        d_normal = dy * gamma32
        along = tf.reduce_mean(d_normal * normal, axis=-1, keepdims=True)
        level = tf.reduce_mean(d_normal, axis=-1, keepdims=True)
        return (
            tf.cast(inverse * (d_normal - level - normal * along), x.dtype),
            tf.cast(tf.reduce_sum(dy * normal, outer), gamma.dtype),
            tf.cast(tf.reduce_sum(dy, outer), beta.dtype),
        )

    return tf.cast(normal * gamma32 + tf.cast(beta, tf.float32), x.dtype), gradient


@keras.saving.register_keras_serializable(package="electra_tf")
class LayerNorm(keras.layers.Layer):
    """Normalizes the last axis, in float32, then scales and shifts."""

    def __init__(self, epsilon: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.epsilon = epsilon

    def build(self, shape: tuple[int | None, ...]) -> None:
        """Makes gamma and beta, both [last axis]."""
        self.gamma = self.add_weight(name="gamma", shape=shape[-1:], initializer="ones")
        self.beta = self.add_weight(name="beta", shape=shape[-1:], initializer="zeros")

    def call(self, x: tf.Tensor) -> tf.Tensor:
        """Returns `x` normalized, in the dtype it came in."""
        return layer_norm(x, self.tensors(), self.epsilon)

    def tensors(self) -> Norm:
        """Returns what it scales and shifts by."""
        return Norm(tf.convert_to_tensor(self.gamma), tf.convert_to_tensor(self.beta))

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments that make the same layer."""
        return {**super().get_config(), "epsilon": self.epsilon}


# GELU.


@tracing.custom_gradient
def exact_gelu(x: tf.Tensor) -> Any:
    """Returns x * Phi(x), by erf (2020 code); the gradient takes Phi from it (D6).

    In float32: a CPU takes half as long for that as for bfloat16 (D30).
    """
    # In this order TensorFlow Lite has it as one operation.
    x32 = tf.cast(x, tf.float32)
    y = tf.cast((0.5 * x32) * (1.0 + tf.math.erf(x32 * math.sqrt(0.5))), x.dtype)

    def gradient(dy: tf.Tensor) -> tf.Tensor:
        # The next product keeps y for itself; so nothing is kept for this but x.
        dy32, y32, x32 = (tf.cast(array, tf.float32) for array in (dy, y, x))
        phi = tf.where(x32 == 0.0, 0.5, y32 / x32)
        density = tf.exp(-0.5 * tf.square(x32)) * (1.0 / math.sqrt(2.0 * math.pi))
        return tf.cast(dy32 * (phi + x32 * density), x.dtype)

    return y, gradient


def activation(name: str) -> Callable[[tf.Tensor], tf.Tensor]:
    """Returns the activation of that name; `gelu` is the exact form with erf."""
    known: dict[str, Callable[[tf.Tensor], tf.Tensor]] = {
        "gelu": exact_gelu,
        "gelu_approximate": lambda x: tf.nn.gelu(x, approximate=True),
        "relu": tf.nn.relu,
        "silu": tf.nn.silu,
    }
    return known[name]


# Attention.


def attention(
    queries: tf.Tensor,
    keys: tf.Tensor,
    values: tf.Tensor,
    bias: tf.Tensor,
    rate: float,
    seed: tf.Tensor | None,
) -> tf.Tensor:
    """Mixes the values by how well keys fit queries.

    For the backward pass the shares are kept once and of dropout's mask one byte a
    share; TensorFlow's own gradient keeps three arrays of their size (D26).

    Args:
        queries: [B, H, Q, K].
        keys: [B, H, S, K].
        values: [B, H, S, K].
        bias: [B, 1, Q, S], goes onto the scores.
        rate: of dropout on the shares.
        seed: of dropout, as in `dropout`.

    Returns:
        [B * Q, H * K].
    """
    batch, heads, tokens, size = sizes(queries)

    @tracing.custom_gradient
    def attend(queries: tf.Tensor, keys: tf.Tensor, values: tf.Tensor) -> Any:
        # Scales touch the queries, K numbers per token, and not the scores, H * S.
        fit = 1.0 / math.sqrt(queries.shape[-1])
        scores = tf.matmul(queries * fit, keys, transpose_b=True) + bias
        # Compiled, float16 would be summed in float16.
        wide = tf.float32 if scores.dtype == tf.float16 else scores.dtype
        shares = tf.cast(tf.nn.softmax(tf.cast(scores, wide)), scores.dtype)
        keep, scale = None, 1.0
        if seed is not None:
            keep, scale = kept(sizes(shares), rate, seed)

        def dropped() -> tf.Tensor:
            return shares if keep is None else shares * tf.cast(keep, shares.dtype)

        context = tf.matmul(dropped(), values) * tf.cast(scale, values.dtype)
        context = _swap_inner_axes(context)  # [B, Q, H, K]
        context = tf.reshape(context, [batch * tokens, heads * size])

        def gradient(dy: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
            def by_head(x: tf.Tensor) -> tf.Tensor:
                x = tf.reshape(x, [batch, tokens, heads, size])
                return _swap_inner_axes(x)  # [B, H, Q, K]

            # The softmax's gradient wants the sum over a row of left * d_left: it is
            # the sum over a head of dy * context, which are smaller.
            sums = tf.reduce_sum(by_head(dy * context), axis=-1, keepdims=True)
            dy = by_head(dy * tf.cast(scale, dy.dtype))
            left = dropped()
            d_left = tf.matmul(dy, values, transpose_b=True)  # [B, H, Q, S]
            d_scores = left * d_left - shares * sums
            return (
                tf.matmul(d_scores, keys) * fit,
                tf.matmul(d_scores, queries * fit, transpose_a=True),
                tf.matmul(left, dy, transpose_a=True),
            )

        return context, gradient

    return attend(queries, keys, values)


def split_heads(
    x: tf.Tensor, batch: Any, tokens: Any, heads: int, training: bool
) -> tf.Tensor:
    """Turns [B * tokens, H * K] into [B, H, tokens, K].

    In training with a gradient that takes nothing from the forward pass. TensorFlow's
    own takes the order of the axes out of the function that blocks share. XLA must know
    it, and takes all that goes into that function for known, weights too: it would
    compile each step anew (D28). `tf.custom_gradient` would keep `x`.
    """
    x = tf.reshape(x, [batch, tokens, heads, x.shape[-1] // heads])
    # Under tf.config.run_functions_eagerly there is no graph.
    if not training or not tf.is_symbolic_tensor(x):
        return _swap_inner_axes(x)
    with x.graph.gradient_override_map({"Transpose": "ElectraSwapInnerAxes"}):
        return _swap_inner_axes(x)


@tf.RegisterGradient("ElectraSwapInnerAxes")
def _swap_back(_: tf.Operation, dy: tf.Tensor) -> tuple[tf.Tensor, None]:
    return _swap_inner_axes(dy), None


def _swap_inner_axes(x: tf.Tensor) -> tf.Tensor:
    """Turns [B, M, N, K] into [B, N, M, K]."""
    return tf.transpose(x, [0, 2, 1, 3])


# Adding with LayerNorm.


def add_and_norm(
    x: tf.Tensor,
    more: tf.Tensor,
    norm: Norm,
    epsilon: float,
    rate: float,
    seed: tf.Tensor | None,
) -> tf.Tensor:
    """Adds what dropout leaves of `more` to `x` and normalizes the sum, in float32.

    As one, so that neither the sum nor what dropout leaves waits for the backward pass
    (D26).

    Args:
        x: of any shape.
        more: of the same shape.
        norm: what LayerNorm scales and shifts by.
        epsilon: added to the variance.
        rate: of dropout on `more`.
        seed: of dropout, as in `dropout`.
    """
    drop = _dropping(sizes(more), rate, seed)

    @tracing.custom_gradient
    def run(x: tf.Tensor, more: tf.Tensor, gamma: tf.Tensor, beta: tf.Tensor) -> Any:
        total = tf.cast(x, tf.float32) + drop(tf.cast(more, tf.float32))
        y, back = _normalized(total, gamma, beta, epsilon)

        def gradient(dy: tf.Tensor) -> tuple[tf.Tensor, ...]:
            dx, *others = back(dy)
            return tf.cast(dx, x.dtype), tf.cast(drop(dx), x.dtype), *others

        return tf.cast(y, x.dtype), gradient

    return run(x, more, *norm)


# What all layers share.


def sizes(x: tf.Tensor) -> list[Any]:
    """Returns the sizes of the axes, as numbers where they are known."""
    found = tf.shape(x)
    return [found[i] if size is None else size for i, size in enumerate(x.shape)]


def architecture(values: Architecture) -> config.ModelConfig:
    """Returns an architecture, read from what `get_config` wrote if need be."""
    if isinstance(values, config.ModelConfig):
        return values
    return config.check(config.ModelConfig, values, "a saved layer")


def truncated_normal(config: config.ModelConfig) -> keras.initializers.Initializer:
    """Returns the 2020 code's initializer: a normal cut at two sigma."""
    return keras.initializers.TruncatedNormal(stddev=config.initializer_range)
