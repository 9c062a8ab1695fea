"""How surprised a decoder is by the token that comes next: loss and metric.

In:   tokens int [B, L]; float32 logits [B, L, V]; weights [B, L].
Out:  the smoothed loss of each token, nats; perplexity over all.
"""

from typing import Any

import keras
import tensorflow as tf

from electra_tf import errors


def surprise(token_ids: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """Returns the negative logarithm of each token's share, float32 [B, L].

    As the same operation wherever it is asked for, so that a graph has it once.
    """
    return tf.nn.sparse_softmax_cross_entropy_with_logits(
        tf.cast(token_ids, tf.int32), tf.cast(logits, tf.float32)
    )


@keras.saving.register_keras_serializable(package="electra_tf")
class SmoothedCrossEntropy(keras.losses.Loss):
    """Cross-entropy towards a share `1 - label_smoothing` of the token that came.

    The rest is shared out evenly among all tokens (Szegedy et al. 2016, section 7).
    A batch's loss is the mean over its tokens.

    Args:
        label_smoothing: 0 to less than 1.
        name: of the loss.
        **kwargs: of `keras.losses.Loss`.
    """

    def __init__(
        self,
        label_smoothing: float = 0.0,
        name: str = "smoothed_cross_entropy",
        reduction: str = "mean_with_sample_weight",
        **kwargs: Any,
    ) -> None:
        if not 0.0 <= label_smoothing < 1.0:
            raise errors.UserError(
                f"label_smoothing={label_smoothing}: want 0 to less than 1"
            )
        super().__init__(name=name, reduction=reduction, **kwargs)
        self.label_smoothing = label_smoothing

    def call(self, y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        """Returns the loss of each token, float32 [B, L]."""
        loss = surprise(y_true, y_pred)
        if not self.label_smoothing:
            return loss
        # The mean over all tokens of log(sum) - logit, written by what is known.
        own = tf.gather(y_pred, tf.cast(y_true, tf.int32), batch_dims=2)
        return loss + self.label_smoothing * (own - tf.reduce_mean(y_pred, axis=-1))

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments that make the same loss."""
        return {**super().get_config(), "label_smoothing": self.label_smoothing}


@keras.saving.register_keras_serializable(package="electra_tf")
class Perplexity(keras.metrics.Mean):
    """The exponential of the mean surprise over all tokens; nothing is smoothed."""

    def __init__(self, name: str = "perplexity", **kwargs: Any) -> None:
        super().__init__(name=name, **kwargs)

    def update_state(
        self, y_true: tf.Tensor, y_pred: tf.Tensor, sample_weight: Any = None
    ) -> None:
        """Adds a batch."""
        super().update_state(surprise(y_true, y_pred), sample_weight)

    def result(self) -> tf.Tensor:
        """Returns 1 for a model that knows each token beforehand."""
        return tf.exp(super().result())
