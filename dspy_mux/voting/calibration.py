"""Fit the calibrated rule on a training split's draws.

Whether it reads evidence, and whether it or a simple rule chooses, is decided by cross-validation
inside the training split: `gate`. With few questions its weights are shrunk more, towards what
served on other banks.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from .calibrated import (
    PER_MEMBER,
    SHARED_FEATURES,
    Calibrated,
    SimpleRule,
    Winners,
    answer_features,
    simple_picks,
)
from .candidates import Candidates
from .confidence import Scale, fit_scale
from .frugal import frugal_draws
from .gate import Trial, choose_arm, simple_instead
from .logit import logit
from .nearby import NearbyTraining
from .probability_sums import first_draws
from .quality import (
    EVIDENCE_FEATURES,
    evidence_features,
    fit_quality,
    has_logprobs,
    short_share,
)
from .rules import deciding_rule
from .tally import Floats, Ints, Tally

#: With fewer training questions than this nothing is fitted, and a simple rule chooses.
LEAST_QUESTIONS = 10
#: Up to this many the weights that members share are shrunk more, and towards `_PRIOR`.
FEW_QUESTIONS = 100
_FOLDS = 5
_REPEATS = 2


@dataclass(frozen=True)
class _Ridge:
    """Penalties of the shared weights, the likelihood weights, members' own weights in either view,
    and categories' weights; and what is added to each member's votes for its likelihoods.

    Attributes:
        prior_votes: votes of the average member.
        likelihood_prior, rules_prior: what either view's own and shared weights are shrunk towards.
    """

    shared: float = 1.0
    likelihood: float = 0.3
    own_by_likelihood: float = 30.0
    own_by_rules: float = 10.0
    context: float = 10.0
    prior_votes: float = 4.0
    likelihood_prior: tuple[float, ...] = ()
    rules_prior: tuple[float, ...] = ()


_MANY = _Ridge()
#: Round numbers near the weights that fit other banks together: `python -m eval fallbacks`.
_FEW = _Ridge(
    shared=15.0,
    likelihood=7.0,
    prior_votes=10.0,
    likelihood_prior=(0.5, 0.3, 0.2, 0.2, 0.2, 0.2),
    rules_prior=(0.5, 0.5, 0.3, 0.5, 0.2, 0.2, 0.2),
)
#: Penalties of the weights of evidence, and what they are shrunk towards: of any answers, and of
#: answers without reasoning, whose own probabilities tell most.
_EVIDENCE = (0.1, 5.0, 0.3, 5.0, 1.0)
_EVIDENCE_PRIOR = (0.0, 0.5, 0.0, 0.0, 0.0)
_SHORT_PRIOR = (0.0, 0.0, 2.0, 2.0, 0.0)
#: Penalty of the weights of what is nearby.
_NEARBY = 1.0
#: From this share of answers without reasoning on, their probabilities choose without labels.
_MOSTLY = 0.5
#: Of the scale of the confidence: a share of the softmax of 1 is no certainty.
_SOFTENING = 0.01


@dataclass(frozen=True)
class Training:
    """A training split's draws.

    Attributes:
        tally: the questions' votes [Q, M, K], with their evidence where there is any.
        scores: the metric's values of the draws [Q, M, K].
        members: names [M].
        contexts: the questions' categories or texts [Q], if they are used.
        context: the input that holds them.
        texts: whether they are texts.
        threshold: the score from which a draw counts as correct.
        seed: of the folds of the cross-validation.
    """

    tally: Tally
    scores: Floats
    members: Sequence[str]
    contexts: Sequence[str] | None = None
    context: str | None = None
    texts: bool = False
    threshold: float = 1.0
    seed: int = 0

    @cached_property
    def correct(self) -> Floats:
        """[Q, M, K], 1 for a correct draw and 0 for another; an abstention is never correct."""
        return self.tally.correct(self.scores, self.threshold).astype(float)

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
        instead=_without_labels(tally),
        trained_on=questions,
    )
    if questions < LEAST_QUESTIONS:
        return blank
    with _one_thread():
        work = _Fit.of(training, blank)
        trials, simple = work.out_of_fold(training.seed)
        evidence = choose_arm(trials)
        rule = work.rule(np.arange(questions), evidence=evidence)
        trial = trials[evidence]
        instead = simple_instead(trial, simple)
        scale, stopped = work.scales(trial, instead)
    return replace(
        rule,
        instead=instead,
        scale=scale,
        stopped=stopped,
        cross_validated={
            "calibrated": float(trial.right.mean()),
            **{str(name): float(right.mean()) for name, right in simple.items()},
        },
    )


def refit(rule: Calibrated, training: Training, at: Ints) -> Calibrated:
    """Fit a rule's weights anew, on the questions at these positions alone.

    Whether it reads evidence, which rule decides, and its scale stay: they are not cross-validated.

    Args:
        rule: fitted on all of `training`.
    """
    if training.tally.shape[0] < LEAST_QUESTIONS:
        return rule
    with _one_thread():
        part = _Fit.of(training, rule).rule(at, evidence=rule.evidence)
    return replace(part, instead=rule.instead)


def _one_thread() -> AbstractContextManager[object]:
    """Keep BLAS to one thread: the matrices are small, others would only wait for one another."""
    from threadpoolctl import threadpool_limits

    return threadpool_limits(1, user_api="blas")


def _without_labels(tally: Tally) -> SimpleRule:
    """Return the simple rule that serves best where nothing is known of the members."""
    if short_share(tally) > _MOSTLY:
        return "probability"
    # One draw of each says nothing of how sure its member is: the draws are pooled.
    return "pooled" if (tally.k <= 1).all() else "consistency"


@dataclass(frozen=True)
class _Fit:
    """The draws to fit on: votes, which draws are correct [Q, M, K], and contexts [Q]."""

    blank: Calibrated
    tally: Tally
    correct: Floats
    contexts: NDArray[np.str_] | None
    ridge: _Ridge
    nearby: NearbyTraining | None

    @classmethod
    def of(cls, training: Training, blank: Calibrated) -> _Fit:
        """Return what is fitted on; `blank` has the members and their draws."""
        contexts, few = training.contexts, training.tally.shape[0] <= FEW_QUESTIONS
        return cls(
            blank,
            training.tally,
            training.correct,
            None if contexts is None else np.asarray(contexts, dtype=str),
            _FEW if few else _MANY,
            None if contexts is None else NearbyTraining.of(contexts, training.texts),
        )

    @property
    def categories(self) -> NDArray[np.str_] | None:
        """The contexts [Q], unless they are texts: those have no weights of their own."""
        return None if self.nearby is None or self.nearby.texts else self.contexts

    def rule(self, train: Ints, *, evidence: bool) -> Calibrated:
        """Fit both views on the questions `train`; scale and choice of rule are left open."""
        part, ridge = self.tally.rows(train), self.ridge
        right = part.plurality_scores(self.correct[train])
        accuracies = right.mean(axis=0)
        answers = Candidates(part)
        is_right = self.correct[train][answers.question, answers.member, answers.draw] > 0
        likelihoods = _log_likelihoods(answers, is_right, ridge.prior_votes)
        likelihood, shared, rules, own = answer_features(answers, part, accuracies, likelihoods)
        labels = np.zeros(0, str) if self.categories is None else self.categories[train]
        seen = np.unique(labels)
        by_context = [
            answers.per_context() * (labels == value)[answers.question, None] for value in seen
        ]
        near = None if self.nearby is None else self.nearby.near(train, right)
        quality = fit_quality(part, self.correct[train]) if evidence else None
        more = (
            np.zeros((len(answers.question), 0))
            if quality is None
            else evidence_features(answers, part, quality, accuracies)
        )
        views = []
        for block, penalty, own_penalty, prior in (
            (likelihood, ridge.likelihood, ridge.own_by_likelihood, ridge.likelihood_prior),
            (rules, ridge.shared, ridge.own_by_rules, ridge.rules_prior),
        ):
            penalties: list[tuple[Floats, float | tuple[float, ...]]] = [
                (block, penalty),
                (shared, ridge.shared),
                (own, own_penalty),
                (answers.nearby(None if near is None else near.gains), _NEARBY),
                *((each, ridge.context) for each in by_context),
                (more, _EVIDENCE[: more.shape[1]]),
            ]
            features = np.hstack([x for x, _ in penalties])
            towards = np.zeros(features.shape[1])
            towards[: len(prior)] = prior
            if evidence:
                short = short_share(part) * np.asarray(_SHORT_PRIOR)
                towards[-EVIDENCE_FEATURES:] = _EVIDENCE_PRIOR + short
            weights = logit(
                answers.question,
                is_right,
                features,
                np.concatenate([np.broadcast_to(p, x.shape[1]) for x, p in penalties]),
                towards,
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
                for value, extra in zip(seen, mean[3:-1], strict=True)
            },
            nearby=None if near is None else near.fitted(mean[2]),
            instead=None,
            evidence=evidence,
            quality=quality,
            evidence_weights=tuple(mean[-1].tolist()),
        )

    def out_of_fold(self, seed: int) -> tuple[dict[bool, Trial], dict[SimpleRule, Floats]]:
        """Cross-validate the learned rule, without evidence and with, and the simple rules.

        Return what each was right on, [repeats, Q].
        """
        shape = _REPEATS, self.tally.shape[0]
        trials = {False: Trial.blank(shape)}
        if has_logprobs(self.tally):
            trials[True] = Trial.blank(shape)
        simple: dict[SimpleRule, Floats] = {}
        random = np.random.default_rng(seed)
        for repeat in range(_REPEATS):
            for held_out in np.array_split(random.permutation(shape[1]), _FOLDS):
                at = np.setdiff1d(np.arange(shape[1]), held_out)
                test, correct = self.tally.rows(held_out), self.correct[held_out]
                for evidence, trial in trials.items():
                    part = self.rule(at, evidence=evidence)
                    picks = part.pick(test, self.contexts_of(held_out))
                    trial.right[repeat, held_out] = picks.scores(correct)
                    trial.rules.append((held_out, part))
                for name, others in simple_picks(test, part.accuracies).items():
                    right = simple.setdefault(name, np.zeros(shape))
                    right[repeat, held_out] = others.scores(correct)
        return trials, simple

    def contexts_of(self, questions: Ints) -> list[str] | None:
        return None if self.contexts is None else self.contexts[questions].tolist()

    def scales(self, trial: Trial, instead: SimpleRule | None) -> tuple[Scale | None, Scale | None]:
        """Fit what the confidence means, out of fold: after all draws, and where some were spared.

        Draws are only spared by a simple rule's proof, which is played out on the recorded draws.
        """
        every, stopped = _Answers(), _Answers()
        for held_out, fitted in trial.rules:
            rule, correct = replace(fitted, instead=instead), self.correct[held_out]
            test, contexts = self.tally.rows(held_out), self.contexts_of(held_out)
            every.add(rule.winners(test, contexts), correct)
            if instead is not None:
                simple = deciding_rule(instead)
                order = simple.order_of(rule.members, list(rule.accuracies))
                drawn = frugal_draws(simple, test, order)
                early = drawn.sum(axis=1) < test.k.sum()
                winners = rule.winners(first_draws(test, drawn), contexts)
                stopped.add(winners, correct, early)
        return every.scale(), stopped.scale()


@dataclass(frozen=True)
class _Answers:
    """Answers' shares of the softmax, and whether they are right."""

    shares: list[Floats] = field(default_factory=list)
    right: list[Floats] = field(default_factory=list)

    def add(
        self, winners: Winners, correct: Floats, which: NDArray[np.bool_] | bool = True
    ) -> None:
        """Add those of a part's questions that have an answer and are among `which`."""
        rows = np.flatnonzero((winners.member >= 0) & which)
        self.shares.append(winners.share[rows])
        self.right.append(correct[rows, winners.member[rows], winners.draw[rows]])

    def scale(self) -> Scale | None:
        return (
            fit_scale(np.concatenate(self.shares), np.concatenate(self.right), softening=_SOFTENING)
            if self.shares
            else None
        )


def _log_likelihoods(
    answers: Candidates, is_right: NDArray[np.bool_], prior_votes: float
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
                (counted + prior_votes * average / average.sum()) / (counted.sum() + prior_votes)
            )
        tables.append(tuple(np.log(odds[0] / odds[1]).tolist()))
    return tuple(tables)
