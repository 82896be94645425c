"""TODO"""

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
from . import extract as extraction
from .kinds import AnswerKind, TextKind, exact_value, twelve_digits


def _canonical(value: Any, depth: int = 0) -> Any:
    """A value as JSON whose equality is the answers': numbers by value, texts folded, sets sorted, models as objects.

    Raises ValueError beyond 100 levels.
    """
    if depth > 100:
        raise ValueError("nested too deeply to compare")
    if isinstance(value, enum.Enum):
        value = value.value
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return extraction.fold(value)
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
class JsonKind(AnswerKind):
    """Lists, tuples, sets, dicts, TypedDicts, dataclasses and pydantic models, compared as canonical JSON.

    The order of a list counts, that of a set or of an object's names does not; 1 equals 1.0.
    """

    annotation: Any = Any
    name = "json"

    def extract(self, text: str) -> Any | None:
        found = extraction.json_values(text)
        for answer in extraction.marked_answers(text):
            found += extraction.json_values(answer)
        return next(
            (
                read
                for value in reversed(found)
                if (read := self.usable(self._read(value))) is not None
            ),
            None,
        )

    def key(self, value: Any) -> Hashable | None:
        try:
            if isinstance(value, str):
                value = extraction.read_json(extraction.unfence(value))
            value = self._read(value) if isinstance(value, (list, dict)) else value
            return None if value is None else _dump(_canonical(value))
        except ValueError:
            return None

    def _read(self, value: Any) -> Any | None:
        """A JSON value as the annotation's own type, or None where it does not fit."""
        try:
            return _reader(self.annotation).validate_python(value)
        except pydantic.ValidationError:
            return None


@lru_cache(maxsize=256)
def _reader(annotation: Any) -> pydantic.TypeAdapter[Any]:
    """What reads JSON values into a type; raises ConfigurationError where pydantic has no way to."""
    try:
        reader = pydantic.TypeAdapter(annotation)
        reader.rebuild()  # else a name that is not defined shows at the first answer
        return reader
    except (pydantic.PydanticUserError, pydantic.errors.PydanticUndefinedAnnotation) as error:
        told = str(error).splitlines()[0].rstrip(".")
        raise ConfigurationError(
            f"No answer can be read into the type {annotation!r}: {told}."
        ) from error


@dataclass(frozen=True)
class AnyKind(AnswerKind):
    """A field of no particular type: JSON where the text is JSON, else text."""

    name = "any"

    def extract(self, text: str) -> Any | None:
        return self.usable(TextKind().extract(text))

    def key(self, value: Any) -> Hashable | None:
        if isinstance(value, str):
            try:
                value = extraction.read_json(value)
            except ValueError:
                return TextKind().key(value)
        if value is None or value == "" or (isinstance(value, float) and math.isnan(value)):
            return None
        try:
            return _dump(_canonical(value))
        except ValueError:
            return None
