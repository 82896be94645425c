"""Make models' text safe for terminals, files and Markdown: what may be shown.

`redact.py` holds the other half: what must not be shown.
"""

from __future__ import annotations

import re

#: Controls that reverse the text around them, and line ends that most programs do not treat as
#: such. A reader would see something other than what is there.
_MISLEADING = "\u061c\u200e\u200f\u2028\u2029\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"

_VISIBLE = {
    **{code: chr(0x2400 + code) for code in range(0x20) if chr(code) not in "\n\t"},
    0x7F: "\u2421",
    **{ord(mark): f"⟨U+{ord(mark):04X}⟩" for mark in _MISLEADING},
    **dict.fromkeys(range(0x80, 0xA0), "\ufffd"),
    **dict.fromkeys(range(0xD800, 0xE000), "\ufffd"),  # lone surrogates
}

_SURROGATE = re.compile("[\ud800-\udfff]")


def visible(text: str) -> str:
    r"""Replace control characters by visible signs; line ends and tabs stay.

    >>> visible("red: \x1b[31m")
    'red: ␛[31m'
    """
    return text.translate(_VISIBLE)


def whole(text: str) -> str:
    r"""Replace lone surrogates, which no file and no request can hold, by U+FFFD.

    >>> whole("half \ud83d of an emoji")
    'half � of an emoji'
    """
    return text if text.isascii() else _SURROGATE.sub("\ufffd", text)


def shortened(text: str, longest: int) -> str:
    """Return a text of at most `longest` characters; a cut is shown by an ellipsis.

    >>> shortened("Antananarivo", 6)
    'Antan…'
    """
    return text if len(text) <= longest else text[: longest - 1] + "…"


def first_line(error: BaseException) -> str:
    r"""Return the first line of an error's message, or the error's type where it has no message.

    >>> first_line(ValueError("no such file\nTraceback …"))
    'no such file'
    >>> first_line(TimeoutError())
    'TimeoutError'
    """
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def number(value: float, form: str) -> str:
    """Format a number for people; a negative one begins with a minus sign, U+2212.

    >>> number(-1234.5, ",.1f")
    '−1,234.5'
    """
    return format(value, form).replace("-", "\u2212")


def signed(value: float, digits: int = 1) -> str:
    """Format a difference with its sign; what rounds to zero is +0.

    >>> signed(-2.34), signed(0.7), signed(-0.01)
    ('−2.3', '+0.7', '+0.0')
    """
    return number(round(value, digits) + 0.0, f"+.{digits}f")


def parameters_text(count: int) -> str:
    """Return a model's number of parameters as models' names have it.

    >>> parameters_text(494_032_768), parameters_text(1_543_714_304)
    ('494M', '1.5B')
    """
    return f"{count / 1e9:.1f}B" if count >= 1e9 else f"{count / 1e6:.0f}M"


def in_markdown(text: str) -> str:
    r"""Escape text for a cell of a Markdown table: no cell's end, no markup, no HTML.

    >>> print(in_markdown("a | *b* <script>"))
    a \| \*b\* &lt;script>
    """
    text = " ".join(visible(text).splitlines())
    for sign in "\\|*_`[]~":
        text = text.replace(sign, "\\" + sign)
    return text.replace("&", "&amp;").replace("<", "&lt;")
