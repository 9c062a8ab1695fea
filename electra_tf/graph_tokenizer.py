"""WordPiece in a TensorFlow graph: strings become the ids of `tokenizer.Encoder`.

In:   string [B], a vocabulary (token i is line i), a `config.TokenizerConfig`.
Out:  token ids, ragged [B, (tokens)], and which characters each stands for.

`GraphTokenizer` asks the `tokenizers` library what is right and remembers the answer,
by character, so it cannot drift from it with a Unicode version. B texts.
"""

import functools
import unicodedata
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import tensorflow as tf
from tokenizers import pre_tokenizers

from electra_tf import config as configs
from electra_tf import errors, tokenizer

# Characters from these on take a byte more in UTF-8.
_WIDER = 0x80, 0x800, 0x10000

# Of a token, without its ##: the limit of FastWordpieceTokenizer.
_MAX_TOKEN_BYTES = 256

# What stands for the character in its rewrite, so that most pages are the same.
_ITSELF = -2


class GraphTokens(NamedTuple):
    """Tokens of texts; each stands for the characters from start to before end."""

    ids: tf.RaggedTensor  # int32 [B, (tokens)]
    starts: tf.RaggedTensor  # int32 [B, (tokens)]
    ends: tf.RaggedTensor  # int32 [B, (tokens)]


class GraphTokenizer:
    """Turns text into token ids inside a TensorFlow graph, for serving.

    Equal to `tokenizer.Encoder` but for one thing: with strip_accents, two or more
    combining marks in a row that the library does not drop (those newer than its
    tables, and spacing ones) come in the order of the text, not in Unicode's canonical
    order.

    Uses ops that TensorFlow Serving links. All it holds are constants of the graph.
    """

    def __init__(self, vocab: Sequence[str], config: configs.TokenizerConfig) -> None:
        import tensorflow_text as tf_text  # Not above: training does without it.

        if config.added_tokens:
            names = ", ".join(repr(t.content[:40]) for t in config.added_tokens[:8])
            raise errors.UserError(
                f"the tokenizer has added tokens ({names}), which are found in text in "
                "Python, but not in a graph: serve token ids, or take them out of the "
                "tokenizer's added_tokens if no text has them"
            )

        self._rewrites = _rewrites(config)
        self._wordpiece = tf_text.FastWordpieceTokenizer(
            _held(vocab),
            unknown_token=tokenizer.UNK,
            max_bytes_per_word=4 * tokenizer.MAX_WORD_CHARACTERS,
            no_pretokenization=True,
            support_detokenization=False,
        )

    def __call__(self, texts: tf.Tensor) -> tf.RaggedTensor:
        """Returns int32 ids [B, (tokens)] of string [B], without [CLS] and [SEP]."""
        return self.encode_with_offsets(texts).ids

    def encode_with_offsets(self, texts: tf.Tensor) -> GraphTokens:
        """Returns the tokens of string [B], and which characters they stand for.

        Bytes that are no UTF-8 are read as U+FFFD.
        """
        old = tf.strings.unicode_decode(texts, "UTF-8")  # [B, (characters)]
        page = tf.gather(self._rewrites.page_of, old.values // 256)
        new = tf.gather_nd(
            self._rewrites.pages, tf.stack([page, old.values % 256], axis=-1)
        )  # [all characters, K]
        new = tf.where(tf.equal(new, _ITSELF), old.values[:, None], new)
        there = tf.where(new >= 0)
        codes, source = tf.gather_nd(new, there), there[:, 0]  # [new characters]
        text_of = row_ids(old.row_splits)  # [characters]
        text = tf.gather(text_of, source)
        letters, source = runs(codes, text, tf.not_equal(codes, ord(" ")), source)
        words = tf.strings.unicode_encode(letters, "UTF-8")

        # A word is a token, or its bytes are shared out among several.
        is_long = letters.row_lengths() > tokenizer.MAX_WORD_CHARACTERS
        ids, starts, ends = self._wordpiece.tokenize_with_offsets(
            tf.where(is_long, tokenizer.UNK, words)
        )  # [words, (tokens)]
        size = tf.strings.length(words)
        word = row_ids(ids.row_splits)
        first = tf.gather(tf.cumsum(size, exclusive=True), word)
        is_long, size = tf.gather(is_long, word), tf.gather(size, word)
        last = tf.where(is_long, size, tf.cast(ends.values, tf.int32)) - 1
        width = sum(tf.cast(letters.values >= c, tf.int64) for c in _WIDER) + 1
        letter_of = row_ids(tf.pad(tf.cumsum(width), [[1, 0]]))  # [bytes of all words]
        text_of_word = tf.gather(text_of, tf.gather(source, letters.row_starts()))
        begin = tf.gather(old.row_starts(), tf.gather(text_of_word, word))

        def character(place: tf.Tensor) -> tf.Tensor:
            """Finds the character of its text that a byte of a word comes from."""
            found = tf.gather(source, tf.gather(letter_of, first + place))
            return tf.cast(found - begin, tf.int32)

        ids = tf.RaggedTensor.from_value_rowids(ids, text_of_word, old.nrows())
        whole = tf.cast(ids.merge_dims(1, 2), tf.int32)
        return GraphTokens(
            whole,
            whole.with_values(character(tf.cast(starts.values, tf.int32))),
            whole.with_values(character(last) + 1),
        )


def _held(vocab: Sequence[str]) -> list[str]:
    """Returns tokens as the ops take them: no two alike.

    Raises:
        UserError: one is too long for them.
    """
    for i, token in enumerate(vocab):
        if len(token.removeprefix("##").encode()) > _MAX_TOKEN_BYTES:
            raise errors.UserError(
                f"token {i} of the vocabulary, {token!r:.60}, has over "
                f"{_MAX_TOKEN_BYTES} bytes, which TensorFlow's tokenizer cannot hold: "
                "it cannot be served; in Python it works"
            )
    # No word has a space, so what has one is never found.
    ids = tokenizer.token_ids(vocab)
    return [token if ids.get(token) == i else f" {i}" for i, token in enumerate(vocab)]


def row_ids(splits: tf.Tensor) -> tf.Tensor:
    """Returns which row each value of a ragged tensor is of, int64 [values].

    As `value_rowids` and `tf.repeat` do, but these take rows x the longest row of
    memory, whatever the other rows are.

    Args:
        splits: int64 [rows + 1], where rows begin and the last one ends.
    """
    place = tf.range(splits[-1])
    return tf.searchsorted(splits[1:], place, side="right", out_type=tf.int64)


def runs(
    codes: tf.Tensor, text: tf.Tensor, kept: tf.Tensor, source: tf.Tensor
) -> tuple[tf.RaggedTensor, tf.Tensor]:
    """Cuts texts where characters are left out, in a graph.

    Args:
        codes: int32 [characters of all texts].
        text: int64, which text each is of, ascending.
        kept: bool, False for what is left out.
        source: a number of each character, of any kind.

    Returns:
        The runs of characters that are kept, [runs, (characters)], and their numbers.
    """
    before = tf.pad(tf.where(kept, text, -1), [[1, 0]], constant_values=-1)[:-1]
    begins = kept & tf.not_equal(text, before)
    number = tf.cumsum(tf.cast(begins, tf.int64)) - 1
    found = tf.RaggedTensor.from_value_rowids(
        codes[kept], number[kept], tf.math.count_nonzero(begins)
    )
    return found, source[kept]


class _Rewrites(NamedTuple):
    """What each character becomes, spaces around the words included."""

    page_of: npt.NDArray[np.int32]  # [0x1100], page of a character // 256
    pages: npt.NDArray[np.int32]  # [pages, 256, K], characters or _ITSELF, then -1


@functools.lru_cache(maxsize=8)
def _rewrites(config: configs.TokenizerConfig) -> _Rewrites:
    """Asks `tokenizers` what it makes of each character there is."""
    characters = [chr(c) for c in range(0x110000) if not 0xD800 <= c < 0xE000]
    # One call with a separator that nothing else becomes; 100 times as fast.
    apart = "|"
    text = apart.join("" if c == apart else c for c in characters)
    new = tokenizer.normalizer(config).normalize_str(text).split(apart)
    new[ord(apart)] = apart
    alone = _stand_alone(set().union(*new))
    table = np.full([0x110000, max(map(len, new)) + 2], -1, np.int32)
    table[:, 0] = _ITSELF
    for old, text in zip(characters, new, strict=True):
        if text != old or text in alone:
            text = "".join(f" {c} " if c in alone else c for c in text)
            codes = [_ITSELF if c == old else ord(c) for c in text]
            table[ord(old)] = codes + [-1] * (table.shape[1] - len(codes))
    table = table[:, np.any(table != -1, axis=0)]
    pages, page_of = np.unique(table.reshape(0x1100, -1), axis=0, return_inverse=True)
    return _Rewrites(
        page_of.reshape(-1).astype(np.int32),
        pages.reshape(len(pages), 256, -1),
    )


def _stand_alone(characters: set[str]) -> set[str]:
    """Returns those of the characters that are a word of their own: punctuation."""
    # The library's table is older than Python's: it has nothing of what that lacks.
    known = [c for c in characters if unicodedata.category(c) != "Cn" and c != " "]
    text = " ".join(f"x{character}x" for character in known)
    pieces = pre_tokenizers.BertPreTokenizer().pre_tokenize_str(text)
    return {piece for piece, _ in pieces if len(piece) == 1 and piece != "x"}
