"""Texts that belong together get vectors that are near each other.

In:   vectors of the texts of each row, [B, N, D]: a text, what belongs to it, and
      texts that do not; which texts these are, or how alike the first two are.
Out:  a loss a row, float32 [B], in nats.

B rows, N texts a row, D width, C candidates: all texts but the first of all rows, those
of other replicas too.
"""

from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from electra_tf import errors
from electra_tf.tasks import columns, labels

# SimCSE (Gao et al. 2021, table D.1), and the scale of 20 of sentence-transformers.
TEMPERATURE = 0.05

NO_TEXT = -1  # stands for a text in rows that have fewer than others

# Texts are numbered in float32, in which whole numbers end there.
_MOST_TEXTS = 2**24


@keras.saving.register_keras_serializable(package="electra_tf")
class PairLoss(keras.losses.Loss):
    """Tells what belongs to a text from what belongs to others, or ranks pairs.

    Of numbered texts, [B, N], it is the cross-entropy of the second text of a row among
    all candidates (van den Oord et al. 2018; Henderson et al. 2017). No candidate
    counts against a row that is the same text as one of its own, or that belongs to
    the same first text elsewhere in the batch.

    Of scores, [B], a pair should be nearer than each one with a lower score: for each
    row log(1 + sum of exp((cosine of the lower one - its own) / temperature)). Differs
    from CoSENT, which has one logarithm for all rows, in that rows have losses of
    their own, which can be weighed and shared out among replicas.

    Args:
        temperature: by which cosines are divided; higher is more lenient.
    """

    def __init__(
        self,
        temperature: float = TEMPERATURE,
        name: str = "pair_loss",
        reduction: str = "sum_over_batch_size",
        dtype: Any = "float32",
    ) -> None:
        if not 0 < temperature < float("inf"):
            raise errors.UserError(f"temperature={temperature}: want more than 0")
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        self.temperature = temperature

    def call(self, y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        """Returns float32 [B].

        Args:
            y_true: numbers of texts [B, N], `NO_TEXT` where there is none; or scores
                [B] or [B, 1].
            y_pred: vectors [B, N, D], of any length.
        """
        vectors = tf.math.l2_normalize(tf.cast(y_pred, tf.float32), axis=-1)
        y_true = tf.cast(y_true, tf.float32)
        if y_true.shape.rank == 2 and y_true.shape[1] != 1:
            return self._contrast(y_true, vectors)
        return self._rank(tf.reshape(y_true, [-1]), vectors)

    def _contrast(self, texts: tf.Tensor, vectors: tf.Tensor) -> tf.Tensor:
        firsts = texts[:, :1]  # [B, 1]
        belongs = tf.one_hot(tf.zeros_like(texts[:, 0], tf.int32), tf.shape(texts)[1])
        fields = {
            "vectors": vectors[:, 1:],
            "texts": texts[:, 1:],
            "firsts": firsts + 0 * texts[:, 1:],
            "belongs": belongs[:, : tf.shape(texts)[1] - 1],
        }
        all_of = {
            name: _from_all_replicas(_flattened(field))
            for name, field in fields.items()
        }
        near = tf.reduce_sum(vectors[:, 0] * vectors[:, 1], -1)  # [B]
        others = tf.matmul(vectors[:, 0], all_of["vectors"], transpose_b=True)  # [B, C]
        others_of = all_of["texts"]
        belongs_here = (all_of["firsts"] == firsts) & (all_of["belongs"] > 0)  # [B, C]
        same_text = others_of[:, None] == others_of  # [C, C]
        is_right = tf.matmul(_numbers(belongs_here), _numbers(same_text)) > 0  # [B, C]
        is_other = ~is_right & (others_of != firsts) & (others_of != float(NO_TEXT))
        return self._soft(near, others, is_other)

    def _rank(self, scores: tf.Tensor, vectors: tf.Tensor) -> tf.Tensor:
        near = tf.reduce_sum(vectors[:, 0] * vectors[:, 1], -1)  # [B]
        others = _from_all_replicas(near)[None]  # [1, C]
        is_lower = _from_all_replicas(scores)[None] < scores[:, None]  # [B, C]
        return self._soft(near, others, is_lower)

    def _soft(self, near: tf.Tensor, others: tf.Tensor, counts: tf.Tensor) -> tf.Tensor:
        """Returns log(1 + sum of exp((others - near) / temperature)), float32 [B]."""
        apart = (others - near[:, None]) / self.temperature  # [B, C]
        apart = tf.where(counts, apart, -1e9)
        zeros = tf.zeros_like(near)[:, None]
        return tf.reduce_logsumexp(tf.concat([zeros, apart], axis=1), axis=1)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments that make the same loss."""
        return {**super().get_config(), "temperature": self.temperature}


def _numbers(claims: tf.Tensor) -> tf.Tensor:
    return tf.cast(claims, tf.float32)


def _flattened(field: tf.Tensor) -> tf.Tensor:
    """Joins the first two axes: [B, N - 1, ...] to [B * (N - 1), ...]."""
    shape = tf.shape(field)
    return tf.reshape(field, tf.concat([[-1], shape[2:]], axis=0))


def _from_all_replicas(field: tf.Tensor) -> tf.Tensor:
    """Joins a tensor's first axis over the replicas; gradients flow back to each.

    They may have different numbers of rows, in the last batch. Each puts its rows into
    a place of its own, and the sum is what all have; to gather them, they would have to
    be as many on each.
    """
    replica = tf.distribute.get_replica_context()
    if replica is None or replica.num_replicas_in_sync == 1:
        return field
    place = tf.one_hot(
        replica.replica_id_in_sync_group, replica.num_replicas_in_sync
    )  # [R]
    rows = tf.shape(field)[0]
    total = tf.distribute.ReduceOp.SUM
    counts = replica.all_reduce(total, place * tf.cast(rows, tf.float32))
    most = tf.cast(tf.reduce_max(counts), tf.int32)
    rank = field.shape.rank
    padded = tf.pad(field, [[0, most - rows], *[[0, 0]] * (rank - 1)])
    own = tf.reshape(place, [-1, *[1] * rank]) * padded  # [R, most, ...]
    is_real = tf.sequence_mask(tf.cast(counts, tf.int32), most)
    return tf.boolean_mask(replica.all_reduce(total, own), is_real)


def examples(x: Any) -> list[tuple[str, ...]]:
    """Reads texts that belong together, in any of the forms that `fit` takes.

    Args:
        x: tuples of two texts or more; a tuple of columns of them; or texts, each of
            which belongs to itself.

    Raises:
        UserError: it is something else.
    """
    if isinstance(x, tuple) and x:
        if all(isinstance(part, str | bytes) for part in x):
            x = [x]  # one example
        else:
            parts = [columns.values(part, "inputs") for part in x]
            if len({*map(len, parts)}) > 1:
                sizes = " and ".join(str(len(part)) for part in parts)
                raise errors.UserError(f"{sizes} texts; want as many in each column")
            x = list(zip(*parts, strict=True))
    elif isinstance(x, str | bytes):
        x = [x]
    return [_example(value, n) for n, value in enumerate(columns.values(x, "inputs"))]


def with_scores(
    x: Any, y: Any
) -> tuple[list[tuple[str, ...]], npt.NDArray[np.float32] | None]:
    """Reads examples, and the scores of pairs where there are some, float32.

    Args:
        x: see `examples`.
        y: scores; or the texts that belong to those of `x`; or None.

    Raises:
        UserError: they do not fit each other.
    """
    if y is None:
        return examples(x), None
    columns.refuse_streams(x, "inputs")
    given = columns.values(y, "labels")
    if given and all(isinstance(value, str | bytes) for value in given):
        return examples((x, given)), None
    found = examples(x)
    scores = labels.of_inputs(given, len(found))
    if any(len(texts) != 2 for texts in found):
        raise errors.UserError("scores are of pairs; want two texts a score")
    try:
        numbers = np.array(scores, np.float32).reshape(len(found))
    except (TypeError, ValueError):
        raise errors.UserError(
            f"the scores are {given!r:.60}; want a number a pair"
        ) from None
    if not np.isfinite(numbers).all():
        raise errors.UserError("a score is not finite; want a number a pair")
    return found, numbers


def _example(value: Any, number: int) -> tuple[str, ...]:
    texts = (value, value) if isinstance(value, str | bytes) else value
    is_some = isinstance(texts, list | tuple) and len(texts) >= 2
    if not is_some or not all(isinstance(text, str | bytes) for text in texts):
        raise errors.UserError(
            f"input {number} is {value!r:.80}; want a text, or a tuple of two texts or "
            "more: one, what belongs to it, and what does not"
        )
    return tuple(
        text.decode("utf-8", errors="replace") if isinstance(text, bytes) else text
        for text in texts
    )


def numbered(examples: list[tuple[str, ...]]) -> npt.NDArray[np.int32]:
    """Numbers the texts of examples: the same text, the same number.

    Returns:
        int32 [examples, most texts of one], `NO_TEXT` where one has fewer.

    Raises:
        UserError: there are too many different texts.
    """
    places: dict[str, int] = {}
    width = max(map(len, examples), default=2)
    found = np.full((len(examples), width), NO_TEXT, np.int32)
    for row, texts in zip(found, examples, strict=True):
        row[: len(texts)] = [places.setdefault(text, len(places)) for text in texts]
    if len(places) > _MOST_TEXTS:
        raise errors.UserError(
            f"{len(places):,} different texts are too many for one run; give at most "
            f"{_MOST_TEXTS:,}"
        )
    return found
