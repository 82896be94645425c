"""The calibrated rule: which of a question's answers is right, learned from the training split's own draws.

A conditional logit over the distinct answers of a question: each answer is told by who gave it and how often, a linear score says
how much that speaks for it, and the highest score wins. Two views of an answer are fitted and their scores averaged, which
errs less than either: in one, the members' votes weigh by how much more often they go to right answers than to wrong ones; in the
other, by what the simple rules would choose. Both hold shared weights and, shrunk towards them, each member's own.

Where few questions dominated by one member leave little to learn, a learned rule can lose to a simple one. So it has to beat the
simple rules in cross-validation inside the training split; else the rule keeps the best of them.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np

from ..errors import ConfigurationError
from .ballot import Ballot, Choice
from .candidates import Candidates
from .frugal import completions
from .logit import logit, platt, sigmoid
from .rules import RULES
from .tally import Floats, Ints, Picks, Tally, by_accuracy, consistency, pooled, single

SimpleRule = Literal["self_consistency", "pooled", "consistency"]
#: With fewer training questions than this nothing is fitted, and the paper's rule stands.
LEAST_QUESTIONS = 20
_FOLDS = 5
_REPEATS = 2
#: Ridge penalties: of the shared weights, of the two likelihood weights, of members' own weights in either view, of contexts'.
_SHARED, _LIKELIHOOD, _OWN_BY_LIKELIHOOD, _OWN_BY_RULES, _CONTEXT = 1.0, 0.3, 30.0, 10.0, 10.0
#: Votes of the average member that are added to each member's own when its likelihoods are counted.
_PRIOR_VOTES = 4.0
#: Stands for the category of the one question that a rule was `given`.
_THIS = "\0this"
_PER_MEMBER = 4
_PER_MEMBER_AND_CONTEXT = 2


@dataclass(frozen=True)
class Calibrated:
    """The fitted rule; made by `fit`. It serialises as plain numbers and needs no other state.

    Attributes:
        members: names, in pool order; `k`: draws of each, `accuracies`: of each on the training split.
        log_likelihoods: [member][votes 0..k]: log P(that many votes | the answer is right) − log P(… | wrong).
        weights: of the shared features, then of each member's own.
        context: the input that names a question's category; None where none is used.
        context_weights: category → weights added for its questions; a category never seen adds none.
        slope, intercept: of the logistic that makes the winner's score a probability of being right.
        instead: the simple rule that the learned one did not beat in cross-validation, and which therefore chooses.
        trained_on: questions of the training split; `cross_validated`: rule → accuracy there, out of fold.
    """

    members: tuple[str, ...]
    k: tuple[int, ...]
    accuracies: tuple[float, ...]
    log_likelihoods: tuple[tuple[float, ...], ...]
    weights: tuple[float, ...]
    slope: float = 1.0
    intercept: float = 0.0
    context: str | None = None
    context_weights: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    instead: SimpleRule | None = None
    trained_on: int = 0
    cross_validated: Mapping[str, float] = field(default_factory=dict)
    name: str = field(default="calibrated", init=False)

    def __post_init__(self) -> None:
        count = len(self.members)
        shapes = [
            len(self.k),
            len(self.accuracies),
            len(self.log_likelihoods),
            (len(self.weights) - 9) / _PER_MEMBER,
        ]
        tables = [len(table) - 1 for table in self.log_likelihoods]
        extras = {len(extra) for extra in self.context_weights.values()} - {
            _PER_MEMBER_AND_CONTEXT * count
        }
        numbers = [
            *self.weights,
            *self.accuracies,
            self.slope,
            self.intercept,
            *itertools.chain(*self.log_likelihoods),
        ]
        finite = all(
            math.isfinite(number)
            for number in [*numbers, *itertools.chain(*self.context_weights.values())]
        )
        if shapes != [count] * 4 or tables != list(self.k) or extras or not finite:
            raise ConfigurationError(
                "The calibrated rule's weights do not fit its members: it is damaged, fit it again."
            )

    def given(self, inputs: Mapping[str, Any]) -> Calibrated:
        """The rule for a question with these inputs: with its category's weights added."""
        if self.context is None:
            return self
        extra = self.context_weights.get(str(inputs.get(self.context)))
        return replace(self, context=None, context_weights={} if extra is None else {_THIS: extra})

    def choose(self, ballots: Sequence[Ballot]) -> Choice | None:
        """The choice among `ballots`; its confidence is the probability that the answer is right.

        Raises:
            ConfigurationError: the ballots are not of the members and draws that the rule was fitted for.
        """
        self.check_members([(ballot.member, ballot.k) for ballot in ballots])
        tally = Tally.of(ballots)
        picks = self.pick(tally, [_THIS] if _THIS in self.context_weights else None)
        index, draw = int(picks.member[0]), int(picks.draw[0])
        return (
            None
            if index < 0
            else Choice(int(tally.votes[0, index, draw]), index, float(picks.confidence[0]))
        )

    def check_members(self, drawn: Sequence[tuple[str, int]]) -> None:
        """Raises ConfigurationError unless these are the members and draws that the rule was fitted for."""
        check_fitted_for(self.name, self.members, self.k, drawn)

    def wants(self, ballots: Sequence[Ballot]) -> list[tuple[int, int]]:
        """Members draw from the most accurate down, until every way that the draws to come can turn out gives the same answer.

        Proven by trying them all, so only near the end: where there are more than a few hundred ways, the next draw is made. The
        answer is that of all draws; the probability takes draws that were spared for abstentions.
        """
        ballots = [
            replace(ballot, accuracy=known)
            for ballot, known in zip(ballots, self.accuracies, strict=True)
        ]
        if self.instead is not None:
            return RULES[self.instead]().wants(ballots)
        left = [at for at in by_accuracy(self.accuracies) if ballots[at].left]
        if not left:
            return []
        if (ways := completions(ballots)) is not None:
            # Equal scores go to the answer of the lower number, and numbers are only known when all is drawn: try them both ways.
            top = ways.max(initial=0)
            both = np.concatenate([ways, np.where(ways >= 0, top - ways, ways)])
            picks = self.pick(
                Tally(both, [ballot.k for ballot in ballots]),
                [_THIS] * len(both) if self.context_weights else None,
            )
            answers = both[np.arange(len(both)), picks.member, picks.draw]
            answers[len(ways) :] = top - answers[len(ways) :]
            if (picks.member >= 0).all() and (answers == answers[0]).all():
                return []
        return [(int(left[0]), 1)]

    def pick(self, tally: Tally, contexts: Sequence[str] | None = None) -> Picks:
        """The rule over many questions at once; `contexts` [Q] are their categories."""
        candidates = Candidates(tally)
        features = np.hstack(_features(candidates, tally, self.accuracies, self.log_likelihoods))
        scores = features @ np.asarray(self.weights)
        if contexts is not None and self.context_weights:
            none = (0.0,) * (_PER_MEMBER_AND_CONTEXT * len(self.members))
            extra = np.array([self.context_weights.get(context, none) for context in contexts])
            scores += (candidates.per_context() * extra[candidates.question]).sum(axis=1)
        log_p = candidates.log_softmax(scores)
        winner = _chosen(candidates, tally, log_p, self.instead, self.accuracies)
        return _picks(candidates, winner, log_p, self.slope, self.intercept)


def check_fitted_for(
    rule: str, members: Sequence[str], k: Sequence[int], drawn: Sequence[tuple[str, int]]
) -> None:
    """Raises ConfigurationError unless `drawn` are the members and draws that a rule was fitted for."""
    fitted = list(zip(members, k, strict=True))
    if list(drawn) != fitted:
        told = ", ".join(f"{name} (k={draws})" for name, draws in fitted)
        raise ConfigurationError(
            f"The {rule} rule was fitted for {told}: fit it again for this mux's members and k."
        )


def fit(
    tally: Tally,
    scores: Floats,
    *,
    members: Sequence[str],
    contexts: Sequence[str] | None = None,
    context: str | None = None,
    threshold: float = 1.0,
    seed: int = 0,
) -> Calibrated:
    """Fit the rule on the draws of a training split. The same input gives the same rule.

    Args:
        tally: the training questions' votes [Q, M, K].
        scores: the metric's values of the draws [Q, M, K].
        members: names [M].
        contexts: the questions' categories [Q], where they are to be used; `context` is the input that holds them.
        threshold: the score from which a draw counts as correct.
        seed: of the folds of the cross-validation.
    """
    questions, count, _ = tally.shape
    correct = (scores >= threshold).astype(float)
    blank = Calibrated(
        members=tuple(members),
        k=tuple(int(k) for k in tally.k),
        accuracies=tuple(tally.plurality_scores(correct).mean(axis=0).tolist())
        if questions
        else (0.0,) * count,
        log_likelihoods=tuple((0.0,) * (int(k) + 1) for k in tally.k),
        weights=(0.0,) * (9 + _PER_MEMBER * count),
        context=context if contexts is not None else None,
        instead="consistency",
        trained_on=questions,
    )
    if questions < LEAST_QUESTIONS:
        return blank
    labels = np.asarray(contexts, dtype=str) if contexts is not None else None
    from threadpoolctl import threadpool_limits

    with threadpool_limits(
        1, user_api="blas"
    ):  # the matrices are small: threads would only wait for one another
        rule = _fitted(blank, tally, correct, np.arange(questions), labels)
        told, right, by_simple = _out_of_fold(rule, tally, correct, labels, seed)
    learned = float(right.mean())
    best = max(by_simple, key=by_simple.__getitem__)
    slope, intercept = platt(told, right)
    return replace(
        rule,
        instead=None if learned > by_simple[best] else best,
        slope=slope,
        intercept=intercept,
        cross_validated={
            "calibrated": learned,
            **{str(name): value for name, value in by_simple.items()},
        },
    )


def _fitted(
    blank: Calibrated, tally: Tally, correct: Floats, train: Ints, contexts: NDArrayOfStr | None
) -> Calibrated:
    """The two views fitted on the questions `train`, as one rule; `instead` and the probability's scale are left open."""
    part = Tally(tally.votes[train], tally.k)
    accuracies = part.plurality_scores(correct[train]).mean(axis=0)
    candidates = Candidates(part)
    is_right = correct[train][candidates.question, candidates.member, candidates.draw] > 0
    likelihoods = _log_likelihoods(candidates, is_right)
    likelihood, shared, rules, own = _features(candidates, part, accuracies, likelihoods)
    labels = np.zeros(0, str) if contexts is None else contexts[train]
    seen = np.unique(labels)
    by_context = [
        candidates.per_context() * (labels == value)[candidates.question, None] for value in seen
    ]
    views = []
    for block, penalty, own_penalty in (
        (likelihood, _LIKELIHOOD, _OWN_BY_LIKELIHOOD),
        (rules, _SHARED, _OWN_BY_RULES),
    ):
        penalties = [
            (block, penalty),
            (shared, _SHARED),
            (own, own_penalty),
            *((each, _CONTEXT) for each in by_context),
        ]
        weights = logit(
            candidates.question,
            is_right,
            np.hstack([x for x, _ in penalties]),
            np.concatenate([np.full(x.shape[1], p) for x, p in penalties]),
        )
        views.append(np.split(weights, np.cumsum([x.shape[1] for x, _ in penalties])[:-1]))
    a, b = views
    mean = [(x + y) / 2 for x, y in zip(a[1:], b[1:], strict=True)]
    return replace(
        blank,
        accuracies=tuple(accuracies.tolist()),
        log_likelihoods=likelihoods,
        weights=tuple(np.concatenate([a[0] / 2, mean[0], b[0] / 2, mean[1]]).tolist()),
        context_weights={
            str(value): tuple(extra.tolist()) for value, extra in zip(seen, mean[2:], strict=True)
        },
        instead=None,
    )


def _features(
    candidates: Candidates,
    tally: Tally,
    accuracies: Sequence[float] | Floats,
    likelihoods: Sequence[Sequence[float]],
) -> tuple[Floats, Floats, Floats, Floats]:
    """Likelihood [R, 2], shared [R, 4], what the simple rules choose [R, 3], and the members' own features [R, 4M]."""
    votes = candidates.votes.astype(int)
    evidence = np.stack(
        [np.asarray(table)[votes[:, index]] for index, table in enumerate(likelihoods)], axis=1
    )
    order = by_accuracy(accuracies)
    likelihood = np.stack([evidence.sum(axis=1), evidence[:, order[0]]], axis=1)
    own = candidates.per_member()
    shared = np.stack([block.sum(axis=1) for block in np.split(own, _PER_MEMBER, axis=1)], axis=1)
    total = candidates.votes.sum(axis=1)
    most = np.zeros(candidates.questions)
    np.maximum.at(most, candidates.question, total)
    sure = consistency(tally, order).member[candidates.question]
    by_consistency = candidates.plural[np.arange(len(sure)), sure] * (sure >= 0)
    rules = np.stack(
        [candidates.plural[:, order[0]], by_consistency, total == most[candidates.question]], axis=1
    )
    return likelihood, shared, rules.astype(float), own


def _log_likelihoods(
    candidates: Candidates, is_right: NDArrayOfBool
) -> tuple[tuple[float, ...], ...]:
    """[member][votes]: how much more often right answers than wrong ones get that many of its votes, as log-odds."""
    tables = []
    for index, k in enumerate(candidates.k):
        odds = []
        for which in (is_right, ~is_right):
            shares = np.rint(candidates.votes[which] / candidates.k * k).astype(
                int
            )  # other members' votes, as of k draws
            average = np.bincount(shares.ravel(), minlength=k + 1) + 0.5
            counted = np.bincount(candidates.votes[which, index].astype(int), minlength=k + 1)
            odds.append(
                (counted + _PRIOR_VOTES * average / average.sum()) / (counted.sum() + _PRIOR_VOTES)
            )
        tables.append(tuple(np.log(odds[0] / odds[1]).tolist()))
    return tuple(tables)


def _chosen(
    candidates: Candidates,
    tally: Tally,
    log_p: Floats,
    instead: SimpleRule | None,
    accuracies: Sequence[float] | Floats,
) -> Ints:
    """[Q]: the row that wins."""
    if instead is None:
        return candidates.best(log_p)
    return candidates.row_of(_simple(tally, accuracies)[instead], tally.votes)


def _simple(tally: Tally, accuracies: Sequence[float] | Floats) -> dict[SimpleRule, Picks]:
    order = by_accuracy(accuracies)
    return {
        "consistency": consistency(tally, order),
        "pooled": pooled(tally),
        "self_consistency": single(tally, int(order[0])),
    }


def _picks(
    candidates: Candidates, winner: Ints, log_p: Floats, slope: float, intercept: float
) -> Picks:
    none = winner < 0
    row = np.where(none, 0, winner)
    if not len(log_p):
        return Picks(winner, np.zeros(len(winner), int), np.zeros(len(winner)))
    probability = sigmoid(intercept + slope * _log_odds(log_p[row]))
    return Picks(
        np.where(none, -1, candidates.member[row]),
        candidates.draw[row],
        np.where(none, 0.0, probability),
    )


def _out_of_fold(
    rule: Calibrated, tally: Tally, correct: Floats, contexts: NDArrayOfStr | None, seed: int
) -> tuple[Floats, Floats, dict[SimpleRule, float]]:
    """Cross-validation: the learned rule's log-odds and whether it was right [repeats · Q], and the simple rules' accuracies."""
    questions = tally.shape[0]
    log_odds, right = np.full((_REPEATS, questions), -np.inf), np.zeros((_REPEATS, questions))
    simple: dict[SimpleRule, Floats] = {
        name: np.zeros((_REPEATS, questions))
        for name in ("self_consistency", "pooled", "consistency")
    }
    random = np.random.default_rng(seed)
    for repeat in range(_REPEATS):
        for held_out in np.array_split(random.permutation(questions), _FOLDS):
            train = np.setdiff1d(np.arange(questions), held_out)
            part = _fitted(rule, tally, correct, train, contexts)
            test = Tally(tally.votes[held_out], tally.k)
            picks = part.pick(test, None if contexts is None else contexts[held_out].tolist())
            right[repeat, held_out] = picks.scores(correct[held_out])
            log_odds[repeat, held_out] = np.where(
                picks.member >= 0, _log_odds(np.log(np.maximum(picks.confidence, 1e-9))), -20.0
            )
            for name, others in _simple(test, part.accuracies).items():
                simple[name][repeat, held_out] = others.scores(correct[held_out])
    return (
        log_odds.ravel(),
        right.ravel(),
        {name: float(values.mean()) for name, values in simple.items()},
    )


def _log_odds(log_p: Floats) -> Floats:
    """Log-odds of probabilities given as logarithms, within ±20."""
    log_p = np.minimum(log_p, -2e-9)
    return np.clip(log_p - np.log(-np.expm1(log_p)), -20.0, 20.0)


NDArrayOfBool = np.ndarray[Any, np.dtype[np.bool_]]
NDArrayOfStr = np.ndarray[Any, np.dtype[np.str_]]
