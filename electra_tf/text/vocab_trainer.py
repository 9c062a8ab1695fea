"""Learns a WordPiece vocabulary: text becomes tokens.

In:   pieces of text, a size, a `config.TokenizerConfig`.
Out:  the tokens in the order of their ids, [PAD] first.
"""

import collections
from collections.abc import Iterable, Iterator, Sequence

import tokenizers
from tokenizers import models, pre_tokenizers, trainers

from electra_tf import config as configs
from electra_tf.text import tokenizer, vocabularies

# Share of the running text whose characters must be in a trained vocabulary, as far as
# they have room: half of it, or the share of the text in words of one character.
_ALPHABET_COVERAGE = 0.9999
_ALPHABET_SHARE = 0.5


def train(
    texts: Iterable[str], size: int, config: configs.TokenizerConfig
) -> list[str]:
    """Learns a WordPiece vocabulary; the same texts give the same tokens.

    Memory grows with the number of different words, not with the text.

    Args:
        texts: any pieces of text that break no word.
        size: tokens wanted; fewer where the text has no more to give.
        config: how words are cut.
    """
    words = _count_words(texts, config)
    alphabet = _Alphabet(words)
    room = size - len(vocabularies.SPECIAL_TOKENS)
    # Where characters are words of their own, there is little else to learn.
    share = max(_ALPHABET_SHARE, alphabet.standing_alone)
    kept = alphabet.choose(int(room * share), _ALPHABET_COVERAGE)
    tokens = _learn(words, size, kept)
    # Where nothing more recurs, the rarest characters may have what is left.
    for character in alphabet.choose(size - len(tokens), 1.0, without=kept):
        tokens += alphabet.tokens(character)
    return tokens


def _count_words(
    texts: Iterable[str], config: configs.TokenizerConfig
) -> collections.Counter[str]:
    """Counts words as the tokenizer cuts them; each different chunk is cut once."""
    chunks: collections.Counter[str] = collections.Counter()
    for text in texts:
        chunks.update(tokenizer.chunks_of(text, config))
    normalize = tokenizer.normalizer(config).normalize_str
    splitter = pre_tokenizers.BertPreTokenizer()
    words: collections.Counter[str] = collections.Counter()
    for chunk, count in chunks.items():
        for word, _ in splitter.pre_tokenize_str(normalize(chunk)):
            if len(word) <= tokenizer.MAX_WORD_CHARACTERS:
                words[word] += count
    return words


def _learn(
    words: collections.Counter[str], size: int, characters: list[str]
) -> list[str]:
    """Returns the special tokens, those of the characters, and what merges make."""
    kept = set(characters)
    inner = {f"##{c}" for word in words for c in word[1:] if c in kept}
    # The library numbers "##x" in the order of a hash map with a random seed, and
    # breaks ties between merges by these numbers. Given as special tokens, they have
    # theirs before it starts.
    trainer = trainers.WordPieceTrainer(
        vocab_size=size,
        min_frequency=2,
        special_tokens=[*vocabularies.SPECIAL_TOKENS, *sorted(inner)],
        initial_alphabet=characters,
        limit_alphabet=len(characters),
        show_progress=False,
    )
    learner = tokenizers.Tokenizer(models.WordPiece(unk_token=vocabularies.UNK))
    learner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    learner.train_from_iterator(_repeat(words), trainer)
    ids = learner.get_vocab()
    return sorted(ids, key=ids.__getitem__)


class _Alphabet:
    """The characters of words, and the tokens that each takes: x, and ##x inside."""

    def __init__(self, words: collections.Counter[str]) -> None:
        counts: collections.Counter[str] = collections.Counter()
        self._inner: set[str] = set()
        alone = 0
        for word, count in words.items():
            for character in word:
                counts[character] += count
            self._inner.update(word[1:])
            alone += count if len(word) == 1 else 0
        self._total = counts.total()
        # The most frequent first; of equals, by code.
        self._counts = sorted(counts.items(), key=lambda item: (-item[1], item))
        self.standing_alone = alone / max(1, self._total)  # share of the running text

    def tokens(self, character: str) -> list[str]:
        """Returns what stands for it at the beginning of a word, and inside."""
        return [character, f"##{character}"][: 1 + (character in self._inner)]

    def choose(
        self, places: int, coverage: float, without: Sequence[str] = ()
    ) -> list[str]:
        """Returns the most frequent characters that have room for their tokens.

        Args:
            places: tokens at most.
            coverage: share of the running text that is enough.
            without: characters that have their tokens.
        """
        kept: list[str] = []
        covered, passed = 0, set(without)
        for character, count in self._counts:
            if covered >= coverage * self._total:
                break
            if character not in passed and len(self.tokens(character)) <= places:
                places -= len(self.tokens(character))
                kept.append(character)
                covered += count
        return kept


def _repeat(words: collections.Counter[str], batch: int = 1000) -> Iterator[str]:
    """Yields each word as often as it was counted, `batch` at a time."""
    for word, count in words.items():
        for start in range(0, count, batch):
            yield " ".join([word] * min(batch, count - start))
