r"""Marks of a final answer: tags, then the last `\boxed{…}`, then `####`, then "the answer is …".

Without a mark, the answer's kind decides what to look for.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from .json_text import answer_of_json, lone_json
from .plain_text import as_text, unwrap
from .statements import FORMULA as FORMULA, statements
from .templates import is_template

NULL = "null"  # the answer of `{"answer": null}`
_MAX_MARKS = 16  # marks of one sort that are tried, last first
_TAG = re.compile(
    r"([<\[])(/?)(?:ans|answer|final[_ -]?answer)(?:\s[^<>\[\]\n]{0,60})?[>\]]", re.IGNORECASE
)
_BOXES = ("\\boxed", "\\fbox", "\\framebox")
#: A reply that is one block, named for what it holds.
_BLOCK = re.compile(
    r"\s*<(output|response|result|solution)>(.*)</\1>\s*", re.DOTALL | re.IGNORECASE
)
_UNFINISHED = re.compile(
    r"\\(?:boxed|fbox|framebox)\s*\{?[\s$]*$|<(?:ans|answer|final[_ -]?answer)>\s*$", re.I
)
_BRACES = re.compile(r"\\(?:boxed|fbox|framebox)\s*\{|\\.|[{}]", re.DOTALL)
_BARE_BOX = re.compile(r"\\(?:boxed|fbox|framebox)\s{0,3}(-?\d[\d.,/]*|[A-Za-z](?![A-Za-z]))")
#: In mathematics "- x" is a sign, not an item of a list.
SPACED_SIGN = re.compile(r"^([-+])\s+(?![A-Za-z]{3}|[$*])")
_HASHES = re.compile(r"####[ \t]*(\S[^\n]*)")
_NEGATION = re.compile(r"(?:not|n't|never|neither|wrong|incorrect)\b", re.IGNORECASE)
#: "The answer is rounded" says something of an answer that stands elsewhere.
_COMMENT = re.compile(
    r"(?:(?:found|given|obtained|derived|calculated|computed|determined|reached|provided|shown"
    r"|stated|based|explained|supported|confirmed)\b(?=\s+(?:by|in|on|from|as|with|above|below)\b)"
    r"|(?:(?:rounded|clear|obvious|straightforward|simple|right|correct|verified|unique"
    r"|equivalent|identical|different|accurate|reasonable|the same"
    r"|as follows|below|above|here)\b[\s.:!]*$))",
    re.IGNORECASE,
)
_INSTEAD = re.compile(
    r"not\s[^.;\n]{1,80}?[,;]?\s(?:but(?:\srather)?|(?:it|they)\s(?:is|are)|it['’]s)\s(\S.*)",
    re.IGNORECASE,
)
_LATEX_TEXT = re.compile(
    r"\\(?:text|textbf|textit|textrm|texttt|mathrm|mathbf|mathsf|mathit|mbox|bf|rm)\s*"
    r"\{((?:[^{}\\]|\\[^A-Za-z])*)\}"
)


class Mark(NamedTuple):
    """An answer that is marked as one.

    Attributes:
        answer: without markdown, `$` and the final stop; empty for a blank or a template's echo.
        start: where its content starts in the text.
        end: where its content ends.
        sort: 0 for a tag or JSON, 1 boxed, 2 after `####`, 3 stated.
    """

    answer: str
    start: int
    end: int
    sort: int

    @property
    def denies(self) -> bool:
        """Whether it says what the answer is not: "not 5", "wrong"."""
        return self.sort == 3 and bool(_NEGATION.match(self.answer))

    @property
    def comments(self) -> bool:
        """Whether it tells about the answer and gives none: "rounded", "based on the text"."""
        return self.sort == 3 and bool(_COMMENT.match(self.answer))


def marked_answer(text: str) -> str | None:
    """Return the marked answer without markdown, `$` and the final stop; None without a mark.

    >>> marked_answer("First 6 * 3. The answer is **18**.")
    '18'
    """
    return next(marked_answers(text), None)


def marked_answers(text: str) -> Iterator[str]:
    """Yield every marked answer, best first; each sort last first."""
    for mark in marks(text):
        if mark.answer and not mark.denies and not mark.comments:
            yield mark.answer
        elif mark.denies and (other := _INSTEAD.match(mark.answer)):
            yield other[1]


def marks(text: str) -> Iterator[Mark]:
    """Yield every mark, best first, with the blank ones and those that deny an answer."""
    yield from _tagged(text)
    for start, end, content in reversed(_boxes(text)[-_MAX_MARKS:]):
        inner = boxed(content) if content.startswith(_BOXES) else None
        answer = SPACED_SIGN.sub(r"\1", inner[-1] if inner else content)
        yield Mark(_clean(answer), start, end, 1)
    if "####" in text:
        for match in list(_HASHES.finditer(text))[: -_MAX_MARKS - 1 : -1]:
            yield Mark(_clean(match.group(1)), match.start(1), match.end(1), 2)
    for answer, start, end in statements(text):
        yield Mark(_clean(answer), start, end, 3)


def left_blank(text: str) -> bool:
    r"""Return whether a text ends with a mark that nothing was put in: no answer at all.

    >>> left_blank(r"It is not \boxed{5}. The answer is \boxed{}"), left_blank("Answer: {answer}")
    (True, True)
    """
    if _UNFINISHED.search(text[-60:]):
        return True
    found = list(marks(text))
    blank = any(
        not mark.answer and not re.search(r"\w", text[mark.end :])
        for mark in found
        if mark.sort < 2 or not any(other.answer for other in found)
    )
    return blank


def boxed(text: str) -> list[str]:
    r"""Return the contents of every complete `\boxed{…}` or `\fbox{…}`, in order of their ends.

    A bare `\boxed 5` counts too.
    """
    return [content for _, _, content in _boxes(text)]


def unlatex_text(answer: str) -> str:
    r"""Return text without LaTeX's commands for it: `\text{Paris}` → `Paris`.

    >>> unlatex_text(r"\text{Paris}")
    'Paris'
    """
    for _ in range(3):
        before, answer = answer, _LATEX_TEXT.sub(r"\1", answer)
        if answer == before:
            break
    return answer


def _boxes(text: str) -> list[tuple[int, int, str]]:
    if not any(box in text for box in _BOXES):
        return []
    found = [(match.start(1), match.end(), match[1]) for match in _BARE_BOX.finditer(text)]
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
    found += [(start, end, text[start:end].strip()) for start, end in spans[-_MAX_MARKS:]]
    return sorted(found, key=lambda box: box[1])


def _tagged(text: str) -> list[Mark]:
    """Return what stands between the tags of an answer, or under its name in JSON; last first."""
    found: list[Mark] = []
    opening: re.Match[str] | None = None
    for tag in _TAG.finditer(text):
        if not tag[2]:
            opening = tag
        elif opening is not None and opening[1] == tag[1]:
            inner = text[opening.end() : tag.start()]
            content = (boxed(inner)[-1:] or [inner])[0]
            found.append(Mark(_clean(content), opening.end(), tag.end(), 0))
            opening = None
    if not found and (block := _BLOCK.fullmatch(text)):
        found.append(Mark(_clean(block[2]), block.start(2), block.end(), 0))
    rest = text[opening.end() :].strip() if opening is not None else ""
    if opening is not None and rest and "\n" not in rest:
        found.append(Mark(_clean(rest), opening.end(), len(text), 0))
    for lone in [] if found else lone_json(text):
        for value in answer_of_json(lone.value):
            if not isinstance(value, dict):
                answer = NULL if value is None else _clean(as_text(value))
                found.append(Mark(answer, lone.start, lone.end, 0))
    return found[::-1]


def _clean(found: str) -> str:
    found = found.strip()
    if found.endswith("**") and found.count("**") == 1:
        found = found[:-2]  # the end of "**Answer: Paris**"
    if found.endswith(("\\]", "\\)")) and f"\\{'[' if found[-1] == ']' else '('}" not in found:
        found = found[:-2]  # the end of "\\[Answer: 5\\]"
    answer = unwrap(found)
    return "" if is_template(answer) or is_template(found) else answer
