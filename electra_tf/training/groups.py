"""Who learns how: groups of variables, and the optimizers that heed them.

In:   gradients over the whole batch.
Out:  gradients clipped group by group, the norms they had, and each variable updated at
      the rate and with the weight decay of its group.

One mechanism for rates by network (pre-training) and by block (fine-tuning). A
variable is in exactly one group and matched by exactly one rule, or the run stops.
"""

import re
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

import keras
import tensorflow as tf

from electra_tf import config, errors

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

NORM = "gradient_norm"  # the metric: of all gradients; of a group, with its name


class Group(NamedTuple):
    """Variables that learn alike.

    name: for metrics and messages.
    variables: its members.
    rate: factor on the learning rate.
    weight_decay: of its variables; None = the optimizer's.
    clip_norm: largest norm of its gradients. None = the optimizer's, for the gradients
        of all groups that have none: those are clipped together.
    """

    name: str
    variables: Sequence[keras.Variable]
    rate: float = 1.0
    weight_decay: float | None = None
    clip_norm: float | None = None


# Makes groups of the variables that an optimizer is built for.
Grouping = Callable[[Sequence[keras.Variable]], Sequence[Group]]


class GroupedOptimizer(keras.optimizers.Optimizer):
    """What our optimizers have in common: groups, clipping, state by name.

    An optimizer names what it keeps of each variable in `MOMENTS`, says in
    `update_variable` how one learns, and in `Settings` which settings it has: its
    constructor takes each as an argument. Checkpoints, exports and tasks ask `moments`
    and `counters` for its state; none of them knows a name in it.

    Keras would clip gradients first and sum them over the replicas then, which makes
    the threshold depend on their number; so this class does both itself. `fit` calls
    `apply`, which sums and then learns; the pretrainer has summed before, and calls
    `learn`.

    Args:
        learning_rate: a number or a schedule.
        weight_decay: of groups that have none of their own.
        clip_norm: largest norm of the gradients of all groups that have none of their
            own, together; None = no clipping.
        groups: None = all variables learn alike. Not part of the config: it knows of
            a model.
        name: of the optimizer.
    """

    Settings: ClassVar[type[config.OptimizerConfig]] = config.OptimizerConfig
    MOMENTS: tuple[str, ...] = ()
    not_finite = "loss or gradient is not finite"  # for messages

    def __init__(
        self,
        learning_rate: float | keras.optimizers.schedules.LearningRateSchedule,
        *,
        weight_decay: float = 0.0,
        clip_norm: float | None = None,
        groups: Grouping | None = None,
        name: str = "optimizer",
    ) -> None:
        super().__init__(learning_rate=learning_rate, name=name)
        # Not `weight_decay`: Keras would apply that itself, to every variable.
        self.decoupled_decay = weight_decay
        self.clip_norm, self._grouping = clip_norm, groups

    def add_variable(self, *args: Any, dtype: Any = None, **kwargs: Any) -> Any:
        """Makes a variable; of half precision, in float32: moments hold squares."""
        if dtype in HALF:
            dtype = "float32"
        return super().add_variable(*args, dtype=dtype, **kwargs)

    def build(self, variables: list[keras.Variable]) -> None:
        """Makes the moments, and finds rate, decay and norm of each variable.

        Raises:
            ValueError: a variable is not in exactly one group, or not matched by
                exactly one rule of decay.
        """
        if self.built:
            return
        super().build(variables)
        made = self.add_optimizer_variables(variables, list(self.MOMENTS))
        self._moments = dict(zip(self.MOMENTS, made, strict=True))
        found = self._grouping(variables) if self._grouping else [Group("", variables)]
        groups = [_only_group(variable, found) for variable in variables]
        self.rates = [group.rate for group in groups]
        self._decays = [
            _first(group.weight_decay, self.decoupled_decay) * decays(variable.path)
            for variable, group in zip(variables, groups, strict=True)
        ]
        # Which variables are clipped by one norm: (name, largest, their places).
        self._clips: list[tuple[str, float | None, set[int]]] = [
            (f"{NORM}_{group.name}", group.clip_norm, _places(groups, group))
            for group in found
            if group.clip_norm is not None
        ]
        together = {n for n, g in enumerate(groups) if g.clip_norm is None}
        if together:
            self._clips.insert(0, ("", self.clip_norm, together))

    def moments(self, variable: keras.Variable) -> dict[str, keras.Variable]:
        """Returns what is kept of a variable, by name; {} if it is not trained."""
        index = self._trainable_variables_indices.get(self._var_key(variable))
        if index is None:
            return {}
        return {name: slots[index] for name, slots in self._moments.items()}

    def counters(self) -> dict[str, keras.Variable]:
        """Returns what is kept but of no variable, by name: the number of updates."""
        return {"updates": self._iterations}

    @property
    def norm_names(self) -> list[str]:
        """The names of the norms that `learn` returns."""
        return [NORM, *(name for name, *_ in self._clips if name)]

    def apply(
        self,
        grads: Iterable[tf.Tensor | None],
        trainable_variables: Iterable[keras.Variable] | None = None,
    ) -> None:
        """Sums gradients over the replicas, and learns from them: Keras's entry."""
        grads = list(grads)
        replica = tf.distribute.get_replica_context()
        if replica and replica.num_replicas_in_sync > 1:
            there = [index for index, grad in enumerate(grads) if grad is not None]
            dense = [tf.convert_to_tensor(grads[index]) for index in there]
            dense = replica.all_reduce(tf.distribute.ReduceOp.SUM, dense)
            for index, grad in zip(there, dense, strict=True):
                grads[index] = grad
        self.learn(grads, trainable_variables)

    def learn(
        self,
        grads: Sequence[tf.Tensor | None],
        trainable_variables: Iterable[keras.Variable] | None = None,
    ) -> dict[str, tf.Tensor]:
        """Clips gradients, and updates the variables.

        Args:
            grads: over all replicas, of each variable; None where it has no gradient.
            trainable_variables: whose they are; None = all that it was built for.

        Returns:
            Norms before clipping by `norm_names`, float32 scalars: over all gradients,
            and over those of each group that is clipped by itself.
        """
        if trainable_variables is not None:
            trainable_variables = list(trainable_variables)
            if not self.built:
                with keras.name_scope(self.name):
                    self.build(trainable_variables)
        variables = self._trainable_variables
        if trainable_variables is not None:
            variables = trainable_variables
        clipped, norms = self._clip(list(grads), variables)
        self._scalars = _Scalars()
        super().apply(clipped, trainable_variables)
        return norms

    def usable(self, sums: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Returns what counts of a step's sums: all."""
        return sums

    def _clip(
        self, grads: list[tf.Tensor | None], variables: Sequence[keras.Variable]
    ) -> tuple[list[tf.Tensor | None], dict[str, tf.Tensor]]:
        places = [self._get_variable_index(variable) for variable in variables]
        norms = {}
        for name, largest, members in self._clips:
            there = [
                n
                for n, (grad, place) in enumerate(zip(grads, places, strict=True))
                if grad is not None and place in members
            ]
            dense = [tf.convert_to_tensor(grads[n]) for n in there]
            # The square of 256 is more than float16 holds.
            wide = [tf.cast(g, tf.float32) if g.dtype in HALF else g for g in dense]
            norms[name] = tf.linalg.global_norm(wide) if wide else tf.zeros([])
            if largest is not None:
                dense, _ = tf.clip_by_global_norm(dense, largest, norms[name])
            for n, grad in zip(there, dense, strict=True):
                grads[n] = grad
        parts = list(norms.values())
        whole = parts[0] if len(parts) == 1 else tf.norm(tf.stack(parts))
        return grads, {NORM: whole} | {name: norms[name] for name in norms if name}

    def update_step(
        self, gradient: tf.Tensor, variable: tf.Variable, learning_rate: tf.Tensor
    ) -> None:
        """Updates one variable at the rate and with the decay of its group."""
        index = self._get_variable_index(variable)
        factor = self.rates[index]
        rate = self.once(
            ("rate", factor), lambda: tf.cast(learning_rate, tf.float32) * factor
        )
        moments = {name: slots[index] for name, slots in self._moments.items()}
        self.update_variable(gradient, variable, moments, rate, self._decays[index])

    def update_variable(
        self,
        gradient: tf.Tensor,
        variable: tf.Variable,
        moments: dict[str, keras.Variable],
        rate: tf.Tensor,
        decay: float,
    ) -> None:
        """Updates one variable and its moments: what an optimizer is.

        Args:
            gradient: clipped, of the variable's dtype.
            variable: on one device.
            moments: by the names in MOMENTS.
            rate: float32 scalar, of this step and this variable's group.
            decay: how strongly weight decay pulls at it, times the rate; 0 = not.
        """
        raise NotImplementedError

    def once(self, name: Hashable, make: Callable[[], tf.Tensor]) -> tf.Tensor:
        """Returns a scalar that the updates of one step share, made once (D20)."""
        return self._scalars(name, make)

    def load_own_variables(self, store: Any) -> None:
        """Loads moments and steps; of an optimizer that never learned, nothing."""
        if len(store) > 1 or not self.built:
            super().load_own_variables(store)

    def _all_reduce_sum_gradients(
        self, grads_and_vars: Iterable[tuple[tf.Tensor, tf.Variable]]
    ) -> list[tuple[tf.Tensor, tf.Variable]]:
        return list(grads_and_vars)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments that make the same optimizer, but for the groups."""
        rate = self._learning_rate
        if isinstance(rate, keras.optimizers.schedules.LearningRateSchedule):
            rate = keras.saving.serialize_keras_object(rate)
        else:
            rate = float(self.learning_rate)
        return {
            "name": self.name,
            "learning_rate": rate,
            "weight_decay": self.decoupled_decay,
            "clip_norm": self.clip_norm,
        }


class _Scalars:
    """What the updates of one step share, made once: most of their graph (D20)."""

    def __init__(self) -> None:
        self._made: dict[Hashable, tf.Tensor] = {}

    def __call__(self, name: Hashable, make: Callable[[], tf.Tensor]) -> tf.Tensor:
        if name not in self._made:
            self._made[name] = make()
        return self._made[name]


def by_network(
    variables: Sequence[keras.Variable],
    networks: Mapping[str, keras.Model],
    learning: config.OptimizerConfig,
) -> list[Group]:
    """Makes a group of each network, with a norm of its own.

    What two networks share is of the first of them, as the networks stand in the
    objective: of the generator, which comes before the discriminator. So the shared
    embeddings learn as the network learns whose loss asks every row of the table, in
    the softmax over the vocabulary.

    Args:
        variables: to be trained.
        networks: of the objective, by name.
        learning: says in `networks` how each of them learns.

    Raises:
        UserError: a network is named that there is not, or that is not trained.
    """
    left = {id(variable): variable for variable in variables}
    groups = []
    for name, network in networks.items():
        own = [left.pop(id(v)) for v in network.trainable_variables if id(v) in left]
        one = learning.networks.get(name, config.GroupConfig())
        limit = _first(one.clip_norm, learning.clip_norm)
        if own:
            groups.append(
                Group(name, own, one.learning_rate_scale, one.weight_decay, limit)
            )
    names = [group.name for group in groups]
    for name in learning.networks:
        if name not in names:
            hint = errors.did_you_mean(name, names, "leave it out")
            raise errors.UserError(
                f"optimizer.networks names {name!r}; {hint} This objective trains "
                f"{', '.join(names)}"
            )
    return groups


def decays(path: str) -> bool:
    """Tells whether weight decay pulls at the variable of that path."""
    found = [answer for pattern, answer in DECAY_RULES if re.search(pattern, path)]
    if len(found) != 1:
        raise ValueError(f"{path}: {len(found)} weight-decay rules match, want 1")
    return found[0]


def _only_group(variable: keras.Variable, groups: Sequence[Group]) -> Group:
    found = [g for g in groups if any(variable is one for one in g.variables)]
    if len(found) != 1:
        names = ", ".join(group.name for group in found) or "none"
        raise ValueError(f"{variable.path}: in {len(found)} groups ({names}), want 1")
    return found[0]


def _places(groups: Sequence[Group], group: Group) -> set[int]:
    """Returns at which places of a list a group stands."""
    return {place for place, one in enumerate(groups) if one is group}


def _first(stated: float | None, otherwise: float) -> float:
    return otherwise if stated is None else stated
