"""Plain chat as a program: every member gets the conversation as it is, and replies are compared.

A reply is compared by what it answers: by its tool calls where it makes any, by content where the
client asked for JSON, else as the mux's kind of answer reads it.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import dspy
from typing_extensions import Unpack

from ..adapters.fields import ECHOED_KEY, Unanswered
from ..adapters.readings import Reading, current_readings
from ..answers.equivalence import AnswerKind, WrappingKind
from ..answers.kinds import TextKind
from ..answers.marks import marked_answer
from ..answers.plain_text import tail
from ..answers.reply import CUT_OFF, ONLY_THINKING, CutOffText, answering_text
from ..answers.structured import AnyKind
from ..mux.slm_mux import MuxArguments, SLMMux
from ..redact import echoes_of, without
from ..sampling.causes import UNPARSABLE
from ..sampling.members import Pool
from ..text import whole
from .formats import ReplyFormat

#: One message of a conversation, as OpenAI's protocol has it.
Message = dict[str, Any]

#: Characters of a text in which thinking is looked for: as a rule takes a second for a million.
_LONGEST_THINKING = 200_000
_SIGNATURE = dspy.Signature("messages -> answer")


class ChatReply(str):
    """A member's reply: its text, and what it is compared by.

    Attributes:
        content: the reply's text; None beside tool calls.
        tool_calls: as OpenAI's protocol has them.
        reasoning: what the server sent as the model's reasoning; None for nothing.
        finish_reason: "stop", "length" or "tool_calls".
        key: equal for equal answers; None for no usable answer.
    """

    content: str | None
    tool_calls: list[dict[str, Any]]
    reasoning: str | None
    finish_reason: str
    key: Hashable | None

    @classmethod
    def of(cls, output: Mapping[str, Any], key: Hashable | None) -> ChatReply:
        """Describe an output of a DSPy LM."""
        text, calls = output.get("text"), [_as_dict(one) for one in output.get("tool_calls") or ()]
        shown = text or "\n".join(
            f"{call['function']['name']}({call['function']['arguments']})" for call in calls
        )
        reply = cls(shown)
        reply.content, reply.tool_calls = None if text is None else str(text), calls
        reply.reasoning = output.get("reasoning_content")
        cut = isinstance(text, CutOffText)
        reply.finish_reason = "length" if cut else "tool_calls" if calls else "stop"
        reply.key = key
        return reply

    def message(self) -> Message:
        """Return the reply as a message of the assistant."""
        message: Message = {"role": "assistant", "content": self.content, "refusal": None}
        if self.tool_calls:
            message["tool_calls"] = self.tool_calls
        if self.reasoning:
            message["reasoning_content"] = self.reasoning
        return message


def _as_dict(call: Any) -> dict[str, Any]:
    function = call["function"]
    named = {"name": function["name"], "arguments": function["arguments"]}
    return {"id": call.get("id") or "", "type": "function", "function": named}


@dataclasses.dataclass(frozen=True)
class ChatKind(WrappingKind):
    """Replies of a chat, compared by the keys that `Chat` found for them.

    Args:
        base: how a plain text is read.
    """

    base: AnswerKind = dataclasses.field(default_factory=TextKind)
    name = "chat"

    def key(self, value: Any) -> Hashable | None:
        return value.key if isinstance(value, ChatReply) else None


class Chat(dspy.Module):
    """Asks the LM with a conversation as it is; its answer is a `ChatReply`.

    Args:
        kind: how a plain text is compared.
    """

    def __init__(self, kind: AnswerKind | None = None):
        super().__init__()
        self.kind = kind or TextKind()

    def forward(
        self, messages: Sequence[Message], settings: Mapping[str, Any] | None = None
    ) -> dspy.Prediction:
        """Return the reply to a conversation.

        Args:
            settings: of the call, such as `max_tokens`, `tools` and `response_format`.
        """
        lm, asked = dspy.settings.lm, _of_the_call(dspy.settings.lm, settings)
        return self._read(lm(messages=[*messages], **asked), settings or {}, lm)

    async def aforward(
        self, messages: Sequence[Message], settings: Mapping[str, Any] | None = None
    ) -> dspy.Prediction:
        lm, asked = dspy.settings.lm, _of_the_call(dspy.settings.lm, settings)
        return self._read(await lm.acall(messages=[*messages], **asked), settings or {}, lm)

    def _read(
        self, outputs: Sequence[Any], settings: Mapping[str, Any], lm: dspy.BaseLM
    ) -> dspy.Prediction:
        output = outputs[0] if outputs else ""
        output = _guarded(output if isinstance(output, Mapping) else {"text": output}, lm)
        if "response_format" in settings and output.get("text") and not output.get("tool_calls"):
            output["text"] = _in_format(output["text"], settings["response_format"])
        key, is_whole = self._key(output, settings)
        reply = ChatReply.of(output, key)
        if is_whole:
            _note_reading(reply)
        return dspy.Prediction(answer=reply)

    def _key(
        self, output: Mapping[str, Any], settings: Mapping[str, Any]
    ) -> tuple[Hashable | None, bool]:
        """Return what a reply is compared by, and whether its whole text is the answer."""
        text = output.get("text")
        if output.get("tool_calls"):
            return tool_key([_as_dict(call) for call in output["tool_calls"]]), False
        if not text or not text.strip():
            return None, False
        if "response_format" in settings:
            form = ReplyFormat.of(settings["response_format"])
            return _tagged("json", form.key(str(text))), True
        end = tail(text)
        if not self.kind.takes_any_text:
            found = self.kind.extract(CutOffText(end) if isinstance(text, CutOffText) else end)
            return _tagged("answer", self.kind.key(found)), False
        key, is_whole = self._text_key(str(text), end)
        return _tagged("text", key), is_whole

    def _text_key(self, text: str, end: str) -> tuple[Hashable | None, bool]:
        """Return what a plain text is compared by, and whether that is all of it.

        Args:
            end: of the text, where marks are looked for.

        Raises:
            Unanswered: it is all thinking.
        """
        final = answering_text(text) if len(text) <= _LONGEST_THINKING else text
        if final is None:
            raise _unanswered(ONLY_THINKING, text)
        shown = end if len(end) < len(text) else final
        if marked_answer(shown) is not None:
            found = self.kind.extract(shown)
            if found is not None:
                return self.kind.key(found), False
        return self.kind.key(final), final == text


def _note_reading(reply: ChatReply) -> None:
    """Say that a reply's whole text is the answer, for the evidence of the draw."""
    readings = current_readings.get()
    if readings is None:
        return

    def parse(_: type[dspy.Signature], text: str) -> dict[str, Any]:
        return {"answer": ChatReply.of({"text": text}, ("text", TextKind().key(text)))}

    readings.append(Reading(str(reply), _SIGNATURE, {"answer": reply}, parse))


def _tagged(tag: str, key: Hashable | None) -> Hashable | None:
    """Return a key that equals no other kind's; None where there is none."""
    return None if key is None else (tag, key)


def _guarded(output: Mapping[str, Any], lm: dspy.BaseLM) -> dict[str, Any]:
    """Return an output that any client can be sent.

    Raises:
        Unanswered: it holds the key that the member's server was sent.
    """
    text = output.get("text")
    said = json.dumps({**output, "logprobs": None}, default=str, ensure_ascii=False)
    if without(said, keys := echoes_of(lm)) != said or without(str(text), keys) != str(text):
        raise _unanswered(ECHOED_KEY, "")
    if text is None:
        return dict(output)
    return {**output, "text": type(text)(whole(text))}


def _in_format(text: str, wanted: Mapping[str, Any]) -> str:
    """Return the JSON of a reply, without what stands around it.

    Raises:
        Unanswered: it has none of this format.
    """
    found = ReplyFormat.of(wanted).find(text)
    if found is None:
        raise _unanswered(CUT_OFF if isinstance(text, CutOffText) else UNPARSABLE, text)
    return type(text)(found)


def _unanswered(cause: str, reply: str) -> Unanswered:
    return Unanswered(cause, _SIGNATURE, reply)


def _of_the_call(lm: dspy.BaseLM, settings: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the settings of a call; the member's own limit of tokens holds."""
    asked = dict(settings or {})
    tokens = asked.pop("max_tokens", None)
    if tokens is not None:
        name = "max_completion_tokens" if "max_completion_tokens" in lm.kwargs else "max_tokens"
        own = lm.kwargs.get(name)
        asked[name] = tokens if own is None else min(tokens, own)
    return asked


def tool_key(calls: Sequence[Mapping[str, Any]]) -> Hashable | None:
    """Return what tool calls are compared by: names and arguments, in any order of the calls.

    None where the arguments of one are not JSON.
    """
    keys = []
    for call in calls:
        try:
            arguments = json.loads(call["function"]["arguments"] or "{}")
        except ValueError:
            return None
        keys.append(AnyKind().key({"name": call["function"]["name"], "arguments": arguments}))
    return ("tools", *sorted(map(str, keys)))


def chat_mux(
    lms: Pool, *, kind: AnswerKind | None = None, **arguments: Unpack[MuxArguments]
) -> SLMMux:
    """Return a mux over a pool for conversations: `mux(messages=[…], settings={…})`.

    Args:
        kind: how plain replies are compared: by default as text, by the answer that they mark
            where they mark one.
        arguments: of `SLMMux`.
    """
    chosen = kind or TextKind()
    arguments["equivalence"] = ChatKind(chosen)
    return SLMMux(Chat(chosen), lms, **arguments)
