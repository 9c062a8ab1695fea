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

from electra_tf import config
from electra_tf.network import models
from electra_tf.objectives import corruption, electra_tt, losses, objective, variants


class Electric(electra_tt.TwoTowerElectra):
    """Trains the energies beside the noise."""

    Settings: ClassVar[type[config.ObjectiveConfig]] = variants.ElectricConfig

    def __init__(self, settings: config.PretrainConfig) -> None:
        super().__init__(settings)
        rate = settings.data.mask_rate
        self._log_odds = math.log(rate / (1.0 - rate))

    @classmethod
    def declare(cls, settings: config.PretrainConfig) -> objective.Declaration:
        """Says that what is learned is an energy, and from noise."""
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
        loss, sampled, metrics, verdicts = self._judge(batch, training)
        is_noise, is_real = corruption.hidden(batch), self.judged(batch)
        drawn = tf.equal(sampled, batch["mask_ids"])
        metrics |= {"sampled_correct": losses.count_hidden(drawn, batch)}
        metrics |= losses.verdict_sums(verdicts, is_noise, is_real)
        found = losses.replaced_token_loss(verdicts, is_noise, is_real)
        return {"mlm": loss, "rtd": found}, metrics

    def verdicts(self, batch: objective.Batch) -> objective.Sums:
        """Samples, and returns the chance that a token is noise."""
        _, sampled, _, verdicts = self._judge(batch, training=False)
        return {"sampled": sampled, "probability": tf.sigmoid(verdicts)}

    def _judge(
        self, batch: objective.Batch, training: bool
    ) -> tuple[tf.Tensor, tf.Tensor, objective.Sums, tf.Tensor]:
        """Returns what `_guess` does, and the logits of "noise", float32 [B, L].

        energy + log q + log(k / (n - k)), of n tokens of which k are chosen.
        """
        logits = self.score(batch, training)  # [B, L, V]
        loss, sampled, metrics = self._guess(batch, logits, disallow_correct=False)
        ids = corruption.corrupt(batch, sampled).token_ids
        heat = self.settings.temperature
        log_q = -tf.nn.sparse_softmax_cross_entropy_with_logits(
            ids, tf.stop_gradient(logits) / heat
        )
        seen = batch | {"token_ids": ids}
        energy = models.run(self.networks["discriminator"], seen, training)
        return loss, sampled, metrics, energy + log_q + self._log_odds
