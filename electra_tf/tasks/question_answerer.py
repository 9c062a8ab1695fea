"""Questions about texts become answers: spans of the text, or none.

In:   (question, context) each; labels as (text, start), or None where it has no answer.
Out:  answers with their place in the context, their probability, and others.

B rows, L tokens a row, D hidden, U of a head's hidden layer, K starts that a beam
follows, A tokens of an answer; [CLS] question [SEP] window of the context [SEP].
"""

import warnings
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, NamedTuple, Self

import keras
import keras_hub
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from electra_tf import errors
from electra_tf.datasets import squad
from electra_tf.network import kernels
from electra_tf.serving import saved_model
from electra_tf.tasks import backbone as backbones
from electra_tf.tasks import (
    columns,
    graph,
    graph_spans,
    inputs,
    labels,
    preprocessor,
    recipe,
    task,
)
from electra_tf.tasks import tokenizer as tokenizers
from electra_tf.weights import preset

STRIDE = 128  # tokens from one window to the next (2020 code)
UNITS = 512  # of the joint head's hidden layers (2020 code)

# The logit of a token that is neither in the context nor [CLS] (2020 code).
NEVER = -1000.0

# How losses add up (2020 code).
LOSS_WEIGHTS = {"start": 0.5, "end": 0.5, "null": 0.5}

# Settings that are numbers from 1.
_COUNTS = ("max_query_tokens", "max_answer_tokens", "beam_size", "n_best")

Places = npt.NDArray[np.int64]
Scores = npt.NDArray[np.float32]


class Span(NamedTuple):
    """A part of a context that may be the answer: `context[start:end]`."""

    text: str
    start: int
    end: int
    score: float  # its probability, of start and end together, in its window


class SpanAnswer(NamedTuple):
    """The answer to a question; text is "", start and end 0, where there is none."""

    text: str
    start: int
    end: int
    score: float  # its probability; of there being no answer, where there is none
    null_score: float  # the higher, the likelier is no answer
    n_best: list[Span]  # likely answers of different text, the likeliest first


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
            self.span_head = JointSpanHead(beam_size, max_answer_tokens, **about)
        else:
            self.span_head = PlainSpanHead(**about)
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
        return list(zip(*_pairs(x), strict=True))

    def rows(self, x: Any) -> inputs.Rows:
        """Turns each question, with each window of its context, into a row."""
        questions, contexts = _pairs(x)
        words, frame = self.preprocessor.tokenizer, self.preprocessor.frame
        if inputs.room(frame, 2) < 1:
            raise errors.UserError(
                f"sequence_length={frame.length} leaves no room for a context; take "
                "more"
            )
        asked = [words.encode(question) for question in questions]
        most = min(self.max_query_tokens, inputs.room(frame, 2) // 2)
        num_cut = sum(len(ids) > most for ids in asked)
        if num_cut:
            warnings.warn(
                f"{num_cut:,} of {len(asked):,} questions are longer than {most} "
                "tokens and lost their end; see max_query_tokens",
                stacklevel=3,
            )
        known = {text: _Context.of(text, words) for text in dict.fromkeys(contexts)}
        rows = inputs.frame_texts(
            [ids[:most] for ids in asked],
            [known[text].token_ids for text in contexts],
            frame,
            long_texts="windows",
            stride=self.preprocessor.stride or STRIDE,
        )
        windows = [
            _Window(source, start, int(np.sum(segments)) - 1, int(np.argmax(segments)))
            for source, start, segments in zip(
                rows.source.tolist(),
                rows.starts.tolist(),
                rows.segment_ids,
                strict=True,
            )
        ]
        return rows._replace(notes=_Notes([known[text] for text in contexts], windows))

    def targets(self, y: Any, rows: inputs.Rows) -> dict[str, npt.NDArray[Any]]:
        """Finds where answers start and end in each row, as int32 [rows].

        0 where a row has no answer; -1 where its context has not the answer given.
        With the joint head also "null", float32 [rows, 1]: whether it has no answer.
        """
        given = labels.each(y, rows.num_inputs)
        notes: _Notes = rows.notes
        spans = [
            _token_span(context, _raw_answers(value, number))
            for number, (context, value) in enumerate(
                zip(notes.contexts, given, strict=True)
            )
        ]
        num_lost = sum(span == _LOST for span in spans)
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
        notes: _Notes = rows.notes
        bounds = np.searchsorted(rows.source, np.arange(rows.num_inputs + 1))
        return [
            self._answer(context, notes.windows[low:high], outputs[low:high])
            for context, low, high in zip(
                notes.contexts, bounds[:-1], bounds[1:], strict=True
            )
        ]

    def _answer(
        self, context: "_Context", windows: list["_Window"], outputs: list[Any]
    ) -> SpanAnswer:
        owners = _owners(windows, len(context.token_ids))
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
            null_score, null_share = null - max(scores, default=NEVER), np.exp(null)
        has_answer = self.null_threshold is None or null_score <= self.null_threshold
        if n_best and has_answer:
            return SpanAnswer(*n_best[0], float(null_score), n_best)
        return SpanAnswer("", 0, 0, float(null_share), float(null_score), n_best)

    def _candidates(
        self, window: "_Window", output: dict[str, Any]
    ) -> tuple[Places, Places, Scores]:
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
            tail = np.full(self.max_answer_tokens, NEVER, np.float32)
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
                constant_values=NEVER,
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
        best = tf.where(spans.counts > 0, spans.scores[:, 0], NEVER)
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


def _with_starts(x: dict[str, Any], y: dict[str, Any], *weights: Any) -> Any:
    return ({**x, "start_positions": y["start"]}, y, *weights)


def _log_softmax(logits: Scores) -> Scores:
    shifted = logits - logits.max()
    return np.asarray(shifted - np.log(np.exp(shifted).sum()), np.float32)


# Contexts and their windows.


class _Context(NamedTuple):
    """A text, and where in it each token has its characters."""

    text: str
    token_ids: inputs.Ids
    starts: Places
    ends: Places

    @classmethod
    def of(cls, text: str, words: tokenizers.ElectraTokenizer) -> "_Context":
        ids, offsets = words.encode_with_offsets(text)
        starts, ends = np.array(offsets, np.int64).reshape(-1, 2).T
        return cls(text, ids, starts, ends)

    def spans(
        self, firsts: Places, lasts: Places, scores: Scores, count: int
    ) -> list[Span]:
        """Returns the best spans of tokens, of different text."""
        found: dict[str, Span] = {}
        for place in np.argsort(-scores, kind="stable"):
            start, end = int(self.starts[firsts[place]]), int(self.ends[lasts[place]])
            text = self.text[start:end]
            if text and text not in found:
                found[text] = Span(text, start, end, float(np.exp(scores[place])))
            if len(found) == count:
                break
        return list(found.values())


class _Window(NamedTuple):
    """A part of a context that is in one row with its question."""

    question: int
    start: int  # its first token, in the context
    size: int  # tokens
    at: int  # its first token, in the row

    def place(self, span: tuple[int, int]) -> tuple[int, int]:
        """Returns where in the row a span of the context is: 0 if not as a whole."""
        first, last = span
        if span == _LOST:
            return span
        if first < self.start or last >= self.start + self.size:
            return 0, 0
        return first - self.start + self.at, last - self.start + self.at


class _Notes(NamedTuple):
    contexts: list[_Context]  # of each question
    windows: list[_Window]  # of each row


# Spans of tokens, beside (first, last).
_NONE = (-1, -2)  # There is no answer.
_LOST = (-1, -1)  # The context does not hold it.


def _owners(windows: list[_Window], num_tokens: int) -> Places:
    """Returns which window shows each token with the most on both sides.

    As in the 2020 code, a longer window is a little better.
    """
    best = np.full(num_tokens, -1.0)
    owners = np.zeros(num_tokens, np.int64)
    for number, window in enumerate(windows):
        before = np.arange(window.size)
        around = np.minimum(before, window.size - 1 - before) + 0.01 * window.size
        here = np.arange(window.start, window.start + window.size)
        here = here[around > best[here]]
        best[here] = around[here - window.start]
        owners[here] = number
    return owners


def _token_span(
    context: _Context, raw_answers: list[tuple[str, int | None]]
) -> tuple[int, int]:
    """Returns the first and last token of the first answer that is in the context."""
    for text, start in raw_answers:
        answer = squad.find_answer(context.text, text, start)
        if answer.start < 0:
            continue
        end = answer.start + len(answer.text)
        first = int(np.searchsorted(context.ends, answer.start, side="right"))
        last = int(np.searchsorted(context.starts, end, side="left")) - 1
        if first <= last:
            return first, last
    return _LOST if raw_answers else _NONE


# Inputs and labels as people have them.


def _pairs(x: Any) -> tuple[list[str], list[str]]:
    """Splits inputs into questions and contexts."""
    if isinstance(x, dict):
        x = x.get("question"), x.get("context")
    if not isinstance(x, tuple | str | bytes):
        x = [
            (value.get("question"), value.get("context"))
            if isinstance(value, Mapping)
            else value
            for value in columns.values(x, "inputs")
        ]
    questions, contexts = preprocessor.split_pairs(x)
    if contexts is None and questions:
        raise errors.UserError(
            f"input 0 is {questions[0]!r:.60} alone; want (question, context)"
        )
    return questions, contexts or []


def _raw_answers(value: Any, number: int) -> list[tuple[str, int | None]]:
    """Reads the answers to a question: text, and first character or None."""
    try:
        found = _flat(columns.plain(value))
        return [(text, start) for text, start in found if text.strip()]
    except (TypeError, ValueError, AttributeError):
        raise errors.UserError(
            f"label {number} is {value!r:.80}; want None, (text, start), or a list of "
            "these"
        ) from None


def _flat(value: Any) -> Iterator[tuple[str, int | None]]:
    """Yields (text, start) of an answer in any form.

    Raises:
        TypeError, ValueError, AttributeError: it has none of them.
    """
    if value is None:
        return
    if isinstance(value, Mapping):
        text = value.get("text")
        start = value.get("start", value.get("answer_start"))
        if isinstance(text, str | bytes):
            value = text, start
        else:  # Columns, as in Hugging Face's data sets.
            value = list(zip(text or (), start or (), strict=True))
    if isinstance(value, str | bytes):
        value = value, None
    if len(value) == 2 and not isinstance(
        value[1], str | bytes | Mapping | tuple | list
    ):
        text, start = value
        if isinstance(text, str | bytes):
            text = text.decode(errors="replace") if isinstance(text, bytes) else text
            yield text, None if start is None else int(start)
            return
    for part in value:
        yield from _flat(part)
