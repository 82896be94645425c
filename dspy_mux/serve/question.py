"""A question to a served mux, made of a request."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import dspy
import pydantic
from pydantic_core import from_json

from ..errors import ConfigurationError
from ..mux.ensemble import Ensemble
from .errors import APIError
from .formats import ReplyFormat
from .messages import Message, check_file, check_image
from .models import ServedModel
from .settings import ServeSettings
from .wire import ChatRequest, MuxRequest

#: Where a setting of a program's members is set instead.
_ELSEWHERE = {
    "max_tokens": ", or set it for each member: in the pool file, options = {max_tokens = 100}",
    "temperature": ", or set it for each member: in the pool file, temperature = 0.5",
}
#: A field in a prompt that DSPy's adapters write.
_FIELD_MARKER = re.compile(r"\[\[ ## \w+ ## \]\]")


@dataclass(frozen=True)
class Question:
    """What is to be asked.

    Attributes:
        model: who is asked.
        mux: what is called: the model's own, or one that differs in its temperature.
        inputs: of the call.
        seed: the rollout; None for the first.
    """

    model: ServedModel
    mux: Ensemble
    inputs: Mapping[str, Any]
    seed: int | None = None


def of_chat(model: ServedModel, request: ChatRequest, settings: ServeSettings) -> Question:
    """Return the question in a chat completion.

    Raises:
        APIError: a field cannot be honoured, or the program's inputs are not there.
    """
    request.check_fields()
    if model.is_chat:
        of_the_call = request.settings()
        _check_format(of_the_call)
        mux = _at_temperature(model, request.temperature)
        inputs = {"messages": _sent(request.messages, settings), "settings": of_the_call}
        return Question(model, mux, inputs, request.seed)
    _refuse_prompt(model, request.messages)
    given = {**request.settings(), "temperature": request.temperature}
    for name in given:
        if given[name] is not None:
            sent = _as_sent(request, name)
            raise APIError(
                400,
                f"{sent!r}: {model.name} is a program with settings of its own for each member; "
                f"leave {sent} out{_ELSEWHERE.get(name, '')}.",
                param=sent,
                code="unsupported_parameter",
            )
    inputs = _of_message(model, request.messages[-1], settings)
    return Question(model, model.mux, inputs, request.seed)


def _refuse_prompt(model: ServedModel, messages: Sequence[Message]) -> None:
    """Refuse a prompt that a DSPy adapter wrote around a question.

    A program would take all of it for its question, and its answer would be in no adapter's format.
    """
    told = (each.text for each in messages if each.role in ("system", "developer"))
    if not any(_FIELD_MARKER.search(text) for text in told):
        return
    served = "the mux" if model.chat_barred is None else "the pool file, without this saved mux,"
    raise APIError(
        400,
        f"{model.name} is a program and takes its inputs alone, not a prompt that dspy.Predict "
        f"wrote around them: call the LM itself, as in lm('…'), or serve {served} with --chat, "
        "where prompts go to the members as they are.",
        param="messages",
        code="invalid_inputs",
    )


def of_inputs(model: ServedModel, request: MuxRequest, settings: ServeSettings) -> Question:
    """Return the question in a request of named inputs.

    Raises:
        APIError: an input is missing, unknown or wrong.
    """
    if model.is_chat:
        if request.messages is None or request.inputs is not None:
            raise APIError(400, f"{model.name} takes messages, not inputs.", param="messages")
        sent = _sent(request.messages, settings)
        inputs: dict[str, Any] = {"messages": sent, "settings": {}}
    else:
        if request.inputs is None or request.messages is not None:
            raise APIError(400, f"{model.name} takes inputs, not messages.", param="inputs")
        inputs = _checked(model, request.inputs, "inputs", settings)
    return Question(model, model.mux, inputs, request.seed)


def _sent(messages: Sequence[Message], settings: ServeSettings) -> list[dict[str, Any]]:
    return [message.as_sent(image_urls=settings.image_urls) for message in messages]


def _as_sent(request: ChatRequest, name: str) -> str:
    renamed = name == "max_tokens" and request.max_completion_tokens is not None
    return "max_completion_tokens" if renamed else name


def _check_format(settings: Mapping[str, Any]) -> None:
    wanted = settings.get("response_format")
    if wanted is None:
        return
    if wanted["type"] == "json_schema" and "json_schema" not in wanted:
        raise APIError(
            400,
            "response_format of the type json_schema needs a json_schema.",
            param="response_format.json_schema",
        )
    try:
        ReplyFormat.of(wanted)
    except ConfigurationError as error:
        raise APIError(400, str(error), param="response_format", code="invalid_schema") from error


def _at_temperature(model: ServedModel, temperature: float | None) -> Ensemble:
    if temperature is None:
        return model.mux
    if model.is_tuned:
        raise APIError(
            400,
            f"temperature: what {model.name} says of its confidence was measured at its own "
            "temperatures; leave temperature out.",
            param="temperature",
            code="unsupported_parameter",
        )
    return model.at_temperature(temperature)


def _of_message(model: ServedModel, message: Message, settings: ServeSettings) -> dict[str, Any]:
    """Return a program's inputs out of a message: a JSON object, or the text of its only input."""
    text = message.text
    if message.role != "user" or not text:
        raise APIError(400, "The last message must be the user's, and have text.", param="messages")
    fields = model.inputs.model_fields
    try:
        value = from_json(text, allow_inf_nan=False)  # as strictly as the body around it
    except ValueError:
        value = None
    if isinstance(value, dict) and value.keys() & fields.keys():
        return _checked(model, value, "messages", settings)
    required = [name for name, field in fields.items() if field.is_required()]
    if len(required) == 1:
        only = required[0]
        given = text if fields[only].annotation is str or value is None else value
        return _checked(model, {only: given}, "messages", settings)
    raise APIError(
        400,
        f"{model.name} takes the inputs {', '.join(fields)}: send them as one JSON object in the "
        "last message.",
        param="messages",
        code="invalid_inputs",
    )


def _checked(
    model: ServedModel, given: Mapping[str, Any], param: str, settings: ServeSettings
) -> dict[str, Any]:
    try:
        read = model.inputs.model_validate(given)
    except TypeError as error:  # of a type of DSPy's that refuses a setting
        raise APIError(400, str(error), param=param, code="invalid_inputs") from error
    except pydantic.ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])[:100]
        raise APIError(
            400,
            f"The input {where!r} of {model.name} is wrong: {first['msg']}.",
            param=f"{param}.{where}" if param == "inputs" else param,
            code="invalid_inputs",
        ) from error
    values = {name: getattr(read, name) for name in read.model_fields_set}
    for name, value in values.items():
        where = f"{param}.{name}" if param == "inputs" else param
        for attached in _attached_to(value):
            if isinstance(attached, dspy.Image):
                check_image(attached.url, where, image_urls=settings.image_urls)
            else:
                check_file(attached, where, image_urls=settings.image_urls)
    return values


def _attached_to(value: Any) -> Iterator[dspy.Image | dspy.File]:
    """Yield the images and files in a value, wherever they are."""
    if isinstance(value, (dspy.Image, dspy.File)):
        yield value
    elif isinstance(value, pydantic.BaseModel):
        yield from _attached_to([inner for _, inner in value])
    elif isinstance(value, Mapping):
        yield from _attached_to([*value.values()])
    elif isinstance(value, (list, tuple, set, frozenset)):
        for inner in value:
            yield from _attached_to(inner)
