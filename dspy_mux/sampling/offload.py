"""Run blocking work of a coroutine on threads of our own.

asyncio's default executor is the program's: tools that wait for a mux there may fill it, and the
mux would wait for them. DSPy alone uses it up to six times for a call, LiteLLM and the resolver of
names use it too, so what they ask of it within a draw is done on our own threads.
"""

from __future__ import annotations

import asyncio
import contextvars
import os
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, nullcontext, suppress
from functools import partial
from typing import Any, TypeAlias, TypeVar
from weakref import WeakKeyDictionary, WeakSet

import dspy
from dspy.clients import capabilities, execution

from .deadline import current_deadline
from .thread_limit import STALLED_S, NoThread, Permit, ThreadLimit

Result = TypeVar("Result")

#: Decisions are work of the interpreter: more threads would only keep the loop from its turn.
decisions = ThreadLimit(lambda: 4)
#: What would go to the default executor, with as many threads as that has.
errands = ThreadLimit(lambda: min(32, (os.cpu_count() or 1) + 4))
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
    return await submit(limit, call, waiting)


def submit(
    limit: ThreadLimit,
    call: Callable[[], Result],
    waiting: Callable[[], AbstractContextManager[object]] = nullcontext,
) -> asyncio.Future[Result]:
    """Return the future of what `on_thread` returns."""
    job = _Job(limit, call, waiting)
    job.future.add_done_callback(job.leave)
    job.start()
    if not job.begun:
        _relieve_until(job.future, limit)
    return job.future


class _Job:
    """A call that runs once there is a thread, begun by whoever leaves that thread."""

    def __init__(
        self,
        limit: ThreadLimit,
        call: Callable[[], Any],
        waiting: Callable[[], AbstractContextManager[object]],
    ):
        self._loop = asyncio.get_running_loop()
        self.future: asyncio.Future[Any] = self._loop.create_future()
        self.begun = False
        self._call, self._context = call, contextvars.copy_context()
        self._permit: Permit | None = None
        self._applicant = limit.applicant(self.start)
        self._waiting = ExitStack()
        self._waiting.enter_context(waiting())

    def start(self) -> None:
        """Start the call, or join the queue and do so later."""
        permit = self._permit = self._applicant.take()
        if permit is None:
            return
        self.begun = True
        self._waiting.close()
        try:
            permit.start(self._work, context=self._context)
        except NoThread as error:
            if not self._applicant.refused(permit):
                self._settle(partial(self.future.set_exception, error))

    def leave(self, _: object) -> None:
        """Leave the queue, and where nobody waits for the call any more, its thread."""
        self._waiting.close()
        self._applicant.leave()
        if self._permit is not None and self.future.cancelled():
            self._permit.release()

    def _work(self) -> None:
        try:
            outcome = partial(self.future.set_result, self._call())
        except StopIteration as error:  # no future takes one, and its task would wait for ever
            raised = RuntimeError("StopIteration was raised")
            raised.__cause__ = error
            outcome = partial(self.future.set_exception, raised)
        except BaseException as error:  # noqa: BLE001  (raised where the future is awaited)
            outcome = partial(self.future.set_exception, error)
        self._settle(outcome)

    def _settle(self, outcome: Callable[[], object]) -> None:
        def settle() -> None:
            if not self.future.done():
                outcome()

        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self._loop.call_soon_threadsafe(settle)


async def decide(call: Callable[[], Result]) -> Result:
    """Return what `call` returns, on a thread where one is to be had.

    To compare mathematics can take a while, and would block the event loop.
    """
    try:
        return await on_thread(decisions, call)
    except NoThread:
        return call()


def keep_from_default_executor() -> None:
    """Have the running loop do what a draw asks of its default executor on our own threads.

    Nothing changes for whoever is not within a draw, nor for executors that are named.
    """
    loop = asyncio.get_running_loop()
    if loop in _kept:
        return
    _kept.add(loop)
    run_in_executor = loop.run_in_executor

    def run(executor: Any, call: Callable[..., Any], *args: Any) -> asyncio.Future[Any]:
        if executor is None and current_deadline.get() is not None:
            return _do_errand(partial(call, *args))
        return run_in_executor(executor, call, *args)

    with suppress(AttributeError):  # a loop that lets nobody change it
        loop.run_in_executor = run  # type: ignore[method-assign,assignment]


def _do_errand(work: partial[Any]) -> asyncio.Future[Any]:
    """Do what DSPy hands over on a thread, or here and now where that takes less time.

    It does once the same was done for that model: the first time may load a client or prices.
    """
    called, lm = (*work.args, None, None)[:2]  # asyncio.to_thread's, to be run within its context
    if called not in _SHORT or not isinstance(lm, dspy.BaseLM):
        return submit(errands, work)
    short = (called, lm.model)
    if short in _done:
        return at_once(work)
    future = submit(errands, work)
    future.add_done_callback(lambda _: _done.add(short))
    return future


def at_once(work: Callable[[], Result]) -> asyncio.Future[Result]:
    """Return the settled future of work that is done here and now."""
    future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
    try:
        future.set_result(work())
    except Exception as error:  # noqa: BLE001  (raised where it is awaited)
        future.set_exception(error)
    return future


_SHORT = frozenset({execution.prepare, execution._price_result, capabilities.capabilities})
#: Which of these were done, and for which models.
_done: set[tuple[object, str]] = set()
_kept: WeakSet[asyncio.AbstractEventLoop] = WeakSet()


class _Relief:
    """Looks once a second, while anybody on a loop waits, whether threads come free at all."""

    def __init__(self) -> None:
        self.waiting = 0
        self.timer: asyncio.TimerHandle | None = None

    def look(self, limit: ThreadLimit) -> None:
        limit.relieve()
        self.timer = asyncio.get_running_loop().call_later(STALLED_S, self.look, limit)

    def leave(self, _: object) -> None:
        self.waiting -= 1
        if not self.waiting and self.timer is not None:
            self.timer.cancel()
            self.timer = None  # it holds the loop


_Reliefs: TypeAlias = "WeakKeyDictionary[asyncio.AbstractEventLoop, dict[ThreadLimit, _Relief]]"
_reliefs: _Reliefs = WeakKeyDictionary()


def _relieve_until(future: asyncio.Future[Any], limit: ThreadLimit) -> None:
    relief = _reliefs.setdefault(future.get_loop(), {}).setdefault(limit, _Relief())
    relief.waiting += 1
    future.add_done_callback(relief.leave)
    if relief.timer is None:
        relief.look(limit)
