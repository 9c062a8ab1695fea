"""The generator's guesses become corrupted rows, and what of them was replaced.

In:   a masked batch and the generator's logits [B, P, V].
Out:  rows with a sampled token at each hidden position, and where they now differ.

B rows, L tokens per row, P predictions per row, V vocabulary.
"""

import math
from typing import NamedTuple

import tensorflow as tf

from electra_tf.objectives import objective


class CorruptedRows(NamedTuple):
    """What the discriminator sees, and what it is asked."""

    token_ids: tf.Tensor  # int32 [B, L], sampled tokens at the hidden positions
    is_replaced: tf.Tensor  # bool [B, L], differs from the original


def sample(logits: tf.Tensor, noise: tf.Tensor, temperature: float = 1.0) -> tf.Tensor:
    """Draws one token a position from softmax(logits / temperature).

    Differs from the 2020 code (D7): inverts the cumulative distribution at one
    uniform number per position instead of adding Gumbel noise to every logit. The
    distribution is the same; the chance can travel with the row, so that a batch
    means the same on any number of replicas; and it is several times as fast.

    The vocabulary is walked in two levels, blocks first, so that nothing of size V is
    ever summed cumulatively (a scan, which is slow on accelerators).

    Args:
        logits: float32 [B, P, V].
        noise: float32 [B, P], uniform in [0, 1).
        temperature: above 0; towards 0 it becomes the argmax.

    Returns:
        int32 [B, P].
    """
    places, size = tf.shape(logits)[1], logits.shape[2]
    width = int(size**0.5)
    blocks = -(-size // width)
    shares = tf.nn.softmax(logits / temperature)  # [B, P, V]
    shares = tf.pad(shares, [[0, 0], [0, 0], [0, blocks * width - size]])
    shares = tf.reshape(shares, [-1, places, blocks, width])
    above = tf.cumsum(tf.reduce_sum(shares, axis=-1), axis=-1)  # [B, P, blocks]
    target = noise * above[..., -1]  # [B, P]
    block = _count(above <= target[..., None], blocks)  # [B, P]
    before = tf.gather(tf.pad(above, [[0, 0], [0, 0], [1, 0]]), block, batch_dims=2)
    within = tf.gather(shares, block, batch_dims=2)  # [B, P, width]
    within = tf.cumsum(within, axis=-1)
    # Rounding may leave the target at the block's very end: stay below its last token.
    rest = tf.minimum(target - before, within[..., -1] * (1.0 - 1e-6))
    place = _count(within <= rest[..., None], width)
    return tf.minimum(block * width + place, size - 1)


def draw(
    logits: tf.Tensor,
    batch: objective.Batch,
    temperature: float = 1.0,
    *,
    disallow_correct: bool = False,
) -> tf.Tensor:
    """Draws a token for each hidden position; no gradient passes through.

    Args:
        logits: float32 [B, P, V].
        batch: with the noise to draw by, and what stood there.
        temperature: see `sample`.
        disallow_correct: never draw what stood there.

    Returns:
        int32 [B, P].
    """
    logits = tf.stop_gradient(logits)
    if disallow_correct:
        vocabulary = tf.range(logits.shape[-1])
        correct = vocabulary == batch["mask_ids"][..., None]  # [B, P, V]
        logits = tf.where(correct, -math.inf, logits)
    return tf.stop_gradient(sample(logits, batch["sampling_noise"], temperature))


def _count(below: tf.Tensor, most: int) -> tf.Tensor:
    return tf.minimum(tf.reduce_sum(tf.cast(below, tf.int32), axis=-1), most - 1)


def fill_in(
    token_ids: tf.Tensor, positions: tf.Tensor, weights: tf.Tensor, values: tf.Tensor
) -> tf.Tensor:
    """Writes `values` at `positions` where the weight is 1.

    Args:
        token_ids: int32 [B, L].
        positions: int32 [B, P]; those of weight 1 differ from each other.
        weights: float32 [B, P], 0 or 1; slots of weight 0 change nothing.
        values: int32 [B, P].
    """
    there = tf.gather(token_ids, positions, batch_dims=1)  # [B, P]
    change = tf.where(weights > 0, values - there, 0)
    rows = tf.broadcast_to(
        tf.range(tf.shape(positions)[0])[:, None], tf.shape(positions)
    )
    return tf.tensor_scatter_nd_add(
        token_ids, tf.stack([rows, positions], axis=-1), change
    )


def corrupt(batch: objective.Batch, sampled: tf.Tensor) -> CorruptedRows:
    """Puts the sampled tokens in place; one that equals the original is not replaced.

    As in the paper (3.2): a lucky guess counts as original. Every hidden position is
    filled, those that kept their token too (2020 code).

    Args:
        batch: a masked batch (docs/architecture.md, section 2).
        sampled: int32 [B, P].
    """
    where = batch["mask_positions"], batch["mask_weights"]
    corrupted = fill_in(batch["token_ids"], *where, sampled)
    return CorruptedRows(corrupted, tf.not_equal(corrupted, original(batch)))


def original(batch: objective.Batch) -> tf.Tensor:
    """Returns the rows as they were before tokens were hidden, int32 [B, L]."""
    where = batch["mask_positions"], batch["mask_weights"]
    return fill_in(batch["token_ids"], *where, batch["mask_ids"])
