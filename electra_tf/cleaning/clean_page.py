"""One HTML page of a cleaned corpus: how its scores are distributed, and its ends.

In:   what was counted, the scores of all lines or documents, texts from both ends.
Out:  a page without scripts of others, to open in a browser.
"""

import heapq
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from electra_tf.reports import report_page

_BARS = 60
_WIDTH, _HEIGHT, _MARGIN, _FOOT = 640, 180, 8, 22

_MOST_CHARACTERS = 300  # of a text that is shown

# Beyond it one odd line would squeeze all others into one bar.
_SHOWN_SHARE = 0.999


class Shown(NamedTuple):
    """A text with its score."""

    value: float
    text: str
    keep: bool


class Ends:
    """The least odd and the oddest of all texts that pass by."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._low: list[tuple[float, int, Shown]] = []
        self._high: list[tuple[float, int, Shown]] = []
        self._count = 0

    def add(self, shown: Shown) -> None:
        """Takes a text, and holds it if it is at one of the ends."""
        self._count += 1
        for held, key in ((self._low, -shown.value), (self._high, shown.value)):
            if len(held) < self._size:
                heapq.heappush(held, (key, self._count, shown))
            elif held and key > held[0][0]:
                heapq.heapreplace(held, (key, self._count, shown))

    def low(self) -> list[Shown]:
        """Returns the least odd, the least first."""
        return [shown for _, _, shown in sorted(self._low, reverse=True)]

    def high(self) -> list[Shown]:
        """Returns the oddest, the oddest first."""
        return [shown for _, _, shown in sorted(self._high, reverse=True)]


def render(
    title: str,
    facts: Mapping[str, str],
    values: npt.NDArray[np.float64],
    most: float,
    what: str,
    ends: Ends,
) -> str:
    """Returns the page.

    Args:
        title: plain text.
        facts: plain texts, by what they tell.
        values: scores of what was judged.
        most: the greatest that is kept.
        what: the score, in words.
        ends: texts to show.
    """
    return report_page.page(
        title,
        [
            report_page.section("Result", _pairs(facts)),
            report_page.section(
                f"Distribution: {report_page.escape(what)}", _histogram(values, most)
            )
            if values.size
            else "",
            _texts("The oddest", ends.high()),
            _texts("The least odd", ends.low()),
        ],
        _STYLE,
    )


_STYLE = (
    ".bar { fill: var(--c0) } .bar.over { fill: var(--c1) }\n"
    "text.y { text-anchor: end }\n"
)


def _pairs(facts: Mapping[str, str]) -> str:
    rows = "".join(
        f"<tr><th>{report_page.escape(name)}</th><td>{report_page.escape(said)}</td></tr>"
        for name, said in facts.items()
    )
    return f'<div class="wide" tabindex="0"><table><tbody>{rows}</tbody></table></div>'


def _histogram(values: npt.NDArray[np.float64], most: float) -> str:
    """Draws how many have which score; those that are dropped in another colour."""
    low, high = float(values.min()), float(np.quantile(values, _SHOWN_SHARE))
    high = max(high, low + 1e-6)
    counts, edges = np.histogram(np.clip(values, low, high), _BARS, (low, high))
    room = _WIDTH - 2 * _MARGIN
    bars = []
    for count, left, right in zip(counts, edges, edges[1:], strict=False):
        height = (_HEIGHT - 20) * count / max(1, counts.max())
        x = _MARGIN + room * (left - low) / (high - low)
        over = " over" if (left + right) / 2 > most else ""
        bars.append(
            f'<rect class="bar{over}" x="{x:.1f}" y="{_HEIGHT - height:.1f}" '
            f'width="{room / _BARS - 1:.1f}" height="{height:.1f}"><title>'
            f"{left:.3g} to {right:.3g}: {count:,}</title></rect>"
        )
    marks = [
        f'<text class="x" x="{_MARGIN + room * (at - low) / (high - low):.1f}" '
        f'y="{_HEIGHT + 16}">{at:g}</text>'
        for at in report_page.ticks(low, high)
        if low <= at <= high
    ]
    return (
        f'<figure class="chart"><svg viewBox="0 0 {_WIDTH} {_HEIGHT + _FOOT}" '
        f'role="img">{"".join(bars)}{"".join(marks)}</svg></figure>\n'
        '<p class="note">The colour changes at the bound: what is to its right is not '
        "kept. The last bar has all that lies beyond.</p>"
    )


def _texts(title: str, shown: Sequence[Shown]) -> str:
    if not shown:
        return ""
    rows = "".join(
        f"<tr><th>{one.value:.3f}</th><td>{'kept' if one.keep else 'not kept'}</td>"
        f"<td>{report_page.escape(_cut(one.text))}</td></tr>"
        for one in shown
    )
    return report_page.section(
        title,
        f'<div class="wide" tabindex="0"><table><tbody>{rows}</tbody></table></div>',
    )


def _cut(text: str) -> str:
    return text if len(text) <= _MOST_CHARACTERS else f"{text[:_MOST_CHARACTERS]} ..."
