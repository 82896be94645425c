"""Fit a conditional logit with a ridge penalty, and the scale of its probabilities (Platt).

Fits are small and many (a study makes thousands), so both use Newton's method, in a few steps.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from .tally import Floats, Ints

#: More features than this are fitted by L-BFGS: a step of Newton's method takes their square.
_MOST_FEATURES = 100
_STEPS = 200
#: Fitted once a step promises to lower the loss by less.
_ENOUGH = 1e-10

#: What a curvature is computed from.
_State = TypeVar("_State")


def logit(
    question: Ints,
    is_right: NDArray[np.bool_],
    features: Floats,
    penalty: Floats,
    towards: Floats | None = None,
) -> Floats:
    """Return the weights [F] of a conditional logit (McFadden 1974).

    They maximise Σ log P(a right answer | question) − ½ Σ penalty · (weight − towards)².

    Args:
        question: [R], of each answer, ascending.
        is_right: [R], whether the answer is right.
        features: [R, F].
        penalty: [F], above 0.
        towards: [F], what the weights are shrunk towards; None for 0.
    """
    prior = np.zeros(features.shape[1]) if towards is None else towards
    count = int(question[-1]) + 1 if len(question) else 0
    rights = np.bincount(question[is_right], minlength=count)
    answers = np.bincount(question, minlength=count)
    # A question whose answers are all right or all wrong says nothing about the weights.
    mixed = ((rights > 0) & (rights < answers))[question]
    if not mixed.any():
        return prior.copy()
    x, y, question = features[mixed], is_right[mixed], question[mixed]
    starts = np.flatnonzero(np.r_[True, question[1:] != question[:-1]])
    sizes = np.diff(np.r_[starts, len(question)])

    several = bool((rights > 1).any())

    def loss(weights: Floats) -> tuple[float, Floats, tuple[Floats, Floats]]:
        """Return the loss, its gradient, and P(answer | question) of all and of the right."""
        scores = x @ weights
        powers = np.exp(scores - np.repeat(np.maximum.reduceat(scores, starts), sizes))
        every, right = (
            np.add.reduceat(powers, starts),
            np.maximum(np.add.reduceat(powers * y, starts), 1e-300),
        )
        value = np.log(every / right).sum() + 0.5 * (penalty * (weights - prior) ** 2).sum()
        of_all, of_right = powers / np.repeat(every, sizes), powers * y / np.repeat(right, sizes)
        slope = x.T @ (of_all - of_right) + penalty * (weights - prior)
        return float(value), slope, (of_all, of_right)

    def spread(shares: Floats) -> Floats:
        """Return the features' covariance [F, F] within questions, summed over them."""
        weighed = shares[:, None] * x
        means = np.add.reduceat(weighed, starts, axis=0)
        return x.T @ weighed - means.T @ means

    def curvature(shares: tuple[Floats, Floats]) -> Floats:
        above: Floats = spread(shares[0]) + np.diag(penalty)
        if not several:
            return above
        # Right answers that share a question curve the loss the other way, far from its minimum.
        bent = above - spread(shares[1])
        return bent if np.linalg.eigvalsh(bent)[0] > 0 else above

    if features.shape[1] <= _MOST_FEATURES:
        return _newton(loss, curvature, prior)
    from scipy.optimize import minimize  # slow to import, and seldom needed
    from threadpoolctl import threadpool_limits

    # The caller's limit does not reach the BLAS that this import loads.
    with threadpool_limits(1, user_api="blas"):
        found: Floats = minimize(
            lambda at: loss(at)[:2],
            prior,
            jac=True,
            method="L-BFGS-B",
            options={"maxiter": 500},
        ).x
    return found


def platt(log_odds: Floats, right: Floats) -> tuple[float, float]:
    """Fit the slope, 0 or more, and intercept of P(right) over the winner's log-odds.

    They are shrunk towards 1 and 0.
    """
    ones = np.stack([log_odds, np.ones(len(log_odds))], axis=1)
    towards = np.array([1.0, 0.0])

    def fitted(x: Floats, towards: Floats) -> Floats:
        def loss(at: Floats) -> tuple[float, Floats, Floats]:
            margin = x @ at
            p = sigmoid(margin)
            value = (np.logaddexp(0, margin) - right * margin).sum() + 0.5 * (
                (at - towards) ** 2
            ).sum()
            return float(value), x.T @ (p - right) + at - towards, p * (1 - p)

        return _newton(loss, lambda spread: (x.T * spread) @ x + np.eye(len(towards)), towards)

    slope, intercept = fitted(ones, towards)
    if slope < 0:
        return 0.0, float(fitted(ones[:, 1:], towards[1:])[0])
    return float(slope), float(intercept)


def logistic(
    features: Floats,
    right: Floats,
    penalty: Floats,
    each: Floats,
    offset: Floats | float = 0.0,
) -> Floats:
    """Return the weights [F] of a logistic of `right` [N] over features [N, F].

    Args:
        penalty: [F], of the squared weights, above 0.
        each: [N], how much each row counts.
        offset: [N], added to the log-odds as it is.
    """

    def loss(at: Floats) -> tuple[float, Floats, Floats]:
        margin = features @ at + offset
        p = sigmoid(margin)
        value = (each * (np.logaddexp(0, margin) - right * margin)).sum()
        value += 0.5 * (penalty * at**2).sum()
        slope = features.T @ (each * (p - right)) + penalty * at
        return float(value), slope, each * p * (1 - p)

    def curvature(spread: Floats) -> Floats:
        bent: Floats = (features.T * spread) @ features + np.diag(penalty)
        return bent

    return _newton(loss, curvature, np.zeros(features.shape[1]))


def log_odds(log_p: Floats) -> Floats:
    """Return the log-odds of probabilities given as logarithms, within ±20."""
    log_p = np.minimum(log_p, -2e-9)
    return np.clip(log_p - np.log(-np.expm1(log_p)), -20.0, 20.0)


def sigmoid(x: Floats) -> Floats:
    return 0.5 * (1.0 + np.tanh(0.5 * x))


def _newton(
    loss: Callable[[Floats], tuple[float, Floats, _State]],
    curvature: Callable[[_State], Floats],
    at: Floats,
) -> Floats:
    """Minimise a loss from `at` on, by steps halved until they lower it.

    Args:
        loss: its value, its gradient, and what `curvature` needs, at a point.
        curvature: a positive definite matrix.
    """
    value, gradient, seen = loss(at)
    for _ in range(_STEPS):
        step = np.linalg.solve(curvature(seen), gradient)
        promised = float(gradient @ step)
        if promised < _ENOUGH:
            break
        scale = 1.0
        tried = loss(at - step)
        while tried[0] > value - 1e-4 * scale * promised and scale > 1e-9:
            scale /= 2
            tried = loss(at - scale * step)
        at, (value, gradient, seen) = at - scale * step, tried
    return at
