"""How blocks and their chance come into the graph that is being traced.

In:   a function of tensors, and around it what it is traced for: `dropout_seed`,
      `inlined_blocks`, `split_rows`.
Out:  the same function as a graph that blocks share, or as one that is made again for
      the backward pass; gradients by hand that go when their graph goes.
"""

import contextlib
import functools
import itertools
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import tensorflow as tf
from tensorflow.python.framework import ops


class _Chance(threading.local):
    """The dropout seed of the step being traced; one per thread, for replicas."""

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
    """How blocks come into the graph being traced, one per thread."""

    inline: bool = False
    pieces: int = 1


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
def split_rows(pieces: int = 2) -> Iterator[None]:
    """Has blocks compute pieces of each row side by side, where nothing is dropped.

    All tokens are attended to; what is done with a token needs no other one. So a
    single text has work for several cores, and no operation is shared out (D25).
    """
    before, _tracing.pieces = _tracing.pieces, pieces
    try:
        yield
    finally:
        _tracing.pieces = before


def pieces_of_rows() -> int:
    """Returns how many pieces `split_rows` makes of a row; 1 outside it."""
    return _tracing.pieces


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


@functools.cache
def shared(function: Callable[..., tf.Tensor], *settings: Any) -> Any:
    """Returns one graph for all calls of a function that have the same settings.

    A graph is traced for each new kind of inputs, not for each block, whose weights are
    inputs too; and as it is called and not copied into the step, TensorFlow prepares it
    once (D20).

    Args:
        function: of the settings and of nests of tensors.
        *settings: what comes first in its arguments, hashable: no tensors.
    """

    def call(*given: Any) -> tf.Tensor:
        return function(*settings, *given)

    call.__name__ = function.__name__  # What profiles show.
    return tf.function(
        call, autograph=False, experimental_attributes={"_noinline": True}
    )


def recomputed(
    function: Callable[[Any, Any], tf.Tensor], states: Any, weights: Any
) -> tf.Tensor:
    """Calls a function whose arguments alone are kept for the backward pass (D22).

    Args:
        function: of `states` and `weights`; makes the same again from the same.
        states: nest of float tensors that are computed in the step, and of None.
        weights: nest of float tensors, and of None.
    """
    nest = states, weights
    leaves = tf.nest.flatten(nest)
    num_states = sum(leaf is not None for leaf in tf.nest.flatten(states))

    def run(tensors: Sequence[tf.Tensor]) -> tf.Tensor:
        left = iter(tensors)
        filled = [None if leaf is None else next(left) for leaf in leaves]
        return function(*tf.nest.pack_sequence_as(nest, filled))

    @custom_gradient
    def forward(*tensors: tf.Tensor) -> Any:
        def gradient(dy: tf.Tensor) -> list[tf.Tensor]:
            # Adds 0, which is not known before `dy` is: else the block would be made
            # again at once, or XLA would find that it was made already.
            first = tf.reshape(dy, [-1])[0]
            nothing = tf.where(first == first, tf.zeros_like(first), first)
            again = [x + tf.cast(nothing, x.dtype) for x in tensors[:num_states]]
            again += tensors[num_states:]
            with tf.GradientTape() as tape:
                tape.watch(again)
                y = run(again)
            gradients: list[tf.Tensor] = tape.gradient(y, again, dy)
            return gradients

        return run(tensors), gradient

    return forward(*[leaf for leaf in leaves if leaf is not None])


def cut(x: tf.Tensor, pieces: int, axis: int) -> list[tf.Tensor]:
    """Cuts a tensor along an axis, into pieces of nearly the same length."""
    length = x.shape[axis]
    length = tf.shape(x)[axis] if length is None else length
    bounds = [length * index // pieces for index in range(pieces + 1)]
    before = [slice(None)] * axis
    return [x[(*before, slice(*pair))] for pair in itertools.pairwise(bounds)]
