"""Multi-Agent Verification: verifiers judge one aspect each (BoN-MAV, Lifshitz et al., 2025)."""

from __future__ import annotations

import dataclasses
from collections.abc import Hashable, Mapping, Sequence
from typing import ClassVar

import dspy
from pydantic import Field
from typing_extensions import Unpack

from ..adapters.extract import ExtractingAdapter
from ..adapters.formats import fields_as_text
from ..answers.kinds import BoolKind
from ..errors import ConfigurationError
from ..mux.ensemble import Inputs
from ..mux.options import SharedOptions
from ..mux.outcome import Grounds
from ..mux.program import copy_for_a_member
from ..mux.rounds import Rounds, Wave
from ..mux.saved import MethodChoices
from ..sampling.causes import UNUSABLE
from ..sampling.draw import Draw
from ..sampling.members import Pool
from .discussion import Discussion

#: The published aspects, in our words: name → instruction of the verifier.
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


# The wording of this prompt shapes recorded draws: keep it as it is.
class Verify(dspy.Signature):
    __doc__ = (
        "Judge a proposed solution in one respect, the one that aspect names. Check it yourself: "
        "do not trust it for reading well.\nAnswer True if it passes the check, else False."
    )

    question: str = dspy.InputField(desc="the question")
    solution: str = dspy.InputField(desc="the proposed solution")
    aspect: str = dspy.InputField(desc="what to check")
    correct: bool = dspy.OutputField(desc="True if the solution passes, else False")


class VerificationChoices(MethodChoices):
    """The arguments of `MultiAgentVerification`, as they are saved."""

    n: int = Field(ge=1)
    aspects: dict[str, str] = Field(min_length=1)
    generator: str | None = None
    verifiers: list[str] | None = Field(default=None, min_length=1)


class MultiAgentVerification(Discussion):
    """Draw n candidates, let verifiers approve or reject each, and return the most approved.

    Among equals the candidate drawn first wins. A judgement that is missing or unreadable counts as
    False, and `Turn.unjudged` gives the reason. Verifiers answer at temperature 0, so candidates of
    the same wording share their approvals. The confidence is the winner's mean approval.

    Args:
        n: candidates; the authors use 16.
        aspects: one verifier each: names in `ASPECTS` (by default all of them), or a mapping of
            name → instruction.
        generator: the member that answers; by default that of the highest accuracy, else the
            first.
        verifiers: the members that verify, taking turns over the aspects; by default all.
        verifier: a program of question, solution and aspect → correct; by default
            `dspy.ChainOfThought(Verify)`.
        temperature: of the candidates; the authors use 0.7.
        program, lms and the other arguments: as for `SLMMux`.

    >>> import dspy
    >>> class Judge(dspy.Module):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.judge = dspy.Predict(Verify)
    ...     def forward(self, **inputs):
    ...         return dspy.Prediction(correct="7" in inputs["solution"])
    >>> lm = dspy.utils.DummyLM([{"answer": "8"}, {"answer": "7"}])
    >>> program = dspy.Predict("question -> answer: int")
    >>> mav = MultiAgentVerification(program, [lm], n=2, aspects=["facts"], verifier=Judge())
    >>> pred = mav(question="How many hills has Rome?")
    >>> pred.answer, pred.verdict.confidence
    (7, 1.0)
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
            "aspects": _instructions(aspects),
            "generator": generator,
            "verifiers": None if verifiers is None else [*verifiers],
        }
        choices = VerificationChoices.read(values, "MultiAgentVerification")
        super().__init__(program, lms, choices=choices, temperature=temperature, **shared)
        self.verifiers = [
            copy_for_a_member(verifier or dspy.ChainOfThought(Verify), at)
            for at in range(len(self.members))
        ]
        if not any(
            "correct" in predictor.signature.output_fields
            for predictor in self.verifiers[0].predictors()
        ):
            raise ConfigurationError("A verifier needs an output field named 'correct', a bool.")
        self._refuse_own_lms()
        self._set_seats([(self._generator(), number) for number in range(n)])
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
        """Return each aspect, its instruction, and the position of the member that checks it."""
        members = [self._position(name) for name in self.choices.verifiers or self.pool.names]
        return [
            (name, instruction, members[at % len(members)])
            for at, (name, instruction) in enumerate(self.choices.aspects.items())
        ]

    def _rounds(self, inputs: Inputs) -> Rounds:
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
                at, self._question(candidates[said.index(text)]), text, instruction
            )
            for text in dict.fromkeys(filter(None, said))
            for aspect, instruction, at in self._panel()
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
        approved = [sum(panel.values()) / len(panel) if panel else -1.0 for panel in approvals]
        best = max(approved)
        # Candidates of one wording are one candidate: they do not tie with themselves.
        rivals = {text for text, share in zip(said, approved, strict=True) if share == best}
        return self._conclude(
            candidates[approved.index(best)],
            Grounds(self.method, best, "order drawn" if len(rivals) > 1 else "nothing"),
            ballots=self._ballots(candidates, classes),
            cast=list(zip(candidates, classes, strict=True)),
            spent=[*candidates, *judged.values()],
            turns=turns,
        )

    def _question(self, candidate: Draw) -> str:
        """Return the question of a candidate as text."""
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
        return Draw(member, 0, self.verifiers[at], adapter, asked, self.pool.settings.on_error)


def _instructions(aspects: Sequence[str] | Mapping[str, str]) -> dict[str, str]:
    if isinstance(aspects, Mapping):
        return dict(aspects)
    for name in aspects:
        if name not in ASPECTS:
            raise ConfigurationError(
                f"There is no aspect {name!r}: choose from {', '.join(ASPECTS)}, "
                "or give a mapping of name to instruction."
            )
    return {name: ASPECTS[name] for name in aspects}


def _verdict(draw: Draw) -> Hashable | None:
    """Return a verifier's "True" or "False"; None for a missing or unreadable judgement."""
    return None if draw.prediction is None else BoolKind().key(draw.prediction.get("correct"))
