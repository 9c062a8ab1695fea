"""How long a run will take on the machine at hand, told before its first step.

In:   the architectures that are trained, the rows of a step, this machine.
Out:  seconds per step, an estimate; words for so many seconds.

Matrix products are most of a step, so they are counted, and some are timed here.
"""

import time
from collections.abc import Collection
from typing import Any

import tensorflow as tf

from electra_tf import config

# What they take of a step's time: 0.77 to 0.88 were measured on CPUs
# (docs/results.md). Other devices differ more; it is a first guess for all.
PRODUCTS_SHARE = 0.8
TRAINING = 3  # A backward pass has two products for each one of the forward pass.
MEASURE_SECONDS = 0.3
MOST_ROWS = 2048  # of the matrix that is timed

# A run that takes longer is told what would not.
LONG_SECONDS = 14 * 86400
SHORTER = "laptop"  # the name of a config for two CPU cores and an hour


def seconds_a_step(
    strategy: tf.distribute.Strategy,
    models: Collection[tuple[config.ModelConfig, int]],
    tokens: int,
    row_tokens: int,
    *,
    streams: int = 1,
    precision: str = "float32",
) -> float:
    """Estimates the time of an update.

    Args:
        strategy: the devices that share it.
        models: each network's architecture, and the positions of a step that it says
            a token for (0 where it has no such head).
        tokens: positions of a step, over all replicas.
        row_tokens: L.
        streams: parts of a batch that a device computes side by side.
        precision: `train.precision`.
    """
    widest = max((model for model, _ in models), key=lambda model: model.hidden_size)
    replicas = int(strategy.num_replicas_in_sync)
    rate = products_a_second(
        strategy,
        min(MOST_ROWS, max(1, tokens // (replicas * streams))),
        widest.hidden_size,
        widest.intermediate_size,
        streams=streams,
        precision=precision,
    )
    work = sum(step_flops(model, tokens, row_tokens, said) for model, said in models)
    return work / rate / replicas / PRODUCTS_SHARE


def step_flops(
    model: config.ModelConfig, tokens: int, row_tokens: int, predictions: int = 0
) -> float:
    """Counts the multiplications and additions of an update's matrix products.

    Args:
        model: the architecture.
        tokens: positions of the step.
        row_tokens: L, which each position attends to.
        predictions: positions for which the head scores the vocabulary.
    """
    width, narrow = model.hidden_size, model.embedding_size
    block = 4 * width**2 + 2 * width * model.intermediate_size + 2 * row_tokens * width
    projection = narrow * width if narrow != width else 0
    head = predictions * (width * narrow + narrow * model.vocab_size)
    forward = 2.0 * (tokens * (model.num_layers * block + projection) + head)
    return TRAINING * forward


def products_a_second(
    strategy: tf.distribute.Strategy,
    rows: int,
    width: int,
    wide: int,
    *,
    streams: int,
    precision: str,
) -> float:
    """Times products of [rows, width] and [width, wide]: operations per second.

    That is of one device; all of this process are busy with them, as they will be.
    """
    dtype = tf.as_dtype(precision.removeprefix("mixed_"))

    def multiply(one: tf.Tensor, other: tf.Tensor) -> tf.Tensor:
        corners = [tf.matmul(one + part, other)[0, 0] for part in range(streams)]
        return tf.add_n([tf.cast(corner, tf.float32) for corner in corners])

    @tf.function(autograph=False)
    def multiply_everywhere() -> Any:
        # Drawn, as products of constants would be made before they are timed.
        given = (tf.random.uniform([rows, width]), tf.random.uniform([width, wide]))
        return strategy.run(multiply, [tf.cast(matrix, dtype) for matrix in given])

    def wait() -> None:
        strategy.experimental_local_results(multiply_everywhere())[0].numpy()

    wait()  # The first time also traces.
    times = 0
    began = time.monotonic()
    while time.monotonic() - began < MEASURE_SECONDS:
        wait()
        times += 1
    each = (time.monotonic() - began) / times
    return 2.0 * rows * width * wide * streams / each


def said(seconds: float) -> str:
    """Returns the line that a run of so many seconds begins with."""
    line = f"this machine will take about {in_words(seconds)}"
    if seconds < LONG_SECONDS:
        return line
    return f"{line}; --config={SHORTER} is made for two CPU cores and an hour"


def in_words(seconds: float) -> str:
    """Returns so many seconds as people say them: 40 seconds, 3 hours, 12 days."""
    for name, length in (("day", 86400), ("hour", 3600), ("minute", 60)):
        if seconds >= 1.5 * length:
            return f"{round(seconds / length)} {name}s"
    count = max(1, round(seconds))
    return f"{count} second{'s' if count > 1 else ''}"
