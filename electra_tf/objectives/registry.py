"""What is learned: an objective owns its networks and turns a batch into losses.

In:   a masked batch (docs/architecture.md, section 2).
Out:  sums of losses, and sums that metrics are made of.

A new objective is a class with the members of `Objective`, entered in OBJECTIVES.
B rows, L tokens a row, P predictions a row, V vocabulary.
"""

import math
from collections.abc import Callable
from typing import Protocol

import keras
import tensorflow as tf

from electra_tf import config, errors
from electra_tf.network import models
from electra_tf.objectives import corruption, losses

Batch = dict[str, tf.Tensor]
Sums = dict[str, tf.Tensor]

# Of the histogram of probabilities that the AUC is read off.
AUC_BINS = 200

# What `_verdict_sums` counts, and how many samples were right.
VERDICT_SUMS: dict[str, tuple[int, ...]] = {
    "sampled_correct": (),
    "flagged": (),
    "replaced": (),
    "caught": (),
    "rtd_correct": (),
    "rtd_histogram": (2, AUC_BINS),
}


class Objective(Protocol):
    """What the pretrainer asks of an objective."""

    networks: dict[str, keras.Model]  # by the name a preset saves them under
    configs: dict[str, config.ModelConfig]  # their architectures
    weights: dict[str, float]  # of each loss
    metrics: dict[str, tuple[int, ...]]  # names and shapes of the other sums

    def counts(self, batch: Batch) -> Sums:
        """Returns, for each loss, how many terms its sum has: float32 scalars."""

    def sums(self, batch: Batch, training: bool) -> tuple[Sums, Sums]:
        """Returns the sum of each loss and the sums that metrics are made of."""

    def verdicts(self, batch: Batch) -> Sums:
        """Returns what to show of a batch.

        `sampled` int32 [B, P], and `replaced_probability` float32 [B, L] if there is
        a discriminator.
        """


class MaskedLanguageModel:
    """Guesses the hidden tokens with one full-size network: BERT without NSP.

    The baseline of the paper, on the same road: same data, masking, loop.
    """

    def __init__(self, settings: config.PretrainConfig) -> None:
        self.configs = {"generator": settings.model}
        self.networks = {"generator": models.build_generator(settings.model)}
        self.weights = {"mlm": settings.objective.mlm_weight}
        self.metrics: dict[str, tuple[int, ...]] = {"mlm_correct": ()}
        self._objective = settings.objective

    def counts(self, batch: Batch) -> Sums:
        """Counts the hidden tokens."""
        return {"mlm": tf.reduce_sum(batch["mask_weights"])}

    def sums(self, batch: Batch, training: bool) -> tuple[Sums, Sums]:
        """Sums the loss of the guesses."""
        logits = _run(self.networks["generator"], batch, training)
        loss, metrics = _guess_sums(logits, batch)
        return {"mlm": loss}, metrics

    def verdicts(self, batch: Batch) -> Sums:
        """Samples from the guesses."""
        logits = _run(self.networks["generator"], batch, False)
        return {"sampled": _sample(logits, batch, self._objective)}


class ReplacedTokenDetection:
    """ELECTRA: a generator fills in hidden tokens, a discriminator finds them.

    As in the paper (3.2): both are trained at once, on the sum of their losses; no
    gradient passes through the sampling.
    """

    def __init__(self, settings: config.PretrainConfig) -> None:
        self.configs = {
            "generator": settings.generator.resolve(settings.model),
            "discriminator": settings.model,
        }
        shared = None
        if settings.generator.shares == "embeddings":
            shared = models.build_embeddings(settings.model)
        self.networks = {
            "generator": models.build_generator(self.configs["generator"], shared),
            "discriminator": models.build_discriminator(settings.model, shared),
        }
        self.weights = {
            "mlm": settings.objective.mlm_weight,
            "rtd": settings.objective.rtd_weight,
        }
        self.metrics = {"mlm_correct": (), **VERDICT_SUMS}
        self._objective = settings.objective

    def counts(self, batch: Batch) -> Sums:
        """Counts the hidden tokens and the real ones."""
        real = tf.cast(batch["example_ids"] > 0, tf.float32)
        return {"mlm": tf.reduce_sum(batch["mask_weights"]), "rtd": tf.reduce_sum(real)}

    def guess(self, batch: Batch, training: bool) -> tuple[tf.Tensor, tf.Tensor, Sums]:
        """Returns the MLM loss, sampled tokens int32 [B, P], and metrics' sums."""
        logits = _run(self.networks["generator"], batch, training)
        loss, metrics = _guess_sums(logits, batch)
        return loss, _sample(logits, batch, self._objective), metrics

    def sums(self, batch: Batch, training: bool) -> tuple[Sums, Sums]:
        """Sums both losses."""
        mlm, sampled, metrics = self.guess(batch, training)
        rows = corruption.corrupt(batch, sampled)
        seen = batch | {"token_ids": rows.token_ids}
        logits = _run(self.networks["discriminator"], seen, training)  # [B, L]
        is_real = batch["example_ids"] > 0
        rtd = losses.replaced_token_loss(logits, rows.is_replaced, is_real)
        hits = tf.cast(tf.equal(sampled, batch["mask_ids"]), tf.float32)
        metrics |= {"sampled_correct": tf.reduce_sum(hits * batch["mask_weights"])}
        metrics |= _verdict_sums(logits, rows.is_replaced, is_real)
        return {"mlm": mlm, "rtd": rtd}, metrics

    def verdicts(self, batch: Batch) -> Sums:
        """Samples, and returns the discriminator's probabilities of "replaced"."""
        _, sampled, _ = self.guess(batch, training=False)
        rows = corruption.corrupt(batch, sampled)
        seen = batch | {"token_ids": rows.token_ids}
        logits = _run(self.networks["discriminator"], seen, False)
        return {"sampled": sampled, "replaced_probability": tf.sigmoid(logits)}


class UniformReplacement(ReplacedTokenDetection):
    """Replaces by tokens drawn uniformly from the whole vocabulary (2020 code).

    There is no generator to train; its loss would be the constant ln V, which is
    reported.
    """

    def __init__(self, settings: config.PretrainConfig) -> None:
        self.configs = {"discriminator": settings.model}
        self.networks = {"discriminator": models.build_discriminator(settings.model)}
        self.weights = {"mlm": 0.0, "rtd": settings.objective.rtd_weight}
        self.metrics = dict(VERDICT_SUMS)
        self._vocab_size = settings.model.vocab_size

    def guess(self, batch: Batch, training: bool) -> tuple[tf.Tensor, tf.Tensor, Sums]:
        """Returns ln V a token, and tokens drawn uniformly."""
        scaled = batch["sampling_noise"] * self._vocab_size
        sampled = tf.minimum(tf.cast(scaled, tf.int32), self._vocab_size - 1)
        loss = tf.reduce_sum(batch["mask_weights"]) * math.log(self._vocab_size)
        return loss, sampled, {}


OBJECTIVES: dict[str, Callable[[config.PretrainConfig], Objective]] = {
    "electra": ReplacedTokenDetection,
    "mlm": MaskedLanguageModel,
    "uniform": UniformReplacement,
}


def build(settings: config.PretrainConfig) -> Objective:
    """Builds the objective that the settings name, with fresh networks."""
    name = settings.objective.name
    if name not in OBJECTIVES:
        raise errors.UserError(
            f"objective.name={name!r}: want one of {', '.join(sorted(OBJECTIVES))}"
        )
    return OBJECTIVES[name](settings)


def _run(network: keras.Model, batch: Batch, training: bool) -> tf.Tensor:
    return network(models.inputs_of(network, batch), training=training)


def _sample(
    logits: tf.Tensor, batch: Batch, objective: config.ObjectiveConfig
) -> tf.Tensor:
    logits = tf.stop_gradient(logits)
    if objective.disallow_correct:
        vocabulary = tf.range(logits.shape[-1])
        correct = vocabulary == batch["mask_ids"][..., None]  # [B, P, V]
        logits = tf.where(correct, -math.inf, logits)
    return tf.stop_gradient(
        corruption.sample(logits, batch["sampling_noise"], objective.temperature)
    )


def _guess_sums(logits: tf.Tensor, batch: Batch) -> tuple[tf.Tensor, Sums]:
    weights, ids = batch["mask_weights"], batch["mask_ids"]
    hits = tf.cast(tf.equal(tf.argmax(logits, -1, tf.int32), ids), tf.float32)
    loss = losses.masked_token_loss(logits, ids, weights)
    return loss, {"mlm_correct": tf.reduce_sum(hits * weights)}


def _verdict_sums(
    logits: tf.Tensor, is_replaced: tf.Tensor, is_real: tf.Tensor
) -> Sums:
    """Counts verdicts over real tokens, and how their probabilities are spread.

    Returns sums `flagged`, `replaced`, `caught` (flagged and replaced), `rtd_correct`,
    and `rtd_histogram` [2, AUC_BINS]: original and replaced tokens by probability.
    """
    flagged, real = logits > 0.0, tf.cast(is_real, tf.float32)

    def count(claim: tf.Tensor) -> tf.Tensor:
        return tf.reduce_sum(tf.where(claim, real, 0.0))

    probability = tf.sigmoid(logits)
    bins = tf.minimum(tf.cast(probability * AUC_BINS, tf.int32), AUC_BINS - 1)
    slots = bins + AUC_BINS * tf.cast(is_replaced, tf.int32)
    histogram = tf.math.unsorted_segment_sum(
        tf.reshape(real, [-1]), tf.reshape(slots, [-1]), 2 * AUC_BINS
    )
    return {
        "flagged": count(flagged),
        "replaced": count(is_replaced),
        "caught": count(flagged & is_replaced),
        "rtd_correct": count(tf.equal(flagged, is_replaced)),
        "rtd_histogram": tf.reshape(histogram, [2, AUC_BINS]),
    }
