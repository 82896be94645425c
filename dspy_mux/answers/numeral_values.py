"""Exact values of digits: separators of every locale, exponents, powers and roots."""

from __future__ import annotations

import math
import re
from fractions import Fraction

#: A longer numeral, or an exponent beyond this, is not read as a number.
MAX_DIGITS = 2_000
_MAX_BITS = MAX_DIGITS * 10 // 3 + 1

_WHOLE = re.compile(r"[0-9]+")
_DECIMAL = re.compile(r"[0-9]+(?:\.[0-9]+)?|\.[0-9]+")
_GROUPED = (  # a pattern of the whole part's groups, then the sign of its decimals
    (re.compile(r"[0-9]{1,3}(?:,[0-9]{3})+"), "."),
    (re.compile(r"[0-9]{1,2}(?:,[0-9]{2})+,[0-9]{3}"), "."),
    (re.compile(r"[0-9]{1,3}(?:\.[0-9]{3})+"), ","),
    (re.compile(r"[0-9]{1,3}(?:['_][0-9]{3})+"), ".,"),
)
_EXPONENT = re.compile(r"[eE]([+-]?[0-9]{1,9})$")
_ADDRESS = re.compile(r"(?:[0-9]{1,3}\.){3}[0-9]{1,3}")


def short(value: Fraction | None) -> Fraction | None:
    """Return the value, or None where a term has more than about `MAX_DIGITS` digits.

    Python refuses to write integers that are much longer.
    """
    if value is None:
        return None
    longest = max(value.numerator.bit_length(), value.denominator.bit_length())
    return value if longest <= _MAX_BITS else None


def read_digits(run: str) -> tuple[Fraction | None, bool]:
    """Return the value of digits with their separators, and whether a lone comma is its point.

    A lone group of three digits is read as in English: 1,234 is 1234, and 1.234 is less than 2.
    """
    exponent = _EXPONENT.search(run)
    mantissa = run[: exponent.start()] if exponent else run
    if len(mantissa) > MAX_DIGITS or (not exponent and run[-1].lower() == "e"):
        return None, False
    if not exponent and ("e" in run or "E" in run):
        return None, False  # an exponent that no one can compute
    power = int(exponent[1]) if exponent else 0
    if abs(power) > MAX_DIGITS:
        return None, False
    digits, lone_comma = _plain_decimal(mantissa)
    if digits is None:
        return None, False
    return Fraction(f"{digits}e{power}"), lone_comma and not exponent


def _plain_decimal(text: str) -> tuple[str | None, bool]:
    if _DECIMAL.fullmatch(text):
        return text, False
    for groups, points in _GROUPED:
        match = groups.match(text)
        if match is None or match.group()[0] == "0":
            continue
        rest = text[match.end() :]
        is_address = _ADDRESS.fullmatch(text) and all(
            part[0] != "0" and int(part) < 256 for part in text.split(".")
        )
        if is_address or (points == "," and text.count(".") == 1 and not rest):
            continue  # 1.234 has a decimal point
        plain = re.sub(r"[.,'_]", "", match.group())
        if not rest:
            return plain, False
        if rest[0] in points and _WHOLE.fullmatch(rest, 1):
            return f"{plain}.{rest[1:]}", False
    whole, point, decimals = text.rpartition(",")
    if point and _WHOLE.fullmatch(whole) and _WHOLE.fullmatch(decimals):
        return f"{whole}.{decimals}", True
    return None, False


def power(base: Fraction, exponent: Fraction | None) -> Fraction | None:
    """Return an exact power with a whole exponent, or an exact root; None for any other."""
    if exponent is None or (base == 0 and exponent <= 0):
        return None
    if exponent.denominator != 1:
        if exponent.denominator > 10:
            return None
        rooted = root(base, exponent.denominator)
        return None if rooted is None else power(rooted, Fraction(exponent.numerator))
    longest = max(base.numerator.bit_length(), base.denominator.bit_length())
    if abs(exponent) > _MAX_BITS or (longest - 1) * abs(exponent) > _MAX_BITS:
        return None
    return short(base ** int(exponent))


def root(value: Fraction, degree: int = 2) -> Fraction | None:
    """Return an exact root, or None."""
    if value < 0 or degree < 1:
        return None
    terms = []
    for term in (value.numerator, value.denominator):
        guess = math.isqrt(term) if degree == 2 else _integer_root(term, degree)
        if guess**degree != term:
            return None
        terms.append(guess)
    return Fraction(*terms)


def _integer_root(value: int, degree: int) -> int:
    low, high = 0, 1 << (value.bit_length() // degree + 1)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if middle**degree <= value else (low, middle - 1)
    return low
