"""Ids become embeddings.

In:   token_ids, segment_ids, position_ids int32 [B, L].
Out:  embeddings [B, L, E].

B rows, L tokens per row, V vocabulary, E embedding.
"""

import math
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from electra_tf.network import kernels


@keras.saving.register_keras_serializable(package="electra_tf")
class Embeddings(keras.layers.Layer):
    """Word + position + segment embeddings, LayerNorm, dropout.

    Generator and discriminator share this whole block: the three tables and the
    LayerNorm (2020 code).
    """

    def __init__(self, config: kernels.Architecture, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        config = self._config = kernels.architecture(config)
        self.norm = kernels.LayerNorm(
            config.layer_norm_epsilon, name="norm", dtype=self.dtype_policy
        )
        self.dropout = kernels.Dropout(
            config.hidden_dropout_rate, name="dropout", dtype=self.dtype_policy
        )

    def build(self, *shapes: Any) -> None:
        """Makes the tables: words [V, E], positions [max_positions, E], segments."""
        c = self._config

        def table(name: str, rows: int, initializer: Any = None) -> keras.Variable:
            return self.add_weight(
                name=name,
                shape=(rows, c.embedding_size),
                initializer=initializer or kernels.truncated_normal(c),
                autocast=False,  # What its rows are to change by adds up in float32.
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
            self.look_up("word_embeddings", token_ids)
            + self.look_up("position_embeddings", position_ids)
            + self.look_up("segment_embeddings", segment_ids)
        )  # [B, L, E]
        return self.dropout(self.norm(x), training=training)

    def look_up(self, name: str, ids: tf.Tensor) -> tf.Tensor:
        """Returns the rows of a table for int32 [B, L] ids: [B, L, E]."""
        table = tf.convert_to_tensor(getattr(self, name))
        return tf.cast(tf.gather(table, ids), self.compute_dtype)

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
