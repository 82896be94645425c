"""Truth values and text as kinds of answers."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

from .decision import SILENT
from .equivalence import ReplyKind
from .final_mark import marked_reading
from .marks import NULL, left_blank, marked_answer, unlatex_text
from .plain_text import as_text, fold, unfence, unwrap
from .templates import is_template
from .truth import read_truth, read_truth_of, truth_of_line


@dataclass(frozen=True)
class BoolKind(ReplyKind):
    """Truth values: True, "yes", "False.", "no", "Ja".

    >>> BoolKind().extract("Yes, it does."), BoolKind().extract("Yes and no.")
    (True, None)
    """

    name = "bool"

    @property
    def reads_fields(self) -> bool:
        return True

    def _find(self, text: str) -> bool | None:
        reading = marked_reading(text, read_truth_of, read_truth_of, truth_of_line)
        if reading is SILENT:
            reading = read_truth_of(unfence(text))
        return None if reading.option is None else bool(reading.option)

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
        answer = marked_answer(text)
        if answer == NULL or left_blank(text):
            return None
        answer = unwrap(unfence(text)) if answer is None else answer
        answer = unlatex_text(answer) if "\\" in answer else answer
        return None if is_template(answer) else self.usable(answer)

    def key(self, value: Any) -> Hashable | None:
        return None if value is None else fold(as_text(value)) or None
