"""Optimizers that are none of ours: gradient descent with momentum, once or thrice.

They are named by `optimizer.name=momentum:Momentum` and `momentum:Cascade`.
"""

import pydantic
import tensorflow as tf

from electra_tf import config
from electra_tf.training import groups


class MomentumConfig(config.OptimizerConfig):
    """What it has in section `optimizer`."""

    beta: float = pydantic.Field(0.5, description="Of the momentum.")


class Momentum(groups.GroupedOptimizer):
    """momentum = beta * momentum + gradient, and the weight goes against it."""

    Settings = MomentumConfig
    MOMENTS = ("momentum",)

    def __init__(self, learning_rate, *, beta=0.5, **common):
        super().__init__(learning_rate, **common)
        self.beta = beta

    def update_variable(self, gradient, variable, moments, rate, decay):
        for momentum in moments.values():  # In float32, whatever the weight is.
            gradient = self.beta * momentum + tf.cast(gradient, tf.float32)
            momentum.assign(gradient)
        step = rate * (gradient + decay * tf.cast(variable, tf.float32))
        variable.assign_sub(tf.cast(step, variable.dtype))


class Cascade(Momentum):
    """The same, each moment following the one before."""

    MOMENTS = ("first", "second", "third")
