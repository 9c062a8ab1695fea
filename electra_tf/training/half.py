"""Half precision: float16's loss scale, and which devices have which of the two types.

In:   gradients of a loss that was scaled up, so that float16 does not round them to 0.
Out:  updates by the gradients themselves; none where float16 could not hold one.

bfloat16 has float32's range and needs no scale. float16 holds 6e-8 to 65,504.
"""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from electra_tf import errors
from electra_tf.training import groups

# Keras' and NVIDIA's. The scale finds its place in a few skipped steps, or grows there.
FIRST_SCALE = 2.0**15
GROWTH_STEPS = 2000  # without an overflow, after which the scale doubles
# As apex has it: gradients that are all 0 would double it to infinity.
LARGEST_SCALE = 2.0**24
# What still overflows here overflows in the loss itself: no scale helps.
SMALLEST_SCALE = 1.0

FIRST_WITH_BFLOAT16 = 8, 0  # compute capability of NVIDIA's Ampere


class LossScaling(groups.GroupedOptimizer):
    """What an optimizer does besides in float16: to be named before its own class.

    The loss is multiplied by the scale, and gradients are divided by it. If one of them
    is not finite after they are summed over replicas and micro-batches, nothing of the
    step is kept, on no replica: weights, moments and the number of updates, by which
    the schedule, bias correction and dropout go, stay as they are; the scale is halved.
    After GROWTH_STEPS good steps it doubles. A loss that is not finite counts as such
    a gradient. If one is not finite at SMALLEST_SCALE, the run must stop: the scale
    is then 0.

    Differs from Keras' LossScaleOptimizer, which looks at the gradients of one replica
    before they are summed, so that an overflow on another one reaches the weights.
    """

    not_finite = (
        "loss or gradient is not finite in float16, at any loss scale down to "
        f"{SMALLEST_SCALE:g}"
    )

    def build(self, variables: list[keras.Variable]) -> None:
        """Makes the optimizer's state, the scale and the count of good steps."""
        if self.built:
            return
        super().build(variables)

        def scalar(name: str, value: float, dtype: str) -> keras.Variable:
            return self.add_variable(
                (),
                keras.initializers.Constant(value),
                dtype=dtype,
                aggregation="only_first_replica",
                name=name,
            )

        self._scale = scalar("loss_scale", FIRST_SCALE, "float32")
        self._good_steps = scalar("good_steps", 0, "int32")

    def counters(self) -> dict[str, keras.Variable]:
        """Returns the number of updates, the scale, and the steps since it changed."""
        own = {"loss_scale": self._scale, "good_steps": self._good_steps}
        return super().counters() | own

    @property
    def norm_names(self) -> list[str]:
        """The names of the sums that `learn` returns."""
        return [*super().norm_names, "loss_scale", "skipped"]

    def has_failed(self) -> bool:
        """Tells whether no scale is left to try."""
        return self.built and float(self._scale.numpy()) == 0.0

    def scale_loss(self, loss: tf.Tensor) -> tf.Tensor:
        """Multiplies a loss by the scale; one that is not finite, by no number."""
        scale = tf.convert_to_tensor(self._scale) if self.built else FIRST_SCALE
        return loss * tf.where(tf.math.is_finite(loss), scale, float("nan"))

    def usable(self, sums: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Returns the sums of a step; all 0 where one is not finite."""
        finite = [tf.reduce_all(tf.math.is_finite(x)) for x in sums.values()]
        whole = tf.reduce_all(tf.stack(finite))
        return {n: tf.where(whole, x, tf.zeros_like(x)) for n, x in sums.items()}

    def learn(
        self,
        grads: Sequence[tf.Tensor | None],
        trainable_variables: Iterable[keras.Variable] | None = None,
    ) -> dict[str, tf.Tensor]:
        """Learns from gradients of the scaled loss, or skips the step.

        Returns:
            Norms as without a scale, 0 where the step was skipped; not finite where the
            run must stop. `loss_scale`, and `skipped`, 1 or 0.
        """
        norms = super().learn(grads, trainable_variables)
        scale, finite = tf.convert_to_tensor(self._scale), self._is_finite
        skipped = tf.cast(~finite, tf.float32)
        self._iterations.assign_sub(tf.cast(skipped, self._iterations.dtype))
        good = tf.where(finite, tf.convert_to_tensor(self._good_steps) + 1, 0)
        is_due = good >= GROWTH_STEPS
        more = tf.where(is_due, tf.minimum(2.0 * scale, LARGEST_SCALE), scale)
        less = tf.where(scale > SMALLEST_SCALE, 0.5 * scale, 0.0)
        self._scale.assign(tf.where(finite, more, less))
        self._good_steps.assign(tf.where(is_due, 0, good))
        is_told = finite | (less == 0.0)
        told = {n: tf.where(is_told, norm, 0.0) for n, norm in norms.items()}
        return told | {"loss_scale": scale, "skipped": skipped}

    def _clip(
        self, grads: list[tf.Tensor | None], variables: Sequence[keras.Variable]
    ) -> tuple[list[tf.Tensor | None], dict[str, tf.Tensor]]:
        scale = tf.convert_to_tensor(self._scale)
        plain = [None if g is None else _in_float32(g) / scale for g in grads]
        clipped, norms = super()._clip(plain, variables)
        # Its norm is finite if all gradients are: each is in a group that has one.
        self._is_finite = tf.math.is_finite(norms[groups.NORM])
        return clipped, norms

    def update_variable(
        self,
        gradient: tf.Tensor,
        variable: tf.Variable,
        moments: dict[str, keras.Variable],
        rate: tf.Tensor,
        decay: float,
    ) -> None:
        """Updates one variable and its moments, or puts back what they were.

        No `tf.cond`: a GPU would wait for its answer, replicas may have none here.
        """
        changed = [variable, *moments.values()]
        before = [tf.identity(tf.convert_to_tensor(one)) for one in changed]
        super().update_variable(gradient, variable, moments, rate, decay)
        for one, old in zip(changed, before, strict=True):
            one.assign(tf.where(self._is_finite, tf.convert_to_tensor(one), old))


def scaling(kind: type[groups.GroupedOptimizer]) -> type[groups.GroupedOptimizer]:
    """Returns a kind of optimizer with a loss scale."""
    return type(f"Scaled{kind.__name__}", (LossScaling, kind), {})


class Watch(keras.callbacks.Callback):
    """Stops `fit` where no scale is left to try.

    Raises:
        UserError: there is none.
    """

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Looks after each batch."""
        if self.model.optimizer.has_failed():
            raise errors.UserError(
                f"batch {batch + 1:,}: {LossScaling.not_finite}; lower learning_rate, "
                'or train in dtype="float32"'
            )


def _in_float32(gradient: Any) -> tf.Tensor:
    return tf.cast(tf.convert_to_tensor(gradient), tf.float32)


# Weights of half precision, in a model that keeps no others.


def adamw(
    learner: Any,
    gradient: tf.Tensor,
    variable: tf.Variable,
    moments: dict[str, keras.Variable],
    rate: tf.Tensor,
    decay: float,
) -> None:
    """Does as `optimizer.AdamW`, in float32, for which its kernel has no form."""
    m, v = moments["m"], moments["v"]
    gradient = tf.cast(gradient, tf.float32)
    m.assign_add((gradient - m) * (1.0 - learner.beta_1))
    v.assign_add((tf.square(gradient) - v) * (1.0 - learner.beta_2))
    powers = learner.power(learner.beta_1), learner.power(learner.beta_2)
    step = tf.sqrt(1.0 - powers[1]) / (1.0 - powers[0])
    update = step * m / (tf.sqrt(tf.convert_to_tensor(v)) + learner.epsilon)
    update += decay * tf.cast(variable, tf.float32)
    variable.assign_sub(tf.cast(rate * update, variable.dtype))


# Devices.


class Device(NamedTuple):
    """What computes."""

    name: str
    kind: str  # "CPU", "GPU", "TPU"
    capability: tuple[int, int] | None = None  # NVIDIA's, of a GPU


def checked(precision: str) -> str:
    """Returns a precision that the devices of this process have.

    Raises:
        UserError: one has not.
    """
    refuse(precision, devices())
    return precision


def refuse(precision: str, devices: Sequence[Device]) -> None:
    """Refuses a precision that a device has not, and names one that it has.

    Raises:
        UserError: there is such a device.
    """
    for device in devices:
        if precision == "mixed_float16" and device.kind == "TPU":
            raise errors.UserError(
                f"train.precision={precision}: {device.name} has no float16; choose "
                "mixed_bfloat16"
            )
        has_it = (device.capability or FIRST_WITH_BFLOAT16) >= FIRST_WITH_BFLOAT16
        if precision == "mixed_bfloat16" and device.kind == "GPU" and not has_it:
            found = ".".join(map(str, device.capability or ()))
            raise errors.UserError(
                f"train.precision={precision}: {device.name} (compute capability "
                f"{found}) has no bfloat16; choose mixed_float16"
            )


def devices() -> list[Device]:
    """Returns the GPUs and TPU cores of this process."""
    found = [
        Device(one.name, "TPU") for one in tf.config.list_logical_devices("TPU")[:1]
    ]
    for gpu in tf.config.list_physical_devices("GPU"):
        about = tf.config.experimental.get_device_details(gpu)
        name = about.get("device_name", gpu.name)
        found.append(Device(name, "GPU", about.get("compute_capability")))
    return found
