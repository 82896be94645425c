"""The kinds of structured values: lists, sets, dicts and models as JSON; fields of any type."""

from __future__ import annotations

import dataclasses
import enum
import json
import math
import numbers
from collections.abc import Hashable, Mapping, Set
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from typing import Any

import pydantic

from ..errors import ConfigurationError
from ..text import first_line
from .equivalence import ReplyKind
from .json_text import json_values, read_json
from .kinds import TextKind
from .marks import marked_answers
from .numerals import exact_value, twelve_digits
from .plain_text import fold, unfence

_DEEPEST = 100  # levels of a value that are compared


def _canonical(value: Any, depth: int = 0) -> Any:
    """Return a value as JSON that is equal for equal answers.

    Numbers count by value, texts are folded, sets sorted, and models become objects.

    Raises:
        ValueError: the value is nested too deeply.
    """
    if depth > _DEEPEST:
        raise ValueError("nested too deeply to compare")
    if isinstance(value, enum.Enum):
        value = value.value
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return fold(value)
    if isinstance(value, (numbers.Real, Decimal)):
        exact = exact_value(value)
        return {"number": str(value) if exact is None else twelve_digits(exact)}
    if isinstance(value, pydantic.BaseModel):
        value = {name: getattr(value, name) for name in type(value).model_fields}
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {"object": {str(name): _canonical(item, depth + 1) for name, item in value.items()}}
    if isinstance(value, Set):
        return {"set": sorted((_canonical(item, depth + 1) for item in value), key=_dump)}
    if isinstance(value, (list, tuple)):
        return [_canonical(item, depth + 1) for item in value]
    return {type(value).__qualname__: repr(value)}


def _dump(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


@dataclass(frozen=True)
class JsonKind(ReplyKind):
    """Lists, tuples, sets, dicts, TypedDicts, dataclasses and pydantic models, compared as JSON.

    The order of a list counts, that of a set or of an object's names does not; 1 equals 1.0.

    >>> JsonKind(list[int]).same("[1, 2]", [1.0, 2])
    True
    """

    annotation: Any = Any
    name = "json"

    def _find(self, text: str) -> Any | None:
        found = json_values(text)
        for answer in marked_answers(text):
            found += json_values(answer)
        read = (self.usable(self._read(value)) for value in reversed(found))
        return next((value for value in read if value is not None), None)

    def key(self, value: Any) -> Hashable | None:
        try:
            if isinstance(value, str):
                value = read_json(unfence(value))
            value = self._read(value) if isinstance(value, (list, dict)) else value
            return None if value is None else _dump(_canonical(value))
        except ValueError:
            return None

    def _read(self, value: Any) -> Any | None:
        """Return a JSON value as the annotation's own type, or None where it does not fit."""
        try:
            return json_reader(self.annotation).validate_python(value)
        except pydantic.ValidationError:
            return None


@lru_cache(maxsize=256)
def json_reader(annotation: Any) -> pydantic.TypeAdapter[Any]:
    """Return what reads JSON values into a type.

    Raises:
        ConfigurationError: pydantic cannot read this type.
    """
    try:
        reader = pydantic.TypeAdapter(annotation)
        reader.rebuild()  # an undefined name raises now, not at the first answer
        return reader
    except (pydantic.PydanticUserError, pydantic.errors.PydanticUndefinedAnnotation) as error:
        reason = first_line(error).rstrip(".")
        raise ConfigurationError(
            f"No answer can be read into the type {annotation!r}: {reason}."
        ) from error


@dataclass(frozen=True)
class AnyKind(ReplyKind):
    """A field of no particular type: JSON where the text is JSON, else text."""

    name = "any"

    def _find(self, text: str) -> Any | None:
        return self.usable(TextKind()._find(text))

    def key(self, value: Any) -> Hashable | None:
        if isinstance(value, str):
            try:
                value = read_json(value)
            except ValueError:
                return TextKind().key(value)
        if value is None or value == "" or (isinstance(value, float) and math.isnan(value)):
            return None
        try:
            return _dump(_canonical(value))
        except ValueError:
            return None
