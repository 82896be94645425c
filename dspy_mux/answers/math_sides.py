r"""The value that an equation or inequality states: 1/2 for `P(A) = \frac{9/2}{9} = \frac12`.

The left side is dropped where it names the answer: a letter, a function of anything, `\max f(x)`,
a segment, words. A line such as `2x + 3y = 6` is an answer itself and stays.
"""

from __future__ import annotations

import re

from .math_form import is_group, split
from .math_number import rational

_LETTER = re.compile(r"(?<![A-Za-z\\])[A-Za-z]")
_INDEX = r"(?:_(?:\{[^{}]{1,20}\}|\w))?"
_PRIMES = r"(?:'{1,3}|\^\s*(?:\*|\\prime|\{\s*(?:\*|-1|\\prime|\(\d\))\s*\}))?"
_GREEK = (
    r"\\(?:alpha|beta|gamma|delta|epsilon|varepsilon|zeta|eta|theta|kappa|lambda|mu|nu|xi|rho|sigma"
    r"|tau|phi|varphi|chi|psi|omega|Delta|Gamma|Lambda|Sigma|Phi|Psi|Omega|ell)(?![A-Za-z])\s*"
)
_ACCENT = r"\\(?:vec|hat|bar|overline|tilde|widehat|overrightarrow|mathbf|mathbb|mathcal|mathrm)\s*"
_LETTERS = rf"[A-Za-z]|{_GREEK}|{_ACCENT}(?:\{{\s*[A-Za-z]{{1,4}}\s*\}}|[A-Za-z])"
_SYMBOL = rf"(?:{_LETTERS}){_INDEX}{_PRIMES}"
_TUPLE = rf"\(\s*{_SYMBOL}(?:\s*,\s*{_SYMBOL}){{1,8}}\s*\)"
_ASSIGNED = re.compile(rf"(?:{_SYMBOL}|[A-Za-z]\([A-Za-z]\)|{_TUPLE})\s*")
_CALL = re.compile(
    rf"(?:{_SYMBOL}|\\?[A-Za-z]{{2,9}}(?:_\{{[^{{}}]{{1,40}}\}})?(?:\^\{{?\d+\}}?)?)\s*(?=[(\[|])"
)
_NAME = re.compile(
    rf"(?:m\s*)?\\(?:angle|measuredangle|triangle)\s*(?:[A-Z]{{1,3}}|{_SYMBOL})"
    r"|\\(?:over)?(?:line|rightarrow|arc)\s*\{[A-Z]{1,3}\}|[A-Z]{2,4}|\|[^|]{1,40}\||\[[A-Z]{3,8}\]"
    r"|\\\|.{1,40}\\\||\|\|[^|]{1,40}\|\||[A-Za-z][a-z]{2,}(?:[ -][A-Za-z]{2,}){0,8}"
    rf"|\\frac\{{(?:[A-Z]{{2,3}}|{_SYMBOL})\}}\{{(?:[A-Z]{{2,3}}|{_SYMBOL})\}}"
    rf"|(?:[A-Z]{{2,3}}|{_SYMBOL})[/:](?:[A-Z]{{2,3}}|{_SYMBOL})"
)
#: What a question asks for, m + n or ab; a curve's equation is in x, y and z, or equals 0.
_COMBINED = re.compile(r"[a-wA-W]{1,4}(?:\^\d)?(?:\s*[-+]\s*[a-wA-W]{1,4}(?:\^\d)?){0,5}")
_WHOLE = re.compile(
    r"\\(?:max|min|sup|inf|lim|sum|prod|i{0,2}int|oint|gcd|det|deg|dim|arg|Pr|Re|Im|lfloor|lceil"
    r"|operatorname)(?![A-Za-z])"
)
_FUNCTION = re.compile(
    r"\\(?:log|ln|exp|sin|cos|tan|cot|sec|csc|arc(?:sin|cos|tan)|binom)(?![a-z])"
)
_LESS = r"\s*(<|\\le(?![A-Za-z]))\s*"
_MORE = r"\s*(>|\\ge(?![A-Za-z]))\s*"
_BETWEEN = re.compile(rf"([^,=<>]+?){_LESS}[A-Za-z]{_LESS}([^,=<>]+)")
_BELOW = re.compile(rf"[A-Za-z]{_LESS}(?P<value>[^,=<>]+)|(?P<turned>[^,=<>]+?){_MORE}[A-Za-z]")
_ABOVE = re.compile(rf"[A-Za-z]{_MORE}(?P<value>[^,=<>]+)|(?P<turned>[^,=<>]+?){_LESS}[A-Za-z]")
_MEMBER = re.compile(rf"({_SYMBOL}|{_TUPLE})\s*\\in(?![A-Za-z])\s*(?=\S)")


def value_of(text: str) -> str:
    r"""Return the value that an equation ends on: 3 for `x = 3`, 5 for `x = 2 + 3 = 5`.

    Of `1/3 \approx 0.33` the exact side, 1/3.
    """
    parts = split(text)
    if len(parts) > 1:
        return _values_of(text, parts)
    exact, _, about = text.partition("\\approx")
    if about.strip():
        term = exact.rpartition("=")[2]
        text = about if not term.strip() or has_letters(term) else exact
    sides = _sides(text)
    if len(sides) == 1:
        member = _MEMBER.match(text)
        return text[member.end() :] if member else text
    if not all(side.strip() for side in sides):
        return text
    first, last = sides[0].strip(), sides[-1].strip()
    if all(not has_letters(side) for side in sides[1:]):
        combined = last != "0" and _COMBINED.fullmatch(first)
        if not has_letters(first) or _is_name(first) or combined:
            return last
        return f"{first}={last}"
    middle = sides[1:-1]
    if _is_assigned(first) and not any(_is_assigned(side.strip()) for side in middle):
        return last if not has_letters(last) or not middle or _is_assigned_chain(middle) else text
    return text


def _values_of(text: str, parts: list[str]) -> str:
    """Return a list without its letter: 1, 2 for `x = 1, 2` and `x = 1, x = 2`.

    In `x = 1, y = 2` the letters matter.
    """
    sides = [_sides(part.strip()) for part in parts]
    first = sides[0][0].strip()
    if ";" in text or len(sides[0]) != 2 or not _is_assigned(first):
        return text
    if all(len(side) == 1 for side in sides[1:]):
        return ",".join([sides[0][1], *parts[1:]])
    if all(len(side) == 2 and side[0].strip() == first for side in sides):
        return ",".join(side[1] for side in sides)
    return text


def _is_assigned_chain(middle: list[str]) -> bool:
    """Return whether the sides between the first and the last are expressions, not variables."""
    return all(re.search(r"[-+*/^()\\\d]", side) for side in middle)


def _sides(text: str) -> list[str]:
    """Split at the equals signs that are in no bracket."""
    sides, depth, start = [], 0, 0
    for position, character in enumerate(text):
        depth += (character in "([{") - (character in ")]}")
        is_sign = character == "=" and text[position - 1 : position] not in ("<", ">", "!", ":")
        if is_sign and depth == 0:
            sides.append(text[start:position])
            start = position + 1
    return [*sides, text[start:]]


def _is_assigned(side: str) -> bool:
    return bool(_ASSIGNED.fullmatch(side)) or _is_call(side)


def _is_name(side: str) -> bool:
    """Return whether a left side names the quantity that the right side gives."""
    if _is_assigned(side) or _NAME.fullmatch(side) or _WHOLE.match(side):
        return True
    return bool(_FUNCTION.match(side)) and not re.search(r"[-+]", _outside_of_brackets(side))


def _is_call(side: str) -> bool:
    r"""Return whether a side is one function of anything: `P(A \mid B)`, `f^{-1}(2)`, `E[X]`."""
    called = _CALL.match(side)
    return called is not None and is_group(side[called.end() :])


def _outside_of_brackets(text: str) -> str:
    depth, kept = 0, []
    for character in text:
        depth += (character in "([{") - (character in ")]}")
        if depth == 0:
            kept.append(character)
    return "".join(kept)


def interval_of(text: str) -> str:
    r"""Write an inequality of one variable as its interval: `0 < x \le 1` as `(0, 1]`."""
    bounds = split(text)
    if len(bounds) == 2:
        return _both_bounds(*bounds) or text
    between = _BETWEEN.fullmatch(text)
    if between and not (has_letters(between[1]) or has_letters(between[4])):
        left, right = "(" if between[2] == "<" else "[", ")" if between[3] == "<" else "]"
        return f"{left}{between[1]},{between[4]}{right}"
    for form, sign in ((_BELOW, "<"), (_ABOVE, ">")):
        if match := form.fullmatch(text):
            bound = (match["value"] or match["turned"]).strip()
            open_ = any(group in ("<", ">") for group in match.groups())
            if not has_letters(bound):
                if sign == "<":
                    return f"(-\\infty,{bound}{')' if open_ else ']'}"
                return f"{'(' if open_ else '['}{bound},\\infty)"
    return text


def _both_bounds(first: str, second: str) -> str | None:
    """Return the interval between two bounds of one variable, or the two rays beyond them.

    `x > 1, x < 5` is (1, 5), and `x < 1, x > 5` all but what lies between.
    """
    letters = {tuple(_LETTER.findall(bound)) for bound in (first, second)}
    if len(letters) != 1 or len(letters.pop()) != 1:
        return None
    rays = [interval_of(bound.strip()) for bound in (first, second)]
    below = next((ray for ray in rays if ray.startswith("(-\\infty,")), None)
    above = next((ray for ray in rays if ray.endswith(",\\infty)")), None)
    if below is None or above is None:
        return None
    low = rational(above[1:].removesuffix(",\\infty)"))
    high = rational(below.removeprefix("(-\\infty,")[:-1])
    if low is None or high is None:
        return None
    if low < high:
        start, end = above.removesuffix("\\infty)"), below.removeprefix("(-\\infty,")
        return start + end
    return f"{below}\\cup{above}"


def has_letters(text: str) -> bool:
    return bool(_LETTER.search(text))
