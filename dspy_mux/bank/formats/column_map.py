"""Rows laid out by the user: the value of each column is looked up along a path."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ...errors import ConfigurationError
from .draws import listed
from .layout import Layout, Path, parse_path

_ABSENT = object()


class ColumnMap:
    """Turns rows of any shape into rows of a bank's file.

    A path is looked up in the element of `each`, then in what is around it, out to the row.

    Raises:
        ConfigurationError: columns are mapped, and none of them holds an answer.

    >>> row = {"q": "2 + 2?", "meta": {"model": "small"}, "samples": ["4", "5"]}
    >>> layout = Layout(columns={"answer": ".", "model": "meta.model"}, each="samples")
    >>> list(ColumnMap(layout).draws(row))
    [{'answer': '4', 'model': 'small'}, {'answer': '5', 'model': 'small'}]
    """

    def __init__(self, layout: Layout):
        self._columns = {name: parse_path(path) for name, path in layout.columns.items()}
        self._each = None if layout.each is None else parse_path(layout.each)
        if self._columns and not {"answer", "text"} & set(self._columns):
            raise ConfigurationError(
                "--map says where no answer is: add answer=PATH, or text=PATH. Columns that it "
                "does not name are not read."
            )
        #: Columns whose path has led nowhere so far.
        self._unfound = dict.fromkeys(self._columns)
        self._names: list[str] = []

    def check_found(self) -> None:
        """Check, after the last row, that each path led somewhere.

        Raises:
            ValueError: one did not; the message is the end of a sentence that begins with the file.
        """
        for name in self._unfound:
            path = ".".join(map(str, self._columns[name]))
            known = ", ".join(self._names) or "no names"
            raise ValueError(
                f"has nothing at {path} in any row, for {name} in --map; it has {known}"
            )

    def draws(self, row: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        """Yield the draws of a row.

        Raises:
            ValueError: there is no list for `each`; the message is the end of a sentence that
                begins with the row.
        """
        for around in self._elements(row):
            if not self._columns and isinstance(around[-1], dict):
                merged: dict[str, Any] = {}
                for level in around:
                    merged.update(level if isinstance(level, dict) else {})
                yield {key: value for key, value in merged.items() if not _is_each(value)}
                continue
            found = {name: _inmost(around, path) for name, path in self._columns.items()}
            draw = {name: value for name, value in found.items() if value is not _ABSENT}
            for name in draw.keys() & self._unfound.keys():
                del self._unfound[name]
            if not self._names and isinstance(around[-1], Mapping):
                self._names = [str(name) for name in around[-1]]
            yield draw

    def _elements(self, row: Any) -> Iterator[list[Any]]:
        """Yield what is around each draw, from the row in to the element."""
        if self._each is None:
            yield [row]
            return
        found = list(_walk([row], self._each))
        if not found:
            known = listed(row) if isinstance(row, Mapping) else "no names"
            shown = ".".join(map(str, self._each))
            raise ValueError(f"has no list {shown} for --each; it has {known}")
        for around in found:
            if not isinstance(around[-1], list):
                raise ValueError(
                    f"has a {type(around[-1]).__name__} at {'.'.join(map(str, self._each))}, "
                    "which must be a list for --each"
                )
            for element in around[-1]:
                yield [*around[:-1], element]


def _is_each(value: Any) -> bool:
    """Return whether a value is a list of objects, as draws are."""
    return isinstance(value, list) and any(isinstance(one, dict) for one in value)


def _walk(around: list[Any], path: Path) -> Iterator[list[Any]]:
    """Yield where a path leads, through each element of the lists on its way."""
    if not path:
        yield around
        return
    step, rest = path[0], path[1:]
    value = around[-1]
    if isinstance(value, list) and not isinstance(step, int):
        for element in value:
            yield from _walk([*around[:-1], element], path)
        return
    found = _step(value, step)
    if found is not _ABSENT:
        yield from _walk([*around, found], rest)


def _inmost(around: list[Any], path: Path) -> Any:
    for level in reversed(around):
        value = level
        for step in path:
            value = _step(value, step)
            if value is _ABSENT:
                break
        else:
            return value
    return _ABSENT


def _step(value: Any, step: str | int) -> Any:
    if isinstance(value, Mapping):
        return value.get(step, value.get(str(step), _ABSENT))
    if isinstance(value, (list, tuple)) and isinstance(step, int) and step < len(value):
        return value[step]
    return _ABSENT
