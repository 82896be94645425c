"""Adapters for members that cannot follow DSPy's format of field markers.

`PlainAdapter` shows the question as a user turn and finds the answer in the text that comes back.
`CompletionAdapter` does the same for base models with a few-shot text, `Q: … A:`.
`JSONSchemaAdapter` is for servers that can constrain the output.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, get_args, get_origin

import dspy
import pydantic
from dspy.adapters.utils import format_field_value, parse_value
from dspy.utils.exceptions import AdapterParseError

from ..answers.choose import answer_kind
from ..answers.equivalence import AnswerKind
from ..answers.marks import marked_answer
from ..answers.plain_text import unfence
from ..answers.reply import final_text
from ..errors import ConfigurationError
from .fields import is_null
from .wrap import AdapterCall, ExchangeMixin, Fields, Message

# DSPy's instructions for a signature without any; they name fields that a plain prompt hides.
_NO_INSTRUCTIONS = re.compile(r"Given the fields .*, produce the fields .*\.\s*", re.DOTALL)
# The start of a line in a question or a demo that would be the next turn of a few-shot text.
_TURN = re.compile(r"\n[ \t]*(?=[QA]:)")


def default_adapter() -> dspy.Adapter:
    """Return DSPy's own adapter without its silent second call, through JSON, on a parse error."""
    return dspy.ChatAdapter(use_json_adapter_fallback=False)


class PlainAdapter(dspy.Adapter):
    """Shows a plain conversation: instructions as the system turn, demos and inputs as turns.

    A single input or output field is shown as its bare value, several as `Label: value` lines. The
    last output field is the answer. It is found in the response by the rules of its type (the room
    `answers`), so the model need not follow a format.

    >>> adapter, signature = PlainAdapter(), dspy.Signature("question -> answer: int")
    >>> adapter.format(signature, [], {"question": "2 + 2?"})
    [{'role': 'user', 'content': '2 + 2?'}]
    >>> adapter.parse(signature, "That makes 4.")
    {'answer': 4}
    """

    def format(
        self, signature: type[dspy.Signature], demos: list[Fields], inputs: Fields
    ) -> list[Message]:
        messages: list[Message] = super().format(signature, demos, inputs)
        return [message for message in messages if message["content"]]

    def format_system_message(self, signature: type[dspy.Signature]) -> str:
        *before, answer = signature.output_fields
        parts = [own_instructions(signature)]
        if before:
            parts.append(
                f"Think step by step, then end with a line that starts with `{_label(answer)}:`."
            )
        if options := _options(signature.output_fields[answer].annotation):
            parts.append(f"The answer is one of: {', '.join(options)}.")
        return "\n".join(part for part in parts if part)

    def format_user_message_content(
        self,
        signature: type[dspy.Signature],
        inputs: Fields,
        prefix: str = "",
        suffix: str = "",
        main_request: bool = False,
    ) -> str:
        # DSPy's prefix says that a demo is incomplete: noise for a model that only sees turns.
        return fields_as_text(signature.input_fields, inputs)

    def format_assistant_message_content(
        self,
        signature: type[dspy.Signature],
        outputs: Fields,
        missing_field_message: str | None = None,
    ) -> str:
        return fields_as_text(signature.output_fields, outputs)

    def parse(self, signature: type[dspy.Signature], completion: str) -> Fields:
        *before, answer = signature.output_fields
        kind = answer_kind(signature.output_fields[answer])
        completion = final_text(completion) or ""
        labelled = _labelled(completion, [*before, answer])
        value = None
        if kind.key(None) is not None or not is_null(completion, answer):
            value = self._answer(kind, labelled.get(answer), completion, reasons=bool(before))
        if kind.key(value) is None:
            raise AdapterParseError(
                adapter_name=type(self).__name__,
                signature=signature,
                lm_response=completion,
                message=f"Found no {kind.name} answer in the response.",
            )
        fields = {
            name: self._other(signature, name, labelled.get(name), completion) for name in before
        }
        return {**fields, answer: value}

    @staticmethod
    def _answer(kind: AnswerKind, labelled: str | None, completion: str, *, reasons: bool) -> Any:
        """Return what stands after the answer's label; without a label, what its kind finds.

        A reasoned text in which nothing is marked as the answer ends with it.
        """
        if labelled is not None:
            # Small models go on after their answer: where it has one line, only the first counts.
            lines = unfence(labelled).splitlines()
            first = next((line for line in lines if line.strip()), "")
            value = kind.extract(labelled if kind.several_lines else first)
            if kind.key(value) is not None:
                return value
        if kind.takes_any_text and reasons and marked_answer(completion) is None:
            return _last_line(completion)
        return kind.extract(completion)

    def _other(
        self, signature: type[dspy.Signature], name: str, text: str | None, completion: str
    ) -> Any:
        """Return a field before the answer: what stands under its label, or the whole response."""
        annotation = signature.output_fields[name].annotation
        try:
            return parse_value(completion.strip() if text is None else text, annotation)
        except ValueError as error:
            raise AdapterParseError(
                adapter_name=type(self).__name__,
                signature=signature,
                lm_response=completion,
                message=f"Found no value for the field {name!r}.",
            ) from error


class CompletionAdapter(ExchangeMixin, PlainAdapter):
    """Shows base models a few-shot text to continue, as one message.

    It has `Q: …` and `A: …` for each demo, then the question and an open `A:`. Answers are one
    line; a program that reasons before it answers may take several, up to the next `Q:`. Give the
    program demos: without any, a base model has nothing to continue.

    >>> adapter, signature = CompletionAdapter(), dspy.Signature("question -> answer")
    >>> demos = [{"question": "2 + 2?", "answer": "4"}]
    >>> [message] = adapter.format(signature, demos, {"question": "3 + 3?"})
    >>> print(message["content"])
    Q: 2 + 2?
    A: 4
    Q: 3 + 3?
    A:
    """

    def format(
        self, signature: type[dspy.Signature], demos: list[Fields], inputs: Fields
    ) -> list[Message]:
        turns = super().format(signature, demos, inputs)
        marks = {"system": "", "user": "Q: ", "assistant": "A: "}
        text = "".join(
            f"{marks[turn['role']]}{_TURN.sub(' ', turn['content'])}\n" for turn in turns
        )
        return [{"role": "user", "content": f"{text}A:"}]

    def format_system_message(self, signature: type[dspy.Signature]) -> str:
        # A base model follows no instructions about the form, but a sentence on the task helps it.
        return own_instructions(signature)

    def format_assistant_message_content(
        self,
        signature: type[dspy.Signature],
        outputs: Fields,
        missing_field_message: str | None = None,
    ) -> str:
        *before, answer = signature.output_fields
        reasons = [
            _text(signature.output_fields[name], outputs[name])
            for name in before
            if outputs.get(name) is not None
        ]
        final = _text(signature.output_fields[answer], outputs.get(answer, ""))
        return " ".join([*reasons, f"The answer is {final}."]) if reasons else final

    def parse(self, signature: type[dspy.Signature], completion: str) -> Fields:
        fields: Fields = super().parse(signature, completion.split("\nQ:")[0])
        return fields

    def _prepare(self, call: AdapterCall) -> AdapterCall:
        lm = call.lm
        if "stop" not in call.lm_kwargs and not lm.kwargs.get("stop"):
            one_line = len(call.signature.output_fields) == 1
            stop = ["\n"] if one_line else ["\nQ:"]
            call = call._replace(lm_kwargs={**call.lm_kwargs, "stop": stop})
        as_text = getattr(getattr(lm, "engine", None), "as_text", None)
        if as_text is None:
            return call
        # An embedded chat model can continue a text too, without its template around it.
        engine, async_engine = as_text()
        continuing = lm.copy(engine=engine, async_engine=async_engine)
        continuing.history = lm.history
        return call._replace(lm=continuing)


class FewShotAdapter(CompletionAdapter):
    """Shows demos as `CompletionAdapter`'s text to continue; without demos, `PlainAdapter`'s turns.

    For small chat models, which follow examples far better as one text than as turns: on the
    everyday questions, SmolLM2-135M gives 68 % right answers against 18 %, Qwen2.5-Coder-0.5B 85 %
    against 55 % (60 validation questions, 6 demos, temperature 0.5).

    >>> adapter, signature = FewShotAdapter(), dspy.Signature("question -> answer")
    >>> demos = [{"question": "2 + 2?", "answer": "4"}]
    >>> adapter.format(signature, demos, {"question": "3 + 3?"})[0]["content"]
    'Q: 2 + 2?\\nA: 4\\nQ: 3 + 3?\\nA:'
    >>> adapter.format(signature, [], {"question": "3 + 3?"})[0]["content"]
    '3 + 3?'
    """

    def format(
        self, signature: type[dspy.Signature], demos: list[Fields], inputs: Fields
    ) -> list[Message]:
        form = CompletionAdapter if demos else PlainAdapter
        messages: list[Message] = form().format(signature, demos, inputs)
        return messages

    def _prepare(self, call: AdapterCall) -> AdapterCall:
        return super()._prepare(call) if call.demos else call


class JSONSchemaAdapter(ExchangeMixin, dspy.JSONAdapter):
    """Has the server enforce JSON output by a schema (`response_format`).

    DSPy's JSONAdapter asks its catalogue whether a model supports schemas, and sends none to a
    model it does not know. This one always sends it: llama.cpp, vLLM and Ollama all constrain
    decoding by it.

    Raises:
        ConfigurationError: an output field's type has no JSON schema.
    """

    def _prepare(self, call: AdapterCall) -> AdapterCall:
        format_ = response_model(call.signature)
        return call._replace(lm_kwargs={**call.lm_kwargs, "response_format": format_})

    def _talker(self) -> dspy.Adapter:
        return super(dspy.JSONAdapter, self)  # which would ask the catalogue


def response_model(signature: type[dspy.Signature]) -> type[pydantic.BaseModel]:
    """Return a signature's output fields as a closed pydantic model; DSPy sends its JSON schema.

    >>> schema = response_model(dspy.Signature("question -> answer: int")).model_json_schema()
    >>> schema["properties"]["answer"]["type"], schema["additionalProperties"]
    ('integer', False)
    """
    fields: dict[str, Any] = {
        name: (field.rebuild_annotation(), ...) for name, field in signature.output_fields.items()
    }
    try:
        model = pydantic.create_model(
            "Outputs", __config__=pydantic.ConfigDict(extra="forbid"), **fields
        )
        model.model_json_schema()
    except pydantic.PydanticUserError as error:
        raise ConfigurationError(
            f"The outputs of signature {signature.__name__!r} have no JSON schema "
            f"({str(error).splitlines()[0]}); give its member another adapter."
        ) from error
    return model


#: Adapters that a pool file or a saved mux can name.
ADAPTERS: dict[str, Callable[[], dspy.Adapter]] = {
    "chat": default_adapter,
    "json": dspy.JSONAdapter,
    "json_schema": JSONSchemaAdapter,
    "plain": PlainAdapter,
    "completion": CompletionAdapter,
    "few_shot": FewShotAdapter,
}


def adapter_name(adapter: dspy.Adapter | None) -> str | None:
    """Return the name of an adapter's type in `ADAPTERS`, else the type's own; None for None."""
    types = {
        dspy.ChatAdapter: "chat",
        **{make: name for name, make in ADAPTERS.items() if isinstance(make, type)},
    }
    return None if adapter is None else types.get(type(adapter), type(adapter).__name__)


def own_instructions(signature: type[dspy.Signature]) -> str:
    """Return a signature's instructions; "" for those that DSPy writes where it has none."""
    instructions = str(signature.instructions).strip()
    return "" if _NO_INSTRUCTIONS.fullmatch(instructions) else instructions


def _options(annotation: Any) -> list[str]:
    if get_origin(annotation) is Literal:
        return [str(option) for option in get_args(annotation)]
    if isinstance(annotation, type) and issubclass(annotation, enum.Enum):
        return [str(option.value) for option in annotation]
    return []


def _label(name: str) -> str:
    return name.replace("_", " ").capitalize()


def _text(field: Any, value: Any) -> str:
    return (
        value if isinstance(value, str) else str(format_field_value(field_info=field, value=value))
    )


def fields_as_text(fields: Mapping[str, Any], values: Mapping[str, Any]) -> str:
    """Return the given values of `fields`: one bare value, or lines with labels for more."""
    given = {
        name: _text(field, values[name])
        for name, field in fields.items()
        if values.get(name) is not None
    }
    if len(fields) == 1:
        return "".join(given.values())
    return "\n".join(f"{_label(name)}: {text}" for name, text in given.items())


def _labelled(text: str, names: Sequence[str]) -> dict[str, str]:
    """Return the parts of `text` after a `Label:` that begins a line, for the labels of `names`."""
    labels = {_label(name).lower(): name for name in names}
    found: dict[str, list[str]] = {}
    current: list[str] | None = None
    for line in text.splitlines():
        start, colon, rest = line.lstrip("*# ").partition(":")
        name = labels.get(start.strip("*_` ").lower()) if colon else None
        if name is not None:
            current = found[name] = [rest.lstrip("* ")]
        elif current is not None:
            current.append(line)
    return {name: "\n".join(lines).strip() for name, lines in found.items()}


def _last_line(text: str) -> str | None:
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), None)
