"""Choose by cross-validation: with evidence or without, and the learned rule or a simple one.

Accuracies of two rules on a few dozen questions differ by chance: on banks of real models, taking
whichever was best cost more than always taking the learned rule. So what serves best on other banks
stands, until something else is better by more than chance explains.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from .calibrated import SimpleRule
from .tally import Floats

#: A simple rule chooses where it is right more often than the learned one by so many standard
#: errors of the paired difference.
_ERRORS = 2.0


@dataclass(frozen=True)
class Trial:
    """What a learned rule did on questions that it was not fitted on; both [repeats, Q].

    Attributes:
        right: 1 where its answer is right.
        sureness: log-odds that it gave its answer.
    """

    right: Floats
    sureness: Floats

    @classmethod
    def blank(cls, shape: tuple[int, int]) -> Trial:
        return cls(np.zeros(shape), np.full(shape, -np.inf))


def choose_arm(trials: Mapping[bool, Trial]) -> bool:
    """Return whether the rule with evidence is kept: it is where it is right as often."""
    return True in trials and trials[True].right.mean() >= trials[False].right.mean()


def simple_instead(learned: Trial, simple: Mapping[SimpleRule, Floats]) -> SimpleRule | None:
    """Return the simple rule that chooses instead of the learned one; None where it stays.

    Args:
        simple: what each is right on, [repeats, Q].
    """
    best, most = None, 0.0
    for name, right in simple.items():
        gained = (right - learned.right).mean(axis=0)
        error = float(gained.std()) / np.sqrt(len(gained))
        if (clear := float(gained.mean()) - _ERRORS * error) > most:
            best, most = name, clear
    return best
