"""ELECTRA: a generator fills in hidden tokens, a discriminator finds them.

In:   a masked batch.
Out:  both losses, what metrics are made of, verdicts.

B rows, L tokens per row, P predictions per row, V vocabulary.
"""

import functools
from collections.abc import Callable
from typing import Any, ClassVar

import keras
import tensorflow as tf

from electra_tf import config, errors
from electra_tf.network import embedding, models
from electra_tf.objectives import corruption, losses, objective

# Makes a network of its architecture and an embedding block to share.
Builder = Callable[[config.ModelConfig, embedding.Embeddings | None], keras.Model]

RTD_UNIT = "nats per token"
SAMPLED_ACCURACY = objective.Metric(
    "Sampled accuracy", ("sampled_correct", "mlm_count")
)


def verdict_metrics(count: str) -> dict[str, objective.Metric]:
    """Returns what `losses.verdict_sums` are good for; `count` is of judged tokens."""
    return {
        "rtd_auc": objective.Metric(
            "RTD AUC", losses.area_under_curve, "rtd auc {:.3f}", is_compared=True
        ),
        "rtd_precision": objective.Metric("RTD precision", ("caught", "flagged")),
        "rtd_recall": objective.Metric("RTD recall", ("caught", "replaced")),
        "rtd_accuracy": objective.Metric("RTD accuracy", ("rtd_correct", count)),
        "replaced_rate": objective.Metric("Replaced rate", ("replaced", count)),
    }


def with_generator(
    settings: config.PretrainConfig,
    name: str,
    build: Builder,
    build_generator: Builder = models.build_generator,
    **main: Any,
) -> dict[str, objective.Network]:
    """Returns a generator and the network that it works for, of the full size.

    They share their embedding block where `generator.shares` says so.

    Args:
        settings: of the run.
        name: of the main network, here and in the preset.
        build: makes it of its architecture and the shared block.
        build_generator: the same for the generator.
        **main: what else to say of it: fields of `objective.Network`.
    """
    small = settings.generator.resolve(settings.model)

    @functools.cache
    def shared() -> embedding.Embeddings | None:
        if settings.generator.shares == "nothing":
            return None
        return models.build_embeddings(settings.model)

    if settings.generator.shares == "disentangled":
        from electra_tf.objectives import disentangled  # For whoever asks for it.

        if build is not models.build_discriminator:
            raise errors.UserError(
                f"generator.shares=disentangled: objective {settings.objective.name} "
                "has no discriminator of its own; choose embeddings or nothing"
            )
        build = disentangled.build_discriminator
        main |= {"fold": disentangled.fold, "unfolded": disentangled.whole_tables}
    return {
        "generator": objective.Network(
            small,
            lambda: build_generator(small, shared()),
            role="generator",
            saved_as="generator",
            starts_from=("generator",),
            section="generator",
        ),
        name: objective.Network(
            settings.model,
            lambda: build(settings.model, shared()),
            **{"saved_as": name, "section": "model", **main},
        ),
    }


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
        return objective.Declaration(
            networks=with_generator(
                settings,
                "discriminator",
                models.build_discriminator,
                role="discriminator",
                starts_from=("discriminator", "encoder"),
            ),
            losses={
                "mlm": objective.Loss(own.mlm_weight, "MLM loss", losses.MLM_UNIT),
                "rtd": objective.Loss(own.rtd_weight, "RTD loss", RTD_UNIT),
            },
            metrics={
                "mlm_accuracy": losses.MLM_ACCURACY,
                "sampled_accuracy": SAMPLED_ACCURACY,
                **verdict_metrics("rtd_count"),
            },
            sums={"mlm_correct": (), "sampled_correct": (), **losses.VERDICT_SUMS},
            rows=objective.Rows(judged_by="the discriminator"),
        )

    def counts(self, batch: objective.Batch) -> objective.Sums:
        """Counts the hidden tokens and those that are judged."""
        judged = tf.reduce_sum(tf.cast(self.judged(batch), tf.float32))
        return {"mlm": tf.reduce_sum(batch["mask_weights"]), "rtd": judged}

    def judged(self, batch: objective.Batch) -> tf.Tensor:
        """Returns which tokens the discriminator learns from: all real ones."""
        return batch["example_ids"] > 0

    def guess(
        self, batch: objective.Batch, training: bool, progress: tf.Tensor | float
    ) -> tuple[tf.Tensor, tf.Tensor, objective.Sums]:
        """Returns the MLM loss, sampled tokens int32 [B, P], and metrics' sums."""
        logits = models.run(self.networks["generator"], batch, training)
        return self.guessed(batch, logits)

    def guessed(
        self, batch: objective.Batch, logits: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, objective.Sums]:
        """Returns what `guess` does, of the generator's logits, float32 [B, P, V]."""
        sampled = corruption.draw(
            logits,
            batch,
            self.settings.temperature,
            disallow_correct=self.settings.disallow_correct,
        )
        weights = batch["mask_weights"]
        loss = losses.masked_token_loss(logits, batch["mask_ids"], weights)
        return loss, sampled, losses.guess_sums(logits, batch)

    def sums(
        self, batch: objective.Batch, training: bool, progress: tf.Tensor | float
    ) -> tuple[objective.Sums, objective.Sums]:
        """Sums both losses."""
        loss, sampled, metrics = self.guess(batch, training, progress)
        rows, logits = self.judge(batch, sampled, training)
        judged = self.judged(batch)
        metrics |= losses.sample_sums(sampled, batch)
        metrics |= losses.verdict_sums(logits, rows.is_replaced, judged)
        found = losses.replaced_token_loss(logits, rows.is_replaced, judged)
        return {"mlm": loss, "rtd": found}, metrics

    def verdicts(self, batch: objective.Batch) -> objective.Sums:
        """Samples, and returns the discriminator's probabilities of "replaced"."""
        _, sampled, _ = self.guess(batch, training=False, progress=1.0)
        _, logits = self.judge(batch, sampled, training=False)
        return {"sampled": sampled, "probability": tf.sigmoid(logits)}

    def judge(
        self, batch: objective.Batch, sampled: tf.Tensor, training: bool
    ) -> tuple[corruption.CorruptedRows, tf.Tensor]:
        """Fills the samples in; returns the rows, and the verdicts' logits [B, L]."""
        rows = corruption.corrupt(batch, sampled)
        seen = batch | {"token_ids": rows.token_ids}
        return rows, models.run(self.networks["discriminator"], seen, training)
