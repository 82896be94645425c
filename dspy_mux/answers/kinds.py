"""Truth values and text as kinds of answers."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

from .equivalence import ReplyKind
from .marks import marked_answer, marked_answers
from .plain_text import as_text, fold, unfence, unwrap
from .truth import read_truth, truth_in_text


@dataclass(frozen=True)
class BoolKind(ReplyKind):
    """Truth values: True, "yes", "False.", "no"."""

    name = "bool"

    @property
    def reads_fields(self) -> bool:
        return True

    def _find(self, text: str) -> bool | None:
        found = (truth_in_text(answer) for answer in marked_answers(text))
        return next((value for value in found if value is not None), truth_in_text(text))

    def key(self, value: Any) -> Hashable | None:
        truth = read_truth(as_text(value))  # through text, for numpy's bool too
        return None if truth is None else str(truth)


@dataclass(frozen=True)
class TextKind(ReplyKind):
    """Text with case, white space, surrounding punctuation and markdown folded; articles count.

    >>> TextKind().same("**Paris**.", "paris")
    True
    """

    name = "text"

    @property
    def takes_any_text(self) -> bool:
        return True

    def _find(self, text: str) -> str | None:
        return self.usable(marked_answer(text) or unwrap(unfence(text)))

    def key(self, value: Any) -> Hashable | None:
        return None if value is None else fold(as_text(value)) or None
