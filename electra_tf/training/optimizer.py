"""The 2020 code's AdamW, its schedule, and who decays.

In:   gradients.
Out:  new weights. Each variable is matched by exactly one rule, or the run stops.
"""

import functools
import re
from collections.abc import Callable, Hashable, Iterable
from typing import Any

import keras
import tensorflow as tf

from electra_tf import config

# What a variable's path ends in, and whether weight decay pulls at it. Embeddings
# decay; biases and LayerNorms do not (2020 code).
DECAY_RULES = (
    (r"(^|/)kernel$", True),
    (r"(^|/)(word|position|segment)_embeddings$", True),
    (r"(^|/)(output_)?bias$", False),
    (r"(^|/)(gamma|beta)$", False),
    (r"(^|/)lora_kernel_[ab]$", False),
)

HALF = ("bfloat16", "float16")  # dtypes of weights that learn in float32

# How many blocks lie below a variable of an encoder with n blocks and a head.
DEPTH_RULES = (
    (r"^embeddings(_project)?/", lambda found, n: 0),
    (r"^layer_(\d+)/", lambda found, n: int(found[1]) + 1),
    (r"^[a-z_]+_head/", lambda found, n: n + 1),
)


@keras.saving.register_keras_serializable(package="electra_tf")
class WarmupDecay(keras.optimizers.schedules.LearningRateSchedule):
    """Linear warm-up times polynomial decay to 0.

    As in the 2020 code: the two are multiplied, so that the peak stays a little below
    the stated rate, and the first update, at rate 0, changes nothing.
    """

    def __init__(
        self, peak: float, steps: int, warmup_steps: int, power: float = 1.0
    ) -> None:
        self.peak, self.steps = peak, steps
        self.warmup_steps, self.power = warmup_steps, power

    def __call__(self, step: tf.Tensor) -> tf.Tensor:
        """Returns the rate of the update after `step` updates, float32 scalar."""
        done = tf.minimum(tf.cast(step, tf.float32), float(self.steps))
        decay = tf.pow(1.0 - done / self.steps, self.power)
        warmup = tf.minimum(1.0, done / self.warmup_steps) if self.warmup_steps else 1.0
        return self.peak * decay * warmup

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments that make the same schedule."""
        return {
            "peak": self.peak,
            "steps": self.steps,
            "warmup_steps": self.warmup_steps,
            "power": self.power,
        }


@keras.saving.register_keras_serializable(package="electra_tf")
class AdamW(keras.optimizers.Optimizer):
    """Adam with decoupled weight decay; by default without bias correction.

    m and v as in Adam; update = m / (sqrt(v) + epsilon) + decay * weight, times the
    rate. As in the 2020 code: no bias correction, epsilon outside the root. (With bias
    correction, epsilon is added before it: the second form in Kingma and Ba, 2.)

    Keras would clip gradients first and reduce them over the replicas then, which
    makes the threshold depend on their number; so this class does both itself.

    Args:
        learning_rate: a number or a schedule.
        rates: factor on the learning rate by variable path; 1 for those not named.
        clip_norm: global norm to clip the reduced gradients to; None = no clipping.
        reduce: whether to sum gradients over replicas (`fit`); the pretrainer has done
            so before.
    """

    def __init__(
        self,
        learning_rate: float | keras.optimizers.schedules.LearningRateSchedule = 5e-4,
        *,
        weight_decay: float = 0.01,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-6,
        bias_correction: bool = False,
        rates: dict[str, float] | None = None,
        clip_norm: float | None = None,
        reduce: bool = False,
        name: str = "adamw",
    ) -> None:
        super().__init__(learning_rate=learning_rate, name=name)
        # Not `weight_decay`: Keras would apply that itself, to every variable.
        self.decoupled_decay = weight_decay
        self.beta_1, self.beta_2, self.epsilon = beta_1, beta_2, epsilon
        self.bias_correction, self.rates = bias_correction, dict(rates or {})
        self.clip_norm, self.reduce = clip_norm, reduce

    def add_variable(self, *args: Any, dtype: Any = None, **kwargs: Any) -> Any:
        """Makes a variable; of half precision, in float32: v holds squares."""
        if dtype in HALF:
            dtype = "float32"
        return super().add_variable(*args, dtype=dtype, **kwargs)

    def build(self, variables: list[keras.Variable]) -> None:
        """Makes both moments of each variable, and checks the decay rules."""
        if self.built:
            return
        super().build(variables)
        self._m, self._v = self.add_optimizer_variables(variables, ["m", "v"])
        self._decays = [self.decoupled_decay * decays(v.path) for v in variables]
        self._factors = [self.rates.get(v.path, 1.0) for v in variables]

    def apply(
        self,
        grads: Iterable[tf.Tensor],
        trainable_variables: Iterable[keras.Variable] | None = None,
    ) -> None:
        """Updates the variables; reduces and clips the gradients first, where asked."""
        grads = list(grads)
        there = [index for index, grad in enumerate(grads) if grad is not None]
        dense = [tf.convert_to_tensor(grads[index]) for index in there]
        replica = tf.distribute.get_replica_context()
        if self.reduce and replica and replica.num_replicas_in_sync > 1:
            dense = replica.all_reduce(tf.distribute.ReduceOp.SUM, dense)
        if self.clip_norm is not None:
            dense, _ = tf.clip_by_global_norm(dense, self.clip_norm)
        for index, grad in zip(there, dense, strict=True):
            grads[index] = grad
        self._scalars = _Scalars()
        super().apply(grads, trainable_variables)

    def update_step(
        self, gradient: tf.Tensor, variable: tf.Variable, learning_rate: tf.Tensor
    ) -> None:
        """Updates one variable."""
        index = self._get_variable_index(variable)
        scalar, factor, decay = self._scalars, self._factors[index], self._decays[index]
        rate = scalar(
            ("rate", factor), lambda: tf.cast(learning_rate, tf.float32) * factor
        )
        if keras.backend.standardize_dtype(variable.dtype) in HALF:
            self._update_half(gradient, variable, index, rate)
            return
        # A power of 0 switches the kernel's bias correction off.
        powers = [
            scalar(("power", beta), functools.partial(self._power, beta))
            for beta in (self.beta_1, self.beta_2)
        ]
        betas = [
            scalar(("constant", value), functools.partial(tf.constant, value))
            for value in (self.beta_1, self.beta_2, self.epsilon)
        ]
        if decay:
            pull = scalar(("pull", factor, decay), lambda: rate * decay)
            # Else TensorFlow makes the products first, and keeps them for a step.
            with tf.control_dependencies([gradient]):
                variable.assign_sub(pull * variable)
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=_handle(self._m[index], variable),
            v=_handle(self._v[index], variable),
            beta1_power=powers[0],
            beta2_power=powers[1],
            lr=rate,
            beta1=betas[0],
            beta2=betas[1],
            epsilon=betas[2],
            grad=gradient,
        )

    def _update_half(
        self, gradient: tf.Tensor, variable: tf.Variable, index: int, rate: tf.Tensor
    ) -> None:
        """Does the same in float32, for which the kernel has no form."""
        m, v = self._m[index], self._v[index]
        gradient = tf.cast(gradient, tf.float32)
        m.assign_add((gradient - m) * (1.0 - self.beta_1))
        v.assign_add((tf.square(gradient) - v) * (1.0 - self.beta_2))
        powers = self._power(self.beta_1), self._power(self.beta_2)
        step = tf.sqrt(1.0 - powers[1]) / (1.0 - powers[0])
        update = step * m / (tf.sqrt(tf.convert_to_tensor(v)) + self.epsilon)
        update += self._decays[index] * tf.cast(variable, tf.float32)
        variable.assign_sub(tf.cast(rate * update, variable.dtype))

    def _power(self, beta: float) -> tf.Tensor:
        if not self.bias_correction:
            return tf.constant(0.0)
        return tf.pow(beta, tf.cast(self.iterations + 1, tf.float32))

    def moments(self, variable: keras.Variable) -> dict[str, keras.Variable]:
        """Returns both moments of a variable; none for one that it does not train."""
        if not variable.trainable:
            return {}
        index = self._get_variable_index(variable)
        return {"m": self._m[index], "v": self._v[index]}

    def load_own_variables(self, store: Any) -> None:
        """Loads moments and steps; of an optimizer that never learned, nothing."""
        if len(store) > 1 or not self.built:
            super().load_own_variables(store)

    def _all_reduce_sum_gradients(
        self, grads_and_vars: Iterable[tuple[tf.Tensor, tf.Variable]]
    ) -> list[tuple[tf.Tensor, tf.Variable]]:
        return list(grads_and_vars)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments that make the same optimizer."""
        rate = self._learning_rate
        if isinstance(rate, keras.optimizers.schedules.LearningRateSchedule):
            rate = keras.saving.serialize_keras_object(rate)
        else:
            rate = float(self.learning_rate)
        return {
            "name": self.name,
            "learning_rate": rate,
            "weight_decay": self.decoupled_decay,
            "beta_1": self.beta_1,
            "beta_2": self.beta_2,
            "epsilon": self.epsilon,
            "bias_correction": self.bias_correction,
            "rates": self.rates,
            "clip_norm": self.clip_norm,
            "reduce": self.reduce,
        }


class _Scalars:
    """What the updates of one step share, made once: most of their graph (D20)."""

    def __init__(self) -> None:
        self._made: dict[Hashable, tf.Tensor] = {}

    def __call__(self, name: Hashable, make: Callable[[], tf.Tensor]) -> tf.Tensor:
        if name not in self._made:
            self._made[name] = make()
        return self._made[name]


def build(train: config.TrainConfig) -> AdamW:
    """Builds the optimizer of a pre-training run."""
    schedule = WarmupDecay(
        train.learning_rate, train.steps, train.warmup_steps, train.decay_power
    )
    return AdamW(
        schedule,
        weight_decay=train.weight_decay,
        beta_1=train.beta_1,
        beta_2=train.beta_2,
        epsilon=train.epsilon,
        bias_correction=train.bias_correction,
    )


def decays(path: str) -> bool:
    """Tells whether weight decay pulls at the variable of that path."""
    found = [answer for pattern, answer in DECAY_RULES if re.search(pattern, path)]
    if len(found) != 1:
        raise ValueError(f"{path}: {len(found)} weight-decay rules match, want 1")
    return found[0]


def layer_rates(
    paths: Iterable[str], num_layers: int, decay: float
) -> dict[str, float]:
    """Returns the factor on the learning rate of each variable of an encoder and head.

    As in the paper: the head trains at the full rate, the last block at `decay` of
    it, the embeddings at `decay` to the power of num_layers + 1. Differs from the 2020
    code, which gives the last block `decay` squared (D8).

    Args:
        paths: of the variables, within one model.
        num_layers: of the encoder.
        decay: 0.8 for small and base, 0.9 for large (2020 code).
    """
    return {path: decay ** (num_layers + 1 - depth(path, num_layers)) for path in paths}


def depth(path: str, num_layers: int) -> int:
    """Returns how many blocks lie below: embeddings 0, the head num_layers + 1."""
    found = [
        level(match, num_layers)
        for pattern, level in DEPTH_RULES
        if (match := re.search(pattern, path))
    ]
    if len(found) != 1:
        raise ValueError(f"{path}: {len(found)} learning-rate rules match, want 1")
    return found[0]


def _handle(slot: keras.Variable, variable: tf.Variable) -> tf.Tensor:
    """Returns the resource of a moment on the device of `variable`'s replica."""
    value = slot.value
    if isinstance(value, tf.distribute.DistributedValues):
        for local in value.values:
            if local.device == variable.device:
                return local.handle
    return value.handle
