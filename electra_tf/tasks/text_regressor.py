"""Texts, or pairs of texts, become numbers.

In:   strings; labels as numbers of any range.
Out:  numbers of that range, float32 [N].
"""

from typing import Any

import keras
import keras_hub
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from electra_tf import errors
from electra_tf.serving import saved_model
from electra_tf.tasks import backbone as backbones
from electra_tf.tasks import graph, heads, inputs, labels, task
from electra_tf.weights import preset


@keras.saving.register_keras_serializable(package="electra_tf")
class ElectraTextRegressor(task.ElectraTask, keras_hub.models.Task):
    """Gives texts, or pairs of texts, a number: similarity, stars, a price.

    The network learns (label - offset) / scale, which `fit` takes from the first labels
    it sees, so that labels of any range train alike; the 2020 code divides by 5.

    Args:
        backbone: the encoder.
        preprocessor: strings to token ids; None where the inputs are token ids.
        dropout: before each dense layer of the head.
        head: "dense" has a hidden layer, as in Hugging Face's; "linear" has none, as
            in the 2020 code.
        offset: is taken off the labels; None = their mean, learnt.
        scale: divides the labels; None = their standard deviation, learnt.
    """

    kind = "regression"
    hugging_face_head = heads.HUGGING_FACE_CLASSIFIER
    hugging_face_class = "ElectraForSequenceClassification"
    hugging_face_kind = "sequence_classification"

    def __init__(
        self,
        backbone: backbones.ElectraBackbone,
        preprocessor: Any = None,
        dropout: float = 0.1,
        head: str = "dense",
        offset: float | None = None,
        scale: float | None = None,
        **kwargs: Any,
    ) -> None:
        if scale is not None and not scale > 0:
            raise errors.UserError(f"scale={scale}: want more than 0")
        self.backbone = backbone
        self.preprocessor = preprocessor
        self.classification_head = heads.build_classification_head(
            backbone, 1, head, dropout
        )
        self.dropout, self.head = dropout, head
        self.offset, self.scale = offset, scale
        super().__init__(
            inputs=backbone.input,
            outputs=self.classification_head(backbone.first_state),
            **kwargs,
        )

    def targets(self, y: Any, rows: inputs.Rows) -> npt.NDArray[np.float32]:
        """Turns numbers into what the network learns, float32 [rows, 1]."""
        found = labels.of_inputs(y, rows.num_inputs)
        try:
            values = np.asarray(found, np.float64)
        except (TypeError, ValueError):
            raise errors.UserError("the labels are not all numbers") from None
        if values.ndim != 1 or not np.isfinite(values).all():
            raise errors.UserError("the labels hold what is no finite number")
        if self.offset is None:
            self.offset = float(values.mean())
        if self.scale is None:
            self.scale = float(values.std()) or 1.0
        learnt = ((values - self.offset) / self.scale).astype(np.float32)
        return learnt[rows.source, None]

    def graph_targets(self, y: tf.Tensor) -> tf.Tensor:
        """Does the same; labels that no list was seen of are learnt as they are."""
        values = tf.reshape(tf.cast(y, tf.float32), [-1, 1])
        return (values - (self.offset or 0.0)) / (self.scale or 1.0)

    def predict(
        self, x: Any, batch_size: int | None = None, *args: Any, **kwargs: Any
    ) -> npt.NDArray[np.float32]:
        """Returns one number per input, in the units of the labels."""
        found = np.asarray(super().predict(x, batch_size, *args, **kwargs)).reshape(-1)
        return found * np.float32(self.scale or 1.0) + np.float32(self.offset or 0.0)

    def signatures(self) -> dict[str, saved_model.Signature]:
        """Returns the value, in the units of the labels, of texts or pairs."""
        before = graph.Preprocessor(self.preprocessor)

        def value(outputs: tf.Tensor) -> tf.Tensor:
            return outputs[:, 0] * (self.scale or 1.0) + (self.offset or 0.0)

        return {
            **graph.of_texts(self, before, lambda outputs: {"value": value(outputs)}),
            "regress": graph.of_examples(
                self, before, lambda outputs: {"outputs": value(outputs)}, "regress"
            ),
        }

    @classmethod
    def fits_head(cls, source: preset.Pretrained) -> bool:
        """Tells whether the source's head learned one number."""
        return (
            super().fits_head(source)
            and source.problem_type == "regression"  # type: ignore[attr-defined]
            and len(source.label_names) == 1  # type: ignore[attr-defined]
        )

    @classmethod
    def found_in(cls, source: preset.Pretrained) -> dict[str, Any]:
        """Returns the dropout of Hugging Face's head."""
        return {"dropout": source.dropout}  # type: ignore[attr-defined]

    def label_names(self) -> list[str]:
        """Returns one name, which transformers counts its output by."""
        return ["LABEL_0"]

    def problem_type(self) -> str:
        """Returns what transformers calls this."""
        return "regression"

    def exported(
        self, path: str, array: npt.NDArray[np.float32]
    ) -> npt.NDArray[np.float32]:
        """Folds scale and offset into the last layer."""
        if self.scale is None or self.offset is None or "/logits/" not in path:
            return array
        shift = self.offset if path.endswith("/bias") else 0.0
        return (array * self.scale + shift).astype(np.float32)

    def default_loss(self) -> keras.losses.Loss:
        """Returns the mean squared error."""
        return keras.losses.MeanSquaredError()

    def default_metrics(self) -> list[keras.metrics.Metric]:
        """Returns the absolute error, in standard deviations of the labels."""
        return [keras.metrics.MeanAbsoluteError(name="absolute_error")]

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments that make the same model."""
        return {
            **super().get_config(),
            "dropout": self.dropout,
            "head": self.head,
            "offset": self.offset,
            "scale": self.scale,
        }
