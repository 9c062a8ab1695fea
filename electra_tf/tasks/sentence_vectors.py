"""Sentences of documents become vectors, each alone or within its document.

In:   token ids of the sentences, by document.
Out:  float32 [S, D] of each document.

B rows, L tokens per row, S sentences of a document, D hidden, N sentences of a batch.
"""

import functools
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from electra_tf import errors
from electra_tf.tasks import backbone as backbones
from electra_tf.tasks import inputs, predicting

POOLINGS = ("mean", "max", "cls")

# Tokens that the network is given at once: on a CPU more take no less time for each.
TOKENS_AT_ONCE = 4096

Vectors = npt.NDArray[np.float32]


class _Row(NamedTuple):
    """What the encoder is given at once: a sentence, or several of a document."""

    token_ids: inputs.Ids  # with [CLS] and [SEP]
    owners: inputs.Ids  # the sentence that each token speaks for, of all; -1 = none


class SentenceVectors:
    """Gives sentences vectors: those of a hidden layer, over the sentence's tokens.

    Layers above the one that is asked for are not computed.

    Args:
        backbone: the encoder.
        frame: special tokens, and the longest row. A sentence longer than a row is told
            by the tokens that fit.
        layer: the states of which layer: 0 = the embeddings, 1 = the first block, ...;
            or counted from the end, -1 = the last block; None = the block two thirds
            of the way up (measured, docs/decisions, D61).
        pooling: "mean" or "max" over the tokens of a sentence without [CLS] and [SEP],
            or "cls": the state of the [CLS] before it.
        context: whether a row has as many sentences of a document as it holds, which
            see each other; else one.

    Raises:
        UserError: there is no such layer or pooling; "cls" with several sentences.
    """

    def __init__(
        self,
        backbone: backbones.ElectraBackbone,
        frame: inputs.Frame,
        layer: int | None,
        pooling: str,
        context: bool,
    ) -> None:
        if pooling not in POOLINGS:
            raise errors.UserError(
                f"pooling={pooling!r}: want one of {', '.join(POOLINGS)}"
            )
        if pooling == "cls" and context:
            raise errors.UserError(
                'pooling="cls" with context=True: sentences that share a row have one '
                "[CLS] between them; take context=False, or another pooling"
            )
        self._frame, self._pooling, self._context = frame, pooling, context
        self._width = backbone.model_config.hidden_size
        encoder = keras.Model(backbone.input, _states(backbone, layer))
        pool = (
            tf.math.unsorted_segment_max
            if pooling == "max"
            else tf.math.unsorted_segment_mean
        )
        rows = tf.TensorSpec([None, None], tf.int32)

        @tf.function(
            input_signature=[rows, rows, tf.TensorSpec([], tf.int32)], autograph=False
        )
        def vectors(
            token_ids: tf.Tensor, owners: tf.Tensor, count: tf.Tensor
        ) -> tf.Tensor:
            fields = {
                "token_ids": token_ids,
                "segment_ids": tf.zeros_like(token_ids),
                # [CLS], the first token, is never padding, nor is [SEP].
                "padding_mask": tf.cast(owners > _PADDING, tf.int32),
            }
            states = tf.cast(encoder(fields, training=False), tf.float32)  # [B, L, D]
            flat = tf.reshape(states, [-1, self._width])
            return pool(flat, tf.reshape(owners, [-1]), count)  # [N, D]

        vectors.get_concrete_function()  # Now: it is called in threads.
        self._vectors = vectors

    def __call__(self, documents: Sequence[Sequence[inputs.Ids]]) -> list[Vectors]:
        """Returns the vectors of each document's sentences, in their order.

        Args:
            documents: int32 token ids of each sentence, without special tokens; at
                least one token each.
        """
        rows = [*self._rows(documents)]
        sizes = [len(sentences) for sentences in documents]
        found = np.zeros((sum(sizes), self._width), np.float32)
        order = sorted(range(len(rows)), key=lambda place: -len(rows[place].token_ids))
        run = functools.partial(self._run, rows)
        # As they come back: two batches are under way at once.
        for numbers, vectors in predicting.side_by_side(run, _batches(rows, order)):
            found[numbers] = vectors
        return np.split(found, np.cumsum(sizes)[:-1]) if sizes else []

    def _run(
        self, rows: list[_Row], places: list[int]
    ) -> tuple[npt.NDArray[np.int64], Vectors]:
        """Returns which sentences some rows have, of all, and their vectors."""
        length = inputs.rounded_up(max(len(rows[place].token_ids) for place in places))
        length = min(length, self._frame.length)
        token_ids = np.zeros((len(places), length), np.int32)
        owners = np.full((len(places), length), _PADDING, np.int32)
        for number, place in enumerate(places):
            row = rows[place]
            token_ids[number, : len(row.token_ids)] = row.token_ids
            owners[number, : len(row.owners)] = row.owners
        numbers, local = np.unique(owners, return_inverse=True)
        local = local.reshape(owners.shape).astype(np.int32)
        first = int(np.searchsorted(numbers, 0))  # Before them, what has no owner.
        marks = np.where(owners < 0, owners, local - first)
        count = len(numbers) - first
        vectors = self._vectors(
            tf.constant(token_ids), tf.constant(marks), tf.constant(count)
        )
        return numbers[first:].astype(np.int64), vectors.numpy()

    def _rows(self, documents: Sequence[Sequence[inputs.Ids]]) -> Iterator[_Row]:
        room = inputs.room(self._frame, 1)
        before = 0
        for sentences in documents:
            held: list[tuple[int, inputs.Ids]] = []
            size = 0
            for number, ids in enumerate(sentences, before):
                ids = ids[:room]
                if held and (not self._context or size + len(ids) > room):
                    yield self._row(held)
                    held, size = [], 0
                held.append((number, ids))
                size += len(ids)
            if held:
                yield self._row(held)
            before += len(sentences)

    def _row(self, held: list[tuple[int, inputs.Ids]]) -> _Row:
        frame = self._frame
        size = sum(len(ids) for _, ids in held)
        token_ids = np.empty(size + 2, np.int32)
        token_ids[0], token_ids[-1] = frame.cls_id, frame.sep_id
        token_ids[1:-1] = np.concatenate([ids for _, ids in held])
        owners = np.full(size + 2, _NONE, np.int32)
        if self._pooling == "cls":
            owners[0] = held[0][0]
        else:
            lengths = [len(ids) for _, ids in held]
            owners[1:-1] = np.repeat([number for number, _ in held], lengths)
        return _Row(token_ids, owners)


# Owners that are no sentence: of [CLS] and [SEP]; of padding, which is not seen.
_NONE, _PADDING = -1, -2


def _states(
    backbone: backbones.ElectraBackbone, layer: int | None
) -> keras.KerasTensor:
    """Returns the states of a layer, symbolic: [B, L, D]."""
    count = backbone.model_config.num_layers
    if layer is None:
        layer = -(-2 * count // 3)
    if not -count - 1 <= layer <= count:
        raise errors.UserError(
            f"layer={layer}: the encoder has {count} blocks; want 0 to {count}, or -1 "
            f"to {-count - 1} from the end"
        )
    number = layer % (count + 1)
    if number == 0:
        return backbone.get_layer("layer_0").input[0]
    return backbone.get_layer(f"layer_{number - 1}").output


def _batches(rows: list[_Row], order: list[int]) -> Iterator[list[int]]:
    """Yields places of rows of like length, the longest first."""
    places: list[int] = []
    for place in order:
        longest = len(rows[places[0]].token_ids) if places else 0
        if places and longest * (len(places) + 1) > TOKENS_AT_ONCE:
            yield places
            places = []
        places.append(place)
    if places:
        yield places
