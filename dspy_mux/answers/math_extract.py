r"""The mathematics that a free text answers with: the formula of its marked answer, else the one it ends on.

Models end a solution in many ways: ``The answer is $5$, since …``, ``**5**``, a display ``\[ … \]`` on lines of its own,
``the roots are $3$ and $5$``. Scanners only, linear in the text or within its last ``TAIL`` characters, as in ``extraction.py``.
"""

from __future__ import annotations

import re

from .extract import FORMULA, SPACED_SIGN, TAIL, marked_answer, numerals, unfence, unwrap

#: Words that are mathematics in plain writing: no prose, and no units behind a number.
MATH_WORDS = "and|or|pi|theta|sin|cos|tan|sec|csc|cot|log|ln|exp|sqrt|mod|inf|infty|infinity|over|choose|times|plus|minus"
_LONE = 200  # characters; a longer text is an expression only where it has no words at all
_MAX_LONE = 1_000
_WORD = re.compile(rf"(?<![\\{{A-Za-z])(?!(?:{MATH_WORDS})\b)[A-Za-z]{{2,}}(?![A-Za-z}}])")
_BOLD = re.compile(r"\*\*([^*\n]{1,200})\*\*(?P<end>[.,!]?[ \t]*(?:\n|$))?")
_COPULA = re.compile(
    r"\b(?:is|are|be|equals?|get|gives|obtain|have|has)\b:?\s+|[=≈]\s*", re.IGNORECASE
)
_JOINT = re.compile(r"\s*(?:,(?:\s*(?:and|or)\b)?|(?:and|or)\b)\s*")
_CLAUSE = re.compile(
    r"\s{1,9}\((?!(?:in\s)?base\b)(?=[A-Za-z]{2,}\s)|,?\s{1,9}or\s(?:about|approximately|equivalently|simply)\b"
    r"|[.,;]?\s{1,9}\(?(?:since|because|as|which|who|whose|where|when|while|so|thus|hence|but|for|if|after|given|assuming|we|it)\b",
    re.IGNORECASE,
)


def math_answer(text: str) -> str | None:
    """The mathematics that a model's free text answers with; None where it holds neither formula nor numeral."""
    return _told(text) or next(reversed(numerals(text)), None)


def lone_answer(text: str) -> str:
    """The mathematics of an answer field, which may hold more than the answer; the text itself where nothing stands out."""
    return _told(text) or text


def _told(text: str) -> str | None:
    marked = marked_answer(text)
    return last_formula(text) if marked is None else formula_of_answer(marked)


def formula_of_answer(answer: str) -> str:
    r"""A marked answer without the prose around it: ``the interval $[1, 2]$, since …`` → ``[1, 2]``."""
    for clause in _CLAUSE.finditer(answer[:TAIL]):
        head = answer[: clause.start()]
        if (
            head.strip()
            and head.count("{") == head.count("}")
            and head.replace("\\$", "").count("$") % 2 == 0
        ):
            answer = unwrap(head)
            break
    found = list(FORMULA.finditer(answer[:TAIL]))
    if found and _WORD.search(answer[: found[0].start()]):
        return _run(answer, found)
    return answer  # units may follow: "$5$ cm"


def last_formula(text: str) -> str | None:
    r"""The text itself where it is one expression, else the last that stands out in it; None without any.

    That is a formula in ``$…$``, ``\(…\)`` or ``\[…\]``, an answer in bold, or a plain one after the "is" of the last sentence.
    Formulas that are listed, as ``$3$, $5$ and $7$``, are one answer.
    """
    line = _one_line(text)
    if line is not None:
        return line
    tail = text[-TAIL:].rstrip()
    found = list(FORMULA.finditer(tail))
    end = found[-1].end() if found else 0
    last_line = tail.rfind("\n") + 1
    bold = next(
        (match for match in reversed(list(_BOLD.finditer(tail))) if _is_answer(match, tail)), None
    )
    if bold is not None and bold.start() >= last_line:
        return _bare(bold[1])
    if (stated := _stated(tail[max(end, last_line) :])) is not None:
        return stated
    if bold is not None and bold.end() >= end:
        return _bare(bold[1])
    return _run(tail, found) if found else None


def _one_line(text: str) -> str | None:
    """The text where it is one expression and no prose, else None."""
    if len(text) > _MAX_LONE:
        return None
    line = _bare(unfence(text))
    words = len(_WORD.findall(line))
    if "\n" in line and line.startswith(("\\begin", "\\left")) and not words:
        line = " ".join(line.split())  # a matrix
    if not line or "\n" in line or words >= (2 if re.search(r"[\d=^\\]", line) else 5):
        return None
    if (formula := FORMULA.search(line)) and _WORD.search(line, 0, formula.start()):
        return None
    return line if len(text) <= _LONE or not words else None


def _is_answer(bold: re.Match[str], text: str) -> bool:
    """Whether bold text is an answer rather than a heading: ``**5**``, not ``**Step 1:**``; words only where the text ends."""
    content = bold[1].strip()
    if content.endswith((":", ".)")) or _one_line(content) is None:
        return False
    if bold.end() == len(text):
        return True
    in_sentence = (
        bold["end"] is None and "\n" not in text[bold.end() :] and not content.endswith(".")
    )
    return (bold["end"] is not None or in_sentence) and not _WORD.search(FORMULA.sub(" ", content))


def _stated(line: str) -> str | None:
    """The plain expression with a digit or a command in it after the last "is" of a line."""
    copula = next(reversed(list(_COPULA.finditer(line))), None)
    if copula is None:
        return None
    stated = _one_line(formula_of_answer(line[copula.end() :]))
    return stated if stated is not None and re.search(r"[\d\\√π]", stated) else None


def _run(text: str, found: list[re.Match[str]]) -> str:
    """The last formula, with those that it is listed with."""
    contents = [_bare(found[-1].group())]
    for before, after in zip(found[-2::-1], found[:0:-1], strict=True):
        content = _bare(before.group())
        listed = _JOINT.fullmatch(text, before.end(), after.start())
        # "$x=3$ and $y=5$, so $x+y=8$" is no list of values of one thing.
        if (
            not listed
            or content.rpartition("=")[0].strip() != contents[0].rpartition("=")[0].strip()
        ):
            break
        contents.insert(0, content)
    return ", ".join(contents)


def _bare(text: str) -> str:
    """Unwrapped mathematics, in which "- x" is no item of a list."""
    return SPACED_SIGN.sub(r"\1", unwrap(SPACED_SIGN.sub(r"\1", text.strip())))
