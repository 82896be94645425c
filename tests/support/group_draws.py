"""Draws that share requests, against a server that gives several choices."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import dspy
import pytest

from dspy_mux import SLMMux

from .scripted import marked

each_engine = pytest.mark.parametrize("engine", ["lm15", "litellm"])
each_way = pytest.mark.parametrize("how", ["call", "acall"])


def numbered(prompt: str, number: int) -> str:
    """Says which of a prompt's choices it is: 0, 1, …"""
    return marked(reasoning=f"Because of {number}.", answer=str(number))


def an_lm(server: Any, name: str = "small", **settings: Any) -> dspy.LM:
    return dspy.LM(f"openai/{name}", api_base=server.address, api_key="none", **settings)


def a_mux(server: Any, name: str = "small", *, program: Any = None, **settings: Any) -> SLMMux:
    engine = settings.pop("engine", "auto")
    lm = an_lm(server, name, engine=engine)
    return SLMMux(program or dspy.Predict("question -> answer"), [lm], **settings)


def asked(mux: SLMMux, how: str, question: str = "?") -> dspy.Prediction:
    """A mux's prediction, by a call or by `acall`."""
    if how == "call":
        return mux(question=question)

    async def ask() -> dspy.Prediction:
        try:
            return await mux.acall(question=question)
        finally:
            await asyncio.gather(*(member.lm.aclose() for member in mux.members))

    return asyncio.run(ask())


def answers(verdict: Any, member: int = 0) -> dict[str, int]:
    """Answer → count."""
    return {each.answer: each.count for each in verdict.ballots[member].answers}


class Chained(dspy.Module):
    """Two steps: the second prompt holds what the first reply said."""

    def __init__(self) -> None:
        super().__init__()
        self.first = dspy.Predict("question -> answer")
        self.second = dspy.Predict("question, draft -> answer")

    def forward(self, question: str) -> dspy.Prediction:
        return self.second(question=question, draft=self.first(question=question).answer)


class Plain(dspy.Module):
    """A program of one function's calls, without an async form."""

    def __init__(self, make: Callable[..., dspy.Prediction] | None = None, **settings: Any) -> None:
        super().__init__()
        self.step, self.make, self.settings = dspy.Predict("question -> answer"), make, settings

    def forward(self, question: str) -> dspy.Prediction:
        if self.make is not None:
            return self.make(self.step, question)
        return self.step(question=question, **self.settings)
