"""The decoder's block: what it sees, of the target and of the source."""

import numpy as np
import pytest
import tensorflow as tf
import tiny

from electra_tf.network import block, decoder, embedding, heads, tracing

MODEL = tiny.MODEL.model_copy(update=tiny.NEVER)


def numpy_attention(layer, x, seen, bias):
    """Attends in float64, by the definition: [Q, D]."""

    def dense(part, x):
        return x @ np.float64(part.kernel) + np.float64(part.bias)

    queries, keys, values = (
        dense(part, np.float64(states)).reshape(-1, MODEL.num_heads, 2)
        for part, states in ((layer.query, x), (layer.key, seen), (layer.value, seen))
    )
    scores = np.einsum("qhk,shk->hqs", queries, keys) / np.sqrt(2) + bias
    shares = np.exp(scores - scores.max(axis=-1, keepdims=True))
    shares /= shares.sum(axis=-1, keepdims=True)
    context = np.einsum("hqs,shk->qhk", shares, values).reshape(-1, 6)
    norm = layer.attention_norm
    found = tiny.normalize(x + dense(layer.attention_output, context))
    return found * np.float64(norm.gamma) + np.float64(norm.beta)


@pytest.fixture
def layer():
    made = decoder.DecoderBlock(MODEL)
    made.build()
    return tiny.randomize(made, 2)


def call(layer, x, memory, examples, seen, **kwargs):
    bias = block.AttentionBias("left")(examples)
    other = block.AttentionBias()(examples, seen)
    return np.asarray(layer(x, bias, memory, other, **kwargs))


def test_a_block_attends_to_its_target_then_to_its_source(layer):
    chance = np.random.default_rng(3)
    x, memory = chance.normal(0, 1, [1, 4, 6]), chance.normal(0, 1, [1, 5, 6])
    x, memory = np.float32(x), np.float32(memory)
    found = call(layer, x, memory, np.int32([[1] * 4]), np.int32([[1] * 5]))
    past = np.where(np.tri(4) > 0, 0.0, -1e9)
    own = numpy_attention(layer.block, x[0], x[0], past)
    states = np.float32(numpy_attention(layer.cross_attention, own, memory[0], 0.0))
    parts = layer.parts().feed_forward
    want = block.feed_forward(MODEL, parts, tf.constant(states), None)
    np.testing.assert_allclose(found[0], want, atol=1e-4)
    with tracing.inlined_blocks():
        same = call(layer, x, memory, np.int32([[1] * 4]), np.int32([[1] * 5]))
    np.testing.assert_allclose(same, found, atol=1e-5)


def test_nothing_crosses_from_one_pair_to_the_next(layer):
    chance = np.random.default_rng(4)
    x, memory = (np.float32(chance.normal(0, 1, [1, n, 6])) for n in (5, 6))
    examples, seen = np.int32([[1, 1, 2, 2, 0]]), np.int32([[1, 2, 2, 2, 0, 0]])
    before = call(layer, x, memory, examples, seen)
    other, memory_too = x.copy(), memory.copy()
    other[:, 2:] += 1.0
    memory_too[:, 1:] += 1.0
    after = call(layer, other, memory_too, examples, seen)
    np.testing.assert_allclose(after[:, :2], before[:, :2], atol=1e-6)
    assert np.abs(after[:, 2:4] - before[:, 2:4]).min() > 1e-4


def test_a_shared_block_is_the_encoders(layer):
    encoder = tiny.randomize_built(block.EncoderBlock(MODEL), 5)
    shared = decoder.DecoderBlock(MODEL, encoder)
    shared.build()
    assert all("/cross_attention/" in weight.path for weight in shared.weights)
    for ours, theirs in zip(
        layer.block.weights + layer.cross_attention.weights,
        encoder.weights + shared.cross_attention.weights,
        strict=True,
    ):
        ours.assign(theirs)
    x = np.float32(np.random.default_rng(6).normal(0, 1, [2, 3, 6]))
    ones = np.ones([2, 3], np.int32)
    found = [call(one, x, x, ones, ones) for one in (layer, shared)]
    np.testing.assert_array_equal(*found)
    with tf.GradientTape() as tape:
        y = shared(x, tf.zeros([2, 1, 3, 3]), x, tf.zeros([2, 1, 3, 3]), training=True)
        loss = tf.reduce_sum(y * tf.random.normal(tf.shape(y)))
    slopes = tape.gradient(loss, [w.value for w in encoder.trainable_variables])
    assert all(slope is not None for slope in slopes)


def test_the_head_is_the_generators_at_all_tokens():
    embed = embedding.Embeddings(tiny.MODEL)
    embed.build()
    some = heads.MaskedTokenHead(tiny.MODEL, embed)
    every = decoder.VocabularyHead(tiny.MODEL, embed)
    for head in (some, every):
        head.build((None, None, 6))
        tiny.randomize(head, 1)
    x = tf.random.normal([2, 3, 6])
    places = tf.constant([[2, 0], [1, 1]])
    found = tf.gather(every(x), places, batch_dims=1)
    np.testing.assert_allclose(some(x, places), found, atol=1e-6)


def test_the_tokens_of_each_example_are_numbered_from_0():
    _, places = decoder.Places()(
        tf.constant([[1, 1, 1, 2, 2, 0, 0], [0, 1, 1, 0, 0, 0, 0]])
    )
    assert places.numpy().tolist() == [[0, 1, 2, 0, 1, 0, 0], [0, 0, 1, 0, 0, 0, 0]]
