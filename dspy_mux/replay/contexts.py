"""What the calibrated rule may know of recorded questions: their category, or their text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from ..bank.record import Record
from ..voting.calibration import Training
from ..voting.nearby import context_field


@dataclass(frozen=True)
class Contexts:
    """A field of the questions.

    Attributes:
        field: its name.
        values: [Q], one a question.
        texts: whether they are texts, not categories.
    """

    field: str
    values: Sequence[str]
    texts: bool

    @classmethod
    def of(cls, record: Record, context: str | None) -> Contexts | None:
        """Return the field that a context names; None for None.

        Args:
            context: a field, or `auto` or `auto:FIELD` for the questions' text.

        Raises:
            ConfigurationError: the record has no such field.
        """
        if context is None:
            return None
        field, texts = context_field(context, record.fields)
        return cls(field, record.field(field), texts)

    def at(self, questions: Iterable[int]) -> list[str]:
        """Return the values of the questions at these positions."""
        return [self.values[at] for at in questions]


def with_contexts(
    training: Training, contexts: Contexts | None, questions: Iterable[int]
) -> Training:
    """Return a training split of the questions at these positions, with their contexts."""
    if contexts is None:
        return training
    return replace(
        training,
        contexts=contexts.at(questions),
        context=contexts.field,
        texts=contexts.texts,
    )
