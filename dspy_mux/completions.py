"""Every way in which the draws still to come could turn out, for proofs that none of them changes an answer."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .tally import ABSTAINED, Ints
from .voting import Ballot

#: With more ways than this, none are told.
MOST = 400


def completions(ballots: Sequence[Ballot], most: int = MOST) -> Ints | None:
    """[W, M, K] votes of all ways to complete `ballots`; None where there are more than `most`.

    Each draw to come gives an answer seen already, one not seen before, or none. Answers not seen before differ in their order
    alone: no rule knows more of them.
    """
    votes = np.full((len(ballots), max(ballot.k for ballot in ballots)), ABSTAINED)
    to_come = []
    for at, ballot in enumerate(ballots):
        votes[at, : len(ballot.votes)] = [ABSTAINED if vote is None else vote for vote in ballot.votes]
        to_come += [(at, draw) for draw in range(len(ballot.votes), ballot.k)]
    ways: list[tuple[int, ...]] = [()]
    seen = int(votes.max(initial=ABSTAINED)) + 1
    for _ in to_come:
        ways = [(*way, answer) for way in ways for answer in range(ABSTAINED, max((seen, *(one + 1 for one in way))) + 1)]
        if len(ways) > most:
            return None
    completed = np.repeat(votes[None], len(ways), axis=0)
    for column, (at, draw) in enumerate(to_come):
        completed[:, at, draw] = [way[column] for way in ways]
    return completed
