"""What stands after a numeral: units, percent signs, wholes, and what makes it another thing."""

from __future__ import annotations

from fractions import Fraction

from .number_words import (
    BOUNDS_AFTER,
    CLAUSE,
    CLOCK,
    DATE_SIGNS,
    DURATIONS,
    HUNDREDTHS,
    MATHEMATICAL,
    MONTHS,
    SCALES,
    SHARES,
    SHARES_BEFORE,
    SHARES_IN_TWO,
    STEPPED,
    STREETS,
    UNIT,
    WHOLE_MONEY,
    WORD_LETTERS,
    words,
)
from .numeral_before import Before
from .numeral_grammar import Magnitude

_LENGTHS = words("m cm mm km dm nm ft in yd mi s")
_QUOTES = frozenset("\"'$|")
_OPEN, _CLOSED = frozenset("([{"), frozenset(")]}")


class After(Before):
    """Reads what stands after a numeral."""

    def _after(self, at: int) -> tuple[int, Fraction | None, bool]:
        """Return the end of a percent sign or currency, the share, and whether there is a unit."""
        here = at
        while self.text(here) in ("$", '"') and self.lower(here + 1) in SHARES:
            here += 1
        pair = (self.lower(here), self.lower(here + 1))
        if pair in SHARES_IN_TWO:
            return here + 2, SHARES_IN_TWO[pair], True
        text = self.lower(here)
        if self.kind(here) == "dense":
            text = next((each for each in ("パーセント", "퍼센트") if text.startswith(each)), "")
        if text in SHARES and not (text == "pc" and self.text(here) != "pc"):
            return here + 1, SHARES[text], True
        if text == "-" and self.lower(here + 1) == "percent":
            return here + 2, SHARES["percent"], True
        if self.kind(at) == "currency" or self.text(at) in UNIT or self.kind(at) == "dense":
            is_money = self.kind(at) == "currency" and not self.starts(at + 1)
            return at + is_money, None, True
        return at, None, False

    def _share_before(self, start: int) -> Fraction | None:
        text = self.text(start - 1)
        if text.endswith(("百分之", "百分の")):
            return Fraction(1, 100)
        if text.endswith(("千分之", "千分の")):
            return Fraction(1, 1000)
        return Fraction(1, 100) if self.lower(start - 1) in SHARES_BEFORE else None

    def _out_of(self, at: int) -> tuple[Fraction, int] | None:
        """Return the whole of "8 out of 10", "8 of the 10", "8 points out of 10", and its end."""
        for skipped in range(3):
            here = at + skipped
            if skipped and (self.kind(here - 1) != "word" or self.lower(here - 1) in CLAUSE):
                return None
            is_out = self.lower(here) == "out" and self.lower(here + 1) == "of"
            if is_out or (self.lower(here) == "of" and not skipped):
                here += 1 + is_out
                here += self.lower(here) in ("the", "a", "those", "these", "possible")
                whole = self._spaced(here) if self.kind(here) == "number" else None
                if whole is None and self.starts(here):
                    whole = self.read(here)
                if whole is None or not whole.value:
                    return None
                return whole.value, self._after(whole.end)[0]
        return None

    def _in_all(self, at: int) -> tuple[Fraction, int] | None:
        """Return the whole of "1 in 5", and its end."""
        if self.lower(at) != "in" or not self.starts(at + 1):
            return None
        whole = self.read(at + 1)
        if whole is None or not whole.value or whole.value.denominator != 1:
            return None
        is_when = 1900 <= whole.value < 2100 or self.lower(whole.end) in STEPPED
        is_alike = self.kind(at - 1) == self.kind(at + 1)
        return (whole.value, whole.end) if is_alike and not is_when else None

    def _is_factorial(self, start: int, end: int) -> bool:
        """Return whether a text is 5!, which may be a factorial or a cry."""
        return start == 0 and self.text(end) == "!" and end + 1 >= self.count

    def _hundredths(self, at: int, found: Magnitude, end: int) -> tuple[Fraction, int] | None:
        """Return the cents of "3 dollars and 50 cents", as a part of one, and their end."""
        here = end
        if self.kind(at - 1) != "currency" and self.text(end - 1) not in WHOLE_MONEY:
            if self.lower(here) not in WHOLE_MONEY:
                return None
            here += 1
        here += self.lower(here) in ("and", ",")
        cents = self.read(here) if self.starts(here) else None
        if cents is None or cents.value is None or self.lower(cents.end) not in HUNDREDTHS:
            return None
        is_whole = found.value is not None and found.value.denominator == 1
        if not is_whole or cents.value.denominator != 1 or not 0 <= cents.value < 100:
            return None
        return cents.value / 100, cents.end + 1

    def _tolerance(self, found: Magnitude, end: int) -> int | None:
        """Return the end of a tolerance: 0.2 in 5 ± 0.2, but 2 ± 1 are two numbers."""
        here = end + 1
        if self.text(end) == "+" and self.text(end + 1) == "/" and self.text(end + 2) == "-":
            here = end + 3
        elif self.text(end) != "±":
            return None
        by = self._spaced(here) if self.kind(here) == "number" else None
        if by is None or by.value is None or found.value is None:
            return None
        after = by.end + (self.text(by.end) == ")")
        is_small = by.value * 10 <= abs(found.value) and "." in self.text(here)
        is_measured = self.kind(after) == "word" and by.value * 2 < abs(found.value)
        return self._after(by.end)[0] if is_small or is_measured else None

    def _is_grouped_money(self, at: int) -> bool:
        """Return whether a point groups thousands: 31.500 of a currency without cents."""
        before, _, decimals = self.text(at).partition(".")
        is_thousands = before.isdigit() and len(decimals) == 3 and self.kind(at - 1) == "currency"
        return is_thousands and self.text(at - 1).rstrip(".") in ("Rp", "IDR", "₫", "₩", "KRW")

    def _is_lone_in_brackets(self, start: int, end: int, sign: int) -> bool:
        """Return whether it is (5): an account's −5, an equation's name, or an item's number."""
        is_lone = self.text(start - 1) == "(" and self.text(end) == ")" and sign > 0
        return is_lone and self.lower(start - 2) not in ("is", "are", "equals", "=")

    def _is_accounted(self, start: int, end: int) -> bool:
        """Return whether it is a loss as accounts write it: $(1,234.56)."""
        is_lone = self.text(start - 1) == "(" and self.text(end) == ")"
        return is_lone and self.kind(start - 2) == "currency"

    def _is_compound(self, at: int) -> bool:
        """Return whether a word is joined to the numeral: a 5-day week."""
        return self.kind(at + 1) == "word" and not self.gap(at + 1)

    def _is_clear(self, at: int) -> bool:
        """Return whether what follows a numeral leaves it its value."""
        here = at
        closed = False
        while self.text(here) in _QUOTES or (self.text(here) in _CLOSED):
            closed = closed or self.text(here) in _CLOSED
            here += 1
        text, kind, gap = self.text(here), self.kind(here), self.gap(here) and here < self.count
        if kind in ("", "line", "currency", "number"):
            return kind != "number" or self.gap(here) or closed
        if kind == "word":
            return self._is_clear_word(here, gap)
        if kind == "command":
            return False
        if kind == "dense":
            return text[0] not in DATE_SIGNS or text.startswith(DURATIONS)
        return self._is_clear_sign(here, gap, closed)

    def _is_clear_sign(self, here: int, gap: bool, closed: bool) -> bool:
        text, after = self.text(here), here + 1
        if text in ("^", "_", "π", "√", "∞", "×", "·", "⋅", "÷", "±", "\\"):
            return False
        if text == "(" and self.text(after + 1) == ")" and self.kind(after + 2) == "number":
            return False  # a telephone number
        if text in ("(", "{", "["):
            return gap or not (self.starts(after) or self._is_sign(after)) or text == "["
        if (text in SHARES and not gap) or text in ("<", ">", "≤", "≥", "≠"):
            return False
        if text == "+" or (text == "*" and (self.starts(after) or self.text(after) == "(")):
            return False
        if text == "-":
            is_dash = gap and self.gap(after) and not self.starts(after)
            return is_dash or (self._is_compound(here) and not gap) or self.text(here - 1) == ","
        if text == "/":
            return self._is_rate(after)
        if text == "." and self.text(after) == "." and not gap:
            return "." not in self.text(here - 1)
        if text == "," and self.text(after) == "," and not gap:
            return False
        if text in (":", ",", ".") and not self.gap(after) and self.kind(after) == "number":
            return False
        return not (text == "°" and self.lower(after) == "below")

    def _is_rate(self, at: int) -> bool:
        """Return whether a unit follows the stroke: 9.8 m/s, $5/hour, 500/-."""
        if self.text(at) == "-":
            return True
        return self.kind(at) == "word" and (self._is_unit(at) or len(self.text(at)) > 2)

    def _is_unit(self, at: int) -> bool:
        base = self.text(at)
        for sign in ("^", "_", "-"):
            base = base.partition(sign)[0]
        return base in UNIT or (base[-1:] in ("2", "3") and base[:-1] in _LENGTHS)

    def _is_clear_word(self, at: int, gap: bool) -> bool:
        text, word = self.text(at), self.lower(at)
        pair = f"{word}_{self.lower(at + 1)}"
        stopped = f"{word}.{self.lower(at + 2)}" if self.text(at + 1) == "." else ""
        if word in CLOCK or stopped in ("a.m", "p.m") or pair in BOUNDS_AFTER:
            return False
        if word == "degrees" and self.lower(at + 1) == "below":
            return False
        if self._is_address(at):
            return False
        if word in ("plus", "minus", "divided", "multiplied", "times", "mod"):
            return word == "times" and not self.starts(at + 1)
        if word in MATHEMATICAL or word in ("π", "θ"):
            return False
        if word == "times" and self.lower(at + 1) in ("as", "more", "less", "older", "the", "that"):
            return False
        if text == "s" and not gap and len(self.text(at - 1)) == 4:
            return False  # the 1960s
        if self._is_unit(at):
            return self._is_clear_rate(at + 1)
        if not gap:
            return len(word) > 3 and text.isalpha() and text.islower()
        if len(word) > 1 and word[0].isascii() and text[1:].isdigit():
            return False
        if len(word) == 1 and text not in WORD_LETTERS:
            return word in UNIT or not word.isascii() or (word in ("y", "e", "o") and text != "y")
        return not (text[-1].isdigit() and len(text) > 1 and text[1] in "^_") and (
            word not in SCALES or word.startswith("dozen")
        )

    def _is_address(self, at: int) -> bool:
        """Return whether a street is named: 123 Main Street."""
        ahead = [self.text(each) for each in range(at, at + 3)]
        return ahead[0][:1].isupper() and not STREETS.isdisjoint(ahead[1:])

    def _is_dated(self, end: int) -> bool:
        """Return whether it is the day or year of a date: 5 September 2024."""
        here = end + (self.lower(end) in ("st", "nd", "rd", "th", "of", "de"))
        return self.text(here) in MONTHS or (
            self.text(end) == "-" and self.text(end + 1).partition("-")[0] in MONTHS
        )

    def _is_clear_rate(self, at: int) -> bool:
        """Return whether no formula follows a unit: m/s^2, kg·m."""
        if self.text(at) not in ("/", "·", "*", "⋅") or self.gap(at):
            return True
        return self.kind(at + 1) != "number" and self.text(at + 1) != "√"
