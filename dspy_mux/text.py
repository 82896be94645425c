"""TODO"""

from __future__ import annotations

import re

#: Controls that turn the direction of the text around them, and ends of lines that are none to most programs: what is shown could
#: then not be told from what is there.
_TURNING = "\u061c\u200e\u200f\u2028\u2029\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"


_VISIBLE = {
    **{code: chr(0x2400 + code) for code in range(0x20) if chr(code) not in "\n\t"},
    0x7F: "\u2421",
    **{ord(mark): f"⟨U+{ord(mark):04X}⟩" for mark in _TURNING},
    **dict.fromkeys(range(0x80, 0xA0), "\ufffd"),
    **dict.fromkeys(
        range(0xD800, 0xE000), "\ufffd"
    ),  # halves of characters, which no file can hold
}


_HALF = re.compile("[\ud800-\udfff]")


def visible(text: str) -> str:
    """The text with its control characters shown as signs; line ends and tabs stay."""
    return text.translate(_VISIBLE)


def whole(text: str) -> str:
    """The text with U+FFFD where it has half a character, which no file and no request can hold."""
    return text if text.isascii() else _HALF.sub("\ufffd", text)


def in_markdown(text: str) -> str:
    """Text for a Markdown table: neither a cell's end, nor markup, nor HTML."""
    text = " ".join(visible(text).splitlines())
    for sign in "\\|*_`[]~":
        text = text.replace(sign, "\\" + sign)
    return text.replace("&", "&amp;").replace("<", "&lt;")
