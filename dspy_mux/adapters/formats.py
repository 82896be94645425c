"""DSPy adapters for members that cannot follow a format.

DSPy's default adapter asks for field markers, which break the smallest models. `PlainAdapter` shows the question as a user turn
and finds the answer in the text that comes back; `CompletionAdapter` does the same for base models with a few-shot `Q: … A:`
text; `JSONSchemaAdapter` is for servers that can constrain the output.
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

from ..answers.choose import AnswerKind, TextKind, answer_kind
from ..answers.extract import marked_answer, unfence
from ..errors import ConfigurationError

# What DSPy writes when a signature has no instructions of its own; it names fields that a plain prompt does not show.
_NO_INSTRUCTIONS = re.compile(r"Given the fields .*, produce the fields .*\.\s*", re.DOTALL)
# A line within a question or a demo that would be the next turn of a few-shot text.
_TURN = re.compile(r"\n[ \t]*(?=[QA]:)")


def default_adapter() -> dspy.Adapter:
    """DSPy's own adapter, without its silent second call through JSON when a response cannot be parsed."""
    return dspy.ChatAdapter(use_json_adapter_fallback=False)


class PlainAdapter(dspy.Adapter):
    """Plain conversation: instructions as the system turn, demos as turns, the inputs as the user turn, no markers.

    A single input or output field is shown as its bare value, several as `Label: value` lines. The last output field is the
    answer: it is found in the response by the rules of its type (`answers.py`), so a model needs to follow no format.
    """

    def format(
        self, signature: type[dspy.Signature], demos: list[dict[str, Any]], inputs: dict[str, Any]
    ) -> list[dict[str, Any]]:
        messages: list[dict[str, Any]] = super().format(signature, demos, inputs)
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
        inputs: dict[str, Any],
        prefix: str = "",
        suffix: str = "",
        main_request: bool = False,
    ) -> str:
        # DSPy's prefix tells that a demo is incomplete, which is noise for a model that only sees turns.
        return fields_as_text(signature.input_fields, inputs)

    def format_assistant_message_content(
        self,
        signature: type[dspy.Signature],
        outputs: dict[str, Any],
        missing_field_message: str | None = None,
    ) -> str:
        return fields_as_text(signature.output_fields, outputs)

    def parse(self, signature: type[dspy.Signature], completion: str) -> dict[str, Any]:
        *before, answer = signature.output_fields
        kind = answer_kind(signature.output_fields[answer])
        labelled = _labelled(completion, [*before, answer])
        value = self._answer(kind, labelled.get(answer), completion, reasons=bool(before))
        if value is None or kind.key(value) is None:
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
        """What stands on the answer's label; without one, what the kind finds in the text, for reasoned text the last line."""
        if labelled is not None:
            # The first line only, where an answer has no more: small models go on after their answer.
            lines = unfence(labelled).splitlines()
            told = (
                labelled
                if kind.several_lines
                else next((line for line in lines if line.strip()), "")
            )
            value = kind.extract(told)
            if kind.key(value) is not None:
                return value
        if isinstance(kind, TextKind) and reasons and marked_answer(completion) is None:
            return _last_line(completion)
        return kind.extract(completion)

    def _other(
        self, signature: type[dspy.Signature], name: str, text: str | None, completion: str
    ) -> Any:
        """An output field before the answer: what stands under its label; the whole response for a text without one."""
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


class CompletionAdapter(PlainAdapter):
    """Few-shot text for base models: `Q: …`, `A: …` for each demo, then the question and an open `A:`, as one message.

    Answers are one line; a program that reasons before it answers may take several, up to the next `Q:`. Give the program demos:
    a base model without any has nothing to continue.
    """

    def __call__(
        self,
        lm: dspy.BaseLM,
        lm_kwargs: dict[str, Any],
        signature: type[dspy.Signature],
        demos: list[dict[str, Any]],
        inputs: dict[str, Any],
    ) -> list[dict[str, Any]]:
        lm = self._set_up(lm, lm_kwargs, signature, demos)
        completions: list[dict[str, Any]] = super().__call__(
            lm, lm_kwargs, signature, demos, inputs
        )
        return completions

    async def acall(
        self,
        lm: dspy.BaseLM,
        lm_kwargs: dict[str, Any],
        signature: type[dspy.Signature],
        demos: list[dict[str, Any]],
        inputs: dict[str, Any],
    ) -> list[dict[str, Any]]:
        lm = self._set_up(lm, lm_kwargs, signature, demos)
        completions: list[dict[str, Any]] = await super().acall(
            lm, lm_kwargs, signature, demos, inputs
        )
        return completions

    def format(
        self, signature: type[dspy.Signature], demos: list[dict[str, Any]], inputs: dict[str, Any]
    ) -> list[dict[str, Any]]:
        turns = super().format(signature, demos, inputs)
        marks = {"system": "", "user": "Q: ", "assistant": "A: "}
        text = "".join(
            f"{marks[turn['role']]}{_TURN.sub(' ', turn['content'])}\n" for turn in turns
        )
        return [{"role": "user", "content": f"{text}A:"}]

    def format_system_message(self, signature: type[dspy.Signature]) -> str:
        # A base model continues text: it follows no instructions about the form, but a sentence on the task helps it.
        return own_instructions(signature)

    def format_assistant_message_content(
        self,
        signature: type[dspy.Signature],
        outputs: dict[str, Any],
        missing_field_message: str | None = None,
    ) -> str:
        *before, answer = signature.output_fields
        told = [
            _text(signature.output_fields[name], outputs[name])
            for name in before
            if outputs.get(name) is not None
        ]
        final = _text(signature.output_fields[answer], outputs.get(answer, ""))
        return " ".join([*told, f"The answer is {final}."]) if told else final

    def parse(self, signature: type[dspy.Signature], completion: str) -> dict[str, Any]:
        fields: dict[str, Any] = super().parse(signature, completion.split("\nQ:")[0])
        return fields

    def _set_up(
        self,
        lm: dspy.BaseLM,
        lm_kwargs: dict[str, Any],
        signature: type[dspy.Signature],
        demos: list[dict[str, Any]],
    ) -> dspy.BaseLM:
        if "stop" not in lm_kwargs and not lm.kwargs.get("stop"):
            lm_kwargs["stop"] = ["\n"] if len(signature.output_fields) == 1 else ["\nQ:"]
        as_text = getattr(getattr(lm, "engine", None), "as_text", None)
        if as_text is None:
            return lm
        # An embedded chat model can go on with a text too, without its template around it.
        engine, async_engine = as_text()
        continuing = lm.copy(engine=engine, async_engine=async_engine)
        continuing.history = lm.history
        return continuing


class FewShotAdapter(CompletionAdapter):
    """With demos, `CompletionAdapter`'s text to continue; without, `PlainAdapter`'s turns. For small chat models.

    They follow examples far better as one text than as turns: on the everyday questions, SmolLM2-135M gives 68 % right
    answers against 18 %, Qwen2.5-Coder-0.5B 85 % against 55 % (60 validation questions, 6 demos, temperature 0.5).
    """

    def format(
        self, signature: type[dspy.Signature], demos: list[dict[str, Any]], inputs: dict[str, Any]
    ) -> list[dict[str, Any]]:
        form = CompletionAdapter if demos else PlainAdapter
        messages: list[dict[str, Any]] = form().format(signature, demos, inputs)
        return messages

    def _set_up(
        self,
        lm: dspy.BaseLM,
        lm_kwargs: dict[str, Any],
        signature: type[dspy.Signature],
        demos: list[dict[str, Any]],
    ) -> dspy.BaseLM:
        return super()._set_up(lm, lm_kwargs, signature, demos) if demos else lm


class JSONSchemaAdapter(dspy.JSONAdapter):
    """JSON output that the server enforces by a schema (`response_format`), for members whose server supports it.

    DSPy's own JSONAdapter asks its catalogue whether a model supports schemas, and sends none to a model it does not know. This one
    always sends it: llama.cpp, vLLM and Ollama all constrain decoding by it.

    Raises:
        ConfigurationError: an output field's type has no JSON schema.
    """

    def __call__(
        self,
        lm: dspy.BaseLM,
        lm_kwargs: dict[str, Any],
        signature: type[dspy.Signature],
        demos: list[dict[str, Any]],
        inputs: dict[str, Any],
    ) -> list[dict[str, Any]]:
        lm_kwargs["response_format"] = response_model(signature)
        completions: list[dict[str, Any]] = dspy.ChatAdapter.__call__(
            self, lm, lm_kwargs, signature, demos, inputs
        )
        return completions

    async def acall(
        self,
        lm: dspy.BaseLM,
        lm_kwargs: dict[str, Any],
        signature: type[dspy.Signature],
        demos: list[dict[str, Any]],
        inputs: dict[str, Any],
    ) -> list[dict[str, Any]]:
        lm_kwargs["response_format"] = response_model(signature)
        completions: list[dict[str, Any]] = await dspy.ChatAdapter.acall(
            self, lm, lm_kwargs, signature, demos, inputs
        )
        return completions


def response_model(signature: type[dspy.Signature]) -> type[pydantic.BaseModel]:
    """A signature's output fields as a closed pydantic model, from which the server gets its JSON schema."""
    fields: dict[str, Any] = {
        name: (field.annotation, ...) for name, field in signature.output_fields.items()
    }
    try:
        model = pydantic.create_model(
            "Outputs", __config__=pydantic.ConfigDict(extra="forbid"), **fields
        )
        model.model_json_schema()
    except pydantic.PydanticUserError as error:
        raise ConfigurationError(
            f"The outputs of signature {signature.__name__!r} have no JSON schema ({str(error).splitlines()[0]}); "
            "give its member another adapter."
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
    """The name in `ADAPTERS` of an adapter's type, the type's own name where it is another's; None for the default."""
    types = {
        dspy.ChatAdapter: "chat",
        **{make: name for name, make in ADAPTERS.items() if isinstance(make, type)},
    }
    return None if adapter is None else types.get(type(adapter), type(adapter).__name__)


def own_instructions(signature: type[dspy.Signature]) -> str:
    """A signature's instructions; "" for those that DSPy writes where a signature has none."""
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
    """The values of a signature's `fields` that are there: the bare value of a single field, `Label: value` lines for several."""
    given = {
        name: _text(field, values[name])
        for name, field in fields.items()
        if values.get(name) is not None
    }
    if len(fields) == 1:
        return "".join(given.values())
    return "\n".join(f"{_label(name)}: {text}" for name, text in given.items())


def _labelled(text: str, names: Sequence[str]) -> dict[str, str]:
    """The parts of `text` that stand after a `Label:` at the start of a line, for the labels of `names`."""
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
