"""Cuts documents into examples and packs the examples into rows of one length.

In:   token_ids and sentence_lengths of a block of documents, ragged.
Out:  token_ids, segment_ids, example_ids, position_ids [R, L], rows in random order.

D documents, T tokens of a block, N examples, S the most tokens in an example,
R rows, L tokens per row. The number of graph steps depends on L, never on D.
"""

from typing import NamedTuple

import tensorflow as tf

# The last example of a document takes tokens from the one before to have as many.
_TAIL_TOKENS = 5


class Examples(NamedTuple):
    """Where examples lie in a block: A is [start, split), B is [split, end)."""

    start: tf.Tensor  # int32 [N]
    split: tf.Tensor  # int32 [N], equal to end where there is no B
    end: tf.Tensor  # int32 [N]

    def lengths(self) -> tf.Tensor:
        """Returns int32 [N]: tokens of `[CLS] A [SEP] (B [SEP])`."""
        num_special = 2 + tf.cast(self.split < self.end, tf.int32)
        return self.end - self.start + num_special


class Places(NamedTuple):
    """Which row each example is in, and where it begins there."""

    row: tf.Tensor  # int32 [N]
    offset: tf.Tensor  # int32 [N]
    num_rows: tf.Tensor  # int32 []


class PackedRows(NamedTuple):
    """Rows of one or more examples each."""

    token_ids: tf.Tensor  # int32 [R, L], 0 = padding
    segment_ids: tf.Tensor  # int32 [R, L], 0 for [CLS] A [SEP], 1 for B [SEP]
    example_ids: tf.Tensor  # int32 [R, L], 1... within a row, 0 = padding
    position_ids: tf.Tensor  # int32 [R, L], restart at 0 with every example


def pack_documents(
    token_ids: tf.RaggedTensor,
    sentence_lengths: tf.RaggedTensor,
    *,
    example_tokens: int,
    row_tokens: int,
    single_segment_rate: float,
    short_example_rate: float,
    cls_id: int,
    sep_id: int,
    seed: tf.Tensor,
) -> PackedRows:
    """Turns a block of documents into rows, every token once.

    Args:
        token_ids: int [D, (tokens)], the documents without special tokens.
        sentence_lengths: int [D, (sentences)], tokens of each sentence.
        example_tokens: S, special tokens included; at least 5.
        row_tokens: L, at least S.
        single_segment_rate: share of the examples that have no segment B.
        short_example_rate: share of the examples cut to a random shorter length.
        cls_id: id of [CLS].
        sep_id: id of [SEP].
        seed: int32 [2]; the same seed gives the same rows.
    """
    cut_seed, row_seed = tf.unstack(tf.random.split(seed, 2))
    sentence_ends = tf.cumsum(tf.cast(sentence_lengths.flat_values, tf.int32))
    examples = cut_documents(
        tf.cast(token_ids.row_splits, tf.int32),
        tf.concat([[0], sentence_ends], axis=0),
        example_tokens=example_tokens,
        single_segment_rate=single_segment_rate,
        short_example_rate=short_example_rate,
        seed=cut_seed,
    )
    places = place_examples(examples.lengths(), row_tokens)
    noise = tf.random.stateless_uniform([places.num_rows], row_seed)
    shuffled = places._replace(row=tf.gather(tf.argsort(noise), places.row))
    return fill_rows(
        tf.cast(token_ids.flat_values, tf.int32),
        examples,
        shuffled,
        row_tokens=row_tokens,
        cls_id=cls_id,
        sep_id=sep_id,
    )


def cut_documents(
    document_splits: tf.Tensor,
    sentence_splits: tf.Tensor,
    *,
    example_tokens: int,
    single_segment_rate: float,
    short_example_rate: float,
    seed: tf.Tensor,
) -> Examples:
    """Cuts every document into examples of S tokens at most, losing nothing.

    An example's content is what S leaves beside its special tokens. As in the 2020
    code: some examples have one segment, and some are cut to a length drawn from
    [5, S]. Differs from the 2020 code, which drops what exceeds S: here it begins the
    next example. No example is a tail of a token or two.

    Args:
        document_splits: int32 [D + 1], where documents begin in the block's tokens.
        sentence_splits: int32 [K + 1], the same for sentences.
        example_tokens: S.
        single_segment_rate: share of the examples that have no segment B.
        short_example_rate: share of the examples cut to a random shorter length.
        seed: int32 [2].
    """
    ruler_seed, side_seed = tf.unstack(tf.random.split(seed, 2))
    lengths = document_splits[1:] - document_splits[:-1]  # [D]

    # Examples end where a random ruler has its marks. Each document is laid on the one
    # ruler, further on than the last: so it takes no loop, and that neighbours may
    # share a few marks does no harm. Marks are 2 apart or more: none runs off the end.
    first_mark = tf.cumsum(lengths // (example_tokens - 3) + 1)  # [D]
    ruler, is_single = _mark_ruler(
        first_mark[-1] + tf.reduce_max(lengths) // 2 + 2,
        example_tokens,
        single_segment_rate,
        short_example_rate,
        ruler_seed,
    )  # [M]
    origin = tf.gather(ruler, first_mark)  # [D]
    counts = tf.searchsorted(ruler, origin + lengths) - first_mark  # [D]

    ends = tf.cumsum(counts)  # [D]
    example = tf.range(ends[-1])  # [N]
    document = tf.searchsorted(ends, example, side="right")  # [N]
    nth = example - tf.gather(ends - counts, document)  # [N], within its document
    mark = nth + tf.gather(first_mark, document)
    shift = tf.gather(document_splits[:-1] - origin, document)
    document_end = tf.gather(document_splits, document + 1)

    start = tf.gather(ruler, mark) + shift
    previous = tf.gather(ruler, mark - 1) + shift
    is_last = tf.equal(example + 1, tf.gather(ends, document))
    longer = tf.maximum(
        document_end - min(_TAIL_TOKENS, example_tokens - 3),
        (previous + start + 1) // 2,
    )
    start = tf.where(is_last & (nth > 0), tf.minimum(start, longer), start)
    end = tf.where(is_last, document_end, tf.roll(start, -1, axis=0))

    middle = _find_middle(start, end, sentence_splits, side_seed)
    has_one = tf.gather(is_single, mark) | (end - start < 2)
    return Examples(start, tf.where(has_one, end, middle), end)


def place_examples(lengths: tf.Tensor, row_tokens: int) -> Places:
    """Packs examples into few rows: best fit, longest first.

    Examples of one length are placed at once, so this takes at most L rounds. The
    fullest row that an example fits into still is the fullest after taking it, so best
    fit fills the rows up from the fullest to the emptiest, unused ones last.

    Args:
        lengths: int32 [N], special tokens included; none above L.
        row_tokens: L.
    """
    order = tf.argsort(lengths, direction="DESCENDING", stable=True)  # [N]
    descending = tf.gather(lengths, order)
    num_full = tf.reduce_sum(tf.cast(tf.equal(lengths, row_tokens), tf.int32))
    rest = descending[num_full:]
    counts = tf.math.bincount(rest, minlength=row_tokens + 1)  # [L + 1]
    present = tf.reverse(tf.cast(tf.where(counts > 0)[:, 0], tf.int32), [0])  # [U]

    def place_one_length(
        i: tf.Tensor, room: tf.Tensor, rows: tf.Tensor, offsets: tf.Tensor
    ) -> tuple[tf.Tensor, ...]:
        length, count = present[i], counts[present[i]]
        nth = tf.range(count)  # [C]
        by_room = tf.argsort(room, stable=True)  # [R], fullest first
        has_room = tf.gather(room, by_room)
        takes = has_room // length  # [R]
        upto = tf.cumsum(takes)
        which = tf.searchsorted(upto, nth, side="right")  # [C]
        row = tf.gather(by_room, which)
        already = (nth - tf.gather(upto - takes, which)) * length
        offset = row_tokens - tf.gather(has_room, which) + already
        return (
            i + 1,
            tf.tensor_scatter_nd_sub(room, row[:, None], tf.fill([count], length)),
            tf.concat([rows, num_full + row], axis=0),
            tf.concat([offsets, offset], axis=0),
        )

    # Of two rows in use, the later holds only what did not fit into the earlier: so
    # they are more than half full on average, and this many are enough.
    most_rows = 2 * tf.reduce_sum(rest) // row_tokens + 2
    _, room, row, offset = tf.while_loop(
        lambda i, *_: i < tf.size(present),
        place_one_length,
        [
            0,
            tf.fill([most_rows], row_tokens),
            tf.range(num_full),
            tf.zeros([num_full], tf.int32),
        ],
        shape_invariants=[tf.TensorShape([])] + 3 * [tf.TensorShape([None])],
    )
    back = order[:, None]
    return Places(
        row=tf.scatter_nd(back, row, tf.shape(lengths)),
        offset=tf.scatter_nd(back, offset, tf.shape(lengths)),
        num_rows=num_full + tf.reduce_sum(tf.cast(room < row_tokens, tf.int32)),
    )


def fill_rows(
    token_ids: tf.Tensor,
    examples: Examples,
    places: Places,
    *,
    row_tokens: int,
    cls_id: int,
    sep_id: int,
) -> PackedRows:
    """Writes the examples into their rows.

    Args:
        token_ids: int32 [T].
        examples: N of them, in any order.
        places: of each example.
        row_tokens: L.
        cls_id: id of [CLS].
        sep_id: id of [SEP].
    """
    begins = places.row * row_tokens + places.offset  # [N], in the flattened rows
    order = tf.argsort(begins)
    shape = [places.num_rows, row_tokens]
    is_begin = tf.scatter_nd(
        begins[:, None], tf.ones_like(begins), [places.num_rows * row_tokens]
    )
    # Every place of every row looks up its own token: no loop over examples or rows.
    nth = tf.reshape(tf.cumsum(is_begin) - 1, shape)  # [R, L], the example there

    def spread(values: tf.Tensor) -> tf.Tensor:
        return tf.gather(tf.gather(values, order), nth)  # [R, L]

    flat = tf.reshape(tf.range(places.num_rows * row_tokens), shape)
    position = flat - spread(begins)
    length = spread(examples.lengths())
    size_a = spread(examples.split - examples.start)
    is_real = position < length
    is_b = position > size_a + 1
    source = spread(examples.start) + position - 1 - tf.cast(is_b, tf.int32)
    is_sep = tf.equal(position, size_a + 1) | tf.equal(position, length - 1)
    tokens = tf.gather(token_ids, tf.clip_by_value(source, 0, tf.size(token_ids) - 1))
    tokens = tf.where(is_sep, sep_id, tf.where(tf.equal(position, 0), cls_id, tokens))
    real = tf.cast(is_real, tf.int32)
    return PackedRows(
        token_ids=tokens * real,
        segment_ids=tf.cast(is_b, tf.int32) * real,
        example_ids=(nth - nth[:, :1] + 1) * real,
        position_ids=position * real,
    )


def _mark_ruler(
    num_marks: tf.Tensor,
    example_tokens: int,
    single_segment_rate: float,
    short_example_rate: float,
    seed: tf.Tensor,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Draws where examples end, int32 [M], and whether they have A alone, bool [M]."""
    seeds = tf.unstack(tf.random.split(seed, 3))
    is_single = tf.random.stateless_uniform([num_marks], seeds[0]) < single_segment_rate
    is_short = tf.random.stateless_uniform([num_marks], seeds[1]) < short_example_rate
    short = tf.random.stateless_uniform(
        [num_marks], seeds[2], 5, example_tokens + 1, dtype=tf.int32
    )
    content = tf.where(is_short, short, example_tokens) - tf.where(is_single, 2, 3)
    return tf.cumsum(content, exclusive=True), is_single


def _find_middle(
    start: tf.Tensor, end: tf.Tensor, sentence_splits: tf.Tensor, seed: tf.Tensor
) -> tf.Tensor:
    """Finds where B begins, int32 [N]: between two sentences if an example has two.

    As in the 2020 code, the sentence that crosses the middle goes to A or B by the toss
    of a coin, and neither is empty.
    """
    middle = start + (end - start) // 2
    sentence = tf.searchsorted(sentence_splits, middle, side="right") - 1  # [N]
    before = tf.gather(sentence_splits, sentence)
    after = tf.gather(sentence_splits, sentence + 1)
    heads = tf.random.stateless_uniform(tf.shape(start), seed) < 0.5
    take_before = (before > start) & (heads | (after >= end))
    return tf.where(take_before, before, tf.where(after < end, after, middle))
