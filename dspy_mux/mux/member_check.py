"""What a check found out about a member of a pool."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..voting.verdict_parts import Spent


@dataclass(frozen=True)
class FormatCheck:
    """How a member did with an adapter.

    Attributes:
        adapter: its name in a pool file; of another adapter, its type.
        draws: how often it was asked.
        followed: replies that kept to the adapter's format.
        answered: replies that had an answer, in that format or found in the text.
        misfits: of the replies without an answer, what stood in its place in the adapter's format:
            a value that is not of the answer's type, such as none of its labels.
    """

    adapter: str
    draws: int
    followed: int
    answered: int
    misfits: tuple[str, ...] = ()


@dataclass(frozen=True)
class MemberCheck:
    """What a check found out about one member.

    Attributes:
        name: the member's.
        model: its model string.
        escalates: whether it is the model that the pool escalates to.
        answer: what it answered, as text; None where no reply had a usable answer.
        seconds: of the calls for one answer; None where no reply came.
        first_seconds: the same of the very first answer; the server may have loaded then.
        tokens_per_second: completion tokens; None where the server does not count them.
        formats: how it did with its own adapter, then with the others that were compared.
        suits: the adapter to use; None where none suits.
        logprobs: whether log-probabilities came; None where no reply came.
        several: whether its server answers several choices in one request; None where unknown.
        spent: calls, tokens and cost of the check.
        problem: why it did not answer; None where it did.
        findings: what to change, a sentence each.
    """

    name: str
    model: str
    escalates: bool = False
    answer: str | None = None
    seconds: float | None = None
    first_seconds: float | None = None
    tokens_per_second: float | None = None
    formats: tuple[FormatCheck, ...] = ()
    suits: str | None = None
    logprobs: bool | None = None
    several: bool | None = None
    spent: Spent = field(default_factory=Spent)
    problem: str | None = None
    findings: tuple[str, ...] = ()
