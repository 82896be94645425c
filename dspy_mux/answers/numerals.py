"""Numerals: find numbers in text, read their exact values, write them canonically."""

from __future__ import annotations

import math
import numbers
import re
from decimal import Context, Decimal, Inexact
from fractions import Fraction
from typing import Any

from .plain_text import head, normalise, tail, unwrap

#: A longer numeral, or an exponent beyond this, is not read as a number.
MAX_DIGITS = 2_000

_LATEX_NOISE = re.compile(r"\\(?:left|right|displaystyle|[,!;: ])|(?<=\d)\{(?=,\})|(?<=\d\{,)\}")
_LATEX_FRACTION = re.compile(
    r"(?P<whole>\d)?\s*\\[dtc]?frac\s*"
    r"(?:\{\s*(-?[\d.,]+)\s*\}|(\d))\s*(?:\{\s*([\d.,]+)\s*\}|(\d))"
)
_UNSIGNED = r"(?:(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d{1,9}(?!\w|\.\d))?"
_NUMERAL = re.compile(
    rf"(?P<sign>[+-]?)\s?[$€£¥₹]?\s?(?P<minus>-?)(?:(?P<whole>\d+)\s+(?=\d+\s?/))?"
    rf"(?P<top>{_UNSIGNED})(?:\s?/\s?(?P<bottom>{_UNSIGNED}))?"
    rf"\s?[$€£¥₹]?\s?(?P<percent>%|percent\b)?"
)
_NUMERAL_IN_TEXT = re.compile(
    rf"(?<![\w.])(?:(?<![\w.)\]}}])[+-])?[$€£¥₹]?(?:(?<=[$€£¥₹])-)?(?:(?<![\d.,])\d+ (?=\d+/\d))?"
    # Read whole or not at all: the first digits of 0xff, 1_000 and 1e9999999999 are other numbers.
    rf"(?!0[xXoObB][\da-fA-F])(?=(?P<whole>{_UNSIGNED}))(?P=whole)"
    rf"(?![eE][+-]?\d|_\d|/\d+[eE][+-]?\d{{10}})"
    rf"(?:/\d+(?:[eE][+-]?\d{{1,9}}(?!\w|\.\d))?)?(?:\s?(?:%|percent\b))?"
)
_HEDGE = re.compile(
    r"(?:(?:about|around|approximately|roughly|exactly|only|just|simply|therefore|thus|so"
    r"|a total of)\b|[\s*$(~:≈,=])*",
    re.IGNORECASE,
)
_TWELVE_DIGITS = Context(prec=12)
#: All digits of any number that terminates and is short enough to read.
_ALL_DIGITS = Context(prec=5 * MAX_DIGITS, traps=[Inexact])


# ------------------------------------------------------------------------------------------------
# In text


def unlatex(text: str) -> str:
    r"""Write the simplest LaTeX numerals plainly: `1{,}234` → `1,234`, `1\frac{4}{5}` → `1 4/5`."""
    text = text.replace("\\$", "$").replace("\\%", "%").replace("{,}", ",")
    if "\\" not in text:
        return text

    def plain(match: re.Match[str]) -> str:
        whole, top, digit, bottom, last = match.groups()
        return f"{whole + ' ' if whole else ''}{top or digit}/{bottom or last}"

    return _LATEX_FRACTION.sub(plain, _LATEX_NOISE.sub("", text))


def numerals(text: str) -> list[str]:
    """Return the numerals in the last `TAIL` characters of a text, in order."""
    plain = unlatex(normalise(tail(text)))
    return [match.group().strip() for match in _NUMERAL_IN_TEXT.finditer(plain)]


def numeral_of_answer(answer: str) -> str | None:
    """Return the numeral that a marked answer means: all of it, else its first word, else its last.

    >>> numeral_of_answer("about 18 dollars for 3 days")
    '18'
    """
    if parse_number(answer) is not None:
        return answer
    answer = unlatex(normalise(head(answer)))
    start = answer.rfind("=") + 1
    found = list(_NUMERAL_IN_TEXT.finditer(answer, start))
    if not found:
        return None
    leads = _HEDGE.fullmatch(answer, start, found[0].start())
    return (found[0] if leads else found[-1]).group().strip()


# ------------------------------------------------------------------------------------------------
# Values


def parse_number(text: str, *, percent: bool = False) -> Fraction | None:
    """Return the exact value of a text that is one number and nothing else, or None.

    Numbers are `-5`, `1,234`, `$18.00`, `3.5e2`, `1/2`, `1 1/2`, the LaTeX of these, and `50%`,
    which is 50 unless `percent` is set, where it is 1/2. Words, units, and numerals beyond
    `MAX_DIGITS` are not numbers.

    >>> parse_number("$1,234.50")
    Fraction(2469, 2)
    """
    if len(text) > 3 * MAX_DIGITS:
        return None
    match = _NUMERAL.fullmatch(unwrap(unlatex(normalise(text))))
    if match is None or (match["sign"] and match["minus"]):
        return None
    if len(match["whole"] or "") > MAX_DIGITS:
        return None
    top, bottom = _decimal(match["top"]), _decimal(match["bottom"] or "1")
    if top is None or not bottom:
        return None
    value = top / bottom + int(match["whole"] or 0)
    value = -value if "-" in (match["sign"], match["minus"]) else value
    return short(value / 100 if percent and match["percent"] else value)


def exact_value(value: Any, *, percent: bool = False) -> Fraction | None:
    """Return the exact value of a number or numeral of at most about `MAX_DIGITS` digits.

    None for anything else, booleans included.
    """
    if isinstance(value, str):
        return parse_number(value, percent=percent)
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


def short(value: Fraction) -> Fraction | None:
    """Return the value, or None where a term has more than about `MAX_DIGITS` digits.

    Python refuses to write integers that are much longer.
    """
    longest = max(value.numerator.bit_length(), value.denominator.bit_length())
    return value if longest <= MAX_DIGITS * 10 // 3 + 1 else None


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


def _decimal(numeral: str) -> Fraction | None:
    mantissa, _, exponent = numeral.replace(",", "").lower().partition("e")
    if len(mantissa) > MAX_DIGITS or (exponent and abs(int(exponent)) > MAX_DIGITS):
        return None
    return Fraction(f"{mantissa}e{exponent}" if exponent else mantissa)
