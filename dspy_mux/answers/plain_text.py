"""Plain text of an answer: Unicode folded, markdown, quotes and case removed, long texts cut.

Every scanner of this room takes time linear in the text, or looks only at its last `TAIL`
characters. No model's text is ever run.
"""

from __future__ import annotations

import re
import unicodedata

#: Characters at the end of a text in which an unmarked answer is looked for.
TAIL = 20_000

_DASHES = dict.fromkeys(map(ord, "−–—‒‐‑﹣－"), "-")
_QUOTES = {ord(c): q for q, cs in {"'": "‘’‚‛′", '"': "“”„‟″«»"}.items() for c in cs}
_CHARACTERS: dict[int, str | None] = {**_DASHES, **_QUOTES}
_INVISIBLE = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u00ad\u061c\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]"
)
#: What is not seen does not join two numbers.
_BETWEEN_DIGITS = re.compile(rf"(?<=[0-9]){_INVISIBLE.pattern}+(?=[0-9])")
#: Raised digits, but not the charge of an ion: Ca²⁺ is Ca2+.
_RAISED = re.compile("[⁺⁻]?[⁰¹²³⁴-⁹]+(?![⁰¹²³⁴-⁹⁺⁻])|(?<=[0-9])ⁿ")
#: Lowered digits after a digit: the base of 1010₂, but not the number of atoms in H₂O.
_LOWERED = re.compile("(?<=[0-9])[₀-₉]+")
#: Fractions, and digits in circles or with a full stop: never a part of the number beside them.
_OTHER_NUMBER = re.compile("[¼-¾⅐-⅞↉①-⒛⓪㉈-㉟㊱-㊿㋀-㋋㍘-㍰㏠-㏾🄀-🄊]")
#: Texts are not cut within a numeral, because a part of a numeral is another number.
_NUMERIC = "0123456789.,eE+/_-"

_LAYERS = 8  # of wrapping; a text with more is not an answer
_PAIRS = ("**", "__", "*", "_", "```", "`", "$$", "$", '"', "'")
# "- 5" is a number and "> 5" a bound, not an item of a list and a quotation.
_LEAD = re.compile(r"(?:#{1,6}|[*•]|[-+>](?!\s+(?:[\d\\$€£-]|\.\d)))\s+")
FENCE = re.compile(r"```[\w+-]*\n(.*?)\n?```", re.DOTALL)


def normalise(text: str) -> str:
    """Apply NFKC and plain dashes and quotes; drop control, zero-width and direction characters.

    A raised digit becomes a power and `½` a fraction: NFKC alone reads `10²` as 102, `2½` as 21/2.

    >>> normalise("10² and 2½")
    '10^2 and 2 1/2'
    """
    plain = _INVISIBLE.sub("", _BETWEEN_DIGITS.sub(" ", text)).translate(_CHARACTERS)
    if not plain.isascii():
        plain = _RAISED.sub(_power, plain)
        plain = _LOWERED.sub(lambda match: "_" + unicodedata.normalize("NFKC", match[0]), plain)
        plain = _OTHER_NUMBER.sub(_apart, plain)
    return unicodedata.normalize("NFKC", plain).replace("⁄", "/")


def _power(match: re.Match[str]) -> str:
    power = unicodedata.normalize("NFKC", match[0]).replace("−", "-")
    is_joined = match.string[match.end() : match.end() + 1].isdigit()
    return f"^{power}" if len(power) == 1 and not is_joined else f"^{{{power}}}"


def _apart(match: re.Match[str]) -> str:
    """Return a fraction or circled digit in plain digits that do not join those beside it."""
    plain = unicodedata.normalize("NFKC", match[0])
    if "⁄" not in plain:
        return f" {plain} "
    start, end = match.span()
    before, after = match.string[max(0, start - 1) : start], match.string[end : end + 1]
    return " " * before.isdigit() + plain + " " * after.isdigit()


def tail(text: str) -> str:
    """Return the last `TAIL` characters, without a numeral that begins before them."""
    return text if len(text) <= TAIL else text[-TAIL:].lstrip(_NUMERIC)


def head(text: str, length: int = TAIL) -> str:
    """Return the first characters, without a numeral that goes on after them."""
    return text if len(text) <= length else text[:length].rstrip(_NUMERIC)


def unwrap(text: str) -> str:
    """Strip white space, emphasis, quotes, math delimiters, bullets and end punctuation around it.

    >>> unwrap("**$5$.**")
    '5'
    """
    mathematics = False
    for _ in range(_LAYERS):
        before, text = text, text.strip()
        text = text[match.end() :] if not mathematics and (match := _LEAD.match(text)) else text
        for mark in _PAIRS:
            if _is_wrapped(text, mark):
                text = text[len(mark) : -len(mark)]
                mathematics = mathematics or mark in ("$", "$$")
        if text.startswith(("\\(", "\\[")) and text.endswith({"(": "\\)", "[": "\\]"}[text[1]]):
            text, mathematics = text[2:-2], True
        text = _strip_stop(text) or text
        if text == before:
            break
    return text


def _is_wrapped(text: str, mark: str) -> bool:
    width = len(mark)
    if len(text) <= 2 * width or not (text.startswith(mark) and text.endswith(mark)):
        return False
    return mark not in text[width:-width]


def _strip_stop(text: str) -> str:
    """Strip the punctuation that ends a sentence; "5!" is a factorial and stays."""
    text = text.rstrip(".,;:。").rstrip()
    is_sentence = text[-1:] in ("!", "?", "！", "？") and len(text) > 1 and not text[-2].isdigit()
    return text[:-1] if is_sentence else text


def unfence(text: str) -> str:
    """Return the content of a text that is one markdown code fence; any other text unchanged."""
    match = FENCE.fullmatch(text.strip()) if text.lstrip().startswith("```") else None
    return match.group(1) if match else text


def fold(text: str) -> str:
    """Return canonical text: two texts that fold alike are the same answer.

    NFKC, case, white space, surrounding punctuation and markdown are folded; articles are kept.

    >>> fold(" **Paris**. ") == fold("paris")
    True
    """
    text = " ".join(normalise(text).casefold().split())
    folded = unwrap(text)
    in_parentheses = folded.startswith("(") and folded.endswith(")")
    if in_parentheses and "(" not in folded[1:] and ")" not in folded[:-1]:
        folded = unwrap(folded[1:-1]) or folded
    return unicodedata.normalize("NFKC", folded or text)


def as_text(value: object) -> str:
    """Return a value as text; an int that is too long for Python's decimal digits as hexadecimal.

    >>> as_text(12)
    '12'
    """
    return hex(value) if isinstance(value, int) and value.bit_length() > 10_000 else str(value)
