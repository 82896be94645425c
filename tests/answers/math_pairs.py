"""Pairs of answers: an expression and what SymPy makes of it, equal or nearly so."""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import sympy
from math_verify import parse, verify

HERE = Path(__file__).parent
PUBLISHED = HERE / "data" / "math_verify_pairs.jsonl"
RELEASE = HERE.parents[2] / "shared" / "data" / "math500_test.jsonl.gz"

#: Expressions of our own writing, of the kinds that competitions ask for.
OWN = [
    "n^2+n", "x^2-1", "(2n)^2+(2n+1)^2", "a^3-b^3", "(x+1)^4", "x^2+5x+6", "2x^3-3x^2+x-6",
    r"\frac{1}{x}+\frac{1}{x+1}", r"\frac{x^2-1}{x-1}", r"\frac{2x+3}{x^2+3x+2}", "(a+b+c)^2",
    r"\frac{n(n+1)}{2}", r"\frac{n(n+1)(2n+1)}{6}", "x^4-y^4", r"\frac{a}{b}-\frac{c}{d}",
    r"2\sin x\cos x", r"\sin^2 x-\cos^2 x", r"\tan^2 x+1", r"\frac{\cos x}{\sin x}", r"\sec x",
    r"\cos^4 x-\sin^4 x", r"\sin(a+b)", r"\cos(2t)", r"\sin(3t)", r"\frac{1-\cos x}{\sin x}",
    r"\sqrt{18}", r"\frac{1}{\sqrt{2}}", r"\sqrt{3}+\sqrt{12}", r"\frac{1}{2+\sqrt{3}}",
    r"\sqrt{7+4\sqrt{3}}", r"\frac{\sqrt{6}-\sqrt{2}}{4}", r"(1+\sqrt{5})^3", r"\sqrt[3]{54}",
    r"\frac{1+\sqrt{5}}{2}", r"3\pi", r"\frac{\pi}{6}+\frac{\pi}{4}", r"\pi-3", r"\pi r^2",
    "1500", "42", "-7", "0.125", r"\frac{3}{7}", r"\frac{22}{7}", r"2^{10}", r"\frac{5!}{3!}",
    "1024", "299792458", r"6.02\cdot 10^{23}", r"1.6\cdot 10^{-19}", r"\frac{1}{3}", "100!/98!",
    "e^{2x}-1", r"e^{x+y}", r"\ln 8", r"\log_2 10", r"\ln(x^2+1)", r"2^{x+3}", "4^x",
    r"\sqrt{1/n}",
    r"x\sqrt{x}", r"\frac{x}{\sqrt{x^2+1}}", "(1+2i)^2", "3-4i", r"\frac{1}{1+i}", "(x-2)(x+3)",
    r"\frac{x^3+1}{x+1}", "p^2q-q^2p", r"\frac{1}{k(k+1)}", r"|x-3|", r"\binom{n}{2}", r"2^{-n}",
]  # fmt: skip


def _terms(expression: Any) -> Any:
    """Write a sum of two for a number, so that it must be worked out."""
    return sympy.Add(expression - 1, 1, evaluate=False)


REWRITINGS: dict[str, Callable[[Any], Any]] = {
    "expanded": sympy.expand,
    "factored": sympy.factor,
    "together": sympy.together,
    "apart": sympy.apart,
    "cancelled": sympy.cancel,
    "simplified": sympy.simplify,
    "by trigonometry": lambda e: sympy.expand_trig(sympy.trigsimp(e)),
    "without roots below": sympy.radsimp,
    "a sum": _terms,
    "twice a half": lambda e: sympy.Mul(2, sympy.nsimplify(e / 2, rational=False), evaluate=False),
    "squared below a root": lambda e: (
        sympy.sqrt(sympy.Mul(e, e, evaluate=False), evaluate=False) if e.is_positive else e
    ),
    "as a quotient": lambda e: sympy.Mul(3 * e, sympy.Pow(3, -1, evaluate=False), evaluate=False),
    "one more": lambda e: e + 1,
    "negated": lambda e: -e,
    "doubled": lambda e: 2 * e,
    "a little more": lambda e: e + sympy.Rational(1, 1000),
    "squared": lambda e: sympy.expand(e**2),
}


def _written(number: Any) -> Iterator[str]:
    """Yield other writings of a rational number."""
    if number.is_Integer and abs(number) >= 10:
        digits = str(abs(int(number)))
        sign = "-" if number < 0 else ""
        mantissa = (digits[0] + "." + digits[1:]).rstrip("0").rstrip(".")
        yield rf"{sign}{mantissa} \times 10^{{{len(digits) - 1}}}"
        yield rf"{sign}{digits[:-1]}.{digits[-1]} \cdot 10"
    if number.is_Integer:
        yield f"{number}.0"
        yield rf"\frac{{{2 * number}}}{{2}}"
    elif number.is_Rational:
        yield f"{number.p}/{number.q}"
        yield rf"\dfrac{{{3 * number.p}}}{{{3 * number.q}}}"
        yield str(sympy.N(number, 9))


def rewritings(answer: str) -> Iterator[tuple[str, str, str]]:
    """Yield an answer with each of its rewritings, and the name of the rewriting."""
    found = parse(f"${answer}$")
    expression = found[0] if found else None
    if not isinstance(expression, sympy.Expr):
        return
    expression = sympy.nsimplify(expression.doit(), rational=True)  # no floats
    for name, rewrite in REWRITINGS.items():
        try:
            written = sympy.latex(rewrite(expression))
        except (ArithmeticError, NotImplementedError, TypeError, ValueError, AttributeError):
            continue
        except sympy.PolynomialError:
            continue
        yield answer, written, name
    if expression.is_Rational:
        for written in _written(expression):
            yield answer, written, "another numeral"


def golds() -> list[str]:
    """Return the gold answers of MATH-500."""
    with gzip.open(RELEASE, "rt", encoding="utf-8") as lines:
        return [json.loads(line)["answer"] for line in lines]


#: Rewritings that are another answer, unless the answer is 0 or 1.
OTHERS = ("one more", "negated", "doubled", "a little more", "squared")


def generated(answers: list[str], most: int, seed: int = 0) -> list[tuple[str, str, bool]]:
    """Return at most so many different pairs, and whether SymPy's step left the value as it was.

    Drawn at random from all that can be made.
    """
    drawn = random.Random(seed)
    pairs: dict[tuple[str, str], bool] = {}
    for answer in drawn.sample(answers, len(answers)):
        for a, b, name in rewritings(answer):
            if a != b:
                pairs.setdefault((a, b), name not in OTHERS)
        if len(pairs) > 3 * most:
            break
    return [
        (a, b, same) for (a, b), same in drawn.sample(list(pairs.items()), min(most, len(pairs)))
    ]


def published() -> list[dict[str, Any]]:
    """Return math-verify's own pairs."""
    lines = PUBLISHED.read_text(encoding="utf-8").splitlines()[1:]
    return [json.loads(line) for line in lines]


def unguarded(a: str, b: str) -> bool:
    """Return whether math-verify, as it is, finds two texts equal in either order."""
    first, second = parse(a), parse(b)
    return bool(verify(first, second) or verify(second, first))
