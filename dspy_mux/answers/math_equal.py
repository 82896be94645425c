r"""When two mathematical answers are equal: `1/2` = `0.5` = `\frac12`, `3\sqrt2` = `\sqrt{18}`.

Three steps, each only if the one before did not decide: the same canonical text
(`math_canonical.py`), the same exact value or form (`math_form.py`), then math-verify in a process
of its own (`math_worker.py`) that has a limit of time and memory. Lists without brackets and sets
are equal in any order, because MATH asks for several roots that way; tuples, intervals and matrices
are not.
"""

from __future__ import annotations

import atexit
import json
import logging
import os
import queue
import re
import signal
import subprocess
import sys
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TypeVar

from .math_canonical import canonical, relation
from .math_form import differ_in_form, form_key

logger = logging.getLogger(__name__)

_Key = TypeVar("_Key")

DEADLINE = 3.0  # seconds of computing for one pair; after that the pair counts as different
MEMORY = 1 << 30  # bytes of address space of the process that compares
MAX_LENGTH = 1_000  # characters; a longer expression equals its own canonical text only
_START_DEADLINE = 60.0  # seconds to import sympy, on a busy machine
#: Seconds of computing for all comparisons of one question; after that only answers of equal text
#: or equal value are equal.
PATIENCE = 20.0
#: How often the deadline passes on the clock before a pair on a busy machine is given up for now.
_BUSY = 8.0 if hasattr(signal, "setitimer") else 1.0
#: How a process ends that has used up its time or memory, or crashed: the pair is to blame.
_ENDINGS = {-getattr(signal, name, 0) for name in ("SIGPROF", "SIGSEGV", "SIGABRT", "SIGBUS")}
_MEMORY_OF_PAIRS = 10_000  # verdicts kept
_PROBE = "x+1"  # any sound expression can be compared with it
#: Environment variables that Python needs: the process that reads models' text gets no keys.
_PASSED_ON = re.compile(
    r"PATH|HOME|LANG|LC_\w+|TZ|TMPDIR|TEMP|TMP|(LD|DYLD)_\w+|PYTHON\w+|VIRTUAL_ENV"
    r"|SYSTEMROOT|SYSTEMDRIVE|WINDIR|USERPROFILE|APPDATA|LOCALAPPDATA",
    re.IGNORECASE,
)
_UNFIT = re.compile(r"\d \d|\d\^\{?\(?-?\d+\^|\^\{?-?\d{7,}|\d{6,}!|!!!|\d{1000}")


def math_key(answer: str) -> str:
    """Return an answer's key: its canonical text, or the one text of its value or plain form.

    Equal keys are the same answer; a blank answer's key is "".

    >>> math_key("$x = 0.5$")
    '1/2'
    """
    text = canonical(answer)
    return form_key(text) or text


def same_answers(a: str, b: str) -> bool:
    r"""Return whether two answers are equal; symmetric.

    The "y =" that canonical text drops counts where the other answer is an equation:
    `2x + 4y - 3 = 0` is `y = -\frac{1}{2}x + \frac{3}{4}`.
    """
    first, second = canonical(a), canonical(b)
    if same_mathematics(first, second):
        return True
    if ("=" in first) == ("=" in second):
        return False
    first, second = (relation(a), second) if "=" in second else (first, relation(b))
    return "=" in first and "=" in second and same_mathematics(first, second)


def same_mathematics(a: str, b: str) -> bool:
    """Return whether two canonical expressions are equal; symmetric.

    Takes at most `DEADLINE` seconds of computing once it is this pair's turn. Verdicts are
    remembered, including those of pairs that used up their time.
    """
    if a == b:
        return True
    plain = form_key(a), form_key(b)
    if plain[0] is not None and plain[1] is not None:
        return plain[0] == plain[1]
    if not _is_comparable(a) or not _is_comparable(b) or differ_in_form(a, b):
        return False
    return _worker.same(*sorted((a, b)))


def _is_comparable(text: str) -> bool:
    return len(text) <= MAX_LENGTH and _UNFIT.search(text) is None


#: Seconds of computing that each comparison has taken within a `patience`.
_taken: ContextVar[list[float] | None] = ContextVar("dspy_mux_taken", default=None)


@contextmanager
def patience() -> Iterator[None]:
    """Limit the comparisons of one question to `PATIENCE` seconds together, plus one pair."""
    token = _taken.set([])
    try:
        yield
    finally:
        _taken.reset(token)


@dataclass(frozen=True)
class _Asked:
    """What became of one comparison.

    Attributes:
        verdict: whether the two are equal; None if the process did not say.
        seconds: how long it computed; if it did not say, how long we waited.
        is_bomb: whether the pair used up its time or memory, or crashed the process.
    """

    verdict: bool | None
    seconds: float
    is_bomb: bool


class MathWorker:
    """One process that compares expressions, started on first use.

    A pair that exceeds the deadline ends the process; the next pair starts another. Threads take
    turns. An expression that cannot be compared even with a trivial one in time is not tried again.
    A pair that was not done because the machine was busy counts as different for now, and is
    compared anew when it is next asked about.

    Args:
        deadline: seconds of computing for one pair; on Windows, seconds of the clock.
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
        #: What comparisons were refused, and errors of ours; none, unless SymPy has changed.
        self.faults: list[str] = []

    def same(self, a: str, b: str) -> bool:
        """Return whether math-verify finds two expressions equal; False after the deadline.

        The verdict of a pair never changes once it is known.
        """
        with self._lock:
            if (a, b) in self._verdicts:
                self._verdicts.move_to_end((a, b))
                return self._verdicts[a, b]
            taken = _taken.get()
            comparable = self._comparable.get(a, True) and self._comparable.get(b, True)
            if not comparable or sum(taken or ()) > PATIENCE or self._running() is None:
                return False
            asked = self._ask(a, b)
            if asked.is_bomb:
                self._find_bomb(a, b)
            elif asked.verdict is not None:
                self._remember(self._comparable, {a: True, b: True})
            if taken is not None:
                taken.append(asked.seconds)
            if asked.is_bomb or asked.verdict is not None:
                self._remember(self._verdicts, {(a, b): bool(asked.verdict)})
            return bool(asked.verdict)

    def _find_bomb(self, a: str, b: str) -> None:
        """Find which of two expressions was to blame for a timeout; the other is tried again."""
        for expression in (a, b):
            if expression not in self._comparable and self._running() is not None:
                asked = self._ask(*sorted((expression, _PROBE)))
                if asked.is_bomb or asked.verdict is not None:
                    self._remember(self._comparable, {expression: not asked.is_bomb})

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
        lifetime = self.deadline * _BUSY + 2
        command = [sys.executable, str(script), *map(str, (self.memory, self.deadline, lifetime))]
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

    def _ask(self, a: str, b: str) -> _Asked:
        """Ask the process; one that ran out of time or memory is ended."""
        process = self._process
        assert process is not None
        assert process.stdin is not None
        began, ending, reply = time.monotonic(), None, b""
        try:
            process.stdin.write(json.dumps([a, b]).encode() + b"\n")
            reply = self._replies.get(timeout=self.deadline * _BUSY)
            ending = None if reply else process.wait(timeout=5)
        except (OSError, queue.Empty, subprocess.TimeoutExpired):
            logger.debug("Comparing %.80r with %.80r was not done in time.", a, b)
        finally:
            if not reply:  # also after Ctrl-C: a late reply must not answer the next pair
                self.close()
        if not reply:
            is_bomb = _BUSY == 1.0 or ending in _ENDINGS
            return _Asked(None, time.monotonic() - began, is_bomb)
        answer = json.loads(reply)
        if answer["faults"]:
            logger.warning(
                "Comparing %.80r with %.80r met what it should not (%s), so its verdict may be "
                "wrong: please report it.", a, b, ", ".join(answer["faults"]),
            )  # fmt: skip
            self.faults.extend(answer["faults"])
        return _Asked(answer["same"], answer["seconds"], False)


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
