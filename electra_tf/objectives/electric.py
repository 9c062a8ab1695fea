"""Electric: an energy for each token in its place, learned from noise.

In:   a masked batch.
Out:  both losses, what metrics are made of, verdicts.

exp(-energy) estimates the probability of a token given all others, unnormalized. It is
learned by noise-contrastive estimation: which tokens come from the noise, of which the
probability q is known? The noise is a two-tower generator's (Clark et al. 2020, arXiv
2012.08561, Algorithm 2). As in the 2020 code: the answer is "noise" at every chosen
position, also where the sample equals the original.

Differs from the 2020 code, which samples at a temperature and takes q without it: both
are taken at it here, else the estimate is of nothing.

B rows, L tokens per row, P predictions per row, V vocabulary.
"""

import math
from typing import ClassVar

import tensorflow as tf

from electra_tf import config, errors
from electra_tf.objectives import (
    electra_tt,
    losses,
    objective,
    places,
    variants,
)


class Electric(electra_tt.TwoTowerElectra):
    """Trains the energies beside the noise."""

    Settings: ClassVar[type[config.ObjectiveConfig]] = variants.ElectricConfig

    def __init__(self, settings: config.PretrainConfig) -> None:
        super().__init__(settings)
        rate = settings.data.mask_rate
        self._log_odds = math.log(rate / (1.0 - rate))  # `declare` has refused 0 and 1.

    @classmethod
    def declare(cls, settings: config.PretrainConfig) -> objective.Declaration:
        """Says that what is learned is an energy, and from noise."""
        if not 0.0 < settings.data.mask_rate < 1.0:
            raise errors.UserError(
                f"data.mask_rate={settings.data.mask_rate}: electric tells noise from "
                "text and needs some of both; choose one between 0 and 1, such as 0.15"
            )
        declared = super().declare(settings)
        energy = declared.networks["discriminator"]._replace(
            role="energy",
            saved_as="energy",
            starts_from=("energy", "discriminator", "encoder"),
        )
        nce = declared.losses["rtd"]._replace(title="NCE loss")
        return declared._replace(
            networks={**declared.networks, "discriminator": energy},
            losses={**declared.losses, "rtd": nce},
            rows=objective.Rows(
                filled_by="the noise", judged_by="the energies", judged="noise"
            ),
        )

    def sums(
        self, batch: objective.Batch, training: bool, progress: tf.Tensor | float
    ) -> tuple[objective.Sums, objective.Sums]:
        """Sums both losses."""
        loss, sampled, metrics, verdicts = self._read(batch, training)
        is_noise, is_real = places.hidden(batch), self.judged(batch)
        metrics |= losses.sample_sums(sampled, batch)
        metrics |= losses.verdict_sums(verdicts, is_noise, is_real)
        found = losses.replaced_token_loss(verdicts, is_noise, is_real)
        return {"mlm": loss, "rtd": found}, metrics

    def verdicts(self, batch: objective.Batch) -> objective.Sums:
        """Samples, and returns the chance that a token is noise."""
        _, sampled, _, verdicts = self._read(batch, training=False)
        return {"sampled": sampled, "probability": tf.sigmoid(verdicts)}

    def _read(
        self, batch: objective.Batch, training: bool
    ) -> tuple[tf.Tensor, tf.Tensor, objective.Sums, tf.Tensor]:
        """Returns what `guess` does, and the logits of "noise", float32 [B, L].

        energy + log q + log(k / (n - k)), of n tokens of which k are chosen.
        """
        logits = self.score(batch, training)  # [B, L, V]
        loss, sampled, metrics = self.guessed(batch, logits)
        rows, energy = self.judge(batch, sampled, training)
        log_q = -tf.nn.sparse_softmax_cross_entropy_with_logits(
            rows.token_ids, tf.stop_gradient(logits) / self.settings.temperature
        )
        return loss, sampled, metrics, energy + log_q + self._log_odds
