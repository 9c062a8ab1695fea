"""Several machines that train together, where TF_CONFIG lists them.

In:   TF_CONFIG: the addresses of all workers, and which of them this process is.
Out:  a strategy, once every worker answers; or one line that says what is wrong.
"""

import json
import os
import socket
import time
from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from electra_tf import errors
from electra_tf.system import console

# The kinds of workers that train; others have roles that no strategy here has.
ROLES = ("chief", "worker")
# How long the workers of a cluster may take to find each other.
TIMEOUT_SECONDS = 300


def strategy(text: str) -> tf.distribute.Strategy:
    """Returns a strategy that shares the work out over the machines that `text` lists.

    Args:
        text: the value of TF_CONFIG.

    Raises:
        UserError: it is malformed; its port is taken; the others do not answer.
    """
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
    deadline = time.monotonic() + TIMEOUT_SECONDS
    with (
        _listen(own),
        console.doing(lambda: f"waiting for {', '.join(others)} to answer"),
    ):
        while missing := [address for address in others if not _answers(address)]:
            if time.monotonic() > deadline:
                raise errors.UserError(
                    f"TF_CONFIG: after {TIMEOUT_SECONDS} s no answer from "
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
