"""What of TensorFlow's log is passed on."""

import subprocess
import sys

from electra_tf.system import native_log

NOISE = """\
WARNING: All log messages before absl::InitializeLog() is called are written to STDERR
I0000 00:00:1795782060.943454    2376 port.cc:153] oneDNN custom operations are on.
W0000 00:00:1795782060.9434 7 a/b.cc:3] Overriding allow_growth
2025-01-02 03:04:05.678: I tensorflow/core/cpu_feature_guard.cc:210] This binary
To enable the following instructions: AVX2 FMA, rebuild TensorFlow.
x/resource_tracker.py:4: UserWarning: resource_tracker: There appear to be 5 leaked
  warnings.warn('resource_tracker: There appear to be %d '
E0000 00:00:1795782061.7 2376 cuda_dnn.cc:81] Unable to register cuDNN factory: again
"""
NO_GPU = "E0000 00:00:1795782061.7 2376 cuda_platform.cc:52] failed call to cuInit: 3\n"
NEWS = """\
E0000 00:00:1795782061.7 2376 ring_alg.cc:291] Aborting RingReduce with UNAVAILABLE
F0000 00:00:1795782061.7 2376 check.cc:1] Check failed: AVX
free(): invalid pointer
"""


def passed_on(text, has_gpu=False):
    return "".join(native_log.passed_on(text.splitlines(keepends=True), has_gpu))


def test_errors_are_passed_on_and_chatter_is_not():
    assert passed_on(NOISE + NO_GPU + NEWS) == NEWS


def test_that_a_gpu_is_not_found_is_news_where_there_is_one():
    assert passed_on(NOISE + NO_GPU, has_gpu=True) == NO_GPU


def test_an_error_that_repeats_is_said_once_whatever_its_time():
    again = NEWS.splitlines()[0].replace("61.7", "63.9") + "\n"
    assert passed_on(NEWS + again) == NEWS


def test_the_last_words_of_a_crash_are_heard():
    process = subprocess.run(
        [sys.executable, "-I", "-S", native_log.__file__],
        input=f"{NOISE}{NEWS}abort without a line feed",
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert process.stderr == f"{NEWS}abort without a line feed"
    assert process.stdout == ""
