"""Corrective language modelling: finds replaced tokens, and names what stood there.

In:   a masked batch.
Out:  three losses, what metrics are made of, verdicts.

As in COCO-LM (Meng et al. 2021, arXiv 2102.08473): All-Tokens MLM in two parts. Which
tokens were replaced is learned at all positions, as by ELECTRA; what stood there, at
the hidden positions alone, so that the vocabulary is scored nowhere else. Its second
task, which contrasts whole texts, is not here (D57); METRO (arXiv 2204.06644) has
dropped it, too.

B rows, L tokens per row, P predictions per row, V vocabulary.
"""

from typing import ClassVar

import keras
import tensorflow as tf

from electra_tf import config
from electra_tf.network import embedding, models
from electra_tf.objectives import (
    all_tokens_mlm,
    corruption,
    electra,
    losses,
    objective,
    variants,
)


class CorrectiveLm(electra.ReplacedTokenDetection):
    """Trains a discriminator that also scores the vocabulary.

    The generator's blocks drop no units (METRO): COCO-LM samples without dropout and
    learns with it, which takes two passes. The embeddings, if shared, drop theirs.
    """

    Settings: ClassVar[type[config.ObjectiveConfig]] = variants.CorrectiveLmConfig

    @classmethod
    def declare(cls, settings: config.PretrainConfig) -> objective.Declaration:
        """Says that the network has two heads, of which the verdicts' is kept."""
        own = settings.objective
        assert isinstance(own, variants.CorrectiveLmConfig)
        declared = super().declare(settings)
        return declared._replace(
            networks=electra.with_generator(
                settings,
                "discriminator",
                all_tokens_mlm.build_copier,
                build_generator=_without_dropout,
                role="discriminator",
                starts_from=("discriminator", "encoder"),
                fold=all_tokens_mlm.without_scores,
            ),
            losses={
                **declared.losses,
                "correction": objective.Loss(
                    own.correction_weight, "Correction loss", losses.MLM_UNIT
                ),
            },
            metrics={
                **declared.metrics,
                "correction_accuracy": objective.Metric(
                    "Correction accuracy",
                    ("corrected", "replaced"),
                    "corrected {:.3f}",
                    is_compared=True,
                ),
            },
            sums={**declared.sums, "corrected": ()},
        )

    def counts(self, batch: objective.Batch) -> objective.Sums:
        """Counts the hidden tokens, twice, and those that are judged."""
        found = super().counts(batch)
        return {**found, "correction": found["mlm"]}

    def sums(
        self, batch: objective.Batch, training: bool, progress: tf.Tensor | float
    ) -> tuple[objective.Sums, objective.Sums]:
        """Sums all three losses."""
        loss, sampled, metrics = self.guess(batch, training, progress)
        rows, scores, gate = self._read(batch, sampled, training)
        judged, ids = self.judged(batch), batch["mask_ids"]
        metrics |= losses.sample_sums(sampled, batch)
        metrics |= losses.verdict_sums(gate, rows.is_replaced, judged)
        wrong = tf.not_equal(sampled, ids)  # [B, P]
        named = tf.equal(tf.argmax(scores, -1, tf.int32), ids)
        metrics |= {"corrected": losses.count_hidden(named & wrong, batch)}
        # What the corrections learn tells the gate nothing.
        at = tf.gather(gate, batch["mask_positions"], batch_dims=1)  # [B, P]
        at, weights = tf.stop_gradient(at), batch["mask_weights"]
        if self.settings.correction == "weighted":
            weights = weights * tf.sigmoid(at)
            correction = losses.masked_token_loss(scores, ids, weights)
        else:
            correction = all_tokens_mlm.copied_token_loss(
                scores, at, ids, wrong, weights > 0
            )
        found = {
            "mlm": loss,
            "rtd": losses.replaced_token_loss(gate, rows.is_replaced, judged),
            "correction": correction,
        }
        return found, metrics

    def judge(
        self, batch: objective.Batch, sampled: tf.Tensor, training: bool
    ) -> tuple[corruption.CorruptedRows, tf.Tensor]:
        """Fills the samples in; returns the rows, and the verdicts' logits [B, L]."""
        rows, _, gate = self._read(batch, sampled, training)
        return rows, gate

    def _read(
        self, batch: objective.Batch, sampled: tf.Tensor, training: bool
    ) -> tuple[corruption.CorruptedRows, tf.Tensor, tf.Tensor]:
        """Returns rows with samples, scores [B, P, V], the gate's logits [B, L]."""
        rows = corruption.corrupt(batch, sampled)
        seen = batch | {"token_ids": rows.token_ids}
        scores, gate = models.run(self.networks["discriminator"], seen, training)
        return rows, scores, gate


def _without_dropout(
    small: config.ModelConfig, embeddings: embedding.Embeddings | None
) -> keras.Model:
    """Builds a generator whose blocks drop nothing."""
    rates = {"hidden_dropout_rate": 0.0, "attention_dropout_rate": 0.0}
    return models.build_generator(small.model_copy(update=rates), embeddings)
