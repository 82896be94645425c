"""The early-stopping rule: the calibrated rule, drawing until its answer will probably stay.

It is not lossless. Where a proof needs every draw, most questions are settled long before. A
calibrated rule is fitted after every draw, and drawing stops where it is sure enough.

How sure that must be follows from a bound that the user sets. It is a bound on answers: of the
answers of questions that stop early, the share that differs from what all draws would have
answered, averaged over these questions. It bounds neither the chance of a single answer nor that of
a single draw, and says nothing of answers being right. The share is estimated out of fold, stage by
stage, on the training questions that reach the stage, those that stopped before left out, and
counts by its upper 90 % limit. The bound holds on average over training splits, for new questions
that are like the training ones.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ..errors import ConfigurationError, DataError
from .ballot import Ballot, Choice, by_accuracy, check_fitted_for
from .calibrated import Calibrated
from .calibration import Training, fit, refit
from .tally import ABSTAINED, Floats, Ints, Picks, Tally

#: Where fewer answers reach a stage, nothing stops there.
_LEAST_ANSWERS = 20
#: Confidence of the upper limit of the share of answers that change.
_SURE = 0.9
_FOLDS = 5


@dataclass(frozen=True)
class Stage:
    """What is known after so many draws.

    Attributes:
        rule: over the members drawn from so far, with the draws made of each.
        levels: probabilities of its answer, ascending.
        change: at each of the levels, an upper limit of the share of answers at least as probable
            that differ from those of all draws; of a lower level, where that one's is smaller.
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
        bound: of the answers of questions that stop early, the share that may differ from those of
            all draws; 0 to make all draws.
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
                "The bound on the share of early answers that all draws would change must lie "
                f"between 0 and 1, not {self.bound}."
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
        if choice is None:
            return None
        own = choice.decided_by == Calibrated.name
        return replace(
            choice,
            ballot=at[choice.ballot],
            decided_by=self.name if own else choice.decided_by,
        )

    def check_members(self, drawn: Sequence[tuple[str, int]]) -> None:
        """Raise ConfigurationError unless the rule was fitted for these members and draws."""
        check_fitted_for(self.name, self.members, self.k, drawn)

    def wants(
        self, ballots: Sequence[Ballot], threshold: float | None = None
    ) -> list[tuple[int, int]]:
        """Return the draws up to the next point where drawing can stop; none if it stops here.

        Args:
            threshold: the confidence from which an answer is trusted; None for none. With one,
                drawing stops where the answer is trusted, and nowhere else: that the answer will
                stay says nothing of its confidence, which further draws may lift.
        """
        made = _made_in_order(self.order, [len(ballot.votes) for ballot in ballots])
        if made == len(self.order):
            return []
        choice = self.choose(ballots)
        if choice is not None and self._stops(self.stages[made - 1], choice, threshold):
            return []
        # Stages at which no question stops are passed at once.
        stops = (
            at + 1
            for at in range(made, len(self.order))
            if _can_stop(self.stages[at], self.bound, threshold)
        )
        following = self.order[made : next(stops, len(self.order))]
        return [(at, following.count(at)) for at in dict.fromkeys(following)]

    def _stops(self, stage: Stage, choice: Choice, threshold: float | None) -> bool:
        if threshold is None:
            return bool(stage.p_change(np.array([choice.confidence]))[0] < self.bound)
        # A confidence that is not calibrated is 1 after a single draw.
        return choice.calibrated and choice.confidence >= threshold

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
    taken, unless it costs accuracy; both are judged out of fold.

    Args:
        bound: of the answers of questions that stop early, the share that may differ from those of
            all draws, on average.
    """
    return at_bound(fit_orders(training), bound)


@dataclass(frozen=True)
class FittedOrder:
    """The calibrated rules along one order of drawing, and their answers out of fold.

    Attributes:
        members, k, order: as of the rule.
        rules: after each draw, fitted on all training questions.
        answers: [S, Q], after each draw, by rules fitted without the question; ABSTAINED for none.
        confidence, scores: [S, Q], of these answers.
    """

    members: tuple[str, ...]
    k: tuple[int, ...]
    order: tuple[int, ...]
    rules: tuple[Calibrated, ...]
    answers: Ints
    confidence: Floats
    scores: Floats

    def at(self, bound: float) -> tuple[EarlyStopping, Floats, float]:
        """Return the rule at this bound, with its scores [Q] and draws out of fold."""
        questions = self.answers.shape[1]
        drawing, made = np.ones(questions, bool), np.full(questions, len(self.order))
        stages = []
        for at, rule in enumerate(self.rules):
            reached = drawing & (self.answers[at] != ABSTAINED)
            changed = self.answers[at] != self.answers[-1]
            stage = Stage(rule, *share_of_change(self.confidence[at, reached], changed[reached]))
            stages.append(stage)
            stops = reached & (stage.p_change(self.confidence[at]) < bound)
            made[stops] = at + 1
            drawing &= ~stops
        scores = self.scores[made - 1, np.arange(questions)]
        found = EarlyStopping(self.members, self.k, self.order, tuple(stages), bound)
        return found, scores, float(made.sum())


def fit_orders(training: Training) -> list[FittedOrder]:
    """Fit the rules along either order; `at_bound` chooses between them."""
    known = by_accuracy(training.accuracies.tolist())
    k = tuple(int(count) for count in training.tally.k)
    depth = tuple(at for at in known for _ in range(k[at]))
    breadth = tuple(at for turn in range(max(k)) for at in known if turn < k[at])
    fitted: dict[tuple[int, ...], _Fitted] = {}
    return [_fit_order(training, order, k, fitted) for order in dict.fromkeys((depth, breadth))]


def at_bound(fits: Sequence[FittedOrder], bound: float) -> EarlyStopping:
    """Return the rule at a bound, in the order of fewer draws, unless that costs accuracy.

    It does where it is less accurate by more than the standard error of the difference.
    """
    few, *others = sorted((each.at(bound) for each in fits), key=lambda each: each[2])
    for more in others:
        losses = more[1] - few[1]
        if len(losses) and losses.mean() > losses.std() / np.sqrt(len(losses)):
            return more[0]
    return few[0]


#: A rule, and its answers, confidences and scores [Q] out of fold.
_Fitted = tuple[Calibrated, Ints, Floats, Floats]


def _fit_order(
    training: Training,
    order: tuple[int, ...],
    k: tuple[int, ...],
    fitted: dict[tuple[int, ...], _Fitted],
) -> FittedOrder:
    """Fit along one order; both orders share what they draw alike."""
    stages = []
    for part, at in _prefixes(training.tally, order):
        drawn = np.zeros(len(k), int)
        drawn[at] = part.k
        key = tuple(drawn.tolist())
        if key not in fitted:
            fitted[key] = _fit_stage(
                replace(
                    training,
                    tally=part,
                    scores=training.scores[:, at, : part.shape[2]],
                    members=[training.members[position] for position in at],
                )
            )
        stages.append(fitted[key])
    rules, answers, confidence, scores = zip(*stages, strict=True)
    return FittedOrder(
        tuple(training.members),
        k,
        order,
        rules,
        np.array(answers),
        np.array(confidence),
        np.array(scores),
    )


def _fit_stage(training: Training) -> _Fitted:
    """Fit a rule on all questions, and answer each of them by one fitted without it."""
    questions, rule = training.tally.shape[0], fit(training)
    answers, confidence = np.full(questions, ABSTAINED), np.zeros(questions)
    scores = np.zeros(questions)
    shuffled = np.random.default_rng(training.seed).permutation(questions)
    for held_out in np.array_split(shuffled, _FOLDS):
        if not len(held_out):
            continue
        others = np.setdiff1d(np.arange(questions), held_out)
        part = training.tally.rows(held_out)
        contexts = training.contexts
        asked = None if contexts is None else [contexts[question] for question in held_out]
        picks = refit(rule, training, others).pick(part, asked)
        answers[held_out] = part.answers(picks)
        confidence[held_out] = picks.confidence
        scores[held_out] = picks.scores(training.scores[held_out])
    return rule, answers, confidence, scores


def share_of_change(
    confidence: Floats, changed: Ints
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return levels of confidence, and how often answers at least as sure changed, at most.

    That is the upper limit (Clopper and Pearson's) of the share seen: the level where drawing may
    stop is chosen by this very share, which would be too low otherwise. A level has the least share
    of those up to it, as every level that stops lets the surer ones stop too.
    """
    if len(confidence) < _LEAST_ANSWERS:
        return (0.0, 1.0), (1.0, 1.0)
    from scipy.special import betaincinv

    levels, inverse = np.unique(np.round(confidence, 6), return_inverse=True)
    seen = np.bincount(inverse)[::-1].cumsum()[::-1]
    changes = np.bincount(inverse, changed.astype(float))[::-1].cumsum()[::-1]
    limit = betaincinv(changes + 1, np.maximum(seen - changes, 1), _SURE)
    share = np.minimum.accumulate(np.where(changes < seen, limit, 1.0))
    # Of a run of levels with one share, its ends say all.
    kept = np.r_[True, np.diff(share) != 0] | np.r_[np.diff(share) != 0, True]
    return tuple(levels[kept].tolist()), tuple(share[kept].tolist())


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


def _can_stop(stage: Stage, bound: float, threshold: float | None) -> bool:
    """Return whether a question may stop at this stage."""
    return min(stage.change) < bound if threshold is None else stage.rule.calibrates


def _made_in_order(order: Sequence[int], drawn: Sequence[int]) -> int:
    """Count the draws of `order` that were made, up to the first that was not."""
    left = list(drawn)
    for made, at in enumerate(order):
        if not left[at]:
            return made
        left[at] -= 1
    return len(order)
