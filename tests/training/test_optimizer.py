import re
from pathlib import Path

import keras
import momentum
import numpy as np
import pair
import pytest
import tensorflow as tf

from electra_tf import config, errors
from electra_tf.training import groups, optimizer

KERNEL, BIAS = pair.KERNEL, pair.BIAS
KERNEL_GRADIENTS, BIAS_GRADIENTS = pair.KERNEL_GRADIENTS, pair.BIAS_GRADIENTS
variables = pair.variables


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
    for got, want, start in zip(
        found,
        (kernel, bias),
        (KERNEL, BIAS),
        strict=True,
    ):
        # 1 - 0.999 in float32 is off by 5e-5, its root by half of that.
        np.testing.assert_allclose(got - start, want - start, rtol=1e-4, atol=1e-6)


def test_three_updates_are_those_of_the_2020_code():
    found = pair.learn(optimizer.AdamW(0.1, weight_decay=0.02))
    rates = [0.1, 0.1, 0.1]
    kernel = adam(KERNEL, KERNEL_GRADIENTS, rates, decay=0.02)
    bias = adam(BIAS, BIAS_GRADIENTS, rates, decay=0.0)
    assert_trained(found, kernel, bias)


def test_epsilon_is_added_outside_the_root():
    learner = optimizer.AdamW(1.0, weight_decay=0.0, epsilon=0.5)
    found = pair.learn(learner, steps=1)
    kernel, bias = (
        start - 0.1 * gradient / (np.sqrt(0.001) * np.abs(gradient) + 0.5)
        for start, gradient in (
            (KERNEL, KERNEL_GRADIENTS[0]),
            (BIAS, BIAS_GRADIENTS[0]),
        )
    )
    assert_trained(found, kernel, bias)


def test_bias_correction_gives_the_textbook_update():
    found = pair.learn(optimizer.AdamW(0.1, weight_decay=0.02, bias_correction=True))
    rates = [0.1, 0.1, 0.1]
    kernel = adam(
        KERNEL,
        KERNEL_GRADIENTS,
        rates,
        decay=0.02,
        bias_correction=True,
    )
    bias = adam(
        BIAS,
        BIAS_GRADIENTS,
        rates,
        decay=0.0,
        bias_correction=True,
    )
    assert_trained(found, kernel, bias)


def test_the_first_corrected_update_is_as_long_as_the_rate():
    learner = optimizer.AdamW(0.1, weight_decay=0.0, bias_correction=True)
    kernel, _ = pair.learn(learner, steps=1)
    want = -0.1 * np.sign(KERNEL_GRADIENTS[0])
    np.testing.assert_allclose(kernel - KERNEL, want, rtol=1e-3)


def test_the_schedule_sets_the_rate_of_each_update():
    learner = optimizer.AdamW(optimizer.WarmupDecay(0.4, 10, 2), weight_decay=0.02)
    found = pair.learn(learner)
    rates = [0.0, 0.4 * 0.9 * 0.5, 0.4 * 0.8]
    kernel = adam(KERNEL, KERNEL_GRADIENTS, rates, decay=0.02)
    bias = adam(BIAS, BIAS_GRADIENTS, rates, decay=0.0)
    assert_trained(found, kernel, bias)
    assert int(learner.iterations) == 3


def test_a_groups_rate_scales_its_updates_and_its_decay():
    def make(variables):
        return [
            groups.Group("kernels", variables[:1], rate=0.25),
            groups.Group("biases", variables[1:]),
        ]

    found = pair.learn(optimizer.AdamW(0.1, weight_decay=0.02, groups=make))
    kernel = adam(
        KERNEL,
        KERNEL_GRADIENTS,
        [0.025] * 3,
        decay=0.02,
    )
    bias = adam(BIAS, BIAS_GRADIENTS, [0.1] * 3, decay=0.0)
    assert_trained(found, kernel, bias)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_decay_alone_pulls_at_each_weight_by_its_own_rate(dtype):
    def make(variables):
        return [
            groups.Group("slow", variables[:1], rate=0.25),
            groups.Group("fast", variables[1:]),
        ]

    learner, kernels = optimizer.AdamW(0.5, weight_decay=0.5, groups=make), []
    for layer in ("layer_0", "layer_1"):
        with keras.name_scope(layer):
            value = np.float32([[1.0, -2.0]])
            kernels.append(keras.Variable(value, name="kernel", dtype=dtype))
    still = tf.zeros([1, 2], dtype)
    learner.apply_gradients([(still, kernel) for kernel in kernels])
    np.testing.assert_array_equal(np.float32(kernels[0]), [[0.9375, -1.875]])
    np.testing.assert_array_equal(np.float32(kernels[1]), [[0.75, -1.5]])


def test_the_same_optimizer_is_made_from_its_config():
    settings = {"weight_decay": 0.02, "beta_1": 0.8, "epsilon": 1e-3, "beta_2": 0.9}
    learner = optimizer.AdamW(0.1, bias_correction=True, **settings)
    again = optimizer.AdamW.from_config(learner.get_config())
    for got, want in zip(pair.learn(again), pair.learn(learner), strict=True):
        np.testing.assert_array_equal(got, want)


def test_a_config_holds_clipping():
    learner = optimizer.AdamW(0.1, clip_norm=0.5)
    again = optimizer.AdamW.from_config(learner.get_config())
    assert again.get_config() == learner.get_config()
    assert again.clip_norm == 0.5


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
    want = pair.learn(exact)
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


# The schedule; by name.


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


@pytest.mark.parametrize(
    ("step", "rate"),
    [
        (0, 0.0),
        (10, 2.0 * 0.5),
        (20, 2.0),  # the stated peak
        (80, 2.0 * 0.25**0.5),
        (100, 0.0),
        (130, 0.0),
    ],
)
def test_the_decay_may_begin_when_the_warm_up_has_ended(step, rate):
    schedule = optimizer.WarmupDecay(2.0, 100, 20, power=0.5, after_warmup=True)
    again = optimizer.WarmupDecay(**schedule.get_config())
    np.testing.assert_allclose(again(tf.constant(step)), rate, rtol=1e-5, atol=1e-7)


def test_the_optimizer_is_built_from_the_settings():
    train = config.TrainConfig(
        steps=10, warmup_steps=2, learning_rate=0.4, decay_power=2.0
    )
    stated = {
        "weight_decay": 0.3,
        "clip_norm": 0.7,
        "beta_1": 0.8,
        "beta_2": 0.95,
        "epsilon": 1e-3,
        "bias_correction": True,
    }
    learning = config.AdamWConfig(**stated)
    found = optimizer.build(learning, train, {}).get_config()
    schedule = found.pop("learning_rate")["config"]
    assert schedule == {
        "peak": 0.4,
        "steps": 10,
        "warmup_steps": 2,
        "power": 2.0,
        "after_warmup": False,
    }
    assert found == {"name": "adamw", **stated}


def test_every_optimizer_has_its_settings_and_its_defaults():
    assert {"adamw", "lamb"} == config.OptimizerConfig.KINDS.keys()
    for name in config.OptimizerConfig.KINDS:
        kind = config.OptimizerConfig.kind(name)
        assert optimizer.find(kind(name=name)).Settings is kind
        usual = kind(name=name).model_dump(exclude={"networks"})
        made = optimizer.build(kind(name=name), config.TrainConfig(), {}).get_config()
        assert {n: made[n] for n in usual} == usual


def test_an_optimizer_of_ones_own_is_named_by_its_module():
    stated = ["optimizer.name=momentum:Momentum", "optimizer.beta=0.25"]
    settings = config.load(config.PretrainConfig, None, stated)
    made = optimizer.build(settings.optimizer, settings.train, {})
    assert isinstance(made, momentum.Momentum)
    assert (made.beta, made.clip_norm) == (0.25, 1.0)


def test_the_optimizer_of_the_page_learns(tmp_path, monkeypatch):
    page = Path(__file__).parents[2] / "docs/pretraining.md"
    (code,) = re.findall(r"```python\n(.*?)```", page.read_text("utf-8"), re.S)
    (tmp_path / "lion.py").write_text(code, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    # What the page says to add to a command.
    said = re.search(
        r"`(--set optimizer\.name=lion.*?)`", page.read_text("utf-8"), re.S
    )
    stated = re.findall(r"--set\s+(\S+)", said[1])
    settings = config.load(
        config.PretrainConfig, None, [*stated, "optimizer.weight_decay=0.5"]
    )
    train = settings.train.model_copy(update={"warmup_steps": 0})
    learner, trained = (
        optimizer.build(settings.optimizer, train, {}),
        variables(),
    )
    learner.build(trained)
    learner.learn([tf.ones([2, 3]), -tf.ones([3])])
    # The sign of the gradient, and half the weight where it decays.
    kernel, bias = (v.numpy() for v in trained)
    np.testing.assert_allclose(
        kernel - KERNEL,
        -1e-4 * (1 + 0.5 * KERNEL),
        rtol=1e-2,
    )
    np.testing.assert_allclose(bias - BIAS, 1e-4 * np.ones(3), rtol=1e-2)
    assert learner.beta_2 == 0.98


class NoOptimizer:
    """Has settings, and is none."""

    Settings = config.OptimizerConfig


def test_a_class_that_is_no_optimizer_is_refused():
    learning = config.OptimizerConfig(name=f"{__name__}:NoOptimizer")
    with pytest.raises(errors.UserError, match="NoOptimizer: it is no optimizer"):
        optimizer.build(learning, config.TrainConfig(), {})
