"""Operating points: what each threshold of a setting gives, counted exactly.

A threshold is no parameter of the Optuna study: once a setting's confidences are known, one sort
gives the figures of all its thresholds, where a sampler would try a few. The study weighs each of
its settings by the best of them (`weigh`) on the questions that choose the setting. The points that
a user picks from (`find_points`) are of other questions, which chose nothing but the threshold.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..bank.record import Record
from ..errors import ConfigurationError
from ..mux.points import OperatingPoint, OperatingPoints
from ..replay.escalation import Escalated
from ..replay.grading import graded
from ..replay.intervals import standard_error
from ..replay.live import Policy
from ..replay.threshold import Certified, Judged, choose_threshold, declared_thresholds
from ..voting.tally import Floats, Ints
from .aim import BALANCED, CHEAPEST, FEWEST_WRONG, MOST_ACCURATE, MOST_ANSWERED, Aim


@dataclass(frozen=True)
class Large:
    """What one call of a large model is worth on each of Q questions.

    Attributes:
        right: [Q], the share of its recorded draws that are right.
        cost: US dollars a call; None where no price is recorded.
    """

    name: str
    right: Floats
    cost: float | None

    @classmethod
    def of(cls, record: Record, like: Record, threshold: float | None) -> Large:
        """Read the only member of a record, on the questions of another.

        Args:
            threshold: the score from which an answer counts as correct; None for 1.

        Raises:
            ConfigurationError: there are several, it has no draw for some of the questions, or
                scores outside 0 to 1 and no threshold is stated.
        """
        if len(record.members) != 1:
            raise ConfigurationError(
                f"One member stands for the large model, not {', '.join(record.members)}: "
                "record.of([name], 1)[0] has one alone."
            )
        record, correct = graded(record, threshold)
        rows = {name: row for row, name in enumerate(record.keys or record.questions)}
        wanted = like.keys or like.questions
        lacking = sum(name not in rows for name in wanted)
        if lacking:
            raise ConfigurationError(
                f"{record.source} has no draw of {record.members[0]!r} for {lacking} of the "
                f"{len(wanted)} questions: record them, or leave these questions out."
            )
        part = record.rows(np.array([rows[name] for name in wanted]))
        right = (part.scores[:, 0] >= correct) & (part.votes[:, 0] >= 0)
        return cls(record.members[0], right.mean(axis=1), _price(part))

    def rows(self, at: Ints) -> Large:
        """Return what it is worth on the questions at these positions."""
        return replace(self, right=self.right[at])


def _price(record: Record) -> float | None:
    """Return the US dollars of one draw of each member; None where no price is recorded.

    A draw without a price counts as the mean of its member's others, as cached ones have none. A
    member without any costs no dollars, as in verdicts: local models have no price.
    """
    prices = record.prices()
    if prices is None or np.isnan(prices).all():
        return None
    known = ~np.isnan(prices)
    sums, counts = np.where(known, prices, 0.0).sum(axis=(0, 2)), known.sum(axis=(0, 2))
    return float((sums / np.maximum(counts, 1)).sum())


@dataclass(frozen=True)
class Aimed:
    """An aim, and the large model that it may count on.

    Raises:
        ConfigurationError: the aim bounds calls or money, and there is no large model, or none with
            a price.
    """

    aim: Aim
    large: Large | None

    @classmethod
    def of(cls, aim: Aim, large: Record | None, like: Record, threshold: float | None) -> Aimed:
        """Return an aim with a large model by its draws, as `Large.of` reads them."""
        return cls(aim, None if large is None else Large.of(large, like, threshold))

    def __post_init__(self) -> None:
        self.aim.check_large(self.large is not None)
        if self.aim.max_cost is not None and self.large is not None and self.large.cost is None:
            raise ConfigurationError(
                f"No draw of {self.large.name!r} has a recorded price, so max_cost_per_question "
                "cannot be kept: bound its calls, max_escalated=… (--max-escalated)."
            )

    def large_at(self, questions: Ints) -> Large | None:
        """Return the large model on the questions at these positions."""
        return None if self.large is None else self.large.rows(questions)

    def rows(self, questions: Ints) -> Aimed:
        """Return the same aim over the questions at these positions."""
        return replace(self, large=self.large_at(questions))


@dataclass(frozen=True)
class Answers:
    """A pool's answers to N questions, and what the large model would answer in their place.

    Attributes:
        price: US dollars of all the pool's draws for a question; None where unknown.
    """

    judged: Judged
    large: Large | None
    price: float | None

    @classmethod
    def of(cls, judged: Judged, large: Large | None, drawn: Record) -> Answers:
        """Return what a record's draws come to; `drawn` has those of the setting alone."""
        price = _price(drawn)
        return cls(judged, large, None if price is None else price * drawn.votes.shape[2])

    def right_at(self, threshold: float) -> Floats:
        """Return how far each question [N] is answered rightly where answers below a threshold go.

        They go to the large model, or without one nowhere.
        """
        kept = self.judged.answered & (self.judged.confidence >= threshold)
        other = np.zeros(len(kept)) if self.large is None else self.large.right
        return np.where(kept, self.judged.right, other).astype(float)

    def point(self, threshold: float, *, promised: bool = False) -> OperatingPoint:
        """Return the figures of a threshold."""
        answered, wrong = (int(n[0]) for n in self.judged.at_least(np.array([threshold])))
        escalated = cost = None
        if self.large is not None:
            escalated, _ = Escalated(self.judged, self.large.right).at(threshold)
            if self.large.cost is not None:
                cost = (self.price or 0.0) + escalated * self.large.cost
        return OperatingPoint(
            threshold=threshold,
            names=(),
            promised=promised,
            coverage=answered / len(self.judged),
            risk=wrong / answered if answered else None,
            accuracy=float(self.right_at(threshold).mean()),
            escalated=escalated,
            cost=cost,
        )


def _candidates(
    aim: Aim, fitted: Judged, answers: Answers
) -> tuple[list[OperatingPoint], Certified | None]:
    """Return the points that an aim leaves, but for its bounds on calls, and what promises them."""
    if aim.goal is None:
        return [answers.point(float(at)) for at in declared_thresholds(fitted)], None
    certified = choose_threshold(aim.goal, fitted, answers.judged)
    passed = [answers.point(step.threshold, promised=True) for step in certified.passed]
    return passed, certified


@dataclass(frozen=True)
class Weighed:
    """How well a setting serves an aim, as far as the questions that choose it can tell.

    Attributes:
        figure: the accuracy or coverage of the best point; 0 where none keeps to the aim.
        violations: by how much the nearest point breaks the promise, the bound on calls and the
            bound on money: Optuna's constraints, each 0 or less where it is kept.
    """

    figure: float
    violations: tuple[float, float, float]


def weigh(aim: Aim, answers: Answers) -> Weighed:
    """Weigh a setting by its answers to questions that its rule was not fitted on."""
    points, certified = _candidates(aim, answers.judged, answers)
    if not points:
        uppers = [step.upper for step in certified.steps] if certified is not None else []
        goal = 0.0 if certified is None else certified.goal.max_risk
        return Weighed(0.0, (min(uppers, default=1.0) - goal, 0.0, 0.0))
    allowed = aim.allowed(points)
    if not allowed:
        return Weighed(0.0, (0.0, *min(map(aim.excess, points), key=sum)))
    by_accuracy = answers.large is not None and (aim.bounds_calls or aim.goal is None)
    figures = [point.accuracy if by_accuracy else point.coverage for point in allowed]
    return Weighed(max(figures), (0.0, 0.0, 0.0))


def find_points(
    aimed: Aimed, policy: Policy, fitted: Record, held: Record, correct: float
) -> OperatingPoints:
    """Measure the points of a fitted setting on questions that had no part in choosing it.

    Args:
        aimed: with the large model on the questions of `held`.
        policy: how the compiled mux draws and decides.
        fitted: draws of the questions that chose and fitted it; they declare the thresholds.
        held: draws of the questions that choose the threshold.
        correct: the score from which an answer counts as correct.

    Raises:
        ConfigurationError: no point keeps to the bounds on calls or money, or the schedule is
            "hedged".
    """
    aim, large = aimed.aim, aimed.large
    answers = Answers.of(judged_live(policy, held, correct), large, held)
    points, certified = _candidates(aim, judged_live(policy, fitted, correct), answers)
    allowed = aim.allowed(points)
    if points and not allowed:
        raise _out_of_reach(aim, points)
    named = _named(_front(allowed), answers)
    return OperatingPoints(
        points=tuple(named),
        promise=None if certified is None else certified.promise,
        questions=len(answers.judged),
        large=None if large is None else large.name,
        compiled=aim.compiled(large is not None) if named else None,
        rule=policy.rule.name,
        members=policy.members,
        k=policy.k,
        accuracy_large=None if large is None else float(large.right.mean()),
    )


def judged_live(policy: Policy, record: Record, correct: float) -> Judged:
    """Judge what a mux answers to recorded questions, drawing and deciding as it does live."""
    polls, _ = policy.decide(record)
    where = record.positions(policy.members)
    confidence, wrong = np.full(len(polls), np.nan), np.zeros(len(polls), bool)
    for row, poll in enumerate(polls):
        if poll.member is None:
            continue
        draw = poll.votes[poll.member].index(poll.group)
        confidence[row] = poll.confidence
        wrong[row] = record.scores[row, where[poll.member], draw] < correct
    return Judged(confidence, wrong)


def _front(points: Sequence[OperatingPoint]) -> list[OperatingPoint]:
    """Return the points that no other beats or equals in both criteria, the widest first.

    With a large model these are its calls and the accuracy; money grows with the calls. Without
    one they are the coverage and the risk. Of equals, the lowest threshold is kept.
    """
    kept: list[OperatingPoint] = []
    for point in sorted(points, key=lambda each: (-each.coverage, -_worth(each), each.threshold)):
        if point.coverage > 0 and (not kept or _worth(point) > _worth(kept[-1])):
            kept.append(point)
    return kept


def _worth(point: OperatingPoint) -> float:
    if point.escalated is not None:
        return point.accuracy
    return 0.0 if point.risk is None else 1.0 - point.risk


def _named(front: Sequence[OperatingPoint], answers: Answers) -> list[OperatingPoint]:
    """Return a front with its names."""
    if not front:
        return []
    last = len(front) - 1
    if answers.large is None:
        names = {MOST_ANSWERED: 0, FEWEST_WRONG: last}
    else:
        names = {CHEAPEST: 0, BALANCED: _balanced(front, answers), MOST_ACCURATE: last}
    return [
        replace(point, names=tuple(name for name, where in names.items() if where == at))
        for at, point in enumerate(front)
    ]


def _balanced(front: Sequence[OperatingPoint], answers: Answers) -> int:
    """Return the position of the fewest calls that the most accurate point does not clearly beat.

    Clearly: by more than the standard error of the paired difference.
    """
    best = answers.right_at(front[-1].threshold)
    for at, point in enumerate(front):
        gaps = best - answers.right_at(point.threshold)
        if gaps.mean() <= standard_error(gaps):
            return at
    return len(front) - 1


def _out_of_reach(aim: Aim, points: Sequence[OperatingPoint]) -> ConfigurationError:
    asked = [
        *([] if aim.max_escalated is None else [f"max_escalated={aim.max_escalated:g}"]),
        *([] if aim.max_cost is None else [f"max_cost_per_question={aim.max_cost:g}"]),
    ]
    least = points[min(range(len(points)), key=lambda at: sum(aim.excess(points[at])))]
    cost = "" if least.cost is None else f" and {least.cost:.3g} US dollars a question"
    promise = "" if aim.max_risk is None else f" that keeps max_risk={aim.max_risk:g}"
    return ConfigurationError(
        f"No point{promise} stays within {' and '.join(asked)}: the nearest takes "
        f"{least.escalated:.3g} calls of the large model{cost}."
    )
