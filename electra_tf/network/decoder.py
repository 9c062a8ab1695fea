"""The decoder's block and head, and where the tokens of several examples stand.

In:   states of a target [B, Q, D], and those of its source, the memory [B, S, D].
Out:  states [B, Q, D]; float32 logits [B, Q, V].

B rows, Q tokens of the target, S of the source, D hidden, V vocabulary, E embedding. A
block is an encoder's with an attention to the memory in its middle (Vaswani et al.
2017, Figure 1).
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from electra_tf import config
from electra_tf.network import block, heads, kernels, tracing


class Parts(NamedTuple):
    """What a decoder's block is made of."""

    attention: block.Attention
    cross: block.Attention
    feed_forward: block.FeedForward


class Seeds(NamedTuple):
    """The seeds of its dropout."""

    own: block.Seeds
    cross: block.Seeds


def decoder_block(
    model: config.ModelConfig,
    parts: Parts,
    x: tf.Tensor,
    bias: tf.Tensor,
    memory: tf.Tensor,
    memory_bias: tf.Tensor,
    seeds: Seeds,
    training: bool,
) -> tf.Tensor:
    """Attends to the target, then to the source, and feeds forward.

    Args:
        model: the architecture.
        parts: the weights.
        x: [B, Q, D], states of the target.
        bias: [B, 1, Q, Q], from `block.AttentionBias`, causal.
        memory: [B, S, D], states of the source.
        memory_bias: [B, 1, Q, S].
        seeds: of dropout.
        training: whether slopes are asked for.

    Returns:
        [B, Q, D].
    """
    rows = block.flatten(x)
    seen = block.keys_and_values(model, parts.attention, rows, training)
    source = block.keys_and_values(model, parts.cross, block.flatten(memory), training)
    return run(model, parts, rows, seen, bias, source, memory_bias, seeds, training)


def run(
    model: config.ModelConfig,
    parts: Parts,
    rows: block.Rows,
    seen: block.KeysValues,
    bias: tf.Tensor,
    source: block.KeysValues,
    memory_bias: tf.Tensor,
    seeds: Seeds,
    training: bool,
) -> tf.Tensor:
    """Does as `decoder_block`, with keys and values that were made before."""
    flat = block.attend(
        model, parts.attention, rows, seen, bias, seeds.own, training
    )  # [B * Q, D]
    rows = rows._replace(flat=flat)
    flat = block.attend(
        model, parts.cross, rows, source, memory_bias, seeds.cross, training
    )
    flat = block.feed_forward(model, parts.feed_forward, flat, seeds.own.feed_forward)
    return tf.reshape(flat, [rows.batch, rows.tokens, model.hidden_size])


@keras.saving.register_keras_serializable(package="electra_tf")
class CrossAttention(keras.layers.Layer):
    """The weights of an attention to another sequence."""

    def __init__(self, config: kernels.Architecture, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        c = self._config = kernels.architecture(config)

        def dense(name: str) -> keras.layers.Dense:
            return keras.layers.Dense(
                c.hidden_size,
                kernel_initializer=kernels.truncated_normal(c),
                name=name,
                dtype=self.dtype_policy,
            )

        self.query, self.key, self.value = map(dense, ("query", "key", "value"))
        self.attention_output = dense("attention_output")
        self.attention_norm = kernels.LayerNorm(
            c.layer_norm_epsilon, name="attention_norm", dtype=self.dtype_policy
        )
        self.attention_dropout, self.hidden_dropout = (
            kernels.Dropout(rate, name=name, dtype=self.dtype_policy)
            for name, rate in (
                ("attention_dropout", c.attention_dropout_rate),
                ("hidden_dropout", c.hidden_dropout_rate),
            )
        )

    def build(self, x_shape: Any = None) -> None:
        """Makes the weights of all sub-layers."""
        layers: Any = self.sub_layers()
        for layer in layers:
            layer.build((None, None, self._config.hidden_size))

    def sub_layers(self) -> block.Attention:
        """Returns its parts as layers."""
        query, key, value = self.query, self.key, self.value
        norm: Any = self.attention_norm
        return block.Attention(query, key, value, self.attention_output, norm)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments that make the same layer."""
        return {**super().get_config(), "config": self._config.model_dump()}


@keras.saving.register_keras_serializable(package="electra_tf")
class DecoderBlock(keras.layers.Layer):
    """An encoder's block with an attention to another sequence in its middle.

    Args:
        config: the architecture.
        shared: a block of an encoder whose weights it takes; None = it has its own.
        **kwargs: of `keras.layers.Layer`.
    """

    def __init__(
        self,
        config: kernels.Architecture,
        shared: block.EncoderBlock | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self._config = kernels.architecture(config)
        policy = self.dtype_policy
        self.block = None
        if shared is None:
            self.block = block.EncoderBlock(self._config, name="block", dtype=policy)
        # A function, so that Keras does not count the encoder's weights as its own.
        used = self.block or shared
        self._block: Callable[[], Any] = lambda: used
        self.cross_attention = CrossAttention(
            self._config, name="cross_attention", dtype=policy
        )

    def build(self, *shapes: Any) -> None:
        """Makes the weights of all sub-layers."""
        wide = (None, None, self._config.hidden_size)
        if self.block is not None:
            self.block.build(wide)
            self.block.built = True
        self.cross_attention.build(wide)

    def call(
        self,
        x: tf.Tensor,
        bias: tf.Tensor,
        memory: tf.Tensor,
        memory_bias: tf.Tensor,
        training: bool = False,
    ) -> tf.Tensor:
        """Turns states [B, Q, D] of a target into others: see `decoder_block`."""
        own, cross = self._block(), self.cross_attention

        def seeds(part: Any) -> block.Seeds:
            hidden = part.hidden_dropout
            return block.Seeds(
                part.attention_dropout.next_seed(training),
                hidden.next_seed(training),
                hidden.next_seed(training),
            )

        compute: Any = functools.partial(decoder_block, self._config)
        if self._is_shared():
            compute = tracing.shared(decoder_block, self._config)
        chance = Seeds(seeds(own), seeds(cross))
        return compute(self.parts(), x, bias, memory, memory_bias, chance, training)

    def compute_output_spec(
        self, x: keras.KerasTensor, *others: Any, training: bool = False
    ) -> keras.KerasTensor:
        """Returns what `call` does, without tracing it."""
        return keras.KerasTensor(x.shape, self.compute_dtype)

    def parts(self) -> Parts:
        """Returns its weights; as layers, where those compute in ways of their own."""
        is_shared = self._is_shared()

        def part(layer: Any) -> Any:
            if isinstance(layer, kernels.LayerNorm):
                return layer.tensors()
            return product(layer) if is_shared else layer

        return Parts(*tf.nest.map_structure(part, self._sub_layers()))

    def _sub_layers(self) -> Parts:
        own = self._block()._sub_layers()
        return Parts(own.attention, self.cross_attention.sub_layers(), own.feed_forward)

    def _is_shared(self) -> bool:
        """Tells whether it calls the graph of all blocks; quantized, it has its own."""
        layers: list[Any] = tf.nest.flatten(self._sub_layers())
        quantized = any(layer.quantization_mode for layer in layers)
        return not quantized and not tracing.are_blocks_inlined()

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments that make the same layer, but for a shared block."""
        return {**super().get_config(), "config": self._config.model_dump()}


def product(layer: keras.layers.Dense) -> block.Product:
    """Returns what a layer multiplies by and adds, in the dtype it computes in."""
    kernel, bias = (
        tf.cast(tf.convert_to_tensor(weight), layer.compute_dtype)
        for weight in (layer.kernel, layer.bias)
    )
    return block.Product(kernel, bias)


@keras.saving.register_keras_serializable(package="electra_tf")
class VocabularyHead(heads.MaskedTokenHead):
    """The generator's head at all tokens, the next of which it guesses.

    Its weights have the generator's names, so that they are found in a preset.
    """

    def call(self, hidden: tf.Tensor, mask_positions: None = None) -> tf.Tensor:
        """Turns [B, L, D] into float32 logits [B, L, V]."""
        rows = block.flatten(hidden)
        logits = self.scorer()(rows.flat)
        return tf.reshape(logits, [rows.batch, rows.tokens, self._config.vocab_size])

    def scorer(self) -> "Scorer":
        """Returns what makes logits of states, with its weights as tensors."""
        assert self._table is not None, "a head of a decoder is given its table"
        dense: Any = self.dense
        if not dense.quantization_mode:
            dense = product(dense)
        return Scorer(
            self._config,
            dense,
            self.norm.tensors(),
            tf.cast(tf.convert_to_tensor(self._table()), self.compute_dtype),
            tf.cast(self.output_bias, tf.float32),
        )

    def compute_output_spec(
        self, hidden: keras.KerasTensor, mask_positions: None = None
    ) -> keras.KerasTensor:
        """Returns the shape of the logits; finds the table, where it has none yet."""
        if self._table is None:
            self._take_table(heads.embeddings_behind(hidden))
        shape = (*hidden.shape[:2], self._config.vocab_size)
        return keras.KerasTensor(shape, "float32")


class Scorer(NamedTuple):
    """A head as tensors."""

    model: config.ModelConfig
    dense: block.Projection  # [D, E]
    norm: kernels.Norm
    table: tf.Tensor  # [V, E], the word embeddings
    bias: tf.Tensor  # float32 [V]

    def __call__(self, flat: tf.Tensor) -> tf.Tensor:
        """Turns [tokens, D] into float32 logits [tokens, V]."""
        x = kernels.activation(self.model.activation)(self.dense(flat))
        x = kernels.layer_norm(x, self.norm, self.model.layer_norm_epsilon)
        logits = tf.matmul(x, self.table, transpose_b=True)
        return tf.cast(logits, tf.float32) + self.bias


@keras.saving.register_keras_serializable(package="electra_tf")
class Places(keras.layers.Layer):
    """Numbers the tokens of each example of a row from 0; all are segment A."""

    def call(self, example_ids: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Turns int32 [B, L] into segment and position ids, int32 [B, L].

        Args:
            example_ids: of each token; those of an example stand side by side.
        """
        same = example_ids[:, :, None] == example_ids[:, None, :]  # [B, L, L]
        before = tf.linalg.band_part(tf.cast(same, tf.int32), -1, 0)
        places = tf.reduce_sum(before, axis=-1) - 1
        # Padding may be longer than the table of positions.
        places = tf.where(example_ids == 0, 0, places)
        return tf.zeros_like(example_ids), places

    def compute_output_spec(
        self, example_ids: keras.KerasTensor
    ) -> tuple[keras.KerasTensor, keras.KerasTensor]:
        """Returns the same shape twice; both are int32 whatever the policy."""
        made = keras.KerasTensor(example_ids.shape, dtype="int32")
        return made, keras.KerasTensor(example_ids.shape, dtype="int32")
