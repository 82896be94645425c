"""How far a rule's confidences can be trusted, with intervals: ECE, Brier score and AURC."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..voting.tally import Floats, Ints
from .held_out import HeldOut
from .intervals import Z95, Estimate
from .ranking import Ranking, interval, resampled
from .sureness import BINS, bins_of, brier_score, calibration_error, risk_area

#: With fewer answered questions than this there are no figures.
_LEAST_QUESTIONS = 2
#: Coverages at which the curve of a resample is read.
_POINTS = 400


@dataclass(frozen=True)
class Reliability:
    """Figures of the confidences of answers, each with a 95 % interval over questions.

    The intervals are bootstraps over questions. That of the calibration error is a wide one: it
    allows for what chance adds to the error of any questions.

    Attributes:
        calibrated: whether the confidences are chances of being right, fitted on the training
            parts; else they are the rule's own.
        answers: how many; `n` of each figure are the distinct questions they belong to. Figures of
            fewer than two questions are NaN.
        ece: expected calibration error, over ten bins of equal width.
        brier: mean squared distance of the confidence from 1 for a right answer, 0 for a wrong one.
        aurc: area under the risk–coverage curve.
    """

    calibrated: bool
    answers: int
    ece: Estimate
    brier: Estimate
    aurc: Estimate

    @classmethod
    def of(cls, held: HeldOut, *, seed: int = 0) -> Reliability:
        """Compute the figures of answers to questions that nothing was fitted on."""
        answered = held.answered
        confidence, right = held.confidence[answered], held.right[answered] > 0
        known, place = np.unique(held.question[answered], return_inverse=True)
        if len(known) < _LEAST_QUESTIONS:
            nothing = Estimate(np.nan, np.nan, np.nan, len(known))
            return cls(held.calibrated, len(confidence), nothing, nothing, nothing)
        times = resampled(len(known), seed)[:, place]

        return cls(
            held.calibrated,
            len(confidence),
            _calibration(confidence, right, place, times, seed),
            _estimate(
                brier_score(confidence, right), _means((confidence - right) ** 2, times), len(known)
            ),
            _estimate(risk_area(confidence, right), _areas(confidence, right, times), len(known)),
        )

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON; None for what is not known."""
        shown: dict[str, Any] = {"calibrated": self.calibrated, "answers": self.answers}
        for name in ("ece", "brier", "aurc"):
            figure: Estimate = getattr(self, name)
            known = not np.isnan(figure.mean)
            shown |= {
                name: figure.mean if known else None,
                f"{name}_ci95": [figure.low, figure.high] if known else None,
            }
        return shown


def _estimate(value: float, values: Floats, questions: int) -> Estimate:
    """Return a figure between 0 and 1 with its resamples' interval.

    Its ends are those of the percentiles or of the normal approximation, whichever is further, but
    none beyond 0 or 1, where the figure cannot be: that takes no coverage away.
    """
    error = float(values.std())
    low, high = interval(values)
    low, high = min(low, value - Z95 * error), max(high, value + Z95 * error)
    return Estimate(value, max(low, 0.0), min(high, 1.0), questions, error)


def _calibration(
    confidence: Floats, right: NDArray[np.bool_], place: Ints, times: Floats, seed: int
) -> Estimate:
    """Estimate the expected calibration error.

    Chance alone makes it positive. So its interval starts at 0 unless perfect calibration would
    show as much in fewer than 2.5 of 100 data sets.

    Args:
        place: [N], the question of each answer, as a number below the number of questions.
        times: [B, N], how often each answer is in each resample.
    """
    value, questions = calibration_error(confidence, right), int(place.max(initial=-1)) + 1
    values = _calibration_errors(confidence, right - confidence, times)
    # Answers to one question in several repeats are right or wrong together.
    luck = np.random.default_rng(seed).random((len(times), questions))[:, place]
    by_chance = _calibration_errors(confidence, (luck < confidence) - confidence, None)
    known = value > np.percentile(by_chance, 97.5)
    # The bias of the resamples is not quite that of the estimate: the ends allow for either.
    low = max(0.0, 2 * value - float(np.percentile(values, 99))) if known else 0.0
    error = float(values.std())
    return Estimate(value, low, min(value + Z95 * error, 1.0), questions, error)


def _means(values: Floats, times: Floats) -> Floats:
    """Return the mean [B] of values [N] that are repeated `times` [B, N]."""
    means: Floats = times @ values / times.sum(axis=1)
    return means


def _calibration_errors(confidence: Floats, gaps: Floats, times: Floats | None) -> Floats:
    """Return the expected calibration error of each resample [B].

    Args:
        gaps: how far each answer, 1 or 0, is from its confidence: [N], or [B, N] without `times`.
    """
    bins = bins_of(confidence)[:, None] == np.arange(BINS)
    sums = gaps @ bins if times is None else times @ (gaps[:, None] * bins)
    count = len(confidence) if times is None else times.sum(axis=1)
    errors: Floats = np.abs(sums).sum(axis=1) / count
    return errors


def _areas(confidence: Floats, right: NDArray[np.bool_], times: Floats) -> Floats:
    """Return the area under the risk–coverage curve of each resample [B]."""
    ranking, total = Ranking.of(-confidence), times.sum(axis=1)
    # Resamples differ in weight where a question is answered in more repeats than another.
    scaled = times * (len(confidence) / total)[:, None]
    counts = np.linspace(0, len(confidence), min(len(confidence), _POINTS) + 1)[1:]
    areas: Floats = (ranking.sums(1.0 - right, counts, scaled) / counts).mean(axis=1)
    return areas
