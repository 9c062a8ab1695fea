"""Counts what tokenization loses of a text, and says why.

In:   documents, their token ids, the words of them that became [UNK].
Out:  sums for the manifest, and a sentence for each loss that is worth one.

Marks, such as accents and the vowel signs of Devanagari, go where strip_accents is
true; they are looked for in a sample, as they leave no trace in the ids.
"""

import collections
import dataclasses
import functools
import itertools
import unicodedata
import zlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from electra_tf import config as configs
from electra_tf.text import tokenizer, vocabularies

# Of all tokens, characters or letters: a loss that is told. BERT's vocabulary makes
# below 0.1 % of English text [UNK].
_TOLD = 0.01

_SHOWN = 3  # examples in a sentence
_KEPT = 20  # of a document
_REMEMBERED = 10_000  # of a corpus
_SHORT = 20  # characters of an example


class Loss(NamedTuple):
    """What one document loses."""

    characters: int  # all but spaces
    lost: int = 0  # in words that are [UNK]
    in_long_words: int = 0  # of these, in words of over MAX_WORD_CHARACTERS
    num_long_words: int = 0
    words: tuple[str, ...] = ()  # some that are [UNK], the most frequent first
    looked_at: int = 0  # characters in which marks were looked for
    marked: int = 0  # letters of these that lose a mark, and marks that go
    marked_words: tuple[str, ...] = ()  # some


class Finder:
    """Finds what a document loses."""

    def __init__(self, config: configs.TokenizerConfig, rate: float) -> None:
        """Takes the settings, and the share of documents to look for marks in."""
        self._config = config
        self._rate = rate if config.strip_accents else 0.0
        self._normalize = tokenizer.normalizer(config).normalize_str

    def find(self, sentences: Sequence[str], unknown: Sequence[str]) -> Loss:
        """Returns what is lost of a document.

        Args:
            sentences: of the document.
            unknown: its words that are [UNK], one by one.
        """
        loss = Loss(sum(len(text) - text.count(" ") for text in sentences))
        if unknown:
            loss = self._with_unknown(loss, unknown)
        # By what it is, not by its number: so any process draws the same.
        what = f"{loss.characters} {sentences[0][:100]}" if sentences else ""
        if zlib.crc32(what.encode()) < self._rate * 2**32:
            loss = self._with_marks(loss, sentences)
        return loss

    def _with_unknown(self, loss: Loss, unknown: Sequence[str]) -> Loss:
        # Three letters are the most that one becomes (Hangul).
        limit = tokenizer.MAX_WORD_CHARACTERS
        long = [
            word
            for word in unknown
            if 3 * len(word) > limit and len(self._normalize(word)) > limit
        ]
        frequent = collections.Counter(unknown).most_common(_KEPT)
        return loss._replace(
            lost=sum(map(len, unknown)),
            in_long_words=sum(map(len, long)),
            num_long_words=len(long),
            words=tuple(word[: limit + 1] for word, _ in frequent),
        )

    def _with_marks(self, loss: Loss, sentences: Sequence[str]) -> Loss:
        counts: collections.Counter[str] = collections.Counter()
        for text in sentences:
            if not text.isascii():
                counts.update(text)
        marked = sum(n for letter, n in counts.items() if _loses_a_mark(letter))
        loss = loss._replace(looked_at=loss.characters, marked=marked)
        if not marked:
            return loss
        words = (word for text in sentences for word in text.split())
        found = (word for word in words if any(map(_loses_a_mark, word)))
        return loss._replace(marked_words=tuple(itertools.islice(found, _SHOWN)))


@functools.lru_cache(maxsize=0x10000)
def _loses_a_mark(letter: str) -> bool:
    parts = unicodedata.normalize("NFD", letter)
    return any(unicodedata.category(part) == "Mn" for part in parts)


@dataclasses.dataclass
class Total:
    """What a corpus loses."""

    num_tokens: int = 0
    num_unk: int = 0
    characters: int = 0
    lost: int = 0
    in_long_words: int = 0
    num_long_words: int = 0
    looked_at: int = 0
    marked: int = 0
    words: collections.Counter[str] = dataclasses.field(
        default_factory=collections.Counter
    )
    marked_words: list[str] = dataclasses.field(default_factory=list)

    def add(self, num_tokens: int, num_unk: int, loss: Loss) -> None:
        """Adds a document."""
        self.num_tokens += num_tokens
        self.num_unk += num_unk
        self.characters += loss.characters
        self.lost += loss.lost
        self.in_long_words += loss.in_long_words
        self.num_long_words += loss.num_long_words
        self.looked_at += loss.looked_at
        self.marked += loss.marked
        if len(self.words) < _REMEMBERED:
            self.words.update(loss.words)
        if len(self.marked_words) < _SHOWN:
            self.marked_words += loss.marked_words

    @property
    def unk_rate(self) -> float:
        """Share of tokens that are [UNK]; of a long word, each character is one."""
        more = self.in_long_words - self.num_long_words
        return (self.num_unk + more) / max(1, self.num_tokens + more)

    @property
    def lost_rate(self) -> float:
        """Share of the characters that are in words that are [UNK]."""
        return self.lost / max(1, self.characters)

    @property
    def marked_rate(self) -> float:
        """Share of the characters that lose a mark, or are one that goes."""
        return self.marked / max(1, self.looked_at)

    @property
    def lost_words(self) -> tuple[str, ...]:
        """Some of the words that are [UNK], the most frequent first, cut short."""
        return tuple(_short(word) for word, _ in self.words.most_common(_KEPT))

    def warnings(
        self, vocab: Sequence[str], config: configs.TokenizerConfig, *, trained: bool
    ) -> Iterator[str]:
        """Says what is lost and why, a sentence or two for each kind.

        Args:
            vocab: the vocabulary.
            config: how words are cut.
            trained: whether the vocabulary was, on this corpus.
        """
        if max(self.unk_rate, self.lost_rate) > _TOLD:
            shown = ", ".join(map(repr, self.lost_words[:_SHOWN]))
            yield (
                f"{self.unk_rate:.1%} of all tokens are {vocabularies.UNK}, and "
                f"{self.lost_rate:.1%} of the characters are lost in them, such as "
                f"{shown}. {self._cause(vocab, config, trained)}"
            )
        if self.marked_rate > _TOLD:
            normalize = tokenizer.normalizer(config).normalize_str
            words = [_short(word) for word in self.marked_words[:_SHOWN]]
            shown = ", ".join(f"{word!r} is {normalize(word)!r}" for word in words)
            yield (
                f"{self.marked_rate:.1%} of the characters lose a mark or are one: "
                f"{shown}. Where marks tell words apart, keep them: --set "
                "tokenizer.strip_accents=false"
                + ("" if trained else ", with a vocabulary that has them")
            )

    def _cause(
        self, vocab: Sequence[str], config: configs.TokenizerConfig, trained: bool
    ) -> str:
        if 2 * self.in_long_words > self.lost:
            return (
                f"Most are words of over {tokenizer.MAX_WORD_CHARACTERS} characters, "
                "as in text without spaces between its words (Thai, Lao, Khmer, "
                "Burmese): cut it into words first"
            )
        for setting, other in _other_settings(config):
            encoder = tokenizer.Encoder(vocab, other)
            known = [word for word in self.words if not encoder.unknown_words(word)]
            if 2 * sum(self.words[word] for word in known) > self.words.total():
                return (
                    f"Most would be known with --set tokenizer.{setting}: is the "
                    "vocabulary of this casing?"
                )
        ids = vocabularies.token_ids(vocab)
        normalize = tokenizer.normalizer(config).normalize_str
        missing: collections.Counter[str] = collections.Counter()
        for word, count in self.words.items():
            missing.update({c: count for c in normalize(word).strip() if c not in ids})
        shown = ", ".join(repr(c) for c, _ in missing.most_common(2 * _SHOWN))
        if trained:
            return f"The vocabulary is too small to hold {shown}: see --vocab_size"
        return (
            f"The vocabulary lacks {shown or 'parts of them'}: is it of this language?"
        )


def _other_settings(
    config: configs.TokenizerConfig,
) -> Iterator[tuple[str, configs.TokenizerConfig]]:
    """Yields what may have been meant, and its name as a setting."""
    for name in ("lowercase", "strip_accents", "split_cjk"):
        stated = config.model_dump()
        stated[name] = not stated[name]
        if name == "lowercase":
            stated["strip_accents"] = None
        other = configs.TokenizerConfig(**stated)
        yield f"{name}={str(stated[name]).lower()}", other


def _short(word: str) -> str:
    return word if len(word) <= _SHORT else f"{word[:_SHORT]}..."
