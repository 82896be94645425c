"""A child process of a collection: it makes draws, and does what its parent orders.

A forked child and its parent send each other JSON. What is reported goes up one connection, whose
other direction answers questions; orders come down another. Where the parent has ended, a child
ends as after Ctrl-C, but for the calls under way, which it waits for.
"""

from __future__ import annotations

import json
import logging
import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict
from multiprocessing.connection import Connection
from typing import Any, NoReturn, Protocol

from ..sampling.interrupt import Interrupt
from .carried_errors import error_text
from .claims import Unit
from .heartbeat import Heartbeat
from .remote_limits import RemoteBudget
from .session import Session, abstained
from .units import Units
from .writer import RecordedDraw

#: Seconds between two reports of progress.
REPORT_S = 0.1
#: Seconds between two looks at whether the parent lives.
_LOOK_S = 1.0


class Link(Protocol):
    """A child's connection to what conducts it."""

    def tell(self, kind: str, **details: Any) -> None:
        """Report; do nothing where nobody listens any more."""

    def ask(self, question: str, **details: Any) -> dict[str, Any]:
        """Return the reply of `Account.answer`.

        Raises:
            EOFError, OSError: nobody answers any more.
        """


class _Pipe:
    """A forked child's connection to its parent."""

    def __init__(self, reports: Connection):
        # Reentrant: what is collected as garbage meanwhile may log.
        self._reports, self._lock = reports, threading.RLock()

    def tell(self, kind: str, **details: Any) -> None:
        with self._lock, suppress(OSError):
            self._reports.send_bytes(json.dumps([kind, details]).encode())

    def ask(self, question: str, **details: Any) -> dict[str, Any]:
        with self._lock:
            message = ["ask", {"question": question, "details": details}]
            self._reports.send_bytes(json.dumps(message).encode())
            reply: dict[str, Any] = json.loads(self._reports.recv_bytes())
            return reply


class _Forwarder(logging.Handler):
    """Hands log records to the parent, which has the one console."""

    def __init__(self, link: Link):
        super().__init__()
        self._link = link

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._link.tell(
                "log", logger=record.name, level=record.levelno, message=self.format(record)
            )
        except Exception:  # noqa: BLE001  (as every handler does)
            self.handleError(record)


class Child:
    """A process's part of a collection.

    Args:
        units: all of the collection's that may be its own.
        link: to what conducts it.
        waits: whether it waits at the end for what other collections have claimed, and makes what
            those leave that die; where not, it does so when it is ordered to sweep.
    """

    def __init__(self, session: Session, units: Units, link: Link, *, waits: bool):
        self.session, self.units, self.link, self.waits = session, units, link, waits
        self.interrupt = Interrupt()
        self._orders: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._reported = 0.0
        self._failing = False
        self._given_up: set[str] = set()  # the members of which that was reported
        self._up: set[str] = set()  # the members that this child or its parent know to be up
        if session.budget is not None:
            session.limit_by(RemoteBudget(link.ask, session.budget.max_cost, self.interrupt))
        session.on_settled = self._report
        session.on_record = self._record

    def run(self) -> None:
        """Draw until the order to end comes."""
        order = "draw"  # what all begin with
        while order != "end":
            error: BaseException | None = None
            try:
                self._draw(sweep=order == "sweep")
            except BaseException as raised:  # noqa: BLE001  (the parent raises it)
                error = raised
            self.tell_idle(error or self.session.mistake)
            order = self._orders.get()

    def tell_idle(self, error: BaseException | None) -> None:
        """Report that nothing is left to draw, or the error that ended it."""
        self.link.tell(
            "idle",
            tallies=asdict(self.session.tallies),
            error=None if error is None else error_text(error),
        )

    def obey(self, order: str, **details: Any) -> None:
        """Take an order; called from another thread than `run`."""
        if order == "stop":
            self.interrupt.presses = details["presses"]
            self.interrupt.ask()
        elif order == "up":
            self._up.update(details["members"])
            self.session.health.responded.update(details["members"])
        else:
            self._orders.put(order)

    def wanted(self) -> Iterator[Unit | None]:
        """Yield the units to draw, in order; None while the next one is not known."""
        yield from [unit for unit, left in self.units.missing.items() if left]

    def _draw(self, *, sweep: bool) -> None:
        """Draw what is lacking; in a sweep also what others have left, once they are dead."""
        if sweep:
            self.units.begin_again()
        with Heartbeat(self.session.bank, self.interrupt) as heart:
            self.link.tell("owner", owner=heart.owner)
            wait = sweep or self.waits
            self.session.draw(self.units, self.wanted(), heart, self.interrupt, wait=wait)

    def _record(self, draw: RecordedDraw, waiting: int) -> None:
        """Report a draw before it is written: a kill leaves it open whether it is."""
        question, program = draw.unit
        self.link.tell(
            "record",
            tallies=asdict(self.session.tallies),
            draw=[program, question, draw.number],
            abstained=abstained(draw),
            waiting=waiting,
        )

    def _report(self) -> None:
        if self.session.mistake is not None and not self._failing:
            self._failing = True
            self.link.tell("failing")
        if new := self.session.health.responded - self._up:
            self._up |= new
            self.link.tell("up", members=sorted(new))
        for name, (failed, cause) in self.session.health.given_up.items():
            if name not in self._given_up:
                self._given_up.add(name)
                self.link.tell("given up", member=name, failed=failed, cause=cause)
        now = time.monotonic()
        if now - self._reported >= REPORT_S:
            self._reported = now
            self.link.tell("tallies", tallies=asdict(self.session.tallies))


class _ForkedChild(Child):
    """A forked child, which draws its part of all units, then what others have not come to.

    Args:
        orders: the connection that they come by.
        share: (number, count) of this child among all.
    """

    def __init__(
        self, session: Session, units: Units, link: Link, orders: Connection, share: tuple[int, int]
    ):
        super().__init__(session, units, link, waits=False)
        self.share, self._orders_from, self._parent = share, orders, os.getppid()

    def run(self) -> None:
        threading.Thread(target=self._listen, name="dspy-mux-orders", daemon=True).start()
        super().run()

    def wanted(self) -> Iterator[Unit | None]:
        units = [unit for unit, left in self.units.missing.items() if left]
        number, count = self.share
        first, last = (len(units) * at // count for at in (number, number + 1))
        yield from units[first:last]
        others = [*units[:first], *units[last:]]
        self.units.look_up(others)
        yield from [unit for unit in reversed(others) if self.units.missing[unit]]

    def _listen(self) -> None:
        with suppress(EOFError, OSError):
            while True:
                while not self._orders_from.poll(_LOOK_S):
                    if os.getppid() != self._parent:
                        raise EOFError
                order, details = json.loads(self._orders_from.recv_bytes())
                self.obey(order, **details)
        self.interrupt.ask()
        self.obey("end")


def run_child(
    session: Session,
    units: Units,
    ends: tuple[Connection, Connection],
    parents_ends: Sequence[Connection],
    share: tuple[int, int],
) -> NoReturn:
    """Do a child's part in a process that has just been forked, and end it.

    Args:
        ends: of the connections for reports and orders.
        parents_ends: the parent's ends of all connections, which the fork copied.
        share: (number, count) of this child among all.
    """
    code, link = 1, _Pipe(ends[0])
    try:
        # A terminal sends Ctrl-C to all processes; the parent says what to do.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        for end in parents_ends:
            end.close()  # else nobody would see that the parent has ended
        forward_logs(link)
        _ForkedChild(session, units, link, ends[1], share).run()
        code = 0
    except BaseException as error:  # noqa: BLE001  (the parent raises it)
        link.tell("idle", tallies=asdict(session.tallies), error=error_text(error))
    finally:
        for stream in (sys.stdout, sys.stderr):
            with suppress(Exception):  # closed, or None
                stream.flush()
        os._exit(code)  # calls that hang hold up nobody


def forward_logs(link: Link) -> None:
    """Report what is logged, rather than print it."""
    for name in ("dspy", "dspy_mux"):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [], True
    logging.getLogger().handlers = [_Forwarder(link)]
