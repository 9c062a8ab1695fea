import types

import keras
import numpy as np
import pair
import pytest
import tensorflow as tf
from momentum import Momentum

from electra_tf import config, errors
from electra_tf.network import models
from electra_tf.training import groups, lamb, optimizer

KERNEL, BIAS = pair.KERNEL, pair.BIAS
KERNEL_GRADIENTS, BIAS_GRADIENTS = pair.KERNEL_GRADIENTS, pair.BIAS_GRADIENTS
variables = pair.variables

MODEL = config.ModelConfig(
    vocab_size=11,
    embedding_size=5,
    hidden_size=6,
    num_layers=2,
    num_heads=3,
    intermediate_size=8,
    max_positions=9,
)


def run(learner, steps=1):
    """Returns how far kernel and bias have come after the first gradients."""
    found = pair.learn(learner, steps)
    starts = KERNEL, BIAS
    return [now - np.float32(old) for now, old in zip(found, starts, strict=True)]


def length(*gradients):
    return np.sqrt(sum(np.sum(np.square(gradient)) for gradient in gradients))


@pytest.fixture(scope="module")
def networks():
    generator = config.GeneratorConfig(width_scale=0.5).resolve(MODEL)
    return [models.build_generator(generator), models.build_discriminator(MODEL)]


def test_weights_and_tables_decay_and_biases_and_norms_do_not(networks):
    answers = {}
    for network in networks:
        for variable in network.trainable_variables:
            # Raises unless exactly one rule matches.
            answers[variable.path] = groups.decays(variable.path)
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
        groups.decays(path)


def test_an_optimizer_refuses_variables_that_no_rule_matches():
    odd = keras.Variable(np.zeros(3), name="odd")
    with pytest.raises(ValueError, match="odd: 0 weight-decay rules match"):
        Momentum(0.1).build([odd])


def named(*paths):
    """Returns what has those paths, as variables have them."""
    return [types.SimpleNamespace(path=path) for path in paths]


# What a group decides.


def apart(**kernel):
    """Makes a group of kernels, which is as said, and one of biases."""

    def make(variables):
        kernels = [v for v in variables if v.path.endswith("kernel")]
        biases = [v for v in variables if v.path.endswith("bias")]
        return [
            groups.Group("kernels", kernels, **kernel),
            groups.Group("biases", biases),
        ]

    return make


def test_a_groups_rate_scales_its_steps_and_its_decay():
    learner = Momentum(0.1, weight_decay=0.02, groups=apart(rate=0.25))
    kernel, bias = run(learner)
    want = -0.025 * (KERNEL_GRADIENTS[0] + 0.02 * KERNEL)
    np.testing.assert_allclose(kernel, want, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(bias, -0.1 * BIAS_GRADIENTS[0], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("of_group", "used"), [(None, 0.02), (0.3, 0.3), (0.0, 0.0)])
def test_a_group_may_have_a_weight_decay_of_its_own(of_group, used):
    learner = Momentum(0.1, weight_decay=0.02, groups=apart(weight_decay=of_group))
    kernel, bias = run(learner)
    want = -0.1 * (KERNEL_GRADIENTS[0] + used * KERNEL)
    np.testing.assert_allclose(kernel, want, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(bias, -0.1 * BIAS_GRADIENTS[0], rtol=1e-4, atol=1e-6)


def test_a_group_with_a_norm_of_its_own_is_clipped_by_it():
    trained = variables()
    learner = Momentum(1.0, clip_norm=1e-3, groups=apart(clip_norm=0.5))
    learner.build(trained)
    gradients = [
        tf.constant(one[0], tf.float32) for one in (KERNEL_GRADIENTS, BIAS_GRADIENTS)
    ]
    norms = learner.learn(gradients)
    of_kernel, of_bias = (
        length(KERNEL_GRADIENTS[0]),
        length(BIAS_GRADIENTS[0]),
    )
    assert of_kernel > 0.6
    assert of_bias > 1.1e-3
    assert list(norms) == learner.norm_names == ["gradient_norm", NORM_OF_KERNELS]
    np.testing.assert_allclose(norms[NORM_OF_KERNELS], of_kernel, rtol=1e-6)
    whole = length(KERNEL_GRADIENTS[0], BIAS_GRADIENTS[0])
    np.testing.assert_allclose(norms["gradient_norm"], whole, rtol=1e-6)
    kernel, bias = trained
    want = KERNEL - KERNEL_GRADIENTS[0] * 0.5 / of_kernel
    np.testing.assert_allclose(kernel.numpy(), want, rtol=1e-5)
    want = BIAS - BIAS_GRADIENTS[0] * 1e-3 / of_bias
    np.testing.assert_allclose(bias.numpy(), want, rtol=1e-5)


NORM_OF_KERNELS = "gradient_norm_kernels"


def test_groups_without_a_norm_of_their_own_are_clipped_as_one():
    found = run(Momentum(1.0, clip_norm=0.5, groups=apart(rate=0.25)))
    whole = length(KERNEL_GRADIENTS[0], BIAS_GRADIENTS[0])
    for got, gradient, rate in zip(
        found,
        (KERNEL_GRADIENTS[0], BIAS_GRADIENTS[0]),
        (0.25, 1.0),
        strict=True,
    ):
        want = -rate * gradient * 0.5 / whole
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("members", "said"),
    [
        ([[0]], r"layer_0/bias: in 0 groups \(none\), want 1"),
        ([[0, 1], [1]], r"layer_0/bias: in 2 groups \(g0, g1\), want 1"),
    ],
)
def test_a_variable_that_is_not_in_exactly_one_group_stops_the_run(members, said):
    def make(variables):
        return [
            groups.Group(f"g{n}", [variables[place] for place in places])
            for n, places in enumerate(members)
        ]

    with pytest.raises(ValueError, match=said):
        Momentum(0.1, groups=make).build(variables())


def trained_by(networks, **stated):
    """Returns the groups of networks, given by the places of their variables."""
    variables = named("a/kernel", "b/kernel", "c/kernel")
    made = {
        name: types.SimpleNamespace(trainable_variables=[variables[n] for n in places])
        for name, places in networks.items()
    }
    stated = {name: config.GroupConfig(**one) for name, one in stated.items()}
    learning = config.AdamWConfig(networks=stated, clip_norm=3.0)
    found = groups.by_network(variables, made, learning)
    return {
        one.name: ([variables.index(v) for v in one.variables], *one[2:])
        for one in found
    }


def test_what_two_networks_share_is_of_the_first():
    found = trained_by(
        {"generator": [0, 1], "discriminator": [0, 2]},
        discriminator={"learning_rate_scale": 0.5, "weight_decay": 0.1},
        generator={"clip_norm": 2.0},
    )
    assert found == {
        "generator": ([0, 1], 1.0, None, 2.0),
        "discriminator": ([2], 0.5, 0.1, 3.0),
    }


def test_one_network_that_is_named_gives_each_a_norm_of_its_own():
    found = trained_by({"one": [0], "two": [1], "three": [2]}, two={"clip_norm": 0.5})
    assert {name: group[-1] for name, group in found.items()} == {
        "one": 3.0,
        "two": 0.5,
        "three": 3.0,
    }


def test_a_network_that_is_not_trained_cannot_be_named():
    with pytest.raises(errors.UserError, match=r"names 'frozen'; .* trains one, two$"):
        trained_by({"frozen": [], "one": [0], "two": [1, 2]}, frozen={})


# State by name.


def test_the_state_of_a_variable_has_the_names_that_the_optimizer_gives(networks):
    trained = variables()
    other = keras.Variable(np.zeros(3, np.float32), name="bias")
    for learner in (Momentum(0.1), optimizer.AdamW(0.1), lamb.Lamb(0.1)):
        learner.build(trained)
        kept = [slot for v in trained for slot in learner.moments(v).values()]
        kept += learner.counters().values()
        assert tuple(learner.moments(trained[0])) == learner.MOMENTS
        assert learner.moments(other) == {}
        # All but the rate, which is a setting.
        assert {id(v) for v in kept} == {
            id(v) for v in learner.variables if "learning_rate" not in v.path
        }


# Clipping and summing.


def test_gradients_are_clipped_by_their_norm_over_all_variables():
    found = run(Momentum(0.1, clip_norm=0.5))
    norm = length(KERNEL_GRADIENTS[0], BIAS_GRADIENTS[0])
    assert norm > 1
    for got, gradient in zip(
        found,
        (KERNEL_GRADIENTS[0], BIAS_GRADIENTS[0]),
        strict=True,
    ):
        np.testing.assert_allclose(
            got, -0.1 * gradient * 0.5 / norm, rtol=1e-4, atol=1e-6
        )


def test_the_norm_of_half_precision_is_that_of_float32():
    trained = [
        keras.Variable(np.zeros(2), name=name, dtype=dtype)
        for name, dtype in (("kernel", "float16"), ("bias", "float32"))
    ]
    learner = Momentum(1.0, clip_norm=5.0)
    learner.build(trained)
    norms = learner.learn(
        [tf.constant([300.0, 0.0], tf.float16), tf.constant([0.0, 400.0])]
    )
    assert float(norms["gradient_norm"]) == 500.0
    np.testing.assert_allclose(np.float32(trained[0]), [-3.0, 0.0], rtol=1e-3)
    np.testing.assert_allclose(trained[1].numpy(), [0.0, -4.0], rtol=1e-6)


def test_short_gradients_are_left_alone():
    for got, want in zip(
        run(Momentum(0.1, clip_norm=100.0)), run(Momentum(0.1)), strict=True
    ):
        np.testing.assert_allclose(got, want, rtol=1e-6)


def test_a_variable_without_a_gradient_stays_and_the_others_are_clipped():
    learner = Momentum(0.1, clip_norm=0.5)
    kernel, bias = trained = variables()
    gradients = [tf.constant(KERNEL_GRADIENTS[0], tf.float32), None]
    with pytest.warns(UserWarning, match="Gradients do not exist for variables"):
        learner.apply_gradients(zip(gradients, trained, strict=True))
    np.testing.assert_array_equal(bias.numpy(), np.float32(BIAS))
    want = -0.1 * KERNEL_GRADIENTS[0] * 0.5 / length(KERNEL_GRADIENTS[0])
    np.testing.assert_allclose(kernel.numpy() - KERNEL, want, rtol=1e-4, atol=1e-6)


def test_gradients_of_rows_are_clipped_as_dense_ones_are():
    learner = Momentum(0.1, clip_norm=0.5)
    table, _ = variables()
    # The row 1 twice: their sum counts.
    rows = tf.IndexedSlices(
        tf.constant(KERNEL_GRADIENTS[0], tf.float32),
        tf.constant([1, 1]),
        [2, 3],
    )
    learner.apply_gradients([(rows, table)])
    slopes = np.zeros([2, 3])
    slopes[1] = np.sum(KERNEL_GRADIENTS[0], axis=0)
    want = KERNEL - 0.1 * slopes * 0.5 / length(slopes)
    np.testing.assert_allclose(table.numpy(), want, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("kind", [Momentum, optimizer.AdamW])
@pytest.mark.parametrize("clip_norm", [None, 0.5])
def test_gradients_of_replicas_are_summed_before_they_are_clipped(
    kind, clip_norm, two_replicas
):
    with two_replicas.scope():
        learner = kind(0.1, clip_norm=clip_norm)
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
                for gradient in (
                    KERNEL_GRADIENTS[0],
                    BIAS_GRADIENTS[0],
                )
            ]
            learner.apply_gradients(zip(gradients, trained, strict=True))

        two_replicas.run(update)

    step()
    # 3 - 2 = 1.
    want = run(kind(0.1, clip_norm=clip_norm))
    for variable, start, expected in zip(trained, (KERNEL, BIAS), want, strict=True):
        for copy in two_replicas.experimental_local_results(variable.value):
            got = copy.numpy() - np.float32(start)
            np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-7)
