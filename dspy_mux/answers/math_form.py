r"""What canonical mathematics says by its form alone: numbers, ratios, times, lists and tuples.

`form_key` gives all writings of such an answer one text, so that equality is exact and transitive.
A tuple or an interval keeps its order and its brackets; a list and a set are equal in any order.
"""

from __future__ import annotations

import re

from .math_number import number_key, ratio, rational

_MAX_LENGTH = 1_000
_MAX_DEPTH = 6
_BASED = re.compile(r"(\w+)_\{?(\d+)\}?")
_TIME = re.compile(r"\\text\{(\d{1,2}:[0-5]\d [ap]m)\}")
_BRACKETS = {"(": ")", "[": "]", "{": "}"}
_PLUS_MINUS = re.compile(r"([^,;]*?)\\pm\s*([^,;]+)")
_COMMAND = re.compile(r"\\[A-Za-z]+")
_RELATION = re.compile(r"[<>=]|\\(?:le|ge|ne|in|subset|supset)(?![A-Za-z])")
_SETS = re.compile(r"\\(?:cup|cap|setminus|mathbb|emptyset)(?![A-Za-z])")
_DOTS = re.compile(r"\\[lcdv]?dots(?![A-Za-z])|\.\.\.")
_OPAQUE = re.compile(r"\\text|\d{1,9}-\d{1,9}$")  # a range is no difference


def form_key(text: str) -> str | None:
    r"""Return the one text of all writings of a canonical answer, if its form is that plain.

    >>> form_key("3, 1/2"), form_key(r"\{0.5,3\}"), form_key("(3,1/2)"), form_key("x")
    ('1/2, 3', '1/2, 3', '(3, 1/2)', None)
    """
    return _form_key(text, 0) if len(text) <= _MAX_LENGTH else None


def _form_key(text: str, depth: int) -> str | None:
    text = text.strip()
    if not text or depth > _MAX_DEPTH:
        return None
    value = rational(text)
    if value is not None:
        return str(number_key(value))
    if re.fullmatch(r"[+-]?\\infty", text):
        return text.lstrip("+")
    if time := _TIME.fullmatch(text):
        return time[1]
    if based := _BASED.fullmatch(text):
        return f"{based[1].lower().lstrip('0') or '0'}_{based[2]}" if based[1].isalnum() else None
    if found := ratio(text):
        return found
    return _list_key(text, depth)


def _list_key(text: str, depth: int) -> str | None:
    if text.startswith("\\{") and text.endswith("\\}") and is_group(text[1:-2] + "}"):
        text = text[2:-2]
        parts = split(text)
    else:
        parts = split(text)
        if len(parts) == 1:
            return _tuple_key(text, depth) or _both_signs(text, depth)
    keys: list[str] = []
    for part in parts:
        key = _form_key(part, depth + 1)
        if key is None:
            return None
        keys.extend(key.split(", ") if "\\pm" in part else [key])
    return ", ".join(sorted(keys))


def _tuple_key(text: str, depth: int) -> str | None:
    if text[0] not in "([" or text[-1] not in ")]" or not is_group(text):
        return None
    parts = split(text[1:-1])
    keys = [_form_key(part, depth + 1) for part in parts]
    known = [key for key in keys if key is not None]
    if len(parts) < 2 or len(known) != len(parts):
        return None
    return f"{text[0]}{', '.join(known)}{text[-1]}"


def _both_signs(text: str, depth: int) -> str | None:
    match = _PLUS_MINUS.fullmatch(text)
    if match is None or "\\pm" in match[2]:
        return None
    middle, width = rational(match[1] or "0"), rational(match[2])
    if middle is None or width is None:
        return None
    return ", ".join(sorted(str(number_key(value)) for value in (middle - width, middle + width)))


def split(text: str) -> list[str]:
    """Split at the commas and semicolons that are in no bracket."""
    parts, depth, start = [], 0, 0
    for position, character in enumerate(text):
        if character in "([{":
            depth += 1
        elif character in ")]}":
            depth -= 1
        elif character in ",;" and depth == 0:
            parts.append(text[start:position])
            start = position + 1
    return [*parts, text[start:]]


def is_group(text: str) -> bool:
    """Return whether the first bracket of a text closes at its end, whatever its shape."""
    depth = 0
    for position, character in enumerate(text):
        depth += (character in "([{") - (character in ")]}")
        if depth == 0:
            return position == len(text) - 1
    return False


def _shape(text: str) -> str:
    """Return "list", "tuple" or "value"; "" for what may mean an interval."""
    if text.startswith("\\{") and text.endswith("\\}"):
        return "list" if len(split(text[2:-2])) > 1 or "\\pm" in text else "value"
    if len(split(text)) > 1 or "\\pm" in text:
        return "list"
    if _RELATION.search(text) or _SETS.search(text):
        return ""
    if text[:1] in ("(", "[") and text[-1:] in (")", "]") and is_group(text):
        return "tuple" if len(split(text[1:-1])) > 1 else "value"
    return "value"


def differ_in_form(a: str, b: str) -> bool:
    """Return whether two expressions differ in a way that math-verify overlooks.

    Such are R and r, the lists 3, 5 and 3, 3, 5, the tuple (1, x) and the list 1, x, a list with
    dots and one without, and the line x + 2y = 3 and the value 3.
    """
    first, second = (
        {letter for letter in _COMMAND.sub("", text) if letter.isalpha()} for text in (a, b)
    )
    if first != second and set(map(str.lower, first)) == set(map(str.lower, second)):
        return True
    if _OPAQUE.match(a) or _OPAQUE.match(b) or bool(_DOTS.search(a)) != bool(_DOTS.search(b)):
        return True
    shapes = _shape(a), _shape(b)
    if all(shapes) and shapes[0] != shapes[1]:
        return True
    commas = a.count(","), b.count(",")
    if all(shapes) and all(commas) and commas[0] != commas[1] and "\\pm" not in a + b:
        return True
    if bool(_BASED.fullmatch(a)) != bool(_BASED.fullmatch(b)):  # math-verify ignores the base
        return True
    return any(
        shape == "" and "=" in text and not _RELATION.search(other)
        for shape, text, other in ((shapes[0], a, b), (shapes[1], b, a))
    )
