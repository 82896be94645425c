"""The grammar of numbers in words: `twenty-one`, `5 million`, `three quarters`."""

from __future__ import annotations

import re
from dataclasses import replace
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
from .numeral_grammar import Digits, Magnitude
from .numeral_values import MAX_DIGITS, short

_WHOLE = re.compile(r"[0-9]+")


class Magnitudes(Digits):
    """Reads the numeral, in digits or words, that begins at a token of a text."""

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
