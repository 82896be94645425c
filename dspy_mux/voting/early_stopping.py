"""The budgeted rule: the calibrated rule that stops drawing once further draws will probably not change its answer.

Beyond lossless: where a proof needs every draw, most questions are settled long before. On the training split's own draws a
calibrated rule is fitted after every draw, and how often its answer is still changed by the draws to come is counted against its
probability. On a new question the drawing stops where that chance falls below a bound that the user sets.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ..errors import ConfigurationError
from .ballot import Ballot, Choice
from .calibrated import LEAST_QUESTIONS, Calibrated, check_fitted_for, fit as fit_calibrated
from .tally import ABSTAINED, Floats, Ints, Picks, Tally, by_accuracy

#: How much less accurate the order of fewer calls may be on the training split, as a fraction.
_TOLERANCE = 0.005


@dataclass(frozen=True)
class Stage:
    """What is known after so many draws.

    Attributes:
        rule: over the members drawn from so far, with the draws made of each.
        levels, change: at these probabilities of its answer, how likely the draws to come still change it; descending.
    """

    rule: Calibrated
    levels: tuple[float, ...]
    change: tuple[float, ...]

    def p_change(self, confidence: Floats) -> Floats:
        return np.interp(confidence, self.levels, self.change)


@dataclass(frozen=True)
class Budgeted:
    """The fitted rule; made by `fit_budgeted`.

    Its confidence is the probability that the answer is right, as known when drawing stopped. A mux draws by it under
    `schedule="frugal"`; once all draws are made it decides as the calibrated rule does.

    Attributes:
        members: names, in pool order; k: draws of each, at most.
        order: position of the member that each draw is made of, first to last.
        stages: one after each draw.
        bound: drawing stops where the chance that a further draw changes the answer is below it; 0 for never.
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
            raise ConfigurationError(
                "The budgeted rule's stages do not fit its members: it is damaged, fit it again."
            )
        if not 0 <= self.bound <= 1:
            raise ConfigurationError(
                f"The bound on the chance of a change must lie between 0 and 1, not {self.bound}."
            )

    def given(self, inputs: Mapping[str, Any]) -> Budgeted:
        """The rule for a question with these inputs: with its category's weights added."""
        return replace(
            self,
            stages=tuple(replace(stage, rule=stage.rule.given(inputs)) for stage in self.stages),
        )

    def choose(self, ballots: Sequence[Ballot]) -> Choice | None:
        """The choice among `ballots`, drawn in the rule's order as far as they go.

        Raises:
            ConfigurationError: the ballots are not of the members and draws that the rule was fitted for.
        """
        self.check_members([(ballot.member, ballot.k) for ballot in ballots])
        made = _made_in_order(self.order, [len(ballot.votes) for ballot in ballots])
        if not made:
            return None
        drawn = np.bincount(self.order[:made], minlength=len(ballots))
        at = [position for position, count in enumerate(drawn) if count]
        seen = [
            Ballot(
                ballots[i].member, ballots[i].votes[: drawn[i]], ballots[i].accuracy, int(drawn[i])
            )
            for i in at
        ]
        choice = self.stages[made - 1].rule.choose(seen)
        return None if choice is None else replace(choice, ballot=at[choice.ballot])

    def check_members(self, drawn: Sequence[tuple[str, int]]) -> None:
        """Raises ConfigurationError unless these are the members and draws that the rule was fitted for."""
        check_fitted_for(self.name, self.members, self.k, drawn)

    def wants(self, ballots: Sequence[Ballot]) -> list[tuple[int, int]]:
        """The draws up to the next point at which drawing could stop; none where it stops here."""
        made = _made_in_order(self.order, [len(ballot.votes) for ballot in ballots])
        if made == len(self.order):
            return []
        choice = self.choose(ballots)
        if (
            choice is not None
            and self.stages[made - 1].p_change(np.array([choice.confidence]))[0] < self.bound
        ):
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
        """The rule over many questions whose draws are all recorded: its picks, and the draws it makes of each member [Q, M]."""
        questions, members, _ = tally.shape
        drawing = np.ones(questions, bool)
        spent = np.zeros((questions, members), np.int64)
        member, draw, confidence = (
            np.full(questions, -1),
            np.zeros(questions, np.int64),
            np.zeros(questions),
        )
        for made, (stage, (part, at)) in enumerate(
            zip(self.stages, _prefixes(tally, self.order), strict=True), 1
        ):
            spent[drawing, self.order[made - 1]] += 1
            picks = stage.rule.pick(part, contexts)
            found = picks.member >= 0
            member[drawing] = np.where(found, at[picks.member], -1)[drawing]
            draw[drawing], confidence[drawing] = picks.draw[drawing], picks.confidence[drawing]
            drawing &= ~(found & (stage.p_change(picks.confidence) < self.bound))
        return Picks(member, draw, confidence), spent


def fit_budgeted(
    tally: Tally,
    scores: Floats,
    *,
    members: Sequence[str],
    bound: float = 0.05,
    contexts: Sequence[str] | None = None,
    context: str | None = None,
    threshold: float = 1.0,
    seed: int = 0,
) -> Budgeted:
    """Fit the rule on the draws of a training split. The same input gives the same rule.

    Two orders of drawing are tried, both from the most accurate member down: each member's draws one after the other, and one draw
    of every member in turn. The one that makes fewer draws is taken, unless it costs accuracy on the training split.

    Args:
        bound: on the chance that a further draw changes the answer; the other arguments are those of `calibration.fit`.
    """
    fits = fit_orders(
        tally,
        scores,
        members=members,
        contexts=contexts,
        context=context,
        threshold=threshold,
        seed=seed,
    )
    return at_bound(fits, bound, tally, scores, contexts)


def fit_orders(
    tally: Tally,
    scores: Floats,
    *,
    members: Sequence[str],
    contexts: Sequence[str] | None = None,
    context: str | None = None,
    threshold: float = 1.0,
    seed: int = 0,
) -> list[Budgeted]:
    """The rule in either order, with a bound of 0: what `at_bound` chooses from. The arguments are those of `fit_budgeted`."""
    correct = (scores >= threshold).astype(float)
    known = [
        int(at)
        for at in by_accuracy(
            tally.plurality_scores(correct).mean(axis=0) if len(scores) else [0.0] * len(members)
        )
    ]
    k = tuple(int(count) for count in tally.k)
    depth = tuple(at for at in known for _ in range(k[at]))
    breadth = tuple(at for turn in range(max(k)) for at in known if turn < k[at])
    return [
        Budgeted(
            tuple(members),
            k,
            order,
            _stages(tally, scores, order, members, contexts, context, threshold, seed),
            0.0,
        )
        for order in dict.fromkeys((depth, breadth))
    ]


def at_bound(
    fits: Sequence[Budgeted],
    bound: float,
    tally: Tally,
    scores: Floats,
    contexts: Sequence[str] | None = None,
) -> Budgeted:
    """Of the orders of `fit_orders` the one that makes fewer draws at this bound on the split they were fitted on, unless it costs
    accuracy there."""
    tried = []
    for fit in fits:
        rule = replace(fit, bound=bound)
        picks, spent = rule.pick(tally, contexts)
        tried.append(
            (float(picks.scores(scores).mean()) if len(scores) else 0.0, float(spent.sum()), rule)
        )
    best = max(accuracy for accuracy, _, _ in tried)
    return min((each for each in tried if each[0] >= best - _TOLERANCE), key=lambda each: each[1])[
        2
    ]


def _stages(
    tally: Tally,
    scores: Floats,
    order: tuple[int, ...],
    members: Sequence[str],
    contexts: Sequence[str] | None,
    context: str | None,
    threshold: float,
    seed: int,
) -> tuple[Stage, ...]:
    rules, picked = [], []
    for part, at in _prefixes(tally, order):
        rule = fit_calibrated(
            part,
            scores[:, at, : part.shape[2]],
            members=[members[position] for position in at],
            contexts=contexts,
            context=context,
            threshold=threshold,
            seed=seed,
        )
        rules.append(rule)
        picks = rule.pick(part, contexts)
        found = part.votes[
            np.arange(len(picks.member)), np.maximum(picks.member, 0), np.maximum(picks.draw, 0)
        ]
        picked.append((np.where(picks.member >= 0, found, ABSTAINED), picks.confidence))
    final = picked[-1][0]
    return tuple(
        Stage(
            rule,
            *_chance_of_change(
                confidence[answers != ABSTAINED], (answers != final)[answers != ABSTAINED]
            ),
        )
        for rule, (answers, confidence) in zip(rules, picked, strict=True)
    )


def _chance_of_change(
    confidence: Floats, changed: Ints
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Isotonic regression of whether the answer changed on its probability; half a change more is counted than was seen."""
    if len(confidence) < LEAST_QUESTIONS:
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
    """After each draw of `order`: the draws made so far, and the positions of the members they are of."""
    for made in range(1, len(order) + 1):
        drawn = np.bincount(order[:made], minlength=tally.shape[1])
        at = np.flatnonzero(drawn)
        k = drawn[at]
        votes = tally.votes[:, at, : k.max()].copy()
        votes[:, np.arange(k.max()) >= k[:, None]] = ABSTAINED
        yield Tally(votes, k), at


def _made_in_order(order: Sequence[int], drawn: Sequence[int]) -> int:
    """How many draws of `order` are there, up to the first that is not."""
    left = list(drawn)
    for made, at in enumerate(order):
        if not left[at]:
            return made
        left[at] -= 1
    return len(order)
