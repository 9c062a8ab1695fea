"""The loss scale of float16: what it does to a step, and what a skipped one leaves."""

import keras
import masked_rows
import momentum
import numpy as np
import pair
import pytest
import tensorflow as tf

from electra_tf import config, errors
from electra_tf.training import checkpoint, groups, half, lamb, optimizer, train_step

ADAMW = half.scaling(optimizer.AdamW)
KINDS = [optimizer.AdamW, lamb.Lamb, momentum.Momentum]
PLAIN = [pair.KERNEL_GRADIENTS, pair.BIAS_GRADIENTS]


def gradients(step, factor=1.0):
    return [tf.constant(one[step] * factor, tf.float32) for one in PLAIN]


def started(kind=ADAMW, **settings):
    """Returns an optimizer that has learned once, and its kernel and bias."""
    trained = pair.variables()
    learner = kind(0.1, weight_decay=0.02, **settings)
    learner.build(trained)
    learner.learn(gradients(0, scale_of(learner)))
    return learner, trained


def scale_of(learner):
    return float(learner.counters()["loss_scale"].numpy())


def state(learner, trained):
    """Returns all but the scale and the good steps."""
    kept = [v for v in learner.variables if v.path.split("/")[-1] not in SCALE]
    return [v.numpy() for v in [*trained, *kept]]


SCALE = ("loss_scale", "good_steps")
OVERFLOWS = {
    "inf": lambda kernel, bias: [kernel * np.inf, bias],
    "nan in the other": lambda kernel, bias: [kernel, bias + np.nan],
    "of both signs": lambda kernel, bias: [kernel, bias * [np.inf, 1.0, -np.inf]],
}


# Arithmetic.


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_without_an_overflow_it_learns_as_without_a_scale_to_the_bit(kind):
    learner, trained = started(half.scaling(kind), clip_norm=0.5)
    plain = pair.variables()
    other = kind(0.1, weight_decay=0.02, clip_norm=0.5)
    other.build(plain)
    want = other.learn(gradients(0))
    for step in (1, 2):
        told = learner.learn(gradients(step, scale_of(learner)))
        want = other.learn(gradients(step))
    for got, expected in zip(trained, plain, strict=True):
        np.testing.assert_array_equal(got.numpy(), expected.numpy())
    assert float(told["gradient_norm"]) == float(want["gradient_norm"])
    assert (float(told["loss_scale"]), float(told["skipped"])) == (2.0**15, 0.0)
    assert list(told) == learner.norm_names
    assert int(learner.iterations) == 3


@pytest.mark.parametrize(
    ("kind", "jit"),
    [(optimizer.AdamW, True), (lamb.Lamb, None), (momentum.Momentum, None)],
    ids=lambda kind: getattr(kind, "__name__", kind),
)
def test_an_overflow_leaves_weights_moments_and_updates_as_they_were(kind, jit):
    learner, trained = started(half.scaling(kind), clip_norm=0.5)
    before = state(learner, trained)
    learn = tf.function(learner.learn, jit_compile=jit)
    for number, overflow in enumerate(OVERFLOWS.values(), 1):
        told = learn(overflow(*gradients(1, scale_of(learner))))
        assert float(told["skipped"]) == 1.0
        assert float(told["gradient_norm"]) == 0.0
        assert scale_of(learner) == 2.0 ** (15 - number)
    for got, want in zip(state(learner, trained), before, strict=True):
        np.testing.assert_array_equal(got, want)
    assert np.any(before[-1])  # Moments were there to be kept.
    # And it goes on as if nothing had been.
    told = learn(gradients(1, scale_of(learner)))
    assert float(told["skipped"]) == 0.0
    again, others = started(half.scaling(kind), clip_norm=0.5)
    again.learn(gradients(1, scale_of(again)))
    for got, want in zip(trained, others, strict=True):
        np.testing.assert_allclose(got.numpy(), want.numpy(), rtol=1e-6)


def test_an_overflow_in_one_group_skips_those_that_have_norms_of_their_own():
    def apart(variables):
        return [
            groups.Group("kernels", variables[:1], clip_norm=0.5),
            groups.Group("biases", variables[1:], clip_norm=0.1),
        ]

    learner, trained = started(groups=apart)
    before = state(learner, trained)
    kernel, bias = gradients(1, scale_of(learner))
    told = learner.learn([kernel, bias * np.inf])
    for got, want in zip(state(learner, trained), before, strict=True):
        np.testing.assert_array_equal(got, want)
    assert [float(told[f"gradient_norm_{n}"]) for n in ("kernels", "biases")] == [0, 0]


def test_the_scale_doubles_after_so_many_good_steps_and_an_overflow_begins_anew(
    monkeypatch,
):
    monkeypatch.setattr(half, "GROWTH_STEPS", 3)
    monkeypatch.setattr(half, "LARGEST_SCALE", 2.0**16)
    learner, _ = started()

    def learn(*whether_good):
        scales = []
        for good in whether_good:
            factor = scale_of(learner) if good else np.inf
            learner.learn(gradients(1, factor))
            scales.append(np.log2(scale_of(learner)))
        return scales

    assert learn(1, 1) == [15, 16]  # One good step came before.
    assert learn(1, 1, 1) == [16, 16, 16]  # It is as large as it may be.
    assert learn(1, 1, 0) == [16, 16, 15]
    assert learn(1, 1, 1) == [15, 15, 16]


def test_an_overflow_at_the_smallest_scale_is_told_and_ends_all():
    learner, trained = started()
    learner.counters()["loss_scale"].assign(half.SMALLEST_SCALE)
    assert not learner.has_failed()
    before = state(learner, trained)
    told = learner.learn(gradients(1, np.inf))
    assert not np.isfinite(told["gradient_norm"])
    assert learner.has_failed()
    told = learner.learn(gradients(1, 0.0))
    assert not np.isfinite(told["gradient_norm"])
    for got, want in zip(state(learner, trained), before, strict=True):
        np.testing.assert_array_equal(got, want)


def test_a_loss_that_is_no_number_makes_no_slope_a_number():
    learner, _ = started()
    x = tf.Variable([1.0, 2.0])
    for value, expected in ((1.0, 2.0**15), (np.inf, np.nan)):
        with tf.GradientTape() as tape:
            # Its own slope is 1, whatever it is.
            loss = learner.scale_loss(tf.reduce_sum(x) + value)
        np.testing.assert_array_equal(tape.gradient(loss, x), [expected] * 2)


def test_sums_with_what_is_no_number_count_nothing():
    learner, _ = started()
    good = {"mlm_loss": tf.constant(2.0), "histogram": tf.ones([2, 3])}
    for name, value in learner.usable(good).items():
        np.testing.assert_array_equal(value, good[name])
    bad = learner.usable(good | {"mlm_loss": tf.constant(np.nan)})
    assert not any(np.any(value) for value in bad.values())


def test_gradients_that_float16_cannot_hold_unscaled_are_learned_from():
    with keras.name_scope("layer_0"):
        bias = keras.Variable(np.zeros(1, np.float32), name="bias")
    learner = ADAMW(1.0, epsilon=1e-12, bias_correction=True)
    learner.build([bias])
    slope = 1e-8  # float16's smallest number is 6e-8.
    assert np.float16(slope) == 0.0
    learner.learn([tf.constant([slope * 2.0**15], tf.float16)])
    np.testing.assert_allclose(bias.numpy(), -1.0, rtol=1e-2)


def test_all_replicas_skip_what_overflows_on_the_second(two_replicas):
    with two_replicas.scope():
        trained = pair.variables()
        learner = ADAMW(0.1)
        learner.build(trained)

    @tf.function
    def step(factors):
        def of_replica(factor):
            learner.apply([g * factor for g in gradients(0)], trained)

        two_replicas.run(of_replica, args=(factors,))

    def of(*factors):
        return two_replicas.experimental_distribute_values_from_function(
            lambda context: tf.constant(factors[context.replica_id_in_sync_group])
        )

    def local(variable):
        return [
            v.numpy() for v in two_replicas.experimental_local_results(variable.value)
        ]

    step(of(2.0**14, 2.0**14))
    want = pair.learn(optimizer.AdamW(0.1), steps=1)
    kept = [*trained, *learner.variables]
    before = [local(v) for v in kept if v.path.split("/")[-1] not in SCALE]
    for copies, expected in zip(before, want, strict=False):
        np.testing.assert_allclose(copies, [expected] * 2, rtol=1e-6)
    step(of(2.0**14, np.inf))
    after = [local(v) for v in kept if v.path.split("/")[-1] not in SCALE]
    for got, expected in zip(after, before, strict=True):
        np.testing.assert_array_equal(got, expected)
    assert local(learner.counters()["loss_scale"]) == [2.0**14] * 2


# A run.


def settings_of(name="mlm", **train):
    settings = masked_rows.settings_of(name)
    model = settings.model.model_copy(
        update={
            "hidden_dropout_rate": 0.0,
            "attention_dropout_rate": 0.0,
            "initializer_range": 0.3,
        }
    )
    train = config.TrainConfig(
        **{"steps": 300, "warmup_steps": 0, "learning_rate": 1e-2, **train}
    )
    return settings.model_copy(update={"model": model, "train": train})


class Run:
    """A pretrainer of two micro-batches in float16, which can start again."""

    def __init__(self, compile_step=False):
        before = keras.config.dtype_policy()
        keras.config.set_dtype_policy("mixed_float16")
        settings = settings_of(precision="mixed_float16", accumulation_steps=2)
        self.model = train_step.build(settings, compile_step=compile_step)
        keras.config.set_dtype_policy(before)
        self.learner = self.model.learner
        self.update = tf.function(self.model.update)
        self._kept = [*self.model.variables, *self.learner.variables]
        self._start = self.state()

    def state(self):
        return [v.numpy() for v in self._kept]

    def restart(self, scale=256.0):
        for variable, value in zip(self._kept, self._start, strict=True):
            variable.assign(value)
        self.learner.counters()["loss_scale"].assign(scale)
        return self


@pytest.fixture(scope="module")
def a_run():
    return Run()


def assert_a_micro_batch_skips_the_step(run):
    model, learner = run.model, run.learner
    sums = run.update(masked_rows.BATCH)
    assert (float(sums["skipped"]), float(sums["finite"])) == (0.0, 1.0)
    assert float(sums["loss_scale"]) == 256.0
    assert float(sums["gradient_norm"]) > 0.1
    words = next(v for v in model.weights if v.path.endswith("word_embeddings"))
    # Token 9 is in the second row alone. float16 has no such number.
    words.assign(tf.tensor_scatter_nd_update(words.value, [[9, 0]], [1e6]))
    before = state(learner, model.trainable_variables)
    sums = run.update(masked_rows.BATCH)
    assert (float(sums["skipped"]), float(sums["finite"])) == (1.0, 1.0)
    # Losses that are no numbers do not count in what is told.
    assert float(sums["mlm_count"]) == float(sums["mlm_loss"]) == 0.0
    after = state(learner, model.trainable_variables)
    for got, want in zip(after, before, strict=True):
        np.testing.assert_array_equal(got, want)
    assert scale_of(learner) == 128.0
    metrics = train_step.summarize(sums, model.objective.declared)
    assert float(metrics["skipped_rate"]) == 1.0
    assert {v.dtype for v in model.trainable_variables} == {"float32"}


def test_a_micro_batch_that_overflows_skips_the_whole_step(a_run):
    assert_a_micro_batch_skips_the_step(a_run.restart())


@pytest.mark.slow
def test_a_micro_batch_that_overflows_under_xla_skips_the_whole_step():
    assert_a_micro_batch_skips_the_step(Run(compile_step=True).restart())


def test_a_run_goes_on_bit_for_bit_through_a_skipped_step(a_run, tmp_path):
    run, skipped = a_run.restart(scale=2.0**40), []

    def learn(steps):
        return [float(run.update(masked_rows.BATCH)["skipped"]) for _ in range(steps)]

    skipped = learn(2)
    checkpoint.Checkpoints(str(tmp_path), run.model).save(2, [(0, 0, 0, 0)])
    skipped += learn(40)
    want = run.state()
    assert skipped[:3] == [1.0] * 3
    assert skipped[-1] == 0.0
    assert 2 < int(run.learner.iterations) < 40
    run.restart()
    assert checkpoint.Checkpoints(str(tmp_path), run.model).restore(pytest.fail)
    assert scale_of(run.learner) == 2.0**38
    assert learn(40) == skipped[2:]
    for got, expected in zip(run.state(), want, strict=True):
        np.testing.assert_array_equal(got, expected)


@pytest.mark.slow
def test_two_hundred_steps_have_the_losses_of_float32_within_rounding():
    found = {}
    for precision in ("float32", "mixed_float16"):
        keras.config.set_dtype_policy(precision)
        settings = settings_of(precision=precision, learning_rate=1e-3)
        model = train_step.build(settings)
        if precision == "mixed_float16":  # Where it would come to by itself.
            model.learner.counters()["loss_scale"].assign(2.0**10)
        update = tf.function(model.update)
        sums = [update(masked_rows.vary_noise(2)) for _ in range(200)]
        found[precision] = np.array([s["mlm_loss"] / s["mlm_count"] for s in sums])
    want, got = found["float32"], found["mixed_float16"]
    assert want[-1] < 0.3 * want[0]  # It learned.
    # float16 rounds to 2 ** -11, which moves the curve by a fraction of a step; a step
    # is 0.07 nats where it is steepest. 0.013 was found.
    np.testing.assert_allclose(got, want, atol=0.03)


# Devices.

T4 = half.Device("Tesla T4", "GPU", (7, 5))
A100 = half.Device("A100", "GPU", (8, 0))
TPU = half.Device("TPU:0", "TPU")


@pytest.mark.parametrize(
    ("precision", "devices", "said"),
    [
        ("mixed_bfloat16", [A100, T4], r"T4 \(compute capability 7.5\) .* mixed_float"),
        ("mixed_float16", [TPU], "TPU:0 has no float16; choose mixed_bfloat16"),
    ],
)
def test_a_device_that_lacks_a_type_names_the_one_that_it_has(precision, devices, said):
    with pytest.raises(
        errors.UserError, match=f"train.precision={precision}: .*{said}"
    ):
        half.refuse(precision, devices)


@pytest.mark.parametrize(
    ("precision", "devices"),
    [
        ("mixed_float16", [T4, A100]),
        ("mixed_bfloat16", [A100, TPU, half.Device("of another maker", "GPU")]),
        ("float32", [T4, TPU]),
    ],
)
def test_what_all_devices_have_is_used(precision, devices):
    half.refuse(precision, devices)
    assert half.checked("mixed_float16") == "mixed_float16"  # A CPU has all, slowly.
