import math
import typing

import keras
import numpy as np
import pytest
import tensorflow as tf

from electra_tf import config
from electra_tf.network import layers

MODEL = config.ModelConfig(
    vocab_size=11,
    embedding_size=5,
    hidden_size=6,
    num_layers=2,
    num_heads=3,
    intermediate_size=8,
    max_positions=9,
)
EPSILON = MODEL.layer_norm_epsilon


def normalize(x):
    x = np.float64(x)
    variance = x.var(axis=-1, keepdims=True)
    return (x - x.mean(axis=-1, keepdims=True)) / np.sqrt(variance + EPSILON)


def randomize(layer, seed):
    """Gives a layer weights that no initializer gives: no zero bias, no gamma of 1."""
    rng = np.random.default_rng(seed)
    for variable in layer.trainable_variables:
        variable.assign(rng.normal(0, 0.5, variable.shape))
    return layer


def randomize_built(block, seed):
    block.build((None, None, 6))
    return randomize(block, seed)


def draw_masks(dropout, seed, calls=1, shape=(7,)):
    with layers.dropout_seed(tf.constant(seed)):
        return [
            np.asarray(dropout(tf.ones(shape), training=True)) for _ in range(calls)
        ]


def test_gelu_is_the_exact_form():
    x = np.linspace(-4, 4, 33, dtype=np.float32)
    want = [v * 0.5 * (1 + math.erf(v / math.sqrt(2))) for v in np.float64(x)]
    np.testing.assert_allclose(layers.activation("gelu")(x), want, atol=1e-6)
    approximate = layers.activation("gelu_approximate")(x)
    assert 1e-4 < np.max(np.abs(approximate - want)) < 1e-3


def test_the_slope_of_gelu_is_right_everywhere():
    x = tf.constant([-40.0, -12.0, -3.0, -1e-3, -1e-30, 0.0, 1e-30, 0.5, 3.0, 40.0])
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = layers.activation("gelu")(x)
    want = [
        0.5 * (1 + math.erf(v / math.sqrt(2)))
        + v * math.exp(-v * v / 2) / math.sqrt(2 * math.pi)
        for v in np.float64(x)
    ]
    np.testing.assert_allclose(tape.gradient(y, x), want, rtol=1e-5, atol=1e-6)


def test_gelu_of_bfloat16_is_that_of_float32_rounded():
    x = tf.cast(tf.random.stateless_normal([4096], [1, 2], stddev=2.0), tf.bfloat16)
    x32 = tf.cast(x, tf.float32)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch([x, x32])
        y, want = layers.exact_gelu(x), layers.exact_gelu(x32)
    np.testing.assert_array_equal(y, tf.cast(want, tf.bfloat16))
    slope, wanted = tape.gradient(y, x), tape.gradient(want, x32)
    # The slope takes Phi from y, which is rounded to 2^-8 of it, and is rounded too.
    np.testing.assert_allclose(tf.cast(slope, tf.float32), wanted, atol=0.008)


def test_every_activation_of_the_settings_exists():
    field = config.ModelConfig.model_fields["activation"]
    slopes = {
        name: float(layers.activation(name)(tf.constant(-1.0)))
        for name in typing.get_args(field.annotation)
    }
    assert len(set(slopes.values())) == len(slopes) == 4


def test_layer_norm_normalizes_the_last_axis_then_scales_and_shifts():
    x = np.random.default_rng(1).normal(3, 2, [2, 7, 6]).astype(np.float32)
    norm = layers.LayerNorm(EPSILON)
    norm.build((None, None, 6))
    np.testing.assert_allclose(norm(x), normalize(x), atol=1e-5)
    randomize(norm, 2)
    want = normalize(x) * norm.gamma.numpy() + norm.beta.numpy()
    np.testing.assert_allclose(norm(x), want, atol=1e-5)


def test_layer_norm_divides_by_the_root_of_variance_plus_epsilon():
    norm = layers.LayerNorm(0.5)
    norm.build((None, 2))
    # Mean 2, variance 1: +-1 / sqrt(1.5).
    want = [[-0.816497, 0.816497]]
    np.testing.assert_allclose(norm(tf.constant([[1.0, 3.0]])), want, atol=1e-6)


def test_layer_norm_computes_in_float32_and_returns_the_dtype_it_got():
    norm = layers.LayerNorm(EPSILON, dtype="mixed_bfloat16")
    norm.build((None, 6))
    x = tf.constant([[100.0, 101.0, 102.0, 103.0, 104.0, 105.0]], tf.bfloat16)
    y = norm(x)
    assert y.dtype == tf.bfloat16
    np.testing.assert_allclose(tf.cast(y, tf.float32), normalize(x), atol=0.01)


def test_embeddings_add_word_position_and_segment_and_normalize():
    embeddings = layers.Embeddings(MODEL)
    embeddings.build()
    randomize(embeddings, 3)
    ids = {
        "token_ids": np.int32([[10, 3, 3, 0], [1, 7, 10, 2]]),
        "segment_ids": np.int32([[0, 0, 1, 0], [0, 1, 1, 1]]),
        "position_ids": np.int32([[0, 1, 2, 0], [8, 7, 6, 5]]),
    }
    x = (
        embeddings.word_embeddings.numpy()[ids["token_ids"]]
        + embeddings.position_embeddings.numpy()[ids["position_ids"]]
        + embeddings.segment_embeddings.numpy()[ids["segment_ids"]]
    )
    want = normalize(x) * embeddings.norm.gamma.numpy() + embeddings.norm.beta.numpy()
    np.testing.assert_allclose(embeddings(**ids), want, atol=1e-5)


def test_tokens_attend_within_their_example_and_padding_to_padding():
    bias = layers.AttentionBias()(tf.constant([[1, 1, 2, 0], [1, 0, 0, 0]]))
    assert bias.shape == (2, 1, 4, 4)
    open_ = np.array(
        [
            [[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]],
            [[1, 0, 0, 0], [0, 1, 1, 1], [0, 1, 1, 1], [0, 1, 1, 1]],
        ]
    )
    np.testing.assert_array_equal(bias[:, 0], (1.0 - open_) * layers.NO_ATTENTION)


def test_a_block_does_not_mind_the_order_of_its_tokens():
    block = layers.EncoderBlock(MODEL)
    block.build((None, None, 6))
    randomize(block, 4)
    x = np.random.default_rng(5).normal(0, 1, [2, 7, 6]).astype(np.float32)
    example_ids = np.int32([[1, 1, 1, 2, 2, 2, 0], [1, 1, 2, 2, 3, 3, 3]])
    order = [4, 2, 6, 0, 3, 5, 1]
    bias = layers.AttentionBias()
    straight = np.asarray(block(x, bias(example_ids)))
    moved = block(x[:, order], bias(example_ids[:, order]))
    np.testing.assert_allclose(moved, straight[:, order], atol=1e-5)


def test_all_blocks_of_an_architecture_share_one_graph():
    x, bias = tf.ones([2, 7, 6]), layers.AttentionBias()(tf.ones([2, 7], tf.int32))
    blocks = [randomize_built(layers.EncoderBlock(MODEL), seed) for seed in (1, 2, 3)]
    first = np.asarray(blocks[0](x, bias))
    shared = layers._shared_block(MODEL, 1, False)
    before = shared.experimental_get_tracing_count()
    others = [np.asarray(block(x, bias)) for block in blocks[1:]]
    assert shared.experimental_get_tracing_count() == before
    assert all(np.max(np.abs(other - first)) > 0.1 for other in others)

    @tf.function
    def one_after_the_other(x):
        for block in blocks:
            x = block(x, bias)
        return x

    step = one_after_the_other.get_concrete_function(x).graph.as_graph_def()
    called = [node for node in step.node if node.op.endswith("PartitionedCall")]
    assert len({node.attr["f"].func.name for node in called}) == 1
    assert len(called) == 3


def test_a_block_trains_the_same_where_functions_run_eagerly():
    never = {"hidden_dropout_rate": 0.0, "attention_dropout_rate": 0.0}
    block = layers.EncoderBlock(MODEL.model_copy(update=never))
    randomize_built(block, 1)
    x = tf.random.normal([2, 7, 6])
    bias = layers.AttentionBias()(tf.ones([2, 7], tf.int32))

    def slope():
        with tf.GradientTape() as tape:
            tape.watch(x)
            loss = tf.reduce_sum(tf.square(block(x, bias, training=True)[:, :3]))
        return tape.gradient(loss, x)

    want = slope()
    tf.config.run_functions_eagerly(True)
    try:
        found = slope()
    finally:
        tf.config.run_functions_eagerly(False)
    np.testing.assert_allclose(found, want, atol=1e-5)


@pytest.mark.parametrize("length", [1, 7])
def test_a_block_asked_for_the_first_token_gives_its_state_and_its_slopes(length):
    never = {"hidden_dropout_rate": 0.0, "attention_dropout_rate": 0.0}
    block = layers.EncoderBlock(MODEL.model_copy(update=never))
    randomize_built(block, 1)
    x, slope = tf.random.normal([3, length, 6]), tf.random.normal([3, 1, 6])
    bias = layers.AttentionBias()(tf.constant([[1] * (length - 1) + [0]] * 3))

    def learn(recompute, **only):
        block.recompute = recompute
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = block(x, bias, training=recompute, **only)
            loss = tf.reduce_sum(y[:, :1] * slope)
        weights = [v.value for v in block.trainable_variables]
        return y, tape.gradient(loss, [x, *weights])

    whole, want = learn(False)
    for recompute in (False, True):
        first, got = learn(recompute, first_only=True)
        assert first.shape == (3, 1, 6)
        np.testing.assert_allclose(first, whole[:, :1], atol=1e-6)
        for a, b in zip(got, want, strict=True):
            np.testing.assert_allclose(a, b, atol=1e-5)
    with layers.split_rows():
        first = block(x, bias, first_only=True)
    np.testing.assert_allclose(first, whole[:, :1], atol=1e-6)


@pytest.mark.parametrize("length", [1, 2, 7])
def test_a_block_that_splits_its_rows_gives_the_same(length):
    block = randomize_built(layers.EncoderBlock(MODEL), 1)
    x = tf.random.normal([3, length, 6])
    bias = layers.AttentionBias()(tf.constant([[1] * (length - 1) + [0]] * 3))
    whole = block(x, bias)
    with layers.split_rows(2):
        parts = tf.function(block)(x, bias)
        dropped = block(x, bias, training=True)  # Then it stays whole.
    np.testing.assert_allclose(parts, whole, rtol=1e-5, atol=1e-6)
    assert dropped.shape == whole.shape


HALF = {"hidden_dropout_rate": 0.5, "attention_dropout_rate": 0.5}


@pytest.mark.parametrize("training", [False, True])
def test_the_gradients_by_hand_are_the_slopes(training):
    block = randomize_built(layers.EncoderBlock(MODEL.model_copy(update=HALF)), 3)
    rng = np.random.default_rng(0)
    x = tf.Variable(rng.normal(size=(2, 5, 6)), dtype=tf.float32)
    bias = layers.AttentionBias()(tf.constant([[1, 1, 1, 2, 2], [1, 1, 1, 1, 0]]))
    weights = tf.constant(rng.normal(size=x.shape), tf.float32)

    def loss():
        with layers.dropout_seed(tf.constant([1, 2])):
            return tf.reduce_sum(block(x, bias, training=training) * weights)

    variables = [x, *(v.value for v in block.trainable_variables)]
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


def test_a_block_adds_and_normalizes_in_float32():
    rng = np.random.default_rng(0)
    x, more = (tf.constant(rng.normal(0, 9, (400, 6)), tf.bfloat16) for _ in range(2))
    norm = tf.ones([6]), tf.zeros([6])
    y = layers._add_and_norm(x, more, lambda x: x * 1.1, norm, EPSILON)
    total = np.float32(x) + np.float32(1.1) * np.float32(more)
    # A sum of bfloat16 would be off by 2^-8 of itself before it is normalized.
    close = np.isclose(np.float32(y), normalize(total), rtol=2**-8, atol=1e-6)
    assert np.mean(close) > 0.99


def test_of_attention_the_backward_pass_keeps_the_shares_once_and_a_mask():
    block = randomize_built(layers.EncoderBlock(MODEL.model_copy(update=HALF)), 3)

    @tf.function
    def learn(x):
        with layers.dropout_seed(tf.constant([1, 2])), tf.GradientTape() as tape:
            tape.watch(x)
            y = block(x, tf.zeros([2, 1, 7, 7]), training=True)
        return tape.gradient(y, [x, *(v.value for v in block.trainable_variables)])

    graph = learn.get_concrete_function(tf.TensorSpec([2, 7, 6])).graph
    (forward,) = (
        op
        for op in graph.get_operations()
        if op.type.endswith("PartitionedCall") and "forward" in op.get_attr("f").name
    )
    kept = [t for t in forward.outputs if t.shape == [2, 3, 7, 7]]
    assert {t.dtype for t in kept} == {tf.float32, tf.bool}
    assert len(kept) == 2


def test_a_block_is_laid_without_being_traced(monkeypatch):
    monkeypatch.setattr(layers, "_block", None)
    x = keras.Input((None, 6))
    out = layers.EncoderBlock(MODEL)(x, keras.Input((1, None, None)))
    assert out.shape == x.shape


def test_a_token_changes_its_own_example_and_no_other():
    block = layers.EncoderBlock(MODEL)
    block.build((None, None, 6))
    randomize(block, 6)
    x = np.random.default_rng(7).normal(0, 1, [1, 7, 6]).astype(np.float32)
    bias = layers.AttentionBias()(tf.constant([[1, 1, 1, 2, 2, 0, 0]]))
    other = np.array(x)
    other[0, 1] += 1.0
    changed = np.any(np.asarray(block(x, bias)) != block(other, bias), axis=-1)
    np.testing.assert_array_equal(changed, [[1, 1, 1, 0, 0, 0, 0]])


def test_the_masked_token_head_scores_the_hidden_positions_alone():
    embeddings = layers.Embeddings(MODEL)
    embeddings.build()
    head = layers.MaskedTokenHead(MODEL, embeddings)
    head.build((None, None, 6))
    randomize(embeddings, 8)
    randomize(head, 9)
    hidden = np.random.default_rng(10).normal(0, 1, [2, 7, 6]).astype(np.float32)
    positions = np.int32([[0, 3, 6], [5, 0, 0]])
    logits = head(hidden, positions)  # [B, P, V]
    assert logits.shape == (2, 3, 11)
    other = np.full_like(hidden, 7.0)
    for row in range(2):
        other[row, positions[row]] = hidden[row, positions[row]]
    np.testing.assert_array_equal(head(other, positions), logits)
    swapped = np.asarray(head(hidden, positions[:, [2, 1, 0]]))
    np.testing.assert_allclose(swapped[:, ::-1], logits, atol=1e-6)


def test_dropout_rests_in_inference_and_at_rate_zero():
    x = tf.constant([[1.0, 2.0, 3.0]])
    np.testing.assert_array_equal(layers.Dropout(0.5)(x), x)
    np.testing.assert_array_equal(layers.Dropout(0.5)(x, training=False), x)
    np.testing.assert_array_equal(layers.Dropout(0.0)(x, training=True), x)


@pytest.mark.parametrize("rate", [0.1, 0.25, 0.9])
def test_dropout_drops_its_rate_and_scales_up_the_rest(rate):
    (mask,) = draw_masks(layers.Dropout(rate), [3, 4], shape=(100, 201))
    np.testing.assert_allclose(np.unique(mask), [0.0, 1.0 / (1.0 - rate)], rtol=1e-6)
    # The standard error of a share over 20,100 units is at most 0.0035; allow four.
    np.testing.assert_allclose(np.mean(mask == 0.0), rate, atol=0.014)
    # Over a column of 100 or a row of 201, at most 0.05; allow five of them.
    np.testing.assert_allclose(np.mean(mask == 0.0, axis=0), rate, atol=0.25)
    np.testing.assert_allclose(np.mean(mask == 0.0, axis=1), rate, atol=0.18)


@pytest.mark.parametrize("rate", [0.001, 0.1, 0.3, 0.99])
def test_the_rate_of_dropout_is_no_multiple_of_a_256th(rate):
    (mask,) = draw_masks(layers.Dropout(rate), [3, 4], shape=(2000, 2001))
    # The standard error is at most 0.00025, a 256th 0.0039; 0.1 * 256 is 25.6.
    np.testing.assert_allclose(np.mean(mask == 0.0), rate, atol=0.001)
    np.testing.assert_allclose(np.mean(mask), 1.0, atol=0.003 / (1.0 - rate) ** 0.5)


def test_dropout_of_nearly_all_keeps_some_and_not_all():
    (mask,) = draw_masks(layers.Dropout(0.9999), [3, 4], shape=(200, 201))
    assert 0 < np.mean(mask > 0.0) < 0.01


def test_dropout_drops_neighbours_independently():
    (mask,) = draw_masks(layers.Dropout(0.5), [5, 6], shape=(20_001,))
    kept = mask > 0
    # The standard error of 0.5 over 20,000 pairs is 0.0035; allow four of them.
    assert abs(np.mean(kept[1:] == kept[:-1]) - 0.5) < 0.014


def test_the_same_seed_drops_the_same_units():
    dropout = layers.Dropout(0.5)
    first = draw_masks(dropout, [1, 2], calls=3, shape=(50, 7))
    again = draw_masks(dropout, [1, 2], calls=3, shape=(50, 7))
    elsewhere = draw_masks(layers.Dropout(0.5), [1, 2], calls=3, shape=(50, 7))
    np.testing.assert_array_equal(again, first)
    np.testing.assert_array_equal(elsewhere, first)


def test_each_call_and_each_seed_drop_other_units():
    dropout = layers.Dropout(0.5)
    masks = [
        *draw_masks(dropout, [1, 2], calls=3, shape=(2000,)),
        *draw_masks(dropout, [2, 2], calls=1, shape=(2000,)),
    ]
    for one in range(4):
        for other in range(one):
            # The standard error of 0.5 over 2,000 units is 0.011; allow five of them.
            assert abs(np.mean(masks[one] == masks[other]) - 0.5) < 0.056


def test_each_layer_of_a_block_drops_other_units():
    block = layers.EncoderBlock(MODEL.model_copy(update=HALF))
    with layers.dropout_seed(tf.constant([1, 2])):
        one = block.attention_dropout(tf.ones([2000]), training=True)
        other = block.hidden_dropout(tf.ones([2000]), training=True)
    assert abs(np.mean(np.asarray(one) == other) - 0.5) < 0.056


def test_a_dropout_seed_within_another_leaves_the_outer_as_it_was():
    dropout, ones = layers.Dropout(0.5), tf.ones([50, 7])
    want = draw_masks(dropout, [1, 2], calls=2, shape=(50, 7))
    with layers.dropout_seed(tf.constant([1, 2])):
        first = dropout(ones, training=True)
        with layers.dropout_seed(tf.constant([8, 9])):
            dropout(ones, training=True)
        second = dropout(ones, training=True)
    np.testing.assert_array_equal([first, second], want)


def test_without_a_dropout_seed_each_call_drops_other_units():
    dropout, ones = layers.Dropout(0.5), tf.ones([2000])
    one, other = (np.asarray(dropout(ones, training=True)) for _ in range(2))
    assert abs(np.mean(one == other) - 0.5) < 0.056
    assert abs(np.mean(one == 0.0) - 0.5) < 0.056


def test_without_a_dropout_seed_each_replica_drops_other_units(two_replicas):
    with two_replicas.scope():
        dropout = layers.Dropout(0.5)

    @tf.function
    def draw():
        return two_replicas.run(lambda: dropout(tf.ones([2000]), training=True))

    masks = [
        mask.numpy()
        for _ in range(2)
        for mask in two_replicas.experimental_local_results(draw())
    ]
    assert len(masks) == 4
    for one in range(4):
        assert abs(np.mean(masks[one] == 0.0) - 0.5) < 0.056
        for other in range(one):
            assert abs(np.mean(masks[one] == masks[other]) - 0.5) < 0.056


def test_a_position_table_may_start_as_waves():
    waves = {"position_initializer": "sinusoidal", "initializer_range": 0.1}
    embeddings = layers.Embeddings(MODEL.model_copy(update=waves))
    embeddings.build()
    found = embeddings.position_embeddings.numpy()
    # Width 5: three pairs, the last without its cosine.
    rates = [1.0, 10_000 ** (-1 / 3), 10_000 ** (-2 / 3)]
    for position in range(9):
        angles = [position * rate for rate in rates]
        want = [
            0.1 * math.sqrt(2) * wave(angle)
            for angle in angles
            for wave in (math.sin, math.cos)
        ][:5]
        np.testing.assert_allclose(found[position], want, atol=1e-6)
    # Whole pairs have the root mean square that was asked for.
    pairs = found[:, :4]
    assert np.sqrt(np.mean(pairs**2)) == pytest.approx(0.1, rel=1e-5)
    assert np.max(np.abs(embeddings.word_embeddings)) <= 0.2
    usual = layers.Embeddings(MODEL)
    usual.build()
    assert np.max(np.abs(usual.position_embeddings)) <= 0.04


@pytest.mark.parametrize("layer", [layers.Dropout(0.3), layers.LayerNorm(1e-3)])
def test_a_layer_is_made_again_from_its_settings(layer):
    again = type(layer).from_config(layer.get_config())
    assert again.get_config() == layer.get_config()


def test_truncated_normal_is_cut_at_two_sigma():
    draws = np.asarray(layers.truncated_normal(MODEL)((200, 201)))
    assert 0.039 < np.max(np.abs(draws)) <= 0.04
    # A normal cut at two sigma keeps 0.87963 of its sigma; the standard error of that
    # over 40,200 draws is 0.3 %; allow four of them.
    np.testing.assert_allclose(np.std(draws), 0.02 * 0.87963, rtol=0.012)
    assert abs(np.mean(draws)) < 4 * 0.0176 / 200
