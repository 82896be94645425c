"""The grammar of numerals in digits: from a numeral's first token to its last.

`Digits` reads the longest one that begins at a token: `1,234.50`, `6.02 × 10^23`, `2 1/2`, `√16`.
What it cannot give a value has None for one, so that nobody takes a part of it.
`number_phrases.py` adds what words say.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

from .numeral_tokens import Token
from .numeral_values import MAX_DIGITS, power, read_digits, root, short

_WHOLE = re.compile(r"[0-9]+")
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


class Digits:
    """Reads the numeral in digits that begins at a token of a text."""

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

    # ---------------------------------------------------------------------------------------------
    # Numerals

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
