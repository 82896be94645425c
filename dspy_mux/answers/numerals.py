"""Numerals: find numbers in text, read their exact values, write them canonically."""

from __future__ import annotations

import math
import numbers
import re
from decimal import Context, Decimal, Inexact
from fractions import Fraction
from typing import Any

from .numeral_answer import stated_numeral, whole_numeral
from .numeral_scan import Numeral, NumeralScanner
from .numeral_values import MAX_DIGITS, read_digits, short
from .plain_text import head, tail, unwrap

__all__ = ["MAX_DIGITS", "short"]

_PLAIN = re.compile(r"-?(?:[0-9]+(?:\.[0-9]+)?|\.[0-9]+)")
_TWELVE_DIGITS = Context(prec=12)
#: All digits of any number that terminates and is short enough to read.
_ALL_DIGITS = Context(prec=5 * MAX_DIGITS, traps=[Inexact])


# ------------------------------------------------------------------------------------------------
# In text


def numerals(text: str) -> list[str]:
    """Return the numerals in the last `TAIL` characters of a text, in order.

    A range, a date or a sum is written as its numerals, one by one.
    """
    scanner = NumeralScanner(tail(text))
    found: list[str] = []
    for numeral in scanner.numerals():
        found += _written(scanner, numeral)
    return found


def numeral_of_answer(answer: str) -> str | None:
    """Return the numeral that a marked answer means: all of it, else its first word, else its last.

    >>> numeral_of_answer("about 18 dollars for 3 days")
    '18'
    """
    if parse_number(answer) is not None:
        return answer
    answer = head(answer)
    found = stated_numeral(answer)
    if found is None or found.value is None:
        return None
    scanner = NumeralScanner(answer)
    return scanner.plain[scanner.tokens[found.start].start : scanner.tokens[found.end - 1].end]


def _written(scanner: NumeralScanner, numeral: Numeral) -> list[str]:
    tokens = scanner.tokens[numeral.start : numeral.end]
    if numeral.value is not None:
        end = tokens[-1].end
        end += tokens[-1].kind == "number" and scanner.plain[end : end + 1] == "."
        return [scanner.plain[tokens[0].start : end].replace("_", "")]
    written: list[str] = []
    for start, end, value in numeral.parts:
        start -= start > 0 and scanner.kind(start - 1) == "currency"
        text = scanner.plain[scanner.tokens[start].start : scanner.tokens[end - 1].end]
        if value is not None:
            written.append(text)
        elif len(text) < 100 and "," in text:
            written += [part for part in text.split(",") if read_digits(part)[0] is not None]
    return written


# ------------------------------------------------------------------------------------------------
# Values


def parse_number(text: str, *, percent: bool = False) -> Fraction | None:
    """Return the exact value of a text that is one number and nothing else, or None.

    Numbers are `-5`, `1,234`, `$18.00`, `3.5e2`, `10^6`, `1/2`, `1 1/2`, the LaTeX of these, and
    `50%`, which is 50 unless `percent` is set, where it is 1/2. Words, units, and numerals beyond
    `MAX_DIGITS` are not numbers, and `1,23` are two: it is read as mathematics.

    >>> parse_number("$1,234.50")
    Fraction(2469, 2)
    """
    found = _whole(text)
    if found is None or found.magnitude.word or found.magnitude.lone_comma:
        return None
    return None if found.magnitude.ordinal else value_of(found, percent=percent)


def exact_value(value: Any, *, percent: bool = False) -> Fraction | None:
    """Return the exact value of a number or numeral of at most about `MAX_DIGITS` digits.

    A text is read as prose, where `1,5` is 3/2 and `twelve` is 12. None for anything else,
    booleans included.
    """
    if isinstance(value, str):
        found = _whole(value)
        return None if found is None else value_of(found, percent=percent)
    if isinstance(value, bool) or not isinstance(value, (numbers.Real, Decimal)):
        return None
    if isinstance(value, Decimal):
        # As a fraction, 1E+999999 would be very long.
        exponent, longest = value.as_tuple().exponent, 2 * MAX_DIGITS
        if isinstance(exponent, str) or abs(exponent) > longest or abs(value.adjusted()) > longest:
            return None
        return short(Fraction(value))
    if isinstance(value, numbers.Rational):
        return short(Fraction(int(value.numerator), int(value.denominator)))
    return Fraction(str(float(value))) if math.isfinite(value) else None


def value_of(numeral: Numeral, *, percent: bool = False) -> Fraction | None:
    """Return a numeral's value, as a share where `percent` is set: 1/2 for 50%, 4/5 for 4 of 5."""
    if numeral.value is None or not percent:
        return None if numeral.is_rate else short(numeral.value)
    if numeral.of is not None:
        return short(numeral.value / numeral.of)
    return short(numeral.value * (1 if numeral.share is None else numeral.share))


def _whole(text: str) -> Numeral | None:
    if len(text) > 3 * MAX_DIGITS:
        return None
    return whole_numeral(unwrap(text))


def twelve_digits(value: Fraction) -> str:
    """Write a value at 12 significant digits, so that 0.1 + 0.2 and 0.3 are one answer."""
    ratio = _TWELVE_DIGITS.divide(Decimal(value.numerator), Decimal(value.denominator))
    return str(ratio.normalize(_TWELVE_DIGITS)) if ratio else "0"


def as_decimal(value: Fraction) -> Decimal:
    """Return all digits of a number that terminates; 28 of one that does not, such as 1/3."""
    ratio = Decimal(value.numerator), Decimal(value.denominator)
    try:
        return _ALL_DIGITS.divide(*ratio)
    except Inexact:
        return Context(prec=28).divide(*ratio)
