"""Signatures as one line of text that is safe to read back: only known types, nothing imported by name.

DSPy's own reader imports the module that an unknown type names; a pool file or a saved mux may come from a stranger.
"""

from __future__ import annotations

import ast
import typing
from typing import Any

import dspy
from pydantic import PydanticUserError

from .answers import MathAnswer, Percent
from .errors import ConfigurationError

_TYPES: dict[str, Any] = {
    **{kind.__name__: kind for kind in (str, int, float, bool, list, dict, tuple, set)},
    **{name: getattr(typing, name) for name in ("Any", "Literal", "Optional", "Union")},
    "MathAnswer": MathAnswer,
    "Percent": Percent,
}
_LONGEST = 2000


def signature_of(text: str) -> type[dspy.Signature]:
    """The signature that `text` describes, such as `"question -> answer: float"`.

    Raises:
        ConfigurationError: the text is no signature, or uses a type other than Python's built-in ones, Literal, Optional, Union,
            MathAnswer and Percent.
    """
    unknown = sorted(_type_names(text) - set(_TYPES))
    if unknown:
        raise ConfigurationError(f"The signature {text!r} uses the type {unknown[0]!r}; known are {', '.join(_TYPES)}.")
    try:
        signature: type[dspy.Signature] = dspy.Signature(text, custom_types=_TYPES)
    except (ValueError, TypeError, SyntaxError, PydanticUserError) as error:
        raise ConfigurationError(f"{text!r} is no signature such as 'question -> answer: float'.") from error
    return signature


def signature_text(signature: type[dspy.Signature]) -> str | None:
    """`signature` as text that `signature_of` reads back to the same fields and types; None where it has other types."""
    told = " -> ".join(
        ", ".join(f"{name}: {_type_text(field.rebuild_annotation())}" for name, field in fields.items())
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


def _type_names(text: str) -> set[str]:
    """Every name that stands in a type position of a signature text."""
    if len(text) > _LONGEST or text.count("->") != 1:
        raise ConfigurationError(f"{text[:80]!r} is no signature such as 'question -> answer: float'.")
    names: set[str] = set()
    for side in text.split("->"):
        try:
            function = ast.parse(f"def f({side}): pass").body[0]
        except (SyntaxError, ValueError, RecursionError) as error:
            raise ConfigurationError(f"{text!r} is no signature such as 'question -> answer: float'.") from error
        for argument in typing.cast(ast.FunctionDef, function).args.args:
            for node in ast.walk(argument.annotation) if argument.annotation else ():
                if isinstance(node, ast.Name):
                    names.add(node.id)
                elif isinstance(node, (ast.Attribute, ast.Call)):
                    names.add(ast.unparse(node))
    return names


def _type_text(annotation: Any) -> str:
    for name in ("MathAnswer", "Percent"):
        if annotation == _TYPES[name]:
            return name
    if isinstance(annotation, type) and typing.get_origin(annotation) is None:
        return annotation.__name__
    return str(annotation).replace("typing.", "").replace("NoneType", "None")
