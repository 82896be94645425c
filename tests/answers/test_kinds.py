"""Answer kinds: what they find in text, what they hold equal, and which an annotation gets."""

from __future__ import annotations

import copy
import dataclasses
import enum
import math
import pickle
from decimal import Decimal
from fractions import Fraction
from typing import Annotated, Any, Literal, Optional, Union

import pydantic
import pytest
from hypothesis import given, settings, strategies as st
from typing_extensions import TypedDict

from dspy_mux.answers.choice_kind import ChoiceKind
from dspy_mux.answers.choose import answer_kind
from dspy_mux.answers.custom import KeyKind, PairKind
from dspy_mux.answers.declared import OptionalKind
from dspy_mux.answers.equivalence import AnswerKind
from dspy_mux.answers.kinds import BoolKind, TextKind
from dspy_mux.answers.math_kind import MathAnswer, MathKind
from dspy_mux.answers.number_kind import NumberKind, Percent, PercentKind
from dspy_mux.answers.structured import AnyKind, JsonKind
from dspy_mux.errors import ConfigurationError


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


OLD_OPTIONAL, OLD_UNION = Optional[int], Union[int, str]  # noqa: UP007, UP045
LETTERS = Literal["A", "B", "C", "D"]
MOODS = Literal["positive", "negative", "very positive"]
WRITTEN = Literal["(A) Paris", "(B) Rome"]


@pytest.mark.parametrize(
    ("annotation", "kind"),
    [
        (int, NumberKind(int)), (float, NumberKind(float)), (Decimal, NumberKind(Decimal)),
        (Fraction, NumberKind(Fraction)), (bool, BoolKind()), (str, TextKind()),
        (Percent, PercentKind(float)), (MathAnswer, MathKind()), (Any, AnyKind()),
        (LETTERS, ChoiceKind(["A", "B", "C", "D"])), (Literal[True, False], BoolKind()),
        (City, ChoiceKind(list(City))), (list[int], JsonKind(list[int])), (dict, JsonKind(dict)),
        (Point, JsonKind(Point)), (Pair, JsonKind(Pair)), (Row, JsonKind(Row)),
        (OLD_OPTIONAL, OptionalKind(NumberKind(int))),
        (int | None, OptionalKind(NumberKind(int))),
        (int | float, NumberKind(float)), (OLD_UNION, AnyKind()),
        (MathAnswer | None, OptionalKind(MathKind())),
        (Annotated[str, "a note"], TextKind()), (Annotated[str, NumberKind(int)], NumberKind(int)),
        (complex, AnyKind()), (list[MathAnswer], JsonKind(list[MathAnswer])),
        ("a string", AnyKind()),
    ],
)  # fmt: skip
def test_the_kind_of_an_annotation(annotation: Any, kind: AnswerKind) -> None:
    assert answer_kind(annotation) == kind
    assert pickle.loads(pickle.dumps(kind)) == copy.deepcopy(kind) == kind


def test_an_equivalence_outranks_the_annotation() -> None:
    assert answer_kind(str, MathAnswer) == answer_kind(str, MathKind()) == MathKind()
    assert answer_kind(str, float) == NumberKind(float)
    by_key, by_pair = answer_kind(int, lambda a: a % 3), answer_kind(int, math.isclose)
    assert isinstance(by_key, KeyKind)
    assert isinstance(by_pair, PairKind)
    assert by_key.same(4, 7)
    assert not by_key.same(4, 8)
    assert by_key.extract("The answer is 4.") == 4
    assert by_pair.same(1.0, 1.0 + 1e-12)
    assert not by_pair.same(1.0, 1.1)


@pytest.mark.parametrize(
    "wrong", ["math", 3, MathKind, lambda: 1, lambda a, b, c: 1, lambda *a: 1, lambda a, *, b: 1]
)
def test_an_equivalence_that_is_none_is_refused(wrong: Any) -> None:
    with pytest.raises(ConfigurationError, match="function of two answers") as caught:
        answer_kind(str, wrong)
    assert isinstance(caught.value, ConfigurationError)


SAME: list[tuple[Any, Any, Any]] = [
    (float, "1,234", 1234), (float, "$18.00", 18), (float, "3.5e2", 350), (float, "1/2", 0.5),
    (float, 0.1 + 0.2, 0.3), (float, "−5", -5), (float, "50%", 50), (float, r"\frac{1}{2}", "0.5"),
    (float, math.inf, math.inf), (int, "18.", 18), (int, "18.0", 18),
    (Decimal, Decimal("0.10"), "0.1"), (Fraction, "2/4", Fraction(1, 2)), (float, "1e3", 1000),
    (Percent, "50%", 0.5), (Percent, "50 percent", "1/2"), (bool, True, "yes"),
    (bool, "False.", "no"), (bool, "**No**", False), (LETTERS, "B", "(b)"),
    (LETTERS, "B.", "**B**"), (LETTERS, "Option B", "B) because"), (City, City.A, "paris"),
    (City, "A", "Paris"), (WRITTEN, "B", "rome"), (WRITTEN, "(B)", "(B) Rome"),
    (Literal[1, 2], 2, "2"), (str, "Paris", " **paris**. "), (str, "New   York", "new york"),
    (str, "“Paris”", "Paris"), (str, "ｃａｆé", "cafe\u0301"), (list[int], [1, 2], "[1, 2.0]"),
    (set[int], {1, 2}, "[2, 1]"), (dict[str, float], {"b": 1, "a": 2}, '{"a": 2.0, "b": 1}'),
    (Point, Point(x=1, label="Here"), '{"x": 1.0, "label": "here"}'),
    (Pair, Pair(1, 2), '{"x": 1, "y": 2}'), (Any, "5", 5.0), (Any, "Paris", "paris"),
    (Any, '{"a": 1}', {"a": 1.0}), (Any, (1, 2), [1, 2]), (MathAnswer, 0.5, r"\frac12"),
    (MathAnswer, "x=3", "3"), (MathAnswer, r"3\sqrt2", r"\sqrt{18}"),
]  # fmt: skip

DIFFERENT: list[tuple[Any, Any, Any]] = [
    (float, "-5", "5"), (float, "1/2", "12"), (float, "50%", 0.5), (float, "18 apples", 18),
    (float, True, 1), (float, math.nan, math.nan), (float, None, None), (float, "", ""),
    (float, "1e999999999", "1e999999999"), (Decimal, "0.1000000000000001", "0.1"),
    (Decimal, Decimal("NaN"), Decimal("NaN")), (Percent, "50", 0.5), (bool, "maybe", "maybe"),
    (bool, True, False), (bool, 2, 2), (LETTERS, "E", "E"), (LETTERS, "A", "B"),
    (LETTERS, "A good approach", "A"), (City, City.A, City.B), (City, "Rome", "Rome"),
    (str, "the cat", "cat"), (str, "C++", "C"), (str, "-5", "5"), (str, "1/2", "12"),
    (str, "5!", "5"), (str, " ", " "), (str, "\u200b", "\u200b"), (list[int], [1, 2], [2, 1]),
    (list[int], "[1, x]", "[1, x]"), (Any, None, None), (Any, "true", 1), (dict, "null", "null"),
    (MathAnswer, "x", "y"), (MathAnswer, "", ""), (MathAnswer, None, None), (MathAnswer, "-5", "5"),
]  # fmt: skip


@pytest.mark.parametrize(("annotation", "a", "b"), SAME)
def test_the_same_answer(annotation: Any, a: Any, b: Any) -> None:
    kind = answer_kind(annotation)
    assert kind.same(a, b)
    assert kind.same(b, a)
    assert kind.classes([a, None, b]) == [0, None, 0]


@pytest.mark.parametrize(("annotation", "a", "b"), DIFFERENT)
def test_different_answers(annotation: Any, a: Any, b: Any) -> None:
    kind = answer_kind(annotation)
    assert not kind.same(a, b)
    assert not kind.same(b, a)


@pytest.mark.parametrize(
    ("annotation", "text", "value"),
    [
        (int, "The answer is $18 per day for 3 days.", 18), (float, "so 3+4=7", 7.0),
        (int, "It is 10-5", None), (int, "3.5", None),
        (int, "Answer: 42\n\nNote: the answer is rounded.", 42),
        (Percent, "The answer is 12.5 percent", 0.125), (Decimal, "answer: 3.10", Decimal("3.1")),
        (Fraction, "answer: 3/4", Fraction(3, 4)), (int, "none", None),
        (int, r"\boxed{15 \text{ apples}}", 15), (float, "It costs 50% more", 50.0),
        (int, "Answer: -5", -5), (bool, "Let me think. The answer is no.", False),
        (bool, "Hmm", None), (bool, "Yes, as no one knows", True),
        (LETTERS, "The correct answer can be found by adding.", None),
        (LETTERS, "A good approach is to add.", None), (LETTERS, "The answer is (C) Paris", "C"),
        (LETTERS, "The correct answer is B because A is wrong", "B"),
        (LETTERS, "A) x\nB) y\nC) z\n\nThe correct choice is (B).", "B"),
        (LETTERS, "I think option C is right", "C"), (LETTERS, r"\boxed{\text{(C)}}", "C"),
        (LETTERS, "Let's see.\n**B**\n", "B"), (LETTERS, "B. Paris", "B"),
        (MOODS, "It could be positive or negative.\nSo: negative", "negative"),
        (MOODS, "positive or negative", None),
        (MOODS, "The sentiment is Very Positive!", "very positive"),
        (City, "It is paris, of course", City.A), (City, "The answer is B", City.B),
        (WRITTEN, "Answer: Rome", "(B) Rome"), (Literal[1, 2, 3], "Option 3", 3),
        (str, "```\nhello\n```", "hello"), (str, "The answer is St. Louis.", "St. Louis"),
        (str, "", None), (list[int], "foo [1], then [1, 2, 3] done", [1, 2, 3]),
        (list[int], 'see ["a"]', None), (Point, 'here: {"x": 2} and [1]', Point(x=2)),
        (MathAnswer, r"We get $x=5$, so \(2\sqrt{2}\) it is", r"2\sqrt{2}"),
        (MathAnswer, "We get 42 in the end", "42"), (MathAnswer, "The answer is $(1,2)$.", "(1,2)"),
        (int | None, "It is 7", 7), (Any, "The answer is Paris.", "Paris"),
    ],
)  # fmt: skip
def test_extraction(annotation: Any, text: str, value: Any) -> None:
    found = answer_kind(annotation).extract(text)
    assert found == value
    assert type(found) is type(value)


def test_numbers_too_long_to_compare_are_no_answers() -> None:
    assert answer_kind(int).key(10**9_000) is None
    assert answer_kind(int).key(10**1_000) is not None
    assert answer_kind(Decimal).key(Decimal("1E+999999")) is None


def test_classes_are_numbered_as_first_seen() -> None:
    near = answer_kind(float, lambda a, b: abs(a - b) < 1.5)
    assert near.classes([1.0, 2.0, None, 5.0, 1.0, 6.0]) == [0, 0, None, 1, 0, 1]
    assert answer_kind(str).classes(["b", "", "a", "B."]) == [0, None, 1, 0]
    assert answer_kind(MathAnswer).classes(["1/2", "x+1", None, "0.5", "1+x"]) == [0, 1, None, 0, 1]


def test_a_function_that_raises_means_no_answer(caplog: pytest.LogCaptureFixture) -> None:
    by_key = answer_kind(str, lambda a: round(float(a), 2))
    assert by_key.classes(["0.501", "none", "0.5"]) == [0, None, 0]
    assert "key function raised" in caplog.text
    assert not answer_kind(str, lambda a, b: a < b.nothing).same("a", "b")
    assert "equivalence raised" in caplog.text


def test_what_a_function_raises_is_logged_once_per_kind(caplog: pytest.LogCaptureFixture) -> None:
    by_key = answer_kind(str, lambda a: {"a": 1}[a] + len(a.missing))
    for _ in range(3):
        assert by_key.classes(["a", "b", "c"]) == [None, None, None]
    near = answer_kind(str, lambda a, b: abs(float(a) - float(b)) < 1)
    assert near.classes(["x", "y", "z", "1", "1.5"]) == [0, 1, 2, 3, 3]
    raised = [record.exc_info[0] for record in caplog.records if record.exc_info]
    assert raised == [AttributeError, KeyError, ValueError]
    assert caplog.text.count("Traceback") == 3
    assert "key function raised on 'a', which counts as an abstention" in caplog.text


def test_keys_that_cannot_be_hashed() -> None:
    assert answer_kind(str, lambda a: sorted(a)).classes(["tea", "eat", "tee"]) == [0, 0, 1]
    assert answer_kind(str, lambda a: (a[0], [a[-1]])).classes(["tea", "toa", "tee"]) == [0, 0, 1]
    assert answer_kind(list[str], lambda a, b: len(a) == len(b)).classes([["a"], ["A"], []]) == [
        0,
        0,
        1,
    ]


def test_a_case_sensitive_equivalence_is_obeyed() -> None:
    assert not answer_kind(str, lambda a, b: a == b).same("Paris", "paris")


KINDS: list[Any] = [
    int,
    float,
    Decimal,
    Percent,
    bool,
    LETTERS,
    MOODS,
    City,
    str,
    list[int],
    dict[str, Any],
    Any,
    MathAnswer,
]
WRITINGS = st.one_of(
    st.text(max_size=30), st.from_regex(r"[-+]?\$?\d{1,4}([.,/]\d{1,3})?%?", fullmatch=True),
    st.sampled_from(["A", "(b)", "yes", "No.", "positive", "[1, 2]",
    '{"a": 1}', r"\frac12", "x=3", "nan", "1e9",
    "\ud800"]),
    st.integers(), st.floats(), st.booleans(), st.none(), st.lists(st.integers(), max_size=3),
    st.decimals(), st.fractions(),
)  # fmt: skip


@pytest.mark.parametrize("annotation", [kind for kind in KINDS if kind is not MathAnswer])
@given(a=WRITINGS, b=WRITINGS)
def test_an_equivalence_that_never_fails(annotation: Any, a: Any, b: Any) -> None:
    kind = answer_kind(annotation)
    key, other = kind.key(a), kind.key(b)
    hash(key)
    assert kind.same(a, a) == (key is not None)
    assert kind.same(a, b) == kind.same(b, a)
    assert kind.same(a, b) == (key is not None and key == other)


@settings(max_examples=60)
@given(a=WRITINGS, b=WRITINGS)
def test_mathematics_is_reflexive_and_symmetric(a: Any, b: Any) -> None:
    kind = MathKind()
    assert kind.same(a, a) == (kind.key(a) is not None)
    assert kind.same(a, b) == kind.same(b, a)
    if kind.key(a) is not None and kind.key(a) == kind.key(b):
        assert kind.same(a, b)


@pytest.mark.parametrize("annotation", KINDS)
@given(text=st.text())
def test_extraction_finds_a_usable_answer_or_nothing(annotation: Any, text: str) -> None:
    kind = answer_kind(annotation)
    found = kind.extract(text)
    assert found is None or kind.key(found) is not None


@given(values=st.lists(st.sampled_from(["a", "A", "b", "", None, "c."]), max_size=12))
def test_classes_are_canonical(values: list[str | None]) -> None:
    kind = TextKind()
    classes = kind.classes(values)
    seen = [number for number in dict.fromkeys(classes) if number is not None]
    assert seen == list(range(len(seen)))
    for a, first in zip(values, classes, strict=True):
        for b, second in zip(values, classes, strict=True):
            assert kind.same(a, b) == (first is not None and first == second)


def test_a_labelled_number_keeps_its_sign() -> None:
    kind = answer_kind(Literal["A) -5", "B) 5", "C - seven"])
    assert [kind.extract(text) for text in ("-5", "The answer is 5.", "seven", "(A)")] == [
        "A) -5",
        "B) 5",
        "C - seven",
        "A) -5",
    ]
