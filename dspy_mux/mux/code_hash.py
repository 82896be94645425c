"""Hash what a user's code does: functions, metrics, programs and types.

A bank and a run folder keep these hashes, so that a change of the code is noticed.
"""

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
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, TypeAlias

import dspy
import numpy as np
import pydantic

from ..answers.declared import ConstrainedKind, OptionalKind
from ..answers.equivalence import AnswerKind
from ..answers.joint import JointKind
from ..sampling.array_content import is_foreign
from ..sampling.content import TEXTUAL, NoContent, content

#: A plain JSON value.
Json: TypeAlias = "bool | int | str | list[Json] | dict[str, Json] | None"

#: Attributes of every DSPy module that do not shape its outputs.
_IGNORED_ATTRIBUTES = frozenset({"callbacks", "history"})
#: Packages whose code is hashed by its name alone: a new version is not another program.
_BY_NAME = ("dspy", "dspy_mux", "builtins")
#: Where the answer kinds lived when the first hashes were recorded; hashes name them by it.
_RECORDED_MODULES = {
    "dspy_mux.answers.kinds": "dspy_mux.kinds",
    "dspy_mux.answers.number_kind": "dspy_mux.kinds",
    "dspy_mux.answers.choice_kind": "dspy_mux.kinds",
    "dspy_mux.answers.choose": "dspy_mux.answers",
}
#: How far values within values are described.
DEEPEST = 4


def hash_callable(function: object) -> str:
    """Hash what a function, method, partial or callable object does.

    The hash covers its source and what it is bound to: functions, numbers, texts, and values such
    as dataclasses, pydantic models, dates, arrays and frames. Other objects count by their
    type. What it reads at module level is not covered. Code without a source, such as a built-in,
    is hashed by its name.

    >>> def exact(example, pred, trace=None):
    ...     return example.answer == pred.answer
    >>> hash_callable(exact) == hash_callable(exact)
    True
    """
    return hash_value(_description(function, DEEPEST))


def hash_module(program: dspy.Module) -> str | None:
    """Hash a program's own code and settings; None for DSPy's modules without settings.

    The hash covers the source of each module's class and its plain attributes, such as a number of
    rounds. Predictors are described elsewhere.
    """
    modules: dict[str, Json] = {}
    for name, module in program.named_sub_modules():
        settings: Json
        if isinstance(module, dspy.Predict):
            settings = plain(module.config, DEEPEST)
        else:
            settings = plain_attributes(module, DEEPEST)
        sources = _sources(type(module))
        if sources or settings:
            modules[name] = [_name(type(module)), sources, settings]
    return hash_value(modules) if modules else None


def hash_kind(kind: AnswerKind) -> list[str]:
    """Hash how a user's own kind or function compares answers; empty for the built-in kinds."""
    return describe_kind(kind, hash_callable)


def describe_kind(kind: AnswerKind, describe: Callable[[object], str]) -> list[str]:
    """Describe the user's own kinds and functions within a kind; those of a field after its name.

    >>> from dspy_mux import answer_kind
    >>> describe_kind(answer_kind(str, equivalence=len), str)
    ['<built-in function len>']
    """
    if isinstance(kind, (OptionalKind, ConstrainedKind)):
        return describe_kind(kind.base, describe)
    if isinstance(kind, JointKind):
        return [
            f"{name} {own}" for name, inner in kind.kinds for own in describe_kind(inner, describe)
        ]
    function = getattr(kind, "function", None)
    if function is None and type(kind).__module__.partition(".")[0] == "dspy_mux":
        return []
    return [describe(kind if function is None else function)]


def hash_type(annotation: Any) -> str | None:
    """Hash a type's schema; None where its name says it all, or where it has no schema."""
    if annotation in (str, int, float, bool, Any):
        return None
    try:
        schema = pydantic.TypeAdapter(annotation).json_schema()
    except (pydantic.PydanticUserError, pydantic.errors.PydanticUndefinedAnnotation):
        return None
    # An Enum's schema has a title, a Literal's has not.
    has_parts = "$defs" in schema or "properties" in schema or {"enum", "title"} <= schema.keys()
    return hash_value(schema) if has_parts else None


def hash_value(value: Any) -> str:
    """Return the SHA-256 of a plain JSON value; the order of an object's names does not matter."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, ensure_ascii=True).encode()).hexdigest()


def recorded_name(annotation: Any) -> str:
    """Return the text of a type, in which our own kinds stand where they did when first recorded.

    >>> from dspy_mux import Percent
    >>> recorded_name(list[Percent])
    'list[dspy_mux.kinds.Percent]'
    """
    text = str(annotation)
    for module, recorded in _RECORDED_MODULES.items():
        text = text.replace(f"{module}.", f"{recorded}.")
    return text


def _description(value: Any, depth: int) -> Json:
    if depth == 0:
        return _name(type(value))
    if isinstance(value, functools.partial):
        parts = (value.func, value.args, value.keywords)
        return ["partial", *(plain(part, depth - 1) for part in parts)]
    if inspect.ismethod(value):
        function = _description(value.__func__, depth - 1)
        return ["method", function, _description(value.__self__, depth - 1)]
    if inspect.isroutine(value):
        return [_name(value), _source(value), bound_values(value, depth - 1)]
    if inspect.isclass(value):
        return [_name(value), _sources(value)]
    return [_name(type(value)), _sources(type(value)), plain_attributes(value, depth - 1)]


def bound_values(function: Any, depth: int) -> list[Json]:
    """Return what a function closes over, and its defaults."""
    cells = (
        zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
        if inspect.isfunction(function)
        else ()
    )
    closed: dict[str, Json] = {}
    for name, cell in cells:
        try:
            closed[name] = plain(cell.cell_contents, depth)
        except ValueError:  # not bound yet
            continue
    defaults = [getattr(function, name, None) for name in ("__defaults__", "__kwdefaults__")]
    return [closed, *(plain(given, depth) for given in defaults)]


def plain_attributes(value: object, depth: int) -> dict[str, Json]:
    """Return an object's public attributes, without inner modules and LMs.

    Inner modules are described on their own, and LMs belong to the member.
    """
    described = {
        name: plain(inner, depth)
        for name, inner in getattr(value, "__dict__", {}).items()
        if not name.startswith("_") and not isinstance(inner, (dspy.Module, dspy.BaseLM))
    }
    return {
        name: inner
        for name, inner in described.items()
        if inner is not None and name not in _IGNORED_ATTRIBUTES
    }


def plain(value: Any, depth: int) -> Json:
    """Return a value that code is bound to: as JSON, a function's description, or a type's name."""
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return repr(value)
    if depth == 0 or isinstance(value, (dspy.Module, dspy.BaseLM)):
        return _name(type(value))
    if isinstance(value, Mapping):
        return {str(name): plain(inner, depth - 1) for name, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(inner, depth - 1) for inner in value]
    if isinstance(value, (set, frozenset)):
        return sorted((plain(inner, depth - 1) for inner in value), key=json.dumps)
    if isinstance(value, np.ndarray):
        digest = hashlib.sha256(np.ascontiguousarray(value).tobytes()).hexdigest()
        return [str(value.dtype), list(value.shape), digest]
    if isinstance(value, enum.Enum):
        return [_name(type(value)), value.name]
    by_value = dataclasses.is_dataclass(value) or isinstance(
        value, (pydantic.BaseModel, types.SimpleNamespace)
    )
    if by_value or callable(value):
        return _description(value, depth)
    if is_foreign(value) or isinstance(value, (bytes, *TEXTUAL)):
        with suppress(NoContent):
            return [_name(type(value)), hash_value(content(value))]
    return _name(type(value))


def _name(code: Any) -> str:
    qualified = getattr(code, "__qualname__", type(code).__qualname__)
    module = getattr(code, "__module__", None)
    return f"{_RECORDED_MODULES.get(str(module), module)}.{qualified}"


def _sources(cls: type) -> list[Json]:
    """Return the sources of a class and of its bases, as far as they are the user's."""
    bases = [base for base in cls.__mro__[1:] if not _is_installed(base)]
    return [source for part in (cls, *bases) if (source := _source(part)) is not None]


def _is_installed(cls: type) -> bool:
    name = cls.__module__.partition(".")[0]
    file = getattr(sys.modules.get(cls.__module__), "__file__", None) or ""
    return name in sys.stdlib_module_names or "site-packages" in file or "dist-packages" in file


def _source(code: Any) -> str | None:
    """Return the source; None for code that goes by its name, or has no source."""
    goes_by_name = str(getattr(code, "__module__", "")).partition(".")[0] in _BY_NAME
    return None if goes_by_name else _read(code)


@functools.lru_cache(maxsize=512)
def _read(code: Any) -> str | None:
    try:
        source = textwrap.dedent(inspect.getsource(code)).strip()
    except (OSError, TypeError):
        source = None
    # Typed at a prompt, or one of several lambdas on its line.
    if inspect.isfunction(code) and (source is None or source.count("lambda") > 1):
        return f"{source} {compiled(code.__code__)}"
    return source


def compiled(code: types.CodeType) -> list[Any]:
    """Return what stands for a missing or ambiguous source."""
    constants = [
        compiled(constant) if inspect.iscode(constant) else _constant(constant)
        for constant in code.co_consts
    ]
    return [code.co_code.hex(), code.co_names, code.co_varnames, code.co_freevars, constants]


def _constant(value: object) -> str:
    return repr(sorted(map(repr, value))) if isinstance(value, frozenset) else repr(value)
