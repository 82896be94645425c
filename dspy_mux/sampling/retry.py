"""Retry the calls of a draw within its deadline; make none once the draw is over.

DSPy retries failed calls by itself, but it sleeps for as long as the server asks (`Retry-After`),
also past the deadline, and counts all attempts as one call. So the LM of a draw makes one attempt
at a time, and the draw decides about the next.
"""

from __future__ import annotations

import asyncio
import functools
import hashlib
import itertools
import threading
import time
from concurrent.futures import Future
from contextlib import nullcontext
from typing import Any

import dspy
from dspy.utils.exceptions import is_retryable_lm_error

from .claimant import Claimant
from .cut_off import mark_cut_off
from .deadline import Deadline
from .group import DrawGroup
from .grouped_call import FirstCall, GroupedEngines, grouped
from .hung_calls import BlockingCalls
from .logprobs import Asked, asks
from .ollama import warn_of_full_context, with_address
from .replies import Reply, forget_logprobs, replies_of
from .turns import take_turn
from .usage import bill, own_cost

#: Seconds before a failed call is made again, as in DSPy; they double with each further attempt.
FIRST_WAIT_S = 1.0
#: A server that asks for a longer pause is not waited for.
LONGEST_WAIT_S = 60.0


class DrawOver(BaseException):
    """Ends a draw that was given up, at its next call.

    Not an `Exception`: a program must not take it for a failed call and try again.
    """


class DrawCalls(Deadline, Claimant):
    """The calls of one draw, by whichever copies of its LM they are made."""

    def __init__(self) -> None:
        Deadline.__init__(self)
        Claimant.__init__(self)
        self.blocking = BlockingCalls()
        self._ended: threading.Event | None = None
        #: The errors that the LM's calls raised, by their `id`: they are not the program's own.
        self.failures: dict[int, Exception] = {}
        #: The replies that have log-probabilities.
        self.replies: list[Reply] = []
        #: Whether DSPy may keep a history of the calls.
        self.keeps_history = True
        #: The draws that may share a request with its first call.
        self.group: DrawGroup | None = None
        #: The event loop that the draw is a task of, with the others; None for one on a thread.
        self.loop: asyncio.AbstractEventLoop | None = None
        self._asked = False

    def __deepcopy__(self, memo: dict[int, Any]) -> DrawCalls:
        return self  # a copy of the LM within the program belongs to the same draw

    def first(self) -> DrawGroup | None:
        """Return the draw's group for its first call, and None for any later one."""
        with self._lock:
            asked, self._asked = self._asked, True
        return None if asked else self.group

    def head_start(self) -> Future[None] | None:
        """Return what the draw waits for, a moment at most, before it does anything."""
        return None if self.group is None else self.group.head_start(self)

    def leave_group(self) -> None:
        """Take part in no request of other draws any more."""
        if self.group is not None:
            self.group.leave(self)

    def end(self) -> None:
        """End the calls under way, and allow no further ones."""
        with self._lock:
            self._over = True
            if self._ended is not None:
                self._ended.set()
        self.leave_group()
        self.blocking.end()
        super().end()

    def check(self) -> None:
        """Raise DrawOver where the draw is over."""
        if self._over:
            raise DrawOver

    def wait(self, seconds: float) -> None:
        """Wait so long, or until the draw is over."""
        with self._lock:
            self.check()
            # Made when it is needed: most draws never wait.
            ended = self._ended = self._ended or threading.Event()
        ended.wait(seconds)

    async def turn(self) -> None:
        """Wait for a turn on the event loop, which does not count against the deadline."""
        with self.paused():
            await take_turn()

    def note_failure(self, error: Exception) -> Exception:
        """Return an error that a call raises, after noting that it is not the program's own."""
        self.failures[id(error)] = error
        return error

    def pause_after(self, error: Exception, attempt: int, retries: int) -> float | None:
        """Return the seconds to wait before a failed call is made again; None to give it up.

        As in DSPy, 1, 2, 4 … seconds or what the server asks for; but a minute at most, and never
        past the deadline. Attempts count from 0.
        """
        if attempt >= retries or not is_retryable_lm_error(error):
            return None
        hint = getattr(error, "retry_after", None)
        seconds = min(FIRST_WAIT_S * 2.0**attempt, LONGEST_WAIT_S) if hint is None else float(hint)
        if seconds > LONGEST_WAIT_S or time.monotonic() + seconds >= self.at:
            return None
        return seconds


class _DrawLM:
    """What `join_draw` puts in front of an LM's own class."""

    _draw_calls: DrawCalls
    _draw_retries: int
    _draw_blocks: bool
    kwargs: dict[str, Any]  # the LM's own

    def __call__(self, *args: Any, **settings: Any) -> Any:
        settings = with_address(self, args, settings)
        with grouped(self._first_call(args, settings, asynchronous=False)):
            return self._attempts(args, settings)

    def _attempts(self, args: tuple[Any, ...], settings: dict[str, Any]) -> Any:
        calls, asked = self._draw_calls, Asked(self, settings)
        for attempt in itertools.count():
            try:
                with calls.blocking.under_way() if self._draw_blocks else nullcontext():
                    calls.check()  # from here on, a draw that ends also ends this call
                    replies = super().__call__(*args, **settings)  # type: ignore[misc]
                asked.answered()
                return replies
            except Exception as error:
                if asked.takes_back(error):
                    continue
                seconds = calls.pause_after(error, attempt, self._draw_retries)
                if seconds is None:
                    failure = calls.note_failure(asked.failure(error))
                    if failure is error:
                        raise
                    raise failure from failure.__cause__
            calls.wait(seconds)

    async def acall(self, *args: Any, **settings: Any) -> Any:
        settings = with_address(self, args, settings)
        with grouped(self._first_call(args, settings, asynchronous=True)):
            return await self._aattempts(args, settings)

    async def _aattempts(self, args: tuple[Any, ...], settings: dict[str, Any]) -> Any:
        calls, asked = self._draw_calls, Asked(self, settings)
        for attempt in itertools.count():
            calls.check()
            try:
                replies = await super().acall(*args, **settings)  # type: ignore[misc]
                asked.answered()
                await calls.turn()  # to read them
                return replies
            except Exception as error:
                if asked.takes_back(error):
                    continue
                seconds = calls.pause_after(error, attempt, self._draw_retries)
                if seconds is None:
                    failure = calls.note_failure(asked.failure(error))
                    if failure is error:
                        raise
                    raise failure from failure.__cause__
            await asyncio.sleep(seconds)

    def _first_call(
        self, args: tuple[Any, ...], settings: dict[str, Any], *, asynchronous: bool
    ) -> FirstCall | None:
        """Return the call about to be made, where its reply may be one choice of several."""
        group, asked = self._draw_calls.first(), {**self.kwargs, **settings}
        if group is None:
            return None
        calls = self._draw_calls
        # A request on a loop of the draw's own would end with that draw, for all.
        is_alone = asynchronous and asyncio.get_running_loop() is not calls.loop
        if is_alone or (asked.get("n") or 1) != 1 or not asked.get("temperature"):
            group.leave(calls)
            return None
        return FirstCall(group, calls, self, args, settings, asynchronous=asynchronous)

    def copy(self, **settings: Any) -> Any:
        """Return a copy within the draw; a further rollout of it is no other draw's.

        `dspy.BestOfN` counts up from the rollout it finds: so the second attempt of a draw would be
        answered from the first attempt of the next one.
        """
        own, asked = self.kwargs.get("rollout_id"), settings.get("rollout_id")
        if asked is not None and asked != own:
            settings["rollout_id"] = further = further_rollout(own, asked)
            if self.kwargs.get("seed") is not None:
                settings.setdefault("seed", (self.kwargs["seed"] + further) % 2**31)
        copied = super().copy(**settings)  # type: ignore[misc]
        if "logprobs" in settings:
            copied._draw_asks = False  # the program asks by itself, or does not want them
        return copied

    def update_history(self, entry: dict[str, Any]) -> None:
        # DSPy calls this before an adapter reads the outputs, of which it holds the same list.
        mark_cut_off(entry)
        replies = replies_of(entry, self.kwargs)
        self._draw_calls.replies += replies
        if asks(self, entry["kwargs"]):
            forget_logprobs(entry["outputs"])
        warn_of_full_context(self, entry)
        entry["cost"] = own_cost(self, entry["cost"])
        if self._draw_calls.keeps_history:
            super().update_history(entry)  # type: ignore[misc]
        else:
            bill(entry)


class _GroupedLM:
    """An LM that DSPy keeps engines for, which know of groups."""

    @property
    def _engine_store(self) -> GroupedEngines:
        return GroupedEngines(vars(self)["_engine_store"])

    @_engine_store.setter
    def _engine_store(self, engines: dict[Any, Any]) -> None:
        vars(self)["_engine_store"] = engines


def join_draw(lm: dspy.BaseLM, calls: DrawCalls) -> dspy.BaseLM:
    """Make a draw's own copy of an LM place its calls through `calls`.

    Python looks `__call__` up on the class, and programs ask for the LM's class. So the copy
    becomes an instance of a subclass of its own class, which differs in nothing but its calls.
    """
    if not isinstance(lm, _DrawLM):
        # An LM that overrides `forward` retries by itself or not at all; DSPy leaves it alone too.
        own = getattr(type(lm), "forward", None) is not dspy.LM.forward
        lm._draw_retries = 0 if own else lm.num_retries
        lm.num_retries = lm.num_retries if own else 0
        # An engine of the user's has its own connections, and can `offer` how to stop its calls.
        lm._draw_blocks = isinstance(getattr(lm, "engine", None), str)
        kind: type = type(lm)
        lm.__class__ = _draw_class(kind)
    lm._draw_calls = calls
    return lm


def further_rollout(*within: object) -> int:
    """Return the number of a rollout within others, at which no other rollout arrives."""
    return int.from_bytes(hashlib.sha256(repr(within).encode()).digest()[:6], "big")


@functools.cache
def _draw_class(kind: type) -> type:
    names = {"__module__": kind.__module__, "__qualname__": kind.__qualname__}
    bases = (_DrawLM, _GroupedLM, kind) if issubclass(kind, dspy.LM) else (_DrawLM, kind)
    return type(kind.__name__, bases, names)
