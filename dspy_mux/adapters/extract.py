"""When an adapter cannot parse a response: let `answers/` find the answer, or ask once more."""

from __future__ import annotations

import json
from collections.abc import Hashable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, NamedTuple

import dspy
from dspy.utils.exceptions import AdapterParseError

from ..answers.equivalence import NO_ANSWER, AnswerKind
from ..answers.marks import marked_answer
from ..answers.reply import CutOffText, answering_text
from ..answers.sections import section
from .answer_span import Span, find_answer
from .fields import Unanswered, is_decision, is_echo, members
from .formats import PlainAdapter
from .guard import GuardedAdapter
from .readings import Reading
from .wrap import AdapterCall, Exchange, WrappingAdapter


class ExtractAnswer(dspy.Signature):
    __doc__ = (
        "Copy the final answer out of a response. Do not solve anything again. "
        "If the response gives no answer, reply with nothing."
    )

    response: str = dspy.InputField(desc="what a model replied")
    answer: str = dspy.OutputField(desc="the final answer that the response gives, alone")


class Place(NamedTuple):
    """Where an answer stands.

    Attributes:
        text: the reply that it was read from.
        span: its first character in the text, and the one after its last; None where it is unsure.
    """

    text: str
    span: Span | None


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
            unanswered = isinstance(error, Unanswered)
            if not self._is_found_in_text(call.signature) or not (unanswered or _responded(error)):
                raise
            answer = answer_in(error.lm_response, self.answer_field, self.kind)
            if answer is NO_ANSWER and self.ask_model and not unanswered:
                # A reading that cannot be parsed leaves the error of the response itself.
                with suppress(AdapterParseError):
                    readings = yield GuardedAdapter(PlainAdapter(), call.lm), self._ask(call, error)
                    answer = readings[0]["answer"] if readings else NO_ANSWER
            if answer is NO_ANSWER or self.kind.key(answer) is None:
                raise
            values = dict.fromkeys(call.signature.output_fields)
            return [{**values, self.answer_field: answer}]

    def _is_found_in_text(self, signature: type[dspy.Signature]) -> bool:
        asked = self.answer_field in signature.output_fields
        return asked and not is_decision(signature, self.answer_field)

    def place_of(self, prediction: dspy.Prediction, readings: Sequence[Reading]) -> Place | None:
        """Return where a prediction's answer stands, among the replies that were read for it.

        None where that is unsure: the answer was made otherwise, or of several replies alike.
        """
        if self.answer_field not in prediction:
            return None
        value = prediction[self.answer_field]
        key = self.kind.key(value)
        if key is None:
            return None
        found = [
            reading
            for reading in readings
            if reading.fields is not None and self._is(reading.fields[self.answer_field], key)
        ] or [reading for reading in readings if self._is(self._read(reading, reading.text), key)]
        if len(found) != 1:
            return None
        (reading,) = found
        span = None
        if reading.parse is not None:
            read = partial(self._read, reading)
            others = [name for name in reading.signature.output_fields if name != self.answer_field]
            fields = [self.answer_field, *others]
            span = find_answer(reading.text, fields, value, self.kind, read)
        return Place(reading.text, span)

    def _is(self, value: Any, key: Hashable) -> bool:
        return value is not NO_ANSWER and self.kind.key(value) == key

    def _read(self, reading: Reading, text: str) -> Any:
        """Return the answer of another text, in the place of a reply that was read."""
        if reading.parse is None:
            return NO_ANSWER
        try:
            return reading.parse(reading.signature, text)[self.answer_field]
        except AdapterParseError as error:
            return answer_in(error.lm_response, self.answer_field, self.kind)
        except Exception:  # noqa: BLE001  (of a user's own adapter or kind, on a text of ours)
            return NO_ANSWER

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


def answer_in(reply: str, field: str, kind: AnswerKind, *, whole: bool = False) -> Any:
    """Return the answer that the rules of its kind find in a reply; `NO_ANSWER` for none.

    Args:
        field: the answer field's name, by which a reply may mark it.
        whole: whether a reply that marks no answer may be one as a whole, where any text would do.
    """
    text = answering_text(reply)
    if text is None:
        return NO_ANSWER
    stands = section(text, field)
    if stands:
        if is_echo(stands, field):
            return NO_ANSWER
        as_it_stands = kind.takes_any_text and not kind.reads_fields
        found = stands if as_it_stands else kind.extract(stands)
    elif (given := members(text)) is not None:
        found = _of_object(text, given, field, kind)
    elif kind.takes_any_text and not whole and not isinstance(reply, CutOffText):
        # Any text would do: there only what is marked as the answer counts.
        marked = marked_answer(text)
        found = None if marked is None else kind.extract(marked)
    else:
        found = kind.extract(text)
    return NO_ANSWER if kind.key(found) is None else found


def _of_object(text: str, given: Mapping[str, Any], field: str, kind: AnswerKind) -> Any:
    """Return the answer of a reply that is a JSON object."""
    name = field.casefold()
    if name not in given:
        # Any text would do, and a note or a reason is no answer.
        unnamed = kind.takes_any_text and "answer" not in given
        return NO_ANSWER if unnamed else kind.extract(text)
    value = given[name]
    if value is None:
        return None if kind.key(None) is not None else NO_ANSWER
    found = kind.extract(value if isinstance(value, str) else json.dumps(value))
    if kind.key(found) is not None or kind.takes_any_text:
        return found
    return kind.extract(text)
