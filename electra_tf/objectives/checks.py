"""Holds an objective to what it says of itself, before its first step is made.

In:   a declaration; what the objective returns, when its step is traced.
Out:  nothing, or one line that says what does not agree.

Ours agree, as their tests say: this is for those who write one of their own.
"""

from collections.abc import Collection, Mapping
from typing import Any

import keras

from electra_tf import errors
from electra_tf.objectives import objective

# Networks become attributes of the pretrainer, a Keras model that has these itself.
TAKEN = {*dir(keras.Model), "objective", "learner", "train_config"}

# What the step adds to the sums of every objective.
COMMON = {"tokens", "positions", "rows"}


def refuse_incomplete(name: str, declared: objective.Declaration) -> None:
    """Refuses a declaration of which no run could be made.

    Args:
        name: of the objective, for messages.
        declared: what it says.

    Raises:
        UserError: a network cannot be named so; none is kept, or two under one name;
            there is no loss; a metric is made of sums that nobody returns.
    """
    where = f"objective.name={name}"
    for network in declared.networks:
        if network in TAKEN or not network.isidentifier():
            raise errors.UserError(
                f"{where}: no network can be called {network!r}; take another name"
            )
    names = [one.saved_as for one in declared.networks.values() if one.saved_as]
    if not names or len({*names}) < len(names) or not all(map(str.isidentifier, names)):
        raise errors.UserError(
            f"{where}: its networks are saved_as {names}; name one at least, each by a "
            "Python identifier of its own"
        )
    if not declared.losses:
        raise errors.UserError(f"{where}: it declares no loss; declare one")
    parts = {f"{loss}_{part}" for loss in declared.losses for part in ("loss", "count")}
    known = [*sorted(parts | COMMON), *declared.sums]
    for metric, one in declared.metrics.items():
        for part in () if callable(one.of) else one.of:
            if part not in known:
                hint = errors.did_you_mean(part, known, "declare it in `sums`")
                raise errors.UserError(
                    f"{where}: metric {metric} is made of {part}, which is no sum; "
                    f"{hint}"
                )


def refuse_undeclared(
    learned: objective.Objective,
    losses: Mapping[str, Any],
    counts: Mapping[str, Any],
    sums: Mapping[str, Any],
) -> None:
    """Refuses losses and sums that are not those declared.

    Args:
        learned: the objective.
        losses: the sum of each loss.
        counts: how many terms each has.
        sums: what metrics are made of.

    Raises:
        UserError: one is missing, too many, or of another shape.
    """
    where, declared = type(learned).__name__, learned.declared
    _refuse_others(f"{where}.sums: losses", losses, declared.losses)
    _refuse_others(f"{where}.counts", counts, declared.losses)
    _refuse_others(f"{where}.sums: sums", sums, declared.sums)
    shapes = {**dict.fromkeys(losses, ()), **declared.sums}
    for name, value in {**losses, **sums}.items():
        if tuple(value.shape) != shapes[name]:
            raise errors.UserError(
                f"{where}.sums: {name} has the shape {tuple(value.shape)}, declared is "
                f"{shapes[name]}; add it up, or declare the other"
            )


def _refuse_others(
    where: str, found: Collection[str], declared: Collection[str]
) -> None:
    if set(found) != set(declared):
        raise errors.UserError(
            f"{where} are {sorted(found)}, declared are {sorted(declared)}; "
            "return those"
        )
