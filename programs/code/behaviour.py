"""When two answers are the same code: when they do the same.

The key of an answer is what its function returns on the inputs of `inputs.py`, run in the sandbox. Where that cannot be had
(no sandbox, no inputs, or it raises or runs out of time on all of them), it is the source without comments, docstrings and layout.
"""

from __future__ import annotations

import ast
import hashlib
import logging
from collections.abc import Hashable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from dspy_mux.answers.equivalence import AnswerKind
from dspy_mux.errors import ConfigurationError

from . import sandbox
from .completion import code_in, docstring, is_constant, parsed, unfinished
from .inputs import inputs

logger = logging.getLogger(__name__)

LIMITS = sandbox.Limits(cpu=2, wall=10.0)


@dataclass(frozen=True)
class CodeKind(AnswerKind):
    """Python code, found in fences or between lines of text; the same where only comments, docstrings and layout differ."""

    name = "code"

    def extract(self, text: str) -> str | None:
        return code_in(text)

    def key(self, value: Any) -> Hashable | None:
        return _source_key(value) if isinstance(value, str) else None


@dataclass(frozen=True)
class BehaviourKind(CodeKind):
    """Code by what it does, for answers of `completion.complete`, which hold the prompt that says what it is for.

    Two functions that differ on none of the inputs are one answer, also where they would differ on another.
    """

    name = "behaviour"

    def key(self, value: Any) -> Hashable | None:
        return _behaviour_key(value) if isinstance(value, str) else None


@lru_cache(maxsize=4096)
def _behaviour_key(source: str) -> Hashable | None:
    function = unfinished(parsed(source))
    calls = inputs(function) if function is not None else []
    if function is None or not calls:
        return _source_key(source)
    try:
        outcomes = sandbox.outputs(source, function.name, calls, limits=LIMITS)
    except ConfigurationError as error:
        logger.warning("Code is compared by its source, not by what it does: %s", error)
        return _source_key(source)
    if all(outcome.error is not None for outcome in outcomes):
        return _source_key(source)
    did = [
        "raises" if outcome.error is not None else _written(outcome.value) for outcome in outcomes
    ]
    return "behaviour", hashlib.sha256("\n".join(did).encode(errors="surrogatepass")).hexdigest()


def _written(value: Any) -> str:
    """A value as text, equal for values that are equal in Python, floats at 12 significant digits."""
    if isinstance(value, float):
        value = int(value) if value.is_integer() else f"{value:.12g}"
        return hex(value) if isinstance(value, int) else value
    if isinstance(value, int):
        return hex(value)
    if isinstance(value, (set, frozenset)):
        return f"{{{', '.join(sorted(map(_written, value)))}}}"
    if isinstance(value, dict):
        return f"{{{', '.join(sorted(f'{_written(key)}: {_written(item)}' for key, item in value.items()))}}}"
    if isinstance(value, list):
        return f"[{', '.join(map(_written, value))}]"
    if isinstance(value, tuple):
        return f"({', '.join(map(_written, value))})"
    if isinstance(value, (str, bytes, complex)) or value is None:
        return repr(value)
    return f"iterator {_written(list(value))}"


@lru_cache(maxsize=4096)
def _source_key(source: str) -> str | None:
    """The source as `ast.unparse` writes it, without docstrings; None where it is no Python, be it as a function's body."""
    tree = parsed(source) or parsed(f"def body():\n{source}")
    if tree is None:
        return None
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and docstring(node):
            node.body = [each for each in node.body if not is_constant(each)] or [ast.Pass()]
    try:
        return ast.unparse(tree) or None
    except RecursionError:
        return None
