"""Plans: how a mux draws and decides, apart from its members; and the draws they are scored on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from ..bank.record import Record
from ..errors import ConfigurationError
from ..replay.decisions import has_logprobs
from ..replay.grading import graded_alike
from ..voting.tally import Ints

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial

#: A trial's parameters beside "k" and "rule", and the values of the first.
DRAWS, EVIDENCE = "draws", "evidence"
SAMPLED, GREEDY = "sampled", "greedy"
#: The rule that always reads evidence, and the one that may.
PROBABILITY, CALIBRATED = "probability", "calibrated"
#: What `probability` comes to where no draw has evidence.
_BY_VOTES = "pooled"


@dataclass(frozen=True)
class Plan:
    """How a mux draws and decides, apart from its members.

    Attributes:
        k: draws per member.
        rule: the rule's name.
        greedy: whether the one draw of each member is at temperature 0.
        evidence: whether the rule may read evidence.
    """

    k: int
    rule: str
    greedy: bool = False
    evidence: bool = False

    @property
    def draws(self) -> str:
        """The draws in words, for tables.

        >>> Plan(1, "probability", greedy=True).draws
        '1 greedy'
        """
        return f"{self.k} greedy" if self.greedy else str(self.k)

    @property
    def label(self) -> str:
        """The rule in words: `calibrated` may read evidence or not."""
        return (
            f"{self.rule} with evidence" if self.evidence and self.rule == CALIBRATED else self.rule
        )


def plan_of(trial: optuna.Trial | FrozenTrial) -> Plan:
    """Return the plan of a trial, without what has no effect in it."""
    params = trial.params
    greedy, rule = params.get(DRAWS) == GREEDY, params["rule"]
    evidence = rule == PROBABILITY or (rule == CALIBRATED and bool(params.get(EVIDENCE)))
    return Plan(1 if greedy else params["k"], rule, greedy, evidence)


@dataclass(frozen=True)
class Recorded:
    """Draws at the members' temperatures and, if they were made, one of each at temperature 0.

    Both records hold the same members and questions in the same order.
    """

    sampled: Record
    greedy: Record | None = None

    def __post_init__(self) -> None:
        greedy = self.greedy
        if greedy is None:
            return
        if greedy.members != self.sampled.members or greedy.questions != self.sampled.questions:
            raise ConfigurationError(
                "The greedy draws must be of the same members and questions as the others, in the "
                "same order: cut both with `paired`."
            )
        if not greedy.votes.shape[2]:
            raise ConfigurationError("The record of greedy draws holds no draw.")

    def graded(self, threshold: float | None) -> tuple[Recorded, float]:
        """Return the draws with scores from 0 to 1, as `grading.graded` does with a record."""
        records = [self.sampled, *([self.greedy] if self.greedy is not None else [])]
        found, correct = graded_alike(records, threshold)
        return Recorded(found[0], found[1] if len(found) > 1 else None), correct

    @cached_property
    def has_evidence(self) -> bool:
        """Whether a rule can read the log-probabilities of some draw."""
        records = [self.sampled, *([self.greedy] if self.greedy is not None else [])]
        return any(name.endswith("_logprob") for each in records for name in each.evidence)

    @cached_property
    def has_probabilities(self) -> bool:
        """Whether `probability` can read some draw, by its answer or by its text."""
        records = [self.sampled, *([self.greedy] if self.greedy is not None else [])]
        return any(map(has_logprobs, records))

    def rows(self, questions: Ints) -> Recorded:
        """Return the draws on the questions at these positions."""
        greedy = None if self.greedy is None else self.greedy.rows(questions)
        return Recorded(self.sampled.rows(questions), greedy)

    def of(self, plan: Plan) -> Record:
        """Return the draws that a plan would make, by all members."""
        if plan.greedy:
            assert self.greedy is not None  # only then is it tried
            part = self.greedy.first(1)
        else:
            part = self.sampled.first(plan.k)
        return part if plan.evidence else replace(part, evidence={})

    def readable(self, members: Sequence[str], plan: Plan) -> Plan:
        """Return the plan as these members can follow it: by votes where none has evidence."""
        if not plan.evidence:
            return plan
        part = self.of(plan).of(members, None)[0]
        if plan.rule == PROBABILITY and not has_logprobs(part):
            return replace(plan, rule=_BY_VOTES, evidence=False)
        if not any(name.endswith("_logprob") for name in part.evidence):
            return replace(plan, evidence=False)
        return plan

    def temperature(self, members: Sequence[str], plan: Plan) -> float | None:
        """Return the temperature of a plan's draws; None where unknown of a member, or several."""
        if plan.greedy:
            return 0.0
        part = self.sampled.first(plan.k).of(members, None)[0]
        recorded = part.evidence.get("temperature")
        if recorded is None:
            return None
        known = ~np.isnan(recorded)
        values = np.unique(recorded[known])
        all_members = bool(known.any(axis=(0, 2)).all())
        return float(values[0]) if all_members and len(values) == 1 else None


def paired(sampled: Record, greedy: Record) -> tuple[Record, Record, int]:
    """Cut two records to the questions that both hold, in the order of the first.

    Returns:
        Both, the second with the members of the first in their order, and how many questions of
        the first were left out.

    Raises:
        ConfigurationError: the second lacks a member, or they share no question.
    """
    greedy, _ = greedy.of(sampled.members, 1)
    names = _names(sampled), _names(greedy)
    rows = {name: row for row, name in enumerate(names[1])}
    ours = [row for row, name in enumerate(names[0]) if name in rows]
    if not ours:
        raise ConfigurationError(
            f"{sampled.source} holds no question with both sampled and greedy draws."
        )
    theirs = [rows[names[0][row]] for row in ours]
    cut = sampled if len(ours) == len(names[0]) else sampled.rows(np.array(ours))
    return cut, greedy.rows(np.array(theirs)), len(names[0]) - len(ours)


def shared(
    sampled: Record, greedy: Record | None, large: Record
) -> tuple[Record, Record | None, int]:
    """Cut the draws of a pool to the questions that a large model answered too.

    Returns:
        Both records of the pool, and how many questions were left out.

    Raises:
        ConfigurationError: they share no question.
    """
    known = set(_names(large))
    rows = np.array([row for row, name in enumerate(_names(sampled)) if name in known], int)
    if not len(rows):
        raise ConfigurationError(
            f"{sampled.source} has no question that both the pool and {large.members[0]!r} "
            "answered."
        )
    left_out = len(_names(sampled)) - len(rows)
    return sampled.rows(rows), greedy and greedy.rows(rows), left_out


def _names(record: Record) -> tuple[str, ...]:
    return record.keys or record.questions
