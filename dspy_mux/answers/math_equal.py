r"""When two mathematical answers are equal: `1/2` = `0.5` = `\frac12`, `3\sqrt2` = `\sqrt{18}`.

Three steps, each only if the one before did not decide: the same canonical text
(`math_canonical.py`), the same number, then math-verify in a process of its own (`math_worker.py`)
that has a deadline and a memory limit. Lists without brackets and sets are equal in any order,
because MATH asks for several roots that way; tuples, intervals and matrices are not.
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
import time
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from fractions import Fraction
from pathlib import Path
from typing import IO, TypeVar

from .math_canonical import canonical
from .numerals import parse_number

logger = logging.getLogger(__name__)

_Key = TypeVar("_Key")

DEADLINE = 3.0  # seconds for one pair of expressions; after that the pair counts as different
MEMORY = 1 << 30  # bytes of address space of the process that compares
MAX_LENGTH = 1_000  # characters; a longer expression equals its own canonical text only
_START_DEADLINE = 60.0  # seconds to import sympy, on a busy machine
#: Seconds for all comparisons of one question; after that only answers of equal text are equal.
PATIENCE = 20.0
_MEMORY_OF_PAIRS = 10_000  # verdicts kept
_PROBE = "x+1"  # any sound expression can be compared with it
#: Environment variables that Python needs: the process that reads models' text gets no keys.
_PASSED_ON = re.compile(
    r"PATH|HOME|LANG|LC_\w+|TZ|TMPDIR|TEMP|TMP|(LD|DYLD)_\w+|PYTHON\w+|VIRTUAL_ENV"
    r"|SYSTEMROOT|SYSTEMDRIVE|WINDIR|USERPROFILE|APPDATA|LOCALAPPDATA",
    re.IGNORECASE,
)
_BASED = re.compile(r"(\w+)_\{?(\d+)\}?")
_UNFIT = re.compile(r"\d \d|\d\^\{?\(?-?\d+\^|\^\{?-?\d{7,}|\d{6,}!|!!!|\d{1000}")
_COMMAND = re.compile(r"\\[A-Za-z]+")
_EQUATION_OF_ZERO = re.compile(r"(?=.*\d.*=)[^=,]*[A-Za-z][^=,]*=0")


def number(text: str) -> Fraction | None:
    """Return the exact value of canonical text that is one numeral or simple fraction, or None."""
    return parse_number(text)


def math_key(answer: str) -> str:
    """Return an answer's key: its canonical text, or a numeral's value in lowest terms.

    Equal keys are the same answer; a blank answer's key is "".

    >>> math_key("$x = 0.5$")
    '1/2'
    """
    text = canonical(answer)
    value = number(text)
    return text if value is None else str(value)


def _rounded_alike(a: str, b: str) -> bool | None:
    """Return whether two canonical numerals are one number; None if they are not both numerals.

    A decimal of 6 or more significant digits also equals what it rounds or truncates:
    0.333333 = 1/3.
    """
    x, y = number(a), number(b)
    if x is None or y is None:
        return None
    for numeral in (a, b):
        whole, _, decimals = numeral.lstrip("-").partition(".")
        is_long = decimals.isdigit() and len((whole + decimals).lstrip("0")) >= 6
        if is_long and abs(x - y) * 10 ** len(decimals) < 1:
            return True
    return x == y


def same_mathematics(a: str, b: str) -> bool:
    """Return whether two canonical expressions are equal; symmetric.

    Takes at most `DEADLINE` seconds once it is this pair's turn. Verdicts are remembered, including
    those of pairs that ran out of time.
    """
    if a == b:
        return True
    if (decided := _rounded_alike(a, b)) is not None:
        return decided
    bases = [_BASED.fullmatch(text) for text in (a, b)]
    if bases[0] and bases[1]:  # math-verify ignores the base of a numeral
        return bases[0].groups() == bases[1].groups()
    if not _is_comparable(a) or not _is_comparable(b) or _differ_in_form(a, b):
        return False
    return _worker.same(*sorted((a, b)))


def _is_comparable(text: str) -> bool:
    if len(text) > MAX_LENGTH or text.startswith("\\text"):
        return False
    return _UNFIT.search(text) is None


def _differ_in_form(a: str, b: str) -> bool:
    """Return whether two expressions differ in a way that math-verify overlooks.

    Such are R and r, the lists 3, 5 and 3, 3, 5, and the line x + 2y + 3 = 0 and the value 0.
    """
    first, second = (
        {letter for letter in _COMMAND.sub("", text) if letter.isalpha()} for text in (a, b)
    )
    if first != second and set(map(str.lower, first)) == set(map(str.lower, second)):
        return True
    commas = a.count(","), b.count(",")
    if all(commas) and commas[0] != commas[1] and "\\pm" not in a + b:
        return True
    return any(
        _EQUATION_OF_ZERO.fullmatch(text) and "=" not in other for text, other in ((a, b), (b, a))
    )


#: Seconds that each comparison has taken within a `patience`.
_taken: ContextVar[list[float] | None] = ContextVar("dspy_mux_taken", default=None)


@contextmanager
def patience() -> Iterator[None]:
    """Limit the comparisons of one question to `PATIENCE` seconds together, plus one pair."""
    token = _taken.set([])
    try:
        yield
    finally:
        _taken.reset(token)


class MathWorker:
    """One process that compares expressions, started on first use.

    A pair that exceeds the deadline ends the process; the next pair starts another. Threads take
    turns. An expression that cannot be compared even with a trivial one in time is not tried again.

    Args:
        deadline: seconds for one pair.
        memory: bytes of address space of the process.
    """

    def __init__(self, deadline: float = DEADLINE, memory: int = MEMORY):
        self.deadline, self.memory = deadline, memory
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._startable = True
        self._replies: queue.Queue[bytes] = queue.Queue()
        self._verdicts: OrderedDict[tuple[str, str], bool] = OrderedDict()
        # expression → whether it was ever compared in time
        self._comparable: OrderedDict[str, bool] = OrderedDict()

    def same(self, a: str, b: str) -> bool:
        """Return whether math-verify finds two expressions equal; False after the deadline.

        The verdict of a pair never changes.
        """
        with self._lock:
            if (a, b) in self._verdicts:
                self._verdicts.move_to_end((a, b))
                return self._verdicts[a, b]
            taken = _taken.get()
            comparable = self._comparable.get(a, True) and self._comparable.get(b, True)
            if not comparable or sum(taken or ()) > PATIENCE or self._running() is None:
                return False
            began = time.monotonic()
            verdict = self._ask(a, b)
            if verdict is None:
                self._find_bomb(a, b)
            else:
                self._remember(self._comparable, {a: True, b: True})
            if taken is not None:
                taken.append(time.monotonic() - began)
            self._remember(self._verdicts, {(a, b): bool(verdict)})
            return bool(verdict)

    def _find_bomb(self, a: str, b: str) -> None:
        """Find which of two expressions was to blame for a timeout; the other is tried again."""
        for expression in (a, b):
            if expression not in self._comparable and self._running() is not None:
                in_time = self._ask(*sorted((expression, _PROBE))) is not None
                self._remember(self._comparable, {expression: in_time})

    @staticmethod
    def _remember(memory: OrderedDict[_Key, bool], verdicts: Mapping[_Key, bool]) -> None:
        memory.update(verdicts)
        while len(memory) > _MEMORY_OF_PAIRS:
            memory.popitem(last=False)

    def close(self) -> None:
        """End the process; the next comparison starts another."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
            assert process.stdin is not None
            process.stdin.close()

    def abandon(self) -> None:
        """Let go of the parent's process in a forked child, without ending it."""
        self._lock = threading.Lock()  # the parent may have held it
        process, self._process = self._process, None
        if process is not None:
            assert process.stdin is not None
            assert process.stdout is not None
            # Left open, it would keep the process alive after the parent has ended.
            process.stdin.close()
            process.stdout.close()
            process.returncode = 0  # not ours to wait for

    def _running(self) -> subprocess.Popen[bytes] | None:
        if self._process is not None and self._process.poll() is not None:
            self.close()  # something else ended it
        if self._process is None and self._startable:
            self._startable = self._start()  # after a failed start, do not wait for another
        return self._process

    def _start(self) -> bool:
        script = Path(__file__).with_name("math_worker.py")
        command = [sys.executable, str(script), str(self.memory), str(self.deadline + 2)]
        environment = {
            name: value for name, value in os.environ.items() if _PASSED_ON.fullmatch(name)
        }
        environment["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
        try:
            self._process = subprocess.Popen(
                command,
                bufsize=0,  # no buffer, no lock: both ends can be closed in a forked child
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=environment,
            )
        except OSError:
            logger.exception(
                "The process that compares mathematics cannot be started: %s.", command
            )
            return False
        self._replies = queue.Queue()
        threading.Thread(
            target=_pump, args=(self._process.stdout, self._replies), daemon=True
        ).start()
        ready = b""
        try:
            ready = self._replies.get(timeout=_START_DEADLINE)
        except queue.Empty:
            logger.debug("No sign of the comparison process after %s s.", _START_DEADLINE)
        finally:
            if not ready:
                self.close()
        if not ready:
            logger.error(
                "The process that compares mathematics did not start; is math-verify installed?"
            )
        return bool(ready)

    def _ask(self, a: str, b: str) -> bool | None:
        """Return the process's verdict; None if it ran out of time or memory, which ends it."""
        process = self._process
        assert process is not None
        assert process.stdin is not None
        reply = b""
        try:
            process.stdin.write(json.dumps([a, b]).encode() + b"\n")
            reply = self._replies.get(timeout=self.deadline)
        except (OSError, queue.Empty):
            logger.debug("Comparing %.80r with %.80r ran out of time or memory.", a, b)
        finally:
            if not reply:  # also after Ctrl-C: a late reply must not answer the next pair
                self.close()
        return reply.strip() == b"true" if reply else None


def _pump(pipe: IO[bytes], replies: queue.Queue[bytes]) -> None:
    """Move lines from the process to the queue, then one empty line for its end."""
    with pipe:
        for line in pipe:
            replies.put(line)
    replies.put(b"")


_worker = MathWorker()
atexit.register(_worker.close)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_worker.abandon)
