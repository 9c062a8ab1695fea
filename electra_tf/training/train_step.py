"""One update: a batch becomes gradients, gradients become new weights.

In:   a masked batch, this replica's share of it.
Out:  new weights, and sums over all replicas that metrics are made of.

Sums and counts are reduced over micro-batches and replicas, then divided, once; only
then are gradients clipped. So one replica, eight, and micro-batches give the same.
"""

from collections.abc import Mapping
from typing import Any

import keras
import tensorflow as tf

from electra_tf import config
from electra_tf.network import models, tracing
from electra_tf.objectives import checks, objective, registry
from electra_tf.training import groups, optimizer

# Of the seeds made from train.seed, so that no two uses of it draw the same.
DROPOUT = 1

# What every run has beside its objective's metrics.
METRICS = {
    "learning_rate": objective.Metric(
        "Learning rate", ("learning_rate", "steps"), "lr {:.2e}"
    ),
    groups.NORM: objective.Metric("Gradient norm", (groups.NORM, "steps")),
    # Of float16 alone.
    "loss_scale": objective.Metric(
        "Loss scale", ("loss_scale", "steps"), "scale {:,.0f}"
    ),
    "skipped_rate": objective.Metric(
        "Skipped steps (share)", ("skipped", "steps"), "skipped {:.1%}"
    ),
    "row_fill": objective.Metric("Row fill", ("tokens", "positions"), "fill {:.3f}"),
}


class Pretrainer(keras.Model):
    """The networks of an objective, and how they learn.

    Build it under the strategy's scope. The command runs `update` in its own loop;
    `fit` and `evaluate` work too, on one device, after `compile()`.
    """

    def __init__(
        self,
        learned: objective.Objective,
        train: config.TrainConfig,
        learner: groups.GroupedOptimizer,
        *,
        compile_step: bool = False,
    ) -> None:
        """Makes the optimizer's state.

        Args:
            learned: owns the networks (`registry.build`).
            train: the settings of section `train`.
            learner: the optimizer (`optimizer.build`).
            compile_step: compile forward and backward pass with XLA.
        """
        super().__init__(name="pretrainer")
        self.objective = learned
        self.train_config = train
        # Parts of each micro-batch side by side, where they divide its rows. Dropout is
        # drawn for each part: nothing but the setting decides how many there are.
        self._streams = 1 if train.streams == "auto" else train.streams
        for name, network in learned.networks.items():
            setattr(self, name, network)
            if not learned.declared.networks[name].is_trainable:
                network.trainable = False
            if train.recompute:
                models.recompute_blocks(network)
        self.learner = learner
        self.learner.build(self.trainable_variables)
        self._trained = Totals(learned.declared, name="trained")
        self._measured = Totals(learned.declared, name="measured")
        self._gradients = tf.function(
            self._all_gradients, autograph=False, jit_compile=compile_step or None
        )
        self.built = True

    def compile(self, **kwargs: Any) -> None:
        """Readies the model for `fit`; the optimizer is the settings' own."""
        super().compile(optimizer=self.learner, jit_compile=False, **kwargs)

    def update(self, batch: objective.Batch) -> objective.Sums:
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
        gradients, sums = self._gradients(batch, counts, seed, self._progress())
        gradients = context.all_reduce(tf.distribute.ReduceOp.SUM, gradients)
        sums = self.learner.usable(self._reduce(sums))
        rate = self.learner.learning_rate
        norms = self.learner.learn(gradients)
        finite = tf.math.is_finite(norms[groups.NORM]) & tf.math.is_finite(
            _total_loss(sums, self.objective.declared.losses)
        )
        return sums | {
            **norms,
            "steps": tf.constant(1.0),
            "learning_rate": tf.cast(rate, tf.float32),
            "finite": tf.cast(finite, tf.float32),
        }

    def _progress(self) -> tf.Tensor:
        """Returns the share of the run's updates that are made."""
        made = tf.cast(self.learner.iterations, tf.float32)
        return made / float(self.train_config.steps)

    def zero_sums(self) -> objective.Sums:
        """Returns what `update` returns, all zero: where adding up starts."""
        names = (*self.learner.norm_names, "steps", "learning_rate", "finite")
        return self._zero_measures() | {name: tf.zeros([]) for name in names}

    def _zero_measures(self) -> objective.Sums:
        """Returns what `measure` returns, all zero."""
        names = ["tokens", "positions", "rows"]
        for name in self.objective.declared.losses:
            names += [f"{name}_loss", f"{name}_count"]
        shapes = dict.fromkeys(names, ()) | self.objective.declared.sums
        return {name: tf.zeros(shape) for name, shape in shapes.items()}

    def measure(self, batch: objective.Batch) -> objective.Sums:
        """Returns the sums of a batch over all replicas, without dropout or update."""
        streams, progress = self._streams_of(batch), self._progress()
        parts = []
        for index in range(streams):
            rows = _part(batch, index, streams)
            counts = self.objective.counts(rows)
            parts.append(self._sums(rows, counts, progress, training=False)[1])
        return self._reduce(tf.nest.map_structure(lambda *some: tf.add_n(some), *parts))

    def train_step(self, batch: objective.Batch) -> dict[str, tf.Tensor]:
        """Makes one update, for `fit`."""
        self._trained.update_state(self.update(batch))
        return self._trained.result()

    def test_step(self, batch: objective.Batch) -> dict[str, tf.Tensor]:
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
        self,
        batch: objective.Batch,
        counts: objective.Sums,
        progress: tf.Tensor,
        *,
        training: bool,
    ) -> tuple[tf.Tensor, objective.Sums]:
        """Returns this batch's part of the loss, and all its sums."""
        parts, metrics = self.objective.sums(batch, training, progress)
        loss = tf.add_n(
            [
                one.weight * parts[name] / tf.maximum(counts[name], 1.0)
                for name, one in self.objective.declared.losses.items()
            ]
        )
        own = self.objective.counts(batch)
        checks.refuse_undeclared(self.objective, parts, own, metrics)
        sums = {f"{name}_loss": part for name, part in parts.items()}
        sums |= {f"{name}_count": own[name] for name in parts}
        real = tf.reduce_sum(tf.cast(batch["example_ids"] > 0, tf.float32))
        size = tf.cast(tf.size(batch["example_ids"]), tf.float32)
        rows = tf.cast(tf.shape(batch["example_ids"])[0], tf.float32)
        return loss, sums | metrics | {"tokens": real, "positions": size, "rows": rows}

    def _all_gradients(
        self,
        batch: objective.Batch,
        counts: objective.Sums,
        seed: tf.Tensor,
        progress: tf.Tensor,
    ) -> tuple[list[tf.Tensor], objective.Sums]:
        """Adds up gradients and sums over the micro-batches of this replica."""
        micro_batches = self.train_config.accumulation_steps
        streams = self._streams_of(batch, micro_batches)
        parts = micro_batches * streams
        if parts == 1:
            return self._micro_gradients(batch, counts, seed, progress)

        def micro(index: int | tf.Tensor) -> tuple[list[tf.Tensor], objective.Sums]:
            # Side by side in the graph, not in a loop, which takes far longer to
            # prepare (D26); what both give is added up as soon as it is there.
            found = []
            for part in range(streams):
                own = index * streams + part
                fold = tf.random.experimental.stateless_fold_in(seed, own)
                rows = _part(batch, own, parts)
                found.append(self._micro_gradients(rows, counts, fold, progress))
            total: tuple[list[tf.Tensor], objective.Sums] = tf.nest.map_structure(
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

    def _streams_of(self, batch: objective.Batch, micro_batches: int = 1) -> int:
        """Returns the parts to compute side by side; they must divide the rows."""
        rows = batch["example_ids"].shape[0]
        wanted = micro_batches * self._streams
        return self._streams if rows is not None and rows % wanted == 0 else 1

    def _micro_gradients(
        self,
        batch: objective.Batch,
        counts: objective.Sums,
        seed: tf.Tensor,
        progress: tf.Tensor,
    ) -> tuple[list[tf.Tensor], objective.Sums]:
        variables = [v.value for v in self.trainable_variables]
        with tracing.dropout_seed(seed), tf.GradientTape() as tape:
            loss, sums = self._sums(batch, counts, progress, training=True)
            loss = self.learner.scale_loss(loss)
        gradients = tape.gradient(
            loss, variables, unconnected_gradients=tf.UnconnectedGradients.ZERO
        )
        # Dense, or a reduce over replicas would gather slices, which XLA cannot.
        return [tf.convert_to_tensor(gradient) for gradient in gradients], sums

    def _reduce(self, sums: objective.Sums) -> objective.Sums:
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


def build(settings: config.PretrainConfig, *, compile_step: bool = False) -> Pretrainer:
    """Builds the networks and the optimizer that the settings describe.

    Weights are drawn from train.seed. Call it under the strategy's scope.
    """
    keras.utils.set_random_seed(settings.train.seed)
    learned = registry.build(settings)
    return Pretrainer(
        learned,
        settings.train,
        optimizer.build(settings.optimizer, settings.train, learned.networks),
        compile_step=compile_step,
    )


def run_metrics(declared: objective.Declaration) -> dict[str, objective.Metric]:
    """Returns the metrics of every run; norms by network are optimizer.networks'."""
    return METRICS | {
        f"{groups.NORM}_{name}": objective.Metric(
            f"Gradient norm, {name}", (f"{groups.NORM}_{name}", "steps")
        )
        for name in declared.networks
    }


def summarize(
    sums: objective.Sums, declared: objective.Declaration
) -> dict[str, tf.Tensor]:
    """Turns sums over steps and replicas into metrics.

    Returns:
        `loss`, weighted; each loss N as N_loss; the metrics of the objective, and
        those of every run; none whose sums are not there, as of what is only measured.
    """
    found = {"loss": _total_loss(sums, declared.losses)}
    for name in declared.losses:
        found[f"{name}_loss"] = _ratio(sums, f"{name}_loss", f"{name}_count")
    for name, metric in (declared.metrics | run_metrics(declared)).items():
        if callable(metric.of):
            found[name] = metric.of(sums)
        elif sums.keys() >= {*metric.of}:
            found[name] = _ratio(sums, *metric.of)
    return found


def _ratio(sums: objective.Sums, part: str, whole: str) -> tf.Tensor:
    return sums[part] / tf.maximum(sums[whole], 1e-9)


class Totals(keras.metrics.Metric):
    """Adds up the sums of many steps, for `fit`; its result is `summarize` of them."""

    def __init__(self, declared: objective.Declaration, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._declared = declared
        self._sums: dict[str, keras.Variable] = {}

    def update_state(self, sums: objective.Sums) -> None:
        """Adds one step's sums."""
        if not self._sums:
            with tf.init_scope():  # They outlive the graph of the step.
                self._sums = {
                    name: self.add_variable(tuple(value.shape), "zeros", name=name)
                    for name, value in sums.items()
                }
        for name, value in sums.items():
            self._sums[name].assign_add(value)

    def result(self) -> dict[str, tf.Tensor]:
        """Returns the metrics of all steps since the last reset."""
        sums = {name: v.value for name, v in self._sums.items()}
        return summarize(sums, self._declared)


def _total_loss(
    sums: objective.Sums, losses: Mapping[str, objective.Loss]
) -> tf.Tensor:
    """Adds up the weighted mean losses."""
    return tf.add_n(
        [
            loss.weight * sums[f"{name}_loss"] / tf.maximum(sums[f"{name}_count"], 1.0)
            for name, loss in losses.items()
        ]
    )


def _part(
    batch: objective.Batch, index: int | tf.Tensor, parts: int
) -> objective.Batch:
    """Returns one of so many equal parts of a batch."""
    if parts == 1:
        return batch
    rows = batch["example_ids"].shape[0] // parts
    # Not value[low:high], whose number of rows would not be known to XLA (D28).
    return {
        name: tf.reshape(value, [parts, rows, *value.shape[1:]])[index]
        for name, value in batch.items()
    }
