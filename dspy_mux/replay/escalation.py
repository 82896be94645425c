"""Hand the least sure questions to one large model: accuracy against the share of its calls."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from ..voting.tally import Floats
from .ranking import Ranking
from .threshold import Judged

#: Shares of the questions that a curve has points at.
SHARES = np.arange(101) / 100


@dataclass(frozen=True)
class EscalationPoint:
    """Accuracies where this share of the questions goes to the large model; all are fractions.

    Attributes:
        accuracy: the least sure questions go, those without an answer first.
        random: any go.
        oracle: those go where it helps most, which only someone with the answers can know.
    """

    share: float
    accuracy: float
    random: float
    oracle: float

    def as_dict(self) -> dict[str, float]:
        return asdict(self)


@dataclass(frozen=True)
class Escalated:
    """A pool's answers to N questions beside a large model's.

    Attributes:
        pool: the pool's.
        large: [N], the share of the large model's draws that are right.
    """

    pool: Judged
    large: Floats

    def at(self, threshold: float | None) -> tuple[float, float]:
        """Return the share escalated, and the accuracy, where answers below a threshold go.

        Args:
            threshold: None to escalate every question.
        """
        kept = np.zeros(len(self.pool), bool)
        if threshold is not None:
            kept = self.pool.answered & (self.pool.confidence >= threshold)
        right = np.where(kept, self.pool.right, self.large)
        return float(1 - kept.mean()), float(right.mean())

    def curve(self) -> list[EscalationPoint]:
        """Return a point for each of `SHARES`; questions of equal confidence go in random order."""
        gains = self.large - self.pool.right
        base, counts = float(self.pool.right.mean()), SHARES * len(gains)
        by_doubt = base + self._by_doubt().sums(gains, counts) / len(gains)
        by_gain = base + Ranking.of(-gains).sums(gains, counts) / len(gains)
        by_chance = base + SHARES * gains.mean()
        return [
            EscalationPoint(*map(float, point))
            for point in zip(SHARES, by_doubt, by_chance, by_gain, strict=True)
        ]

    def accuracies(self, weights: Floats) -> tuple[Floats, Floats]:
        """Return the accuracies at `SHARES` [B, S] and the large model's [B], questions weighted.

        Args:
            weights: [B, N].
        """
        right, total = self.pool.right.astype(float), weights.sum(axis=1, keepdims=True)
        # Shares are of the total weight, which differs from one resample to the next.
        scaled = weights / total * len(right)
        gained = self._by_doubt().sums(self.large - right, SHARES * len(right), scaled)
        base = scaled @ right
        return (base[:, None] + gained) / len(right), scaled @ self.large / len(right)

    def _by_doubt(self) -> Ranking:
        return Ranking.of(np.where(self.pool.answered, self.pool.confidence, -np.inf))


def mean_curve(curves: Sequence[Sequence[EscalationPoint]]) -> list[EscalationPoint]:
    """Return the mean of several curves."""
    means = np.mean(
        [[(at.share, at.accuracy, at.random, at.oracle) for at in curve] for curve in curves],
        axis=0,
    )
    return [EscalationPoint(*map(float, point)) for point in means]


def share_needed(accuracies: Sequence[float] | Floats, wanted: float) -> float:
    """Return the least share at which a curve reaches an accuracy; NaN where it never does.

    Args:
        accuracies: at `SHARES`; between them the curve is straight.

    >>> share_needed(0.5 + 0.4 * SHARES, 0.7).__round__(6)
    0.5
    """
    for at, value in enumerate(accuracies):
        if value >= wanted - 1e-12:
            if at == 0:
                return 0.0
            before = accuracies[at - 1]
            part = (wanted - before) / (value - before)
            return float(SHARES[at - 1] + part * (SHARES[at] - SHARES[at - 1]))
    return math.nan
