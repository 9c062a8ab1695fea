"""The paper's way to fine-tune, in numbers: rates for a width, a schedule, AdamW.

In:   an encoder's config, a number of steps; rates of one's own.
Out:  an optimizer; what is wrong with the rates, in one line.
"""

import dataclasses
import re
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from electra_tf import config, errors
from electra_tf.training import groups, half, optimizer

# Width up to which, peak learning rate and layer-wise decay (paper, Table 7).
RATES = ((256, 3e-4, 0.8), (768, 1e-4, 0.8), (10**9, 5e-5, 0.9))
WARMUP_RATE = 0.1  # of the steps (paper)
CLIP_NORM = 1.0  # 2020 code
EPOCHS = 3  # paper; 10 for RTE and STS-B, 2 for SQuAD
BATCH_SIZE = 32  # paper

# How many blocks lie below a variable of an encoder with n blocks and a head.
DEPTH_RULES = (
    (r"^embeddings(_project)?/", lambda found, n: 0),
    (r"^layer_(\d+)/", lambda found, n: int(found[1]) + 1),
    (r"^[a-z_]+_head/", lambda found, n: n + 1),
)


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How `compile` was called. No dict: Keras would count the metrics in it twice."""

    compiled: dict[str, Any]
    automatic: bool  # whether the optimizer is ours, made anew by each `fit`
    rates: dict[str, float]  # by the names of `compile`


def usual_rates(model: config.ModelConfig) -> tuple[float, float]:
    """Returns the paper's peak rate and layer-wise decay for an encoder's width."""
    return next(found[1:] for found in RATES if model.hidden_size <= found[0])


def is_auto(value: Any) -> bool:
    """Tells whether an argument of `compile` says "auto"."""
    return isinstance(value, str) and value == "auto"


def is_automatic(optimizer: Any) -> bool:
    """Tells whether an optimizer is for us to make."""
    return is_auto(optimizer) or isinstance(optimizer, AutoAdamW)


def is_scaled(model: Any, compiled: dict[str, Any]) -> bool:
    """Tells whether the loss is scaled: in float16, unless `compile` was told not to.

    Args:
        model: a task.
        compiled: arguments of `compile`.
    """
    in_float16 = model.backbone.dtype_policy.name == "mixed_float16"
    return bool(in_float16 and compiled["auto_scale_loss"])


def arguments(model: Any, optimizer: Any, compiled: dict[str, Any]) -> dict[str, Any]:
    """Returns the arguments of Keras' `compile`, which is not to scale a loss twice.

    Raises:
        UserError: Keras would scale it, and let the overflow of a replica through.
    """
    if isinstance(optimizer, half.LossScaling):
        return {**compiled, "optimizer": optimizer, "auto_scale_loss": False}
    replicas = model.distribute_strategy.num_replicas_in_sync
    if optimizer and replicas > 1 and is_scaled(model, compiled):
        raise errors.UserError(
            "optimizer: Keras' loss scale looks at one of several replicas, and an "
            "overflow on another reaches the weights; leave optimizer out, or take "
            'dtype="mixed_bfloat16" or "float32"'
        )
    return {**compiled, "optimizer": optimizer}


def rates(
    optimizer: Any, usual: dict[str, float], **stated: float | None
) -> dict[str, float]:
    """Returns the rates of `compile` by name, those that are stated over the usual.

    Args:
        optimizer: what `compile` was given.
        usual: of the task.
        **stated: None = not stated.

    Raises:
        UserError: the optimizer would not heed a rate, or it is no number.
    """
    given = {name: rate for name, rate in stated.items() if rate is not None}
    for name, rate in given.items():
        if not is_automatic(optimizer):
            is_name = isinstance(optimizer, str)
            called = optimizer if is_name else type(optimizer).__name__
            raise errors.UserError(
                f"{name}={rate!r:.60} has no effect on optimizer {called}; leave "
                "optimizer out, or give the rate to it, as in "
                "optimizer=keras.optimizers.AdamW(learning_rate=1e-4)"
            )
        is_number = isinstance(rate, int | float | np.number)
        if not is_number or not 0 <= rate < np.inf:
            raise errors.UserError(
                f"{name}={rate!r:.60}: want a number, 0 or more; a schedule of your "
                "own goes into an optimizer of your own"
            )
    if isinstance(optimizer, AutoAdamW):
        usual = optimizer.rates_given()
    return over(usual, given)


def over(usual: dict[str, float], stated: dict[str, float]) -> dict[str, float]:
    """Puts rates that are stated over the usual ones.

    The rate of a part, such as `decoder_learning_rate`, keeps its ratio to
    `learning_rate` where that alone is stated.
    """
    parts = {
        name: rate * stated["learning_rate"] / usual["learning_rate"]
        for name, rate in usual.items()
        if name.endswith("_learning_rate") and "learning_rate" in stated
    }
    return {**usual, **parts, **stated}


@keras.saving.register_keras_serializable(package="electra_tf")
class AutoAdamW(optimizer.AdamW):
    """What `compile` of a task takes for its "auto", on its way through a file.

    In a model that is no task, a clone or another one with such layers, it is AdamW at
    a fixed rate, the same for all layers.
    """

    def __init__(
        self,
        learning_rate: float,
        layer_decay: float,
        weight_decay: float = 0.0,
        name: str = "adamw",
        **others: float,
    ) -> None:
        super().__init__(
            learning_rate,
            weight_decay=weight_decay,
            clip_norm=CLIP_NORM,
            name=name,
        )
        self.layer_decay, self.other_rates = layer_decay, others

    def rates_given(self) -> dict[str, float]:
        """Returns the rates by name."""
        return {
            "learning_rate": float(self.learning_rate),
            "layer_decay": self.layer_decay,
            "weight_decay": self.decoupled_decay,
            **self.other_rates,
        }

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments that make the same optimizer."""
        return {**self.rates_given(), "name": self.name}


def peak(rates: dict[str, float]) -> float:
    """Returns the highest of the rates of parts of a model."""
    return max(rate for name, rate in rates.items() if name.endswith("learning_rate"))


def build_optimizer(
    rates: dict[str, float],
    steps: int,
    grouping: groups.Grouping,
    warmup_rate: float = WARMUP_RATE,
    scaled: bool = False,
) -> optimizer.AdamW:
    """Builds the optimizer of fine-tuning.

    Args:
        rates: by the names of `compile`.
        steps: of the schedule.
        grouping: who learns at which share of the peak.
        warmup_rate: share of the steps.
        scaled: whether the loss is scaled, for float16.
    """
    kind: Any = half.scaling(optimizer.AdamW) if scaled else optimizer.AdamW
    made: optimizer.AdamW = kind(
        optimizer.WarmupDecay(
            peak(rates), steps, warmup_steps=round(warmup_rate * steps)
        ),
        weight_decay=rates["weight_decay"],
        clip_norm=CLIP_NORM,
        groups=grouping,
    )
    return made


def by_depth(
    variables: Sequence[keras.Variable], num_layers: int, decay: float
) -> list[groups.Group]:
    """Makes a group of each block of an encoder and of its head: layer-wise rates.

    As in the paper: the head trains at the full rate, the last block at `decay` of
    it, the embeddings at `decay` to the power of num_layers + 1. Differs from the 2020
    code, which gives the last block `decay` squared (D8). All share one norm.

    Args:
        variables: of one encoder and the heads on it.
        num_layers: of the encoder.
        decay: 0.8 for small and base, 0.9 for large (2020 code).
    """
    found: dict[int, list[keras.Variable]] = {}
    for variable in variables:
        found.setdefault(depth(variable.path, num_layers), []).append(variable)
    return [
        groups.Group(f"depth_{level}", members, decay ** (num_layers + 1 - level))
        for level, members in found.items()
    ]


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


def is_sparse(loss: Any) -> bool:
    """Tells whether a loss takes class numbers; None is the task's, which does."""
    return loss is None or "sparse" in loss_name(loss)


def loss_name(loss: Any) -> str:
    """Returns how Keras calls a loss, or the name of a function."""
    return loss if isinstance(loss, str) else str(getattr(loss, "name", loss))
