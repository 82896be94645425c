"""What a compiled mux does with answers below the threshold that was chosen for it."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace

from ..errors import ConfigurationError
from ..mux.points import OperatingPoints
from ..mux.saved import Otherwise
from ..mux.slm_mux import SLMMux
from ..mux.trust import Escalate, Escalation, escalation_of
from ..replay.threshold import Judged, choose_threshold
from .aim import Aim

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Operation:
    """An aim, and what becomes of answers that are not trusted."""

    aim: Aim
    otherwise: Otherwise
    escalation: Escalation | None

    @classmethod
    def of(cls, student: SLMMux, aim: Aim, escalate: Escalate | None, labels: int) -> Operation:
        """Return the operation of what a student is compiled to.

        Args:
            escalate: the large model; None for the student's own.
            labels: questions that will choose the threshold.

        Raises:
            ConfigurationError: the student has a large model of its own, or withholds answers;
                calls are bounded without a large model that can be recorded; the schedule is
                "hedged"; or so few labels can promise nothing.
        """
        otherwise, escalation = student.pool.settings.otherwise, student.escalation
        _refuse_hedged(student)
        if escalate is not None:
            if otherwise != "flag":
                raise ConfigurationError(
                    f"escalate= is given, and the mux has otherwise={otherwise!r} of its own: "
                    "leave one of them out."
                )
            otherwise = "escalate"
            program = student.programs[0].reset_copy()
            escalation = escalation_of(escalate, program, student.pool.names)
        aim.check_large(escalation is not None)
        unrecorded = escalation is not None and escalation.member is None
        if unrecorded and (aim.bounds_calls or aim.max_risk is None):
            raise ConfigurationError(
                "What a module's calls are worth cannot be recorded: escalate to an LM or a "
                "Member, or ask for max_risk alone, which needs none of its answers."
            )
        operation = cls(aim, otherwise, escalation)
        operation._check_labels(labels)
        return operation

    @classmethod
    def as_tuned(cls, student: SLMMux, points: OperatingPoints) -> Operation:
        """Return the operation of a student whose points `tune` found on recorded draws.

        Raises:
            ConfigurationError: the points count on a large model that is not the student's, or the
                schedule is "hedged".
        """
        _refuse_hedged(student)
        escalation = student.escalation
        name = None if escalation is None else escalation.name
        if points.large not in (None, name):
            raise ConfigurationError(
                f"The threshold was chosen for a mux that escalates to {points.large!r}, and this "
                f"one escalates to {'nothing' if name is None else repr(name)}: pass it as "
                "escalate=, or as [escalate] of the pool file."
            )
        otherwise = student.pool.settings.otherwise if escalation is None else "escalate"
        return cls(Aim(), otherwise, escalation)

    def _check_labels(self, labels: int) -> None:
        """Say before anything is drawn that so few labels can promise nothing."""
        goal = self.aim.goal
        if goal is not None and labels < goal.least_labels:
            nothing = Judged.empty(labels)
            self._without_promise(choose_threshold(goal, nothing, nothing).promise)

    def _without_promise(self, reason: str) -> None:
        """Refuse a mux that would answer what it was asked to hold back; warn of any other."""
        if self.otherwise != "flag":
            raise ConfigurationError(
                f"{reason} Without a threshold, a mux of otherwise={self.otherwise!r} would give "
                "every answer: compile with more labels, a larger max_risk, or otherwise='flag'."
            )
        logger.warning("%s Without a threshold, verdict.trusted is None.", reason)

    def set_up(self, mux: SLMMux) -> SLMMux:
        """Set a compiled mux to the point of its `points` that the aim asks for.

        Raises:
            ConfigurationError: there is none, and the mux would give every answer.
        """
        points = mux.pool.points
        assert points is not None  # it was compiled for an aim
        threshold = None
        if points.compiled is None:
            self._without_promise(points.nothing)
        else:
            threshold = points[points.compiled].threshold
        mux.escalation = self.escalation
        mux.pool.settings = replace(
            mux.pool.settings,
            threshold=threshold,
            otherwise=self.otherwise,
            escalates_to=None if self.escalation is None else self.escalation.name,
        )
        return mux


def _refuse_hedged(student: SLMMux) -> None:
    if student.schedule == "hedged":
        raise ConfigurationError(
            "Under schedule='hedged', which draws are made depends on which come first, and no "
            "recorded draws tell that: compile for schedule='full' or 'frugal'."
        )


def warn_of_threshold(student: SLMMux) -> None:
    """Say that a threshold set by hand will be of other confidences once the mux is compiled."""
    threshold = student.pool.settings.threshold
    if threshold is not None:
        logger.warning(
            "The compiled mux keeps threshold=%g, at which nothing is promised: its confidence is "
            "another, calibrated, by the members and the rule that are chosen. Pass max_risk, "
            "max_escalated or max_cost_per_question to have the threshold chosen too.",
            threshold,
        )
