"""Conduct the processes of a collection: add up what they report, and end them together.

`Children` conducts processes that were forked; those of a cluster are conducted likewise
(`dspy_mux/cluster`). Processes do their part as `Child` says.
"""

from __future__ import annotations

import logging
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from concurrent.futures import Future, TimeoutError as FutureTimeout
from contextlib import suppress
from typing import Any, Generic, Protocol, TypeAlias, TypeVar

from typing_extensions import Self

from ..errors import BankError, StorageError
from ..mux.slm_mux import SLMMux
from ..sampling.interrupt import Interrupt
from .carried_errors import restored
from .sample_bank import SampleBank
from .session import Session, Tallies
from .units import Units

logger = logging.getLogger(__name__)

#: Seconds to wait for the bank, to ask what a killed process had written, or to release its claims.
RELEASE_S = 2.0
#: Seconds that processes have to end once the conductor does; after a second Ctrl-C too.
GRACE_S = 15.0


#: (program, question, number) of a draw.
DrawKey: TypeAlias = tuple[int, int, int]


class Process(Protocol):
    """What is known of a process that makes draws.

    Attributes:
        tallies: what it came to so far.
        unwritten: the draws that it may not have written yet, in order, with whether each abstained
            and was cut off.
        owner: of its claims.
        idle: whether it has nothing left to draw.
        ended: whether it has ended.
    """

    tallies: Tallies
    unwritten: dict[DrawKey, tuple[bool, bool]]
    owner: str | None
    idle: bool
    ended: bool

    def order(self, order: str, **details: Any) -> None:
        """Send an order; do nothing where the process has ended."""

    def kill(self) -> None:
        """End the process at once."""


AnyProcess = TypeVar("AnyProcess", bound=Process)
Result = TypeVar("Result")


class Cluster(Protocol):
    """Machines that share a collection, such as `dspy_mux.cluster.RayCluster`."""

    def check(self, mux: SLMMux, bank: SampleBank, num_threads: int) -> None:
        """Check that a collection can run there, before anything is written.

        Raises:
            ConfigurationError: it cannot; the message says why.
            MissingExtra: what it needs is not installed.
        """

    def conductor(self, session: Session, units: Units, interrupt: Interrupt) -> Conductor[Any]:
        """Return what conducts the collection there, within its block."""


class Conductor(ABC, Generic[AnyProcess]):
    """Conducts the processes of a collection.

    Args:
        session: what the processes draw by; here it has the bank and the limits.
        units: what to draw.
        interrupt: ends all.

    Attributes:
        show: called with the tallies of all together.
    """

    def __init__(self, session: Session, units: Units, interrupt: Interrupt):
        self._session, self._units, self._interrupt = session, units, interrupt
        self._all: list[AnyProcess] = []
        self._deaths, self._stopping = 0, -1
        self._since = time.time()
        self._insisted_at = 0.0
        self._error: BaseException | None = None
        self._said: dict[tuple[str, str], AnyProcess] = {}
        self.show: Callable[[Tallies], None] = lambda tallies: None

    def __enter__(self) -> Self:
        return self

    @abstractmethod
    def __exit__(self, *_: object) -> None:
        """Leave no process behind."""

    @property
    def tallies(self) -> Tallies:
        """What all came to so far."""
        return sum((process.tallies for process in self._all), Tallies())

    def run(self) -> None:
        """Wait until all is drawn, recorded and ended.

        Raises:
            MuxError: what ended a process, or all were killed. Other errors are raised as they are.
        """
        while living := self.living:
            self._listen(living)
            self._pass_ctrl_c_on()
            self._conduct()
        self.show(self.tallies)
        if self._error is not None:
            raise self._error

    @abstractmethod
    def _listen(self, living: list[AnyProcess]) -> None:
        """Take what processes report, waiting for it a moment, and bury those that have ended."""

    @abstractmethod
    def _conduct(self) -> None:
        """Order what is to be done next."""

    @property
    def living(self) -> list[AnyProcess]:
        """The processes that have not ended."""
        return [process for process in self._all if not process.ended]

    @property
    def _is_over(self) -> bool:
        return self._stopping >= 0 or self._interrupt.asked or self._session.out_of_budget

    def _take(self, process: AnyProcess, kind: str, details: dict[str, Any]) -> None:
        """Take a report."""
        if kind == "owner":
            process.owner = details["owner"]
        elif kind == "log":
            self._log(process, details["logger"], details["level"], details["message"])
        elif kind == "up":
            for other in self.living:
                other.order("up", members=details["members"])
        elif kind == "given up":  # by this process; others find out by themselves
            known = self._session.health.given_up
            known.setdefault(details["member"], (details["failed"], details["cause"]))
        elif kind == "failing":
            self._stop(0)
        elif kind == "record":
            process.tallies = Tallies(**details["tallies"])
            program, question, number = details["draw"]
            first, second = details["abstained"]
            process.unwritten[program, question, number] = first, second
            while len(process.unwritten) > details["waiting"]:
                del process.unwritten[next(iter(process.unwritten))]
        else:
            process.tallies = Tallies(**details["tallies"])
            process.idle = kind == "idle"
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

    def _log(self, process: AnyProcess, name: str, level: int, message: str) -> None:
        """Log what a process logged, but for what another one has said already."""
        if self._said.setdefault((name, message), process) is process:
            logging.getLogger(name).log(level, "%s", message)

    def _stop(self, presses: int) -> None:
        """Have all processes end, as after so many presses of Ctrl-C."""
        if presses > self._stopping:
            self._stopping = presses
            for process in self.living:
                process.order("stop", presses=presses)

    def _pass_ctrl_c_on(self) -> None:
        interrupt = self._interrupt
        if interrupt.asked:
            self._stop(interrupt.presses)
        if interrupt.insisted:
            self._insisted_at = self._insisted_at or time.monotonic()
            if interrupt.presses > 2 or time.monotonic() - self._insisted_at > GRACE_S:
                for process in self.living:
                    process.kill()

    def _count_written(self, process: AnyProcess) -> None:
        """Take draws that a killed process had not written from its tallies; their calls stay.

        Raises:
            BankError: the bank does not say which.
        """
        if not process.unwritten:
            return
        programs = list({program for program, _, _ in process.unwritten})
        questions = list({question for _, question, _ in process.unwritten})
        bank = self._session.bank

        def look() -> set[DrawKey]:
            failed = bank.failure_times(programs, questions).items()
            # A failure that was there before stands for a draw that was to replace it.
            return bank.drawn(programs, questions) - {
                draw for draw, at in failed if at < self._since
            }

        written = _in_time(look, bank)
        for draw, (abstained, cut_off) in process.unwritten.items():
            if draw not in written:
                process.tallies += Tallies(-1, -abstained, -cut_off)

    def _release(self, process: AnyProcess) -> None:
        """Release what a process that was killed had claimed."""
        if process.owner is None:
            return
        bank, owner = self._session.bank, process.owner
        until = time.monotonic() + RELEASE_S

        def release() -> None:
            with bank.writing(lambda: time.monotonic() < until) as connection:
                bank.claims.release(connection, owner)

        with suppress(BankError):  # where that fails, its claims lapse by themselves
            _in_time(release, bank)


def _in_time(act: Callable[[], Result], bank: SampleBank) -> Result:
    """Return what `act` returns; a thread is left with it where the bank does not reply.

    A conductor that waited for a server that is gone would hear nobody meanwhile.

    Raises:
        StorageError: it took longer than RELEASE_S.
    """
    future: Future[Result] = Future()

    def run() -> None:
        try:
            future.set_result(act())
        except BaseException as error:  # noqa: BLE001  (raised below)
            future.set_exception(error)

    threading.Thread(target=run, name="dspy-mux-aside", daemon=True).start()
    try:
        return future.result(RELEASE_S)
    except FutureTimeout as error:
        raise StorageError(
            f"The bank {bank.name} took longer than {RELEASE_S:g} seconds to reply: look whether "
            "its server can be reached."
        ) from error
