"""Which format a file is in: by its content, or as the user says."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Final

from ...errors import ConfigurationError, DataError, MuxError
from ...text import first_line, shortened
from ..files import json_lines
from . import batches, harness, helm, inspect_log, lighteval, promptfoo, reference
from .column_map import ColumnMap
from .containers import Container, container_of, csv_rows, document, parquet_table
from .draws import Context, Place, listed
from .layout import Layout

#: Rows as a bank's files have them, with where they stand.
Rows = Iterator[tuple[Place, dict[str, Any]]]


@dataclass(frozen=True)
class Format:
    """A format.

    Attributes:
        title: what it is called in messages.
        noun: a part of a file.
        fits: container → whether a file's document, or its first line, is in the format.
        read: container → reads the document, or the lines.
    """

    title: str
    noun: str
    fits: Mapping[Container, Callable[[Any], bool]]
    read: Mapping[Container, Callable[[Any, Context], Iterable[tuple[Place, dict[str, Any]]]]]


#: Name → format, in the order in which they are tried.
FORMATS: Final[Mapping[str, Format]] = {
    "inspect": Format(
        "a log of Inspect",
        "Sample",
        {"document": inspect_log.fits, "archive": lambda path: True},
        {"document": inspect_log.document_rows, "archive": inspect_log.archive_rows},
    ),
    "lm-eval": Format(
        "samples of lm-evaluation-harness",
        "Line",
        {"lines": harness.fits},
        {"lines": harness.rows},
    ),
    "lighteval": Format(
        "details of lighteval", "Row", {"parquet": lighteval.fits}, {"parquet": lighteval.rows}
    ),
    "helm": Format("a run of HELM", "Request", {"document": helm.fits}, {"document": helm.rows}),
    "promptfoo": Format(
        "results of promptfoo",
        "Result",
        {"document": promptfoo.fits, "lines": promptfoo.fits_line},
        {"document": promptfoo.rows, "lines": promptfoo.line_rows},
    ),
    "batch": Format(
        "the output of a batch of OpenAI's or vLLM's",
        "Line",
        {"lines": batches.fits},
        {"lines": batches.rows},
    ),
    "vllm": Format(
        "outputs of vLLM",
        "Line",
        {"lines": batches.fits_offline},
        {"lines": batches.offline_rows},
    ),
    "reference": Format(
        "a result file of the reference implementation",
        "Response",
        {"document": reference.fits},
        {"document": reference.rows},
    ),
}
#: The name of files with a bank's columns.
ROWS: Final = "rows"


@dataclass(frozen=True)
class Source:
    """A file whose format is known.

    Attributes:
        name: the format's.
        title: what it is.
        noun: what messages call a part of it.
        rows: reads it from its start.
    """

    name: str
    title: str
    noun: str
    rows: Callable[[], Rows]


def open_source(
    path: str | os.PathLike[str], layout: Layout, *, read_by_type: bool = False
) -> tuple[Source, Context]:
    """Return a file's source, and what there is to tell of it once it was read.

    Raises:
        ConfigurationError: the format is unknown, or not of this kind of file.
        DataError: the file cannot be read, or is in no known format.
    """
    if layout.format not in (None, ROWS, *FORMATS):
        raise ConfigurationError(
            f"There is no format {layout.format!r}: choose one of {', '.join((*FORMATS, ROWS))}."
        )
    mapped = bool(layout.columns) or layout.each is not None
    if mapped and layout.format not in (None, ROWS):
        raise ConfigurationError(
            f"The format {layout.format} has columns of its own: leave --map and --each out, or "
            "the format."
        )
    opened = _Opened(str(path), container_of(path))
    name = ROWS if mapped else layout.format or opened.found()
    context = Context(opened.path, _noun(name, opened), layout.score, read_by_type)
    if name == ROWS:
        title = "rows, as mapped" if mapped else "rows"
        return Source(name, title, context.noun, lambda: opened.rows(layout, context)), context
    opened.check(name)
    source = Source(name, FORMATS[name].title, context.noun, lambda: _read(name, opened, context))
    return source, context


def _read(name: str, opened: _Opened, context: Context) -> Rows:
    """Yield the rows of a file in a format.

    Raises:
        DataError: the file is not laid out as the format is.
    """
    try:
        yield from FORMATS[name].read[opened.container](opened.content(), context)
    except MuxError:
        raise
    except (KeyError, IndexError, TypeError, AttributeError, ValueError) as error:
        why = f"{type(error).__name__}: {shortened(first_line(error), 200)}"
        raise DataError(
            f"{opened.path!r} is not as the format {name} has it ({why}): lay it out with --map."
        ) from error


def _noun(name: str, opened: _Opened) -> str:
    if name == ROWS:
        return "Line" if opened.container == "lines" else "Row"
    return FORMATS[name].noun


_HELD: Final[Mapping[Container, str]] = {
    "lines": "an object a line",
    "document": "one JSON document",
    "csv": "CSV",
    "parquet": "a table in Parquet",
    "archive": "an archive",
}
#: Names of which a row has one, where a document is a single row.
_OF_A_ROW: Final = {"answer", "text"}


class _Opened:
    """A file, and what tells its format; a document is held, as it is read several times."""

    def __init__(self, path: str, container: Container):
        self.path, self.container = path, container
        self._document = document(path) if container == "document" else None

    def content(self) -> Any:
        """Return what a format's reader reads."""
        if self.container == "lines":
            return json_lines(self.path)
        if self.container == "csv":
            return csv_rows(self.path)
        if self.container == "parquet":
            return parquet_table(self.path)
        return self._document if self.container == "document" else self.path

    def found(self) -> str:
        """Return the name of the first format that fits.

        Raises:
            DataError: none does, nor is it a file of rows.
        """
        first = self._first()
        for name in FORMATS:
            if first is not None and self._fits(name, first):
                return name
        if self.container == "document" and not isinstance(self._document, list):
            names = list(first or ())
            if not _OF_A_ROW.isdisjoint(names):
                return ROWS
            raise DataError(
                f"{self.path!r} is in no format that is known: it has "
                f"{listed(names) or 'no names'}. Lay it out with --map and --each, "
                "such as --each samples --map answer=text,model=model."
            )
        return ROWS

    def check(self, name: str) -> None:
        """Raise unless the file can be in a format.

        Raises:
            ConfigurationError: it is another kind of file.
            DataError: it holds something else.
        """
        if self.container not in FORMATS[name].read:
            raise ConfigurationError(
                f"{self.path!r} is no file of the format {name}: it holds {_HELD[self.container]}."
            )
        first = self._first()
        if (first is not None or self.container == "document") and not self._fits(name, first):
            raise DataError(f"{self.path!r} is not {FORMATS[name].title}.")

    def _fits(self, name: str, first: Any) -> bool:
        fits = FORMATS[name].fits.get(self.container)
        return fits is not None and first is not None and fits(first)

    def _first(self) -> Any:
        """Return what tells the format: a document, the first line, a table's columns."""
        if self.container == "document":
            return self._document if isinstance(self._document, dict) else None
        if self.container not in ("lines", "parquet"):
            return self.path if self.container == "archive" else None
        with closing(self.content()) as rows:
            first = next((row for _, row in rows), None)
        return list(first) if first is not None and self.container == "parquet" else first

    def rows(self, layout: Layout, context: Context) -> Rows:
        """Yield rows with a bank's columns, or those that the user maps to them."""
        content = self.content()
        if self.container == "archive":
            raise ConfigurationError(f"{self.path!r} is an archive, which has no rows to map.")
        if self.container == "document":
            content = enumerate(content if isinstance(content, list) else [content], 1)
        mapped = ColumnMap(layout) if layout.columns or layout.each is not None else None
        read = False
        for number, row in content:
            read = True
            if mapped is None:
                if not isinstance(row, dict):
                    raise DataError(f"{context.noun} {number} of {self.path} is not a JSON object.")
                yield number, row
                continue
            with context.reading(number):
                found = list(mapped.draws(row))
            yield from ((number, draw) for draw in found)
        if mapped is not None and read:
            try:
                mapped.check_found()
            except ValueError as error:
                raise DataError(f"{self.path} {error}.") from error
