"""Every kind of answer: its annotation, its values, and those a model can say in a sentence."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from typing import Any, Literal, NamedTuple

import pydantic
from hypothesis import strategies as st
from typing_extensions import TypedDict

from dspy_mux.answers.math_kind import MathAnswer
from dspy_mux.answers.number_kind import Percent


class City(enum.Enum):
    A = "Paris"
    B = "London Town"


class Point(pydantic.BaseModel):
    x: float
    label: str = ""


@dataclasses.dataclass
class Pair:
    x: int
    y: int


class Row(TypedDict):
    x: int


LETTERS = Literal["A", "B", "C", "D"]
MOODS = Literal["positive", "negative", "very positive"]
MIXED = Literal[1, 2, "(C) Rome"]


class Declared(NamedTuple):
    """A declared type.

    Attributes:
        holds: whether a value is of this type.
        values: values that can be told in one sentence.
    """

    annotation: Any
    holds: Callable[[Any], bool]
    values: st.SearchStrategy[Any]


def _options(annotation: Any) -> Declared:
    options = list(annotation) if isinstance(annotation, enum.EnumMeta) else annotation.__args__
    return Declared(
        annotation,
        lambda value: any(type(value) is type(option) and value == option for option in options),
        st.sampled_from(options),
    )


WORDS = st.from_regex(r"[A-Z][a-z]{2,6}( [A-Z][a-z]{2,6})?", fullmatch=True)
FLOATS = st.floats(allow_nan=False, allow_infinity=False)

DECLARED = {
    "text": Declared(str, lambda value: type(value) is str, WORDS),
    "int": Declared(int, lambda value: type(value) is int, st.integers()),
    "float": Declared(float, lambda value: type(value) is float, FLOATS),
    "Decimal": Declared(
        Decimal,
        lambda value: type(value) is Decimal,
        st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**40), max_value=10**40),
    ),
    "Fraction": Declared(Fraction, lambda value: type(value) is Fraction, st.fractions()),
    "percent": Declared(Percent, lambda value: type(value) is float, FLOATS),
    "bool": Declared(bool, lambda value: type(value) is bool, st.booleans()),
    "letters": _options(LETTERS),
    "moods": _options(MOODS),
    "mixed options": _options(MIXED),
    "enum": _options(City),
    "list": Declared(
        list[int],
        lambda value: type(value) is list and all(type(item) is int for item in value),
        st.lists(st.integers(), max_size=4),
    ),
    "tuple": Declared(
        tuple[int, str],
        lambda value: type(value) is tuple and list(map(type, value)) == [int, str],
        st.nothing(),
    ),
    "set": Declared(
        set[str],
        lambda value: type(value) is set and all(type(item) is str for item in value),
        st.nothing(),
    ),
    "dict": Declared(
        dict[str, Any],
        lambda value: type(value) is dict and all(type(name) is str for name in value),
        st.nothing(),
    ),
    "model": Declared(
        Point,
        lambda value: type(value) is Point,
        st.builds(Point, x=st.integers(-99, 99), label=WORDS),
    ),
    "dataclass": Declared(Pair, lambda value: type(value) is Pair, st.nothing()),
    "typed dict": Declared(
        Row, lambda value: type(value) is dict and type(value["x"]) is int, st.nothing()
    ),
    "anything": Declared(Any, lambda value: True, WORDS),
    "mathematics": Declared(
        MathAnswer,
        lambda value: type(value) is str,
        st.sampled_from([r"\frac{1}{2}", "5", "x^2+1", r"3\sqrt{2}"]),
    ),
    "optional": Declared(int | None, lambda value: type(value) is int, st.integers()),
}
