"""Choose by cross-validation: with evidence or without, and the learned rule or a simple one.

Accuracies of two rules on a few dozen questions differ by chance: on banks of real models, taking
whichever was best cost more than always taking the learned rule. So what serves best on other banks
stands, until something else is better by more than chance explains.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from .calibrated import Calibrated, SimpleRule
from .tally import Floats, Ints

#: Standard errors of the paired difference that count as chance.
_ERRORS = 2.0
#: Questions on which two rules must be alike to count as the same.
_ENOUGH = 30


@dataclass(frozen=True)
class Trial:
    """What a learned rule did on questions that it was not fitted on.

    Attributes:
        right: [repeats, Q], 1 where its answer is right.
        rules: it was fitted on the other questions: by repeat, each with those left out.
    """

    right: Floats
    rules: list[tuple[Ints, Calibrated]]

    @classmethod
    def blank(cls, shape: tuple[int, int]) -> Trial:
        return cls(np.zeros(shape), [])


def choose_arm(trials: Mapping[bool, Trial]) -> bool:
    """Return whether the rule with evidence is kept: unless the one without it is clearly better.

    Args:
        trials: of the rule without evidence and, where draws have any, with it.
    """
    return True in trials and clear_gain(trials[False].right, trials[True].right) <= 0


def simple_instead(learned: Trial, simple: Mapping[SimpleRule, Floats]) -> SimpleRule | None:
    """Return the simple rule that chooses instead of the learned one; None where it stays.

    That is one that is clearly better, or one that is right on just the same questions, if they are
    enough to tell: it knows when its answer stands, and so saves calls.

    Args:
        simple: what each is right on, [repeats, Q].
    """
    gains = {name: clear_gain(right, learned.right) for name, right in simple.items()}
    best = max(gains, key=gains.__getitem__)
    alike = gains[best] == 0 and learned.right.shape[1] >= _ENOUGH
    return best if gains[best] > 0 or alike else None


def clear_gain(one: Floats, other: Floats) -> float:
    """Return how much more often `one` is right than `other`, less what chance explains.

    Args:
        one, other: 1 where right, [repeats, Q].
    """
    differences = (one - other).mean(axis=0)
    error = differences.std() / np.sqrt(len(differences))
    return float(differences.mean() - _ERRORS * error)
