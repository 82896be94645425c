"""Find the numerals of a text, each with what stands around it.

A numeral is a value only where its surroundings are understood: a unit, a currency, prose. Where it
is a part of a range, a date, a sum or a formula, the whole of that is one numeral without a value.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from .number_words import (
    BOUNDS,
    BOUNDS_AFTER,
    BOUNDS_OF_MANY,
    CLAUSE,
    CLOCK,
    COPULAS,
    DATE_SIGNS,
    DOUBTS,
    DURATIONS,
    HUNDREDTHS,
    INSTEAD,
    LABELS,
    MATHEMATICAL,
    MONTHS,
    NEGATIONS,
    PLACES,
    SCALES,
    SHARES,
    SHARES_BEFORE,
    SHARES_IN_TWO,
    STEPPED,
    STREETS,
    UNIT,
    WHOLE_MONEY,
    WORD_LETTERS,
    WRONG,
    YEAR_SIGNS,
    words,
)
from .numeral_grammar import Magnitude, Magnitudes
from .numeral_tokens import plainly, tokens

_OPERATORS = frozenset("+-×*·⋅∙÷/±&;,:、~")
_JOINTS = words(
    "x X by times to and or plus minus through thru till until vs versus und oder bis et ou y o "
    "и или 和 或 到 至 や"
)
_BETWEEN = words(
    "about around only even maybe perhaps possibly another approximately roughly rather "
    "probably either"
)
_LENGTHS = words("m cm mm km dm nm ft in yd mi s")
_QUOTES = frozenset("\"'$|")
_OPEN, _CLOSED = frozenset("([{"), frozenset(")]}")
_BEFORE = _QUOTES | frozenset("~≈=:;,.([{…!?|>") | {"?"}


#: The first token, the end and the value of one of several numerals.
Part = tuple[int, int, Fraction | None]


@dataclass(frozen=True)
class Numeral:
    """A numeral in a text.

    Attributes:
        start: its first token, its sign and currency included; `end` is the one after its last.
        value: None where the numeral, or what it is a part of, is not understood.
        share: what one is worth where it is a percentage or the like, else None.
        of: what it is out of: 10 in "8 out of 10".
        magnitude: how it is written.
        role: "value"; "aside", which answers only where it stands alone, such as `3rd` or "step 5";
            "never", such as a citation.
        in_brackets: it stands in parentheses after other words.
        has_unit: a unit or currency goes with it.
        parts: the numerals that it is made of: 5 and 7 of "5 to 7".
        is_rate: it is a share alone: "1 in 5".
    """

    start: int
    end: int
    value: Fraction | None
    magnitude: Magnitude
    share: Fraction | None = None
    of: Fraction | None = None
    role: str = "value"
    in_brackets: bool = False
    has_unit: bool = False
    parts: tuple[Part, ...] = ()
    is_rate: bool = False


class NumeralScanner(Magnitudes):
    """Finds the numerals of a text."""

    def __init__(self, text: str) -> None:
        self.plain = plainly(text)
        super().__init__(tokens(self.plain))
        self._bracket = self._brackets()

    def numerals(self) -> list[Numeral]:
        """Return the numerals of the text, in order."""
        found: list[Numeral] = []
        at = 0
        while at < self.count:
            if self.text(at) == "[" and (after := self._citation(at)):
                at = after
                continue
            numeral = self._numeral(at) if self.starts(at) else None
            if numeral is not None:
                found.append(numeral)
            at = at + 1 if numeral is None else max(numeral.end, at + 1)
        return found

    def _brackets(self) -> dict[int, int]:
        """Return the innermost open bracket of each token that stands in parentheses."""
        inside: dict[int, int] = {}
        opened: list[int] = []
        for at, token in enumerate(self.tokens):
            if token.kind == "line":
                opened.clear()
            elif token.text == "(":
                opened.append(at)
            elif token.text == ")" and opened:
                opened.pop()
            elif opened and token.kind in ("number", "word"):
                inside[at] = opened[0]
        return inside

    def _citation(self, at: int) -> int | None:
        """Return the end of a reference such as [1] or [2, 3] after words, else None."""
        end = at + 1
        while self.kind(end) == "number" or self.text(end) in (",", "-", ";", "^"):
            end += 1
        before = self.lower(at - 1)
        if self.text(end) != "]" or end == at + 1 or self.kind(at - 1) in ("", "line"):
            is_note = self.text(at + 1) == "^" and self.text(end) == "]"
            return end + 1 if is_note else None
        if before in COPULAS or before in ("=", ":", "(", "[", ",", "≈"):
            return None
        return end + 1

    # ---------------------------------------------------------------------------------------------
    # One numeral

    def _numeral(self, at: int) -> Numeral | None:
        found = self.read(at)
        if found is None:
            return None
        start, sign, role = self._before(at, found)
        end, share, has_unit = self._after(found.end)
        share = share or self._share_before(start)
        value = None if found.value is None or role == "unknown" else sign * found.value
        if value is not None and self._is_grouped_money(at):
            value *= 1000
        in_all = self._in_all(end)
        whole = in_all or self._out_of(end)
        value, end = self._extended(at, found, value, end)
        if whole is not None:
            value, end = (None if share else value), whole[1]
        parts = [] if found.value is None and self.text(at) == "0" else self._chain(end)
        if parts:
            value, end = None, parts[-1][1]
        elif not self._is_clear(end) or self._is_factorial(start, end):
            value = None
        role = self._last_role(start, end, sign, role, found)
        if value is not None and self._is_accounted(start, end):
            value, start, end = -value, start - 2, end + 1
        return Numeral(
            start,
            end,
            value,
            found,
            share=share,
            of=None if whole is None else whole[0],
            role="value" if role == "unknown" else role,
            in_brackets=self._is_explanation(at),
            has_unit=has_unit or self.kind(at - 1) == "currency",
            parts=((at, found.end, found.value), *parts),
            is_rate=in_all is not None,
        )

    def _extended(
        self, at: int, found: Magnitude, value: Fraction | None, end: int
    ) -> tuple[Fraction | None, int]:
        """Return the value with its cents, and the end of these or of a tolerance."""
        cents = self._hundredths(at, found, end)
        if cents is not None and value is not None:
            return value + (cents[0] if value > 0 else -cents[0]), cents[1]
        return value, self._tolerance(found, end) or end

    def _last_role(self, start: int, end: int, sign: int, role: str, found: Magnitude) -> str:
        """Return the role that both sides of a numeral give it together."""
        if self._is_lone_in_brackets(start, end, sign) and not self._is_accounted(start, end):
            return "never"
        is_denied = self.lower(end) in ("is", "was") and self.lower(end + 1) in WRONG
        if self._is_dated(end) or is_denied:
            return "never"
        if role != "value":
            return role
        if found.ordinal:
            is_place = self.lower(end) in PLACES or self.text(start - 1) == "="
            return "value" if is_place and not found.word else "aside"
        is_compound = self.text(end) == "-" and not self.gap(end) and self._is_compound(end)
        return "compound" if is_compound else "value"

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

    def _is_explanation(self, at: int) -> bool:
        opening = self._bracket.get(at)
        return opening is not None and opening > 0 and self.kind(opening - 1) != "line"

    def _is_accounted(self, start: int, end: int) -> bool:
        """Return whether it is a loss as accounts write it: $(1,234.56)."""
        is_lone = self.text(start - 1) == "(" and self.text(end) == ")"
        return is_lone and self.kind(start - 2) == "currency"

    def _is_compound(self, at: int) -> bool:
        """Return whether a word is joined to the numeral: a 5-day week."""
        return self.kind(at + 1) == "word" and not self.gap(at + 1)

    # ---------------------------------------------------------------------------------------------
    # Before it

    def _before(self, at: int, found: Magnitude) -> tuple[int, int, str]:
        """Return the first token of a numeral with its sign, the sign, and its role."""
        here, sign, signs = at - 1, 1, 0
        while self.kind(here) == "currency" or self._is_sign(here) or self.text(here) == "$":
            if self._is_sign(here):
                signs += 1
                sign = -1 if self.lower(here) not in ("+", "plus", "positive") else 1
                if not self._is_prefix(here):
                    role = self._not_prefix(here)
                    return (here + 1, 1, role) if role == "value" else (here, sign, role)
            here -= 1
        start = here + 1
        if signs > 1:
            return start, sign, "unknown"
        touches = not self.gap(start)
        while self.text(here) in _QUOTES or self.text(here) in ("(", "{", "["):
            if self.text(here) == "{" and self.text(here - 1) == "}":
                return start, sign, "unknown"  # \frac{x}{2}
            is_argument = self.kind(here - 1) in ("word", "command", "number")
            if is_argument and self.text(here) in ("(", "{") and not self.gap(here):
                return start, sign, "unknown"  # f(3), \frac{3}{x}
            here -= 1
        return start, sign, self._role(here, start, touches and here == start - 1, found)

    def _is_sign(self, at: int) -> bool:
        if self.text(at) in ("-", "+"):
            return True
        if self.kind(at) == "dense":
            return self.text(at).endswith(("负", "負", "マイナス")) and not self.gap(at + 1)
        return self.kind(at) == "word" and self.lower(at) in (
            "minus", "negative", "plus", "positive", "moins", "menos"
        )  # fmt: skip

    def _is_prefix(self, at: int) -> bool:
        """Return whether a sign turns the number after it, rather than part it from another."""
        before = at - 1
        if self.kind(at) == "dense":
            return True
        if self.kind(before) in ("", "line") or self.lower(before) in COPULAS:
            is_item = self.gap(at + 1) and self.kind(before) == "line"
            return not (is_item and self.text(at) in "-+") or self.count < 4
        if self.text(before) in _BEFORE or self.kind(before) == "currency":
            return True
        if self.lower(at) in ("negative", "positive"):
            return self.kind(before) == "word"
        if self.kind(at) == "word":
            return False
        return self.gap(at) and not self.gap(at + 1) and self.kind(before) in ("word", "dense")

    def _not_prefix(self, at: int) -> str:
        before = self.text(at - 1)
        if self.text(at) == "-" and self.kind(at - 1) == "line":
            return "value"  # an item of a list
        is_name = not self.gap(at) and not self.gap(at + 1) and len(before) > 1
        return "never" if is_name and self.kind(at - 1) == "word" else "unknown"

    def _role(self, here: int, start: int, touches: bool, found: Magnitude) -> str:
        """Return the role that what stands before a numeral gives it."""
        text, kind = self.text(here), self.kind(here)
        if kind in ("", "line"):
            return self._role_at_line_start(start, found)
        if text == "^" and self.text(here - 1) in (".", "!", '"', ",", "[") and touches:
            return "never"  # a raised footnote
        if text == "_" or text == "#":
            return "never" if text == "_" else "aside"
        if text == "=" and self.text(here - 1) in ("!", "<", ">") and not self.gap(here):
            return "unknown"
        if kind == "command" or text in ("≠", "<", ">", "≤", "≥", "±", "&", "@", "/", "^", "×", "*",
                                         "·", "⋅", "÷", "√", "∞"):  # fmt: skip
            return "unknown"
        if text in _CLOSED and touches:
            return "unknown"
        if text == "." and touches and self.kind(here - 1) == "word":
            here, text, kind = here - 1, self.text(here - 1), "word"
        if kind == "number" and touches:
            return "unknown"
        if kind == "word":
            return self._role_after_word(here, touches)
        return "value"

    def _role_at_line_start(self, start: int, found: Magnitude) -> str:
        """Return the role of a number that may count the items of a list: 3. Then …"""
        is_counter = self.text(found.end) in (".", ")", ":") and not self.gap(found.end)
        has_more = self.kind(found.end + 1) not in ("", "line") and self.gap(found.end + 1)
        is_short = self.kind(start) == "number" and len(self.text(start)) < 3
        return "aside" if is_counter and has_more and is_short else "value"

    def _role_after_word(self, here: int, touches: bool) -> str:
        word, before = self.lower(here), self.lower(here - 1)
        if self.text(here) in ("Q1", "Q2", "Q3", "Q4"):
            return "never"  # the year of a quarter
        if touches and self.text(here) not in ("x",):
            return "never"
        if self.text(here) in MONTHS or (word == "of" and self.text(here - 1) in MONTHS):
            return "never"
        pair = f"{before}_{word}"
        if word in NEGATIONS or pair in INSTEAD or (before in NEGATIONS and word in ("a", "just")):
            return "never"
        if word in ("than", "to") and pair in INSTEAD:
            return "never"
        if word in BOUNDS or word == "than" or pair in BOUNDS_OF_MANY:
            return "unknown"
        if word in MATHEMATICAL:
            return "unknown"
        if word in LABELS:
            return "aside"
        is_variable = (
            len(word) == 1
            and (word.isascii() or word in "πθφλμσ")
            and word not in ("a", "i", "y", "à", "o")
        )
        return "unknown" if is_variable and word not in UNIT else "value"

    # ---------------------------------------------------------------------------------------------
    # After it

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

    # ---------------------------------------------------------------------------------------------
    # Chains: 5 to 7, 2024-03-15, 3 × 4, 5 hours and 30 minutes

    def _chain(self, end: int) -> list[Part]:
        """Return the other numerals of a range, date, sum or list; none if a numeral is alone."""
        parts: list[Part] = []
        while (operand := self._operand(end)) is not None:
            found = self.read(operand)
            if found is None:
                break
            end = self._after(found.end)[0]
            parts.append((operand, end, found.value))
        return parts

    def _operand(self, end: int) -> int | None:
        """Return the next numeral of a range, date, sum or list; None if there is none."""
        here = end
        while self.text(here) in _QUOTES:
            here += 1
        if self.starts(here) and self.kind(here) != "line" and self._is_adjacent(end, here):
            return here
        if self.text(here) == "[" and (after := self._citation(here)):
            here = after
        joined = self._joint(here)
        operand = None if joined is None else self._listed(here, joined)
        return self._operand_after_unit(here) if operand is None else operand

    def _listed(self, joint: int, joined: int) -> int | None:
        """Return the numeral after a joint, and after one word in a list: 10 dollars and me 100."""
        names = self.lower(joint) in ("and", "or", ",", ";")
        operand = self._skip_to_numeral(joined, names=names)
        is_list = self.text(joint) == "," or self.lower(joint) == "and"
        if operand is not None or not is_list or self.kind(joined) != "word":
            return operand
        is_name = self.text(joint) != "," or self.text(joined)[0].isupper()
        is_plain = self.lower(joined) not in CLAUSE and self.text(joined + 1) != "="
        return self._skip_to_numeral(joined + 1) if is_name and is_plain else None

    def _is_adjacent(self, end: int, here: int) -> bool:
        return self.lower(here) not in ("a", "an", "half", "one")

    def _joint(self, here: int) -> int | None:
        """Return the token after an operator or a word that joins numbers, or None."""
        text, gap, after = self.text(here), self.gap(here), self.gap(here + 1)
        if self.lower(here) == "and" and self.text(here + 1) == "/":
            return here + 3
        if self.lower(here) == "but" and self.lower(here + 1) in DOUBTS:
            return here + 2
        if text == "(" and self.lower(here + 1) in DOUBTS:
            return here + 2
        if self.lower(here) == "by" and self.kind(here - 1) != "number":
            return None  # "35% by 1960"; 5 by 7 are two sides
        if self.lower(here) in _JOINTS and self.kind(here) in ("word", "dense"):
            follows_by = self.lower(here) in ("divided", "multiplied")
            return here + 1 + follows_by
        if self.lower(here) in ("divided", "multiplied") and self.lower(here + 1) == "by":
            return here + 2
        if text in (".", ",") and self.text(here + 1) == text and not gap:
            return here + 2 + (self.text(here + 2) == text)  # −2…3
        if text not in _OPERATORS or not text:
            return here + 1 if text == "." and not gap and not after else None
        if text == ":" and (gap or after):
            return None
        if text == "," and gap:
            return None
        if self.starts(here + 1) and text == "~":
            return here + 1
        extra = self.lower(here + 1) in ("and", "or") and text in ",;"
        return here + 1 + extra

    def _skip_to_numeral(self, at: int, *, names: bool = False) -> int | None:
        """Return the numeral that begins at a token or after a sign or currency there.

        With `names` also after "x =".
        """
        for _ in range(6):
            if self.starts(at):
                return at
            is_variable = self.text(at + 1) == "=" and self.kind(at) == "word"
            if is_variable and names and len(self.text(at)) < 3:
                at += 2
                continue
            is_skipped = (
                self._is_sign(at) or self.kind(at) == "currency" or self.lower(at) in _BETWEEN
                or self.text(at) in ("(", "$", '"', "~", "≈", "-", "*")
            )  # fmt: skip
            if not is_skipped:
                return None
            at += 1
        return None

    def _operand_after_unit(self, here: int) -> int | None:
        """Return the next numeral where units stand between: 5 feet 11 inches, 3 dogs and 5."""
        unit = self.lower(here)
        after = here
        for _ in range(3):
            if self.kind(after) != "word" or self.lower(after) in CLAUSE:
                break
            if self.lower(after) in _JOINTS and after > here:
                break
            after += 1
            if self.text(after) == "/" and self.kind(after + 1) == "word":
                after += 2
            after += self.text(after) == "." and not self.gap(after) and after - here < 2
        is_sign = unit in ("'", "°", '"') or self.kind(here) in ("currency", "dense")
        if after == here and not is_sign and self.text(here - 1) not in UNIT:
            return None
        if is_sign:
            after = here + 1
            after += unit == "°" and self.kind(after) == "word" and not self.gap(after)
        if self.starts(after) and self._is_adjacent(here, after):
            is_stepped = unit in STEPPED or unit[-1:] in DATE_SIGNS | YEAR_SIGNS or unit in ("'",)
            return after if is_stepped and after == here + 1 else None
        joined = self._joint(after)
        if joined is None or self.lower(after) == "by":
            return None
        return self._listed(after, joined)
