"""The result of a benchmark: a ratio against something real in the same run, or a plain figure."""

from __future__ import annotations

import re
import resource
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

_BOUND = re.compile(r"([≤≥]) ([\d.,]+)")


def peak_memory() -> float:
    """Megabytes that this process has held at most."""
    status = Path("/proc/self/status")
    if status.exists():  # the other count begins with what the parent held
        return int(status.read_text().split("VmHWM:")[1].split()[0]) / 1000
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000


@dataclass(frozen=True)
class Figure:
    """One row of the table.

    Attributes:
        median, low, high: over `n` runs, in `unit`; "×" for a ratio.
        target: what was aimed at, "≤ 1.25" or "≥ 1,000"; "" for none.
        why: what keeps it from its target, as profiles show; shown only if the median misses it.
    """

    name: str
    median: float
    low: float
    high: float
    n: int
    unit: str = "×"
    target: str = ""
    why: str = ""

    @classmethod
    def of(
        cls, name: str, values: Sequence[float], unit: str = "×", target: str = "", why: str = ""
    ) -> Figure:
        return cls(
            name,
            statistics.median(values),
            min(values),
            max(values),
            len(values),
            unit,
            target,
            why,
        )

    @property
    def verdict(self) -> str:
        """ "met", "missed" with the reason, or "" where there is no target."""
        bound = _BOUND.fullmatch(self.target)
        if bound is None:
            return ""
        limit = float(bound[2].replace(",", ""))
        if self.median <= limit if bound[1] == "≤" else self.median >= limit:
            return "met"
        return f"missed: {self.why}" if self.why else "missed"
