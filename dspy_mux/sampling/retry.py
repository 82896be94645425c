"""The calls of one draw: asked again within a bound, never once the draw is over, and cut short when it ends.

DSPy repeats a failed call by itself, but asleep in between for as long as the server says (`Retry-After`), and also when the draw's
deadline is past and nobody waits. So a draw's LM makes one attempt at a time, and the draw decides about the next.
"""

from __future__ import annotations

import asyncio
import functools
import importlib
import itertools
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from typing import Any
from weakref import WeakSet

import dspy
from dspy.clients.backend_selection import select_backend
from dspy.clients.model_metadata import source_info
from dspy.lm15 import LM15Error
from dspy.utils.exceptions import is_retryable_lm_error

from .deadline import Waiting
from .threads import workers

#: Before a failed call is made again, as in DSPy; twice as long before each further time.
FIRST_WAIT_S = 1.0
#: A server that asks to be left alone for longer is not waited for.
LONGEST_WAIT_S = 60.0
#: When a call that did not wait at a socket yet is looked at again; twice as long after each further look, up to `RAREST_LOOK_S`.
FIRST_LOOK_S = 0.02
RAREST_LOOK_S = 1.0

#: LMs whose client is loaded.
_loaded: WeakSet[dspy.BaseLM] = WeakSet()


class NobodyWaits(BaseException):
    """Ends a draw that was given up, at its next call. No `Exception`: a program must not take it for a failure and try again."""


class Calls(Waiting):
    """What the calls of one draw have in common."""

    def __init__(self) -> None:
        super().__init__()
        self._pause: threading.Event | None = None
        self._threads: set[int] = set()

    def __deepcopy__(self, memo: dict[int, Any]) -> Calls:
        return self  # a copy of the LM within the program is the same draw's

    def end(self) -> None:
        """Nobody waits any more: no call is begun from here on, and those under way are cut short."""
        with self._lock:
            self._over = True
            if self._pause is not None:
                self._pause.set()
        if not self._cut():
            with suppress(
                RuntimeError
            ):  # no thread can be started: what waits at no socket now is not cut short
                workers.start(self._keep_cutting)
        super().end()

    def check(self) -> None:
        """Raises NobodyWaits when the draw is over."""
        if self._over:
            raise NobodyWaits

    def wait(self, seconds: float) -> None:
        """Until then, or until the draw is over."""
        with self._lock:
            self.check()
            pause = self._pause = self._pause or threading.Event()
        pause.wait(seconds)

    def pause(self, error: Exception, attempt: int, retries: int) -> float | None:
        """Seconds to wait before a call is made again that failed at this attempt, counted from 0; None where it is not.

        As DSPy has it: 1, 2, 4 … seconds, or what the server asks for; but no more than a minute, and not past the deadline.
        """
        if attempt >= retries or not is_retryable_lm_error(error):
            return None
        hint = getattr(error, "retry_after", None)
        seconds = min(FIRST_WAIT_S * 2.0**attempt, LONGEST_WAIT_S) if hint is None else float(hint)
        if seconds > LONGEST_WAIT_S or time.monotonic() + seconds >= self.deadline:
            return None
        return seconds

    @contextmanager
    def one(self) -> Iterator[None]:
        """Around a call that waits at a socket of DSPy's."""
        thread = threading.get_ident()
        with self._lock:
            self.check()
            self._threads.add(thread)
        try:
            yield
        finally:
            with self._lock:  # not while it is being cut: its connection may be another draw's next
                self._threads.discard(thread)

    def _cut(self) -> bool:
        """Whether no call is under way any more."""
        with self._lock:
            for thread in self._threads:
                cut(thread)
            return not self._threads

    def _keep_cutting(self) -> None:
        # Until the last call is over: it may have been between two waits, or may wait for a name or a free connection for long.
        seconds = FIRST_LOOK_S
        time.sleep(seconds)
        while not self._cut():
            seconds = min(2 * seconds, RAREST_LOOK_S)
            time.sleep(seconds)


class _OfADraw:
    """An LM whose calls are a draw's."""

    _calls: Calls
    _retries: int
    _cuttable: bool

    def __call__(self, *args: Any, **settings: Any) -> Any:
        for attempt in itertools.count():
            self._calls.check()
            try:
                with self._calls.one() if self._cuttable else nullcontext():
                    return super().__call__(*args, **settings)  # type: ignore[misc]
            except Exception as error:
                seconds = self._calls.pause(error, attempt, self._retries)
                if seconds is None:
                    raise
            self._calls.wait(seconds)

    async def acall(self, *args: Any, **settings: Any) -> Any:
        for attempt in itertools.count():
            self._calls.check()
            try:
                return await super().acall(*args, **settings)  # type: ignore[misc]
            except Exception as error:
                seconds = self._calls.pause(error, attempt, self._retries)
                if seconds is None:
                    raise
            await asyncio.sleep(seconds)


def load_client(lm: dspy.BaseLM) -> None:
    """Load what DSPy would load at the LM's first call: prices, from the network, and LiteLLM. Seconds, which are no draw's."""
    if is_loaded(lm):
        return
    source_info()
    with suppress(
        LM15Error, TypeError, ValueError, ImportError
    ):  # the call will say what is wrong with the LM
        if not select_backend(lm).native:
            _ = importlib.import_module(
                "litellm"
            ).completion  # DSPy leaves a module there that loads when it is used
    _loaded.add(lm)


def is_loaded(lm: dspy.BaseLM) -> bool:
    return lm in _loaded or not isinstance(getattr(lm, "engine", None), str)


def calls_of(lm: dspy.BaseLM, calls: Calls) -> dspy.BaseLM:
    """`lm`, a copy that is the draw's own, with its calls in the draw's hand. It stays of the class that it is."""
    if not isinstance(lm, _OfADraw):
        # An LM that overrides `forward` repeats by itself or not at all; DSPy leaves it alone too.
        lm._retries = lm.num_retries if getattr(type(lm), "forward", None) is dspy.LM.forward else 0
        lm.num_retries = 0 if lm._retries else lm.num_retries
        # An engine of the user's owns its connections, and offers to be stopped where it can be (`stopping.py`).
        lm._cuttable = isinstance(getattr(lm, "engine", None), str)
        kind: type = type(lm)
        lm.__class__ = _class_of_a_draw(kind)
    lm._calls = calls
    return lm


@functools.cache
def _class_of_a_draw(kind: type) -> type:
    return type(
        kind.__name__,
        (_OfADraw, kind),
        {"__module__": kind.__module__, "__qualname__": kind.__qualname__},
    )


#: A thread that waits at a socket holds it in one of its innermost frames: the client's, or those of `ssl` above it.
_FRAMES = 4


def cut(thread: int) -> bool:
    """Shut the socket that this thread waits at; its call fails at once, as if the server had closed the connection.

    Returns:
        Whether it waits at one.
    """
    frame = sys._current_frames().get(thread)
    for _ in range(_FRAMES):
        if frame is None:
            return False
        for value in list(frame.f_locals.values()):
            waited_at = _socket_of(value)
            if waited_at is not None:
                with suppress(OSError):  # closed in this moment
                    waited_at.shutdown(socket.SHUT_RDWR)
                return True
        frame = frame.f_back
    return False


def _socket_of(value: Any) -> socket.socket | None:
    """A socket, or that of a connection: DSPy's own (`sock`), httpcore's and the standard library's (`_sock`)."""
    if isinstance(value, socket.socket):
        return value
    for name in ("sock", "_sock"):
        if name in getattr(value, "__dict__", ()) or name in getattr(type(value), "__slots__", ()):
            inner = getattr(value, name, None)
            if isinstance(inner, socket.socket):
                return inner
    return None
