r"""Free text of a model → the text of its answer: scanners only, no model text is ever run.

Priority of the marks a model leaves: the last ``\boxed{…}``, then ``#### …``, then the last "answer: …" or
"the answer is …". What to do without a mark is the answer kind's business (``answers.py``); its tools are here too.
Every scanner takes time linear in the text, or looks only at its last ``TAIL`` characters.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterator, Mapping
from fractions import Fraction
from typing import Any

TAIL = 20_000  # characters at the end of a text in which an unmarked answer is looked for
MAX_DIGITS = 2_000  # a longer numeral, or an exponent beyond it, is not read as a number
_MAX_MARKS = 16  # marks of one sort that are tried, last first

_DASHES = dict.fromkeys(map(ord, "−–—‒‐‑﹣－"), "-")
_QUOTES = {ord(c): q for q, cs in {"'": "‘’‚‛′", '"': "“”„‟″«»"}.items() for c in cs}
_CHARACTERS: dict[int, str | None] = {**_DASHES, **_QUOTES}
_INVISIBLE = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u00ad\u061c\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]"
)


def normalise(text: str) -> str:
    """NFKC, plain dashes and quotes, no control, zero-width or direction characters."""
    return unicodedata.normalize("NFKC", _INVISIBLE.sub("", text).translate(_CHARACTERS)).replace(
        "⁄", "/"
    )


_NUMERIC = (
    "0123456789.,eE+/_-"  # a part of a numeral is another number: texts are not cut within one
)


def tail(text: str) -> str:
    """The last `TAIL` characters of a text, without a numeral that begins before them."""
    return text if len(text) <= TAIL else text[-TAIL:].lstrip(_NUMERIC)


def head(text: str, length: int = TAIL) -> str:
    """The first characters of a text, without a numeral that goes on after them."""
    return text if len(text) <= length else text[:length].rstrip(_NUMERIC)


# ------------------------------------------------------------------------------------------------ wrapping

_PAIRS = ("**", "__", "*", "_", "```", "`", "$$", "$", '"', "'")
_LEAD = re.compile(
    r"(?:#{1,6}|[*•>]|[-+](?!\s+(?:[\d\\]|\.\d)))\s+"
)  # "- 5" is a number, not an item of a list
_FENCE = re.compile(r"```[\w+-]*\n(.*?)\n?```", re.DOTALL)


def unwrap(text: str) -> str:
    """Strip surrounding white space, markdown emphasis, quotes, math delimiters, bullets and end punctuation."""
    mathematics = False
    for _ in range(8):  # layers; more is no answer
        before, text = text, text.strip()
        text = text[match.end() :] if not mathematics and (match := _LEAD.match(text)) else text
        for mark in _PAIRS:
            inner = text[len(mark) : -len(mark)]
            if (
                len(text) > 2 * len(mark)
                and text.startswith(mark)
                and text.endswith(mark)
                and mark not in inner
            ):
                text, mathematics = inner, mathematics or mark in ("$", "$$")
        if (text.startswith("\\(") and text.endswith("\\)")) or (
            text.startswith("\\[") and text.endswith("\\]")
        ):
            text, mathematics = text[2:-2], True
        stripped = text.rstrip(".,;:。").rstrip()
        # "!" and "?" end a sentence, but "5!" is a factorial
        if (
            stripped[-1:] in ("!", "?", "！", "？")
            and len(stripped) > 1
            and not stripped[-2].isdigit()
        ):
            stripped = stripped[:-1]
        text = stripped or text
        if text == before:
            break
    return text


def unfence(text: str) -> str:
    """The content of a text that is one markdown code fence; any other text unchanged."""
    match = _FENCE.fullmatch(text.strip()) if text.lstrip().startswith("```") else None
    return match.group(1) if match else text


def fold(text: str) -> str:
    """Canonical text: NFKC, case, white space, surrounding punctuation and markdown folded; articles kept."""
    text = " ".join(normalise(text).casefold().split())
    folded = unwrap(text)
    if (
        folded.startswith("(")
        and folded.endswith(")")
        and "(" not in folded[1:]
        and ")" not in folded[:-1]
    ):
        folded = unwrap(folded[1:-1]) or folded
    return unicodedata.normalize("NFKC", folded or text)


# ------------------------------------------------------------------------------------------------ marks

_BRACES = re.compile(r"\\(?:boxed|fbox)\s*\{|\\.|[{}]", re.DOTALL)
_BARE_BOX = re.compile(r"\\(?:boxed|fbox)\s{0,3}(-?\d[\d.,/]*|[A-Za-z](?![A-Za-z]))")
SPACED_SIGN = re.compile(r"^([-+])\s+(?![A-Za-z]{3}|[$*])")  # in mathematics no item of a list
_HASHES = re.compile(r"####[ \t]*(\S[^\n]*)")
_WORD = re.compile(r"\b(?:answers?|option|choice)\b", re.IGNORECASE)
_COPULA = re.compile(
    r"""[ \t]{0,2}(?:[*_]{1,3}[ \t]?)?                     # **Answer**: …
    (?:\([^()\n]{0,40}\)[ \t]?)?                          # answer (in dollars): …
    (?:(?:to|for|of|in|here|then|therefore|thus)\b[^.:=\n]{0,120}?[ ,])?   # the answer to the question is …
    (?:[:=：][ \t]*|->[ \t]*|→[ \t]*|
       (?:is|are|was|be|will\ be|would\ be|should\ be|must\ be|comes\ out\ to|equals)\b[ \t]*(?:that\b)?:?[ \t]*)
    (?:[*_]{1,3}(?=[\s:]))?:?[ \t]*""",
    re.VERBOSE | re.IGNORECASE,
)
_HEADING_END = re.compile(r"[ \t]{0,4}[*_:]{0,4}[ \t]{0,4}\n")
_SENTENCE_END = re.compile(r"(?<!\\)[.!?。！？](?=[\s*_\"')\]]|$)|\n")
_ABBREVIATION = re.compile(
    r"(?:^|[\s(])(?:St|Dr|Mr|Mrs|Ms|Mt|Ft|Jr|Sr|No|vs|ca|approx|(?-i:[A-Z])(?:\.[A-Z])*)$"
)
FORMULA = (
    re.compile(  # a price opens no formula: in "from $5 to $9" a digit follows the second sign
        r"(?<!\\)\$\$(?:[^$\\]|\\.){1,2000}\$\$|(?<!\\)\$(?:[^$\\\n]|\\.){1,2000}\$(?!\d)"
        r"|\\\((?:[^\\]|\\[^()]){1,2000}\\\)|\\\[(?:[^\\]|\\[^\[\]]){1,2000}\\\]",
        re.DOTALL,
    )
)
_NEGATION = re.compile(r"(?:not|n't|never|neither|wrong|incorrect)\b", re.IGNORECASE)


def boxed(text: str) -> list[str]:
    r"""Contents of every complete ``\boxed{…}`` or ``\fbox{…}`` (also ``\boxed 5``), in order of their ends."""
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


def _sentence(text: str, start: int) -> str:
    """The rest of the sentence at start: ends at a line's end or a full stop, not inside 3.5, a formula or after "St."."""
    text = head(text[start : start + 2_001], 2_000)
    if fence := _FENCE.match(text):
        return fence.group(1)
    formula = FORMULA.match(text)
    for match in _SENTENCE_END.finditer(text, formula.end() if formula else 0):
        before = text[: match.start()]
        if match.group() == "." and (abbreviation := _ABBREVIATION.search(before)):
            # A lone capital ends the sentence as "The answer is B. Because"; in "J. K. Rowling" it does not.
            lone = len(before.strip(" *_(")) == 1 and not re.match(
                r"\.\s+[A-Z]\.", text[match.start() :]
            )
            if not lone and abbreviation.group() and match.end() < len(text.rstrip(" *_\n")):
                continue
        return before
    return text


def _told(text: str) -> Iterator[str]:
    """What follows "answer:" or "the answer is", last first."""
    for match in list(_WORD.finditer(text))[: -_MAX_MARKS - 1 : -1]:
        word = match.group().lower()
        copula = _COPULA.match(text, match.end())
        if copula and not (word in ("option", "choice") and copula.group().strip(" \t*_") != "is"):
            start = copula.end()
        elif (copula := _HEADING_END.match(text, match.end())) and re.fullmatch(
            r"[\s#*_]*(?:(?:the|my|final|correct|short)\s+){0,3}",
            text[text.rfind("\n", 0, match.start()) + 1 : match.start()],
            re.I,
        ):
            start = copula.end()  # a heading of its own line: the answer is on the next one
        else:
            continue
        ahead = re.compile(r"[\s*_]*").match(text, start, start + 200)
        start = ahead.end() if ahead and "\n" in ahead.group() else start
        sentence = _sentence(text, start)
        if not _NEGATION.match(sentence):
            yield sentence


def marked_answers(text: str) -> Iterator[str]:
    """Every answer that the text marks as one, best first: boxed, then ``####``, then told; each last first."""
    for content in reversed(boxed(text)[-_MAX_MARKS:]):
        inner = boxed(content) if content.startswith(("\\boxed", "\\fbox")) else None
        yield from _clean(SPACED_SIGN.sub(r"\1", inner[-1] if inner else content))
    if "####" in text:
        for match in list(_HASHES.finditer(text))[: -_MAX_MARKS - 1 : -1]:
            yield from _clean(match.group(1))
    for sentence in _told(text):
        yield from _clean(sentence)


def _clean(found: str) -> Iterator[str]:
    found = found.rstrip()
    if found.endswith("**") and found.count("**") == 1:
        found = found[:-2]  # the end of "**Answer: Paris**"
    if answer := unwrap(found):
        yield answer


def marked_answer(text: str) -> str | None:
    """The answer that the text marks as one, stripped of markdown, ``$`` and the final stop; None without a mark."""
    return next(marked_answers(text), None)


# ------------------------------------------------------------------------------------------------ numbers

_LATEX_NOISE = re.compile(r"\\(?:left|right|displaystyle|[,!;: ])|(?<=\d)\{(?=,\})|(?<=\d\{,)\}")
_LATEX_FRACTION = re.compile(
    r"(?P<whole>\d)?\s*\\[dtc]?frac\s*(?:\{\s*(-?[\d.,]+)\s*\}|(\d))\s*(?:\{\s*([\d.,]+)\s*\}|(\d))"
)
_UNSIGNED = r"(?:(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d{1,9}(?!\w|\.\d))?"
_NUMERAL = re.compile(
    rf"(?P<sign>[+-]?)\s?[$€£¥₹]?\s?(?P<minus>-?)(?:(?P<whole>\d+)\s+(?=\d+\s?/))?"
    rf"(?P<top>{_UNSIGNED})(?:\s?/\s?(?P<bottom>{_UNSIGNED}))?\s?[$€£¥₹]?\s?(?P<percent>%|percent\b)?"
)
_NUMERAL_IN_TEXT = re.compile(
    rf"(?<![\w.])(?:(?<![\w.)\]}}])[+-])?[$€£¥₹]?(?:(?<=[$€£¥₹])-)?(?:(?<![\d.,])\d+ (?=\d+/\d))?"
    # Taken whole or not at all: the first digits of 0xff, 1_000 and 1e9999999999 are other numbers.
    rf"(?!0[xXoObB][\da-fA-F])(?=(?P<whole>{_UNSIGNED}))(?P=whole)(?![eE][+-]?\d|_\d|/\d+[eE][+-]?\d{{10}})"
    rf"(?:/\d+(?:[eE][+-]?\d{{1,9}}(?!\w|\.\d))?)?(?:\s?(?:%|percent\b))?"
)


def unlatex(text: str) -> str:
    r"""Plain writing of the simplest LaTeX numerals: ``1{,}234`` → ``1,234``, ``1\frac{4}{5}`` → ``1 4/5``."""
    text = text.replace("\\$", "$").replace("\\%", "%").replace("{,}", ",")
    if "\\" not in text:
        return text

    def plain(match: re.Match[str]) -> str:
        whole, top, digit, bottom, last = match.groups()
        return f"{whole + ' ' if whole else ''}{top or digit}/{bottom or last}"

    return _LATEX_FRACTION.sub(plain, _LATEX_NOISE.sub("", text))


def _decimal(numeral: str) -> Fraction | None:
    mantissa, _, exponent = numeral.replace(",", "").lower().partition("e")
    if len(mantissa) > MAX_DIGITS or (exponent and abs(int(exponent)) > MAX_DIGITS):
        return None
    return Fraction(f"{mantissa}e{exponent}" if exponent else mantissa)


def parse_number(text: str, *, percent: bool = False) -> Fraction | None:
    """The exact value of a text that is one number and nothing else, or None.

    Read: ``-5``, ``1,234``, ``$18.00``, ``3.5e2``, ``1/2``, ``1 1/2``, the LaTeX of these, ``50%``, which is
    50 unless ``percent``, where it is 1/2. Not read: words, units, and numerals beyond ``MAX_DIGITS``.
    """
    if len(text) > 3 * MAX_DIGITS:
        return None
    match = _NUMERAL.fullmatch(unwrap(unlatex(normalise(text))))
    if (
        match is None
        or (match["sign"] and match["minus"])
        or len(match["whole"] or "") > MAX_DIGITS
    ):
        return None
    top, bottom = _decimal(match["top"]), _decimal(match["bottom"] or "1")
    if top is None or not bottom:
        return None
    value = top / bottom + int(match["whole"] or 0)
    value = -value if "-" in (match["sign"], match["minus"]) else value
    return short(value / 100 if percent and match["percent"] else value)


def short(value: Fraction) -> Fraction | None:
    """The value where numerator and denominator have about ``MAX_DIGITS`` digits at most, else None: Python writes few more."""
    longest = max(value.numerator.bit_length(), value.denominator.bit_length())
    return value if longest <= MAX_DIGITS * 10 // 3 + 1 else None


def numerals(text: str) -> list[str]:
    """The numerals that stand in the last ``TAIL`` characters of a text, in order."""
    return [
        match.group().strip() for match in _NUMERAL_IN_TEXT.finditer(unlatex(normalise(tail(text))))
    ]


_HEDGE = re.compile(
    r"(?:(?:about|around|approximately|roughly|exactly|only|just|simply|therefore|thus|so|a total of)\b|[\s*$(~:≈,=])*",
    re.IGNORECASE,
)


def numeral_of_answer(answer: str) -> str | None:
    """The numeral that a marked answer means: the whole, the one it starts with, else its last."""
    if parse_number(answer) is not None:
        return answer
    answer = unlatex(normalise(head(answer)))
    start = answer.rfind("=") + 1
    found = list(_NUMERAL_IN_TEXT.finditer(answer, start))
    if not found:
        return None
    leads = _HEDGE.fullmatch(answer, start, found[0].start())
    return (found[0] if leads else found[-1]).group().strip()


# ------------------------------------------------------------------------------------------------ choices and truth

_LABEL = r"(?:\d{1,3}|[A-Za-z])"
# A label before a bare space is none where it can be a word: A good one, I think.
_LEADING_LABEL = re.compile(
    rf"""\W{{0,4}}(?:(?:option|choice|answer)\s*)?[(\[]?({_LABEL})
    (?:[)\].:,;](?!\d) | \s*[-–]\s | \W{{0,4}}$ | \s(?:because|since|as)\b | (?<=(?-i:[B-HJ-Z]))\s)""",
    re.IGNORECASE | re.VERBOSE,
)
_LONE_LABEL = re.compile(rf"^[ \t>*_(\[`]{{0,6}}({_LABEL})[ \t*_)\].:`]{{0,6}}$", re.M)
_SHOWN_LABEL = re.compile(
    rf"(?<!\w)(?:\(({_LABEL})\)|\*\*\(?({_LABEL})[).:]?\*\*|(?:option|choice)\s+\(?({_LABEL})\b(?!'))",
    re.I,
)
_LINE_LABEL = re.compile(rf"^[ \t>*_-]{{0,6}}\(?({_LABEL})[).:](?=[\s*_]|$)", re.M)


def leading_label(answer: str) -> str | None:
    """The option label that a marked answer starts with: ``B``, ``(B) Paris``, ``B. Paris``, ``Option B``."""
    match = _LEADING_LABEL.match(answer[:200])
    return match.group(1) if match else None


def label_in_text(text: str, labels: Mapping[str, Any]) -> str | None:
    """The last option label that stands as one, so that neither "A good approach" nor "correct" names an option.

    Args:
        text: free text.
        labels: case-folded labels that exist.
    """
    text = text[-TAIL:]
    for form in (_LONE_LABEL, _SHOWN_LABEL, _LINE_LABEL):
        found = [next(filter(None, match.groups())) for match in form.finditer(text)]
        found = [label for label in found if label.casefold() in labels]
        # Labels that start lines may be the options repeated: they count only where one option alone does.
        if found and (form is not _LINE_LABEL or len(set(found)) == 1):
            return found[-1]
    return None


_TRUTH = {"yes": True, "true": True, "no": False, "false": False}
_TRUTH_WORD = re.compile(r"(?<![\w'-])(not\s)?(yes|no|true|false)(?![\w'-])", re.I)


def truth_of(text: str) -> bool | None:
    """The truth value that a text settles on, or None: a whole line, the first word, the last one, else the only one.

    "no" in the middle of a sentence is a determiner and does not count.
    """
    text = normalise(text[-TAIL:])
    lines = [_TRUTH.get(unwrap(line).lower()) for line in text.splitlines()]
    if told := [value for value in lines if value is not None]:
        return told[-1]
    text = text.strip(" \t\n*_`\"'#>")
    found = list(_TRUTH_WORD.finditer(text))
    if not found:
        return None
    values = [_TRUTH[match[2].lower()] is not bool(match[1]) for match in found]
    if found[0].start() == 0 and re.match(r"[*_]{0,2}\s?[,.:;!—-]|\n", text[found[0].end() :]):
        return values[0]
    if re.fullmatch(r"[\s.!*_`\"']*", text[found[-1].end() :]):
        return values[-1]
    settled = {
        value for match, value in zip(found, values, strict=True) if match[2].lower() != "no"
    }
    return settled.pop() if len(settled) == 1 else None


# ------------------------------------------------------------------------------------------------ JSON

_JSON_TAIL = 200_000
_MAX_JSON_FAILURES = 500


def read_json(text: str) -> Any:
    """The value of a text that is JSON. Raises ValueError where it is not, too deep or too long a number."""
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("JSON nested too deeply") from error


def json_values(text: str) -> list[Any]:
    """The JSON objects and arrays in a text, outermost only, in order."""
    text, found, failures, position = text[-_JSON_TAIL:], [], 0, 0
    decoder, opener = json.JSONDecoder(), re.compile(r"[{\[]")
    while failures < _MAX_JSON_FAILURES and (match := opener.search(text, position)):
        try:
            value, position = decoder.raw_decode(text, match.start())
            found.append(value)
        except (ValueError, RecursionError):
            failures, position = failures + 1, match.start() + 1
    return found
