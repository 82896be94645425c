r"""Find the mathematics in a text: the formula of its marked answer, else the one it ends on.

Models end a solution in many ways: `The answer is $5$, since …`, `**5**`, a display `\[ … \]` on
lines of its own, `the roots are $3$ and $5$`. Every scanner takes time linear in the text, or looks
only at its last `TAIL` characters.
"""

from __future__ import annotations

import re

from .marks import FORMULA, SPACED_SIGN, Mark, marked_answer, marks
from .numerals import numerals
from .plain_text import TAIL, unfence, unwrap

#: Words that are mathematics in plain writing, neither prose nor units after a number.
MATH_WORDS = (
    "and|or|pi|theta|sin|cos|tan|sec|csc|cot|log|ln|exp|sqrt|mod|inf|infty|infinity|over|choose"
    "|times|plus|minus"
)
_LONE = 200  # characters; a longer text is an expression only if it has no words at all
_MAX_LONE = 1_000
_WORD = re.compile(rf"(?<![\\{{A-Za-z])(?!(?:{MATH_WORDS})\b)[A-Za-z]{{2,}}(?![A-Za-z}}])")
_BOLD = re.compile(r"\*\*([^*\n]{1,200})\*\*(?P<end>[.,!]?[ \t]*(?:\n|$))?")
_COPULA = re.compile(
    r"\b(?:is|are|be|equals?|get|gives|obtain|have|has)\b:?\s+|[=≈]\s*", re.IGNORECASE
)
_JOINT = re.compile(r"\s*(?:,(?:\s*(?:and|or)\b)?|(?:and|or)\b)\s*")
_OPEN_BOX = re.compile(r"\\f?boxe?d?\s{0,3}\{")
_BOX_JOINT = re.compile(  # from the brace that closes a box to the content of the next
    r"\}?\s{0,9}(?:\$\$?|\\\)|\\\])?"
    r"(?:\s{0,9}(?:[A-Za-z]{2,12}\s{1,3})?(?:,?\s{0,9}(?:\\q?quad\s{0,9}|\\[,;:! ]){0,3}"
    r"(?:\\text\{\s{0,3}(?:and|or)\s{0,3}\}|(?:and|or)\b)|,)"
    r"\s{0,9}(?:\\q?quad\s{0,9}|\\[,;:! ]){0,3})?"
    r"\s{0,9}(?:\$\$?|\\\(|\\\[)?\s{0,9}(?:[A-Za-z](?:_\{?\w{1,3}\}?)?\s{0,3}=\s{0,3})?\\f?boxe?d?\s{0,3}\{?\s{0,9}"
)
_NO_ANSWER = re.compile(
    r"[\s*\"'(]{0,9}(?:(?:sorry|unfortunately)[,.]?\s)?(?:there is )?"
    r"(?:not enough|insufficient) info"
    r"|[\s*\"'(]{0,9}(?:sorry,? )?(?:but )?(?:i(?:['’]m| am) (?:not sure|unable)"
    r"|i (?:do not|don['’]t|can ?not|can['’]t|could not|couldn['’]t) "
    r"(?:know|solve|determine|answer|find|compute)|je ne sais pas|no (?:lo )?s[eé]\b"
    r"|ich wei(?:ß|ss) (?:es )?nicht|non (?:lo )?so\b|n[aã]o sei|не знаю|我不知道|わかりません)",
    re.IGNORECASE,
)
_CLAUSE = re.compile(
    r"\s{1,9}\((?!(?:in\s)?base\b)(?=[A-Za-z]{2,}\s)|,?\s{1,9}or\s(?:about|approximately|equivalently|simply)\b"
    r"|[.,;]?\s{1,9}\(?(?:since|because|as|which|who|whose|where|when|while|so|thus|hence|but|for|if"
    r"|after|given|assuming|we|it)\b",
    re.IGNORECASE,
)


def math_answer(text: str) -> str | None:
    """Return the mathematics that a model's free text answers with.

    None if the text has neither a formula nor a numeral.

    >>> math_answer("Adding them up, the roots are $3$ and $5$.")
    '3, 5'
    """
    found = _standing_out(text)
    return next(reversed(numerals(text)), None) if found is None else found or None


def lone_answer(text: str) -> str:
    """Return the mathematics of an answer field, which may hold more than the answer.

    The text itself if nothing stands out in it; "" where it says that there is no answer.
    """
    found = _standing_out(text)
    return text if found is None else found


def _standing_out(text: str) -> str | None:
    """Return what stands out in a text; "" where it gives no answer, None where nothing does."""
    text = text.replace("\\framebox{", "\\boxed{")
    if "\\\\boxed" in text:  # escaped twice
        text = text.replace("\\\\", "\\")
    boxes = _listed_boxes(text)
    if boxes is not None:
        return boxes
    marked = marked_answer(text)
    if marked is None and _NO_ANSWER.match(text):
        return ""
    return last_formula(text) if marked is None else formula_of_answer(marked)


def _listed_boxes(text: str) -> str | None:
    """Return the last boxes of a text that are listed, `\\boxed{3} and \\boxed{5}`, as one answer.

    "" where the last box is blank or not closed; None where one box or another mark decides.
    """
    last = max(text.rfind("\\boxed"), text.rfind("\\fbox"))
    if last < 0:
        return None
    found = list(marks(text))
    boxes = [mark for mark in found if mark.sort == 1]
    if any(mark.sort == 0 and mark.answer for mark in found):
        return None
    if _OPEN_BOX.match(text, last) and not any(box.start > last for box in boxes):
        return ""  # cut off within it
    listed: list[Mark] = []
    for box in boxes:  # last first
        if listed and box.end > listed[-1].start:  # within another
            continue
        if listed and not _BOX_JOINT.fullmatch(text, box.end, listed[-1].start):
            break
        listed.append(box)
    answers = list(dict.fromkeys(box.answer for box in reversed(listed)))
    if listed and not listed[0].answer:
        return ""
    return ", ".join(answers) if len(answers) > 1 and all(answers) else None


def formula_of_answer(answer: str) -> str:
    r"""Return an answer without its prose: `the interval $[1, 2]$, since …` → `[1, 2]`."""
    for clause in _CLAUSE.finditer(answer[:TAIL]):
        head = answer[: clause.start()]
        braces_match = head.count("{") == head.count("}")
        if head.strip() and braces_match and head.replace("\\$", "").count("$") % 2 == 0:
            answer = unwrap(head)
            break
    for opening, closing in (("\\[", "\\]"), ("\\(", "\\)")):
        if answer.endswith(closing) and opening not in answer:
            answer = answer.removesuffix(closing).rstrip()
    found = list(FORMULA.finditer(answer[:TAIL]))
    if found and _WORD.search(answer[: found[0].start()]):
        # "The largest $n$ is 34"
        return _stated(answer[found[-1].end() :]) or _run(answer, found)
    return answer  # units may follow: "$5$ cm"


def last_formula(text: str) -> str | None:
    r"""Return the text itself if it is one expression, else the last that stands out; or None.

    A formula in `$…$`, `\(…\)` or `\[…\]` stands out, an answer in bold, and a plain one after the
    "is" of the last sentence. Listed formulas, such as `$3$, $5$ and $7$`, are one answer.
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
    """Return the text if it is one expression without prose, else None."""
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
    """Return whether bold text is an answer, `**5**`, rather than a heading, `**Step 1:**`.

    Words count as an answer only at the end of the text.
    """
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
    """Return the plain expression, with a digit or command, after the last "is" of a line."""
    copula = next(reversed(list(_COPULA.finditer(line))), None)
    if copula is None:
        return None
    stated = _one_line(formula_of_answer(line[copula.end() :]))
    return stated if stated is not None and re.search(r"[\d\\√π]", stated) else None


def _run(text: str, found: list[re.Match[str]]) -> str:
    """Return the last formula, with those that it is listed with."""
    contents = [_bare(found[-1].group())]
    for before, after in zip(found[-2::-1], found[:0:-1], strict=True):
        content = _bare(before.group())
        listed = _JOINT.fullmatch(text, before.end(), after.start())
        # "$x=3$ and $y=5$, so $x+y=8$" does not list the values of one thing.
        if not listed or _left_side(content) != _left_side(contents[0]):
            break
        contents.insert(0, content)
    return ", ".join(contents)


def _left_side(formula: str) -> str:
    return formula.rpartition("=")[0].strip()


def _bare(text: str) -> str:
    """Unwrap mathematics, in which "- x" is not an item of a list."""
    return SPACED_SIGN.sub(r"\1", unwrap(SPACED_SIGN.sub(r"\1", text.strip())))
