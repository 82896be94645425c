"""Ctrl-C where a result that was paid for must not be lost: it is noted, and acted on between two steps."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any


class Interrupt:
    """A wish to end. While it is entered, SIGINT raises nothing but is such a wish, and leaving it raises.

    Only in the main thread, and only in place of Python's own handler: another one is the program's, and keeps its meaning.

    Attributes:
        asked: whether to end; hurried: whether at once, for somebody pressed Ctrl-C.

    Raises:
        KeyboardInterrupt: when it is left after a SIGINT, unless an error is under way.
    """

    def __init__(self) -> None:
        self.asked = self.hurried = False
        self._wake: Callable[[], object] = lambda: None
        self._before: Any = None

    def tell(self, wake: Callable[[], object]) -> None:
        """Have `wake` called when the wish comes: within a signal handler, so all it may do is put into a `SimpleQueue`."""
        self._wake = wake

    def ask(self) -> None:
        self.asked = True
        self._wake()

    def __enter__(self) -> Interrupt:
        ours = threading.current_thread() is threading.main_thread()
        if ours and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            self._before = signal.signal(signal.SIGINT, self._note)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        where: TracebackType | None,
    ) -> None:
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)
        if self.hurried and error is None:
            raise KeyboardInterrupt

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.hurried = True
        self.ask()
