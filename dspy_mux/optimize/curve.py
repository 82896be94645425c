"""Accuracy against calls, with and without evidence: what fewer draws are worth if more is read.

All points have the same members, those of the paper's search, so that only draws and rule differ.
Every rule is shown at every number of draws: nothing is picked by what it scored.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ..replay.intervals import difference_interval, mean_interval
from .objective import PAPER_K, Members, Objective
from .plan import CALIBRATED, PROBABILITY, Plan
from .tuned import Curve, CurvePoint


def curve_of(objective: Objective, chosen: Sequence[Members]) -> Curve | None:
    """Return the curve of a study's draws; None where none is greedy and none has evidence.

    Args:
        chosen: the members on each split.
    """
    draws = objective.draws
    if draws.greedy is None and not draws.has_evidence:
        return None
    plans = [
        plan
        for plan in _plans(objective)
        if all(draws.readable(members, plan) == plan for members in chosen)
    ]
    found = {plan: _point(objective, chosen, plan) for plan in plans}
    without = max(
        (plan for plan in found if not plan.evidence),
        key=lambda plan: (found[plan].accuracy, -found[plan].calls_per_question),
    )
    few = next((plan for plan in found if plan.evidence and plan.k == 1), None)
    difference = None
    if few is not None:
        gaps = objective.per_question(chosen, few) - objective.per_question(chosen, without)
        low, high = difference_interval(gaps)
        difference = float(gaps.mean()), low, high
    return Curve(
        points=list(found.values()),
        few=None if few is None else found[few],
        without=found[without],
        difference=difference,
    )


def _plans(objective: Objective) -> Iterator[Plan]:
    """Plans of the curve, from the fewest draws up; what reads evidence first among equals."""
    counts = _counts(objective.k_max)
    drawn = [(k, False) for k in counts]
    if objective.draws.greedy is not None:
        drawn.insert(0, (1, True))
    # Fitting takes about a second a point.
    fitted = {1, min(PAPER_K, objective.k_max), objective.k_max}
    rules = [rule for rule in objective.rules if rule != PROBABILITY]
    for k, greedy in drawn:
        if PROBABILITY in objective.rules:
            yield Plan(k, PROBABILITY, greedy, evidence=True)
        for rule in rules:
            if rule != CALIBRATED:
                yield Plan(k, rule, greedy)
            elif k in fitted:
                if objective.draws.has_evidence:
                    yield Plan(k, rule, greedy, evidence=True)
                yield Plan(k, rule, greedy)


def _counts(most: int) -> list[int]:
    """Draws to show: 1, 2, 3, 4, 6, 8, 12, 16, … and the most."""
    counts, step = [1, 2, 3], 4
    while step <= most:
        counts += [step, step * 3 // 2]
        step *= 2
    return sorted({*(count for count in counts if count <= most), most})


def _point(objective: Objective, chosen: Sequence[Members], plan: Plan) -> CurvePoint:
    scores = objective.per_question(chosen, plan)
    low, high = mean_interval(scores)
    return CurvePoint(
        plan=plan,
        calls_per_question=objective.calls(chosen, plan),
        accuracy=float(scores.mean()),
        low=low,
        high=high,
    )
