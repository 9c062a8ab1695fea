import math

import keras
import numpy as np
import pytest
import tensorflow as tf
import tiny

from electra_tf.network import block, kernels, tracing


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


# Who sees whom in a packed row: 0 is padding; and in another sequence.
IDS = np.int32([[1, 1, 1, 2, 2, 0, 0], [1, 2, 2, 2, 2, 3, 3]])
SEEN_IDS = np.int32([[2, 2, 1, 1, 0], [3, 1, 1, 2, 2]])
KINDS = ("all", "left", "right", "other")


def bias_of(kind, dtype="float32"):
    if kind == "other":
        return block.AttentionBias(dtype=dtype)(IDS, SEEN_IDS)
    return block.AttentionBias(kind, dtype=dtype)(IDS)


def allowed(kind):
    """Says in numpy who sees whom, [B, Q, S]."""
    same = IDS[:, :, None] == (SEEN_IDS if kind == "other" else IDS)[:, None, :]
    if kind == "left":
        return np.tril(same)
    return np.triu(same) if kind == "right" else same


def plain_attend(weights, x, seen, allowed, shares_left=1.0, more_left=1.0):
    """Attends in numpy: [B, Q, 6] sees [B, S, 6]."""

    def by_head(name, x):
        x = x @ weights[f"{name}/kernel"] + weights[f"{name}/bias"]
        return x.reshape(*x.shape[:2], 3, 2).transpose(0, 2, 1, 3)

    scores = by_head("query", x) @ by_head("key", seen).swapaxes(2, 3) / math.sqrt(2)
    scores = np.where(allowed[:, None], scores, -np.inf)
    shares = np.exp(scores - scores.max(axis=-1, keepdims=True))
    shares /= shares.sum(axis=-1, keepdims=True)
    shares *= shares_left
    context = (shares @ by_head("value", seen)).transpose(0, 2, 1, 3).reshape(x.shape)
    more = context @ weights["attention_output/kernel"]
    more += weights["attention_output/bias"]
    total = tiny.normalize(x + more * more_left)
    return total * weights["attention_norm/gamma"] + weights["attention_norm/beta"]


def plain_feed_forward(weights, x, more_left=1.0):
    wide = x @ weights["intermediate/kernel"] + weights["intermediate/bias"]
    wide *= 0.5 * (1.0 + np.vectorize(math.erf)(wide / math.sqrt(2)))
    more = wide @ weights["output/kernel"] + weights["output/bias"]
    total = tiny.normalize(x + more * more_left)
    return total * weights["output_norm/gamma"] + weights["output_norm/beta"]


def plain_weights(layer):
    return {
        "/".join(v.path.split("/")[-2:]): np.float64(v.numpy())
        for v in layer.trainable_variables
    }


def draw_states(kind):
    """Draws states, and those of another sequence where `kind` sees that."""
    rng = np.random.default_rng(11)
    x = tf.constant(rng.normal(size=(2, 7, 6)), tf.float32)
    seen = tf.constant(rng.normal(size=(2, 5, 6)), tf.float32)
    return [x, seen] if kind == "other" else [x]


def learn(layer, kind, states, training=False):
    """Returns states, and the slopes of some loss along states and weights."""
    weights = np.random.default_rng(12).normal(size=(2, 7, 6))
    with tracing.dropout_seed(tf.constant([1, 2])), tf.GradientTape() as tape:
        tape.watch(states)
        cast = [tf.cast(x, layer.compute_dtype) for x in states]
        bias = bias_of(kind, layer.dtype_policy)
        seen = cast[1] if kind == "other" else None
        y = layer(cast[0], bias, training=training, seen=seen)
        loss = tf.reduce_sum(tf.cast(y, tf.float32) * tf.constant(weights, tf.float32))
    variables = [v.value for v in layer.trainable_variables]
    return [y, *tape.gradient(loss, [*states, *variables])]


@pytest.mark.parametrize("kind", KINDS)
def test_a_block_is_what_numpy_makes_of_it_in_values_and_slopes(kind):
    layer = tiny.randomize_built(block.EncoderBlock(tiny.MODEL), 1)
    states, weights = draw_states(kind), plain_weights(layer)
    y, *slopes = learn(layer, kind, states)

    def plain(states, weights):
        x, seen = states[0], states[-1]
        return plain_feed_forward(
            weights, plain_attend(weights, x, seen, allowed(kind))
        )

    start = [np.float64(x) for x in states]
    np.testing.assert_allclose(y, plain(start, weights), atol=1e-5)
    # Along a random direction of each input, the slope of numpy's loss.
    rng = np.random.default_rng(12)
    loss_weights = rng.normal(size=(2, 7, 6))
    assert len(slopes) == len(states) + len(weights) == len(start) + 16
    for index, slope in enumerate(slopes):
        along, losses = rng.normal(size=slope.shape), []
        for step in (1e-5, -1e-5):
            moved, changed = list(start), dict(weights)
            if index < len(start):
                moved[index] = moved[index] + step * along
            else:
                name = list(weights)[index - len(start)]
                changed[name] = changed[name] + step * along
            losses.append(np.sum(plain(moved, changed) * loss_weights))
        wanted = (losses[0] - losses[1]) / 2e-5
        assert np.sum(slope * along) == pytest.approx(wanted, rel=1e-3, abs=1e-3)


def test_dropout_takes_shares_and_what_each_sub_layer_adds():
    """Three masks, of the three seeds in the order of the figure."""
    rates = {"attention_dropout_rate": 0.5, "hidden_dropout_rate": 0.3}
    layer = block.EncoderBlock(tiny.MODEL.model_copy(update=rates))
    layer, (x,) = tiny.randomize_built(layer, 1), draw_states("left")
    y = learn(layer, "left", [x], training=True)[0]

    def left(shape, rate, draw):
        seed = tf.constant([1, 2 + draw])
        return np.asarray(kernels.dropout(tf.ones(shape), rate, seed))

    shares = left([2, 3, 7, 7], 0.5, 1)
    more, last = (left([14, 6], 0.3, draw).reshape(2, 7, 6) for draw in (2, 3))
    weights, x = plain_weights(layer), np.float64(x)
    wanted = plain_attend(weights, x, x, allowed("left"), shares, more)
    wanted = plain_feed_forward(weights, wanted, last)
    np.testing.assert_allclose(y, wanted, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("training", [False, True])
def test_nothing_crosses_an_example_nor_goes_against_the_order(kind, training):
    """A change of each token that is seen changes those that see it, and no other."""
    half = tiny.MODEL.model_copy(update={"attention_dropout_rate": 0.1})
    layer = tiny.randomize_built(block.EncoderBlock(half), 1)
    states = draw_states(kind)
    y = np.asarray(learn(layer, kind, states, training)[0])
    for place in range(states[-1].shape[1]):
        other = np.array(states[-1])
        other[:, place] += 1.0
        moved = learn(layer, kind, [*states[:-1], tf.constant(other)], training)[0]
        changed = np.any(np.asarray(moved) != y, axis=-1)
        wanted = np.array(allowed(kind)[:, :, place])
        if kind != "other":
            wanted[:, place] = True
        if not training:
            np.testing.assert_array_equal(changed, wanted)
        assert not np.any(changed & ~wanted)  # Dropout may hide one.
        assert np.any(changed)


@pytest.mark.parametrize("kind", ["left", "other"])
@pytest.mark.parametrize("way", ["recompute", "xla", "inlined", "eager", "bfloat16"])
def test_however_a_block_is_traced_its_values_and_slopes_are_the_same(kind, way):
    model = tiny.MODEL.model_copy(update=tiny.HALF)
    layer = tiny.randomize_built(block.EncoderBlock(model), 1)
    states, error = draw_states(kind), 1e-5
    wanted = learn(layer, kind, states, training=True)
    if way == "recompute":
        layer.recompute = True
        found = tf.function(lambda: learn(layer, kind, states, training=True))()
    elif way == "xla":
        step = tf.function(
            lambda: learn(layer, kind, states, training=True), jit_compile=True
        )
        found = step()
    elif way == "inlined":
        with tracing.inlined_blocks():
            found = learn(layer, kind, states, training=True)
    elif way == "eager":
        tf.config.run_functions_eagerly(True)
        try:
            found = learn(layer, kind, states, training=True)
        finally:
            tf.config.run_functions_eagerly(False)
    else:
        half = block.EncoderBlock(model, dtype="mixed_bfloat16")
        half = tiny.randomize_built(half, 1)
        found, error = learn(half, kind, states, training=True), 0.05
        assert found[0].dtype == tf.bfloat16
    for one, other in zip(found, wanted, strict=True):
        most = max(np.max(np.abs(other)), 1.0)
        np.testing.assert_allclose(tf.cast(one, tf.float32), other, atol=error * most)


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
def test_token_by_token_with_a_cache_a_causal_block_gives_what_it_gives_at_once(policy):
    layer = block.EncoderBlock(tiny.MODEL, dtype=policy)
    layer = tiny.randomize_built(layer, 1)
    sees = block.AttentionBias("left", dtype=policy)
    x = tf.cast(draw_states("left")[0], layer.compute_dtype)
    whole = layer(x, sees(IDS))

    @tf.function
    def step(x, example_ids, cache, place):
        """Writes the keys and values of one token into the cache, and looks at it."""
        made = layer.keys_and_values(x)
        here = tf.range(7)[:, None] == place
        cache = block.KeysValues(
            tf.where(here, made.keys, cache.keys),
            tf.where(here, made.values, cache.values),
        )
        bias = sees(example_ids, IDS, first=place)
        return layer(x, bias, seen=cache), cache

    empty = tf.zeros([2, 3, 7, 2], layer.compute_dtype)
    cache = block.KeysValues(empty, empty)
    for place in range(7):
        one = slice(place, place + 1)
        y, cache = step(x[:, one], IDS[:, one], cache, tf.constant(place))
        y, wanted = tf.cast(y, tf.float32), tf.cast(whole[:, one], tf.float32)
        error = 1e-5 if policy == "float32" else 0.05
        np.testing.assert_allclose(y, wanted, atol=error)
    assert step.experimental_get_tracing_count() == 1


def test_a_decoders_block_is_two_attentions_and_a_feed_forward():
    """The sub-layers are functions: another block puts them together in its way."""
    own, other = (
        tiny.randomize_built(block.EncoderBlock(tiny.MODEL), seed) for seed in (1, 2)
    )
    x, seen = draw_states("other")
    seeds = block.Seeds(None, None, None)

    def attend(layer, rows, seen, bias):
        parts = layer.parts().attention
        seen = block.keys_and_values(tiny.MODEL, parts, seen, training=False)
        flat = block.attend(tiny.MODEL, parts, rows, seen, bias, seeds, training=False)
        return rows._replace(flat=flat)

    rows = block.flatten(x)
    rows = attend(own, rows, rows, bias_of("left"))
    rows = attend(other, rows, block.flatten(seen), bias_of("other"))
    flat = block.feed_forward(tiny.MODEL, own.parts().feed_forward, rows.flat, None)

    first, second = plain_weights(own), plain_weights(other)
    x, seen = np.float64(x), np.float64(seen)
    x = plain_attend(first, x, x, allowed("left"))
    wanted = plain_feed_forward(first, plain_attend(second, x, seen, allowed("other")))
    np.testing.assert_allclose(tf.reshape(flat, [2, 7, 6]), wanted, atol=1e-5)


def test_a_functional_model_may_hold_causal_blocks_that_see_another_sequence():
    ids, seen_ids = (keras.Input((None,), dtype="int32") for _ in range(2))
    x, seen = keras.Input((None, 6)), keras.Input((None, 6))
    causal, cross = (block.EncoderBlock(tiny.MODEL) for _ in range(2))
    y = causal(x, block.AttentionBias("left")(ids))
    y = cross(y, block.AttentionBias()(ids, seen_ids), seen=seen)
    model = keras.Model([x, ids, seen, seen_ids], y)
    tiny.randomize(model, 1)
    states = draw_states("other")
    wanted = cross(causal(states[0], bias_of("left")), bias_of("other"), seen=states[1])
    given = [states[0], tf.constant(IDS), states[1], tf.constant(SEEN_IDS)]
    np.testing.assert_allclose(model(given), wanted, atol=1e-6)
    again = keras.Model.from_config(model.get_config())
    again.set_weights(model.get_weights())
    np.testing.assert_allclose(again(given), wanted, atol=1e-6)
