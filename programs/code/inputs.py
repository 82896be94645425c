"""Make inputs that distinguish functions: the examples of a docstring, and variations of them.

    count(["a", "b"], 2) == 0 in a docstring → (["a", "b"], 2), (["b", "a", "a"], 2), …

If a docstring has no examples, inputs are made from the type hints. All are plain data, and the
same in every run.
"""

from __future__ import annotations

import ast
import random
import re
from collections.abc import Callable
from typing import Any

from .completion import docstring

MADE = 12  # inputs made besides the examples
_MAX_EXAMPLE = 1_000  # characters


def inputs(function: ast.FunctionDef) -> list[tuple[Any, ...]]:
    """Return tuples of arguments for a function, made from its docstring or its type hints.

    Empty if neither says what the function takes.
    """
    examples = _examples(function)
    rng = random.Random(function.name)
    if examples:
        made = [_vary_one(rng.choice(examples), rng) for _ in range(MADE)]
    else:
        made = [
            args for _ in range(MADE) if (args := _from_hints(function.args.args, rng)) is not None
        ]
    return list({repr(args): args for args in [*examples, *made]}.values())


def _examples(function: ast.FunctionDef) -> list[tuple[Any, ...]]:
    """Return the arguments that a docstring shows as literals.

    They are in calls of the function, else after `Input: …` or `name = …`.
    """
    text, names = docstring(function), [argument.arg for argument in function.args.args]
    calls = (
        _call_arguments(text[start.end() :])
        for start in re.finditer(rf"(?<![\w.]){re.escape(function.name)}(?=\()", text)
    )
    least = len(names) - len(function.args.defaults)
    if found := [args for args in calls if args is not None and least <= len(args) <= len(names)]:
        return found
    first = (
        rf"\b(?:{re.escape(names[0])}|Input)\s?[=:]\s*(?:{re.escape(names[0])}\s?[=:]\s*)?"
        if names
        else r"(?!)"
    )
    named = (
        _literals(text[start.end() :], names[1:])
        for start in re.finditer(first, text, re.IGNORECASE)
    )
    return [args for args in named if args is not None]


def _call_arguments(text: str) -> tuple[Any, ...] | None:
    """Return the arguments in the parentheses that a text begins with, if they are literals."""
    for end in re.finditer(r"\)", text[:_MAX_EXAMPLE]):
        try:
            call = ast.parse(f"f{text[: end.end()]}", mode="eval").body
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            continue
        if not isinstance(call, ast.Call) or call.keywords:
            return None
        try:
            return tuple(map(ast.literal_eval, call.args))
        except (ValueError, TypeError):
            return None
    return None


def _literals(text: str, names: list[str]) -> tuple[Any, ...] | None:
    """Return the literal that a text begins with, and those of further names (`[1, 2], k = 3`)."""
    for end in re.finditer(r"(?=[,;\s]|\.\s|\.?$)", text[:_MAX_EXAMPLE]):
        try:
            value = ast.literal_eval(text[: end.end()])
        except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError):
            continue
        if not names:
            return (value,)
        further = re.match(rf"\s*[,;]\s*{re.escape(names[0])}\s?[=:]\s*", text[end.end() :])
        rest = _literals(text[end.end() + further.end() :], names[1:]) if further else None
        return None if rest is None else (value, *rest)
    return None


# ------------------------------------------------------------------------------------------------
# Variations of an example


def _vary_one(args: tuple[Any, ...], rng: random.Random) -> tuple[Any, ...]:
    at = rng.randrange(len(args)) if args else 0
    return tuple(_varied(arg, rng) if number == at else arg for number, arg in enumerate(args))


def _varied(value: Any, rng: random.Random) -> Any:
    """Return another value like this one, so that it stays what the function is for.

    Its sign is kept, and it becomes 0, 1 or empty only if this one is.
    """
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        size = rng.randint(min(2, abs(value)), abs(value) + 2)
        return size if value >= 0 else -size
    if isinstance(value, float):
        return round(value * rng.uniform(0.5, 1.5), 2)
    if isinstance(value, str):
        separator = next((mark for mark in (", ", ",", "\n", " ") if mark in value), "")
        parts = value.split(separator) if separator else list(value)
        rng.shuffle(parts)
        return separator.join([*parts, rng.choice(parts)] if parts else parts)
    if isinstance(value, list):
        items = [
            _varied(item, rng)
            if isinstance(item, (int, float, str)) and rng.random() < 0.3
            else item
            for item in value
        ]
        rng.shuffle(items)
        return [*items, rng.choice(items)] if items else items
    if isinstance(value, tuple):
        return tuple(_varied(item, rng) for item in value)
    if isinstance(value, dict):
        return {key: _varied(item, rng) for key, item in value.items()}
    return value


# ------------------------------------------------------------------------------------------------
# From type hints


def _from_hints(arguments: list[ast.arg], rng: random.Random) -> tuple[Any, ...] | None:
    """Return a value for each argument; None if one has no hint, or a type that is not plain."""
    try:
        return tuple(_hinted_value(argument.annotation, rng) for argument in arguments) or None
    except LookupError:
        return None


def _hinted_value(hint: ast.expr | None, rng: random.Random) -> Any:
    """Return a small value of a type.

    Raises:
        LookupError: the type is not plain.
    """
    if isinstance(hint, ast.Subscript):
        inner = hint.slice.elts if isinstance(hint.slice, ast.Tuple) else [hint.slice]
        name = ast.unparse(hint.value).rpartition(".")[2].lower()
        if name in ("list", "sequence", "iterable"):
            return [_hinted_value(inner[0], rng) for _ in range(rng.randint(1, 5))]
        if name in ("tuple", "union"):
            if name == "union":
                return _hinted_value(rng.choice(inner), rng)
            return tuple(_hinted_value(part, rng) for part in inner)
        if name == "optional":
            return _hinted_value(inner[0], rng)
        if name == "dict" and len(inner) == 2:
            return {
                _hinted_value(inner[0], rng): _hinted_value(inner[1], rng)
                for _ in range(rng.randint(1, 4))
            }
        raise LookupError(name)
    return _MAKERS[ast.unparse(hint) if hint else ""](rng)


_MAKERS: dict[str, Callable[[random.Random], Any]] = {
    "int": lambda rng: rng.randint(1, 20),
    "float": lambda rng: round(rng.uniform(0, 20), 2),
    "str": lambda rng: "".join(rng.choices("abcdeABC 123", k=rng.randint(1, 8))),
    "bool": lambda rng: rng.random() < 0.5,
    "list": lambda rng: [rng.randint(1, 20) for _ in range(rng.randint(1, 5))],
    "dict": lambda rng: {letter: rng.randint(1, 20) for letter in "abc"},
}
