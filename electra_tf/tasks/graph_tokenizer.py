"""WordPiece in a TensorFlow graph: strings become the ids of `tokenizer.Encoder`.

In:   string [B], a vocabulary (token i is line i), a `config.TokenizerConfig`.
Out:  token ids, ragged [B, (tokens)], and which characters each stands for.

`GraphTokenizer` asks the `tokenizers` library what is right and remembers the answer,
by character, so it cannot drift from it with a Unicode version. B texts.
"""

import functools
import itertools
import unicodedata
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import tensorflow as tf
import tokenizers
from tokenizers import models, pre_tokenizers

from electra_tf import config as configs
from electra_tf import errors
from electra_tf.text import tokenizer, vocabularies

# Characters from these on take a byte more in UTF-8.
_WIDER = 0x80, 0x800, 0x10000

# Of a token, without its ##: the limit of FastWordpieceTokenizer.
_MAX_TOKEN_BYTES = 256

# Around punctuation, where the text has no space; no text has this.
_APART = "\0"

# Codes from these on, beyond Unicode's, are added tokens.
_ADDED = 0x110000

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
    order. And the library gives an added token a part of an ideograph beside it.

    Uses ops that TensorFlow Serving links. All it holds are constants of the graph.
    """

    def __init__(self, vocab: Sequence[str], config: configs.TokenizerConfig) -> None:
        import tensorflow_text as tf_text  # Not above: training does without it.

        self._rewrites = _rewrites(config.model_copy(update={"added_tokens": ()}))
        ids = vocabularies.token_ids(vocab)
        self._added_ids = np.array(
            [ids[token.content] for token in config.added_tokens], np.int64
        )
        self._raw = _AddedTokens(config, self._rewrites, normalized=False)
        self._normalized = _AddedTokens(config, self._rewrites, normalized=True)
        self._wordpiece = tf_text.FastWordpieceTokenizer(
            _held(vocab, config),
            unknown_token=vocabularies.UNK,
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
        place = tf.range(tf.size(old.values, tf.int64))
        text_of = row_ids(old.row_splits)  # [characters]
        found = self._raw.find(_Characters(old.values, text_of, place, place))
        found = self._normalized.find(self._rewrite(found))
        kept = found.codes > ord(" ")  # A word ends at a space or _APART.
        places = tf.stack([found.first, found.last], axis=1)
        letters, places = runs(found.codes, found.text, kept, places)
        added = tf.gather(letters.values, letters.row_starts()) - _ADDED  # [words]
        # Codes beyond Unicode cannot be written: an "x" stands for an added token.
        shown = tf.where(letters.values >= _ADDED, ord("x"), letters.values)
        letters = letters.with_values(shown)
        words = tf.strings.unicode_encode(letters, "UTF-8")

        # A word is a token, or its bytes are shared out among several.
        is_long = letters.row_lengths() > tokenizer.MAX_WORD_CHARACTERS
        is_long |= added >= 0  # One token, too.
        ids, starts, ends = self._wordpiece.tokenize_with_offsets(
            tf.where(is_long, vocabularies.UNK, words)
        )  # [words, (tokens)]
        size = tf.strings.length(words)
        word = row_ids(ids.row_splits)
        first = tf.gather(tf.cumsum(size, exclusive=True), word)
        is_long, size = tf.gather(is_long, word), tf.gather(size, word)
        last = tf.where(is_long, size, tf.cast(ends.values, tf.int32)) - 1
        # The operation counts bytes of a word; places are characters of the text.
        width = sum(tf.cast(letters.values >= c, tf.int64) for c in _WIDER) + 1
        letter_of = row_ids(tf.pad(tf.cumsum(width), [[1, 0]]))  # [bytes of all words]
        text_of_word = tf.gather(text_of, tf.gather(places, letters.row_starts())[:, 0])
        begin = tf.gather(old.row_starts(), tf.gather(text_of_word, word))

        def characters(place: tf.Tensor) -> tf.Tensor:
            """Finds the characters of its text that a byte of a word comes from."""
            found = tf.gather(places, tf.gather(letter_of, first + place))
            return tf.cast(found - begin[:, None], tf.int32)  # [tokens, 2]

        if self._added_ids.size:
            number = tf.gather(added, word)
            theirs = tf.gather(self._added_ids, tf.maximum(number, 0))
            new = tf.where(number >= 0, theirs, tf.cast(ids.values, tf.int64))
            ids = ids.with_values(new)
        ids = tf.RaggedTensor.from_value_rowids(ids, text_of_word, old.nrows())
        whole = tf.cast(ids.merge_dims(1, 2), tf.int32)
        return GraphTokens(
            whole,
            whole.with_values(characters(tf.cast(starts.values, tf.int32))[:, 0]),
            whole.with_values(characters(last)[:, 1] + 1),
        )

    def _rewrite(self, found: "_Characters") -> "_Characters":
        """Turns characters into those of words, apart from what is no word."""
        old = tf.minimum(found.codes, _ADDED - 1)
        page = tf.gather(self._rewrites.page_of, old // 256)
        new = tf.gather_nd(self._rewrites.pages, tf.stack([page, old % 256], axis=-1))
        new = tf.where(tf.equal(new, _ITSELF), old[:, None], new)  # [characters, K]
        if self._raw.patterns:
            itself = tf.pad(
                found.codes[:, None],
                [[0, 0], [0, new.shape[1] - 1]],
                constant_values=-1,
            )
            new = tf.where(found.codes[:, None] >= _ADDED, itself, new)
        return found.spread(new)


class _Characters(NamedTuple):
    """Characters of all texts, and from which they come to which."""

    codes: tf.Tensor  # int32 [characters]; _ADDED and more are tokens
    text: tf.Tensor  # int64, which text each is of, ascending
    first: tf.Tensor  # int64, the first and
    last: tf.Tensor  # the last character of all texts that it stands for

    def spread(self, new: tf.Tensor) -> "_Characters":
        """Puts others in the place of each: int32 [characters, K], -1 for none."""
        there = tf.where(new >= 0)
        rest = (tf.gather(values, there[:, 0]) for values in self[1:])
        return _Characters(tf.gather_nd(new, there), *rest)


class _AddedTokens:
    """Finds added tokens, each of which becomes one character between spaces."""

    def __init__(
        self,
        config: configs.TokenizerConfig,
        rewrites: "_Rewrites",
        *,
        normalized: bool,
    ) -> None:
        """Takes those that are found before, or after, the text is rewritten.

        Raises:
            UserError: what a graph cannot decide.
        """
        self._single = np.array([token.single_word for token in config.added_tokens])
        # In words only, where a text has none of its own.
        self._apart = ord(_APART) if normalized else -1
        self.patterns: dict[int, list[int]] = {}
        for number, token in enumerate(config.added_tokens):
            if token.normalized == normalized:
                codes = list(map(ord, token.content))
                self.patterns[number] = rewrites.apply(codes) if normalized else codes
        for one, two in itertools.product(self.patterns, repeat=2):
            names = [config.added_tokens[number].content for number in (one, two)]
            if self._overlap(one, two) or names[1][0].isspace():
                raise errors.UserError(
                    f"added tokens {names[0]!r:.60} and {names[1]!r:.60} can overlap, "
                    "which a graph cannot decide: they cannot be served; in Python "
                    "they work"
                )

    def _overlap(self, one: int, two: int) -> bool:
        """Tells whether the end of one can be the beginning of another.

        Spaces there are those around ideographs, of which each has its own.
        """
        a, b = self.patterns[one], self.patterns[two]
        return any(
            a[-n:] == b[:n] and max(b[:n]) > ord(" ")
            for n in range(1, min(len(a), len(b)))
        )

    def find(self, given: _Characters) -> _Characters:
        """Returns the characters with the tokens in them; the longest goes first."""
        if not any(self.patterns.values()):
            return given
        size = tf.size(given.codes)
        which, length = tf.fill([size], -1), tf.zeros([size], tf.int32)
        for number, codes in sorted(self.patterns.items(), key=lambda p: len(p[1])):
            more = [[0, len(codes)]]
            ahead = tf.pad(given.codes, more, constant_values=-1)
            text = tf.pad(given.text, more, constant_values=-1)
            hit = tf.equal(text[len(codes) - 1 :][:size], given.text)
            for i, code in enumerate(codes):
                hit &= tf.equal(ahead[i:][:size], code)
            which = tf.where(hit, number, which)
            length = tf.where(hit, len(codes), length)
        begins = (which >= 0) & ~self._inside(length)  # None inside another counts.
        if any(self._single[[*self.patterns]]):
            # What is refused here hides those inside it all the same, as there.
            single = tf.gather(self._single, tf.maximum(which, 0))
            begins &= ~single | self._stand_alone(given, length)
        inside = self._inside(tf.where(begins, length, 0))
        end = tf.minimum(tf.range(size) + length, size) - 1
        last = tf.where(begins, tf.gather(given.last, tf.maximum(end, 0)), given.last)
        space = tf.where(begins, ord(" "), -1)
        new = [
            tf.where(begins, ord(" "), tf.where(inside, -1, given.codes)),
            tf.where(begins, _ADDED + which, -1),
            space,
        ]
        return given._replace(last=last).spread(tf.stack(new, axis=1))

    def _inside(self, length: tf.Tensor) -> tf.Tensor:
        """Tells which characters are in a token, but not its first.

        Args:
            length: int32 [characters], of the token that begins at each, or 0.
        """
        found = tf.zeros_like(length, tf.bool)
        for back in range(1, max(map(len, self.patterns.values()))):
            found |= tf.pad(length, [[back, 0]])[: tf.size(length)] > back
        return found

    def _stand_alone(self, given: _Characters, length: tf.Tensor) -> tf.Tensor:
        """Tells where tokens have no character of a word just before or behind them."""
        size = tf.size(length)
        there = tf.cast(tf.where(given.codes != self._apart)[:, 0], tf.int32)
        there = tf.concat([[-1], there, [size]], 0)
        codes = tf.pad(given.codes, [[1, 1]], constant_values=-1)
        text = tf.pad(given.text, [[1, 1]], constant_values=-1)
        words = tf.constant(_word_characters())

        def is_word(number: tf.Tensor) -> tf.Tensor:
            place = tf.gather(there, number) + 1
            code = tf.gather(codes, place)
            is_known = (code >= 0) & (code < _ADDED)
            found = tf.gather(words, tf.where(is_known, code, 0))
            return found & is_known & tf.equal(tf.gather(text, place), given.text)

        place = tf.range(size)
        before = tf.searchsorted(there, place, side="left") - 1
        behind = tf.searchsorted(there, place + tf.maximum(length, 1), side="left")
        return ~(is_word(before) | is_word(tf.minimum(behind, tf.size(there) - 1)))


def _held(vocab: Sequence[str], config: configs.TokenizerConfig) -> list[str]:
    """Returns tokens as the ops take them: no two alike, none that is no word.

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
    ids = vocabularies.token_ids(vocab)
    for added in config.added_tokens:
        if not added.is_word:
            del ids[added.content]
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

    def apply(self, codes: Sequence[int]) -> list[int]:
        """Returns what they become, without what keeps the whole apart."""
        new = []
        for code in codes:
            row = self.pages[self.page_of[code // 256], code % 256].tolist()
            new += [code if c == _ITSELF else c for c in row if c != -1]
        while new[:1] == [ord(_APART)]:
            new = new[1:]
        while new[-1:] == [ord(_APART)]:
            new = new[:-1]
        return new


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
            text = "".join(f"{_APART}{c}{_APART}" if c in alone else c for c in text)
            codes = [_ITSELF if c == old else ord(c) for c in text]
            table[ord(old)] = codes + [-1] * (table.shape[1] - len(codes))
    table = table[:, np.any(table != -1, axis=0)]
    pages, page_of = np.unique(table.reshape(0x1100, -1), axis=0, return_inverse=True)
    return _Rewrites(
        page_of.reshape(-1).astype(np.int32),
        pages.reshape(len(pages), 256, -1),
    )


@functools.lru_cache(maxsize=1)
def _word_characters() -> npt.NDArray[np.bool_]:
    """Asks `tokenizers` beside which characters a single word is not found."""
    asked = tokenizers.Tokenizer(models.WordLevel({"?": 0}, unk_token="?"))
    asked.add_tokens([tokenizers.AddedToken("x", single_word=True, normalized=False)])
    characters = [c for c in range(_ADDED) if not 0xD800 <= c < 0xE000]
    lines = [f"x{chr(c)}\n" for c in characters]
    # Short texts, for the library reads each from its beginning at each token.
    texts = ["".join(lines[i : i + 256]) for i in range(0, len(lines), 256)]
    found = np.ones(_ADDED, bool)
    for number, encoding in enumerate(asked.encode_batch(texts)):
        for (start, _), token in zip(encoding.offsets, encoding.tokens, strict=True):
            if token == "x":
                found[characters[256 * number + start // 3]] = False
    return found


def _stand_alone(characters: set[str]) -> set[str]:
    """Returns those of the characters that are a word of their own: punctuation."""
    # The library's table is older than Python's: it has nothing of what that lacks.
    known = [c for c in characters if unicodedata.category(c) != "Cn" and c != " "]
    text = " ".join(f"x{character}x" for character in known)
    pieces = pre_tokenizers.BertPreTokenizer().pre_tokenize_str(text)
    return {piece for piece, _ in pieces if len(piece) == 1 and piece != "x"}
