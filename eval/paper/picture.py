"""A picture of accuracy against the share escalated, as an SVG file that needs no library."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass

from dspy_mux.replay.escalation import EscalationPoint

_WIDTH, _HEIGHT = 640, 400
_LEFT, _RIGHT, _TOP, _BOTTOM = 62, 18, 46, 52
#: Distinct for colour-blind readers too (Okabe and Ito).
_COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9")
_QUIET = "#6b7280"


@dataclass(frozen=True)
class Picture:
    """Curves of one pool.

    Attributes:
        curves: rule → its points, from 0 to 1.
        large: the large model's name; alone: its accuracy.
        questions: n.
    """

    pool: str
    curves: Sequence[tuple[str, Sequence[EscalationPoint]]]
    large: str
    alone: float
    questions: int

    @property
    def described(self) -> str:
        """What the picture shows, for readers who do not see it."""
        return (
            f"Accuracy of {self.pool} against the share of {self.questions} questions that "
            f"{self.large} is asked, by rule: the least sure first, and as many at random; "
            f"{self.large} alone is right on {100 * self.alone:.1f} %"
        )

    def svg(self) -> str:
        """Return the picture."""
        lowest = min(point.accuracy for _, curve in self.curves for point in curve)
        highest = max(self.alone, *(point.accuracy for _, curve in self.curves for point in curve))
        scale = _Scale(5 * int(20 * lowest) / 100, 5 * (int(20 * highest) + 1) / 100)
        marks = [
            _text(_LEFT, 22, f"{self.pool} + {self.large} for the least sure questions", size=15),
            _text(
                _LEFT,
                38,
                f"n = {self.questions}; solid: the least sure first, dashed: as many at random",
                fill=_QUIET,
            ),
            *scale.axes(f"questions asked of {self.large}, %", "accuracy, %"),
            *scale.level(self.alone, f"{self.large} alone, {100 * self.alone:.1f} %"),
        ]
        for at, (rule, curve) in enumerate(self.curves):
            color = _COLORS[at % len(_COLORS)]
            by_chance = [(point.share, point.random) for point in curve]
            by_doubt = [(point.share, point.accuracy) for point in curve]
            row = _HEIGHT - _BOTTOM - 14 - 18 * (len(self.curves) - 1 - at)
            marks += [
                scale.line(by_chance, color, width=1, dash="4 4"),
                scale.line(by_doubt, color, width=2.4),
                _segment((_WIDTH - 190, row - 4), (_WIDTH - 166, row - 4), color, 2.4),
                _text(_WIDTH - 160, row, rule),
            ]
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" '
            'font-family="system-ui, sans-serif" role="img" aria-labelledby="title">\n'
            f'<title id="title">{html.escape(self.described)}</title>\n'
            f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="#ffffff"/>\n'
            + "\n".join(marks)
            + "\n</svg>\n"
        )


@dataclass(frozen=True)
class _Scale:
    """Where accuracies from `low` to `high` are drawn."""

    low: float
    high: float

    def place(self, share: float, accuracy: float) -> tuple[float, float]:
        part = (accuracy - self.low) / (self.high - self.low)
        return (
            _LEFT + share * (_WIDTH - _LEFT - _RIGHT),
            _HEIGHT - _BOTTOM - part * (_HEIGHT - _TOP - _BOTTOM),
        )

    def axes(self, across: str, up: str) -> list[str]:
        marks = []
        for step in range(round(20 * self.low), round(20 * self.high) + 1):
            left, right = self.place(0, step / 20), self.place(1, step / 20)
            marks.append(_segment(left, right, "#e5e7eb", 1))
            marks.append(_text(left[0] - 8, left[1] + 4, f"{5 * step}", anchor="end"))
        for share in (0, 0.2, 0.4, 0.6, 0.8, 1):
            x, y = self.place(share, self.low)
            marks.append(_text(x, y + 18, f"{100 * share:.0f}", anchor="middle"))
        middle = (_LEFT + _WIDTH - _RIGHT) / 2
        marks.append(_text(middle, _HEIGHT - 14, across, anchor="middle"))
        x, y = 18, (_TOP + _HEIGHT - _BOTTOM) / 2
        turned = f' transform="rotate(-90 {x} {y:.0f})"'
        marks.append(_text(x, y, up, anchor="middle", more=turned))
        return marks

    def level(self, accuracy: float, told: str) -> list[str]:
        left, right = self.place(0, accuracy), self.place(1, accuracy)
        return [
            _segment(left, right, "#111827", 1.2, dash="2 3"),
            _text(left[0] + 6, left[1] - 6, told),
        ]

    def line(
        self,
        points: Sequence[tuple[float, float]],
        color: str,
        *,
        width: float,
        dash: str | None = None,
    ) -> str:
        placed = " ".join("{:.1f},{:.1f}".format(*self.place(*point)) for point in points)
        return (
            f'<polyline points="{placed}" fill="none" stroke="{color}" '
            f'stroke-width="{width}"{_dashed(dash)}/>'
        )


def _segment(
    start: tuple[float, float],
    end: tuple[float, float],
    color: str,
    width: float,
    dash: str | None = None,
) -> str:
    return (
        f'<line x1="{start[0]:.1f}" y1="{start[1]:.1f}" x2="{end[0]:.1f}" y2="{end[1]:.1f}" '
        f'stroke="{color}" stroke-width="{width}"{_dashed(dash)}/>'
    )


def _dashed(dash: str | None) -> str:
    return "" if dash is None else f' stroke-dasharray="{dash}"'


def _text(
    x: float,
    y: float,
    told: str,
    *,
    size: int = 12,
    anchor: str = "start",
    fill: str = "#111827",
    more: str = "",
) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}" '
        f'fill="{fill}"{more}>{html.escape(told)}</text>'
    )
