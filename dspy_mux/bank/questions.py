"""The questions of examples: how they are recorded, and what makes two examples one question."""

from __future__ import annotations

import reprlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import dspy

from ..errors import ConfigurationError
from ..mux.code_hash import hash_value
from ..mux.refusals import check_names
from ..mux.slm_mux import SLMMux
from ..sampling.array_content import is_foreign
from ..sampling.content import NoContent, content
from .fingerprint import content_of_labels, fingerprint_inputs

#: A label that names an example: two of one question may have two.
_NAME = "question_id"


@dataclass(frozen=True)
class Question:
    """An example's question, as it is recorded.

    Attributes:
        key: the fingerprint of its inputs.
        name: its `question_id`, else the start of its key.
        fields: the example's texts, numbers and truth values.
        labels: the content of what it holds beside its inputs.
    """

    key: str
    name: str
    fields: dict[str, str | int | float | bool]
    labels: dict[str, Any]


def questions_of(
    examples: Sequence[dspy.Example], fields: Mapping[str, Any] | None = None, within: str = ""
) -> list[Question]:
    """Return the question of each example.

    Args:
        fields: further fields of all these questions.
        within: where the examples are, for messages, such as "the trainset".

    Raises:
        ConfigurationError: an example is of another type or does not mark its inputs, a value has
            no content, or two examples have the same inputs and other labels, such as another gold
            answer.
    """
    of = f" of {within}" if within else ""
    found = [
        _question(example, fields or {}, f"Example {at}{of}")
        for at, example in enumerate(examples, 1)
    ]
    first: dict[str, int] = {}
    for at, question in enumerate(found):
        before = first.setdefault(question.key, at)
        _refuse_other_labels(found[before], question, f"Examples {before + 1} and {at + 1}{of}")
    return found


def check_example(example: object, which: str) -> None:
    """Raise ConfigurationError unless this is an example: a row of a data set is a dict.

    Args:
        which: what to call it, such as "Example 1".
    """
    if not isinstance(example, dspy.Example):
        raise ConfigurationError(
            f"{which} must be a dspy.Example, not {named_type(example)}: write "
            "dspy.Example(**row).with_inputs('question')."
        )


def named_type(value: object) -> str:
    """Return a value's type with its article; `None` for None."""
    name = type(value).__name__
    return "None" if value is None else f"{'an' if name[0].lower() in 'aeiou' else 'a'} {name}"


def check_fit(mux: SLMMux, examples: Sequence[dspy.Example], within: str = "") -> None:
    """Raise ConfigurationError where a call of the mux with an example's inputs would.

    Args:
        within: as for `questions_of`, which has seen the examples.
    """
    of = f" of {within}" if within else ""
    for at, example in enumerate(examples, 1):
        try:
            check_names(type(mux).__name__, mux.programs[0], (), example.inputs().toDict())
        except ConfigurationError as error:
            raise ConfigurationError(f"Example {at}{of} does not fit the mux. {error}") from error


def _refuse_other_labels(one: Question, other: Question, which: str) -> None:
    """Refuse two examples of one question whose labels differ: one score would count for both."""
    for name in {**one.labels, **other.labels}:
        mine, theirs = one.labels.get(name), other.labels.get(name)
        if name != _NAME and hash_value(mine) != hash_value(theirs):
            raise ConfigurationError(
                f"{which} have the same inputs, and their {name} differs: {reprlib.repr(mine)} and "
                f"{reprlib.repr(theirs)}. A draw has one score: keep one of the examples, or make "
                "them one whose gold answer allows both."
            )


def _question(example: dspy.Example, fields: Mapping[str, Any], which: str) -> Question:
    check_example(example, which)
    try:
        inputs = example.inputs().toDict()
    except ValueError as error:
        raise ConfigurationError(
            f"{which} does not say what its inputs are: mark them with .with_inputs(…)."
        ) from error
    try:
        key, labels = fingerprint_inputs(inputs), content_of_labels(example)
    except ConfigurationError as error:
        raise ConfigurationError(f"{which} cannot be recorded. {error}") from error
    recorded = {
        name: plain
        for name, value in {**example.toDict(), **fields}.items()
        if (plain := _recorded(value)) is not None
    }
    return Question(key, str(recorded.get(_NAME, key[:16])), recorded, labels)


def _recorded(value: Any) -> str | int | float | bool | None:
    """Return a text, number or truth value as JSON holds it; None for any other value."""
    if is_foreign(value):
        try:
            value = content(value)
        except NoContent:
            return None
    return value if isinstance(value, (str, int, float, bool)) else None
