"""Numerals: every form that a person reads at once is read, and no fragment is taken for one."""

from __future__ import annotations

import unicodedata
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, strategies as st

from dspy_mux.answers.choose import answer_kind
from dspy_mux.answers.number_kind import Percent
from dspy_mux.answers.numerals import exact_value, numerals, parse_number
from dspy_mux.answers.plain_text import fold, normalise

FORMS = ["{}", "The answer is {}.", "So it is $\\boxed{{{}}}$.", "We add.\n#### {}"]

VALUES = {
    "10^6": 10**6, "10**6": 10**6, "10^{-3}": "1/1000", "10⁻³": "1/1000", "2^10": 1024,
    "6.02 × 10^23": 602 * 10**21, "6.02x10^23": 602 * 10**21, "6.02 x 10^{23}": 602 * 10**21,
    r"1.5 \times 10^{3}": 1500, r"3\cdot10^{-4}": "3/10000", "1.5E-3": "3/2000", "10²": 100,
    "9.8 m/s^2": "9.8", "5 kg·m/s²": 5, "25 m²": 25, r"25\text{ cm}^3": 25, "20 °C": 20,
    r"90^\circ": 90, "45%": 45, "60 km/h": 60, "$5/hour": 5, "12 apples": 12,
    "1.234,56": "1234.56", "1.234.567,89": "1234567.89", "1,234": 1234, "1.234": "1.234",
    "12,345.67": "12345.67", "1 234 567": 1234567, "1\u202f234,5": "1234.5", "1'234'567": 1234567,
    "₹12,34,567.50": "1234567.5", "12,5": "12.5", "0,123": "0.123", "1{,}234": 1234,
    r"1\,234\,567": 1234567, "١٬٢٣٤٫٥": "1234.5", "१२३": 123, "１，２３４": 1234,
    "5 million": 5 * 10**6, "$3.2M": 3200000, "5k": 5000, "3bn": 3 * 10**9, "£5m": 5 * 10**6,
    "3 hundred": 300, "2 crore": 2 * 10**7, "1.5 lakh": 150000, "2 Milliarden": 2 * 10**9,
    "4 thousand 3 hundred and 21": 4321, "3.2亿": 320000000, "5 dozen": 60,
    "2½": "5/2", "½": "1/2", "2 ½ hours": "5/2", "1 / 3": "1/3", "2 1/2": "5/2",
    r"\frac{1}{2}": "1/2", r"-\tfrac34": "-3/4", r"1\frac{4}{5}": "9/5",
    "minus 5": -5, "negative 5": -5, "−5": -5, "-$5": -5, "$-5": -5, "negative twelve": -12,
    "twelve": 12, "twenty-one": 21, "one hundred and five": 105, "a dozen": 12, "half": "1/2",
    "three quarters": "3/4", "minus one": -1, "one and a half": "3/2", "two thirds": "2/3",
    "two million one thousand": 2001000, "five point three": "5.3", "one over three": "1/3",
    "USD 5": 5, "5 USD": 5, "R$ 5": 5, "US$5": 5, "5€": 5, "Rs. 500": 500,
    "3 dollars 50 cents": "3.5", r"\sqrt{16}": 4, "√16": 4, r"\text{13}": 13,
    "$1,080.00 (12 × $90)": 1080, "18 [1]": 18, "8 out of 10": 8, "5±0.2": 5, "about 5": 5,
    "~5": 5, "≈5": 5, "3 + 4 = 7": 7, "x = 5": 5, "not 5 but 6": 6, "5, not 6": 5, "12 (dozen)": 12,
    "five (5)": 5, "18 dollars for 3 days": 18, "5<sup>2</sup>": 25, "**5**": 5, "`5`": 5,
}  # fmt: skip

NONE = [
    "5-7", "5–7", "5 to 7", "5 or 6", "between 5 and 7", "from 5 to 7", "$5-$7", "5 kg to 7 kg",
    "12-15 million", "10-5", "5, 6", "5 and 6", "1, 2 and 3", "x = 5 or x = 6",
    "2024-03-15", "15/03/2024", "15.03.2024", "March 15, 2024", "15 March 2024", "18-Jan-18",
    "5:30", "5 pm", "5:30 PM", "17:30:00", "5 o'clock", "2024年3月15日",
    "1.2.3", "v1.2.3", "192.168.0.1", "192.168.100.200", "555-1234", "+1 (555) 123-4567",
    r"2\pi", "2π", "3x", "x^2", "3x + 2", r"\frac{x}{2}", r"\frac{\pi}{4}", "n/2", r"\sqrt{2}",
    "sin(30)", "f(5)", "10^x", "5!", "x - 5", "log 5", "5 × 7", "2 + 3", r"2 \pm 3",
    "> 5", "≥ 5", "more than 5", "at least 5", "5 or more", "5+", "up to 5", r"x \geq 5", "≠ 5",
    "1,23,4", "1,,2", "1..2", "5%%", "0x1F", "0b101", "1010₂", "1/0", "1/2/3", "5^", "5e", "nan",
    "5 hours 30 minutes", "5 ft 11 in", "5'11\"", "5 dogs and 3 cats", "123 Main Street",
    "1 2", "12 34", "5①", "GPT-4", "H2O", "4 10/3", "5 degrees below zero", "not 5", "1e99999",
]  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("text", VALUES)
def test_a_numeral_is_read_whole(text: str, form: str) -> None:
    kind = answer_kind(Fraction)
    assert kind.extract(form.format(text)) == Fraction(VALUES[text])


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("text", NONE)
def test_what_is_no_one_number_abstains(text: str, form: str) -> None:
    for number in (int, float, Decimal, Fraction):
        assert answer_kind(number).extract(form.format(text)) is None, number


@pytest.mark.parametrize(
    ("annotation", "text", "value"),
    [
        (int, "3.0", 3), (int, "3.5", None), (int, "1e3", 1000), (int, "4/5", 4), (int, "8/10", 8),
        (int, "10/5", 2), (int, "3/4", None), (int, "3rd", 3), (int, "in 6th place", 6),
        (int, "12,5", None), (float, "4/5", 0.8), (float, "It fell by 3 on the 2nd day.", 3.0),
        (Percent, "12,5 %", 0.125), (Percent, "50 percent", 0.5), (Percent, "50 per cent", 0.5),
        (Percent, "0.5", 0.5), (Percent, "50", 50.0), (Percent, "half", 0.5), (Percent, "4/5", 0.8),
        (Percent, "5‰", 0.005), (Percent, "25 basis points", 0.0025), (Percent, "5-7%", None),
        (Percent, "8 out of 10", 0.8), (Percent, "1 in 5", 0.2), (float, "1 in 5", None),
        (Percent, r"So \boxed{28}\%.", 0.28), (Percent, "It rose by 35% by 1960.", 0.35),
        (Decimal, "1,234.50", Decimal("1234.5")), (Decimal, "10^6", Decimal(10**6)),
    ],
)  # fmt: skip
def test_each_type_reads_its_own(annotation: Any, text: str, value: Any) -> None:
    found = answer_kind(annotation).extract(text)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("We sell 12 eggs.\nSo she earns $1,080 (12 × $90) [2].", 1080),
        ("He had 5 apples. In the end he earns $20 in two days.", 20),
        ("There are 12 eggs in 1 dozen, so that is 84/12 = 7 dozen eggs", 7),
        ("At $5/hour he earns 3 hours * $5/hour = $15/day", 15),
        ("In total there are twenty-four.", 24),
        ("1. Add 3 and 4.\n2. So it is 7.\n3. Then we stop.", 7),
        ("It has 16 GB of memory.¹", 16),
        ("The cube has a volume of 8 m^3", 8),
        ("It is 5 rather than 6.", 5),
        ("We add 3 and 4, and then multiply 5 × 6", None),
        ("They are 4 and 6.", None),
        ("First 5, then the range is 5-7.", None),
        ("You told me of 2 cats, but I don't have that information.", None),
        ("I prefer this one.", None),
    ],
)
def test_prose_ends_on_its_answer(text: str, value: int | None) -> None:
    assert answer_kind(float).extract(text) == value


def test_a_mark_that_is_not_understood_is_not_passed_over() -> None:
    assert answer_kind(int).extract("The answer is 7. No: the answer is 5-7.") is None


@pytest.mark.parametrize(
    ("text", "same"),
    [("1½", "1.5"), ("10²", "100"), ("twelve", "12"), ("12,5", "12.5"), ("5 million", "5000000")],
)
def test_keys_go_by_the_same_grammar(text: str, same: str) -> None:
    assert answer_kind(float).same(text, same)
    assert exact_value(text) == exact_value(same)


def test_mathematics_reads_a_lone_comma_as_two_numbers() -> None:
    assert parse_number("1,23") is None
    assert parse_number("twelve") is None
    assert exact_value("1,23") == Fraction("1.23")


def test_a_raised_digit_does_not_join_the_number_before_it() -> None:
    assert fold("10²") != fold("102")
    assert fold("10²") == fold("10^2")
    assert fold("1½") != fold("11/2")
    assert fold("H₂O") == fold("H2O")
    assert normalise("1010₂") == "1010_2"
    assert numerals("2024-03-15 and 1\u200b2") == ["2024", "03", "15", "1", "2"]


@given(st.characters(exclude_categories=("Cs", "Nd")))
def test_no_character_joins_the_digits_beside_it(character: str) -> None:
    """NFKC writes some characters as digits: ½, ², ①, ㏠."""
    beside = normalise(f"5{character}6")
    digits = [
        part
        for part in "".join(c if c.isascii() and c.isdigit() else " " for c in beside).split()
        if part != unicodedata.normalize("NFKC", character)
    ]
    assert digits[0] == "5"
    assert digits[-1] == "6"


# --------------------------------------------------------------------------------------------------
# Any value in any form


GROUPINGS = [(",", "."), (".", ","), ("\u00a0", ","), ("\u202f", "."), ("'", "."), ("", ".")]
UNITS = ["", " km", " m/s^2", " cm²", " apples", " °C", " kg·m/s²", "%", " dollars"]
CURRENCIES = ["", "$", "€", "USD ", "₹"]
SCALES = {"": 1, " thousand": 10**3, " million": 10**6, " crore": 10**7, " Milliarden": 10**9}
SENTENCES = [
    "{}", "The answer is {}.", "Answer: {}", "\\boxed{{{}}}", "#### {}", "So x = {}",
    "First we add 3 and 4.\nThen it is {} [1].", "about {}", "**{}**",
]  # fmt: skip


@st.composite
def written_numbers(draw: st.DrawFn) -> tuple[str, Fraction]:
    """Return a number as someone may write it, and its value."""
    whole = draw(st.integers(0, 10**12))
    decimals = draw(st.one_of(st.just(""), st.from_regex(r"[0-9]{1,6}", fullmatch=True)))
    group, point = draw(st.sampled_from(GROUPINGS))
    text = f"{whole:,}".replace(",", group)
    value = Fraction(whole)
    if decimals:
        if group == "" and len(decimals) == 3 and point == ",":
            decimals += "1"
        text += point + decimals
        value += Fraction(int(decimals), 10 ** len(decimals))
    ambiguous = (decimals and point == "," and whole < 1000 and len(decimals) == 3) or (
        not decimals and group == "." and 1000 <= whole < 10**6
    )
    if ambiguous:
        text, value = str(whole), Fraction(whole)
    power = draw(st.sampled_from([None, None, -7, 3, 23]))
    if power is not None:
        text += draw(
            st.sampled_from([" × 10^{}", "x10^{}", r" \times 10^{{{}}}", "*10**{}"])
        ).format(power)
        value *= Fraction(10) ** power
    else:
        scale = draw(st.sampled_from(sorted(SCALES)))
        text, value = text + scale, value * SCALES[scale]
    text = draw(st.sampled_from(CURRENCIES)) + text
    sign = draw(st.sampled_from(["", "-", "−", "minus ", "negative "]))
    unit = draw(st.sampled_from(UNITS)) if text[0].isdigit() else ""
    return sign + text + unit, -value if sign else value


@given(written_numbers(), st.sampled_from(SENTENCES))
def test_any_number_in_any_form_is_read_exactly(written: tuple[str, Fraction], form: str) -> None:
    text, value = written
    assert answer_kind(Fraction).extract(form.format(text)) == value


UNKNOWN = ["x", "π", "^", "_", "/0", ":30", "…9", "±", "\\pi", "\\frac{", "(3)", "‑3", "²ⁿ",
           "ab3", "!!", "@", "~~", "&5", "\\alpha", "°′", "é", "٪", "０", "⁵", "e", "i", "..", ",,",
           "##", "-", "+", "=", "<", "≤3", "√"]  # fmt: skip


@given(st.integers(1, 10**6), st.sampled_from(UNKNOWN), st.sampled_from(FORMS), st.booleans())
def test_beside_the_unknown_there_is_the_whole_number_or_none(
    number: int, beside: str, form: str, before: bool
) -> None:
    """What touches a number may change it, but no part of it, or of what touches it, answers."""
    before = before and not beside[-1].isdigit()
    text = f"{beside}{number}" if before else f"{number}{beside}"
    found = answer_kind(Fraction).extract(form.format(text))
    allowed = {None, Fraction(number), Fraction(-number), Fraction(number, 100)}
    digits = [c for c in unicodedata.normalize("NFKC", beside) if c.isdigit()]
    if digits and beside in ("０",):
        allowed.add(Fraction(f"0{number}" if before else f"{number}0"))
    if beside == "⁵":
        allowed.add(Fraction(number) ** 5)
    if beside == "√" and before:
        root = int(number**0.5 + 0.5)
        allowed.add(Fraction(root) if root * root == number else None)
    assert found in allowed
