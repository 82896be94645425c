"""Which members are up, as far as their draws show."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass

from ..sampling.causes import is_error
from ..voting.verdict_parts import MemberBallot
from .metrics import kind_of

#: Questions in a row for which a member gave nothing but errors, before it counts as down.
_IN_A_ROW = 3
#: Seconds after which a member that was down may be up again: somebody has to ask to know.
_FORGOTTEN_S = 30.0


@dataclass
class _Seen:
    failures: int = 0
    cause: str = ""
    at: float = 0.0


class Health:
    """Notes how the members of served models fare."""

    def __init__(self) -> None:
        self._seen: dict[tuple[str, str], _Seen] = {}

    def note(self, mux: str, ballots: Iterable[MemberBallot]) -> None:
        """Take note of a question's ballots."""
        for ballot in ballots:
            if not ballot.votes:
                continue  # spared
            errors = [cause for cause in ballot.abstentions if is_error(cause)]
            failed = sum(ballot.abstentions[cause] for cause in errors) == len(ballot.votes)
            seen = self._seen.setdefault((mux, ballot.member), _Seen())
            seen.failures = seen.failures + 1 if failed else 0
            if failed:
                seen.cause, seen.at = kind_of(errors[0]), time.monotonic()

    def cause(self, mux: str, member: str) -> str | None:
        """Return the kind of error that a member is down with; None where it may be up."""
        seen = self._seen.get((mux, member))
        if seen is None or seen.failures < _IN_A_ROW:
            return None
        return seen.cause if time.monotonic() < seen.at + _FORGOTTEN_S else None
