"""Numbers and formulas that no one can finish: read in bounded time, whole or not at all, and
never as their first digits."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import pytest

from dspy_mux.answers import math_equal
from dspy_mux.answers.choose import answer_kind
from dspy_mux.answers.marks import marked_answer
from dspy_mux.answers.math_canonical import canonical
from dspy_mux.answers.math_equal import MathWorker, same_mathematics
from dspy_mux.answers.math_kind import MathAnswer, MathKind
from dspy_mux.answers.number_kind import Percent
from dspy_mux.answers.numerals import numerals, parse_number
from dspy_mux.answers.plain_text import TAIL

from ..support.hostile_texts import BOMBS, NUMBERS, TEXTS
from ..support.limits import within

KINDS = [
    str,
    int,
    float,
    Decimal,
    Fraction,
    Percent,
    bool,
    list[str],
    dict[str, int],
    MathAnswer,
    object,
]
FORMS = {
    "alone": "{}",
    "told": "The answer is {}.",
    "boxed": r"So \boxed{{{}}} it is.",
    "in a sentence": "It is {} apples, or so.",
}


@pytest.mark.parametrize("name", {**NUMBERS, **TEXTS, **BOMBS})
def test_every_kind_reads_and_compares_anything_soon(name):
    text = {**NUMBERS, **TEXTS, **BOMBS}[name]
    for kind in map(answer_kind, KINDS):
        with within(30):
            for form in FORMS.values():
                value = kind.extract(form.format(text))
                assert kind.key(value) == kind.key(value)
            kind.key(text)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", NUMBERS)
def test_no_number_is_read_in_part(name, form):
    text = FORMS[form].format(NUMBERS[name])
    for annotation in (int, float, Fraction, Decimal):
        assert answer_kind(annotation).extract(text) is None, annotation


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("It was 1_000 once, it is 7.", 7), ("0x1F and 7", 7), ("Answer: 7 (of 0b101)", 7),
        ("3.5e3.", 3500), ("1e5", 100_000),
        ("1/2.", Fraction(1, 2)), ("12/05", Fraction(12, 5)), ("10x4 is 7", 7),
        ("$1,234.50", Fraction("1234.5")),
        ("1e-3 or so", Fraction(1, 1000)), ("1/2e3", Fraction(1, 2000)),
    ],
)  # fmt: skip
def test_ordinary_numbers_beside_them_are_read(text, value):
    assert answer_kind(Fraction).extract(text) == value


@pytest.mark.parametrize("start", ["", "x", "The answer is "])
def test_a_text_is_not_cut_within_a_number(start):
    for digits in (100, 1500, 10**5):
        cut = f"{start}{'7' * digits}{' word' * (TAIL // 5)}"
        assert numerals(cut[-TAIL - digits // 2 :]) == []
        assert answer_kind(int).extract(f"The answer is {'x' * 1990}{'7' * digits}") is None
    assert marked_answer("The answer is " + "7" * 10**5) is None
    assert parse_number("7" * 10**5) is None


# --- mathematics


@pytest.fixture(scope="module")
def impatient():
    """A worker that waits for a third of a second, and a second for all pairs of a question."""
    with pytest.MonkeyPatch.context() as patched:
        worker = MathWorker(deadline=0.3)
        patched.setattr(math_equal, "_worker", worker)
        patched.setattr(math_equal, "PATIENCE", 1.0)
        yield worker
        worker.close()


@pytest.mark.parametrize(
    "name", ["a power", "a factorial", "sines", "brackets", "open groups", "a matrix"]
)
def test_a_bomb_equals_its_own_text_alone(impatient, name):
    text = canonical(BOMBS[name])
    with within(60):
        assert same_mathematics(text, text)
        assert not same_mathematics(*sorted((text, canonical("y+z"))))
        assert same_mathematics("2+x", "x+2")  # the worker was replaced where it had to be


def test_a_question_of_many_bombs_ends(impatient):
    """Every pair of 24 answers would run out of time: 276 deadlines, each with a worker to start
    anew."""
    bombs = [rf"\sum_{{n=1}}^{{10^{{9}}}} n^{{{at}}}" for at in range(2, 26)]
    with within(60):
        classes = MathKind().classes([*bombs, *bombs, r"\frac{1}{2}", "0.5"])
    assert classes[:24] == classes[24:48]
    assert classes[48] == classes[49]  # numbers need no worker


def test_a_bomb_is_blamed_and_compared_no_more(impatient, monkeypatch):
    bomb = canonical(BOMBS["sines"])
    assert not impatient.same(*sorted((bomb, "a+b")))
    assert impatient.same("a+b", "b+a")
    monkeypatch.setattr(impatient, "_ask", lambda *pair: pytest.fail(f"{pair} was compared"))
    assert not any(impatient.same(*sorted((bomb, f"a+{letter}"))) for letter in "cdefghij")
