"""LAMB beside numpy, alone and as the optimizer of a run."""

import keras
import masked_rows
import numpy as np
import pytest
import tensorflow as tf

from electra_tf import config
from electra_tf.training import groups, lamb, train_step, variants

BETAS = {"beta_1": 0.8, "beta_2": 0.95}
RNG = np.random.default_rng(3)
PATHS = ("layer_0/kernel", "layer_0/bias", "layer_1/kernel", "layer_1/gamma")
SHAPES = ([2, 3], [3], [3, 5], [5])
STARTS = [RNG.normal(0, 1, shape) for shape in SHAPES]
GRADIENTS = [[RNG.normal(0, 1, shape) for shape in SHAPES] for _ in range(4)]


def variables(starts=STARTS):
    found = []
    for path, start in zip(PATHS, starts, strict=True):
        layer, name = path.split("/")
        with keras.name_scope(layer):
            found.append(keras.Variable(np.float32(start), name=name))
    return found


def two_groups(made):
    """The second layer learns at half the rate, decays more, has its own norm."""
    return [
        groups.Group("first", made[:2]),
        groups.Group("second", made[2:], rate=0.5, weight_decay=0.2, clip_norm=0.7),
    ]


def reference(adapt_all=False, steps=4):
    """The same in numpy: clips, averages, corrects, decays, scales by the lengths."""
    weights = [start.copy() for start in STARTS]
    moments = [[np.zeros(shape), np.zeros(shape)] for shape in SHAPES]
    for step, gradients in enumerate(GRADIENTS[:steps], 1):
        for members, limit, rate, decay in (
            ([0, 1], 1.5, 0.1, 0.03),
            ([2, 3], 0.7, 0.05, 0.2),
        ):
            norm = np.sqrt(sum(np.sum(gradients[n] ** 2) for n in members))
            assert norm > limit
            for n in members:
                gradient, (m, v) = gradients[n] * limit / norm, moments[n]
                m[:] = 0.8 * m + 0.2 * gradient
                v[:] = 0.95 * v + 0.05 * gradient**2
                update = (m / (1 - 0.8**step)) / (np.sqrt(v / (1 - 0.95**step)) + 1e-6)
                is_matrix = n in (0, 2)
                update += decay * weights[n] * is_matrix
                ratio = 1.0
                if is_matrix or adapt_all:
                    ratio = np.linalg.norm(weights[n]) / np.linalg.norm(update)
                weights[n] = weights[n] - rate * ratio * update
    return weights


def learner(**more):
    return lamb.Lamb(
        0.1, weight_decay=0.03, clip_norm=1.5, groups=two_groups, **BETAS, **more
    )


def learn(made, trained, jit=None):
    made.build(trained)

    @tf.function(jit_compile=jit)
    def step(gradients):
        made.learn(gradients)

    for gradients in GRADIENTS:
        step([tf.constant(gradient, tf.float32) for gradient in gradients])
    return [v.numpy() for v in trained]


@pytest.mark.parametrize(("adapt_all", "jit"), [(False, None), (True, True)])
def test_four_steps_of_two_groups_are_the_papers(adapt_all, jit):
    found = learn(learner(adapt_all=adapt_all), variables(), jit)
    for got, want in zip(found, reference(adapt_all), strict=True):
        np.testing.assert_allclose(got, want, rtol=2e-5, atol=2e-6)


def test_a_matrix_moves_by_the_rate_times_its_length_and_a_bias_by_the_rate():
    trained = variables()
    made = lamb.Lamb(0.1, weight_decay=0.0)
    made.build(trained)
    made.learn([tf.constant(g, tf.float32) for g in GRADIENTS[0]])
    moved = [
        np.linalg.norm(v.numpy() - start)
        for v, start in zip(trained, STARTS, strict=True)
    ]
    for place in (0, 2):
        want = 0.1 * np.linalg.norm(STARTS[place])
        np.testing.assert_allclose(moved[place], want, rtol=1e-4)
    # Of a corrected first step each number is 1 long.
    np.testing.assert_allclose(moved[1], 0.1 * np.sqrt(3), rtol=1e-4)
    np.testing.assert_allclose(moved[3], 0.1 * np.sqrt(5), rtol=1e-4)


def test_a_tensor_of_zeros_and_one_without_slope_have_a_ratio_of_one():
    kernel, bias, still, _ = trained = variables(
        [np.zeros([2, 3]), STARTS[1], STARTS[2], STARTS[3]]
    )
    made = lamb.Lamb(0.1, weight_decay=0.0)
    made.build(trained)
    made.learn([tf.ones([2, 3]), tf.zeros([3]), tf.zeros([3, 5]), tf.zeros([5])])
    np.testing.assert_allclose(kernel.numpy(), np.full([2, 3], -0.1), rtol=1e-4)
    np.testing.assert_array_equal(still.numpy(), np.float32(STARTS[2]))
    np.testing.assert_array_equal(bias.numpy(), np.float32(STARTS[1]))


def test_two_replicas_take_the_steps_of_one(two_replicas):
    with two_replicas.scope():
        trained, made = variables(), learner()
        made.build(trained)

    @tf.function
    def step(gradients):
        two_replicas.run(lambda: made.apply([g / 2 for g in gradients], trained))

    for gradients in GRADIENTS:
        step([tf.constant(gradient, tf.float32) for gradient in gradients])
    for variable, want in zip(trained, reference(), strict=True):
        for local in two_replicas.experimental_local_results(variable.value):
            np.testing.assert_allclose(local.numpy(), want, rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_weights_of_half_precision_learn_in_float32(dtype):
    with keras.name_scope("layer_0"):
        kernel = keras.Variable(np.float32(STARTS[0]), name="kernel", dtype=dtype)
    made = lamb.Lamb(0.1)
    made.apply_gradients([(tf.constant(GRADIENTS[0][0], dtype), kernel)])
    assert {v.dtype for v in made.moments(kernel).values()} == {"float32"}
    moved = np.float32(kernel) - STARTS[0]
    want = 0.1 * np.linalg.norm(STARTS[0])
    np.testing.assert_allclose(np.linalg.norm(moved), want, rtol=0.02)


def test_the_same_optimizer_is_made_from_its_config():
    made = lamb.Lamb(0.1, adapt_all=True, epsilon=1e-3, clip_norm=0.5, **BETAS)
    again = lamb.Lamb.from_config(made.get_config())
    assert again.get_config() == made.get_config()
    assert (again.adapt_all, again.epsilon, again.name) == (True, 1e-3, "lamb")


# As the optimizer of a run.


def update_of(compile_step=False, **train):
    """Returns weights and the last sums of two updates of both networks."""
    settings = masked_rows.settings_of("electra")
    apart = {"generator": config.GroupConfig(learning_rate_scale=0.5, clip_norm=0.2)}
    model = settings.model.model_copy(
        update={"hidden_dropout_rate": 0.0, "attention_dropout_rate": 0.0}
    )
    settings = settings.model_copy(
        update={
            "model": model,
            "train": config.TrainConfig(
                steps=9, warmup_steps=0, learning_rate=0.05, **train
            ),
            "optimizer": variants.LambConfig(name="lamb", networks=apart),
        }
    )
    made = train_step.build(settings, compile_step=compile_step)
    assert isinstance(made.learner, lamb.Lamb)
    update = tf.function(made.update)
    sums = [update(masked_rows.BATCH) for _ in range(2)]
    return [v.numpy() for v in made.trainable_variables], sums[-1]


@pytest.mark.slow
def test_a_run_of_micro_batches_under_xla_is_that_of_the_whole_batch():
    weights, sums = update_of()
    again, others = update_of(compile_step=True, accumulation_steps=2)
    assert float(sums["finite"]) == 1.0
    assert float(sums["gradient_norm_generator"]) > 0.2
    np.testing.assert_allclose(others["rtd_loss"], sums["rtd_loss"], rtol=1e-4)
    for got, want in zip(again, weights, strict=True):
        # A slope of 1e-7 may point either way, and Adam takes a whole step for it.
        is_far = np.abs(got - want) > 1e-3 * (1.0 + np.abs(want))
        assert is_far.mean() < 0.02
