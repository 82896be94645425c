"""What the best mark of a text decides, for kinds whose answer is one of a few options."""

from __future__ import annotations

import re
from collections.abc import Callable

from .decision import CORRECTION, SILENT, UNDECIDED, Reading
from .marks import Mark, left_blank, marks

_AFTER = 300  # characters after a mark that may take it back
_JOINED_BOXES = re.compile(
    r"[\s$}\\()\[\].*]{0,12}(?:,|and|or|/|&|\\text\{\s*(?:and|or)\s*\})?[\s$\\()\[\]*]{0,12}"
    r"(?:,?\s*(?:and|or)\s*)?[\s$\\()\[\]*]{0,12}(?:\\(?:boxed|fbox)\s*\{)"
)
_CORRECTS = re.compile(
    r"[\s.*_$)\]}\"'?]{0,12}\s(?:but\s)?(?:wait|actually|correction|scratch that"
    r"|on second thoughts?|oops|sorry|no,|hold on|hmm+|i mean|i meant"
    r"|(?:or )?(?:maybe|perhaps|possibly)|alternatively|my mistake|let me correct)(?!\w)",
    re.IGNORECASE,
)


#: "Hmm, but C also works", "possibly C"
_ADDS = re.compile(r"\b(?:also|too|as well|maybe|perhaps|possibly|alternatively)\b", re.IGNORECASE)


def marked_reading(
    text: str,
    phrase: Callable[[str], Reading],
    unmarked: Callable[[str], Reading],
    line: Callable[[str], Reading],
) -> Reading:
    """Return what the best mark says; SILENT where there is no mark.

    A mark that names no one option leaves the text undecided, whatever else it says.

    Args:
        text: free text.
        phrase: what an answer in words decides.
        unmarked: what a text without marks decides.
        line: the option that a line is. The last line is a mark, too, where it is one.
    """
    if left_blank(text):
        return UNDECIDED
    found = [mark for mark in _without_comments(list(marks(text)), phrase) if mark.answer]
    if not found:
        return SILENT
    best, *others = found
    reading = phrase(best.answer)
    if text[best.end - 1 : best.end] == "?" or _is_joined(text, found, phrase):
        return UNDECIDED
    if reading.option is None and best.denies:
        rest = unmarked(text[best.end :])
        return rest if rest.option is not None else UNDECIDED
    last = text.rstrip().rpartition("\n")
    if not reading.mentions and len(last[0]) >= best.end and (told := line(last[2])).mentions:
        return told
    for mark in others:
        if mark.sort > best.sort and mark.start > best.end:
            later = phrase(mark.answer)
            if later.mentions and not reading.mentions:
                return later
            if later.mentions and later.option != reading.option:
                corrects = CORRECTION.search(text, best.end, mark.start)
                return later if corrects and later.option is not None else UNDECIDED
    return _corrected(text, best, reading, phrase)


def _without_comments(found: list[Mark], phrase: Callable[[str], Reading]) -> list[Mark]:
    """Return the marks without "the answer is rounded" and the like.

    "The answer is correct" may answer whether a statement is, where no other mark does.
    """
    plain = [mark for mark in found if not mark.comments]
    if any(mark.answer for mark in plain):
        return plain
    return plain or [mark for mark in found if phrase(mark.answer).mentions]


def _is_joined(text: str, found: list[Mark], phrase: Callable[[str], Reading]) -> bool:
    """Return whether the best box or tag is one of several that stand in a row."""
    if len(found) < 2 or found[0].sort != found[1].sort or found[0].sort > 1:
        return False
    if phrase(found[0].answer).option == phrase(found[1].answer).option:
        return False
    between = text[found[1].end : found[0].start]
    return found[0].sort == 0 or bool(_JOINED_BOXES.fullmatch(between))


def _corrected(
    text: str, mark: Mark, reading: Reading, phrase: Callable[[str], Reading]
) -> Reading:
    """Return the reading, or another where the text after the mark takes it back."""
    after = text[mark.end : mark.end + _AFTER]
    match = _CORRECTS.match(after)
    if match is None:
        return reading if reading.option is not None else UNDECIDED
    rest = phrase(after[match.end() :])
    if reading.option not in (rest.option, None) and _ADDS.search(
        match.group() + after[match.end() :]
    ):
        return UNDECIDED
    return rest if rest.option is not None else UNDECIDED
