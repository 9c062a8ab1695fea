"""How blocks and their chance come into the graph that is being traced.

In:   a function of tensors, and around it what it is traced for: `dropout_seed`,
      `inlined_blocks`, `split_rows`.
Out:  the same function as a graph that blocks share, or one that is made again for the
      backward pass; gradients by hand that go when their graph goes.
"""

import contextlib
import functools
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import tensorflow as tf
from tensorflow.python.framework import ops


class _Chance(threading.local):
    """The dropout seed of the step being traced, one a thread: replicas have theirs."""

    seed: tf.Tensor | None = None
    draws: int = 0


_chance = _Chance()


@contextlib.contextmanager
def dropout_seed(seed: tf.Tensor) -> Iterator[None]:
    """Makes all dropout inside a pure function of `seed`, int32 [2].

    Keras' own generators hold the same state on every replica, so that all replicas
    drop the same units; and their state is not a function of the step. Callers fold
    step, replica and micro-batch into the seed (pretrainer).
    """
    before = _chance.seed, _chance.draws
    _chance.seed, _chance.draws = seed, 0
    try:
        yield
    finally:
        _chance.seed, _chance.draws = before


def next_dropout_seed() -> tf.Tensor | None:
    """Returns the seed of the next mask, int32 [2]; None outside `dropout_seed`."""
    if _chance.seed is None:
        return None
    _chance.draws += 1
    return _chance.seed + tf.constant([0, _chance.draws])


class _Tracing(threading.local):
    """How blocks come into the graph being traced, one a thread."""

    inline: bool = False
    parts: int = 1


_tracing = _Tracing()


@contextlib.contextmanager
def inlined_blocks() -> Iterator[None]:
    """Copies each block into the graph, for runtimes that cannot call functions."""
    before, _tracing.inline = _tracing.inline, True
    try:
        yield
    finally:
        _tracing.inline = before


def are_blocks_inlined() -> bool:
    """Tells whether this is inside `inlined_blocks`."""
    return _tracing.inline


@contextlib.contextmanager
def split_rows(parts: int = 2) -> Iterator[None]:
    """Has blocks compute parts of each row side by side, where nothing is dropped.

    All tokens are attended to; what is done with a token needs no other one. So a
    single text has work for several cores, and no operation is shared out (D25).
    """
    before, _tracing.parts = _tracing.parts, parts
    try:
        yield
    finally:
        _tracing.parts = before


def parts_of_rows() -> int:
    """Returns how many parts of a row `split_rows` asks for; 1 outside it."""
    return _tracing.parts


def custom_gradient(function: Callable[..., Any]) -> Callable[..., Any]:
    """Does as `tf.custom_gradient`, but lets graphs go that are done with.

    TensorFlow registers each gradient by a name of its own, for good, and with it the
    tensors of its graph: each model that was trained stayed in memory. Here the graph
    holds the gradient, and the register only who asks the graph for it.
    """
    inner = tf.custom_gradient(function)

    @functools.wraps(function)
    def call(*args: tf.Tensor) -> Any:
        found = inner(*args)
        if tf.is_symbolic_tensor(found):
            _hand_over(found.op)
        return found

    return call


def _hand_over(op: tf.Operation) -> None:
    """Moves the gradient of an operation from TensorFlow's register to its graph."""
    register = ops.gradient_registry._registry
    name = op.get_attr("_gradient_op_type").decode()
    entry, graph = register[name], weakref.ref(op.graph)
    if not hasattr(op.graph, "_electra_gradients"):
        op.graph._electra_gradients = {}
    op.graph._electra_gradients[name] = entry["type"]
    entry["type"] = lambda *given: graph()._electra_gradients[name](*given)  # type: ignore[union-attr]
    weakref.finalize(op.graph, register.pop, name, None)


def recomputed(
    block: Callable[..., tf.Tensor],
    weights: list[tuple[tf.Tensor, tf.Tensor]],
    norms: list[tuple[tf.Tensor, tf.Tensor]],
    x: tf.Tensor,
    bias: tf.Tensor,
    seeds: list[tf.Tensor | None],
) -> tf.Tensor:
    """Runs a block of which only the input is kept for the backward pass (D22)."""
    pairs = [*weights, *norms]

    def run(x: tf.Tensor, flat: Sequence[tf.Tensor]) -> tf.Tensor:
        again = tf.nest.pack_sequence_as(pairs, flat)
        return block(again[: len(weights)], again[len(weights) :], x, bias, seeds, True)

    @custom_gradient
    def forward(x: tf.Tensor, *flat: tf.Tensor) -> Any:
        def gradient(dy: tf.Tensor) -> list[tf.Tensor]:
            # Adds 0, which is not known before `dy` is: else the block would be made
            # again at once, or XLA would find that it was made already.
            first = tf.reshape(dy, [-1])[0]
            nothing = tf.where(first == first, tf.zeros_like(first), first)
            inputs = [x + tf.cast(nothing, x.dtype), *flat]
            with tf.GradientTape() as tape:
                tape.watch(inputs)
                y = run(inputs[0], inputs[1:])
            gradients: list[tf.Tensor] = tape.gradient(y, inputs, dy)
            return gradients

        return run(x, flat), gradient

    return forward(x, *tf.nest.flatten(pairs))
