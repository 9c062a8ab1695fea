import numpy as np
import pytest
import tensorflow as tf
import tiny

from electra_tf.network import block, tracing


def test_tokens_attend_within_their_example_and_padding_to_padding():
    bias = block.AttentionBias()(tf.constant([[1, 1, 2, 0], [1, 0, 0, 0]]))
    assert bias.shape == (2, 1, 4, 4)
    open_ = np.array(
        [
            [[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]],
            [[1, 0, 0, 0], [0, 1, 1, 1], [0, 1, 1, 1], [0, 1, 1, 1]],
        ]
    )
    np.testing.assert_array_equal(bias[:, 0], (1.0 - open_) * block.NO_ATTENTION)


def test_a_block_does_not_mind_the_order_of_its_tokens():
    layer = block.EncoderBlock(tiny.MODEL)
    layer.build((None, None, 6))
    tiny.randomize(layer, 4)
    x = np.random.default_rng(5).normal(0, 1, [2, 7, 6]).astype(np.float32)
    example_ids = np.int32([[1, 1, 1, 2, 2, 2, 0], [1, 1, 2, 2, 3, 3, 3]])
    order = [4, 2, 6, 0, 3, 5, 1]
    bias = block.AttentionBias()
    straight = np.asarray(layer(x, bias(example_ids)))
    moved = layer(x[:, order], bias(example_ids[:, order]))
    np.testing.assert_allclose(moved, straight[:, order], atol=1e-5)


@pytest.mark.parametrize("length", [1, 7])
def test_a_block_asked_for_the_first_token_gives_its_state_and_its_slopes(length):
    layer = block.EncoderBlock(tiny.MODEL.model_copy(update=tiny.NEVER))
    tiny.randomize_built(layer, 1)
    x, slope = tf.random.normal([3, length, 6]), tf.random.normal([3, 1, 6])
    bias = block.AttentionBias()(tf.constant([[1] * (length - 1) + [0]] * 3))

    def learn(recompute, **only):
        layer.recompute = recompute
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = layer(x, bias, training=recompute, **only)
            loss = tf.reduce_sum(y[:, :1] * slope)
        weights = [v.value for v in layer.trainable_variables]
        return y, tape.gradient(loss, [x, *weights])

    whole, want = learn(False)
    for recompute in (False, True):
        first, got = learn(recompute, first_only=True)
        assert first.shape == (3, 1, 6)
        np.testing.assert_allclose(first, whole[:, :1], atol=1e-6)
        for a, b in zip(got, want, strict=True):
            np.testing.assert_allclose(a, b, atol=1e-5)
    with tracing.split_rows():
        first = layer(x, bias, first_only=True)
    np.testing.assert_allclose(first, whole[:, :1], atol=1e-6)


@pytest.mark.parametrize("training", [False, True])
def test_the_gradients_by_hand_are_the_slopes(training):
    layer = tiny.randomize_built(
        block.EncoderBlock(tiny.MODEL.model_copy(update=tiny.HALF)), 3
    )
    rng = np.random.default_rng(0)
    x = tf.Variable(rng.normal(size=(2, 5, 6)), dtype=tf.float32)
    bias = block.AttentionBias()(tf.constant([[1, 1, 1, 2, 2], [1, 1, 1, 1, 0]]))
    weights = tf.constant(rng.normal(size=x.shape), tf.float32)

    def loss():
        with tracing.dropout_seed(tf.constant([1, 2])):
            return tf.reduce_sum(layer(x, bias, training=training) * weights)

    variables = [x, *(v.value for v in layer.trainable_variables)]
    with tf.GradientTape() as tape:
        value = loss()
    gradients = tape.gradient(value, variables)
    assert len(gradients) == 17
    for variable, gradient in zip(variables, gradients, strict=True):
        there = tf.identity(variable)
        direction = tf.constant(rng.normal(size=variable.shape), tf.float32)
        beside = []
        for step in (0.01, -0.01):
            variable.assign(there + step * direction)
            beside.append(float(loss()))
        variable.assign(there)
        got = float(tf.reduce_sum(gradient * direction))
        assert got == pytest.approx((beside[0] - beside[1]) / 0.02, rel=0.01, abs=0.01)


def test_a_token_changes_its_own_example_and_no_other():
    layer = block.EncoderBlock(tiny.MODEL)
    layer.build((None, None, 6))
    tiny.randomize(layer, 6)
    x = np.random.default_rng(7).normal(0, 1, [1, 7, 6]).astype(np.float32)
    bias = block.AttentionBias()(tf.constant([[1, 1, 1, 2, 2, 0, 0]]))
    other = np.array(x)
    other[0, 1] += 1.0
    changed = np.any(np.asarray(layer(x, bias)) != layer(other, bias), axis=-1)
    np.testing.assert_array_equal(changed, [[1, 1, 1, 0, 0, 0, 0]])


def test_each_layer_of_a_block_drops_other_units():
    layer = block.EncoderBlock(tiny.MODEL.model_copy(update=tiny.HALF))
    with tracing.dropout_seed(tf.constant([1, 2])):
        one = layer.attention_dropout(tf.ones([2000]), training=True)
        other = layer.hidden_dropout(tf.ones([2000]), training=True)
    assert abs(np.mean(np.asarray(one) == other) - 0.5) < 0.056
