"""Tokens to choose from at each hidden position: what stood there, and likely others.

In:   a masked batch and the generator's logits [B, P, V].
Out:  int32 [B, P, C]; no token twice at a position.

B rows, L tokens per row, P predictions per row, V vocabulary, C candidates a position.
"""

import math
from collections.abc import Iterator

import tensorflow as tf

from electra_tf.objectives import corruption, objective


def draw(
    logits: tf.Tensor, batch: objective.Batch, number: int, temperature: float = 1.0
) -> tf.Tensor:
    """Draws tokens from the generator's guesses, without replacement.

    As in TEAMS (Shen et al. 2021, arXiv 2106.00139): the first is what stood there, the
    others are drawn from all that are left. No gradient passes through.

    Differs from its code, which adds Gumbel noise to every logit: a block of the
    vocabulary is drawn, then a token of it, so that chance can travel with the row.

    Args:
        logits: float32 [B, P, V].
        batch: with the noise to draw by, and what stood there.
        number: C, at most V.
        temperature: divides the logits.

    Returns:
        int32 [B, P, C], the token that stood there first.
    """
    size, places = logits.shape[2], tf.shape(logits)[1]
    width = int(size**0.5)
    blocks = -(-size // width)
    room = [[0, 0], [0, 0], [0, blocks * width - size]]
    logits = tf.pad(logits / temperature, room, constant_values=-math.inf)
    logits = tf.stop_gradient(tf.reshape(logits, [-1, places, blocks, width]))
    totals = tf.reduce_logsumexp(logits, axis=-1)  # [B, P, blocks]
    taken = batch["mask_ids"][..., None]  # [B, P, 1]
    chance = spread(batch["sampling_noise"], 2 * (number - 1))
    for which, within in zip(chance, chance, strict=True):
        block = corruption.sample(_without(logits, totals, taken), which)[..., None]
        left = _left(logits, block, taken)[:, :, 0]  # [B, P, width]
        place = corruption.sample(left, within)[..., None]
        taken = tf.concat([taken, block * width + place], axis=-1)
    return tf.stop_gradient(taken)


def _left(logits: tf.Tensor, block: tf.Tensor, taken: tf.Tensor) -> tf.Tensor:
    """Returns the logits of blocks, [B, P, m] -> [B, P, m, width]; -inf where taken."""
    width = logits.shape[-1]
    ids = block[..., None] * width + tf.range(width)  # [B, P, m, width]
    gone = tf.reduce_any(ids[..., None] == taken[:, :, None, None], axis=-1)
    return tf.where(gone, -math.inf, tf.gather(logits, block, batch_dims=2))


def _without(logits: tf.Tensor, totals: tf.Tensor, taken: tf.Tensor) -> tf.Tensor:
    """Returns the blocks' totals [B, P, blocks] without the tokens that are taken.

    They are added up anew, not taken off: of a token that has nearly everything,
    rounding alone would be left.
    """
    at = taken // logits.shape[-1]  # [B, P, n]
    rests = tf.reduce_logsumexp(_left(logits, at, taken), axis=-1)  # [B, P, n]
    for index in range(taken.shape[-1]):
        one = slice(index, index + 1)
        here = tf.range(totals.shape[-1]) == at[..., one]  # [B, P, blocks]
        totals = tf.where(here, rests[..., one], totals)
    return totals


def spread(noise: tf.Tensor, times: int) -> Iterator[tf.Tensor]:
    """Makes uniform numbers of others, which tell nothing of those or of each other.

    The finalizer of MurmurHash3, on the number's bits and which time it is.

    Args:
        noise: float32, uniform in [0, 1).
        times: how many to make of each.
    """
    bits = tf.bitcast(noise, tf.uint32)

    def constant(value: int) -> tf.Tensor:
        return tf.constant(value, tf.uint32)

    def fold(x: tf.Tensor, by: int) -> tf.Tensor:
        return tf.bitwise.bitwise_xor(x, tf.bitwise.right_shift(x, constant(by)))

    for time in range(1, times + 1):
        x = bits + constant(time * 0x9E3779B9 % 2**32)
        x = fold(x, 16) * constant(0x85EBCA6B)
        x = fold(x, 13) * constant(0xC2B2AE35)
        x = fold(x, 16)
        yield tf.cast(tf.bitwise.right_shift(x, constant(8)), tf.float32) * 2.0**-24
