"""One update: a batch becomes gradients, gradients become new weights.

In:   a masked batch, this replica's share of it.
Out:  new weights, and sums over all replicas that metrics are made of.

Sums and counts are reduced over micro-batches and replicas, then divided, once; only
then are gradients clipped. So one replica, eight, and micro-batches give the same.
"""

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from electra_tf import config
from electra_tf.network import models, tracing
from electra_tf.objectives import registry
from electra_tf.training import optimizer

# Of the seeds made from train.seed, so that no two uses of it draw the same.
DROPOUT = 1


class Pretrainer(keras.Model):
    """The networks of an objective, and how they learn.

    Build it under the strategy's scope. The command runs `update` in its own loop;
    `fit` and `evaluate` work too, on one device, after `compile()`.
    """

    def __init__(
        self,
        objective: registry.Objective,
        train: config.TrainConfig,
        *,
        compile_step: bool = False,
        streams: int = 1,
    ) -> None:
        """Makes the optimizer and its slots.

        Args:
            objective: owns the networks (`registry.build`).
            train: the settings of section `train`.
            compile_step: compile forward and backward pass with XLA.
            streams: parts of each micro-batch that are computed side by side, where
                they divide its rows (`distribution.share_cores`).
        """
        super().__init__(name="pretrainer")
        self.objective = objective
        self.train_config = train
        self._streams = 1 if compile_step else streams
        for name, network in objective.networks.items():
            setattr(self, name, network)
            if train.recompute:
                models.recompute_blocks(network)
        self.learner = optimizer.build(train)
        self.learner.build(self.trainable_variables)
        self._trained = Totals(objective.weights, name="trained")
        self._measured = Totals(objective.weights, name="measured")
        self._gradients = tf.function(
            self._all_gradients, autograph=False, jit_compile=compile_step or None
        )
        self.built = True

    def compile(self, **kwargs: Any) -> None:
        """Readies the model for `fit`; the optimizer is the settings' own."""
        super().compile(optimizer=self.learner, jit_compile=False, **kwargs)

    def update(self, batch: registry.Batch) -> registry.Sums:
        """Makes one optimizer update from a batch, in replica context.

        Args:
            batch: this replica's rows; `accumulation_steps` divides their number.

        Returns:
            Sums over all replicas, for `summarize`; `finite` is 1 if the loss and the
            gradient were, else 0.
        """
        context = tf.distribute.get_replica_context()
        counts = self._reduce(self.objective.counts(batch))
        step = tf.cast(self.learner.iterations, tf.int32)
        seed = tf.stack([self.train_config.seed & 0x7FFFFFFF, DROPOUT])
        for number in (step, context.replica_id_in_sync_group):
            seed = tf.random.experimental.stateless_fold_in(seed, number)
        gradients, sums = self._gradients(batch, counts, seed)
        gradients = context.all_reduce(tf.distribute.ReduceOp.SUM, gradients)
        sums = self._reduce(sums)
        gradients, norm = tf.clip_by_global_norm(gradients, self.train_config.clip_norm)
        rate = self.learner.learning_rate
        self.learner.apply_gradients(
            zip(gradients, self.trainable_variables, strict=True)
        )
        finite = tf.math.is_finite(norm) & tf.math.is_finite(
            _total_loss(sums, self.objective.weights)
        )
        return sums | {
            "steps": tf.constant(1.0),
            "gradient_norm": norm,
            "learning_rate": tf.cast(rate, tf.float32),
            "finite": tf.cast(finite, tf.float32),
        }

    def zero_sums(self) -> registry.Sums:
        """Returns what `update` returns, all zero: where adding up starts."""
        names = ("steps", "gradient_norm", "learning_rate", "finite")
        return self._zero_measures() | {name: tf.zeros([]) for name in names}

    def _zero_measures(self) -> registry.Sums:
        """Returns what `measure` returns, all zero."""
        names = ["tokens", "positions", "rows"]
        for name in self.objective.weights:
            names += [f"{name}_loss", f"{name}_count"]
        shapes = dict.fromkeys(names, ()) | self.objective.metrics
        return {name: tf.zeros(shape) for name, shape in shapes.items()}

    def measure(self, batch: registry.Batch) -> registry.Sums:
        """Returns the sums of a batch over all replicas, without dropout or update."""
        streams = self._streams_of(batch)
        parts = []
        for index in range(streams):
            rows = _part(batch, index, streams)
            counts = self.objective.counts(rows)
            parts.append(self._sums(rows, counts, training=False)[1])
        return self._reduce(tf.nest.map_structure(lambda *some: tf.add_n(some), *parts))

    def train_step(self, batch: registry.Batch) -> dict[str, tf.Tensor]:
        """Makes one update, for `fit`."""
        self._trained.update_state(self.update(batch))
        return self._trained.result()

    def test_step(self, batch: registry.Batch) -> dict[str, tf.Tensor]:
        """Measures one batch, for `evaluate`."""
        self._measured.update_state(self.measure(batch))
        return self._measured.result()

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        """What Keras resets at the start of an epoch."""
        return [self._trained, self._measured]

    def get_metrics_result(self) -> dict[str, tf.Tensor]:
        """Returns nothing, so that Keras logs what each step returns."""
        return {}

    def _sums(
        self, batch: registry.Batch, counts: registry.Sums, training: bool
    ) -> tuple[tf.Tensor, registry.Sums]:
        """Returns this batch's part of the loss, and all its sums."""
        parts, metrics = self.objective.sums(batch, training)
        loss = tf.add_n(
            [
                weight * parts[name] / tf.maximum(counts[name], 1.0)
                for name, weight in self.objective.weights.items()
            ]
        )
        own = self.objective.counts(batch)
        sums = {f"{name}_loss": part for name, part in parts.items()}
        sums |= {f"{name}_count": own[name] for name in parts}
        real = tf.reduce_sum(tf.cast(batch["example_ids"] > 0, tf.float32))
        size = tf.cast(tf.size(batch["example_ids"]), tf.float32)
        rows = tf.cast(tf.shape(batch["example_ids"])[0], tf.float32)
        return loss, sums | metrics | {"tokens": real, "positions": size, "rows": rows}

    def _all_gradients(
        self, batch: registry.Batch, counts: registry.Sums, seed: tf.Tensor
    ) -> tuple[list[tf.Tensor], registry.Sums]:
        """Adds up gradients and sums over the micro-batches of this replica."""
        micro_batches = self.train_config.accumulation_steps
        streams = self._streams_of(batch, micro_batches)
        parts = micro_batches * streams
        if parts == 1:
            return self._micro_gradients(batch, counts, seed)

        def micro(index: int | tf.Tensor) -> tuple[list[tf.Tensor], registry.Sums]:
            # Side by side in the graph, not in a loop, which takes far longer to
            # prepare (D26); what both give is added up as soon as it is there.
            found = []
            for part in range(streams):
                own = index * streams + part
                fold = tf.random.experimental.stateless_fold_in(seed, own)
                rows = _part(batch, own, parts)
                found.append(self._micro_gradients(rows, counts, fold))
            total: tuple[list[tf.Tensor], registry.Sums] = tf.nest.map_structure(
                lambda *some: tf.add_n(some), *found
            )
            return total

        if micro_batches == 1:
            return micro(0)

        def add(index: tf.Tensor, total: Any) -> tuple[tf.Tensor, Any]:
            return index + 1, tf.nest.map_structure(tf.add, total, micro(index))

        zeros = [tf.zeros_like(v.value) for v in self.trainable_variables]
        start = (zeros, self._zero_measures())
        _, (gradients, sums) = tf.while_loop(
            lambda index, total: index < micro_batches,
            add,
            [tf.constant(0), start],
            parallel_iterations=1,  # Overlapping micro-batches would save no memory.
        )
        return gradients, sums

    def _streams_of(self, batch: registry.Batch, micro_batches: int = 1) -> int:
        """Returns the parts to compute side by side; they must divide the rows."""
        rows = batch["example_ids"].shape[0]
        wanted = micro_batches * self._streams
        return self._streams if rows is not None and rows % wanted == 0 else 1

    def _micro_gradients(
        self, batch: registry.Batch, counts: registry.Sums, seed: tf.Tensor
    ) -> tuple[list[tf.Tensor], registry.Sums]:
        variables = [v.value for v in self.trainable_variables]
        with tracing.dropout_seed(seed), tf.GradientTape() as tape:
            loss, sums = self._sums(batch, counts, training=True)
        gradients = tape.gradient(
            loss, variables, unconnected_gradients=tf.UnconnectedGradients.ZERO
        )
        # Dense, or a reduce over replicas would gather slices, which XLA cannot.
        return [tf.convert_to_tensor(gradient) for gradient in gradients], sums

    def _reduce(self, sums: registry.Sums) -> registry.Sums:
        """Adds up over the replicas, all in one vector: one collective."""
        shapes = {name: value.shape for name, value in sums.items()}
        flat = tf.concat([tf.reshape(sums[name], [-1]) for name in shapes], axis=0)
        context = tf.distribute.get_replica_context()
        flat = context.all_reduce(tf.distribute.ReduceOp.SUM, flat)
        parts = tf.split(flat, [shape.num_elements() for shape in shapes.values()])
        return {
            name: tf.reshape(part, shape)
            for (name, shape), part in zip(shapes.items(), parts, strict=True)
        }


def build(
    settings: config.PretrainConfig, *, compile_step: bool = False, streams: int = 1
) -> Pretrainer:
    """Builds the networks and the optimizer that the settings describe.

    Weights are drawn from train.seed. Call it under the strategy's scope.
    """
    keras.utils.set_random_seed(settings.train.seed)
    objective = registry.build(settings)
    return Pretrainer(
        objective, settings.train, compile_step=compile_step, streams=streams
    )


def summarize(sums: registry.Sums, weights: dict[str, float]) -> dict[str, tf.Tensor]:
    """Turns sums over steps and replicas into metrics.

    loss (weighted by `weights`), mlm_loss, rtd_loss in nats a token; mlm_accuracy,
    sampled_accuracy over hidden tokens; rtd_accuracy, rtd_precision, rtd_recall,
    rtd_auc over real tokens, not padding; replaced_rate, row_fill as shares;
    gradient_norm and learning_rate as means.
    """

    def ratio(part: str, whole: str) -> Callable[[], tf.Tensor]:
        return lambda: sums[part] / tf.maximum(sums[whole], 1e-9)

    known = {
        "mlm_loss": ("mlm_loss", "mlm_count"),
        "rtd_loss": ("rtd_loss", "rtd_count"),
        "mlm_accuracy": ("mlm_correct", "mlm_count"),
        "sampled_accuracy": ("sampled_correct", "mlm_count"),
        "rtd_accuracy": ("rtd_correct", "rtd_count"),
        "rtd_precision": ("caught", "flagged"),
        "rtd_recall": ("caught", "replaced"),
        "replaced_rate": ("replaced", "rtd_count"),
        "row_fill": ("tokens", "positions"),
        "gradient_norm": ("gradient_norm", "steps"),
        "learning_rate": ("learning_rate", "steps"),
    }
    found = {
        name: ratio(part, whole)()
        for name, (part, whole) in known.items()
        if part in sums and whole in sums
    }
    if "rtd_histogram" in sums:
        found["rtd_auc"] = area_under_curve(sums["rtd_histogram"])
    return {"loss": _total_loss(sums, weights)} | found


def area_under_curve(histogram: tf.Tensor) -> tf.Tensor:
    """Returns the area under the ROC curve from counts by probability.

    The chance that a replaced token scores above an original one; within a bin, a
    half. 0.5 if one of the kinds is missing.

    Args:
        histogram: float32 [2, bins], originals and replaced by rising probability.
    """
    originals, replaced = tf.unstack(histogram)
    below = tf.cumsum(originals, exclusive=True)
    wins = tf.reduce_sum(replaced * (below + originals / 2.0))
    pairs = tf.reduce_sum(originals) * tf.reduce_sum(replaced)
    return tf.where(pairs > 0, wins / tf.maximum(pairs, 1.0), 0.5)


class Totals(keras.metrics.Metric):
    """Adds up the sums of many steps, for `fit`; its result is `summarize` of them."""

    def __init__(self, weights: dict[str, float], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._weights = weights
        self._sums: dict[str, keras.Variable] = {}

    def update_state(self, sums: registry.Sums) -> None:
        """Adds one step's sums."""
        if not self._sums:
            with tf.init_scope():
                self._sums = {
                    name: self.add_variable(tuple(value.shape), "zeros", name=name)
                    for name, value in sums.items()
                }
        for name, value in sums.items():
            self._sums[name].assign_add(value)

    def result(self) -> dict[str, tf.Tensor]:
        """Returns the metrics of all steps since the last reset."""
        sums = {name: v.value for name, v in self._sums.items()}
        return summarize(sums, self._weights)


def _total_loss(sums: registry.Sums, weights: dict[str, float]) -> tf.Tensor:
    """Adds up the weighted mean losses."""
    return tf.add_n(
        [
            weight * sums[f"{name}_loss"] / tf.maximum(sums[f"{name}_count"], 1.0)
            for name, weight in weights.items()
        ]
    )


def _part(batch: registry.Batch, index: int | tf.Tensor, parts: int) -> registry.Batch:
    """Returns one of so many equal parts of a batch."""
    if parts == 1:
        return batch
    rows = batch["example_ids"].shape[0] // parts
    # Not value[low:high], whose number of rows would not be known to XLA (D28).
    return {
        name: tf.reshape(value, [parts, rows, *value.shape[1:]])[index]
        for name, value in batch.items()
    }
