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
from .math_extract import MATH_WORDS
from .plain_text import fold, normalise, unwrap

MAX_LENGTH = 10_000  # characters; a longer answer is only folded

_SYMBOLS = {
    ord(character): latex
    for character, latex in {
        "π": r"\pi ", "∞": r"\infty ", "×": r"\cdot ", "·": r"\cdot ", "⋅": r"\cdot ", "÷": "/",
        "±": r"\pm ",
        "≤": r"\le ", "≥": r"\ge ", "≠": r"\ne ", "∪": r"\cup ", "∩": r"\cap ", "∈": r"\in ",
        "√": r"\sqrt ", "θ": r"\theta ", "α": r"\alpha ", "β": r"\beta ", "°": "",
        "≈": r"\approx ", "∅": r"\emptyset ", "ℝ": r"\mathbb{R}",
        "¼": " 1/4", "½": " 1/2", "¾": " 3/4", "⅓": " 1/3", "⅔": " 2/3",
        **{power: f"^{digit}" for digit, power in enumerate("⁰¹²³⁴⁵⁶⁷⁸⁹")},
    }.items()
}  # fmt: skip
_SPACING = re.compile(
    r"(?<!\\)\\(?:[!,;:> ]|quad|qquad|displaystyle|limits|left|right|[bB]igg?[lr]?)(?![A-Za-z])|~"
)
_LATEX_COMMA = re.compile(r"(?<=\d)(?:\{,\}|,\\!)\s*(?=\d{3})")
_COMMAS = re.compile(r"(?<![\w.,(\[{])\d{1,3}(?:(?:,\d{3})+|(?: \d{3}(?! ?/))+)(?![\d,)\]}])")
_SIGNS = re.compile(
    r"\^\s*(?:\{\s*\\(?:circ|degree)\s*\}|\\(?:circ|degree)(?![A-Za-z]))|\\degree"
    r"|\\?[%$€£¥₹¢]|\\cents?(?![A-Za-z])"
)
_UNIT = re.compile(
    r"(?<=[^\s=(,])\s*\\(?:text|mbox|textrm|mathrm)\s*"
    r"\{\s*(?!(?:and|or)\b)[A-Za-z][A-Za-z. /]{0,40}\}(?:\^\{?\d\}?)?$"
)
_UNIT_WORDS = re.compile(
    r"(?:(?<=[\d})])|(?<=\\pi)|(?<=[^A-Za-z]pi))\s+"
    rf"(?!(?:{MATH_WORDS}|abcd?|pqrs?|xyz|(?:ten|hundred|thousand)ths?)\b)"
    r"(?:(?:[cdkm]?m|in|ft|yd|mi|inches|feet|units|[a-z]+meters)\^\{?\d\}?"
    r"|(?:[ck]?m|ft|mi)/(?:s|h|hr|min)(?:\^\{?2\}?)?"
    r"|(?:[A-Za-z]{3,}|[cdkm]m|[km]g|sq|ft|in|yd|hr|lb|oz)\.?(?:\s[A-Za-z]{2,}){0,3})$"
)
_SCALE = re.compile(
    r"(?<=[\d}])\s*(\\text\s*\{\s*|\s)(hundred|thousand|million|billion|trillion)\b"
)
_SCALES = {"hundred": 2, "thousand": 3, "million": 6, "billion": 9, "trillion": 12}
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
    r"\\(?:text|mbox|textbf|textit|textrm|mathrm|mathbf|mathit|operatorname)\s*\{([^{}]*)\}"
)
_FRACTION = re.compile(r"\\[dtc]frac(?![A-Za-z])")
_SHORT_FRACTION = re.compile(r"\\frac\s*(?:\{([^{}]*)\}|(\d))\s*(?:\{([^{}]*)\}|(\d))")
_SHORT_ROOT = re.compile(r"\\sqrt\s*(\d+|[A-Za-z])")
_LONG_POWER = re.compile(r"\^\s*(-?\d{2,}|-\d)")
_FUNCTION = re.compile(
    r"(?<![\\A-Za-z])(arcsin|arccos|arctan|sin|cos|tan|sec|csc|cot|log|ln|exp|pi|theta)(?![A-Za-z])"
)
_INFINITY = re.compile(r"(?<![\\A-Za-z])(?:infinity|infty|oo|inf)(?![A-Za-z])", re.IGNORECASE)
_OPENING = re.compile(r"(?P<root>(?<![\\A-Za-z])sqrt\s*\(|\\sqrt\s*\()|(?P<power>\^\s*\()|[()]")
_ASSIGNED = re.compile(
    r"(?:[A-Za-z](?:_\{?\w\}?)?|[A-Za-z]\([A-Za-z]\)|\((?:\s*(?:[A-Za-z]|\\[a-z]+)\s*[,)]){2,9})"
    r"\s*(?:=|\\in(?![A-Za-z]))\s*(?=[^=\s])"
)
_STYLED = re.compile(
    r"(?:\\(?:mathbf|boldsymbol|bm|mathit|mathrm|text(?:bf|it|rm)?)\s*)?\{(.*)\}", re.DOTALL
)
_LEADING = re.compile(r"=\s*(?=\S)")
_ROW_GAP = re.compile(r"(?<=\\\\)\[\s*-?[\d.]+\s*(?:pt|ex|em|mm|cm|in)\s*\]")
_REPEATING = re.compile(r"(\d{0,20})\.(\d{0,20})\\(?:overline|bar)\s*\{?(\d{1,20})\}?")
_RELATION = re.compile(r"\\(le|ge|ne)q?(?:slant)?(?![A-Za-z])")
_LESS = r"\s*(<|\\le(?![A-Za-z]))\s*"
_MORE = r"\s*(>|\\ge(?![A-Za-z]))\s*"
_BETWEEN = re.compile(rf"([^,=<>]+?){_LESS}[A-Za-z]{_LESS}([^,=<>]+)")
_BELOW = re.compile(rf"[A-Za-z]{_LESS}(?P<value>[^,=<>]+)|(?P<turned>[^,=<>]+?){_MORE}[A-Za-z]")
_ABOVE = re.compile(rf"[A-Za-z]{_MORE}(?P<value>[^,=<>]+)|(?P<turned>[^,=<>]+?){_LESS}[A-Za-z]")
_LETTER = re.compile(r"(?<![A-Za-z\\])[A-Za-z]")
_SPACE = re.compile(r"(\\[A-Za-z]+(?=\s+[A-Za-z])|\d(?=\s+\d))\s+|\s+")
_AND = re.compile(r",?\s+(?:and|or)\s+")
_UNION = re.compile(r"(?<=[)\]])\s*U\s*(?=[(\[])")
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
    return _canonical(answer) if len(answer) <= MAX_LENGTH else fold(answer)


@lru_cache(maxsize=4096)
def _canonical(answer: str) -> str:
    text = normalise(answer.translate(_SYMBOLS)).strip()
    if text.startswith(("\\boxed", "\\fbox", "$\\boxed")) and (boxes := boxed(text)):
        text = boxes[-1]
    if text in ("\\[", "\\]", "\\(", "\\)", "```"):
        return ""
    text = unwrap(SPACED_SIGN.sub(r"\1", _ROW_GAP.sub("", text.replace("\\$", "$"))))
    text = _SPACING.sub(" ", _LATEX_COMMA.sub("", text))
    text = _SCALE.sub(_power_of_ten, _SIGNS.sub("", text)).strip()
    text = _UNIT_WORDS.sub("", _UNIT.sub("", _unstyled(text)))
    text = _TEXT.sub(r"\1", text).strip()
    text = _LEADING.sub("", text, count=1) if _LEADING.match(text) else text
    if option := _OPTION.fullmatch(text):
        return next(filter(None, option.groups())).upper()
    if _is_prose(text):
        return "\\text{" + re.sub(r"^(?:an?|the) ", "", fold(text)) + "}"
    if (base := _BASE.fullmatch(text)) and (named := base[2] or base[3]):
        text = f"{base[1]}_{_BASES.get(named.lower(), named)}"
    text = _UNION.sub(r"\\cup ", _AND.sub(", ", text))
    text = (
        text.replace("**", "^").replace("<=", r"\le ").replace(">=", r"\ge ").replace("!=", r"\ne ")
    )
    text = _INFINITY.sub(r"\\infty ", _FUNCTION.sub(r"\\\1 ", _braced(text))).replace(
        "\\varnothing", "\\emptyset"
    )
    text = text.replace("*", r"\cdot ")
    text = _RELATION.sub(r"\\\1 ", text)
    text = _SHORT_FRACTION.sub(
        _full_fraction, _FRACTION.sub(r"\\frac", _REPEATING.sub(_repeating, text))
    )
    text = _LONG_POWER.sub(r"^{\1}", _SHORT_ROOT.sub(r"\\sqrt{\1}", text))
    text = _value(text)
    text = _SPACE.sub(
        lambda match: match[1] + " " if match[1] else "", _COMMAS.sub(_without_commas, text)
    )
    return _interval(text).replace(",", ", ")  # "100, 200" stays two numbers


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


def _value(text: str) -> str:
    r"""Return the value that an equation ends on: 3 for `x = 3`, 5 for `x = 2 + 3 = 5`.

    Of `1/3 \approx 0.33` the exact side, 1/3.
    """
    exact, _, rounded = text.partition("\\approx")
    if rounded.strip() and "," not in text:
        term = exact.rpartition("=")[2]
        text = rounded if not term.strip() or _has_letters(term) else exact
    sides = text.split("=")
    if "," not in text and all(side.strip() and not _has_letters(side) for side in sides[1:]):
        if not _has_letters(sides[0]):
            return sides[-1]
        text = "=".join([sides[0], *sides[1:][-1:]])
    if text.count("=") + text.count("\\in") - text.count("\\inf") == 1 and (
        assigned := _ASSIGNED.match(text)
    ):
        return text[assigned.end() :]
    return text


def _interval(text: str) -> str:
    r"""Write an inequality of one variable as its interval: `0 < x \le 1` as `(0, 1]`."""
    between = _BETWEEN.fullmatch(text)
    if between and not (_has_letters(between[1]) or _has_letters(between[4])):
        left, right = "(" if between[2] == "<" else "[", ")" if between[3] == "<" else "]"
        return f"{left}{between[1]},{between[4]}{right}"
    for form, sign in ((_BELOW, "<"), (_ABOVE, ">")):
        if match := form.fullmatch(text):
            bound = (match["value"] or match["turned"]).strip()
            open_ = any(group in ("<", ">") for group in match.groups())
            if not _has_letters(bound):
                if sign == "<":
                    return f"(-\\infty,{bound}{')' if open_ else ']'}"
                return f"{'(' if open_ else '['}{bound},\\infty)"
    return text


def _has_letters(text: str) -> bool:
    return bool(_LETTER.search(text))


def _power_of_ten(match: re.Match[str]) -> str:
    # A \text{ that opens here stays open for the unit.
    return f"\\cdot 10^{{{_SCALES[match[2]]}}}{match[1]}"


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


def _full_fraction(match: re.Match[str]) -> str:
    top, digit, bottom, last = match.groups()
    return f"\\frac{{{digit if top is None else top}}}{{{last if bottom is None else bottom}}}"
