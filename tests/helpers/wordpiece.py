"""Texts that are hard to tokenize, and what Hugging Face's BERT tokenizer says of them.

In:   a `config.TokenizerConfig`.
Out:  texts of every kind, a vocabulary, and the right token ids.
"""

import random

import tokenizers
from tokenizers import models, normalizers, pre_tokenizers

from electra_tf import config
from electra_tf.text import vocabularies

UNCASED = config.TokenizerConfig()
CASED = config.TokenizerConfig(lowercase=False)
CASED_WITHOUT_ACCENTS = config.TokenizerConfig(lowercase=False, strip_accents=True)
UNCASED_WITH_ACCENTS = config.TokenizerConfig(strip_accents=False)
WITHOUT_CJK = config.TokenizerConfig(split_cjk=False)
ALL_CONFIGS = [
    UNCASED,
    CASED,
    CASED_WITHOUT_ACCENTS,
    UNCASED_WITH_ACCENTS,
    WITHOUT_CJK,
]

WORDS = (
    "film good un ##able ##s ' , . ! ( ) [ ] mask cls caf\u00e9 cafe na\u00efve".split()
)

NASTY = {
    "empty": "",
    "spaces": "  film   good ",
    "tabs and line ends": "film\tgood\r\nfilm\ngood\x0bfilm\x0cgood",
    "special tokens": "film [MASK] [PAD][UNK] [cls] ##s",
    "accents": "Caf\u00e9 cafe\u0301 na\u00efve \u1e69 \u0130I\u0131",
    "final sigma": "\u039f\u0394\u039f\u03a3 \u039f\u0394\u039f\u03a3. \u03a3",
    "sharp s and half": "\u1e9e\u00df \u00bd \u00b4 \u00a8 \u01c5 \ufb03",
    "Chinese": "\u4f60\u597d film\u4e16\u754c\u3002\U00020000\uf900",
    "Japanese and Korean": "\u3053\u3093 \u30ab\u3099 \ud55c\uad6d\uc5b4",
    "Hebrew": "\u05e9\u05c1\u05dc\u05d5\u05dd\u05be\u05d0 \u202egood\u202c film",
    "Arabic": "\u0645\u064e\u0631\u0652\u062d\u0628\u0627\u060c \u0622\u0626 \ufefb",
    "emoji": "good\U0001f600film \U0001f468\u200d\U0001f469 \u2764\ufe0f",
    "controls": "fi\x00lm go\x7fod \x80\x85\x9f un\x1cable\x1f",
    "format and private": "fi\u200blm \ufeffgood \u00adun\ue000able \U000f0000",
    "replacement": "fi\ufffdlm \ufffd",
    "unassigned": "fi\u0378lm \U0001fbff \u2fe0",
    "odd spaces": "film\u00a0good\u3000un\u2028able\u2029\u1680\u180e",
    "punctuation": "film'good, (un-able)! \u00bfgood\u2026 \u2e43 \u061d $+<=>^`|~",
    "combining first": "\u0301film .\u0301good",
    "word of 100": "a" * 100,
    "word of 101": "film " + "a" * 101 + " good",
    "word of 100, 400 bytes": "\U0001d4d0" * 100,
    "word of 101, 202 bytes": "\u0434" * 101,
    "100 once the accents are gone": "e\u0301" * 100,
    "Hangul grows to 102": "\ud55c" * 34,
    "Hangul grows to 99": "\ud55c" * 33,
}


def hugging_face(
    vocab: list[str], settings: config.TokenizerConfig
) -> tokenizers.Tokenizer:
    """Written out again here, so that a slip in the module shows."""
    reference = tokenizers.Tokenizer(
        models.WordPiece(
            {token: i for i, token in enumerate(vocab)},
            unk_token="[UNK]",
            max_input_chars_per_word=100,
        )
    )
    reference.normalizer = normalizers.BertNormalizer(
        clean_text=True,
        handle_chinese_chars=settings.split_cjk,
        strip_accents=settings.strip_accents,
        lowercase=settings.lowercase,
    )
    reference.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return reference


def vocab_with(texts: list[str], settings: config.TokenizerConfig) -> list[str]:
    """A vocabulary that knows most characters of the texts, so that each one shows."""
    normalizer = hugging_face(list(vocabularies.SPECIAL_TOKENS), settings).normalizer
    seen = sorted(set("".join(map(normalizer.normalize_str, texts))) - set(" "))
    seen = [c for i, c in enumerate(seen) if i % 11]  # Some stay unknown.
    tokens = [*vocabularies.SPECIAL_TOKENS, *WORDS, *seen, *(f"##{c}" for c in seen)]
    return list(dict.fromkeys(tokens))


def random_texts(count: int) -> list[str]:
    """Texts of characters from all of Unicode, its crowded parts most often."""
    rng = random.Random(7)
    parts = [(0, 0x250), (0x250, 0x3100), (0x3100, 0xD800), (0xE000, 0x10000)]
    parts += [(0x10000, 0x12000), (0x12000, 0x33500), (0xE0000, 0x110000)]
    texts = []
    for _ in range(count):
        low, high = rng.choice(parts)
        letters = [
            chr(rng.randrange(low, high))
            if rng.random() < 0.6
            else rng.choice(" aZ\u03a3.")
            for _ in range(rng.randrange(50))
        ]
        texts.append("".join(letters))
    return texts


def expected(vocab: list[str], settings: config.TokenizerConfig, texts: list[str]):
    encodings = hugging_face(vocab, settings).encode_batch(
        texts, add_special_tokens=False
    )
    return [encoding.ids for encoding in encodings]


def case(settings: config.TokenizerConfig):
    """Settings, texts of every kind, a vocabulary, and Hugging Face's answer."""
    texts = [*NASTY.values(), *random_texts(1500)]
    vocab = vocab_with(texts, settings)
    return settings, texts, vocab, expected(vocab, settings, texts)
