"""Texts with blanks become the tokens that fit: the generator of pre-training.

In:   strings, in which [MASK] stands for a token; to train on, strings alone.
Out:  logits [B, P, V]; of each [MASK], the likeliest tokens.

B rows, P blanks a row, V vocabulary.
"""

import itertools
from typing import Any, ClassVar, NamedTuple

import keras
import keras_hub
import numpy as np
import tensorflow as tf

from electra_tf import errors
from electra_tf.batches import masking
from electra_tf.network import heads
from electra_tf.serving import saved_model
from electra_tf.tasks import backbone as backbones
from electra_tf.tasks import (
    columns,
    graph,
    graph_tokenizer,
    inputs,
    preprocessor,
    recipe,
    streams,
    task,
)
from electra_tf.text import vocabularies

# Blanks of a row that are filled in at once, for each takes V numbers.
_BLANKS = 32

TOP_K = 5  # guesses a blank


class Guess(NamedTuple):
    """A token that fits a blank; "##..." goes on with the word before it."""

    token: str
    probability: float


@keras.saving.register_keras_serializable(package="electra_tf")
class ElectraMaskedLM(task.ElectraTask, keras_hub.models.MaskedLM):
    """Fills in blanks, and learns to from any text.

    `keras_hub.models.MaskedLM.from_preset` returns this class for our presets.

    `fit` hides other tokens in every epoch, `evaluate` the same ones each time. Long
    texts become several rows; none of their text is lost.

    Args:
        backbone: the generator's encoder.
        preprocessor: strings to token ids; None where the inputs are token ids.
        mask_rate: share of the tokens that `fit` hides (paper: 0.15; large 0.25).
        mask_token_rate: share of the hidden tokens that show [MASK]; the rest are left
            to be seen (2020 code).
    """

    kind = "masked_words"
    networks: ClassVar = ("generator",)  # An encoder alone would guess at random.
    hugging_face_class = "ElectraForMaskedLM"
    has_labels = False

    def __init__(
        self,
        backbone: backbones.ElectraBackbone,
        preprocessor: Any = None,
        mask_rate: float = 0.15,
        mask_token_rate: float = 0.85,
        **kwargs: Any,
    ) -> None:
        for name, rate in {
            "mask_rate": mask_rate,
            "mask_token_rate": mask_token_rate,
        }.items():
            if not 0.0 <= rate <= 1.0:
                raise errors.UserError(f"{name}={rate}: want 0 to 1")
        self.backbone = backbone
        self.preprocessor = preprocessor
        self.mask_rate, self.mask_token_rate = mask_rate, mask_token_rate
        self.masked_token_head = heads.MaskedTokenHead(
            backbone.model_config,
            backbone.get_layer("embeddings"),
            dtype=backbone.dtype_policy,
            name="masked_token_head",
        )
        positions = keras.Input((None,), dtype="int32", name="mask_positions")
        hidden = backbone(backbone.input)["sequence_output"]  # [B, L, D]
        super().__init__(
            inputs={**backbone.input, "mask_positions": positions},
            outputs=self.masked_token_head(hidden, positions),
            **kwargs,
        )

    # Training.

    def usual_rates(self) -> tuple[float, float]:
        """Returns the paper's peak rate, for all layers: as in pre-training."""
        return super().usual_rates()[0], 1.0

    def default_weighted_metrics(self) -> list[keras.metrics.Metric]:
        """Returns the accuracy at hidden tokens."""
        return [keras.metrics.SparseCategoricalAccuracy(name="accuracy")]

    def held_out(self, validation_data: Any) -> tuple[Any, Any, Any]:
        """Returns texts alone, where that is what `fit` was given."""
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
        """Makes batches with tokens hidden; of what is trained on, others each time."""
        if y is not None or sample_weight is not None:
            raise errors.UserError(
                "a masked language model learns from texts alone; give no labels and "
                "no weights"
            )
        if isinstance(x, tf.data.Dataset):
            if self._is_prepared(streams.inputs_of(x)):
                return x
            batches = streams.batches(
                x,
                self.preprocessor,
                self.graph_targets,
                shuffle_seed=shuffle_seed,
                pool=1 if in_order else self.pool_batches,
                long_texts="windows",
                stride=self.preprocessor.sequence_length,
            )
        else:
            columns.refuse_streams(x, "inputs")
            # Windows side by side.
            rows = self._rows(x, stride=self.preprocessor.sequence_length)
            if not rows.token_ids:
                raise errors.UserError("no texts to train or evaluate on: x is empty")
            batches = inputs.batches(
                rows,
                None,
                batch_size,
                shuffle_seed=shuffle_seed,
                order=None if in_order else inputs.by_length(rows),
            )
        seeds = tf.data.Dataset.random(
            shuffle_seed or 0,
            rerandomize_each_iteration=in_order or shuffle_seed is not None,
        ).batch(2)
        hidden = tf.data.Dataset.zip(batches, seeds).map(
            lambda batch, seed: self._hide(_first(batch), tf.cast(seed, tf.int32)),
            num_parallel_calls=2,
        )
        return hidden.prefetch(2)

    def _hide(self, x: dict[str, tf.Tensor], seed: tf.Tensor) -> Any:
        """Hides tokens of a batch; leaves out the slots that no row uses.

        Returns:
            The model's inputs, what was hidden, and its weights: int32 and float32
            [B, P].
        """
        words, length = self.preprocessor.tokenizer, self.preprocessor.sequence_length
        x = {name: tf.cast(field, tf.int32) for name, field in x.items()}
        width = tf.shape(x["token_ids"])[1]

        def widen(field: tf.Tensor) -> tf.Tensor:
            """Masking wants a width that is known before it runs."""
            return tf.ensure_shape(
                tf.pad(field, [[0, 0], [0, length - width]]), [None, length]
            )

        special_ids = words.cls_token_id, words.sep_token_id, words.mask_token_id
        ids = widen(x["token_ids"])
        masked = masking.hide_tokens(
            ids,
            masking.find_candidates(ids, widen(x["padding_mask"]), special_ids),
            rate=self.mask_rate,
            max_predictions=max(1, round(self.mask_rate * length)),
            mask_token_rate=self.mask_token_rate,
            mask_id=words.mask_token_id,
            seed=seed,
        )
        used = tf.reduce_max(tf.reduce_sum(masked.mask_weights, axis=1))
        used = inputs.round_up(tf.cast(used, tf.int32))
        x |= {
            "token_ids": masked.token_ids[:, :width],
            "mask_positions": masked.mask_positions[:, :used],
        }
        return x, masked.mask_ids[:, :used], masked.mask_weights[:, :used]

    def default_loss(self) -> keras.losses.Loss:
        """Returns cross-entropy, the mean over the hidden tokens of a batch."""
        return keras.losses.SparseCategoricalCrossentropy(
            from_logits=True, reduction="mean_with_sample_weight"
        )

    # Filling in.

    def rows(self, x: Any) -> inputs.Rows:
        """Turns texts into rows; [MASK] in them is a token."""
        return self._rows(x, self.preprocessor.stride)

    @errors.named_arguments
    def predict(
        self,
        x: Any,
        batch_size: int | None = None,
        verbose: Any = "auto",
        steps: int | None = None,
        callbacks: Any = None,
        *,
        top_k: int = TOP_K,
    ) -> Any:
        """Fills in the blanks of texts.

        Args:
            x: texts in which each [MASK] is a blank, of one token.
            batch_size: rows at once; None = 32.
            verbose: as in `ElectraTask.predict`, like the next two.
            steps: for a tf.data.Dataset.
            callbacks: Keras'.
            top_k: guesses for each blank.

        Returns:
            For each text one list per [MASK], with the `top_k` likeliest guesses.
        """
        x, steps = self.strings(x, steps)
        if isinstance(x, tf.data.Dataset) or self._is_prepared(x):
            return super().predict(x, batch_size, verbose, steps, callbacks)
        if not 1 <= top_k <= self.backbone.model_config.vocab_size:
            raise errors.UserError(f"top_k={top_k}: want 1 to the vocabulary's size")
        rows = self.rows(x)
        blank = self.preprocessor.tokenizer.mask_token_id
        blanks = [
            [(row, at) for row, at in places if rows.token_ids[row][at] == blank]
            for places in inputs.best_places(rows)
        ]
        size = batch_size or recipe.BATCH_SIZE
        guesses = self._guesses(rows, blanks, size, top_k, verbose, steps, callbacks)
        return [[guesses[place] for place in places] for places in blanks]

    def _guesses(
        self,
        rows: inputs.Rows,
        blanks: list[list[tuple[int, int]]],
        batch_size: int,
        top_k: int,
        *watching: Any,
    ) -> dict[tuple[int, int], list[Guess]]:
        """Runs the rows that have blanks; returns the guesses by (row, position)."""
        by_row: dict[int, list[int]] = {}
        for row, position in itertools.chain(*blanks):
            by_row.setdefault(row, []).append(position)
        chosen = [
            (row, np.array(positions[start : start + _BLANKS], np.int32))
            for row, positions in by_row.items()
            for start in range(0, len(positions), _BLANKS)
        ]
        few = rows._replace(
            token_ids=[rows.token_ids[row] for row, _ in chosen],
            segment_ids=[rows.segment_ids[row] for row, _ in chosen],
        )
        with self.watched(len(chosen), batch_size, *watching) as told:
            outputs = self.outputs_of(
                few,
                batch_size,
                {"mask_positions": [positions for _, positions in chosen]},
                lambda logits: tuple(tf.math.top_k(tf.nn.softmax(logits), top_k)),
                told,
            )
        token = self.preprocessor.tokenizer.id_to_token
        guesses = {}
        for (row, positions), (shares, ids) in zip(chosen, outputs, strict=True):
            for slot, position in enumerate(positions):
                guesses[row, position] = [
                    Guess(token(number), float(share))
                    for number, share in zip(ids[slot], shares[slot], strict=True)
                ]
        return guesses

    def _rows(self, x: Any, stride: int | None) -> inputs.Rows:
        return inputs.frame_texts(
            [self._encode(text) for text in preprocessor.single_texts(x)],
            None,
            self.preprocessor.frame,
            long_texts="windows",
            stride=stride,
        )

    def _encode(self, text: str) -> inputs.Ids:
        words = self.preprocessor.tokenizer
        first, *others = (words.encode(part) for part in text.split(vocabularies.MASK))
        blank = np.array([words.mask_token_id], np.int32)
        return np.concatenate([first, *(a for part in others for a in (blank, part))])

    # Serving.

    def signatures(self) -> dict[str, saved_model.Signature]:
        """Returns the likeliest guesses for each [MASK] of texts."""
        words = self.preprocessor.tokenizer
        before = graph.Preprocessor(self.preprocessor, long_texts="windows")
        vocab = words.get_vocabulary()
        count = min(TOP_K, len(vocab))
        fields = {**graph.ROWS, "mask_positions": tf.TensorSpec([None, None], tf.int32)}
        guess = tf.function(
            lambda rows: tuple(
                tf.math.top_k(tf.nn.softmax(self.forward()(rows)), count)
            ),
            input_signature=[fields],
            autograph=False,
        )

        def fill_in(text: tf.Tensor) -> saved_model.Tensors:
            tokens = self._encode_in_graph(before, text)
            rows = before.frame_rows(tokens)
            row, position = graph.best_places(rows)
            is_blank = tf.equal(tokens.values, words.mask_token_id)
            # A row's blanks come together, some at a time.
            blanks = tf.RaggedTensor.from_value_rowids(
                tf.cast(position[is_blank], tf.int32),
                row[is_blank],
                tf.size(rows.source, tf.int64),
            )
            row, places = graph.pieces(blanks, _BLANKS)
            rows_of = {name: tf.gather(x, row) for name, x in rows.fields().items()}
            shares, ids = graph.run(
                guess, {**rows_of, "mask_positions": places.to_tensor(0)}
            )  # [pieces, P, K]
            used = tf.sequence_mask(places.row_lengths(), tf.shape(shares)[1])
            text_of = graph_tokenizer.row_ids(tokens.row_splits)[is_blank]

            def show(values: tf.Tensor, padding: Any) -> tf.Tensor:
                return tf.RaggedTensor.from_value_rowids(
                    values[used], text_of, tokens.nrows()
                ).to_tensor(padding, shape=[None, None, count])

            return {
                "tokens": show(tf.gather(tf.constant(vocab), ids), ""),
                "probabilities": show(shares, 0.0),
                "num_blanks": tf.math.unsorted_segment_sum(
                    tf.ones_like(text_of, tf.int32), text_of, tokens.nrows()
                ),
            }

        def of_ids(
            token_ids: tf.Tensor, segment_ids: tf.Tensor, mask_positions: tf.Tensor
        ) -> saved_model.Tensors:
            token_ids = graph.with_a_column(token_ids)
            rows = graph.rows_of_ids(token_ids, segment_ids, before.frame)
            shares, ids = graph.run(guess, {**rows, "mask_positions": mask_positions})
            return {
                "tokens": tf.gather(tf.constant(vocab), ids),
                "probabilities": shares,
            }

        example = [words.cls_token_id, words.mask_token_id, words.sep_token_id]
        return {
            saved_model.DEFAULT: graph.of_text(
                fill_in, f"The quick {vocabularies.MASK}."
            ),
            "tokens": saved_model.Signature(
                of_ids,
                {name: fields[name] for name in fields if name != "padding_mask"},
                {"token_ids": example, "segment_ids": [0, 0, 0], "mask_positions": [1]},
            ),
        }

    def _encode_in_graph(
        self, before: graph.Preprocessor, text: tf.Tensor
    ) -> tf.RaggedTensor:
        """Turns string [N] into tokens, int32 [N, (tokens)]; [MASK] is one."""
        parts = tf.strings.split(text, vocabularies.MASK)  # [N, (parts)]
        parts = graph.bounded(parts, TOP_K)
        ids = before.encode(parts.values).ids  # [parts, (tokens)]
        number = tf.range(ids.nrows())
        text_of = graph_tokenizer.row_ids(parts.row_splits)
        is_last = tf.equal(number + 1, tf.gather(parts.row_limits(), text_of))
        blanks = tf.cast(~is_last, tf.int64)
        mask = tf.fill(
            [tf.reduce_sum(blanks)], self.preprocessor.tokenizer.mask_token_id
        )
        whole = tf.concat([ids, tf.RaggedTensor.from_row_lengths(mask, blanks)], axis=1)
        return parts.with_values(whole).merge_dims(1, 2)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments that make the same model."""
        return {
            **super().get_config(),
            "mask_rate": self.mask_rate,
            "mask_token_rate": self.mask_token_rate,
        }


def _first(element: Any) -> Any:
    """Returns the inputs of a dataset's element, or of their specification."""
    return element[0] if isinstance(element, tuple) else element
