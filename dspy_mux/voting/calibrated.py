"""The calibrated rule: a conditional logit over a question's distinct answers.

Each answer is described by who gave it and how often. A linear score says how much that speaks for
it, and the highest score wins. Two views of an answer are fitted and their scores averaged, which
errs less than either: in one, the members' votes weigh by how much more often they go to right
answers than to wrong ones; in the other, by what the simple rules would choose. Both have shared
weights and, shrunk towards them, each member's own. `calibration` fits the weights.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np

from ..errors import DataError
from .ballot import Ballot, Choice, by_accuracy, check_fitted_for
from .candidates import Candidates
from .confidence import Scale
from .frugal import completions
from .logit import log_odds, sigmoid
from .nearby import Nearby
from .probability import Probability
from .quality import EVIDENCE_FEATURES, Quality, evidence_features
from .rules import Consistency, Pooled, deciding_rule
from .tally import Floats, Ints, Picks, Tally

SimpleRule = Literal["self_consistency", "pooled", "consistency", "probability"]
#: Numbers of features: those all members share, each member's own, and each member's in a category.
SHARED_FEATURES, PER_MEMBER, PER_CONTEXT = 9, 4, 2
#: Stands for the category of the one question that a rule was `given`.
_THIS = "\0this"


@dataclass(frozen=True)
class Winners:
    """What the rule picked; all of shape [Q].

    Attributes:
        member, draw: the winning draw; member is −1 where there is no answer.
        log_p: logarithm of its answer's share of the softmax over the question's answers.
        share: its share of the softmax over them and "none of these", an answer without a vote.
    """

    member: Ints
    draw: Ints
    log_p: Floats
    share: Floats


@dataclass(frozen=True)
class Calibrated:
    """The fitted rule, as plain numbers; `calibration.fit` makes it.

    Attributes:
        members: names, in pool order.
        k, accuracies: each member's draws, and its accuracy on the training split.
        log_likelihoods: [member][votes 0..k], log P(that many votes | the answer is right)
            − log P(that many votes | it is wrong).
        weights: of the shared features, then of each member's own.
        context: the input that holds a question's category or text, if one is used.
        context_weights: category → weights added for its questions; a category not seen in training
            adds none.
        nearby: what training questions of that category, or with words of that text, say of the
            members.
        slope, intercept: of the logistic over the winner's log-odds among a question's answers,
            in a rule of version 0.1; its confidence knows no answer but those given, and is none.
        instead: the simple rule that chooses, because the learned one did not beat it in
            cross-validation; None where the learned rule chooses.
        trained_on: questions in the training split.
        cross_validated: rule → its accuracy on the training split, out of fold.
        evidence: whether the learned rule reads the draws' evidence beside their votes.
        quality: how likely a draw is right by its evidence.
        evidence_weights: of the answers' features by evidence.
        scale: what the winner's share of the softmax, over the answers given and one that nobody
            gave, says of its being right; None where too few labels could tell.
        stopped: the same where draws were spared, because the rule `instead` needed no more.

    >>> import numpy as np
    >>> from dspy_mux.voting import Ballot
    >>> from dspy_mux.voting.calibration import Training, fit
    >>> from dspy_mux.voting.tally import Tally
    >>> votes = np.tile([[0, 0], [0, 0], [1, 1]], (40, 1, 1))  # question, member, draw
    >>> rule = fit(Training(Tally(votes), (votes == 1).astype(float), ("a", "b", "c")))
    >>> rule.choose([Ballot("a", (0, 0)), Ballot("b", (0, 0)), Ballot("c", (1, 1))]).answer
    1
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
    nearby: Nearby | None = None
    instead: SimpleRule | None = None
    trained_on: int = 0
    cross_validated: Mapping[str, float] = field(default_factory=dict)
    evidence: bool = False
    quality: Quality | None = None
    evidence_weights: tuple[float, ...] = ()
    scale: Scale | None = None
    stopped: Scale | None = None
    name: str = field(default="calibrated", init=False)

    def __post_init__(self) -> None:
        count = len(self.members)
        shapes = [
            len(self.k),
            len(self.accuracies),
            len(self.log_likelihoods),
            (len(self.weights) - SHARED_FEATURES) / PER_MEMBER,
        ]
        tables = [len(table) - 1 for table in self.log_likelihoods]
        extras = {len(extra) for extra in self.context_weights.values()} - {PER_CONTEXT * count}
        numbers = [
            *self.weights,
            *self.accuracies,
            *self.evidence_weights,
            self.slope,
            self.intercept,
            *itertools.chain(*self.log_likelihoods),
        ]
        if self.nearby is not None:
            shapes.append(len(self.nearby.right[0]))
        finite = all(
            math.isfinite(number)
            for number in [*numbers, *itertools.chain(*self.context_weights.values())]
        )
        read = self.quality is not None
        odd = len(self.evidence_weights) != read * EVIDENCE_FEATURES or self.evidence != read
        if set(shapes) != {count} or tables != list(self.k) or extras or odd or not finite:
            raise DataError(
                "The calibrated rule's weights do not fit its members: it is damaged, fit it again."
            )
        if self.quality is not None:
            self.quality.check(count)

    @property
    def reads_evidence(self) -> bool:
        return self.evidence or self.instead == "probability"

    @property
    def decided_by(self) -> str:
        """The name of the rule that decides: the simple one, where one stands in."""
        return self.instead or self.name

    @property
    def calibrates(self) -> bool:
        """Whether its confidence is the chance that the answer is right, fitted on labels."""
        return self.scale is not None

    def given(self, inputs: Mapping[str, Any]) -> Calibrated:
        """Return the rule for a question with these inputs: its context's weights are added."""
        if self.context is None:
            return self
        value = inputs.get(self.context)
        (extra,) = self._weights_of(["" if value is None else str(value)])  # as records have it
        weights = {_THIS: tuple(extra.tolist())} if extra.any() else {}
        return replace(self, context=None, context_weights=weights, nearby=None)

    def choose(self, ballots: Sequence[Ballot]) -> Choice | None:
        """Choose among `ballots`.

        The confidence is the probability that the answer is right, if the choice is `calibrated`.

        Raises:
            ConfigurationError: the rule was fitted for other members or draws.
        """
        self.check_members([(ballot.member, ballot.k) for ballot in ballots])
        tally, contexts = Tally.of(ballots), [_THIS] if _THIS in self.context_weights else None
        spared = any(ballot.left for ballot in ballots)
        picks = self.pick(tally, contexts, spared=spared)
        index, draw = int(picks.member[0]), int(picks.draw[0])
        if index < 0:
            return None
        scale = self.stopped if spared else self.scale
        return Choice(
            int(tally.votes[0, index, draw]),
            index,
            float(picks.confidence[0]),
            calibrated=scale is not None,
            decided_by=self.decided_by,
        )

    def check_members(self, drawn: Sequence[tuple[str, int]]) -> None:
        """Raise ConfigurationError unless the rule was fitted for these members and draws."""
        check_fitted_for(self.name, self.members, self.k, drawn)

    def wants(self, ballots: Sequence[Ballot]) -> list[tuple[int, int]]:
        """Return the next draws to make; none once no outcome of those left changes the answer.

        Members draw from the most accurate down, a draw at a time. All outcomes are tried, so
        drawing only stops near the end: with more than a few hundred outcomes left, the next draw
        is made. What evidence a draw will have cannot be tried, so the learned rule makes all draws
        at once if it reads evidence. Where a simple rule chooses instead, it says what to draw:
        `self_consistency` asks the most accurate member alone, and the next one where it abstains.
        The answer is that of all draws.
        """
        ballots = [
            replace(ballot, accuracy=known)
            for ballot, known in zip(ballots, self.accuracies, strict=True)
        ]
        if self.instead is not None:
            return deciding_rule(self.instead).wants(ballots)
        left = [at for at in by_accuracy(self.accuracies) if ballots[at].left]
        if not left or self.evidence:
            return [(at, ballots[at].left) for at in left]
        ways = completions(ballots)
        if ways is not None:
            # Equal scores go to the answer of the lower number, and numbers are only known once all
            # draws are made: try both orders.
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
        return [(left[0], 1)]

    def pick(
        self, tally: Tally, contexts: Sequence[str] | None = None, *, spared: bool = False
    ) -> Picks:
        """Choose for many questions at once.

        Args:
            contexts: [Q], their categories or texts.
            spared: whether draws of them were spared; they count as abstentions.
        """
        winners = self.winners(tally, contexts)
        scale = (self.stopped if spared else None) or self.scale
        if scale is not None:
            confidence = scale.of(winners.share)
        elif self.instead is not None and not any(self.weights):  # too few labels: its own
            rule = deciding_rule(self.instead)
            order = rule.order_of(self.members, list(self.accuracies))
            confidence = rule.pick(tally, order).confidence
        else:  # fitted by version 0.1, or on hardly any answers
            confidence = sigmoid(self.intercept + self.slope * log_odds(winners.log_p))
        answered = winners.member >= 0
        return Picks(winners.member, winners.draw, np.where(answered, confidence, 0.0))

    def winners(self, tally: Tally, contexts: Sequence[str] | None = None) -> Winners:
        """Return the winning draws, and how far their answers stand out."""
        candidates = Candidates(tally)
        features = answer_features(candidates, tally, self.accuracies, self.log_likelihoods)
        scores = np.hstack(features) @ np.asarray(self.weights)
        if self.quality is not None:
            more = evidence_features(candidates, tally, self.quality, self.accuracies)
            scores += more @ np.asarray(self.evidence_weights)
        if contexts is not None and (self.context_weights or self.nearby):
            extra = self._weights_of(contexts)
            scores += (candidates.per_context() * extra[candidates.question]).sum(axis=1)
        log_p = candidates.log_softmax(scores)
        if self.instead is None:
            row = candidates.best(log_p)
        else:
            rule = deciding_rule(self.instead)
            order = rule.order_of(self.members, list(self.accuracies))
            row = candidates.row_of(rule.pick(tally, order), tally.votes)
        none, row = row < 0, np.maximum(row, 0)
        if not len(scores):
            zeros = np.zeros(len(row))
            return Winners(np.full(len(row), -1), np.zeros(len(row), int), zeros, zeros)
        shares = np.exp(candidates.log_softmax(scores, outside=self._score_of_no_votes()))
        return Winners(
            np.where(none, -1, candidates.member[row]),
            candidates.draw[row],
            np.where(none, -np.inf, log_p[row]),
            np.where(none, 0.0, shares[row]),
        )

    def _score_of_no_votes(self) -> float:
        """Return the score of an answer that nobody gave: all its other features are 0."""
        none = [table[0] for table in self.log_likelihoods]
        best = none[by_accuracy(self.accuracies)[0]]
        return float(self.weights[0] * sum(none) + self.weights[1] * best)

    def _weights_of(self, contexts: Sequence[str]) -> Floats:
        """Return the weights [Q, 2M] that are added for questions of these contexts."""
        size = PER_CONTEXT * len(self.members)
        none = (0.0,) * size
        weights = np.array([self.context_weights.get(context, none) for context in contexts])
        weights = weights.reshape(len(contexts), size)
        return weights if self.nearby is None else weights + self.nearby.context_weights(contexts)


def answer_features(
    candidates: Candidates,
    tally: Tally,
    accuracies: Sequence[float] | Floats,
    likelihoods: Sequence[Sequence[float]],
) -> tuple[Floats, Floats, Floats, Floats]:
    """Return the features of each answer.

    Likelihood [R, 2], shared [R, 4], whether each simple rule chooses it [R, 3], and the members'
    own [R, 4M].
    """
    votes = candidates.votes.astype(int)
    evidence = np.stack(
        [np.asarray(table)[votes[:, index]] for index, table in enumerate(likelihoods)], axis=1
    )
    order = by_accuracy(list(accuracies))
    likelihood = np.stack([evidence.sum(axis=1), evidence[:, order[0]]], axis=1)
    own = candidates.per_member()
    shared = np.stack([block.sum(axis=1) for block in np.split(own, PER_MEMBER, axis=1)], axis=1)
    total = candidates.votes.sum(axis=1)
    most = np.zeros(candidates.questions)
    np.maximum.at(most, candidates.question, total)
    sure = Consistency().pick(tally, order).member[candidates.question]
    by_consistency = candidates.plural[np.arange(len(sure)), sure] * (sure >= 0)
    rules = np.stack(
        [candidates.plural[:, order[0]], by_consistency, total == most[candidates.question]], axis=1
    )
    return likelihood, shared, rules.astype(float), own


def simple_picks(tally: Tally, accuracies: Sequence[float] | Floats) -> dict[SimpleRule, Picks]:
    """Return what each simple rule picks; `probability` only where a draw has its answer's."""
    order = by_accuracy(list(accuracies))
    picks: dict[SimpleRule, Picks] = {
        "consistency": Consistency().pick(tally, order),
        "pooled": Pooled().pick(tally, order),
        "self_consistency": deciding_rule("self_consistency").pick(tally, order),
    }
    if "answer_logprob" in tally.evidence:
        picks["probability"] = Probability().pick(tally, order)
    return picks
