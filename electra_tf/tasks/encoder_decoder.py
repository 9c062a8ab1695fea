"""An encoder's layers, called again, and those of a decoder that grew out of it.

In:   rows of sources and targets: `pairs.FIELDS`, int32 [B, S] and [B, T].
Out:  float32 logits [B, T, V] of the tokens that come next.

B rows, S tokens of sources, T of targets, D hidden, E embedding, V vocabulary.
"""

from typing import Any

import keras
import numpy as np

from electra_tf import config
from electra_tf.network import block, decoder, embedding
from electra_tf.tasks import backbone as backbones


def origins(model: config.ModelConfig, count: int) -> list[str]:
    """Returns which blocks of the encoder those of the decoder come from, in order.

    They lie evenly between the first and the last; one alone is the last.
    """
    last = model.num_layers - 1
    places = np.linspace(0, last, count).round().astype(int) if count > 1 else [last]
    return [f"layer_{place}" for place in places]


def lay(
    backbone: backbones.ElectraBackbone,
    rows: dict[str, keras.KerasTensor],
    count: int,
    shares: str,
) -> keras.KerasTensor:
    """Lays encoder and decoder over symbolic rows: float32 logits [B, T, V]."""
    model, policy = backbone.model_config, backbone.dtype_policy
    memory = encode(backbone, rows)  # [B, S, D]
    embed, project = backbone.get_layer("embeddings"), None
    is_narrow = model.embedding_size != model.hidden_size
    if is_narrow:
        project = backbone.get_layer("embeddings_project")
    if shares == "nothing":
        embed = embedding.Embeddings(model, name="decoder_embeddings", dtype=policy)
        embed.build()
        if is_narrow:
            project = keras.layers.Dense(
                model.hidden_size, name="decoder_embeddings_project", dtype=policy
            )
    examples = rows["decoder_padding_mask"]
    segments, places = decoder.Places(name="decoder_places")(examples)
    x = embed(rows["decoder_token_ids"], segments, places)  # [B, T, E]
    x = project(x) if project else x  # [B, T, D]
    bias = block.AttentionBias("left", name="decoder_attention_bias", dtype=policy)(
        examples
    )
    memory_bias = block.AttentionBias(name="cross_attention_bias", dtype=policy)(
        examples, rows["encoder_padding_mask"]
    )
    for index, origin in enumerate(origins(model, count)):
        layer = decoder.DecoderBlock(
            model,
            backbone.get_layer(origin) if shares == "everything" else None,
            name=f"decoder_layer_{index}",
            dtype=policy,
        )
        x = layer(x, bias, memory, memory_bias)
    # The generator's name: its weights are found by it.
    head = decoder.VocabularyHead(model, embed, name="masked_token_head", dtype=policy)
    return head(x)


def encode(backbone: backbones.ElectraBackbone, rows: dict[str, Any]) -> Any:
    """Runs an encoder over sources, perhaps several in a row: states [B, S, D]."""
    examples = rows["encoder_padding_mask"]
    segments, places = decoder.Places(name="encoder_places")(examples)
    x = backbone.get_layer("embeddings")(rows["encoder_token_ids"], segments, places)
    model = backbone.model_config
    if model.embedding_size != model.hidden_size:
        x = backbone.get_layer("embeddings_project")(x)
    bias = backbone.get_layer("attention_bias")(examples)
    for index in range(model.num_layers):
        x = backbone.get_layer(f"layer_{index}")(x, bias)
    return x
