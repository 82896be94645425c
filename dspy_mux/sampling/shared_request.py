"""One request for several draws: whom it is for, and where each finds its choice."""

from __future__ import annotations

import asyncio
import contextvars
import copy
import threading
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import CancelledError, Future
from contextlib import suppress
from typing import Any, Protocol, TypeAlias

from .claimant import Claimant
from .group_limits import Answered, negotiate
from .hung_calls import BlockingCalls
from .threads import workers

#: A choice, as the engine returns the reply of a request of its own.
Choice: TypeAlias = Any
#: What a draw gets that has to ask anew: its request was answered with fewer choices.
AGAIN = object()
#: The same, where the choice that it was given is a copy of another one.
SPENT = object()


class Request(Protocol):
    """A draw's first call, as its engine is about to send it."""

    asker: Claimant
    #: What is asked; equal for draws that may share a request.
    content: object
    #: (address, model) of the server.
    server: tuple[str, str]
    temperature: float | None

    @property
    def may_be_cached(self) -> bool:
        """Whether DSPy's cache may answer calls like it."""

    def is_cached(self, asker: Claimant) -> bool:
        """Return whether it will answer another draw's."""

    def text_of(self, choice: Choice) -> object:
        """Return what a choice says."""

    def describe(self, error: Exception) -> str:
        """Return what a request failed with in one line, without keys."""

    def merged(self, choices: Sequence[Choice]) -> Choice:
        """Return the first of choices, with what all of them used."""

    def bill(self, choice: Choice) -> tuple[str, dict[str, Any], float | None]:
        """Return the model of a choice, what it used, and what it costs in US dollars."""

    def further(self) -> bool:
        """Count a choice that no draw is there for; return whether it may be asked for."""


#: Sends a request for n choices, and returns those that came.
Send: TypeAlias = Callable[[int], Sequence[Choice]]
AsyncSend: TypeAlias = Callable[[int], Awaitable[Sequence[Choice]]]


class SharedRequest:
    """One request under way, and the places of the draws that it is for.

    Args:
        sender: the draw that sends it.
        content: what it asks.
        lock: of the group; held whenever `places` changes.
        expected: of the group.

    Attributes:
        places: where each draw finds its choice, until it has found it there; cancelled where it
            does not want one any more.
        taken: those who wait at their places.
        closed: whether it is for no further draws.
        sent: whether it is on its way.
        served: those counted as having taken a further choice.
        given: the choices that came, by the draw that each is for.
    """

    def __init__(
        self,
        sender: Claimant,
        content: object,
        lock: threading.Lock,
        expected: dict[Claimant, None],
    ):
        self.sender, self.content, self._lock, self._expected = sender, content, lock, expected
        self.places: dict[Claimant, Future[Choice]] = {}
        self.taken: set[Claimant] = set()
        self.served: set[Claimant] = set()
        self.given: dict[Claimant, tuple[Request, Choice]] = {}
        self.closed = self.sent = False
        self._stop: Callable[[], object] = lambda: None
        self._task: asyncio.Future[None] | None = None

    def keeps(self, asker: Claimant) -> bool:
        """Return whether there is a place for a draw that has not come yet."""
        return asker in self.places and asker not in self.taken

    def add(self, asker: Claimant, *, taken: bool = False) -> Future[Choice]:
        place = self.places[asker] = Future()
        place.add_done_callback(self._stop_if_unwanted)
        if taken:
            self.taken.add(asker)
        return place

    def drop(self, asker: Claimant) -> Future[Choice]:
        """Return the place of a draw that wants no choice any more; the lock is held."""
        place = self.places.pop(asker)
        if asker in self.taken:
            asker.shared += asker is not self.sender
        elif self.sent:
            asker.unclaimed += 1
            asker.shared -= asker in self.served  # it is counted for what nobody claimed
            if asker in self.given:
                asker.left_over.append(self.given[asker])
        return place

    @property
    def _wanted(self) -> int:
        """How many draws want a choice."""
        return sum(not place.cancelled() for place in list(self.places.values()))

    def send(self, request: Request, send: Send, close: Callable[[], None]) -> None:
        """Send the request from a thread of its own: no draw that ends may end it for others.

        Args:
            close: see `DrawGroup._close`; called first.
        """
        calls = BlockingCalls()

        async def closed() -> None:
            close()

        async def sent(n: int) -> Sequence[Choice]:
            with calls.under_way():
                if not self._wanted:  # since this call counts, whoever leaves ends it
                    raise CancelledError
                return send(n)

        def work() -> None:
            with suppress(StopIteration):  # it never waits but within `close` and `send`
                self._settle(request, sent, closed).send(None)

        self._stop = calls.end
        context = contextvars.copy_context()
        try:
            workers.start(lambda: context.run(work))
        except RuntimeError:  # no thread can be started: this one sends it
            work()

    def asend(self, request: Request, send: AsyncSend, close: Callable[[], None]) -> None:
        """Send the request from a task of its own; see `send`."""
        loop = asyncio.get_running_loop()

        async def closed() -> None:
            if request.may_be_cached:
                await asyncio.to_thread(close)
            else:
                close()

        task = self._task = asyncio.ensure_future(self._settle(request, send, closed))

        def stop() -> None:
            with suppress(RuntimeError):  # the loop is closed, and its tasks with it
                loop.call_soon_threadsafe(task.cancel)

        self._stop = stop

    async def end_unwanted(self) -> None:
        """Wait until the task of a request that no draw wants has ended."""
        if self._task is None or not self.closed or self._wanted:
            return
        while not self._task.done():
            with suppress(asyncio.CancelledError):  # the caller is ending, and may be told so twice
                await asyncio.wait([self._task])

    async def _settle(
        self, request: Request, send: AsyncSend, close: Callable[[], Awaitable[None]]
    ) -> None:
        """Send the request, and give each draw its choice or what the request failed with."""
        try:
            await close()
            with self._lock:
                self.sent, wanted = True, self._wanted
            if wanted:
                self._deliver(request, await negotiate(request, wanted, send))
        except BaseException as error:  # noqa: BLE001  (raised where a draw waits)
            self._fail(error)

    def _stop_if_unwanted(self, _: object) -> None:
        if self.closed and not self._wanted:
            self._stop()

    def _deliver(self, request: Request, answered: Answered) -> None:
        """Give the choices to the draws by their numbers; those without one ask anew."""
        choices = [choice for reply in answered.replies for choice in reply]
        results: list[tuple[Future[Choice], Choice]] = []
        with self._lock:
            places = sorted(self.places.items(), key=lambda item: item[0].number)
            if len(choices) > self._wanted > 0:  # what is billed for those that left
                choices[0] = request.merged([choices[0], *choices[self._wanted :]])
            waiting = [each for each in places if each[1].set_running_or_notify_cancel()]
            served = [who for who, _ in waiting][: len(choices)]
            self._count_requests(waiting, served, len(answered.replies))
            self.given = {
                who: (request, choice) for who, choice in zip(served, choices, strict=False)
            }
            copies = answered.copies
            for who, place in waiting:
                came = who in self.given
                results.append((place, self.given[who][1] if came else SPENT if copies else AGAIN))
                self._settled(who, keep=came, answered=came)
                if not came and copies:
                    copies -= 1
                    who.unclaimed += 1
        for place, result in results:
            place.set_result(result)

    def _count_requests(
        self, waiting: Sequence[tuple[Claimant, object]], served: Sequence[Claimant], requests: int
    ) -> None:
        """Count one draw's call for each request; a sender that left has been counted."""
        counted = requests - all(who is not self.sender for who, _ in waiting)
        for at, who in enumerate(sorted(served, key=lambda who: who is not self.sender)):
            if at >= counted:
                who.shared += 1
                self.served.add(who)

    def _fail(self, error: BaseException) -> None:
        with self._lock:
            self.closed = True
            places = list(self.places.items())
        for asker, place in places:
            if place.set_running_or_notify_cancel():
                with self._lock:
                    self._settled(asker, keep=True)
                asker.shared += asker is not self.sender
                place.set_exception(_own(error))

    def _settled(self, asker: Claimant, *, keep: bool, answered: bool = False) -> None:
        """Drop a draw's place, unless the draw is still to come and find something there.

        The lock is held.
        """
        if not keep or asker in self.taken:
            self.places.pop(asker, None)
            if answered:  # or the next request would ask for a choice on its behalf
                self._expected.pop(asker, None)


def _own(error: BaseException) -> BaseException:
    """Return an error for one draw: raised by several, one would gather all their tracebacks."""
    try:
        copied = copy.copy(error)
    except Exception:  # noqa: BLE001  (of a class that cannot be copied)
        return error
    if type(copied) is not type(error) or str(copied) != str(error):
        return error
    copied.__cause__, copied.__context__ = error.__cause__, error.__context__
    return copied.with_traceback(error.__traceback__)
