"""Which numeral of a text is its answer."""

from __future__ import annotations

import re
from fractions import Fraction

from .number_words import COPULAS, HEDGES, MODIFIERS
from .numeral_scan import Numeral, NumeralScanner
from .plain_text import TAIL, unwrap

_AROUND = frozenset("$\"'{}")
_LEADING = frozenset("$~≈:*(\"'-=")
_BRIEF = 80  # characters: a longer text without a mark is prose, which its answer ends
_END = 1_000
_REFUSAL = re.compile(
    r"(?:don't|do not|doesn't|does not) (?:have|contain|provide|include)"
    r" (?:that|this|the|any|enough)\b"
    r"|(?:cannot|can't) be (?:determined|known|computed|calculated)"
    r"|(?:not enough|insufficient) (?:information|data)"
    r"|(?:can't|cannot|unable to) (?:tell|determine)|not provided|no answer",
    re.IGNORECASE,
)


def whole_numeral(text: str) -> Numeral | None:
    """Return the numeral that a text is, with its currency but without units; or None."""
    scanner = NumeralScanner(text)
    found = scanner.numerals()
    if len(found) != 1:
        return None
    numeral = found[0]
    is_whole = all(scanner.text(at) in _AROUND for at in range(numeral.start)) and all(
        scanner.text(at) in _AROUND or scanner.kind(at) == "currency"
        for at in range(numeral.end, scanner.count)
    )
    return numeral if is_whole and numeral.role in ("value", "aside") else None


def stated_numeral(answer: str, *, percent: bool = False) -> Numeral | None:
    """Return the numeral that a marked answer means; None where it names none.

    It is the first where the answer begins with it, "about 18 dollars for 3 days", else the last;
    of an equation that of its right side. Its value is None where it is not understood.
    """
    scanner = NumeralScanner(answer)
    found = [each for each in scanner.numerals() if each.role != "never"]
    equals = max((at for at in range(scanner.count) if scanner.text(at) in ("=", "≈")), default=-1)
    after = [each for each in found if each.end > equals] or found
    answers = [each for each in after if each.role != "aside"] or after
    answers = [each for each in answers if each.role != "compound"] or answers
    outside = [each for each in answers if not each.in_brackets] or answers
    if percent:
        outside = [each for each in outside if each.share is not None] or outside
    if not outside:
        return None
    first = outside[0]
    leads = first.start <= equals or all(
        scanner.lower(at) in HEDGES or scanner.text(at) in _LEADING
        for at in range(equals + 1, first.start)
    )
    said = [each for each in outside if not each.magnitude.word or _is_said(scanner, each)]
    if len(said) > 1 and scanner.lower(said[-1].start - 1) in MODIFIERS:
        said.pop()  # "she earns $20 in 2 days"
    chosen = first if leads else said[-1] if said else None
    return None if chosen is None or _is_pronoun(scanner, chosen) else chosen


def last_numeral(text: str, *, percent: bool = False) -> Numeral | None:
    """Return the numeral that a text without a mark ends on, or None."""
    if len(text) <= _BRIEF and ".." not in text:
        whole = whole_numeral(unwrap(text))
        if whole is not None:
            return whole
    reader = _Prose(_end_of(text))
    found = reader.last()
    if found is None and not reader.found:
        reader = _Prose(text)
        found = reader.last() or reader.aside()
    if found is None or not percent or found.share is not None:
        return found if not percent or found is None else reader.one_share(found)
    return reader.last_share(found) or found


def _end_of(text: str) -> str:
    """Return the last lines of a text: a numeral in them spares the others."""
    return text if len(text) <= _END else text[text.rfind("\n", 0, len(text) - _END // 2) + 1 :]


class _Prose:
    """Free text with the numerals that may be its answer."""

    def __init__(self, text: str) -> None:
        self.scanner = scanner = NumeralScanner(text[-TAIL:])
        sentence = 0
        self.sentences: list[int] = []
        for at in range(scanner.count):
            self.sentences.append(sentence)
            if scanner.kind(at) == "line" or (scanner.text(at) in ".!?。" and scanner.gap(at + 1)):
                sentence += 1
        self.found = [
            each
            for each in scanner.numerals()
            if each.role in ("value", "compound") and not _is_pronoun(scanner, each)
        ]

    def last(self) -> Numeral | None:
        digits = [each for each in self.found if not each.magnitude.word]
        last = self._last_outside(digits)
        words = [each for each in self.found if each.magnitude.word and self._is_count(each)]
        word = self._last_outside(words)
        if last is None or (word is not None and self._says_it_is(word, last)):
            last = word
        if last is None or self._is_refused(last):
            return None
        if last.role == "compound" and last is not self.found[0]:
            return None
        if self._is_item(last) and sum(map(self._is_item, self.found)) > 1:
            return None
        return self.found[0] if self._is_modified(last) else last

    def _is_item(self, numeral: Numeral) -> bool:
        """Return whether a numeral is all of an item of a counted list: 1. 5705"""
        scanner, at = self.scanner, numeral.start - 2
        is_counted = scanner.text(at + 1) in (".", ")") and scanner.kind(at) == "number"
        ends = scanner.kind(at - 1) in ("", "line") and scanner.kind(numeral.end) in ("", "line")
        return is_counted and ends

    def _is_modified(self, last: Numeral) -> bool:
        """Return whether a brief text leads with its number: 18 dollars for 3 days."""
        first, scanner = self.found[0], self.scanner
        is_brief = len(scanner.plain) <= _BRIEF and self.sentences[last.end - 1] == 0
        leads = all(scanner.lower(at) in HEDGES for at in range(first.start))
        return is_brief and leads and scanner.lower(last.start - 1) in MODIFIERS

    def aside(self) -> Numeral | None:
        """Return the one number of a brief text that would be no answer beside others: page 5."""
        found = [each for each in self.scanner.numerals() if each.role == "aside"]
        return found[0] if len(found) == 1 and len(self.scanner.plain) <= _BRIEF else None

    def one_share(self, last: Numeral) -> Numeral | None:
        """Return the last share, unless its sentence has another: 17% in 2018 and 15% in 2019."""
        others = [
            each
            for each in self.found
            if each.share is not None and self._sentence(each) == self._sentence(last)
        ]
        values = {each.value for each in others if not each.in_brackets}
        return last if len(values) == 1 or _is_said(self.scanner, last) else None

    def last_share(self, last: Numeral) -> Numeral | None:
        """Return the share in the sentence of the last numeral: "by 27% to 300"."""
        shares = [
            each
            for each in self.found
            if each.share is not None and self._sentence(each) == self._sentence(last)
        ]
        return self.one_share(shares[-1]) if shares else None

    def _last_outside(self, found: list[Numeral]) -> Numeral | None:
        """Return the last numeral that no parentheses hold after another of its sentence."""
        outside: set[int] = {self._sentence(each) for each in found if not each.in_brackets}
        for each in reversed(found):
            if not (each.in_brackets and self._sentence(each) in outside):
                return each
        return None

    def _is_count(self, word: Numeral) -> bool:
        """Return whether a number in words may be an answer, not a turn such as "half as many"."""
        is_half = word.value == Fraction(1, 2) and word.end - word.start == 1
        after = self.scanner.lower(word.end)
        if is_half or after in ("times", "as", "-") or word.role != "value":
            return False
        before = self.scanner.lower(word.start - 1)
        closes = after in (".", "!", "", "(") and before not in (
            "the",
            "these",
            "those",
            "all",
            "other",
        )
        return closes or word.end - word.start > 1 or _is_said(self.scanner, word)

    def _says_it_is(self, word: Numeral, last: Numeral) -> bool:
        """Return whether a number in words follows the digits as an answer of its own."""
        return self._sentence(word) > self._sentence(last) and _is_said(self.scanner, word)

    def _is_refused(self, last: Numeral) -> bool:
        start = last.start
        while start > 0 and self.scanner.kind(start - 1) != "line":
            start -= 1
        end = last.end
        while end < self.scanner.count and self.scanner.kind(end) != "line":
            end += 1
        tokens = self.scanner.tokens
        line = self.scanner.plain[tokens[start].start : tokens[end - 1].end]
        return bool(_REFUSAL.search(line))

    def _sentence(self, numeral: Numeral) -> int:
        return self.sentences[numeral.start]


def _is_said(scanner: NumeralScanner, numeral: Numeral) -> bool:
    """Return whether a numeral follows "is", "=" and the like."""
    before = scanner.lower(numeral.start - 1)
    return before in COPULAS or before in ("=", ":")


def _is_pronoun(scanner: NumeralScanner, numeral: Numeral) -> bool:
    """Return whether it is the "one" of "this one" and "one of them"."""
    if not numeral.magnitude.one or numeral.end - numeral.start > 1:
        return False
    after = scanner.text(numeral.end)
    is_alone = after in (".", "", "!", ",", "$") or scanner.kind(numeral.end) == "line"
    before = scanner.lower(numeral.start - 1)
    return not (is_alone and (before in COPULAS or before in ("", "=", ":")))
