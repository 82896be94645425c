r"""The text of numerals as tokens: LaTeX, markdown and foreign digits written plainly, then cut.

A digit that a letter touches is a part of a word (`H2O`, `m^2`, `x_1`) and no numeral.
"""

from __future__ import annotations

import re
import unicodedata
from typing import NamedTuple

from .plain_text import normalise

#: Scripts that set no space between a word and a number.
_DENSE = "\u0e00-\u0e4f\u3005\u3040-\u30fc\u3400-\u9fff\uac00-\ud7af"
_LETTER = (
    "A-Za-zªµº\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u0dff\u0e80-\u1fff\u2c00-\u2dff\ua640-\uabff"
    "\ufb00-\ufdff\ufe70-\ufefc"
)
_TOKEN = re.compile(
    rf"""(?P<number>(?:[0-9]+(?:[.,'_][0-9]+)*|(?<![0-9{_LETTER}_.)\]])\.[0-9]+)
        (?:[eE][+-]?[0-9]+(?![0-9{_LETTER}_]))?)
    |(?P<word>(?<=[0-9万萬亿億千百만억조])(?:[万萬亿億兆만억조]|[千百](?![克米瓦焦卡赫伏分])))
    |(?P<dense>[{_DENSE}])
    |(?P<letters>[{_LETTER}]+(?:'[{_LETTER}]+)*
        (?:[0-9][0-9{_LETTER}]*|\^(?:[-+]?[0-9]+|[{{(][-+]?[0-9]+[)}}])|_(?:[0-9]+|\{{[0-9]+\}})
        |-[0-9][0-9{_LETTER}]*)*)
    |(?P<command>\\[A-Za-z]+|\\.)
    |(?P<line>\n\s*)
    |(?P<sign>[^\s])""",
    re.VERBOSE,
)
#: Letters of a currency may touch its amount.
_CURRENCY = re.compile(
    rf"(?<![{_LETTER}0-9_])(?:(?:US|CA|C|AU?|NZ|HK|S|R|NT|MX)\$|(?i:USD|EUR|GBP|INR|JPY|CNY|RMB|CHF"
    r"|CAD|AUD|NZD|SGD|HKD|SEK|NOK|DKK|PLN|CZK|HUF|BRL|MXN|AED|SAR|KRW|IDR|THB|MYR|PHP|ZAR|TRY|RUB"
    r"|UAH|ILS)|RM|Rp\.?|Rs\.?|PTE|Fr\.)(?=\s?[-+(]?\s?\.?[0-9])"
)
_TAG = re.compile(r"</?(?P<name>[A-Za-z][A-Za-z0-9]{0,15})(?:\s[^<>=]{1,20}=[^<>]{0,100})?\s?/?>")
_CALCULATION = re.compile(r"<<[^<>\n]{0,200}>>")
_ARROW = re.compile(r"(?:={1,2}|-{1,2})>|[→⇒⟹↦⟶]")
_CHANGE = re.compile(r"(?<=[0-9])(?:->|→)(?=[0-9])")
_NARROW = re.compile(r"(?<=[0-9])(?:[\u00a0\u2007-\u2009\u202f]|\\[,; ]|~)(?=[0-9]{3}(?![0-9]))")
_FOREIGN_DIGIT = re.compile(r"(?![0-9])\d")
_FOREIGN = str.maketrans("٫٬،।", ".,,.")
_MARKDOWN = re.compile(r"\*{1,3}|__|`+")
_BULLET = re.compile(r"^[ \t]*[*•][ \t]+", re.MULTILINE)

_LATEX_SIGNS = {
    **dict.fromkeys(["times", "ast"], "×"), "cdot": "·", "div": "÷", "pm": "±", "mp": "±",
    **dict.fromkeys(["approx", "sim", "simeq", "cong"], "≈"),
    **dict.fromkeys(["le", "leq", "leqslant"], "≤"),
    **dict.fromkeys(["ge", "geq", "geqslant"], "≥"),
    "lt": "<", "gt": ">", "ne": "≠", "neq": "≠", "degree": "°", "pi": "π", "sqrt": "√",
    **dict.fromkeys(["Rightarrow", "implies", "therefore", "equiv"], "="),
    "dots": "...", "ldots": "...", "cdots": "...", "euro": "€", "pounds": "£", "celsius": "°C",
    "percent": "%", "lbrace": "{", "rbrace": "}", "mu": "μ", "Omega": "Ω",
    "left": "", "right": "",
    **dict.fromkeys(
        ["displaystyle", "quad", "qquad", "hspace", "boxed", "fbox", "bf", "rm",
         "text", "textbf", "textrm", "textit", "textsf", "texttt", "mathrm", "mathbf", "mathit",
         "mathsf", "mbox", "operatorname", "boldsymbol", "bm", "emph", "underline", "ensuremath"],
        " ",
    ),
}  # fmt: skip
_LATEX_STYLE = re.compile(
    r"(?:\\(?:text(?:bf|rm|it|sf|tt)?|math(?:rm|bf|it|sf)|mbox|boldsymbol|bm|emph|underline"
    r"|boxed|fbox))\s*\{([^{}]{0,200})\}"
)
_LATEX_COMMA = re.compile(r"(?<=[0-9])\s?\{,\}\s?(?=[0-9])|(?<=[0-9]),\\[!,]\s?(?=[0-9]{3})")
_LATEX_DEGREE = re.compile(r"\^\s*(?:\{\s*\\circ\s*\}|\\circ(?![A-Za-z])|∘)")
_LATEX_FRACTION = re.compile(
    r"(?P<whole>[0-9])?\s*\\[dtc]?frac\s*"
    r"(?:\{\s*(-?[0-9.,]+)\s*\}|([0-9]))\s*(?:\{\s*([0-9.,]+)\s*\}|([0-9]))"
)
_LATEX_EXPONENT = re.compile(r"\^\s*\{\s*([-+]?)\s*([0-9]+)\s*\}")
_LATEX_SPACING = re.compile(r"\\[!,;:> ]|~")
_LATEX_COMMAND = re.compile(r"\\([A-Za-z]+)\*?")


class Token(NamedTuple):
    """A piece of text: its kind, text and span, and whether white space stands before it."""

    kind: str
    text: str
    start: int
    end: int
    gap: bool


def tokens(text: str) -> list[Token]:
    """Return the tokens of a text that `plainly` wrote."""
    found: list[Token] = []
    end = 0
    currencies = {match.start(): match for match in _CURRENCY.finditer(text)}
    position, length = 0, len(text)
    while position < length:
        match = _TOKEN.match(text, position)
        if match is None:  # white space, or a character of no class
            position += 1
            continue
        kind = match.lastgroup or "sign"
        if position in currencies:
            match, kind = currencies[position], "currency"
        if kind == "dense" and found and found[-1].kind == "dense" and end == position:
            last = found.pop()
            found.append(last._replace(text=last.text + match[0], end=match.end()))
        else:
            kind = _sign_kind(match[0]) if kind == "sign" else kind.replace("letters", "word")
            found.append(Token(kind, match[0], position, match.end(), position > end or not found))
        position = end = match.end()
    return found


def _sign_kind(character: str) -> str:
    return "currency" if unicodedata.category(character) == "Sc" else "sign"


def plainly(text: str) -> str:
    """Write a text without LaTeX, markdown and tags, and all digits as 0 to 9."""
    text = text.replace("—", " - ")
    if not text.isascii() or "\\" in text:
        text = _NARROW.sub("_", _FOREIGN_DIGIT.sub(_ascii_digit, text.translate(_FOREIGN)))
    text = _ARROW.sub(" = ", normalise(_CHANGE.sub("…", text)))
    if "<" in text:
        text = _TAG.sub(_untagged, _CALCULATION.sub("", text))
    if "\\" in text or "{" in text or "^" in text:
        text = _unlatex(text)
    if "*" in text or "`" in text or "__" in text or "•" in text:
        text = _MARKDOWN.sub(_unmarked, _BULLET.sub("", text))
    return text


def _ascii_digit(match: re.Match[str]) -> str:
    return str(unicodedata.decimal(match[0]))


def _untagged(match: re.Match[str]) -> str:
    is_opening = not match[0].startswith("</")
    return {"sup": "^" * is_opening, "sub": "_" * is_opening, "br": "\n"}.get(match["name"], " ")


def _unmarked(match: re.Match[str]) -> str:
    """Remove emphasis, but keep the stars of a product or power."""
    text, (start, end) = match.string, match.span()
    before, after = text[max(0, start - 1) : start], text[end : end + 1]
    if match[0][0] == "*":
        is_operand = before and before in "0123456789)}"
        if match[0] != "***" and is_operand and after and after in "0123456789(-$+\\{":
            return match[0]
        if len(match[0]) < 3 and before.isspace() and (after.isspace() or not after):
            return match[0]
        if match[0] == "*" and is_operand and after == " ":
            return match[0]
    return " " if match[0][0] == "`" else ""


def _unlatex(text: str) -> str:
    text = _LATEX_COMMA.sub(",", text.replace("\\$", "$").replace("\\%", "%").replace("\\\\", "\n"))
    text = _LATEX_DEGREE.sub("°", text)
    for _ in range(2):
        text = _LATEX_STYLE.sub(_unstyled, text) if "\\" in text else text
    text = _LATEX_EXPONENT.sub(r"^{\1\2}", _LATEX_FRACTION.sub(_fraction, text))
    text = _LATEX_COMMAND.sub(_plain_command, _LATEX_SPACING.sub(" ", text))
    return text.replace("\\(", "$").replace("\\)", "$").replace("\\[", "$").replace("\\]", "$")


def _fraction(match: re.Match[str]) -> str:
    whole, top, digit, bottom, last = match.groups()
    times = "·" if match.string[match.end() : match.end() + 1].isdigit() else ""
    return f"{whole + ' ' if whole else ''}{top or digit}/{bottom or last}{times}"


def _unstyled(match: re.Match[str]) -> str:
    """Return the content; digits in it do not join those beside it."""
    return f" {match[1]} " if any(map(str.isdigit, match[1])) else match[1]


def _plain_command(match: re.Match[str]) -> str:
    return _LATEX_SIGNS.get(match[1], match[0])
