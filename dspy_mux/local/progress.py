"""Show the progress of a fetch: a bar on a terminal, one line elsewhere."""

from __future__ import annotations

from types import TracebackType

from ..progress import Step
from .catalog import Weights


class FetchProgress:
    """Shows the fetch of one file on standard error; a context manager."""

    def __init__(self, entry: Weights, *, shown: bool) -> None:
        from rich.console import Console

        self._entry = entry
        self._console = Console(stderr=True, quiet=not shown, highlight=False, soft_wrap=True)
        self._step = Step(
            f"fetching {entry.name}",
            console=self._console if shown else None,
            unit="MB",
            total=entry.size / 1e6,
        )

    def __enter__(self) -> FetchProgress:
        entry = self._entry
        self.note(
            f"Fetching {entry.title}, {entry.size / 1e6:.0f} MB, "
            f"licence {entry.licence} ({entry.licence_url})"
        )
        self._step.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._step.__exit__(kind, error, traceback)

    def at(self, done: float) -> None:
        """Show that `done` bytes of the file have arrived, some perhaps inside a wheel."""
        self._step.at(min(done, self._entry.size) / 1e6)

    def note(self, line: str) -> None:
        """Print a line above the bar."""
        self._console.print(line, markup=False)
