"""Adversarial ELECTRA: the generator learns to be taken for the text, by REINFORCE.

In:   a masked batch.
Out:  the losses of the discriminator, the generator and its baseline; what metrics are
      made of; verdicts.

As in ELECTRA's paper (appendix F): a min-max game. The generator is rewarded with the
discriminator's own loss at each hidden position, less a learned baseline that reads the
generator's states. In the paper its guesses are right less often than those of maximum
likelihood (58 % for 65 %), of low entropy, and tasks gain nothing; so temperature and
entropy are told. Not in the 2020 code: the baseline's form is our reading.

B rows, L tokens per row, P predictions per row, V vocabulary.
"""

from typing import ClassVar

import keras
import tensorflow as tf

from electra_tf import config
from electra_tf.network import embedding, models
from electra_tf.objectives import electra, losses, objective, variants

REWARD_UNIT = "nats per hidden token"


class Baseline(keras.layers.Layer):
    """Guesses the chance that the discriminator gives to the truth at some places."""

    def build(self, hidden_shape: tuple[int | None, ...], places_shape: object) -> None:
        """Makes the kernel [D, 1]; it starts at zero: a chance of a half."""
        self.kernel = self.add_weight(
            name="kernel", shape=(hidden_shape[-1], 1), initializer="zeros"
        )
        self.bias = self.add_weight(name="bias", shape=(1,), initializer="zeros")

    def call(self, hidden: tf.Tensor, places: tf.Tensor) -> tf.Tensor:
        """Turns [B, L, D] and int32 [B, P] into float32 logits [B, P].

        The states are the generator's alone to shape: no gradient passes back.
        """
        x = tf.gather(tf.stop_gradient(hidden), places, batch_dims=1)  # [B, P, D]
        x = tf.cast(x, tf.float32)
        kernel = tf.cast(tf.convert_to_tensor(self.kernel), tf.float32)
        bias = tf.cast(tf.convert_to_tensor(self.bias), tf.float32)
        return (tf.linalg.matmul(x, kernel) + bias)[..., 0]

    def compute_output_spec(
        self, hidden: keras.KerasTensor, places: keras.KerasTensor
    ) -> keras.KerasTensor:
        """Returns what `call` does, without tracing it."""
        return keras.KerasTensor(places.shape, "float32")


class Adversarial(electra.ReplacedTokenDetection):
    """Trains the discriminator on what the generator samples, the generator on that."""

    Settings: ClassVar[type[config.ObjectiveConfig]] = variants.AdversarialConfig

    @classmethod
    def declare(cls, settings: config.PretrainConfig) -> objective.Declaration:
        """Says that the generator has a baseline, which is not kept."""
        declared = super().declare(settings)
        own = settings.objective
        assert isinstance(own, variants.AdversarialConfig)
        networks = electra.with_generator(
            settings,
            "discriminator",
            models.build_discriminator,
            build_generator=_with_baseline,
            role="discriminator",
            starts_from=("discriminator", "encoder"),
        )
        networks["generator"] = networks["generator"]._replace(fold=_without_baseline)
        of_hidden = {
            "entropy": objective.Metric(
                "Entropy of the guesses (nats)",
                ("entropy", "mlm_count"),
                "entropy {:.2f}",
                is_compared=True,
            ),
            "reward": objective.Metric("Reward (nats)", ("rewards", "mlm_count")),
            "temperature": objective.Metric("Temperature", ("heat", "mlm_count")),
        }
        return declared._replace(
            networks=networks,
            losses={
                **declared.losses,
                "reinforce": objective.Loss(
                    own.reinforce_weight, "REINFORCE loss", REWARD_UNIT
                ),
                "baseline": objective.Loss(
                    own.baseline_weight, "Baseline loss", REWARD_UNIT
                ),
            },
            metrics={**declared.metrics, **of_hidden},
            sums={**declared.sums, "entropy": (), "rewards": (), "heat": ()},
        )

    def counts(self, batch: objective.Batch) -> objective.Sums:
        """Counts the hidden tokens, three times, and the real ones."""
        found = super().counts(batch)
        return {**found, "reinforce": found["mlm"], "baseline": found["mlm"]}

    def guess(
        self, batch: objective.Batch, training: bool, progress: tf.Tensor | float
    ) -> tuple[tf.Tensor, tf.Tensor, objective.Sums]:
        """Returns the MLM loss, sampled tokens int32 [B, P], and metrics' sums."""
        logits, _ = models.run(self.networks["generator"], batch, training)
        return self.guessed(batch, logits)

    def sums(
        self, batch: objective.Batch, training: bool, progress: tf.Tensor | float
    ) -> tuple[objective.Sums, objective.Sums]:
        """Sums all four losses."""
        logits, baseline = models.run(self.networks["generator"], batch, training)
        mlm, sampled, metrics = self.guessed(batch, logits)
        rows, verdicts = self.judge(batch, sampled, training)  # logits [B, L]
        judged = self.judged(batch)
        rtd = losses.replaced_token_loss(verdicts, rows.is_replaced, judged)

        weights, heat = batch["mask_weights"], self.settings.temperature
        at = tf.gather(verdicts, batch["mask_positions"], batch_dims=1)  # [B, P]
        wrong = tf.not_equal(sampled, batch["mask_ids"])
        reward = tf.stop_gradient(tf.nn.softplus(tf.where(wrong, -at, at)))
        advantage = reward - tf.stop_gradient(tf.nn.softplus(-baseline))
        log_q = tf.nn.log_softmax(logits / heat)  # [B, P, V]
        drawn = -tf.nn.sparse_softmax_cross_entropy_with_logits(sampled, logits / heat)
        guessed = tf.nn.sigmoid_cross_entropy_with_logits(tf.exp(-reward), baseline)
        entropy = -tf.reduce_sum(tf.exp(log_q) * log_q, axis=-1)

        def total(values: tf.Tensor) -> tf.Tensor:
            return tf.reduce_sum(values * weights)

        metrics |= losses.sample_sums(sampled, batch)
        metrics |= losses.verdict_sums(verdicts, rows.is_replaced, judged)
        metrics |= {
            "entropy": total(tf.stop_gradient(entropy)),
            "rewards": total(reward),
            "heat": heat * tf.reduce_sum(weights),
        }
        found = {
            "mlm": mlm,
            "rtd": rtd,
            "reinforce": -total(advantage * drawn),
            "baseline": total(guessed),
        }
        return found, metrics


def _with_baseline(
    model: config.ModelConfig, embeddings: embedding.Embeddings | None
) -> keras.Model:
    """Builds a generator with a baseline: logits [B, P, V] and [B, P]."""
    inputs, hidden, logits = models.guessing(model, embeddings)
    baseline = Baseline(name="baseline")(hidden, inputs["mask_positions"])
    return keras.Model(inputs, [logits, baseline], name="generator")


def _without_baseline(network: keras.Model) -> keras.Model:
    return keras.Model(network.input, network.output[0], name="generator")
