"""The kinds of DSPy's own types: tool calls, code, and decisions."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

import dspy
from dspy.adapters.types.decision import Choice, Noul, Score

from .json_text import read_json
from .plain_text import unfence
from .structured import JsonKind


@dataclass(frozen=True)
class ToolCallsKind(JsonKind):
    """Tool calls, compared by the tools' names and arguments, in the order of the calls.

    A server gives every call an id of its own, which says nothing.

    >>> call = {"name": "search", "args": {"query": "Paris"}}
    >>> ToolCallsKind().same([{"id": "1", **call}], dspy.ToolCalls.from_dict_list([call]))
    True
    """

    annotation: Any = dspy.ToolCalls

    def key(self, value: Any) -> Hashable | None:
        return super().key(value.format() if isinstance(value, dspy.ToolCalls) else value)

    def _read(self, value: Any) -> Any | None:
        calls = super()._read(value)
        return calls and dspy.ToolCalls.from_dict_list(calls.format()["tool_calls"])


@dataclass(frozen=True)
class CodeKind(JsonKind):
    """Code, compared as it stands, without the space at the ends of its lines.

    >>> CodeKind().same("```python\\nprint(1)  \\n```", dspy.Code(code="print(1)"))
    True
    >>> CodeKind().same("x = A", "x = a")
    False
    """

    annotation: Any = dspy.Code

    def key(self, value: Any) -> Hashable | None:
        code = value if isinstance(value, dspy.Code) else self._read(value)
        lines = code.code.strip().splitlines() if code is not None else ()
        return "\n".join(line.rstrip() for line in lines) or None

    def _find(self, text: str) -> Any | None:
        # Without a fence, prose and code look alike.
        return self.usable(self._read(text)) if "```" in text else super()._find(text)


@dataclass(frozen=True)
class DecisionKind(JsonKind):
    """`Noul`, `Choice` and `Score`, compared by what they decide, not by how sure they are.

    A `Score` counts by its level: its value is a mean, which no two draws share.

    >>> kind = DecisionKind(Noul)
    >>> kind.same(Noul(value=True, confidence=0.6), Noul(value=True, confidence=0.8))
    True
    """

    annotation: Any = Noul

    def key(self, value: Any) -> Hashable | None:
        try:
            value = read_json(unfence(value)) if isinstance(value, str) else value
        except ValueError:
            return None
        decision = value if isinstance(value, (Noul, Choice, Score)) else self._read(value)
        if decision is None:
            return None
        level = decision.level if isinstance(decision, Score) else None
        chosen = decision.value if level is None else level
        return type(chosen).__name__, chosen
