"""What a field declares beyond its kind: that None is an answer, and constraints on the value."""

from __future__ import annotations

import re
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import pydantic

from .equivalence import NO_ANSWER, AnswerKind, WrappingKind
from .marks import marked_answer
from .plain_text import fold, unfence
from .reply import answering_text

_NONE_KEY = ("none",)
#: What models write for "there is none", where the type admits None.
_ABSENT = (
    r"(?:not |un)(?:found|given|available|specified|mentioned|stated|provided|applicable|known"
    r"|present|listed)(?: (?:in|by|from) (?:\w+ ?){1,4})?"
)
_NONE = re.compile(
    r"(?:none|null|nil|n/?a|nothing|<none>|<null>|\[\]|{}|missing|absent"
    r"|no (?:answer|value|result|match|data|information|such \w+)"
    r"(?: (?:was |is )?(?:found|given|available|provided|exists|applies))?"
    rf"|(?:it (?:is|was) )?{_ABSENT}|the (?:\w+ ){{1,6}}(?:is|are|was|were) {_ABSENT}"
    r"|(?:the|this) (?:document|text|passage|context|article|question|source) (?:does not|doesn't)"
    r" (?:mention|say|state|give|specify|provide|contain|include)(?: \w+){0,8})"
)
_LONGEST_NONE = 120


@dataclass(frozen=True)
class OptionalKind(WrappingKind):
    """A kind whose type admits None: "not found" is an answer, and can win.

    `extract` returns `NO_ANSWER` where a text gives neither a value nor None.

    >>> from dspy_mux import answer_kind
    >>> kind = answer_kind(int | None)
    >>> kind.extract("Answer: null"), kind.extract("Answer: 7")
    (None, 7)
    >>> kind.extract("I wonder.") is NO_ANSWER
    True
    """

    base: AnswerKind

    @property
    def name(self) -> str:  # type: ignore[override]
        return self.base.name

    @property
    def reads_fields(self) -> bool:
        return self.base.reads_fields or self.base.takes_any_text

    def extract(self, text: str) -> Any:
        final = answering_text(text)
        if final is None:
            return NO_ANSWER
        marked = marked_answer(final)
        if _is_none(final if marked is None else marked):
            return None
        value = self.base.extract(final)
        return NO_ANSWER if self.base.key(value) is None else value

    def key(self, value: Any) -> Hashable | None:
        if value is NO_ANSWER:
            return None
        if value is None or (isinstance(value, str) and _is_none(value)):
            return _NONE_KEY
        return self.base.key(value)

    def alike(self, a: Any, b: Any) -> bool:
        if _NONE_KEY in (self.key(a), self.key(b)):
            return False
        return self.base.alike(a, b)

    def classes(self, values: Sequence[Any]) -> list[int | None]:
        nones = [self.key(value) == _NONE_KEY for value in values]
        given = [NO_ANSWER if none else value for none, value in zip(nones, values, strict=True)]
        groups = [
            _NONE_KEY if none else group
            for none, group in zip(nones, self.base.classes(given), strict=True)
        ]
        numbers: dict[object, int] = {}
        return [
            None if group is None else numbers.setdefault(group, len(numbers)) for group in groups
        ]


@dataclass(frozen=True)
class ConstrainedKind(WrappingKind):
    """A kind whose values obey a field's constraints, such as `ge=1, le=12`; others abstain.

    Args:
        base: the kind of the type without constraints.
        reader: reads a value into the type with its constraints.
    """

    base: AnswerKind
    reader: pydantic.TypeAdapter[Any]

    @property
    def name(self) -> str:  # type: ignore[override]
        return self.base.name

    def extract(self, text: str) -> Any:
        value = self.base.extract(text)
        return value if self._obeys(value) else None

    def key(self, value: Any) -> Hashable | None:
        key = self.base.key(value)
        if key is None:
            return None
        if isinstance(value, str) and not self._obeys(value):
            value = self.base.extract(value)
        return key if self._obeys(value) else None

    def alike(self, a: Any, b: Any) -> bool:
        return self.base.alike(a, b)

    def classes(self, values: Sequence[Any]) -> list[int | None]:
        obeying = [value if self.key(value) is not None else NO_ANSWER for value in values]
        return self.base.classes(obeying)

    def _obeys(self, value: Any) -> bool:
        try:
            self.reader.validate_python(value)
        except pydantic.ValidationError:
            return False
        return True


def _is_none(text: str) -> bool:
    if len(text) > _LONGEST_NONE:
        return False
    return _NONE.fullmatch(fold(unfence(text))) is not None
