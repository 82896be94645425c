"""What a collection has to draw: the units that lack draws, and those that are its own to make."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

from ..sampling.interrupt import Interrupt
from . import claims
from .claims import Unit
from .heartbeat import Heartbeat
from .patience import patiently
from .sample_bank import SampleBank

#: Units that a collection claims at a time, alone.
UNITS_AT_ONCE = 32
#: Seconds until a request to end is noticed.
_NOTICE_S = 0.1


#: (program, question, number) of a draw that failed.
Failure: TypeAlias = tuple[int, int, int]


@dataclass(frozen=True)
class Claimed:
    """A unit that is this collection's, with the numbers of the draws to make.

    `failed` are those of them in whose place a failure is recorded.
    """

    unit: Unit
    numbers: Sequence[int]
    failed: frozenset[int]


class Units:
    """The units of a collection, (question, program).

    Args:
        k: program → draws to have of each question.
        retry_failed: whether the failures that are recorded now are to be drawn again.
        at_once: units that are claimed at a time.

    Attributes:
        k: as given.
        missing: unit → the numbers of the draws that are neither made here nor known to be
            recorded.
        on_done: called with units of which all draws are recorded.
        on_elsewhere: called with units that another collection has claimed.
    """

    def __init__(
        self,
        bank: SampleBank,
        questions: Sequence[int],
        k: Mapping[int, int],
        *,
        retry_failed: bool,
        at_once: int = UNITS_AT_ONCE,
    ):
        self._bank, self.k, self._at_once = bank, k, at_once
        # A draw that fails once more is not made again, whichever process records it: it has
        # another time.
        self._to_retry = bank.failure_times(list(k), questions) if retry_failed else {}
        done, _ = self._done(questions) if questions else (set(), set())
        self.missing: dict[Unit, list[int]] = {}
        for question in questions:
            for program, draws in k.items():
                if left := [n for n in range(draws) if (program, question, n) not in done]:
                    self.missing[question, program] = left
        self._elsewhere: dict[Unit, None] = {}  # in order
        self.on_done: Callable[[Sequence[Unit]], None] = lambda units: None
        self.on_elsewhere: Callable[[Sequence[Unit]], None] = lambda units: None

    @property
    def lacking(self) -> int:
        """How many draws that is."""
        return sum(map(len, self.missing.values()))

    def claim(self, heart: Heartbeat, units: Iterable[Unit | None]) -> Iterator[Claimed | None]:
        """Claim units, a few at a time; yield those that still lack draws.

        Args:
            units: None stands for units that are not known yet, and is yielded on.
        """
        to_come, more = iter(units), True
        while more:
            wanted: list[Unit] = []
            for unit in to_come:
                if unit is not None:
                    wanted.append(unit)
                if unit is None or len(wanted) == self._at_once:
                    break
            else:
                more = False
            if wanted:
                ours = heart.take(wanted)
                self._leave([unit for unit in wanted if unit not in ours])
                yield from self._to_draw(heart, ours)
            elif more:
                yield None

    def assign(self, units: Iterable[Unit], failed: Iterable[tuple[Failure, float]]) -> None:
        """Add units whose recorded draws are looked up once they are claimed.

        Args:
            failed: the failures among their draws to make again, as `to_retry` returns them.
        """
        self._to_retry.update(failed)
        for unit in units:
            self.missing[unit] = list(range(self.k[unit[1]]))

    def drop(self, units: Iterable[Unit]) -> None:
        """Forget units that are done."""
        for unit in units:
            self.missing.pop(unit, None)

    def to_retry(self, units: Iterable[Unit]) -> list[tuple[Failure, float]]:
        """Return the failures to draw again among what these units lack, and when each happened."""
        draws = [
            (program, question, number)
            for question, program in (units if self._to_retry else ())
            for number in self.missing[question, program]
        ]
        return [(draw, self._to_retry[draw]) for draw in draws if draw in self._to_retry]

    def begin_again(self) -> None:
        """Read anew what is lacking, where no draw is under way."""
        self.look_up(list(self.missing))
        self._elsewhere.clear()

    def settle(self, unit: Unit, number: int) -> bool:
        """Take note of a draw that is made; return whether it is the last one of its unit."""
        self.missing[unit].remove(number)
        return not self.missing[unit]

    def lose(self, unit: Unit) -> None:
        """Take note that another collection has a unit that was this one's."""
        self._leave([unit])

    def _leave(self, units: Sequence[Unit]) -> None:
        """Leave units to the collections that have claimed them, unless these die."""
        self._elsewhere.update(dict.fromkeys(units))
        if units:
            self.on_elsewhere(units)

    def regain(self, heart: Heartbeat, interrupt: Interrupt) -> list[Unit]:
        """Wait until all that others had claimed is drawn, free, or in the hands of the living.

        Returns:
            The units that are this collection's now.
        """
        while self._elsewhere and not interrupt.asked:
            units = list(self._elsewhere)
            ours = heart.take(units)
            for unit in ours:
                del self._elsewhere[unit]
            if ours:
                return ours
            if not patiently(self._bank, partial(self._is_undecided, units), heart.wanted):
                return []
            until = time.monotonic() + claims.BEAT_S
            while time.monotonic() < until and not interrupt.asked:
                time.sleep(min(_NOTICE_S, claims.BEAT_S))
        return []

    def _is_undecided(self, units: Sequence[Unit]) -> bool:
        """Return whether owners of these may be dead; where all live, look the units up."""
        if self._bank.claims.undecided(units):
            return True
        self.look_up(units)
        return False

    def _to_draw(self, heart: Heartbeat, ours: Sequence[Unit]) -> Iterator[Claimed]:
        # Another process may have drawn some of them since they were read.
        failed = patiently(self._bank, partial(self.look_up, ours), heart.wanted)
        drawn = [unit for unit in ours if not self.missing[unit]]
        heart.release(drawn)
        lacking = [unit for unit in ours if self.missing[unit]]
        self.on_done(drawn)  # from here on they may be dropped
        for question, program in lacking:
            left = self.missing[question, program]
            again = frozenset(n for n in left if (program, question, n) in failed)
            yield Claimed((question, program), tuple(left), again)

    def look_up(self, units: Sequence[Unit]) -> set[Failure]:
        """Update what these units lack; return (program, question, draw) of failures to retry."""
        if not units:
            return set()
        done, failed = self._done([question for question, _ in units])
        for question, program in units:
            left = self.missing[question, program]
            left[:] = [n for n in left if (program, question, n) not in done]
        return failed

    def _done(self, questions: Sequence[int]) -> tuple[set[tuple[int, int, int]], set[Failure]]:
        """Return (program, question, draw) of all draws not to make, and of failures to retry."""
        programs = list(self.k)
        failed: set[Failure] = set()
        if self._to_retry:
            times = self._bank.failure_times(programs, questions)
            failed = {draw for draw, time in times.items() if self._to_retry.get(draw) == time}
        return self._bank.drawn(programs, questions) - failed, failed
