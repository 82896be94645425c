"""How likely a draw is right by its evidence, and what that says for an answer.

Log-probabilities of an answer's tokens, of the whole text and of its weakest stretch say different
things of different members, and some draws lack them. A logistic over all of them, fitted on
labelled draws, brings them to one scale: the chance that the draw is right.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError
from .ballot import by_accuracy
from .candidates import Candidates
from .logit import logistic, sigmoid
from .probability import Probability
from .probability_sums import is_direct, probability_sums
from .tally import Floats, Ints, Tally

#: Features of an answer by its evidence: `evidence_features`.
EVIDENCE_FEATURES = 5
#: Ridge penalties of members' intercepts, of shared weights, and of members' own.
_INTERCEPT, _SHARED, _OWN = 0.5, 1.0, 5.0
#: With fewer draws than this a member's figures are scaled as all members' are.
_LEAST_DRAWS = 5
#: A figure further from the mean counts as this many standard deviations away.
_FURTHEST = 3.0
#: Sums are rounded, so that one question and many give the same pick.
_DIGITS = 9


@dataclass(frozen=True)
class Quality:
    """The chance that a draw is right, by its evidence and its member; `fit_quality` makes it.

    Attributes:
        figures: names, as `figures_of` gives them.
        centers, scales: [figure][member], mean and deviation on the training split.
        weights: members' intercepts, weights that all members share by figure, weights of a
            missing figure, and each member's own by figure.
    """

    figures: tuple[str, ...]
    centers: tuple[tuple[float, ...], ...]
    scales: tuple[tuple[float, ...], ...]
    weights: tuple[float, ...]

    def check(self, members: int) -> None:
        """Raise DataError unless the numbers are those of so many members."""
        count = len(self.figures)
        tables = [*self.centers, *self.scales]
        numbers = [*self.weights, *itertools.chain(*tables)]
        if (
            len(self.weights) != members + 2 * count + members * count
            or not len(self.centers) == len(self.scales) == count
            or any(len(table) != members for table in tables)
            or not all(math.isfinite(number) for number in numbers)
            or any(number <= 0 for number in itertools.chain(*self.scales))
        ):
            raise DataError(
                "The calibrated rule's evidence does not fit its members: it is damaged, "
                "fit it again."
            )

    def of(self, tally: Tally) -> Floats:
        """Return each draw's chance of being right [Q, M, K]; 0 for an abstention."""
        given = tally.votes >= 0
        chance = np.zeros(tally.shape)
        margin = _features(self, tally, given) @ np.asarray(self.weights)
        chance[given] = np.round(sigmoid(margin), _DIGITS)
        return chance


def has_logprobs(tally: Tally) -> bool:
    """Return whether any draw has a log-probability: without one there is nothing to weigh."""
    return bool({"answer_logprob", "text_logprob", "lowest_logprob"} & tally.evidence.keys())


def figures_of(tally: Tally) -> dict[str, Floats]:
    """Return what `Quality` reads, by name, each [Q, M, K], NaN where it is unknown."""
    found: dict[str, Floats] = {
        name: tally.evidence[name]
        for name in ("answer_logprob", "text_logprob", "lowest_logprob")
        if name in tally.evidence
    }
    if "answer_logprob" in found:
        found["probability"] = np.exp(np.minimum(found["answer_logprob"], 0.0))
    if "text_logprob" in found and "completion_tokens" in tally.evidence:
        tokens = np.maximum(tally.evidence["completion_tokens"], 1.0)
        found["mean_logprob"] = found["text_logprob"] / tokens
        # Of the text whose log-probability is known, as a single question's ballots have it.
        found["completion_tokens"] = np.where(np.isnan(found["text_logprob"]), np.nan, tokens)
    return found


def short_share(tally: Tally) -> float:
    """Return the share of answers with a probability that no reasoning precedes; 0 without any."""
    if "answer_logprob" not in tally.evidence:
        return 0.0
    known = ~np.isnan(tally.evidence["answer_logprob"]) & (tally.votes >= 0)
    return float(is_direct(tally)[known].mean()) if known.any() else 0.0


def fit_quality(tally: Tally, correct: Floats) -> Quality:
    """Fit the chance that a draw is right on labelled draws.

    Args:
        correct: [Q, M, K], 1 for a correct draw.
    """
    members = tally.shape[1]
    given = tally.votes >= 0
    found = figures_of(tally)
    centers, scales = [], []
    for values in found.values():
        center, scale = _scale(np.where(given & np.isfinite(values), values, np.nan))
        centers.append(tuple(center.tolist()))
        scales.append(tuple(scale.tolist()))
    blank = Quality(tuple(found), tuple(centers), tuple(scales), ())
    x = _features(blank, tally, given)
    shared = 2 * len(found)
    penalty = np.repeat([_INTERCEPT, _SHARED, _OWN], [members, shared, members * len(found)])
    # A member's k draws of a question are alike: together they count as one.
    once = np.broadcast_to((1.0 / np.maximum(tally.k, 1))[:, None], tally.shape)[given]
    weights = logistic(x, correct[given], penalty, once)
    return Quality(blank.figures, blank.centers, blank.scales, tuple(weights.tolist()))


def evidence_features(
    answers: Candidates, tally: Tally, quality: Quality, accuracies: Sequence[float] | Floats
) -> Floats:
    """Return the features of each answer by its evidence [R, 5].

    The chances of its draws added up, as shares of k; whether no other answer of the question has
    more; the members' probabilities of it added up; whether the rule `probability` chooses it; the
    share of its votes whose probability is unknown.
    """
    share = np.broadcast_to((1.0 / np.maximum(tally.k, 1))[:, None], tally.shape)
    rows = len(answers.question)
    right = _summed(quality.of(tally) * share, answers)
    likely: Floats = np.zeros(rows)
    unknown: Floats = np.zeros(rows)
    picked = np.zeros(rows)
    if "answer_logprob" in quality.figures:
        logprob = tally.evidence.get("answer_logprob", np.full(tally.shape, np.nan))
        likely = np.round(probability_sums(tally, ()).total, _DIGITS)
        unknown = _summed(np.isnan(logprob) * share, answers)
        picks = Probability().pick(tally, by_accuracy(list(accuracies)))
        picked[_found(answers.row_of(picks, tally.votes))] = 1
    most = np.zeros(rows)
    most[_found(answers.best(right))] = 1
    return np.stack([right, most, likely, picked, unknown], axis=1)


def _features(quality: Quality, tally: Tally, given: NDArray[np.bool_]) -> Floats:
    """Return the features of the draws `given` [N, M + 2F + FM]."""
    member = np.nonzero(given)[1]
    own = np.eye(tally.shape[1])[member]
    found = figures_of(tally)
    scaled, missing = [], []
    for name, center, scale in zip(quality.figures, quality.centers, quality.scales, strict=True):
        values = found[name][given] if name in found else np.full(len(member), np.nan)
        distance = (values - np.asarray(center)[member]) / np.asarray(scale)[member]
        known = np.isfinite(distance)
        scaled.append(np.where(known, np.clip(distance, -_FURTHEST, _FURTHEST), 0.0))
        missing.append((~known).astype(float))
    return np.hstack(
        [
            own,
            *(column[:, None] for column in (*scaled, *missing)),
            *(own * column[:, None] for column in scaled),
        ]
    )


def _scale(values: Floats) -> tuple[Floats, Floats]:
    """Return each member's mean and deviation [M] of values [Q, M, K], NaN where unknown."""
    known = values[np.isfinite(values)]
    every = (known.mean(), known.std()) if len(known) else (0.0, 1.0)
    centers, scales = [], []
    for its in np.moveaxis(values, 1, 0):
        its = its[np.isfinite(its)]
        mean, deviation = (its.mean(), its.std()) if len(its) >= _LEAST_DRAWS else every
        centers.append(mean)
        scales.append(deviation if deviation > 1e-9 else 1.0)
    return np.array(centers), np.array(scales)


def _summed(each: Floats, answers: Candidates) -> Floats:
    """Add up the values of draws [Q, M, K] by answer [R]."""
    total = np.zeros(len(answers.question))
    given = answers.row >= 0
    np.add.at(total, answers.row[given], each[given])
    return np.round(total, _DIGITS)


def _found(rows: Ints) -> Ints:
    return rows[rows >= 0]
