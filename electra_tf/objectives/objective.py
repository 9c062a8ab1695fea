"""What an objective says of itself: all that others need to know of it.

In:   the settings.
Out:  its networks, its losses and metrics, and how a held-out row is told.

Whoever trains, reports, saves or loads reads these declarations and compares no names.
Nothing here loads TensorFlow or Keras, so that reports may read them, too.
B rows, L tokens per row, P predictions per row.
"""

import abc
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from electra_tf import config

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

Batch = dict[str, "tf.Tensor"]  # a masked batch (docs/architecture.md, section 2)
Sums = dict[str, "tf.Tensor"]


class Shown(NamedTuple):
    """How a value of a run is shown."""

    title: str  # of its curve
    line: str = ""  # on the line of progress, as in "lr {:.2e}"; "" = it is not there
    is_compared: bool = False  # whether a comparison of runs lists it


class Loss(NamedTuple):
    """A loss N: `sums` gives its sum, `counts` its terms; its mean is called N_loss.

    The run minimizes the means, each times its weight.
    """

    weight: float
    title: str  # as in "MLM loss"
    unit: str  # as in "nats per hidden token"

    @property
    def shown(self) -> Shown:
        """How its mean is shown: always, and where runs are compared."""
        return Shown(
            f"{self.title} ({self.unit})", f"{self.title.lower()} {{:.4f}}", True
        )


class Metric(NamedTuple):
    """A number that is made of sums.

    There are those that the objective returns, and of each loss N N_loss and N_count;
    `tokens` (real ones), `positions` (with padding) and `rows`.
    """

    title: str
    of: "tuple[str, str] | Callable[[Sums], tf.Tensor]"  # numerator, denominator
    line: str = ""  # as of `Shown`
    is_compared: bool = False

    @property
    def shown(self) -> Shown:
        """How it is shown."""
        return Shown(self.title, self.line, self.is_compared)


class Network(NamedTuple):
    """One network: what it is, what is left of it, what it may start from.

    A role says which head stands on the encoder: "generator" guesses hidden tokens,
    "discriminator" tells which tokens were replaced, "encoder" has none
    (`preset.BUILDERS`). A preset may hold other roles; of those, its encoder is used.
    """

    config: config.ModelConfig
    build: "Callable[[], keras.Model]"  # with fresh weights
    role: str
    saved_as: str = ""  # its name in the preset; "" = it is not kept
    # Makes of the trained network the one that is kept, such as one table of two.
    fold: "Callable[[keras.Model], keras.Model] | None" = None
    # A context in which the trained network's variables are those of the one that is
    # kept: where it starts from weights, they are assigned there.
    unfolded: "Callable[[keras.Model], AbstractContextManager[None]] | None" = None
    # Roles of the networks of train.init_from that it may start from, the first that
    # is there.
    starts_from: tuple[str, ...] = ()
    # Where its architecture is stated: "model", "generator", or "" for nowhere. One
    # that stands in "model" must find what to start from, others may be drawn.
    section: str = ""
    # A preset that it starts from always, instead of train.init_from.
    origin: str = ""
    is_trainable: bool = True

    def kept(self, network: "keras.Model") -> "keras.Model":
        """Returns what a preset keeps of the trained network."""
        return self.fold(network) if self.fold else network


class Rows(NamedTuple):
    """How a held-out row is told; see `Objective.verdicts`."""

    filled_by: str = "the generator"  # who fills the hidden places
    judged_by: str = ""  # who gives each token a probability; "" = nobody
    judged: str = "replaced"  # what the probability is of


class Declaration(NamedTuple):
    """All that an objective says of itself; names are the keys."""

    networks: dict[str, Network]
    losses: dict[str, Loss]
    metrics: dict[str, Metric]
    sums: dict[str, tuple[int, ...]]  # shapes of the sums that metrics are made of
    rows: Rows


class Objective(abc.ABC):
    """What is learned: it owns networks and turns a batch into losses.

    Derive from it, or from one of ours, and name the class in `objective.name`.
    """

    Settings: ClassVar[type[config.ObjectiveConfig]] = config.ObjectiveConfig

    def __init__(self, settings: config.PretrainConfig) -> None:
        """Builds the networks, with fresh weights."""
        self.settings: Any = settings.objective  # of the class Settings
        self.declared = self.declare(settings)
        self.networks: dict[str, keras.Model] = {
            name: network.build() for name, network in self.declared.networks.items()
        }

    @classmethod
    @abc.abstractmethod
    def declare(cls, settings: config.PretrainConfig) -> Declaration:
        """Says what there will be, and builds nothing yet."""

    @abc.abstractmethod
    def counts(self, batch: Batch) -> Sums:
        """Returns, for each loss, how many terms its sum has: float32 scalars."""

    @abc.abstractmethod
    def sums(
        self, batch: Batch, training: bool, progress: "tf.Tensor | float"
    ) -> tuple[Sums, Sums]:
        """Returns the sum of each loss and the sums that metrics are made of.

        Args:
            batch: a masked batch (docs/architecture.md, section 2).
            training: whether to drop units.
            progress: float32 scalar, the share of the run's steps that are made, 0
                to 1: for what changes in the course of a run.
        """

    @abc.abstractmethod
    def verdicts(self, batch: Batch) -> Sums:
        """Returns what to show of a batch.

        `sampled` int32 [B, P]: what was put into the hidden places. If the declaration
        says who judges, `probability` float32 [B, L], 0 to 1.
        """


def shown(declared: Declaration, common: Mapping[str, Shown]) -> dict[str, Shown]:
    """Returns how all values of a run are shown, in their order.

    Args:
        declared: by the objective.
        common: of every run; they stand last.
    """
    total = {"loss": Shown("Total loss", is_compared=True)}
    losses = {f"{name}_loss": loss.shown for name, loss in declared.losses.items()}
    metrics = {name: metric.shown for name, metric in declared.metrics.items()}
    return total | losses | metrics | dict(common)
