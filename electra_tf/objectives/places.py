"""Where in a row: the hidden tokens, or all of them.

In:   a masked batch.
Out:  which positions, for objectives that learn elsewhere than ELECTRA does.

B rows, L tokens per row, P predictions per row.
"""

import tensorflow as tf

from electra_tf.objectives import corruption, objective


def every_place(batch: objective.Batch) -> tf.Tensor:
    """Returns all positions of each row, int32 [B, L], as mask_positions has some."""
    ids = batch["token_ids"]
    return tf.broadcast_to(tf.range(ids.shape[1])[None], tf.shape(ids))


def hidden(batch: objective.Batch) -> tf.Tensor:
    """Tells where a token was hidden, bool [B, L]."""
    where = batch["mask_positions"], batch["mask_weights"]
    nowhere = tf.zeros_like(batch["token_ids"])
    ones = tf.ones_like(batch["mask_ids"])
    return corruption.fill_in(nowhere, *where, ones) > 0
