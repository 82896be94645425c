"""The verdict: what a mux decided for a question and why, for users, JSON and notebooks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..errors import MuxError
from .ballot import TieBreak
from .verdict_parts import JsonAnswer, MemberBallot, Spent, Turn
from .verdict_text import verdict_html, verdict_text


class Verdict(Spent):
    """What a mux decided for one question, and on what grounds.

    Attributes:
        answer: the winning draw's answer.
        member: the member the answer is credited to.
        confidence: in [0, 1]; the chance that the answer is right if it is `calibrated`. Else it
            is the rule's own, which only ranks answers: for `consistency`, the share of the
            member's draws that gave the answer; for `probability`, what the members' models say
            on average. Where another model answered in the pool's place, it is that of the pool's
            answer, 0 where the pool had none.
        calibrated: whether the confidence was fitted on labels to be a chance of being right.
        tie_break: what decided among equals: "nothing" (there were none), "accuracy", "pool order"
            or "order drawn".
        rule: the name of the rule, or of the method.
        decided_by: the rule that decided: another one where `calibrated` found, on its labels, that
            a simple rule does as well. None in verdicts of older versions.
        ballots: every member's ballot, in pool order; in a discussion, of the members whose last
            answers decide.
        trusted: whether the confidence reaches the mux's threshold; None where it has none. An
            answer that another model gave in the pool's place (`escalated`) is not one of these.
        escalated: whether another model answered, as the pool's answer was not trusted.
        escalation_cause: why that model was asked in vain, where it was.
        group: number of the pool's answer in the ballots; another model's answer leaves it as it
            was. None where the ballots do not hold it.
        turns: what was said in a discussion, round by round; empty if members do not see each
            other's text.

    >>> import dspy
    >>> from dspy.utils import DummyLM
    >>> from dspy_mux import SLMMux
    >>> lms = {name: DummyLM([{"answer": "42"}] * 3) for name in ("a", "b")}
    >>> mux = SLMMux(dspy.Predict("question -> answer"), lms, k=3)
    >>> verdict = mux(question="What is 6 * 7?").verdict
    >>> verdict.answer, verdict.confidence, verdict.tie_break, verdict.calls
    ('42', 1.0, 'pool order', 6)
    >>> print(verdict)
    42
    a, confidence 1.00 by the rule consistency; a tie, decided by pool order
    member  answers  confidence  abstained
    a       3 × 42         1.00
    b       3 × 42         1.00
    6 LM calls, 0 + 0 tokens
    """

    answer: JsonAnswer
    member: str
    confidence: float
    tie_break: TieBreak
    rule: str
    ballots: list[MemberBallot]
    calibrated: bool = False
    trusted: bool | None = None
    escalated: bool = False
    escalation_cause: str | None = None
    group: int | None = None
    decided_by: str | None = None
    turns: list[Turn] = []  # noqa: RUF012  (pydantic copies it)

    def __str__(self) -> str:
        return verdict_text(self)

    def _repr_html_(self) -> str:
        return verdict_html(self)


class AllMembersFailed(MuxError):
    """No member produced a usable answer.

    Attributes:
        causes: member name → its distinct abstention causes, most frequent first.
        ballots: every member's ballot, in pool order; empty for methods in which members see each
            other's text.
        turns: what was said in a discussion without an answer; empty if members do not see each
            other's text.
    """

    def __init__(
        self,
        causes: Mapping[str, Sequence[str]],
        turns: Sequence[Turn] = (),
        ballots: Sequence[MemberBallot | dict[str, Any]] = (),
    ):
        self.causes = {name: list(member_causes) for name, member_causes in causes.items()}
        self.turns = list(turns)
        self.ballots = [MemberBallot.model_validate(ballot) for ballot in ballots]
        listed = "; ".join(
            f"{name}: {', '.join(member_causes) or 'no draw'}"
            for name, member_causes in self.causes.items()
        )
        super().__init__(f"No member of the mux gave a usable answer ({listed}).")

    def __reduce__(self) -> tuple[Any, ...]:
        # An answer may have a type that cannot be pickled, and an error must cross processes.
        ballots = [ballot.model_dump(mode="json") for ballot in self.ballots]
        return type(self), (self.causes, self.turns, ballots)


class NotTrusted(MuxError):
    """The pool's answer does not reach the threshold, and the program's answer cannot be None.

    Attributes:
        verdict: with the answer that is not trusted.
    """

    def __init__(self, verdict: Verdict, threshold: float):
        super().__init__(
            f"The answer is not trusted: its confidence {verdict.confidence:.2f} is below the "
            f"threshold {threshold:g}; its verdict is on this error."
        )
        self.verdict, self.threshold = verdict, threshold

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.verdict, self.threshold)
