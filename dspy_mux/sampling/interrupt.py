"""Defer Ctrl-C between two steps, so that no result that was paid for is lost."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from types import FrameType, TracebackType
from typing import Any, NoReturn


class Interrupt:
    """A request to end. Defers SIGINT until its block exits.

    SIGINT is deferred in the main thread only, and only in place of Python's own handler: any
    other handler is the program's, and keeps its meaning.

    Args:
        insistent: whether a second SIGINT raises KeyboardInterrupt where it finds the program.

    Attributes:
        asked: whether to end.
        presses: how often somebody pressed Ctrl-C.

    Raises:
        KeyboardInterrupt: on exit after a SIGINT, unless an error is under way.

    >>> with Interrupt() as interrupt:
    ...     interrupt.ask()
    >>> interrupt.asked, interrupt.hurried
    (True, False)
    """

    def __init__(self, *, insistent: bool = False) -> None:
        self._insistent = insistent
        self.asked, self.presses = False, 0
        self._wake: Callable[[], object] = lambda: None
        self._previous: Any = None  # what `signal.signal` returns

    @property
    def hurried(self) -> bool:
        """Whether to end at once: somebody pressed Ctrl-C."""
        return self.presses > 0

    @property
    def insisted(self) -> bool:
        """Whether to give up even what has been paid for: Ctrl-C again."""
        return self.presses > 1

    def on_ask(self, wake: Callable[[], object]) -> None:
        """Have `wake` called on the request.

        It may run in a signal handler: all it may do is put into a `SimpleQueue`.
        """
        self._wake = wake

    def ask(self) -> None:
        self.asked = True
        self._wake()

    def wake(self) -> None:
        """Have what waits look again at what there is to do."""
        self._wake()

    def __enter__(self) -> Interrupt:
        main = threading.current_thread() is threading.main_thread()
        if main and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            self._previous = signal.signal(signal.SIGINT, self._handle)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        where: TracebackType | None,
    ) -> None:
        if self._previous is not None:
            signal.signal(signal.SIGINT, self._previous)
        if self.hurried and error is None:
            raise KeyboardInterrupt

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self.presses += 1
        self.ask()
        if self._insistent and self.insisted:
            raise KeyboardInterrupt


def exit_at_once() -> NoReturn:
    """End the process as Ctrl-C does, without waiting for threads that cannot be stopped.

    A thread that computes in C would hold up the interpreter, or crash it. Nothing runs that the
    program wanted to run at its exit; what is written to files and databases stays.
    """
    for stream in (sys.stdout, sys.stderr):
        with suppress(Exception):  # closed, or None
            stream.flush()
    os._exit(128 + signal.SIGINT)
