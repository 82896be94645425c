"""Share a collection among forked processes: one budget, one line of progress, one Ctrl-C."""

from __future__ import annotations

import json
import logging
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

import dspy

from ..errors import BankError, ConfigurationError, MuxError
from ..local import is_embedded
from ..mux.slm_mux import SLMMux
from ..sampling.interrupt import Interrupt
from .child import run_child
from .conductor import GRACE_S, Conductor, DrawKey
from .limits import Budget
from .remote_limits import Account
from .session import Session, Tallies
from .units import UNITS_AT_ONCE, Units

logger = logging.getLogger(__name__)

#: Seconds between two looks at Ctrl-C and at who lives.
LOOK_S = 0.1


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
    return [member.label for member in mux.members if is_embedded(member.lm)]


def units_at_once(num_threads: int, k: int) -> int:
    """Return how many units a process claims at a time, so that all come to an end together."""
    return max(1, min(UNITS_AT_ONCE, num_threads // k))


@dataclass(eq=False)
class _ChildProcess:
    """A forked process, as its parent knows it (`Process`)."""

    process: BaseProcess
    reports: Connection
    orders: Connection
    account: Account | None
    tallies: Tallies = field(default_factory=Tallies)
    unwritten: dict[DrawKey, tuple[bool, bool]] = field(default_factory=dict)
    owner: str | None = None
    idle: bool = False
    ended: bool = False

    def order(self, order: str, **details: Any) -> None:
        with suppress(OSError):  # it has ended
            self.orders.send_bytes(json.dumps([order, details]).encode())

    def kill(self) -> None:
        self.process.kill()


class Children(Conductor[_ChildProcess]):
    """The forked processes of a collection; they run within the block.

    Args:
        session: forked into each child, which draws by it.
        units: what to draw.
        processes: how many.
        interrupt: ends them.
    """

    def __init__(self, session: Session, units: Units, processes: int, interrupt: Interrupt):
        super().__init__(session, units, interrupt)
        self._count = processes
        self._swept = -1  # deaths before the last look at what is left

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
        super().run()
        if self._deaths == self._count and not self._interrupt.asked:
            raise MuxError(
                f"All {self._count} processes of the collection were ended from outside: what had "
                "arrived is recorded, so start it again, with fewer processes if memory is short."
            )

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
        self._all.append(_ChildProcess(process, reports, orders, account))

    def _listen(self, living: list[_ChildProcess]) -> None:
        for reports in wait([child.reports for child in living], LOOK_S):
            self._read(next(child for child in living if child.reports is reports))
        for child in living:
            if not child.process.is_alive():
                self._bury(child)

    def _read(self, child: _ChildProcess) -> None:
        """Take what a child reports, as much as there is."""
        try:
            while child.reports.poll():
                kind, details = json.loads(child.reports.recv_bytes())
                self._take(child, kind, details)
        except (EOFError, OSError):
            child.process.join(GRACE_S)
            self._bury(child)

    def _take(self, process: _ChildProcess, kind: str, details: dict[str, Any]) -> None:
        if kind != "ask":
            super()._take(process, kind, details)
            return
        assert process.account is not None
        reply = process.account.answer(details["question"], details["details"])
        process.reports.send_bytes(json.dumps(reply).encode())

    def _conduct(self) -> None:
        """Once no child has anything left to draw, have one make what the dead left; then end all.

        It waits for the claims of dead collections to lapse, and those of a child are released.
        """
        living = self.living
        if not living or not all(child.idle for child in living):
            return
        last = self._is_over or self._swept == self._deaths
        self._swept = self._deaths
        for child in living if last else living[:1]:
            child.idle = False
            child.order("end" if last else "sweep")

    def _bury(self, child: _ChildProcess) -> None:
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
        others = " The others make its draws." if self.living else ""
        logger.warning("A process of the collection was ended by %s.%s", _cause(child), others)
        self._release(child)

    def _drain(self, child: _ChildProcess) -> None:
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


def _cause(child: _ChildProcess) -> str:
    code = child.process.exitcode
    if code is None or code >= 0:
        return f"exit code {code}"
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"
