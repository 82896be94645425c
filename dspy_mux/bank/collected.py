"""The outcome of a collection."""

from __future__ import annotations

from dataclasses import dataclass

from .member_draws import MemberDraws


@dataclass(frozen=True)
class GivenUp:
    """A member of which no further draws were made, as its server was down.

    Attributes:
        failed: its last draws in a row that failed so.
        cause: of the last one.
        missing: its draws still to make.
    """

    member: str
    failed: int
    cause: str
    missing: int

    def sentence(self, draws: int) -> str:
        """Return what became of it, and what to do.

        Args:
            draws: of the member that are recorded.
        """
        again = "with --retry-failed makes those that failed"
        if self.missing:
            missing = f"the {self.missing} that are missing"
            again = f"makes {missing}, with --retry-failed also those that failed"
        return (
            f"{self.member!r} was given up after {draws} draws, as the last {self.failed} failed "
            f"in a row ({self.cause}): once its server is up, the same command {again}."
        )


@dataclass(frozen=True)
class Collected:
    """The outcome of a collection.

    Attributes:
        drawn: draws recorded now.
        already: draws that were recorded before, or by another collection meanwhile.
        missing: draws still to make, by a later collection or by another one at work.
        rescored: recorded draws without a score by this metric and gold answer, scored now.
        abstained: abstentions among those drawn now.
        calls: LM calls made now.
        cost: US dollars spent now; None where no price is known.
        seconds: how long it took.
        stopped: the limit that ended it early, "max_calls" or "max_cost"; None otherwise.
        failed: all draws, new and recorded, that failed with an error; they count as abstentions
            until they are retried.
        cause: the most frequent cause of these failures.
        cut_off: abstentions now that ended at `max_tokens` before they had stated an answer.
        given_up: members whose servers were down; their missing draws are among `missing`.
        members: all recorded draws by member, in pool order.
    """

    drawn: int
    already: int
    missing: int
    abstained: int
    calls: int
    cost: float | None
    seconds: float
    stopped: str | None
    rescored: int = 0
    failed: int = 0
    cause: str | None = None
    cut_off: int = 0
    given_up: tuple[GivenUp, ...] = ()
    members: tuple[MemberDraws, ...] = ()

    @property
    def errors(self) -> str | None:
        """A sentence on the draws that failed; None where none did."""
        if not self.failed:
            return None
        return (
            f"Errors cost {self.failed} of {self.drawn + self.already} draws, most often "
            f"{self.cause!r}: retry_failed (--retry-failed) makes them again."
        )
