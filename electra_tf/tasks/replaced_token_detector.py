"""Texts become suspicions: of each token, how likely it is that it was replaced.

In:   strings; to train on, 0 or 1 a token, in the order in which `predict` lists them.
Out:  logits [B, L]; tokens with their places in the text and their probabilities.

It is the discriminator of pre-training, with its head.
"""

from typing import Any, ClassVar, NamedTuple

import keras
import keras_hub
import numpy as np
import tensorflow as tf

from electra_tf import errors
from electra_tf.network import heads
from electra_tf.serving import saved_model
from electra_tf.tasks import backbone as backbones
from electra_tf.tasks import (
    graph,
    inputs,
    labels,
    preprocessor,
    token_classifier,
)


class Suspicion(NamedTuple):
    """What is thought of one token; it covers `text[start:end]`."""

    token: str
    start: int
    end: int
    probability: float  # of being replaced


@keras.saving.register_keras_serializable(package="electra_tf")
class ElectraReplacedTokenDetector(token_classifier.TokenTask, keras_hub.models.Task):
    """Tells of each token how likely it is that another stood in its place.

    Long texts are read in windows; each token is judged in the one in which it has
    most context.

    Args:
        backbone: the encoder.
        preprocessor: strings to token ids; None where the inputs are token ids.
    """

    kind = "replaced_tokens"
    networks: ClassVar = ("discriminator",)  # An encoder alone would guess at random.
    hugging_face_class = "ElectraForPreTraining"

    def __init__(
        self,
        backbone: backbones.ElectraBackbone,
        preprocessor: Any = None,
        **kwargs: Any,
    ) -> None:
        self.backbone = backbone
        self.preprocessor = preprocessor
        self.replaced_token_head = heads.ReplacedTokenHead(
            backbone.model_config,
            dtype=backbone.dtype_policy,
            name="replaced_token_head",
        )
        hidden = backbone(backbone.input)["sequence_output"]
        super().__init__(
            inputs=backbone.input, outputs=self.replaced_token_head(hidden), **kwargs
        )

    def rows(self, x: Any) -> inputs.Rows:
        """Turns texts into rows of token ids."""
        before = self.preprocessor
        encode = before.tokenizer.encode_with_offsets
        return inputs.frame_texts(
            [encode(text)[0] for text in preprocessor.single_texts(x)],
            None,
            before.frame,
            long_texts="windows",
            stride=before.stride,
        )

    def targets(self, y: Any, rows: inputs.Rows) -> list[inputs.Ids]:
        """Turns 0 and 1, one per token of each text, into targets."""
        given = labels.each(y, rows.num_inputs)
        tokens = [np.arange(len(places)) for places in inputs.best_places(rows)]
        for index, (one, chosen) in enumerate(zip(given, tokens, strict=True)):
            is_list = isinstance(one, list | tuple) and len(one) == len(chosen)
            if not is_list or any(value not in (0, 1) for value in one):
                raise errors.UserError(
                    f"the labels of text {index} are {one!r:.60}; want 0 or 1 for "
                    f"each of its {len(chosen)} tokens, as predict lists them"
                )
        return inputs.spread(rows, tokens, [np.array(one, np.int32) for one in given])

    @property
    def classes(self) -> labels.Classes:
        """What labels may be."""
        return labels.Classes(2, None)

    def answers(
        self, x: Any, rows: inputs.Rows, outputs: list[Any]
    ) -> list[list[Suspicion]]:
        """Returns one suspicion per token, for each text."""
        words = self.preprocessor.tokenizer
        found = []
        for text, logits in zip(
            preprocessor.single_texts(x), inputs.gather(rows, outputs), strict=True
        ):
            ids, offsets = words.encode_with_offsets(text)
            shares = tf.sigmoid(logits.astype(np.float32)).numpy()
            found.append(
                [
                    Suspicion(words.id_to_token(number), start, end, float(share))
                    for number, (start, end), share in zip(
                        ids.tolist(), offsets, shares, strict=True
                    )
                ]
            )
        return found

    def signatures(self) -> dict[str, saved_model.Signature]:
        """Returns the tokens of texts, each with its place and probability."""
        before = graph.Preprocessor(self.preprocessor, long_texts="windows")
        vocab = self.preprocessor.tokenizer.get_vocabulary()

        def detect(text: tf.Tensor) -> saved_model.Tensors:
            ids, starts, ends = before.encode(text)
            ids = graph.bounded(ids)
            rows = before.frame_rows(ids)
            logits = graph.run(self.forward(), rows.fields())  # [R, L]
            shares = tf.sigmoid(graph.at_places(logits, graph.best_places(rows)))
            tokens = ids.with_values(tf.gather(tf.constant(vocab), ids.values))
            return {
                "tokens": tokens.to_tensor(""),
                "starts": starts.to_tensor(0),
                "ends": ends.to_tensor(0),
                "probabilities": ids.with_values(shares).to_tensor(0.0),
                "num_tokens": tf.cast(ids.row_lengths(), tf.int32),
            }

        def of_ids(logits: tf.Tensor) -> saved_model.Tensors:
            return {"probabilities": tf.sigmoid(logits)}

        found = graph.of_text(detect)
        return {
            saved_model.DEFAULT: found,
            "rtd": found,
            "tokens": graph.of_token_ids(self, of_ids),
        }

    def default_loss(self) -> keras.losses.Loss:
        """Returns cross-entropy, the mean over the tokens of a batch."""
        return ReplacedTokenLoss()


@keras.saving.register_keras_serializable(package="electra_tf")
class ReplacedTokenLoss(keras.losses.Loss):
    """Cross-entropy of logits [B, L] where a token has a label, 0 or more."""

    def call(self, y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        """Returns nats, [B, L]."""
        both = tf.stack([tf.zeros_like(y_pred), y_pred], axis=-1)  # [B, L, 2]
        return keras.losses.sparse_categorical_crossentropy(
            y_true, both, from_logits=True, ignore_class=-1
        )
