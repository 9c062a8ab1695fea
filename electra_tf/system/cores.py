"""Shares a CPU's cores out among the parts of a batch: threads and heaps.

In:   this machine, before TensorFlow starts.
Out:  how many parts of a batch to compute side by side here, with threads for them.

Commands alone call `share_out`. A program that does not has TensorFlow's own threads,
and computes a batch in one part unless it says otherwise: `train.streams` of a run,
`streams` of a task. The numbers depend on those alone.
"""

import contextlib
import ctypes
import os

# Measured on two cores; with more of them, parts that share out their operations may
# do better (D25).
_CORES_OF_TWO_STREAMS = 2

_THREADS_STATED = {"TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"}


def num_cores() -> int:
    """Returns how many cores this process may use: the default wherever one can say."""
    affinity = getattr(os, "sched_getaffinity", None)  # Linux alone has it.
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def usual_streams() -> int:
    """Returns how many parts of a batch are best computed side by side here.

    Most operations are too short to be shared out over cores; two halves of a batch
    need not wait for each other (D25). 1 where there is a GPU or a TPU, where the
    environment states how many threads to use, and where nobody has measured it.
    """
    return 2 if _is_left_to_us() and num_cores() <= _CORES_OF_TWO_STREAMS else 1


def share_out(streams: int | None = None) -> int:
    """Gives parts of a batch threads and heaps, before TensorFlow starts.

    It changes nothing after that, nor where `usual_streams` says that this machine is
    not ours to share out.

    Args:
        streams: how many parts; None = `usual_streams`.

    Returns:
        How many parts have threads now; 1 = TensorFlow's own are as they were.
    """
    import tensorflow as tf  # Not above: build_data counts cores without it.

    streams = usual_streams() if streams is None else streams
    if streams == 1 or not _is_left_to_us():
        return 1
    try:
        # A stream computes in its own thread; what cores are left help all of them.
        threads = max(1, num_cores() - streams)
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(max(streams, num_cores()))
    except RuntimeError:  # It has started.
        return 1
    # More heaps than streams hold more memory, and less of it in the cache (D31).
    with contextlib.suppress(AttributeError):  # Not glibc.
        ctypes.CDLL(None).mallopt(-8, streams)  # M_ARENA_MAX
    return streams


def _is_left_to_us() -> bool:
    """Tells whether there are CPUs alone, and nobody has said how to use them."""
    import tensorflow as tf

    kinds = {device.device_type for device in tf.config.list_physical_devices()}
    return kinds == {"CPU"} and not os.environ.keys() & _THREADS_STATED
