"""Choices as a kind of answer: one of given options, by label or by text."""

from __future__ import annotations

import enum
import re
from collections.abc import Hashable, Sequence
from fractions import Fraction
from typing import Any

from .decision import CORRECTION, SILENT, UNDECIDED, Reading, decide
from .equivalence import ReplyKind
from .final_mark import marked_reading
from .json_text import lone_json
from .marks import unlatex_text
from .numerals import exact_value
from .option_names import OptionNames
from .plain_text import TAIL, as_text, normalise, unfence, unwrap

_SHORT = 300  # characters; a longer text decides by its first or last line
_LINE = 200
_PARTS = re.compile(r"\n+|(?<=[.!?])\s+")
_TITLE = re.compile(
    r"(?!.*\b(?:not|wrong|incorrect|except|eliminated|false|unless|if|least|opposite)\b)"
    r"[\w *_'’/-]{2,40}[:：]\s*(?=\S)",
    re.IGNORECASE,
)
_TIES = frozenset({"tie", "both", "neither", "equal", "draw", "none", "same"})
#: Labels of lists in other scripts.
_LETTERS = dict(zip("أابجدঅবডঢ", "AABCDABCD", strict=True))
_LINE_LABEL = re.compile(r"[\s>*_#-]{0,6}[(\[]?(\d{1,3}|[A-Za-z])[).:\]]{1,2}(?=[\s*_]|$)")
_DOLLARS = re.compile(r"^\s*\$\s*\(?([A-Z])\)?\s*\$")
_VERDICT = re.compile(r"\[\[([^\[\]\n]{1,60})\]\]")
_SCALE = re.compile(
    r"(-?\d+(?:\.\d+)?)\s*(?:/|out\s+of|of|von|sur|de|из)\s*(\d+)\b[\s.!)*_]*(?:stars?|points?)?\W*"
)


class ChoiceKind(ReplyKind):
    """One of given options, by label or by text: `(B)`, `B.`, `Option B`, `B. Paris`, `paris`.

    A text that decides for none of them, or for more than one, is an abstention.

    Args:
        options: values of a Literal, or the members of an Enum, which go by value and by name.

    >>> ChoiceKind(["(A) Rome", "(B) Paris"]).extract("I choose option B.")
    '(B) Paris'
    >>> ChoiceKind(["(A) Rome", "(B) Paris"]).extract("It is A or B.") is None
    True
    """

    name = "choice"

    def __init__(self, options: Sequence[Any]):
        self.options = tuple(options)
        self._names = OptionNames(self.options)
        #: How many options are not "tie" or the like.
        self._rivals = sum(str(option).strip().casefold() not in _TIES for option in self.options)
        self._values: dict[Fraction, list[int]] = {}
        for number, option in enumerate(self.options):
            if (value := _number(option)) is not None:
                self._values.setdefault(value, []).append(number)

    def __repr__(self) -> str:
        return f"ChoiceKind({list(self.options)!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ChoiceKind) and self.options == other.options

    def __hash__(self) -> int:
        return hash(self.options)

    @property
    def reads_fields(self) -> bool:
        return True

    def _find(self, text: str) -> Any | None:
        text = text[-TAIL:]
        reading = self._verdict(text)
        if reading is SILENT:
            reading = marked_reading(text, self._phrase, self._unmarked, self._whole)
        if reading is SILENT:
            reading = self._unmarked(text)
        return None if reading.option is None else self.options[reading.option]

    def key(self, value: Any) -> Hashable | None:
        if value is None:
            return None
        for number, option in enumerate(self.options):
            if type(option) is type(value) and option == value:
                return str(number)
        if isinstance(value, enum.Enum) or len(text := as_text(value)) > TAIL:
            return None
        option = self._phrase(text).option
        return None if option is None else str(option)

    # ----------------------------------------------------------------------------------------------

    def _verdict(self, text: str) -> Reading:
        """Return what the last `[[…]]` names, as judges write their verdicts."""
        verdicts = [match for match in _VERDICT.finditer(text) if self._whole(match[1]).mentions]
        if not verdicts:
            return SILENT
        last = verdicts[-1]
        if len(verdicts) > 1 and verdicts[-2][1] != last[1]:
            between = text[verdicts[-2].end() : last.start()]
            if re.fullmatch(r"\W{0,5}(?:or|and|/|,)?\W{0,5}", between, re.IGNORECASE):
                return UNDECIDED
        is_format = text[last.end() : last.end() + 1] in ('"', "'", "`", "”")
        return UNDECIDED if is_format else self._whole(last[1])

    def _unmarked(self, text: str) -> Reading:
        """Return what a text without a mark decides: all of it, its first line or its last."""
        plain = _plain(unfence(text.strip())).strip()
        if any(isinstance(span.value, dict) for span in lone_json(plain)):
            return UNDECIDED  # an object without an answer, such as the options' probabilities
        lines = [line.strip() for line in plain.split("\n") if line.strip()]
        corrects = len(plain) <= _SHORT and CORRECTION.search(plain)
        if len(lines) < 2 or corrects:
            return self._phrase(plain, decisive=len(plain) > _SHORT)
        labels = {leading for line in lines if (leading := self._leading(line)) is not None}
        ends = {self._line(line) if len(labels) < 2 else self._whole(line).option
                for line in (lines[0], lines[-1])}  # fmt: skip
        ends.discard(None)
        if ends:
            return Reading(ends.pop(), True) if len(ends) == 1 else UNDECIDED
        if len(plain) <= _SHORT and len(labels) < 2:
            return self._phrase(plain)
        return self._last_words(lines[-1])

    def _line(self, line: str) -> int | None:
        """Return the option that a line is, or whose label it starts with."""
        whole = self._whole(line) if len(line) <= _LINE else SILENT
        return self._leading(line) if whole.option is None else whole.option

    def _leading(self, line: str) -> int | None:
        match = _LINE_LABEL.match(line)
        return self._names.label(match[1]) if match else None

    def _last_words(self, line: str) -> Reading:
        """Return what the last line of a long text decides, if it is a whole sentence that does."""
        sentences = [part for part in _PARTS.split(line[-_SHORT:]) if part.strip()]
        if not sentences or not re.search(r"[.!:。*_)\]\"'`]\s*$", line):
            return SILENT
        return self._phrase(sentences[-1], decisive=True)

    # ----------------------------------------------------------------------------------------------

    def _phrase(self, answer: str, *, decisive: bool = False) -> Reading:
        """Return what an answer in words decides."""
        answer = _plain(answer)
        if len(answer) > TAIL:
            return UNDECIDED
        whole = self._whole(answer)
        if whole.mentions:
            return whole
        mentions = self._names.mentions(answer)
        reading = decide(answer, mentions, of=self._rivals, decisive=decisive)
        return UNDECIDED if reading.option == -1 else reading

    def _whole(self, text: str) -> Reading:
        """Return the option that a text is and nothing else: its text, its label, or its value."""
        text = unwrap(text)
        parts = [text, _bare(text)]
        if (title := _TITLE.match(text)) and not self._names.mentions(title.group()):
            parts += [text[title.end() :], _bare(text[title.end() :])]
        for part in parts:
            named = self._names.named(part)
            if named:
                return Reading(next(iter(named)), True) if len(named) == 1 else UNDECIDED
            if (label := self._names.label(_LETTERS.get(part, part))) is not None:
                return Reading(label, True)
        return self._valued(parts[-1])

    def _valued(self, text: str) -> Reading:
        """Return the option that is the number a text is: "4.0" or "4/5" for 4."""
        if not self._values or len(text) > _LINE or "%" in text:
            return SILENT
        value = exact_value(text)
        if scale := _SCALE.fullmatch(text):
            value = (
                exact_value(scale[1])
                if Fraction(scale[2]) == max(self._values)
                else Fraction(-1, 7)
            )
        if value is None:
            return SILENT
        numbers = self._values.get(value, [])
        return Reading(numbers[0], True) if len(numbers) == 1 else UNDECIDED


def _number(option: Any) -> Fraction | None:
    value = option.value if isinstance(option, enum.Enum) else option
    return None if isinstance(value, bool) else exact_value(value)


def _plain(text: str) -> str:
    text = unlatex_text(normalise(text)).replace("\\", " ")
    return _DOLLARS.sub(r"\1", text, count=1)


def _bare(text: str) -> str:
    """Return a text without the brackets and braces around it."""
    return text.lstrip(" \t\n([{<*_`\"'$").rstrip(" \t\n)]}>*_`\"'.$:;,!")
