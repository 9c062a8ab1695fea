"""Hides tokens for the generator to guess: packed rows become masked ones.

In:   token_ids [B, L] and where hiding is allowed.
Out:  the same rows with [MASK] in some places, and what stood there.

B rows, L tokens per row, P predictions per row (fixed; unused slots weigh 0).
"""

from typing import NamedTuple

import tensorflow as tf


class MaskedTokens(NamedTuple):
    """Rows with tokens hidden, and what was hidden."""

    token_ids: tf.Tensor  # int32 [B, L], [MASK] at most of the hidden positions
    mask_positions: tf.Tensor  # int32 [B, P], ascending where the weight is 1
    mask_ids: tf.Tensor  # int32 [B, P], what stood there
    mask_weights: tf.Tensor  # float32 [B, P], 1 hidden token, 0 unused slot


def hide_tokens(
    token_ids: tf.Tensor,
    candidates: tf.Tensor,
    *,
    rate: float,
    max_predictions: int,
    mask_token_rate: float,
    mask_id: int,
    seed: tf.Tensor,
    word_starts: tf.Tensor | None = None,
) -> MaskedTokens:
    """Hides `rate` of each row's candidates, drawn without replacement.

    As in the 2020 code: most of the hidden tokens show [MASK], the rest are left to be
    seen; all of them are guessed. Differs from the 2020 code, which draws with
    replacement, so hides fewer tokens than it counts and averages ids where two draws
    meet (docs/decisions, D3).

    Args:
        token_ids: int32 [B, L].
        candidates: bool [B, L], False for padding and special tokens.
        rate: share of the candidates to hide, 0 to 1 (0.15 in the paper).
        max_predictions: P, at most L; a row hides no more than this.
        mask_token_rate: share of the hidden tokens that shows [MASK].
        mask_id: id of [MASK].
        seed: int32 [2]; the same seed hides the same tokens.
        word_starts: bool [B, L], as `find_words` gives it, to hide all tokens of a word
            or none; a row then may hide a little less. None to draw single tokens.
    """
    draw_seed, show_seed = tf.unstack(tf.random.split(seed, 2))
    num_candidates = tf.reduce_sum(tf.cast(candidates, tf.int32), axis=-1)  # [B]
    wanted = tf.cast(tf.round(rate * tf.cast(num_candidates, tf.float32)), tf.int32)
    wanted = tf.clip_by_value(wanted, 1, max_predictions)
    wanted = tf.minimum(wanted, num_candidates)  # A row may have nothing to hide.

    noise = tf.random.stateless_uniform(tf.shape(token_ids), draw_seed)  # [B, L]
    if word_starts is not None:
        hidden = _draw_words(candidates, word_starts, wanted, noise)
        wanted = tf.reduce_sum(tf.cast(hidden, tf.int32), axis=-1)
        noise = tf.where(hidden, 0.0, 2.0)
    noise = tf.where(candidates, noise, 2.0)
    # top_k finds the P smallest without sorting whole rows.
    _, positions = tf.math.top_k(-noise, k=max_predictions)  # [B, P], 0 is drawn first
    is_used = tf.range(max_predictions) < wanted[:, None]  # [B, P]
    positions = tf.sort(tf.where(is_used, positions, token_ids.shape[1]))
    positions = tf.where(is_used, positions, 0)

    used = tf.cast(is_used, tf.int32)
    mask_ids = tf.gather(token_ids, positions, batch_dims=1) * used  # [B, P]
    shows_mask = tf.random.stateless_uniform(tf.shape(positions), show_seed)
    change = tf.where(shows_mask < mask_token_rate, mask_id - mask_ids, 0) * used
    row = tf.range(tf.shape(positions)[0])[:, None] + tf.zeros_like(positions)
    where = tf.stack([row, positions], axis=-1)  # [B, P, 2]
    # Adds the difference: unused slots all point at place 0, and there they add 0.
    return MaskedTokens(
        token_ids=tf.tensor_scatter_nd_add(token_ids, where, change),
        mask_positions=positions,
        mask_ids=mask_ids,
        mask_weights=tf.cast(is_used, tf.float32),
    )


def find_candidates(
    token_ids: tf.Tensor, example_ids: tf.Tensor, special_ids: tuple[int, ...]
) -> tf.Tensor:
    """Finds the tokens that may be hidden, bool [B, L].

    Args:
        token_ids: int32 [B, L].
        example_ids: int32 [B, L], 0 = padding.
        special_ids: of [CLS], [SEP] and [MASK]; as in the 2020 code, not of [UNK].
    """
    candidates = example_ids > 0
    for special_id in special_ids:
        candidates &= tf.not_equal(token_ids, special_id)
    return candidates


def find_words(
    token_ids: tf.Tensor, candidates: tf.Tensor, is_continuation: tf.Tensor
) -> tf.Tensor:
    """Finds the tokens at which a word begins, bool [B, L].

    What an example's or a segment's cut left of a word counts as a word.

    Args:
        token_ids: int32 [B, L], marked or not.
        candidates: bool [B, L].
        is_continuation: bool [2 V], as `vocabularies.continues` tells.
    """
    follows = tf.pad(candidates[:, :-1], [[0, 0], [1, 0]])  # [B, L]
    return candidates & ~(follows & tf.gather(is_continuation, token_ids))


def _draw_words(
    candidates: tf.Tensor, word_starts: tf.Tensor, wanted: tf.Tensor, noise: tf.Tensor
) -> tf.Tensor:
    """Draws words at random until `wanted` tokens are reached; bool [B, L] of tokens.

    A word that does not fit into what is left of a row's budget is passed over.
    """
    starts = tf.cast(word_starts, tf.int32)
    word = tf.maximum(tf.cumsum(starts, axis=1) - 1, 0)  # [B, L], which word it is of
    num_rows, row_tokens = tf.shape(word)[0], word.shape[1]
    cell = word + row_tokens * tf.range(num_rows)[:, None]
    sizes = tf.math.unsorted_segment_sum(
        tf.cast(candidates, tf.int32), cell, num_rows * row_tokens
    )
    sizes = tf.reshape(sizes, [num_rows, row_tokens])  # [B, W], 0 beyond the last word
    order = tf.argsort(noise, axis=1)  # [B, W], of the words
    sizes = tf.gather(sizes, order, batch_dims=1)

    def pass_over(fits: tf.Tensor, _: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """The first word too many is too large, as is any later one of its size."""
        counted = tf.where(fits, sizes, 0)
        is_taken = fits & (tf.cumsum(counted, axis=1) <= wanted[:, None])
        taken = tf.reduce_sum(tf.where(is_taken, sizes, 0), axis=1, keepdims=True)
        fits = is_taken | (fits & (sizes <= wanted[:, None] - taken))
        return fits, tf.reduce_all(tf.equal(fits, is_taken))

    is_taken, _ = tf.while_loop(
        lambda _, is_done: ~is_done, pass_over, [tf.ones_like(word_starts), False]
    )
    rank = tf.argsort(order, axis=1)
    return candidates & tf.gather(
        tf.gather(is_taken, rank, batch_dims=1), word, batch_dims=1
    )
