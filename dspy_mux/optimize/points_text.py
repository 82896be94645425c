"""Operating points in words: a table, and sentences on what they are and promise."""

from __future__ import annotations

from collections.abc import Sequence

from ..mux.points import OperatingPoint, OperatingPoints

_COLUMNS = ("point", "threshold", "trusted %", "wrong among them %", "right of all %")
_LARGE_COLUMNS = ("escalated %", "US dollars a question")
#: Columns of numbers.
POINT_NUMBERS = (*_COLUMNS[1:], *_LARGE_COLUMNS)


def points_table(points: OperatingPoints) -> tuple[Sequence[str], list[list[str]]]:
    """Return the columns and rows of a table."""
    large = points.large is not None
    columns = (*_COLUMNS, *_LARGE_COLUMNS) if large else _COLUMNS
    return columns, [_cells(point, points, large) for point in points]


def _cells(point: OperatingPoint, points: OperatingPoints, large: bool) -> list[str]:
    names = ", ".join(point.names)
    cells = [
        f"{names} (compiled)" if points.compiled in point.names else names,
        f"{point.threshold:.6g}",
        _percent(point.coverage),
        _percent(point.risk),
        _percent(point.accuracy),
    ]
    if large:
        cells += [_percent(point.escalated), "–" if point.cost is None else f"{point.cost:.3g}"]
    return cells


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.1f}"


def points_note(points: OperatingPoints) -> str:
    """Return sentences: the promise, what measured the points, and what they leave out."""
    if not points.points:
        return f"There is no operating point: {points.nothing}"
    parts = [] if points.promise is None else [points.promise]
    if points.promise is not None and len(points) > 1:
        parts.append("The promise holds for all operating points at once, whichever is picked.")
    if points.promise is None:
        parts.append("No risk is promised at the operating points.")
    others = (
        f"The figures of the points are of {points.questions} questions that chose neither "
        "members, rule nor k, nor were fitted on; they chose the thresholds, which flatters a "
        "picked one a little."
    )
    parts.append(others)
    if points.large is not None:
        if points.accuracy_large is not None:
            parts.append(
                f"Asked every one of these questions, {points.large} is right on "
                f"{_percent(points.accuracy_large)} %; at each point the pool answers some."
            )
        parts.append(
            f"What is not trusted goes to {points.large}, one call a question; no promise is of "
            "its answers."
        )
    return " ".join(parts)
