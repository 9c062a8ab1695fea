"""All-Tokens MLM: which token stood at each position, the corrupted ones among them?

In:   a masked batch.
Out:  both losses, what metrics are made of, verdicts.

As in the paper (3.4, Table 5): an ablation, GLUE 84.3 where ELECTRA has 85.0. It scores
the whole vocabulary at every position, so that a step takes far more time and memory.

B rows, L tokens per row, V vocabulary.
"""

from typing import ClassVar

import keras
import tensorflow as tf

from electra_tf import config
from electra_tf.network import embedding, heads, models
from electra_tf.objectives import (
    corruption,
    electra,
    losses,
    objective,
    places,
    variants,
)

SUMS = {"mlm_correct": (), "sampled_correct": (), "all_correct": ()}


class AllTokensMlm(electra.ReplacedTokenDetection):
    """Copies a token that it takes for the original one, else names what stood there.

    p(v) = c [v is the token in the row] + (1 - c) softmax(scores)_v, where c is the
    chance that the token was not replaced: one minus the verdict of a discriminator,
    which is what is kept of the network.
    """

    Settings: ClassVar[type[config.ObjectiveConfig]] = variants.AllTokensMlmConfig

    @classmethod
    def declare(cls, settings: config.PretrainConfig) -> objective.Declaration:
        """Says that the networks may share their embedding block."""
        own = settings.objective
        assert isinstance(own, variants.AllTokensMlmConfig)
        return objective.Declaration(
            networks=electra.with_generator(
                settings,
                "discriminator",
                build_copier,
                role="discriminator",
                starts_from=("discriminator", "encoder"),
                fold=without_scores,
            ),
            losses={
                "mlm": objective.Loss(own.mlm_weight, "MLM loss", losses.MLM_UNIT),
                "all": objective.Loss(
                    own.all_weight, "All-tokens loss", electra.RTD_UNIT
                ),
            },
            metrics={
                "mlm_accuracy": losses.MLM_ACCURACY,
                "sampled_accuracy": electra.SAMPLED_ACCURACY,
                "all_accuracy": objective.Metric(
                    "All-tokens accuracy", ("all_correct", "all_count")
                ),
                **electra.verdict_metrics("all_count"),
            },
            sums={**SUMS, **losses.VERDICT_SUMS},
            rows=objective.Rows(judged_by="the copy gate"),
        )

    def counts(self, batch: objective.Batch) -> objective.Sums:
        """Counts the hidden tokens and the real ones."""
        real = tf.cast(batch["example_ids"] > 0, tf.float32)
        return {"mlm": tf.reduce_sum(batch["mask_weights"]), "all": tf.reduce_sum(real)}

    def sums(
        self, batch: objective.Batch, training: bool, progress: tf.Tensor | float
    ) -> tuple[objective.Sums, objective.Sums]:
        """Sums both losses."""
        loss, sampled, metrics = self.guess(batch, training, progress)
        rows = corruption.corrupt(batch, sampled)
        original = corruption.original(batch)
        scores, gate = self._read(batch | {"token_ids": rows.token_ids}, training)
        is_real = batch["example_ids"] > 0
        found = copied_token_loss(scores, gate, original, rows.is_replaced, is_real)
        named = tf.argmax(scores, -1, tf.int32)
        right = tf.where(gate > 0.0, tf.equal(named, original), ~rows.is_replaced)
        correct = tf.reduce_sum(tf.cast(right & is_real, tf.float32))
        metrics |= {"all_correct": correct} | losses.sample_sums(sampled, batch)
        metrics |= losses.verdict_sums(gate, rows.is_replaced, is_real)
        return {"mlm": loss, "all": found}, metrics

    def verdicts(self, batch: objective.Batch) -> objective.Sums:
        """Samples, and returns the chance that a token is not to be copied."""
        _, sampled, _ = self.guess(batch, training=False, progress=1.0)
        rows = corruption.corrupt(batch, sampled)
        _, gate = self._read(batch | {"token_ids": rows.token_ids}, training=False)
        return {"sampled": sampled, "probability": tf.sigmoid(gate)}

    def _read(
        self, batch: objective.Batch, training: bool
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns scores [B, L, V], and the logit of "replaced" [B, L]."""
        seen = batch | {"mask_positions": places.every_place(batch)}
        scores, gate = models.run(self.networks["discriminator"], seen, training)
        return scores, gate


def build_copier(
    model: config.ModelConfig, embeddings: embedding.Embeddings | None
) -> keras.Model:
    """Builds an encoder with both heads: scores [B, P, V], and verdicts [B, L]."""
    inputs, hidden, scores = models.guessing(model, embeddings)
    verdicts = heads.ReplacedTokenHead(model, name="replaced_token_head")(hidden)
    return keras.Model(inputs, [scores, verdicts], name="copier")


def without_scores(copier: keras.Model) -> keras.Model:
    """Returns the discriminator that a copier has in it."""
    rows = {name: copier.input[name] for name in models.ROW_FIELDS}
    return keras.Model(rows, copier.output[1], name="discriminator")


def copied_token_loss(
    scores: tf.Tensor,
    gate: tf.Tensor,
    original: tf.Tensor,
    is_replaced: tf.Tensor,
    is_real: tf.Tensor,
) -> tf.Tensor:
    """Sums -log p of the original tokens, in logarithms: no gate rounds to 0 or 1.

    Args:
        scores: float32 [B, L, V]; or all of these at P places of a row.
        gate: float32 [B, L], the logit of 1 - c.
        original: int32 [B, L].
        is_replaced: bool [B, L].
        is_real: bool [B, L], False for padding.
    """
    log_named = -tf.nn.sparse_softmax_cross_entropy_with_logits(original, scores)
    log_named -= tf.nn.softplus(-gate)  # log (1 - c) + log softmax, [B, L]
    log_copied = -tf.nn.softplus(gate)
    either = tf.reduce_logsumexp([log_named, log_copied], axis=0)
    log_p = tf.where(is_replaced, log_named, either)
    return -tf.reduce_sum(tf.where(is_real, log_p, 0.0))
