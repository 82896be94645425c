r"""Marks of a final answer: the last `\boxed{…}`, then `#### …`, then "the answer is …".

Without a mark, the answer's kind decides what to look for.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from .plain_text import FENCE, head, unwrap

_MAX_MARKS = 16  # marks of one sort that are tried, last first
_MAX_SENTENCE = 2_000
_BRACES = re.compile(r"\\(?:boxed|fbox)\s*\{|\\.|[{}]", re.DOTALL)
_BARE_BOX = re.compile(r"\\(?:boxed|fbox)\s{0,3}(-?\d[\d.,/]*|[A-Za-z](?![A-Za-z]))")
#: In mathematics "- x" is a sign, not an item of a list.
SPACED_SIGN = re.compile(r"^([-+])\s+(?![A-Za-z]{3}|[$*])")
_HASHES = re.compile(r"####[ \t]*(\S[^\n]*)")
_WORD = re.compile(r"\b(?:answers?|option|choice)\b", re.IGNORECASE)
_COPULA = re.compile(
    r"""[ \t]{0,2}(?:[*_]{1,3}[ \t]?)?                     # **Answer**: …
    (?:\([^()\n]{0,40}\)[ \t]?)?                          # answer (in dollars): …
    (?:(?:to|for|of|in|here|then|therefore|thus)\b[^.:=\n]{0,120}?[ ,])?   # the answer to the …
    (?:[:=：][ \t]*|->[ \t]*|→[ \t]*|
       (?:is|are|was|be|will\ be|would\ be|should\ be|must\ be|comes\ out\ to|equals)\b
       [ \t]*(?:that\b)?:?[ \t]*)
    (?:[*_]{1,3}(?=[\s:]))?:?[ \t]*""",
    re.VERBOSE | re.IGNORECASE,
)
_HEADING_END = re.compile(r"[ \t]{0,4}[*_:]{0,4}[ \t]{0,4}\n")
_HEADING = re.compile(r"[\s#*_]*(?:(?:the|my|final|correct|short)\s+){0,3}", re.I)
_SENTENCE_END = re.compile(r"(?<!\\)[.!?。！？](?=[\s*_\"')\]]|$)|\n")
_ABBREVIATION = re.compile(
    r"(?:^|[\s(])(?:St|Dr|Mr|Mrs|Ms|Mt|Ft|Jr|Sr|No|vs|ca|approx|(?-i:[A-Z])(?:\.[A-Z])*)$"
)
#: A price does not open a formula: in "from $5 to $9" a digit follows the second sign.
FORMULA = re.compile(
    r"(?<!\\)\$\$(?:[^$\\]|\\.){1,2000}\$\$|(?<!\\)\$(?:[^$\\\n]|\\.){1,2000}\$(?!\d)"
    r"|\\\((?:[^\\]|\\[^()]){1,2000}\\\)|\\\[(?:[^\\]|\\[^\[\]]){1,2000}\\\]",
    re.DOTALL,
)
_NEGATION = re.compile(r"(?:not|n't|never|neither|wrong|incorrect)\b", re.IGNORECASE)
_BLANK = re.compile(r"[\s*_]*")


def marked_answer(text: str) -> str | None:
    """Return the marked answer without markdown, `$` and the final stop; None without a mark.

    >>> marked_answer("First 6 * 3. The answer is **18**.")
    '18'
    """
    return next(marked_answers(text), None)


def marked_answers(text: str) -> Iterator[str]:
    """Yield every marked answer, best first: boxed, then `####`, then stated; each last first."""
    for content in reversed(boxed(text)[-_MAX_MARKS:]):
        inner = boxed(content) if content.startswith(("\\boxed", "\\fbox")) else None
        yield from _clean(SPACED_SIGN.sub(r"\1", inner[-1] if inner else content))
    if "####" in text:
        for match in list(_HASHES.finditer(text))[: -_MAX_MARKS - 1 : -1]:
            yield from _clean(match.group(1))
    for sentence in _stated(text):
        yield from _clean(sentence)


def boxed(text: str) -> list[str]:
    r"""Return the contents of every complete `\boxed{…}` or `\fbox{…}`, in order of their ends.

    A bare `\boxed 5` counts too.
    """
    if "\\boxed" not in text and "\\fbox" not in text:
        return []
    found: list[tuple[int, str]] = [
        (match.end(), match.group(1)) for match in _BARE_BOX.finditer(text)
    ]
    opened: list[int] = []  # where the content of each open brace starts, negative for plain braces
    spans: list[tuple[int, int]] = []
    for match in _BRACES.finditer(text):
        token = match.group()
        if token == "}":
            start = opened.pop() if opened else -1
            if start >= 0:
                spans.append((start, match.start()))
        elif token == "{":
            opened.append(-1)
        elif len(token) > 2:
            opened.append(match.end())
    found += [(end, text[start:end]) for start, end in spans[-_MAX_MARKS:]]
    return [content.strip() for _, content in sorted(found)]


def _stated(text: str) -> Iterator[str]:
    """Yield what follows "answer:" or "the answer is", last first."""
    for match in list(_WORD.finditer(text))[: -_MAX_MARKS - 1 : -1]:
        start = _statement_start(text, match)
        if start is None:
            continue
        ahead = _BLANK.match(text, start, start + 200)
        start = ahead.end() if ahead and "\n" in ahead.group() else start
        sentence = _sentence(text, start)
        if not _NEGATION.match(sentence):
            yield sentence


def _statement_start(text: str, word: re.Match[str]) -> int | None:
    """Return where the statement after the word "answer" starts; None where it states nothing."""
    copula = _COPULA.match(text, word.end())
    needs_is = word.group().lower() in ("option", "choice")
    if copula and not (needs_is and copula.group().strip(" \t*_") != "is"):
        return copula.end()
    heading_end = _HEADING_END.match(text, word.end())
    line_start = text.rfind("\n", 0, word.start()) + 1
    if heading_end and _HEADING.fullmatch(text[line_start : word.start()]):
        return heading_end.end()  # a heading on its own line: the answer is on the next one
    return None


def _sentence(text: str, start: int) -> str:
    """Return the rest of the sentence at `start`, up to a full stop or the end of the line.

    A stop inside 3.5 or a formula, or after "St", does not end it.
    """
    text = head(text[start : start + _MAX_SENTENCE + 1], _MAX_SENTENCE)
    if fence := FENCE.match(text):
        return fence.group(1)
    formula = FORMULA.match(text)
    for match in _SENTENCE_END.finditer(text, formula.end() if formula else 0):
        before = text[: match.start()]
        if match.group() == "." and (abbreviation := _ABBREVIATION.search(before)):
            # A lone capital ends "The answer is B. Because"; in "J. K. Rowling" it does not.
            initials = re.match(r"\.\s+[A-Z]\.", text[match.start() :])
            lone = len(before.strip(" *_(")) == 1 and not initials
            if not lone and abbreviation.group() and match.end() < len(text.rstrip(" *_\n")):
                continue
        return before
    return text


def _clean(found: str) -> Iterator[str]:
    found = found.rstrip()
    if found.endswith("**") and found.count("**") == 1:
        found = found[:-2]  # the end of "**Answer: Paris**"
    if answer := unwrap(found):
        yield answer
