"""Texts, or pairs of texts, become classes.

In:   strings; labels as class names, or as integers from 0; or several of these each.
Out:  logits [N, num_classes], or class names.
"""

from collections.abc import Sequence
from typing import Any, Self

import keras
import keras_hub
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from electra_tf import errors
from electra_tf.serving import saved_model
from electra_tf.tasks import backbone as backbones
from electra_tf.tasks import graph, heads, inputs, label_sets, labels, recipe, task
from electra_tf.weights import preset


@keras.saving.register_keras_serializable(package="electra_tf")
class ElectraTextClassifier(task.ElectraTask, keras_hub.models.TextClassifier):
    """Classifies texts, or pairs of texts.

    `keras_hub.models.TextClassifier.from_preset` returns this class for our presets.

    Args:
        backbone: the encoder.
        num_classes: how many classes there are; None = as many as class_names.
        preprocessor: strings to token ids; None where the inputs are token ids.
        activation: for the outputs; None returns logits, "softmax" probabilities; with
            `multi_label`, "sigmoid".
        dropout: before each dense layer of the head.
        head: "dense" has a hidden layer, as in Hugging Face's; "linear" has none, as
            in the 2020 code.
        class_names: names of the classes in order, strings or numbers; by default the
            labels that `fit` was given, sorted, if they are strings.
        multi_label: whether a text may have several classes, or none: labels are lists
            of classes, or vectors of 0 and 1, and each class has a sigmoid.
        thresholds: with `multi_label`, above which probability a text has a class: one
            number, or one per class.
    """

    hugging_face_head = heads.HUGGING_FACE_CLASSIFIER
    hugging_face_class = "ElectraForSequenceClassification"
    hugging_face_kind = "sequence_classification"

    def __init__(
        self,
        backbone: backbones.ElectraBackbone,
        num_classes: int | None = None,
        preprocessor: Any = None,
        activation: Any = None,
        dropout: float = 0.1,
        head: str = "dense",
        class_names: Sequence[str] | None = None,
        multi_label: bool = False,
        thresholds: label_sets.Thresholds = label_sets.THRESHOLD,
        **kwargs: Any,
    ) -> None:
        num_classes = labels.count_classes(num_classes, class_names)
        self.multi_label = multi_label
        self.thresholds = label_sets.check_thresholds(thresholds, num_classes)
        self.backbone = backbone
        self.preprocessor = preprocessor
        self.activation = keras.activations.get(activation)
        if multi_label and self.activation is keras.activations.softmax:
            raise errors.UserError(
                'activation="softmax" is for one class per text; of multi_label, take '
                '"sigmoid", or None for logits'
            )
        self.classification_head = heads.build_classification_head(
            backbone, num_classes, head, dropout
        )
        outputs = self.activation(self.classification_head(backbone.first_state))
        self.num_classes, self.dropout, self.head = num_classes, dropout, head
        self.class_names = (
            None if class_names is None else labels.read_names(class_names)
        )
        super().__init__(inputs=backbone.input, outputs=outputs, **kwargs)

    @classmethod
    def from_preset(cls, preset: str, load_weights: bool = True, **kwargs: Any) -> Self:
        """Builds the task from weights on disk: see `ElectraTask.from_preset`.

        With `num_classes`, the head is a new one, whatever the preset has.
        """
        if "num_classes" in kwargs:
            kwargs.setdefault("class_names", None)
            kwargs.setdefault("thresholds", label_sets.THRESHOLD)
        return super().from_preset(preset, load_weights, **kwargs)

    @property
    def kind(self) -> str:  # type: ignore[override]
        """Its name in `kinds`."""
        return "multi_label" if self.multi_label else "classification"

    @property
    def classes(self) -> labels.Classes:
        """What labels may be."""
        return labels.Classes(self.num_classes, self.class_names)

    def targets(self, y: Any, rows: inputs.Rows) -> npt.NDArray[Any]:
        """Turns labels into class numbers [rows]; learns the names, the first time.

        One-hot labels are class numbers too; for a loss that is not the task's they
        stay vectors, float32 [rows, classes], as multi-hot ones do. With multi_label,
        all become such.
        """
        if self.multi_label:
            found = label_sets.lists(y, rows.num_inputs)
            self._learn_names([label for row in found for label in row])
            number = self.classes.number
            return label_sets.vectors(found, self.num_classes, number)[rows.source]
        found = labels.of_inputs(y, rows.num_inputs)
        if labels.are_vectors(found):
            hot = labels.vectors(found, self.num_classes)
            return (labels.hot_places(hot) if self._is_sparse() else hot)[rows.source]
        self._learn_names(found)
        numbers = [*map(self.classes.number, found)]
        return np.array(numbers, np.int32)[rows.source]

    def _learn_names(self, found: Sequence[Any]) -> None:
        if self.class_names is None and any(isinstance(v, str | bytes) for v in found):
            self.class_names = labels.learn_names(found, self.num_classes)

    def graph_targets(self, y: tf.Tensor) -> tf.Tensor:
        """Does the same to a batch; class names must be known."""
        if y.dtype == tf.string and self.class_names is None:
            raise errors.UserError(
                "labels in a tf.data.Dataset are strings: say which there are, "
                "class_names=[...]"
            )
        if self.multi_label:
            number = self.classes.in_graph
            return label_sets.vectors_in_graph(y, self.num_classes, number)
        if y.shape.rank == 2 and y.shape[1] == 1:
            y = y[:, 0]
        if y.shape.rank == 2 and y.shape[1] == self.num_classes > 1:
            hot = tf.cast(y, tf.float32)
            return labels.hot_places_in_graph(hot) if self._is_sparse() else hot
        return self.classes.in_graph(y)

    def _is_sparse(self) -> bool:
        """Tells whether the loss takes class numbers, as the task's does."""
        return recipe.is_sparse(getattr(self, "loss", None))

    def predict_classes(
        self, x: Any, batch_size: int | None = None
    ) -> list[dict[str, Any]]:
        """Returns the likeliest class of each input and the probabilities of all.

        Returns:
            For each input `{"label": name or number, "score": its probability,
            "scores": {label: probability}}`; with multi_label, `{"labels": [...],
            "scores": ...}`.
        """
        shares = np.asarray(self._shares(self.predict(x, batch_size)))
        names: list[Any] = self.class_names or [*range(self.num_classes)]
        scores = [dict(zip(names, map(float, row), strict=True)) for row in shares]
        if self.multi_label:
            chosen = shares > np.asarray(self.thresholds)
            return [
                {
                    "labels": [names[place] for place in np.flatnonzero(row)],
                    "scores": found,
                }
                for row, found in zip(chosen, scores, strict=True)
            ]
        return [
            {
                "label": names[int(np.argmax(row))],
                "score": float(np.max(row)),
                "scores": found,
            }
            for row, found in zip(shares, scores, strict=True)
        ]

    def _shares(self, outputs: Any) -> tf.Tensor:
        """Turns outputs [N, C] into probabilities."""
        if self.activation is not keras.activations.linear:
            return outputs
        return tf.sigmoid(outputs) if self.multi_label else tf.nn.softmax(outputs)

    def signatures(self) -> dict[str, saved_model.Signature]:
        """Returns label, score, and the scores of all classes, of texts or pairs.

        With multi_label, labels instead of label and score: string [N, C], of each text
        `num_labels`, then "".
        """
        names = self.class_labels()
        before = graph.Preprocessor(self.preprocessor)

        def answer(outputs: tf.Tensor) -> saved_model.Tensors:
            scores = self._shares(outputs)
            classes = tf.broadcast_to(tf.constant(names), tf.shape(scores))
            found = {"classes": classes, "scores": scores}
            if self.multi_label:
                chosen = scores > tf.constant(self.thresholds, tf.float32)
                said = tf.ragged.boolean_mask(classes, chosen)
                return {
                    "labels": said.to_tensor("", shape=[None, self.num_classes]),
                    "num_labels": tf.reduce_sum(tf.cast(chosen, tf.int32), axis=-1),
                    **found,
                }
            return {
                "label": tf.gather(tf.constant(names), tf.argmax(scores, axis=-1)),
                "score": tf.reduce_max(scores, axis=-1),
                **found,
            }

        def classify(outputs: tf.Tensor) -> saved_model.Tensors:
            found = answer(outputs)
            return {name: found[name] for name in ("classes", "scores")}

        return {
            **graph.of_texts(self, before, answer),
            "classify": graph.of_examples(self, before, classify, "classify"),
        }

    def default_loss(self) -> keras.losses.Loss:
        """Returns cross-entropy over the classes; of multi_label, of each class."""
        from_logits = self.activation is keras.activations.linear
        if self.multi_label:
            return keras.losses.BinaryCrossentropy(from_logits=from_logits)
        return keras.losses.SparseCategoricalCrossentropy(from_logits=from_logits)

    def default_metrics(self) -> list[Any]:
        """Returns accuracy, of class numbers or of vectors; of multi_label, F1."""
        if self.multi_label:
            from_logits = self.activation is keras.activations.linear
            return [label_sets.MicroF1(self.thresholds, from_logits)]
        return ["accuracy"]

    @classmethod
    def found_in(cls, source: preset.Pretrained) -> dict[str, Any]:
        """Returns the classes of Hugging Face's classifier."""
        names = source.label_names  # type: ignore[attr-defined]
        return {
            "num_classes": len(names),
            "class_names": names,
            "dropout": source.dropout,  # type: ignore[attr-defined]
            **cls._multi_label_in(source),
        }

    @classmethod
    def _multi_label_in(cls, source: Any) -> dict[str, Any]:
        if source.problem_type != "multi_label_classification":
            return {}
        stated = source.thresholds  # Ours; transformers has none.
        return {
            "multi_label": True,
            "thresholds": label_sets.THRESHOLD if stated is None else stated,
        }

    @classmethod
    def fits_head(cls, source: preset.Pretrained) -> bool:
        """Tells whether the source's head learned classes."""
        return (
            super().fits_head(source) and source.problem_type != "regression"  # type: ignore[attr-defined]
        )

    def settled(self) -> dict[str, Any]:
        """Returns the thresholds of multi_label."""
        return {"thresholds": self.thresholds} if self.multi_label else {}

    def problem_type(self) -> str:
        """Returns what transformers calls this."""
        return f"{'multi' if self.multi_label else 'single'}_label_classification"

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments that make the same model."""
        return {
            **super().get_config(),
            "num_classes": self.num_classes,
            "activation": keras.activations.serialize(self.activation),
            "dropout": self.dropout,
            "head": self.head,
            "class_names": self.class_names,
            "multi_label": self.multi_label,
            "thresholds": self.thresholds,
        }
