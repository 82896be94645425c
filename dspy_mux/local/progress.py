"""Show the progress of a fetch: a bar on a terminal, one line elsewhere."""

from __future__ import annotations

from types import TracebackType

from .catalog import Weights


class FetchProgress:
    """Shows the fetch of one file on standard error; a context manager."""

    def __init__(self, entry: Weights, *, shown: bool) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            DownloadColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
            TransferSpeedColumn,
        )

        self._entry = entry
        self._console = Console(stderr=True, quiet=not shown, highlight=False, soft_wrap=True)
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
            console=self._console,
            disable=not self._console.is_terminal,
            transient=True,
        )
        self._task = self._bar.add_task(entry.name, total=entry.size)

    def __enter__(self) -> FetchProgress:
        entry = self._entry
        self.note(
            f"Fetching {entry.title}, {entry.size / 1e6:.0f} MB, "
            f"licence {entry.licence} ({entry.licence_url})"
        )
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._bar.stop()

    def at(self, done: float) -> None:
        """Show that `done` bytes of the file have arrived, some perhaps inside a wheel."""
        self._bar.update(self._task, completed=min(done, self._entry.size))

    def note(self, line: str) -> None:
        """Print a line above the bar."""
        self._console.print(line, markup=False)
