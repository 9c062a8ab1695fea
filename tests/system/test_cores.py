"""How a CPU's cores are shared out among parts of a batch."""

import ctypes
import os
import subprocess
import sys

import pytest
import tensorflow as tf

from electra_tf.system import cores


def test_the_cores_are_those_that_this_process_may_use(monkeypatch):
    given = {3, 5, 9}
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: given, raising=False)
    assert cores.num_cores() == 3
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 5)
    assert cores.num_cores() == 5


def test_threads_are_for_the_streams_that_are_stated_or_else_measured():
    code = """if True:
        import os
        import tensorflow as tf
        from electra_tf.system import cores

        threads = tf.config.threading.get_intra_op_parallelism_threads
        os.environ["TF_NUM_INTRAOP_THREADS"] = "3"
        assert (cores.usual_streams(), cores.share_out(2), threads()) == (1, 1, 0)
        del os.environ["TF_NUM_INTRAOP_THREADS"]
        for number, stated, streams, intra in (
            (3, None, 1, 0),
            (8, None, 1, 0),
            (8, 3, 3, 5),
            (2, 3, 3, 1),
            (8, 2, 2, 6),
            (1, None, 2, 1),
            (8, 2, 2, 6),
            (2, None, 2, 1),
            (2, 1, 1, 1),
        ):
            cores.num_cores = lambda: number
            assert stated or cores.usual_streams() == streams
            assert cores.share_out(stated) == streams
            assert threads() == intra, (number, stated, threads())
    """
    command = [sys.executable, "-c", code]
    process = subprocess.run(command, capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stderr


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_info"), reason="not glibc")
@pytest.mark.parametrize("shared", [False, True])
def test_two_streams_have_two_heaps(shared, tmp_path):
    code = """if True:
        import ctypes
        import sys
        import threading
        from electra_tf.system import cores

        if sys.argv[1] == "True":
            cores.share_out(2)
        together = threading.Barrier(6)

        def allocate():
            together.wait()
            kept = [bytearray(5000) for _ in range(100)]
            together.wait()

        threads = [threading.Thread(target=allocate) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        libc = ctypes.CDLL(None)
        libc.fopen.restype = ctypes.c_void_p
        stream = ctypes.c_void_p(libc.fopen(sys.argv[2].encode(), b"w"))
        assert libc.malloc_info(0, stream) == 0
        libc.fclose(stream)
    """
    report = tmp_path / "heaps.xml"
    command = [sys.executable, "-c", code, str(shared), str(report)]
    subprocess.run(command, check=True)
    heaps = report.read_text().count("<heap nr=")
    assert heaps == 2 if shared else heaps > 2


def test_threads_stay_as_they_are_once_tensorflow_has_started():
    tf.constant(0) + 1
    before = tf.config.threading.get_intra_op_parallelism_threads()
    assert cores.share_out(2) == 1
    assert tf.config.threading.get_intra_op_parallelism_threads() == before


def test_with_a_gpu_threads_stay_as_they_are(monkeypatch):
    devices = [tf.config.PhysicalDevice(f"/{kind}:0", kind) for kind in ("CPU", "GPU")]
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda: devices)
    monkeypatch.setattr(
        tf.config.threading,
        "set_intra_op_parallelism_threads",
        lambda n: pytest.fail("threads were changed"),
    )
    assert cores.usual_streams() == cores.share_out(2) == 1
