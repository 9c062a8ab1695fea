"""ELECTRA: a generator fills in hidden tokens, a discriminator finds them.

In:   a masked batch.
Out:  both losses, what metrics are made of, verdicts.

B rows, L tokens per row, P predictions per row, V vocabulary.
"""

import functools
from typing import ClassVar

import tensorflow as tf

from electra_tf import config
from electra_tf.network import embedding, models
from electra_tf.objectives import corruption, losses, objective

RTD_UNIT = "nats per token"

VERDICT_METRICS = {
    "rtd_auc": objective.Metric(
        "RTD AUC", losses.area_under_curve, "rtd auc {:.3f}", is_compared=True
    ),
    "rtd_precision": objective.Metric("RTD precision", ("caught", "flagged")),
    "rtd_recall": objective.Metric("RTD recall", ("caught", "replaced")),
    "rtd_accuracy": objective.Metric("RTD accuracy", ("rtd_correct", "rtd_count")),
    "replaced_rate": objective.Metric("Replaced rate", ("replaced", "rtd_count")),
}
SAMPLED_ACCURACY = objective.Metric(
    "Sampled accuracy", ("sampled_correct", "mlm_count")
)


class ReplacedTokenDetection(objective.Objective):
    """Trains both networks at once, on the sum of their losses.

    As in the paper (3.2): no gradient passes through the sampling.
    """

    Settings: ClassVar[type[config.ObjectiveConfig]] = config.ElectraConfig

    @classmethod
    def declare(cls, settings: config.PretrainConfig) -> objective.Declaration:
        """Says that the networks may share their embedding block."""
        own = settings.objective
        assert isinstance(own, config.ElectraConfig)
        small = settings.generator.resolve(settings.model)

        @functools.cache
        def shared() -> embedding.Embeddings | None:
            if settings.generator.shares != "embeddings":
                return None
            return models.build_embeddings(settings.model)

        return objective.Declaration(
            networks={
                "generator": objective.Network(
                    small,
                    lambda: models.build_generator(small, shared()),
                    role="generator",
                    saved_as="generator",
                    starts_from=("generator",),
                    section="generator",
                ),
                "discriminator": objective.Network(
                    settings.model,
                    lambda: models.build_discriminator(settings.model, shared()),
                    role="discriminator",
                    saved_as="discriminator",
                    starts_from=("discriminator", "encoder"),
                    section="model",
                ),
            },
            losses={
                "mlm": objective.Loss(own.mlm_weight, "MLM loss", losses.MLM_UNIT),
                "rtd": objective.Loss(own.rtd_weight, "RTD loss", RTD_UNIT),
            },
            metrics={
                "mlm_accuracy": losses.MLM_ACCURACY,
                "sampled_accuracy": SAMPLED_ACCURACY,
                **VERDICT_METRICS,
            },
            sums={"mlm_correct": (), "sampled_correct": (), **losses.VERDICT_SUMS},
            rows=objective.Rows(judged_by="the discriminator"),
        )

    def counts(self, batch: objective.Batch) -> objective.Sums:
        """Counts the hidden tokens and the real ones."""
        real = tf.cast(batch["example_ids"] > 0, tf.float32)
        return {"mlm": tf.reduce_sum(batch["mask_weights"]), "rtd": tf.reduce_sum(real)}

    def guess(
        self, batch: objective.Batch, training: bool, progress: tf.Tensor | float
    ) -> tuple[tf.Tensor, tf.Tensor, objective.Sums]:
        """Returns the MLM loss, sampled tokens int32 [B, P], and metrics' sums."""
        logits = models.run(self.networks["generator"], batch, training)
        sampled = corruption.draw(
            logits,
            batch,
            self.settings.temperature,
            disallow_correct=self.settings.disallow_correct,
        )
        where = batch["mask_ids"], batch["mask_weights"]
        loss = losses.masked_token_loss(logits, *where)
        return loss, sampled, losses.guess_sums(logits, batch)

    def sums(
        self, batch: objective.Batch, training: bool, progress: tf.Tensor | float
    ) -> tuple[objective.Sums, objective.Sums]:
        """Sums both losses."""
        loss, sampled, metrics = self.guess(batch, training, progress)
        rows = corruption.corrupt(batch, sampled)
        seen = batch | {"token_ids": rows.token_ids}
        logits = models.run(self.networks["discriminator"], seen, training)  # [B, L]
        is_real = batch["example_ids"] > 0
        hits = tf.equal(sampled, batch["mask_ids"])
        metrics |= {"sampled_correct": losses.count_hidden(hits, batch)}
        metrics |= losses.verdict_sums(logits, rows.is_replaced, is_real)
        found = losses.replaced_token_loss(logits, rows.is_replaced, is_real)
        return {"mlm": loss, "rtd": found}, metrics

    def verdicts(self, batch: objective.Batch) -> objective.Sums:
        """Samples, and returns the discriminator's probabilities of "replaced"."""
        _, sampled, _ = self.guess(batch, training=False, progress=1.0)
        rows = corruption.corrupt(batch, sampled)
        seen = batch | {"token_ids": rows.token_ids}
        logits = models.run(self.networks["discriminator"], seen, training=False)
        return {"sampled": sampled, "probability": tf.sigmoid(logits)}
