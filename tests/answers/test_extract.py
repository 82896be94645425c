"""The scanners: marks, numerals, labels, truth values, JSON, and text made to hang them."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from dspy_mux.answers.json_text import json_values
from dspy_mux.answers.labels import leading_label
from dspy_mux.answers.marks import boxed, marked_answer
from dspy_mux.answers.math_extract import last_formula
from dspy_mux.answers.numerals import numeral_of_answer, numerals, parse_number
from dspy_mux.answers.plain_text import fold, unwrap
from dspy_mux.answers.truth import truth_in_text


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        (r"First \boxed{1}, but rather $\boxed{\frac{1}{2}}$.", r"\frac{1}{2}"),
        (r"\boxed{\boxed{3}}", "3"),
        (r"\fbox{4}", "4"),
        (r"so \boxed 5.", "5"),
        (r"\boxed{7} and then a truncated \boxed{\frac{1}{2", "7"),
        (r"the set \boxed{\{1, 2\}}", r"\{1, 2\}"),
        ("working\n#### 1,234", "1,234"),
        ("Answer: 3.5 apples. They are red.", "3.5 apples"),
        ("**Answer:** Paris", "Paris"),
        ("**Answer**: Paris", "Paris"),
        ("**Answer: Paris**", "Paris"),
        ("The answer is Paris.", "Paris"),
        ("The answer to the question is Paris.", "Paris"),
        ("so the correct answer would be **Paris**!", "Paris"),
        ("Final Answer\n\n42\n", "42"),
        ("## Final Answer\n$42$", "42"),
        ("The final answer is $x = 3.5$. I hope it is correct.", "x = 3.5"),
        ("The answer is 1. No wait. The answer is 2.", "2"),
        ("The answer is St. Louis. It is big.", "St. Louis"),
        ("The answer is B. Because A is wrong.", "B"),
        ("The answer is J. K. Rowling. She wrote it.", "J. K. Rowling"),
        ("The answer is not 5", None),
        ("An answering machine", None),
        ("nothing to see", None),
        ("", None),
        (r"#### 1 but \boxed{2} but the answer is 3", "2"),
        ("**Final Answer**\n\n\\[\n\\frac{1}{2}\n\\]", r"\frac{1}{2}"),
        ("The answer is $$\n5\n$$ and so on", "$$\n5\n$$ and so on"),
        ("The answer is $x. y$. I hope so.", "x. y"),
        ("Answer:\n```\n42\n```\nThanks", "42"),
        (r"\boxed{- x}", "-x"),
        (r"The answer is $- \frac{1}{2}$.", r"- \frac{1}{2}"),
    ],
)
def test_marked_answer(text: str, answer: str | None) -> None:
    assert marked_answer(text) == answer


def test_boxes_need_balanced_braces() -> None:
    nested = "{" * 10_000 + "1" + "}" * 10_000
    assert boxed(rf"\boxed{nested}") == [nested[1:-1]]
    assert boxed(r"\boxed{" * 10_000) == []


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1,234", "1234"), ("$18.00", "18"), ("3.5e2", "350"), ("1/2", "1/2"), ("−5", "-5"),
        ("-$5", "-5"), ("1 1/2", "3/2"), (r"\frac{1}{2}", "1/2"), (r"-\frac12", "-1/2"),
        (r"1\frac{4}{5}", "9/5"), ("**18.**", "18"), ("- 5", "-5"), ("$- 5$", "-5"), ("１２", "12"),
        ("50%", "50"), (".5", "1/2"), ("1{,}000", "1000"), ("5 €", "5"), ("18 apples", None),
        ("1,23", None), ("1.2.3", None), ("5-3", None), ("--5", None), ("1/0", None), ("1 2", None),
        ("1e999999999", None), ("", None), ("x", None), ("1" * 3_000, None),
    ],
)  # fmt: skip
def test_a_number_is_the_whole_text_or_nothing(text: str, value: str | None) -> None:
    found = parse_number(text)
    assert (None if found is None else str(found)) == value


def test_percent_signs_count_only_where_asked() -> None:
    assert parse_number("50%") == 50
    assert parse_number("50%", percent=True) == parse_number("1/2")
    assert parse_number("50", percent=True) == 50


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("10-5=5", ["10", "5", "5"]),
        ("it fell to -5 today", ["-5"]),
        ("1,2,3", ["1", "2", "3"]),
        ("$1,234.50 or 1/2", ["$1,234.50", "1/2"]),
        ("gpt4 and x2", []),
    ],
)
def test_numerals_in_text(text: str, found: list[str]) -> None:
    assert numerals(text) == found


@pytest.mark.parametrize(
    ("answer", "numeral"),
    [
        ("18 apples for 3 kids", "18"),
        ("the sum of 3 and 4, which is 7", "7"),
        ("3 + 4 = 7", "7"),
        ("approximately 3.5 m", "3.5"),
        ("none", None),
    ],
)
def test_numeral_of_a_marked_answer(answer: str, numeral: str | None) -> None:
    assert numeral_of_answer(answer) == numeral


@pytest.mark.parametrize(
    ("answer", "label"),
    [
        ("B", "B"), ("(B)", "B"), ("B.", "B"), ("**B**", "B"), ("Option B", "B"), ("B. Paris", "B"),
        ("B because", "B"), ("A good approach", None), ("The correct answer", None),
        ("I think so", None), ("Apple", None), ("3.5", None),
    ],
)  # fmt: skip
def test_leading_label(answer: str, label: str | None) -> None:
    assert leading_label(answer) == label


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("Yes", True), ("no.", False), ("**True**", True), ("No. It is true that it rains.", False),
        ("There is no doubt about it", None), ("There is no doubt: yes", True),
        ("So the statement is false.", False), ("It is not true", False),
        ("It is true in the end, they say", True), ("I know nothing", None), ("", None),
    ],
)  # fmt: skip
def test_truth_in_text(text: str, value: bool | None) -> None:
    assert truth_in_text(text) is value


def test_json_values_are_the_outermost_ones() -> None:
    assert json_values('see [1], then {"a": [2, {"b": "}"}]} and {broken') == [
        [1],
        {"a": [2, {"b": "}"}]},
    ]


@pytest.mark.parametrize(
    ("text", "formula"),
    [
        ("x^2+1", "x^2+1"),
        (r"So $x = 5$ and thus $y=6$.", "y=6"),
        (r"We get \(3\sqrt{2}\) in the end", r"3\sqrt{2}"),
        ("We get 42 in the end", None),
        ("no solution", "no solution"),
    ],
)
def test_last_formula(text: str, formula: str | None) -> None:
    assert last_formula(text) == formula


@pytest.mark.parametrize(
    ("text", "bare"),
    [
        ("**`Paris`**.", "Paris"),
        ("- x", "x"),
        ("- 5", "- 5"),
        ("$- x$", "- x"),
        ("- (B)", "(B)"),
        ("$5$", "5"),
        ("5!", "5!"),
        ("?", "?"),
    ],
)
def test_unwrap(text: str, bare: str) -> None:
    assert unwrap(text) == bare


@given(st.text())
def test_any_text_is_read_without_an_error(text: str) -> None:
    marked_answer(text)
    parse_number(text)
    truth_in_text(text)
    leading_label(text)
    json_values(text)
    last_formula(text)
    numeral_of_answer(text)
    assert fold(fold(text)) is not None


MEGABYTE = 1_000_000
PIECES = [
    "answer is ", "answer: ", "answer\n", "the answer to ", "#### ", "\\boxed{", "\\boxed{x}", "{",
    "}", "[", '["', '{"a":', "1", "1,", "1/", "1e9", "1 ", "(B) ", "option ", "no ", "yes\n", "*",
    "$", "$ x", "\\", "\\(", "`", "```\n", " ", "\n", "\0", ".", "-", "!", "\\frac{", "\\text{",
    "\ud800", "\u202e", "ﷺ",
]  # fmt: skip


@pytest.mark.parametrize("piece", PIECES)
@pytest.mark.timeout(120)  # quadratic scanners take hours
def test_a_megabyte_of_anything_ends_soon(piece: str) -> None:
    text = piece * (MEGABYTE // len(piece.encode("utf-8", "surrogatepass")))
    for scanner in (
        marked_answer,
        parse_number,
        truth_in_text,
        leading_label,
        json_values,
        last_formula,
        numerals,
        fold,
    ):
        scanner(text)
