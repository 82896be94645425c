"""Several numerals that are one thing: 5 to 7, 2024-03-15, 3 × 4, 5 hours and 30 minutes."""

from __future__ import annotations

from fractions import Fraction

from .number_words import (
    CLAUSE,
    COPULAS,
    DATE_SIGNS,
    DOUBTS,
    STEPPED,
    UNIT,
    YEAR_SIGNS,
    words,
)
from .numeral_after import After

_OPERATORS = frozenset("+-×*·⋅∙÷/±&;,:、~")
_JOINTS = words(
    "x X by times to and or plus minus through thru till until vs versus und oder bis et ou y o "
    "и или 和 或 到 至 や"
)
_BETWEEN = words(
    "about around only even maybe perhaps possibly another approximately roughly rather "
    "probably either"
)
_QUOTES = frozenset("\"'$|")


#: The first token, the end and the value of one of several numerals.
Part = tuple[int, int, Fraction | None]


class Chains(After):
    """Reads the numerals that another is one of."""

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
