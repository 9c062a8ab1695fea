"""The encoder's block, as in the figure of the paper; and who sees whom in it.

In:   states [B, Q, D]; the ids of their examples, int32 [B, Q].
Out:  states [B, Q, D].

B rows, Q tokens that see, S tokens that are seen (most often the same), D hidden,
F feed-forward, H heads, K = D / H. As in the 2020 code: post-LayerNorm BERT, exact
GELU. What is fast stands in `kernels`, how a block comes into a graph in `tracing`.
"""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import keras
import tensorflow as tf

from electra_tf import config
from electra_tf.network import kernels, tracing

# exp(-10000) is 0 in float32, and bfloat16 holds it (2020 code).
NO_ATTENTION = -10_000.0


@keras.saving.register_keras_serializable(package="electra_tf")
class AttentionBias(keras.layers.Layer):
    """Decides who sees whom: nothing else does.

    A token sees those of its own example, in its row or, with `seen_ids`, in another
    sequence. Padding, example 0, sees padding: harmless, and no row of the softmax is
    empty.

    Args:
        sees: "all"; or only itself and those on its "left" (causal), or its "right".
        **kwargs: of `keras.layers.Layer`.
    """

    def __init__(
        self, sees: Literal["all", "left", "right"] = "all", **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.sees = sees

    def call(
        self,
        example_ids: tf.Tensor,
        seen_ids: tf.Tensor | None = None,
        first: int | tf.Tensor = 0,
    ) -> tf.Tensor:
        """Makes what is added to the scores, [B, 1, Q, S]: 0 or `NO_ATTENTION`.

        Args:
            example_ids: int32 [B, Q], of the tokens that see.
            seen_ids: int32 [B, S], of the tokens that are seen; None = the same. An
                example of which none is seen would see all.
            first: the place of the first token that sees among those that are seen:
                how many a cache holds already.
        """
        seen_ids = example_ids if seen_ids is None else seen_ids
        apart = tf.not_equal(example_ids[:, None, :, None], seen_ids[:, None, None, :])
        if self.sees != "all":
            place = first + tf.range(tf.shape(example_ids)[1])[:, None]  # [Q, 1]
            other = tf.range(tf.shape(seen_ids)[1])[None, :]  # [1, S]
            apart |= {"left": other > place, "right": other < place}[self.sees]
        return tf.cast(apart, self.compute_dtype) * NO_ATTENTION

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments that make the same layer."""
        return {**super().get_config(), "sees": self.sees}


class Product(NamedTuple):
    """What a Keras `Dense` does, with its weights as tensors."""

    kernel: tf.Tensor
    bias: tf.Tensor

    def __call__(self, x: tf.Tensor) -> tf.Tensor:
        """Turns [tokens, one width] into [tokens, the other]."""
        return tf.nn.bias_add(tf.matmul(x, self.kernel), self.bias)


# A `Product`, or a Keras `Dense`.
Projection = Callable[[tf.Tensor], tf.Tensor]


class Attention(NamedTuple):
    """The parts of an attention: each projection turns [tokens, D] into the same."""

    query: Projection
    key: Projection
    value: Projection
    output: Projection
    norm: kernels.Norm


class FeedForward(NamedTuple):
    """The parts of a feed-forward: [tokens, D] into [tokens, F], and back."""

    intermediate: Projection
    output: Projection
    norm: kernels.Norm


class Parts(NamedTuple):
    """What a block is made of."""

    attention: Attention
    feed_forward: FeedForward


class Seeds(NamedTuple):
    """The seeds of a block's dropout, int32 [2]; None drops nothing."""

    shares: tf.Tensor | None  # of the attention that a token pays to another
    attention: tf.Tensor | None  # what attention adds to a state
    feed_forward: tf.Tensor | None  # what feed-forward adds to it


class KeysValues(NamedTuple):
    """Tokens as attention sees them, made once: of another sequence, or of a cache."""

    keys: tf.Tensor  # [B, H, S, K]
    values: tf.Tensor  # [B, H, S, K]


class Rows(NamedTuple):
    """States as one matrix: its products are faster than those of a stack."""

    flat: tf.Tensor  # [B * Q, D]
    batch: int | tf.Tensor  # B
    tokens: int | tf.Tensor  # Q


def block(
    model: config.ModelConfig,
    parts: Parts,
    x: tf.Tensor,
    bias: tf.Tensor,
    seen: tf.Tensor | KeysValues | None,
    seeds: Seeds,
    training: bool,
) -> tf.Tensor:
    """Attends and feeds forward; each is added to its input, and the sum normalized.

    Args:
        model: the architecture.
        parts: the weights.
        x: [B, Q, D], the states.
        bias: [B, 1, Q, S], from `AttentionBias`.
        seen: whom they see: states [B, S, D], their keys and values; None: each other.
        seeds: of dropout.
        training: whether slopes are asked for.

    Returns:
        [B, Q, D].
    """
    rows = flatten(x)
    if not isinstance(seen, KeysValues):
        others = rows if seen is None else flatten(seen)
        seen = keys_and_values(model, parts.attention, others, training)
    flat = attend(model, parts.attention, rows, seen, bias, seeds, training)
    flat = feed_forward(model, parts.feed_forward, flat, seeds.feed_forward)
    return tf.reshape(flat, [rows.batch, rows.tokens, model.hidden_size])


def keys_and_values(
    model: config.ModelConfig, parts: Attention, rows: Rows, training: bool
) -> KeysValues:
    """Makes of states what attention sees of them."""
    heads = [
        kernels.split_heads(
            project(rows.flat), rows.batch, rows.tokens, model.num_heads, training
        )
        for project in (parts.key, parts.value)
    ]  # [B, H, S, K]
    return KeysValues(*heads)


def attend(
    model: config.ModelConfig,
    parts: Attention,
    rows: Rows,
    seen: KeysValues,
    bias: tf.Tensor,
    seeds: Seeds,
    training: bool,
) -> tf.Tensor:
    """Adds to states what they see, and normalizes: [B * Q, D]."""
    queries = kernels.split_heads(
        parts.query(rows.flat), rows.batch, rows.tokens, model.num_heads, training
    )  # [B, H, Q, K]
    rate = model.attention_dropout_rate
    context = kernels.attention(queries, *seen, bias, rate, seeds.shares)  # [B * Q, D]
    more = parts.output(context)
    return _add_and_norm(model, rows.flat, more, parts.norm, seeds.attention)


def feed_forward(
    model: config.ModelConfig, parts: FeedForward, flat: tf.Tensor, seed: Any
) -> tf.Tensor:
    """Adds to states [tokens, D] what a wider layer makes of them, and normalizes."""
    activate = kernels.activation(model.activation)
    wide = activate(parts.intermediate(flat))  # [tokens, F]
    return _add_and_norm(model, flat, parts.output(wide), parts.norm, seed)


def _add_and_norm(
    model: config.ModelConfig, x: tf.Tensor, more: tf.Tensor, norm: Any, seed: Any
) -> tf.Tensor:
    epsilon, rate = model.layer_norm_epsilon, model.hidden_dropout_rate
    return kernels.add_and_norm(x, more, norm, epsilon, rate, seed)


def flatten(x: tf.Tensor) -> Rows:
    """Makes a matrix of states [B, Q, D]."""
    batch, tokens, size = kernels.sizes(x)
    return Rows(tf.reshape(x, [-1, size]), batch, tokens)


def _block_of_pieces(
    model: config.ModelConfig,
    pieces: int,
    parts: Parts,
    x: tf.Tensor,
    bias: tf.Tensor,
    seen: tf.Tensor | KeysValues | None,
    *rest: Any,
) -> tf.Tensor:
    """Does as `block`, for pieces of each row side by side (`tracing.split_rows`)."""

    def run(x: tf.Tensor, bias: tf.Tensor) -> tf.Tensor:
        return block(model, parts, x, bias, seen, *rest)

    if pieces == 1:
        return run(x, bias)
    if not isinstance(seen, KeysValues):
        made = [
            keys_and_values(model, parts.attention, flatten(piece), training=False)
            for piece in tracing.cut(x if seen is None else seen, pieces, 1)
        ]
        seen = KeysValues(*(tf.concat(kind, 2) for kind in zip(*made, strict=True)))
    if x.shape[1] == 1:
        return run(x, bias)
    cut = zip(tracing.cut(x, pieces, 1), tracing.cut(bias, pieces, 2), strict=True)
    return tf.concat([run(*piece) for piece in cut], 1)


@keras.saving.register_keras_serializable(package="electra_tf")
class EncoderBlock(keras.layers.Layer):
    """Attention and feed-forward, each added to its input and normalized.

    One Keras layer with plain operations inside, which all blocks of an architecture
    share as one graph (`tracing.shared`). The kernels live in `Dense` layers, which is
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
        seen: tf.Tensor | KeysValues | None = None,
    ) -> tf.Tensor:
        """Turns states [B, Q, D] into states [B, Q, D].

        Args:
            x: [B, Q, D].
            bias: [B, 1, Q, S], from `AttentionBias`.
            training: whether dropout drops.
            first_only: whether only the first token's state is asked for, [B, 1, D]:
                the others are seen, and that is all that is done for them (D29).
            seen: whom they see: states [B, S, D] of another sequence, or what
                `keys_and_values` made before; None = each other.
        """
        if first_only:
            seen = x if seen is None else seen
            x, bias = x[:, :1], bias[:, :, :1]
        seeds = Seeds(
            self.attention_dropout.next_seed(training),
            self.hidden_dropout.next_seed(training),
            self.hidden_dropout.next_seed(training),
        )
        parts = self.parts()
        if not self._is_shared():
            return block(self._config, parts, x, bias, seen, seeds, training)
        pieces = 1 if training else tracing.pieces_of_rows()
        shared = tracing.shared(_block_of_pieces, self._config, pieces)
        if self.recompute and training:
            return tracing.recomputed(
                lambda states, parts: shared(
                    parts, states[0], bias, states[1], seeds, training
                ),
                (x, seen),
                parts,
            )
        return shared(parts, x, bias, seen, seeds, training)

    def keys_and_values(self, states: tf.Tensor) -> KeysValues:
        """Makes of states [B, S, D] what others see of them, to be kept: in inference.

        A block that is called token by token joins them to those made before.
        """
        parts = self.parts().attention
        return keys_and_values(self._config, parts, flatten(states), training=False)

    def compute_output_spec(
        self,
        x: keras.KerasTensor,
        bias: keras.KerasTensor,
        training: bool = False,
        first_only: bool = False,
        seen: Any = None,
    ) -> keras.KerasTensor:
        """Returns what `call` does, without tracing it."""
        batch, length, size = x.shape
        shape = (batch, 1 if first_only else length, size)
        return keras.KerasTensor(shape, self.compute_dtype)

    def parts(self) -> Parts:
        """Returns its weights; as layers, where those compute in ways of their own."""
        is_shared = self._is_shared()

        def tensor(weight: keras.Variable) -> tf.Tensor:
            return tf.cast(tf.convert_to_tensor(weight), self.compute_dtype)

        def part(layer: Any) -> Any:
            if isinstance(layer, kernels.LayerNorm):
                return layer.tensors()
            if not is_shared:
                return layer
            return Product(tensor(layer.kernel), tensor(layer.bias))

        attention, feed_forward = tf.nest.map_structure(part, self._sub_layers())
        return Parts(attention, feed_forward)

    def _sub_layers(self) -> Parts:
        query, key, value = self.query, self.key, self.value
        return Parts(
            Attention(query, key, value, self.attention_output, self.attention_norm),
            FeedForward(self.intermediate, self.output_dense, self.output_norm),
        )

    def _is_shared(self) -> bool:
        """Tells whether it calls the graph of all blocks; quantized, it has its own."""
        layers: list[Any] = tf.nest.flatten(self._sub_layers())
        quantized = any(layer.quantization_mode for layer in layers)
        return not quantized and not tracing.are_blocks_inlined()

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments that make the same layer."""
        return {**super().get_config(), "config": self._config.model_dump()}
