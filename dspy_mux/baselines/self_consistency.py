"""Self-consistency: one model, asked several times (Wang et al., 2023)."""

from __future__ import annotations

from typing import ClassVar

import dspy
from typing_extensions import Unpack

from ..mux.options import SharedOptions
from ..sampling.members import Pool
from .single import OneMember


class SelfConsistency(OneMember):
    """Return the most frequent answer of k draws of one member; among equals the one drawn first.

    Args:
        member: the member's name in a pool of several; by default that of the highest accuracy.
        k: draws.
        temperature: of the draws.
        program, lms and the other arguments: as for `SLMMux`.

    Raises:
        ConfigurationError: several members, and neither `member` nor `accuracies` says which.

    >>> import dspy
    >>> lm = dspy.utils.DummyLM([{"answer": text} for text in ("7", "7", "8")])
    >>> pred = SelfConsistency(dspy.Predict("question -> answer: int"), [lm], k=3)(question="?")
    >>> pred.answer, pred.verdict.calls, round(pred.verdict.confidence, 2)
    (7, 3, 0.67)
    """

    method: ClassVar[str] = "self_consistency"

    def __init__(
        self,
        program: str | type[dspy.Signature] | dspy.Module,
        lms: Pool,
        *,
        member: str | None = None,
        k: int = 3,
        temperature: float = 0.3,
        **shared: Unpack[SharedOptions],
    ):
        super().__init__(program, lms, member=member, k=k, temperature=temperature, **shared)
