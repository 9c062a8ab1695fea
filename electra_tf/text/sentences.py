"""A text becomes its sentences, by rules, in any language.

In:   a text, with lines, paragraphs and lists as people write them.
Out:  sentences in order, each with its place: `text[start:end]`. No character but
      whitespace lies outside of them.

A mark ends a sentence by what stands around it: a point after `Dr`, `e.g`, an initial
or the 3 of `3.14` does not, nor one within brackets or quotes, unless these are long.
The end of a line does, unless the line goes on, as in text that was cut to a width.
Scripts that have no marks (Thai, Lao) end at blanks; what has no end at all is cut.
"""

import bisect
import itertools
import re
import unicodedata
from collections.abc import Iterable, Iterator
from typing import NamedTuple

# The longest sentence, in characters: text without any mark is cut.
LONGEST = 600

# Clauses of scripts without marks are put together up to so many characters.
_CLAUSE = 60

# Characters within brackets or quotes that are not to be cut there.
_INSIDE = 200

# A line is full, and so goes on, from this share of the longest line of its paragraph.
_FULL_RATE = 0.75
_NARROWEST, _WIDEST = 40, 120  # Widths that text is cut to, in characters.

# Marks that end a sentence whatever stands around them (Unicode, Sentence_Terminal):
# Armenian, Arabic, Urdu, Syriac, Devanagari and its kin, Burmese, Ethiopic, Khmer,
# Mongolian, Tibetan, ideographic; full-width and half-width ones.
_ENDS = (
    "\u0589\u061e\u061f\u06d4\u0700-\u0702\u07f9\u0964\u0965\u0f0d\u0f0e\u104b\u1362"
    "\u1367\u1368\u166e\u1735\u1736\u17d4\u17d5\u1803\u1809\u1944\u1945\u1c7e\u1c7f"
    "\u2047-\u2049\u203c\u203d\u3002\ua4ff\ua60e\ua60f\ua6f3\ua6f7\ua8ce\ua8cf\uaaf0"
    "\uaaf1\uabeb\ufe52\ufe56\ufe57\uff01\uff0e\uff1f\uff61"
)
_MAYBE = ".!?\u2026"  # These end one or not.
_CLOSERS = "\"'\u2019\u201d\u00bb\u203a)\\]}\u300d\u300f\u3011\u3009\u300b\uff09\uff3d"
_OPENERS = "\"'\u2018\u201c\u201e\u00ab\u2039(\\[{\u00bf\u00a1\u300c\u300e*_"

_MARKS = re.compile(
    rf"[{_MAYBE}{_ENDS}\u037e;][{_MAYBE}{_ENDS}]*"
    rf"(?:[{_CLOSERS}]|[ \u00a0\u202f]\u00bb)*"
)
_CERTAIN = re.compile(f"[{_ENDS}\u037e]")
_GREEK = re.compile("[\u0370-\u03ff\u1f00-\u1fff]")

# Ideographs, kana and their marks: no blank stands between their sentences.
_IDEOGRAPH = re.compile(
    "[\u3001-\u303f\uff01-\uff65\u3041-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]"
)
# Thai and Lao, whose sentences and clauses end at blanks.
_BLANK_ENDS = re.compile("(?<=[\u0e00-\u0eff])[ \u00a0\u200b]+(?=[\u0e00-\u0eff])")

_LINE_END = re.compile(r"(?:\r\n|[\n\r\u0085\u2028\u2029])\s*")
_PARAGRAPH = re.compile(
    "\u2029|(?:\r\n|[\n\r\u0085\u2028])\\s*?(?:\r\n|[\n\r\u0085\u2028])\\s*"
)
_ITEM = re.compile(
    "(?:[-*+\u2022\u2023\u2043\u25aa\u25cf\u25cb\u25e6\u2219\u00b7\u2013\u2014]|[#>|]+"
    r"|\(?(?:\d{1,3}|[a-zA-Z]|[ivxIVX]{1,5})[.)]|[\u2460-\u2473])\s+\S"
)
_ITEM_MARK = re.compile(r"\(?(?:\d{1,3}|[a-zA-Z]|[ivxIVX]{1,5})\.\s")
_GOES_ON = re.compile(r"[,;\u2013\u2014\u3001\uff0c-]$")

_WORD_BEFORE = re.compile(r"[^\s(\[{\"'\u2018\u201c\u00ab]*$")
_ACRONYM = re.compile(r"(?:[^\W\d_]\.)+[^\W\d_]")
_NEXT_WORD = re.compile(rf"[{_OPENERS}\s]*([^\s{_MAYBE}{_CLOSERS},;:]*)")

# What brackets and quotes hold, if they close soon.
_HELD = re.compile(
    "|".join(
        rf"{opener}[^{opener}{closer}]{{0,{_INSIDE}}}{closer}"
        for opener, closer in (
            (r"\(", r"\)"),
            (r"\[", r"\]"),
            ("\u201c", "\u201d"),
            ("\u201e", "\u201c"),
            ("\u00ab", "\u00bb"),
            ("\u300c", "\u300d"),
            ("\u300e", "\u300f"),
            ("\uff08", "\uff09"),
        )
    )
    + rf'|(?<![^\s(\[])"(?=\S)[^"]{{0,{_INSIDE}}}"'
)

# Before a point that ends no sentence, whatever follows: titles, and what has a number.
_NEVER = frozenset(
    "adj adm art ave bros brig capt cf ch chap cmdr col comdr cpl dept dr ed eds "
    "eq eqn "
    "esp ex fig figs fr ft gen gov hon insp lt maj messrs mlle mm mme mr mrs ms "
    "msgr mt "
    "nr op pp pres prof pvt ref refs rep reps resp rev sec secs sen sens sgt st supt "
    "tab univ viz vol vols vs abs bspw bzw evtl frl ggf hr hrsg inkl sog str usf vgl "
    "zzgl sra srta dra avda num p.ex p.e z.b d.h u.a e.g i.e v.a i.d.r et "
    "\u0433\u043b \u0438\u043c \u0440\u0438\u0441 \u0441\u0442\u0440 \u0443\u043b "
    "\u0442.\u0435 \u043f\u0440\u043e\u0444 \u0442\u0430\u0431\u043b".split()
)
# These take a number, and end a sentence where none follows.
_NUMBERED = frozenset("no nos p art ch n\u00ba v".split())
# Before a point that ends a sentence only if the next word is one that begins them.
_SELDOM = frozenset(
    "al approx apr assn aug ca calif co corp dec est etc feb fla inc jan jr jul "
    "jun ltd "
    "mar mass mich minn mo nov oct okt dez ph.d plc pty sep sept sr tex u.s u.k "
    "u.n usw "
    "min max sq tel wash a.m p.m b.c a.d mrd mio \u0433 \u0434\u0440 "
    "\u0440\u0443\u0431 "
    "\u0442.\u0434 \u0442.\u043f \u0442\u044b\u0441 \u043c\u043b\u043d".split()
)
_STARTERS = frozenset(
    "a an the this that these those it its he she they we you i his her their our my "
    "in on at by for from with as if when while after before although since "
    "because but "
    "and or so yet however there here then thus therefore what who why how where which "
    "both each all some many most one two no not to finally first second moreover "
    "furthermore also instead meanwhile "
    "der die das ein eine er sie es wir ich in im am auf bei mit nach aber und wenn "
    "le la les un une il elle ils nous je dans mais et el los las una en pero y "
    "\u043e\u043d \u043e\u043d\u0430 \u044d\u0442\u043e \u0432 \u043d\u0430 "
    "\u043d\u043e "
    "\u043c\u044b \u044f".split()
)
_MONTHS = frozenset(
    "januar februar m\u00e4rz april mai juni juli august september oktober november "
    "dezember jahrhundert".split()
)


class Sentence(NamedTuple):
    """A sentence and its place in the text."""

    text: str  # of one line: whitespace within is a single blank
    start: int  # characters
    end: int


def split(text: str) -> list[Sentence]:
    """Returns the sentences of a text, in order; none of a blank text."""
    found = []
    for start, end in spans(text):
        found.append(Sentence(_on_one_line(text[start:end]), start, end))
    return found


def spans(text: str) -> list[tuple[int, int]]:
    """Returns where each sentence of a text starts and ends."""
    has_case = _has_case(text)
    found: list[tuple[int, int]] = []
    for start, end in _blocks(text):
        begin = start
        for stop in (*_stops(text, start, end, has_case), end):
            found += _short_enough(text, *_trimmed(text, begin, stop))
            begin = stop
    return found


def joined(texts: Iterable[str]) -> str:
    """Puts sentences on one line: with blanks between them, but for ideographs."""
    line = ""
    for text in texts:
        bare = not line or (_IDEOGRAPH.match(line[-1]) and _IDEOGRAPH.match(text))
        line += text if bare else f" {text}"
    return line


def _on_one_line(text: str) -> str:
    """Puts a sentence on one line; ideographs have no blank between lines."""
    if "\n" not in text and "\r" not in text:
        return " ".join(text.split())
    lines = (" ".join(line.split()) for line in text.splitlines())
    return joined(filter(None, lines))


def _has_case(text: str) -> bool:
    """Tells whether sentences begin with capitals: not in chats, nor in capitals."""
    part = text[:10_000]
    upper = sum(map(str.isupper, part))
    lower = sum(map(str.islower, part))
    return lower > 0 and upper > lower / 100


def _trimmed(text: str, start: int, end: int) -> tuple[int, int]:
    piece = text[start:end]
    start += len(piece) - len(piece.lstrip())
    return start, max(start, start + len(piece.strip()))


# Lines.


def _blocks(text: str) -> Iterator[tuple[int, int]]:
    """Yields parts whose lines go on: of paragraphs, headings, items of lists."""
    begin = 0
    for blank in _PARAGRAPH.finditer(text):
        yield from _blocks_of_paragraph(text, begin, blank.start())
        begin = blank.end()
    yield from _blocks_of_paragraph(text, begin, len(text))


def _blocks_of_paragraph(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    breaks = [one.span() for one in _LINE_END.finditer(text, start, end)]
    if not breaks:
        yield start, end
        return
    starts, stops = [start, *(b for _, b in breaks)], [*(a for a, _ in breaks), end]
    lines = [_trimmed(text, *one) for one in zip(starts, stops, strict=True)]
    longest = max(b - a for a, b in lines)
    is_cut = _NARROWEST <= longest <= _WIDEST and len(lines) > 2
    full = _FULL_RATE * longest if is_cut else _WIDEST + 1
    begin = start
    for (above, stop), (below, last) in itertools.pairwise(lines):
        if not _goes_on(text, (above, stop), (below, last), full):
            yield begin, stop
            begin = below
    yield begin, end


def _goes_on(
    text: str, line: tuple[int, int], following: tuple[int, int], full: float
) -> bool:
    """Tells whether a sentence may go on from a line to the next."""
    start, end = line
    below, last = following
    if start == end or _ITEM.match(text, below, last):
        return False
    letters = text[below : min(last, below + 2)]
    if letters[:1].islower() or _GOES_ON.search(text, start, end):
        return True
    return end - start >= full


# Marks.


def _stops(text: str, start: int, end: int, has_case: bool) -> Iterator[int]:
    """Yields where sentences end within a block."""
    held = [one.span() for one in _HELD.finditer(text, start, end)]
    opened = [one for one, _ in held]
    item = _ITEM_MARK.match(text, _trimmed(text, start, end)[0], end)
    at = item.end() if item else start  # The point of "3. What" is no end.
    begin = start
    for mark in _MARKS.finditer(text, at, end):
        stop = mark.end()
        place = bisect.bisect_right(opened, mark.start()) - 1
        if place >= 0 and stop < held[place][1]:
            continue
        if _ends(text, begin, mark, end, has_case):
            yield stop
            begin = stop


def _ends(text: str, begin: int, mark: re.Match[str], end: int, has_case: bool) -> bool:
    """Tells whether a mark ends the sentence that begins at `begin`."""
    stop = mark.end()
    if stop >= end:
        return False  # The block ends there in any case.
    before, after = text[max(begin, mark.start() - 1) : mark.start()], text[stop]
    if mark[0][0] == ";":
        return bool(_GREEK.match(before)) and after.isspace()
    if _CERTAIN.search(mark[0]):
        return True
    if not after.isspace():
        return _ends_without_blank(before, after, mark[0])
    following = _NEXT_WORD.match(text, stop, end)
    word = following[1] if following else ""
    if has_case and word[:1].islower() and word == word.lower():
        return False
    if mark[0].rstrip("\"'\u2019\u201d\u00bb)]}") != ".":
        return True
    return _point_ends(text, begin, mark.start(), word)


def _ends_without_blank(before: str, after: str, mark: str) -> bool:
    """Tells whether a mark that no blank follows ends a sentence."""
    if _IDEOGRAPH.match(after):
        return mark[0] != "." or bool(_IDEOGRAPH.match(before))
    return mark[0] in "!?" and before.islower() and after.isupper()


def _point_ends(text: str, begin: int, point: int, following: str) -> bool:
    """Tells whether a point that a blank and a word follow ends a sentence."""
    before = text[begin:point]
    word = _last_word(before)
    if before[-1:].isspace() and word.lower() != "al":
        return True  # Of text that is cut into tokens.
    folded, is_starter = word.lower(), following.lower() in _STARTERS
    if folded in _NEVER:
        return False
    if folded in _NUMBERED and following[:1].isdigit():
        return False
    if folded in _SELDOM or _ACRONYM.fullmatch(word):
        return is_starter
    if len(word) == 1 and word.isupper():  # An initial, or "vitamin C".
        return is_starter or not following[:1].isupper()
    is_day = word.isdigit() and len(word) <= 2  # Of German.
    return not (is_day and following.lower() in _MONTHS)


def _last_word(before: str) -> str:
    found = _WORD_BEFORE.search(before.rstrip()[-40:])
    return found[0] if found else ""


# Lengths.


def _short_enough(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Yields a sentence, or parts of it where it has clauses or is too long."""
    begin = start
    for blank in _BLANK_ENDS.finditer(text, start, end):
        if blank.start() - begin >= _CLAUSE:
            yield from _cut(text, begin, blank.start())
            begin = blank.end()
    yield from _cut(text, begin, end)


def _cut(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    while end - start > LONGEST:
        stop = _place_to_cut(text, start, start + LONGEST)
        yield _trimmed(text, start, stop)
        start = _trimmed(text, stop, end)[0]
    if start < end:
        yield start, end


def _place_to_cut(text: str, start: int, most: int) -> int:
    """Returns where to cut: after a clause, a blank, or at least between letters."""
    middle = (start + most) // 2
    for marks in ("\u3002\uff1b;", "\uff0c\u3001,\u060c", " \u00a0\t\n\u3000"):
        place = max(text.rfind(mark, middle, most) for mark in marks)
        if place >= 0:
            return place + 1
    while most > middle and _belongs_to_last(text[most]):
        most -= 1
    return most


def _belongs_to_last(letter: str) -> bool:
    """Tells whether a character stands on the one before: accents, joined emoji."""
    return letter == "\u200d" or unicodedata.category(letter) in (
        "Mn",
        "Mc",
        "Me",
        "Sk",
    )
