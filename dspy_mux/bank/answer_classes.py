"""Classes of answers in files: which answers of a question are equal."""

from __future__ import annotations

from .rows import Row, comparison_text


class AnswerClasses:
    """Numbers the answers' classes within each question, in the order met.

    Rows decide by `same_as` which answers are equal; without it, equal texts are.
    """

    def __init__(self) -> None:
        self._numbers: dict[tuple[int, str], int] = {}
        self._next: dict[int, int] = {}
        self._named: dict[tuple[int, str], tuple[int, str]] = {}  # text → its first `same_as`

    def learn(self, question: int, answer: object, answer_class: int) -> None:
        """Take over an answer that has its class already."""
        self._numbers.setdefault((question, str(comparison_text(answer))), answer_class)
        self._next[question] = max(self._next.get(question, 0), answer_class + 1)

    def classify(self, question: int, row: Row) -> int | None:
        """Return the class of a row's answer; None for an abstention."""
        if row.answer is None:
            return None
        text = (question, row.answer)
        name = text if row.same_as is None else (question, f"\0{row.same_as}")
        found = self._numbers.get(name)
        if found is None and self._named.get(text, name) == name:
            found = self._numbers.get(text)
        if found is None:
            found = self._next.get(question, 0)
            self._next[question] = found + 1
        self._numbers.setdefault(text, found)
        self._numbers.setdefault(name, found)
        self._named.setdefault(text, name)
        return found
