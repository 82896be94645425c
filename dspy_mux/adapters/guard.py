"""Guard against forged markers, lone surrogates, echoed keys and huge replies.

- A field marker in an input, such as `[[ ## answer ## ]]` in a question, a document or another
  agent's text, is shown to the model with its brackets apart. So a text that is merely quoted back
  is not a field of the reply.
- Lone surrogates, which no request, file or database can hold, become U+FFFD both ways.
- A member's key that its server echoes is masked before the reply is read, and an answer that
  holds it is refused: an answer is never altered, and a key is never recorded.
- Thinking is taken out of a reply before it is read, and what a server sends beside the reply
  (reasoning, tool calls) is never read in its place.
- Of a reply that was cut off at `max_tokens`, only an answer counts that was whole before.
- Numbers, choices and truth values are read by the answer's kind: DSPy's reader repairs JSON, and
  takes 10 from `10^6`.
- Typed fields are not read from a reply of more than `LONGEST_TYPED` characters: DSPy's reader
  takes time quadratic in some replies. The linear rules of the answer's kind look for the answer
  then (`ExtractingAdapter`).
"""

from __future__ import annotations

import copy
import json
from functools import cached_property
from typing import Any

import anyio
import anyio.to_thread
import dspy
from dspy.adapters.types.tool import ToolCalls
from dspy.utils.exceptions import AdapterParseError

from ..answers.equivalence import AnswerKind
from ..answers.reply import CUT_OFF, ONLY_THINKING, CutOffText, final_text
from ..answers.sections import is_closed, section, with_plain_markers
from ..errors import ConfigurationError
from ..redact import echoes_of, without
from ..text import whole
from .fields import (
    ECHOED_KEY,
    Unanswered,
    has_fragments,
    is_decision,
    is_echo,
    is_json,
    is_null,
    member_text,
    with_required_answer,
)
from .markers import without_markers
from .prompt import Prompt, is_dspys, is_format_watched
from .readings import Reading, current_readings
from .wrap import AdapterCall, Exchange, Fields, Message, WrappingAdapter

LONGEST_TYPED = 20_000
#: Stands for a key that a server echoes, between asterisks, which some kinds of answers drop.
_ECHO = "echoed-key"


class GuardedAdapter(WrappingAdapter):
    """The adapter that talks to a member's model, guarded.

    Args:
        inner: that adapter.
        lm: the member's LM, whose keys no reply may hold.
        answer_field: the output field that holds the answer; None where there is none to guard.
        kind: how that field is read.

    Raises:
        Unanswered: on use: the reply is all thinking, was cut off before its answer, or has an
            answer that holds a key.

    >>> from dspy_mux import answer_kind
    >>> lm = dspy.LM("openai/a", api_key="sk-a-made-up-key-42")
    >>> guarded = GuardedAdapter(dspy.ChatAdapter(), lm, "answer", answer_kind(str))
    >>> reply = "[[ ## why ## ]]\\nsk-a-made-up-key-42\\n\\n[[ ## answer ## ]]\\n42"
    >>> guarded.parse(dspy.Signature("question -> why, answer"), reply)
    {'why': '***echoed-key***', 'answer': '42'}
    >>> reply = "[[ ## answer ## ]]\\nsk-a-made-up-key-42"
    >>> guarded.parse(dspy.Signature("question -> answer"), reply)
    Traceback (most recent call last):
        ...
    dspy_mux.adapters.fields.Unanswered: No answer: refused because the answer holds ...
    """

    def __init__(
        self,
        inner: dspy.Adapter,
        lm: dspy.BaseLM,
        answer_field: str | None = None,
        kind: AnswerKind | None = None,
    ):
        super().__init__(inner)
        self.lm, self.answer_field, self.kind = lm, answer_field, kind
        self._answer_fields = set() if answer_field is None else {answer_field}
        self._written: Prompt | None = None
        # Whichever way the inner adapter calls the model, it reads the reply by this `parse`.
        self._guarded = copy.copy(inner)
        if is_dspys(inner):
            self._guarded.format = self._format
        self._guarded.parse = self._parse
        self._guarded._call_postprocess = self._postprocess
        if isinstance(inner, dspy.ChatAdapter):
            self._guarded._make_json_adapter_fallback = self._fallback
        if isinstance(inner, dspy.TwoStepAdapter):
            self._guarded.acall = self._acall_in_two_steps

    def parse(self, signature: type[dspy.Signature], completion: str) -> Fields:
        return self._parse(signature, completion)

    def _exchange(self, call: AdapterCall) -> Exchange:
        try:
            replies = yield from super()._exchange(call)
        except AdapterParseError as error:
            raise self._anew(error, call.signature) from None
        return [self._checked(call.signature, self._clean(fields)) for fields in replies]

    def _talker(self) -> dspy.Adapter:
        return self._guarded

    def _fallback(self) -> GuardedAdapter:
        """Return what DSPy asks anew, by its JSON adapter, after a reply that it cannot parse."""
        again = self.inner._make_json_adapter_fallback()
        return GuardedAdapter(again, self.lm, self.answer_field, self.kind)

    def _show(
        self, signature: type[dspy.Signature], inputs: Fields
    ) -> tuple[type[dspy.Signature], Fields]:
        return signature, {name: without_markers(value) for name, value in inputs.items()}

    @cached_property
    def _keys(self) -> list[str]:
        return echoes_of(self.lm)

    def _format(
        self, signature: type[dspy.Signature], demos: list[Fields], inputs: Fields
    ) -> list[Message]:
        """Write a prompt, unless it is the last one: draws of a question begin with the same."""
        asked = Prompt.of(signature, demos, inputs)
        written = self._written
        if asked is None or asked != written or is_format_watched(self.inner):
            messages: list[Message] = self.inner.__class__.format(
                self._guarded, signature, demos, inputs
            )
            if asked is None:
                return messages
            asked.messages, self._written = messages, asked
            written = asked
        return [dict(message) for message in written.messages]

    def _postprocess(
        self,
        shown: type[dspy.Signature],
        signature: type[dspy.Signature],
        outputs: list[Any],
        *more: Any,
    ) -> list[Fields]:
        """Read the outputs of a call, after those without a text are refused.

        DSPy would show what came instead, such as reasoning, as the text of the reply.
        """
        called = any(field.annotation is ToolCalls for field in signature.output_fields.values())
        for output in outputs:
            text = output.get("text") if isinstance(output, dict) else output
            if text or (called and isinstance(output, dict) and output.get("tool_calls")):
                continue
            if isinstance(text, CutOffText):
                raise Unanswered(CUT_OFF, signature, "")
            raise AdapterParseError(type(self.inner).__name__, signature, "")
        replies: list[Fields] = self.inner.__class__._call_postprocess(
            self._guarded, shown, signature, outputs, *more
        )
        return replies

    async def _acall_in_two_steps(self, *call: Any) -> list[Fields]:
        """Ask as `TwoStepAdapter` does, and read the reply as its sync call does.

        Its own `acall` reads replies past `parse`.
        """
        received: list[tuple[Any, ...]] = []

        def keep(*outputs: Any) -> list[Fields]:
            received.append(outputs)
            return []

        asking = copy.copy(self._guarded)
        asking._call_postprocess = keep
        await dspy.Adapter.acall(asking, *call)
        # On a thread, as reading asks the extraction model; not one of asyncio's, which the
        # program's own tools may fill.
        read: list[Fields] = await anyio.to_thread.run_sync(
            self._postprocess,
            *received[0],
            limiter=anyio.CapacityLimiter(1),
            abandon_on_cancel=True,
        )
        return read

    def _parse(self, signature: type[dspy.Signature], completion: str) -> Fields:
        """Read a reply, and keep what it was read as for whoever asks (`current_readings`)."""
        readings = current_readings.get()
        if readings is None or self.answer_field not in signature.output_fields:
            return self._parse_text(signature, completion)
        # `TwoStepAdapter` reads by a call of its model.
        again = None if isinstance(self.inner, dspy.TwoStepAdapter) else self._parse_text
        reading = Reading(completion, signature, None, again)
        try:
            reading = reading._replace(fields=self._parse_text(signature, completion))
            return reading.fields  # type: ignore[return-value]
        finally:
            readings.append(reading)

    def _parse_text(self, signature: type[dspy.Signature], completion: str) -> Fields:
        reply = self._clean(completion)
        try:
            return self._checked(signature, self._read(signature, reply))
        except AdapterParseError:
            if reply == whole(completion):
                raise
            # Whoever looks for an answer elsewhere in the reply would not know of the key.
            raise Unanswered(ECHOED_KEY, signature, "") from None

    def _checked(self, signature: type[dspy.Signature], fields: Fields) -> Fields:
        """Return the fields of a reply, unless a key was masked in its answer."""
        for name in self._answer_fields & fields.keys():
            if _ECHO in str(fields[name]).casefold():
                raise Unanswered(ECHOED_KEY, signature, "")
        return fields

    def _read(self, signature: type[dspy.Signature], reply: str) -> Fields:
        in_tags = isinstance(self.inner, dspy.XMLAdapter)
        text = final_text(reply, signature.output_fields if in_tags else ())
        if text is None and reply.strip():
            is_cut = isinstance(reply, CutOffText)
            # Without the thinking, which nobody else in a discussion may see.
            raise Unanswered(CUT_OFF if is_cut else ONLY_THINKING, signature, "")
        if type(self.inner) is dspy.ChatAdapter:
            plain = with_plain_markers(text or "", signature.fields)
            text = CutOffText(plain) if isinstance(text, CutOffText) else plain
        if isinstance(text, CutOffText) and not self._is_whole(signature, text):
            raise Unanswered(CUT_OFF, signature, text)
        return self._fields(signature, str(text or ""))

    def _fields(self, signature: type[dspy.Signature], text: str) -> Fields:
        if len(text) > LONGEST_TYPED and self._is_slow(signature, text):
            raise self._unreadable(signature, text)
        field, kind = self.answer_field, self.kind
        if field is None or kind is None or field not in signature.output_fields:
            return self._parsed(signature, signature, text)
        if not isinstance(self.inner, dspy.ChatAdapter):  # such as ours, which read by kinds too
            return self._parsed(signature, signature, text)
        if is_decision(signature, field):
            return self._decision(signature, text, field)
        asked = with_required_answer(signature, field, as_text=kind.reads_fields)  # type: ignore[arg-type]
        fields = self._parsed(signature, asked, text)
        is_absent = kind.key(None) is None and is_null(text, field)
        if is_absent or is_echo(fields[field], field):
            raise self._unreadable(signature, text)
        if kind.reads_fields:
            shown = fields[field]
            if isinstance(self.inner, dspy.JSONAdapter):
                shown = member_text(text, field) or shown
            fields[field] = kind.extract(shown)
            if kind.key(fields[field]) is None:
                raise self._unreadable(signature, text)
        elif signature.output_fields[field].annotation is not str:
            fields[field] = self._unbroken(signature, text, fields[field])
        return fields

    def _decision(self, signature: type[dspy.Signature], text: str, field: str) -> Fields:
        """Return a reply's fields, its answer as the probabilities that DSPy makes a value of."""
        fields = self._parsed(signature, signature, text)
        if has_fragments(fields[field], section(text, field) or text):
            raise self._unreadable(signature, text)
        return fields

    def _unbroken(self, signature: type[dspy.Signature], text: str, value: Any) -> Any:
        """Return a structured answer; where DSPy's repair broke a number, it is read anew."""
        assert self.answer_field is not None
        assert self.kind is not None
        shown = (
            None if isinstance(self.inner, dspy.JSONAdapter) else section(text, self.answer_field)
        )
        if not has_fragments(value, shown or text):
            return value
        anew = None if shown is None else self.kind.extract(shown)
        if self.kind.key(anew) is None:
            raise self._unreadable(signature, text)
        return anew

    def _parsed(
        self, signature: type[dspy.Signature], asked: type[dspy.Signature], text: str
    ) -> Fields:
        try:
            fields: Fields = self.inner.parse(asked, text)
        except ConfigurationError:
            raise
        except (ArithmeticError, MemoryError, RecursionError, TypeError, ValueError) as error:
            # Nested too deeply, a number too large, or an object where an option should stand.
            raise self._unreadable(signature, text) from error
        return fields

    def _is_whole(self, signature: type[dspy.Signature], text: str) -> bool:
        """Return whether the answer of a reply that was cut off is whole."""
        if self.answer_field is None or self.answer_field not in signature.output_fields:
            return True  # a step before the answer may be cut short
        if isinstance(self.inner, dspy.JSONAdapter):
            return is_json(text)
        if isinstance(self.inner, dspy.XMLAdapter):
            return f"</{self.answer_field}>" in text
        return is_closed(text, self.answer_field)

    def _is_slow(self, signature: type[dspy.Signature], completion: str) -> bool:
        """Return whether DSPy may repair the reply as JSON: a typed value, or invalid JSON."""
        if any(field.annotation is not str for field in signature.output_fields.values()):
            return True
        if not isinstance(self.inner, dspy.JSONAdapter):
            return False
        try:
            json.loads(completion)
        except (ValueError, RecursionError):
            return True
        return False

    def _unreadable(self, signature: type[dspy.Signature], completion: str) -> AdapterParseError:
        return AdapterParseError(
            adapter_name=type(self.inner).__name__, signature=signature, lm_response=completion
        )

    def _clean(self, value: Any) -> Any:
        """Return a text, or texts within a value, without keys and lone surrogates.

        Values need it too: reasoning that a server sends beside the reply, and what a fallback
        reads, did not pass `_parse`.
        """
        if isinstance(value, str):
            cleaned = without(whole(value), self._keys, f"***{_ECHO}***")
            return CutOffText(cleaned) if isinstance(value, CutOffText) else cleaned
        if type(value) is list:
            return [self._clean(inner) for inner in value]
        if type(value) is dict:
            return {name: self._clean(inner) for name, inner in value.items()}
        if isinstance(value, dspy.Reasoning):
            return dspy.Reasoning(content=self._clean(value.content))
        return value

    def _anew(self, error: AdapterParseError, signature: type[dspy.Signature]) -> AdapterParseError:
        """Return the error anew: the message of the old one repeats the reply, keys and all."""
        if isinstance(error, Unanswered):
            return Unanswered(error.cause, signature, self._clean(error.lm_response))
        raw = str(error.lm_response)
        if (reply := self._clean(raw)) != whole(raw):
            return Unanswered(ECHOED_KEY, signature, "")
        return AdapterParseError(
            adapter_name=error.adapter_name, signature=signature, lm_response=reply
        )
