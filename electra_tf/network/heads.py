"""Hidden states become logits.

In:   hidden states [B, L, D]; of the masked-token head also mask_positions [B, P].
Out:  float32 logits: [B, P, V] of the vocabulary, or [B, L], replaced or not.

B rows, L tokens per row, P predictions per row, V vocabulary, E embedding, D hidden.
"""

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from electra_tf.network import embedding, kernels


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
        self,
        config: kernels.Architecture,
        embeddings: embedding.Embeddings | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        config = self._config = kernels.architecture(config)
        self._take_table(embeddings)
        self.dense = keras.layers.Dense(
            config.embedding_size,
            kernel_initializer=kernels.truncated_normal(config),
            name="dense",
            dtype=self.dtype_policy,
        )
        self.norm = kernels.LayerNorm(
            config.layer_norm_epsilon, name="norm", dtype=self.dtype_policy
        )
        self._activation = kernels.activation(config.activation)

    def _take_table(self, embeddings: embedding.Embeddings | None) -> None:
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
            self._take_table(embeddings_behind(hidden))
        shape = (*mask_positions.shape, self._config.vocab_size)
        return keras.KerasTensor(shape, "float32")

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments that make the same layer, but for the table."""
        return {**super().get_config(), "config": self._config.model_dump()}


def embeddings_behind(hidden: keras.KerasTensor) -> embedding.Embeddings | None:
    """Returns the embeddings that symbolic hidden states came from."""
    ahead, seen = [hidden], set()
    while ahead:
        made = getattr(ahead.pop(), "_keras_history", None)
        if made is None or (id(made.operation), made.node_index) in seen:
            continue
        seen.add((id(made.operation), made.node_index))
        if isinstance(made.operation, embedding.Embeddings):
            return made.operation
        if isinstance(made.operation, keras.Model):
            ahead.extend(keras.tree.flatten(made.operation.outputs))
        node = made.operation._inbound_nodes[made.node_index]
        ahead.extend(reversed(node.input_tensors))  # States first, a memory last.
    return None


@keras.saving.register_keras_serializable(package="electra_tf")
class ReplacedTokenHead(keras.layers.Layer):
    """Asks of each token: replaced? Dense, GELU, one unit (2020 code)."""

    def __init__(self, config: kernels.Architecture, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        config = self._config = kernels.architecture(config)
        self.dense = keras.layers.Dense(
            config.hidden_size,
            kernel_initializer=kernels.truncated_normal(config),
            name="dense",
            dtype=self.dtype_policy,
        )
        # Glorot-uniform, TF1's default, as in the 2020 code.
        self.logit = keras.layers.Dense(1, name="logit", dtype=self.dtype_policy)
        self._activation = kernels.activation(config.activation)

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
