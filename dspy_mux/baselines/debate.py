"""LLM-Debate: agents answer, see each other's answers, and answer again (Du et al., 2023)."""

from __future__ import annotations

from typing import ClassVar

import dspy
from pydantic import Field
from typing_extensions import Unpack

from ..adapters.wrap import Fields
from ..errors import ConfigurationError
from ..mux.ensemble import Inputs
from ..mux.options import SharedOptions
from ..mux.outcome import Grounds
from ..mux.rounds import Rounds, Wave
from ..mux.saved import MethodChoices
from ..sampling.draw import Draw
from ..sampling.members import Pool
from ..voting.ballot import Ballot
from .brief import Brief
from .discussion import Discussion, Seat, numbered

#: Agents in the authors' experiments.
PUBLISHED_AGENTS = 3


# The wording of these prompts shapes recorded draws: keep it as it is.
class Reconsider(dspy.Signature):
    __doc__ = (
        "Other agents answered this question as well; other_answers holds what they wrote. "
        "Take it as further information, hold it\nagainst your own reasoning, and give your "
        "answer anew."
    )

    other_answers: str = dspy.InputField(desc="what the other agents wrote, numbered")


class Recheck(dspy.Signature):
    __doc__ = (
        "You answered this question before. Check your answer and give it anew, "
        "mended where it is wrong."
    )


class DebateChoices(MethodChoices):
    """The arguments of `LLMDebate`, as they are saved."""

    agents: int | None = Field(default=None, ge=1)
    rounds: int = Field(ge=1)


class LLMDebate(Discussion):
    """Let agents answer, read each other's answers, and answer again.

    From the second round on, each agent sees the others' full last answers and its own turns as
    history. The plurality of the last round is the answer, the first seen among equals; its
    confidence is its share of the agents. An agent without a readable answer has no vote, but the
    others see what it wrote.

    Args:
        agents: how many; members take turns. None for the published 3, or one per member in a
            larger pool.
        rounds: the authors use 2.
        temperature: 1.0 is the API's default, which the authors' scripts keep.
        program, lms and the other arguments: as for `SLMMux`.

    >>> import dspy
    >>> script = {"a": ["7", "7"], "b": ["8", "7"], "c": ["8", "8"]}
    >>> lms = {
    ...     name: dspy.utils.DummyLM([{"answer": text} for text in said])
    ...     for name, said in script.items()
    ... }
    >>> pred = LLMDebate(dspy.Predict("question -> answer: int"), lms)(question="Hills of Rome?")
    >>> pred.answer, pred.verdict.calls, round(pred.verdict.confidence, 2)
    (7, 6, 0.67)
    >>> [(turn.round, turn.member, turn.answer) for turn in pred.verdict.turns][1::3]
    [(1, 'b', 8), (2, 'b', 7)]
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
                f"A debate of {agents} agents leaves out some of the pool's {len(self.members)} "
                "members: give as many agents as members, or fewer members."
            )
        self._set_seats(self._agents)

    @property
    def choices(self) -> DebateChoices:
        choices = self.pool.choices
        assert isinstance(choices, DebateChoices)
        return choices

    @property
    def _agents(self) -> list[Seat]:
        return self._seats(self.choices.agents or max(PUBLISHED_AGENTS, len(self.members)))

    def _rounds(self, inputs: Inputs) -> Rounds:
        self._refuse_own_lms()
        agents = self._agents
        rounds: list[list[Draw]] = [[self._speak(seat, 1, inputs) for seat in agents]]
        yield Wave(rounds[0])
        histories: list[list[Fields]] = [[] for _ in agents]
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
            Grounds(self.method, ballot.confidence, "order drawn" if rivals > 1 else "nothing"),
            ballots=self._ballots(last, votes),
            cast=list(zip(last, votes, strict=True)),
            spent=everyone,
            turns=turns,
        )
