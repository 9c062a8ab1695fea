"""Words become tags: names, chunks, parts of speech.

In:   texts as lists of words, or as strings, which are split at whitespace; a tag a
      word, as a name or as an integer from 0.
Out:  logits [B, L, num_classes]; one tag per word.

As in the 2020 code, the first piece of a word carries its tag and its loss.
"""

from collections.abc import Sequence
from typing import Any, ClassVar, Self

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

OUTSIDE = "O"  # the tag of a word that is part of nothing


class TokenTask(task.ElectraTask):
    """What tasks with a label per token do alike: -1 stands where there is none."""

    of_lists = "a tf.data.Dataset of strings has no label per token; give lists"

    def row_weights(
        self, rows: inputs.Rows, sample_weight: Any
    ) -> npt.NDArray[np.float32] | None:
        """Turns weights, one per input, into the rows': [rows, 1].

        They are not shared out: a token has its label in one of its windows only.
        """
        if sample_weight is None:
            return None
        return labels.weights(sample_weight, rows.num_inputs)[rows.source, None]

    def default_metrics(self) -> list[keras.metrics.Metric]:
        """Returns accuracy over the tokens that have a label."""
        return [LabelledAccuracy(name="accuracy")]


@keras.saving.register_keras_serializable(package="electra_tf")
class ElectraTokenClassifier(TokenTask, keras_hub.models.Task):
    """Gives each word of a text a tag.

    A word of which nothing is left (control characters alone) is read as [UNK] and
    has a tag like all others.

    Args:
        backbone: the encoder.
        num_classes: how many tags there are; None = as many as `class_names`.
        preprocessor: words to token ids; None where the inputs are token ids. With
            `long_texts="windows"`, each word is tagged in the window in which it has
            most context; with "truncate", words that do not fit are tagged OUTSIDE,
            or with the first class.
        dropout: before the dense layer of the head.
        class_names: the tags, in order, strings or numbers; by default those that
            `fit` was given, sorted, if they are strings.
    """

    kind = "tagging"
    hugging_face_head: ClassVar = {
        "token_classification_head/logits/kernel": ("classifier.weight", True),
        "token_classification_head/logits/bias": ("classifier.bias", False),
    }
    hugging_face_class = "ElectraForTokenClassification"
    hugging_face_kind = "token_classification"

    def __init__(
        self,
        backbone: backbones.ElectraBackbone,
        num_classes: int | None = None,
        preprocessor: Any = None,
        dropout: float = 0.1,
        class_names: Sequence[str] | None = None,
        **kwargs: Any,
    ) -> None:
        num_classes = labels.count_classes(num_classes, class_names)
        self.backbone = backbone
        self.preprocessor = preprocessor
        self.token_classification_head = heads.TokenHead(
            num_classes,
            dropout,
            dtype=backbone.dtype_policy,
            name="token_classification_head",
        )
        hidden = backbone(backbone.input)["sequence_output"]
        self.num_classes, self.dropout = num_classes, dropout
        self.class_names = (
            None if class_names is None else labels.read_names(class_names)
        )
        super().__init__(
            inputs=backbone.input,
            outputs=self.token_classification_head(hidden),
            **kwargs,
        )

    @classmethod
    def from_preset(cls, preset: str, load_weights: bool = True, **kwargs: Any) -> Self:
        """Builds the task from weights on disk: see `ElectraTask.from_preset`.

        With `num_classes`, the head is a new one, whatever the preset has.
        """
        if "num_classes" in kwargs:
            kwargs.setdefault("class_names", None)
        return super().from_preset(preset, load_weights, **kwargs)

    @classmethod
    def found_in(cls, source: preset.Pretrained) -> dict[str, Any]:
        """Returns the tags of Hugging Face's classifier."""
        names = source.label_names  # type: ignore[attr-defined]
        return {
            "num_classes": len(names),
            "class_names": names,
            "dropout": source.dropout,  # type: ignore[attr-defined]
        }

    def examples(self, x: Any) -> list[Any]:
        """Returns a list of words each."""
        return split_words(x)

    def rows(self, x: Any) -> inputs.Rows:
        """Turns texts into rows; notes the token that each word begins with."""
        before = self.preprocessor
        blank = np.array([before.tokenizer.unk_token_id], np.int32)
        texts, starts = [], []
        for words in split_words(x):
            pieces = [before.tokenizer.encode(word) for word in words]
            pieces = [piece if len(piece) else blank for piece in pieces]
            ends = np.cumsum([0, *map(len, pieces)], dtype=np.int64)
            texts.append(np.concatenate([blank[:0], *pieces]))
            starts.append(ends[:-1])
        rows = inputs.frame_texts(
            texts,
            None,
            before.frame,
            long_texts=before.long_texts,
            stride=before.stride,
        )
        return rows._replace(notes=starts)

    @property
    def classes(self) -> labels.Classes:
        """What tags may be."""
        return labels.Classes(self.num_classes, self.class_names)

    def targets(self, y: Any, rows: inputs.Rows) -> list[inputs.Ids]:
        """Turns tags into class numbers; learns the tags, the first time."""
        found = labels.each(y, rows.num_inputs)
        tags = [_tags_of(text, index) for index, text in enumerate(found)]
        starts: list[npt.NDArray[np.int64]] = rows.notes
        for index, (text, words) in enumerate(zip(tags, starts, strict=True)):
            if len(text) != len(words):
                raise errors.UserError(
                    f"text {index} has {len(words)} words and {len(text)} tags; want a "
                    "tag a word"
                )
        given = [tag for text in tags for tag in text]
        if self.class_names is None and any(isinstance(t, str | bytes) for t in given):
            self.class_names = labels.learn_names(given, self.num_classes)
        numbers = [[*map(self.classes.number, text)] for text in tags]
        return inputs.spread(rows, starts, [np.array(n, np.int32) for n in numbers])

    def answers(
        self, x: Any, rows: inputs.Rows, outputs: list[Any]
    ) -> list[list[str]] | list[list[int]]:
        """Returns one tag per word: names where the classes have them."""
        return [[tag for tag, _ in text] for text in self._tagged(rows, outputs)]

    def predict_words(
        self, x: Any, batch_size: int | None = None
    ) -> list[list[dict[str, Any]]]:
        """Returns the likeliest tag of each word, and its probability.

        Returns:
            For each text a list with, per word, `{"word": it, "tag": name or number,
            "score": probability}`; the score is 0 where the word was cut off.
        """
        texts = split_words(self.strings(x)[0])
        rows = self.rows(texts)
        inputs.warn_of_truncation(rows, self.preprocessor.sequence_length, self.way_out)
        outputs = self.outputs_of(rows, batch_size or recipe.BATCH_SIZE)
        return [
            [
                {"word": word, "tag": tag, "score": score}
                for word, (tag, score) in zip(words, tagged, strict=True)
            ]
            for words, tagged in zip(texts, self._tagged(rows, outputs), strict=True)
        ]

    def _tagged(
        self, rows: inputs.Rows, outputs: list[Any]
    ) -> list[list[tuple[Any, float]]]:
        """Returns the tag and its probability of each word."""
        names, outside = self._tags()
        found = []
        for logits, starts in zip(
            inputs.gather(rows, outputs), rows.notes, strict=True
        ):
            seen = starts[starts < len(logits)]
            tagged: list[tuple[Any, float]] = []
            if len(seen):
                shares = tf.nn.softmax(logits[seen]).numpy()
                best = np.argmax(shares, axis=-1)
                tagged = [
                    (names[tag], float(share[tag]))
                    for tag, share in zip(best, shares, strict=True)
                ]
            found.append(tagged + [(outside, 0.0)] * (len(starts) - len(seen)))
        return found

    def _tags(self) -> tuple[list[Any], Any]:
        """Returns all tags, and that of words that were cut off."""
        names: list[Any] = self.class_names or list(range(self.num_classes))
        return names, OUTSIDE if OUTSIDE in names else names[0]

    def signatures(self) -> dict[str, saved_model.Signature]:
        """Returns the words of texts, each with its tag, score and place."""
        before = graph.Preprocessor(self.preprocessor)
        blank = self.preprocessor.tokenizer.unk_token_id
        tags, outside = self.class_labels(), str(self._tags()[1])

        def tagged(logits: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            shares = tf.nn.softmax(logits)
            best = tf.gather(tf.constant(tags), tf.argmax(shares, axis=-1))
            return best, tf.reduce_max(shares, axis=-1)

        def tag(text: tf.Tensor) -> saved_model.Tensors:
            words, starts, ends = graph.split_words(text)
            words = graph.bounded(words)
            pieces = before.encode(words.values).ids  # [words, (tokens)]
            is_empty = tf.cast(pieces.row_lengths() == 0, tf.int64)
            blanks = tf.fill([tf.reduce_sum(is_empty)], blank)
            pieces = tf.concat(
                [pieces, tf.RaggedTensor.from_row_lengths(blanks, is_empty)], axis=1
            )
            tokens = words.with_values(pieces).merge_dims(1, 2)  # [N, (tokens)]
            rows = before.frame_rows(tokens)
            row, position = graph.best_places(rows)
            first = pieces.row_starts()
            row, position = tf.gather(row, first), tf.gather(position, first)
            logits = graph.run(self.forward(), rows.fields())
            found, scores = tagged(graph.at_places(logits, (row, position)))
            found = tf.where(row < 0, outside, found)
            scores = tf.where(row < 0, 0.0, scores)
            return {
                "words": words.to_tensor(""),
                "tags": words.with_values(found).to_tensor(""),
                "scores": words.with_values(scores).to_tensor(0.0),
                "starts": starts.to_tensor(0),
                "ends": ends.to_tensor(0),
                "num_words": tf.cast(words.row_lengths(), tf.int32),
                "truncated": rows.truncated,
            }

        def of_ids(logits: tf.Tensor) -> saved_model.Tensors:
            found, scores = tagged(logits)
            return {"tags": found, "scores": scores}

        return {
            saved_model.DEFAULT: graph.of_text(tag),
            "tokens": graph.of_token_ids(self, of_ids),
        }

    def default_loss(self) -> keras.losses.Loss:
        """Returns cross-entropy, the mean over the words of a batch.

        Differs from the 2020 code, which sums over the words of a text.
        """
        return keras.losses.SparseCategoricalCrossentropy(
            from_logits=True, ignore_class=-1
        )

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments that make the same model."""
        return {
            **super().get_config(),
            "num_classes": self.num_classes,
            "dropout": self.dropout,
            "class_names": self.class_names,
        }


@keras.saving.register_keras_serializable(package="electra_tf")
class LabelledAccuracy(keras.metrics.Mean):
    """Share of right answers among the tokens that have a label, 0 or more.

    In:  int [B, L]; logits of classes, [B, L, C], or of yes against no, [B, L].
    """

    def update_state(
        self, y_true: tf.Tensor, y_pred: tf.Tensor, sample_weight: Any = None
    ) -> None:
        """Counts the answers of a batch; all tokens weigh the same."""
        y_true = tf.cast(y_true, tf.int32)
        if len(y_pred.shape) > len(y_true.shape):
            answers = tf.argmax(y_pred, axis=-1, output_type=tf.int32)
        else:
            answers = tf.cast(y_pred > 0, tf.int32)
        super().update_state(
            tf.cast(tf.equal(answers, y_true), tf.float32),
            sample_weight=tf.cast(y_true >= 0, tf.float32),
        )


def split_words(x: Any) -> list[list[str]]:
    """Turns texts into lists of words.

    Args:
        x: texts, or one string; a text is a string, or a list or array of words.

    Raises:
        UserError: something in it is neither.
    """
    if getattr(x, "shape", None) == ():
        x = columns.plain(x)
    if isinstance(x, str | bytes):
        x = [x]
    texts = []
    for index, text in enumerate(columns.values(x, "inputs")):
        if isinstance(text, str | bytes):
            texts.append(_text(text).split())
            continue
        words = list(text) if isinstance(text, list | tuple) else [text]
        if not all(isinstance(word, str | bytes) for word in words):
            wrong = next(word for word in words if not isinstance(word, str | bytes))
            raise errors.UserError(
                f"input {index} has {wrong!r:.60}, a {type(wrong).__name__}; want a "
                "list of words, or a string"
            )
        texts.append([_text(word) for word in words])
    return texts


def _tags_of(text: Any, index: int) -> list[Any]:
    if isinstance(text, str | bytes):
        return list(_text(text).split())
    if isinstance(text, list | tuple):
        return list(text)
    raise errors.UserError(
        f"the labels of text {index} are {text!r:.60}; want a list, one tag per word"
    )


def _text(value: str | bytes) -> str:
    if isinstance(value, bytes):
        return value.decode("utf-8", errors="replace")
    return str(value)
