"""The kinds of structured values: lists, sets, dicts and models as JSON; fields of any type."""

from __future__ import annotations

import copy
import dataclasses
import enum
import json
import math
import numbers
import re
from collections.abc import Hashable, Mapping, Set
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from typing import Any

import pydantic

from ..errors import ConfigurationError
from ..text import first_line
from .equivalence import ReplyKind
from .json_text import answer_of_json, json_spans, read_json
from .kinds import TextKind
from .list_text import list_items
from .marks import marked_answer
from .number_kind import NumberKind
from .numerals import exact_value, twelve_digits
from .plain_text import fold, unfence

_DEEPEST = 100  # levels of a value that are compared
_BARE_NAME = re.compile(r"([{,]\s{0,9})([A-Za-z_][\w-]{0,60})(\s{0,9}:)")
_CURLY = dict.fromkeys(map(ord, "“”„‟"), '"')
_PREFERRED = re.compile(
    r"\b(?:then|wait|reconsider|correct(?:ed|ion)?|final(?:ly)?|answer|instead|actually|gives?|therefore"
    r"|thus|hence|result(?:s|ing)?)\b",
    re.IGNORECASE,
)
#: Pydantic's errors of texts that are no numbers → how we read them.
_NUMBERS = {
    "int_parsing": NumberKind(int),
    "float_parsing": NumberKind(float),
    "decimal_parsing": NumberKind(Decimal),
}


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
    ignores_notes = False  # a model's own fields may have these names

    def _find(self, text: str) -> Any | None:
        marked = marked_answer(text)
        found = None if marked is None else self._stated(marked)
        return self._stated(text) if found is None else found

    def _stated(self, text: str) -> Any | None:
        """Return the one value that a text states; None where it states none, or several."""
        spans = list(json_spans(text))
        if not spans:  # {biopsy: 2}, or with curly quotes
            text = _BARE_NAME.sub(r'\1"\2"\3', text.translate(_CURLY))
            spans = list(json_spans(text))
        fitting: list[tuple[Any, int, int]] = []
        for span in spans:
            read = next(filter(None, map(self._key_and_value, _readings(span.value))), None)
            if read is not None:
                fitting.append((read, span.start, span.end))
        if not spans and (items := list_items(text)) is not None:
            return self.usable(self._read(items))
        if not fitting:
            return None
        (key, value), start, _ = fitting[-1]
        for (other, _), _, end in fitting[-2::-1]:
            # Of several values the last counts only where a word says that it is the answer.
            if other != key and not _PREFERRED.search(text, end, start):
                return None
        return value

    def _key_and_value(self, value: Any) -> tuple[Hashable, Any] | None:
        read = self._read(value)
        key = None if read is None else self.key(read)
        return None if key is None else (key, read)

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
        reader = json_reader(self.annotation)
        try:
            return reader.validate_python(value)
        except pydantic.ValidationError as error:
            numbered = _with_numbers(value, error)
        try:
            return None if numbered is None else reader.validate_python(numbered)
        except pydantic.ValidationError:
            return None


def _readings(value: Any) -> list[Any]:
    """Return a JSON value, and what it wraps: the answer of an object, or its only value."""
    wrapped = answer_of_json(value)
    if not wrapped and isinstance(value, dict) and len(value) == 1:
        wrapped = list(value.values())
    return [value, *wrapped]


def _with_numbers(value: Any, error: pydantic.ValidationError) -> Any | None:
    """Return a value with numbers in place of the texts that pydantic could not read as numbers.

    None where one of them is no number to us either, or something else is wrong.
    """
    root = [copy.deepcopy(value)]
    for wrong in error.errors(include_url=False, include_context=False):
        kind = _NUMBERS.get(wrong["type"])
        number = kind.extract(wrong["input"]) if kind and isinstance(wrong["input"], str) else None
        if number is None:
            return None
        place: Any = root
        *path, last = (0, *wrong["loc"])
        try:
            for step in path:
                place = place[step]
            place[last] = number
        except (LookupError, TypeError):  # of a union, or a key
            return None
    return root[0]


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
