"""An optimizer that is none of ours: gradient descent with momentum, one moment.

It is named by `optimizer.name=momentum:Momentum`.
"""

import pydantic

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
        momentum = moments["momentum"]
        momentum.assign(self.beta * momentum + gradient)
        variable.assign_sub(rate * (momentum + decay * variable))
