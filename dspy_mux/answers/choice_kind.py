"""Choices as a kind of answer: one of given options, by label or by text."""

from __future__ import annotations

import enum
import re
from collections.abc import Hashable, Sequence
from typing import Any

from .equivalence import ReplyKind
from .labels import label_in_text, leading_label
from .marks import marked_answers
from .plain_text import TAIL, as_text, fold, normalise

# The dash of "A - Paris", not the sign of "A) -5".
_AFTER_LABEL = re.compile(r"^[)\].:\s]*(?:[-–]\s+)?")


class ChoiceKind(ReplyKind):
    """One of given options, by label or by text: `(B)`, `B.`, `Option B`, `B. Paris`, `paris`.

    Args:
        options: values of a Literal, or the members of an Enum, which go by name and by value.

    >>> ChoiceKind(["(A) Rome", "(B) Paris"]).extract("I choose option B.")
    '(B) Paris'
    """

    name = "choice"

    def __init__(self, options: Sequence[Any]):
        self.options = tuple(options)
        self._named: dict[str, Any] = {}
        self._labels: dict[str, Any] = {}
        for option in self.options:
            names = (option.value, option.name) if isinstance(option, enum.Enum) else (option,)
            for written in map(str, names):
                self._add_name(written, option)
        texts = sorted((name for name in self._named if len(name) > 1), key=len, reverse=True)
        self._texts = (
            re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, texts))})(?!\w)") if texts else None
        )

    def _add_name(self, written: str, option: Any) -> None:
        name, label = fold(written), leading_label(written)
        self._named.setdefault(name, option)
        if label is None:
            return
        self._labels.setdefault(label.casefold(), option)
        if len(name) != len(label):  # an option written "(B) Paris" goes by B and by Paris
            after = written[written.index(label) + len(label) :]
            self._named.setdefault(fold(_AFTER_LABEL.sub("", after, count=1)), option)

    def __repr__(self) -> str:
        return f"ChoiceKind({list(self.options)!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ChoiceKind) and self.options == other.options

    def __hash__(self) -> int:
        return hash(self.options)

    @property
    def reads_fields(self) -> bool:
        return True

    def _find(self, text: str) -> Any | None:
        for answer in marked_answers(text):
            if (option := self._chosen_or_mentioned(answer)) is not None:
                return option
        tail = text[-TAIL:]
        label = label_in_text(tail, self._labels)
        if label is not None:
            return self._labels[label.casefold()]
        if (option := self._chosen_or_mentioned(tail)) is not None:
            return option
        return self._mentioned(tail.rstrip().rsplit("\n", 1)[-1])

    def key(self, value: Any) -> Hashable | None:
        option = next((option for option in self.options if value is option), None)
        if option is None and value is not None and not isinstance(value, enum.Enum):
            option = self._chosen(as_text(value))
        if option is None:
            return None
        return str(next(number for number, known in enumerate(self.options) if known is option))

    def _chosen_or_mentioned(self, answer: str) -> Any | None:
        option = self._chosen(answer)
        return self._mentioned(answer) if option is None else option

    def _chosen(self, answer: str) -> Any | None:
        """Return the option that an answer is, by its text or by the label it starts with."""
        if len(answer) > TAIL:
            return None
        if (option := self._named.get(fold(answer))) is not None:
            return option
        label = leading_label(answer)
        return None if label is None else self._labels.get(label.casefold())

    def _mentioned(self, text: str) -> Any | None:
        """Return the only option whose text occurs in a text.

        Longer options hide the shorter ones within them.
        """
        if self._texts is None:
            return None
        names = set(self._texts.findall(" ".join(normalise(text).casefold().split())))
        options = {id(option): option for option in map(self._named.__getitem__, names)}
        return next(iter(options.values())) if len(options) == 1 else None
