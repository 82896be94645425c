"""Share a collection among forked processes: one budget, one line of progress, one Ctrl-C."""

from __future__ import annotations

import json
import logging
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, TypeAlias

import dspy

from ..errors import BankError, ConfigurationError, MuxError
from ..local import AsyncLlamaEngine, LlamaEngine
from ..mux.slm_mux import SLMMux
from ..sampling.interrupt import Interrupt
from .carried_errors import restored
from .child import run_child
from .limits import Budget
from .remote_limits import Account
from .session import Session, Tallies
from .units import UNITS_AT_ONCE, Units

logger = logging.getLogger(__name__)

#: Seconds between two looks at Ctrl-C and at who lives.
LOOK_S = 0.1
#: Seconds to wait for the bank, to release what a killed child had claimed.
RELEASE_S = 2.0
#: Seconds that children have to end once the parent does; after a second Ctrl-C too.
GRACE_S = 15.0


def check_processes(processes: int, num_threads: int, embedded: Sequence[str]) -> None:
    """Check that a collection can be shared among processes.

    Args:
        embedded: members whose models run in the process that asks them.

    Raises:
        ConfigurationError: it cannot; the message says why.
    """
    is_number = isinstance(processes, int) and not isinstance(processes, bool)
    if not is_number or not 1 <= processes <= num_threads:
        raise ConfigurationError(
            f"processes must be from 1 to num_threads ({num_threads}), the draws in flight that "
            f"they share, not {processes!r}."
        )
    if processes == 1:
        return
    if embedded:
        raise ConfigurationError(
            f"{', '.join(embedded)}: embedded models run in the process that asks them, so each of "
            f"{processes} processes would load their weights again: leave processes out, or serve "
            "the models over HTTP."
        )
    if not hasattr(os, "fork") or sys.platform == "darwin":
        raise ConfigurationError(
            "This platform cannot fork a process that uses the network: leave processes out, and "
            "start the collection several times instead, as collections share a bank."
        )


def embedded_in(mux: SLMMux) -> list[str]:
    """Return the names of the members whose models run in this process."""
    return [
        member.label
        for member in mux.members
        if isinstance(getattr(member.lm, "engine", None), (LlamaEngine, AsyncLlamaEngine))
    ]


def units_at_once(num_threads: int, k: int) -> int:
    """Return how many units a process claims at a time, so that all come to an end together."""
    return max(1, min(UNITS_AT_ONCE, num_threads // k))


#: (program, question, number) of a draw.
DrawKey: TypeAlias = tuple[int, int, int]


@dataclass(eq=False)
class _ChildState:
    """What the parent knows of a child.

    Attributes:
        owner: of its claims.
        unwritten: the draws (program, question, number) that it may not have written yet, in
            order, with whether each abstained and was cut off.
        idle: whether it has nothing left to draw.
    """

    process: BaseProcess
    reports: Connection
    orders: Connection
    account: Account | None
    tallies: Tallies = field(default_factory=Tallies)
    unwritten: dict[DrawKey, tuple[bool, bool]] = field(default_factory=dict)
    owner: str | None = None
    idle: bool = False
    ended: bool = False


class Children:
    """The processes of a collection; they run within the block.

    Args:
        session: forked into each child, which draws by it.
        units: what to draw.
        processes: how many.
        interrupt: ends them.

    Attributes:
        show: called with the tallies of all together.
    """

    def __init__(self, session: Session, units: Units, processes: int, interrupt: Interrupt):
        self._session, self._units, self._interrupt = session, units, interrupt
        self._count = processes
        self._all: list[_ChildState] = []
        self._deaths, self._stopping = 0, -1
        self._began = time.time()
        self._swept = -1  # deaths before the last look at what is left
        self._insisted_at = 0.0
        self._error: BaseException | None = None
        self._said: dict[tuple[str, str], _ChildState] = {}
        self.show: Callable[[Tallies], None] = lambda tallies: None

    @property
    def tallies(self) -> Tallies:
        """What all came to so far."""
        return sum((child.tallies for child in self._all), Tallies())

    def __enter__(self) -> Children:
        if dspy.cache.enable_disk_cache:
            # SQLite's locks do not survive a fork. It opens again on use.
            dspy.cache.disk_cache.close()
        try:
            for number in range(self._count):
                self._start(number)
        except BaseException:
            self._end_all()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._end_all()

    def run(self) -> None:
        """Wait until all is drawn, recorded and ended.

        Raises:
            MuxError: what ended a child, or all were killed. Other errors are raised as they are.
        """
        while living := self._living():
            for reports in wait([child.reports for child in living], LOOK_S):
                self._read(next(child for child in living if child.reports is reports))
            self._pass_ctrl_c_on()
            for child in living:
                if not child.process.is_alive():
                    self._bury(child)
            self._conduct()
        self.show(self.tallies)
        if self._error is not None:
            raise self._error
        if self._deaths == self._count and not self._interrupt.asked:
            raise MuxError(
                f"All {self._count} processes of the collection were ended from outside: what had "
                "arrived is recorded, so start it again, with fewer processes if memory is short."
            )

    def _living(self) -> list[_ChildState]:
        return [child for child in self._all if not child.ended]

    def _start(self, number: int) -> None:
        reports, to_parent = multiprocessing.Pipe()
        from_parent, orders = multiprocessing.Pipe(duplex=False)
        budget, session = self._session.budget, self._session
        own = [connection for child in self._all for connection in (child.reports, child.orders)]
        threads, rest = divmod(session.num_threads, self._count)
        before, session.num_threads = session.num_threads, threads + (number < rest)
        try:
            process = multiprocessing.get_context("fork").Process(
                target=run_child,
                args=(
                    session,
                    self._units,
                    (to_parent, from_parent),
                    [*own, reports, orders],
                    (number, self._count),
                ),
                name=f"dspy-mux-{number + 1}",
            )
            process.start()
        except OSError as error:
            raise MuxError(
                f"The system does not start process {number + 1} of {self._count}: start fewer."
            ) from error
        finally:
            session.num_threads = before
        to_parent.close()
        from_parent.close()
        account = Account(budget) if isinstance(budget, Budget) else None
        self._all.append(_ChildState(process, reports, orders, account))

    def _read(self, child: _ChildState) -> None:
        """Take what a child reports, as much as there is."""
        try:
            while child.reports.poll():
                kind, details = json.loads(child.reports.recv_bytes())
                self._take(child, kind, details)
        except (EOFError, OSError):
            child.process.join(GRACE_S)
            self._bury(child)

    def _take(self, child: _ChildState, kind: str, details: dict[str, Any]) -> None:
        if kind == "ask":
            assert child.account is not None
            reply = child.account.answer(details["question"], details["details"])
            child.reports.send_bytes(json.dumps(reply).encode())
        elif kind == "owner":
            child.owner = details["owner"]
        elif kind == "log":
            self._log(child, details["logger"], details["level"], details["message"])
        elif kind == "up":
            for other in self._living():
                self._order(other, "up", members=details["members"])
        elif kind == "failing":
            self._stop(0)
        elif kind == "record":
            child.tallies = Tallies(**details["tallies"])
            program, question, number = details["draw"]
            first, second = details["abstained"]
            child.unwritten[program, question, number] = first, second
            while len(child.unwritten) > details["waiting"]:
                del child.unwritten[next(iter(child.unwritten))]
        else:
            child.tallies = Tallies(**details["tallies"])
            child.idle = kind == "idle"
            self.show(self.tallies)
            if details.get("error") is not None:
                self._fail(restored(details["error"]))

    def _fail(self, error: BaseException) -> None:
        """Have all end with an error; the first one is raised, and others are logged."""
        if self._error is None:
            self._error = error
        elif str(error) != str(self._error):
            logger.error("Another process of the collection: %s", error)
        self._stop(0)

    def _log(self, child: _ChildState, name: str, level: int, message: str) -> None:
        """Log what a child logged, but for what another one has said already."""
        if self._said.setdefault((name, message), child) is child:
            logging.getLogger(name).log(level, "%s", message)

    def _conduct(self) -> None:
        """Once no child has anything left to draw, have one make what the dead left; then end all.

        It waits for the claims of dead collections to lapse, and those of a child are released.
        """
        living = self._living()
        if not living or not all(child.idle for child in living):
            return
        last = self._is_over or self._swept == self._deaths
        self._swept = self._deaths
        for child in living if last else living[:1]:
            child.idle = False
            self._order(child, "end" if last else "sweep")

    @property
    def _is_over(self) -> bool:
        return self._stopping >= 0 or self._interrupt.asked or self._session.out_of_budget

    def _order(self, child: _ChildState, order: str, **details: Any) -> None:
        with suppress(OSError):  # it has ended
            child.orders.send_bytes(json.dumps([order, details]).encode())

    def _stop(self, presses: int) -> None:
        """Have all children end, as after so many presses of Ctrl-C."""
        if presses > self._stopping:
            self._stopping = presses
            for child in self._living():
                self._order(child, "stop", presses=presses)

    def _pass_ctrl_c_on(self) -> None:
        interrupt = self._interrupt
        if interrupt.asked:
            self._stop(interrupt.presses)
        if interrupt.insisted:
            self._insisted_at = self._insisted_at or time.monotonic()
            if interrupt.presses > 2 or time.monotonic() - self._insisted_at > GRACE_S:
                for child in self._living():
                    child.process.kill()

    def _bury(self, child: _ChildState) -> None:
        """Take note that a child has ended; where it was killed, have others make its draws."""
        if child.ended:
            return
        child.ended = True
        self._drain(child)
        if child.account is not None:
            child.account.close()
        if child.process.exitcode == 0:
            return
        self._deaths += 1
        with suppress(BankError):
            self._count_written(child)
        if self._is_over:
            return
        others = " The others make its draws." if self._living() else ""
        logger.warning("A process of the collection was ended by %s.%s", _cause(child), others)
        if child.owner is not None:
            # Where that fails, its claims lapse by themselves.
            until = time.monotonic() + RELEASE_S
            writing = self._session.bank.writing(lambda: time.monotonic() < until)
            with suppress(BankError), writing as connection:
                self._session.bank.claims.release(connection, child.owner)

    def _count_written(self, child: _ChildState) -> None:
        """Take draws that a killed child had not written from its tallies; their calls stay."""
        programs = list({program for program, _, _ in child.unwritten})
        questions = list({question for _, question, _ in child.unwritten})
        bank = self._session.bank
        failed = bank.failure_times(programs, questions).items()
        # A failure that was there before stands for a draw that was to replace it.
        written = bank.drawn(programs, questions) - {
            draw for draw, at in failed if at < self._began
        }
        for draw, (abstained, cut_off) in child.unwritten.items():
            if draw not in written:
                child.tallies += Tallies(-1, -abstained, -cut_off)

    def _drain(self, child: _ChildState) -> None:
        """Take what an ended child had reported."""
        with suppress(EOFError, OSError):
            while child.reports.poll():
                kind, details = json.loads(child.reports.recv_bytes())
                if kind != "ask":
                    self._take(child, kind, details)

    def _end_all(self) -> None:
        """Leave no process behind."""
        for child in self._all:
            child.orders.close()  # a child ends when nobody can give it orders, or answers
            child.reports.close()
        until = time.monotonic() + GRACE_S
        for child in self._all:
            child.process.join(max(0.0, until - time.monotonic()))
            if child.process.exitcode is None:
                child.process.kill()
                child.process.join()
            child.process.close()


def _cause(child: _ChildState) -> str:
    code = child.process.exitcode
    if code is None or code >= 0:
        return f"exit code {code}"
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"
