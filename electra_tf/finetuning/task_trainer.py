"""Trains task models, one or several on one encoder, with the paper's schedule.

In:   task models that share a backbone; examples of each; settings.
Out:  trained models; losses as it goes.

With several, each batch is of one task: their shares of the batches go by the sizes of
their data, and one optimizer trains all.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from electra_tf.finetuning import task_config, task_data
from electra_tf.system import console
from electra_tf.tasks import recipe
from electra_tf.training import half, optimizer

# Steps between two looks at the loss, for which the host waits.
CHECK_STEPS = 10


# A `task.ElectraTask`, whose other half mypy does not see.
Model = Any


class Progress(NamedTuple):
    """How far training is, and the mean losses since the last time."""

    step: int
    losses: dict[str, float]  # by task; of those that had a batch


class DivergedError(ArithmeticError):
    """Says what is not finite, and at which step."""


class Trainer:
    """Trains models that were built in the scope of a strategy.

    Args:
        models: by task; they share one backbone.
        examples: by task.
        train: how to train.
        mixing_power: see `mix`.
        epochs: passes over the data.
        seed: of the order of the examples.
        strategy: shares out the batches.
    """

    def __init__(
        self,
        models: dict[str, Model],
        examples: dict[str, task_data.Examples],
        train: task_config.FinetuneTrainConfig,
        *,
        mixing_power: float,
        epochs: int,
        seed: int,
        strategy: tf.distribute.Strategy,
    ) -> None:
        self._models, self._strategy = models, strategy
        data = {
            name: model.dataset(
                *examples[name], batch_size=train.batch_size, shuffle_seed=seed
            )
            for name, model in models.items()
        }
        sizes = [int(batches.cardinality()) for batches in data.values()]
        self.epoch_ends = [sum(sizes) * (epoch + 1) for epoch in range(epochs)]
        self._step = 0
        self._order = mix(sizes, self.epoch_ends[-1], mixing_power, seed)
        with strategy.scope():
            learner = build_optimizer(list(models.values()), train, self.epoch_ends[-1])
            self._learner = learner
            for name, model in models.items():
                # Rows have many lengths, for each of which XLA would compile anew.
                model.compile(learner, jit_compile=False)
                model.make_variables(data[name].element_spec)
            self._steps = {
                name: self._make_step(model, data[name])
                for name, model in models.items()
            }

    def run(self, stops: Iterable[int]) -> Iterator[Progress]:
        """Trains up to each of some steps, and tells of it.

        Raises:
            DivergedError: a loss is not finite.
        """
        names, done = list(self._models), 0
        for stop in stops:
            for model in self._models.values():
                model.reset_metrics()
            with console.doing(self._doing):
                for self._step in range(done, stop):
                    name = names[self._order[self._step]]
                    self._steps[name]()
                    if self._step % CHECK_STEPS == 0:
                        self._loss(name, self._step + 1)
            seen = sorted(set(self._order[done:stop]))
            yield Progress(stop, {names[n]: self._loss(names[n], stop) for n in seen})
            done = stop

    def _doing(self) -> str:
        if not self._step:
            return "first step: tracing and compiling"
        return f"training, step {self._step:,} of {self.epoch_ends[-1]:,}"

    def skipped(self) -> int:
        """Returns how many of the steps so far made no update: overflows of float16."""
        return self._step + 1 - int(self._learner.iterations)

    def _loss(self, name: str, step: int) -> float:
        if isinstance(self._learner, half.LossScaling) and self._learner.has_failed():
            raise DivergedError(f"{self._learner.not_finite}, at step {step:,}")
        loss = float(self._models[name].get_metrics_result()["loss"])
        if not math.isfinite(loss):
            raise DivergedError(f"the loss is {loss} at step {step:,}")
        return loss

    def _make_step(self, model: Model, data: tf.data.Dataset) -> Callable[[], None]:
        options = tf.data.Options()
        # One process reads all: there is nothing to share out among workers.
        options.experimental_distribute.auto_shard_policy = (
            tf.data.experimental.AutoShardPolicy.OFF
        )
        endless = data.repeat().with_options(options)
        batches = iter(self._strategy.experimental_distribute_dataset(endless))

        @tf.function(autograph=False)
        def train_step(batches: Any) -> None:
            self._strategy.run(model.train_step, args=(next(batches),))

        return lambda: train_step(batches)


def build_optimizer(
    models: Sequence[Model],
    train: task_config.FinetuneTrainConfig,
    num_steps: int,
) -> optimizer.AdamW:
    """Builds the optimizer of models that share a backbone."""
    lead = next((one for one in models if one.has_decoder), models[0])
    rate, decay = recipe.usual_rates(lead.backbone.model_config)
    usual = {"learning_rate": rate, "layer_decay": decay}
    if lead.has_decoder:
        usual = lead.usual_recipe()
    names = "learning_rate", "layer_decay", "weight_decay"
    stated = {name: rate for name in names if (rate := getattr(train, name))}
    rates = {"weight_decay": 0.0} | recipe.over(usual, stated)
    grouping = lead.grouping(rates)
    learner = recipe.build_optimizer(
        rates,
        num_steps,
        grouping,
        train.warmup_rate,
        scaled=train.precision == "mixed_float16",
    )
    variables = {id(v): v for one in models for v in one.trainable_variables}
    learner.build(list(variables.values()))
    return learner


def mix(
    sizes: Sequence[int], num_steps: int, power: float, seed: int
) -> npt.NDArray[np.int64]:
    """Returns whose batch each step takes.

    Args:
        sizes: batches of each task.
        num_steps: to share out: a task gets its size ** power of them, at least one.
        power: 1 = all batches alike, 0 = all tasks alike.
        seed: of the order.
    """
    weights = np.array(sizes, np.float64) ** power
    ends = np.cumsum(weights) / weights.sum() * num_steps
    counts = np.diff(np.round(ends), prepend=0.0).astype(np.int64)
    counts = np.maximum(counts, 1)
    counts[np.argmax(counts)] -= counts.sum() - num_steps
    order = np.repeat(np.arange(len(sizes)), counts)
    return np.random.default_rng([seed, 1]).permutation(order)
