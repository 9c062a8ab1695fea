"""The encoder's layers: ids become embeddings, embeddings pass through blocks.

In:   token_ids, segment_ids, position_ids, example_ids int32 [B, L].
Out:  hidden states [B, L, D]; attention stays within one example of a row.

B rows, L tokens a row, P predictions a row, V vocabulary, E embedding, D hidden,
H heads, K = D / H. As in the 2020 code: post-LayerNorm BERT, exact GELU.
"""

import contextlib
import functools
import itertools
import math
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from tensorflow.python.framework import ops

from electra_tf import config

# exp(-10000) is 0 in float32, and bfloat16 holds it (2020 code).
NO_ATTENTION = -10_000.0

# As Python has it, or as `get_config` of a layer wrote it.
Architecture = config.ModelConfig | dict[str, Any]


class _Chance(threading.local):
    """The dropout seed of the step being traced, one a thread: replicas have theirs."""

    seed: tf.Tensor | None = None
    draws: int = 0


_chance = _Chance()


@contextlib.contextmanager
def dropout_seed(seed: tf.Tensor) -> Iterator[None]:
    """Makes all dropout inside a pure function of `seed`, int32 [2].

    Keras' own generators hold the same state on every replica, so that all replicas
    drop the same units; and their state is not a function of the step. Callers fold
    step, replica and micro-batch into the seed (pretrainer).
    """
    before = _chance.seed, _chance.draws
    _chance.seed, _chance.draws = seed, 0
    try:
        yield
    finally:
        _chance.seed, _chance.draws = before


class _Tracing(threading.local):
    """How blocks come into the graph being traced, one a thread."""

    inline: bool = False
    parts: int = 1


_tracing = _Tracing()


@contextlib.contextmanager
def inlined_blocks() -> Iterator[None]:
    """Copies each block into the graph, for runtimes that cannot call functions."""
    before, _tracing.inline = _tracing.inline, True
    try:
        yield
    finally:
        _tracing.inline = before


def are_blocks_inlined() -> bool:
    """Tells whether this is inside `inlined_blocks`."""
    return _tracing.inline


@contextlib.contextmanager
def split_rows(parts: int = 2) -> Iterator[None]:
    """Has blocks compute parts of each row side by side, where nothing is dropped.

    All tokens are attended to; what is done with a token needs no other one. So a
    single text has work for several cores, and no operation is shared out (D25).
    """
    before, _tracing.parts = _tracing.parts, parts
    try:
        yield
    finally:
        _tracing.parts = before


def custom_gradient(function: Callable[..., Any]) -> Callable[..., Any]:
    """Does as `tf.custom_gradient`, but lets graphs go that are done with.

    TensorFlow registers each gradient by a name of its own, for good, and with it the
    tensors of its graph: each model that was trained stayed in memory. Here the graph
    holds the gradient, and the register only who asks the graph for it.
    """
    inner = tf.custom_gradient(function)

    @functools.wraps(function)
    def call(*args: tf.Tensor) -> Any:
        found = inner(*args)
        if tf.is_symbolic_tensor(found):
            _hand_over(found.op)
        return found

    return call


def _hand_over(op: tf.Operation) -> None:
    """Moves the gradient of an operation from TensorFlow's register to its graph."""
    register = ops.gradient_registry._registry
    name = op.get_attr("_gradient_op_type").decode()
    entry, graph = register[name], weakref.ref(op.graph)
    if not hasattr(op.graph, "_electra_gradients"):
        op.graph._electra_gradients = {}
    op.graph._electra_gradients[name] = entry["type"]
    entry["type"] = lambda *given: graph()._electra_gradients[name](*given)  # type: ignore[union-attr]
    weakref.finalize(op.graph, register.pop, name, None)


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
        if seed is None:
            return x
        mask = _mask(_shape(x), self.rate, seed)
        return custom_gradient(lambda x: (mask(x), mask))(x)

    def next_seed(self, training: bool) -> tf.Tensor | None:
        """Returns the seed of the next mask, int32 [2]; None where nothing drops."""
        return self._seed() if training and self.rate else None

    def _seed(self) -> tf.Tensor:
        if _chance.seed is None:
            seed = tf.cast(self._generator.next(ordered=False), tf.int32)
            return seed + tf.stack([_replica(), 0])
        _chance.draws += 1
        return _chance.seed + tf.constant([0, _chance.draws])

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments that make the same layer."""
        return {**super().get_config(), "rate": self.rate}


def _mask(
    shape: list[Any], rate: float, seed: tf.Tensor | None
) -> Callable[[tf.Tensor], tf.Tensor]:
    """Returns what drops the same units each time; a byte a unit is kept for that."""
    if seed is None:
        return lambda x: x
    keep, scale = _kept(shape, rate, seed)
    return lambda x: x * (tf.cast(keep, x.dtype) * tf.cast(scale, x.dtype))


def _kept(shape: list[Any], rate: float, seed: tf.Tensor) -> tuple[tf.Tensor, float]:
    """Draws which units stay, bool of a shape, and what to scale them by.

    Of a unit's byte, those below `rate` * 256 drop it: no whole number, so a coin for
    each place of the last axis rounds it up or down (D30).
    """
    rate = min(rate, 255 / 256)
    part, whole = math.modf(rate * 256)
    places = shape[-1]
    drawn = _random_bytes(2 * places + math.prod(shape), seed)
    coins = tf.bitcast(tf.reshape(drawn[: 2 * places], [places, 2]), tf.uint16)
    up = tf.cast(coins < tf.constant(int(part * 65_536), tf.uint16), tf.uint8)
    dropped = up + tf.constant(int(whole), tf.uint8)
    return tf.reshape(drawn[2 * places :], shape) >= dropped, 1.0 / (1.0 - rate)


def _shape(x: tf.Tensor) -> list[Any]:
    """Returns the sizes of the axes, as numbers where they are known."""
    sizes = tf.shape(x)
    return [sizes[i] if size is None else size for i, size in enumerate(x.shape)]


def _replica() -> tf.Tensor | int:
    """Returns the number of the replica that runs this, 0 outside a strategy."""
    context = tf.distribute.get_replica_context()
    return context.replica_id_in_sync_group if context else 0


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
        normalize = custom_gradient(
            lambda x, gamma, beta: _normalized(x, gamma, beta, self.epsilon)
        )
        gamma, beta = tf.convert_to_tensor(self.gamma), tf.convert_to_tensor(self.beta)
        return normalize(x, gamma, beta)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments that make the same layer."""
        return {**super().get_config(), "epsilon": self.epsilon}


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


@custom_gradient
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


@keras.saving.register_keras_serializable(package="electra_tf")
class Embeddings(keras.layers.Layer):
    """Word + position + segment embeddings, LayerNorm, dropout.

    Generator and discriminator share this whole block: the three tables and the
    LayerNorm (2020 code).
    """

    def __init__(self, config: Architecture, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        config = self._config = _architecture(config)
        self.norm = LayerNorm(
            config.layer_norm_epsilon, name="norm", dtype=self.dtype_policy
        )
        self.dropout = Dropout(
            config.hidden_dropout_rate, name="dropout", dtype=self.dtype_policy
        )

    def build(self, *shapes: Any) -> None:
        """Makes the tables: words [V, E], positions [max_positions, E], segments."""
        c = self._config

        def table(name: str, rows: int, initializer: Any = None) -> keras.Variable:
            return self.add_weight(
                name=name,
                shape=(rows, c.embedding_size),
                initializer=initializer or truncated_normal(c),
            )

        waves = (
            _Waves(c.initializer_range) if c.position_initializer != "normal" else None
        )
        self.word_embeddings = table("word_embeddings", c.vocab_size)
        self.position_embeddings = table("position_embeddings", c.max_positions, waves)
        self.segment_embeddings = table("segment_embeddings", c.num_segments)
        self.norm.build((None, None, c.embedding_size))

    def call(
        self,
        token_ids: tf.Tensor,
        segment_ids: tf.Tensor,
        position_ids: tf.Tensor,
        training: bool = False,
    ) -> tf.Tensor:
        """Embeds int32 [B, L] ids into [B, L, E]."""
        x = (
            tf.gather(self._cast(self.word_embeddings), token_ids)
            + tf.gather(self._cast(self.position_embeddings), position_ids)
            + tf.gather(self._cast(self.segment_embeddings), segment_ids)
        )  # [B, L, E]
        return self.dropout(self.norm(x), training=training)

    def _cast(self, table: keras.Variable) -> tf.Tensor:
        return tf.cast(tf.convert_to_tensor(table), self.compute_dtype)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments that make the same layer."""
        return {**super().get_config(), "config": self._config.model_dump()}


@keras.saving.register_keras_serializable(package="electra_tf")
class _Waves(keras.initializers.Initializer):
    """Sines and cosines over the positions, of root mean square `size`.

    Wave lengths from 2 pi to 20,000 pi (Vaswani et al. 2017, 3.5).
    """

    def __init__(self, size: float) -> None:
        self.size = size

    def __call__(self, shape: tuple[int, int], dtype: Any = None) -> tf.Tensor:
        positions, width = shape
        pairs = -(-width // 2)
        rates = 10_000.0 ** (-np.arange(pairs) / pairs)
        angles = np.arange(positions)[:, None] * rates  # [positions, pairs]
        waves = np.stack([np.sin(angles), np.cos(angles)], axis=-1)
        waves = waves.reshape(positions, -1)[:, :width] * (self.size * math.sqrt(2.0))
        return tf.constant(waves, dtype or tf.float32)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments that make the same initializer."""
        return {"size": self.size}


@keras.saving.register_keras_serializable(package="electra_tf")
class AttentionBias(keras.layers.Layer):
    """Lets tokens attend within their example only.

    Padding, example 0, attends to padding: harmless, and no row of the softmax is
    empty.
    """

    def call(self, example_ids: tf.Tensor) -> tf.Tensor:
        """Turns int32 [B, L] into what is added to the scores, [B, 1, L, L]."""
        apart = tf.not_equal(
            example_ids[:, None, :, None], example_ids[:, None, None, :]
        )
        return tf.cast(apart, self.compute_dtype) * NO_ATTENTION


@keras.saving.register_keras_serializable(package="electra_tf")
class EncoderBlock(keras.layers.Layer):
    """Self-attention and feed-forward, each added to its input and normalized.

    One Keras layer with plain operations inside, which all blocks of an architecture
    share as one graph (`_shared_block`). The kernels live in `Dense` layers, which is
    what LoRA and quantization look for.
    """

    def __init__(self, config: Architecture, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        c = self._config = _architecture(config)
        # Whether the backward pass makes again what the forward pass made inside.
        self.recompute = False

        def dense(units: int, name: str) -> keras.layers.Dense:
            return keras.layers.Dense(
                units,
                kernel_initializer=truncated_normal(c),
                name=name,
                dtype=self.dtype_policy,
            )

        def norm(name: str) -> LayerNorm:
            return LayerNorm(c.layer_norm_epsilon, name=name, dtype=self.dtype_policy)

        def dropout(rate: float, name: str) -> Dropout:
            return Dropout(rate, name=name, dtype=self.dtype_policy)

        self.query = dense(c.hidden_size, "query")
        self.key = dense(c.hidden_size, "key")
        self.value = dense(c.hidden_size, "value")
        self.attention_output = dense(c.hidden_size, "attention_output")
        self.attention_norm = norm("attention_norm")
        self.intermediate = dense(c.intermediate_size, "intermediate")
        self.output_dense = dense(c.hidden_size, "output")
        self.output_norm = norm("output_norm")
        self.attention_dropout = dropout(c.attention_dropout_rate, "attention_dropout")
        self.hidden_dropout = dropout(c.hidden_dropout_rate, "hidden_dropout")

    def build(self, x_shape: Any, bias_shape: Any = None) -> None:
        """Makes the weights of all sub-layers."""
        wide = (None, None, self._config.hidden_size)
        for layer in (self.query, self.key, self.value, self.attention_output):
            layer.build(wide)
        self.intermediate.build(wide)
        self.output_dense.build((None, None, self._config.intermediate_size))
        self.attention_norm.build(wide)
        self.output_norm.build(wide)

    def call(
        self,
        x: tf.Tensor,
        bias: tf.Tensor,
        training: bool = False,
        first_only: bool = False,
    ) -> tf.Tensor:
        """Turns [B, L, D] into [B, L, D]; `bias` [B, 1, L, L] goes onto the scores.

        With `first_only` into [B, 1, D], the state of the first token alone: the others
        are attended to, and that is all that is done for them (D29).
        """
        seeds = [self.attention_dropout.next_seed(training)]
        seeds += [self.hidden_dropout.next_seed(training) for _ in range(2)]
        kernels = (
            self.query,
            self.key,
            self.value,
            self.attention_output,
            self.intermediate,
            self.output_dense,
        )
        norms = [
            (tf.convert_to_tensor(norm.gamma), tf.convert_to_tensor(norm.beta))
            for norm in (self.attention_norm, self.output_norm)
        ]
        if _tracing.inline or any(layer.quantization_mode for layer in kernels):
            return _block(
                self._config, kernels, norms, x, bias, seeds, first_only=first_only
            )
        parts = 1 if training else _tracing.parts
        weights = [
            (tf.convert_to_tensor(layer.kernel), tf.convert_to_tensor(layer.bias))
            for layer in kernels
        ]
        block = _shared_block(self._config, parts, first_only)
        if self.recompute and training:
            return _recomputed(block, weights, norms, x, bias, seeds)
        return block(weights, norms, x, bias, seeds, training)

    def compute_output_spec(
        self,
        x: keras.KerasTensor,
        bias: keras.KerasTensor,
        training: bool = False,
        first_only: bool = False,
    ) -> keras.KerasTensor:
        """Returns what `call` does, without tracing it."""
        batch, length, size = x.shape
        shape = (batch, 1 if first_only else length, size)
        return keras.KerasTensor(shape, self.compute_dtype)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments that make the same layer."""
        return {**super().get_config(), "config": self._config.model_dump()}


@functools.cache
def _shared_block(
    model: config.ModelConfig, parts: int, first_only: bool
) -> Callable[..., tf.Tensor]:
    """Returns one graph for all blocks of an architecture, their weights its inputs.

    A graph is traced for each new kind of inputs, not for each block; and as it is
    called and not copied into the step, TensorFlow prepares it once (D20).
    """

    def block(
        weights: list[tuple[tf.Tensor, tf.Tensor]],
        norms: list[tuple[tf.Tensor, tf.Tensor]],
        x: tf.Tensor,
        bias: tf.Tensor,
        seeds: list[tf.Tensor | None],
        training: bool,
    ) -> tf.Tensor:
        dense = [functools.partial(_dense, *pair) for pair in weights]
        swap = _swap_in_training if training else _swap_inner_axes
        return _block(model, dense, norms, x, bias, seeds, parts, first_only, swap)

    shared: Callable[..., tf.Tensor] = tf.function(
        block, autograph=False, experimental_attributes={"_noinline": True}
    )
    return shared


def _recomputed(
    block: Callable[..., tf.Tensor],
    weights: list[tuple[tf.Tensor, tf.Tensor]],
    norms: list[tuple[tf.Tensor, tf.Tensor]],
    x: tf.Tensor,
    bias: tf.Tensor,
    seeds: list[tf.Tensor | None],
) -> tf.Tensor:
    """Runs a block of which only the input is kept for the backward pass (D22)."""
    pairs = [*weights, *norms]

    def run(x: tf.Tensor, flat: Sequence[tf.Tensor]) -> tf.Tensor:
        again = tf.nest.pack_sequence_as(pairs, flat)
        return block(again[: len(weights)], again[len(weights) :], x, bias, seeds, True)

    @custom_gradient
    def forward(x: tf.Tensor, *flat: tf.Tensor) -> Any:
        def gradient(dy: tf.Tensor) -> list[tf.Tensor]:
            # Adds 0, which is not known before `dy` is: else the block would be made
            # again at once, or XLA would find that it was made already.
            first = tf.reshape(dy, [-1])[0]
            nothing = tf.where(first == first, tf.zeros_like(first), first)
            inputs = [x + tf.cast(nothing, x.dtype), *flat]
            with tf.GradientTape() as tape:
                tape.watch(inputs)
                y = run(inputs[0], inputs[1:])
            gradients: list[tf.Tensor] = tape.gradient(y, inputs, dy)
            return gradients

        return run(x, flat), gradient

    return forward(x, *tf.nest.flatten(pairs))


def _dense(kernel: tf.Tensor, bias: tf.Tensor, x: tf.Tensor) -> tf.Tensor:
    return tf.nn.bias_add(tf.matmul(x, kernel), bias)


def _swap_inner_axes(x: tf.Tensor) -> tf.Tensor:
    """Turns [B, M, N, K] into [B, N, M, K]."""
    return tf.transpose(x, [0, 2, 1, 3])


def _swap_in_training(x: tf.Tensor) -> tf.Tensor:
    """Does the same, with a gradient that takes nothing from the forward pass.

    TensorFlow's own takes the order of the axes out of the function that blocks share.
    XLA must know it, and takes all that goes into that function for known, weights too:
    it would compile each step anew (D28). `tf.custom_gradient` would keep `x`.
    """
    if not tf.is_symbolic_tensor(x):  # Under tf.config.run_functions_eagerly.
        return _swap_inner_axes(x)
    with x.graph.gradient_override_map({"Transpose": "ElectraSwapInnerAxes"}):
        return _swap_inner_axes(x)


@tf.RegisterGradient("ElectraSwapInnerAxes")
def _swap_back(_: tf.Operation, dy: tf.Tensor) -> tuple[tf.Tensor, None]:
    return _swap_inner_axes(dy), None


def _block(
    model: config.ModelConfig,
    dense: Sequence[Callable[[tf.Tensor], tf.Tensor]],
    norms: Sequence[tuple[tf.Tensor, tf.Tensor]],
    x: tf.Tensor,
    bias: tf.Tensor,
    seeds: Sequence[tf.Tensor | None],
    parts: int = 1,
    first_only: bool = False,
    swap: Callable[[tf.Tensor], tf.Tensor] = _swap_inner_axes,
) -> tf.Tensor:
    """Attends and feeds forward.

    Args:
        model: the architecture.
        dense: query, key, value, attention output, intermediate, output: each turns
            [B * L, ...] into the same with another last axis.
        norms: gamma and beta after attention and after feed-forward.
        x: [B, L, D].
        bias: [B, 1, L, L], goes onto the scores.
        seeds: of dropout on attention's shares, after attention, after feed-forward.
        parts: see `split_rows`; more than one needs seeds that are None.
        first_only: whether only the first token's state is asked for.
        swap: `_swap_inner_axes`, or the same with another gradient.

    Returns:
        [B, L, D], or [B, 1, D].
    """
    query, key, value, attention_output, intermediate, output = dense
    size, heads = model.hidden_size, model.num_heads
    batch, length, _ = _shape(x)

    def split(projected: tf.Tensor, tokens: Any) -> tf.Tensor:
        by_head = tf.reshape(projected, [batch, tokens, heads, size // heads])
        return swap(by_head)  # [B, H, tokens, K]

    def finish(x: tf.Tensor, more: tf.Tensor, seed: Any, norm: Any) -> tf.Tensor:
        mask = _mask(_shape(more), model.hidden_dropout_rate, seed)
        return _add_and_norm(x, more, mask, norm, model.layer_norm_epsilon)

    def attend(flat: tf.Tensor, tokens: Any, bias: tf.Tensor) -> tf.Tensor:
        rate, queries = model.attention_dropout_rate, split(query(flat), tokens)
        context = _attention(queries, keys, values, bias, rate, seeds[0])
        flat = finish(flat, attention_output(context), seeds[1], norms[0])
        wide = activation(model.activation)(intermediate(flat))  # [B * tokens, F]
        flat = finish(flat, output(wide), seeds[2], norms[1])
        return tf.reshape(flat, [batch, tokens, size])

    pieces, biases, tokens = [x], [bias], [length]
    if parts > 1:
        cuts = [length * index // parts for index in range(parts + 1)]
        spans = list(itertools.pairwise(cuts))
        pieces = [x[:, low:high] for low, high in spans]
        biases = [bias[:, :, low:high] for low, high in spans]
        tokens = [high - low for low, high in spans]
    flats = [tf.reshape(piece, [-1, size]) for piece in pieces]  # [B * tokens, D]
    of_all = list(zip(flats, tokens, strict=True))
    keys = _joined([split(key(flat), count) for flat, count in of_all], 2)
    values = _joined([split(value(flat), count) for flat, count in of_all], 2)
    if first_only:
        return attend(tf.reshape(x[:, 0], [-1, size]), 1, bias[:, :, :1])
    found = [attend(*one) for one in zip(flats, tokens, biases, strict=True)]
    return _joined(found, 1)


def _attention(
    queries: tf.Tensor,
    keys: tf.Tensor,
    values: tf.Tensor,
    bias: tf.Tensor,
    rate: float,
    seed: tf.Tensor | None,
) -> tf.Tensor:
    """Mixes the values by how well keys fit queries, all [B, H, tokens, K].

    For the backward pass the shares are kept once and of dropout's mask a byte a share;
    TensorFlow's own gradient keeps three arrays of their size (D26).

    Returns:
        [B * tokens, H * K].
    """
    batch, heads, tokens, size = _shape(queries)

    @custom_gradient
    def attend(queries: tf.Tensor, keys: tf.Tensor, values: tf.Tensor) -> Any:
        # Scales touch the queries, K numbers a token, and not the scores, H * L.
        fit = 1.0 / math.sqrt(queries.shape[-1])
        scores = tf.matmul(queries * fit, keys, transpose_b=True) + bias
        shares = tf.nn.softmax(scores)  # [B, H, tokens, L]
        keep, scale = None, 1.0
        if seed is not None:
            keep, scale = _kept(_shape(shares), rate, seed)

        def dropped() -> tf.Tensor:
            return shares if keep is None else shares * tf.cast(keep, shares.dtype)

        context = tf.matmul(dropped(), values) * tf.cast(scale, values.dtype)
        context = _swap_inner_axes(context)  # [B, tokens, H, K]
        context = tf.reshape(context, [batch * tokens, heads * size])

        def gradient(dy: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
            def by_head(x: tf.Tensor) -> tf.Tensor:
                x = tf.reshape(x, [batch, tokens, heads, size])
                return _swap_inner_axes(x)  # [B, H, tokens, K]

            # The softmax's gradient wants the sum over a row of left * d_left: it is
            # the sum over a head of dy * context, which are smaller.
            sums = tf.reduce_sum(by_head(dy * context), axis=-1, keepdims=True)
            dy = by_head(dy * tf.cast(scale, dy.dtype))
            left = dropped()
            d_left = tf.matmul(dy, values, transpose_b=True)  # [B, H, tokens, L]
            d_scores = left * d_left - shares * sums
            return (
                tf.matmul(d_scores, keys) * fit,
                tf.matmul(d_scores, queries * fit, transpose_a=True),
                tf.matmul(left, dy, transpose_a=True),
            )

        return context, gradient

    return attend(queries, keys, values)


def _add_and_norm(
    x: tf.Tensor,
    more: tf.Tensor,
    mask: Callable[[tf.Tensor], tf.Tensor],
    norm: tuple[tf.Tensor, tf.Tensor],
    epsilon: float,
) -> tf.Tensor:
    """Adds what the mask leaves of `more` to `x` and normalizes, by gamma and beta.

    As one, so that neither the sum nor `more` masked waits for the backward pass (D26).
    """

    @custom_gradient
    def add_and_norm(
        x: tf.Tensor, more: tf.Tensor, gamma: tf.Tensor, beta: tf.Tensor
    ) -> Any:
        total = tf.cast(x, tf.float32) + mask(tf.cast(more, tf.float32))
        y, back = _normalized(total, gamma, beta, epsilon)

        def gradient(dy: tf.Tensor) -> tuple[tf.Tensor, ...]:
            dx, *others = back(dy)
            return tf.cast(dx, x.dtype), tf.cast(mask(dx), x.dtype), *others

        return tf.cast(y, x.dtype), gradient

    return add_and_norm(x, more, *norm)


def _joined(parts: list[tf.Tensor], axis: int) -> tf.Tensor:
    return tf.concat(parts, axis) if len(parts) > 1 else parts[0]


@keras.saving.register_keras_serializable(package="electra_tf")
class MaskedTokenHead(keras.layers.Layer):
    """Scores the vocabulary at the hidden positions.

    Dense to the embedding's width, GELU, LayerNorm, then the word embeddings
    transposed and a bias (2020 code). Only P of L positions meet the vocabulary.

    Args:
        config: the architecture.
        embeddings: whose table it is; None = of the encoder that made the hidden
            states that it is called with, symbolic ones the first time.
        **kwargs: of `keras.layers.Layer`.
    """

    def __init__(
        self, config: Architecture, embeddings: Embeddings | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        config = self._config = _architecture(config)
        self._take_table(embeddings)
        self.dense = keras.layers.Dense(
            config.embedding_size,
            kernel_initializer=truncated_normal(config),
            name="dense",
            dtype=self.dtype_policy,
        )
        self.norm = LayerNorm(
            config.layer_norm_epsilon, name="norm", dtype=self.dtype_policy
        )
        self._activation = activation(config.activation)

    def _take_table(self, embeddings: Embeddings | None) -> None:
        # A function, so that Keras does not count the table as this layer's too.
        self._table: Callable[[], tf.Tensor] | None = (
            None if embeddings is None else lambda: embeddings.word_embeddings
        )

    def build(self, hidden_shape: Any, mask_positions_shape: Any = None) -> None:
        """Makes the dense kernel [D, E], the LayerNorm and the bias [V]."""
        self.dense.build((None, None, self._config.hidden_size))
        self.norm.build((None, None, self._config.embedding_size))
        self.output_bias = self.add_weight(
            name="output_bias", shape=(self._config.vocab_size,), initializer="zeros"
        )

    def call(self, hidden: tf.Tensor, mask_positions: tf.Tensor) -> tf.Tensor:
        """Turns [B, L, D] and int32 [B, P] into float32 logits [B, P, V]."""
        x = tf.gather(hidden, mask_positions, batch_dims=1)  # [B, P, D]
        x = self.norm(self._activation(self.dense(x)))  # [B, P, E]
        rows, places = tf.shape(x)[0], tf.shape(x)[1]
        flat = tf.reshape(x, [-1, self._config.embedding_size])
        assert self._table is not None, "call it with symbolic hidden states first"
        table = tf.cast(tf.convert_to_tensor(self._table()), self.compute_dtype)
        logits = tf.cast(tf.matmul(flat, table, transpose_b=True), tf.float32)
        logits += tf.cast(self.output_bias, tf.float32)
        return tf.reshape(logits, [rows, places, self._config.vocab_size])

    def compute_output_spec(
        self, hidden: keras.KerasTensor, mask_positions: keras.KerasTensor
    ) -> keras.KerasTensor:
        """Returns the shape of the logits; finds the table, where it has none yet."""
        if self._table is None:
            self._take_table(_embeddings_behind(hidden))
        shape = (*mask_positions.shape, self._config.vocab_size)
        return keras.KerasTensor(shape, "float32")

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments that make the same layer, but for the table."""
        return {**super().get_config(), "config": self._config.model_dump()}


def _embeddings_behind(hidden: keras.KerasTensor) -> Embeddings | None:
    """Returns the embeddings that symbolic hidden states came from."""
    ahead, seen = [hidden], set()
    while ahead:
        made = getattr(ahead.pop(), "_keras_history", None)
        if made is None or (id(made.operation), made.node_index) in seen:
            continue
        seen.add((id(made.operation), made.node_index))
        if isinstance(made.operation, Embeddings):
            return made.operation
        if isinstance(made.operation, keras.Model):
            ahead.extend(keras.tree.flatten(made.operation.outputs))
        node = made.operation._inbound_nodes[made.node_index]
        ahead.extend(node.input_tensors)
    return None


@keras.saving.register_keras_serializable(package="electra_tf")
class ReplacedTokenHead(keras.layers.Layer):
    """Asks of each token: replaced? Dense, GELU, one unit (2020 code)."""

    def __init__(self, config: Architecture, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        config = self._config = _architecture(config)
        self.dense = keras.layers.Dense(
            config.hidden_size,
            kernel_initializer=truncated_normal(config),
            name="dense",
            dtype=self.dtype_policy,
        )
        # Glorot-uniform, TF1's default, as in the 2020 code.
        self.logit = keras.layers.Dense(1, name="logit", dtype=self.dtype_policy)
        self._activation = activation(config.activation)

    def build(self, hidden_shape: Any) -> None:
        """Makes the kernels [D, D] and [D, 1]."""
        self.dense.build((None, None, self._config.hidden_size))
        self.logit.build((None, None, self._config.hidden_size))

    def call(self, hidden: tf.Tensor) -> tf.Tensor:
        """Turns [B, L, D] into float32 logits [B, L]."""
        x = self._activation(self.dense(hidden))
        return tf.cast(self.logit(x)[..., 0], tf.float32)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments that make the same layer."""
        return {**super().get_config(), "config": self._config.model_dump()}


def _architecture(values: Architecture) -> config.ModelConfig:
    if isinstance(values, config.ModelConfig):
        return values
    return config.check(config.ModelConfig, values, "a saved layer")


def activation(name: str) -> Callable[[tf.Tensor], tf.Tensor]:
    """Returns the activation of that name; `gelu` is the exact form with erf."""
    known: dict[str, Callable[[tf.Tensor], tf.Tensor]] = {
        "gelu": exact_gelu,
        "gelu_approximate": lambda x: tf.nn.gelu(x, approximate=True),
        "relu": tf.nn.relu,
        "silu": tf.nn.silu,
    }
    return known[name]


def truncated_normal(config: config.ModelConfig) -> keras.initializers.Initializer:
    """Returns the 2020 code's initializer: a normal cut at two sigma."""
    return keras.initializers.TruncatedNormal(stddev=config.initializer_range)
