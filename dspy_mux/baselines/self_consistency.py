"""Self-consistency: one model, asked several times (Wang et al., 2023)."""

from __future__ import annotations

from typing import ClassVar

import dspy
from typing_extensions import Unpack

from ..mux.options import SharedOptions
from ..sampling.members import Pool
from .single import OneMember


class SelfConsistency(OneMember):
    """The most frequent answer of k draws of one member; among equals the one drawn first.

    Args:
        member: whose, where the pool has several; by default the one of the highest of the `accuracies`.
        k: draws.
        temperature: of the draws.
        program, lms and the other arguments: as for `SLMMux`.

    Raises:
        ConfigurationError: several members, and neither `member` nor `accuracies` says which.
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
