"""Replace MLM: a full-size network reads samples where BERT reads [MASK].

In:   a masked batch.
Out:  the losses of both masked language models, what metrics are made of, samples.

As in the paper (3.4, Table 5): an ablation. It shows what it is worth to meet no [MASK]
in pre-training: GLUE 82.4 where BERT has 82.2.
"""

from typing import ClassVar

import tensorflow as tf

from electra_tf import config
from electra_tf.network import models
from electra_tf.objectives import corruption, electra, losses, objective, variants


class ReplaceMlm(electra.ReplacedTokenDetection):
    """Says what stood at the hidden positions, which a generator has filled in.

    The generator learns as ELECTRA's does, and is not kept: the network that is kept,
    as a generator, is the one of the full size.
    """

    Settings: ClassVar[type[config.ObjectiveConfig]] = variants.ReplaceMlmConfig

    @classmethod
    def declare(cls, settings: config.PretrainConfig) -> objective.Declaration:
        """Says that the networks may share their embedding block."""
        own = settings.objective
        assert isinstance(own, variants.ReplaceMlmConfig)
        networks = electra.with_generator(
            settings,
            "restorer",
            models.build_generator,
            role="generator",
            saved_as="generator",
            starts_from=("generator", "encoder"),
        )
        networks["generator"] = networks["generator"]._replace(
            saved_as="", starts_from=()
        )
        return objective.Declaration(
            networks=networks,
            losses={
                "mlm": objective.Loss(own.mlm_weight, "MLM loss", losses.MLM_UNIT),
                "restoring": objective.Loss(
                    own.restoring_weight, "Restoring loss", losses.MLM_UNIT
                ),
            },
            metrics={
                "mlm_accuracy": losses.MLM_ACCURACY,
                "sampled_accuracy": electra.SAMPLED_ACCURACY,
                "restoring_accuracy": objective.Metric(
                    "Restoring accuracy",
                    ("restored", "restoring_count"),
                    "restored {:.3f}",
                    is_compared=True,
                ),
            },
            sums={"mlm_correct": (), "sampled_correct": (), "restored": ()},
            rows=objective.Rows(),
        )

    def counts(self, batch: objective.Batch) -> objective.Sums:
        """Counts the hidden tokens, of which both networks learn."""
        hidden = tf.reduce_sum(batch["mask_weights"])
        return {"mlm": hidden, "restoring": hidden}

    def sums(
        self, batch: objective.Batch, training: bool, progress: tf.Tensor | float
    ) -> tuple[objective.Sums, objective.Sums]:
        """Sums both losses."""
        loss, sampled, metrics = self.guess(batch, training, progress)
        seen = batch | {"token_ids": corruption.corrupt(batch, sampled).token_ids}
        logits = models.run(self.networks["restorer"], seen, training)  # [B, P, V]
        right = tf.equal(tf.argmax(logits, -1, tf.int32), batch["mask_ids"])
        metrics |= {"restored": losses.count_hidden(right, batch)}
        metrics |= losses.sample_sums(sampled, batch)
        where = batch["mask_ids"], batch["mask_weights"]
        restoring = losses.masked_token_loss(logits, *where)
        return {"mlm": loss, "restoring": restoring}, metrics

    def verdicts(self, batch: objective.Batch) -> objective.Sums:
        """Samples from the generator's guesses."""
        return {"sampled": self.guess(batch, training=False, progress=1.0)[1]}
