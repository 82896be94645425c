r"""Equivalence of mathematical answers: ``1/2`` = ``0.5`` = ``\frac12``, ``x=3`` = ``3``, ``3\sqrt2`` = ``\sqrt{18}``.

Three steps, each only where the one before did not decide: the same canonical text (``canonical``), the same number
(``number``), then math-verify in a process of its own (``mathworker.py``) that has a deadline and a memory limit.
As the graders of MATH do, degree, percent and currency signs and units are dropped, and so is the "x =" before a value.
"""

from __future__ import annotations

import atexit
import json
import logging
import os
import queue
import re
import subprocess
import sys
import threading
from collections import OrderedDict
from fractions import Fraction
from pathlib import Path
from typing import IO

from .extraction import MAX_DIGITS, boxed, fold, normalise, parse_number, unwrap

logger = logging.getLogger(__name__)

DEADLINE = 3.0  # seconds for one pair of expressions; past it the pair is not the same
MEMORY = 1 << 30  # bytes of address space of the process that compares
MAX_LENGTH = 1_000  # characters; a longer expression equals its own canonical text only
_START_DEADLINE = 60.0  # seconds to import sympy, on a busy machine
_MEMORY_OF_PAIRS = 10_000  # verdicts kept

# ------------------------------------------------------------------------------------------------ canonical text

_SYMBOLS = {
    ord(character): latex
    for character, latex in {
        "π": r"\pi ", "∞": r"\infty ", "×": r"\cdot ", "·": r"\cdot ", "⋅": r"\cdot ", "÷": "/", "±": r"\pm ",
        "≤": r"\le ", "≥": r"\ge ", "≠": r"\ne ", "∪": r"\cup ", "∩": r"\cap ", "∈": r"\in ", "√": r"\sqrt ",
        "θ": r"\theta ", "α": r"\alpha ", "β": r"\beta ", "°": "", "∅": r"\emptyset ", "ℝ": r"\mathbb{R}",
        "¼": " 1/4", "½": " 1/2", "¾": " 3/4", "⅓": " 1/3", "⅔": " 2/3",
        **{power: f"^{digit}" for digit, power in enumerate("⁰¹²³⁴⁵⁶⁷⁸⁹")},
    }.items()
}  # fmt: skip
_SPACING = re.compile(r"\\(?:[!,;:> ]|quad|qquad|displaystyle|limits|left|right|[bB]igg?[lr]?)(?![A-Za-z])|~")
_LATEX_COMMA = re.compile(r"(?<=\d)(?:\{,\}|,\\!)\s*(?=\d{3})")
_COMMAS = re.compile(r"(?<![\w.,(\[{])\d{1,3}(?:,\d{3})+(?![\d,)\]}])")
_SIGNS = re.compile(r"\^\s*(?:\{\s*\\(?:circ|degree)\s*\}|\\(?:circ|degree)(?![A-Za-z]))|\\degree|\\?[%$€£¥₹]")
_UNIT = re.compile(r"\s*\\(?:text|mbox|textrm|mathrm)\s*\{\s*(?!(?:and|or)\b)[A-Za-z][A-Za-z. /]{1,40}\}(?:\^\{?\d\}?)?$")
_UNIT_WORDS = re.compile(
    r"(?<=[\d})])\s+(?!(?:and|or|pi|sin|cos|tan|sec|csc|cot|log|ln|exp|sqrt|mod|over|choose|times|plus|minus)\b)"
    r"(?:[A-Za-z]{3,}|[cmk]m|kg|ft|in|hr)(?:\s[A-Za-z]{2,}){0,3}$"
)
_TEXT = re.compile(r"\\(?:text|mbox|textbf|textit|textrm|mathrm|mathbf|mathit|operatorname)\s*\{([^{}]*)\}")
_FRACTION = re.compile(r"\\[dtc]frac(?![A-Za-z])")
_SHORT_FRACTION = re.compile(r"\\frac\s*(?:\{([^{}]*)\}|(\d))\s*(?:\{([^{}]*)\}|(\d))")
_SHORT_ROOT = re.compile(r"\\sqrt\s*(\d+|[A-Za-z])")
_LONG_POWER = re.compile(r"\^\s*(-?\d{2,}|-\d)")
_FUNCTION = re.compile(r"(?<![\\A-Za-z])(arcsin|arccos|arctan|sin|cos|tan|sec|csc|cot|log|ln|exp|pi|theta)(?![A-Za-z])")
_INFINITY = re.compile(r"(?<![\\A-Za-z])(?:infinity|infty|oo|inf)(?![A-Za-z])", re.IGNORECASE)
_OPENING = re.compile(r"(?P<root>(?<![\\A-Za-z])sqrt\s*\(|\\sqrt\s*\()|(?P<power>\^\s*\()|[()]")
_ASSIGNED = re.compile(r"(?:[A-Za-z](?:_\{?\w\}?)?|[A-Za-z]\([A-Za-z]\))\s*(?:=|\\in(?![A-Za-z]))\s*(?=[^=\s])")
_SPACE = re.compile(r"(\\[A-Za-z]+)\s+(?=[A-Za-z])|\s+")
_WORDS = re.compile(r"[^\W\d_]+(?:[\s,.'’&-]+[^\W\d_]+)*[.'’]?")
_BASED = re.compile(r"(\w+)_\{?(\d+)\}?")
_EXPLOSIVE = re.compile(r"\d\^\{?\(?-?\d+\^|\^\{?-?\d{7,}|\d{6,}!|!!!|\d{1000}")


def _braced(text: str) -> str:
    """Plain ``sqrt(…)`` and ``^(…)`` with LaTeX's braces, nested ones too, in one pass."""
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
    """The answer as canonical LaTeX without delimiters, spacing, units and sugar; "" for a blank one."""
    text = normalise(answer.translate(_SYMBOLS)).strip()
    if text.startswith(("\\boxed", "\\fbox", "$\\boxed")) and (boxes := boxed(text)):
        text = boxes[-1]
    text = unwrap(text.replace("\\$", "$"))
    text = _SPACING.sub(" ", _LATEX_COMMA.sub("", text))
    text = _SIGNS.sub("", text).strip()
    text = _UNIT.sub("", text) or text
    text = _UNIT_WORDS.sub("", text)
    text = _TEXT.sub(r"\1", text).strip()
    if re.fullmatch(r"\(?[A-Z]\)?", text):
        return text.strip("()")  # an option letter
    if _WORDS.fullmatch(text) and any(len(word) > 2 for word in re.findall(r"[^\W\d_]+", text)):
        if not _FUNCTION.search(text) and not _INFINITY.fullmatch(text):
            return "\\text{" + fold(text) + "}"
    text = text.replace("**", "^").replace("<=", r"\le ").replace(">=", r"\ge ").replace("!=", r"\ne ")
    text = _INFINITY.sub(r"\\infty ", _FUNCTION.sub(r"\\\1 ", _braced(text)))
    text = text.replace("*", r"\cdot ").replace("\\leq", "\\le").replace("\\geq", "\\ge").replace("\\neq", "\\ne")
    text = _SHORT_FRACTION.sub(_full_fraction, _FRACTION.sub(r"\\frac", text))
    text = _LONG_POWER.sub(r"^{\1}", _SHORT_ROOT.sub(r"\\sqrt{\1}", text))
    if text.count("=") + text.count("\\in") - text.count("\\inf") == 1:
        text = _ASSIGNED.sub("", text, count=1) if _ASSIGNED.match(text) else text
    text = _SPACE.sub(lambda match: match[1] + " " if match[1] else "", _COMMAS.sub(_without_commas, text))
    return text.replace(",", ", ")  # "100, 200" stays two numbers


def _without_commas(match: re.Match[str]) -> str:
    return match.group().replace(",", "")


def _full_fraction(match: re.Match[str]) -> str:
    top, digit, bottom, last = match.groups()
    return f"\\frac{{{digit if top is None else top}}}{{{last if bottom is None else bottom}}}"


def number(text: str) -> Fraction | None:
    """The exact value of canonical text that is one numeral or simple fraction, or None."""
    return parse_number(text)


def _rounded_alike(a: str, b: str) -> bool | None:
    """Whether two canonical numerals are one number; a decimal of 6 or more significant digits also equals
    what it rounds or truncates (0.333333 = 1/3). None where they are not both numerals."""
    x, y = number(a), number(b)
    if x is None or y is None:
        return None
    for numeral in (a, b):
        whole, _, decimals = numeral.lstrip("-").partition(".")
        if decimals.isdigit() and len((whole + decimals).lstrip("0")) >= 6 and abs(x - y) * 10 ** len(decimals) < 1:
            return True
    return x == y


# ------------------------------------------------------------------------------------------------ comparison


def same_mathematics(a: str, b: str) -> bool:
    """Whether two canonical expressions are equal; symmetric. Within ``DEADLINE`` seconds once it is this pair's turn.

    Verdicts are remembered, those of pairs that ran out of time too.
    """
    if a == b:
        return True
    if (decided := _rounded_alike(a, b)) is not None:
        return decided
    bases = [_BASED.fullmatch(text) for text in (a, b)]
    if bases[0] and bases[1]:  # math-verify ignores the base of a numeral
        return bases[0].groups() == bases[1].groups()
    if any(len(text) > MAX_LENGTH or text.startswith("\\text") or _EXPLOSIVE.search(text) for text in (a, b)):
        return False
    return _worker.same(*sorted((a, b)))


class MathWorker:
    """One process that compares expressions, started on first use, replaced after a pair that exceeds the deadline.

    Threads take turns. A forked child gets a worker of its own.

    Args:
        deadline: seconds for one pair.
        memory: bytes of address space of the process.
    """

    def __init__(self, deadline: float = DEADLINE, memory: int = MEMORY):
        self.deadline, self.memory = deadline, memory
        self._forget()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._abandon)
        atexit.register(self.close)

    def same(self, a: str, b: str) -> bool:
        """Whether math-verify finds a and b equal; False past the deadline. The verdict of a pair never changes."""
        with self._lock:
            if (a, b) in self._verdicts:
                self._verdicts.move_to_end((a, b))
                return self._verdicts[a, b]
            if self._process is None and not self._start():
                return False
            verdict = self._verdicts[a, b] = self._ask(a, b)
            if len(self._verdicts) > _MEMORY_OF_PAIRS:
                self._verdicts.popitem(last=False)
            return verdict

    def close(self) -> None:
        """End the process; the next comparison starts another."""
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                try:
                    pipe.close()
                except OSError:  # what was still to be written has no reader any more
                    logger.debug("The pipe of a stopped comparison process was already broken.")

    def _forget(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[str] | None = None
        self._replies: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._verdicts: OrderedDict[tuple[str, str], bool] = OrderedDict()

    def _abandon(self) -> None:
        """In a forked child: let go of the parent's process without ending it."""
        process = self._process
        self._forget()
        if process is not None:
            process.returncode = 0  # not ours to wait for
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    os.close(pipe.fileno())

    def _start(self) -> bool:
        script = Path(__file__).with_name("mathworker.py")
        command = [sys.executable, str(script), str(self.memory), str(self.deadline + 2)]
        paths = os.pathsep.join(path for path in sys.path if path)
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env={**os.environ, "PYTHONPATH": paths},
                text=True,
                encoding="ascii",
            )
        except OSError:
            logger.exception("The process that compares mathematics cannot be started: %s.", command)
            return False
        self._replies = queue.SimpleQueue()
        reader = threading.Thread(target=_pump, args=(self._process.stdout, self._replies), daemon=True)
        reader.start()
        try:
            ready = self._replies.get(timeout=_START_DEADLINE)
        except queue.Empty:
            ready = ""
        if not ready:
            logger.error("The process that compares mathematics did not start; is math-verify installed?")
            self.close()
        return bool(ready)

    def _ask(self, a: str, b: str) -> bool:
        process = self._process
        assert process is not None and process.stdin is not None
        reply = ""
        try:
            process.stdin.write(json.dumps([a, b]) + "\n")
            process.stdin.flush()
            reply = self._replies.get(timeout=self.deadline)
        except (OSError, queue.Empty):  # it died of its memory limit, or takes too long
            logger.debug("Comparing %.80r with %.80r ran out of time or memory.", a, b)
        finally:
            if not reply:  # Ctrl-C comes here too: a late reply must not answer the next pair
                self.close()
        return bool(reply) and bool(json.loads(reply))


def _pump(pipe: IO[str], replies: queue.SimpleQueue[str]) -> None:
    """Move lines from the process to the queue, then one empty string for its end."""
    try:
        for line in pipe:
            replies.put(line)
    except (OSError, ValueError):
        logger.debug("The pipe of a stopped comparison process was closed while it was read.")
    replies.put("")


_worker = MathWorker()
