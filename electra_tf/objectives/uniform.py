"""A discriminator of tokens that are drawn uniformly from the vocabulary (2020 code).

In:   a masked batch.
Out:  the discriminator's loss.

There is no generator to train; its loss would be the constant ln V, which is reported.
"""

import math

import tensorflow as tf

from electra_tf import config
from electra_tf.network import models
from electra_tf.objectives import electra, losses, objective, variants


class UniformReplacement(electra.ReplacedTokenDetection):
    """Replaces hidden tokens by any token, each as likely."""

    Settings = variants.UniformConfig

    @classmethod
    def declare(cls, settings: config.PretrainConfig) -> objective.Declaration:
        """Says that there is the discriminator alone."""
        own = settings.objective
        assert isinstance(own, variants.UniformConfig)
        network = objective.Network(
            settings.model,
            lambda: models.build_discriminator(settings.model),
            role="discriminator",
            saved_as="discriminator",
            starts_from=("discriminator", "encoder"),
            section="model",
        )
        return objective.Declaration(
            networks={"discriminator": network},
            losses={
                "mlm": objective.Loss(0.0, "MLM loss", losses.MLM_UNIT),
                "rtd": objective.Loss(own.rtd_weight, "RTD loss", electra.RTD_UNIT),
            },
            metrics={
                "sampled_accuracy": electra.SAMPLED_ACCURACY,
                **electra.verdict_metrics("rtd_count"),
            },
            sums={"sampled_correct": (), **losses.VERDICT_SUMS},
            rows=objective.Rows("chance", judged_by="the discriminator"),
        )

    def guess(
        self, batch: objective.Batch, training: bool, progress: tf.Tensor | float
    ) -> tuple[tf.Tensor, tf.Tensor, objective.Sums]:
        """Returns ln V a token, and tokens drawn uniformly."""
        size = self.declared.networks["discriminator"].config.vocab_size
        scaled = batch["sampling_noise"] * size
        sampled = tf.minimum(tf.cast(scaled, tf.int32), size - 1)
        loss = tf.reduce_sum(batch["mask_weights"]) * math.log(size)
        return loss, sampled, {}
