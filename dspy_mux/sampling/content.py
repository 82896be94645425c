"""The content of values: what fingerprints of questions and gold answers, and seeds, are of.

A value's content is its JSON form. Values that a model reads alike share it: a date and its ISO
text, a tuple and a list, a number as a key of a dict and its text, a scalar of numpy and Python's.
Numbers that read otherwise do not: 1, 1.0, True and "1" are four values, as are 0.0 and -0.0; NaN
is one value, other than "NaN". The order of a dict's keys and of a set does not matter. A time
counts with its offset from UTC: one instant in two offsets is two values.
"""

from __future__ import annotations

import base64
import collections
import dataclasses
import datetime
import decimal
import enum
import fractions
import ipaddress
import re
import uuid
from collections.abc import Callable, Mapping, Sequence, Set
from functools import partial
from pathlib import PurePath
from typing import Any

import dspy
from pydantic import BaseModel, PydanticUserError
from pydantic_core import to_jsonable_python

from ..errors import ConfigurationError
from .array_content import array_content, is_foreign, tagged

#: Larger integers have no decimal text (Python's limit is 4300 digits).
_MOST_BITS = 10_000
#: Values that pydantic writes as a text that says all of them.
TEXTUAL = (
    *(complex, decimal.Decimal, fractions.Fraction, uuid.UUID),
    *(datetime.date, datetime.time, datetime.timedelta),
    *(ipaddress.IPv4Address, ipaddress.IPv4Network),
    *(ipaddress.IPv6Address, ipaddress.IPv6Network),
)

_Inner = Callable[[Any], Any]


class NoContent(TypeError):
    """A value has no content that is the same in every process; the message names its type."""

    def __init__(self, value: object):
        kind = value if isinstance(value, type) else type(value)
        name = f"{kind.__module__}.{kind.__qualname__}".removeprefix("builtins.")
        super().__init__(f"the class {name}" if kind is value else f"a value of the type {name}")


def refuse(value: Any) -> Any:
    """Raise NoContent."""
    raise NoContent(value)


def content_of_fields(
    fields: Mapping[str, Any], noun: str = "input", other: _Inner = refuse
) -> dict[str, Any]:
    """Return the content of a question's fields.

    Args:
        noun: what messages call a field.
        other: describes a value without a content of its own, or refuses it.

    Raises:
        ConfigurationError: a field has no content; the message names it and the type.

    >>> content_of_fields({"born": datetime.date(1999, 12, 31), "tags": {"b", "a"}})
    {'born': '1999-12-31', 'tags': ['a', 'b']}
    """
    found = {}
    for name, value in fields.items():
        try:
            found[name] = content(value, other)
        except NoContent as error:
            raise ConfigurationError(
                f"The {noun} {name!r} holds {error}, by which one question cannot be told from "
                "another: give what is needed of it as text, numbers, lists, dicts, arrays, "
                "dataclasses or pydantic models, or make it inside the program or the metric."
            ) from error
        except RecursionError as error:
            raise ConfigurationError(
                f"The {noun} {name!r} is nested too deeply to tell questions apart by it."
            ) from error
    return found


def content(value: Any, other: _Inner = refuse, around: tuple[int, ...] = ()) -> Any:
    """Return a value's content as plain JSON values.

    Args:
        other: describes a value without a content of its own, such as a function, or refuses it.
        around: the ids of the values that this one is in.

    Raises:
        NoContent: by `refuse`.
        RecursionError: the value is nested too deeply.
    """
    kind = type(value)
    if value is None or kind in (str, bool, float):
        return value
    if id(value) in around:
        return tagged("around", len(around) - around.index(id(value)))
    inner = partial(content, other=other, around=(*around, id(value)))
    if kind in _CONVERSION:
        return _CONVERSION[kind](value, inner)
    if isinstance(value, type):
        found = _schema(value)
    elif is_foreign(value):
        found = array_content(value, inner)
    elif hasattr(type(value), "__pydantic_serializer__"):
        found = _model(value, inner)
    elif dataclasses.is_dataclass(value):
        found = _record(value, inner)
    else:
        convert = next((f for kinds, f in _CONVERSIONS if isinstance(value, kinds)), None)
        return other(value) if convert is None else convert(value, inner)
    return other(value) if found is None else found


def ordered(values: Set[Any]) -> list[Any]:
    """Return a set's members in an order that is the same in every process."""
    return sorted(values, key=lambda value: repr(_listed(value)))


def _listed(value: Any) -> Any:
    """Return a value with the sets in it as lists, so that its repr is the same everywhere."""
    if isinstance(value, Set):
        return sorted(map(_listed, value), key=repr)
    if type(value) in (list, tuple):
        return [_listed(one) for one in value]
    if isinstance(value, BaseModel) or dataclasses.is_dataclass(value):
        return content(value, lambda unknown: type(unknown).__qualname__)
    return value


def _record(value: Any, inner: _Inner) -> dict[str, Any]:
    return {field.name: inner(getattr(value, field.name)) for field in dataclasses.fields(value)}


def _schema(kind: type) -> Any:
    """Return what a class of pydantic's, or a signature, asks for; None for any other class."""
    if not issubclass(kind, BaseModel):
        return None
    try:
        return tagged("schema", kind.model_json_schema())
    except (PydanticUserError, TypeError, ValueError):
        return None


def _model(value: Any, inner: _Inner) -> Any:
    """Return what a pydantic model or dataclass says of itself in JSON.

    Where its JSON would lose something, the content of its fields; None where it has none.
    """
    try:
        fields = value.__pydantic_serializer__.to_python(value, warnings=False)
        if _loses(fields):
            return inner(fields)
        return to_jsonable_python(value, fallback=inner, serialize_unknown=False)
    except (NoContent, RecursionError):
        raise
    except (TypeError, ValueError):
        return None


def _loses(value: Any) -> bool:
    """Return whether a model's JSON says less than its fields: bytes, sets, keys, pandas' times."""
    if value is None or isinstance(value, (str, int, float)):
        return False
    if isinstance(value, Mapping):
        return any(type(key) is not str for key in value) or any(map(_loses, value.values()))
    if isinstance(value, (list, tuple)):
        return any(map(_loses, value))
    return isinstance(value, (Set, bytes, bytearray)) or is_foreign(value)


def _integer(value: int, _: _Inner) -> Any:
    number = int(value)
    return number if number.bit_length() <= _MOST_BITS else tagged("int", hex(number))


def _bytes(value: bytes | bytearray | memoryview, _: _Inner) -> Any:
    data = bytes(value)
    try:
        return data.decode()
    except UnicodeDecodeError:
        return tagged("bytes", base64.b64encode(data).decode())


def _pattern(value: re.Pattern[Any], inner: _Inner) -> Any:
    found = inner(value.pattern)
    plain = value.flags in (0, re.UNICODE.value)
    return found if plain else tagged("pattern", found, value.flags)


def _mapping(value: Mapping[Any, Any], inner: _Inner) -> Any:
    """Return a mapping's content: as sorted pairs where its keys have no texts that differ."""
    keys = [key if type(key) is str else _key(key) for key in value]
    if None in keys or len(set(keys)) < len(keys):
        pairs = [[inner(key), inner(one)] for key, one in value.items()]
        return tagged("mapping", sorted(pairs, key=repr))
    return dict(zip(keys, map(inner, value.values()), strict=True))


def _sequence(values: Sequence[Any], inner: _Inner) -> list[Any]:
    return [inner(one) for one in values]


def _key(key: Any) -> str | None:
    """Return a key's text in JSON; None where it has none."""
    if is_foreign(key):
        key = array_content(key, content)
    try:
        text: str = next(iter(to_jsonable_python({key: None}, serialize_unknown=False)))
    except (TypeError, ValueError):
        return None
    return text


#: Types → how their content is found, in the order to try them.
_CONVERSIONS: list[tuple[Any, Callable[[Any, _Inner], Any]]] = [
    (enum.Enum, lambda value, inner: inner(value.value)),
    (int, _integer),
    (float, lambda value, _: float(value)),
    (str, lambda value, _: str.__str__(value)),
    (collections.UserString, lambda value, _: value.data),
    ((bytes, bytearray, memoryview), _bytes),
    (PurePath, lambda value, _: str(value)),
    (TEXTUAL, lambda value, _: to_jsonable_python(value)),
    (re.Pattern, _pattern),
    (Mapping, _mapping),
    (Set, lambda value, inner: [inner(one) for one in ordered(value)]),
    (Sequence, _sequence),
    (dspy.Example, lambda value, inner: inner(value.toDict())),
]
#: The same for the types of JSON themselves, without a search.
_CONVERSION: dict[type, Callable[[Any, _Inner], Any]] = {
    int: _integer,
    dict: _mapping,
    list: _sequence,
    tuple: _sequence,
}
