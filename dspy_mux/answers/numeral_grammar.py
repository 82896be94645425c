"""The grammar of numerals: what one numeral is, from its first token to its last.

`Magnitudes` reads the longest numeral that begins at a token: `1,234.50`, `6.02 × 10^23`, `2 1/2`,
`5 million`, `twenty-one`, `three quarters`, `√16`. What it cannot give a value has None for one, so
that nobody takes a part of it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

from .number_words import (
    COINS,
    OF_MONEY,
    ORDINALS,
    PARTS,
    SCALES,
    TEENS,
    TENS,
    TOUCHING,
    UNITS,
    VAGUE,
)
from .numeral_tokens import Token

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
_ORDINAL_ENDINGS = ("st", "nd", "rd", "th")


@dataclass(frozen=True)
class Magnitude:
    """A numeral without its sign: its value, None if it is not understood, and its last token.

    Attributes:
        ratio: the terms of a plain fraction such as 4/5, which may be a rating.
        lone_comma: a comma may part its decimals or two numbers: 3,5.
        ordinal: it is a position: 3rd, third.
        word: it is written in words.
        dated: it is written as the parts of a date are: 12/05.
    """

    value: Fraction | None
    end: int
    ratio: tuple[Fraction, Fraction] | None = None
    lone_comma: bool = False
    ordinal: bool = False
    word: bool = False
    dated: bool = False
    one: bool = False


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


class Magnitudes:
    """Reads the numeral that begins at a token of a text."""

    def __init__(self, tokens: Sequence[Token]) -> None:
        self.tokens = tokens
        self.count = len(tokens)

    # ---------------------------------------------------------------------------------------------
    # Tokens

    def text(self, at: int) -> str:
        """Return a token's text, "" beyond the ends."""
        return self.tokens[at].text if 0 <= at < self.count else ""

    def lower(self, at: int) -> str:
        return self.text(at).lower()

    def kind(self, at: int) -> str:
        return self.tokens[at].kind if 0 <= at < self.count else ""

    def gap(self, at: int) -> bool:
        """Return whether white space, or an end of the text, stands before a token."""
        return self.tokens[at].gap if 0 <= at < self.count else True

    def starts(self, at: int) -> bool:
        """Return whether a numeral begins at a token."""
        if self.kind(at) == "number" or (self.text(at) == "√" and self.text(at + 1) != "["):
            return True
        if self.kind(at) != "word":
            return False
        word = self.lower(at)
        if word in ("a", "an", "point", "half"):
            return self.read(at) is not None
        if word in ("hundred", "dozen"):
            return self.kind(at - 1) != "number" and self.read(at) is not None
        return word in UNITS or word in TEENS or word in TENS

    # ---------------------------------------------------------------------------------------------
    # Numerals

    def read(self, at: int) -> Magnitude | None:
        """Return the longest numeral that begins at a token; None where none begins."""
        if self.text(at) == "√":
            return self._root(at)
        if self.kind(at) == "number":
            found = self._digits(at)
        elif self.kind(at) == "word":
            spelled = self._words(at)
            if spelled is None:
                return None
            found = spelled
        else:
            return None
        return found if found.value is None or found.ordinal else self._ended(found, at)

    def _root(self, at: int) -> Magnitude:
        opened = self.text(at + 1) in ("{", "(")
        first = at + 2 if opened else at + 1
        if self.kind(first) != "number":
            return Magnitude(None, at + 1)
        value, _ = read_digits(self.text(first))
        end = first + 1
        if opened and self.text(end) not in ("}", ")"):
            return Magnitude(None, end)
        end += opened
        rooted = None if value is None else root(value)
        return Magnitude(rooted, end)

    def _digits(self, at: int) -> Magnitude:
        found = self._spaced(at)
        if found.value is None:
            return found
        if self.text(at) == "0" and self._is_radix(found.end):
            return Magnitude(None, found.end + 1)
        scientific = self._scientific(found)
        if scientific is not None:
            return scientific
        if mixed := self._mixed(at, found):
            return mixed
        if self._is_ordinal(found.end):
            return replace(found, end=found.end + 1, ordinal=True)
        return self._fraction(at, found)

    def _spaced(self, at: int) -> Magnitude:
        """Read digits, and groups of three that white space parts: 1 234 567,89."""
        end, run = at + 1, self.text(at)
        if _WHOLE.fullmatch(run) and 0 < len(run) <= 3 and run[0] != "0":
            while re.fullmatch(r"[0-9]{3}", self.text(end)) and self._one_space(end):
                end += 1
            last = re.fullmatch(r"[0-9]{3}[.,][0-9]+", self.text(end))
            if last and self._one_space(end):
                end += 1
        after = self.text(end)
        if end > at + 1 and self.kind(end) == "number" and self._one_space(end):
            return Magnitude(None, end)
        if end > at + 1 and (after == "/" and not self.gap(end)):
            end = at + 1  # 100 200/3 is no group, 5 300/7 a mixed number
        if end == at + 1:
            value, lone_comma = read_digits(run)
            return Magnitude(value, end, lone_comma=lone_comma)
        joined = "".join(self.text(each) for each in range(at, end)).replace(",", ".")
        return Magnitude(read_digits(joined)[0], end)

    def _one_space(self, at: int) -> bool:
        if not 0 < at < self.count or self.kind(at) != "number":
            return False
        return self.tokens[at].start - self.tokens[at - 1].end == 1

    def _scientific(self, found: Magnitude) -> Magnitude | None:
        """Read a power, 10^6, or a product with a power of ten, 6.02 × 10^23."""
        assert found.value is not None
        exponent = self._exponent(found.end)
        if exponent is not None:
            base = found.value
            value = None if exponent[0] is None else power(base, exponent[0])
            return Magnitude(value, exponent[1])
        at = found.end
        if self.text(at) not in ("×", "x", "X", "*", "·", "⋅", "∙", "•") and self.text(at)[
            :3
        ] not in (
            "x10",
            "X10",
        ):
            return None
        if self.text(at)[:3].lower() == "x10":
            return self._attached_power(found)
        if self.text(at + 1) != "10":
            return None
        exponent = self._exponent(at + 2)
        if exponent is None:
            return None
        value = None if exponent[0] is None else power(Fraction(10), exponent[0])
        product = None if value is None else short(found.value * value)
        return Magnitude(product, exponent[1])

    def _attached_power(self, found: Magnitude) -> Magnitude | None:
        """Read `x10^23` where the letter touches the ten, and so is one word."""
        match = re.fullmatch(
            r"[xX]10\^(?:([-+]?[0-9]{1,9})|[{(]([-+]?[0-9]{1,9})[)}])", self.text(found.end)
        )
        if match:
            ten = power(Fraction(10), Fraction(match[1] or match[2]))
            assert found.value is not None
            return Magnitude(None if ten is None else short(found.value * ten), found.end + 1)
        if self.text(found.end) in ("x10", "X10"):
            exponent = self._exponent(found.end + 1)
            if exponent is not None and exponent[0] is not None:
                ten = power(Fraction(10), exponent[0])
                assert found.value is not None
                return Magnitude(None if ten is None else short(found.value * ten), exponent[1])
        return Magnitude(None, found.end + 1)

    def _exponent(self, at: int) -> tuple[Fraction | None, int] | None:
        """Return the exponent that follows and where it ends; (None, …) for one not understood."""
        if self.text(at) == "^":
            at += 1
        elif self.text(at) == self.text(at + 1) == "*" and not self.gap(at + 1):
            if self.kind(at + 2) != "number" and self.text(at + 2) not in ("-", "(", "{"):
                return None
            at += 2
        else:
            return None
        opened = self.text(at) in ("{", "(")
        at += opened
        sign = self.text(at) if self.text(at) in ("-", "+") else ""
        at += bool(sign)
        if self.kind(at) != "number" or not _WHOLE.fullmatch(self.text(at)):
            return None, at
        value = int(self.text(at)) if len(self.text(at)) < 10 else None
        at += 1
        if opened and self.text(at) not in ("}", ")"):
            return None, at
        at += opened
        if self.text(at) == "^":
            return None, at
        return (None if value is None else Fraction(-value if sign == "-" else value)), at

    def _mixed(self, at: int, found: Magnitude) -> Magnitude | None:
        """Read a whole number and a fraction: 2 1/2."""
        top, slash, bottom = found.end, found.end + 1, found.end + 2
        is_whole = _WHOLE.fullmatch(self.text(at)) and found.end == at + 1
        if not (is_whole and self.kind(top) == "number" and self.kind(bottom) == "number"):
            return None
        if self.text(slash) != "/" or not self.gap(top) or self.kind(top - 1) != "number":
            return None
        if not (_WHOLE.fullmatch(self.text(top)) and _WHOLE.fullmatch(self.text(bottom))):
            return None
        if max(len(self.text(top)), len(self.text(bottom))) > MAX_DIGITS:
            return Magnitude(None, bottom + 1)
        over, under = int(self.text(top)), int(self.text(bottom))
        if over >= under or found.value is None:
            return Magnitude(None, bottom + 1)
        return Magnitude(short(found.value + Fraction(over, under)), bottom + 1)

    def _fraction(self, at: int, found: Magnitude) -> Magnitude:
        """Read a fraction: 1/2, 1 / 3, 1/2e3."""
        if self.text(found.end) != "/" or self.kind(found.end + 1) != "number":
            return found
        below = self._spaced(found.end + 1)
        if below.value is not None:
            below = self._scientific(below) or below
        if below.value is None or found.value is None or not below.value or found.lone_comma:
            return Magnitude(None, below.end)
        top, bottom = self.text(at), self.text(found.end + 1)
        dated = any(len(term) > 1 and term[0] == "0" and term.isdigit() for term in (top, bottom))
        value = short(found.value / below.value)
        return Magnitude(value, below.end, (found.value, below.value), dated=dated)

    def _is_radix(self, at: int) -> bool:
        """Return whether a word makes the zero before it a hexadecimal number: 0x1F."""
        return self.kind(at) == "word" and not self.gap(at) and self.lower(at)[:1] in "xob"

    def _is_ordinal(self, at: int) -> bool:
        return not self.gap(at) and self.lower(at) in _ORDINAL_ENDINGS

    # ---------------------------------------------------------------------------------------------
    # Words

    def _words(self, at: int) -> Magnitude | None:
        word = self.lower(at)
        if word == "point":
            return self._decimals(Magnitude(Fraction(0), at), at)
        if word in ("half", "a", "an"):
            return self._indefinite(at)
        found = self._below_thousand(at)
        return found if found is None or found.ordinal else self._decimals(found, found.end)

    def _indefinite(self, at: int) -> Magnitude | None:
        """Read `half`, `half a million`, `a dozen`, `a quarter`."""
        following = at + (self.lower(at) != "half")
        if self.lower(following) in ("half", "quarter", "third"):
            value = Fraction(1, PARTS[self.lower(following)])
            is_position = self.lower(at) != "half" and self.lower(following) == "third"
            if is_position and self.kind(following + 1) == "word":
                return None  # "a third attempt"
            return Magnitude(value, following + 1, word=True)
        if self.lower(following) in SCALES and self.lower(at) != "half":
            return Magnitude(Fraction(1), following, word=True)
        return None

    def _below_thousand(self, at: int) -> Magnitude | None:
        found = self._below_hundred(at)
        if found is None and self.lower(at) in ("hundred", "dozen"):
            if self.lower(at - 1) in VAGUE:
                return None
            found = Magnitude(Fraction(1), at, word=True)
        if found is None or found.ordinal or self.lower(found.end) != "hundred":
            return found
        return self._after_hundred(found)

    def _after_hundred(self, found: Magnitude) -> Magnitude:
        """Read what `hundred` counts and adds: two hundred and five."""
        assert found.value is not None
        value, end = found.value * 100, found.end + 1
        at = end + (self.lower(end) in ("and", "&"))
        rest = self._below_hundred(at)
        if rest is not None and rest.value is not None and not self._is_part(rest):
            return Magnitude(value + rest.value, rest.end, ordinal=rest.ordinal, word=True)
        return Magnitude(value, end, word=True)

    def _is_part(self, found: Magnitude) -> bool:
        """Return whether a number counts the parts of a fraction: "and two thirds"."""
        at = found.end + (self.text(found.end) == "-")
        return self.lower(at) in PARTS

    def _below_hundred(self, at: int) -> Magnitude | None:
        word = self.lower(at)
        if self.kind(at) != "word":
            return None
        if word in UNITS or word in TEENS:
            value = UNITS[word] if word in UNITS else TEENS[word]
            return Magnitude(Fraction(value), at + 1, word=True, one=word == "one")
        if word not in TENS:
            return None
        unit = at + 1 + (self.text(at + 1) == "-" and not self.gap(at + 1))
        digit = UNITS.get(self.lower(unit), 0)
        if digit:
            return Magnitude(Fraction(TENS[word] + digit), unit + 1, word=True)
        if 0 < ORDINALS.get(self.lower(unit), 10) < 10 and self.kind(unit) == "word":
            position = TENS[word] + ORDINALS[self.lower(unit)]
            return Magnitude(Fraction(position), unit + 1, ordinal=True, word=True)
        return Magnitude(Fraction(TENS[word]), at + 1, word=True)

    def _decimals(self, found: Magnitude, at: int) -> Magnitude | None:
        """Read what follows the word `point`: digit by digit, or as one number below 100."""
        if self.lower(at) != "point":
            return found
        written, end = "", at + 1
        if self.kind(end) == "number" and _WHOLE.fullmatch(self.text(end)):
            written, end = self.text(end), end + 1
        else:
            while self.lower(end) in UNITS:
                written, end = written + str(UNITS[self.lower(end)]), end + 1
            if not written and (rest := self._below_hundred(end)) and rest.value is not None:
                written, end = str(rest.value), rest.end
        if not written:
            return None if found.end == at and not found.value else found
        if len(written) > MAX_DIGITS or found.value is None:
            return Magnitude(None, end)
        return Magnitude(found.value + Fraction(f"0.{written}"), end, word=found.word)

    # ---------------------------------------------------------------------------------------------
    # Scales and parts

    def _ended(self, found: Magnitude, at: int) -> Magnitude:
        """Read the scales after a number, what they add, and parts: 4 thousand 3 hundred."""
        if found.word or self.lower(found.end) == "point":
            found = self._decimals(found, found.end) or found
        found = self._parted(found)
        scaled, scale = self._scaled(found, at)
        while scale > 1 and scaled.value is not None:
            added = self._added(scaled, scale)
            if added is None:
                break
            scaled, scale = added
        if scaled.word and self.lower(scaled.end) == "over" and self.starts(scaled.end + 1):
            return self._over(scaled)
        return scaled

    def _over(self, found: Magnitude) -> Magnitude:
        below = self.read(found.end + 1)
        if below is None or not below.value or found.value is None:
            return Magnitude(None, below.end if below else found.end + 1)
        return Magnitude(short(found.value / below.value), below.end, (found.value, below.value))

    def _scaled(self, found: Magnitude, at: int) -> tuple[Magnitude, int]:
        """Return the number times the scales that follow it, and the last of these."""
        end, product, last = found.end, 1, 1
        while (scale := self._scale(end, at)) is not None:
            multiple, after = scale
            product, last, end = product * multiple, multiple, after
            if product > 10**30:
                return Magnitude(None, end), 1
        if end == found.end or found.value is None:
            return found, 1
        value = short(found.value * product)
        return Magnitude(value, end, word=found.word and not found.one), min(last, product)

    def _scale(self, at: int, start: int) -> tuple[int, int] | None:
        """Return the scale that a token is, and where it ends; None if it is none."""
        if self.kind(at) != "word":
            if self.lower(at) == "of" and self.lower(at + 1) == "a" and at > start:
                word = self.lower(at + 2)  # "three quarters of a billion"
                return (SCALES[word], at + 3) if word in SCALES else None
            return None
        word, text = self.lower(at), self.text(at)
        is_unit = word == "dozens" or self.text(start - 1) == "="
        if word[:5] == "dozen" and self.kind(start) == "number" and is_unit:
            return None  # 84 / 12 = 7 dozen
        of_money = start > 0 and self.kind(start - 1) == "currency"
        if not self.gap(at) and text in TOUCHING and not (text == "MM" and not of_money):
            return TOUCHING[text], at + 1
        if of_money and text in OF_MONEY and (not self.gap(at) or text not in ("t", "b")):
            return OF_MONEY[text], at + 1
        if word == "mil" and self.lower(at + 1) == "millones":
            return 10**9, at + 2
        if word in ("a", "of") and at > start:
            skip = at + (word == "of") + (self.lower(at + (word == "of")) == "a")
            named = self.lower(skip)
            if self.lower(at - 1) in PARTS and named in SCALES and skip > at:
                return SCALES[named], skip + 1
            return None
        if word in SCALES and word not in ("hundreds", "thousands"):
            with_stop = self.text(at + 1) == "." and f"{word}." in SCALES
            return SCALES[word], at + 1 + with_stop
        return None

    def _added(self, found: Magnitude, scale: int) -> tuple[Magnitude, int] | None:
        """Read a smaller number that goes on after a scale: million [and] two thousand."""
        at, joint = found.end, self.lower(found.end)
        if joint in ("and", "&", ","):
            at += 1
            if not self.gap(at):
                return None
        rest = self._words(at) if self.kind(at) == "word" else None
        if rest is None and self.kind(at) == "number" and joint != "," and scale >= 100:
            rest = self._spaced(at)
            is_plain = rest.value is not None and _WHOLE.fullmatch(self.text(at))
            if not is_plain or (joint in ("and", "&") and scale > 100):
                return None
        if rest is None or rest.value is None or rest.ordinal or self._is_part(rest):
            return self._added_part(found, at) if joint in ("and", "&") else None
        if joint in ("and", "&", ",") and not found.word and scale > 100:
            return None  # "$5 million and three houses"
        scaled, last = self._scaled(rest, at)
        if scaled.value is None or not 0 < scaled.value < scale or found.value is None:
            return None
        return replace(found, value=short(found.value + scaled.value), end=scaled.end), last

    def _added_part(self, found: Magnitude, at: int) -> tuple[Magnitude, int] | None:
        part = self._part(at)
        if part is None or part.value is None or found.value is None:
            return None
        return replace(found, value=found.value + part.value, end=part.end), 1

    def _parted(self, found: Magnitude) -> Magnitude:
        """Read fractions in words: three quarters, two and a half, 3 tenths."""
        if found.value is None or found.ratio:
            return found
        if self.lower(found.end) in ("and", "&") and found.value.denominator == 1:
            part = self._part(found.end + 1)
            if part is not None and part.value is not None:
                value = found.value + part.value
                return Magnitude(value, part.end, word=found.word)
        parts = self._parts(found)
        return parts or found

    def _part(self, at: int) -> Magnitude | None:
        """Read a proper fraction: a half, one third, two thirds, 1/2."""
        if self.lower(at) in ("a", "half"):
            noun = at + (self.lower(at) == "a")
            if self.lower(noun) in PARTS:
                return Magnitude(Fraction(1, PARTS[self.lower(noun)]), noun + 1, word=True)
            return None
        if self.kind(at) == "number":
            found = self._fraction(at, self._spaced(at))
            is_proper = found.ratio and found.ratio[0] < found.ratio[1]
            return found if is_proper else None
        count = self._below_hundred(at)
        return None if count is None else self._parts(count)

    def _parts(self, count: Magnitude) -> Magnitude | None:
        at = count.end + (self.text(count.end) == "-" and not self.gap(count.end + 1))
        word = self.lower(at)
        if count.value is None or word not in PARTS or self.kind(at) != "word":
            return None
        if not count.word and (word in COINS or not self.gap(at)):
            return None
        is_plural = word.endswith("s") or word == "halves"
        if (count.value == 1) == is_plural or count.value.denominator != 1:
            return None
        return Magnitude(Fraction(count.value, PARTS[word]), at + 1, word=True)
