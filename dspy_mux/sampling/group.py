"""Draws of one member and question, whose first calls leave as one request for several choices.

The first draw that asks sends the request, for all draws whose first call is still to come; each
of them takes its choice when it asks for the same. So nobody waits for the others to be ready: the
request is under way while they write their prompts. Later calls of a draw, whose prompts hold what
came before, are its own.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Future
from contextlib import contextmanager
from functools import partial

from .claimant import Claimant
from .group_limits import server_limits
from .shared_request import AGAIN, SPENT, AsyncSend, Choice, Request, Send, SharedRequest

#: Seconds for which draws let the first one ask: as long as it takes to write a prompt.
HEAD_START_S = 0.05


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
        #: Those that have begun, and have yet to be answered.
        self._expected: dict[Claimant, None] = {}
        self._gone: set[Claimant] = set()
        self._under_way: list[SharedRequest] = []
        self._head: Claimant | None = None
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

    def expect(self, asker: Claimant) -> None:
        """Count a draw that begins: its first call is to come."""
        with self._lock:
            self.begun += asker not in self._expected
            self._expected[asker] = None

    def leave(self, asker: Claimant) -> None:
        """Count a draw no more: its first call is over, or it makes none."""
        with self._lock:
            self._expected.pop(asker, None)
            self._gone.add(asker)
            places = [shared.drop(asker) for shared in self._under_way if asker in shared.places]
            opens = asker is self._head
        for place in places:
            place.cancel()
        if opens:
            self._open()

    def head_start(self, asker: Claimant) -> Future[None] | None:
        """Return what to wait for, at most `HEAD_START_S`, before a draw does anything.

        Written at the same time, all prompts would be late; the first one's request is all that
        is waited for.
        """
        with self._lock:
            if self._head is None:
                self._head = asker
            return None if self._head is asker or self._asked.done() else self._asked

    def ask(self, request: Request, send: Send) -> Choice:
        """Return a draw's choice, of a request of its own or of another draw's.

        Raises:
            CancelledError: the draw was counted no more meanwhile.
            Exception: what the request failed with.
            BaseException: of the draw's spender, where another choice does not fit.
        """
        while True:
            shared, place = self._place(request)
            if shared.sender is request.asker:
                shared.send(request, send, partial(self._close, shared, request))
            if self._is_taken(request, choice := place.result()):
                return _with_left_over(request, choice)

    async def aask(self, request: Request, send: AsyncSend) -> Choice:
        """See `ask`."""
        while True:
            shared, place = self._place(request)
            if shared.sender is request.asker:
                shared.asend(request, send, partial(self._close, shared, request))
            try:
                choice = await asyncio.wrap_future(place)
            except asyncio.CancelledError:
                place.cancel()
                await shared.end_unwanted()
                raise
            if self._is_taken(request, choice):
                return _with_left_over(request, choice)

    def further(self, asker: Claimant) -> bool:
        """Count a choice that no draw is there for; return whether it may be asked for."""
        with self._lock:
            asker.unclaimed += 1
        fits = asker.pay()
        if not fits:
            with self._lock:
                asker.unclaimed -= 1
        return fits

    def _is_taken(self, request: Request, choice: Choice) -> bool:
        """Return whether a draw has its choice; else it has to ask anew."""
        asker = request.asker
        if choice is SPENT and not asker.pay():
            with self._lock:
                asker.unclaimed -= 1  # its call is counted for that
                self._expected.pop(asker, None)
            asker.refuse()
        return choice is not AGAIN and choice is not SPENT

    def _place(self, request: Request) -> tuple[SharedRequest, Future[Choice]]:
        """Return the request that a draw takes its choice of, and where it will be."""
        asker, most = request.asker, server_limits.most(request.server)
        while True:
            asker.require()
            dropped: list[Future[Choice]] = []
            # Without letting the lock go: meanwhile another request would ask on its behalf.
            with self._lock:
                if asker in self._gone:  # nobody would cancel its place any more
                    raise CancelledError
                before = asker.unclaimed
                found = self._kept_place(request, dropped)
                if asker.unclaimed > before:  # this is yet to be paid
                    self._expected.pop(asker, None)
                else:
                    found = found or self._open_place(request, most)
            for place in dropped:  # nobody will ask for that
                place.cancel()
                self._on_difference()
            if found is not None:
                return found

    def _kept_place(
        self, request: Request, dropped: list[Future[Choice]]
    ) -> tuple[SharedRequest, Future[Choice]] | None:
        """Return where a choice is kept for a draw that asks for it; drop what is for others.

        The lock is held.
        """
        asker = request.asker
        for shared in self._under_way:
            if not shared.keeps(asker):
                continue
            if shared.content != request.content:
                dropped.append(shared.drop(asker))
                continue
            shared.taken.add(asker)
            place = shared.places[asker]
            if place.done():
                del shared.places[asker]
                if place.exception() is None:
                    self._expected.pop(asker, None)
            return shared, place
        return None

    def _open_place(
        self, request: Request, most: int | None
    ) -> tuple[SharedRequest, Future[Choice]]:
        """Return a place in a request that is yet to be sent, if need be a new one.

        The lock is held.
        """
        for shared in self._under_way:
            open_ = not shared.closed and len(shared.places) != most
            if open_ and shared.content == request.content:
                return shared, shared.add(request.asker, taken=True)
        shared = SharedRequest(request.asker, request.content, self._lock, self._expected)
        self._under_way.append(shared)
        return shared, shared.add(request.asker, taken=True)

    def _close(self, shared: SharedRequest, request: Request) -> None:
        """Give a place to draws that will ask the same, and to none after this.

        There are as many places as the server gives choices: the next one who asks sends a further
        request at once.
        """
        self._all_begun.wait()
        most = server_limits.most(request.server) or self.size
        with self._lock:
            likely = self._without_place()
            room = max(0, most - len(shared.places))
        asking = [who for who in likely if not request.is_cached(who)][:room]
        asking = [who for who in asking if who.reserve()]
        with self._lock:
            if shared.closed:  # it has failed
                return
            still = self._without_place()
            for asker in asking:
                if asker in still:
                    shared.add(asker)
            shared.closed = True
        self._open()

    def _without_place(self) -> list[Claimant]:
        """Return the draws that are expected and wait for no request; the lock is held."""
        waiting = {asker for shared in self._under_way for asker in shared.places}
        return [asker for asker in self._expected if asker not in waiting]

    def _open(self) -> None:
        with self._lock:
            if not self._asked.done():
                self._asked.set_result(None)


def _with_left_over(request: Request, choice: Choice) -> Choice:
    """Return a draw's choice with what those used that it was given before, and did not claim."""
    left = request.asker.left_over
    before = [each for _, each in left if type(each) is type(choice)]
    if not before:
        return choice
    left[:] = [each for each in left if type(each[1]) is not type(choice)]
    return request.merged([choice, *before])
