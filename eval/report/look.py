"""Shared style of the charts: a colour and a marker for each method and member, axes, and words.

Colours are the page's CSS variables: `page.css` has a light and a dark value of each, distinct for
colour-blind readers too, and `charts.js` resolves them. Markers separate what colours may not.
"""

from __future__ import annotations

import html
import json
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from dspy_mux.optimize.figure_style import plain
from dspy_mux.replay.intervals import Estimate
from dspy_mux.text import visible

from .read import TaskAnswers


@dataclass(frozen=True)
class Look:
    """A colour of the page, plotly's marker name, and the same marker as a character."""

    color: str
    symbol: str
    sign: str


_METHODS = {
    "self_consistency": Look("var(--grey)", "square", "■"),
    "self_consistency_equal": Look("var(--grey)", "square-open", "□"),
    "agent_forest": Look("var(--orange)", "diamond", "◆"),
    "slm_mux": Look("var(--blue)", "circle", "●"),
    "probability": Look("var(--green)", "hexagon", "⬢"),
    "calibrated": Look("var(--violet)", "star", "★"),
    "large": Look("var(--ink)", "star-diamond", "✦"),
    "searched": Look("var(--teal)", "circle-open", "○"),
    "mixture_of_agents": Look("var(--pink)", "cross", "✚"),
    "llm_debate": Look("var(--ochre)", "x", "✖"),
    "multi_agent_verification": Look("var(--red)", "diamond-open", "◇"),
}
_MEMBER_COLORS = 8
_MEMBER_SYMBOLS = (
    ("triangle-up", "▲"),
    ("triangle-down", "▼"),
    ("triangle-right", "▶"),
    ("triangle-left", "◀"),
    ("triangle-up-open", "△"),
    ("triangle-down-open", "▽"),
    ("triangle-right-open", "▷"),
    ("triangle-left-open", "◁"),
)
OUTCOMES = {"right": "var(--right)", "wrong": "var(--wrong)", "no answer": "var(--none)"}
INK, QUIET, GRID = "var(--ink)", "var(--quiet)", "var(--grid)"


def member_look(task: TaskAnswers, name: str) -> Look:
    """Return the look of a member, wherever it appears."""
    at = task.members.index(name) % _MEMBER_COLORS
    return Look(f"var(--member-{at + 1})", *_MEMBER_SYMBOLS[at])


def method_look(task: TaskAnswers, method: str) -> Look:
    """Return the look of a method; a single member's is the member's.

    A method that escalates has the colour of the one whose answers it keeps.
    """
    family, _, other = method.partition(":")
    if family == "single":
        return member_look(task, other)
    if family == "escalated":
        return Look(_METHODS[other].color, "star-triangle-up", "▲")
    return _METHODS[method]


#: A trace of plotly's: names of attributes → values.
Trace = dict[str, object]


@dataclass(frozen=True)
class Chart:
    """A chart with its texts.

    Attributes:
        title: what it shows, and of how many questions.
        note: how to read it, in a sentence or two.
        traces, layout: plotly's.
        columns, rows: the same numbers as a table.
        legend: (label, colour, sign).
        height: in pixels.
    """

    title: str
    note: str
    traces: Sequence[Trace]
    layout: Mapping[str, object]
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    legend: Sequence[tuple[str, str, str]] = field(default=())
    height: int = 420

    def as_dict(self) -> dict[str, object]:
        """Return the chart as `charts.js` reads it; plotly validates the figure.

        Raises:
            MissingExtra: plotly is not installed.
        """
        from dspy_mux.optimize.figure_style import plotly

        layout = {
            "margin": {"l": 56, "r": 16, "t": 16, "b": 52},
            "showlegend": False,
            "hovermode": "closest",
            "dragmode": False,
        }
        figure = plotly().Figure(data=list(self.traces), layout={**layout, **self.layout})
        figure.update_layout(template="none")
        drawn = json.loads(figure.to_json())  # NaN becomes null
        return {
            "title": visible(self.title),
            "note": visible(self.note),
            "data": drawn["data"],
            "layout": drawn["layout"],
            "height": self.height,
            "legend": [
                {"label": visible(label), "color": color, "sign": sign}
                for label, color, sign in self.legend
            ],
            "columns": [visible(name) for name in self.columns],
            "rows": [[visible(cell) for cell in row] for row in self.rows],
        }


def axis(title: str, **more: object) -> dict[str, object]:
    """Return an axis of plotly's in the page's style."""
    common = {
        "title": {"text": plain(title), "standoff": 10},
        "gridcolor": GRID,
        "linecolor": GRID,
        "zeroline": False,
        "ticks": "",
        "automargin": True,
        "fixedrange": True,
    }
    return {**common, **more}


def error_bars(estimates: Sequence[Estimate], color: str) -> dict[str, object]:
    """Return error bars of 95 % intervals, in percent."""
    return {
        "type": "data",
        "symmetric": False,
        "array": [100 * (each.high - each.mean) for each in estimates],
        "arrayminus": [100 * (each.mean - each.low) for each in estimates],
        "color": color,
        "thickness": 1.2,
        "width": 3,
    }


def wrapped(text: str, width: int = 13) -> str:
    """Break a name into several lines, for a narrow place."""
    lines = textwrap.wrap(visible(text), width) or [""]
    return "<br>".join(html.escape(line, quote=False) for line in lines)


def percent(value: float) -> str:
    """Format a fraction as percent, with one digit and without a sign."""
    return f"{100 * value:.1f}"


def with_interval(estimate: Estimate) -> str:
    """Format an estimate with its interval, in percent."""
    return f"{estimate.percent()} % ({estimate.interval()})"
