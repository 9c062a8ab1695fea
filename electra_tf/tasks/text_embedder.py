"""Texts become vectors.

In:   strings, or pairs of strings.
Out:  float32 [N, D], of length 1 unless told otherwise.
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
from electra_tf.tasks import graph, inputs, labels, task
from electra_tf.weights import preset

POOLINGS = ("mean", "cls")


@keras.saving.register_keras_serializable(package="electra_tf")
class ElectraTextEmbedder(task.ElectraTask, keras_hub.models.TextEmbedder):
    """Embeds texts with the encoder's last states. Has no weights of its own.

    `fit` needs a loss of yours, `compile(loss=...)`, and targets [N, ...] for it.

    The batches of a tf.data.Dataset stay as they are, for losses that compare the texts
    of a batch.

    Args:
        backbone: the encoder.
        preprocessor: strings to token ids; None where the inputs are token ids.
        pooling: "mean" over all tokens, [CLS] and [SEP] included, or "cls".
        normalize: whether vectors have length 1.
    """

    kind = "embedding"
    pool_batches = 1

    def __init__(
        self,
        backbone: backbones.ElectraBackbone,
        preprocessor: Any = None,
        pooling: str = "mean",
        normalize: bool = True,
        **kwargs: Any,
    ) -> None:
        if pooling not in POOLINGS:
            want = " or ".join(f'"{one}"' for one in POOLINGS)
            raise errors.UserError(f"pooling={pooling!r}: want {want}")
        self.backbone = backbone
        self.preprocessor = preprocessor
        self.pooling, self.normalize = pooling, normalize
        if pooling == "cls":
            states = backbone.first_state[:, None, :]  # [B, 1, D]
        else:
            states = backbone(backbone.input)["sequence_output"]
        pool = _Pool(pooling, normalize, name="pool", dtype="float32")
        super().__init__(
            inputs=backbone.input,
            outputs=pool(states, backbone.input["padding_mask"]),
            **kwargs,
        )

    @classmethod
    def fits_head(cls, source: preset.Pretrained) -> bool:
        """Tells whether the source says how its vectors are made."""
        return getattr(source, "vectors", None) is not None

    @classmethod
    def found_in(cls, source: preset.Pretrained) -> dict[str, Any]:
        """Returns pooling and normalizing as a sentence-transformers directory does it.

        Raises:
            UserError: it does more than these two.
        """
        recipe = source.vectors  # type: ignore[attr-defined]
        steps = [*recipe.others]
        if recipe.pooling not in POOLINGS:
            steps.insert(0, f"Pooling ({recipe.pooling})")
        if steps:
            raise errors.UserError(
                f"{source.folder}: its vectors come of {', '.join(steps)}, which is "
                "not here; take its encoder alone, of which another vector is made: "
                f"python -m electra_tf.convert --from={source.folder} --to=..."
            )
        return {"pooling": recipe.pooling, "normalize": recipe.normalize}

    @classmethod
    def settings_of(cls, source: preset.Pretrained, name: str) -> dict[str, Any]:
        """Returns the longest row that a sentence-transformers directory states."""
        recipe = getattr(source, "vectors", None)
        if recipe is None or recipe.max_tokens is None:
            return {}
        table = source.networks[name].max_positions
        return {"sequence_length": min(recipe.max_tokens, table)}

    def targets(self, y: Any, rows: inputs.Rows) -> npt.NDArray[Any]:
        """Returns the targets as they are, [rows, ...]."""
        if self.loss is None:
            raise errors.UserError(
                "an embedder has no loss of its own; compile it with one"
            )
        found = np.asarray(labels.of_inputs(y, rows.num_inputs))
        return found.astype(np.float32 if found.dtype.kind == "f" else found.dtype)[
            rows.source
        ]

    def answers(
        self, x: Any, rows: inputs.Rows, outputs: list[Any]
    ) -> npt.NDArray[np.float32]:
        """Returns one vector per input: the mean of its windows, if it has several."""
        found = np.asarray(super().answers(x, rows, outputs)).reshape(
            rows.num_inputs, self.backbone.model_config.hidden_size
        )
        if self.normalize:
            length = np.linalg.norm(found, axis=-1, keepdims=True)
            found = found / np.maximum(length, 1e-12)
        return found.astype(np.float32)

    def signatures(self) -> dict[str, saved_model.Signature]:
        """Returns vectors of texts or pairs; and, as `encode`, the states of tokens."""

        def answer(outputs: tf.Tensor) -> saved_model.Tensors:
            if self.normalize:
                length = tf.norm(outputs, axis=-1, keepdims=True)
                outputs = outputs / tf.maximum(length, 1e-12)
            return {"embedding": outputs}

        before = graph.Preprocessor(self.preprocessor)
        states = tf.function(
            lambda rows: tf.cast(
                self.backbone(rows, training=False)["sequence_output"], tf.float32
            ),
            input_signature=[graph.ROWS],
            autograph=False,
        )

        def encode(text: tf.Tensor) -> saved_model.Tensors:
            rows = graph.frame_texts(before.encode_start(text), None, before.frame)
            return {
                "states": graph.run(states, rows.fields()),
                "token_ids": rows.token_ids,
                "num_tokens": tf.reduce_sum(rows.padding_mask, axis=-1),
                "truncated": rows.truncated,
            }

        found = graph.of_texts(self, before, answer)
        default = found[saved_model.DEFAULT]
        return {**found, "embed": default, "encode": default._replace(function=encode)}

    def default_loss(self) -> None:
        """Returns None: what a vector should be is for you to say."""

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments that make the same model."""
        return {
            **super().get_config(),
            "pooling": self.pooling,
            "normalize": self.normalize,
        }


@keras.saving.register_keras_serializable(package="electra_tf")
class _Pool(keras.layers.Layer):
    """Makes one vector of a row's states, in float32."""

    def __init__(self, pooling: str, normalize: bool, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.pooling, self.normalize = pooling, normalize
        self.built = True

    def call(self, states: tf.Tensor, padding_mask: tf.Tensor) -> tf.Tensor:
        """Turns [B, L, D] and int32 [B, L] into float32 [B, D]."""
        states = tf.cast(states, tf.float32)
        if self.pooling == "cls":
            vector = states[:, 0]
        else:
            mask = tf.cast(padding_mask, tf.float32)[..., None]  # [B, L, 1]
            count = tf.maximum(tf.reduce_sum(mask, axis=1), 1.0)
            vector = tf.reduce_sum(states * mask, axis=1) / count
        return tf.math.l2_normalize(vector, axis=-1) if self.normalize else vector

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments that make the same layer."""
        return {
            **super().get_config(),
            "pooling": self.pooling,
            "normalize": self.normalize,
        }
