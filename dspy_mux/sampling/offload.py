"""Run blocking work of a coroutine on threads of our own.

asyncio's default executor is the program's: tools that wait for a mux there may fill it, and the
mux would wait for them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from functools import partial
from typing import TypeVar
from weakref import WeakKeyDictionary

from .thread_limit import STALLED_S, NoThread, Permit, ThreadLimit

Result = TypeVar("Result")

#: Decisions are work of the interpreter: more threads would only keep the loop from its turn.
decisions = ThreadLimit(lambda: 4)
#: What loads before a first call: clients and local weights.
loads = ThreadLimit(lambda: 4)


async def on_thread(
    limit: ThreadLimit,
    call: Callable[[], Result],
    waiting: Callable[[], AbstractContextManager[object]] = nullcontext,
) -> Result:
    """Return what `call` returns on a thread.

    Args:
        waiting: entered while it waits for the thread.

    Raises:
        NoThread: the system starts none, and none will come free.
    """
    loop = asyncio.get_running_loop()
    changed = asyncio.Event()

    def notify() -> None:
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(changed.set)

    applicant = limit.applicant(notify)
    try:
        while True:
            with waiting():
                while (permit := applicant.take()) is None:
                    with _relief(limit):
                        await changed.wait()
                    changed.clear()
            try:
                outcome = _begin(permit, call)
            except NoThread:
                if not applicant.refused(permit):
                    raise
                continue
            try:
                return await outcome
            finally:
                permit.release()  # where the task was cancelled: nobody waits for the thread
    finally:
        applicant.leave()


async def decide(call: Callable[[], Result]) -> Result:
    """Return what `call` returns, on a thread where one is to be had.

    To compare mathematics can take a while, and would block the event loop.
    """
    try:
        return await on_thread(decisions, call)
    except NoThread:
        return call()


def _begin(permit: Permit, call: Callable[[], Result]) -> asyncio.Future[Result]:
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Result] = loop.create_future()

    def settle(set_outcome: Callable[[], object]) -> None:
        if not future.done():
            set_outcome()

    def work() -> None:
        try:
            set_outcome = partial(future.set_result, call())
        except StopIteration as error:  # no future takes one, and its task would wait for ever
            raised = RuntimeError("StopIteration was raised")
            raised.__cause__ = error
            set_outcome = partial(future.set_exception, raised)
        except BaseException as error:  # noqa: BLE001  (raised where the future is awaited)
            set_outcome = partial(future.set_exception, error)
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(settle, set_outcome)

    permit.start(work, lambda: None)
    return future


class _Relief:
    """Looks once a second, while anybody on a loop waits, whether threads come free at all."""

    def __init__(self) -> None:
        self.waiting = 0
        self.timer: asyncio.TimerHandle | None = None

    def look(self, limit: ThreadLimit) -> None:
        limit.relieve()
        self.plan(limit)

    def plan(self, limit: ThreadLimit) -> None:
        self.timer = asyncio.get_running_loop().call_later(STALLED_S, self.look, limit)


_reliefs: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[ThreadLimit, _Relief]] = (
    WeakKeyDictionary()
)


@contextmanager
def _relief(limit: ThreadLimit) -> Iterator[None]:
    """Have `limit` relieved as long as the block waits."""
    relief = _reliefs.setdefault(asyncio.get_running_loop(), {}).setdefault(limit, _Relief())
    relief.waiting += 1
    if relief.waiting == 1:
        relief.plan(limit)
    try:
        yield
    finally:
        relief.waiting -= 1
        if not relief.waiting and relief.timer is not None:
            relief.timer.cancel()
            relief.timer = None  # it holds the loop
