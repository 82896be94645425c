"""Find the numerals of a text, each with what stands around it.

A numeral is a value only where its surroundings are understood: a unit, a currency, prose. Where it
is a part of a range, a date, a sum or a formula, the whole of that is one numeral without a value.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from .number_words import (
    PLACES,
    WRONG,
)
from .numeral_chains import Chains, Part
from .numeral_grammar import Magnitude
from .numeral_tokens import plainly, tokens


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


class NumeralScanner(Chains):
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

    def _is_explanation(self, at: int) -> bool:
        opening = self._bracket.get(at)
        return opening is not None and opening > 0 and self.kind(opening - 1) != "line"
