"""Lists written out in text, and numbers written as text inside lists and models."""

from __future__ import annotations

from decimal import Decimal

import pydantic
import pytest
from hypothesis import given, strategies as st

from dspy_mux import answer_kind
from dspy_mux.answers.list_text import list_items


@pytest.mark.parametrize(
    ("text", "items"),
    [
        ("- a\n- b", ["a", "b"]),
        ("1. a\n2. b", ["a", "b"]),
        ("1) **a**\n\n2) b", ["a", "b"]),
        ("Here they are:\n\n* a\n* b\n\nLet me know if you need more.", ["a", "b"]),
        ("red, green and blue", ["red", "green", "blue"]),
        ("red, green, and blue.", ["red", "green", "blue"]),
        ("a; b, c; d", ["a", "b, c", "d"]),
        ("1,234, 56", ["1,234", "56"]),
        ("[10^6, 3]", ["10^6", "3"]),
        ("<words>\na, b\n</words>", ["a", "b"]),
        ("a", None),
        ("- a", None),
        ("1. a\n3. b", None),
        ("- a\n- b\n\nOr else:\n- c\n- d", None),
        ("1. We add 3 and 4.\n2. We double it.\n\nSo nothing follows.", None),
        ("The members are Ann, Bo and Cy, but I cannot list the others.", None),
        ('["a", "b', None),
        ("", None),
    ],
)
def test_list_items(text: str, items: list[str] | None) -> None:
    assert list_items(text) == items


ITEMS = st.lists(
    st.text("abcdefghij", min_size=1, max_size=8).filter(
        lambda item: item not in ("a", "if", "be")
    ),
    min_size=2,
    max_size=6,
)
FORMS = (
    lambda items: "\n".join(f"- {item}" for item in items),
    lambda items: "\n".join(f"{number}. {item}" for number, item in enumerate(items, 1)),
    lambda items: "Sure:\n\n" + "\n".join(f"* {item}" for item in items),
    ", ".join,
    "; ".join,
    lambda items: f"Answer: {', '.join(items)}",
    lambda items: str(items),
    lambda items: f"```json\n{items}\n```".replace("'", '"'),
)


@given(ITEMS, st.sampled_from(FORMS))
def test_a_list_is_read_in_any_form(items: list[str], form) -> None:
    kind = answer_kind(list[str])
    assert kind.same(kind.extract(form(items)), items)


class Reading(pydantic.BaseModel):
    name: str
    value: float
    tries: int = 1


@pytest.mark.parametrize(
    ("type_", "text", "value"),
    [
        (list[float], '["1½", "1,234", "5 million"]', [1.5, 1234.0, 5e6]),
        (list[int], '["10²", "7"]', [100, 7]),
        (list[int], '["five to seven"]', None),
        (list[float], '["5-7"]', None),
        (list[Decimal], '["1.234,56"]', [Decimal("1234.56")]),
        (dict[str, float], '{"a": "2½"}', {"a": 2.5}),
        (dict[str, int], '{"a": 1, "a": 2}', None),
        (
            Reading, '{"name": "1½", "value": "1½", "tries": "3"}',
            Reading(name="1½", value=1.5, tries=3),
        ),
        (Reading, '{"name": "x", "value": "2024-03-15"}', None),
        (list[int], "[1, 2] and then [3, 4]", [3, 4]),
        (list[int], "[1, 2] and [3, 4]", None),
        (list[int], '{"values": [1, 2]}', [1, 2]),
        (list[int], '{"rows": [1, 2], "columns": [3, 4]}', None),
    ],
)  # fmt: skip
def test_numbers_and_wrappers_within_structures(type_, text, value) -> None:
    assert answer_kind(type_).extract(text) == value
