"""LAMB: Adam whose step is as long, tensor by tensor, as the tensor itself.

In:   gradients over the whole batch, clipped.
Out:  new weights; for batches of many thousand rows, where one rate for all tensors
      moves some too far and others hardly.

You et al. 2020 (arXiv 1904.00962, Algorithm 2), in the form of TensorFlow Addons, with
which NVIDIA's ELECTRA was trained (configs/base_lamb.yaml).
"""

from typing import Any

import keras
import tensorflow as tf

from electra_tf.training import groups, variants


class Lamb(groups.GroupedOptimizer):
    """Adam's step with its decay, scaled to the length of what it changes.

    step = m' / (sqrt(v') + epsilon) + decay * weight, where m' and v' are corrected for
    their start at zero. The weight goes against it by rate * |weight| / |step|, the
    trust ratio; by the rate alone where either length is 0, as in a bias that was never
    moved. Lengths are over one tensor; a table that networks share is one tensor.

    Args:
        learning_rate: a number or a schedule.
        beta_1: of the first moment.
        beta_2: of the second moment.
        epsilon: see above.
        adapt_all: whether biases and LayerNorms have a trust ratio, too.
        **common: of every `GroupedOptimizer`.
    """

    Settings = variants.LambConfig
    MOMENTS = ("m", "v")

    def __init__(
        self,
        learning_rate: float | keras.optimizers.schedules.LearningRateSchedule = 6e-3,
        *,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-6,
        adapt_all: bool = False,
        **common: Any,
    ) -> None:
        super().__init__(learning_rate, **{"name": "lamb", **common})
        self.beta_1, self.beta_2, self.epsilon = beta_1, beta_2, epsilon
        self.adapt_all = adapt_all

    def build(self, variables: list[keras.Variable]) -> None:
        """Makes the moments, and finds which variables have a trust ratio."""
        super().build(variables)
        self._has_ratio = [self.adapt_all or groups.decays(v.path) for v in variables]

    def update_variable(
        self,
        gradient: tf.Tensor,
        variable: tf.Variable,
        moments: dict[str, keras.Variable],
        rate: tf.Tensor,
        decay: float,
    ) -> None:
        """Updates one variable and its moments, in float32."""
        m, v = moments["m"], moments["v"]
        gradient, weight = tf.cast(gradient, tf.float32), tf.cast(variable, tf.float32)
        m.assign_add((gradient - m) * (1.0 - self.beta_1))
        v.assign_add((tf.square(gradient) - v) * (1.0 - self.beta_2))
        first = tf.convert_to_tensor(m) / self._share(self.beta_1)
        second = tf.convert_to_tensor(v) / self._share(self.beta_2)
        step = first / (tf.sqrt(second) + self.epsilon) + decay * weight
        if self._has_ratio[self._get_variable_index(variable)]:
            length, size = tf.norm(step), tf.norm(weight)
            rate *= tf.where((length > 0.0) & (size > 0.0), size / length, 1.0)
        variable.assign_sub(tf.cast(rate * step, variable.dtype))

    def _share(self, beta: float) -> tf.Tensor:
        """Returns how much of a moment is not the zero that it began as."""

        def make() -> tf.Tensor:
            return 1.0 - tf.pow(beta, tf.cast(self.iterations + 1, tf.float32))

        return self.once(("share", beta), make)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments that make the same optimizer, but for the groups."""
        return super().get_config() | {
            "beta_1": self.beta_1,
            "beta_2": self.beta_2,
            "epsilon": self.epsilon,
            "adapt_all": self.adapt_all,
        }
