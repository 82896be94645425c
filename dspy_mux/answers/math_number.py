r"""Exact values of answers that are numbers: `1.5\cdot 10^{3}`, `\frac{9/2}{9}`, `3e8`.

Rational arithmetic is read and worked out exactly, within bounds, and never evaluated as code.
Imports nothing of this package, because the process that compares mathematics loads it alone.
"""

from __future__ import annotations

import math
import re
from fractions import Fraction

#: A value with a longer numerator or denominator is not worked out.
MAX_BITS = 6_600  # about 2,000 digits
_MAX_DEPTH = 40
_MAX_LENGTH = 2_000
_MAX_FACTORIAL = 500
_DECIMALS = 6  # of the fixed rounding
_NOISE_DIGITS = 12  # significant digits; what follows them is noise of floating point
_MAX_DENOMINATOR = 2_000  # of a fraction that a rounded decimal stands for
_LONGEST = 20  # decimals

_TOKEN = re.compile(
    r"\s*(?:(?P<number>(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d{1,4}(?![\w.]))?)"
    r"|(?P<mark>\\frac|\\cdot|\\times|\\div|[-+*/^(){}!]))"
)
_SIGNS = {"\\cdot": "*", "\\times": "*", "\\div": "/"}
_RATIO = re.compile(r"[^:]+(?::[^:]+)+")
_RANGE = re.compile(r"(\d{1,9})-(\d{1,9})")
#: Hours and minutes rather than a ratio: 7:45, 12:00, 07:05.
CLOCK = re.compile(r"(\d{1,2}):([0-5]\d)")


class _NotRational(Exception):
    """The text is not rational arithmetic, or goes beyond the bounds."""


def rational(text: str) -> Fraction | None:
    r"""Return the exact value of canonical text that is rational arithmetic, or None.

    >>> rational(r"1.5\cdot 10^{3}")
    Fraction(1500, 1)
    >>> rational(r"1\frac{4}{5}"), rational("2x")
    (Fraction(9, 5), None)
    """
    if len(text) > _MAX_LENGTH or not text or _is_range(text):
        return None
    try:
        tokens = _tokens(text)
        value = _Reader(tokens).whole()
    except (_NotRational, ZeroDivisionError):
        return None
    return value


def _is_range(text: str) -> bool:
    """Return whether a text is a range, 5-7, rather than a difference, 7-5."""
    match = _RANGE.fullmatch(text)
    return match is not None and int(match[1]) < int(match[2])


def _tokens(text: str) -> list[tuple[str, bool]]:
    """Return the tokens, each with whether white space stands before it."""
    tokens, position, text = [], 0, text.rstrip()
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            raise _NotRational
        token = match["number"] or _SIGNS.get(match["mark"], match["mark"])
        tokens.append((token, text[position].isspace()))
        position = match.end()
    return tokens


def _bounded(value: Fraction) -> Fraction:
    if max(value.numerator.bit_length(), value.denominator.bit_length()) > MAX_BITS:
        raise _NotRational
    return value


def _is_number(token: str) -> bool:
    return token[:1].isdigit() or token[:1] == "."


class _Reader:
    """A recursive-descent reader of rational arithmetic."""

    def __init__(self, tokens: list[tuple[str, bool]]):
        self.tokens, self.at, self.depth = tokens, 0, 0

    def whole(self) -> Fraction:
        value = self.sum()
        if self.at != len(self.tokens):
            raise _NotRational
        return value

    def peek(self) -> str:
        return self.tokens[self.at][0] if self.at < len(self.tokens) else ""

    def take(self, expected: str = "") -> str:
        token = self.peek()
        if not token or (expected and token != expected):
            raise _NotRational
        self.at += 1
        return token

    def sum(self) -> Fraction:
        self.depth += 1
        if self.depth > _MAX_DEPTH:
            raise _NotRational
        sign = -1 if self.peek() == "-" else 1
        if self.peek() in ("+", "-"):
            self.take()
        value = sign * self.product()
        while self.peek() in ("+", "-"):
            sign = -1 if self.take() == "-" else 1
            value = _bounded(value + sign * self.product())
        self.depth -= 1
        return value

    def product(self) -> Fraction:
        value, divided = self.power(), False
        while True:
            token = self.peek()
            if token in ("*", "/"):
                self.take()
                sign = 1
                if self.peek() == "-":  # 3 \cdot -2
                    self.take()
                    sign = -1
                factor = sign * self.power()
                divided = token == "/"
                value = _bounded(value / factor if divided else value * factor)
            elif token == "(" and not divided:  # 2(3), but 1/2(3) is read in two ways
                value = _bounded(value * self.power())
            else:
                return value

    def power(self) -> Fraction:
        base = self.atom()
        if self.peek() == "!":
            self.take()
            if self.peek() == "!" or base.denominator != 1 or not 0 <= base <= _MAX_FACTORIAL:
                raise _NotRational
            base = _bounded(Fraction(math.factorial(int(base))))
        if self.peek() != "^":
            return base
        self.take()
        exponent = self.exponent()
        if self.peek() == "^" or exponent.denominator != 1:
            raise _NotRational
        size = max(base.numerator.bit_length(), base.denominator.bit_length())
        if abs(exponent) * size > MAX_BITS and abs(base) not in (0, 1):
            raise _NotRational
        if abs(exponent) > MAX_BITS:
            raise _NotRational
        return base ** int(exponent)

    def exponent(self) -> Fraction:
        if self.peek() == "{":
            return self.group("{", "}")
        if self.peek() == "-":
            self.take()
            return -self.exponent()
        token = self.take()
        if not token.isdigit():
            raise _NotRational
        return Fraction(token)

    def group(self, opening: str, closing: str) -> Fraction:
        self.take(opening)
        value = self.sum()
        self.take(closing)
        return value

    def atom(self) -> Fraction:
        token = self.peek()
        if token == "(":
            return self.group("(", ")")
        if token == "{":
            return self.group("{", "}")
        if token == "\\frac":
            return self.fraction()
        if not _is_number(token):
            raise _NotRational
        self.take()
        value = _bounded(Fraction(token))
        return self.mixed(value) if token.isdigit() else value

    def fraction(self) -> Fraction:
        self.take("\\frac")
        top = self.group("{", "}")
        return _bounded(top / self.group("{", "}"))

    def mixed(self, whole: Fraction) -> Fraction:
        r"""Read the fraction of a mixed number, `1\frac{4}{5}` or `1 4/5`, if one follows."""
        following = [token for token, _ in self.tokens[self.at : self.at + 7]]
        if following[:1] == ["\\frac"]:
            braces = following[1:2] + following[3:5] + following[6:7]
            if braces != ["{", "}", "{", "}"] or not (
                following[2].isdigit() and following[5].isdigit()
            ):
                raise _NotRational
            return whole + self.fraction()
        spaced = self.at < len(self.tokens) and self.tokens[self.at][1]
        if spaced and following[1:2] == ["/"] and following[0].isdigit():
            top, bottom = self.take(), (self.take("/"), self.take())[1]
            if not bottom.isdigit() or self.peek() == "^":
                raise _NotRational
            return whole + Fraction(int(top), int(bottom))
        return whole


# ------------------------------------------------------------------------------------------------
# One key for all writings of a number


def _rounded(value: Fraction) -> tuple[int, int]:
    """Round to six decimals, and a value below 1 to six significant digits: digits and places."""
    places = _DECIMALS
    if 0 < abs(value) < 1:
        places += _zeros(abs(value))
    return round(value * 10**places), places


def _zeros(value: Fraction) -> int:
    """Return how many zeros follow the point of a value between 0 and 1."""
    zeros = max(0, len(str(value.denominator // value.numerator)) - 1)
    return zeros if value * 10 ** (zeros + 1) >= 1 else zeros + 1


def rounded(value: Fraction) -> Fraction:
    """Return the fixed rounding: to six decimals, and of a value below 1 to six digits."""
    digits, places = _rounded(value)
    return Fraction(digits, 10**places)


def is_decimal(value: Fraction) -> bool:
    """Return whether a value may be the rounding of another: a decimal of six digits or more."""
    return _terminates(value) and value.denominator != 1 and _is_long(*_rounded(value))


def number_key(value: Fraction) -> Fraction:
    """Return the value that stands for a number and for its roundings.

    The fixed rounding of decimals and of simple fractions, so that 2/3 is 0.666667 and is not
    0.666666; any other value exactly. Equality of these values is an equivalence.

    >>> number_key(Fraction(2, 3)) == number_key(Fraction("0.66666667"))
    True
    """
    simple = value.denominator <= _MAX_DENOMINATOR or _terminates(value)
    if value.denominator == 1 or not simple:
        return value
    return rounded(value) if _is_long(*_rounded(value)) else _without_noise(value)


def _terminates(value: Fraction) -> bool:
    """Return whether a value is a decimal of a length that people write."""
    scale = 10**_LONGEST
    if abs(value) < 1 and value:
        scale *= 10 ** _zeros(abs(value))
    return not scale % value.denominator


def _is_long(digits: int, places: int) -> bool:
    """Return whether a rounded value is no integer and keeps six significant digits."""
    return bool(digits % 10**places) and len(str(abs(digits)).rstrip("0")) >= _DECIMALS


def _without_noise(value: Fraction) -> Fraction:
    """Round to twelve significant digits: 0.30000000000000004 is 0.3."""
    whole = abs(value.numerator) // value.denominator
    places = _NOISE_DIGITS - len(str(whole)) if whole else _NOISE_DIGITS + _zeros(abs(value))
    return Fraction(round(value * 10**places), 10**places) if places > 0 else value


# ------------------------------------------------------------------------------------------------
# Ratios


def ratio(text: str) -> str | None:
    """Return the key of a ratio of two or more numbers, or None.

    A ratio of two is a number, unless it may be a time of day: 2:40 is not 1:20.

    >>> ratio("6:8"), ratio("2:4:6"), ratio("2:40")
    ('3/4', '1:2:3', '2:40')
    """
    if len(text) > _MAX_LENGTH or not _RATIO.fullmatch(text):
        return None
    if clock := CLOCK.fullmatch(text):
        hours, minutes = int(clock[1]), int(clock[2])
        if math.gcd(hours, minutes) != 1 or clock[2].startswith("0") or clock[1].startswith("0"):
            return f"{hours}:{clock[2]}"
    terms = [rational(part) for part in text.split(":")]
    if len(terms) > 20 or any(term is None or term <= 0 for term in terms):
        return None
    values = [term for term in terms if term is not None]
    if len(values) == 2:
        return str(number_key(values[0] / values[1]))
    scale = math.lcm(*(value.denominator for value in values))
    whole = [int(value * scale) for value in values]
    return ":".join(str(number // math.gcd(*whole)) for number in whole)
