"""Sections of a reply under DSPy's markers, `[[ ## answer ## ]]`, in any form models write."""

from __future__ import annotations

import re
from collections.abc import Collection

COMPLETED = "completed"
#: Fields that hold reasoning, never an answer.
_REASONING = (
    "reasoning",
    "rationale",
    "thought",
    "thoughts",
    "thinking",
    "explanation",
    "analysis",
)
#: A marker as models write it: bold, as a heading, with other spaces or another case.
_MARKER = re.compile(
    r"(?P<start>^[ \t]{0,8}[#>]{0,6}[ \t]?)?(?P<lead>[*_`]{0,3})"
    r"\[\[[ \t]?\#{1,3}[ \t]?(?P<name>\w{1,80})[ \t]?\#{1,3}[ \t]?\]\]"
    r"(?P<trail>[*_`]{0,3}:?)(?P<end>[ \t]*$)?",
    re.MULTILINE,
)
_PLAIN = re.compile(r"^\[\[ ## (\w+) ## \]\]", re.MULTILINE)


def with_plain_markers(text: str, fields: Collection[str] | None = None) -> str:
    """Write markers as DSPy reads them, each at the start of a line.

    Args:
        text: a reply.
        fields: the names that are fields; None for any.

    >>> with_plain_markers("**[[## Answer ##]]** Paris[[ ## completed ## ]]", ["answer"])
    '[[ ## answer ## ]] Paris\\n[[ ## completed ## ]]'
    """
    if "[[" not in text:
        return text
    names = None if fields is None else {name.lower(): name for name in (*fields, COMPLETED)}
    found = list(_MARKER.finditer(text))
    # Within a line a marker may be quoted: it counts only where it ends the line or the reply, or
    # where a reply that begins with a marker has no other one of its name.
    quoted = {match["name"].lower() for match in found if match["start"] is not None}
    all_count = bool(found) and not text[: found[0].start()].strip()

    def plain(match: re.Match[str]) -> str:
        name = match["name"].lower()
        known = name if names is None else names.get(name)
        starts_line = match["start"] is not None
        ends = match["end"] is not None or known == COMPLETED
        if known is None or not (starts_line or ends or (all_count and name not in quoted)):
            return match.group()
        return f"{'' if starts_line else chr(10)}[[ ## {known} ## ]]{match['end'] or ''}"

    return _MARKER.sub(plain, text)


def section(text: str, field: str) -> str | None:
    """Return what stands under the first plain marker of `field`; None without that marker."""
    return _sections(text).get(field)


def answer_section(text: str) -> str | None:
    """Return the last section that may hold an answer; the text itself without any marker.

    None where only reasoning stands there.

    >>> answer_section("[[ ## reasoning ## ]]\\nIt rains.\\n\\n[[ ## answer ## ]]\\nyes")
    'yes'
    """
    if "[[" not in text:
        return text
    text = with_plain_markers(text)
    sections = _sections(text)
    if sections.keys() <= {COMPLETED}:
        return text.partition(f"[[ ## {COMPLETED} ## ]]")[0].rstrip()
    given = [name for name in sections if name not in (*_REASONING, COMPLETED)]
    return sections["answer" if "answer" in given else given[-1]] if given else None


def is_closed(text: str, field: str) -> bool:
    """Return whether a next marker begins after a field's value, which is whole then."""
    _, marker, after = text.partition(f"[[ ## {field} ## ]]")
    return bool(marker) and "\n[[" in after


def _sections(text: str) -> dict[str, str]:
    """Return the sections under plain markers, the first of each name."""
    parts = _PLAIN.split(text)
    found: dict[str, str] = {}
    for name, value in zip(parts[1::2], parts[2::2], strict=True):
        found.setdefault(name, value.strip())
    return found
