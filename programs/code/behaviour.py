"""When two answers are equal code: `BehaviourKind` compares what they do, `CodeKind` their source.

The key of an answer is what its function returns on the inputs of `inputs.py`, run in the sandbox.
Without a sandbox or inputs, or if it raises or runs out of time on all of them, the key is the
source without comments, docstrings and layout.
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

from . import sandbox
from .completion import code_in, docstring, is_constant, parsed, unfinished
from .inputs import inputs

logger = logging.getLogger(__name__)

LIMITS = sandbox.Limits(cpu=2, wall=10.0)


@dataclass(frozen=True)
class CodeKind(AnswerKind):
    """Python code, found in fences or between lines of text.

    Code is equal if only comments, docstrings and layout differ.
    """

    name = "code"

    def extract(self, text: str) -> str | None:
        return code_in(text)

    def key(self, value: Any) -> Hashable | None:
        return _source_key(value) if isinstance(value, str) else None


@dataclass(frozen=True)
class BehaviourKind(CodeKind):
    """Code by what it does, for answers of `completion.complete`, which include the prompt.

    Two functions that agree on all tried inputs are one answer, even if others would differ.
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
    except sandbox.SandboxUnavailable as error:
        logger.warning("Code is compared by its source, not by what it does: %s", error)
        return _source_key(source)
    if all(outcome.error is not None for outcome in outcomes):
        return _source_key(source)
    results = [
        "raises" if outcome.error is not None else _write(outcome.value) for outcome in outcomes
    ]
    text = "\n".join(results).encode(errors="surrogatepass")
    return "behaviour", hashlib.sha256(text).hexdigest()


def _write(value: Any) -> str:
    """Return a value as text: equal values give equal text, floats have 12 significant digits."""
    if isinstance(value, float):
        value = int(value) if value.is_integer() else f"{value:.12g}"
        return hex(value) if isinstance(value, int) else value
    if isinstance(value, int):
        return hex(value)
    if isinstance(value, (set, frozenset)):
        return f"{{{', '.join(sorted(map(_write, value)))}}}"
    if isinstance(value, dict):
        items = sorted(f"{_write(key)}: {_write(item)}" for key, item in value.items())
        return f"{{{', '.join(items)}}}"
    if isinstance(value, list):
        return f"[{', '.join(map(_write, value))}]"
    if isinstance(value, tuple):
        return f"({', '.join(map(_write, value))})"
    if isinstance(value, (str, bytes, complex)) or value is None:
        return repr(value)
    return f"iterator {_write(list(value))}"


@lru_cache(maxsize=4096)
def _source_key(source: str) -> str | None:
    """Return the source as `ast.unparse` writes it, without docstrings.

    None if it is not Python, not even as a function's body.
    """
    tree = parsed(source) or parsed(f"def body():\n{source}")
    if tree is None:
        return None
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and docstring(node):
            body = [statement for statement in node.body if not is_constant(statement)]
            node.body = body or [ast.Pass()]
    try:
        return ast.unparse(tree) or None
    except RecursionError:
        return None
