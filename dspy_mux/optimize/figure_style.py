"""One look for all figures: a colour and a marker for each rule, intervals, titles and captions.

Colours have a contrast of at least 3 on white and on dark pages. Markers and dashes separate the
lines for readers who see colours alike.
"""

from __future__ import annotations

import html
from collections.abc import Sequence
from types import ModuleType
from typing import TYPE_CHECKING, NamedTuple, Protocol

from ..errors import extra_module
from ..text import visible

if TYPE_CHECKING:
    import plotly.graph_objects as go

BLUE, ORANGE, GREEN, VIOLET, OCHRE, GREY, RED = (
    "#2f7fd0", "#d9620c", "#1f9450", "#9a63c9", "#9a7a00", "#7d8590", "#d84a4a",
)  # fmt: skip
BAND = "rgba(47, 127, 208, 0.2)"
#: Names the intervals of figures, which are all of one method (`replay/intervals.py`).
INTERVALS = "bars: 95 % intervals (Wilson)"


class Look(NamedTuple):
    """A colour, plotly's name of a marker, and plotly's name of a dash."""

    color: str
    symbol: str
    dash: str


_LOOKS = {
    "consistency": Look(BLUE, "circle", "solid"),
    "pooled": Look(ORANGE, "diamond", "dash"),
    "probability": Look(GREEN, "square", "dot"),
    "calibrated": Look(VIOLET, "star", "dashdot"),
    "calibrated with evidence": Look(VIOLET, "star-open", "longdash"),
    "self_consistency": Look(GREY, "x", "longdashdot"),
}
#: Of rules that are not ours, in the order in which they appear.
_OTHERS = (
    Look(OCHRE, "triangle-up", "solid"),
    Look(RED, "triangle-down", "dash"),
    Look(BLUE, "pentagon", "dot"),
    Look(ORANGE, "hexagon", "dashdot"),
)


class Interval(Protocol):
    """Anything with an accuracy and its 95 % interval, as fractions."""

    @property
    def accuracy(self) -> float: ...
    @property
    def low(self) -> float: ...
    @property
    def high(self) -> float: ...


def looks(rules: Sequence[str]) -> dict[str, Look]:
    """Return the look of each rule: always the same for a rule of ours."""
    found = {rule: _LOOKS[rule] for rule in rules if rule in _LOOKS}
    others = [rule for rule in dict.fromkeys(rules) if rule not in _LOOKS]
    return found | {rule: _OTHERS[at % len(_OTHERS)] for at, rule in enumerate(others)}


def bars(points: Sequence[Interval], color: str) -> dict[str, object]:
    """Return the error bars of points, in percent."""
    return {
        "type": "data",
        "symmetric": False,
        "array": [100 * (point.high - point.accuracy) for point in points],
        "arrayminus": [100 * (point.accuracy - point.low) for point in points],
        "color": color,
        "thickness": 1.2,
        "width": 3,
    }


def titled(
    figure: go.Figure,
    title: str,
    x: str,
    y: str,
    *,
    of: str,
    caption: str,
    height: int = 440,
) -> go.Figure:
    """Give a figure its texts.

    Args:
        figure: what is titled, and returned.
        title: what it shows.
        x, y: the axes' names with their units.
        of: under the title: n, the setting, and what the bars are.
        caption: how to read it, in sentences; `figure_page.page` shows it under the figure.
        height: in pixels.
    """
    figure.update_layout(
        title={"text": title, "subtitle": {"text": of}, "x": 0.02, "xanchor": "left"},
        template="plotly_white",
        font={"size": 13},
        margin={"l": 60, "r": 24, "t": 80, "b": 56},
        legend={"orientation": "h", "yref": "container", "yanchor": "bottom", "y": 0, "x": 0},
        hoverlabel={"bgcolor": "#ffffff", "font": {"color": "#1b2027"}},
        height=height,
        meta={"caption": caption},
    )
    figure.update_xaxes(title={"text": x, "standoff": 8}, automargin=True)
    figure.update_yaxes(title={"standoff": 8}, automargin=True)
    if y:  # else each of several axes has its own
        figure.update_yaxes(title={"text": y})
    return figure


def plain(text: str) -> str:
    """Escape text for plotly, which interprets tags as formatting."""
    return html.escape(visible(text), quote=False)


def plotly() -> ModuleType:
    """Return `plotly.graph_objects`.

    Raises:
        MissingExtra: plotly is not installed.
    """
    return extra_module("plotly.graph_objects", "Pictures need plotly", "report")
