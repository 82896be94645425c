"""What a user's code does, as text that changes when the code does: functions, metrics, modules, types."""

from __future__ import annotations

import dataclasses
import enum
import functools
import hashlib
import inspect
import json
import sys
import textwrap
import types
from collections.abc import Mapping
from typing import Any

import dspy
import numpy as np
import pydantic

from ..answers.kinds import AnswerKind

#: What every DSPy module carries beside what shapes its outputs.
_OF_EVERY_MODULE = frozenset({"callbacks", "history"})
#: Packages whose code goes by its name: a new version of them is no other program.
_BY_NAME = ("dspy", "dspy_mux", "builtins")
_DEEPEST = 4


def of_callable(function: Any) -> str:
    """A hash of what a function, method, partial or object does.

    Of its source, and of what it is bound to: functions, numbers and texts, and values such as dataclasses, pydantic models and
    arrays; of other objects by their types. Not of what it reads at module level. Without a source, as for a built-in, of its name.
    """
    return hash_of(_told(function, _DEEPEST))


def of_module(program: dspy.Module) -> str | None:
    """A hash of a program's own code and settings; None where DSPy's modules alone, with no settings, make it up.

    Of the source of each module's class and its plain attributes, such as a number of rounds. Predictors are described elsewhere.
    """
    told = {}
    for name, module in program.named_sub_modules():
        if isinstance(module, dspy.Predict):
            settings: Any = _plain(module.config, _DEEPEST)
        else:
            settings = _attributes(module, _DEEPEST)
        if (sources := _sources(type(module))) or settings:
            told[name] = [_name(type(module)), sources, settings]
    return hash_of(told) if told else None


def code_of_kind(kind: AnswerKind) -> list[str]:
    """A hash of how a user's own kind or function compares answers; nothing for the kinds here, which their names tell."""
    function = getattr(kind, "function", None)
    if function is None and type(kind).__module__.partition(".")[0] == "dspy_mux":
        return []
    return [of_callable(kind if function is None else function)]


def of_type(annotation: Any) -> str | None:
    """A hash of a type's schema; None for one that its name tells whole, or that has none."""
    if annotation in (str, int, float, bool, Any):
        return None
    try:
        schema = pydantic.TypeAdapter(annotation).json_schema()
    except (pydantic.PydanticUserError, pydantic.errors.PydanticUndefinedAnnotation):
        return None
    told = (
        "$defs" in schema or "properties" in schema or {"enum", "title"} <= schema.keys()
    )  # a Literal has no title
    return hash_of(schema) if told else None


def hash_of(value: Any) -> str:
    """SHA-256 of a plain JSON value, the same for any order of an object's names."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, ensure_ascii=True).encode()).hexdigest()


def _told(value: Any, depth: int) -> Any:
    if depth == 0:
        return _name(type(value))
    if isinstance(value, functools.partial):
        return [
            "partial",
            *(_plain(part, depth - 1) for part in (value.func, value.args, value.keywords)),
        ]
    if inspect.ismethod(value):
        return ["method", _told(value.__func__, depth - 1), _told(value.__self__, depth - 1)]
    if inspect.isroutine(value):
        return [_name(value), _source(value), _bound(value, depth - 1)]
    if inspect.isclass(value):
        return [_name(value), _sources(value)]
    return [_name(type(value)), _sources(type(value)), _attributes(value, depth - 1)]


def _bound(function: Any, depth: int) -> Any:
    """What a function has closed over, and its defaults."""
    cells = (
        zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
        if inspect.isfunction(function)
        else ()
    )
    closed: dict[str, Any] = {}
    for name, cell in cells:
        try:
            closed[name] = _plain(cell.cell_contents, depth)
        except ValueError:  # not bound yet
            continue
    defaults = [getattr(function, name, None) for name in ("__defaults__", "__kwdefaults__")]
    return [closed, *(_plain(given, depth) for given in defaults)]


def _attributes(value: Any, depth: int) -> dict[str, Any]:
    """An object's public attributes; modules in a module are told on their own, and LMs are the member's."""
    given = {
        name: inner
        for name, inner in getattr(value, "__dict__", {}).items()
        if not name.startswith("_")
    }
    told = {
        name: _plain(inner, depth)
        for name, inner in given.items()
        if not isinstance(inner, (dspy.Module, dspy.BaseLM))
    }
    return {
        name: inner
        for name, inner in told.items()
        if inner is not None and name not in _OF_EVERY_MODULE
    }


def _plain(value: Any, depth: int) -> Any:
    """A value that code is bound to: itself where JSON has it, a function by what it does, anything else by its type."""
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return repr(value)
    if depth == 0 or isinstance(value, (dspy.Module, dspy.BaseLM)):
        return _name(type(value))
    if isinstance(value, Mapping):
        return {str(name): _plain(inner, depth - 1) for name, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(inner, depth - 1) for inner in value]
    if isinstance(value, (set, frozenset)):
        return sorted((_plain(inner, depth - 1) for inner in value), key=json.dumps)
    if isinstance(value, np.ndarray):
        return [
            str(value.dtype),
            list(value.shape),
            hashlib.sha256(np.ascontiguousarray(value).tobytes()).hexdigest(),
        ]
    if isinstance(value, enum.Enum):
        return [_name(type(value)), value.name]
    by_value = dataclasses.is_dataclass(value) or isinstance(
        value, (pydantic.BaseModel, types.SimpleNamespace)
    )
    return _told(value, depth) if by_value or callable(value) else _name(type(value))


def _name(code: Any) -> str:
    return f"{getattr(code, '__module__', None)}.{getattr(code, '__qualname__', type(code).__qualname__)}"


def _sources(of: type) -> list[str]:
    """The sources of a class and of the classes it is made from, as far as they are the user's."""
    bases = [each for each in of.__mro__[1:] if not _is_installed(each)]
    return [source for each in (of, *bases) if (source := _source(each)) is not None]


def _is_installed(of: type) -> bool:
    name = of.__module__.partition(".")[0]
    file = getattr(sys.modules.get(of.__module__), "__file__", None) or ""
    return name in sys.stdlib_module_names or "site-packages" in file or "dist-packages" in file


def _source(code: Any) -> str | None:
    """Its source; None where it goes by its name, or has none."""
    goes_by_name = str(getattr(code, "__module__", "")).partition(".")[0] in _BY_NAME
    return None if goes_by_name else _read(code)


@functools.lru_cache(maxsize=512)
def _read(code: Any) -> str | None:
    try:
        source = textwrap.dedent(inspect.getsource(code)).strip()
    except (OSError, TypeError):
        source = None
    if inspect.isfunction(code) and (
        source is None or source.count("lambda") > 1
    ):  # typed in, or one of several on its line
        return f"{source} {_compiled(code.__code__)}"
    return source


def _compiled(code: types.CodeType) -> list[Any]:
    """What stands for a source where there is none, or more than one in it."""
    constants = [
        _compiled(each) if inspect.iscode(each) else _constant(each) for each in code.co_consts
    ]
    return [code.co_code.hex(), code.co_names, code.co_varnames, code.co_freevars, constants]


def _constant(value: Any) -> str:
    return repr(sorted(map(repr, value))) if isinstance(value, frozenset) else repr(value)
