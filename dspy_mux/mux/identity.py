"""Say what a user's own rule or equivalence is, so that a saved mux never opens with another.

A saved mux holds these words and compares them. What they name is never imported from there.
"""

from __future__ import annotations

import ast
import dataclasses
import functools
import inspect
import sys
import types
from pathlib import Path
from typing import Any

import pydantic

from ..answers.equivalence import AnswerKind
from .code_hash import DEEPEST, Json, bound_values, compiled, hash_value, plain, plain_attributes

#: Hexadecimal digits of a digest; enough to tell a few functions apart.
_DIGITS = 16


def identify(code: Any) -> str:
    """Return the module and qualified name of a function, or of an object's class.

    Where these do not say all, a digest follows: of what a function is bound to, of a lambda's own
    code, of a dataclass's fields. Values themselves never appear: one may be a key.

    >>> identify(str.lower)
    'builtins.str.lower'
    >>> def first_letters(count):
    ...     return lambda answer: answer[:count]
    >>> identify(first_letters(1)) == identify(first_letters(1))
    True
    >>> identify(first_letters(1)) == identify(first_letters(2))
    False
    """
    name, details = _described(code)
    return f"{name}#{hash_value(details)[:_DIGITS]}" if any(details) else name


def _described(code: Any) -> tuple[str, list[Json]]:
    if not inspect.isfunction(code) and hasattr(code, "__wrapped__"):  # by functools.lru_cache
        return _described(code.__wrapped__)
    if isinstance(code, functools.partial):
        name, details = _described(code.func)
        return name, [*details, plain(code.args, DEEPEST), plain(code.keywords, DEEPEST)]
    if inspect.ismethod(code):
        name, details = _described(code.__func__)
        return name, [*details, *_described(code.__self__)[1]]
    if inspect.isroutine(code) or inspect.isclass(code):
        return _name(code), [_own_text(code), _bound(code)]
    cls = type(code)
    return _name(cls), [_own_text(cls), getattr(code, "__name__", None), _state(code)]


def _name(code: Any) -> str:
    module = getattr(code, "__module__", None)
    if module is None:  # a method of a built-in type
        module = getattr(getattr(code, "__objclass__", None), "__module__", "builtins")
    return f"{_run_as(str(module))}.{code.__qualname__}"


def _run_as(module: str) -> str:
    """Return the name under which a script's module would be imported."""
    if module != "__main__":
        return module
    main = sys.modules["__main__"]
    spec, file = getattr(main, "__spec__", None), getattr(main, "__file__", None)
    if spec is not None:
        return str(spec.name)
    return module if file is None else Path(file).stem


def _own_text(code: Any) -> Json:
    """Return the code of what has no name of its own: a lambda, or anything of a notebook."""
    if getattr(code, "__name__", "") == "<lambda>":
        return _lambda_text(code)
    if _run_as(str(getattr(code, "__module__", None))) != "__main__":
        return None
    try:
        return ast.unparse(ast.parse(inspect.cleandoc(inspect.getsource(code))))
    except (OSError, TypeError, SyntaxError):  # typed at a prompt
        return compiled(code.__code__) if inspect.isfunction(code) else None


@functools.lru_cache(maxsize=512)
def _lambda_text(function: types.FunctionType) -> Json:
    """Return a lambda without its surroundings, which change with the place where it stands."""
    code = function.__code__
    try:
        tree = ast.parse("".join(inspect.findsource(function)[0]))
    except (OSError, SyntaxError):  # typed at a prompt
        return compiled(code)
    names = list(code.co_varnames[: code.co_argcount])
    found = {
        ast.unparse(node)
        for node in ast.walk(tree)
        if isinstance(node, ast.Lambda)
        and node.lineno == code.co_firstlineno
        and [argument.arg for argument in node.args.posonlyargs + node.args.args] == names
    }
    return found.pop() if len(found) == 1 else compiled(code)


def _bound(code: Any) -> Json:
    """Return what a function closes over, and its defaults; None where there is neither."""
    closed, *defaults = bound_values(code, DEEPEST)
    return [closed, *defaults] if closed or any(defaults) else None


def _state(value: Any) -> Json:
    """Return what tells an object from others of its class, as far as that is known to be stable.

    A kind never changes, and a callable object is a function bound to its attributes. Other objects
    may count or remember; what matters about them is in `dump_state`.
    """
    if dataclasses.is_dataclass(value):
        fields = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
        return plain(fields, DEEPEST)
    by_value = isinstance(value, (pydantic.BaseModel, types.SimpleNamespace, AnswerKind))
    return plain_attributes(value, DEEPEST) if by_value or callable(value) else None
