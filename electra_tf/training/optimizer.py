"""How a run learns: the schedule, the 2020 code's AdamW, every optimizer by its name.

In:   the sections `optimizer` and `train` of the settings.
Out:  an optimizer.

A new one is a `groups.GroupedOptimizer` in a module of its own, known to `find`; its
settings are a class in `variants`, entered in `config.OptimizerConfig.KINDS`. One of
the user's own is named with its module: my_package.my_module:MyOptimizer.
"""

import functools
from collections.abc import Mapping
from typing import Any

import keras
import tensorflow as tf

from electra_tf import config, errors
from electra_tf.training import groups


@keras.saving.register_keras_serializable(package="electra_tf")
class WarmupDecay(keras.optimizers.schedules.LearningRateSchedule):
    """Linear warm-up times polynomial decay to 0.

    As in the 2020 code: the two are multiplied, so that the peak stays a little below
    the stated rate, and the first update, at rate 0, changes nothing. `after_warmup`,
    the decay begins when the warm-up has ended (NVIDIA's ELECTRA).
    """

    def __init__(
        self,
        peak: float,
        steps: int,
        warmup_steps: int,
        power: float = 1.0,
        after_warmup: bool = False,
    ) -> None:
        self.peak, self.steps, self.after_warmup = peak, steps, after_warmup
        self.warmup_steps, self.power = warmup_steps, power

    def __call__(self, step: tf.Tensor) -> tf.Tensor:
        """Returns the rate of the update after `step` updates, float32 scalar."""
        done = tf.minimum(tf.cast(step, tf.float32), float(self.steps))
        first = self.warmup_steps if self.after_warmup else 0
        past = tf.maximum(done - first, 0.0) / (self.steps - first)
        decay = tf.pow(1.0 - past, self.power)
        warmup = tf.minimum(1.0, done / self.warmup_steps) if self.warmup_steps else 1.0
        return self.peak * decay * warmup

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments that make the same schedule."""
        return {
            "peak": self.peak,
            "steps": self.steps,
            "warmup_steps": self.warmup_steps,
            "power": self.power,
            "after_warmup": self.after_warmup,
        }


@keras.saving.register_keras_serializable(package="electra_tf")
class AdamW(groups.GroupedOptimizer):
    """Adam with decoupled weight decay; by default without bias correction.

    m and v as in Adam; update = m / (sqrt(v) + epsilon) + decay * weight, times the
    rate. As in the 2020 code: no bias correction, epsilon outside the root. (With bias
    correction, epsilon is added before it: the second form in Kingma and Ba, 2.)

    Args:
        learning_rate: a number or a schedule.
        beta_1: of the first moment.
        beta_2: of the second moment.
        epsilon: see above.
        bias_correction: see above.
        weight_decay: as for every `GroupedOptimizer`; so are `clip_norm`, `groups`.
        name: of the optimizer.
    """

    Settings = config.AdamWConfig
    MOMENTS = ("m", "v")

    def __init__(
        self,
        learning_rate: float | keras.optimizers.schedules.LearningRateSchedule = 5e-4,
        *,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-6,
        bias_correction: bool = False,
        weight_decay: float = 0.01,
        clip_norm: float | None = None,
        groups: groups.Grouping | None = None,
        name: str = "adamw",
    ) -> None:
        super().__init__(
            learning_rate,
            weight_decay=weight_decay,
            clip_norm=clip_norm,
            groups=groups,
            name=name,
        )
        self.beta_1, self.beta_2, self.epsilon = beta_1, beta_2, epsilon
        self.bias_correction = bias_correction

    def update_variable(
        self,
        gradient: tf.Tensor,
        variable: tf.Variable,
        moments: dict[str, keras.Variable],
        rate: tf.Tensor,
        decay: float,
    ) -> None:
        """Updates one variable and its moments."""
        if keras.backend.standardize_dtype(variable.dtype) in groups.HALF:
            from electra_tf.training import half  # Few models have such weights.

            half.adamw(self, gradient, variable, moments, rate, decay)
            return
        # A power of 0 switches the kernel's bias correction off.
        powers = [
            self.once(("power", beta), functools.partial(self.power, beta))
            for beta in (self.beta_1, self.beta_2)
        ]
        betas = [
            self.once(("constant", value), functools.partial(tf.constant, value))
            for value in (self.beta_1, self.beta_2, self.epsilon)
        ]
        if decay:
            pull = self.once(("pull", rate.ref(), decay), lambda: rate * decay)
            # Else TensorFlow makes the products first, and keeps them for a step.
            with tf.control_dependencies([gradient]):
                variable.assign_sub(pull * variable)
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=_handle(moments["m"], variable),
            v=_handle(moments["v"], variable),
            beta1_power=powers[0],
            beta2_power=powers[1],
            lr=rate,
            beta1=betas[0],
            beta2=betas[1],
            epsilon=betas[2],
            grad=gradient,
        )

    def power(self, beta: float) -> tf.Tensor:
        """Returns what bias correction takes a moment's start for."""
        if not self.bias_correction:
            return tf.constant(0.0)
        return tf.pow(beta, tf.cast(self.iterations + 1, tf.float32))

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments that make the same optimizer, but for the groups."""
        return super().get_config() | {
            "beta_1": self.beta_1,
            "beta_2": self.beta_2,
            "epsilon": self.epsilon,
            "bias_correction": self.bias_correction,
        }


def find(learning: config.OptimizerConfig) -> type[groups.GroupedOptimizer]:
    """Returns the class that the settings name, one of ours or the user's own.

    Raises:
        UserError: it is no optimizer of this kind.
    """
    if learning.name == "adamw":
        return AdamW
    if learning.name == "lamb":
        from electra_tf.training import lamb  # For whoever asks for it.

        return lamb.Lamb
    found = config.OptimizerConfig.own_class(learning.name)
    if not (isinstance(found, type) and issubclass(found, groups.GroupedOptimizer)):
        raise errors.UserError(
            f"optimizer.name={learning.name}: it is no optimizer of ours; derive it "
            f"from {config.OptimizerConfig.BASE}"
        )
    return found


def build(
    learning: config.OptimizerConfig,
    train: config.TrainConfig,
    networks: Mapping[str, keras.Model],
) -> groups.GroupedOptimizer:
    """Makes the optimizer of a pre-training run.

    Args:
        learning: section `optimizer`.
        train: section `train`: the schedule.
        networks: of the objective, for `optimizer.networks`.
    """
    schedule = WarmupDecay(
        train.learning_rate,
        train.steps,
        train.warmup_steps,
        train.decay_power,
        train.decay_after_warmup,
    )
    grouping = None
    if learning.networks:
        grouping = functools.partial(
            groups.by_network, networks=networks, learning=learning
        )
    arguments = learning.model_dump(exclude={"name", "networks"})
    kind = find(learning)
    if train.precision == "mixed_float16":
        from electra_tf.training import half  # For whoever asks for it.

        kind = half.scaling(kind)
    return kind(schedule, groups=grouping, **arguments)


def _handle(slot: keras.Variable, variable: tf.Variable) -> tf.Tensor:
    """Returns the resource of a moment on the device of `variable`'s replica."""
    value = slot.value
    if isinstance(value, tf.distribute.DistributedValues):
        for local in value.values:
            if local.device == variable.device:
                return local.handle
    return value.handle
