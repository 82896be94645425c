"""Which format a file is in: by its content, or as the user says."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from ...errors import ConfigurationError, DataError
from ..files import json_lines
from . import batches, harness, helm, inspect_log, lighteval, promptfoo, reference
from .column_map import ColumnMap
from .containers import Container, container_of, csv_rows, document, parquet_table
from .draws import Context, Place
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
_NOUNS: Final[Mapping[Container, str]] = {"lines": "Line"}


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
    container = container_of(path)
    mapped = bool(layout.columns) or layout.each is not None
    if mapped and layout.format not in (None, ROWS):
        raise ConfigurationError(
            f"The format {layout.format} has columns of its own: leave --map and --each out, or "
            "the format."
        )
    name = ROWS if mapped else layout.format or _found(path, container)
    if name == ROWS:
        noun = _NOUNS.get(container, "Row")
        context = Context(str(path), noun, layout.score, read_by_type)
        title = "rows" if not mapped else "rows, as mapped"
        return Source(name, title, noun, lambda: _plain_rows(path, container, layout, context)), (
            context
        )
    chosen = FORMATS[name]
    if container not in chosen.read:
        raise ConfigurationError(
            f"{str(path)!r} is no file of the format {name}: it holds {_HELD[container]}."
        )
    context = Context(str(path), chosen.noun, layout.score, read_by_type)
    read = chosen.read[container]
    return (
        Source(
            name, chosen.title, chosen.noun, lambda: iter(read(_content(path, container), context))
        ),
        context,
    )


_HELD: Final[Mapping[Container, str]] = {
    "lines": "an object a line",
    "document": "one JSON document",
    "csv": "CSV",
    "parquet": "a table in Parquet",
    "archive": "an archive",
}


def _content(path: str | os.PathLike[str], container: Container) -> Any:
    """Return what a format's reader reads."""
    if container == "lines":
        return json_lines(path)
    if container == "document":
        return document(path)
    return parquet_table(path) if container == "parquet" else str(path)


def _found(path: str | os.PathLike[str], container: Container) -> str:
    """Return the name of the first format that fits."""
    first = _first(path, container)
    for name, one in FORMATS.items():
        fits = one.fits.get(container)
        if first is not None and fits is not None and fits(first):
            return name
    if container == "document" and not isinstance(_content(path, container), list):
        raise DataError(
            f"{str(path)!r} is in no format that is known: it has "
            f"{', '.join(first) if first else 'no names'}. Lay it out with --map and --each, "
            "such as --each samples --map answer=text,model=model."
        )
    return ROWS


def _first(path: str | os.PathLike[str], container: Container) -> Any:
    """Return what tells the format of a file; None where nothing does."""
    if container == "archive":
        return str(path)
    if container == "parquet":
        return _parquet_names(path)
    if container == "document":
        content = document(path)
        return content if isinstance(content, dict) else None
    if container == "lines":
        return next((row for _, row in json_lines(path)), None)
    return None


def _parquet_names(path: str | os.PathLike[str]) -> list[str]:
    first = next(parquet_table(path), None)
    return [] if first is None else list(first[1])


def _plain_rows(
    path: str | os.PathLike[str], container: Container, layout: Layout, context: Context
) -> Rows:
    """Yield rows with a bank's columns, or those that the user maps to them."""
    if container == "archive":
        raise ConfigurationError(f"{str(path)!r} is an archive, which has no rows to map.")
    rows: Iterable[tuple[int, Any]]
    if container == "lines":
        rows = json_lines(path)
    elif container == "csv":
        rows = csv_rows(path)
    elif container == "parquet":
        rows = parquet_table(path)
    else:
        content = document(path)
        rows = enumerate(content if isinstance(content, list) else [content], 1)
    if not layout.columns and layout.each is None:
        for number, row in rows:
            if not isinstance(row, dict):
                raise DataError(f"{context.noun} {number} of {path} is not a JSON object.")
            yield number, row
        return
    mapped = ColumnMap(layout)
    for number, row in rows:
        with context.reading(number):
            found = list(mapped.draws(row))
        yield from ((number, draw) for draw in found)
