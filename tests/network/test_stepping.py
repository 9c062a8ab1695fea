"""A decoder's blocks, token by token, beside the same at once."""

import numpy as np
import tensorflow as tf
import tiny

from electra_tf.network import block, decoder, stepping

MODEL = tiny.MODEL.model_copy(update=tiny.NEVER)


def test_token_by_token_gives_what_all_at_once_gives():
    layers = []
    for seed in (1, 2):
        layers.append(decoder.DecoderBlock(MODEL))
        layers[-1].build()
        tiny.randomize(layers[-1], seed)
    chance = np.random.default_rng(3)
    x, memory = (np.float32(chance.normal(0, 1, [2, n, 6])) for n in (5, 4))
    seen = tf.constant([[1, 1, 1, 1], [1, 1, 0, 0]])
    bias = block.AttentionBias("left")(tf.ones([2, 5], tf.int32))
    other = block.AttentionBias()(tf.ones([2, 5], tf.int32), seen)
    want = x
    for layer in layers:
        want = layer(want, bias, memory, other)

    steps = stepping.Steps(MODEL, [layer.parts() for layer in layers])
    source = steps.remember(tf.constant(memory), other[:, :, :1])
    kept, places = steps.start(1, tf.float32), 0
    for place in range(5):
        if place == places:  # Room for two, then for four, then for six.
            kept, places = steps.grow(kept, 2, tf.constant(places), 2), places + 2
        past = tf.cast(tf.range(places) > place, tf.float32) * block.NO_ATTENTION
        found, kept = steps.run(
            tf.constant(x[:, place : place + 1]),
            kept,
            tf.constant(place),
            tf.constant(places),
            past[None, None, None],
            source,
        )
        np.testing.assert_allclose(found, want[:, place], atol=1e-5)
