"""What a client asks a reply to be: JSON, or JSON of a schema."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Hashable, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from pydantic_core import SchemaError, SchemaValidator, core_schema

from ..answers.json_text import read_json
from ..answers.plain_text import unfence
from ..answers.reply import answering_text
from ..answers.structured import AnyKind
from ..errors import ConfigurationError

#: Characters of a schema that is accepted.
_LONGEST_SCHEMA = 100_000
#: Keywords that are looked at to check one value: references that branch double at each level.
_MOST_STEPS = 20_000
#: Items of a keyword and of the value that are looked at in one step.
_IN_A_STEP = 100

_steps: ContextVar[Iterator[int] | None] = ContextVar("steps of a check", default=None)


@dataclass(frozen=True)
class ReplyFormat:
    """JSON of a schema.

    Attributes:
        schema: a JSON schema as text; None for any object.
    """

    schema: str | None

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> ReplyFormat:
        """Return the format that a request's `response_format` asks for.

        Raises:
            ConfigurationError: its schema is none, or cannot be checked.
        """
        if given["type"] == "json_object":
            return cls(None)
        text = json.dumps(given["json_schema"].get("schema") or {}, sort_keys=True)
        _validator(text)
        return cls(text)

    def find(self, text: str) -> str | None:
        """Return the JSON that a reply states; None where it is not of this format."""
        for candidate in (text, unfence(text), unfence(answering_text(text) or "")):
            if self.key(candidate) is not None:
                return candidate.strip()
        return None

    def key(self, text: str) -> Hashable | None:
        """Return what JSON is compared by; None where it is not of this format."""
        try:
            value = read_json(text)
        except ValueError:
            return None
        fits = isinstance(value, dict) if self.schema is None else _fits(self.schema, value)
        return AnyKind().key([value]) if fits else None


class _TooLong(Exception):
    """A value takes too many steps to check."""


def _fits(schema: str, value: Any) -> bool:
    from referencing.exceptions import Unresolvable

    validator = _validator(schema)
    token = _steps.set(iter(range(_MOST_STEPS)))
    try:
        return bool(validator.is_valid(value))
    except (RecursionError, _TooLong):  # a schema that refers to itself without end, or too often
        return False
    except Unresolvable:  # from within a part that has an address of its own
        return False
    finally:
        _steps.reset(token)


def _counted(check: Callable[..., Any]) -> Callable[..., Any]:
    """Return a keyword's check that counts as a step of the value's."""

    def step(validator: Any, keyword: Any, value: Any, schema: Any) -> Any:
        long = [len(one) for one in (keyword, value) if isinstance(one, (dict, list))]
        for _ in range(1 + sum(long) // _IN_A_STEP):
            _count_step()
        return check(validator, keyword, value, schema)

    return step


def _count_step() -> None:
    steps = _steps.get()
    if steps is not None and next(steps, None) is None:
        raise _TooLong


@functools.lru_cache(maxsize=256)
def _validator(schema: str) -> Any:
    """Return what checks values against a schema; it fetches nothing and always ends.

    Raises:
        ConfigurationError: it is no schema, too long, or cannot be checked so.
    """
    from jsonschema import exceptions, validators
    from referencing import Registry
    from referencing.exceptions import Unresolvable
    from referencing.jsonschema import DRAFT202012

    if len(schema) > _LONGEST_SCHEMA:
        raise ConfigurationError(
            f"The JSON schema has {len(schema)} characters, and {_LONGEST_SCHEMA} at most are read."
        )
    given = json.loads(schema)
    base = validators.validator_for(given, default=validators.Draft202012Validator)
    try:
        base.check_schema(given)
        # A registry of its own: the default one fetches what a schema refers to.
        resolver = Registry().resolver_with_root(DRAFT202012.create_resource(given))
        for name, value in _keywords(given):
            _check_keyword(name, value, resolver.lookup)
    except exceptions.SchemaError as error:
        raise ConfigurationError(f"The JSON schema is not valid: {error.message[:200]}.") from error
    except RecursionError as error:
        raise ConfigurationError("The JSON schema is nested too deeply.") from error
    except Unresolvable as error:
        raise ConfigurationError(
            f"The JSON schema refers to {error.ref[:80]!r}, which it does not hold: put it into "
            "its $defs."
        ) from error
    checks = {**base.VALIDATORS, "pattern": _pattern, "uniqueItems": _unique_items}
    counted = {name: _counted(check) for name, check in checks.items()}
    counted["enum"] = _choice(given)  # these count what they read
    counted["const"] = lambda _, const, value, __: _unlike({_exact_text(const)}, value)
    kind = validators.extend(base, counted)
    return kind(given, registry=Registry())


def _keywords(schema: Any) -> Iterator[tuple[str, Any]]:
    """Yield every name in a schema with its value."""
    if isinstance(schema, dict):
        yield from schema.items()
    inside = schema.values() if isinstance(schema, dict) else schema
    for inner in inside if isinstance(schema, (dict, list)) else ():
        yield from _keywords(inner)


def _check_keyword(name: str, value: Any, lookup: Callable[[str], object]) -> None:
    if name == "patternProperties":
        raise ConfigurationError("The JSON schema has patternProperties, which are not supported.")
    if name in ("$ref", "$dynamicRef", "$recursiveRef") and isinstance(value, str):
        lookup(value)
    if name == "pattern" and isinstance(value, str):
        try:
            _matcher(value)
        except SchemaError as error:
            raise ConfigurationError(
                f"The JSON schema has the pattern {value[:80]!r}, which cannot be checked in "
                "bounded time: leave out look-around and back-references."
            ) from error


@functools.lru_cache(maxsize=256)
def _matcher(pattern: str) -> SchemaValidator:
    # Rust's engine, which takes time linear in the text.
    return SchemaValidator(core_schema.str_schema(pattern=pattern, regex_engine="rust-regex"))


def _pattern(_: Any, pattern: str, value: Any, __: Any) -> Iterator[Any]:
    from jsonschema.exceptions import ValidationError

    if isinstance(value, str) and not _matcher(pattern).isinstance_python(value):
        yield ValidationError(f"{value!r} does not match {pattern!r}")


def _unique_items(_: Any, is_wanted: bool, value: Any, __: Any) -> Iterator[Any]:
    # In the library's own check, objects are compared each with each.
    from jsonschema.exceptions import ValidationError

    if is_wanted and isinstance(value, list):
        seen = {_exact_text(item) for item in value}
        if len(seen) < len(value):
            yield ValidationError("The items are not unique")


def _choice(schema: Any) -> Callable[..., Iterator[Any]]:
    """Return the check of `enum`, which looks values up."""
    found = (value for name, value in _keywords(schema) if name == "enum")
    known = {id(one): {_exact_text(each) for each in one} for one in found if isinstance(one, list)}

    def choice(_: Any, choices: list[Any], value: Any, __: Any) -> Iterator[Any]:
        texts = known.get(id(choices))  # the schema's own list, which the validator holds
        return _unlike(texts or {_exact_text(each) for each in choices}, value)

    return choice


def _unlike(texts: set[str], value: Any) -> Iterator[Any]:
    from jsonschema.exceptions import ValidationError

    if _exact_text(value) not in texts:
        yield ValidationError("It is none of the choices")


def _exact_text(value: Any) -> str:
    return json.dumps(_exact(value), sort_keys=True)


def _exact(value: Any) -> Any:
    """Return JSON with whole numbers written alike; texts keep their case, unlike in answers."""
    _count_step()
    if isinstance(value, dict):
        return {name: _exact(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_exact(inner) for inner in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value
