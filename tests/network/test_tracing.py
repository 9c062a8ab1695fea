import keras
import numpy as np
import pytest
import tensorflow as tf
import tiny

from electra_tf.network import block, tracing


def test_all_blocks_of_an_architecture_share_one_graph():
    x, bias = tf.ones([2, 7, 6]), block.AttentionBias()(tf.ones([2, 7], tf.int32))
    blocks = [
        tiny.randomize_built(block.EncoderBlock(tiny.MODEL), seed) for seed in (1, 2, 3)
    ]
    first = np.asarray(blocks[0](x, bias))
    shared = tracing.shared(block._block_of_pieces, tiny.MODEL, 1)
    before = shared.experimental_get_tracing_count()
    others = [np.asarray(layer(x, bias)) for layer in blocks[1:]]
    assert shared.experimental_get_tracing_count() == before
    assert all(np.max(np.abs(other - first)) > 0.1 for other in others)

    @tf.function
    def one_after_the_other(x):
        for layer in blocks:
            x = layer(x, bias)
        return x

    step = one_after_the_other.get_concrete_function(x).graph.as_graph_def()
    called = [node for node in step.node if node.op.endswith("PartitionedCall")]
    assert len({node.attr["f"].func.name for node in called}) == 1
    assert len(called) == 3


def test_a_block_trains_the_same_where_functions_run_eagerly():
    layer = block.EncoderBlock(tiny.MODEL.model_copy(update=tiny.NEVER))
    tiny.randomize_built(layer, 1)
    x = tf.random.normal([2, 7, 6])
    bias = block.AttentionBias()(tf.ones([2, 7], tf.int32))

    def slope():
        with tf.GradientTape() as tape:
            tape.watch(x)
            loss = tf.reduce_sum(tf.square(layer(x, bias, training=True)[:, :3]))
        return tape.gradient(loss, x)

    want = slope()
    tf.config.run_functions_eagerly(True)
    try:
        found = slope()
    finally:
        tf.config.run_functions_eagerly(False)
    np.testing.assert_allclose(found, want, atol=1e-5)


@pytest.mark.parametrize("length", [1, 2, 7])
@pytest.mark.parametrize("seen", ["each other", "other states", "keys and values"])
def test_a_block_that_splits_its_rows_gives_the_same(length, seen):
    layer = tiny.randomize_built(block.EncoderBlock(tiny.MODEL), 1)
    x, ids = tf.random.normal([3, length, 6]), tf.constant([[1] * (length - 1) + [0]])
    bias = block.AttentionBias()(tf.tile(ids, [3, 1]))
    others = None
    if seen != "each other":
        others = tf.random.normal([3, 4, 6])
        bias = block.AttentionBias()(tf.tile(ids, [3, 1]), tf.constant([[1, 1, 0, 1]]))
        if seen == "keys and values":
            others = layer.keys_and_values(others)
    whole = layer(x, bias, seen=others)
    with tracing.split_rows(2):
        parts = tf.function(layer)(x, bias, seen=others)
        dropped = layer(x, bias, training=True, seen=others)  # Then it stays whole.
    np.testing.assert_allclose(parts, whole, rtol=1e-5, atol=1e-6)
    assert dropped.shape == whole.shape


def test_of_attention_the_backward_pass_keeps_the_shares_once_and_a_mask():
    layer = tiny.randomize_built(
        block.EncoderBlock(tiny.MODEL.model_copy(update=tiny.HALF)), 3
    )

    @tf.function
    def learn(x):
        with tracing.dropout_seed(tf.constant([1, 2])), tf.GradientTape() as tape:
            tape.watch(x)
            y = layer(x, tf.zeros([2, 1, 7, 7]), training=True)
        return tape.gradient(y, [x, *(v.value for v in layer.trainable_variables)])

    graph = learn.get_concrete_function(tf.TensorSpec([2, 7, 6])).graph
    (forward,) = (
        op
        for op in graph.get_operations()
        if op.type.endswith("PartitionedCall") and "forward" in op.get_attr("f").name
    )
    # Arguments and weights too, and some arrays under two names.
    assert len(forward.outputs) <= 39
    kept = [t for t in forward.outputs if t.shape == [2, 3, 7, 7]]
    assert {t.dtype for t in kept} == {tf.float32, tf.bool}
    assert len(kept) == 2


@pytest.mark.parametrize("seen", [False, True])
def test_a_recomputed_block_keeps_nothing_that_it_makes_inside(seen):
    layer = tiny.randomize_built(block.EncoderBlock(tiny.MODEL), 3)

    def learn(x, others):
        with tf.GradientTape() as tape:
            tape.watch([x, others])
            bias = tf.zeros([2, 1, 7, 5 if seen else 7])
            y = layer(x, bias, training=True, seen=others if seen else None)
        return tape.gradient(y, [x, *([others] if seen else [])])

    def calls(recompute):
        layer.recompute = recompute
        shapes = tf.TensorSpec([2, 7, 6]), tf.TensorSpec([2, 5, 6])
        graph = tf.function(learn).get_concrete_function(*shapes).graph
        return [op for op in graph.get_operations() if "PartitionedCall" in op.type]

    forward, _ = calls(recompute=False)
    first, again, _ = calls(recompute=True)
    assert len(first.outputs) == 1
    assert len(again.outputs) == len(forward.outputs) > 20
    # The states of the second call are others: the same would be made at once.
    states = [
        {t.ref() for t in call.inputs if t.shape in ([2, 7, 6], [2, 5, 6])}
        for call in (first, again)
    ]
    assert [len(found) for found in states] == [1 + seen] * 2
    assert not states[0] & states[1]


def test_a_block_is_laid_without_being_traced(monkeypatch):
    monkeypatch.setattr(block, "block", None)
    x = keras.Input((None, 6))
    out = block.EncoderBlock(tiny.MODEL)(x, keras.Input((1, None, None)))
    assert out.shape == x.shape
