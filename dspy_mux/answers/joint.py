"""Several output fields as one answer: the same where every field is."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any

from .equivalence import AnswerKind


@dataclass(frozen=True)
class JointKind(AnswerKind):
    """Answers of several fields, each compared by its own kind; a dict of field → value.

    Without a usable value for each field it is no answer.

    >>> from dspy_mux import answer_kind
    >>> kind = JointKind((("title", answer_kind(str)), ("score", answer_kind(float))))
    >>> kind.name
    'title: text, score: number'
    >>> kind.same({"title": "Dune", "score": 4.0}, {"title": "dune.", "score": "4"})
    True
    >>> kind.classes([{"title": "Dune", "score": 4}, {"title": "Dune", "score": 5}, {"score": 4}])
    [0, 1, None]
    """

    kinds: tuple[tuple[str, AnswerKind], ...]
    name = "joint"

    def __post_init__(self) -> None:
        each = ", ".join(f"{field}: {kind.name}" for field, kind in self.kinds)
        object.__setattr__(self, "name", each)

    def extract(self, text: str) -> Any | None:
        # Free text does not say which of its parts belongs to which field.
        return None

    def key(self, value: Any) -> Hashable | None:
        if not isinstance(value, Mapping):
            return None
        keys = tuple(kind.key(value.get(field)) for field, kind in self.kinds)
        return None if any(key is None for key in keys) else keys

    def alike(self, a: Any, b: Any) -> bool:
        return all(kind.same(a[field], b[field]) for field, kind in self.kinds)
