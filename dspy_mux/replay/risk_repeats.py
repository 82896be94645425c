"""One repeat of `risk`: fit on a part, choose the threshold on a second, answer a third."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..bank.record import Record
from ..errors import ConfigurationError, DataError
from ..voting.calibration import Training
from ..voting.tally import Floats, Ints
from .contexts import Contexts, with_contexts
from .decisions import decide, measured
from .held_out import confidences
from .splits import Split, check_apart
from .threshold import Certified, Goal, Judged, choose_threshold


@dataclass(frozen=True)
class Parts:
    """Positions of the questions that fit, choose the threshold, and are reported."""

    fit: Ints
    calibration: Ints
    test: Ints


@dataclass(frozen=True)
class Cut:
    """The pool's draws, and what the large model gets right, on the questions that both have.

    Attributes:
        kept: positions of these questions in the record.
        large: [Q]; None without a large model.
    """

    pool: Record
    kept: Ints
    large: Floats | None

    @classmethod
    def of(
        cls,
        record: Record,
        members: Sequence[str] | None,
        escalate: str | None,
        k: int | None,
        threshold: float,
    ) -> Cut:
        """Cut a record to a pool and a large model, as `risk` is asked for them."""
        if escalate is not None:
            record.positions([escalate])  # raises where it is not recorded
        if members is None:
            members = [name for name in record.members if name != escalate]
        if escalate in members:
            raise ConfigurationError(
                f"{escalate!r} stands for the large model, so it cannot be in the pool too: leave "
                "it out of the members."
            )
        if not members and escalate is not None:
            raise ConfigurationError(
                f"{record.source} has draws of {escalate!r} alone: the pool that it is to help "
                "must be recorded too."
            )
        pool, left_out = record.of(members, k)
        if escalate is None and not left_out:
            return cls(pool, np.arange(len(record.questions)), None)
        needed = pool.votes.shape[2] if k is None else k
        drawn = record.drawn()
        enough = (drawn[:, record.positions(members)] >= needed).all(axis=1)
        if escalate is None:
            return cls(pool, np.flatnonzero(enough), None)
        kept = np.flatnonzero(enough & (drawn[:, record.members.index(escalate)] >= 1))
        if not len(kept):
            raise DataError(
                f"{record.source} has no question that both the pool and {escalate!r} answered."
            )
        both = record.rows(kept)
        pool, large = both.of(members, k)[0], both.of([escalate], 1)[0]
        right = (large.scores[:, 0] >= threshold) & (large.votes[:, 0] >= 0)
        return cls(pool, kept, right.mean(axis=1))

    def parts(self, split: Split, random: np.random.Generator) -> Parts:
        """Return the parts of a split of the record's questions, its test part halved at random."""
        check_apart(split)
        fit, rest = self._placed(split.train), random.permutation(self._placed(split.test))
        if len(rest) < 2 or not len(fit):
            have = "1 question is" if len(fit) == 1 else f"{len(fit)} questions are"
            raise ConfigurationError(
                f"{have} there to fit, and {len(rest)} to choose the threshold "
                "and to report it: at least one and two are needed."
            )
        half = len(rest) // 2
        return Parts(fit, np.sort(rest[:half]), np.sort(rest[half:]))

    def _placed(self, positions: Ints) -> Ints:
        """Return where these questions of the record are among those that are kept."""
        found = np.searchsorted(self.kept, positions)
        known = np.minimum(found, len(self.kept) - 1)
        here: Ints = found[self.kept[known] == positions]
        return here


@dataclass(frozen=True)
class Repeat:
    """One repeat: its parts, its threshold, and the answers to its test part.

    Attributes:
        chances: [N], the confidences of the test part as chances of being right.
        accuracies: [M], of the members on the part that fits; they decide between members of equal
            confidence.
    """

    parts: Parts
    certified: Certified
    tested: Judged
    chances: Floats
    accuracies: Floats

    @property
    def counted(self) -> tuple[int, int]:
        """Test questions answered at or above the threshold, and the wrong ones among them."""
        if self.certified.threshold is None:
            return 0, 0
        answered, wrong = self.tested.at_least(np.array([self.certified.threshold]))
        return int(answered[0]), int(wrong[0])

    @property
    def kept(self) -> bool:
        """Whether no more of the test part's answers are wrong than was promised."""
        answered, wrong = self.counted
        return wrong <= self.certified.goal.max_risk * answered

    def figure(self, of: Callable[[Floats, NDArray[np.bool_]], float], *, raw: bool) -> float:
        """Return a figure of all answers' confidences, as the rule gives them or as chances."""
        given = self.tested.answered
        confidence = self.tested.confidence if raw else self.chances
        return of(confidence[given], self.tested.right[given])


@dataclass(frozen=True)
class Work:
    """What is measured in every repeat."""

    rule: str
    goal: Goal
    contexts: Contexts | None
    threshold: float

    def repeat(self, drawn: Record, parts: Parts) -> Repeat:
        """Fit, choose the threshold, and answer the test part, each on its part of the draws."""
        training = self._training(drawn, parts.fit)
        judged, chances = self._judged(drawn, training)
        certified = choose_threshold(
            self.goal, judged.rows(parts.fit), judged.rows(parts.calibration)
        )
        return Repeat(
            parts, certified, judged.rows(parts.test), chances[parts.test], measured(training)
        )

    def judged(self, drawn: Record, fit: Ints) -> tuple[Judged, Floats]:
        """Judge the answers to all questions, and return their chances, as some questions fit them.

        Args:
            fit: positions of these questions.
        """
        return self._judged(drawn, self._training(drawn, fit))

    def _training(self, drawn: Record, fit: Ints) -> Training:
        rows = drawn.tally().rows(fit)
        training = Training(rows, drawn.scores[fit], drawn.members, threshold=self.threshold)
        return with_contexts(training, self.contexts, fit)

    def _judged(self, drawn: Record, training: Training) -> tuple[Judged, Floats]:
        asked = None if self.contexts is None else self.contexts.values
        made = decide(self.rule, training, drawn.tally(), asked)
        chances, _ = confidences(self.rule, training, made)
        return Judged.of(made.picks, drawn.scores, self.threshold), chances
