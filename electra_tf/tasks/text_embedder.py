"""Texts become vectors, which are near each other where the texts belong together.

In:   strings, or pairs of strings that are one text; to learn from, texts that belong
      together, or pairs with scores.
Out:  float32 [N, D], of length 1 unless told otherwise.

B rows, N texts a row, L tokens, D width.
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
from electra_tf.tasks import contrast, graph, inputs, labels, recipe, streams, task
from electra_tf.weights import preset

POOLINGS = ("mean", "cls")


@keras.saving.register_keras_serializable(package="electra_tf")
class ElectraTextEmbedder(task.ElectraTask, keras_hub.models.TextEmbedder):
    """Embeds texts with the encoder's last states. Has no weights of its own.

    `fit` takes what vectors can learn from (see `contrast.PairLoss`):

    - texts that belong together: `fit([(text, other), ...])`, or `fit(texts, others)`.
      All that belongs to other texts of the batch should be far; larger batches
      teach more. A third text and more in a row are ones that look alike and do not
      belong (hard negatives).
    - pairs with scores, of any range: `fit([(text, other), ...], scores)`. Pairs with
      higher scores should be nearer.
    - texts alone: `fit(texts)`. Each belongs to itself, of which dropout makes two
      vectors (SimCSE, Gao et al. 2021).

    With a loss of yours, `compile(loss=...)`, it takes texts, or pairs that are read as
    one text, and targets [N, ...]; the batches of a tf.data.Dataset stay as they are,
    for losses that compare the texts of a batch.

    Args:
        backbone: the encoder.
        preprocessor: strings to token ids; None where the inputs are token ids.
        pooling: "mean" over all tokens, [CLS] and [SEP] included, or "cls".
        normalize: whether vectors have length 1.
        temperature: of the loss; lower tells apart harder what is already near.
    """

    kind = "embedding"
    pool_batches = 1

    def __init__(
        self,
        backbone: backbones.ElectraBackbone,
        preprocessor: Any = None,
        pooling: str = "mean",
        normalize: bool = True,
        temperature: float = contrast.TEMPERATURE,
        **kwargs: Any,
    ) -> None:
        if pooling not in POOLINGS:
            want = " or ".join(f'"{one}"' for one in POOLINGS)
            raise errors.UserError(f"pooling={pooling!r}: want {want}")
        self.backbone = backbone
        self.preprocessor = preprocessor
        self.pooling, self.normalize = pooling, normalize
        self.temperature = temperature
        contrast.PairLoss(temperature)  # Refuses what makes no sense.
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
        self.input_spec = None  # Rows may come by themselves or by examples.

    def call(
        self, inputs: dict[str, Any], training: Any = None, mask: Any = None
    ) -> Any:
        """Turns rows [B, L] into vectors [B, D], or [B, N, L] into [B, N, D]."""
        if len(inputs["token_ids"].shape) == 2:
            return super().call(inputs, training=training, mask=mask)
        shape = tf.shape(inputs["token_ids"])
        rows = {
            name: tf.reshape(inputs[name], [-1, shape[2]])
            for name in self.backbone.input
        }  # [B * N, L]
        vectors = super().call(rows, training=training)
        return tf.reshape(vectors, [*tf.unstack(shape[:2]), vectors.shape[-1]])

    # Training.

    @property
    def _compares(self) -> bool:
        """Tells whether the loss is the one for texts that belong together."""
        loss = getattr(self, "loss", None)
        return loss is None or isinstance(loss, contrast.PairLoss)

    def examples(self, x: Any) -> list[Any]:
        """Returns texts that belong together, one tuple each; else as other tasks."""
        return contrast.examples(x) if self._compares else super().examples(x)

    def held_out(self, validation_data: Any) -> tuple[Any, Any, Any]:
        """Returns texts that belong together, where that is what `fit` was given."""
        if isinstance(validation_data, list | np.ndarray):
            validation_data = (validation_data,)
        return super().held_out(validation_data)

    def dataset(
        self,
        x: Any,
        y: Any = None,
        sample_weight: Any = None,
        batch_size: int = recipe.BATCH_SIZE,
        shuffle_seed: int | None = None,
        in_order: bool = False,
    ) -> tf.data.Dataset:
        """Makes batches in which the texts of an example are together: [B, N, L]."""
        is_dataset = isinstance(x, tf.data.Dataset)
        if (
            is_dataset
            and self._compares
            and not self._is_prepared(streams.inputs_of(x))
        ):
            raise errors.UserError(
                "an embedder learns which texts belong together from Python values, or "
                "from batches of token ids; make them with .dataset(x, y)"
            )
        if is_dataset or not self._compares:
            return super().dataset(
                x, y, sample_weight, batch_size, shuffle_seed, in_order
            )
        self.check_length()
        examples, scores = contrast.with_scores(x, y)
        if not examples:
            raise errors.UserError("no texts to train or evaluate on: x is empty")
        weights = None
        if sample_weight is not None:
            weights = labels.weights(sample_weight, len(examples))
        made = inputs.batches(
            self._rows_of(examples),
            contrast.numbered(examples) if scores is None else scores,
            batch_size,
            shuffle_seed=shuffle_seed,
            weights=weights,
            together=True,
        )
        most = max(map(len, examples))

        def widen(x: dict[str, tf.Tensor], *others: tf.Tensor) -> Any:
            """Gives all examples as many texts; those that are added are empty."""
            x = {name: _with_texts(field, most) for name, field in x.items()}
            return x, *others

        return made.map(widen)

    def _rows_of(self, examples: list[tuple[str, ...]]) -> inputs.Rows:
        """Makes a row of each text, those of an example in order; cuts long ones."""
        texts = [text for example in examples for text in example]
        encode = self.preprocessor.tokenizer.encode
        rows = inputs.frame_texts(
            [encode(text) for text in texts], None, self.preprocessor.frame
        )
        length = self.preprocessor.sequence_length
        inputs.warn_of_truncation(rows, length, "learning reads a row of each text")
        counts = [len(example) for example in examples]
        source = np.repeat(np.arange(len(counts)), counts)
        return rows._replace(source=source, num_inputs=len(counts))

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

    def default_loss(self) -> keras.losses.Loss:
        """Returns the loss of texts that belong together, or of pairs with scores."""
        return contrast.PairLoss(self.temperature)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments that make the same model."""
        return {
            **super().get_config(),
            "pooling": self.pooling,
            "normalize": self.normalize,
            "temperature": self.temperature,
        }


def _with_texts(field: tf.Tensor, count: int) -> tf.Tensor:
    """Pads [B, any, L] to [B, count, L]."""
    lacking = count - tf.shape(field)[1]
    padded = tf.pad(field, [[0, 0], [0, lacking], [0, 0]])
    return tf.ensure_shape(padded, [None, count, None])


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
