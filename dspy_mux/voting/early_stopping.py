"""The early-stopping rule: the calibrated rule, drawing until its answer will probably stay.

It is not lossless. Where a proof needs every draw, most questions are settled long before. On the
training split's own draws a calibrated rule is fitted after every draw, and the share of its
answers that later draws change is measured against its probability. On a new question drawing stops
where that chance falls below a bound that the user sets.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ..errors import ConfigurationError, DataError
from .ballot import Ballot, Choice, by_accuracy, check_fitted_for
from .calibrated import Calibrated
from .calibration import Training, fit
from .tally import ABSTAINED, Floats, Ints, Picks, Tally

#: How much less accurate the order of fewer calls may be on the training split, as a fraction.
_TOLERANCE = 0.005
#: With fewer answers than this the chance of a change is not fitted, and nothing stops early.
_LEAST_ANSWERS = 20


@dataclass(frozen=True)
class Stage:
    """What is known after so many draws.

    Attributes:
        rule: over the members drawn from so far, with the draws made of each.
        levels: probabilities of its answer, ascending.
        change: the chance that later draws change the answer, at each of the levels.
    """

    rule: Calibrated
    levels: tuple[float, ...]
    change: tuple[float, ...]

    def p_change(self, confidence: Floats) -> Floats:
        return np.interp(confidence, self.levels, self.change)


@dataclass(frozen=True)
class EarlyStopping:
    """The fitted rule; `fit_early_stopping` makes it.

    Its confidence is the probability that the answer is right, as known when drawing stopped. A mux
    draws by it under `schedule="frugal"`; once all draws are made it decides as the calibrated rule
    does. Saved muxes and verdicts call it "budgeted", its first name.

    Attributes:
        members: names, in pool order.
        k: draws of each member, at most.
        order: the member's position for each draw, first to last.
        stages: one after each draw.
        bound: drawing stops where the chance that a further draw changes the answer is below it; 0
            for never.
    """

    members: tuple[str, ...]
    k: tuple[int, ...]
    order: tuple[int, ...]
    stages: tuple[Stage, ...]
    bound: float
    name: str = field(default="budgeted", init=False)

    def __post_init__(self) -> None:
        draws = tuple(self.order.count(at) for at in range(len(self.members)))
        if draws != tuple(self.k) or not len(self.stages) == len(self.order) == sum(draws):
            raise DataError(
                "The early-stopping rule's stages do not fit its members: "
                "it is damaged, fit it again."
            )
        if not 0 <= self.bound <= 1:
            raise ConfigurationError(
                f"The bound on the chance of a change must lie between 0 and 1, not {self.bound}."
            )

    @property
    def reads_evidence(self) -> bool:
        return any(stage.rule.reads_evidence for stage in self.stages)

    def given(self, inputs: Mapping[str, Any]) -> EarlyStopping:
        """Return the rule for a question with these inputs: its category's weights are added."""
        stages = (replace(stage, rule=stage.rule.given(inputs)) for stage in self.stages)
        return replace(self, stages=tuple(stages))

    def choose(self, ballots: Sequence[Ballot]) -> Choice | None:
        """Choose among `ballots`, as far as they were drawn in the rule's order.

        Raises:
            ConfigurationError: the rule was fitted for other members or draws.
        """
        self.check_members([(ballot.member, ballot.k) for ballot in ballots])
        made = _made_in_order(self.order, [len(ballot.votes) for ballot in ballots])
        if not made:
            return None
        drawn = np.bincount(self.order[:made], minlength=len(ballots)).tolist()
        at = [position for position, count in enumerate(drawn) if count]
        seen = [
            replace(
                ballots[i],
                votes=ballots[i].votes[: drawn[i]],
                asked=drawn[i],
                evidence=ballots[i].evidence[: drawn[i]],
            )
            for i in at
        ]
        choice = self.stages[made - 1].rule.choose(seen)
        return None if choice is None else replace(choice, ballot=at[choice.ballot])

    def check_members(self, drawn: Sequence[tuple[str, int]]) -> None:
        """Raise ConfigurationError unless the rule was fitted for these members and draws."""
        check_fitted_for(self.name, self.members, self.k, drawn)

    def wants(self, ballots: Sequence[Ballot]) -> list[tuple[int, int]]:
        """Return the draws up to the next point where drawing can stop; none if it stops here."""
        made = _made_in_order(self.order, [len(ballot.votes) for ballot in ballots])
        if made == len(self.order):
            return []
        choice = self.choose(ballots)
        if choice is not None:
            chance = self.stages[made - 1].p_change(np.array([choice.confidence]))[0]
            if chance < self.bound:
                return []
        # Stages at which no question stops are passed at once.
        stops = (
            at + 1
            for at in range(made, len(self.order))
            if min(self.stages[at].change) < self.bound
        )
        following = self.order[made : next(stops, len(self.order))]
        return [(at, following.count(at)) for at in dict.fromkeys(following)]

    def pick(self, tally: Tally, contexts: Sequence[str] | None = None) -> tuple[Picks, Ints]:
        """Choose for many questions whose draws are all recorded.

        Return the picks, and the draws [Q, M] that the rule makes of each member.
        """
        questions, members, _ = tally.shape
        drawing = np.ones(questions, bool)
        spent = np.zeros((questions, members), np.int64)
        member, draw = np.full(questions, -1), np.zeros(questions, np.int64)
        confidence = np.zeros(questions)
        for last, stage, (part, at) in zip(
            self.order, self.stages, _prefixes(tally, self.order), strict=True
        ):
            spent[drawing, last] += 1
            picks = stage.rule.pick(part, contexts)
            found = picks.member >= 0
            member[drawing] = np.where(found, at[picks.member], -1)[drawing]
            draw[drawing], confidence[drawing] = picks.draw[drawing], picks.confidence[drawing]
            drawing &= ~(found & (stage.p_change(picks.confidence) < self.bound))
        return Picks(member, draw, confidence), spent


#: The first name of `EarlyStopping`.
Budgeted = EarlyStopping


def fit_early_stopping(training: Training, bound: float = 0.05) -> EarlyStopping:
    """Fit the rule. The same training split gives the same rule.

    Two orders of drawing are tried, both from the most accurate member down: each member's draws
    one after the other, and one draw of every member in turn. The one that makes fewer draws is
    taken, unless it costs accuracy on the training split.

    Args:
        bound: on the chance that a further draw changes the answer.
    """
    return at_bound(fit_orders(training), bound, training)


def fit_orders(training: Training) -> list[EarlyStopping]:
    """Fit the rule in either order, with a bound of 0: `at_bound` chooses between them."""
    known = by_accuracy(training.accuracies.tolist())
    k = tuple(int(count) for count in training.tally.k)
    depth = tuple(at for at in known for _ in range(k[at]))
    breadth = tuple(at for turn in range(max(k)) for at in known if turn < k[at])
    return [
        EarlyStopping(tuple(training.members), k, order, _stages(training, order), 0.0)
        for order in dict.fromkeys((depth, breadth))
    ]


def at_bound(fits: Sequence[EarlyStopping], bound: float, training: Training) -> EarlyStopping:
    """Return the order of `fit_orders` that makes fewer draws at this bound on its training split.

    An order that costs accuracy there is not taken.
    """
    tried = []
    for each in fits:
        rule = replace(each, bound=bound)
        picks, spent = rule.pick(training.tally, training.contexts)
        won = picks.scores(training.scores)
        tried.append((float(won.mean()) if len(won) else 0.0, float(spent.sum()), rule))
    best = max(accuracy for accuracy, _, _ in tried)
    accurate = [each for each in tried if each[0] >= best - _TOLERANCE]
    return min(accurate, key=lambda each: each[1])[2]


def _stages(training: Training, order: tuple[int, ...]) -> tuple[Stage, ...]:
    rules, picked = [], []
    for part, at in _prefixes(training.tally, order):
        rule = fit(
            replace(
                training,
                tally=part,
                scores=training.scores[:, at, : part.shape[2]],
                members=[training.members[position] for position in at],
            )
        )
        rules.append(rule)
        picks = rule.pick(part, training.contexts)
        rows = np.arange(len(picks.member))
        found = part.votes[rows, np.maximum(picks.member, 0), np.maximum(picks.draw, 0)]
        picked.append((np.where(picks.member >= 0, found, ABSTAINED), picks.confidence))
    final = picked[-1][0]
    stages = []
    for rule, (answers, confidence) in zip(rules, picked, strict=True):
        answered = answers != ABSTAINED
        change = _chance_of_change(confidence[answered], (answers != final)[answered])
        stages.append(Stage(rule, *change))
    return tuple(stages)


def _chance_of_change(
    confidence: Floats, changed: Ints
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Fit an isotonic regression of whether the answer changed on its probability.

    Half a change more is counted than was seen.
    """
    if len(confidence) < _LEAST_ANSWERS:
        return (0.0, 1.0), (1.0, 1.0)
    from scipy.optimize import isotonic_regression

    levels, inverse = np.unique(np.round(confidence, 6), return_inverse=True)
    seen = np.bincount(inverse).astype(float)
    changes = np.bincount(inverse, changed.astype(float))
    fitted = isotonic_regression(changes / seen, weights=seen, increasing=False).x
    block = np.cumsum(np.r_[0, np.diff(fitted) != 0])
    share = (np.bincount(block, changes) + 0.5) / (np.bincount(block, seen) + 1)
    return tuple(levels.tolist()), tuple(share[block].tolist())


def _prefixes(tally: Tally, order: Sequence[int]) -> Iterator[tuple[Tally, Ints]]:
    """Yield, after each draw of `order`, the draws made so far and their members' positions."""
    for made in range(1, len(order) + 1):
        drawn = np.bincount(order[:made], minlength=tally.shape[1])
        at = np.flatnonzero(drawn)
        k = drawn[at]
        later = np.arange(k.max()) >= k[:, None]
        votes = np.where(later, ABSTAINED, tally.votes[:, at, : k.max()])
        evidence = {
            name: np.where(later, np.nan, values[:, at, : k.max()])
            for name, values in tally.evidence.items()
        }
        yield Tally(votes, k, evidence), at


def _made_in_order(order: Sequence[int], drawn: Sequence[int]) -> int:
    """Count the draws of `order` that were made, up to the first that was not."""
    left = list(drawn)
    for made, at in enumerate(order):
        if not left[at]:
            return made
        left[at] -= 1
    return len(order)
