"""ELECTRA with a two-tower generator: autoregressive, as GPT is, and from both sides.

In:   a masked batch.
Out:  both losses, what metrics are made of, verdicts.

The generator reads rows in which nothing is hidden and learns to guess every token from
all others in one pass; its samples fill the hidden positions, as in ELECTRA (the 2020
code's `two_tower_generator`; "ELECTRA-TT" in Clark et al. 2020, arXiv 2012.08561). It
scores the vocabulary at every position, which takes far more time and memory.

B rows, L tokens per row, P predictions per row, V vocabulary.
"""

from typing import ClassVar

import tensorflow as tf

from electra_tf import config
from electra_tf.network import models, two_tower
from electra_tf.objectives import corruption, electra, losses, objective, places


class TwoTowerElectra(electra.ReplacedTokenDetection):
    """Trains a generator of two causal towers beside the discriminator.

    The towers are not kept: they are no encoder that a task could start from.
    """

    Settings: ClassVar[type[config.ObjectiveConfig]] = config.ElectraConfig

    @classmethod
    def declare(cls, settings: config.PretrainConfig) -> objective.Declaration:
        """Says that the generator is another, and that all tokens are guessed."""
        declared = super().declare(settings)
        networks = electra.with_generator(
            settings,
            "discriminator",
            models.build_discriminator,
            build_generator=two_tower.build,
            role="discriminator",
            starts_from=("discriminator", "encoder"),
        )
        networks["generator"] = networks["generator"]._replace(
            role="two_tower", saved_as="", starts_from=()
        )
        cloze = declared.losses["mlm"]._replace(
            title="Cloze loss", unit=electra.RTD_UNIT
        )
        accuracy = losses.MLM_ACCURACY._replace(
            title="Cloze accuracy", line="cloze acc {:.3f}"
        )
        return declared._replace(
            networks=networks,
            losses={**declared.losses, "mlm": cloze},
            metrics={
                **declared.metrics,
                "mlm_accuracy": accuracy,
                "sampled_accuracy": objective.Metric(
                    "Sampled accuracy", ("sampled_correct", "hidden")
                ),
            },
            sums={**declared.sums, "hidden": ()},
        )

    def counts(self, batch: objective.Batch) -> objective.Sums:
        """Counts the real tokens: all of them are guessed and judged."""
        real = super().counts(batch)["rtd"]
        return {"mlm": real, "rtd": real}

    def guess(
        self, batch: objective.Batch, training: bool, progress: tf.Tensor | float
    ) -> tuple[tf.Tensor, tf.Tensor, objective.Sums]:
        """Returns the cloze loss, sampled tokens int32 [B, P], and metrics' sums."""
        return self.guessed(batch, self.score(batch, training))

    def score(self, batch: objective.Batch, training: bool) -> tf.Tensor:
        """Returns the vocabulary's logits at every position: float32 [B, L, V]."""
        ids = corruption.original(batch)
        everywhere = places.every_place(batch)
        seen = batch | {"token_ids": ids, "mask_positions": everywhere}
        return models.run(self.networks["generator"], seen, training)

    def guessed(
        self, batch: objective.Batch, logits: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, objective.Sums]:
        """Returns what `guess` does, of logits at every position, float32 [B, L, V]."""
        real = tf.cast(batch["example_ids"] > 0, tf.float32)
        ids = corruption.original(batch)
        loss = losses.masked_token_loss(logits, ids, real)
        right = tf.cast(tf.equal(tf.argmax(logits, -1, tf.int32), ids), tf.float32)
        at_hidden = tf.gather(logits, batch["mask_positions"], batch_dims=1)
        _, sampled, _ = super().guessed(batch, at_hidden)
        metrics = {
            "mlm_correct": tf.reduce_sum(right * real),
            "hidden": tf.reduce_sum(batch["mask_weights"]),
        }
        return loss, sampled, metrics
