"""A masked language model alone: guesses hidden tokens with one full-size network.

In:   a masked batch.
Out:  the loss of the guesses.

BERT without next-sentence prediction: the paper's baseline, on the same road, with
the same data, masking and loop.
"""

from typing import ClassVar

import tensorflow as tf

from electra_tf import config
from electra_tf.network import models
from electra_tf.objectives import corruption, losses, objective


class MaskedLanguageModel(objective.Objective):
    """Learns from the hidden tokens alone."""

    Settings: ClassVar[type[config.ObjectiveConfig]] = config.MlmConfig

    @classmethod
    def declare(cls, settings: config.PretrainConfig) -> objective.Declaration:
        """Says that there is one network, of the full size."""
        own = settings.objective
        assert isinstance(own, config.MlmConfig)
        network = objective.Network(
            settings.model,
            lambda: models.build_generator(settings.model),
            role="generator",
            saved_as="generator",
            starts_from=("generator", "encoder"),
            section="model",
        )
        return objective.Declaration(
            networks={"generator": network},
            losses={"mlm": objective.Loss(own.mlm_weight, "MLM loss", losses.MLM_UNIT)},
            metrics={"mlm_accuracy": losses.MLM_ACCURACY},
            sums={"mlm_correct": ()},
            rows=objective.Rows(filled_by="the model"),
        )

    def counts(self, batch: objective.Batch) -> objective.Sums:
        """Counts the hidden tokens."""
        return {"mlm": tf.reduce_sum(batch["mask_weights"])}

    def sums(
        self, batch: objective.Batch, training: bool, progress: tf.Tensor | float
    ) -> tuple[objective.Sums, objective.Sums]:
        """Sums the loss of the guesses."""
        logits = models.run(self.networks["generator"], batch, training)
        where = batch["mask_ids"], batch["mask_weights"]
        loss = losses.masked_token_loss(logits, *where)
        return {"mlm": loss}, losses.guess_sums(logits, batch)

    def verdicts(self, batch: objective.Batch) -> objective.Sums:
        """Samples from the guesses."""
        logits = models.run(self.networks["generator"], batch, training=False)
        return {"sampled": corruption.draw(logits, batch)}
