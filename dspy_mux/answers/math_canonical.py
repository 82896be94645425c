r"""Canonical text of a mathematical answer: LaTeX without delimiters, spacing, units and sugar.

Like the graders of MATH, this drops degree, percent and currency signs, units, and the "x =" before
a value. Writings of one answer get one text if no algebra is needed: `\dfrac12` and `\frac{1}{2}`,
`1{,}000` and `1000`, `52 base 8` and `52_8`, `x > 2` and `(2, \infty)`, `\text{(C)}` and `C`.
`math_equal.py` does the rest.
"""

from __future__ import annotations

import re
from fractions import Fraction
from functools import lru_cache

from .marks import SPACED_SIGN, boxed
from .math_sides import interval_of, value_of
from .math_units import time_of_day, without_units
from .plain_text import fold, normalise, unwrap

MAX_LENGTH = 10_000  # characters; a longer answer is only folded

_SYMBOLS = {
    ord(character): latex
    for character, latex in {
        "π": r"\pi ", "∞": r"\infty ", "×": r"\cdot ", "·": r"\cdot ", "⋅": r"\cdot ", "÷": "/",
        "±": r"\pm ",
        "≤": r"\le ", "≥": r"\ge ", "≠": r"\ne ", "∪": r"\cup ", "∩": r"\cap ", "∈": r"\in ",
        "√": r"\sqrt ", "θ": r"\theta ", "α": r"\alpha ", "β": r"\beta ", "°": r"^{\circ}",
        "ˆ": "^", "≈": r"\approx ", "∅": r"\emptyset ", "ℝ": r"\mathbb{R}",
        "¼": " 1/4", "½": " 1/2", "¾": " 3/4", "⅓": " 1/3", "⅔": " 2/3",
        **{power: f"^{digit}" for digit, power in enumerate("⁰¹²³⁴⁵⁶⁷⁸⁹")},
    }.items()
}  # fmt: skip
_SPACING = re.compile(
    r"(?<!\\)\\(?:[!,;:> ]|(?:quad|qquad|enspace|thinspace|displaystyle|textstyle|limits|left|right"
    r"|[bB]igg?[lrm]?)(?![A-Za-z]))|~"
)
_DOUBLED = re.compile(r"\\\\(?=[A-Za-z])")
_LATEX_COMMA = re.compile(r"(?<=\d)(?:\{,\}|,\\!)\s*(?=\d{3})")
_COMMAS = re.compile(r"(?<![\w.,(\[{])\d{1,3}(?:(?:,\d{3})+|(?: \d{3}(?! ?/))+)(?![\d,)\]}])")
_BASE = re.compile(
    r"\(?([0-9A-F]+)\)?\s*(?:_\s*\{?\s*(?:base\s*)?(\d+|[a-z]+)\s*\}?"
    r"|\(?\s*(?:in\s+)?base[\s-]+(\d+|[a-z]+)\)?)",
    re.IGNORECASE,
)
_BASES = {
    "two": 2,
    "three": 3,
    "four": 4,
    "five": 5,
    "six": 6,
    "seven": 7,
    "eight": 8,
    "nine": 9,
    "ten": 10,
    "twelve": 12,
    "sixteen": 16,
}
_OPTION = re.compile(  # its text may follow: (C) 5
    r"\(?([A-Z])\)?|\(([a-e])\)"
    r"|(?:\(([A-Z])\)|([A-Z])[.:)])\s+(?![-+*/=^_,&<>]|\\c[au]p|\\cdot|\\times|(?:and|or)\b)\S.*"
)
_TEXT = re.compile(
    r"\\(?:text|mbox|textbf|textit|textrm|textnormal|mathrm|mathbf|mathit|operatorname)"
    r"\s*\{([^{}]*)\}"
)
_SHORT_FRACTION = re.compile(r"\\frac\s*(?:\{([^{}]*)\}|(\d))\s*(?:\{([^{}]*)\}|(\d))")
_SHORT_ROOT = re.compile(r"\\sqrt\s*(\[\d{1,3}\])?\s*(\d+|[A-Za-z])")
_LONG_POWER = re.compile(r"\^\s*(-?\d{2,}|-\d)")
_FUNCTION = re.compile(
    r"(?<![\\A-Za-z])(arcsin|arccos|arctan|sin|cos|tan|sec|csc|cot|log|ln|exp|pi|theta)(?![A-Za-z])"
)
_INFINITY = re.compile(r"(?<![\\A-Za-z])(?:infinity|infty|oo|inf)(?![A-Za-z])", re.IGNORECASE)
_OPENING = re.compile(r"(?P<root>(?<![\\A-Za-z])sqrt\s*\(|\\sqrt\s*\()|(?P<power>\^\s*\()|[()]")
_STYLED = re.compile(
    r"(?:\\(?:mathbf|boldsymbol|bm|mathit|mathrm|text(?:bf|it|rm)?)\s*)?\{(.*)\}", re.DOTALL
)
_LEADING = re.compile(r"=\s*(?=\S)")
_ROW_GAP = re.compile(r"(?<=\\\\)\[\s*-?[\d.]+\s*(?:pt|ex|em|mm|cm|in)\s*\]")
_REPEATING = re.compile(r"(\d{0,20})\.(\d{0,20})\\(?:overline|bar)\s*\{?(\d{1,20})\}?")
_SPACE = re.compile(r"(\\[A-Za-z]+(?=\s+[A-Za-z])|\d(?=\s+\d))\s+|\s+")
#: Each writing that has another name.
_SPELLINGS = [
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r",?\s+(?:and|or)\s+|(?<=[\d)}\]])\s*(?:and|or)\s*(?=[\\(\[{\d-])", ", "),
        (r"(?<=[)\]])\s*U\s*(?=[(\[])", r"\\cup "),
        (r"\*\*", "^"),
        (r"_(\d+)\s+(?=\d)", r"_{\1}"),
        (r"<=", r"\\le "),
        (r">=", r"\\ge "),
        (r"!=", r"\\ne "),
        (r"\\(le|ge|ne)q{0,2}(?:slant)?(?![A-Za-z])", r"\\\1 "),
        (r"\\lt(?![A-Za-z])", "<"),
        (r"\\gt(?![A-Za-z])", ">"),
        (r"\*|\\times(?![A-Za-z])|(?<=\d)\s*[xX]\s*(?=10\s*\^)", r"\\cdot "),
        (r"\\[dtc]frac(?![A-Za-z])", r"\\frac"),
        (r"\\varnothing(?![A-Za-z])", r"\\emptyset"),
        (r"\\l?angle(?![A-Za-z])(?=[^=]*,[^=]*\\rangle)", "("),
        (r"\\rangle(?![A-Za-z])", ")"),
        (r"\\(?:mid|[lr]?vert)(?![A-Za-z])", "|"),
        (r"\\lbrace(?![A-Za-z])", r"\\{"),
        (r"\\rbrace(?![A-Za-z])", r"\\}"),
        (r"\\colon(?![A-Za-z])|\{:\}", ":"),
        (r"\\(?:c|d|l)?dots[cbmio]?(?![A-Za-z])|\.\.\.|…", r"\\ldots "),
    )
]
_WORDS = re.compile(r"[^\W\d_]+(?:[\s,.'’&-]+[^\W\d_]+)*[.'’]?")


def _braced(text: str) -> str:
    """Write plain `sqrt(…)` and `^(…)` with LaTeX's braces, nested ones too, in one pass."""
    pieces: list[str] = []
    position, closing = 0, []
    for match in _OPENING.finditer(text):
        pieces.append(text[position : match.start()])
        position = match.end()
        if match["root"] or match["power"]:
            pieces.append("\\sqrt{" if match["root"] else "^{")
            closing.append("}")
        elif match.group() == "(":
            pieces.append("(")
            closing.append(")")
        else:
            pieces.append(closing.pop() if closing else ")")
    return "".join([*pieces, text[position:]]) if not closing else text


def canonical(answer: str) -> str:
    r"""Return an answer as canonical LaTeX; "" for a blank one.

    >>> canonical(r"$x = \dfrac12$ cm")
    '\\frac{1}{2}'
    """
    return _canonical(answer, False) if len(answer) <= MAX_LENGTH else fold(answer)


def relation(answer: str) -> str:
    r"""Return an answer as canonical LaTeX with the left side of its equation.

    >>> canonical("y = 2x + 3"), relation("y = 2x + 3")
    ('2x+3', 'y=2x+3')
    """
    return _canonical(answer, True) if len(answer) <= MAX_LENGTH else fold(answer)


@lru_cache(maxsize=4096)
def _canonical(answer: str, whole: bool) -> str:
    text = _unwrapped(answer)
    if text in ("\\[", "\\]", "\\(", "\\)", "```"):
        return ""
    if time := time_of_day(text):
        return time
    text = _TEXT.sub(r"\1", without_units(_unstyled(text))).strip()
    text = _LEADING.sub("", text, count=1) if _LEADING.match(text) else text
    if option := _OPTION.fullmatch(text):
        return next(filter(None, option.groups())).upper()
    if _is_prose(text):
        return "\\text{" + re.sub(r"^(?:an?|the) ", "", fold(text)) + "}"
    if (base := _BASE.fullmatch(text)) and (named := base[2] or base[3]):
        text = f"{base[1]}_{_BASES.get(named.lower(), named)}"
    text = _spelled(text)
    text = _SPACE.sub(_kept_space, text if whole else value_of(text)).strip()
    return (text if whole else interval_of(text)).replace(",", ", ")  # "100, 200" stays two numbers


def _unwrapped(answer: str) -> str:
    """Return an answer without boxes, delimiters, emphasis and LaTeX's spacing."""
    text = normalise(answer.translate(_SYMBOLS)).strip()
    if "\\begin" not in text:
        text = _DOUBLED.sub(r"\\", text)  # of a text that was escaped twice
    if text.startswith(("\\boxed", "\\fbox", "$\\boxed")) and (boxes := boxed(text)):
        text = boxes[-1]
    text = unwrap(SPACED_SIGN.sub(r"\1", _ROW_GAP.sub("", text.replace("\\$", "$"))))
    return _SPACING.sub(" ", _LATEX_COMMA.sub("", text)).rstrip("\\ ").strip()


def _spelled(text: str) -> str:
    """Write functions, fractions, powers, relations and numerals in one way."""
    for pattern, replacement in _SPELLINGS:
        text = pattern.sub(replacement, text)
    text = _INFINITY.sub(r"\\infty ", _FUNCTION.sub(r"\\\1 ", _braced(text)))
    text = _SHORT_FRACTION.sub(_full_fraction, _REPEATING.sub(_repeating, text))
    text = _LONG_POWER.sub(r"^{\1}", _SHORT_ROOT.sub(_full_root, text))
    return _COMMAS.sub(_without_commas, text)


def _kept_space(match: re.Match[str]) -> str:
    return match[1] + " " if match[1] else ""


def _unstyled(text: str) -> str:
    r"""Return the content of a text that is one group, such as `\mathbf{…}` or `{…}`."""
    match = _STYLED.fullmatch(text)
    if match is None or re.search(r"\\(?:choose|over)(?![A-Za-z])", text):
        return text
    depth = 0
    for brace in re.findall(r"(?<!\\)[{}]", match[1]):
        depth += 1 if brace == "{" else -1
        if depth < 0:
            return text
    return text if depth else match[1].strip()


def _repeating(match: re.Match[str]) -> str:
    whole, once, again = match.groups()
    value = Fraction(
        int(whole + once + again) - int(whole + once or 0), 10 ** len(once) * (10 ** len(again) - 1)
    )
    return f"\\frac{{{value.numerator}}}{{{value.denominator}}}"


def _without_commas(match: re.Match[str]) -> str:
    return match.group().replace(",", "").replace(" ", "")


def _is_prose(text: str) -> bool:
    """Return whether a text is words, which math-verify would read as products of letters.

    To it, "Evelyn" equals "Nevely".
    """
    if not _WORDS.fullmatch(text) or _FUNCTION.search(text) or _INFINITY.fullmatch(text):
        return False
    return text.lower() == "no" or any(len(word) > 2 for word in re.findall(r"[^\W\d_]+", text))


def _full_root(match: re.Match[str]) -> str:
    return f"\\sqrt{match[1] or ''}{{{match[2]}}}"


def _full_fraction(match: re.Match[str]) -> str:
    top, digit, bottom, last = match.groups()
    return f"\\frac{{{digit if top is None else top}}}{{{last if bottom is None else bottom}}}"
