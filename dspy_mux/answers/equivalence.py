"""When two answers are equal: `AnswerKind`, the base of every kind of answer.

A kind finds an answer in a model's text and gives it a canonical key. Equal keys are one answer;
a value without a key is an abstention.
"""

from __future__ import annotations

import enum
from abc import ABC, abstractmethod
from collections.abc import Hashable, Sequence
from typing import Any, ClassVar, Final

from .json_text import is_beside
from .marks import left_blank
from .reply import answering_text
from .sections import answer_section


class _Abstention(enum.Enum):
    NO_ANSWER = "no answer"


#: What stands for the answer of a draw that abstained: where a type admits None, None is an answer.
NO_ANSWER: Final = _Abstention.NO_ANSWER


class AnswerKind(ABC):
    """Finds an answer in text and decides when two answers are equal.

    Subclass it for a kind of your own; `extract` and `key` suffice. Instances are immutable and
    can stand in an annotation: `answer: Annotated[str, MyKind()]`.

    >>> import re
    >>> class Year(AnswerKind):
    ...     name = "year"
    ...     def extract(self, text):
    ...         found = re.findall(r"[12][0-9]{3}", text)
    ...         return found[-1] if found else None
    ...     def key(self, value):
    ...         return self.extract(str(value))
    >>> Year().extract("The war that began in 1914 ended in 1918.")
    '1918'
    >>> Year().same("1918", "in 1918")
    True
    >>> Year().classes(["1918", "1939", "unknown", "AD 1918"])
    [0, 1, None, 0]
    """

    name: ClassVar[str]
    #: Whether an answer may go over more than one line.
    several_lines: ClassVar[bool] = False

    @property
    def reads_fields(self) -> bool:
        """Whether `extract` also reads what stands in the answer's field, not DSPy's parser.

        That parser takes 10 from `10^6`.
        """
        return False

    @property
    def takes_any_text(self) -> bool:
        """Whether any text is an answer: then only a marked one counts in a reply out of format."""
        return False

    @abstractmethod
    def extract(self, text: str) -> Any | None:
        """Return a value for the field from a model's free text, or None if there is none."""

    @abstractmethod
    def key(self, value: Any) -> Hashable | None:
        """Return the canonical key of a value; None if it is not a usable answer.

        Not usable are None, blank text, NaN, and whatever is not of this kind.
        """

    def alike(self, a: Any, b: Any) -> bool:
        """Return whether two usable values with different keys are still the same answer.

        Symmetric; never raises.
        """
        return False

    def usable(self, value: Any) -> Any | None:
        """Return the value, or None if it is not a usable answer."""
        return value if self.key(value) is not None else None

    def same(self, a: Any, b: Any) -> bool:
        """Return whether two values are one answer: both usable, with equal keys or `alike`.

        Symmetric; never raises.
        """
        first, second = self.key(a), self.key(b)
        if first is None or second is None:
            return False
        return first == second or self.alike(a, b)

    def classes(self, values: Sequence[Any]) -> list[int | None]:
        """Return each value's equivalence class, numbered as first seen; None for an abstention.

        The classes are the connected components of all comparisons, so that they do not depend on
        the order of the values: two values that are not the `same` are one class where a third is
        the same as both. Values that are already connected are not compared.
        """
        keys = [None if value is NO_ANSWER else self.key(value) for value in values]
        distinct: dict[Hashable, Any] = {}
        for key, value in zip(keys, values, strict=True):
            if key is not None:
                distinct.setdefault(key, value)
        components: list[list[Hashable]] = []
        for key, value in distinct.items():
            joined = [key]
            apart = []
            for component in components:
                if any(self.alike(distinct[other], value) for other in component):
                    joined = component + joined
                else:
                    apart.append(component)
            components = [*apart, joined]
        component_of = {key: at for at, component in enumerate(components) for key in component}
        numbers: dict[int, int] = {}
        return [
            None if key is None else numbers.setdefault(component_of[key], len(numbers))
            for key in keys
        ]

    def classes_by_member(self, members: Sequence[Sequence[Any]]) -> list[list[int | None]]:
        """Return the class of each answer, by member, such that each member's ballot is its own.

        The answers of one member are never one class because of another member's: under an
        equivalence that is not transitive, a ballot would change with the draws around it.
        """
        classes = self.classes([value for member in members for value in member])
        following = max((known for known in classes if known is not None), default=-1) + 1
        result, start = [], 0
        for member in members:
            own, shared = self.classes(member), classes[start : start + len(member)]
            names: dict[int | None, int | None] = {None: None}
            taken: set[int | None] = set()
            for mine, theirs in zip(own, shared, strict=True):
                if mine in names:
                    continue
                if theirs in taken:
                    theirs, following = following, following + 1
                names[mine] = theirs
                taken.add(theirs)
            result.append([names[mine] for mine in own])
            start += len(member)
        return result


class WrappingKind(AnswerKind):
    """A kind around another one, whose way of reading it keeps."""

    base: AnswerKind

    @property
    def reads_fields(self) -> bool:
        return self.base.reads_fields

    @property
    def takes_any_text(self) -> bool:
        return self.base.takes_any_text

    def extract(self, text: str) -> Any | None:
        return self.base.extract(text)


class ReplyKind(AnswerKind):
    """A built-in kind: it reads a reply's final text, never the model's thinking.

    Of a `CutOffText`, it reads only an answer that was stated in full.
    """

    #: Whether an object of nothing but reasoning or notes is no answer.
    ignores_notes: ClassVar[bool] = True

    def extract(self, text: str) -> Any | None:
        final = answering_text(text)
        shown = None if final is None else answer_section(final)
        if not shown or left_blank(shown) or (self.ignores_notes and is_beside(shown)):
            return None
        return self._find(shown)

    @abstractmethod
    def _find(self, text: str) -> Any | None:
        """Return the value that a final text answers with, or None."""
