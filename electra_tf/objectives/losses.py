"""Losses, and what metrics are made of, as sums; losses are in nats.

Their counts are known from the batch alone. Whoever has the counts of all replicas
divides, once.
B rows, L tokens per row, P predictions per row, V vocabulary.
"""

import tensorflow as tf

from electra_tf.objectives import objective

MLM_UNIT = "nats per hidden token"
MLM_ACCURACY = objective.Metric(
    "MLM accuracy", ("mlm_correct", "mlm_count"), "mlm acc {:.3f}", is_compared=True
)

# Bins of the histogram of probabilities that the AUC is read off.
AUC_BINS = 200

# What `verdict_sums` returns, and the shapes.
VERDICT_SUMS: dict[str, tuple[int, ...]] = {
    "flagged": (),
    "replaced": (),
    "caught": (),
    "rtd_correct": (),
    "rtd_histogram": (2, AUC_BINS),
}


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


def guess_sums(logits: tf.Tensor, batch: objective.Batch) -> objective.Sums:
    """Counts the hidden tokens whose likeliest guess is right: `mlm_correct`."""
    hits = tf.equal(tf.argmax(logits, -1, tf.int32), batch["mask_ids"])
    return {"mlm_correct": count_hidden(hits, batch)}


def sample_sums(sampled: tf.Tensor, batch: objective.Batch) -> objective.Sums:
    """Counts the samples, int32 [B, P], that are what stood there."""
    hits = tf.equal(sampled, batch["mask_ids"])
    return {"sampled_correct": count_hidden(hits, batch)}


def count_hidden(claim: tf.Tensor, batch: objective.Batch) -> tf.Tensor:
    """Counts the hidden tokens for which a claim, bool [B, P], is true."""
    return tf.reduce_sum(tf.cast(claim, tf.float32) * batch["mask_weights"])


def verdict_sums(
    logits: tf.Tensor, is_replaced: tf.Tensor, is_real: tf.Tensor
) -> objective.Sums:
    """Counts verdicts over real tokens, and how their probabilities are spread.

    Args:
        logits: float32 [B, L]; above 0 a token is flagged as replaced.
        is_replaced: bool [B, L].
        is_real: bool [B, L], False for padding.

    Returns:
        Sums `flagged`, `replaced`, `caught` (flagged and replaced), `rtd_correct`, and
        `rtd_histogram` [2, AUC_BINS]: original and replaced tokens by probability.
    """
    flagged, real = logits > 0.0, tf.cast(is_real, tf.float32)

    def count(claim: tf.Tensor) -> tf.Tensor:
        return tf.reduce_sum(tf.where(claim, real, 0.0))

    probability = tf.sigmoid(logits)
    bins = tf.minimum(tf.cast(probability * AUC_BINS, tf.int32), AUC_BINS - 1)
    slots = bins + AUC_BINS * tf.cast(is_replaced, tf.int32)
    histogram = tf.math.unsorted_segment_sum(
        tf.reshape(real, [-1]), tf.reshape(slots, [-1]), 2 * AUC_BINS
    )
    return {
        "flagged": count(flagged),
        "replaced": count(is_replaced),
        "caught": count(flagged & is_replaced),
        "rtd_correct": count(tf.equal(flagged, is_replaced)),
        "rtd_histogram": tf.reshape(histogram, [2, AUC_BINS]),
    }


def area_under_curve(sums: objective.Sums) -> tf.Tensor:
    """Returns the area under the ROC curve from counts by probability.

    The chance that a replaced token scores above an original one; within a bin, a
    half. 0.5 if one of the kinds is missing.

    Args:
        sums: with `rtd_histogram` float32 [2, bins], originals and replaced by rising
            probability.
    """
    originals, replaced = tf.unstack(sums["rtd_histogram"])
    below = tf.cumsum(originals, exclusive=True)
    wins = tf.reduce_sum(replaced * (below + originals / 2.0))
    pairs = tf.reduce_sum(originals) * tf.reduce_sum(replaced)
    return tf.where(pairs > 0, wins / tf.maximum(pairs, 1.0), 0.5)
