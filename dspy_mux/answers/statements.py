r"""Statements of an answer: "the answer is …", `Answer: …`, `Antwort: …`, and "答案是…"."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from .answer_words import ANSWER_WORD, ENDS, STATEMENTS
from .plain_text import FENCE, TAIL, head

_MAX_STATEMENTS = 16  # that are tried, last first
_MAX_SENTENCE = 2_000
_ADVERB = (
    r"(?:therefore|thus|then|hence|however|so|indeed|definitely|certainly|clearly|obviously"
    r"|probably|likely|most\ likely|very\ likely|presumably|surely|actually|undoubtedly|perhaps"
    r"|in\ fact|in\ this\ case|of\ course|I\ think|I\ believe)"
)
_WORD = re.compile(
    r"\b(?:answers?|ans|options?|choice|(?:my|final|overall)[ ](?:rating|score|grade|verdict))\b",
    re.I,
)
_COPULA = re.compile(
    rf"""[ \t]{{0,2}}(?:[*_]{{1,3}}[ \t]?)?                     # **Answer**: …
    (?:\([^()\n]{{0,40}}\)[ \t]?)?                            # answer (in dollars): …
    (?:(?:\#|no\.?|number)?[ \t]?\d{{1,3}}(?=[ \t]*[:=：]))?     # Answer 3: …
    (?:(?:choice|option|letter)\b[ \t]?)?                     # the answer choice is …
    (?:(?:to|for|of|in|among|from|that|which|with|based|here)\b[^.:=\n]{{0,120}}?[ ,])?
    (?:,?[ ]?{_ADVERB}\b,?[ ]?)?
    (?:[:=：＝][ \t]*|->[ \t]*|→[ \t]*|
       (?:[–—]|(?<=[ \t*_])-(?=[ \t]))[ \t]*(?![^.\n]{{0,60}}[ ][–—-][ ]*(?:is|was)\b)|
       (?:is|are|was|be|will\ be|would\ be|should\ be|must\ be|has\ to\ be|comes\ out\ to
         |(?:would|should|must|will|has\ to)\ (?:therefore|thus|then|hence)\ be|equals
         |(?:seems|appears|turns\ out|happens)\ to\ be|becomes|remains)\b
       [ \t]*(?:that\b)?:?[ \t]*)
    (?:[*_]{{1,3}}(?=[\s:]))?:?[ \t]*
    (?:{_ADVERB},?[ \t]+(?=\S))?""",
    re.VERBOSE | re.IGNORECASE,
)
_ANS = re.compile(r"[*_]{0,3}\.?[*_]{0,3}[ \t]*[:：=][*_]{0,3}[ \t]*")
_CHOSEN = re.compile(r"\b(?:correct|right|best|final|chosen|selected|my)\s+[*_]{0,3}$", re.I)
_HEADING_END = re.compile(r"[ \t]{0,4}[*_:：]{0,4}[ \t]{0,4}\n")
_HEADING = re.compile(r"[\s#*_]*(?:(?:the|my|final|correct|short)\s+){0,3}", re.I)
_BLANK = re.compile(r"[\s*_]*")
#: "I don't think that the answer is …" and "if the answer is …" state no answer.
_UNSTATED = re.compile(
    r"(?:\b(?:not|cannot|never|doubt)|n't)\s+(?:\w+\s+){0,2}?"
    r"(?:think|believe|say|mean|agree|claim|sure|certain|suppose|guess|true|know|the\s+case)\b"
    r"[\w\s]{0,20}$|\bdoubt[\w\s]{0,20}$"
    r"|\b(?:if|whether|unless|suppos\w+|assum\w+|imagine|either|pretend)\s+(?:that\s+)?"
    r"(?:(?:the|my|its|an|our)\s+)?(?:(?:correct|right|final|true|best)\s+){0,2}[*_]{0,3}$"
    r"|\b(?:some|one|you|students|people|many|others)\s+(?:people\s+|students\s+)?"
    r"(?:might|may|could|would|will)\s+(?:\w+\s+)?(?:say|think|argue|believe|guess|conclude)\b"
    r"[\w\s]{0,20}$"
    r"|\b(?:gold|reference|ground[ -]truth|student['’]?s?|candidate['’]?s?|model['’]?s|target"
    r"|their|his|her|your|or|or\s+the|or\s+that\s+the)\s+(?:final\s+|correct\s+)?$",
    re.IGNORECASE,
)
_SENTENCE_END = re.compile(r"(?<!\\)[.!?](?=[\s*_\"')\]]|$)|[。！？।]|\n")
_ABBREVIATION = re.compile(
    r"(?:^|[\s(])(?:St|Dr|Mr|Mrs|Ms|Mt|Ft|Jr|Sr|No|vs|ca|approx|(?-i:[A-Z])(?:\.[A-Z])*)$"
)
#: A price does not open a formula: in "from $5 to $9" a digit follows the second sign.
FORMULA = re.compile(
    r"(?<!\\)\$\$(?:[^$\\]|\\.){1,2000}\$\$|(?<!\\)\$(?:[^$\\\n]|\\.){1,2000}\$(?!\d)"
    r"|\\\((?:[^\\]|\\[^()]){1,2000}\\\)|\\\[(?:[^\\]|\\[^\[\]]){1,2000}\\\]",
    re.DOTALL,
)


_QUOTES = {'"': '"', "”": "“", "»": "«"}


class Statement(NamedTuple):
    """What follows "the answer is", up to the end of its sentence, and where it stands."""

    answer: str
    start: int
    end: int


def statements(text: str) -> Iterator[Statement]:
    """Yield what follows "answer:" or "the answer is", last first; also where it is blank."""
    found = [(match, False) for match in _WORD.finditer(text)]
    found += [(match, True) for match in ANSWER_WORD.finditer(text, max(0, len(text) - TAIL))]
    found.sort(key=lambda pair: pair[0].start())
    for word, foreign in found[: -_MAX_STATEMENTS - 1 : -1]:
        start = _foreign_start(text, word) if foreign else _start(text, word)
        if start is None:
            continue
        ahead = _BLANK.match(text, start, start + 200)
        start = ahead.end() if ahead and "\n" in ahead.group() else start
        sentence, length = _sentence(text, start)
        yield Statement(ENDS.sub("", sentence) if foreign else sentence, start, start + length)


def _start(text: str, word: re.Match[str]) -> int | None:
    """Return where the statement after the word "answer" starts; None where it states nothing."""
    before = text[max(0, word.start() - 100) : word.start()].rpartition("\n")[2]
    if _UNSTATED.search(before):
        return None
    if word.group().lower() == "ans":
        match = _ANS.match(text, word.end())
        return match.end() if match else None
    copula = _COPULA.match(text, word.end())
    needs_is = word.group().lower() in ("option", "options", "choice") and not _CHOSEN.search(
        before
    )
    if copula and not (needs_is and not copula.group().strip(" \t*_").startswith("is")):
        return copula.end()
    heading_end = _HEADING_END.match(text, word.end())
    line_start = text.rfind("\n", 0, word.start()) + 1
    if heading_end and _HEADING.fullmatch(text[line_start : word.start()]):
        return heading_end.end()  # a heading on its own line: the answer is on the next one
    return None


def _foreign_start(text: str, word: re.Match[str]) -> int | None:
    match = STATEMENTS[word.group().lower()].match(text, word.end())
    return match.end() if match else None


def _sentence(text: str, start: int) -> tuple[str, int]:
    """Return the rest of the sentence at `start`, and its length in the text.

    It goes up to a full stop or the end of the line. A stop inside 3.5 or a formula, or after
    "St", does not end it.
    """
    text = head(text[start : start + _MAX_SENTENCE + 1], _MAX_SENTENCE)
    if fence := FENCE.match(text):
        return fence.group(1), fence.end()
    formula = FORMULA.match(text)
    for match in _SENTENCE_END.finditer(text, formula.end() if formula else 0):
        before = text[: match.start()]
        if match.group() == "." and (abbreviation := _ABBREVIATION.search(before)):
            # A lone capital ends "The answer is B. Because"; in "J. K. Rowling" it does not.
            initials = re.match(r"\.\s+[A-Z]\.", text[match.start() :])
            lone = len(before.strip(" *_(")) == 1 and not initials
            if not lone and abbreviation.group() and match.end() < len(text.rstrip(" *_\n")):
                continue
        closing = text[match.end() : match.end() + 1]
        if closing in _QUOTES and text[0] == _QUOTES[closing]:  # "Who's Afraid of Virginia Woolf?"
            return text[: match.end() + 1], match.end() + 1
        return before, match.start() + (match.group() == "?")
    return text, len(text)
