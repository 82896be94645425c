"""Read and write signatures as one line of text, safely: known types only, nothing evaluated.

DSPy's own reader imports the module that an unknown type names, and pydantic evaluates a type that
is a string. Pool files and saved muxes may come from strangers, so they are read here first.
"""

from __future__ import annotations

import ast
import typing
import warnings
from typing import Any

import dspy
from pydantic import PydanticUserError

from ..answers.math_kind import MathAnswer
from ..answers.number_kind import Percent
from ..errors import ConfigurationError

_TYPES: dict[str, Any] = {
    **{kind.__name__: kind for kind in (str, int, float, bool, list, dict, tuple, set)},
    **{name: getattr(typing, name) for name in ("Any", "Literal", "Optional", "Union")},
    "MathAnswer": MathAnswer,
    "Percent": Percent,
}
_LONGEST = 2000
_DEEPEST = 16


def parse_signature(text: str) -> type[dspy.Signature]:
    """Return the signature that `text` describes.

    Raises:
        ConfigurationError: the text is not a signature, or uses a type other than Python's
            built-in ones, Literal, Optional, Union, MathAnswer and Percent.

    >>> list(parse_signature("question -> answer: float").fields)
    ['question', 'answer']
    """
    _check(text)
    try:
        signature: type[dspy.Signature] = dspy.Signature(text, custom_types=_TYPES)
    except (ValueError, TypeError, NameError, SyntaxError, PydanticUserError) as error:
        raise _not_a_signature(text) from error
    return signature


def signature_text(signature: type[dspy.Signature]) -> str | None:
    """Return `signature` as text that `parse_signature` reads back; None if it has other types.

    >>> import dspy
    >>> signature_text(dspy.Signature("question -> answer: float"))
    'question: str -> answer: float'
    """
    text = " -> ".join(
        ", ".join(
            f"{name}: {_type_text(field.rebuild_annotation())}" for name, field in fields.items()
        )
        for fields in (signature.input_fields, signature.output_fields)
    )
    try:
        again = parse_signature(text)
    except ConfigurationError:
        return None
    return text if _types(again) == _types(signature) else None


def retyped(text: str, annotation: str) -> str:
    """Return a signature, as text, whose answer has another type: `answer`, else the last field.

    Raises:
        ConfigurationError: the text is not a signature, or the type not one that it may have.

    >>> retyped("question -> answer", "float")
    'question: str -> answer: float'
    """
    signature = parse_signature(text)
    fields = list(signature.output_fields)
    if not fields:
        raise _not_a_signature(text)
    answer = "answer" if "answer" in fields else fields[-1]
    sides = (
        ", ".join(
            f"{name}: {annotation if name == answer else _type_text(field.rebuild_annotation())}"
            for name, field in side.items()
        )
        for side in (signature.input_fields, signature.output_fields)
    )
    changed = " -> ".join(sides)
    if list(parse_signature(changed).output_fields) != fields:
        raise _not_a_signature(changed)
    return changed


def _types(signature: type[dspy.Signature]) -> dict[str, Any]:
    # Rebuilt, because pydantic keeps the mark of MathAnswer beside the annotation, not in it.
    return {name: field.rebuild_annotation() for name, field in signature.fields.items()}


def _check(text: str) -> None:
    """Refuse a text that holds more than names and known types.

    The libraries that read a string within a type evaluate it as code, so strings are allowed only
    as the options of a Literal.
    """
    if len(text) > _LONGEST or text.count("->") != 1:
        raise _not_a_signature(text)
    for side in text.split("->"):
        fields = _parse_fields(side, text)
        if fields.posonlyargs or fields.kwonlyargs or fields.vararg or fields.kwarg:
            raise _not_a_signature(text)
        if fields.defaults:
            raise _not_a_signature(text)
        for field in fields.args:
            if field.annotation is not None:
                _check_type(field.annotation, text)


def _parse_fields(side: str, text: str) -> ast.arguments:
    """Parse one side of a signature as the arguments of a function, whose grammar it shares."""
    try:
        with warnings.catch_warnings():
            # Text that Python merely warns about, such as 1or, is not a type either.
            for category in (SyntaxWarning, DeprecationWarning):
                warnings.simplefilter("error", category)
            body = ast.parse(f"def f({side}): pass").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise _not_a_signature(text) from error
    function = body[0]
    if len(body) != 1 or not isinstance(function, ast.FunctionDef) or len(function.body) != 1:
        raise _not_a_signature(text)
    return function.args


def _not_a_signature(text: str) -> ConfigurationError:
    return ConfigurationError(
        f"{text[:200]!r} is not a signature such as 'question -> answer: float'."
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
        return
    if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name):
        if node.value.id == "Literal":
            _check_options(_parts(node), text)
            return
        if node.value.id in _TYPES:
            for part in _parts(node):
                _check_type(part, text, depth + 1)
            return
    raise ConfigurationError(
        f"The signature {text[:200]!r} uses the type {_source(node)!r}; "
        f"known are {', '.join(_TYPES)}."
    )


def _check_options(options: list[ast.expr], text: str) -> None:
    for option in options:
        if not isinstance(option, ast.Constant):
            raise ConfigurationError(
                f"The signature {text[:200]!r} has the option {_source(option)!r}, "
                "which is not a plain value."
            )


def _parts(node: ast.Subscript) -> list[ast.expr]:
    return node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]


def _source(node: ast.expr) -> str:
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
