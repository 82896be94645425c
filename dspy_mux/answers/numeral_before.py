"""What stands before a numeral: its sign, and words that deny it, bound it or make it a name."""

from __future__ import annotations

from .number_phrases import Magnitudes
from .number_words import (
    BOUNDS,
    BOUNDS_OF_MANY,
    COPULAS,
    INSTEAD,
    LABELS,
    MATHEMATICAL,
    MONTHS,
    NEGATIONS,
    UNIT,
)
from .numeral_grammar import Magnitude

_QUOTES = frozenset("\"'$|")
_OPEN, _CLOSED = frozenset("([{"), frozenset(")]}")
_BEFORE = _QUOTES | frozenset("~≈=:;,.([{…!?|>") | {"?"}


class Before(Magnitudes):
    """Reads what stands before a numeral."""

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
