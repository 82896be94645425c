"""Which of a program's output fields is its answer, and how answers are compared."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import dspy

from ..answers.choose import answer_kind
from ..answers.custom import KeyKind, PairKind
from ..answers.equivalence import AnswerKind
from ..answers.joint import JointKind
from ..answers.plain_text import as_text
from ..errors import ConfigurationError
from ..sampling.causes import NO_FIELD, NO_TEXT, UNUSABLE
from .program import answer_field_of

#: What `equivalence` accepts: a kind, a type such as `MathAnswer`, or a function of the user's.
Equivalence: TypeAlias = AnswerKind | Callable[..., Any]
#: What `answer_field` accepts: a field, several compared jointly, or each one's equivalence.
AnswerField: TypeAlias = str | Sequence[str] | Mapping[str, Equivalence | None]

#: Between the names of several fields, where one text stands for them.
_COMMA = ", "


@dataclasses.dataclass(frozen=True)
class Compared:
    """The answer of a program.

    Attributes:
        fields: the output fields that it consists of.
        kind: how it is compared.
        kinds: each field's own kind, where there are several.
    """

    fields: tuple[str, ...]
    kind: AnswerKind
    kinds: Mapping[str, AnswerKind] | None = None

    @property
    def label(self) -> str:
        """The field's name; several as `title, score`."""
        return _COMMA.join(self.fields)

    def lack(self, prediction: dspy.Prediction) -> str | None:
        """Return that a prediction lacks a field of the answer; None where it has them all."""
        field = next((field for field in self.fields if field not in prediction), None)
        if field is None:
            return None
        return f"{NO_FIELD} {field!r} (it has {', '.join(prediction.keys())})"

    def fault(self, prediction: dspy.Prediction) -> str | None:
        """Return why a prediction has no usable answer; None where it has one."""
        if (lack := self.lack(prediction)) is not None:
            return lack
        answer = self.of(prediction)
        return None if self.kind.key(answer) is not None else fault_of(answer)

    def of(self, prediction: dspy.Prediction) -> Any:
        """Return a prediction's answer: the field's value; a dict of several fields'."""
        if self.kinds is None:
            return prediction[self.fields[0]]
        return {field: prediction[field] for field in self.fields}


def fault_of(answer: Any) -> str:
    """Return what is wrong with an answer that has no key."""
    return NO_TEXT if answer is None or not as_text(answer).strip() else UNUSABLE


def answer_of_label(label: str) -> AnswerField:
    """Return the `answer_field` whose label this is."""
    fields = label.split(_COMMA)
    return fields if len(fields) > 1 else label


def compared(
    template: dspy.Module, answer_field: AnswerField | None, equivalence: Equivalence | None
) -> Compared:
    """Return a program's answer: as the user names it, else `answer`, else the last field.

    Raises:
        ConfigurationError: the program has no such field, or the names or kinds cannot work.
    """
    if answer_field is None or isinstance(answer_field, str):
        return _single(template, answer_field, equivalence)
    each = _each(answer_field)
    if isinstance(answer_field, Mapping) and equivalence is not None:
        raise ConfigurationError(
            "equivalence and a dict of answer_field both say how answers are compared: "
            "put it into the dict."
        )
    if len(each) == 1:
        ((field, own),) = each.items()
        return _single(template, field, own if equivalence is None else equivalence)
    kinds = {
        field: answer_kind(answer_field_of(template, field)[1], own) for field, own in each.items()
    }
    joint: AnswerKind = JointKind(tuple(kinds.items()))
    if equivalence is not None:
        joint = _by_the_user(equivalence, joint)
    return Compared(tuple(each), joint, kinds)


def _single(template: dspy.Module, name: str | None, equivalence: Equivalence | None) -> Compared:
    chosen, field = answer_field_of(template, name)
    return Compared((chosen,), answer_kind(field, equivalence))


def _each(given: Sequence[str] | Mapping[str, Equivalence | None]) -> dict[str, Any]:
    """Return each field's equivalence, None for its type's."""
    is_list = isinstance(given, Sequence)
    if not (is_list or isinstance(given, Mapping)) or not all(
        isinstance(name, str) and name.isidentifier() for name in given
    ):
        raise ConfigurationError(
            "answer_field must be the name of an output field, a list of names, or a dict of "
            f"name → equivalence, not {given!r}."
        )
    if not given or len(set(given)) != len(given):
        raise ConfigurationError(f"answer_field must name each field once, not {given!r}.")
    return dict(given) if isinstance(given, Mapping) else dict.fromkeys(given)


def _by_the_user(equivalence: Equivalence, joint: JointKind | AnswerKind) -> AnswerKind:
    """Return the kind of an equivalence that compares dicts of several fields."""
    kind = answer_kind(Any, equivalence)
    if isinstance(kind, (KeyKind, PairKind)):
        return dataclasses.replace(kind, base=joint)
    if isinstance(equivalence, AnswerKind):
        return kind
    raise ConfigurationError(
        f"equivalence={equivalence!r} compares one field, and answer_field names several: "
        "pass a dict, answer_field={name: equivalence}."
    )
