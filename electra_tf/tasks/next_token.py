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

    By the same operations as `smoothed`, so that a graph has them once.
    """
    flat = tf.reshape(tf.cast(logits, tf.float32), [-1, logits.shape[-1]])
    ids = tf.reshape(tf.cast(token_ids, tf.int32), [-1])
    _, _, log_sum = _sums(flat)
    return tf.reshape(log_sum - _own(flat, ids), tf.shape(token_ids))


def smoothed(
    token_ids: tf.Tensor, logits: tf.Tensor, label_smoothing: float
) -> tf.Tensor:
    """Returns the cross-entropy towards smoothed labels of each token, float32 [B, L].

    Its slopes are in closed form: by TensorFlow's, whose parts each make one of the
    size of the logits, loss and slopes took 2.4 times as long.
    """
    flat = tf.reshape(tf.cast(logits, tf.float32), [-1, logits.shape[-1]])
    ids = tf.reshape(tf.cast(token_ids, tf.int32), [-1])
    share = 1.0 - label_smoothing

    @tf.custom_gradient
    def compute(flat: tf.Tensor) -> tuple[tf.Tensor, Any]:
        powers, sums, log_sum = _sums(flat)
        loss = log_sum - share * _own(flat, ids)
        if label_smoothing:
            loss -= label_smoothing * tf.reduce_mean(flat, axis=-1)

        def slopes(upstream: tf.Tensor) -> tf.Tensor:
            column = upstream[:, None]
            slope = powers * (column / sums)
            if label_smoothing:
                slope -= column * (label_smoothing / flat.shape[-1])
            places = tf.stack([tf.range(tf.size(ids)), ids], axis=-1)
            return tf.tensor_scatter_nd_sub(slope, places, share * upstream)

        return loss, slopes

    return tf.reshape(compute(flat), tf.shape(token_ids))


def _sums(flat: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Returns exp(logits - greatest) [N, V], their sums [N, 1], and log(sum) [N]."""
    greatest = tf.reduce_max(flat, axis=-1, keepdims=True)
    powers = tf.exp(flat - greatest)
    sums = tf.reduce_sum(powers, axis=-1, keepdims=True)
    return powers, sums, tf.squeeze(tf.math.log(sums) + greatest, axis=-1)


def _own(flat: tf.Tensor, ids: tf.Tensor) -> tf.Tensor:
    """Returns the logit [N] of each token."""
    return tf.gather(flat, ids, batch_dims=1)


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
        return smoothed(y_true, y_pred, self.label_smoothing)

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
