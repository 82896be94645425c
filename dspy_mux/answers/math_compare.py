r"""Whether two expressions are equal: math-verify, with some of its steps replaced.

math-verify finds constants equal that differ by less than an absolute tolerance, asks SymPy to
simplify a difference that a look at a few points shows not to be zero, and takes any two equations
without a solution for equal. Here constants are compared exactly, or as a decimal rounds them;
expressions are first evaluated at points where both are real; equations are compared by their
quotient.

Runs in the process that compares (`math_worker.py`), which alone imports it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from functools import lru_cache
from typing import Any

import mpmath
import sympy
from latex2sympy2_extended.latex2sympy2 import (
    NormalizationConfig,
    latex2sympy,
    normalize_latex,
)
from math_verify import grader
from math_verify.parser import get_last_eq

from .math_number import is_decimal, number_key, rounded

_DIGITS = 60  # of a constant
_CLOSE = 10.0**-50  # relative difference of constants that are equal
_POINT_DIGITS = 30
_CLOSE_AT_A_POINT = 10.0**-20
_ZERO_AT_A_POINT = 10.0**-15  # below it, a value may be what a cancellation left
_ENOUGH_POINTS = 4
_LARGEST = 20_000  # bits of a number that is worked out exactly
_MAX_SYMBOLS = 12
_MAX_SET = 40  # elements that are matched in any order
_PRIMES = (2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37)
_WHOLE = (2, 3, 4, 7, 11, 20)
_UNITS_STAY = NormalizationConfig(
    basic_latex=True,
    units=False,  # to math-verify the t of 3t is a unit
    malformed_operators=True,
    nits=True,
    boxed="none",
    equations=False,
)
_NOT_EVALUATED = (
    sympy.Integral, sympy.Sum, sympy.Product, sympy.Limit, sympy.Derivative, sympy.Subs,
)  # fmt: skip
_BOUND = (sympy.Sum, sympy.Product)  # whose index i is a letter
_REAL_WITHIN = (sympy.log, sympy.asin, sympy.acos, sympy.acosh, sympy.atanh)

#: What went wrong in a step of ours, which math-verify would take for "different".
faults: list[str] = []

_simplified_equal = grader.sympy_symbolic_eq
_solved_equal = grader.sympy_solve_and_compare


def replace_steps() -> None:
    """Put our steps in the place of math-verify's."""
    grader.sympy_numeric_eq = lambda a, b, *_: _decided(a, b) is True
    grader.sympy_symbolic_eq = _symbolically_equal
    grader.sympy_deep_compare_set_and_tuple = _same_elements
    grader.sympy_solve_and_compare = _same_solutions
    grader.INVERSE_RELATIONS[sympy.Ne] = sympy.Ne


def same(a: str, b: str) -> bool:
    """Return whether two expressions, LaTeX without delimiters, are equal; symmetric."""
    first, second = read(a), read(b)
    if first is None or second is None:
        return False
    # math-verify is not symmetric where one side is an equation.
    return _equal(first, second) or _equal(second, first)


@lru_cache(maxsize=256)  # one answer is compared with several
def read(expression: str) -> Any | None:
    """Return the SymPy expression that LaTeX means, of an equation chain the last side; or None."""
    text = normalize_latex(expression, _UNITS_STAY)
    parts = dict.fromkeys((text, get_last_eq(text)))
    return next((found for found in map(_parsed, parts) if found is not None), None)


def _parsed(text: str) -> Any | None:
    try:
        found = latex2sympy(text, is_real=True, convert_degrees=False, normalization_config=None)
        letters = getattr(found, "free_symbols", ())
        if any(letter.name == "i" for letter in letters) and not found.has(*_BOUND):
            # To the parser i is a letter.
            return found.xreplace({letter: sympy.I for letter in letters if letter.name == "i"})
    except Exception:  # noqa: BLE001 - what the grammar does not read raises no class of its own
        return None
    return found


def _equal(gold: Any, other: Any) -> bool:
    return bool(grader.verify([gold], [other], timeout_seconds=None))


# ------------------------------------------------------------------------------------------------
# Expressions


def _symbolically_equal(a: Any, b: Any) -> bool:
    decided = _decided(a, b)
    return bool(_simplified_equal(a, b)) if decided is None else decided


def _decided(a: Any, b: Any) -> bool | None:
    """Return whether two expressions are equal; None where only simplifying them can tell."""
    try:
        return _decide(a, b)
    except Exception as error:
        faults.append(f"{type(error).__name__}: {error}")
        raise


def _decide(a: Any, b: Any) -> bool | None:
    matrices = [isinstance(side, (sympy.MatrixBase, sympy.MatrixExpr)) for side in (a, b)]
    if any(matrices):
        return _same_matrices(a, b) if all(matrices) else False
    if not (isinstance(a, sympy.Expr) and isinstance(b, sympy.Expr)):
        return None
    if a.atoms(sympy.core.function.AppliedUndef) or b.atoms(sympy.core.function.AppliedUndef):
        return None
    return _same_values(a, b)


@lru_cache(maxsize=256)
def _same_values(a: Any, b: Any) -> bool | None:
    if a.free_symbols or b.free_symbols:
        return _same_at_points(a, b)
    return _same_constants(a, b)


def _same_matrices(a: Any, b: Any) -> bool | None:
    first, second = a.doit(), b.doit()
    if not (isinstance(first, sympy.MatrixBase) and isinstance(second, sympy.MatrixBase)):
        return None
    if first.shape != second.shape:
        return False
    return all(_element_equal(x, y) for x, y in zip(first.flat(), second.flat(), strict=True))


def _element_equal(a: Any, b: Any) -> bool:
    return bool(grader.sympy_expr_eq(a, b, 6, 15))


def _same_elements(a: Any, b: Any, *_: object) -> bool:
    """Compare tuples in order, and finite sets in any order; a tuple is not a set."""
    if len(a.args) != len(b.args) or len(a.args) > _MAX_SET:
        return False
    if isinstance(a, sympy.FiniteSet) != isinstance(b, sympy.FiniteSet):
        return False
    if not isinstance(a, sympy.FiniteSet):
        return all(_element_equal(x, y) for x, y in zip(a.args, b.args, strict=True))
    left = list(b.args)
    for element in a.args:
        match = next((other for other in left if _element_equal(element, other)), None)
        if match is None:
            return False
        left.remove(match)
    return True


# ------------------------------------------------------------------------------------------------
# Constants


def _same_constants(a: Any, b: Any) -> bool | None:
    exact = [_exact(side) for side in (a, b)]
    if exact[0] is not None and exact[1] is not None:
        return number_key(exact[0]) == number_key(exact[1])
    first, second = (_number(side.evalf(_DIGITS)) for side in (a, b))
    if first is None or second is None:
        return a == b if a.is_infinite or b.is_infinite else None
    size = max(abs(first), abs(second))
    if not size or abs(first - second) <= _CLOSE * size:
        return True
    if not (first and second) and size < _CLOSE:
        return None  # e^{i\pi} + 1
    for decimal, value in ((exact[0], second), (exact[1], first)):
        if decimal is not None and is_decimal(decimal) and not value.imag:
            return rounded(decimal) == rounded(Fraction(str(value.real)))
    return False


def _exact(constant: Any) -> Fraction | None:
    """Return the value of a constant that is rational and not too long to work out."""
    if not isinstance(constant, sympy.Rational):
        size = _number(constant.evalf(15))
        if size is None or (size and not abs(mpmath.mag(size)) <= _LARGEST):
            return None
        constant = constant.doit()
    if not isinstance(constant, sympy.Rational):
        return None
    return Fraction(int(constant.p), int(constant.q))


def _number(value: Any) -> Any | None:
    """Return an evaluated value as a complex number of mpmath; None where it is not finite."""
    if not value.is_number or value.is_finite is False:
        return None
    try:
        number = mpmath.mp.mpc(value._to_mpmath(_DIGITS * 4))
    except (ValueError, TypeError, NotImplementedError):
        return None
    return number


# ------------------------------------------------------------------------------------------------
# At points


def _same_at_points(a: Any, b: Any) -> bool | None:
    """Return whether two expressions agree where both are real; None where too few points tell."""
    names = sorted({symbol.name for side in (a, b) for symbol in side.free_symbols})
    if len(names) > _MAX_SYMBOLS or any(side.has(*_NOT_EVALUATED) for side in (a, b)):
        return None
    is_complex = any(side.has(sympy.I) for side in (a, b))
    agreed = 0
    for point in _points(names):
        first, second = (_at(side, point, is_complex) for side in (a, b))
        if first is None or second is None:
            continue
        size = max(abs(first), abs(second))
        if size and abs(first - second) > _CLOSE_AT_A_POINT * size:
            return False if size > _ZERO_AT_A_POINT else None
        agreed += 1
    return True if agreed >= _ENOUGH_POINTS else None


def _points(names: Sequence[str]) -> Iterator[dict[str, Any]]:
    for turn in range(8):
        yield {
            name: sympy.Rational(
                _PRIMES[(5 * at + 3 * turn) % 12], _PRIMES[(5 * at + 3 * turn + 4) % 12]
            )
            * (-1 if turn >= 4 and (at + turn) % 2 else 1)
            for at, name in enumerate(names)
        }
    for turn in range(len(_WHOLE)):
        yield {
            name: sympy.Integer(_WHOLE[(at + turn) % len(_WHOLE)] + at // len(_WHOLE))
            for at, name in enumerate(names)
        }


def _at(expression: Any, point: dict[str, Any], is_complex: bool) -> Any | None:
    """Return the value at a point; None where it, or a root or logarithm within, is not real."""
    values = {symbol: point[symbol.name] for symbol in expression.free_symbols}
    for part in () if is_complex else _real_parts(expression):
        if (number := _evaluated(part, values)) is None or number.imag:
            return None
    number = _evaluated(expression, values)
    return None if number is None or (number.imag and not is_complex) else number


@lru_cache(maxsize=256)
def _real_parts(expression: Any) -> tuple[Any, ...]:
    return tuple(
        part
        for part in sympy.preorder_traversal(expression)
        if isinstance(part, _REAL_WITHIN)
        or (isinstance(part, sympy.Pow) and not part.exp.is_Integer)
    )


def _evaluated(expression: Any, values: dict[Any, Any]) -> Any | None:
    try:
        return _number(expression.evalf(_POINT_DIGITS, subs=values))
    except (ArithmeticError, AttributeError, NotImplementedError, TypeError, ValueError):
        return None


# ------------------------------------------------------------------------------------------------
# Equations


def _same_solutions(a: Any, b: Any, *digits: int) -> bool:
    """Return whether two relations have the same solutions, first by the quotient of their sides.

    2x + 4y - 3 = 0 and y = -x/2 + 3/4 are one line.
    """
    factor = _quotient(a.lhs - a.rhs, b.lhs - b.rhs)
    if factor:
        if isinstance(a, sympy.Eq) and isinstance(b, sympy.Eq):
            return True
        turned = factor < 0
        return type(b) is (grader.INVERSE_RELATIONS[type(a)] if turned else type(a))
    if not sympy.solve(a, a.free_symbols) or not _solved_equal(a, b, *digits):
        return False
    return bool(sympy.solve(b, b.free_symbols))


def _quotient(a: Any, b: Any) -> Any | None:
    """Return the constant that one expression is of another, or None."""
    if a.free_symbols != b.free_symbols:
        return None
    names = sorted(symbol.name for symbol in a.free_symbols)
    for point in _points(names):
        values = {symbol: point[symbol.name] for symbol in a.free_symbols}
        first, second = _evaluated(a, values), _evaluated(b, values)
        if first is None or second is None or not second or not first:
            continue
        factor = sympy.nsimplify(
            sympy.Float(str((first / second).real), _POINT_DIGITS), rational=True
        )
        factor = factor.limit_denominator(10**6)
        return factor if _decided(a, factor * b) else None
    return None
