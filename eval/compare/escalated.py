"""A pool whose doubtful answers a large model gives: the threshold, and each question's answer.

The threshold is chosen on the validation split alone: one half fits the rule and declares the
thresholds, the other half, which fitted nothing, says which of them keeps the promise.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import dspy
import numpy as np

from dspy_mux import ConfigurationError, SLMMux
from dspy_mux.bank.fingerprint import fingerprint_member
from dspy_mux.replay.splits import Split, holdout
from dspy_mux.replay.threshold import Certified, Goal, Judged, choose_threshold
from dspy_mux.voting.rules import SelfConsistencyRule

from .methods import Method
from .offline import Banked, Decider, Draws, Measured, ballots_with, decide, decider


def halves(questions: int, seed: int) -> Split:
    """Split the validation questions: `train` fits, `test` chooses the threshold.

    Raises:
        ConfigurationError: there are fewer than two.
    """
    return holdout(questions, repeats=1, seed=seed)[0]


def certified(answers: Sequence[tuple[float | None, bool]], split: Split, goal: Goal) -> Certified:
    """Return the threshold that keeps the promise, if any.

    Args:
        answers: of each validation question: the confidence, None without an answer, and whether
            it is right.
    """
    confidence = np.array([np.nan if known is None else known for known, _ in answers])
    right = np.array([is_right for _, is_right in answers])
    judged = Judged(confidence, ~np.isnan(confidence) & ~right)
    return choose_threshold(goal, judged.rows(split.train), judged.rows(split.test))


def check_apart(large: str, members: Sequence[str]) -> None:
    """Raise ConfigurationError if the large model is called as a member of the pool is."""
    if large in members:
        raise ConfigurationError(
            f"{large!r} stands for the large model, so it cannot be in the pool too: leave it out "
            "of --members."
        )


@dataclass(frozen=True)
class Large:
    """The large model's recorded draws, one a question.

    Attributes:
        made_by: fingerprint of its program and settings.
    """

    name: str
    draws: Draws
    made_by: str

    @classmethod
    def of(cls, mux: SLMMux, draws: Draws) -> Large:
        """Return the only member of a mux as the large model."""
        (member,) = mux.members
        return cls(member.label, draws, fingerprint_member(mux, 0)[0])

    def by(self, method: Method) -> Decider:
        return Decider(method, (self.name,), 1, SelfConsistencyRule(self.name), {})

    def alone(self, method: Method) -> Banked:
        """Return the method that asks this model every question."""
        return Banked(self.by(method), self.draws, {})


@dataclass(frozen=True)
class Escalating:
    """A pool that decides by a rule, and a large model for its answers below a threshold.

    Attributes:
        method: the method, such as `escalated:slm_mux`.
        pool: decides among the pool's draws, fitted on a half of validation.
        accuracies: of the pool's members, measured on that half.
        found: the threshold, or why there is none: then every question goes to the large model.
    """

    method: Method
    pool: Decider
    draws: Draws
    accuracies: Mapping[str, float]
    large: Large
    found: Certified

    @classmethod
    def of(
        cls,
        method: Method,
        measured: Measured,
        validation: Sequence[dspy.Example],
        draws: Draws,
        large: Large,
        context: str | None,
    ) -> Escalating:
        """Choose the method's threshold on validation.

        Args:
            validation: the questions of `measured`, in its order.
            context: an input of the questions that the calibrated rule may weigh by.
        """
        split = halves(len(validation), method.settings["seed"])
        part = Measured.of(measured.record.rows(split.train))
        base = Method(method.id.partition(":")[2], method.title, {"k": method.settings["k"]})
        pool = decider(base, part, method.settings["k"], context)
        rows = [decide(pool, draws, example, part.accuracies) for example in validation]
        answers = [(row.get("confidence"), row.get("score", 0.0) >= 1) for row in rows]
        goal = Goal(method.settings["max_risk"], method.settings["confidence"])
        return cls(method, pool, draws, part.accuracies, large, certified(answers, split, goal))

    @property
    def settings(self) -> dict[str, Any]:
        """Return what its decisions depend on, beside the pool's draws."""
        return {
            **self.pool.settings,
            "accuracies": self.accuracies,
            "threshold": self.found.threshold,
            "large": self.large.made_by,
        }

    @property
    def choice(self) -> dict[str, Any]:
        """Return what was chosen on validation, as the run's manifest holds it."""
        return {"threshold": self.found.threshold, "labels": self.found.labels}

    @property
    def note(self) -> str | None:
        """Return why every question goes to the large model; None where not every one does."""
        if self.found.reason is None:
            return None
        return (
            f"{self.method.title}: all questions go to {self.large.name}, as no threshold is "
            f"promised. {self.found.reason}"
        )

    def answer(self, example: dspy.Example) -> dict[str, Any]:
        """Return a row: the pool's answer, or the large model's in its place.

        Where that model gives none, the pool's answer stands.
        """
        ours = decide(self.pool, self.draws, example, self.accuracies)
        ours["pool_score"] = ours.get("score", 0.0)
        threshold, confidence = self.found.threshold, ours.get("confidence")
        if threshold is not None and confidence is not None and confidence >= threshold:
            return {**ours, "escalated": False}
        asked = self.large.by(self.method)
        theirs = decide(asked, self.large.draws, example, {})
        spent = {
            name: ours[name] + theirs[name]
            for name in ("calls", "prompt_tokens", "completion_tokens", "seconds")
        }
        row = {
            **ours,
            **spent,
            "escalated": True,
            "cost": _sum(ours["cost"], theirs),
            "ballots": ballots_with(
                example,
                [(self.pool, self.draws), (asked, self.large.draws)],
                self.accuracies,
            ),
        }
        if "answer" not in theirs:
            return row
        given = {name: theirs[name] for name in ("answer", "score", "member")}
        return {**row, **given, "cause": None}


def _sum(cost: float | None, theirs: Mapping[str, Any]) -> float | None:
    """Return the cost of both; what failed before it had a price cost nothing."""
    if theirs["cost"] is None and "answer" not in theirs:
        return cost
    return None if cost is None or theirs["cost"] is None else cost + theirs["cost"]
