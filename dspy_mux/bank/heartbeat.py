"""The heartbeat of a collection: it keeps claims, and notices when they are lost."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

from dspy.utils.callback import BaseCallback

from ..errors import BankError, StorageError
from ..sampling.deadline import loading
from ..sampling.interrupt import Interrupt
from . import claims
from .claims import Unit
from .patience import patiently
from .sample_bank import SampleBank

#: Seconds to wait at the end for a beat under way, which may wait for another process's change.
_END_S = 1.0


class ClaimLost(BaseException):
    """Ends a draw before a call that another collection makes.

    A `BaseException`: a program must not take it for a failed call.
    """


class Heartbeat:
    """One collection's hold on its claims.

    A thread beats for as long as the block runs. A process that was paused, or cut off from its
    database, may have lost claims meanwhile, so each call asks first (`confirm`) where the last
    beat is not recent.

    >>> import tempfile
    >>> from dspy_mux import SampleBank
    >>> bank = SampleBank(tempfile.mkdtemp() + "/bank.sqlite")
    >>> with Heartbeat(bank, Interrupt()) as heart:
    ...     heart.take([(1, 1)])
    ...     bank.claims.take([(1, 1)], "another")
    [(1, 1)]
    []

    Attributes:
        owner: a random id.
    """

    def __init__(self, bank: SampleBank, interrupt: Interrupt):
        self.owner = uuid.uuid4().hex
        self._bank, self._interrupt = bank, interrupt
        self._beats = 0
        self._held: set[Unit] = set()
        self._at = _clocks()
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="dspy-mux-beat", daemon=True)

    def __enter__(self) -> Heartbeat:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join(_END_S)

    def take(self, units: Sequence[Unit]) -> list[Unit]:
        """Claim units; return those that are this collection's now, none after Ctrl-C."""
        with self._unless_hurried():
            return patiently(self._bank, partial(self._take, units), self.wanted)
        return []

    def _take(self, units: Sequence[Unit]) -> list[Unit]:
        with self._lock:
            ours = self._bank.claims.take(units, self.owner, self._beats, self.wanted)
            self._held.update(ours)
            return ours

    def release(self, units: Sequence[Unit]) -> None:
        """Give claims up; after Ctrl-C only where no other process holds the bank."""
        if units:
            with self._unless_hurried():
                patiently(self._bank, partial(self._release, units), self.wanted)

    def _release(self, units: Sequence[Unit]) -> None:
        with self._bank.writing(self.wanted) as connection:
            self._bank.claims.release(connection, self.owner, units)

    def confirm(self, unit: Unit) -> None:
        """Return where a call for this unit is this collection's to make.

        Raises:
            ClaimLost: another collection may have claimed it meanwhile.
        """
        if not self._is_recent():
            with loading(), self._lock:  # waiting for the database is not the draw's time
                if not self._is_recent():
                    self._beat()
        if not self._is_recent() or unit not in self._held:
            raise ClaimLost

    def _is_recent(self) -> bool:
        """Whether the last beat is too recent for another collection to have given up on us."""
        # The clocks differ in what they count while a machine sleeps.
        passed = (now - then for now, then in zip(_clocks(), self._at, strict=True))
        return max(passed) < 2 * claims.BEAT_S

    def _beat(self) -> None:
        """Beat once, holding the lock; a beat that fails changes nothing."""
        self._beats += 1
        with suppress(BankError), self._bank.writing(self.wanted) as connection:
            at = _clocks()  # waiting for the transaction took its time
            self._held = self._bank.claims.beat(connection, self.owner, self._beats)
            self._at = at

    def wanted(self) -> bool:
        """Return whether to wait for the bank, which another process may hold."""
        return not (self._over.is_set() or self._interrupt.hurried)

    @contextmanager
    def _unless_hurried(self) -> Iterator[None]:
        """Let a change of claims fail after Ctrl-C."""
        try:
            yield
        except StorageError:
            if not self._interrupt.hurried:
                raise

    def _run(self) -> None:
        while not self._over.wait(claims.BEAT_S):
            with self._lock:
                self._beat()


class Confirmation(BaseCallback):
    """As a DSPy callback, confirms a draw's claim before each of its LM calls.

    Attributes:
        lost: whether the claim was lost, and the draw with it.
    """

    def __init__(self, heart: Heartbeat, unit: Unit):
        self._heart, self._unit = heart, unit
        self.lost = False

    def __deepcopy__(self, memo: dict[int, Any]) -> Confirmation:
        return self  # it is the draw's, wherever DSPy's settings are copied to

    def on_lm_start(self, call_id: str, instance: Any, inputs: dict[str, Any]) -> None:
        try:
            self._heart.confirm(self._unit)
        except ClaimLost:
            self.lost = True
            raise


def _clocks() -> tuple[float, float]:
    return time.monotonic(), time.time()
