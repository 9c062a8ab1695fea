import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf

from electra_tf import config
from electra_tf.network import models
from electra_tf.training import optimizer

MODEL = config.ModelConfig(
    vocab_size=11,
    embedding_size=5,
    hidden_size=6,
    num_layers=2,
    num_heads=3,
    intermediate_size=8,
    max_positions=9,
)

# Three gradients of a kernel [2, 3] and a bias [3].
RNG = np.random.default_rng(6)
KERNEL, BIAS = RNG.normal(0, 1, [2, 3]), RNG.normal(0, 1, [3])
KERNEL_GRADIENTS = [RNG.normal(0, 1, [2, 3]) for _ in range(3)]
BIAS_GRADIENTS = [RNG.normal(0, 1e-3, [3]) for _ in range(3)]


@pytest.fixture(scope="module")
def networks():
    generator = config.GeneratorConfig(width_scale=0.5).resolve(MODEL)
    return [models.build_generator(generator), models.build_discriminator(MODEL)]


def variables():
    """Returns a kernel and a bias, with the paths they would have in a head."""
    found = []
    for name, value in (("kernel", KERNEL), ("bias", BIAS)):
        with keras.name_scope("layer_0"):
            found.append(keras.Variable(np.float32(value), name=name))
    return found


def run(learner, steps=3):
    """Returns kernel and bias after the first gradients."""
    trained = variables()
    for step in range(steps):
        gradients = KERNEL_GRADIENTS[step], BIAS_GRADIENTS[step]
        gradients = [tf.constant(gradient, tf.float32) for gradient in gradients]
        learner.apply_gradients(zip(gradients, trained, strict=True))
    return [v.numpy() for v in trained]


def adam(weight, gradients, rates, decay, bias_correction=False):
    """The update of the 2020 code in numpy, beta 0.9 and 0.999, epsilon 1e-6.

    With bias correction it is the textbook's, but that epsilon is corrected too (the
    second form of Kingma and Ba, section 2, and TensorFlow's).
    """
    m = v = np.zeros_like(weight)
    for step, (gradient, rate) in enumerate(zip(gradients, rates, strict=True), 1):
        m = 0.9 * m + 0.1 * gradient
        v = 0.999 * v + 0.001 * gradient**2
        m_part, v_part = (1 - 0.9**step, 1 - 0.999**step) if bias_correction else (1, 1)
        root = np.sqrt(v / v_part) + 1e-6 / np.sqrt(v_part)
        weight = weight - rate * (m / m_part / root + decay * weight)
    return weight


def assert_trained(found, kernel, bias):
    """Compares [kernel, bias] after training by how far they have come."""
    for got, want, start in zip(found, (kernel, bias), (KERNEL, BIAS), strict=True):
        # 1 - 0.999 in float32 is off by 5e-5, its root by half of that.
        np.testing.assert_allclose(got - start, want - start, rtol=1e-4, atol=1e-6)


def test_three_updates_are_those_of_the_2020_code():
    found = run(optimizer.AdamW(0.1, weight_decay=0.02))
    rates = [0.1, 0.1, 0.1]
    kernel = adam(KERNEL, KERNEL_GRADIENTS, rates, decay=0.02)
    bias = adam(BIAS, BIAS_GRADIENTS, rates, decay=0.0)
    assert_trained(found, kernel, bias)


def test_epsilon_is_added_outside_the_root():
    learner = optimizer.AdamW(1.0, weight_decay=0.0, epsilon=0.5)
    found = run(learner, steps=1)
    kernel, bias = (
        start - 0.1 * gradient / (np.sqrt(0.001) * np.abs(gradient) + 0.5)
        for start, gradient in (
            (KERNEL, KERNEL_GRADIENTS[0]),
            (BIAS, BIAS_GRADIENTS[0]),
        )
    )
    assert_trained(found, kernel, bias)


def test_bias_correction_gives_the_textbook_update():
    found = run(optimizer.AdamW(0.1, weight_decay=0.02, bias_correction=True))
    rates = [0.1, 0.1, 0.1]
    kernel = adam(KERNEL, KERNEL_GRADIENTS, rates, decay=0.02, bias_correction=True)
    bias = adam(BIAS, BIAS_GRADIENTS, rates, decay=0.0, bias_correction=True)
    assert_trained(found, kernel, bias)


def test_the_first_corrected_update_is_as_long_as_the_rate():
    learner = optimizer.AdamW(0.1, weight_decay=0.0, bias_correction=True)
    kernel, _ = run(learner, steps=1)
    want = -0.1 * np.sign(KERNEL_GRADIENTS[0])
    np.testing.assert_allclose(kernel - KERNEL, want, rtol=1e-3)


def test_the_schedule_sets_the_rate_of_each_update():
    learner = optimizer.AdamW(optimizer.WarmupDecay(0.4, 10, 2), weight_decay=0.02)
    found = run(learner)
    rates = [0.0, 0.4 * 0.9 * 0.5, 0.4 * 0.8]
    kernel = adam(KERNEL, KERNEL_GRADIENTS, rates, decay=0.02)
    bias = adam(BIAS, BIAS_GRADIENTS, rates, decay=0.0)
    assert_trained(found, kernel, bias)
    assert int(learner.iterations) == 3


def test_a_variables_factor_scales_its_rate_and_its_decay():
    path = variables()[0].path
    found = run(optimizer.AdamW(0.1, weight_decay=0.02, rates={path: 0.25}))
    kernel = adam(KERNEL, KERNEL_GRADIENTS, [0.025] * 3, decay=0.02)
    bias = adam(BIAS, BIAS_GRADIENTS, [0.1] * 3, decay=0.0)
    assert_trained(found, kernel, bias)


@pytest.mark.parametrize(
    ("step", "rate"),
    [
        (0, 0.0),
        (1, 2.0 * 0.99 * 0.25),
        (2, 2.0 * 0.98 * 0.5),
        (4, 2.0 * 0.96),  # the peak: a little below 2
        (50, 1.0),
        (99, 0.02),
        (100, 0.0),
        (130, 0.0),
    ],
)
def test_warm_up_and_decay_are_multiplied(step, rate):
    schedule = optimizer.WarmupDecay(2.0, steps=100, warmup_steps=4)
    np.testing.assert_allclose(schedule(tf.constant(step)), rate, rtol=1e-5, atol=1e-7)


def test_the_decay_has_a_power_and_the_warm_up_may_be_none():
    schedule = optimizer.WarmupDecay(2.0, steps=10, warmup_steps=0, power=3.0)
    rates = [float(schedule(tf.constant(step))) for step in (0, 5, 10)]
    np.testing.assert_allclose(rates, [2.0, 0.25, 0.0], rtol=1e-6)


def test_the_optimizer_is_built_from_the_settings():
    train = config.TrainConfig(
        steps=10,
        warmup_steps=2,
        learning_rate=0.4,
        decay_power=2.0,
        weight_decay=0.3,
        beta_1=0.8,
        beta_2=0.95,
        epsilon=1e-3,
        bias_correction=True,
    )
    found = optimizer.build(train).get_config()
    schedule = found.pop("learning_rate")["config"]
    assert schedule == {"peak": 0.4, "steps": 10, "warmup_steps": 2, "power": 2.0}
    assert found == {
        "name": "adamw",
        "weight_decay": 0.3,
        "beta_1": 0.8,
        "beta_2": 0.95,
        "epsilon": 1e-3,
        "bias_correction": True,
        "rates": {},
        # The pretrainer reduces and clips before.
        "clip_norm": None,
        "reduce": False,
    }


def test_the_same_optimizer_is_made_from_its_config():
    settings = {"weight_decay": 0.02, "beta_1": 0.8, "epsilon": 1e-3, "beta_2": 0.9}
    learner = optimizer.AdamW(0.1, bias_correction=True, **settings)
    again = optimizer.AdamW.from_config(learner.get_config())
    for got, want in zip(run(again), run(learner), strict=True):
        np.testing.assert_array_equal(got, want)


def test_a_config_holds_clipping_and_reducing():
    learner = optimizer.AdamW(0.1, clip_norm=0.5, reduce=True, rates={"x": 0.5})
    again = optimizer.AdamW.from_config(learner.get_config())
    assert again.get_config() == learner.get_config()
    assert (again.clip_norm, again.reduce) == (0.5, True)


def test_weights_and_tables_decay_and_biases_and_norms_do_not(networks):
    answers = {}
    for network in networks:
        for variable in network.trainable_variables:
            # Raises unless exactly one rule matches.
            answers[variable.path] = optimizer.decays(variable.path)
    assert {path for path, decays in answers.items() if decays} == {
        path for path in answers if path.endswith(("kernel", "embeddings"))
    }
    assert not answers["masked_token_head/output_bias"]
    assert answers["embeddings/position_embeddings"]
    assert not answers["embeddings/norm/gamma"]


@pytest.mark.parametrize(
    "path", ["head/scale", "layer_0/kernels", "kernel/x", "unbias"]
)
def test_a_path_that_no_decay_rule_matches_stops_the_run(path):
    with pytest.raises(ValueError, match=f"{path}: 0 weight-decay rules match, want 1"):
        optimizer.decays(path)


def test_an_optimizer_refuses_variables_that_no_rule_matches():
    odd = keras.Variable(np.zeros(3), name="odd")
    with pytest.raises(ValueError, match="odd: 0 weight-decay rules match"):
        optimizer.AdamW(0.1).build([odd])


def test_layer_rates_fall_from_the_head_to_the_embeddings():
    paths = [
        "replaced_token_head/dense/kernel",
        "layer_11/query/kernel",
        "layer_10/output_norm/gamma",
        "layer_1/key/bias",
        "layer_0/value/kernel",
        "embeddings_project/kernel",
        "embeddings/word_embeddings",
    ]
    rates = optimizer.layer_rates(paths, num_layers=12, decay=0.8)
    powers = [0, 1, 2, 11, 12, 13, 13]
    assert list(rates) == paths
    np.testing.assert_allclose(list(rates.values()), [0.8**power for power in powers])


def test_every_variable_of_a_network_has_a_depth(networks):
    for network in networks:
        depths = [optimizer.depth(v.path, 2) for v in network.trainable_variables]
        # 5 of the embedding block and 2 of the projection; 16 a block; a head's 4 or 5.
        sizes = {depth: len(list(all_)) for depth, all_ in itertools.groupby(depths)}
        assert sizes.pop(3) in (4, 5)
        assert sizes == {0: 7, 1: 16, 2: 16}


@pytest.mark.parametrize("path", ["odd/kernel", "layer_x/kernel", "x/layer_0/kernel"])
def test_a_path_that_no_depth_rule_matches_stops_the_run(path):
    with pytest.raises(ValueError, match="0 learning-rate rules match, want 1"):
        optimizer.layer_rates([path], num_layers=2, decay=0.8)


# Clipping and reducing.


def test_gradients_are_clipped_by_their_norm_over_all_variables():
    learner = optimizer.AdamW(0.1, weight_decay=0.02, clip_norm=0.5)
    found = run(learner, steps=1)
    norm = np.sqrt(np.sum(KERNEL_GRADIENTS[0] ** 2) + np.sum(BIAS_GRADIENTS[0] ** 2))
    assert norm > 1
    kernel, bias = (
        adam(start, [gradient * 0.5 / norm], [0.1], decay)
        for start, gradient, decay in (
            (KERNEL, KERNEL_GRADIENTS[0], 0.02),
            (BIAS, BIAS_GRADIENTS[0], 0.0),
        )
    )
    assert_trained(found, kernel, bias)


def test_short_gradients_are_left_alone():
    want = run(optimizer.AdamW(0.1))
    found = run(optimizer.AdamW(0.1, clip_norm=100.0))
    for got, expected in zip(found, want, strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-6)


def test_a_variable_without_a_gradient_stays_and_the_others_are_clipped():
    learner = optimizer.AdamW(0.1, weight_decay=0.0, clip_norm=0.5, epsilon=1.0)
    kernel, bias = trained = variables()
    gradients = [tf.constant(KERNEL_GRADIENTS[0], tf.float32), None]
    with pytest.warns(UserWarning, match="Gradients do not exist for variables"):
        learner.apply_gradients(zip(gradients, trained, strict=True))
    np.testing.assert_array_equal(bias.numpy(), np.float32(BIAS))
    clipped = KERNEL_GRADIENTS[0] * 0.5 / np.linalg.norm(KERNEL_GRADIENTS[0])
    want = -0.1 * 0.1 * clipped / (np.sqrt(0.001) * np.abs(clipped) + 1.0)
    np.testing.assert_allclose(kernel.numpy() - KERNEL, want, rtol=1e-4, atol=1e-6)


def test_gradients_of_rows_are_clipped_as_dense_ones_are():
    learner = optimizer.AdamW(0.1, weight_decay=0.0, clip_norm=0.5)
    table, _ = variables()
    # The row 1 twice: their sum counts.
    rows = tf.IndexedSlices(
        tf.constant(KERNEL_GRADIENTS[0], tf.float32), tf.constant([1, 1]), [2, 3]
    )
    learner.apply_gradients([(rows, table)])
    want = np.zeros([2, 3])
    want[1] = np.sum(KERNEL_GRADIENTS[0], axis=0)
    want = adam(KERNEL, [want * 0.5 / np.linalg.norm(want)], [0.1], 0.0)
    np.testing.assert_allclose(table.numpy(), want, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("clip_norm", [None, 0.5])
def test_gradients_of_replicas_are_summed_before_they_are_clipped(
    clip_norm, two_replicas
):
    with two_replicas.scope():
        learner = optimizer.AdamW(0.1, clip_norm=clip_norm, reduce=True)
        trained = variables()
        learner.build(trained)
    # The replicas' gradients point apart: their sum is shorter than either.
    shares = [3.0, -2.0]

    @tf.function
    def step():
        def update():
            replica = tf.distribute.get_replica_context().replica_id_in_sync_group
            share = tf.gather(tf.constant(shares), replica)
            gradients = [
                share * tf.constant(gradient, tf.float32)
                for gradient in (KERNEL_GRADIENTS[0], BIAS_GRADIENTS[0])
            ]
            learner.apply_gradients(zip(gradients, trained, strict=True))

        two_replicas.run(update)

    step()
    # 3 - 2 = 1.
    want = run(optimizer.AdamW(0.1, clip_norm=clip_norm), steps=1)
    for variable, expected in zip(trained, want, strict=True):
        for copy in two_replicas.experimental_local_results(variable.value):
            np.testing.assert_allclose(copy.numpy(), expected, rtol=1e-5)


def test_another_variable_adds_little_to_the_graph_of_a_step():
    def nodes(count):
        learner = optimizer.AdamW(5e-4, bias_correction=True)
        trained = [v for _ in range(count) for v in variables()]
        learner.build(trained)

        @tf.function
        def step():
            learner.apply([tf.ones(v.shape) for v in trained])

        return len(step.get_concrete_function().graph.as_graph_def().node)

    # A kernel decays (read, multiply, subtract); both are updated, of three resources.
    assert nodes(4) - nodes(3) <= 16


def test_the_weights_are_read_for_decay_when_the_gradient_is_there():
    learner, trained = optimizer.AdamW(5e-4), variables()
    learner.build(trained)

    @tf.function
    def step(*gradients):
        learner.apply(gradients)

    graph = step.get_concrete_function(
        *(tf.TensorSpec(v.shape, tf.float32) for v in trained)
    ).graph
    (subtract,) = (
        op for op in graph.get_operations() if op.type == "AssignSubVariableOp"
    )
    product = subtract.inputs[1].op
    (read,) = (x.op for x in product.inputs if x.op.type == "ReadVariableOp")
    assert graph.inputs[0].op in read.control_inputs


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("bias_correction", [False, True])
def test_weights_of_half_precision_learn_in_float32(dtype, bias_correction):
    learner = optimizer.AdamW(0.1, bias_correction=bias_correction)
    exact = optimizer.AdamW(0.1, bias_correction=bias_correction)
    want = run(exact)
    with keras.name_scope("layer_0"):
        kernel = keras.Variable(np.float32(KERNEL), name="kernel", dtype=dtype)
    for gradient in KERNEL_GRADIENTS[:3]:
        learner.apply_gradients([(tf.constant(gradient, dtype), kernel)])
    assert {v.dtype for v in learner.moments(kernel).values()} == {"float32"}
    # A place of bfloat16 is 1 / 256 of the weight, three times.
    np.testing.assert_allclose(np.float32(kernel), want[0], rtol=0.02, atol=0.01)


def test_a_square_that_half_precision_cannot_hold_is_no_zero():
    learner = optimizer.AdamW(1.0, epsilon=1e-8, bias_correction=True)
    with keras.name_scope("layer_0"):
        bias = keras.Variable(np.zeros(1, np.float32), name="bias", dtype="float16")
    learner.apply_gradients([(tf.constant([1e-4], tf.float16), bias)])
    np.testing.assert_allclose(np.float32(bias), -1.0, rtol=0.01)
