"""From --tpu, TF_CONFIG and what devices there are to a tf.distribute strategy.

In:   this machine and this invocation.
Out:  a strategy; one loop runs under all of them (`loop`).
"""

import contextlib
import os
from collections.abc import Iterator

import keras
import tensorflow as tf

from electra_tf import errors
from electra_tf.training import cluster

# What collectives raise when a worker is gone.
LOST = (tf.errors.UnavailableError, tf.errors.AbortedError)


def strategy(tpu: str | None = None) -> tf.distribute.Strategy:
    """Chooses how the work is shared out.

    A TPU where `tpu` names one ("local" on a TPU VM); several machines where the
    environment variable TF_CONFIG lists them; else all GPUs of this machine, or its
    CPU.

    Raises:
        UserError: no such TPU; TF_CONFIG malformed; its port taken.
    """
    if tpu:
        return _tpu_strategy(tpu)
    if os.environ.get("TF_CONFIG"):
        return cluster.strategy(os.environ["TF_CONFIG"])
    gpus = tf.config.list_logical_devices("GPU")
    if len(gpus) > 1:
        return tf.distribute.MirroredStrategy([gpu.name for gpu in gpus])
    return tf.distribute.OneDeviceStrategy(gpus[0].name if gpus else "/cpu:0")


def is_chief(strategy: tf.distribute.Strategy) -> bool:
    """Tells whether this process is the one that writes: worker 0 of a cluster."""
    resolver = strategy.cluster_resolver
    if resolver is None or not isinstance(
        strategy, tf.distribute.MultiWorkerMirroredStrategy
    ):
        return True
    return resolver.task_type in (None, "chief") or (
        resolver.task_type == "worker"
        and resolver.task_id == 0
        and "chief" not in resolver.cluster_spec().jobs
    )


def compile_step(strategy: tf.distribute.Strategy, xla: str) -> bool:
    """Tells whether to ask for XLA. A TPU compiles everything unasked.

    `auto` asks for it on GPUs; on CPUs it trains no faster and starts later (D6).
    """
    if _is_tpu(strategy):
        return False
    if xla == "auto":
        return any("GPU" in device for device in strategy.extended.worker_devices)
    return xla == "on"


def set_precision(precision: str) -> None:
    """Sets the dtype policy of the layers built from here on.

    Raises:
        UserError: a device has no such numbers.
    """
    if precision != "float32":
        from electra_tf.training import half  # For whoever asks for it.

        half.checked(precision)
    keras.config.set_dtype_policy(precision)


def rows_per_replica(
    strategy: tf.distribute.Strategy, batch_size: int, accumulation_steps: int
) -> int:
    """Returns the rows that one replica takes of a global batch.

    Raises:
        UserError: if replicas and micro-batches do not divide the batch.
    """
    parts = strategy.num_replicas_in_sync * accumulation_steps
    if batch_size % parts:
        raise errors.UserError(
            f"train.batch_size={batch_size}: {strategy.num_replicas_in_sync} replicas "
            f"times train.accumulation_steps={accumulation_steps} must divide it"
        )
    return int(batch_size // strategy.num_replicas_in_sync)


def refuse_different(strategy: tf.distribute.Strategy, step: int, streams: int) -> None:
    """Checks that all workers go on from the same step, in as many parts of a batch.

    Raises:
        UserError: they do not read the same workdir, or are machines of two kinds.
    """

    @tf.function
    def add_up() -> tf.Tensor:
        context = tf.distribute.get_replica_context()
        return context.all_reduce(
            tf.distribute.ReduceOp.SUM, tf.constant([step, streams])
        )

    total = strategy.experimental_local_results(strategy.run(add_up))[0]
    mean, parts = total.numpy() / strategy.num_replicas_in_sync
    if parts != streams:
        raise errors.UserError(
            f"train.streams=auto is {streams} on this worker and {parts} on average: "
            "state train.streams=1, or another number, for all of them"
        )
    if mean != step:
        raise errors.UserError(
            f"this worker goes on from step {step}, the workers on average from "
            f"{mean}: --workdir must be a folder that all of them share"
        )


@contextlib.contextmanager
def explained_loss(when: str) -> Iterator[None]:
    """Says in a line that another worker is gone.

    Raises:
        UserError: if TensorFlow says so.
    """
    try:
        yield
    except LOST:
        if not os.environ.get("TF_CONFIG"):
            raise
        raise errors.UserError(
            f"lost a worker {when}; run the same command on all workers to go on from "
            "the last checkpoint"
        ) from None


def _is_tpu(strategy: tf.distribute.Strategy) -> bool:
    return isinstance(strategy, tf.distribute.TPUStrategy)


def _tpu_strategy(tpu: str) -> tf.distribute.Strategy:
    try:
        resolver = tf.distribute.cluster_resolver.TPUClusterResolver(tpu=tpu)
        if tpu != "local":
            tf.config.experimental_connect_to_cluster(resolver)
        tf.tpu.experimental.initialize_tpu_system(resolver)
        return tf.distribute.TPUStrategy(resolver)
    except (ValueError, OSError, RuntimeError, tf.errors.OpError) as error:
        raise errors.UserError(
            f"--tpu={tpu}: no TPU of that name can be reached "
            f"({errors.one_line(error, 200)}); on a TPU VM use --tpu=local, with "
            "tensorflow-tpu installed"
        ) from None
    except Exception as error:  # the Cloud client raises its own kinds
        if type(error).__module__.startswith("tensorflow"):
            raise
        raise errors.UserError(f"--tpu={tpu}: {errors.one_line(error, 200)}") from None
