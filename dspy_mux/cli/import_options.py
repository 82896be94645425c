"""The options of `bank import`, and what it says of a file."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ..errors import ConfigurationError
from .output import say
from .step import step

if TYPE_CHECKING:
    from ..bank.answer_reading import AnswerReading
    from ..bank.formats.layout import Layout
    from ..bank.import_export import Imported

#: The options that are no part of a file's layout, and say how its answers are read.
_READING = ("type", "program")


@dataclass(frozen=True)
class ImportOptions:
    """How files are imported.

    Attributes:
        dataset: as in `import_file`.
        named: further options by name; None for those not given.
        columns: the text of `--map`.
        save_map: a new file to write the options to.
    """

    dataset: str | None
    named: Mapping[str, str | None]
    columns: str | None
    save_map: str | None

    def run(self, bank: str, files: Sequence[str]) -> None:
        """Import files, and say of each how many draws were new, and how it was read."""
        from ..bank.formats.layout import save_layout
        from ..bank.import_export import import_file
        from ..bank.sample_bank import SampleBank

        layout, said = self._layout()
        reading = self._reading(said)
        if self.save_map is not None:
            save_layout(self.save_map, layout, said)
        compared = ""
        for file in files:
            with step(f"reading {file}"):
                done = import_file(
                    SampleBank(bank), file, dataset=self.dataset, layout=layout, reading=reading
                )
            stay = ", which stay as they are" if done.already else ""
            say(f"{file}: {done.added} draws added, {done.already} there already{stay}")
            _tell(done, by_type=reading is not None)
            if reading is None:
                compared = "text" if "text" in (compared, done.compared) else done.compared
        if compared == "text":
            say(
                "dspy-mux: answers are compared as text, so that 18 and 18.00 are two; imported "
                "into a new bank with a --type, such as float, they are compared by what they "
                "mean.",
                file=sys.stderr,
            )

    def _layout(self) -> tuple[Layout, dict[str, str | None]]:
        """Return the files' layout, and how answers are read: options go before saved ones."""
        from ..bank.formats.layout import Layout, load_layout, parse_columns

        layout, saved = Layout(), dict[str, str]()
        if self.columns is not None and self.columns.startswith("@"):
            layout, saved = load_layout(self.columns[1:])
            if unknown := saved.keys() - set(_READING):
                raise ConfigurationError(
                    f"{self.columns[1:]!r} has {', '.join(sorted(unknown))}, which no option of "
                    "bank import has."
                )
        elif self.columns is not None:
            layout = Layout(columns=parse_columns(self.columns))
        given = {name: value for name, value in self.named.items() if value is not None}
        own = {name: value for name, value in given.items() if name not in _READING}
        reading: dict[str, str | None] = {name: given.get(name) for name in _READING}
        if not any(reading.values()):
            reading = {name: saved.get(name) for name in _READING}
        return replace(layout, **own), reading  # type: ignore[arg-type]  # none is `columns`

    @staticmethod
    def _reading(said: Mapping[str, str | None]) -> AnswerReading | None:
        from ..bank.answer_reading import AnswerReading

        kind, task = said["type"], said["program"]
        if kind is not None and task is not None:
            raise ConfigurationError(
                "--type and --program both say how answers are read: give one of them."
            )
        if kind is not None:
            return AnswerReading.of_type(kind)
        return None if task is None else AnswerReading.of_task(task)


def _tell(done: Imported, *, by_type: bool) -> None:
    """Say on stderr how a file was read, where that is not plain."""
    lines = [] if done.format == "rows" else [f"read as {done.format}"]
    if by_type:
        lines.append(f"answers are read and compared as {done.compared}")
    if done.unread:
        count = "1 answer" if done.unread == 1 else f"{done.unread} answers"
        lines.append(f"{count} could not be read as {done.compared}: counted as abstained")
    for line in [*lines, *done.notes]:
        say(f"  {line}", file=sys.stderr)
