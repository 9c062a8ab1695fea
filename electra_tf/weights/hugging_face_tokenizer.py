"""The words of a Hugging Face directory: its tokenizer's files, read and written.

In:   tokenizer_config.json, tokenizer.json, vocab.txt and what older versions wrote; or
      a vocabulary and its settings.
Out:  a vocabulary and its settings; or those files, which AutoTokenizer loads.
"""

import itertools
import os
import re
from collections.abc import Container, Sequence
from typing import Any, Literal

import pydantic
import tokenizers
from pydantic import NonNegativeInt
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors

from electra_tf import config, errors
from electra_tf.system import durable, reading
from electra_tf.text import tokenizer, vocabularies

VOCAB = "vocab.txt"
FAST_TOKENIZER = "tokenizer.json"
TOKENIZER_CONFIG = "tokenizer_config.json"
ADDED_TOKENS = "added_tokens.json"
SPECIAL_TOKENS = "special_tokens_map.json"

_TOKENIZERS = re.compile("(Bert|Electra)Tokenizer(Fast)?")
_GENERAL_TOKENIZERS = ("PreTrainedTokenizerFast", "TokenizersBackend")


class _WordPiece(config.Settings):
    model_config = pydantic.ConfigDict(extra="ignore")

    type: Literal["WordPiece"] = "WordPiece"  # Early files leave it out.
    unk_token: Literal["[UNK]"] = "[UNK]"
    continuing_subword_prefix: Literal["##"] = "##"
    max_input_chars_per_word: NonNegativeInt = tokenizer.MAX_WORD_CHARACTERS
    vocab: dict[str, NonNegativeInt]


class _Normalizer(config.Settings):
    type: Literal["BertNormalizer"]
    clean_text: Literal[True] = True
    handle_chinese_chars: bool = True
    strip_accents: bool | None = None
    lowercase: bool = True


class _PreTokenizer(config.Settings):
    type: Literal["BertPreTokenizer"]


class _AddedToken(config.Settings):
    """What is written of one, wherever; many leave most of it out."""

    model_config = pydantic.ConfigDict(extra="ignore")

    content: str
    id: NonNegativeInt | None = None
    single_word: bool = False
    lstrip: bool = False
    rstrip: bool = False
    normalized: bool | None = None
    special: bool = False


_Named = str | _AddedToken | None


class _SpecialTokens(config.Settings):
    """What tokenizer_config.json and special_tokens_map.json may both have."""

    model_config = pydantic.ConfigDict(extra="ignore")

    pad_token: _Named = None
    unk_token: _Named = None
    cls_token: _Named = None
    sep_token: _Named = None
    mask_token: _Named = None
    bos_token: _Named = None
    eos_token: _Named = None
    additional_special_tokens: list[_Named] | None = None
    extra_special_tokens: list[_Named] | dict[str, _Named] | None = None


class _Ids(config.Settings):
    """What added_tokens.json holds."""

    ids: dict[str, NonNegativeInt]


class _FastTokenizer(config.Settings):
    """What a tokenizer.json must hold for us to read words the same way."""

    model_config = pydantic.ConfigDict(extra="ignore")

    normalizer: _Normalizer
    pre_tokenizer: _PreTokenizer
    model: _WordPiece
    added_tokens: tuple[_AddedToken, ...] = ()


class _TokenizerSettings(_SpecialTokens):
    """What we act on of a tokenizer_config.json."""

    added_tokens_decoder: dict[NonNegativeInt, _AddedToken] = pydantic.Field({})
    tokenizer_class: str | None = None
    do_basic_tokenize: Literal[True] = True
    do_lower_case: bool = True
    strip_accents: bool | None = None
    tokenize_chinese_chars: bool = True


# Reading.


def read(folder: str) -> tuple[list[str] | None, config.TokenizerConfig]:
    """Reads vocabulary and rules as transformers 4 and 5 do.

    BERT's classes, which stand for none named too, ask tokenizer_config.json alone,
    whose defaults lower-case; the general classes ask tokenizer.json alone.
    """
    path = os.path.join(folder, TOKENIZER_CONFIG)
    settings = _TokenizerSettings()
    if os.path.exists(path):
        settings = config.check(_TokenizerSettings, reading.read_json(path), path)
    name = settings.tokenizer_class or "BertTokenizer"
    if not (_TOKENIZERS.fullmatch(name) or name in _GENERAL_TOKENIZERS):
        raise errors.UserError(
            f"{path}: tokenizer_class is {settings.tokenizer_class!r:.60}; only BERT's "
            "WordPiece is known: to have the weights alone, move the tokenizer's files "
            "away"
        )
    fast = _read_fast_tokenizer(os.path.join(folder, FAST_TOKENIZER))
    rules: dict[str, Any] = {
        "lowercase": settings.do_lower_case,
        "strip_accents": settings.strip_accents,
        "split_cjk": settings.tokenize_chinese_chars,
    }
    if fast is not None and settings.tokenizer_class in _GENERAL_TOKENIZERS:
        _refuse_word_limit(fast, os.path.join(folder, FAST_TOKENIZER))
        rules = {
            "lowercase": fast.normalizer.lowercase,
            "strip_accents": fast.normalizer.strip_accents,
            "split_cjk": fast.normalizer.handle_chinese_chars,
        }
    added = _read_added_tokens(folder, settings, fast)
    vocab, words = _read_vocab(folder, fast, added)
    if vocab is not None:
        rules["added_tokens"] = _found_in(vocab, words, added, folder)
    return vocab, config.TokenizerConfig(**rules)


def _read_added_tokens(
    folder: str, settings: _TokenizerSettings, fast: _FastTokenizer | None
) -> dict[str, _AddedToken]:
    """Returns the tokens that were added, by their contents, wherever they stand.

    What tokenizer_config.json says goes first, as in transformers.
    """
    stated: list[_SpecialTokens] = [settings]
    path = os.path.join(folder, SPECIAL_TOKENS)
    if os.path.exists(path):
        values = reading.read_json(path)
        stated.insert(0, config.check(_SpecialTokens, values, path))
    named = [token for some in stated for token in _special(some, folder)]
    found = {token.content: token for token in named}
    special = set(found)
    path = os.path.join(folder, ADDED_TOKENS)
    if os.path.exists(path):
        listed = config.check(_Ids, {"ids": reading.read_json(path)}, path).ids
        for content, number in listed.items():
            known = found.get(content, _AddedToken(content=content))
            found[content] = known.model_copy(update={"id": number})
    for token in fast.added_tokens if fast else ():
        found[token.content] = token
    for number, token in settings.added_tokens_decoder.items():
        found[token.content] = token.model_copy(update={"id": number})
    return {
        content: token.model_copy(
            update={"special": token.special or content in special}
        )
        for content, token in found.items()
    }


def _special(stated: _SpecialTokens, folder: str) -> list[_AddedToken]:
    """Returns the special tokens that a file names; the five must be BERT's."""
    tokens = []
    for name in _SpecialTokens.model_fields:
        value = getattr(stated, name)
        some = list(value.values()) if isinstance(value, dict) else value
        for token in some if isinstance(some, list) else [some]:
            if token is None:
                continue
            found = _AddedToken(content=token) if isinstance(token, str) else token
            want = f"[{name.removesuffix('_token').upper()}]"
            if found.content != want and want in vocabularies.SPECIAL_TOKENS:
                raise errors.UserError(
                    f"{folder}: {name} is {found.content!r:.60}; only BERT's {want} is "
                    "known"
                )
            tokens.append(found.model_copy(update={"special": True}))
    return tokens


def _found_in(
    vocab: list[str], words: Container[str], added: dict[str, _AddedToken], folder: str
) -> list[config.AddedToken]:
    """Returns them as our settings have them, but for BERT's five.

    Raises:
        UserError: one has no id.
    """
    ids = vocabularies.token_ids(vocab)
    found = []
    for content, token in added.items():
        if content in vocabularies.SPECIAL_TOKENS:
            continue
        if content not in ids:
            raise errors.UserError(
                f"{folder}: {content!r:.60} is a token that was added, but neither "
                "vocabulary nor file has an id for it; leave it out of them"
            )
        normalized = not token.special if token.normalized is None else token.normalized
        found.append(
            config.AddedToken(
                content=content,
                single_word=token.single_word,
                lstrip=token.lstrip,
                rstrip=token.rstrip,
                normalized=normalized,
                special=token.special,
                is_word=content in words,
            )
        )
    return sorted(found, key=lambda token: ids[token.content])


def _refuse_word_limit(fast: _FastTokenizer, path: str) -> None:
    """Refuses longer words; BERT's classes have one limit, whatever the file says."""
    found = fast.model.max_input_chars_per_word
    if found != tokenizer.MAX_WORD_CHARACTERS:
        raise errors.UserError(
            f"{path}: max_input_chars_per_word is {found}; only BERT's "
            f"{tokenizer.MAX_WORD_CHARACTERS} is known: write that if longer words may "
            f"be {vocabularies.UNK}"
        )


def _read_fast_tokenizer(path: str) -> _FastTokenizer | None:
    if not os.path.exists(path):
        return None
    try:
        return config.check(_FastTokenizer, reading.read_json(path), path)
    except errors.UserError as error:
        raise errors.UserError(
            f"{error}; only BERT's WordPiece is known: to have the weights alone, move "
            "the tokenizer's files away"
        ) from None


def _read_vocab(
    folder: str, fast: _FastTokenizer | None, added: dict[str, _AddedToken]
) -> tuple[list[str] | None, Container[str]]:
    """Returns the tokens, added ones too, and which of them WordPiece knows."""
    path = os.path.join(folder, VOCAB)
    vocab = vocabularies.read(path) if os.path.exists(path) else None
    if fast is not None:
        path, words = os.path.join(folder, FAST_TOKENIZER), fast.model.vocab
    elif vocab is not None:
        words = vocabularies.token_ids(vocab)
    else:
        return None, ()
    ids = dict(words)
    for content, token in added.items():
        if vocabularies.writable(content) != content:
            raise errors.UserError(
                f"{path}: {content!r:.80}, a token that was added, is one that "
                f"no line of a {VOCAB} can hold; rename it"
            )
        if token.id is not None:
            ids[content] = token.id
    size = max(ids.values(), default=-1) + 1
    apart = {**ids, **words} == ids and len(set(ids.values())) == len(ids)
    if not apart or size > 2 * len(ids):
        raise errors.UserError(
            f"{path}: its {len(ids)} tokens are not numbered from 0 to {len(ids) - 1}; "
            "each row of the embeddings needs its token"
        )
    # Blank lines of a vocab.txt, and all but the last of lines that are alike, are in
    # no tokenizer.json; that may have tokens that were added later.
    tokens = vocab or []
    tokens = tokens + [""] * (size - len(tokens))
    ids = {content: n for content, n in ids.items() if content.strip()}
    for content, number in ids.items():
        tokens[number] = tokens[number] or vocabularies.writable(content)
    if vocab is not None and vocabularies.token_ids(tokens) != ids:
        raise errors.UserError(
            f"{folder}: {VOCAB} and {FAST_TOKENIZER} do not hold the same tokens; "
            "remove the wrong one"
        )
    vocabularies.check(tokens, path)
    return tokens, words


# Writing.


def write(
    folder: str,
    vocab: Sequence[str],
    rules: config.TokenizerConfig,
    max_tokens: int,
) -> None:
    """Writes the tokenizer three times: words, rules, and both."""
    vocabularies.write(os.path.join(folder, VOCAB), vocab)
    values = {
        "tokenizer_class": "BertTokenizer",
        "do_lower_case": rules.lowercase,
        "strip_accents": rules.strip_accents,
        "tokenize_chinese_chars": rules.split_cjk,
        "model_max_length": max_tokens,
        "pad_token": vocabularies.PAD,
        "unk_token": vocabularies.UNK,
        "cls_token": vocabularies.CLS,
        "sep_token": vocabularies.SEP,
        "mask_token": vocabularies.MASK,
    }
    if special := [token.content for token in rules.added_tokens if token.special]:
        values["additional_special_tokens"] = special
    durable.write_json(os.path.join(folder, TOKENIZER_CONFIG), values)
    ids = vocabularies.token_ids(vocab)
    added = _at_the_end(vocab, rules.added_tokens) if len(ids) == len(vocab) else ()
    fast = tokenizers.Tokenizer(
        models.WordPiece(
            {token: i for token, i in ids.items() if token not in added},
            unk_token=vocabularies.UNK,
            max_input_chars_per_word=tokenizer.MAX_WORD_CHARACTERS,
        )
    )
    fast.normalizer = normalizers.BertNormalizer(
        clean_text=True,
        handle_chinese_chars=rules.split_cjk,
        strip_accents=rules.strip_accents,
        lowercase=rules.lowercase,
    )
    fast.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    fast.decoder = decoders.WordPiece(prefix="##")
    fast.post_processor = processors.TemplateProcessing(
        single="[CLS]:0 $A:0 [SEP]:0",
        pair="[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1",
        special_tokens=[(token, ids[token]) for token in ("[CLS]", "[SEP]")],
    )
    fast.add_special_tokens(list(vocabularies.SPECIAL_TOKENS))
    for token in sorted(rules.added_tokens, key=lambda token: ids[token.content]):
        fast.add_tokens([tokenizer.library_token(token)])
    path = os.path.join(folder, FAST_TOKENIZER)
    with open(path, "w", encoding="utf-8") as file:
        file.write(fast.to_str(pretty=True))


def _at_the_end(vocab: Sequence[str], added: Sequence[config.AddedToken]) -> set[str]:
    """Returns the tokens that stand behind all words, as the library numbers them."""
    apart = {token.content for token in added if not token.is_word}
    behind = itertools.takewhile(apart.__contains__, reversed(vocab))
    return set(behind)
