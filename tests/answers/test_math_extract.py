"""The mathematics of a free text, as models end their solutions; text made to hang the scanners."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from dspy_mux.answers.math_canonical import canonical
from dspy_mux.answers.math_extract import formula_of_answer, lone_answer, math_answer
from tests.answers.test_extract import MEGABYTE, PIECES


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("The answer is $5$, since $3+2=5$.", "5"),
        ("The answer is 5 because 3+2=5.", "5"),
        ("The answer is the interval $[1,2]$.", "[1,2]"),
        ("The answer is $x^2+1$, where $x$ is real.", "x^2+1"),
        ("Answer: Evelyn (she ran fastest)", "Evelyn"),
        ("The answer is $3$ and $5$.", "$3$ and $5$"),
        ("The answer is $12$ square inches.", "$12$ square inches"),
        ("The roots are $3$, $5$, and $7$.", "3, 5, 7"),
        ("The solutions are $x=3$ and $x=5$.", "x=3, x=5"),
        ("So $x=3$ and $y=5$, and $x+y=8$.", "x+y=8"),
        ("Thus $y = 4$.\n\n**12**", "12"),
        ("Thus $y = 4$.\n\n**12 cm**", "12 cm"),
        ("Thus $y = 4$ and the student is **Evelyn**.", "Evelyn"),
        (r"The maximum is **$\frac{1}{2}$** at $x = 4$.", r"\frac{1}{2}"),
        ("We have $x=5$.\n\n**Step 2: Check**\n\nIt fits.", "x=5"),
        ("**1.** First $x=5$ holds.", "x=5"),
        ("**3**\n\nSo the value is 5.", "5"),
        ("We have $x = 3$. Hence the value is 3√13", "3√13"),
        ("Therefore the polynomial is x^3+3x-6.", "x^3+3x-6"),
        ("There are 12 ways.", "12 ways"),
        ("She pays $18 in total, and earns $20.", "$20."),
        (r"It costs \$5 more, so \$12 in all.", "$12"),
        (r"It costs $\$5$ in all.", r"$\$5$"),
        ("Final Answer:\n```\n42\n```", "42"),
        ("**Final Answer**\n\n\\[\n\\frac{1}{2}\n\\]", r"\frac{1}{2}"),
        ("The answer is\n\n$$5.$$", "5"),
        (r"\boxed{- 5}", "-5"),
        (r"$- \frac{35}{9}$", r"-\frac{35}{9}"),
        ("\\begin{pmatrix}\n1 \\\\\n2\n\\end{pmatrix}", r"\begin{pmatrix} 1 \\ 2 \end{pmatrix}"),
        ("x + y + " * 40 + "1", "x + y + " * 40 + "1"),
        ("I do not know.", None),
        ("I have no idea at all what to do here.", None),
    ],
)
def test_math_answer(text: str, answer: str | None) -> None:
    assert math_answer(text) == answer


@pytest.mark.parametrize(
    "text", ["at least 5 of the numbers", "5 to 7", "the larger of both", "Evelyn"]
)
def test_an_answer_in_words_stays_whole(text: str) -> None:
    assert lone_answer(text) == text


@pytest.mark.parametrize(
    ("answer", "bare"),
    [
        ("52 (base 8)", "52 (base 8)"),
        (r"\{x \mid x > 2\}", r"\{x \mid x > 2\}"),
        ("90 (in degrees)", "90"),
        ("$5 if x$", "$5 if x$"),
    ],
)
def test_only_prose_is_cut_off(answer: str, bare: str) -> None:
    assert formula_of_answer(answer) == bare


@given(st.text(alphabet=r"a1 .,;:*$\()[]{}=-and" + "\n"))
def test_any_text_is_read_without_an_error(text: str) -> None:
    found = math_answer(text)
    assert found is None or isinstance(found, str)
    assert isinstance(canonical(lone_answer(text)), str)


@pytest.mark.parametrize(
    "piece",
    [
        *PIECES,
        "**",
        "**a**",
        "is ",
        "$1$ and ",
        " if ",
        "{ if ",
        "= ",
        r"\text{",
        r"\approx ",
        "1,000",
        "<x",
    ],
)
@pytest.mark.timeout(120)  # quadratic scanners take hours
def test_a_megabyte_of_anything_ends_soon(piece: str) -> None:
    text = piece * (MEGABYTE // len(piece.encode("utf-8", "surrogatepass")))
    for lead in ("", "The answer is ", "#### "):
        math_answer(lead + text)
        canonical(lone_answer(lead + text))
    canonical(text[:10_000])
