"""Multi-Agent Verification: candidates of one model, judged by verifiers of one aspect each (BoN-MAV, Lifshitz et al., 2025)."""

from __future__ import annotations

import dataclasses
from collections.abc import Hashable, Mapping, Sequence
from typing import Any, ClassVar

import dspy
from pydantic import Field
from typing_extensions import Unpack

from ..adapters.extract import ExtractingAdapter
from ..adapters.formats import fields_as_text
from ..answers.kinds import BoolKind
from ..errors import ConfigurationError
from ..mux.ensemble import Rounds, Wave
from ..mux.options import SharedOptions
from ..mux.program import copy_for_a_member
from ..mux.saved import MethodChoices
from ..sampling.abstention import UNUSABLE
from ..sampling.draw import Draw
from ..sampling.members import Pool
from .discussion import Discussion

#: The published aspects, in our words: what a verifier looks at → what it is told to check.
ASPECTS: dict[str, str] = {
    "mathematics": "Check every calculation and every mathematical step. Is all of it correct?",
    "logic": "Check the reasoning. Does each step follow from what stands before it?",
    "facts": "Check what is stated as fact. Is all of it true?",
    "units": "Check quantities and their units. Are they used and converted correctly?",
    "correctness": "Is the final answer correct?",
    "summary": "Sum the solution up in your own words first. Is what it arrives at correct?",
    "mistakes": "Look for mistakes of any sort. Is it free of mistakes?",
    "edge cases": "Think of special and extreme cases. Does the solution hold for them?",
    "domain knowledge": "Recall what is known in this field. Does the solution agree with it?",
}


class Verify(dspy.Signature):
    """Judge a proposed solution in one respect, the one that aspect names. Check it yourself: do not trust it for reading well.
    Answer True if it passes the check, else False."""

    question: str = dspy.InputField(desc="the question")
    solution: str = dspy.InputField(desc="the proposed solution")
    aspect: str = dspy.InputField(desc="what to check")
    correct: bool = dspy.OutputField(desc="True if the solution passes, else False")


class VerificationChoices(MethodChoices):
    n: int = Field(ge=1)
    aspects: dict[str, str] = Field(min_length=1)
    generator: str | None = None
    verifiers: list[str] | None = Field(default=None, min_length=1)


class MultiAgentVerification(Discussion):
    """One generator draws n candidates; every verifier says True or False of each, and the highest mean approval wins.

    Equal approvals: the candidate drawn first. A verdict that cannot be read, or never comes, is False, and `Turn.unjudged` tells
    why. Verifiers answer at temperature 0, so candidates of the same wording share their approvals. The confidence is the winner's
    mean approval.

    Args:
        n: candidates; 16 are published.
        aspects: one verifier each: names out of `ASPECTS` (all of them by default), or a mapping of names to what is to be checked.
        generator: the member that answers; by default the one of the highest of the `accuracies`, else the first.
        verifiers: the members that verify, taking turns over the aspects; all of them by default.
        verifier: a program of question, solution and aspect → correct; by default `dspy.ChainOfThought(Verify)`.
        temperature: of the candidates; 0.7 is published.
        program, lms and the other arguments: as for `SLMMux`.
    """

    method: ClassVar[str] = "multi_agent_verification"

    def __init__(
        self,
        program: str | type[dspy.Signature] | dspy.Module,
        lms: Pool,
        *,
        n: int = 16,
        aspects: Sequence[str] | Mapping[str, str] = tuple(ASPECTS),
        generator: str | None = None,
        verifiers: Sequence[str] | None = None,
        verifier: dspy.Module | None = None,
        temperature: float = 0.7,
        **shared: Unpack[SharedOptions],
    ):
        values = {
            "n": n,
            "aspects": _told(aspects),
            "generator": generator,
            "verifiers": None if verifiers is None else [*verifiers],
        }
        choices = VerificationChoices.read(values, "MultiAgentVerification")
        super().__init__(program, lms, choices=choices, temperature=temperature, **shared)
        self.verifiers = [
            copy_for_a_member(verifier or dspy.ChainOfThought(Verify)) for _ in self.members
        ]
        if not any(
            "correct" in predictor.signature.output_fields
            for predictor in self.verifiers[0].predictors()
        ):
            raise ConfigurationError("A verifier needs an output field named 'correct', a bool.")
        self._refuse_own_lms()
        self._seated([(self._generator(), number) for number in range(n)])
        self._panel()

    @property
    def choices(self) -> VerificationChoices:
        choices = self.pool.choices
        assert isinstance(choices, VerificationChoices)
        return choices

    def _generator(self) -> int:
        if self.choices.generator is not None:
            return self._position(self.choices.generator)
        return self._most_accurate()

    def _panel(self) -> list[tuple[str, str, int]]:
        """(aspect, what to check, position of the member that checks it)."""
        members = [self._position(name) for name in self.choices.verifiers or self.pool.names]
        return [
            (name, told, members[at % len(members)])
            for at, (name, told) in enumerate(self.choices.aspects.items())
        ]

    def _rounds(self, inputs: Mapping[str, Any]) -> Rounds:
        self._refuse_own_lms()
        candidates = [
            self._speak((self._generator(), number), 1, inputs) for number in range(self.choices.n)
        ]
        yield Wave(candidates)
        classes = self._classes(candidates)
        said = [
            self._said(draw) if group is not None else ""
            for draw, group in zip(candidates, classes, strict=True)
        ]
        judged = {
            (text, aspect): self._verification(
                at, self._question(candidates[said.index(text)]), text, told
            )
            for text in dict.fromkeys(filter(None, said))
            for aspect, told, at in self._panel()
        }
        turns = self._turns([candidates], classes)
        if not judged:
            raise self._all_failed(candidates, "verification", turns)
        yield Wave(list(judged.values()))
        panels = [
            {aspect: judged[text, aspect] for aspect in self.choices.aspects} if text else {}
            for text in said
        ]
        approvals = [
            {aspect: _verdict(draw) == "True" for aspect, draw in panel.items()} for panel in panels
        ]
        for turn, panel, approval in zip(turns, panels, approvals, strict=True):
            turn.approvals = approval
            turn.unjudged = {
                aspect: draw.cause or UNUSABLE
                for aspect, draw in panel.items()
                if _verdict(draw) is None
            }
        approved = [sum(each.values()) / len(each) if each else -1.0 for each in approvals]
        best = max(approved)
        # Candidates of one wording are one candidate: they do not tie with themselves.
        rivals = {text for text, share in zip(said, approved, strict=True) if share == best}
        return self._conclude(
            candidates[approved.index(best)],
            decided_by=self.method,
            confidence=best,
            tie_break="order drawn" if len(rivals) > 1 else "nothing",
            ballots=self._ballots(candidates, classes),
            cast=list(zip(candidates, classes, strict=True)),
            spent=[*candidates, *judged.values()],
            turns=turns,
        )

    def _question(self, candidate: Draw) -> str:
        """What a candidate was asked, as text."""
        step = self._step_of(candidate)
        fields = (
            {name: dspy.InputField() for name in candidate.inputs}
            if step is None
            else step[0].signature.input_fields
        )
        return fields_as_text(fields, candidate.inputs if step is None else step[1])

    def _verification(self, at: int, question: str, solution: str, aspect: str) -> Draw:
        adapter = ExtractingAdapter(self._own_adapter(at), "correct", BoolKind())
        member = dataclasses.replace(self.members[at], temperature=0.0, k=1)
        asked = {"question": question, "solution": solution, "aspect": aspect}
        return Draw(member, 0, self.verifiers[at], adapter, asked)


def _told(aspects: Sequence[str] | Mapping[str, str]) -> dict[str, str]:
    if isinstance(aspects, Mapping):
        return dict(aspects)
    for name in aspects:
        if name not in ASPECTS:
            raise ConfigurationError(
                f"There is no aspect {name!r}: choose out of {', '.join(ASPECTS)}, or give a mapping of names to what is to be "
                "checked."
            )
    return {name: ASPECTS[name] for name in aspects}


def _verdict(draw: Draw) -> Hashable | None:
    """What a verifier said, "True" or "False"; None where nothing came, or nothing that can be read."""
    return None if draw.prediction is None else BoolKind().key(draw.prediction.get("correct"))
