"""Fast-ELECTRA: a generator that was trained before samples, and learns no more.

In:   a masked batch; a preset with a generator of the same vocabulary.
Out:  the discriminator's loss, what metrics are made of, verdicts.

A step saves the generator's backward pass, its updates and its moments. Its samples
are drawn at a temperature that falls in the course of the run, so that replaced tokens
are easy to find at first (Dong et al. 2023, arXiv 2310.07347). With a discriminator
that starts from the generator's weights (`train.init_from`), this is the second stage
of the two-stage training of ELECTRA's paper (3.2).
"""

import math
from typing import ClassVar

import tensorflow as tf

from electra_tf import config
from electra_tf.network import models
from electra_tf.objectives import corruption, electra, losses, objective, variants


class FrozenGenerator(electra.ReplacedTokenDetection):
    """Trains the discriminator alone."""

    Settings: ClassVar[type[config.ObjectiveConfig]] = variants.FrozenGeneratorConfig

    @classmethod
    def declare(cls, settings: config.PretrainConfig) -> objective.Declaration:
        """Says that the generator comes from a preset, and is not kept."""
        own = settings.objective
        assert isinstance(own, variants.FrozenGeneratorConfig)
        small = settings.generator.resolve(settings.model)
        generator = objective.Network(
            small,
            lambda: models.build_generator(small),
            role="generator",
            starts_from=("generator",),
            section="generator",
            origin=own.generator,
            is_trainable=False,
        )
        discriminator = objective.Network(
            settings.model,
            lambda: models.build_discriminator(settings.model),
            role="discriminator",
            saved_as="discriminator",
            starts_from=("discriminator", "generator", "encoder"),
            section="model",
        )
        return objective.Declaration(
            networks={"generator": generator, "discriminator": discriminator},
            losses={"rtd": objective.Loss(1.0, "RTD loss", electra.RTD_UNIT)},
            metrics={
                **electra.verdict_metrics("rtd_count"),
                "sampled_accuracy": objective.Metric(
                    "Sampled accuracy", ("sampled_correct", "hidden")
                ),
                "temperature": objective.Metric(
                    "Temperature of the samples", ("heat", "hidden"), "temp {:.2f}"
                ),
            },
            sums={
                "sampled_correct": (),
                "hidden": (),
                "heat": (),
                **losses.VERDICT_SUMS,
            },
            rows=objective.Rows(judged_by="the discriminator"),
        )

    def counts(self, batch: objective.Batch) -> objective.Sums:
        """Counts the real tokens."""
        return {"rtd": super().counts(batch)["rtd"]}

    def guess(
        self, batch: objective.Batch, training: bool, progress: tf.Tensor | float
    ) -> tuple[tf.Tensor, tf.Tensor, objective.Sums]:
        """Returns no loss, sampled tokens int32 [B, P], and metrics' sums.

        The generator drops nothing: it does not learn.
        """
        heat = temperature(self.settings, progress)
        logits = models.run(self.networks["generator"], batch, training=False)
        sampled = corruption.draw(logits, batch, heat)
        hidden = tf.reduce_sum(batch["mask_weights"])
        return tf.zeros([]), sampled, {"hidden": hidden, "heat": heat * hidden}

    def sums(
        self, batch: objective.Batch, training: bool, progress: tf.Tensor | float
    ) -> tuple[objective.Sums, objective.Sums]:
        """Sums the discriminator's loss."""
        found, metrics = super().sums(batch, training, progress)
        return {"rtd": found["rtd"]}, metrics


def temperature(
    settings: variants.FrozenGeneratorConfig, progress: tf.Tensor | float
) -> tf.Tensor:
    """Returns the temperature of the samples, float32 scalar.

    Args:
        settings: where it starts and ends, and how it gets there.
        progress: share of the run's steps that are made, 0 to 1.
    """
    start, end = settings.temperature_start, settings.temperature_end
    done = tf.cast(progress, tf.float32)
    if settings.temperature_schedule == "constant":
        return tf.constant(start, tf.float32)
    if settings.temperature_schedule == "linear":
        return start + (end - start) * done
    # Ends at the end: the exponential alone would stay above it.
    rate = settings.temperature_decay
    left = (tf.exp(-done / rate) - math.exp(-1.0 / rate)) / (
        1.0 - math.exp(-1.0 / rate)
    )
    return end + (start - end) * left
