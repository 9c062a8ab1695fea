"""The one loop: run the step under the strategy, log, evaluate, save, resume.

In:   a pretrainer, and functions that make its batches.
Out:  a trained pretrainer; checkpoints and metrics in the workdir.

Keras' `fit` cannot do this: it breaks under several workers, and cannot resume inside
an epoch (docs/decisions, D2).
"""

import contextlib
import math
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import tensorflow as tf

from electra_tf import config, errors
from electra_tf.objectives import objective
from electra_tf.system import console, interrupts
from electra_tf.training import checkpoint, distribution, train_step

# What one call into TensorFlow should take, so that a bar moves and a signal is heard.
LOOP_SECONDS = 2.0
# How fast a run is, beside its metrics.
SPEEDS = {
    "tokens_per_second": objective.Shown("Real tokens per second", "{:,.0f} tokens/s"),
    "rows_per_second": objective.Shown("Rows per second"),
}
POSITION = 4  # (epoch, group, block, row)


class Listener(Protocol):
    """Who is told of progress (`progress.Reporter`)."""

    def train(self, step: int, values: dict[str, float]) -> None:
        """Takes means over the steps since the last time."""

    def evaluation(self, step: int, values: dict[str, float]) -> None:
        """Takes what the validation rows gave."""

    def advance(self, step: int) -> None:
        """Takes how far the run is."""

    def say(self, text: str) -> None:
        """Takes a line for people."""


class Silence:
    """A listener for workers that are not the chief: it ignores all."""

    def _ignore(self, *_: Any, **__: Any) -> None:
        pass

    train = evaluation = advance = say = _ignore


class Data(NamedTuple):
    """Where batches come from."""

    # (position, worker, num_workers, rows per replica) -> endless batches
    train: Callable[[Sequence[int], int, int, int], tf.data.Dataset]
    validation: list[objective.Batch]  # held-out rows; empty if there are none
    name_damaged: Callable[[], str | None]  # after a DataLossError: which file


class Outcome(NamedTuple):
    """How a run ended."""

    step: int
    finished: bool  # False: stopped by a signal, saved, can be resumed
    validation: dict[str, float]  # the last evaluation; empty if there was none


class Loop:
    """Runs a pretrainer's step under a strategy; knows the place in the data."""

    def __init__(
        self,
        model: train_step.Pretrainer,
        strategy: tf.distribute.Strategy,
        data: Data,
        train: config.TrainConfig,
    ) -> None:
        """Reads nothing yet; `start` opens the data."""
        self._model, self._strategy, self.data = model, strategy, data
        self._rows = distribution.rows_per_replica(
            strategy, train.batch_size, train.accumulation_steps
        )
        self._iterator: Any = None
        self.num_workers = 1
        self.positions: checkpoint.Positions = []
        self._steps = tf.function(self._run_steps, autograph=False)
        self._measure = tf.function(self._run_measure, autograph=False)

    def start(self, positions: checkpoint.Positions | None) -> None:
        """Opens the data of all input workers where `positions` say."""

        def pipeline(context: tf.distribute.InputContext) -> tf.data.Dataset:
            worker = context.input_pipeline_id
            self.num_workers = context.num_input_pipelines
            if positions and len(positions) != self.num_workers:
                raise errors.UserError(
                    f"the checkpoint was written by {len(positions)} input workers, "
                    f"this run has {self.num_workers}; run as many as before"
                )
            where = positions[worker] if positions else (0,) * POSITION
            return self.data.train(where, worker, self.num_workers, self._rows)

        dataset = self._strategy.distribute_datasets_from_function(pipeline)
        self._iterator = iter(dataset)
        self.positions = positions or [(0,) * POSITION] * self.num_workers

    def run(self, steps: int, stopping: bool) -> tuple[dict[str, np.ndarray], bool]:
        """Runs so many steps; returns their sums, and whether a worker is stopping."""
        sums, places, stops = self._steps(
            self._iterator, tf.constant(steps), tf.constant(float(stopping))
        )
        places = places.numpy().astype(int).reshape(self.num_workers, -1, POSITION)
        # Replicas of one worker take batches in turn: the last one is the furthest.
        self.positions = [tuple(int(i) for i in place[-1]) for place in places]
        return {name: value.numpy() for name, value in sums.items()}, bool(stops > 0)

    def evaluate(self) -> dict[str, np.ndarray]:
        """Returns the sums over the validation rows, dealt out to the replicas."""
        total: dict[str, np.ndarray] = {}
        replicas = self._strategy.num_replicas_in_sync
        batches = self.data.validation
        for first in range(0, len(batches), replicas):
            part = batches[first : first + replicas]
            part = part + [_empty(part[0])] * (replicas - len(part))
            value = self._strategy.experimental_distribute_values_from_function(
                lambda context, part=part: part[context.replica_id_in_sync_group]
            )
            for name, sums in self._measure(value).items():
                total[name] = total.get(name, 0.0) + sums.numpy().astype(np.float64)
        return total

    def _run_steps(
        self, iterator: Any, steps: tf.Tensor, stopping: tf.Tensor
    ) -> tuple[objective.Sums, tf.Tensor, tf.Tensor]:
        """Runs up to `steps` steps, fewer if one is not finite."""
        replicas = self._strategy.num_replicas_in_sync

        def step(done: tf.Tensor, totals: objective.Sums, _: Any, __: Any) -> Any:
            given = (next(iterator), stopping)
            sums, report = self._strategy.run(self._one_step, given)
            sums = {name: self._local(value) for name, value in sums.items()}
            totals = {name: totals[name] + sums[name] for name in totals}
            return done + 1, totals, sums["finite"] > 0, self._local(report)

        _, totals, _, report = tf.while_loop(
            lambda done, totals, finite, report: finite & (done < steps),
            step,
            (0, self._model.zero_sums(), True, tf.zeros([replicas, POSITION + 1])),
            parallel_iterations=1,  # A step needs the weights of the one before.
        )
        return totals, report[:, :POSITION], tf.reduce_sum(report[:, POSITION])

    def _one_step(
        self, batch: objective.Batch, stopping: tf.Tensor
    ) -> tuple[objective.Sums, tf.Tensor]:
        """Makes an update, and tells all replicas where each reads and who stops."""
        context = tf.distribute.get_replica_context()
        # As float32, which holds whole numbers up to 2 ** 24: one sum takes all along.
        place = tf.cast(batch["data_position"][-1], tf.float32)
        own = tf.one_hot(
            context.replica_id_in_sync_group, self._strategy.num_replicas_in_sync
        )
        # Each replica fills its own line with what it says; the sum has all lines.
        said = own[:, None] * tf.concat([place, stopping[None]], axis=0)
        report = context.all_reduce(tf.distribute.ReduceOp.SUM, said)
        fields = {
            name: value for name, value in batch.items() if name != "data_position"
        }
        return self._model.update(fields), report

    def _run_measure(self, batch: objective.Batch) -> objective.Sums:
        sums = self._strategy.run(self._model.measure, (batch,))
        return {name: self._local(value) for name, value in sums.items()}

    def _local(self, value: Any) -> tf.Tensor:
        """Picks this process' first replica of what is the same on all."""
        return self._strategy.experimental_local_results(value)[0]


def run(
    loop: Loop,
    model: train_step.Pretrainer,
    checkpoints: checkpoint.Checkpoints | None,
    train: config.TrainConfig,
    often: config.RunConfig,
    listener: Listener,
    first_step: int = 0,
) -> Outcome:
    """Trains from `first_step` to the end, or until a signal asks to stop.

    Args:
        loop: started.
        model: to make metrics of its sums.
        checkpoints: where the chief saves; None on other workers.
        train: how long.
        often: when to say, measure and save.
        listener: told of progress.
        first_step: updates made so far.

    Raises:
        UserError: a loss or gradient that is not finite, a damaged shard, a full disk,
            a worker that is gone. Checkpoints written before stay.
    """
    total = train.steps
    saved = step = first_step
    sums: dict[str, np.ndarray] = {}
    elapsed = seconds_a_step = 0.0
    validation: dict[str, float] = {}
    with (
        console.doing(lambda: f"training, step {step:,} of {total:,}"),
        interrupts.noted() as stop,
    ):
        while step < total:
            most = _steps_to_next(step, train, often)
            size = _loop_size(most, seconds_a_step, loop.num_workers)
            began = time.monotonic()
            part, stopping = _guarded(loop, size, stop.requested, step, first_step)
            # One process has nobody to agree with: it stops where it is.
            stopping |= stop.requested and loop.num_workers == 1
            _refuse_non_finite(part, step, model.learner.not_finite)
            elapsed += time.monotonic() - began
            if step > first_step:  # The first call also traces.
                seconds_a_step = (time.monotonic() - began) / size
            stop.is_patient = True  # There is something to save.
            step += size
            sums = {k: sums.get(k, 0.0) + v.astype(np.float64) for k, v in part.items()}
            listener.advance(step)
            if step % often.log_every_steps == 0 or step == total or stopping:
                listener.train(step, _values(sums, model) | _speed(sums, elapsed))
                sums, elapsed = {}, 0.0
            if step % often.evaluate_every_steps == 0 or step == total:
                validation = evaluate(loop, model, step)
                if validation:
                    listener.evaluation(step, validation)
            if step % often.save_every_steps == 0 or step == total or stopping:
                with console.doing("saving a checkpoint"):
                    if checkpoints:
                        checkpoints.save(step, loop.positions)
                saved = step
            if stopping and step < total:
                listener.say(f"stopped at step {step}; run the same command to go on")
                break
    assert saved == step
    return Outcome(step, step == total, validation)


def evaluate(loop: Loop, model: train_step.Pretrainer, step: int) -> dict[str, float]:
    """Returns the metrics on the validation rows; empty if there are none.

    Raises:
        UserError: a worker is gone.
    """
    with (
        console.doing("evaluating on the held-out rows"),
        distribution.explained_loss(f"after step {step}"),
    ):
        sums = loop.evaluate()
    return _values(sums, model) if sums else {}


def _steps_to_next(
    step: int, train: config.TrainConfig, often: config.RunConfig
) -> int:
    """Returns how many steps one call may run: to the next thing to do, at most."""
    intervals = (
        often.log_every_steps,
        often.evaluate_every_steps,
        often.save_every_steps,
    )
    left = [every - step % every for every in intervals]
    return min(*left, train.steps_per_loop, train.steps - step)


def _loop_size(most: int, seconds_a_step: float, num_workers: int) -> int:
    """Returns how many steps to run in one call.

    One process shortens its calls to about LOOP_SECONDS; several must agree, and have
    nothing to agree by but the step.
    """
    if num_workers > 1:
        return most
    if not seconds_a_step:
        return 1
    return max(1, min(most, math.floor(LOOP_SECONDS / seconds_a_step)))


def _guarded(
    loop: Loop, size: int, stopping: bool, step: int, first_step: int
) -> tuple[dict[str, np.ndarray], bool]:
    when = f"after step {step}"
    with contextlib.ExitStack() as stack:
        if step == first_step:
            stack.enter_context(console.doing("first step: tracing and compiling"))
        stack.enter_context(explained_damage(loop.data.name_damaged, when))
        stack.enter_context(distribution.explained_loss(when))
        return loop.run(size, stopping)


@contextlib.contextmanager
def explained_damage(
    name_damaged: Callable[[], str | None], when: str
) -> Iterator[None]:
    """Names the shard that is at fault for an error of TensorFlow, if one is."""
    try:
        yield
    except (tf.errors.DataLossError, tf.errors.InvalidArgumentError) as error:
        where = name_damaged()
        if where is None and not isinstance(error, tf.errors.DataLossError):
            raise
        raise errors.UserError(
            f"damaged data {when}: {where or _first_line(error)}; copy it again, or "
            "run the same python -m electra_tf.build_data again, which mends it"
        ) from None


def _first_line(error: tf.errors.OpError) -> str:
    return str(error.message).strip().split("\n")[0][:160]


def _refuse_non_finite(sums: dict[str, np.ndarray], step: int, what: str) -> None:
    done, finite = int(sums["steps"]), int(sums["finite"])
    if finite < done:
        raise errors.UserError(
            f"step {step + done}: {what}; the last checkpoint is kept; lower "
            "train.learning_rate or raise train.warmup_steps in a new --workdir"
        )


def _values(
    sums: dict[str, np.ndarray], model: train_step.Pretrainer
) -> dict[str, float]:
    tensors = {name: tf.constant(value, tf.float64) for name, value in sums.items()}
    metrics = train_step.summarize(tensors, model.objective.declared)
    return {name: float(value) for name, value in metrics.items()}


def _speed(sums: dict[str, np.ndarray], seconds: float) -> dict[str, float]:
    return {
        "tokens_per_second": float(sums["tokens"]) / seconds,
        "rows_per_second": float(sums["rows"]) / seconds,
    }


def _empty(batch: objective.Batch) -> objective.Batch:
    """Returns a batch like this one in which nothing counts."""
    return {name: tf.zeros_like(value) for name, value in batch.items()}
