"""Draws: k samples from each member through a DSPy program, all in flight at once.

A draw runs in a DSPy context of its own: the member's LM with a rollout id (so that draws differ and a re-run is served from DSPy's
cache), the member's adapter, an empty trace, and a meter. Threads and asyncio share everything but the waiting. A draw that fails
or misses its deadline abstains, with the cause; it never stops the others.
"""

from __future__ import annotations

import asyncio
import contextvars
import math
import queue
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from functools import partial

from .draw import Draw
from .interrupt import Interrupt
from .retry import is_loaded, load_client
from .threads import take, workers

#: How long an answer that is there is waited for when all is to end at once: its metric, say, may not be done.
SOON_S = 1.0
#: How long calls under way are waited for when all is to end, but not at once: they are paid for.
LINGER_S = 5.0


def sample(
    draws: Iterable[Draw | None],
    *,
    timeout: float | None = None,
    num_threads: int | None = None,
    interrupt: Interrupt | None = None,
) -> Generator[Draw, None, None]:
    """Run `draws` on threads, all at once or at most `num_threads` at a time; yields each when it has an outcome.

    Args:
        draws: taken as there is room; None says that the next one can only be told when another has settled.
        timeout: seconds that one draw may take; a draw that takes longer abstains.
        interrupt: once asked for, no draw is begun and those are yielded that have arrived; the others are withdrawn.

    Closing the iterator withdraws the draws under way.
    """
    waiting, running = iter(draws), set[Draw]()
    finished: queue.SimpleQueue[Draw | None] = queue.SimpleQueue()
    interrupt = interrupt or Interrupt()
    interrupt.tell(lambda: finished.put(None))
    more = True

    def work(draw: Draw) -> None:
        try:
            draw.run()
        except BaseException as error:  # noqa: BLE001  (handed to the waiting thread, which raises it)
            draw.fail(error)
        finally:
            finished.put(draw)

    try:
        while (more or running) and not interrupt.asked:
            while more and (num_threads is None or len(running) < num_threads):
                try:
                    draw = next(waiting)
                except StopIteration:
                    more = False
                    break
                if draw is None:
                    if not running:
                        more = False
                    break
                if timeout is not None:
                    load_client(draw.member.lm)
                draw.begin(timeout)
                workers.start(partial(contextvars.copy_context().run, work, draw))
                running.add(draw)
            if not running:
                continue
            patience = min(draw.deadline for draw in running) - time.monotonic()
            for draw in _settled(finished, patience) or _overdue(running, timeout):
                if draw in running:  # an abandoned draw comes in twice
                    running.remove(draw)
                    yield draw
        if interrupt.asked:
            for draw in _arrived(finished, running, interrupt):
                running.discard(draw)
                yield draw
    finally:
        for draw in running:  # nobody asked for the rest
            draw.withdraw()


def _settled(finished: queue.SimpleQueue[Draw | None], patience: float) -> list[Draw]:
    """The next draw that is done, waited for so long."""
    try:
        draw = take(finished, patience)
    except queue.Empty:
        return []
    return [] if draw is None else [draw]


def _overdue(running: Iterable[Draw], timeout: float | None) -> list[Draw]:
    overdue = [draw for draw in running if draw.deadline <= time.monotonic()]
    for draw in overdue:
        draw.abandon(timeout or 0.0)
    return overdue


def _arrived(
    finished: queue.SimpleQueue[Draw | None], running: set[Draw], interrupt: Interrupt
) -> Iterator[Draw]:
    """At the end, of the draws under way: those that are done or soon will be; after a Ctrl-C of those that have an answer."""
    left, began = set(running), time.monotonic()
    while not finished.empty() or any(
        draw.prediction is not None or not interrupt.hurried for draw in left
    ):
        patience = began + (SOON_S if interrupt.hurried else LINGER_S) - time.monotonic()
        arrived = _settled(finished, patience)
        yield from (draw for draw in arrived if draw in left)
        left.difference_update(arrived)
        if not arrived and finished.empty() and patience <= 0:
            break
    yield from (draw for draw in left if draw.prediction is not None)


async def asample(
    draws: Sequence[Draw],
    *,
    timeout: float | None = None,
    num_threads: int | None = None,
    enough: Callable[[], bool] | None = None,
) -> None:
    """Run `draws` on asyncio tasks, as `sample` does on threads; cancelling it cancels the draws under way.

    `enough` is asked whenever a draw has settled; once it says so, the others are withdrawn.
    """
    gate = asyncio.Semaphore(num_threads or len(draws) or 1)

    async def one(draw: Draw) -> None:
        async with gate:
            if timeout is not None and not is_loaded(draw.member.lm):
                await asyncio.to_thread(load_client, draw.member.lm)
            draw.begin(timeout)
            try:
                await _by_its_deadline(draw)
            except asyncio.TimeoutError:
                draw.abandon(timeout or 0.0)
            except Exception as error:  # noqa: BLE001  (told as the cause)
                draw.fail(error)

    tasks = [asyncio.ensure_future(one(draw)) for draw in draws]
    try:
        if enough is None:
            await asyncio.gather(*tasks)
        else:
            for task in asyncio.as_completed(tasks):
                await task
                if await asyncio.to_thread(enough):
                    break
    finally:
        for draw, task in zip(draws, tasks, strict=True):
            if not task.done():
                draw.withdraw()
                task.cancel()


async def _by_its_deadline(draw: Draw) -> None:
    """Run it; TimeoutError once its time is up, which asyncio's own timeouts do not know how to put off."""
    running = asyncio.ensure_future(draw.arun())
    try:
        while not running.done():
            left = draw.deadline - time.monotonic()
            if left <= 0:
                raise asyncio.TimeoutError
            await asyncio.wait([running], timeout=None if left == math.inf else left)
        running.result()
    finally:
        if not running.done():
            running.cancel()
            await asyncio.wait([running])
