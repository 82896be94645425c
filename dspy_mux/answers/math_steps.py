r"""The steps of SymPy that compile Python source, replaced by ones that do not.

SymPy parses a numeral as Python, generates functions that multiply monomials, and compiles an
expression to find its roots or to sum it. `math_worker.py` refuses to compile anything, so that no
model's text is ever run; each such step works here without any source.

Loaded by its path in the process that compares; it imports nothing of this package.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from fractions import Fraction
from typing import Any

#: What SymPy imports only when it needs it, and cannot import once its parser is replaced.
_LATE = (
    "sympy.calculus.accumulationbounds", "sympy.calculus.singularities", "sympy.calculus.util",
    "sympy.combinatorics", "sympy.concrete.gosper", "sympy.diffgeom",
    "sympy.functions.special.hyper", "sympy.geometry", "sympy.integrals.manualintegrate",
    "sympy.integrals.meijerint", "sympy.matrices.expressions", "sympy.ntheory.residue_ntheory",
    "sympy.physics.units", "sympy.physics.units.systems", "sympy.plotting",
    "sympy.polys.numberfields.galoisgroups", "sympy.printing.latex", "sympy.printing.pycode",
    "sympy.series.limits", "sympy.sets.contains", "sympy.sets.handlers.functions",
    "sympy.simplify.hyperexpand", "sympy.solvers.inequalities", "sympy.solvers.solveset",
    "sympy.stats", "sympy.tensor.array", "sympy.utilities.lambdify", "sympy.vector",
)  # fmt: skip
#: The modules that hold a `lambdify` of their own.
_COMPILING = (
    "sympy.core.evalf", "sympy.polys.rootoftools", "sympy.polys.numberfields.utilities",
    "sympy.polys.numberfields.galois_resolvents", "sympy.solvers.solvers",
    "sympy.utilities.lambdify", "sympy.utilities", "sympy",
)  # fmt: skip
_NUMERAL = re.compile(r"\s*[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,4})?\s*")


def replace_compiled_steps() -> None:
    """Let SymPy read numerals, multiply monomials and evaluate without compiling source."""
    for name in _LATE:
        try:
            importlib.import_module(name)
        except ImportError:  # another version of SymPy
            continue
    from sympy.parsing import sympy_parser
    from sympy.polys import monomials

    sympy_parser.parse_expr = read_numeral
    operations = {
        "mul": monomials.monomial_mul,
        "pow": monomials.monomial_pow,
        "mulpow": _mulpow,
        "ldiv": monomials.monomial_ldiv,
        "div": monomials.monomial_div,
        "lcm": monomials.monomial_lcm,
        "gcd": monomials.monomial_gcd,
    }
    for name, operation in operations.items():
        setattr(monomials.MonomialOps, name, _returning(operation))
    for name in _COMPILING:
        try:
            module = importlib.import_module(name)
        except ImportError:
            continue
        if hasattr(module, "lambdify"):
            setattr(module, "lambdify", interpreted)  # noqa: B010


def read_numeral(text: str, *args: object, **options: object) -> Any:
    """Replace sympy's `parse_expr`: read numerals, exactly, and nothing else."""
    from sympy import Rational, SympifyError

    if not _NUMERAL.fullmatch(text):
        raise SympifyError(text)
    value = Fraction(text.strip())
    return Rational(value.numerator, value.denominator)


def _returning(operation: Callable[..., Any]) -> Callable[[object], Callable[..., Any]]:
    return lambda _: operation


def _mulpow(a: Sequence[int], b: Sequence[int], k: int) -> tuple[int, ...]:
    return tuple(x + y * k for x, y in zip(a, b, strict=True))


def interpreted(args: Any, expression: Any, *_: object, **__: object) -> Callable[..., Any]:
    """Replace sympy's `lambdify`: walk the expression, rather than compile it.

    Without arguments the function returns an interval, as sympy asks where it isolates a root.
    """
    import mpmath
    from sympy import sympify

    symbols = list(args) if isinstance(args, Iterable) else [args]
    tree = sympify(expression)

    def function(*values: Any) -> Any:
        known = dict(zip(symbols, values, strict=True))
        return _evaluated(tree, known, mpmath.mp if symbols else mpmath.iv)

    return function


def _evaluated(tree: Any, values: Mapping[Any, Any], context: Any) -> Any:
    if tree in values:
        return values[tree]
    if tree.is_Integer:
        return int(tree) if context.__class__.__name__ == "MPContext" else context.mpf(int(tree))
    if tree.is_Rational:
        return context.mpf(int(tree.p)) / int(tree.q)
    terms = [_evaluated(term, values, context) for term in tree.args]
    if tree.is_Add or tree.is_Mul:
        result = terms[0]
        for term in terms[1:]:
            result = result + term if tree.is_Add else result * term
        return result
    if tree.is_Pow:
        return _power(terms[0], terms[1], context)
    if terms and hasattr(context, tree.func.__name__):
        return getattr(context, tree.func.__name__)(*terms)
    return context.mpmathify(tree._to_mpmath(context.prec))


def _power(base: Any, exponent: Any, context: Any) -> Any:
    if isinstance(base, int) and isinstance(exponent, int) and exponent < 0:
        return context.mpf(base) ** exponent
    return base**exponent
