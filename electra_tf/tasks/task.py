"""What a task says of itself; the rest is done alike for all, by the parts it has.

In:   a preset of any kind, or a backbone; Python strings, or a tf.data.Dataset.
Out:  a KerasHub task.

A task says how its inputs become rows, its labels targets, and its outputs answers;
`starting`, `batching`, `fitting`, `predicting` and `exporting` do the rest.
"""

import functools
from typing import Any, ClassVar

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from electra_tf import errors
from electra_tf.serving import saved_model
from electra_tf.tasks import backbone as backbones
from electra_tf.tasks import (
    batching,
    exporting,
    fitting,
    inputs,
    predicting,
    preprocessor,
    recipe,
    starting,
)
from electra_tf.training import groups
from electra_tf.weights import preset


class ElectraTask(
    starting.Starting,
    batching.Batching,
    fitting.Fitting,
    predicting.Predicting,
    exporting.Exporting,
):
    """Half of a KerasHub task on ELECTRA's encoder: to be named before the other half.

    `class X(ElectraTask, keras_hub.models.Task)`, or one of its subclasses for Task.
    Its parts are no Keras classes, as functional models cannot inherit Keras' twice.

    With its defaults, `compile` and `fit` train as the paper does: AdamW without bias
    correction, warm-up over 10 % of the steps, linear decay to 0, layer-wise rates,
    gradients clipped to norm 1 after they are summed over the replicas.
    """

    kind: str = ""  # Its name in `kinds`, for the commands.
    backbone_cls = backbones.ElectraBackbone
    preprocessor_cls: Any = preprocessor.ElectraTextPreprocessor
    # Whose encoder it starts from: the first that is there.
    networks: ClassVar[tuple[str, ...]] = backbones.NETWORKS
    # Hugging Face's head of this task: our path to (its name, whether transposed).
    hugging_face_head: ClassVar[dict[str, tuple[str, bool]]] = {}
    hugging_face_class: str | None = None
    hugging_face_kind: str | None = None  # as `hugging_face` tells heads
    way_out = 'see long_texts="windows"'  # what to do about truncated texts
    # Why a tf.data.Dataset of strings does not do, where it does not.
    of_lists: str | None = None
    has_labels = True  # Whether it learns from labels.
    has_decoder = False  # Whether it has blocks of its own, above the encoder's.
    # Batches of a dataset that are sorted by length together.
    pool_batches = inputs.POOL_BATCHES
    # What labels may be, where they are classes.
    classes: Any = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        errors.refuse_arguments(
            self, kwargs.keys() - {"inputs", "outputs"}, *starting.INHERITED
        )
        super().__init__(*args, **kwargs)

    # Inputs, labels, outputs.

    def examples(self, x: Any) -> list[Any]:
        """Returns inputs of any form as a list, one each: what `rows` takes too."""
        firsts, seconds = preprocessor.split_pairs(x)
        return firsts if seconds is None else list(zip(firsts, seconds, strict=True))

    def rows(self, x: Any) -> inputs.Rows:
        """Turns inputs into rows of token ids."""
        found: inputs.Rows = self.preprocessor.rows(x)
        return found

    def targets(self, y: Any, rows: inputs.Rows) -> Any:
        """Turns labels, one per input, into targets: see `inputs.batches`."""
        raise NotImplementedError

    def graph_targets(self, y: tf.Tensor) -> tf.Tensor:
        """Does the same to a batch of labels in a tf.data pipeline; learns nothing."""
        return y

    def answers(self, x: Any, rows: inputs.Rows, outputs: list[Any]) -> Any:
        """Turns the outputs of all rows into what `predict` returns.

        By default, the mean over each input's windows.
        """
        if not outputs:
            return np.zeros((0, *self.output_shape[1:]), np.float32)
        return predicting.mean_over_windows(outputs, rows)

    def signatures(self) -> dict[str, saved_model.Signature]:
        """Returns the ways in which a server can ask the model: see `graph`."""
        raise NotImplementedError

    # Training.

    def default_loss(self) -> Any:
        """Returns the loss of `compile`."""
        raise NotImplementedError

    def default_loss_weights(self) -> Any:
        """Returns the weights of that loss, where it is several."""
        return None

    def default_metrics(self) -> list[Any]:
        """Returns the metrics of `compile`."""
        return []

    def default_weighted_metrics(self) -> Any:
        """Returns the metrics that heed the weights of samples."""
        return None

    def usual_rates(self) -> tuple[float, float]:
        """Returns the peak rate and the layer-wise decay of `compile`."""
        return recipe.usual_rates(self.backbone.model_config)

    def usual_recipe(self) -> dict[str, float]:
        """Returns the rates of `compile` by name."""
        rate, decay = self.usual_rates()
        return {"learning_rate": rate, "layer_decay": decay, "weight_decay": 0.0}

    def grouping(self, rates: dict[str, float]) -> groups.Grouping:
        """Makes groups of variables that learn alike, of the rates of `compile`."""
        return functools.partial(
            recipe.by_depth,
            num_layers=self.backbone.model_config.num_layers,
            decay=rates["layer_decay"],
        )

    def held_out(self, validation_data: Any) -> tuple[Any, Any, Any]:
        """Returns inputs, labels and weights of what `fit` validates on."""
        found: tuple[Any, Any, Any] = keras.utils.unpack_x_y_sample_weight(
            validation_data
        )
        return found

    # Heads, and Hugging Face's.

    @classmethod
    def found_in(cls, source: preset.Pretrained) -> dict[str, Any]:
        """Returns constructor arguments of a head that the source has for this task."""
        return {}

    def fits_hugging_face(self) -> bool:
        """Tells whether the head is one that Hugging Face has."""
        paths = {variable.path for variable in self.weights}
        return bool(self.hugging_face_head) and self.hugging_face_head.keys() <= paths

    def label_names(self) -> list[str] | None:
        """Returns the names of the classes, for Hugging Face's config."""
        if not hasattr(self, "num_classes"):
            return None
        names = getattr(self, "class_names", None)
        return [*map(str, names or [f"LABEL_{i}" for i in range(self.num_classes)])]

    def settled(self) -> dict[str, Any]:
        """Returns what else its answers depend on, JSON values; an export tells it."""
        return {}

    def problem_type(self) -> str | None:
        """Returns transformers' word for what a head of texts learned."""
        return None

    def class_labels(self) -> list[str] | None:
        """Returns the names of the classes; numbers, where they have none."""
        if not hasattr(self, "num_classes"):
            return None
        names = getattr(self, "class_names", None)
        return [str(name) for name in names or range(self.num_classes)]

    def exported(
        self, path: str, array: npt.NDArray[np.float32]
    ) -> npt.NDArray[np.float32]:
        """Returns an array of the head as Hugging Face's head should have it."""
        return array
