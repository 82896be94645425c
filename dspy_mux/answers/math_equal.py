r"""Equivalence of mathematical answers: ``1/2`` = ``0.5`` = ``\frac12``, ``x=3`` = ``3``, ``3\sqrt2`` = ``\sqrt{18}``.

Three steps, each only where the one before did not decide: the same canonical text (``mathtext.py``), the same number
(``number``), then math-verify in a process of its own (``math_worker.py``) that has a deadline and a memory limit.
Lists without brackets and sets are equal in any order, for MATH asks for several roots so; tuples, intervals and matrices are not.
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
from typing import IO, Any

from .extract import parse_number
from .math_canonical import canonical

logger = logging.getLogger(__name__)

DEADLINE = 3.0  # seconds for one pair of expressions; past it the pair is not the same
MEMORY = 1 << 30  # bytes of address space of the process that compares
MAX_LENGTH = 1_000  # characters; a longer expression equals its own canonical text only
_START_DEADLINE = 60.0  # seconds to import sympy, on a busy machine
PATIENCE = 20.0  # seconds that the comparisons of one question may take; past it answers are the same where their texts are
_MEMORY_OF_PAIRS = 10_000  # verdicts kept
_PROBE = "x+1"  # what any expression can be compared with
#: What Python needs of the environment: the process that reads models' text gets no keys.
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
        if (
            decimals.isdigit()
            and len((whole + decimals).lstrip("0")) >= 6
            and abs(x - y) * 10 ** len(decimals) < 1
        ):
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
    if any(
        len(text) > MAX_LENGTH or text.startswith("\\text") or _UNFIT.search(text)
        for text in (a, b)
    ):
        return False
    if _differ_in_form(a, b):
        return False
    return _worker.same(*sorted((a, b)))


def _differ_in_form(a: str, b: str) -> bool:
    """Differences that math-verify overlooks: R and r, the lists 3, 5 and 3, 3, 5, the line x + 2y + 3 = 0 and the value 0."""
    first, second = (
        {letter for letter in _COMMAND.sub("", text) if letter.isalpha()} for text in (a, b)
    )
    if first != second and {letter.lower() for letter in first} == {
        letter.lower() for letter in second
    }:
        return True
    commas = a.count(","), b.count(",")
    if all(commas) and commas[0] != commas[1] and "\\pm" not in a + b:
        return True
    return any(
        _EQUATION_OF_ZERO.fullmatch(text) and "=" not in other for text, other in ((a, b), (b, a))
    )


#: Seconds that comparisons have taken within a `patience`.
_taken: ContextVar[list[float] | None] = ContextVar("dspy_mux_taken", default=None)


@contextmanager
def patience() -> Iterator[None]:
    """Around the comparisons of one question: together they take `PATIENCE` seconds, and one pair more, at most."""
    token = _taken.set([])
    try:
        yield
    finally:
        _taken.reset(token)


class MathWorker:
    """One process that compares expressions, started on first use, replaced after a pair that exceeds the deadline.

    Threads take turns. An expression that cannot even be compared with a trivial one in time is compared no more.

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
        self._comparable: OrderedDict[str, bool] = (
            OrderedDict()
        )  # expression → whether it was ever compared in time

    def same(self, a: str, b: str) -> bool:
        """Whether math-verify finds a and b equal; False past the deadline. The verdict of a pair never changes."""
        with self._lock:
            if (a, b) in self._verdicts:
                self._verdicts.move_to_end((a, b))
                return self._verdicts[a, b]
            taken = _taken.get()
            if (
                not all(self._comparable.get(each, True) for each in (a, b))
                or sum(taken or ()) > PATIENCE
            ):
                return False
            if self._running() is None:
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
        """Which of two expressions that could not be compared in time is to blame; the other one goes on."""
        for each in (a, b):
            if each not in self._comparable and self._running() is not None:
                self._remember(
                    self._comparable, {each: self._ask(*sorted((each, _PROBE))) is not None}
                )

    @staticmethod
    def _remember(memory: OrderedDict[Any, bool], what: Mapping[Any, bool]) -> None:
        memory.update(what)
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
        script = Path(__file__).with_name("math_worker.py")
        command = [sys.executable, str(script), str(self.memory), str(self.deadline + 2)]
        paths = os.pathsep.join(path for path in sys.path if path)
        try:
            self._process = subprocess.Popen(
                command,
                bufsize=0,  # no buffer, no lock: both ends can be closed in a forked child
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env={
                    **{
                        name: value
                        for name, value in os.environ.items()
                        if _PASSED_ON.fullmatch(name)
                    },
                    "PYTHONPATH": paths,
                },
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
        """The running process's verdict; None where it ran out of time or memory, which ends it."""
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
            if not reply:  # Ctrl-C comes here too: a late reply must not answer the next pair
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
