"""What question answering puts on the encoder: where an answer starts and ends.

In:   states of all tokens, [B, L, D]; which of them are the context's.
Out:  float32 logits, or the likeliest starts with the ends of each.

B rows, L tokens per row, D hidden, U of a head's hidden layer, K starts that a beam
follows, A tokens of an answer; [CLS] question [SEP] window of the context [SEP].
"""

from typing import Any

import keras
import tensorflow as tf

from electra_tf.network import kernels

UNITS = 512  # of the joint head's hidden layers (2020 code)

# The logit of a token that is neither in the context nor [CLS] (2020 code).
NEVER = -1000.0


@keras.saving.register_keras_serializable(package="electra_tf")
class PlainSpanHead(keras.layers.Layer):
    """One dense layer: where an answer starts, and, for itself, where it ends."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.logits = keras.layers.Dense(2, name="logits", dtype=self.dtype_policy)

    def build(self, states_shape: tuple[Any, ...]) -> None:
        """Makes the kernel [D, 2]."""
        self.logits.build(states_shape)

    def call(
        self, states: tf.Tensor, segment_ids: tf.Tensor, padding_mask: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        """Turns states [B, L, D] into logits: start and end, float32 [B, L]."""
        allowed = _may_answer(segment_ids, padding_mask)[..., None]  # [B, L, 1]
        logits = tf.where(allowed, tf.cast(self.logits(states), tf.float32), NEVER)
        return {"start": logits[..., 0], "end": logits[..., 1]}


@keras.saving.register_keras_serializable(package="electra_tf")
class JointSpanHead(keras.layers.Layer):
    """As in the 2020 code: where an answer starts, then where it ends; if there is one.

    The end is told from two states, of the start and of the token; a dense layer over
    both is the sum of two over one. Kernels are Glorot-uniform.

    Args:
        beam_size: starts that are followed, where none is given.
        max_answer_tokens: ends that are tried for each.
    """

    def __init__(self, beam_size: int, max_answer_tokens: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.beam_size, self.max_answer_tokens = beam_size, max_answer_tokens

        def dense(units: int, name: str, **options: Any) -> keras.layers.Dense:
            return keras.layers.Dense(
                units, name=name, dtype=self.dtype_policy, **options
            )

        self.start = dense(1, "start")
        self.end_of_start = dense(UNITS, "end_of_start", use_bias=False)
        self.end_of_token = dense(UNITS, "end_of_token")
        self.end = dense(1, "end")
        self.null_dense = dense(UNITS, "null_dense")
        self.null = dense(1, "null")

    def build(self, states_shape: tuple[Any, ...]) -> None:
        """Makes the kernels."""
        width = states_shape[-1]
        for layer in (self.start, self.end_of_start, self.end_of_token):
            layer.build((None, width))
        self.null_dense.build((None, 2 * width))
        self.end.build((None, UNITS))
        self.null.build((None, UNITS))

    def call(
        self,
        states: tf.Tensor,
        segment_ids: tf.Tensor,
        padding_mask: tf.Tensor,
        start_positions: tf.Tensor | None = None,
    ) -> dict[str, tf.Tensor]:
        """Turns states [B, L, D] into what training, or prediction, needs.

        Args:
            states: of the encoder.
            segment_ids: int32 [B, L].
            padding_mask: int32 [B, L].
            start_positions: int32 [B], the true starts.

        Returns:
            Given starts, float32 logits: "start" and "end" [B, L], "null" [B, 1], high
            where there is no answer. Else "beam", int32 [B, K], the likeliest starts,
            with log-probabilities: "start" [B, K], "end" [B, K, A] of the A tokens from
            each start on; and "null".
        """
        allowed = _may_answer(segment_ids, padding_mask)
        start = _masked(self.start(states), allowed)  # [B, L]
        null = self._null(states, start)
        of_start = self.end_of_start(states)  # [B, L, U]
        of_token = self.end_of_token(states)  # [B, L, U]

        def end(positions: tf.Tensor) -> tf.Tensor:
            chosen = tf.gather(of_start, positions, batch_dims=1)  # [B, U]
            x = kernels.exact_gelu(chosen[:, None] + of_token)
            return _masked(self.end(x), allowed)  # [B, L]

        if start_positions is not None:
            given = tf.cast(start_positions, tf.int32)  # Keras builds with floats.
            return {"start": start, "end": end(given), "null": null}

        def ends_from(positions: tf.Tensor) -> tf.Tensor:
            return _following(
                tf.nn.log_softmax(end(positions)), positions, self.max_answer_tokens
            )

        scores = tf.nn.log_softmax(start)
        # [CLS] is no start of an answer.
        of_words = tf.concat(
            [tf.fill([tf.shape(start)[0], 1], 2 * NEVER), start[:, 1:]], 1
        )
        _, beam = tf.math.top_k(
            of_words, tf.minimum(self.beam_size, tf.shape(start)[1])
        )  # [B, K]
        ends = tf.map_fn(
            ends_from,
            tf.transpose(beam),
            fn_output_signature=tf.TensorSpec(
                [None, self.max_answer_tokens], tf.float32
            ),
        )  # [K, B, A]: one start at a time, as [B, K, L, U] would be large.
        return {
            "beam": beam,
            "start": tf.gather(scores, beam, batch_dims=1),
            "end": tf.transpose(ends, [1, 0, 2]),
            "null": null,
        }

    def _null(self, states: tf.Tensor, start: tf.Tensor) -> tf.Tensor:
        """Returns logits [B, 1] of there being no answer."""
        shares = tf.cast(tf.nn.softmax(start), states.dtype)  # [B, L]
        expected = tf.einsum("bl,bld->bd", shares, states)
        x = self.null_dense(tf.concat([states[:, 0], expected], -1))  # [B, U]
        return tf.cast(self.null(kernels.exact_gelu(x)), tf.float32)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments that make the same layer."""
        return {
            **super().get_config(),
            "beam_size": self.beam_size,
            "max_answer_tokens": self.max_answer_tokens,
        }


def _may_answer(segment_ids: tf.Tensor, padding_mask: tf.Tensor) -> tf.Tensor:
    """Tells the context's tokens and [CLS], which stands for no answer: bool [B, L]."""
    real = tf.cast(padding_mask, tf.bool)
    goes_on = tf.pad(real[:, 1:], [[0, 0], [0, 1]])  # False at the last [SEP].
    is_first = tf.range(tf.shape(real)[1]) == 0
    return is_first | (real & goes_on & (segment_ids > 0))


def _masked(logits: tf.Tensor, allowed: tf.Tensor) -> tf.Tensor:
    """Turns [B, L, 1] into float32 [B, L]."""
    return tf.where(allowed, tf.cast(logits[..., 0], tf.float32), NEVER)


def _following(scores: tf.Tensor, positions: tf.Tensor, count: int) -> tf.Tensor:
    """Picks `count` scores from a position on, out of each row: [B, count]."""
    scores = tf.pad(scores, [[0, 0], [0, count]], constant_values=NEVER)
    return tf.gather(scores, positions[:, None] + tf.range(count), batch_dims=1)
