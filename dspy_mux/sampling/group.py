"""Draws of one member and question, whose first calls leave as one request for several choices.

The first draw that asks sends the request, for all draws whose first call is still to come; each
of them takes its choice when it asks for the same. So nobody waits for the others to be ready: the
request is under way while they write their prompts. Later calls of a draw, whose prompts hold what
came before, are its own.
"""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Awaitable, Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from typing import Any, Protocol, TypeAlias

from .group_limits import negotiate
from .hung_calls import BlockingCalls
from .threads import workers

#: Seconds for which draws let the first one ask: as long as it takes to write a prompt.
HEAD_START_S = 0.05

#: A choice, as the engine returns the reply of a request of its own.
Choice: TypeAlias = Any
#: What a draw gets that has to ask anew: its request was answered with fewer choices.
_AGAIN = object()


class Asker(Protocol):
    """A draw, as its group knows it."""

    number: int
    #: How many of its calls were answered by a request that another draw's call is counted for.
    shared: int


class Request(Protocol):
    """A draw's first call, as its engine is about to send it."""

    asker: Asker
    #: What is asked; equal for draws that may share a request.
    content: object
    #: (address, model) of the server.
    server: tuple[str, str]
    temperature: float | None

    @property
    def may_be_cached(self) -> bool:
        """Whether DSPy's cache may answer calls like it."""

    def is_cached(self, asker: Asker) -> bool:
        """Return whether it will answer another draw's."""

    def text_of(self, choice: Choice) -> object:
        """Return what a choice says."""


#: Sends a request for n choices, and returns those that came.
Send: TypeAlias = Callable[[int], Sequence[Choice]]
AsyncSend: TypeAlias = Callable[[int], Awaitable[Sequence[Choice]]]


class DrawGroup:
    """The draws of one member for one question.

    Args:
        size: how many there are.
        on_difference: called where a draw asks something else than the one that asked for it.
    """

    def __init__(self, size: int, on_difference: Callable[[], object] = lambda: None):
        self.size, self._on_difference = size, on_difference
        #: How many have begun.
        self.begun = 0
        self._lock = threading.Lock()
        #: Those that have begun, and whose first call is not over.
        self._expected: dict[Asker, None] = {}
        self._under_way: list[_Shared] = []
        self._head: Asker | None = None
        self._asked: Future[None] = Future()
        self._all_begun = threading.Event()
        self._all_begun.set()

    @contextmanager
    def beginning(self) -> Iterator[DrawGroup]:
        """Have requests wait while the block begins draws, so that they are counted."""
        self._all_begun.clear()
        try:
            yield self
        finally:
            self._all_begun.set()

    def expect(self, asker: Asker) -> None:
        """Count a draw that begins: its first call is to come."""
        with self._lock:
            self.begun += asker not in self._expected
            self._expected[asker] = None

    def leave(self, asker: Asker) -> None:
        """Count a draw no more: its first call is over, or it makes none."""
        with self._lock:
            self._expected.pop(asker, None)
            places = [shared.places[asker] for shared in self._under_way if asker in shared.places]
            opens = asker is self._head
        for place in places:
            place.cancel()
        if opens:
            self._open()

    def head_start(self, asker: Asker) -> Future[None] | None:
        """Return what to wait for, at most `HEAD_START_S`, before a draw does anything.

        Written at the same time, all prompts would be late; the first one's request is all that
        is waited for.
        """
        with self._lock:
            if self._head is None:
                self._head = asker
            return None if self._head is asker or self._asked.done() else self._asked

    def ask(self, request: Request, send: Send) -> Choice:
        """Return a draw's choice, of a request of its own or of another draw's."""
        while True:
            shared, place = self._place(request)
            if shared.sender is request.asker:
                self._all_begun.wait()
                self._close(shared, request)
                shared.send(request, send)
            choice = place.result()
            if choice is not _AGAIN:
                return choice

    async def aask(self, request: Request, send: AsyncSend) -> Choice:
        """See `ask`."""
        while True:
            shared, place = self._place(request)
            if shared.sender is request.asker:
                if request.may_be_cached:
                    await asyncio.to_thread(self._close, shared, request)
                else:
                    self._close(shared, request)
                shared.asend(request, send)
            choice = await asyncio.wrap_future(place)
            if choice is not _AGAIN:
                return choice

    def _place(self, request: Request) -> tuple[_Shared, Future[Choice]]:
        """Return the request that a draw takes its choice of, and where it will be."""
        asker = request.asker
        dropped = []
        with self._lock:
            for shared in self._under_way:
                if not shared.keeps(asker):
                    continue
                if shared.content == request.content:
                    shared.taken.add(asker)
                    place = shared.places[asker]
                    if place.done():
                        del shared.places[asker]
                    return shared, place
                dropped.append(shared.places.pop(asker))
        for place in dropped:  # nobody will ask for that
            place.cancel()
            self._on_difference()
        with self._lock:
            for shared in self._under_way:
                if not shared.closed and shared.content == request.content:
                    return shared, shared.add(asker, taken=True)
            shared = _Shared(asker, request.content, self._lock)
            self._under_way.append(shared)
            return shared, shared.add(asker, taken=True)

    def _close(self, shared: _Shared, request: Request) -> None:
        """Give a place to every draw that will ask the same, and to none after this."""
        with self._lock:
            waiting = {asker for other in self._under_way for asker in other.places}
            likely = [asker for asker in self._expected if asker not in waiting]
        cached = {asker for asker in likely if request.is_cached(asker)}
        with self._lock:
            for asker in likely:
                if asker not in cached and asker in self._expected and asker not in shared.places:
                    shared.add(asker)
            shared.closed = True
        self._open()

    def _open(self) -> None:
        with self._lock:
            if not self._asked.done():
                self._asked.set_result(None)


class _Shared:
    """One request under way, and the places of the draws that it is for.

    Args:
        sender: the draw that sends it.
        content: what it asks.
        lock: of the group; held whenever `places` changes.

    Attributes:
        places: where each draw finds its choice, until it has found it there; cancelled where it
            does not want one any more.
        taken: those who wait at their places.
        closed: whether it is for no further draws.
    """

    def __init__(self, sender: Asker, content: object, lock: threading.Lock):
        self.sender, self.content, self._lock = sender, content, lock
        self.places: dict[Asker, Future[Choice]] = {}
        self.taken: set[Asker] = set()
        self.closed = False
        self._stop: Callable[[], object] = lambda: None

    def keeps(self, asker: Asker) -> bool:
        """Return whether there is a place for a draw that has not come yet."""
        return asker in self.places and asker not in self.taken

    def add(self, asker: Asker, *, taken: bool = False) -> Future[Choice]:
        place = self.places[asker] = Future()
        place.add_done_callback(self._stop_if_unwanted)
        if taken:
            self.taken.add(asker)
        return place

    def send(self, request: Request, send: Send) -> None:
        """Send the request from a thread of its own: no draw that ends may end it for others."""
        calls = BlockingCalls()

        async def sent(n: int) -> Sequence[Choice]:
            with calls.under_way():
                return send(n)

        def work() -> None:
            with suppress(StopIteration):  # it never waits but within `send`
                self._settle(request, sent).send(None)

        self._stop = calls.end
        context = contextvars.copy_context()
        try:
            workers.start(lambda: context.run(work))
        except RuntimeError:  # no thread can be started: this one sends it
            work()

    def asend(self, request: Request, send: AsyncSend) -> None:
        """Send the request from a task of its own."""
        loop = asyncio.get_running_loop()
        task = asyncio.ensure_future(self._settle(request, send))

        def stop() -> None:
            with suppress(RuntimeError):  # the loop is closed, and its tasks with it
                loop.call_soon_threadsafe(task.cancel)

        self._stop = stop

    async def _settle(self, request: Request, send: AsyncSend) -> None:
        """Send the request, and give each draw its choice or what the request failed with."""
        wanted = sum(not place.cancelled() for place in self.places.values())
        try:
            self._deliver(await negotiate(request, max(1, wanted), send))
        except BaseException as error:  # noqa: BLE001  (raised where a draw waits)
            self._fail(error)

    def _stop_if_unwanted(self, _: object) -> None:
        if self.closed and all(place.cancelled() for place in list(self.places.values())):
            self._stop()

    def _deliver(self, replies: Sequence[Sequence[Choice]]) -> None:
        """Give the choices to the draws by their numbers; those without one ask anew."""
        left = [(choice, at) for reply in replies for at, choice in enumerate(reply)]
        with self._lock:
            places = sorted(self.places.items(), key=lambda item: item[0].number)
        for asker, place in places:
            if place.set_running_or_notify_cancel():
                self._settled(asker, keep=bool(left))
                choice, at = left.pop(0) if left else (_AGAIN, 0)
                asker.shared += at > 0
                place.set_result(choice)

    def _fail(self, error: BaseException) -> None:
        with self._lock:
            places = list(self.places.items())
        for asker, place in places:
            if place.set_running_or_notify_cancel():
                self._settled(asker, keep=True)
                place.set_exception(error)

    def _settled(self, asker: Asker, *, keep: bool) -> None:
        """Drop a draw's place, unless the draw is still to come and find something there."""
        with self._lock:
            if not keep or asker in self.taken:
                self.places.pop(asker, None)
