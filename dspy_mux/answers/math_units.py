r"""Units, ordinals, scale words, degrees and times of day around a mathematical answer.

Like the graders of MATH, units are dropped: `15\ \text{cm}^2` is 15, `12^{\mathrm{th}}` grade 12.
A letter that touches a number stays a variable: `5m` is a product. Degrees within a trigonometric
function are an angle, so that `\cos 60^\circ` is 1/2.
"""

from __future__ import annotations

import re

from .math_extract import MATH_WORDS

_STYLE = r"(?:text|mbox|textrm|textbf|textit|textnormal|textsf|mathrm|mathbf|mathit|operatorname)"
_SHORT = (
    r"[cdkmnµμu]m|[kmµμ]g|m[lL]|[cdk]l|cc|kph|mph|kmh|ft|in|yd|mi|lbs?|oz|gal|qt|pt|sq|cu|hrs?|min"
    r"|sec|mins|secs|ms|yrs?|[kM]?Hz|[kM]?Pa|[kMm]?J|k?W|kWh|[km]?V|m?A|k?N|mol|rad|deg|rpm"
)
_PER = r"(?:\s*/\s*|\s*\\cdot\s*|\s+per\s+|\s)"
_POWER = r"(?:\s*(?:\^\s*\{?\s*-?\d\s*\}?|[²³]))?"
_WORDS = rf"(?:(?:{_SHORT}|[A-Za-z]{{3,}})\.?(?:\s+[A-Za-z]{{2,}}\.?){{0,3}})"
_NUMBER_ENDS = r"(?:(?<=[\d})!])|(?<=\d\.)|(?<=\\pi)|(?<=[^A-Za-z]pi))"
_NO_UNIT = (
    rf"(?!(?:{MATH_WORDS}|abcd?|pqrs?|xyz|to|is|are|has|have|if|when|where|for|than|less|more"
    r"|(?:ten|hundred|thousand|million)ths?)\b)"
)
_WRAPPED = re.compile(
    rf"\s*\\{_STYLE}\s*\{{\s*(?!(?:and|or|mod)\b)([A-Za-zµμ°][A-Za-zµμ°. /²³^\d-]{{0,40}})\}}"
    rf"({_POWER})$"
)
_BARE = re.compile(
    rf"{_NUMBER_ENDS}\s+{_NO_UNIT}"
    rf"(?:(?:{_SHORT}|m|L|units?|inch(?:es)?|feet|foot|[a-z]+met(?:er|re)s?)\s*\^\s*\{{?\d\}}?"
    rf"|(?:{_SHORT}|[A-Za-z]{{3,}}|m|g|L|J|N)"
    rf"(?:{_PER}(?:{_SHORT}|[A-Za-z]{{3,}}|s|h|m|g|K){_POWER}){{1,2}}"
    rf"|{_WORDS})$"
)
_TOUCHING = re.compile(r"(?<=\d)(?:cm|kg|mg|mL|ft|lbs?|mph|km/h|m/s|ft/s)(?:\^\s*\{?\d\}?|[²³])?$")
_ORDINAL = re.compile(
    rf"(?<=\d)\s*(?:\^\s*\{{?\s*)?(?:\\{_STYLE}\s*\{{\s*|\\rm\s+)?"
    r"(?:st|nd|rd|th)(?![A-Za-z])\s*\}{0,2}"
)
_AFTER_ORDINAL = re.compile(rf"\s*(?:\\{_STYLE}\s*\{{)?\s*[A-Za-z. ]{{0,40}}\}}?$")
_SCALE = re.compile(
    r"(?<=[\d}])\s*(\\text\s*\{\s*|\s)(dozen|hundred|thousand|million|billion|trillion)\b"
)
_SCALES = {"hundred": 2, "thousand": 3, "million": 6, "billion": 9, "trillion": 12}
_TIME = re.compile(
    rf"(?:\\{_STYLE}\s*\{{\s*)?(\d{{1,2}})(?:\s*\{{?:\}}?\s*(\d\d))?\s*(?:\\{_STYLE}\s*\{{\s*)?"
    r"([ap])\s*\.?\s*m\s*\.?\s*\}?",
    re.IGNORECASE,
)
_TRIGONOMETRIC = re.compile(r"\\?(?<![a-z])(?:sin|cos|tan|cot|sec|csc)(?![a-z])")
DEGREE = re.compile(
    r"\s*(?:\^\s*(?:\{\s*\\(?:circ|degree)\s*\}|\\(?:circ|degree)(?![A-Za-z]))"
    r"|\\degree(?![A-Za-z])|\\text(?:degree|\{\s*degrees?\s*\})|(?<=\d)\s+degrees?\b)"
)
_ANGLE = re.compile(
    r"(?:\d{1,20}(?:\.\d{1,20})?|\.\d{1,20}|[A-Za-z]|\\[a-z]+"
    r"|\\[dt]?frac\s*\{[^{}]*\}\s*\{[^{}]*\}|\([^()]*\))\s*$"
)
_SIGNS = re.compile(r"\\?[%$€£¥₹¢]|\\cents?(?![A-Za-z])")
_TURN = r"\cdot\frac{\pi}{180}"


def without_units(text: str) -> str:
    r"""Return an answer without its unit, currency, percent and degree signs.

    >>> without_units(r"15\text{ cm}^2"), without_units("4 in/s"), without_units("5m")
    ('15', '4', '5m')
    """
    text = _SIGNS.sub("", _degrees(text)).strip()
    text = _SCALE.sub(_power_of_ten, text)
    ordinal = _ORDINAL.search(text)
    if ordinal and _AFTER_ORDINAL.fullmatch(text, ordinal.end()):
        number = text[: ordinal.start()]
        return number if number.isdigit() else text
    for _ in range(3):  # \text{ cm}/\text{s}
        wrapped = _WRAPPED.search(text)
        if wrapped is None or not text[: wrapped.start()].strip(" (=,"):
            break
        head = text[: wrapped.start()]
        if head.rstrip().endswith(("/", "\\cdot")):
            text = head.rstrip().removesuffix("/").removesuffix("\\cdot")
            continue
        if not re.search(r"[\w})\]!.]\s*$", head) or head.rstrip().endswith((",", "=", "(")):
            break
        text = head
    return _TOUCHING.sub("", _BARE.sub("", text.rstrip())).strip()


def time_of_day(text: str) -> str | None:
    r"""Return the canonical text of a time with its half of the day, or None.

    >>> time_of_day(r"7\!:\!45 \text{ p.m.}"), time_of_day("12:00")
    ('\\text{7:45 pm}', None)
    """
    match = _TIME.fullmatch(re.sub(r"\\[!,;: ]|~", "", text.strip()))
    if match is None or int(match[1]) > 12 or int(match[2] or 0) > 59:
        return None
    return f"\\text{{{int(match[1])}:{match[2] or '00'} {match[3].lower()}m}}"


def _degrees(text: str) -> str:
    """Drop degree signs; within a trigonometric function, write the angle in radians."""
    if not DEGREE.search(text):
        return text
    pieces: list[str] = []
    position = 0
    for match in DEGREE.finditer(text):
        before = text[position : match.start()]
        position = match.end()
        angle = _ANGLE.search(before)
        if angle is None or not _is_argument("".join([*pieces, before])):
            pieces.append(before)
        else:
            pieces.append(f"{before[: angle.start()]}({angle.group().strip()}{_TURN})")
    return "".join([*pieces, text[position:]])


def _is_argument(before: str) -> bool:
    """Return whether what follows a text stands within a trigonometric function."""
    functions = list(_TRIGONOMETRIC.finditer(before))
    if not functions:
        return False
    argument = before[functions[-1].end() :]
    if argument.count("(") > argument.count(")") or argument.count("{") > argument.count("}"):
        return True
    return not re.search(r"[-+=<>,)}]", re.sub(r"^\s*\^\s*(?:\{[^{}]*\}|\d)", "", argument)) or (
        bool(re.fullmatch(r"\s*\\[dt]?frac\s*\{[^{}]*\}\s*\{[^{}]*\}", argument))
    )


def _power_of_ten(match: re.Match[str]) -> str:
    # A \text{ that opens here stays open for the unit.
    factor = "12" if match[2] == "dozen" else f"10^{{{_SCALES[match[2]]}}}"
    return f"\\cdot {factor}{match[1]}"
