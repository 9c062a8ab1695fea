"""WordPiece: text becomes token ids, equal to Hugging Face's BERT tokenizer.

In:   text, a vocabulary (token i is line i), a `config.TokenizerConfig`.
Out:  token ids.

`Encoder` asks the `tokenizers` library what is right and remembers the answer, by word,
so it cannot drift from it with a Unicode version. Special tokens in the text are text:
"[MASK]" reads "[", "mask", "]"; tokens that were added to a vocabulary are tokens.
"""

import re
import string
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import tokenizers
from tokenizers import models, normalizers, pre_tokenizers

from electra_tf import config as configs
from electra_tf import errors
from electra_tf.text import vocabularies

# A longer word is [UNK] (Hugging Face's limit; BERT's own code says 200).
MAX_WORD_CHARACTERS = 100

# Words remembered by an encoder; about 150 bytes each.
_MAX_REMEMBERED = 500_000

# Tokens that say nothing of the text: [unused1], <S>.
_IN_BRACKETS = re.compile(r"\[.*\]|<.*>", re.DOTALL)

# With as many tokens of letters, a cased vocabulary has capitals.
_CASED_ALPHABET = 100

# A word of its own under any setting, so a space around it changes nothing.
_APART = [(mark, f" {mark} ") for mark in string.punctuation]

# Ideographs that split_cjk makes words of their own; the rarer planes are left to
# the library, which knows them all.
_COMMON_CJK = re.compile("([\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff])")


def guess_casing(vocab: Sequence[str]) -> configs.TokenizerConfig:
    """Asks what text the tokens of a 2020 vocabulary can have come from.

    As in the 2020 code, text is lower-cased and loses its accents, unless at least one
    in a hundred tokens says otherwise: of those with letters that have two cases, by a
    capital; of all, by an accent.
    """
    words = [word for token in vocab if (word := _word(token))]
    cased = [word for word in words if word.lower() != word.upper()]
    capitals = sum(word != word.lower() for word in cased)
    strip = normalizers.BertNormalizer(False, False, True, False).normalize_str
    accents = sum(word != strip(word) for word in words)
    lowercase = capitals < max(1, len(cased) / 100)
    return configs.TokenizerConfig(
        lowercase=lowercase,
        strip_accents=lowercase and accents < max(1, len(words) / 100),
    )


def doubt_casing(
    vocab: Sequence[str] | None, config: configs.TokenizerConfig
) -> str | None:
    """Returns what of a vocabulary contradicts the casing, a sentence; None if nothing.

    Special tokens, in brackets, say nothing; few words without any capital neither.
    """
    words = [word for token in vocab or () if (word := _word(token))]
    clean, cast = (
        normalizers.BertNormalizer(True, False, strip, lower).normalize_str
        for strip, lower in ((False, False), (config.strip_accents, config.lowercase))
    )
    lost = [word for word in words if cast(word) != clean(word)]
    if lost:
        done = ["lower-cased"] * config.lowercase
        done += ["stripped of its accents"] * config.strip_accents
        return (
            f"{len(lost)} of {len(words)} tokens, such as "
            f"{', '.join(map(repr, lost[:3]))}, can never occur in text that is "
            f"{' and '.join(done)}: is the vocabulary of this casing?"
        )
    cased = [word for word in words if word.lower() != word.upper()]
    small = all(word == word.lower() for word in cased)
    if small and not config.lowercase and len(cased) >= _CASED_ALPHABET:
        return (
            "no token has a capital, though text is not lower-cased, so every word "
            f"with one is {vocabularies.UNK}: is the vocabulary of this casing?"
        )
    return None


def _word(token: str) -> str:
    """Returns the letters of a token; none of one in brackets, which is no word."""
    return "" if _IN_BRACKETS.fullmatch(token) else token.removeprefix("##")


class TokenizedDocument(NamedTuple):
    """A document as a record holds it, and what it lost."""

    token_ids: npt.NDArray[np.uint32]  # of all sentences, no special tokens
    sentence_lengths: list[int]  # in tokens; none is 0
    num_unk: int  # tokens that are [UNK]
    unknown_words: list[str]  # that are [UNK], one by one


class Encoder:
    """Turns text into token ids offline.

    Words recur: each different one goes through `tokenizers` once.
    """

    def __init__(self, vocab: Sequence[str], config: configs.TokenizerConfig) -> None:
        self._reference, self._table = _reference(vocab, config)
        self._unk_id = vocab.index(vocabularies.UNK)
        self._ids = _Remembered(self._reference, config.lowercase, self._unk_id)
        self._config = config

    def encode(self, text: str) -> npt.NDArray[np.uint32]:
        """Returns the token ids of a text, without [CLS] and [SEP]."""
        if self._table is not None:
            return self.encode_with_offsets(text)[0]
        chunks = chunks_of(text, self._config)
        return np.frombuffer(b"".join(map(self._ids.__getitem__, chunks)), np.uint32)

    def encode_with_offsets(
        self, text: str
    ) -> tuple[npt.NDArray[np.uint32], list[tuple[int, int]]]:
        """Returns what `encode` does, and where in the text each token has its place.

        Returns:
            The ids, and (start, end) of each: the token stands for `text[start:end]`.
        """
        encoding = self._reference.encode(text, add_special_tokens=False)
        ids = np.array(encoding.ids, np.uint32)
        if self._table is None:
            return ids, encoding.offsets
        # The library gives a token the space that it takes along; it has no need of it.
        cut = [_stripped(text, start, end) for start, end in encoding.offsets]
        return self._table[ids], cut

    def encode_document(self, sentences: Sequence[str]) -> TokenizedDocument:
        """Returns a document's token ids and how many each sentence has.

        A sentence of which nothing is left (control characters alone) is left out.
        """
        pairs = zip(sentences, self._encode_each(sentences), strict=True)
        kept = [(text, ids) for text, ids in pairs if ids]
        lengths = [len(ids) // 4 for _, ids in kept]
        all_ids = np.frombuffer(b"".join(ids for _, ids in kept), np.uint32)
        unknown = np.flatnonzero(all_ids == self._unk_id)
        words: list[str] = []
        if unknown.size:
            where = np.searchsorted(np.cumsum(lengths), unknown, side="right")
            for i in np.unique(where):
                words += self.unknown_words(kept[i][0])
        return TokenizedDocument(all_ids, lengths, unknown.size, words)

    def _encode_each(self, texts: Sequence[str]) -> list[bytes]:
        """Returns the token ids of each text, as the bytes of uint32."""
        if self._table is not None:
            return [self.encode(text).tobytes() for text in texts]
        # Words are cut in all of a document at once: half the time of line by line.
        lines = _spaced("\n".join(texts), self._config).split("\n")
        if len(lines) != len(texts):  # A text is of several lines itself, or none.
            lines = [_spaced(text, self._config) for text in texts]
        remembered = self._ids.__getitem__
        return [b"".join(map(remembered, line.split(" "))) for line in lines]

    def unknown_words(self, text: str) -> list[str]:
        """Returns the words of a text that become [UNK], as they stand in it."""
        found: list[str] = []
        if self._table is not None:
            ids, places = self.encode_with_offsets(text)
            pairs = zip(ids, places, strict=True)
            return [text[start:end] for i, (start, end) in pairs if i == self._unk_id]
        for chunk in chunks_of(text, self._config):
            found += self._ids.unknown_words(chunk)
        return found


def _stripped(text: str, start: int, end: int) -> tuple[int, int]:
    piece = text[start:end]
    return end - len(piece.lstrip()), start + len(piece.rstrip())


class _Remembered(dict[str, bytes]):
    """Chunk of text -> its uint32 token ids, asked for once."""

    def __init__(
        self, reference: tokenizers.Tokenizer, lowercase: bool, unk_id: int
    ) -> None:
        self._reference = reference
        self._model = reference.model
        self._lowercase = lowercase
        self._unk_id = unk_id
        self._unknown: dict[str, list[str]] = {}  # words that are [UNK] in a chunk

    def __missing__(self, chunk: str) -> bytes:
        if chunk.isascii() and chunk.isalnum():
            # Nothing to clean nor to cut; the model alone takes a fourth of the time.
            word = chunk.lower() if self._lowercase else chunk
            found = [token.id for token in self._model.tokenize(word)]
        else:
            found = self._reference.encode(chunk, add_special_tokens=False).ids
        ids = np.array(found, np.uint32).tobytes()
        if len(chunk) <= MAX_WORD_CHARACTERS:
            if len(self) >= _MAX_REMEMBERED:
                self.clear()
                self._unknown.clear()
            self[chunk] = ids
            if self._unk_id in found:
                self._unknown[chunk] = self._find_unknown(chunk)
        return ids

    def unknown_words(self, chunk: str) -> list[str]:
        """Returns the words of a chunk that become [UNK]."""
        if len(chunk) > MAX_WORD_CHARACTERS:
            return self._find_unknown(chunk)
        assert self[chunk] is not None  # Else it would not be remembered.
        return self._unknown.get(chunk, [])

    def _find_unknown(self, chunk: str) -> list[str]:
        found = self._reference.encode(chunk, add_special_tokens=False)
        places = zip(found.ids, found.offsets, strict=True)
        return [chunk[start:end] for i, (start, end) in places if i == self._unk_id]


def chunks_of(text: str, config: configs.TokenizerConfig) -> list[str]:
    """Cuts where a word ends for sure; what is left to cut, the library knows."""
    return _spaced(text, config).split(" ")


def _spaced(text: str, config: configs.TokenizerConfig) -> str:
    """Returns a text with a space wherever a word ends for sure.

    `str.replace` and `str.split` are many times as fast as a regular expression.
    """
    if text.isascii():
        if config.lowercase:
            text = text.lower()  # Fewer words to remember.
    elif config.split_cjk:
        text = _COMMON_CJK.sub(r" \1 ", text)
    for mark, apart in _APART:
        if mark in text:
            text = text.replace(mark, apart)
    return text


def normalizer(config: configs.TokenizerConfig) -> normalizers.BertNormalizer:
    """Returns what the library does to characters before it cuts words."""
    return normalizers.BertNormalizer(
        clean_text=True,
        handle_chinese_chars=config.split_cjk,
        strip_accents=config.strip_accents,
        lowercase=config.lowercase,
    )


def _reference(
    vocab: Sequence[str], config: configs.TokenizerConfig
) -> tuple[tokenizers.Tokenizer, npt.NDArray[np.uint32] | None]:
    """Builds Hugging Face's BERT tokenizer, which defines what is right.

    Returns:
        It, and our ids by its own: with added tokens it numbers them itself.

    Raises:
        UserError: an added token is not in the vocabulary.
    """
    ids = vocabularies.token_ids(vocab)
    apart = {token.content for token in config.added_tokens if not token.is_word}
    words = {token: i for token, i in ids.items() if token not in apart}
    if config.added_tokens:
        words = {token: i for i, token in enumerate(words)}
    reference = tokenizers.Tokenizer(
        models.WordPiece(
            words,
            unk_token=vocabularies.UNK,
            max_input_chars_per_word=MAX_WORD_CHARACTERS,
        )
    )
    reference.normalizer = normalizer(config)
    reference.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    if not config.added_tokens:
        return reference, None
    for token in config.added_tokens:
        if token.content not in ids or token.content in vocabularies.SPECIAL_TOKENS:
            raise errors.UserError(
                f"added_tokens: {token.content!r:.80} is not in the vocabulary, or is "
                "one of its special tokens; leave it out"
            )
        reference.add_tokens([library_token(token)])
    table = np.zeros(reference.get_vocab_size(), np.uint32)
    for content, number in reference.get_vocab().items():
        table[number] = ids[content]
    return reference, table


def library_token(token: configs.AddedToken) -> tokenizers.AddedToken:
    """Returns the library's own form of an added token."""
    return tokenizers.AddedToken(
        token.content,
        single_word=token.single_word,
        lstrip=token.lstrip,
        rstrip=token.rstrip,
        normalized=token.normalized,
        special=token.special,
    )
