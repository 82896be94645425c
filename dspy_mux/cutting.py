"""Ends a blocking HTTP call of another thread, whichever client makes it: none of them can be told to stop."""

from __future__ import annotations

import socket
import sys
from contextlib import suppress
from typing import Any

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
