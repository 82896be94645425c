"""What passes between a program and a model's server: questions cannot forge the prompt's structure, replies cannot carry keys.

- A field marker in an input, such as `[[ ## answer ## ]]` in a question, a document or another agent's text, is shown to the model
  with its brackets apart. So no text that is merely quoted back is a field of the reply.
- Halves of characters (lone surrogates), which no request, file or database can hold, become U+FFFD both ways.
- A key of the member that its server echoes in a reply is masked before anything is made of the reply.
- Typed fields are not read from a reply of more than `LONGEST_TYPED` characters: DSPy's reader takes time quadratic in some of
  them. The answer is then looked for by the linear rules of its kind (`ExtractingAdapter`).
"""

from __future__ import annotations

import copy
import dataclasses
import datetime
import enum
import json
import numbers
import re
import types
from functools import cached_property
from typing import Any

import dspy
import pydantic
from dspy.adapters.utils import serialize_for_json
from dspy.utils.exceptions import AdapterParseError

from ..errors import ConfigurationError
from ..redact import echoes_of, without
from ..text import whole
from .wrap import Exchange, WrappingAdapter

LONGEST_TYPED = 20_000
_MARKER = re.compile(r"\[\[(\s*##\s*\w+\s*##\s*)\]\]")
#: In a value's JSON: a marker may be there, or half of a character (as of every other beyond the 16-bit ones).
_SUSPECT = re.compile(r"##|\\ud[89a-f]")
# Neither these nor the program's own types and functions, such as those of a tool, hold anybody's text.
_MARKERLESS = (
    numbers.Number,
    datetime.date,
    datetime.time,
    datetime.timedelta,
    enum.Enum,
    type,
    types.FunctionType,
    types.MethodType,
)


class GuardedAdapter(WrappingAdapter):
    """The adapter that talks to a member's model, guarded.

    Args:
        inner: that adapter.
        lm: the member's LM, whose keys are masked.
    """

    def __init__(self, inner: dspy.Adapter, lm: dspy.BaseLM):
        super().__init__(inner)
        self.lm = lm
        self._guarded = copy.copy(inner)
        self._guarded.parse = (
            self._parse
        )  # whichever way the inner adapter calls the model, this is how it reads the reply

    def _exchange(
        self,
        lm: dspy.BaseLM,
        lm_kwargs: dict[str, Any],
        signature: type[dspy.Signature],
        demos: list[dict[str, Any]],
        inputs: dict[str, Any],
    ) -> Exchange:
        try:
            completions = yield self._guarded, lm, lm_kwargs, signature, demos, _guarded(inputs)
        except AdapterParseError as error:
            raise self._told(error, signature) from None
        return [self._clean(fields) for fields in completions]

    def format(
        self, signature: type[dspy.Signature], demos: list[dict[str, Any]], inputs: dict[str, Any]
    ) -> list[dict[str, Any]]:
        messages: list[dict[str, Any]] = self.inner.format(signature, demos, _guarded(inputs))
        return messages

    def parse(self, signature: type[dspy.Signature], completion: str) -> dict[str, Any]:
        return self._parse(signature, completion)

    @cached_property
    def _keys(self) -> list[str]:
        return echoes_of(self.lm)

    def _parse(self, signature: type[dspy.Signature], completion: str) -> dict[str, Any]:
        completion = self._clean(completion)
        if len(completion) > LONGEST_TYPED and self._is_slow(signature, completion):
            raise self._unreadable(signature, completion)
        try:
            fields: dict[str, Any] = self.inner.parse(signature, completion)
        except ConfigurationError:
            raise
        except (ArithmeticError, MemoryError, RecursionError, TypeError, ValueError) as error:
            # Nested too deeply, a number too large, or an object where an option should stand.
            raise self._unreadable(signature, completion) from error
        return fields

    def _is_slow(self, signature: type[dspy.Signature], completion: str) -> bool:
        """Whether DSPy may repair what it takes for JSON: a typed value, or the whole of a JSON reply that is none."""
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
        """Also of values: reasoning that a server tells apart from the reply, or a fallback's reading, did not pass `_parse`."""
        if isinstance(value, str):
            return without(whole(value), self._keys)
        if type(value) is list:
            return [self._clean(inner) for inner in value]
        if type(value) is dict:
            return {name: self._clean(inner) for name, inner in value.items()}
        return (
            dspy.Reasoning(content=self._clean(value.content))
            if isinstance(value, dspy.Reasoning)
            else value
        )

    def _told(self, error: AdapterParseError, signature: type[dspy.Signature]) -> AdapterParseError:
        """The error anew: its message repeats the reply."""
        return AdapterParseError(
            adapter_name=error.adapter_name,
            signature=signature,
            lm_response=self._clean(str(error.lm_response)),
        )


def _guarded(inputs: dict[str, Any]) -> dict[str, Any]:
    return {name: without_markers(value) for name, value in inputs.items()}


def without_markers(value: Any) -> Any:
    """A value of an input, at any depth and in keys too, with field markers taken apart and without halves of characters.

    Models, dataclasses and named tuples keep their types, by which adapters may tell them. Where a value of another type shows a
    marker, what DSPy shows of the value takes its place, as plain lists, dicts and text.
    """
    try:
        # What DSPy shows of it, at once: telling every part of it apart takes a hundred times as long.
        if not isinstance(value, str) and not _SUSPECT.search(
            json.dumps(serialize_for_json(value), default=str)
        ):
            return value
        return _apart(value)
    except RecursionError:  # a value that holds itself
        return _apart(serialize_for_json(value))


def _apart(value: Any) -> Any:
    if isinstance(value, str):
        text = whole(value)
        return _MARKER.sub(r"[ [\1] ]", text) if "[[" in text else text
    if value is None or isinstance(value, _MARKERLESS):
        return value
    if isinstance(value, dict):
        return {_key_apart(key): _apart(inner) for key, inner in value.items()}
    if type(value) is list:
        return [_apart(inner) for inner in value]
    if type(value) is tuple or (isinstance(value, tuple) and hasattr(value, "_fields")):
        return tuple.__new__(type(value), map(_apart, value))
    if isinstance(value, pydantic.BaseModel):
        value = _model_apart(value)
    elif dataclasses.is_dataclass(value):
        value = _dataclass_apart(value)
    shown = serialize_for_json(value)
    told = _apart(shown)
    return value if told == shown else told


def _key_apart(key: Any) -> Any:
    text = str(key)
    told = _apart(text)
    return key if told == text else told


def _model_apart(model: pydantic.BaseModel) -> pydantic.BaseModel:
    """A copy, not validated anew: a limit of length must not refuse the two spaces that a marker gets."""
    copied = model.model_copy()
    for held in (copied.__dict__, copied.__pydantic_extra__):
        if held:
            told = _apart(held)
            held.clear()
            held.update(told)
    return copied


def _dataclass_apart(value: Any) -> Any:
    copied = copy.copy(value)
    for field in dataclasses.fields(value):
        if hasattr(value, field.name):
            object.__setattr__(
                copied, field.name, _apart(getattr(value, field.name))
            )  # also where it is frozen
    return copied
