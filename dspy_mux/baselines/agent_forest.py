"""Agent Forest: sampling and voting over all draws alike ("More Agents Is All You Need", Li et al., 2024)."""

from __future__ import annotations

from typing import ClassVar

import dspy
from typing_extensions import Unpack

from ..mux.options import SharedOptions
from ..mux.slm_mux import SLMMux
from ..sampling.members import Pool


class AgentForest(SLMMux):
    """The plurality over all draws of all members; among equals the answer seen first, members in pool order.

    Args:
        k: draws per member.
        temperature: of the draws.
        program, lms and the other arguments: as for `SLMMux`.
    """

    method: ClassVar[str] = "agent_forest"

    def __init__(
        self,
        program: str | type[dspy.Signature] | dspy.Module,
        lms: Pool,
        *,
        k: int = 3,
        temperature: float = 0.3,
        **shared: Unpack[SharedOptions],
    ):
        super().__init__(program, lms, k=k, temperature=temperature, rule="pooled", **shared)
