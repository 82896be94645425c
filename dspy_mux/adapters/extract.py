"""When an adapter cannot parse a response: let `answers/` find the answer, or ask once more."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import dspy
from dspy.adapters.chat_adapter import field_header_pattern
from dspy.utils.exceptions import AdapterParseError

from ..answers.equivalence import AnswerKind
from ..answers.kinds import TextKind
from ..answers.marks import marked_answer
from .formats import PlainAdapter
from .guard import GuardedAdapter
from .wrap import AdapterCall, Exchange, WrappingAdapter


class ExtractAnswer(dspy.Signature):
    __doc__ = (
        "Copy the final answer out of a response. Do not solve anything again. "
        "If the response gives no answer, reply with nothing."
    )

    response: str = dspy.InputField(desc="what a model replied")
    answer: str = dspy.OutputField(desc="the final answer that the response gives, alone")


class ExtractingAdapter(WrappingAdapter):
    """Finds the answer in a response that the inner adapter cannot parse.

    The rules of the answer's kind come first; where they find nothing and `ask_model` is set, one
    call of `ExtractAnswer` to the same model at temperature 0 follows. Other output fields of such
    a response are None. A response to a step of the program that does not produce the answer
    field stays an error.

    Args:
        inner: the adapter that talks to the model.
        answer_field: the output field that holds the answer.
        kind: how that field is extracted.
        ask_model: whether the second stage may call the model.
    """

    def __init__(
        self, inner: dspy.Adapter, answer_field: str, kind: AnswerKind, *, ask_model: bool = False
    ):
        super().__init__(inner)
        self.answer_field, self.kind, self.ask_model = answer_field, kind, ask_model

    def _exchange(self, call: AdapterCall) -> Exchange:
        try:
            return (yield from super()._exchange(call))
        except AdapterParseError as error:
            if self.answer_field not in call.signature.output_fields or not _responded(error):
                raise
            answer = self._by_rules(error)
            if answer is None and self.ask_model:
                # A reading that cannot be parsed leaves the error of the response itself.
                with suppress(AdapterParseError):
                    readings = yield GuardedAdapter(PlainAdapter(), call.lm), self._ask(call, error)
                    answer = readings[0]["answer"] if readings else None
            if answer is None:
                raise
            values = dict.fromkeys(call.signature.output_fields)
            return [{**values, self.answer_field: answer}]

    def _by_rules(self, error: AdapterParseError) -> Any:
        """Return the answer that the rules of its kind find; None where they find none."""
        text = _section(error.lm_response, self.answer_field)
        # Any text would do as a text answer: there only what is marked as the answer counts.
        found = marked_answer(text) if isinstance(self.kind, TextKind) else self.kind.extract(text)
        return None if self.kind.key(found) is None else found

    def _ask(self, call: AdapterCall, error: AdapterParseError) -> AdapterCall:
        """Return the call that has the same model read its response, with the same history."""
        field = call.signature.output_fields[self.answer_field]
        signature = ExtractAnswer.with_updated_fields("answer", type_=field.rebuild_annotation())
        reader = call.lm.copy(temperature=0, rollout_id=None, seed=None)
        reader.history = call.lm.history
        return AdapterCall(reader, {}, signature, [], {"response": error.lm_response})


def _responded(error: AdapterParseError) -> bool:
    # DSPy shows an empty or null response as the text of the value it got.
    return str(error.lm_response or "").strip() not in ("", "None", "{}")


def _section(text: str, field: str) -> str:
    """Return what stands under DSPy's marker of `field`; the whole text without the marker."""
    parts = field_header_pattern.split(text)
    sections = dict(zip(parts[1::2], parts[2::2], strict=True))
    return sections.get(field) or text
