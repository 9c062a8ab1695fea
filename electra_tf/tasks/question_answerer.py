"""Questions about texts become answers: spans of the text, or none.

In:   (question, context) each; labels as (text, start), or None where it has no answer.
Out:  answers with their place in the context, their probability, and others.

B rows, L tokens per row, D hidden, U of a head's hidden layer, K starts that a beam
follows, A tokens of an answer; [CLS] question [SEP] window of the context [SEP].
"""

import warnings
from typing import Any, ClassVar, NamedTuple, Self

import keras
import keras_hub
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from electra_tf import errors
from electra_tf.serving import saved_model
from electra_tf.tasks import backbone as backbones
from electra_tf.tasks import (
    contexts,
    graph,
    graph_spans,
    inputs,
    labels,
    questions,
    recipe,
    span_heads,
    task,
)
from electra_tf.weights import preset

STRIDE = 128  # tokens from one window to the next (2020 code)

# How losses add up (2020 code).
LOSS_WEIGHTS = {"start": 0.5, "end": 0.5, "null": 0.5}

# Settings that are numbers from 1.
_COUNTS = ("max_query_tokens", "max_answer_tokens", "beam_size", "n_best")


class SpanAnswer(NamedTuple):
    """The answer to a question; text is "", start and end 0, where there is none."""

    text: str
    start: int
    end: int
    score: float  # its probability; of there being no answer, where there is none
    null_score: float  # the higher, the likelier is no answer
    n_best: list[contexts.Span]  # likely answers of different text, the likeliest first


@keras.saving.register_keras_serializable(package="electra_tf")
class ElectraQuestionAnswerer(task.ElectraTask, keras_hub.models.Task):
    """Finds the answer to a question in a text, or says that it has none.

    A context longer than a row becomes windows, `stride` tokens apart (of the
    preprocessor; None = 128). In training, a window without the whole answer is one
    without an answer.

    The joint head is the default, as ELECTRA's published results are with it: the end
    depends on the start, and a classifier learns whether there is an answer. The plain
    head is that of Hugging Face, to and from which it converts; directories that hold
    one make it the default.

    Inputs: (question, context) pairs, or {"question": ..., "context": ...}. Labels:
    None or [] where there is no answer; (text, start), {"text": ..., "start": ...}, or
    a list of them, of which the first in the context trains. `start` is a character.

    To train the joint head, the inputs have `start_positions`, int32 [B], the true
    starts, given which it returns the logits of the ends; `dataset` puts them there.

    Args:
        backbone: the encoder.
        preprocessor: strings to token ids; None where the inputs are token ids.
        head: "joint" or "plain".
        max_query_tokens: longer questions lose their end.
        max_answer_tokens: longest answer that is predicted.
        beam_size: starts in each window that are tried with all ends.
        n_best: how many answers a prediction lists.
        null_threshold: a null_score above it says that there is no answer; None =
            always answer. The joint head's null_score is the logit of there being no
            answer (2020 code: -2.75), the plain head's the log of how much likelier no
            answer is than the best one; the least of all windows.
    """

    kind = "question_answering"
    of_lists = (
        "question answering takes Python values, or batches of token ids; make "
        "them with .dataset(x, y)"
    )
    hugging_face_head: ClassVar = {
        "span_head/logits/kernel": ("qa_outputs.weight", True),
        "span_head/logits/bias": ("qa_outputs.bias", False),
    }
    hugging_face_class = "ElectraForQuestionAnswering"
    hugging_face_kind = "question_answering"

    def __init__(
        self,
        backbone: backbones.ElectraBackbone,
        preprocessor: Any = None,
        head: str = "joint",
        max_query_tokens: int = 64,
        max_answer_tokens: int = 30,
        beam_size: int = 20,
        n_best: int = 20,
        null_threshold: float | None = None,
        **kwargs: Any,
    ) -> None:
        if head not in ("joint", "plain"):
            raise errors.UserError(f'head={head!r}: want "joint" or "plain"')
        self.max_query_tokens = max_query_tokens
        self.max_answer_tokens = max_answer_tokens
        self.beam_size, self.n_best = beam_size, n_best
        for name in _COUNTS:
            value = getattr(self, name)
            if not isinstance(value, int) or value < 1:
                raise errors.UserError(f"{name}={value!r}: want 1 or more")
        self.backbone = backbone
        self.preprocessor = preprocessor
        self.head, self.null_threshold = head, null_threshold
        about: dict[str, Any] = {"name": "span_head", "dtype": backbone.dtype_policy}
        if head == "joint":
            self.span_head = span_heads.JointSpanHead(
                beam_size, max_answer_tokens, **about
            )
        else:
            self.span_head = span_heads.PlainSpanHead(**about)
        rows = backbone.input
        states = backbone(rows)["sequence_output"]
        outputs = self.span_head(states, rows["segment_ids"], rows["padding_mask"])
        super().__init__(inputs=rows, outputs=outputs, **kwargs)

    def call(
        self, inputs: dict[str, Any], training: Any = None, mask: Any = None
    ) -> Any:
        """Returns the outputs of the head; of ends, given starts, where there are."""
        rows = {name: inputs[name] for name in self.backbone.input}
        if self.head == "plain" or "start_positions" not in inputs:
            return super().call(rows, training=training, mask=mask)
        states = self.backbone(rows, training=training)["sequence_output"]
        return self.span_head(
            states,
            rows["segment_ids"],
            rows["padding_mask"],
            inputs["start_positions"],
        )

    # Starting.

    @classmethod
    def from_pretrained(
        cls, source: preset.Pretrained, load_weights: bool = True, **kwargs: Any
    ) -> Self:
        """Builds the task from weights that were opened already."""
        if getattr(source, "head", None) == cls.hugging_face_kind:
            kwargs.setdefault("head", "plain")
        return super().from_pretrained(source, load_weights, **kwargs)

    def take_head(self, source: preset.Pretrained) -> None:
        """Copies the head of a Hugging Face directory, if ours is like it."""
        if self.head == "plain":
            super().take_head(source)

    # Inputs.

    def examples(self, x: Any) -> list[Any]:
        """Returns (question, context) each."""
        return list(zip(*questions.pairs(x), strict=True))

    def rows(self, x: Any) -> inputs.Rows:
        """Turns each question, with each window of its context, into a row."""
        asking, texts = questions.pairs(x)
        words, frame = self.preprocessor.tokenizer, self.preprocessor.frame
        if inputs.room(frame, 2) < 1:
            raise errors.UserError(
                f"sequence_length={frame.length} leaves no room for a context; take "
                "more"
            )
        asked = [words.encode(question) for question in asking]
        most = min(self.max_query_tokens, inputs.room(frame, 2) // 2)
        num_cut = sum(len(ids) > most for ids in asked)
        if num_cut:
            warnings.warn(
                f"{num_cut:,} of {len(asked):,} questions are longer than {most} "
                "tokens and lost their end; see max_query_tokens",
                stacklevel=3,
            )
        known = {
            text: contexts.Context.of(text, words) for text in dict.fromkeys(texts)
        }
        rows = inputs.frame_texts(
            [ids[:most] for ids in asked],
            [known[text].token_ids for text in texts],
            frame,
            long_texts="windows",
            stride=self.preprocessor.stride or STRIDE,
        )
        shown = [known[text] for text in texts]
        return rows._replace(notes=contexts.Notes(shown, contexts.windows(rows)))

    def targets(self, y: Any, rows: inputs.Rows) -> dict[str, npt.NDArray[Any]]:
        """Finds where answers start and end in each row, as int32 [rows].

        0 where a row has no answer; -1 where its context has not the answer given.
        With the joint head also "null", float32 [rows, 1]: whether it has no answer.
        """
        given = labels.each(y, rows.num_inputs)
        notes: contexts.Notes = rows.notes
        spans = [
            contexts.token_span(context, questions.raw_answers(value, number))
            for number, (context, value) in enumerate(
                zip(notes.contexts, given, strict=True)
            )
        ]
        num_lost = sum(span == contexts.LOST for span in spans)
        if num_lost:
            warnings.warn(
                f"{num_lost:,} of {len(spans):,} questions are left out, as their "
                "context does not hold the answer",
                stacklevel=3,
            )
        placed = [window.place(spans[window.question]) for window in notes.windows]
        start, end = np.array(placed, np.int32).reshape(-1, 2).T
        found: dict[str, npt.NDArray[Any]] = {"start": start, "end": end}
        if self.head == "joint":
            # The 2020 code takes a window without its question's answer for answerable.
            found["null"] = (start == 0)[:, None].astype(np.float32)
        return found

    def dataset(
        self,
        x: Any,
        y: Any = None,
        sample_weight: Any = None,
        batch_size: int = recipe.BATCH_SIZE,
        shuffle_seed: int | None = None,
        in_order: bool = False,
    ) -> tf.data.Dataset:
        """Makes batches for the model, one window per row.

        Questions whose context does not hold the answer are left out. A tf.data.Dataset
        of such batches is returned as it is.
        """
        if isinstance(x, tf.data.Dataset):
            return super().dataset(x)
        rows, targets = self.labelled_rows(x, y)
        kept = np.flatnonzero(targets["start"] >= 0)
        if not kept.size:
            raise errors.UserError("no context holds its answer; nothing to train on")
        weights = self.row_weights(rows, sample_weight)
        rows = rows._replace(
            token_ids=[rows.token_ids[place] for place in kept],
            segment_ids=[rows.segment_ids[place] for place in kept],
            source=rows.source[kept],
        )
        batches = inputs.batches(
            rows,
            {name: target[kept] for name, target in targets.items()},
            batch_size,
            shuffle_seed=shuffle_seed,
            weights=weights if weights is None else weights[kept],
            order=None if in_order else inputs.by_length(rows),
        )
        return batches if self.head == "plain" else batches.map(_with_starts)

    def row_weights(
        self, rows: inputs.Rows, sample_weight: Any
    ) -> npt.NDArray[np.float32] | None:
        """Gives each window the weight of its question (2020 code)."""
        if sample_weight is None:
            return None
        return labels.weights(sample_weight, rows.num_inputs)[rows.source]

    # Outputs.

    def answers(
        self, x: Any, rows: inputs.Rows, outputs: list[Any]
    ) -> list[SpanAnswer]:
        """Returns the best answer to each question, over all windows."""
        notes: contexts.Notes = rows.notes
        bounds = np.searchsorted(rows.source, np.arange(rows.num_inputs + 1))
        return [
            self._answer(context, notes.windows[low:high], outputs[low:high])
            for context, low, high in zip(
                notes.contexts, bounds[:-1], bounds[1:], strict=True
            )
        ]

    def _answer(
        self,
        context: contexts.Context,
        windows: list[contexts.Window],
        outputs: list[Any],
    ) -> SpanAnswer:
        owners = contexts.owners(windows, len(context.token_ids))
        found = []
        for number, (window, output) in enumerate(zip(windows, outputs, strict=True)):
            starts, ends, scores = self._candidates(window, output)
            found.append((starts, ends, scores, owners[starts] == number))
        starts, ends, scores, is_owned = map(np.concatenate, zip(*found, strict=True))
        if is_owned.any():
            starts, ends, scores = starts[is_owned], ends[is_owned], scores[is_owned]
        n_best = context.spans(starts, ends, scores, self.n_best)
        null = min(self._null(output) for output in outputs)
        if self.head == "joint":
            null_score, null_share = null, np.exp(-np.logaddexp(0.0, -null))
        else:
            null_score, null_share = (
                null - max(scores, default=span_heads.NEVER),
                np.exp(null),
            )
        has_answer = self.null_threshold is None or null_score <= self.null_threshold
        if n_best and has_answer:
            return SpanAnswer(*n_best[0], float(null_score), n_best)
        return SpanAnswer("", 0, 0, float(null_share), float(null_score), n_best)

    def _candidates(
        self, window: contexts.Window, output: dict[str, Any]
    ) -> tuple[contexts.Places, contexts.Places, contexts.Scores]:
        """Returns first and last tokens of spans of the context, with log-probability.

        All spans that lie in the window, of no more than max_answer_tokens, from the
        starts of the beam.
        """
        if self.head == "joint":
            starts, start_scores = output["beam"] - window.at, output["start"]
            end_scores = output["end"]
        else:
            here = slice(window.at, window.at + window.size)
            scores = _log_softmax(output["start"])[here]
            starts = np.argsort(-scores, kind="stable")[: self.beam_size]
            start_scores = scores[starts]
            tail = np.full(self.max_answer_tokens, span_heads.NEVER, np.float32)
            scores = np.append(_log_softmax(output["end"])[here], tail)
            end_scores = scores[starts[:, None] + np.arange(self.max_answer_tokens)]
        ends = starts[:, None] + np.arange(end_scores.shape[1])  # [K, A]
        lies_within = (starts[:, None] >= 0) & (ends < window.size)
        scores = start_scores[:, None] + end_scores
        starts = np.broadcast_to(starts[:, None], ends.shape)
        return (
            starts[lies_within].astype(np.int64) + window.start,
            ends[lies_within].astype(np.int64) + window.start,
            scores[lies_within],
        )

    def _null(self, output: dict[str, Any]) -> float:
        """Returns how likely a window has no answer: a logit, or a log-probability."""
        if self.head == "joint":
            return float(output["null"][0])
        logs = [_log_softmax(output[name])[0] for name in ("start", "end")]
        return float(sum(logs))

    # Serving.

    def signatures(self) -> dict[str, saved_model.Signature]:
        """Returns the answer to each question, its place and score, and others."""
        before = graph.Preprocessor(self.preprocessor, long_texts="windows")
        before.stride = self.preprocessor.stride or STRIDE
        most = min(self.max_query_tokens, inputs.room(before.frame, 2) // 2)

        def ask(question: tf.Tensor, context: tf.Tensor) -> saved_model.Tensors:
            asked = before.encode_start(question)
            ids, starts, ends = before.encode(context)
            rows = before.frame_rows(asked[:, :most], ids)
            outputs = graph.run(self.forward(), rows.fields())
            spans = graph_spans.best(
                context,
                starts,
                ends,
                rows,
                self._candidates_in_graph(rows, outputs),
                self.n_best,
            )
            null, null_share = self._null_in_graph(rows, outputs, spans)
            scores = tf.exp(spans.scores)
            is_answer = spans.counts > 0
            if self.null_threshold is not None:
                is_answer &= null <= self.null_threshold
            return {
                "answer": tf.where(is_answer, spans.texts[:, 0], ""),
                "start": tf.where(is_answer, spans.starts[:, 0], 0),
                "end": tf.where(is_answer, spans.ends[:, 0], 0),
                "score": tf.where(is_answer, scores[:, 0], null_share),
                "null_score": null,
                "n_best_texts": spans.texts,
                "n_best_starts": spans.starts,
                "n_best_ends": spans.ends,
                "n_best_scores": scores,
                "num_best": spans.counts,
                "truncated": asked.row_lengths() > most,
            }

        return {
            saved_model.DEFAULT: saved_model.Signature(
                ask,
                {"question": graph.STRINGS, "context": graph.STRINGS},
                {"question": "What jumps?", "context": graph.EXAMPLE},
            ),
            "tokens": graph.of_token_ids(self, dict),
        }

    def _candidates_in_graph(
        self, rows: graph.Rows, output: dict[str, tf.Tensor]
    ) -> graph_spans.Candidates:
        """Does in a graph what `_candidates` does, before windows are looked at."""
        at = rows.at[:, None]
        if self.head == "joint":
            starts = tf.cast(output["beam"], tf.int64)
            start_scores, end_scores = output["start"], output["end"]
        else:
            scores = tf.nn.log_softmax(output["start"])  # [R, L]
            place = tf.range(tf.shape(scores, tf.int64)[1])
            is_here = (place >= at) & (place < at + rows.counts[:, None])
            count = tf.minimum(self.beam_size, tf.shape(scores)[1])
            _, beam = tf.math.top_k(tf.where(is_here, scores, -np.inf), count)
            start_scores = tf.gather(scores, beam, batch_dims=1)
            scores = tf.pad(
                tf.nn.log_softmax(output["end"]),
                [[0, 0], [0, self.max_answer_tokens]],
                constant_values=span_heads.NEVER,
            )
            ends = beam[..., None] + tf.range(self.max_answer_tokens)  # [R, K, A]
            end_scores = tf.gather(scores, ends, batch_dims=1)
            starts = tf.cast(beam, tf.int64)
        return graph_spans.Candidates(starts - at, start_scores[..., None] + end_scores)

    def _null_in_graph(
        self, rows: graph.Rows, output: dict[str, tf.Tensor], spans: graph_spans.Spans
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns null_score and the probability of no answer, float32 [N]."""
        if self.head == "joint":
            nulls = output["null"][:, 0]
        else:
            nulls = sum(
                tf.nn.log_softmax(output[name])[:, 0] for name in ("start", "end")
            )
        null = tf.math.unsorted_segment_min(nulls, rows.source, tf.size(rows.first))
        if self.head == "joint":
            return null, tf.sigmoid(null)
        best = tf.where(spans.counts > 0, spans.scores[:, 0], span_heads.NEVER)
        return null - best, tf.exp(null)

    # Training.

    def default_loss_weights(self) -> dict[str, float]:
        """Returns the 2020 code's."""
        return {name: LOSS_WEIGHTS[name] for name in self.default_loss()}

    def default_loss(self) -> dict[str, keras.losses.Loss]:
        """Returns cross-entropies over places, and whether there is an answer."""
        found: dict[str, keras.losses.Loss] = {
            name: keras.losses.SparseCategoricalCrossentropy(from_logits=True)
            for name in ("start", "end")
        }
        if self.head == "joint":
            found["null"] = keras.losses.BinaryCrossentropy(from_logits=True)
        return found

    def default_metrics(self) -> Any:
        """Returns how often a start, and an end (given the true start), is right."""
        return {
            name: [keras.metrics.SparseCategoricalAccuracy(name="accuracy")]
            for name in ("start", "end")
        }

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments that make the same model."""
        return {
            **super().get_config(),
            **{name: getattr(self, name) for name in _COUNTS},
            "head": self.head,
            "null_threshold": self.null_threshold,
        }


def _with_starts(x: dict[str, Any], y: dict[str, Any], *weights: Any) -> Any:
    return ({**x, "start_positions": y["start"]}, y, *weights)


def _log_softmax(logits: contexts.Scores) -> contexts.Scores:
    shifted = logits - logits.max()
    return np.asarray(shifted - np.log(np.exp(shifted).sum()), np.float32)
