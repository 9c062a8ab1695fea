"""What the task models put on the encoder.

In:   hidden states: of [CLS], [B, D]; of all tokens, [B, L, D].
Out:  float32 logits; of these, scores.

Layers are named `<something>_head`, which is where layer-wise rates look for them.
"""

from typing import Any

import keras
import tensorflow as tf

from electra_tf import errors
from electra_tf.network import kernels
from electra_tf.tasks import backbone as backbones

# Our path, Hugging Face's name of the same, and whether that is transposed.
HUGGING_FACE_CLASSIFIER = {
    "classification_head/dense/kernel": ("classifier.dense.weight", True),
    "classification_head/dense/bias": ("classifier.dense.bias", False),
    "classification_head/logits/kernel": ("classifier.out_proj.weight", True),
    "classification_head/logits/bias": ("classifier.out_proj.bias", False),
}


def build_classification_head(
    backbone: backbones.ElectraBackbone, units: int, head: str, dropout: float
) -> "ClassificationHead":
    """Builds a "dense" head, with a hidden layer, or a "linear" one, without."""
    if head not in ("dense", "linear"):
        raise errors.UserError(f'head={head!r}: want "dense" or "linear"')
    return ClassificationHead(
        units,
        backbone.model_config.hidden_size if head == "dense" else None,
        dropout,
        dtype=backbone.dtype_policy,
        name="classification_head",
    )


@keras.saving.register_keras_serializable(package="electra_tf")
class ClassificationHead(keras.layers.Layer):
    """Dropout, dense, GELU, dropout, dense: from the state of [CLS] to logits.

    As in Hugging Face's ELECTRA. Without `hidden_dim`: dropout and one dense layer, as
    in the 2020 code. Kernels are Glorot-uniform, as there.
    """

    def __init__(
        self, units: int, hidden_dim: int | None, dropout: float, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.units, self.hidden_dim = units, hidden_dim
        self.dropout = kernels.Dropout(dropout, name="dropout", dtype=self.dtype_policy)
        self.dense = None
        if hidden_dim:
            self.dense = keras.layers.Dense(
                hidden_dim, name="dense", dtype=self.dtype_policy
            )
        self.logits = keras.layers.Dense(units, name="logits", dtype=self.dtype_policy)

    def build(self, shape: tuple[int | None, ...]) -> None:
        """Makes the kernels [D, hidden_dim] and [hidden_dim, units]."""
        width = shape[-1]
        if self.dense:
            self.dense.build((None, width))
            width = self.hidden_dim
        self.logits.build((None, width))

    def call(self, x: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Turns [B, D] into float32 logits [B, units]."""
        x = self.dropout(x, training=training)
        if self.dense:
            x = kernels.exact_gelu(self.dense(x))
            x = self.dropout(x, training=training)
        return tf.cast(self.logits(x), tf.float32)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments that make the same layer."""
        return {
            **super().get_config(),
            "units": self.units,
            "hidden_dim": self.hidden_dim,
            "dropout": self.dropout.rate,
        }


@keras.saving.register_keras_serializable(package="electra_tf")
class TokenHead(keras.layers.Layer):
    """Dropout and one dense layer at every token."""

    def __init__(self, units: int, dropout: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.units = units
        self.dropout = kernels.Dropout(dropout, name="dropout", dtype=self.dtype_policy)
        self.logits = keras.layers.Dense(units, name="logits", dtype=self.dtype_policy)

    def build(self, shape: tuple[int | None, ...]) -> None:
        """Makes the kernel [D, units]."""
        self.logits.build(shape)

    def call(self, x: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Turns [B, L, D] into float32 logits [B, L, units]."""
        return tf.cast(self.logits(self.dropout(x, training=training)), tf.float32)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments that make the same layer."""
        return {
            **super().get_config(),
            "units": self.units,
            "dropout": self.dropout.rate,
        }


@keras.saving.register_keras_serializable(package="electra_tf")
class TokenScores(keras.layers.Layer):
    """Makes scores, nats, of what a head says.

    Args:
        way: see `scorer.ElectraScorer`.
        **kwargs: of `keras.layers.Layer`.
    """

    def __init__(self, way: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.way = way
        self.built = True

    def call(self, logits: tf.Tensor, ids: tf.Tensor | None = None) -> tf.Tensor:
        """Turns float32 [B, L], or [B, P, V] and int32 [B, P], into float32 scores."""
        if self.way == "masking":
            return -tf.nn.sparse_softmax_cross_entropy_with_logits(ids, logits)
        # An energy is minus a log-probability; a discriminator's logit, of "replaced".
        return -logits if self.way == "energy" else tf.math.log_sigmoid(-logits)

    def compute_output_spec(
        self, logits: keras.KerasTensor, ids: keras.KerasTensor | None = None
    ) -> keras.KerasTensor:
        """Returns the shape of the scores."""
        shape = logits.shape if ids is None else ids.shape
        return keras.KerasTensor(shape, "float32")

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments that make the same layer."""
        return {**super().get_config(), "way": self.way}
