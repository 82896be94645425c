"""A second chance for responses that an adapter cannot parse: the answer is looked for in the text itself."""

from __future__ import annotations

import re
from contextlib import suppress
from typing import Any

import dspy
from dspy.utils.exceptions import AdapterParseError

from ..answers.choose import AnswerKind, TextKind
from ..answers.extract import marked_answer
from .formats import PlainAdapter
from .guard import GuardedAdapter
from .wrap import Exchange, WrappingAdapter

_MARKER = re.compile(r"\[\[ ## (\w+) ## \]\]")


class ExtractAnswer(dspy.Signature):
    """Copy the final answer out of a response. Do not solve anything again. If the response gives no answer, reply with nothing."""

    response: str = dspy.InputField(desc="what a model replied")
    answer: str = dspy.OutputField(desc="the final answer that the response gives, alone")


class ExtractingAdapter(WrappingAdapter):
    """A second chance for responses that an adapter could not parse: the answer is looked for in the text itself.

    First by the rules of the answer's type; where they find nothing and `ask_model` is set, by one call of `ExtractAnswer` to the
    same model at temperature 0. Other output fields of such a response are None. A response to a step of the program that does
    not produce the answer field stays an error.

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

    def _exchange(
        self,
        lm: dspy.BaseLM,
        lm_kwargs: dict[str, Any],
        signature: type[dspy.Signature],
        demos: list[dict[str, Any]],
        inputs: dict[str, Any],
    ) -> Exchange:
        try:
            return (yield self.inner, lm, lm_kwargs, signature, demos, inputs)
        except AdapterParseError as error:
            found = self._by_rules(signature, error)
            if found is None and self._may_ask(signature, error):
                asked = {"response": error.lm_response}
                with suppress(
                    AdapterParseError
                ):  # what was said is the response, not what its reader says of it
                    found = yield (
                        GuardedAdapter(PlainAdapter(), lm),
                        _reader(lm),
                        {},
                        self._question(signature),
                        [],
                        asked,
                    )
            return [self._completion(signature, found, error)]

    def _by_rules(
        self, signature: type[dspy.Signature], error: AdapterParseError
    ) -> list[dict[str, Any]] | None:
        if self.answer_field not in signature.output_fields or not _responded(error):
            return None
        text = _section(error.lm_response, self.answer_field)
        # Any text would do as a text answer, so there only what is marked as the answer counts.
        found = marked_answer(text) if isinstance(self.kind, TextKind) else self.kind.extract(text)
        return None if self.kind.key(found) is None else [{"answer": found}]

    def _may_ask(self, signature: type[dspy.Signature], error: AdapterParseError) -> bool:
        return self.ask_model and self.answer_field in signature.output_fields and _responded(error)

    def _question(self, signature: type[dspy.Signature]) -> type[dspy.Signature]:
        typed: type[dspy.Signature] = ExtractAnswer.with_updated_fields(
            "answer", type_=signature.output_fields[self.answer_field].rebuild_annotation()
        )
        return typed

    def _completion(
        self,
        signature: type[dspy.Signature],
        found: list[dict[str, Any]] | None,
        error: AdapterParseError,
    ) -> dict[str, Any]:
        if found is None:
            raise error
        return {
            name: found[0]["answer"] if name == self.answer_field else None
            for name in signature.output_fields
        }


def _reader(lm: dspy.BaseLM) -> dspy.BaseLM:
    """The same model at temperature 0, writing to the same history."""
    reader = lm.copy(temperature=0, rollout_id=None, seed=None)
    reader.history = lm.history
    return reader


def _responded(error: AdapterParseError) -> bool:
    # DSPy tells an empty or null response as the text of the value it got.
    return str(error.lm_response or "").strip() not in ("", "None", "{}")


def _section(text: str, field: str) -> str:
    """What stands under DSPy's marker of `field`; the whole text where the marker is missing."""
    parts = _MARKER.split(text)
    sections = dict(zip(parts[1::2], parts[2::2], strict=True))
    return sections.get(field) or text
