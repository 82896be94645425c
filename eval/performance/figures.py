"""What a benchmark measured: a ratio against something real in the same run, or a plain figure told beside it."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Figure:
    """One row of the table.

    Attributes:
        median, low, high: over `n` runs, in `unit`; "×" for a ratio.
        target: what was aimed at, as text; "" for none.
    """

    name: str
    median: float
    low: float
    high: float
    n: int
    unit: str = "×"
    target: str = ""

    @classmethod
    def of(cls, name: str, values: Sequence[float], unit: str = "×", target: str = "") -> Figure:
        return cls(name, statistics.median(values), min(values), max(values), len(values), unit, target)
