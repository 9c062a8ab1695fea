"""Functional Keras models: encoder, generator, discriminator.

In:   a dict of int32 [B, L]: token_ids, segment_ids, example_ids, position_ids;
      the generator also takes mask_positions [B, P].
Out:  encoder [B, L, D]; generator float32 logits [B, P, V]; discriminator [B, L].

Layer names are the checkpoint's contract: embeddings, embeddings_project, layer_0 ...
"""

from typing import Any

import keras
import tensorflow as tf

from electra_tf import config
from electra_tf.network import block, embedding, heads

ROW_FIELDS = ("token_ids", "segment_ids", "example_ids", "position_ids")


def build_embeddings(
    model: config.ModelConfig, dtype: Any = None
) -> embedding.Embeddings:
    """Builds the embedding block, which two encoders may share."""
    embeddings = embedding.Embeddings(model, name="embeddings", dtype=dtype)
    embeddings.build()
    return embeddings


def build_encoder(
    model: config.ModelConfig,
    embeddings: embedding.Embeddings | None = None,
    name: str = "encoder",
) -> keras.Model:
    """Builds the road from ids to hidden states [B, L, D].

    Args:
        model: the architecture.
        embeddings: a block to share; None builds one.
        name: of the Keras model.
    """
    inputs = row_inputs()
    return keras.Model(inputs, encode(model, inputs, embeddings), name=name)


def encode(
    model: config.ModelConfig,
    rows: dict[str, keras.KerasTensor],
    embeddings: embedding.Embeddings | None = None,
    dtype: Any = None,
) -> keras.KerasTensor:
    """Lays the layers of an encoder over symbolic rows: hidden states [B, L, D].

    Args:
        model: the architecture.
        rows: ROW_FIELDS, int32 [B, L].
        embeddings: a block to share; None builds one.
        dtype: policy of the layers; None is Keras' global one.
    """
    embed = embeddings or build_embeddings(model, dtype)
    x = embed(rows["token_ids"], rows["segment_ids"], rows["position_ids"])  # [B, L, E]
    if model.embedding_size != model.hidden_size:
        # Glorot-uniform, TF1's default, as in the 2020 code.
        x = keras.layers.Dense(
            model.hidden_size, name="embeddings_project", dtype=dtype
        )(x)  # [B, L, D]
    bias = block.AttentionBias(name="attention_bias", dtype=dtype)(rows["example_ids"])
    for index in range(model.num_layers):
        x = block.EncoderBlock(model, name=f"layer_{index}", dtype=dtype)(x, bias)
    return x


def build_generator(
    model: config.ModelConfig, embeddings: embedding.Embeddings | None = None
) -> keras.Model:
    """Builds an encoder with the head that guesses hidden tokens: logits [B, P, V].

    Args:
        model: the generator's own architecture (`GeneratorConfig.resolve`).
        embeddings: the block it shares with the discriminator; None builds one.
    """
    inputs, _, logits = guessing(model, embeddings)
    return keras.Model(inputs, logits, name="generator")


def build_discriminator(
    model: config.ModelConfig, embeddings: embedding.Embeddings | None = None
) -> keras.Model:
    """Builds an encoder whose head asks of each token, replaced?: logits [B, L]."""
    inputs = row_inputs()
    hidden = build_encoder(model, embeddings)(inputs)  # [B, L, D]
    logits = heads.ReplacedTokenHead(model, name="replaced_token_head")(hidden)
    return keras.Model(inputs, logits, name="discriminator")


def guessing(
    model: config.ModelConfig, embeddings: embedding.Embeddings | None
) -> tuple[dict[str, keras.KerasTensor], keras.KerasTensor, keras.KerasTensor]:
    """Returns inputs, hidden states [B, L, D], and guesses at some places [B, P, V]."""
    embed = embeddings or build_embeddings(model)
    places = keras.Input((None,), dtype="int32", name="mask_positions")
    rows = row_inputs()
    hidden = build_encoder(model, embed)(rows)  # [B, L, D]
    head = heads.MaskedTokenHead(model, embed, name="masked_token_head")
    return rows | {"mask_positions": places}, hidden, head(hidden, places)


def build_headless(model: config.ModelConfig) -> keras.Model:
    """Builds what is left of a network without its head: hidden states [B, L, D].

    It stands in the file of its weights as in those of the networks above.
    """
    inputs = row_inputs()
    return keras.Model(inputs, build_encoder(model)(inputs), name="headless")


def recompute_blocks(network: keras.Model) -> None:
    """Makes the backward pass of a network keep the input of each block alone."""
    for layer in network.layers:
        if isinstance(layer, block.EncoderBlock):
            layer.recompute = True
        elif isinstance(layer, keras.Model):
            recompute_blocks(layer)


def inputs_of(
    network: keras.Model, batch: dict[str, tf.Tensor]
) -> dict[str, tf.Tensor]:
    """Picks what a network takes; given more, Keras would feed it the wrong fields."""
    return {name: batch[name] for name in network.input}


def run(network: keras.Model, batch: dict[str, tf.Tensor], training: bool) -> tf.Tensor:
    """Runs a network on the fields of a batch that it takes."""
    return network(inputs_of(network, batch), training=training)


def row_inputs() -> dict[str, keras.KerasTensor]:
    """Returns the inputs that every network has: ROW_FIELDS, int32 [B, L]."""
    return {name: keras.Input((None,), dtype="int32", name=name) for name in ROW_FIELDS}
