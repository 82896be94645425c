"""How far a step is: a bar on a terminal, a line a minute in a log, nothing of a short step.

A verb shows a step, and whatever loops inside it counts: `counted` finds the step that is shown.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextvars import ContextVar, Token
from types import TracebackType
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, TaskID

#: Seconds until a terminal shows a bar, until a log has its first line, and between its others.
BAR_S, FIRST_S, EVERY_S = 2.0, 10.0, 60.0

Item = TypeVar("Item")


class Step:
    """A step that is shown on a console while its block runs; nothing for None.

    Args:
        what: the step in a word or two, such as "drawing".
        unit: of what is counted, in the plural; "" for none.
        total: how much there is to do; None where that is unknown.
        done: how much of it is done already.
        ends: end it with a line in a log, however short it was.

    Attributes:
        began: when, by `time.monotonic`.
        already: how much was done before it.
        note: what else is to be said, such as what it cost so far.
    """

    def __init__(
        self,
        what: str,
        *,
        console: Console | None,
        unit: str = "",
        total: float | None = None,
        done: float = 0,
        ends: bool = False,
    ):
        self._what, self._unit, self._total = what, unit, total
        self._done = self.already = done
        self.note = ""
        self._says_end = ends
        self._console, self._bar = console, None if console is None else _bar(console)
        self._task: TaskID | None = None
        self._over, self.began = threading.Event(), time.monotonic()
        self._counts = bool(unit)
        self._thread: threading.Thread | None = None
        self._token: Token[Step | None] | None = None

    def __enter__(self) -> Step:
        self.began = time.monotonic()
        self._token = _shown.set(self)
        if self._console is not None:
            show = self._on_terminal if self._console.is_terminal else self._in_log
            self._thread = threading.Thread(target=show, name="dspy-mux-progress", daemon=True)
            self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._over.set()
        if self._token is not None:
            _shown.reset(self._token)
        if self._thread is not None:
            self._thread.join()
        if self._bar is not None and self._task is not None:
            self._bar.stop()
        in_log = self._console is not None and not self._console.is_terminal
        if in_log and self._says_end and error is None:
            self._print()

    def at(self, done: float, note: str | None = None) -> None:
        """Take note of how much is done."""
        self._done = done
        if note is not None:
            self.note = note
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=done, total=self._total, said=self._counted())

    def advance(self) -> None:
        """Take note that one more is done."""
        self.at(self._done + 1)

    def counts(self, items: Iterable[Item], unit: str, total: float | None) -> Iterator[Item]:
        """Yield items, and count them here, unless something is counted already."""
        if self._counts:
            yield from items
            return
        self._counts, self._unit, self._total = True, unit, total
        self.already = 0
        try:
            self.at(0)
            for at, item in enumerate(items, start=1):
                yield item
                self.at(at)
        finally:
            self._counts = False

    @property
    def line(self) -> str:
        """How far it is, as a log has it.

        >>> Step("drawing", console=None, unit="draws", total=90, done=45).line
        'drawing: 45 of 90 draws (50 %), 0 s'
        """
        seconds = time.monotonic() - self.began
        said = [self._counted(percent=True), f"{_time(seconds)}{self._left(seconds)}"]
        return f"{self._what}: {', '.join(part for part in said if part)}"

    def _counted(self, *, percent: bool = False) -> str:
        text = ""
        if self._unit:
            of = "" if self._total is None else f" of {self._total:,.0f}"
            text = f"{self._done:,.0f}{of} {self._unit}"
            if percent and self._total:
                text += f" ({100 * self._done / self._total:.0f} %)"
        return ", ".join(part for part in (text, self.note) if part)

    def _left(self, seconds: float) -> str:
        """Return how long it may take still, as far as the pace so far tells."""
        made = self._done - self.already
        if self._total is None or made <= 0 or self._done >= self._total:
            return ""
        return f", about {_time(seconds * (self._total - self._done) / made)} left"

    def _on_terminal(self) -> None:
        assert self._bar is not None
        if not self._over.wait(BAR_S):
            self._bar.start()
            self._task = self._bar.add_task(self._what, total=self._total, said="")
            self.at(self._done)

    def _in_log(self) -> None:
        seconds = FIRST_S
        while not self._over.wait(seconds):
            self._print()
            self._says_end = True
            seconds = EVERY_S

    def _print(self) -> None:
        assert self._console is not None
        # Not through rich, which would break a long line.
        print(self.line, file=self._console.file, flush=True)


_shown: ContextVar[Step | None] = ContextVar("shown", default=None)


def counted(items: Iterable[Item], unit: str, total: float | None = None) -> Iterator[Item]:
    """Yield items, and count them in the step that is shown, if there is one.

    Args:
        unit: what they are, in the plural.
        total: how many there are; None for the length of a sequence.
    """
    step = _shown.get()
    if step is None:
        return iter(items)
    if total is None and isinstance(items, Sequence):
        total = len(items)
    return step.counts(items, unit, total)


def _bar(console: Console) -> Progress:
    from rich.progress import (
        BarColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    return Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=None),
        TextColumn("{task.fields[said]}", markup=False),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
    )


def _time(seconds: float) -> str:
    """Return a duration in words.

    >>> _time(8.2), _time(200), _time(8000)
    ('8 s', '3 min', '2 h 13 min')
    """
    minutes = round(seconds / 60)
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60} min"
