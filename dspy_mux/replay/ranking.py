"""Questions ranked by confidence: sums over the surest or least sure, with bootstraps of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..voting.tally import Floats, Ints

#: Resamples of the questions behind a band or an interval.
RESAMPLES = 200


@dataclass(frozen=True)
class Ranking:
    """N questions in an order; equals come in random order, so figures are means over it.

    Attributes:
        order: [N], their positions.
        starts: where each group of equals starts.
    """

    order: Ints
    starts: Ints

    @classmethod
    def of(cls, keys: Floats) -> Ranking:
        """Rank questions by their keys [N], the lowest first."""
        order = np.argsort(keys, kind="stable")
        ranked = keys[order]
        starts = np.flatnonzero(np.r_[True, ranked[1:] != ranked[:-1]]) if len(keys) else order
        return cls(order, starts)

    def sums(self, values: Floats, counts: Floats, weights: Floats | None = None) -> Floats:
        """Return the sum of the values of the first `counts` questions, the last one in part.

        Args:
            values: [N].
            counts: [C], from 0 to N; of the total weight N where questions are weighted.
            weights: of the questions, [B, N]; None for 1 each.

        Returns:
            [C], or [B, C] with weights.
        """
        each = np.ones((1, len(values))) if weights is None else weights
        if not len(values):
            return np.zeros((len(each), len(counts)) if weights is not None else len(counts))
        reached = self._cumulated(each)
        summed = self._cumulated(each * values)
        found = np.array(
            [np.interp(counts, at, to) for at, to in zip(reached, summed, strict=True)]
        )
        return found[0] if weights is None else found

    def _cumulated(self, values: Floats) -> Floats:
        groups = np.add.reduceat(values[:, self.order], self.starts, axis=1)
        return np.concatenate([np.zeros((len(values), 1)), groups.cumsum(axis=1)], axis=1)


def resampled(questions: int, seed: int = 0) -> Floats:
    """Return how often each question is in each bootstrap resample: [RESAMPLES, Q]."""
    shares = np.full(questions, 1 / max(questions, 1))
    return np.random.default_rng(seed).multinomial(questions, shares, RESAMPLES).astype(float)


def interval(values: Sequence[float] | Floats) -> tuple[float, float]:
    """Return the 95 % percentile interval of a figure's resamples, which may be infinite."""
    ranked = np.asarray(values, float)
    low, high = (
        np.percentile(ranked, 2.5, method="lower"),
        np.percentile(ranked, 97.5, method="higher"),
    )
    return float(low), float(high)
