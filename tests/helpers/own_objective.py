"""An objective of one's own that uses all that one can say of itself.

A frozen generator from a preset of its own, kept with another bias; a judge whose head
nobody else knows; a loss, a metric and words that no other objective has.
"""

import keras
import numpy as np
from pydantic import Field

from electra_tf import config
from electra_tf.network import models
from electra_tf.objectives import electra, losses, objective

BIAS = 7.0


class EnergyConfig(config.ElectraConfig):
    """Its settings."""

    generator: str = Field("", description="Preset of the frozen generator.")


def build_judge(model):
    network = models.build_headless(model)
    energy = keras.layers.Dense(1, name="energy")(network.output)[..., 0]
    return keras.Model(network.input, energy, name="judge")


def with_bias(network):
    folded = keras.models.clone_model(network)
    folded.set_weights(network.get_weights())
    bias = folded.get_layer("masked_token_head").output_bias
    bias.assign(np.full(bias.shape, BIAS))
    return folded


class Energy(electra.ReplacedTokenDetection):
    """Gives each token an energy."""

    Settings = EnergyConfig

    @classmethod
    def declare(cls, settings):
        small = settings.generator.resolve(settings.model)
        return objective.Declaration(
            networks={
                "generator": objective.Network(
                    small,
                    lambda: models.build_generator(small),
                    role="generator",
                    saved_as="small",
                    fold=with_bias,
                    starts_from=("generator",),
                    section="generator",
                    origin=settings.objective.generator,
                    is_trainable=False,
                ),
                "discriminator": objective.Network(
                    settings.model,
                    lambda: build_judge(settings.model),
                    role="energy",
                    saved_as="judge",
                    starts_from=("energy", "discriminator", "encoder"),
                    section="model",
                ),
            },
            losses={"energy": objective.Loss(2.0, "Energy loss", "nats per token")},
            metrics={
                "energy_auc": objective.Metric(
                    "Energy AUC", losses.area_under_curve, "energy auc {:.2f}"
                )
            },
            sums={"mlm_correct": (), "sampled_correct": (), **losses.VERDICT_SUMS},
            rows=objective.Rows(
                "the frozen generator", judged_by="the judge", judged="noise"
            ),
        )

    def counts(self, batch):
        return {"energy": super().counts(batch)["rtd"]}

    def sums(self, batch, training, progress):
        found, metrics = super().sums(batch, training, progress)
        return {"energy": found["rtd"]}, metrics
