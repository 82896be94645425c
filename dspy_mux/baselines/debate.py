"""LLM-Debate: agents answer, see one another's answers, and answer again (Du et al., 2023)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import dspy
from pydantic import Field
from typing_extensions import Unpack

from ..errors import ConfigurationError
from ..mux.ensemble import Rounds, Wave
from ..mux.options import SharedOptions
from ..mux.saved import MethodChoices
from ..sampling.draw import Draw
from ..sampling.members import Pool
from ..voting.ballot import Ballot
from .brief import Brief
from .discussion import Discussion, Seat, numbered

#: Agents in the authors' experiments.
PUBLISHED_AGENTS = 3


class Reconsider(dspy.Signature):
    """Other agents answered this question as well; other_answers holds what they wrote. Take it as further information, hold it
    against your own reasoning, and give your answer anew."""

    other_answers: str = dspy.InputField(desc="what the other agents wrote, numbered")


class Recheck(dspy.Signature):
    """You answered this question before. Check your answer and give it anew, mended where it is wrong."""


class DebateChoices(MethodChoices):
    agents: int | None = Field(default=None, ge=1)
    rounds: int = Field(ge=1)


class LLMDebate(Discussion):
    """From the second round on each agent sees the others' full last answers, keeps its own turns as history, and answers again.

    The plurality of the last round is the answer, the first seen among equals; its confidence is its share of the agents. An agent
    without a readable answer counts for nothing, but the others see what it wrote.

    Args:
        agents: members taking turns; None for the published 3, or one a member where there are more members.
        rounds: 2 are published.
        temperature: 1.0 is what the authors' scripts leave to the API.
        program, lms and the other arguments: as for `SLMMux`.
    """

    method: ClassVar[str] = "llm_debate"
    briefs = (Reconsider,)

    def __init__(
        self,
        program: str | type[dspy.Signature] | dspy.Module,
        lms: Pool,
        *,
        agents: int | None = None,
        rounds: int = 2,
        temperature: float = 1.0,
        **shared: Unpack[SharedOptions],
    ):
        choices = DebateChoices.read({"agents": agents, "rounds": rounds}, "LLMDebate")
        super().__init__(program, lms, choices=choices, temperature=temperature, **shared)
        if agents is not None and agents < len(self.members):
            raise ConfigurationError(
                f"A debate of {agents} agents leaves out some of the pool's {len(self.members)} members: give as many agents as "
                "members, or fewer members."
            )
        self._seated(self._agents)

    @property
    def choices(self) -> DebateChoices:
        choices = self.pool.choices
        assert isinstance(choices, DebateChoices)
        return choices

    @property
    def _agents(self) -> list[Seat]:
        return self._seats(self.choices.agents or max(PUBLISHED_AGENTS, len(self.members)))

    def _rounds(self, inputs: Mapping[str, Any]) -> Rounds:
        self._refuse_own_lms()
        agents = self._agents
        rounds: list[list[Draw]] = [[self._speak(seat, 1, inputs) for seat in agents]]
        yield Wave(rounds[0])
        histories: list[list[dict[str, Any]]] = [[] for _ in agents]
        shown: list[dict[str, str]] = [{} for _ in agents]
        for round_ in range(2, self.choices.rounds + 1):
            said = [self._said(draw) for draw in rounds[-1]]
            draws = []
            for agent, seat in enumerate(agents):
                if exchange := self._exchange(rounds[-1][agent], shown[agent]):
                    histories[agent].append(exchange)
                others = [text for other, text in enumerate(said) if other != agent and text]
                shown[agent] = {"other_answers": numbered(others)} if others else {}
                brief = Brief(
                    Reconsider if others else Recheck, shown[agent], tuple(histories[agent])
                )
                draws.append(self._speak(seat, round_, inputs, brief))
            rounds.append(draws)
            yield Wave(draws)
        return self._decide(rounds)

    def _decide(self, rounds: list[list[Draw]]) -> dspy.Prediction:
        everyone = [draw for draws in rounds for draw in draws]
        classes = self._classes(everyone)
        last, votes = rounds[-1], classes[-len(rounds[-1]) :]
        ballot = Ballot("debate", tuple(votes))
        answer, turns = ballot.plurality, self._turns(rounds, classes)
        if answer is None:
            raise self._all_failed(last, "the debate", turns)
        rivals = sum(count == ballot.counts[answer] for count in ballot.counts.values())
        return self._conclude(
            last[votes.index(answer)],
            decided_by=self.method,
            confidence=ballot.confidence,
            tie_break="order drawn" if rivals > 1 else "nothing",
            ballots=self._ballots(last, votes),
            cast=list(zip(last, votes, strict=True)),
            spent=everyone,
            turns=turns,
        )
