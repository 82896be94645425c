"""The rule `probability`: the answer that the members, added up, find most probable.

A member's probability of an answer is what its model gave the answer's own tokens. For a short
answer it is what the vote share tends to as k grows, so that one call tells what many estimate.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import astuple, dataclass, field, replace
from itertools import chain

import numpy as np

from ..errors import DataError
from .ballot import Ballot, Choice, TieBreak, by_accuracy, check_fitted_for
from .confidence import Scale as ConfidenceScale, of_draws_made
from .logit import log_odds, sigmoid
from .probability_sums import (
    EQUAL,
    UNKNOWN,
    Bools,
    Scale,
    Sums,
    answer_stands,
    first_draws,
    may_stand,
    probability_sums,
)
from .tally import Floats, Ints, Picks, Tally


@dataclass(frozen=True)
class Probability:
    """The most probable answer, by the members' probabilities of it added up.

    A member's probability of an answer is the sum over the wordings that it drew: two of them add
    up, one that was drawn twice counts once. A draw without evidence counts half its share of the
    member's draws, and so does one that reasoned before it answered: its answer's tokens only say
    how the answer follows. Without any evidence the answer with the most votes wins. Ties go to
    the answer of the most accurate member, then to the first in pool order. That member gets the
    credit.

    As it stands, its confidence is the mean over the members of their probabilities of the answer
    (without any evidence, of their vote shares): what the models say, not calibrated on labels.
    Fitted on labels, by `fit_probability`, each member's probabilities are brought to one scale, a
    reasoned draw counts by the log-probability of its text, and the confidence is the probability
    that the answer is right.

    Attributes:
        members: names, in pool order; empty if it is not fitted.
        k: draws of each member that it was fitted on.
        scales: one a member.
        slope, intercept: of the logistic that makes the mean a probability of being right.
        stopped: the scale that does so where draws were spared, over the mean as a share of the
            draws made; None where too few questions spared any.
        trained_on: questions in the training split.

    >>> import math
    >>> from dspy_mux.voting.evidence import Evidence
    >>> sure, unsure = (Evidence(answer_logprob=math.log(p)) for p in (0.9, 0.3))
    >>> ballots = [
    ...     Ballot("a", (0,), evidence=(unsure,)),
    ...     Ballot("b", (0,), evidence=(unsure,)),
    ...     Ballot("c", (1,), evidence=(sure,)),
    ... ]
    >>> Probability().choose(ballots).answer
    1
    """

    members: tuple[str, ...] = ()
    k: tuple[int, ...] = ()
    scales: tuple[Scale, ...] = ()
    slope: float = 1.0
    intercept: float = 0.0
    trained_on: int = 0
    stopped: ConfidenceScale | None = None
    name: str = field(default="probability", init=False)

    def __post_init__(self) -> None:
        numbers = [self.slope, self.intercept, *chain(*map(astuple, self.scales))]
        if {len(self.k), len(self.scales)} != {len(self.members)} or not all(
            map(math.isfinite, numbers)
        ):
            raise DataError(
                "The scales of the rule 'probability' do not fit its members: it is damaged, fit "
                "it again."
            )

    @property
    def reads_evidence(self) -> bool:
        return True

    @property
    def calibrates(self) -> bool:
        """Whether its confidence is the chance that the answer is right, fitted on labels."""
        return bool(self.scales)

    def choose(self, ballots: Sequence[Ballot]) -> Choice | None:
        """Return the choice among `ballots`, in pool order; None if every draw abstained.

        Raises:
            ConfigurationError: the rule was fitted for other members or draws.
        """
        self.check_members([(ballot.member, ballot.k) for ballot in ballots])
        tally = Tally.of(ballots)
        order = by_accuracy([ballot.accuracy for ballot in ballots])
        sums = probability_sums(tally, self.scales)
        picks = self._picks(sums, tally, order)
        member, draw = int(picks.member[0]), int(picks.draw[0])
        if member < 0:
            return None
        confidence, calibrated = float(picks.confidence[0]), self.calibrates
        made, k = sum(len(ballot.votes) for ballot in ballots), sum(ballot.k for ballot in ballots)
        if made < k and self.stopped is None:
            calibrated = False
        elif made < k and self.stopped is not None:
            mean = replace(self, slope=1.0, intercept=0.0)._picks(sums, tally, order).confidence
            confidence = float(self.stopped.of(of_draws_made(mean, made / k))[0])
        return Choice(
            int(tally.votes[0, member, draw]),
            member,
            confidence,
            _tie_break(sums, ballots, member),
            calibrated,
        )

    def pick(self, tally: Tally, order: Sequence[int]) -> Picks:
        """Choose for many questions at once.

        Args:
            order: members, from `order_of`.
        """
        return self._picks(probability_sums(tally, self.scales), tally, order)

    def check_members(self, drawn: Sequence[tuple[str, int]]) -> None:
        """Raise ConfigurationError if the rule was fitted for other members or draws."""
        if self.members:
            check_fitted_for(self.name, self.members, self.k, drawn)

    def order_of(self, members: Sequence[str], accuracies: Sequence[float | None]) -> list[int]:
        """Return the members' positions from the most accurate down."""
        return by_accuracy(accuracies)

    def wants(self, ballots: Sequence[Ballot]) -> list[tuple[int, int]]:
        """Return the next draws to make, as (position, count); empty if the answer stands."""
        made = np.array([[len(ballot.votes) for ballot in ballots]])
        order = by_accuracy([ballot.accuracy for ballot in ballots])
        member, count = self.next_draws(Tally.of(ballots), made, order)
        return [(int(member[0]), int(count[0]))] if member[0] >= 0 else []

    def next_draws(self, so_far: Tally, made: Ints, order: Sequence[int]) -> tuple[Ints, Ints]:
        """Return a member [Q] and how many draws of it to make next; −1 and 0 if the answer stands.

        A member that has draws left can lift its probability of any answer to 1 at most. So the
        leading answer stands once no other can catch up if all of them do. The answer and whose it
        is are those of all draws; the confidence is that of what was drawn.

        Args:
            so_far: the draws made, the others as abstentions without evidence.
            made: draws made of each member [Q, M].
        """
        sums = probability_sums(so_far, self.scales)
        left = so_far.k - made
        member, count = np.full(len(made), -1), np.zeros(len(made), np.int64)
        waiting = left > 0
        open_ = waiting.any(axis=1) & ~answer_stands(sums, waiting)
        for at in reversed(order):
            member = np.where(open_ & waiting[:, at], at, member)
        rows = np.arange(len(made))
        later = waiting.copy()
        later[rows, member] &= ~open_
        # Whatever this member gives, the others could still change the answer: it draws at once.
        whole = ~may_stand(sums, later, member)
        count = np.where(open_, np.where(whole, left[rows, member], 1), 0)
        return member, count

    def frugal_draws(self, tally: Tally, order: Sequence[int]) -> Ints:
        """[Q, M]: draws made of each member under the frugal schedule."""
        questions, members, _ = tally.shape
        made = np.zeros((questions, members), np.int64)
        open_ = np.arange(questions)
        while len(open_):
            so_far = first_draws(tally.rows(open_), made[open_])
            member, count = self.next_draws(so_far, made[open_], order)
            goes_on = member >= 0
            open_ = open_[goes_on]
            made[open_, member[goes_on]] += count[goes_on]
        return made

    def _picks(self, sums: Sums, tally: Tally, order: Sequence[int]) -> Picks:
        answers, total = sums.answers, sums.total
        best = np.full(answers.questions, -np.inf)
        np.maximum.at(best, answers.question, total)
        # Each answer's first member in the rule's order; among equals, the answer of the earliest.
        votes = answers.votes[:, list(order)] > 0
        rank = votes.argmax(axis=1) if len(votes) else np.zeros(0, int)
        member = np.asarray(order)[rank]
        given = tally.votes[answers.question, member] == answers.answer[:, None]
        draw = given.argmax(axis=1) if tally.shape[2] else np.zeros(0, int)
        tied = total >= best[answers.question] - EQUAL
        preferred = np.where(tied, -(rank * max(tally.shape[2], 1) + draw).astype(float), -np.inf)
        row = answers.best(preferred)
        none = row < 0
        if not len(total):
            return Picks(row, np.zeros(len(row), int), np.zeros(len(row)))
        row = np.where(none, 0, row)
        confidence = self._confidence(total[row] / tally.shape[1], sums.known)
        return Picks(np.where(none, -1, member[row]), draw[row], np.where(none, 0.0, confidence))

    def _confidence(self, mean: Floats, known: Bools) -> Floats:
        if self.scales:
            odds = log_odds(np.log(np.maximum(mean, 1e-300)))
            return sigmoid(self.intercept + self.slope * odds)
        return np.where(known, mean, mean / UNKNOWN)


def _tie_break(sums: Sums, ballots: Sequence[Ballot], winner: int) -> TieBreak:
    tied = np.flatnonzero(sums.total >= sums.total.max() - EQUAL)
    if len(tied) == 1:
        return "nothing"
    given = sums.answers.votes[tied] > 0
    if given[:, winner].sum() > 1:  # whoever is preferred, several of the answers are its own
        return "order drawn"
    givers = np.flatnonzero(given.any(axis=0))
    accuracy = ballots[winner].accuracy
    alike = [at for at in givers if ballots[int(at)].accuracy == accuracy]
    return "accuracy" if len(alike) == 1 else "pool order"
