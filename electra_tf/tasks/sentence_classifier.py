"""Sentences of a document become scores: how much of it each tells.

In:   documents as lists of sentences, or as texts, which are cut into sentences; to
      train on, 0 or 1 a sentence.
Out:  logits [B, L], of which those at the [CLS] before each sentence count; one
      probability per sentence.

As in BertSumExt (Liu and Lapata 2019, arXiv:1908.08345), sentences share a row, each
with its own [CLS], in segments that alternate, so that each sees its document.
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
from electra_tf.tasks import (
    columns,
    graph,
    heads,
    inputs,
    labels,
    replaced_token_detector,
    token_classifier,
)
from electra_tf.text import sentences


@keras.saving.register_keras_serializable(package="electra_tf")
class ElectraSentenceClassifier(token_classifier.TokenTask, keras_hub.models.Task):
    """Tells of each sentence of a document how much of the document it tells.

    A row is [CLS], then [CLS] sentence [SEP] for each sentence, then [SEP]. A document
    longer than a row is read in windows; each sentence is judged in the one in which
    its [CLS] has most context.

    Inputs: documents, each a list of sentences, or a text. Labels: 0 or 1 a sentence;
    or these and a summary, which is not learned.

    Args:
        backbone: the encoder.
        preprocessor: strings to token ids; None where the inputs are token ids.
        dropout: before the dense layer of the head.
        max_sentence_tokens: longer sentences lose their end.
        num_sentences: of a summary, where nothing else is said.
    """

    kind = "extraction"

    def __init__(
        self,
        backbone: backbones.ElectraBackbone,
        preprocessor: Any = None,
        dropout: float = 0.1,
        max_sentence_tokens: int = 128,
        num_sentences: int = 3,
        **kwargs: Any,
    ) -> None:
        for name, value in (
            ("max_sentence_tokens", max_sentence_tokens),
            ("num_sentences", num_sentences),
        ):
            if not isinstance(value, int) or value < 1:
                raise errors.UserError(f"{name}={value!r}: want 1 or more")
        self.backbone = backbone
        self.preprocessor = preprocessor
        self.dropout, self.max_sentence_tokens = dropout, max_sentence_tokens
        self.num_sentences = num_sentences
        self.sentence_head = heads.TokenHead(
            1, dropout, dtype=backbone.dtype_policy, name="sentence_head"
        )
        hidden = backbone(backbone.input)["sequence_output"]
        super().__init__(
            inputs=backbone.input,
            outputs=self.sentence_head(hidden)[..., 0],
            **kwargs,
        )

    # Inputs.

    def examples(self, x: Any) -> list[Any]:
        """Returns a list of sentences each."""
        return documents(x)

    def rows(self, x: Any) -> inputs.Rows:
        """Turns documents into rows; notes the token that each sentence begins with."""
        before = self.preprocessor
        frame = before.frame
        cls, sep = (np.array([one], np.int32) for one in (frame.cls_id, frame.sep_id))
        texts, starts = [], []
        for document in documents(x):
            parts = [before.tokenizer.encode(one) for one in document]
            parts = [ids[: self.max_sentence_tokens] for ids in parts]
            ends = np.cumsum([0, *(len(ids) + 2 for ids in parts)], dtype=np.int64)
            pieces = [piece for ids in parts for piece in (cls, ids, sep)]
            texts.append(np.concatenate([cls[:0], *pieces]).astype(np.int32))
            starts.append(ends[:-1])
        rows = inputs.frame_texts(
            texts, None, frame, long_texts="windows", stride=before.stride
        )
        segments = [self._segments(ids == frame.cls_id) for ids in rows.token_ids]
        return rows._replace(segment_ids=segments, notes=starts)

    def _segments(self, is_cls: npt.NDArray[np.bool_]) -> inputs.Ids:
        """Numbers the sentences of a row from 0, modulo the segments there are."""
        count = np.cumsum(is_cls, dtype=np.int32)
        return (count % self._num_segments()).astype(np.int32)

    def _num_segments(self) -> int:
        return min(2, int(self.backbone.model_config.num_segments))

    @property
    def classes(self) -> labels.Classes:
        """What labels may be."""
        return labels.Classes(2, None)

    def targets(self, y: Any, rows: inputs.Rows) -> list[inputs.Ids]:
        """Turns 0 and 1, one per sentence of each document, into targets."""
        given = [_marks(one) for one in labels.each(y, rows.num_inputs)]
        starts: list[npt.NDArray[np.int64]] = rows.notes
        for index, (one, places) in enumerate(zip(given, starts, strict=True)):
            is_list = isinstance(one, list | tuple) and len(one) == len(places)
            if not is_list or any(value not in (0, 1) for value in one):
                raise errors.UserError(
                    f"the labels of document {index} are {one!r:.60}; want 0 or 1 for "
                    f"each of its {len(places)} sentences"
                )
        return inputs.spread(rows, starts, [np.array(one, np.int32) for one in given])

    # Outputs.

    def answers(
        self, x: Any, rows: inputs.Rows, outputs: list[Any]
    ) -> list[npt.NDArray[np.float32]]:
        """Returns a probability per sentence, for each document."""
        found = []
        for logits, starts in zip(
            inputs.gather(rows, outputs), rows.notes, strict=True
        ):
            chosen = logits.astype(np.float64)[starts] if len(starts) else np.zeros(0)
            found.append((1.0 / (1.0 + np.exp(-chosen))).astype(np.float32))
        return found

    def signatures(self) -> dict[str, saved_model.Signature]:
        """Returns the scores of sentences, and those of a summary.

        Documents may have different numbers of sentences: "" is none.
        """
        before = graph.Preprocessor(self.preprocessor, long_texts="windows")
        frame, most = self.preprocessor.frame, self.max_sentence_tokens

        def judge(sentences: tf.Tensor) -> saved_model.Tensors:
            is_there = tf.not_equal(sentences, "")  # [N, S]
            places = tf.where(is_there)
            ids = before.encode(tf.gather_nd(sentences, places)).ids[:, :most]
            ones = tf.ones_like(ids[:, :1].row_lengths())[:, None]
            cls, sep = (
                tf.RaggedTensor.from_tensor(tf.cast(ones, tf.int32) * one)
                for one in (frame.cls_id, frame.sep_id)
            )
            pieces = tf.concat([cls, ids, sep], axis=1)  # [sentences, (tokens)]
            counts = tf.reduce_sum(tf.cast(is_there, tf.int64), axis=1)
            tokens = tf.RaggedTensor.from_row_lengths(pieces, counts).merge_dims(1, 2)
            rows = before.frame_rows(tokens)
            number = tf.cumsum(
                tf.cast(tf.equal(rows.token_ids, frame.cls_id), tf.int32), axis=1
            )
            fields = rows.fields()
            fields["segment_ids"] = rows.padding_mask * (number % self._num_segments())
            logits = graph.run(self.forward(), fields)  # [R, L]
            row, position = graph.best_places(rows)
            first = pieces.row_starts()
            place = tf.gather(row, first), tf.gather(position, first)
            shares = tf.sigmoid(graph.at_places(logits, place))
            shape = tf.shape(sentences, tf.int64)
            scores = tf.scatter_nd(places, shares, shape)
            return {"scores": scores, "chosen": self._chosen(scores, is_there)}

        strings = tf.TensorSpec([None, None], tf.string)
        example = {"sentences": [graph.EXAMPLE] * 2}
        return {
            saved_model.DEFAULT: saved_model.Signature(
                judge, {"sentences": strings}, example
            ),
            "tokens": graph.of_token_ids(
                self, lambda logits: {"probabilities": tf.sigmoid(logits)}
            ),
        }

    def _chosen(self, scores: tf.Tensor, is_there: tf.Tensor) -> tf.Tensor:
        """Returns the sentences of a summary, ascending, int32 [N, K], then -1."""
        count = tf.minimum(self.num_sentences, tf.shape(scores)[1])
        found = tf.math.top_k(tf.where(is_there, scores, -1.0), count)
        none = tf.shape(scores)[1]
        order = tf.sort(tf.where(found.values < 0, none, found.indices), axis=1)
        return tf.where(order == none, -1, order)

    # Training.

    def default_loss(self) -> keras.losses.Loss:
        """Returns cross-entropy, the mean over the sentences of a batch."""
        return replaced_token_detector.ReplacedTokenLoss()

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments that make the same model."""
        return {
            **super().get_config(),
            "dropout": self.dropout,
            "max_sentence_tokens": self.max_sentence_tokens,
            "num_sentences": self.num_sentences,
        }


def _marks(label: Any) -> Any:
    """Returns the marks of a `dataset.Extract`, or of a list of them."""
    is_both = isinstance(label, tuple) and len(label) == 2 and isinstance(label[1], str)
    return label[0] if is_both else label


def documents(x: Any) -> list[list[str]]:
    """Turns documents into lists of sentences.

    Args:
        x: documents, or one string; a document is a list of sentences, or a text.

    Raises:
        UserError: something in it is neither.
    """
    if getattr(x, "shape", None) == ():
        x = columns.plain(x)
    found = []
    texts = [x] if isinstance(x, str | bytes) else columns.values(x, "inputs")
    for index, text in enumerate(texts):
        if isinstance(text, bytes):
            text = text.decode("utf-8", errors="replace")
        if isinstance(text, str):
            found.append([one.text for one in sentences.split(text)])
        elif isinstance(text, list | tuple) and all(isinstance(s, str) for s in text):
            found.append(list(text))
        else:
            raise errors.UserError(
                f"input {index} is {text!r:.60}, a {type(text).__name__}; want a list "
                "of sentences, or a text"
            )
    return found
