"""Both losses, as sums in nats; their counts are known from the batch alone.

B rows, L tokens a row, P predictions a row, V vocabulary. Whoever has the counts of
all replicas divides, once.
"""

import tensorflow as tf


def masked_token_loss(
    logits: tf.Tensor, mask_ids: tf.Tensor, mask_weights: tf.Tensor
) -> tf.Tensor:
    """Sums -log p of the hidden tokens.

    Args:
        logits: float32 [B, P, V].
        mask_ids: int32 [B, P].
        mask_weights: float32 [B, P].
    """
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(mask_ids, logits)  # [B, P]
    return tf.reduce_sum(losses * mask_weights)


def replaced_token_loss(
    logits: tf.Tensor, is_replaced: tf.Tensor, is_real: tf.Tensor
) -> tf.Tensor:
    """Sums the binary cross-entropy over all real tokens, [CLS] and [SEP] too.

    Args:
        logits: float32 [B, L].
        is_replaced: bool [B, L].
        is_real: bool [B, L], False for padding.
    """
    losses = tf.nn.sigmoid_cross_entropy_with_logits(
        labels=tf.cast(is_replaced, tf.float32), logits=logits
    )  # [B, L]
    return tf.reduce_sum(tf.where(is_real, losses, 0.0))
