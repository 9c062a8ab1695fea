"""The encoder's block: attention and feed-forward, each added to its input.

In:   states [B, L, D]; example_ids int32 [B, L] say who sees whom.
Out:  states [B, L, D]; attention stays within one example of a row.

B rows, L tokens a row, D hidden, F feed-forward, H heads, K = D / H. As in the 2020
code: post-LayerNorm BERT, exact GELU.
"""

import functools
import itertools
from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf

from electra_tf import config
from electra_tf.network import kernels, tracing

# exp(-10000) is 0 in float32, and bfloat16 holds it (2020 code).
NO_ATTENTION = -10_000.0


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

    def __init__(self, config: kernels.Architecture, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        c = self._config = kernels.architecture(config)
        # Whether the backward pass makes again what the forward pass made inside.
        self.recompute = False

        def dense(units: int, name: str) -> keras.layers.Dense:
            return keras.layers.Dense(
                units,
                kernel_initializer=kernels.truncated_normal(c),
                name=name,
                dtype=self.dtype_policy,
            )

        def norm(name: str) -> kernels.LayerNorm:
            return kernels.LayerNorm(
                c.layer_norm_epsilon, name=name, dtype=self.dtype_policy
            )

        def dropout(rate: float, name: str) -> kernels.Dropout:
            return kernels.Dropout(rate, name=name, dtype=self.dtype_policy)

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
        if tracing.are_blocks_inlined() or any(
            layer.quantization_mode for layer in kernels
        ):
            return _block(
                self._config, kernels, norms, x, bias, seeds, first_only=first_only
            )
        parts = 1 if training else tracing.parts_of_rows()
        weights = [
            (tf.convert_to_tensor(layer.kernel), tf.convert_to_tensor(layer.bias))
            for layer in kernels
        ]
        block = _shared_block(self._config, parts, first_only)
        if self.recompute and training:
            return tracing.recomputed(block, weights, norms, x, bias, seeds)
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
        swap = kernels.swap_in_training if training else kernels.swap_inner_axes
        return _block(model, dense, norms, x, bias, seeds, parts, first_only, swap)

    shared: Callable[..., tf.Tensor] = tf.function(
        block, autograph=False, experimental_attributes={"_noinline": True}
    )
    return shared


def _dense(kernel: tf.Tensor, bias: tf.Tensor, x: tf.Tensor) -> tf.Tensor:
    return tf.nn.bias_add(tf.matmul(x, kernel), bias)


def _block(
    model: config.ModelConfig,
    dense: Sequence[Callable[[tf.Tensor], tf.Tensor]],
    norms: Sequence[tuple[tf.Tensor, tf.Tensor]],
    x: tf.Tensor,
    bias: tf.Tensor,
    seeds: Sequence[tf.Tensor | None],
    parts: int = 1,
    first_only: bool = False,
    swap: Callable[[tf.Tensor], tf.Tensor] = kernels.swap_inner_axes,
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
        swap: `kernels.swap_inner_axes`, or the same with another gradient.

    Returns:
        [B, L, D], or [B, 1, D].
    """
    query, key, value, attention_output, intermediate, output = dense
    size, heads = model.hidden_size, model.num_heads
    batch, length, _ = kernels.sizes(x)
    activate = kernels.activation(model.activation)

    def split(projected: tf.Tensor, tokens: Any) -> tf.Tensor:
        by_head = tf.reshape(projected, [batch, tokens, heads, size // heads])
        return swap(by_head)  # [B, H, tokens, K]

    def finish(x: tf.Tensor, more: tf.Tensor, seed: Any, norm: Any) -> tf.Tensor:
        mask = kernels.dropout_mask(
            kernels.sizes(more), model.hidden_dropout_rate, seed
        )
        return kernels.add_and_norm(x, more, mask, norm, model.layer_norm_epsilon)

    def attend(flat: tf.Tensor, tokens: Any, bias: tf.Tensor) -> tf.Tensor:
        rate, queries = model.attention_dropout_rate, split(query(flat), tokens)
        context = kernels.attention(queries, keys, values, bias, rate, seeds[0])
        flat = finish(flat, attention_output(context), seeds[1], norms[0])
        wide = activate(intermediate(flat))  # [B * tokens, F]
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


def _joined(parts: list[tf.Tensor], axis: int) -> tf.Tensor:
    return tf.concat(parts, axis) if len(parts) > 1 else parts[0]
