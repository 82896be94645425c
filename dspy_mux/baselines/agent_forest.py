"""Agent Forest: all draws vote alike ("More Agents Is All You Need", Li et al., 2024)."""

from __future__ import annotations

from typing import ClassVar

import dspy
from typing_extensions import Unpack

from ..mux.options import SharedOptions
from ..mux.slm_mux import SLMMux
from ..sampling.members import Pool


class AgentForest(SLMMux):
    """Return the plurality over all draws of all members.

    Among equals the answer drawn first wins, members in pool order.

    Args:
        k: draws per member.
        temperature: of the draws.
        program, lms and the other arguments: as for `SLMMux`.

    >>> import dspy
    >>> from dspy.utils import DummyLM
    >>> lms = {name: DummyLM([{"answer": text}]) for name, text in zip("abc", ["7", "8", "7"])}
    >>> forest = AgentForest(dspy.Predict("question -> answer: int"), lms, k=1)
    >>> pred = forest(question="How many hills has Rome?")
    >>> pred.answer, pred.verdict.rule, round(pred.verdict.confidence, 2)
    (7, 'pooled', 0.67)
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
