"""From --tpu, TF_CONFIG and what devices there are to a tf.distribute strategy.

In:   this machine and this invocation.
Out:  a strategy; one loop runs under all of them (training_loop).
"""

import contextlib
import json
import os
import socket
import time
from collections.abc import Iterator, Sequence
from typing import Any

import keras
import tensorflow as tf

from electra_tf import errors
from electra_tf.system import console

# What collectives raise when a worker is gone.
LOST = (tf.errors.UnavailableError, tf.errors.AbortedError)
# The kinds of workers that train; others have roles that no strategy here has.
ROLES = ("chief", "worker")
# How long the workers of a cluster may take to find each other.
CLUSTER_TIMEOUT_SECONDS = 300


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
        return _multi_worker_strategy(os.environ["TF_CONFIG"])
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
    """Sets the dtype policy of the layers built from here on."""
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


def _multi_worker_strategy(text: str) -> tf.distribute.Strategy:
    cluster, kind, index = _read_tf_config(text)
    own = cluster[kind][index]
    workers = [address for members in cluster.values() for address in members]
    _meet(own, [address for address in workers if address != own])
    try:
        return tf.distribute.MultiWorkerMirroredStrategy()
    except tf.errors.OpError as error:
        raise errors.UserError(
            f"TF_CONFIG: the workers did not find each other ({error.message[:200]}); "
            f"start the same command on all of {', '.join(workers)}"
        ) from None


def _read_tf_config(text: str) -> tuple[dict[str, list[str]], str, int]:
    try:
        value: Any = json.loads(text)
        cluster = dict(value["cluster"])
        kind, index = value["task"]["type"], int(value["task"]["index"])
        _refuse_roles([*cluster, kind])
        addresses = [address for kind in cluster for address in _checked(cluster[kind])]
        if not 0 <= index < len(cluster[kind]) or len(set(addresses)) < len(addresses):
            raise ValueError
        if len(cluster.get("chief", [])) > 1:
            raise ValueError
    except errors.UserError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise errors.UserError(
            f"TF_CONFIG={text[:200]!r}: want "
            '{"cluster": {"worker": ["host:port", ...]}, '
            '"task": {"type": "worker", "index": 0}}, each address once'
        ) from None
    return cluster, kind, index


def _checked(addresses: Any) -> list[str]:
    """Returns a list of host:port.

    Raises:
        ValueError: it is anything else.
    """
    if not isinstance(addresses, list):
        raise ValueError
    for address in addresses:
        host, _, port = address.rpartition(":")
        if not host or not 0 < int(port) < 2**16:
            raise ValueError
    return addresses


def _refuse_roles(kinds: Sequence[str]) -> None:
    """Refuses roles of other strategies: every task of the cluster sees them."""
    strange = [kind for kind in kinds if kind not in ROLES]
    if strange:
        raise errors.UserError(
            f"TF_CONFIG: no task of type {strange[0]!r} takes part in training here, "
            "only worker, and chief in the place of worker 0; name no others in "
            "cluster, and start the command on these alone"
        )


def _meet(own: str, others: list[str]) -> None:
    """Waits until every worker answers on its port.

    TensorFlow itself would wait for hours, deaf to signals.
    """
    deadline = time.monotonic() + CLUSTER_TIMEOUT_SECONDS
    with (
        _listen(own),
        console.doing(lambda: f"waiting for {', '.join(others)} to answer"),
    ):
        while missing := [address for address in others if not _answers(address)]:
            if time.monotonic() > deadline:
                raise errors.UserError(
                    f"TF_CONFIG: after {CLUSTER_TIMEOUT_SECONDS} s no answer from "
                    f"{', '.join(missing)}; start the same command there"
                )
            others = missing  # One answer is enough: then TensorFlow takes over.
            time.sleep(0.2)


def _listen(address: str) -> socket.socket:
    """Opens this worker's port until TensorFlow does."""
    try:
        where = ("", int(address.rpartition(":")[2]))
        if socket.has_dualstack_ipv6():
            family = socket.AF_INET6
            return socket.create_server(where, family=family, dualstack_ipv6=True)
        return socket.create_server(where)
    except (OSError, ValueError, OverflowError) as error:
        number = getattr(error, "errno", None)
        reason = os.strerror(number) if number else str(error)
        raise errors.UserError(
            f"TF_CONFIG: cannot listen on {address}: {reason}; choose a free port"
        ) from None


def _answers(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=2):
            return True
    except (OSError, ValueError, OverflowError):
        return False
