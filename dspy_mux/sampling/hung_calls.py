"""End a hung call: shut the socket that its thread waits at, once nobody waits for the call.

This is the one place where dspy-mux reaches below DSPy's clients. Nothing DSPy offers ends a
synchronous call from outside; the alternatives were measured on a server that hangs, with DSPy
3.4.1's own client and with LiteLLM:

- A `timeout=` given to the client bounds each read, not the call. A server that sends a byte a
  second keeps its thread and its socket for as long as it likes.
- It cannot be brought forward. A draw that is withdrawn early (an escalation, `frugal`, Ctrl-C)
  keeps both until the timeout.
- It is part of DSPy's cache key and of the key of its connection pools. The time left to a
  deadline differs in each call: every call misses the cache and opens a pool of its own.
- The asynchronous client on an event loop in a thread can be cancelled at the same cost. But
  DSPy caches its answers under another key, and `lm.close()` leaves its connections open.

Shutting the socket ends every such call within 0.1 s of its draw's end. Calls of `acall` need none
of this: asyncio cancels them.
"""

from __future__ import annotations

import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from .threads import workers

#: Seconds until calls that waited at no socket are looked at again; they double each time.
FIRST_LOOK_S = 0.02
LONGEST_LOOK_S = 1.0
#: A thread that waits at a socket holds it in one of this many innermost frames.
_FRAMES = 4


class BlockingCalls:
    """Calls under way on threads of their own, each of which may hang at a socket.

    >>> calls = BlockingCalls()
    >>> with calls.under_way():
    ...     pass  # a call through any client that blocks at a socket
    >>> calls.end()
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._threads: set[int] = set()

    @contextmanager
    def under_way(self) -> Iterator[None]:
        """Count the block as a call of this thread."""
        thread = threading.get_ident()
        with self._lock:
            self._threads.add(thread)
        try:
            yield
        finally:
            # Never while it is being shut: the next call on its connection may be another draw's.
            with self._lock:
                self._threads.discard(thread)

    def end(self) -> None:
        """End the calls under way, also those that only come to their sockets later."""
        if not self._shut():
            with suppress(RuntimeError):  # no thread can be started: those not at a socket go on
                workers.start(self._keep_shutting)

    def _shut(self) -> bool:
        """Return whether no call is under way any more."""
        with self._lock:
            for thread in self._threads:
                shut_socket(thread)
            return not self._threads

    def _keep_shutting(self) -> None:
        # A call may be between two waits, or may long wait for a name or for a free connection.
        seconds = FIRST_LOOK_S
        time.sleep(seconds)
        while not self._shut():
            seconds = min(2 * seconds, LONGEST_LOOK_S)
            time.sleep(seconds)


def shut_socket(thread: int) -> bool:
    """Shut the socket at which a thread waits; its call fails as if the server had hung up.

    Returns:
        Whether the thread waits at a socket.
    """
    frame = sys._current_frames().get(thread)
    for _ in range(_FRAMES):
        if frame is None:
            return False
        for value in list(frame.f_locals.values()):
            found = _socket_in(value)
            if found is not None:
                with suppress(OSError):  # it was closed in this moment
                    found.shutdown(socket.SHUT_RDWR)
                return True
        frame = frame.f_back
    return False


def _socket_in(value: object) -> socket.socket | None:
    """Return a socket, or the socket of a connection: DSPy's `sock`, httpcore's `_sock`."""
    if isinstance(value, socket.socket):
        return value
    for name in ("sock", "_sock"):
        if name in getattr(value, "__dict__", ()) or name in getattr(type(value), "__slots__", ()):
            inner = getattr(value, name, None)
            if isinstance(inner, socket.socket):
                return inner
    return None
