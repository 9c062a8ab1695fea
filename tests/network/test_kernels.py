import math
import typing

import numpy as np
import pytest
import tensorflow as tf
import tiny

from electra_tf import config
from electra_tf.network import kernels, plain, tracing


def draw_masks(dropout, seed, calls=1, shape=(7,)):
    with tracing.dropout_seed(tf.constant(seed)):
        return [
            np.asarray(dropout(tf.ones(shape), training=True)) for _ in range(calls)
        ]


def test_gelu_is_the_exact_form():
    x = np.linspace(-4, 4, 33, dtype=np.float32)
    want = [v * 0.5 * (1 + math.erf(v / math.sqrt(2))) for v in np.float64(x)]
    np.testing.assert_allclose(kernels.activation("gelu")(x), want, atol=1e-6)
    approximate = kernels.activation("gelu_approximate")(x)
    assert 1e-4 < np.max(np.abs(approximate - want)) < 1e-3


def test_the_slope_of_gelu_is_right_everywhere():
    x = tf.constant([-40.0, -12.0, -3.0, -1e-3, -1e-30, 0.0, 1e-30, 0.5, 3.0, 40.0])
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = kernels.activation("gelu")(x)
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
        y, want = kernels.exact_gelu(x), kernels.exact_gelu(x32)
    np.testing.assert_array_equal(y, tf.cast(want, tf.bfloat16))
    slope, wanted = tape.gradient(y, x), tape.gradient(want, x32)
    # The slope takes Phi from y, which is rounded to 2^-8 of it, and is rounded too.
    np.testing.assert_allclose(tf.cast(slope, tf.float32), wanted, atol=0.008)


def test_every_activation_of_the_settings_exists():
    field = config.ModelConfig.model_fields["activation"]
    slopes = {
        name: float(kernels.activation(name)(tf.constant(-1.0)))
        for name in typing.get_args(field.annotation)
    }
    assert len(set(slopes.values())) == len(slopes) == 4


def test_layer_norm_normalizes_the_last_axis_then_scales_and_shifts():
    x = np.random.default_rng(1).normal(3, 2, [2, 7, 6]).astype(np.float32)
    norm = kernels.LayerNorm(tiny.EPSILON)
    norm.build((None, None, 6))
    np.testing.assert_allclose(norm(x), tiny.normalize(x), atol=1e-5)
    tiny.randomize(norm, 2)
    want = tiny.normalize(x) * norm.gamma.numpy() + norm.beta.numpy()
    np.testing.assert_allclose(norm(x), want, atol=1e-5)


def test_layer_norm_divides_by_the_root_of_variance_plus_epsilon():
    norm = kernels.LayerNorm(0.5)
    norm.build((None, 2))
    # Mean 2, variance 1: +-1 / sqrt(1.5).
    want = [[-0.816497, 0.816497]]
    np.testing.assert_allclose(norm(tf.constant([[1.0, 3.0]])), want, atol=1e-6)


def test_layer_norm_computes_in_float32_and_returns_the_dtype_it_got():
    norm = kernels.LayerNorm(tiny.EPSILON, dtype="mixed_bfloat16")
    norm.build((None, 6))
    x = tf.constant([[100.0, 101.0, 102.0, 103.0, 104.0, 105.0]], tf.bfloat16)
    y = norm(x)
    assert y.dtype == tf.bfloat16
    np.testing.assert_allclose(tf.cast(y, tf.float32), tiny.normalize(x), atol=0.01)


def test_a_block_adds_and_normalizes_in_float32():
    rng = np.random.default_rng(0)
    x, more = (tf.constant(rng.normal(0, 9, (400, 6)), tf.bfloat16) for _ in range(2))
    norm = kernels.Norm(tf.ones([6]), tf.zeros([6]))
    y = kernels.add_and_norm(x, more, norm, tiny.EPSILON, 0.0, None)
    total = np.float32(x) + np.float32(more)
    # A sum of bfloat16 would be off by 2^-8 of itself before it is normalized.
    close = np.isclose(np.float32(y), tiny.normalize(total), rtol=2**-8, atol=1e-6)
    assert np.mean(close) > 0.99


def test_dropout_rests_in_inference_and_at_rate_zero():
    x = tf.constant([[1.0, 2.0, 3.0]])
    np.testing.assert_array_equal(kernels.Dropout(0.5)(x), x)
    np.testing.assert_array_equal(kernels.Dropout(0.5)(x, training=False), x)
    np.testing.assert_array_equal(kernels.Dropout(0.0)(x, training=True), x)


@pytest.mark.parametrize("rate", [0.1, 0.25, 0.9])
def test_dropout_drops_its_rate_and_scales_up_the_rest(rate):
    (mask,) = draw_masks(kernels.Dropout(rate), [3, 4], shape=(100, 201))
    np.testing.assert_allclose(np.unique(mask), [0.0, 1.0 / (1.0 - rate)], rtol=1e-6)
    # The standard error of a share over 20,100 units is at most 0.0035; allow four.
    np.testing.assert_allclose(np.mean(mask == 0.0), rate, atol=0.014)
    # Over a column of 100 or a row of 201, at most 0.05; allow five of them.
    np.testing.assert_allclose(np.mean(mask == 0.0, axis=0), rate, atol=0.25)
    np.testing.assert_allclose(np.mean(mask == 0.0, axis=1), rate, atol=0.18)


@pytest.mark.parametrize("rate", [0.001, 0.1, 0.3, 0.99])
def test_the_rate_of_dropout_is_no_multiple_of_a_256th(rate):
    (mask,) = draw_masks(kernels.Dropout(rate), [3, 4], shape=(2000, 2001))
    # The standard error is at most 0.00025, a 256th 0.0039; 0.1 * 256 is 25.6.
    np.testing.assert_allclose(np.mean(mask == 0.0), rate, atol=0.001)
    np.testing.assert_allclose(np.mean(mask), 1.0, atol=0.003 / (1.0 - rate) ** 0.5)


def test_dropout_of_nearly_all_keeps_some_and_not_all():
    (mask,) = draw_masks(kernels.Dropout(0.9999), [3, 4], shape=(200, 201))
    assert 0 < np.mean(mask > 0.0) < 0.01


def test_dropout_drops_neighbours_independently():
    (mask,) = draw_masks(kernels.Dropout(0.5), [5, 6], shape=(20_001,))
    kept = mask > 0
    # The standard error of 0.5 over 20,000 pairs is 0.0035; allow four of them.
    assert abs(np.mean(kept[1:] == kept[:-1]) - 0.5) < 0.014


def test_the_same_seed_drops_the_same_units():
    dropout = kernels.Dropout(0.5)
    first = draw_masks(dropout, [1, 2], calls=3, shape=(50, 7))
    again = draw_masks(dropout, [1, 2], calls=3, shape=(50, 7))
    elsewhere = draw_masks(kernels.Dropout(0.5), [1, 2], calls=3, shape=(50, 7))
    np.testing.assert_array_equal(again, first)
    np.testing.assert_array_equal(elsewhere, first)


def test_each_call_and_each_seed_drop_other_units():
    dropout = kernels.Dropout(0.5)
    masks = [
        *draw_masks(dropout, [1, 2], calls=3, shape=(2000,)),
        *draw_masks(dropout, [2, 2], calls=1, shape=(2000,)),
    ]
    for one in range(4):
        for other in range(one):
            # The standard error of 0.5 over 2,000 units is 0.011; allow five of them.
            assert abs(np.mean(masks[one] == masks[other]) - 0.5) < 0.056


def test_a_dropout_seed_within_another_leaves_the_outer_as_it_was():
    dropout, ones = kernels.Dropout(0.5), tf.ones([50, 7])
    want = draw_masks(dropout, [1, 2], calls=2, shape=(50, 7))
    with tracing.dropout_seed(tf.constant([1, 2])):
        first = dropout(ones, training=True)
        with tracing.dropout_seed(tf.constant([8, 9])):
            dropout(ones, training=True)
        second = dropout(ones, training=True)
    np.testing.assert_array_equal([first, second], want)


def test_without_a_dropout_seed_each_call_drops_other_units():
    dropout, ones = kernels.Dropout(0.5), tf.ones([2000])
    one, other = (np.asarray(dropout(ones, training=True)) for _ in range(2))
    assert abs(np.mean(one == other) - 0.5) < 0.056
    assert abs(np.mean(one == 0.0) - 0.5) < 0.056


def test_without_a_dropout_seed_each_replica_drops_other_units(two_replicas):
    with two_replicas.scope():
        dropout = kernels.Dropout(0.5)

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


@pytest.mark.parametrize("layer", [kernels.Dropout(0.3), kernels.LayerNorm(1e-3)])
def test_a_layer_is_made_again_from_its_settings(layer):
    again = type(layer).from_config(layer.get_config())
    assert again.get_config() == layer.get_config()


def test_truncated_normal_is_cut_at_two_sigma():
    draws = np.asarray(kernels.truncated_normal(tiny.MODEL)((200, 201)))
    assert 0.039 < np.max(np.abs(draws)) <= 0.04
    # A normal cut at two sigma keeps 0.87963 of its sigma; the standard error of that
    # over 40,200 draws is 0.3 %; allow four of them.
    np.testing.assert_allclose(np.std(draws), 0.02 * 0.87963, rtol=0.012)
    assert abs(np.mean(draws)) < 4 * 0.0176 / 200


def dropping(kernel):
    return lambda x, seed: kernel(x, 0.4, seed)


def normalizing(kernel):
    return lambda x, gamma, beta, _: kernel(x, kernels.Norm(gamma, beta), 0.01)


def attending(kernel):
    """Five tokens see those of seven that are of their example."""
    see = np.array([[1, 1, 2, 2, 2], [1, 2, 2, 2, 2]])
    seen = np.array([[1, 2, 2, 1, 2, 1, 1], [2, 2, 2, 2, 1, 1, 2]])
    bias = -10_000.0 * (see[:, None, :, None] != seen[:, None, None, :])

    def run(queries, keys, values, seed):
        given = tf.cast(bias, queries.dtype)
        return kernel(queries, keys, values, given, 0.4, seed)

    return run


def adding(kernel):
    def run(x, more, gamma, beta, seed):
        return kernel(x, more, kernels.Norm(gamma, beta), 0.01, 0.4, seed)

    return run


# Each kernel, its plain twin, and the shapes of what they are given.
TWINS = {
    "dropout": (dropping, kernels.dropout, plain.dropout, [(5, 4, 7)]),
    "layer_norm": (
        normalizing,
        kernels.layer_norm,
        plain.layer_norm,
        [(5, 4, 7), (7,), (7,)],
    ),
    "gelu": (
        lambda kernel: lambda x, _: kernel(x),
        kernels.exact_gelu,
        plain.exact_gelu,
        [(5, 4, 7)],
    ),
    "attention": (
        attending,
        kernels.attention,
        plain.attention,
        [(2, 3, 5, 4), (2, 3, 7, 4), (2, 3, 7, 4)],
    ),
    "add_and_norm": (
        adding,
        kernels.add_and_norm,
        plain.add_and_norm,
        [(9, 7), (9, 7), (7,), (7,)],
    ),
}


@pytest.mark.parametrize("seed", [None, [3, 4]])
@pytest.mark.parametrize(
    ("dtype", "error"),
    [("float32", 1e-5), ("bfloat16", 0.02), ("float16", 3e-3)],
)
@pytest.mark.parametrize("name", TWINS)
def test_a_kernel_has_the_values_and_slopes_of_its_plain_twin(name, dtype, error, seed):
    call, kernel, twin, shapes = TWINS[name]
    rng = np.random.default_rng(5)
    given = [tf.cast(rng.normal(size=shape), dtype) for shape in shapes]

    def learn(kernel, given):
        with tf.GradientTape() as tape:
            tape.watch(given)
            y = call(kernel)(*given, None if seed is None else tf.constant(seed))
            weights = np.random.default_rng(6).normal(size=y.shape)
            loss = tf.reduce_sum(tf.cast(y, tf.float32) * tf.cast(weights, tf.float32))
        return [y, *tape.gradient(loss, given)]

    found = learn(kernel, given)
    # The twin in float32, from the same numbers: that is what rounding is held to.
    wanted = learn(twin, [tf.cast(x, tf.float32) for x in given])
    for one, other in zip(found, wanted, strict=True):
        assert one.dtype == dtype
        most = np.max(np.abs(other))
        assert most > 0.1
        np.testing.assert_allclose(tf.cast(one, tf.float32), other, atol=error * most)
