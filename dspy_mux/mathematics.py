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
from functools import lru_cache
from pathlib import Path
from typing import IO

from .extraction import boxed, fold, normalise, parse_number, unwrap

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
_SPACING = re.compile(r"(?<!\\)\\(?:[!,;:> ]|quad|qquad|displaystyle|limits|left|right|[bB]igg?[lr]?)(?![A-Za-z])|~")
_LATEX_COMMA = re.compile(r"(?<=\d)(?:\{,\}|,\\!)\s*(?=\d{3})")
_COMMAS = re.compile(r"(?<![\w.,(\[{])\d{1,3}(?:(?:,\d{3})+|(?: \d{3}(?! ?/))+)(?![\d,)\]}])")
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
_SPACE = re.compile(r"(\\[A-Za-z]+(?=\s+[A-Za-z])|\d(?=\s+\d))\s+|\s+")
_AND = re.compile(r",?\s+(?:and|or)\s+")
_UNION = re.compile(r"(?<=[)\]])\s*U\s*(?=[(\[])")
_WORDS = re.compile(r"[^\W\d_]+(?:[\s,.'’&-]+[^\W\d_]+)*[.'’]?")
_BASED = re.compile(r"(\w+)_\{?(\d+)\}?")
_UNFIT = re.compile(r"\d \d|\d\^\{?\(?-?\d+\^|\^\{?-?\d{7,}|\d{6,}!|!!!|\d{1000}")


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
    return _canonical(answer) if len(answer) <= 10 * MAX_LENGTH else fold(answer)


@lru_cache(maxsize=4096)
def _canonical(answer: str) -> str:
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
    if _is_prose(text):
        return "\\text{" + fold(text) + "}"
    text = _UNION.sub(r"\\cup ", _AND.sub(", ", text))
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
    return match.group().replace(",", "").replace(" ", "")


def _is_prose(text: str) -> bool:
    """Words, which math-verify would read as products of letters ("Evelyn" = "Nevely")."""
    if not _WORDS.fullmatch(text) or _FUNCTION.search(text) or _INFINITY.fullmatch(text):
        return False
    return text.lower() == "no" or any(len(word) > 2 for word in re.findall(r"[^\W\d_]+", text))


def _full_fraction(match: re.Match[str]) -> str:
    top, digit, bottom, last = match.groups()
    return f"\\frac{{{digit if top is None else top}}}{{{last if bottom is None else bottom}}}"


def number(text: str) -> Fraction | None:
    """The exact value of canonical text that is one numeral or simple fraction, or None."""
    return parse_number(text)


def math_key(answer: str) -> str:
    """The canonical text, or the value of a numeral in lowest terms; "" for a blank answer. Equal keys, same answer."""
    text = canonical(answer)
    value = number(text)
    return text if value is None else str(value)


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
    if any(len(text) > MAX_LENGTH or text.startswith("\\text") or _UNFIT.search(text) for text in (a, b)):
        return False
    return _worker.same(*sorted((a, b)))


class MathWorker:
    """One process that compares expressions, started on first use, replaced after a pair that exceeds the deadline.

    Threads take turns.

    Args:
        deadline: seconds for one pair.
        memory: bytes of address space of the process.
    """

    def __init__(self, deadline: float = DEADLINE, memory: int = MEMORY):
        self.deadline, self.memory = deadline, memory
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._startable = True
        self._replies: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self._verdicts: OrderedDict[tuple[str, str], bool] = OrderedDict()

    def same(self, a: str, b: str) -> bool:
        """Whether math-verify finds a and b equal; False past the deadline. The verdict of a pair never changes."""
        with self._lock:
            if (a, b) in self._verdicts:
                self._verdicts.move_to_end((a, b))
                return self._verdicts[a, b]
            process = self._running()
            if process is None:
                return False
            verdict = self._verdicts[a, b] = self._ask(process, a, b)
            if len(self._verdicts) > _MEMORY_OF_PAIRS:
                self._verdicts.popitem(last=False)
            return verdict

    def close(self) -> None:
        """End the process; the next comparison starts another."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
            assert process.stdin is not None
            process.stdin.close()

    def abandon(self) -> None:
        """In a forked child: let go of the parent's process without ending it."""
        self._lock = threading.Lock()  # the parent may have held it
        process, self._process = self._process, None
        if process is not None:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.close()  # or the process would outlive the parent as long as this child lives
            process.stdout.close()
            process.returncode = 0  # not ours to wait for

    def _running(self) -> subprocess.Popen[bytes] | None:
        if self._process is not None and self._process.poll() is not None:
            self.close()  # something else ended it
        if self._process is None and self._startable:
            self._startable = self._start()  # what failed once is not waited for again
        return self._process

    def _start(self) -> bool:
        script = Path(__file__).with_name("mathworker.py")
        command = [sys.executable, str(script), str(self.memory), str(self.deadline + 2)]
        paths = os.pathsep.join(path for path in sys.path if path)
        try:
            self._process = subprocess.Popen(
                command,
                bufsize=0,  # no buffer, no lock: both ends can be closed in a forked child
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env={**os.environ, "PYTHONPATH": paths},
            )
        except OSError:
            logger.exception("The process that compares mathematics cannot be started: %s.", command)
            return False
        self._replies = queue.SimpleQueue()
        threading.Thread(target=_pump, args=(self._process.stdout, self._replies), daemon=True).start()
        ready = b""
        try:
            ready = self._replies.get(timeout=_START_DEADLINE)
        except queue.Empty:
            logger.debug("No sign of the comparison process after %s s.", _START_DEADLINE)
        finally:
            if not ready:
                self.close()
        if not ready:
            logger.error("The process that compares mathematics did not start; is math-verify installed?")
        return bool(ready)

    def _ask(self, process: subprocess.Popen[bytes], a: str, b: str) -> bool:
        assert process.stdin is not None
        reply = b""
        try:
            process.stdin.write(json.dumps([a, b]).encode() + b"\n")
            reply = self._replies.get(timeout=self.deadline)
        except (OSError, queue.Empty):
            logger.debug("Comparing %.80r with %.80r ran out of time or memory.", a, b)
        finally:
            if not reply:  # Ctrl-C comes here too: a late reply must not answer the next pair
                self.close()
        return reply.strip() == b"true"


def _pump(pipe: IO[bytes], replies: queue.SimpleQueue[bytes]) -> None:
    """Move lines from the process to the queue, then one empty line for its end."""
    with pipe:
        for line in pipe:
            replies.put(line)
    replies.put(b"")


_worker = MathWorker()
atexit.register(_worker.close)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_worker.abandon)
