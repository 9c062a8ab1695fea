"""What `inputs` does with texts, inside a TensorFlow graph: for serving.

In:   strings [N], or pairs of them.
Out:  rows, int32 [R, L]; more rows than texts where long ones become windows. And back:
      what the model says of rows becomes what it says of texts, or of their tokens.

Written twice, as a server has no Python, and Python no time for a graph: a test holds
both equal (D49). N texts, R rows, L tokens per row, T tokens of all texts.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import tensorflow as tf

from electra_tf.serving import saved_model
from electra_tf.tasks import graph_tokenizer, inputs, preprocessor

# Tokens that the network is given at once, and how many such turns at a time: a text of
# a megabyte has thousands of rows (measured, docs/decisions, D14 and D16).
TOKENS_A_TURN = 256
TURNS_AT_ONCE = 16

# Of a text that is cut off, so many bytes are read for each token that a row has room
# for, at least so many; and if these turn out to be too few, the whole of it.
START_BYTES_A_TOKEN = 16
LEAST_START_BYTES = 4096
# At their end tokens may be others than in the whole: so far as a word reaches that has
# a token of its own, and more.
UNSURE_CHARACTERS = 256

# An answer of a place for each token has rows as long as the longest; more places than
# so many are refused, before they are computed.
MOST_PLACES = 2**24

STRINGS = tf.TensorSpec([None], tf.string)

# What the encoder takes.
ROWS = {
    name: tf.TensorSpec([None, None], tf.int32)
    for name in ("token_ids", "segment_ids", "padding_mask")
}

Outputs = Any  # tensors [R, ...] in the model's own structure


class Rows(NamedTuple):
    """What the encoder is given: see `inputs.Rows`.

    Of a pair, the second text is what slides and what places are about.
    """

    token_ids: tf.Tensor  # int32 [R, L]
    segment_ids: tf.Tensor  # int32 [R, L]
    padding_mask: tf.Tensor  # int32 [R, L]
    source: tf.Tensor  # int64 [R], which text each row is of, ascending
    starts: tf.Tensor  # int64 [R], the first token that each has of its text
    counts: tf.Tensor  # int64 [R], how many it has
    at: tf.Tensor  # int64 [R], where in the row they begin
    first: tf.Tensor  # int64 [N], where each text begins among the tokens of all
    num_tokens: tf.Tensor  # int64 [N], of each text
    truncated: tf.Tensor  # bool [N], which lost tokens

    def fields(self) -> dict[str, tf.Tensor]:
        """Returns what the encoder takes."""
        return {name: getattr(self, name) for name in ROWS}


class Preprocessor:
    """Does in a graph what `preprocessor.ElectraTextPreprocessor` does in Python."""

    def __init__(
        self,
        before: preprocessor.ElectraTextPreprocessor,
        long_texts: inputs.LongTexts | None = None,
    ) -> None:
        words = before.tokenizer
        self.frame, self.truncate = before.frame, before.truncate
        self.long_texts = long_texts or before.long_texts
        self.stride = before.stride
        encode = graph_tokenizer.GraphTokenizer(
            words.get_vocabulary(), words.tokenizer_config
        ).encode_with_offsets
        self._continues = [token.startswith("##") for token in words.get_vocabulary()]
        # One function of the graph, however many signatures call it.
        self.encode = tf.function(encode, input_signature=[STRINGS], autograph=False)
        self.encode_start = tf.function(
            self._encode_start, input_signature=[STRINGS], autograph=False
        )

    def rows(
        self,
        firsts: tf.Tensor,
        seconds: tf.Tensor | None = None,
        has_second: tf.Tensor | None = None,
    ) -> Rows:
        """Turns texts, or pairs, string [N], into rows.

        Args:
            firsts: the texts.
            seconds: the second ones of pairs.
            has_second: bool [N]; which are pairs, where not all are.
        """
        all_of_it = self.long_texts == "windows"
        # Of a pair the second text slides, and the first one is cut off.
        first = self._ids(
            firsts, all_of_it and (seconds is None or has_second is not None)
        )
        pairs = None if seconds is None else self._ids(seconds, all_of_it)
        return self.frame_rows(first, pairs, has_second)

    def _ids(self, texts: tf.Tensor, all_of_it: bool) -> tf.RaggedTensor:
        return self.encode(texts).ids if all_of_it else self.encode_start(texts)

    def _encode_start(self, texts: tf.Tensor) -> tf.RaggedTensor:
        """Returns the tokens of string [N] that a row has room for, and one more.

        Without those of the rest of a long text: a megabyte has half a million.
        """
        least = self.frame.length + 1
        num_bytes = max(LEAST_START_BYTES, START_BYTES_A_TOKEN * least)
        is_cut = tf.strings.length(texts) > num_bytes

        def of_starts() -> tuple[tf.Tensor, tf.Tensor]:
            found = self.encode(tf.strings.substr(texts, 0, num_bytes))
            lacking = is_cut & (self._count_sure(found) < least)
            number = found.ids.nrows() + tf.cumsum(tf.cast(lacking, tf.int64)) - 1
            others = self.encode(tf.boolean_mask(texts, lacking)).ids
            ids = tf.gather(
                tf.concat([found.ids, others], axis=0),
                tf.where(lacking, number, tf.range(found.ids.nrows())),
            )
            return ids.values, ids.row_splits

        def of_all() -> tuple[tf.Tensor, tf.Tensor]:
            ids = self.encode(texts).ids
            return ids.values, ids.row_splits

        values, splits = tf.cond(tf.reduce_any(is_cut), of_starts, of_all)
        row = graph_tokenizer.row_ids(splits)
        kept = tf.range(tf.size(row, tf.int64)) - tf.gather(splits, row) < least
        lengths = tf.minimum(splits[1:] - splits[:-1], least)
        return tf.RaggedTensor.from_row_lengths(values[kept], lengths)

    def _count_sure(self, found: graph_tokenizer.GraphTokens) -> tf.Tensor:
        """Returns how many tokens of texts would be the same, did the texts go on."""
        ids, num_texts = found.ids, found.ids.nrows()
        row = graph_tokenizer.row_ids(ids.row_splits)
        place = tf.range(tf.size(row, tf.int64)) - tf.gather(ids.row_starts(), row)
        begins = ~tf.gather(tf.constant(self._continues), ids.values)
        last_word = tf.math.unsorted_segment_max(
            tf.where(begins, place, 0), row, num_texts
        )
        end = tf.math.unsorted_segment_max(found.ends.values, row, num_texts)
        is_sure = found.ends.values <= tf.gather(end, row) - UNSURE_CHARACTERS
        num_sure = tf.math.unsorted_segment_sum(
            tf.cast(is_sure, tf.int64), row, num_texts
        )
        return tf.maximum(tf.minimum(last_word, num_sure), 0)

    def frame_rows(
        self,
        firsts: tf.RaggedTensor,
        seconds: tf.RaggedTensor | None = None,
        has_second: tf.Tensor | None = None,
    ) -> Rows:
        """Does the same to token ids, int32 [N, (tokens)]."""
        return frame_texts(
            firsts,
            seconds,
            self.frame,
            self.truncate,
            self.long_texts,
            self.stride,
            has_second,
        )


def frame_texts(
    firsts: tf.RaggedTensor,
    seconds: tf.RaggedTensor | None,
    frame: inputs.Frame,
    truncate: str = "round_robin",
    long_texts: inputs.LongTexts = "truncate",
    stride: int | None = None,
    has_second: tf.Tensor | None = None,
) -> Rows:
    """Puts [CLS] and [SEP] around texts: see `inputs.frame_texts`."""
    values, begin, size = firsts.values, firsts.row_starts(), firsts.row_lengths()
    head_begin, head_size = begin, tf.zeros_like(size)
    paired = tf.zeros_like(size)  # 1 where there is a second text
    if seconds is not None:
        is_pair = tf.ones_like(size, tf.bool) if has_second is None else has_second
        paired = tf.cast(is_pair, tf.int64)
        head_size = size * paired
        size = tf.where(is_pair, seconds.row_lengths(), size)
        after = tf.size(values, tf.int64)
        begin = tf.where(is_pair, seconds.row_starts() + after, begin)
        values = tf.concat([values, seconds.values], 0)

    room = frame.length - 2 - paired  # [N]
    num_texts = tf.size(size, tf.int64)
    if long_texts == "windows":
        head = tf.minimum(head_size, tf.maximum(room // 2, room - size))
        space = room - head
        step = tf.maximum(tf.minimum(space, stride or space // 2), 1)
        last = tf.maximum(size - space, 0)
        windows = -(-last // step) + 1
        splits = tf.pad(tf.cumsum(windows), [[1, 0]])
        source = graph_tokenizer.row_ids(splits)
        before = tf.gather(splits, source)
        number = tf.range(tf.size(source, tf.int64)) - before
        starts = tf.minimum(number * tf.gather(step, source), tf.gather(last, source))
        kept = tf.minimum(size, space)
        truncated = head < head_size
    else:
        least = room // 2 if truncate == "round_robin" else 0
        kept = tf.minimum(size, tf.maximum(room - head_size, least))
        head = tf.minimum(head_size, room - kept)
        source, starts = tf.range(num_texts), tf.zeros_like(size)
        truncated = (head < head_size) | (kept < size)

    at = 1 + tf.gather(head + paired, source)
    counts = tf.gather(kept, source)
    ids, widths = _laid_out(
        values,
        frame,
        tf.gather(head_begin, source),
        at,
        tf.gather(begin, source) + starts,
        counts,
    )
    place = tf.range(tf.shape(ids, tf.int64)[1])
    real = place < widths[:, None]  # [R, L]
    second = real & (place >= at[:, None]) & (tf.gather(paired, source) > 0)[:, None]
    return Rows(
        ids,
        tf.cast(second, tf.int32),
        tf.cast(real, tf.int32),
        source,
        starts,
        counts,
        at,
        tf.cumsum(size, exclusive=True),
        size,
        truncated,
    )


def _laid_out(
    values: tf.Tensor,
    frame: inputs.Frame,
    head: tf.Tensor,
    at: tf.Tensor,
    text: tf.Tensor,
    counts: tf.Tensor,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns rows int32 [R, L], padded to the longest, rounded up, and their lengths.

    Args:
        values: int32, tokens.
        frame: special tokens, and the longest row.
        head: int64 [R], where in `values` the text before the last one begins.
        at: int64 [R], where in the row the last one begins.
        text: int64 [R], where in `values` it does.
        counts: int64 [R], how many tokens it has.
    """
    widths = at + counts + 1
    longest = tf.reduce_max(tf.concat([widths, [1]], 0))  # There may be no rows.
    width = tf.minimum(inputs.round_up(longest), frame.length)
    place = tf.range(tf.constant(frame.length, tf.int64) if frame.is_fixed else width)
    place = place[None]
    cls = tf.size(values, tf.int64)
    sep, pad = cls + 1, cls + 2
    at, end = at[:, None], (at + counts)[:, None]
    chosen = tf.where(place == end, sep, pad)
    chosen = tf.where(place < end, text[:, None] + place - at, chosen)
    chosen = tf.where(place == at - 1, sep, chosen)
    chosen = tf.where(place < at - 1, head[:, None] + place - 1, chosen)
    chosen = tf.where(place == 0, cls, chosen)
    # Tokens, [CLS], [SEP] and padding lie in one table: one look-up makes the rows.
    special = tf.constant([frame.cls_id, frame.sep_id, 0], tf.int32)
    return tf.gather(tf.concat([values, special], 0), chosen), widths


def run(function: Any, rows: dict[str, tf.Tensor]) -> Outputs:
    """Runs a model over rows in turns, several of them side by side.

    Most operations are too short to be shared out over cores, and turns have no need to
    wait for each other (D25).

    Args:
        function: a tf.function with an input signature: the fields of rows to outputs.
        rows: tensors [R, ...] by name.
    """
    shapes = function.get_concrete_function().structured_outputs
    shape = tf.shape(rows["token_ids"])
    count, length = shape[0], shape[1]
    size = tf.maximum(TOKENS_A_TURN // tf.maximum(length, 1), 1)  # rows per turn
    # At least once, for the shapes of what nothing comes of.
    turns = tf.maximum(1, -(-count // size))
    arrays = [
        tf.TensorArray(one.dtype, turns, infer_shape=False, element_shape=one.shape)
        for one in tf.nest.flatten(shapes)
    ]

    def turn(number: tf.Tensor, arrays: list[tf.TensorArray]) -> Any:
        low = number * size
        high = tf.minimum(count, low + size)
        found = function({name: field[low:high] for name, field in rows.items()})
        pairs = zip(arrays, tf.nest.flatten(found), strict=True)
        return number + 1, [array.write(number, one) for array, one in pairs]

    _, arrays = tf.while_loop(
        lambda number, _: number < turns,
        turn,
        (0, arrays),
        parallel_iterations=TURNS_AT_ONCE,
    )
    return tf.nest.pack_sequence_as(shapes, [array.concat() for array in arrays])


def run_alike(
    function: Any, rows: dict[str, tf.Tensor], is_fixed: bool = False
) -> tf.Tensor:
    """Does as `run`, rows of like length together, so that little padding is read.

    Args:
        function: as of `run`; its output is a tensor that has no length axis.
        rows: as of `run`.
        is_fixed: whether all are to stay as long as they are.
    """
    if is_fixed:
        return run(function, rows)
    lengths = tf.reduce_sum(rows["padding_mask"], axis=1)
    order = tf.argsort(lengths)

    def trimmed(chunk: dict[str, tf.Tensor]) -> tf.Tensor:
        longest = tf.reduce_max(tf.reduce_sum(chunk["padding_mask"], axis=1))
        width = inputs.round_up(tf.maximum(longest, 1))  # There may be no rows.
        return function({name: field[:, :width] for name, field in chunk.items()})

    found = run(
        tf.function(trimmed, input_signature=[ROWS], autograph=False),
        {name: tf.gather(field, order) for name, field in rows.items()},
    )
    return tf.gather(found, tf.math.invert_permutation(order))


def mean_over_windows(outputs: tf.Tensor, rows: Rows) -> tf.Tensor:
    """Averages [R, ...] over the rows of each text: [N, ...]."""
    return tf.math.unsorted_segment_mean(outputs, rows.source, tf.size(rows.num_tokens))


def best_places(rows: Rows) -> tuple[tf.Tensor, tf.Tensor]:
    """Finds where each token has most context: see `inputs.best_places`.

    Returns:
        Row and position, int64 [T]; -1 and 0 where the token was cut off.
    """
    place = tf.ragged.range(rows.counts)  # [R, (tokens)]
    row = graph_tokenizer.row_ids(place.row_splits)
    context = tf.minimum(place.values, tf.gather(rows.counts, row) - 1 - place.values)
    num_rows = place.nrows()
    begin = tf.gather(rows.first, rows.source) + rows.starts
    # Of equals the first row: one number holds both.
    best = tf.math.unsorted_segment_max(
        context * num_rows + (num_rows - 1 - row),
        tf.gather(begin, row) + place.values,
        tf.reduce_sum(rows.num_tokens),
    )
    row = tf.where(best >= 0, num_rows - 1 - best % tf.maximum(num_rows, 1), -1)
    at = rows.at - begin
    of_all = tf.range(tf.size(best, tf.int64))
    position = of_all + tf.gather(at, tf.maximum(row, 0))
    return row, tf.where(row >= 0, position, 0)


def at_places(outputs: tf.Tensor, places: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
    """Takes from [R, L, ...] what stands at rows and positions; of row -1, of row 0."""
    row, position = places
    return tf.gather_nd(outputs, tf.stack([tf.maximum(row, 0), position], axis=-1))


def bounded(values: tf.RaggedTensor, places: int = 1) -> tf.RaggedTensor:
    """Refuses what would make an answer of more than MOST_PLACES.

    Args:
        values: [N, (values)], of which each text gets so many as the longest has.
        places: of the answer, for each of them.

    Returns:
        The same; a request that is too large fails before more is made of it.
    """
    longest = tf.reduce_max(tf.concat([values.row_lengths(), [0]], 0))
    refused = tf.debugging.assert_less_equal(
        values.nrows() * longest * places,
        tf.constant(MOST_PLACES, tf.int64),
        "the texts of this request, each taken as long as the longest, are too much: "
        "ask for the long ones apart",
    )
    with tf.control_dependencies([refused]):
        return values.with_values(tf.identity(values.values))


def pieces(values: tf.RaggedTensor, size: int) -> tuple[tf.Tensor, tf.RaggedTensor]:
    """Cuts rows of values [R, (values)] into pieces of `size` values at most.

    Returns:
        Of each piece its row, int64 [pieces], and its values, [pieces, (values)].
    """
    lengths = values.row_lengths()
    counts = -(-lengths // size)
    splits = tf.pad(tf.cumsum(counts), [[1, 0]])
    row = graph_tokenizer.row_ids(splits)
    number = tf.range(tf.size(row, tf.int64)) - tf.gather(splits, row)
    kept = tf.minimum(tf.gather(lengths, row) - number * size, size)
    return row, tf.RaggedTensor.from_row_lengths(values.values, kept)


class Words(NamedTuple):
    """Texts, split at whitespace; a word covers the characters from start to end."""

    words: tf.RaggedTensor  # string [N, (words)]
    starts: tf.RaggedTensor  # int32 [N, (words)]
    ends: tf.RaggedTensor  # int32 [N, (words)]


def split_words(texts: tf.Tensor) -> Words:
    """Splits string [N] as Python's str.split does."""
    codes = tf.strings.unicode_decode(texts, "UTF-8")  # [N, (characters)]
    is_space = tf.reduce_any(tf.equal(codes.values[:, None], _SPACES), axis=-1)
    text = graph_tokenizer.row_ids(codes.row_splits)
    place = tf.ragged.range(codes.row_lengths(), dtype=tf.int64).values
    letters, place = graph_tokenizer.runs(codes.values, text, ~is_space, place)
    first = letters.row_starts()
    start = tf.cast(tf.gather(place, first), tf.int32)
    words = tf.RaggedTensor.from_value_rowids(
        tf.strings.unicode_encode(letters, "UTF-8"),
        tf.gather(text[~is_space], first),
        codes.nrows(),
    )
    size = tf.cast(letters.row_lengths(), tf.int32)
    return Words(words, words.with_values(start), words.with_values(start + size))


# All are in the first planes; 29 of them.
_SPACES = [code for code in range(0x10000) if chr(code).isspace()]


def with_a_column(token_ids: tf.Tensor) -> tf.Tensor:
    """Returns int32 [R, L] as it is; a request of rows without tokens is refused."""
    refused = tf.debugging.assert_positive(
        tf.shape(token_ids)[1], "token_ids has no column: a row begins with [CLS]"
    )
    with tf.control_dependencies([refused]):
        return tf.identity(token_ids)


def rows_of_ids(
    token_ids: tf.Tensor, segment_ids: tf.Tensor, frame: inputs.Frame
) -> dict[str, tf.Tensor]:
    """Returns what the encoder takes, of rows that were made elsewhere.

    Padding is 0, or [CLS] further on: a server that makes requests of several lengths
    into one batch repeats their first value.

    Args:
        token_ids: int32 [R, L].
        segment_ids: int32 [R, L].
        frame: the special tokens.
    """
    further_on = tf.range(tf.shape(token_ids)[1]) > 0
    is_padding = (token_ids == 0) | ((token_ids == frame.cls_id) & further_on)
    return {
        "token_ids": token_ids,
        "segment_ids": segment_ids,
        "padding_mask": tf.cast(~is_padding, tf.int32),
    }


# The signatures that tasks have alike.

EXAMPLE = "The quick brown fox jumps over the lazy dog."


def of_text(
    function: Callable[..., saved_model.Tensors], example: str = EXAMPLE
) -> saved_model.Signature:
    """Returns the signature of a function that takes `text`, string [N]."""
    return saved_model.Signature(function, {"text": STRINGS}, {"text": example})


def of_token_ids(
    model: Any, answer: Callable[..., saved_model.Tensors]
) -> saved_model.Signature:
    """Returns the signature of rows that were made elsewhere.

    Args:
        model: a task.
        answer: turns the model's outputs into tensors by name.
    """
    frame = model.preprocessor.frame

    def function(token_ids: tf.Tensor, segment_ids: tf.Tensor) -> saved_model.Tensors:
        rows = rows_of_ids(with_a_column(token_ids), segment_ids, frame)
        return answer(run(model.forward(), rows))

    def whole(token_ids: tf.Tensor, segment_ids: tf.Tensor) -> saved_model.Tensors:
        return answer(model.forward()(rows_of_ids(token_ids, segment_ids, frame)))

    ids = [frame.cls_id, frame.sep_id]
    if frame.is_fixed:
        ids += [0] * (frame.length - len(ids))
    spec = tf.TensorSpec([None, len(ids) if frame.is_fixed else None], tf.int32)
    return saved_model.Signature(
        function,
        {"token_ids": spec, "segment_ids": spec},
        {"token_ids": ids, "segment_ids": [0] * len(ids)},
        whole=whole,
    )


def of_texts(
    model: Any,
    before: Preprocessor,
    answer: Callable[[tf.Tensor], saved_model.Tensors],
) -> dict[str, saved_model.Signature]:
    """Returns the signatures of a task with one answer per text, or per pair.

    Args:
        model: the task; its outputs are [R, ...].
        before: its preprocessor.
        answer: turns outputs [N, ...] into tensors by name.
    """

    def ask(rows: Rows) -> saved_model.Tensors:
        outputs = run_alike(model.forward(), rows.fields(), before.frame.is_fixed)
        outputs = mean_over_windows(outputs, rows)
        return {**answer(outputs), "truncated": rows.truncated}

    return {
        saved_model.DEFAULT: of_text(lambda text: ask(before.rows(text))),
        "pairs": saved_model.Signature(
            lambda text, text_pair: ask(before.rows(text, text_pair)),
            {"text": STRINGS, "text_pair": STRINGS},
            {"text": EXAMPLE, "text_pair": EXAMPLE},
        ),
        "tokens": of_token_ids(model, answer),
    }


def of_examples(
    model: Any,
    before: Preprocessor,
    answer: Callable[[tf.Tensor], saved_model.Tensors],
    api: str,
) -> saved_model.Signature:
    """Returns the signature of serialized tf.train.Examples, for Classify or Regress.

    An example has a feature `text`, and, if it is a pair, `text_pair`. For the rest see
    `of_texts`.
    """

    def function(inputs: tf.Tensor) -> saved_model.Tensors:
        found = tf.io.parse_example(
            inputs,
            {
                "text": tf.io.FixedLenFeature([], tf.string),
                "text_pair": tf.io.RaggedFeature(tf.string),
            },
        )
        is_pair = found["text_pair"].row_lengths() > 0
        second = found["text_pair"].to_tensor("", shape=[None, 1])[:, 0]
        rows = before.rows(found["text"], second, is_pair)
        outputs = run_alike(model.forward(), rows.fields(), before.frame.is_fixed)
        return answer(mean_over_windows(outputs, rows))

    return saved_model.Signature(function, {"inputs": STRINGS}, {"text": EXAMPLE}, api)
