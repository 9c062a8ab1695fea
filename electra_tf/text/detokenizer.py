"""Tokens become text again: words are joined, blanks stand where people write them.

In:   token ids; a vocabulary (token i is line i), a `config.TokenizerConfig`.
Out:  text.

WordPiece forgets where the blanks were. Rules put them back: regular expressions that
Python and RE2, which is TensorFlow's, read alike, so that one table serves here and in
a served graph (`tasks.graph_detokenizer`). What an uncased vocabulary forgot stays
forgotten: capitals, accents.

No rule looks ahead or back. So one that takes a neighbour which the next place of the
same kind needs, too, runs twice.
"""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from electra_tf import config as configs
from electra_tf.text import vocabularies


class Rule(NamedTuple):
    """What is written instead of what, and how often it runs."""

    pattern: str
    replacement: str
    times: int = 1


# Ideographs, each a word of its own; marks and wide letters that go without blanks;
# and marks of other scripts, too, that do so among ideographs.
_IDEOGRAPHS = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0002fa1f"
_WIDE = "\u3001-\u3003\u3005-\u3011\u3014-\u301f\u30fb\uff01-\uff65"
_SHARED = "\u2014\u2026\u00b7\u2018-\u201d"

# What words are made of, about: letters and marks of scripts, not of punctuation.
_LETTERS = (
    "A-Za-z\u00aa\u00b5\u00ba\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u0559"
    "\u0560-\u0588\u0591-\u060b\u0610-\u061a\u0620-\u0669\u066e-\u06d3\u06d5-\u0963\u0966-\u1fff"
    "\u2c00-\u2dff\u3040-\u30fa\u30fc-\ufaff\ufb00-\ufdff\ufe70-\ufefc\U00010000-\U0003ffff"
)
_WORD = f"0-9{_LETTERS}"
_SMALL = "a-z\u00df-\u00f6\u00f8-\u00ff"

# Marks that cling to what is before them, or behind them.
_CLOSING = (
    r".,;:!?)\]}%"
    + "\u201d\u2019\u203a\u00b0\u2030\u00b2\u00b3\u00ae\u2122"
    + "\u060c\u061b\u061f\u06d4\u0964\u0965\u17d4"
)
_OPENING = r"(\[{$#@" + "\u00bf\u00a1\u201c\u2018\u201a\u201e\u2039\u00a3"

# Stand for what is decided, until the end: an apostrophe; what ends a German quotation.
_APOSTROPHE, _END_QUOTE = "\x01", "\x02"
_DECIDED = [Rule(_APOSTROPHE, "'"), Rule(_END_QUOTE, "\u201c")]


def _marks() -> list[Rule]:
    """Marks of several characters, of which each was a token."""
    twice = ["~", r"\*", "-", "_", "#", "/", "<", ">", "\u2014", "\u2026"]
    return [
        Rule(r"\. \. \.", "..."),
        Rule("([<>=!:]) =", r"\1="),
        Rule("([-=]) >", r"\1>"),
        *(Rule(f"{mark} {mark}", mark[-1] * 2, 2) for mark in twice),
    ]


def _quotes() -> list[Rule]:
    """Apostrophes, and quotes in pairs: the same mark opens and closes."""
    ends = "(s|t|re|ve|ll|d|m|S|T|RE|VE|LL|D|M)( |$)"
    begins = "(^| )([dljcnmtsoDLJCNMTSO]|[Qq]u)"
    return [
        Rule(f"([{_WORD}]) ' {ends}", rf"\1{_APOSTROPHE}\2\3"),
        Rule(f"([{_WORD}]) \u2019 {ends}", r"\1" + "\u2019" + r"\2\3"),
        Rule(f"{begins} ' ([{_LETTERS}])", rf"\1\2{_APOSTROPHE}\3"),
        Rule(f"{begins} \u2019 ([{_LETTERS}])", r"\1\2" + "\u2019" + r"\3"),
        Rule('" (?:([^"]*) )?"', r'"\1"'),
        Rule("(^| )' ([^']*) '( |$)", r"\1'\2'\3", 2),
        Rule(f"([{_WORD}]) '( |$)", r"\1'\2"),
        *(
            Rule(
                f"(^[^\xab\xbb]*(?:{a}[^\xab\xbb]+{b}[^\xab\xbb]*)*){a} "
                f"([^\xab\xbb]*) {b}",
                rf"\1{a}\2{b}",
                4,
            )
            for a, b in ("\xab\xbb", "\xbb\xab")
        ),
        Rule('\u201e ([^\u201e\u201c\u201d"]*) \u201c', f"\u201e\\1{_END_QUOTE}"),
    ]


def _formulas() -> list[Rule]:
    """Formulas and names of functions; plurals in brackets: cell(s)."""
    return [
        Rule("^= ", "="),
        Rule('= "', '="'),
        Rule(r"\( \)", "()"),
        Rule(r"([=+*/;(,]) ?([A-Z][A-Z0-9.]*) \(", r"\1\2(", 2),
        Rule(r"([A-Z]{2,}[A-Z0-9.]*) \( ([^();]*;)", r"\1( \2", 2),
        Rule(rf"([{_WORD}]) \(\)", r"\1()"),
        Rule("([A-Z]+[0-9]+) : ([A-Z]+[0-9]+)", r"\1:\2"),
        Rule(r"([a-z]) \( (s|es|n|en|e|r|in|innen) \)", r"\1(\2)"),
    ]


def _numbers() -> list[Rule]:
    """Decimals, times, dates, ranges; a comma only where it can be no list's."""
    before = (
        r'^|[(\[=:;,"]|(?:^| )(?:between|from|to|and|or|is|of|than|by|with|minus|bis|'
        "von|zu|und|oder|ist|sind|auf|mit|als|um)"
    )
    return [
        Rule("([0-9]) ([.:/]) ([0-9])", r"\1\2\3", 2),
        Rule("([0-9]) ([-\u2013*;]) ([0-9])", r"\1\2\3", 2),
        Rule("(^|[^0-9])([0-9]{1,3}) , ([0-9]{3})( |[.,][0-9]|$)", r"\1\2,\3\4", 3),
        Rule("(^| )(0) , ([0-9])", r"\1\2,\3"),
        Rule("([0-9]) , ([0-9]{2}|[013-9][0-9]{3}|[0-9]{5,})( |$)", r"\1,\2\3", 2),
        Rule("([;(]) ?([0-9]+) , ([0-9]+) ([;)])", r"\1 \2,\3 \4", 2),
        Rule(f"({before}) - ([0-9])", r"\1 -\2"),
        Rule(f"([{_LETTERS}]) - ([0-9]+[.,][0-9])", r"\1 -\2"),
    ]


def _hyphens() -> list[Rule]:
    """Compounds, those that share a part (ein- und ausblenden), slashes."""
    shared = "und|oder|bzw|beziehungsweise|and|or|to|sowie|u|o|y|et|ou|e|en"
    return [
        Rule(f"([{_LETTERS}]) - ([{_SMALL}]{{1,4}}) - ([{_LETTERS}])", r"\1-\2-\3"),
        Rule(f"([{_LETTERS}]) - ({shared}|[,.;:)/])( |$)", r"\1- \2\3"),
        Rule(f"(und|oder|sowie|,) - ([{_LETTERS}])", r"\1 -\2"),
        Rule(f"([{_WORD}]) ([-+]) ([{_WORD}])", r"\1\2\3", 2),
        Rule(r" ?([_\\/]) ?", r"\1"),
    ]


def _dots(lowercase: bool) -> list[Rule]:
    """Dots within words: i.e., U.S., file names, addresses.

    In cased text a dot before a small letter ends no sentence.
    """
    ends = "com|org|net|de|cn|uk|fr|edu|gov|io|html?|php|txt|pdf|py"
    cased = Rule(
        rf"([{_LETTERS}][0-9]|[{_LETTERS}]{{2}}|[_*]) \. ([{_SMALL}])", r"\1.\2", 2
    )
    return [
        Rule(rf"(^| )([A-Za-z]) \. ([{_SMALL}])( \.|$)", r"\1\2.\3\4"),
        Rule(r"(^| )([A-Z]) \. ([A-Z]) \.( |$)", r"\1\2.\3.\4"),
        *([] if lowercase else [cased]),
        Rule(r"([A-Z]{2}) \. ([A-Z]{2})", r"\1.\2", 2),
        Rule(rf"(^| |/)(www|WWW) \. ([{_WORD}])", r"\1\2.\3"),
        Rule(rf"([{_WORD}]) \. ({ends})( |/|$)", r"\1.\2\3", 2),
        Rule(f"([{_WORD}]) @ ([{_WORD}])", r"\1@\2"),
        Rule("(https?|ftp|file) : ?// ?", r"\1://"),
        Rule("(://[^ ]*) ?([.?=&#~%:-]) ([0-9A-Za-z])", r"\1\2\3", 8),
    ]


def _blanks() -> list[Rule]:
    """What opens and what closes."""
    return [
        Rule("< ([^<> ]*(?: [^<> ]+)?) >", r"<\1>"),
        Rule(f"([{_OPENING}]) ", r"\1"),
        Rule(f" ([{_CLOSING}])", r"\1"),
        Rule(f"([{_WORD})]) \u2026", r"\1" + "\u2026"),
    ]


class Rules(NamedTuple):
    """All rules, in the order in which they run."""

    # Where a text has as many ideographs as `is_cjk` wants; and where it has not.
    cjk: list[Rule]
    other: list[Rule]
    rest: list[Rule]


def rules(config: configs.TokenizerConfig) -> Rules:
    """Returns the rules for text that was cut in a certain way."""
    # Else ideographs are in words, which have blanks between them.
    cut = config.split_cjk
    return Rules(
        [Rule(f" *([{_IDEOGRAPHS}{_WIDE}{_SHARED}]) *", r"\1")] * cut,
        [
            Rule(f"([{_IDEOGRAPHS}]) ([{_IDEOGRAPHS}])", r"\1\2", 2),
            Rule(f" ?([{_WIDE}]) ?", r"\1"),
        ]
        * cut,
        [
            *_marks(),
            *_quotes(),
            *_formulas(),
            *_numbers(),
            *_hyphens(),
            *_dots(config.lowercase),
            *_blanks(),
            *_DECIDED,
        ],
    )


# What is left of a text is its ideographs; its blanks.
ONLY_IDEOGRAPHS, ONLY_BLANKS = f"[^{_IDEOGRAPHS}]", "[^ ]"


def is_cjk(ideographs: int, words: int) -> bool:
    """Tells whether a text is Chinese, or the like, with words of others in it.

    Else it is of others, with ideographs in it, which keep their blanks around them.
    Of tensors, too.
    """
    return 10 * ideographs > 3 * words


def pieces(vocab: Sequence[str]) -> list[str]:
    """Returns what each token adds to a text: a blank before each word."""
    found = [
        token[2:] if token.startswith("##") and len(token) > 2 else f" {token}"
        for token in vocab
    ]
    silent = {*vocabularies.SPECIAL_TOKENS}
    return [
        "" if token in silent else one for token, one in zip(vocab, found, strict=True)
    ]


class Detokenizer:
    """Turns token ids into text. Special tokens, [UNK] too, are left out."""

    def __init__(self, vocab: Sequence[str], config: configs.TokenizerConfig) -> None:
        self._pieces = pieces(vocab)
        self._cjk, self._other, self._rest = map(_compiled, rules(config))
        self._composes = config.strip_accents

    def __call__(self, ids: Iterable[int]) -> str:
        """Returns the text of token ids."""
        text = "".join(self._pieces[i] for i in ids).lstrip(" ")
        if self._composes:  # Korean letters, which go apart with the accents.
            text = unicodedata.normalize("NFC", text)
        count = len(re.sub(ONLY_IDEOGRAPHS, "", text))
        blanks = text.count(" ")
        first = self._cjk if is_cjk(count, blanks + 1) else self._other
        for pattern, replacement, times in (*first, *self._rest):
            for _ in range(times):
                text = pattern.sub(replacement, text)
        return text.strip(" ")


def _compiled(some: Sequence[Rule]) -> list[Any]:
    return [(re.compile(one.pattern), *one[1:]) for one in some]
