"""Lay tables out for a terminal: no word is broken, and no number is folded.

Where the names of members leave no room, they are numbered m1, m2, …, and listed once, above.
Where the columns still leave none, they are shown in parts, each with the first column.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest

from .text import visible

#: A plain text, or the names of members.
Cell = str | tuple[str, ...]

#: Characters a line of a phrase has at least, unless the phrase is shorter.
_PHRASE = 18
#: By how much the second line of a phrase is indented: it would pass for a row of its own.
_INDENT = 2
#: Characters between two columns.
_GAP = 2
#: The longest name that a number would not shorten much.
_SHORT = 4
_LINE_ENDS = str.maketrans({"\n": "␊", "\t": "␉", "\r": "␍"})


@dataclass(frozen=True)
class Table:
    """A table of texts; markup in them stays text.

    Attributes:
        columns: their heads; one of a member's name is a tuple of it.
        rows: a row has as many cells as there are columns.
        words: how many of the first columns hold words, which are aligned left and may be wrapped
            between words. The others hold numbers.
        strong: positions of the rows in bold.
        key: how many of the first columns are repeated where the columns are shown in parts.
    """

    title: str
    columns: Sequence[Cell]
    rows: Sequence[Sequence[Cell]]
    words: int = 1
    strong: Collection[int] = ()
    key: int = 1


class Sheet:
    """Tables whose members have the same numbers, where they are numbered.

    Args:
        members: in the order in which they are numbered; others follow as they are met.
    """

    def __init__(self, tables: Sequence[Table], members: Sequence[str], width: int) -> None:
        self._width = width
        self._tables = tables
        plain = [_Grid(each, {}, width) for each in tables]
        self._numbered: dict[str, str] = {}
        if not all(grid.fits for grid in plain):
            self._numbered = _numbers(tables, members)
        self._grids = [_Grid(each, self._numbered, width) for each in tables]

    def lines(self) -> Iterator[tuple[str, bool]]:
        """Yield the list of numbered members, if they are, and the tables: line, in bold or not."""
        for name, number in self._numbered.items():
            yield f"{number:>4}  {_line(name)}", False
        for at, grid in enumerate(self._grids):
            if at or self._numbered:
                yield "", False
            if grid.table.title:
                lines = wrapped(_line(grid.table.title), self._width)
                yield from ((line, False) for line in (*lines, ""))
            yield from grid.lines()


class _Grid:
    """A table's texts, with the widths of its columns.

    Args:
        numbered: member → what stands for it; a name that is not there stands for itself.
    """

    def __init__(self, table: Table, numbered: dict[str, str], width: int) -> None:
        self.table, self._width = table, width
        self._columns = [
            _Column(
                _text(head, numbered),
                [_text(row[at], numbered) for row in table.rows],
                words=at < table.words,
                whole=not numbered and any(isinstance(row[at], tuple) for row in table.rows),
            )
            for at, head in enumerate(table.columns)
        ]

    @property
    def fits(self) -> bool:
        return _taken([each.least for each in self._columns]) <= self._width

    def lines(self) -> Iterator[tuple[str, bool]]:
        """Yield the lines, and whether each is in bold."""
        for at, part in enumerate(self._parts()):
            if at:
                yield "", False
            yield from self._part(part)

    def _parts(self) -> Iterator[list[_Column]]:
        """Yield the columns, in parts that fit."""
        key, others = self._columns[: self.table.key], self._columns[self.table.key :]
        shown: list[_Column] = []
        for column in others:
            least = [each.least for each in (*key, *shown, column)]
            if shown and _taken(least) > self._width:
                yield [*key, *shown]
                shown = []
            shown.append(column)
        yield [*key, *shown]

    def _part(self, columns: Sequence[_Column]) -> Iterator[tuple[str, bool]]:
        widths = _widths(columns, self._width)
        heads = [wrapped(column.head, width) for column, width in zip(columns, widths, strict=True)]
        height = max(map(len, heads))
        heads = [[""] * (height - len(head)) + head for head in heads]
        yield from ((line, True) for line in _joined(columns, widths, heads))
        yield "─" * _taken(widths), False
        for at in range(len(self.table.rows)):
            cells = [
                (continued if column.words else wrapped)(column.cells[at], width)
                for column, width in zip(columns, widths, strict=True)
            ]
            for line in _joined(columns, widths, cells):
                yield line, at in self.table.strong


@dataclass(frozen=True)
class _Column:
    """A column's texts.

    Attributes:
        words: whether it holds words, not numbers.
        whole: whether it is not wrapped, though it holds words: names of members.
    """

    head: str
    cells: Sequence[str]
    words: bool
    whole: bool

    @property
    def most(self) -> int:
        """The width at which nothing is wrapped."""
        return max(map(cell_width, (self.head, *self.cells)))

    @property
    def least(self) -> int:
        """The smallest width at which it is pleasant to read."""
        word = max((cell_width(word) for word in self.head.split()), default=0)
        cells = max(map(cell_width, self.cells), default=0)
        if not self.words or self.whole:
            return max(word, cells)
        inside = (
            cell_width(word) + (_INDENT if at else 0)
            for cell in self.cells
            for at, word in enumerate(cell.split())
        )
        return max(word, min(cells, _PHRASE), min(cells, max(inside, default=0)))


def _joined(
    columns: Sequence[_Column], widths: Sequence[int], cells: Sequence[Sequence[str]]
) -> Iterator[str]:
    """Yield the lines of a row of wrapped cells."""
    for texts in zip_longest(*cells, fillvalue=""):
        parts = []
        for column, width, text in zip(columns, widths, texts, strict=True):
            blank = " " * (width - cell_width(text))
            parts.append(text + blank if column.words else blank + text)
        yield (" " * _GAP).join(parts).rstrip()


def _widths(columns: Sequence[_Column], width: int) -> list[int]:
    """Return widths that use the room: phrases as wide as they go, then heads on fewer lines."""
    widths = [column.least for column in columns]
    spare = max(0, width - _taken(widths))
    phrases = [at for at, column in enumerate(columns) if column.words]
    while phrases and spare:
        at = max(phrases, key=lambda at: columns[at].most - widths[at])
        if columns[at].most == widths[at]:
            break
        widths[at] += 1
        spare -= 1
    for at, column in sorted(enumerate(columns), key=lambda pair: pair[1].most - pair[1].least):
        lacking = column.most - widths[at]
        if lacking <= spare:
            widths[at] += lacking
            spare -= lacking
    return widths


def _taken(widths: Sequence[int]) -> int:
    return sum(widths) + _GAP * (len(widths) - 1)


def _numbers(tables: Sequence[Table], members: Sequence[str]) -> dict[str, str]:
    """Number the members that the tables name."""
    cells = [cell for each in tables for row in (each.columns, *each.rows) for cell in row]
    met = dict.fromkeys(name for cell in cells if isinstance(cell, tuple) for name in cell)
    known = dict.fromkeys(members)
    order = [*(name for name in known if name in met), *(name for name in met if name not in known)]
    numbered = {name: f"m{at}" for at, name in enumerate(order, start=1)}
    return numbered if any(cell_width(_line(name)) > _SHORT for name in order) else {}


def _text(cell: Cell, numbered: dict[str, str]) -> str:
    if isinstance(cell, tuple):
        return ", ".join(numbered.get(name) or _line(name) for name in cell)
    return _line(cell)


def _line(text: str) -> str:
    return visible(text.translate(_LINE_ENDS))


def cell_width(text: str) -> int:
    """Return how many characters of a terminal a text takes."""
    from rich.cells import cell_len

    return cell_len(text)


def continued(text: str, width: int) -> list[str]:
    """Return the lines of a phrase, wrapped between words; all but the first are indented."""
    first, *others = wrapped(text, width)
    if not others:
        return [first]
    rest = wrapped(" ".join(others), width - _INDENT)
    return [first, *(" " * _INDENT + line for line in rest)]


def wrapped(text: str, width: int) -> list[str]:
    """Return the lines of a text, wrapped between words; a longer word stays whole."""
    line, *words = [text[: len(text) - len(text.lstrip())], *text.split()]
    lines, filled = [], False
    for word in words:
        longer = f"{line} {word}" if filled else line + word
        if filled and cell_width(longer) > width:
            lines.append(line)
            longer = word
        line, filled = longer, True
    return [*lines, line]
