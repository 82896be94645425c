"""Find where a reply's answer stands in it: the place that the extraction took it from.

An answer may stand in a text several times, in the reasoning and at its end. The place it was taken
from is the one where another word, or another number, would have made another answer. So a text is
read again with that place changed. Where no place does, there is none, and nothing is guessed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

from ..answers.equivalence import NO_ANSWER, AnswerKind
from ..answers.marks import marked_answer
from ..answers.reply import CutOffText
from ..answers.sections import section, with_plain_markers

#: Reads a text's answer; `NO_ANSWER` where it has none.
Read = Callable[[str], Any]
#: Where an answer stands in a text: its first character, and the one after its last.
Span = tuple[int, int]

#: Places that are tried, last first.
_MOST_PLACES = 6
#: Words and numbers that are looked at, last first.
_MOST_WORDS = 64
_NUMBER = re.compile(r"[-+]?(?:\d[\d,]*(?:\.\d+)?|\.\d+)(?:/\d+|[eE][-+]?\d+)?%?")
_WORD = re.compile(r"\w+")
#: Scripts from here on put no spaces between words.
_UNSPACED = "\u2e80"
_TRUTHS = {"true": "false", "false": "true"}
_SHORT = 200  # characters of a text that is an answer as a whole


def find_answer(
    text: str, fields: Sequence[str], value: Any, kind: AnswerKind, read: Read
) -> Span | None:
    """Return where the answer that was read from a text stands in it; None where that is unsure.

    Args:
        fields: the names of the output fields, that of the answer first.
        value: the answer.
        kind: how answers are compared.
        read: reads a text in the way that found `value`.

    >>> from dspy_mux import answer_kind
    >>> kind, text = answer_kind(int), "Of 4 apples 3 are red, 4 are sweet. The answer is 4."
    >>> find_answer(text, ["answer"], 4, kind, kind.extract)
    (50, 51)
    """
    key = kind.key(value)
    if key is None:
        return None
    tags = [match.span() for match in _tags(fields).finditer(text)]
    for places in (
        _verbatim(text, value),
        _equal_words(text, kind, key) if kind.reads_fields else (),
        _whole_answers(text, fields[0]),
    ):
        # Without its tag, a reply of `XMLAdapter` is out of format, whatever it answers.
        stated = (place for place in places if not any(map(partial(_is_within, place), tags)))
        for tried, (start, end) in enumerate(stated):
            if tried == _MOST_PLACES:
                break
            if _decides(text, start, end, kind, key, read):
                return start, end
    return None


def _tags(fields: Sequence[str]) -> re.Pattern[str]:
    return re.compile(rf"</?(?:{'|'.join(map(re.escape, fields))})\b[^<>]*>")


def _is_within(place: Span, other: Span) -> bool:
    return other[0] <= place[0] and place[1] <= other[1]


def _decides(text: str, start: int, end: int, kind: AnswerKind, key: Any, read: Read) -> bool:
    """Return whether another answer at this place would be the text's answer."""
    changed = text[:start] + _other(text[start:end]) + text[end:]
    other = read(CutOffText(changed) if isinstance(text, CutOffText) else changed)
    return other is NO_ANSWER or kind.key(other) != key


def _other(text: str) -> str:
    """Return a text of the same form that says something else."""
    if text in _TRUTHS:
        return _TRUTHS[text]
    return "".join(_other_character(character) for character in text)


def _other_character(character: str) -> str:
    if character.isdecimal() and character.isascii():
        return "5234567891"[int(character)]  # no number begins with a zero that did not
    if character.isascii():
        if not character.isalpha():
            return character
        return chr(ord(character) - 25 if character in "zZ" else ord(character) + 1)
    return "ж" if character.isalpha() and character != "ж" else character


def _verbatim(text: str, value: Any) -> Iterator[Span]:
    """Yield where a value stands as it is, or as JSON; last first."""
    forms = [value] if isinstance(value, str) else []
    if not forms:
        forms = [str(value)]
        with suppress(TypeError, ValueError):
            forms.append(json.dumps(value, ensure_ascii=False))
    for form in dict.fromkeys(forms):
        end = len(text)
        while form.strip() and (start := text.rfind(form, 0, end)) >= 0:
            if _is_apart(text, start, start + len(form)):
                yield start, start + len(form)
            end = start + len(form) - 1


def _is_apart(text: str, start: int, end: int) -> bool:
    """Return whether a place is no part of a longer word or number."""
    before, first = text[max(0, start - 2) : start], text[start]
    last, after = text[end - 1], text[end : end + 2]
    if _joins(before[-1:], first) or _joins(last, after[:1]):
        return False
    begins = first.isdecimal() and re.fullmatch(r"\d[.,]", before)
    return not (begins or (last.isdecimal() and re.fullmatch(r"[.,]\d", after)))


def _joins(one: str, other: str) -> bool:
    """Return whether two characters in a row are of one word, in a script with spaces."""
    return one.isalnum() and other.isalnum() and max(one, other) < _UNSPACED


def _equal_words(text: str, kind: AnswerKind, key: Any) -> Iterator[Span]:
    """Yield the numbers and the words of a text that are the answer by its kind; last first."""
    for pattern in (_NUMBER, _WORD):
        for match in list(pattern.finditer(text))[: -_MOST_WORDS - 1 : -1]:
            if kind.key(match.group()) == key:
                yield match.span()


def _whole_answers(text: str, field: str) -> Iterator[Span]:
    """Yield what stands in the answer's field, or after the last mark, or a short text itself."""
    stands = section(with_plain_markers(text), field)
    whole = text.strip() if len(text) <= _SHORT and _is_plain(text) else None
    for shown in (stands, marked_answer(text), whole):
        if shown and text.count(shown) == 1:
            yield text.index(shown), text.index(shown) + len(shown)


def _is_plain(text: str) -> bool:
    """Return whether a text has no fields, of which it would be more than the answer."""
    return "[[ ##" not in text and not text.lstrip().startswith(("{", "<", "```"))
