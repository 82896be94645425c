"""Signatures as one line of text that is safe to read back: only known types, nothing imported by name, nothing evaluated.

DSPy's own reader imports the module that an unknown type names, and pydantic evaluates a type that is a string; a pool file or a
saved mux may come from a stranger.
"""

from __future__ import annotations

import ast
import typing
import warnings
from typing import Any

import dspy
from pydantic import PydanticUserError

from ..answers.choose import MathAnswer, Percent
from ..errors import ConfigurationError

_TYPES: dict[str, Any] = {
    **{kind.__name__: kind for kind in (str, int, float, bool, list, dict, tuple, set)},
    **{name: getattr(typing, name) for name in ("Any", "Literal", "Optional", "Union")},
    "MathAnswer": MathAnswer,
    "Percent": Percent,
}
_LONGEST = 2000
_DEEPEST = 16


def signature_of(text: str) -> type[dspy.Signature]:
    """The signature that `text` describes, such as `"question -> answer: float"`.

    Raises:
        ConfigurationError: the text is no signature, or uses a type other than Python's built-in ones, Literal, Optional, Union,
            MathAnswer and Percent.
    """
    _check(text)
    try:
        signature: type[dspy.Signature] = dspy.Signature(text, custom_types=_TYPES)
    except (ValueError, TypeError, NameError, SyntaxError, PydanticUserError) as error:
        raise _no_signature(text) from error
    return signature


def signature_text(signature: type[dspy.Signature]) -> str | None:
    """`signature` as text that `signature_of` reads back to the same fields and types; None where it has other types."""
    told = " -> ".join(
        ", ".join(
            f"{name}: {_type_text(field.rebuild_annotation())}" for name, field in fields.items()
        )
        for fields in (signature.input_fields, signature.output_fields)
    )
    try:
        again = signature_of(told)
    except ConfigurationError:
        return None
    return told if _types(again) == _types(signature) else None


def _types(signature: type[dspy.Signature]) -> dict[str, Any]:
    # Rebuilt, because pydantic keeps the mark of MathAnswer beside the annotation, not in it.
    return {name: field.rebuild_annotation() for name, field in signature.fields.items()}


def _check(text: str) -> None:
    """Raises ConfigurationError for a text that is more than names and known types.

    A string within a type is code to the libraries that read it: they evaluate it. Only the options of a Literal are strings.
    """
    if len(text) > _LONGEST or text.count("->") != 1:
        raise _no_signature(text)
    for side in text.split("->"):
        try:
            with warnings.catch_warnings():
                for doubt in (
                    SyntaxWarning,
                    DeprecationWarning,
                ):  # what Python only doubts, as 1or, is no type either
                    warnings.simplefilter("error", doubt)
                body = ast.parse(f"def f({side}): pass").body
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            raise _no_signature(text) from error
        function = body[0]
        if len(body) != 1 or not isinstance(function, ast.FunctionDef) or len(function.body) != 1:
            raise _no_signature(text)
        told = function.args
        if told.posonlyargs or told.kwonlyargs or told.vararg or told.kwarg or told.defaults:
            raise _no_signature(text)  # fields are names and types, nothing else
        for argument in told.args:
            if argument.annotation is not None:
                _check_type(argument.annotation, text)


def _no_signature(text: str) -> ConfigurationError:
    return ConfigurationError(
        f"{text[:200]!r} is no signature such as 'question -> answer: float'."
    )


def _check_type(node: ast.expr, text: str, depth: int = 0) -> None:
    if depth > _DEEPEST:
        raise ConfigurationError(f"The signature {text[:200]!r} has a type of too many levels.")
    if isinstance(node, ast.Name) and node.id in _TYPES:
        return
    if isinstance(node, ast.Constant) and (node.value is None or node.value is ...):
        return
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        _check_type(node.left, text, depth + 1)
        _check_type(node.right, text, depth + 1)
    elif (
        isinstance(node, ast.Subscript)
        and isinstance(node.value, ast.Name)
        and node.value.id in _TYPES
    ):
        inner = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
        for part in inner:
            if node.value.id != "Literal":
                _check_type(part, text, depth + 1)
            elif not isinstance(part, ast.Constant):
                raise ConfigurationError(
                    f"The signature {text[:200]!r} has the option {_told(part)!r}, which is no plain value."
                )
    else:
        raise ConfigurationError(
            f"The signature {text[:200]!r} uses the type {_told(node)!r}; known are {', '.join(_TYPES)}."
        )


def _told(node: ast.expr) -> str:
    try:
        return ast.unparse(node)[:80]
    except RecursionError:
        return "…"


def _type_text(annotation: Any) -> str:
    for name in ("MathAnswer", "Percent"):
        if annotation == _TYPES[name]:
            return name
    if isinstance(annotation, type) and typing.get_origin(annotation) is None:
        return annotation.__name__
    return str(annotation).replace("typing.", "").replace("NoneType", "None")
