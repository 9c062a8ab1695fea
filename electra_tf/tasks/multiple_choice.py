"""A prompt and some choices become the number of the right choice.

In:   (prompt, [choices]) each, of any number of choices; labels as indices from 0.
Out:  one logit per choice.

B prompts, C choices per prompt, L tokens per row. A row is [CLS] prompt [SEP] choice
[SEP].
"""

from collections.abc import Mapping
from typing import Any, ClassVar

import keras
import keras_hub
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from electra_tf import errors
from electra_tf.serving import saved_model
from electra_tf.tasks import backbone as backbones
from electra_tf.tasks import columns, graph, heads, inputs, labels, recipe, task
from electra_tf.weights import preset

# The logit of a choice that is not there, where a batch has prompts with more of them.
NO_CHOICE = -1e9


@keras.saving.register_keras_serializable(package="electra_tf")
class ElectraMultipleChoice(task.ElectraTask, keras_hub.models.Task):
    """Chooses what fits a prompt best: endings of stories, answers of a quiz.

    Called with rows [N, L], it returns their logits, [N]; with the choices of prompts,
    [B, C, L], it returns [B, C], where a row of padding alone is no choice.

    Args:
        backbone: the encoder.
        preprocessor: strings to token ids; None where the inputs are token ids.
        dropout: before each dense layer of the head.
    """

    kind = "multiple_choice"
    way_out = "see sequence_length and truncate"
    of_lists = (
        "multiple choice takes Python values, or batches of token ids; make "
        "them with .dataset(x, y)"
    )
    hugging_face_head: ClassVar = {
        "choice_head/dense/kernel": ("sequence_summary.summary.weight", True),
        "choice_head/dense/bias": ("sequence_summary.summary.bias", False),
        "choice_head/logits/kernel": ("classifier.weight", True),
        "choice_head/logits/bias": ("classifier.bias", False),
    }
    hugging_face_class = "ElectraForMultipleChoice"
    hugging_face_kind = "multiple_choice"

    def __init__(
        self,
        backbone: backbones.ElectraBackbone,
        preprocessor: Any = None,
        dropout: float = 0.1,
        **kwargs: Any,
    ) -> None:
        self.backbone = backbone
        self.preprocessor = preprocessor
        self.choice_head = heads.ClassificationHead(
            1,
            backbone.model_config.hidden_size,
            dropout,
            dtype=backbone.dtype_policy,
            name="choice_head",
        )
        self.dropout = dropout
        super().__init__(
            inputs=backbone.input,
            outputs=self.choice_head(backbone.first_state)[:, 0],
            **kwargs,
        )
        self.input_spec = None  # Rows may come by themselves or by prompts.

    def call(
        self, inputs: dict[str, Any], training: Any = None, mask: Any = None
    ) -> Any:
        """Turns rows [N, L] into logits [N], or [B, C, L] into [B, C]."""
        if len(inputs["token_ids"].shape) == 2:
            return super().call(inputs, training=training, mask=mask)
        shape = tf.shape(inputs["token_ids"])
        rows = {
            name: tf.reshape(inputs[name], [-1, shape[2]])
            for name in self.backbone.input
        }  # [B * C, L]
        logits = super().call(rows, training=training)
        is_choice = tf.reduce_any(tf.cast(inputs["padding_mask"], tf.bool), axis=-1)
        return tf.where(is_choice, tf.reshape(logits, shape[:2]), NO_CHOICE)

    def examples(self, x: Any) -> list[Any]:
        """Returns (prompt, choices) each."""
        return _examples(x)

    def rows(self, x: Any) -> inputs.Rows:
        """Turns each (prompt, choice) into a row."""
        self._refuse_windows()
        examples = _examples(x)
        encode = self.preprocessor.tokenizer.encode
        prompts: list[inputs.Ids] = []
        choices: list[inputs.Ids] = []
        for prompt, texts in examples:
            prompts += [encode(prompt)] * len(texts)
            choices += map(encode, texts)
        rows = inputs.frame_texts(
            prompts, choices, self.preprocessor.frame, self.preprocessor.truncate
        )
        counts = [len(texts) for _, texts in examples]
        return rows._replace(
            source=np.repeat(np.arange(len(counts)), counts),
            num_inputs=len(counts),
            notes=[texts for _, texts in examples],
        )

    def _refuse_windows(self) -> None:
        if self.preprocessor.long_texts != "truncate":
            raise errors.UserError(
                f'long_texts="{self.preprocessor.long_texts}" does not fit multiple '
                'choice; take "truncate"'
            )

    def targets(self, y: Any, rows: inputs.Rows) -> npt.NDArray[np.int32]:
        """Checks that labels are indices, int32 [inputs]."""
        found = labels.of_inputs(y, rows.num_inputs)
        for number, (label, texts) in enumerate(zip(found, rows.notes, strict=True)):
            if not _is_index(label, len(texts)):
                raise errors.UserError(
                    f"label {number} is {label!r:.60}; want the index of one of its "
                    f"{len(texts)} choices, from 0"
                )
        return np.array([*map(int, found)], np.int32)

    def dataset(
        self,
        x: Any,
        y: Any = None,
        sample_weight: Any = None,
        batch_size: int = recipe.BATCH_SIZE,
        shuffle_seed: int | None = None,
        in_order: bool = False,  # They are so in any case.
    ) -> tf.data.Dataset:
        """Makes batches in which all choices of a prompt are together: [B, C, L].

        A tf.data.Dataset of such batches is returned as it is.
        """
        if isinstance(x, tf.data.Dataset):
            return super().dataset(x)
        rows, targets = self.labelled_rows(x, y)
        return inputs.batches(
            rows,
            targets,
            batch_size,
            shuffle_seed=shuffle_seed,
            weights=self.row_weights(rows, sample_weight),
            together=True,
        )

    def row_weights(
        self, rows: inputs.Rows, sample_weight: Any
    ) -> npt.NDArray[np.float32] | None:
        """Returns the weights of the prompts, as their rows are together."""
        if sample_weight is None:
            return None
        return labels.weights(sample_weight, rows.num_inputs)

    def answers(
        self, x: Any, rows: inputs.Rows, outputs: list[Any]
    ) -> list[npt.NDArray[np.float32]]:
        """Returns the logits of each prompt's choices."""
        logits = np.array(outputs, np.float32)
        ends = np.cumsum([len(texts) for texts in rows.notes])
        return np.split(logits, ends[:-1]) if len(ends) else []

    def predict_choices(
        self, x: Any, batch_size: int | None = None
    ) -> list[dict[str, Any]]:
        """Returns the likeliest choice of each prompt and the probabilities of all.

        Returns:
            For each prompt `{"index": of the choice, "choice": its text, "score": its
            probability, "scores": of all choices in order}`.
        """
        found = []
        logits = self.predict(x, batch_size)
        for row, (_, texts) in zip(logits, _examples(x), strict=True):
            shares = np.exp(row - row.max())
            shares /= shares.sum()
            best = int(np.argmax(row))
            found.append(
                {
                    "index": best,
                    "choice": texts[best],
                    "score": float(shares[best]),
                    "scores": shares.tolist(),
                }
            )
        return found

    def signatures(self) -> dict[str, saved_model.Signature]:
        """Returns the likeliest choice of each prompt, and the scores of all.

        Prompts may have different numbers of choices: "" is none.
        """
        self._refuse_windows()
        before = graph.Preprocessor(self.preprocessor)

        def choose(prompt: tf.Tensor, choices: tf.Tensor) -> saved_model.Tensors:
            is_choice = tf.not_equal(choices, "")  # [N, C]
            places = tf.where(is_choice)
            rows = before.rows(
                tf.gather(prompt, places[:, 0]), tf.gather_nd(choices, places)
            )
            shape = tf.shape(choices, tf.int64)
            logits = tf.tensor_scatter_nd_update(
                tf.fill(shape, NO_CHOICE),
                places,
                graph.run_alike(self.forward(), rows.fields(), before.frame.is_fixed),
            )
            scores = tf.where(is_choice, tf.nn.softmax(logits), 0.0)
            best = tf.argmax(logits, axis=-1, output_type=tf.int32)
            cut = tf.scatter_nd(places, tf.cast(rows.truncated, tf.int32), shape)
            return {
                "index": best,
                "choice": tf.gather(choices, best, batch_dims=1),
                "score": tf.reduce_max(scores, axis=-1),
                "scores": scores,
                "truncated": tf.reduce_any(cut > 0, axis=-1),
            }

        strings = tf.TensorSpec([None, None], tf.string)
        example = {"prompt": graph.EXAMPLE, "choices": [graph.EXAMPLE] * 2}
        return {
            saved_model.DEFAULT: saved_model.Signature(
                choose, {"prompt": graph.STRINGS, "choices": strings}, example
            ),
            "tokens": graph.of_token_ids(self, lambda logits: {"logits": logits}),
        }

    @classmethod
    def found_in(cls, source: preset.Pretrained) -> dict[str, Any]:
        """Returns the dropout of Hugging Face's head."""
        return {"dropout": source.dropout}  # type: ignore[attr-defined]

    def default_loss(self) -> keras.losses.Loss:
        """Returns cross-entropy over the choices."""
        return keras.losses.SparseCategoricalCrossentropy(from_logits=True)

    def default_metrics(self) -> list[keras.metrics.Metric]:
        """Returns accuracy."""
        return [keras.metrics.SparseCategoricalAccuracy(name="accuracy")]

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments that make the same model."""
        return {**super().get_config(), "dropout": self.dropout}


def _examples(x: Any) -> list[tuple[str, list[str]]]:
    """Reads one example, or several, in any of the forms that `fit` takes."""
    is_pair = isinstance(x, tuple) and len(x) == 2
    if (is_pair and isinstance(x[0], str | bytes)) or isinstance(x, dict):
        x = [x]
    elif is_pair:
        x = _zipped(*(columns.values(part, "inputs") for part in x))
    return [
        _example(value, number)
        for number, value in enumerate(columns.values(x, "inputs"))
    ]


def _zipped(prompts: list[Any], choices: list[Any]) -> Any:
    """Makes examples of two columns; of two examples, themselves."""
    if not all(isinstance(prompt, str | bytes) for prompt in prompts):
        return prompts, choices
    if len(prompts) != len(choices):
        raise errors.UserError(
            f"{len(prompts)} prompts and {len(choices)} lists of choices; want as many "
            "of both"
        )
    return list(zip(prompts, choices, strict=True))


def _example(value: Any, number: int) -> tuple[str, list[str]]:
    if isinstance(value, Mapping):
        value = value.get("prompt"), value.get("choices")
    is_pair = isinstance(value, list | tuple) and len(value) == 2
    prompt, choices = value if is_pair else (None, None)
    texts = [prompt, *choices] if isinstance(choices, list | tuple) else []
    if len(texts) < 2 or not all(isinstance(text, str | bytes) for text in texts):
        raise errors.UserError(
            f"input {number} is {value!r:.80}; want (prompt, [choices]), all of them "
            "strings, with at least one choice"
        )
    prompt, *choices = map(_decoded, texts)
    return prompt, choices


def _decoded(text: str | bytes) -> str:
    return text.decode("utf-8", errors="replace") if isinstance(text, bytes) else text


def _is_index(label: Any, count: int) -> bool:
    try:
        return int(label) == label and 0 <= int(label) < count
    except (TypeError, ValueError, OverflowError):
        return False
