"""Two causal encoders, one from each side, guess every token from all others at once.

In:   rows as they are, nothing hidden; places, int32 [B, P].
Out:  float32 logits [B, P, V]: the vocabulary at each place, given the rest of its
      example.

B rows, L tokens per row, P places per row, V vocabulary, G width of a tower.
As in the 2020 code (`two_tower_generator`) and in Electric's paper (Clark et al. 2020,
arXiv 2012.08561, section 2.4). Differs: no state crosses from one example to the next.
"""

from typing import Literal

import keras
import tensorflow as tf

from electra_tf import config
from electra_tf.network import block, embedding, heads, models

Side = Literal["left", "right"]


class Neighbours(keras.layers.Layer):
    """For each token, what both towers say of it without having seen it."""

    def call(
        self, left: tf.Tensor, right: tf.Tensor, example_ids: tf.Tensor
    ) -> tf.Tensor:
        """Joins the state before a token and the one after it: [B, L, 2 * G].

        Args:
            left: [B, L, G]; has seen the token itself and those before it.
            right: [B, L, G]; the token itself and those after it.
            example_ids: int32 [B, L]. At the ends of an example a half is 0.
        """
        same = tf.cast(example_ids[:, 1:] == example_ids[:, :-1], left.dtype)[..., None]
        before = tf.pad(left[:, :-1] * same, [[0, 0], [1, 0], [0, 0]])
        after = tf.pad(right[:, 1:] * same, [[0, 0], [0, 1], [0, 0]])
        return tf.concat([before, after], axis=-1)

    def compute_output_spec(
        self,
        left: keras.KerasTensor,
        right: keras.KerasTensor,
        example_ids: keras.KerasTensor,
    ) -> keras.KerasTensor:
        """Returns what `call` does, without tracing it."""
        return keras.KerasTensor((*left.shape[:2], 2 * left.shape[2]), left.dtype)


def build(
    model: config.ModelConfig, embeddings: embedding.Embeddings | None = None
) -> keras.Model:
    """Builds both towers and the head that scores the vocabulary.

    Args:
        model: the architecture of a tower.
        embeddings: the block that both stand on; None builds one.
    """
    embed = embeddings or models.build_embeddings(model)
    rows = models.row_inputs()
    x = embed(rows["token_ids"], rows["segment_ids"], rows["position_ids"])  # [B, L, E]
    left = _tower(model, x, rows["example_ids"], "left")
    right = _tower(model, x, rows["example_ids"], "right")
    hidden = Neighbours(name="neighbours")(left, right, rows["example_ids"])
    wide = model.model_copy(update={"hidden_size": 2 * model.hidden_size})
    places = keras.Input((None,), dtype="int32", name="mask_positions")
    head = heads.MaskedTokenHead(wide, embed, name="masked_token_head")
    return keras.Model(
        rows | {"mask_positions": places}, head(hidden, places), name="two_tower"
    )


def _tower(
    model: config.ModelConfig,
    x: keras.KerasTensor,
    example_ids: keras.KerasTensor,
    side: Side,
) -> keras.KerasTensor:
    """Lays a causal encoder over embeddings; its layers are named after its side."""
    if model.embedding_size != model.hidden_size:
        # Glorot-uniform, TF1's default, as in the 2020 code.
        x = keras.layers.Dense(model.hidden_size, name=f"{side}_project")(x)
    bias = block.AttentionBias(side, name=f"{side}_attention_bias")(example_ids)
    for index in range(model.num_layers):
        x = block.EncoderBlock(model, name=f"{side}_layer_{index}")(x, bias)
    return x
