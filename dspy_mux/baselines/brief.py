"""Show a model what others said: extra fields and instructions for the step that answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import dspy

from ..adapters.formats import own_instructions
from ..adapters.wrap import Fields, WrappingAdapter

#: The input field that holds an agent's own earlier turns.
HISTORY = "history"


@dataclass(frozen=True)
class Brief:
    """What an agent sees beside the question.

    Attributes:
        signature: its instructions and input fields are added to those of the program's step.
        shown: values of its input fields.
        history: the agent's own earlier turns, as the fields of questions and answers.
    """

    signature: type[dspy.Signature]
    shown: Mapping[str, str] = field(default_factory=dict)
    history: Sequence[Fields] = ()


class BriefedAdapter(WrappingAdapter):
    """Adds a brief to one step of a program, around any adapter.

    Demos stay as they are: they show the task, not the discussion.

    Args:
        inner: the adapter that talks to the model.
        step: the fields of the briefed step, inputs and outputs, which identify it.
    """

    def __init__(self, inner: dspy.Adapter, step: tuple[str, ...], brief: Brief):
        super().__init__(inner)
        self.step, self.brief = step, brief

    def _show(
        self, signature: type[dspy.Signature], inputs: Fields
    ) -> tuple[type[dspy.Signature], Fields]:
        return self._signature(signature), self._inputs(signature, inputs)

    def _signature(self, signature: type[dspy.Signature]) -> type[dspy.Signature]:
        if not self._is_briefed(signature):
            return signature
        instructions = [own_instructions(signature), str(self.brief.signature.instructions)]
        briefed = signature.with_instructions("\n\n".join(text for text in instructions if text))
        # Before the task's own fields, so that the question stands next to the answer.
        for name, info in reversed(self.brief.signature.input_fields.items()):
            briefed = briefed.prepend(name, info, type_=info.annotation)
        if self.brief.history:
            briefed = briefed.prepend(HISTORY, dspy.InputField(), type_=dspy.History)
        return briefed

    def _inputs(self, signature: type[dspy.Signature], inputs: Fields) -> Fields:
        if not self._is_briefed(signature):
            return inputs
        turns = (
            {HISTORY: dspy.History(messages=[dict(turn) for turn in self.brief.history])}
            if self.brief.history
            else {}
        )
        return {**inputs, **self.brief.shown, **turns}

    def _is_briefed(self, signature: type[dspy.Signature]) -> bool:
        return tuple(signature.fields) == self.step
