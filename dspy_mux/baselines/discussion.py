"""`Discussion`, the base of methods whose models see each other's text: seats, turns, history."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import ClassVar

import dspy
from dspy.utils.exceptions import AdapterParseError
from typing_extensions import Unpack

from ..adapters.extract import ExtractingAdapter
from ..adapters.formats import fields_as_text
from ..adapters.wrap import Fields
from ..errors import ConfigurationError
from ..mux.ensemble import Ensemble, Inputs
from ..mux.options import SharedOptions
from ..mux.saved import MethodChoices
from ..sampling.draw import Draw
from ..sampling.members import Pool, check_members
from ..voting.verdict_parts import Turn
from .brief import HISTORY, Brief, BriefedAdapter

#: An agent: (position of its member, which of the member's seats). Members take turns.
Seat = tuple[int, int]


class Discussion(Ensemble):
    """The base of methods whose agents see what others said."""

    #: The signatures of briefs; their input fields must not be names of the program's fields.
    briefs: ClassVar[tuple[type[dspy.Signature], ...]] = ()

    def __init__(
        self,
        program: str | type[dspy.Signature] | dspy.Module,
        lms: Pool,
        *,
        choices: MethodChoices,
        temperature: float,
        **shared: Unpack[SharedOptions],
    ):
        super().__init__(program, lms, k=1, temperature=temperature, choices=choices, **shared)
        if self.compared.kinds is not None:
            raise ConfigurationError(
                f"{type(self).__name__} compares one field, not {self.answer_field}: name one in "
                "answer_field."
            )
        self._step = self._answering_step()

    def _set_seats(self, seats: Sequence[Seat]) -> None:
        """Set each member's k to its seats, and check that agents of one member can differ."""
        taken = [sum(at == position for position, _ in seats) for at in range(len(self.members))]
        self.pool.members = check_members(
            [dataclasses.replace(m, k=max(k, 1)) for m, k in zip(self.members, taken, strict=True)]
        )

    def _seats(self, count: int) -> list[Seat]:
        return [(agent % len(self.members), agent // len(self.members)) for agent in range(count)]

    def _position(self, name: str) -> int:
        if name not in self.pool.names:
            raise ConfigurationError(
                f"{name!r} is not a member of the pool ({', '.join(self.pool.names)})."
            )
        return self.pool.names.index(name)

    def _most_accurate(self) -> int:
        """Return the position of the member of the highest known accuracy, else the first."""
        return max(
            range(len(self.members)),
            key=lambda at: (self.accuracies.get(self.pool.names[at], -1.0), -at),
        )

    def _speak(self, seat: Seat, round_: int, inputs: Inputs, brief: Brief | None = None) -> Draw:
        """Return a turn of the agent in `seat`, ready to run; rounds count from 1."""
        at, number = seat
        adapter = self._own_adapter(at)
        if brief is not None:
            adapter = BriefedAdapter(adapter, self._step, brief)
        extracting = ExtractingAdapter(
            adapter, self.answer_field, self.kind, ask_model=self.extract == "lm"
        )
        member = self.members[at]
        # Each round has its own draw numbers, even where its prompt repeats an earlier round's.
        return Draw(
            member,
            (round_ - 1) * (member.k or 1) + number,
            self.programs[at],
            extracting,
            inputs,
            self.pool.settings.on_error,
            self.compared.fault,
        )

    def _said(self, draw: Draw) -> str:
        """Return the text of a turn as others see it; "" where nothing came."""
        if isinstance(draw.error, AdapterParseError):
            # It has no readable answer, but the others see it.
            return str(draw.error.lm_response or "").strip()
        if draw.prediction is None:
            return ""
        step = self._step_of(draw)
        if step is None:
            values = draw.prediction.toDict()
            return fields_as_text({name: dspy.OutputField() for name in values}, values)
        predictor, _, prediction = step
        return fields_as_text(predictor.signature.output_fields, prediction.toDict()).strip()

    def _exchange(self, draw: Draw, shown: Mapping[str, str]) -> Fields | None:
        """Return a turn as a message of the agent's own history; None where it said nothing."""
        step = self._step_of(draw)
        if step is None:
            return None
        _, inputs, prediction = step
        return {**inputs, **shown, **prediction.toDict()}

    def _step_of(self, draw: Draw) -> tuple[dspy.Predict, Fields, dspy.Prediction] | None:
        steps = [step for step in draw.trace if tuple(step[0].signature.fields) == self._step]
        return steps[-1] if steps else None

    def _turns(self, rounds: Sequence[Sequence[Draw]], classes: Sequence[int | None]) -> list[Turn]:
        """Return the rounds as the verdict's turns; `classes` holds those of all draws in order."""
        numbered = [
            (round_, agent, draw)
            for round_, draws in enumerate(rounds, 1)
            for agent, draw in enumerate(draws, 1)
        ]
        return [
            Turn(
                round=round_,
                agent=agent,
                member=draw.member.label,
                text=self._said(draw),
                answer=None if group is None else self._answer(draw),
                group=group,
                cause=draw.cause,
            )
            for (round_, agent, draw), group in zip(numbered, classes, strict=True)
        ]

    def _answering_step(self) -> tuple[str, ...]:
        """Return the fields of the briefed step: the last with the answer field, else the last."""
        signatures = [predictor.signature for predictor in self.programs[0].predictors()]
        if not signatures:
            raise ConfigurationError(
                f"{type(self).__name__} shows models what others said, "
                "and this program has no predictor to show it to."
            )
        signature = next(
            (step for step in reversed(signatures) if self.answer_field in step.output_fields),
            signatures[-1],
        )
        ours = {HISTORY, *(name for brief in self.briefs for name in brief.input_fields)}
        if taken := ours & set(signature.fields):
            raise ConfigurationError(
                f"The program has a field {sorted(taken)[0]!r}, which {type(self).__name__} adds "
                "itself: rename it."
            )
        return tuple(signature.fields)


def numbered(texts: Sequence[str]) -> str:
    """Join texts, numbered from 1 and without names."""
    return "\n".join(f"{number}. {text}" for number, text in enumerate(texts, 1))
