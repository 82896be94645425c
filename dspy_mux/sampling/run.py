"""Run draws side by side: `sample` on threads, `asample` on asyncio tasks.

A draw that fails or misses its deadline abstains, with the cause; it never stops the others.
"""

from __future__ import annotations

import asyncio
import math
import queue
import time
from collections.abc import AsyncGenerator, Generator, Iterable, Iterator, Sequence
from contextlib import ExitStack, suppress
from functools import partial

from .client import is_loaded, load_client
from .draw import Draw
from .group import HEAD_START_S, DrawGroup
from .interrupt import Interrupt
from .offload import keep_from_default_executor, loads, on_thread
from .thread_limit import STALLED_S, NoThread, Permit, draw_threads
from .threads import take

#: Seconds to wait for a draw that has answered when all ends at once: its metric may not be done.
SOON_S = 1.0
#: Seconds to wait for calls under way when all ends, but not at once: they are paid for.
LINGER_S = 5.0


def sample(
    draws: Iterable[Draw | None],
    *,
    timeout: float | None = None,
    num_threads: int | None = None,
    interrupt: Interrupt | None = None,
) -> Generator[Draw, None, None]:
    """Run `draws` on threads, and yield each when it has an outcome.

    Closing the iterator withdraws the draws under way. A draw begins, and its time with it, once
    there is room among the threads of this process (`thread_limit`).

    Args:
        draws: taken as there is room; None means that the next draw is only known once another
            has settled.
        timeout: seconds that one draw may take; a draw that takes longer abstains.
        num_threads: draws that run at once; None for all.
        interrupt: once asked for, no draw is begun, those that have arrived are yielded, and the
            others are withdrawn.
    """
    interrupt = interrupt or Interrupt()
    threads = _DrawThreads(draws, timeout, num_threads)
    interrupt.on_ask(threads.wake)
    try:
        while threads.busy and not interrupt.asked:
            threads.begin_draws()
            yield from threads.next_settled()
        if interrupt.asked:
            yield from threads.arrived(interrupt)
    finally:
        threads.close()


class _DrawThreads:
    """The draws of one `sample`: those to come, those that run, and those that have finished."""

    def __init__(
        self, draws: Iterable[Draw | None], timeout: float | None, num_threads: int | None
    ):
        self.timeout, self.num_threads = timeout, num_threads
        self._to_come, self._more = iter(draws), True
        self._next: Draw | None = None  # waits for a thread
        #: The group whose draws are being begun, and how many more of them are to begin together.
        self._beginning: DrawGroup | None = None
        self._part: float = 0
        #: When a draw last settled, and when a group begins in the room there is.
        self._settled_at, self._begin_part_at = -math.inf, math.inf
        self._running: dict[Draw, Permit] = {}
        self._finished: queue.SimpleQueue[Draw | None] = queue.SimpleQueue()
        self._applicant = draw_threads.applicant(self.wake, reserve=True)

    @property
    def busy(self) -> bool:
        return self._more or self._next is not None or bool(self._running)

    def wake(self) -> None:
        """End the wait for the next draw; safe in a signal handler."""
        self._finished.put(None)

    def begin_draws(self) -> None:
        """Begin draws while there are any and there is room for them."""
        group: DrawGroup | None = None
        with ExitStack() as beginning:
            while self.num_threads is None or len(self._running) < self.num_threads:
                self._next = self._next or self._pull()
                if self._next is None or not self._fits(self._next):
                    break
                permit = self._applicant.take()
                if permit is None:
                    return
                draw, self._next = self._next, None
                if draw.group is not None and draw.group is not group:
                    beginning.close()
                    group = beginning.enter_context(draw.group.beginning())
                if not self._begin(draw, permit):
                    self._next = draw
                    return
                if group is not None:
                    self._part -= 1
                    if not self._part:
                        beginning.close()  # the next draw may be long in coming
                        group = None
            self._applicant.satisfied()

    def _fits(self, draw: Draw) -> bool:
        """Return whether there is room for a group's draws, or for more than half of them.

        They share a request; the others make another. So it has less than all only where no more
        comes free at once: the draws of a request settle together.
        """
        group = draw.group
        self._begin_part_at = math.inf
        if group is None or (group is self._beginning and self._part):
            return True
        left, room = group.size - group.begun, math.inf
        if self.num_threads is not None:
            room = self.num_threads - len(self._running)
            wanted = min(left, self.num_threads)
            if self._running and room < wanted:
                if 2 * room <= wanted:
                    return False
                begin_at = self._settled_at + HEAD_START_S
                # Some may have finished that whoever takes the draws has not come to.
                if time.monotonic() < begin_at or not self._finished.empty():
                    self._begin_part_at = begin_at
                    return False
        self._beginning, self._part = group, min(left, room)
        return True

    def next_settled(self) -> Iterator[Draw]:
        """Wait for the next draw that finishes or whose time is up, or until a part may begin."""
        if not self._running and self._next is None:
            return
        until = self._begin_part_at
        if self.timeout is not None and self._running:
            until = min(until, *(draw.deadline for draw in self._running))
        patience = until - time.monotonic()
        stalled = not self._running and patience > STALLED_S
        for draw in self._take(STALLED_S if stalled else patience) or self._abandon_overdue():
            if draw in self._running:  # an abandoned draw comes in twice
                del self._running[draw]
                self._settled_at = time.monotonic()
                yield draw
        if stalled:
            draw_threads.relieve()

    def arrived(self, interrupt: Interrupt) -> Iterator[Draw]:
        """Yield the draws that have finished or soon will; after Ctrl-C those with an answer."""
        began = time.monotonic()
        while not self._finished.empty() or self._worth_waiting(interrupt):
            patience = began + (SOON_S if interrupt.hurried else LINGER_S) - time.monotonic()
            taken = self._take(patience)
            for draw in taken:
                if draw in self._running:
                    del self._running[draw]
                    yield draw
            if not taken and self._finished.empty() and patience <= 0:
                break
        for draw in [draw for draw in self._running if draw.prediction is not None]:
            del self._running[draw]
            yield draw

    def close(self) -> None:
        """Stop the draws under way."""
        for draw, permit in self._running.items():
            draw.withdraw()
            permit.release()  # nobody waits for its thread any more
        self._applicant.leave()

    def _pull(self) -> Draw | None:
        """Return the next draw; None where there is none yet, or none any more."""
        if not self._more:
            return None
        try:
            draw = next(self._to_come)
        except StopIteration:
            self._more = False
            return None
        if draw is None:
            self._more = bool(self._running)
        return draw

    def _begin(self, draw: Draw, permit: Permit) -> bool:
        """Begin a draw; return False where it has to wait for a thread."""
        if self.timeout is not None:
            load_client(draw.member.lm)
        draw.begin(self.timeout)
        try:
            permit.start(partial(self._run, draw), partial(self._finished.put, draw))
        except NoThread as error:
            if self._applicant.refused(permit):
                return False
            draw.fail(error)
            self._finished.put(draw)
        self._running[draw] = permit
        return True

    def _run(self, draw: Draw) -> None:
        try:
            draw.run()
        except BaseException as error:  # noqa: BLE001  (the waiting thread raises it)
            draw.fail(error)

    def _take(self, patience: float) -> list[Draw]:
        """Return the next draw that finishes within `patience` seconds, if one does."""
        try:
            draw = take(self._finished, patience)
        except queue.Empty:
            return []
        return [] if draw is None else [draw]

    def _abandon_overdue(self) -> list[Draw]:
        overdue = [draw for draw in self._running if draw.deadline <= time.monotonic()]
        for draw in overdue:
            draw.abandon(self.timeout or 0.0)
            self._running[draw].release()
        return overdue

    def _worth_waiting(self, interrupt: Interrupt) -> bool:
        if interrupt.hurried:
            return any(draw.prediction is not None for draw in self._running)
        return any(not draw.withdrawn for draw in self._running)


async def asample(
    draws: Sequence[Draw],
    *,
    timeout: float | None = None,
    num_threads: int | None = None,
) -> AsyncGenerator[Draw, None]:
    """Run `draws` on asyncio tasks, and yield each when it has an outcome.

    Closing the iterator withdraws the draws under way, and so does cancelling it.

    Args:
        timeout: seconds that one draw may take; a draw that takes longer abstains.
        num_threads: draws that run at once; None for all.
    """
    keep_from_default_executor()
    gate = asyncio.Semaphore(num_threads or len(draws) or 1)

    async def run(draw: Draw) -> Draw:
        async with gate:
            await _run_task(draw, timeout)
        return draw

    for draw in draws[:num_threads]:
        draw.expect()  # so that the first one to ask knows of the others
    tasks = [asyncio.ensure_future(run(draw)) for draw in draws]

    def withdraw() -> None:
        for draw, running in zip(draws, tasks, strict=True):
            if not running.done():
                draw.withdraw()
                running.cancel()

    try:
        for task in asyncio.as_completed(tasks):
            yield await task
    except asyncio.CancelledError:
        withdraw()
        await asyncio.wait(tasks)  # as `asyncio.gather` does: their requests end first
        raise
    finally:
        withdraw()


async def _run_task(draw: Draw, timeout: float | None) -> None:
    """Run a draw to its outcome."""
    if timeout is not None and not is_loaded(draw.member.lm):
        with suppress(NoThread):  # the first call loads it then
            await on_thread(loads, partial(load_client, draw.member.lm))
    draw.begin(timeout)
    try:
        await _run_by_deadline(draw, timeout or 0.0)
    except Exception as error:  # noqa: BLE001  (the draw's cause)
        draw.fail(error)


async def _run_by_deadline(draw: Draw, timeout: float) -> None:
    """Run a draw; abandon it at its deadline, which may recede, unlike one of asyncio's."""
    running = asyncio.ensure_future(draw.arun())
    try:
        while not running.done():
            left = draw.deadline - time.monotonic()
            if left <= 0:
                draw.abandon(timeout)  # before the task ends, and with it what records its cause
                return
            await asyncio.wait([running], timeout=None if left == math.inf else left)
        if running.cancelled():  # by its own client: who cancels the call cancels the wait above
            draw.fail(asyncio.CancelledError("the client cancelled its own call"))
            return
        running.result()
    finally:
        if not running.done():
            running.cancel()
            await asyncio.wait([running])
