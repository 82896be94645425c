"""The distinct answers to many questions: the calibrated rule chooses among them."""

from __future__ import annotations

import numpy as np

from .tally import Floats, Ints, Picks, Tally


class Candidates:
    """The distinct answers to each question: R rows, questions one after the other.

    Attributes:
        question: [R], positions of the questions.
        answer: [R], the answer's class within its question.
        votes: [R, M], draws of each member that gave it.
        plural: [R, M], 1 where it is the member's plurality answer.
        member: [R], the member that gave it most often; the first in pool order among equals.
        draw: [R], that member's first draw of it.
        row: [Q, M, K], the row of each draw's answer; -1 for an abstention.
    """

    def __init__(self, tally: Tally):
        questions, members, draws = tally.shape
        self.k = tally.k
        question, member, draw = np.nonzero(tally.votes >= 0)
        span = int(tally.votes.max(initial=0)) + 1
        keys, inverse = np.unique(
            question * span + tally.votes[question, member, draw], return_inverse=True
        )
        self.questions = questions
        self.question, self.answer = keys // span, keys % span
        self.row = np.full(tally.votes.shape, -1)
        self.row[question, member, draw] = inverse
        self.votes = np.zeros((len(keys), members))
        np.add.at(self.votes, (inverse, member), 1)
        self.plural = (tally.plurality[self.question] == self.answer[:, None]).astype(float)
        self.member = self.votes.argmax(axis=1)
        given = tally.votes[self.question, self.member] == self.answer[:, None]
        self.draw = given.argmax(axis=1) if draws else np.zeros(0, int)
        self.starts = (
            np.flatnonzero(np.r_[True, self.question[1:] != self.question[:-1]])
            if len(keys)
            else np.zeros(0, int)
        )

    @property
    def shares(self) -> Floats:
        return self.votes / self.k

    def per_member(self) -> Floats:
        """[R, 4M]: vote shares, unanimity, whether it was given at all, and plurality."""
        return np.hstack([self.shares, self.votes == self.k, self.votes > 0, self.plural])

    def per_context(self) -> Floats:
        """[R, 2M]: the features that have weights of their own in each category."""
        return np.hstack([self.shares, self.plural])

    def nearby(self, gains: Floats | None) -> Floats:
        """[R, 2]: vote shares and pluralities times members' gains [Q, M]; [R, 0] without."""
        if gains is None:
            return np.zeros((len(self.question), 0))
        gain = gains[self.question]
        return np.stack([(self.shares * gain).sum(axis=1), (self.plural * gain).sum(axis=1)], 1)

    def log_softmax(self, scores: Floats, *, outside: float | None = None) -> Floats:
        """Return log-probabilities [R] over the answers to each question.

        Args:
            outside: the score of one answer more, in every question.
        """
        if not len(scores):
            return scores
        sizes = np.diff(np.r_[self.starts, len(scores)])
        highest = np.maximum.reduceat(scores, self.starts)
        if outside is not None:
            highest = np.maximum(highest, outside)
        shifted = scores - np.repeat(highest, sizes)
        total = np.add.reduceat(np.exp(shifted), self.starts)
        if outside is not None:
            total += np.exp(outside - highest)
        return shifted - np.repeat(np.log(total), sizes)

    def best(self, scores: Floats) -> Ints:
        """Return each question's row of the highest score [Q]; −1 for a question without answers.

        The first row wins among equals.
        """
        rows = np.full(self.questions, -1)
        # Ascending, so that the best is written last.
        order = np.lexsort((np.arange(len(scores))[::-1], scores))
        rows[self.question[order]] = order
        return rows

    def row_of(self, picks: Picks, votes: Ints) -> Ints:
        """Return the row of the answer that a rule picked [Q]; −1 for none."""
        rows = np.full(self.questions, -1)
        picked = votes[
            np.arange(self.questions), np.maximum(picks.member, 0), np.maximum(picks.draw, 0)
        ]
        hit = (picks.member >= 0)[self.question] & (picked[self.question] == self.answer)
        rows[self.question[hit]] = np.flatnonzero(hit)
        return rows
