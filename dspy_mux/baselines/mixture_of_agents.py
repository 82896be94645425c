"""Mixture-of-Agents: layers of models that build on one another's answers (Wang et al., 2024)."""

from __future__ import annotations

from typing import ClassVar

import dspy
from pydantic import Field
from typing_extensions import Unpack

from ..mux.ensemble import Inputs
from ..mux.options import SharedOptions
from ..mux.outcome import Grounds
from ..mux.rounds import Rounds, Wave
from ..mux.saved import MethodChoices
from ..sampling.draw import Draw
from ..sampling.members import Pool
from .brief import Brief
from .discussion import Discussion, Seat, numbered


# The wording of this prompt shapes recorded draws: keep it as it is.
class Synthesise(dspy.Signature):
    __doc__ = (
        "Several models answered this question before you; previous_answers holds what they wrote. "
        "Weigh it critically: parts of it\nmay be one-sided or wrong. Do not merely repeat one of "
        "them: give one answer of your own that is accurate, well reasoned and\ncomplete."
    )

    previous_answers: str = dspy.InputField(desc="what the models wrote, numbered")


class MixtureChoices(MethodChoices):
    """The arguments of `MixtureOfAgents`, as they are saved."""

    layers: int = Field(ge=1)
    agents: int | None = Field(default=None, ge=1)
    aggregator: str | None = None


class MixtureOfAgents(Discussion):
    """Let layers of proposers answer, and an aggregator make one answer of theirs.

    The first layer answers alone. Each further layer, and last the aggregator, sees all answers of
    the layer before. The aggregator's answer is the method's, and so is its failure; proposers that
    fail are dropped. The confidence is the aggregator's one vote: always 1.0.

    Args:
        layers: how many, including the aggregator's; the authors use 3, or 2 in the light form.
        agents: proposers in a layer; members take turns. None for one per member.
        aggregator: the member that answers; by default that of the highest accuracy, else the
            first.
        temperature: of all agents; the authors use 0.7.
        program, lms and the other arguments: as for `SLMMux`.

    >>> import dspy
    >>> script = {"a": ["6", "7"], "b": ["8"]}
    >>> lms = {
    ...     name: dspy.utils.DummyLM([{"answer": text} for text in said])
    ...     for name, said in script.items()
    ... }
    >>> mixture = MixtureOfAgents(dspy.Predict("question -> answer: int"), lms, layers=2)
    >>> pred = mixture(question="How many hills has Rome?")
    >>> pred.answer, pred.verdict.member, pred.verdict.calls
    (7, 'a', 3)
    """

    method: ClassVar[str] = "mixture_of_agents"
    briefs = (Synthesise,)

    def __init__(
        self,
        program: str | type[dspy.Signature] | dspy.Module,
        lms: Pool,
        *,
        layers: int = 3,
        agents: int | None = None,
        aggregator: str | None = None,
        temperature: float = 0.7,
        **shared: Unpack[SharedOptions],
    ):
        choices = MixtureChoices.read(
            {"layers": layers, "agents": agents, "aggregator": aggregator}, "MixtureOfAgents"
        )
        super().__init__(program, lms, choices=choices, temperature=temperature, **shared)
        self._set_seats(self._proposers)
        self._seat_of_aggregator()

    @property
    def choices(self) -> MixtureChoices:
        choices = self.pool.choices
        assert isinstance(choices, MixtureChoices)
        return choices

    @property
    def _proposers(self) -> list[Seat]:
        return self._seats(
            len(self.members) if self.choices.agents is None else self.choices.agents
        )

    def _seat_of_aggregator(self) -> Seat:
        if self.choices.aggregator is not None:
            return self._position(self.choices.aggregator), 0
        return self._most_accurate(), 0

    def _rounds(self, inputs: Inputs) -> Rounds:
        self._refuse_own_lms()
        layers: list[list[Draw]] = []
        said: list[str] = []
        for layer in range(1, self.choices.layers + 1):
            seats = self._proposers if layer < self.choices.layers else [self._seat_of_aggregator()]
            brief = Brief(Synthesise, {"previous_answers": numbered(said)}) if said else None
            layers.append([self._speak(seat, layer, inputs, brief) for seat in seats])
            yield Wave(layers[-1])
            said = [text for draw in layers[-1] if (text := self._said(draw))]
        draws = [draw for layer in layers for draw in layer]
        classes = self._classes(draws)
        answer = draws[-1]
        turns = self._turns(layers, classes)
        if classes[-1] is None:
            raise self._all_failed([answer], "Mixture-of-Agents", turns)
        return self._conclude(
            answer,
            Grounds(self.method, 1.0, "nothing"),
            ballots=self._ballots([answer], classes[-1:]),
            cast=[(answer, classes[-1])],
            spent=draws,
            turns=turns,
        )
