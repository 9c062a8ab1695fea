"""From --tpu, TF_CONFIG and what devices there are to a tf.distribute strategy.

In:   this machine and this invocation.
Out:  a strategy; one loop runs under all of them (training_loop).
"""

import json
import os
import socket
import sys
import threading
from typing import Any

import keras
import tensorflow as tf

from electra_tf import errors

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


def refuse_different_steps(strategy: tf.distribute.Strategy, step: int) -> None:
    """Checks that all workers go on from the same step.

    Raises:
        UserError: if not: they do not read the same workdir.
    """

    @tf.function
    def add_up() -> tf.Tensor:
        context = tf.distribute.get_replica_context()
        return context.all_reduce(tf.distribute.ReduceOp.SUM, tf.constant(float(step)))

    total = strategy.experimental_local_results(strategy.run(add_up))[0]
    mean = float(total) / strategy.num_replicas_in_sync
    if mean != step:
        raise errors.UserError(
            f"this worker goes on from step {step}, the workers on average from "
            f"{mean}: --workdir must be a folder that all of them share"
        )


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
        reason = " ".join(str(error).split())[:200]
        raise errors.UserError(
            f"--tpu={tpu}: no TPU of that name can be reached ({reason}); on a TPU VM "
            "use --tpu=local, with tensorflow-tpu installed"
        ) from None
    except Exception as error:  # the Cloud client raises its own kinds
        if type(error).__module__.startswith("tensorflow"):
            raise
        raise errors.UserError(
            f"--tpu={tpu}: {' '.join(str(error).split())[:200]}"
        ) from None


def _multi_worker_strategy(text: str) -> tf.distribute.Strategy:
    cluster, kind, index = _read_tf_config(text)
    own = cluster[kind][index]
    _refuse_taken_port(own)
    others = [
        address for members in cluster.values() for address in members if address != own
    ]
    found = threading.Event()
    watch = threading.Thread(target=_give_up, args=(found, others), daemon=True)
    watch.start()
    try:
        return tf.distribute.MultiWorkerMirroredStrategy()
    except tf.errors.OpError as error:
        raise errors.UserError(
            f"TF_CONFIG: the workers did not find each other ({error.message[:200]}); "
            f"start the same command on all of {', '.join(others)}"
        ) from None
    finally:
        found.set()


def _read_tf_config(text: str) -> tuple[dict[str, list[str]], str, int]:
    try:
        value: Any = json.loads(text)
        cluster = {str(kind): list(value["cluster"][kind]) for kind in value["cluster"]}
        kind, index = value["task"]["type"], int(value["task"]["index"])
        if ":" not in cluster[kind][index]:
            raise ValueError
    except (ValueError, KeyError, TypeError, IndexError, AttributeError):
        raise errors.UserError(
            f"TF_CONFIG={text[:200]!r}: want "
            '{"cluster": {"worker": ["host:port", ...]}, '
            '"task": {"type": "worker", "index": 0}}'
        ) from None
    return cluster, kind, index


def _refuse_taken_port(address: str) -> None:
    port = address.rpartition(":")[2]
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", int(port)))
        except (OSError, ValueError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise errors.UserError(
                f"TF_CONFIG: cannot listen on {address}: {reason}; choose a free port"
            ) from None


def _give_up(found: threading.Event, others: list[str]) -> None:
    """Ends the process if the cluster does not form: TensorFlow waits for hours."""
    if found.wait(CLUSTER_TIMEOUT_SECONDS):
        return
    silent = [address for address in others if not _answers(address)]
    sys.stderr.write(
        f"error: TF_CONFIG: after {CLUSTER_TIMEOUT_SECONDS} s no answer from "
        f"{', '.join(silent or others)}; start the same command there\n"
    )
    sys.stderr.flush()
    os._exit(1)


def _answers(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host, int(port)), timeout=2):
            return True
    except OSError:
        return False
