"""Fit the calibrated rule on a training split's draws.

With few questions dominated by one member there is little to learn, and a learned rule can lose to
a simple one. So it has to beat the simple rules in cross-validation inside the training split; else
the best of them chooses.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from .calibrated import (
    PER_MEMBER,
    SHARED_FEATURES,
    Calibrated,
    SimpleRule,
    answer_features,
    log_odds,
    simple_picks,
)
from .candidates import Candidates
from .logit import logit, platt
from .tally import Floats, Ints, Tally

#: With fewer training questions than this nothing is fitted, and the paper's rule chooses.
LEAST_QUESTIONS = 20
_FOLDS = 5
_REPEATS = 2
#: Ridge penalties of the shared weights, the likelihood weights, members' own weights in either
#: view, and categories' weights.
_SHARED, _LIKELIHOOD, _OWN_BY_LIKELIHOOD, _OWN_BY_RULES, _CONTEXT = 1.0, 0.3, 30.0, 10.0, 10.0
#: Votes of the average member that are added to each member's own when its likelihoods are counted.
_PRIOR_VOTES = 4.0
#: Log-odds counted for a question without an answer.
_UNANSWERED = -20.0


@dataclass(frozen=True)
class Training:
    """A training split's draws.

    Attributes:
        tally: the questions' votes [Q, M, K], with their evidence where there is any.
        scores: the metric's values of the draws [Q, M, K].
        members: names [M].
        contexts: the questions' categories [Q], if they are used.
        context: the input that holds the categories.
        threshold: the score from which a draw counts as correct.
        seed: of the folds of the cross-validation.
    """

    tally: Tally
    scores: Floats
    members: Sequence[str]
    contexts: Sequence[str] | None = None
    context: str | None = None
    threshold: float = 1.0
    seed: int = 0

    @cached_property
    def correct(self) -> Floats:
        """[Q, M, K], 1 for a correct draw and 0 for another."""
        return (self.scores >= self.threshold).astype(float)

    @cached_property
    def accuracies(self) -> Floats:
        """[M], share of the questions that each member's plurality answer is correct on."""
        if not len(self.scores):
            return np.zeros(len(self.members))
        return self.tally.plurality_scores(self.correct).mean(axis=0)


def fit(training: Training) -> Calibrated:
    """Fit the rule. The same training split gives the same rule."""
    tally, contexts = training.tally, training.contexts
    questions = tally.shape[0]
    blank = Calibrated(
        members=tuple(training.members),
        k=tuple(int(k) for k in tally.k),
        accuracies=tuple(training.accuracies.tolist()),
        log_likelihoods=tuple((0.0,) * (int(k) + 1) for k in tally.k),
        weights=(0.0,) * (SHARED_FEATURES + PER_MEMBER * len(tally.k)),
        context=training.context if contexts is not None else None,
        instead="consistency",
        trained_on=questions,
    )
    if questions < LEAST_QUESTIONS:
        return blank
    from threadpoolctl import threadpool_limits

    # The matrices are small: threads would only wait for one another.
    with threadpool_limits(1, user_api="blas"):
        work = _Fit(
            blank,
            tally,
            training.correct,
            np.asarray(contexts, dtype=str) if contexts is not None else None,
        )
        rule = work.rule(np.arange(questions))
        sureness, right, by_simple = work.out_of_fold(training.seed)
    learned = float(right.mean())
    best = max(by_simple, key=by_simple.__getitem__)
    slope, intercept = platt(sureness, right)
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


@dataclass(frozen=True)
class _Fit:
    """The draws to fit on: votes, which draws are correct [Q, M, K], and categories [Q]."""

    blank: Calibrated
    tally: Tally
    correct: Floats
    contexts: NDArray[np.str_] | None

    def rule(self, train: Ints) -> Calibrated:
        """Fit both views on the questions `train`; scale and choice of rule are left open."""
        part = self.tally.rows(train)
        accuracies = part.plurality_scores(self.correct[train]).mean(axis=0)
        answers = Candidates(part)
        is_right = self.correct[train][answers.question, answers.member, answers.draw] > 0
        likelihoods = _log_likelihoods(answers, is_right)
        likelihood, shared, rules, own = answer_features(answers, part, accuracies, likelihoods)
        labels = np.zeros(0, str) if self.contexts is None else self.contexts[train]
        seen = np.unique(labels)
        by_context = [
            answers.per_context() * (labels == value)[answers.question, None] for value in seen
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
                answers.question,
                is_right,
                np.hstack([x for x, _ in penalties]),
                np.concatenate([np.full(x.shape[1], p) for x, p in penalties]),
            )
            views.append(np.split(weights, np.cumsum([x.shape[1] for x, _ in penalties])[:-1]))
        a, b = views
        mean = [(x + y) / 2 for x, y in zip(a[1:], b[1:], strict=True)]
        return replace(
            self.blank,
            accuracies=tuple(accuracies.tolist()),
            log_likelihoods=likelihoods,
            weights=tuple(np.concatenate([a[0] / 2, mean[0], b[0] / 2, mean[1]]).tolist()),
            context_weights={
                str(value): tuple(extra.tolist())
                for value, extra in zip(seen, mean[2:], strict=True)
            },
            instead=None,
        )

    def out_of_fold(self, seed: int) -> tuple[Floats, Floats, dict[SimpleRule, float]]:
        """Cross-validate.

        Return the learned rule's log-odds and whether it was right [repeats · Q], and the simple
        rules' accuracies.
        """
        questions = self.tally.shape[0]
        sureness, right = np.full((_REPEATS, questions), -np.inf), np.zeros((_REPEATS, questions))
        simple: dict[SimpleRule, Floats] = {
            name: np.zeros((_REPEATS, questions))
            for name in ("self_consistency", "pooled", "consistency")
        }
        random = np.random.default_rng(seed)
        for repeat in range(_REPEATS):
            for held_out in np.array_split(random.permutation(questions), _FOLDS):
                part = self.rule(np.setdiff1d(np.arange(questions), held_out))
                test, correct = self.tally.rows(held_out), self.correct[held_out]
                picks = part.pick(
                    test, None if self.contexts is None else self.contexts[held_out].tolist()
                )
                right[repeat, held_out] = picks.scores(correct)
                sureness[repeat, held_out] = np.where(
                    picks.member >= 0,
                    log_odds(np.log(np.maximum(picks.confidence, 1e-9))),
                    _UNANSWERED,
                )
                for name, others in simple_picks(test, part.accuracies).items():
                    simple[name][repeat, held_out] = others.scores(correct)
        accuracies = {name: float(values.mean()) for name, values in simple.items()}
        return sureness.ravel(), right.ravel(), accuracies


def _log_likelihoods(
    answers: Candidates, is_right: NDArray[np.bool_]
) -> tuple[tuple[float, ...], ...]:
    """Return [member][votes]: log-odds that a right answer, not a wrong one, gets that many."""
    tables = []
    for index, k in enumerate(answers.k):
        odds = []
        for which in (is_right, ~is_right):
            # Other members' votes count as if out of k draws.
            shares = np.rint(answers.votes[which] / answers.k * k).astype(int)
            average = np.bincount(shares.ravel(), minlength=k + 1) + 0.5
            counted = np.bincount(answers.votes[which, index].astype(int), minlength=k + 1)
            odds.append(
                (counted + _PRIOR_VOTES * average / average.sum()) / (counted.sum() + _PRIOR_VOTES)
            )
        tables.append(tuple(np.log(odds[0] / odds[1]).tolist()))
    return tuple(tables)
