"""The content of values of numpy, pandas, Arrow and Pillow, none of which is imported here.

A scalar is the Python value it holds, an array its type, shape and bytes, a frame its columns.
"""

from __future__ import annotations

import functools
import hashlib
import sys
from collections.abc import Callable
from typing import Any

#: The one key of an object that stands for what JSON has no form of.
TAG = "dspy_mux.content"
_LIBRARIES = frozenset({"PIL", "numpy", "pandas", "pyarrow"})
#: Arrays of these kinds of numpy hold references or padding, so their values count.
_BY_VALUE = frozenset("OSTUV")

_Inner = Callable[[Any], Any]


def tagged(kind: str, *parts: Any) -> dict[str, Any]:
    """Return the content of a kind of value that JSON has no form of."""
    return {TAG: [kind, *parts]}


def is_foreign(value: object) -> bool:
    """Return whether a value's type is one of these libraries', or derived from one."""
    kind: Any = type(value)
    found: bool = _is_of_library(kind)
    return found


@functools.lru_cache(maxsize=1024)
def _is_of_library(kind: Any) -> bool:
    return any(base.__module__.partition(".")[0] in _LIBRARIES for base in kind.__mro__)


def array_content(value: Any, inner: _Inner) -> Any:
    """Return the content of a value that `is_foreign`; None where it has none.

    Args:
        inner: returns the content of the Python values that it holds.
    """
    for base in type(value).__mro__:
        find = _KINDS.get(f"{base.__module__.partition('.')[0]}.{base.__name__}")
        if find is not None:
            return find(value, inner)
    return None


def _scalar(value: Any, inner: _Inner) -> Any:
    found = value.item()
    if type(found) is type(value) or (value.dtype.kind in "mM" and isinstance(found, int)):
        return str(value)  # a long double, or a time finer than Python's
    if value.dtype.names:
        return tagged("record", list(value.dtype.names), inner(found))
    return inner(found)


def _array(value: Any, inner: _Inner) -> Any:
    kind, shape = value.dtype.kind, list(value.shape)
    if kind in _BY_VALUE:
        named = value.dtype.descr if value.dtype.names else kind
        return tagged("array", inner(named), shape, inner(value.tolist()))
    native = value.astype(value.dtype.newbyteorder("="), copy=False)
    return tagged("array", str(native.dtype), shape, _digest(native.tobytes()))


def _masked(value: Any, inner: _Inner) -> Any:
    mask = sys.modules["numpy"].ma.getmaskarray(value)
    return tagged("masked", _array(value.filled(0), inner), _array(mask, inner))


def _frame(value: Any, inner: _Inner) -> Any:
    columns = [value.iloc[:, at] for at in range(value.shape[1])]
    return tagged(
        "frame",
        _index(value.index, inner),
        [[inner(column.name), *_values(column, inner)] for column in columns],
    )


def _series(value: Any, inner: _Inner) -> Any:
    return tagged("series", inner(value.name), _index(value.index, inner), *_values(value, inner))


def _index(value: Any, inner: _Inner) -> Any:
    return tagged("index", inner(list(value.names)), *_values(value, inner))


def _values(column: Any, inner: _Inner) -> list[Any]:
    """Return the type and the values of a column."""
    described = str(column.dtype)
    if described == "category":
        kinds = column.cat if hasattr(column, "cat") else column
        described = f"category {bool(kinds.ordered)} {inner(kinds.categories.tolist())}"
    return [described, inner(column.tolist())]


def _moment(value: Any, inner: _Inner) -> Any:
    if value.nanosecond:
        return str(value.isoformat())
    return inner(value.to_pydatetime(warn=False))


def _duration(value: Any, inner: _Inner) -> Any:
    return str(value.isoformat()) if value.nanoseconds else inner(value.to_pytimedelta())


def _table(value: Any, inner: _Inner) -> Any:
    return tagged("table", str(value.schema), inner(value.to_pylist()))


def _column(value: Any, inner: _Inner) -> Any:
    return tagged("column", str(value.type), inner(value.to_pylist()))


def _image(value: Any, inner: _Inner) -> Any:
    palette = value.getpalette() if value.mode == "P" else None
    return tagged("image", value.mode, list(value.size), palette, _digest(value.tobytes()))


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _as_text(value: Any, _: _Inner) -> str:
    return str(value)


#: "library.Type" → how its content is found; a type derived from it has the same.
_KINDS: dict[str, Callable[[Any, _Inner], Any]] = {
    "numpy.MaskedArray": _masked,
    "numpy.ndarray": _array,
    "numpy.generic": _scalar,
    "pandas.DataFrame": _frame,
    "pandas.Series": _series,
    "pandas.Index": _index,
    "pandas.ExtensionArray": lambda value, inner: tagged("values", *_values(value, inner)),
    "pandas.Timestamp": _moment,
    "pandas.Timedelta": _duration,
    "pandas.NaTType": _as_text,
    "pandas.NAType": _as_text,
    "pandas.Period": lambda value, _: tagged("period", str(value), value.freqstr),
    "pandas.Interval": lambda value, inner: tagged(
        "interval", inner(value.left), inner(value.right), value.closed
    ),
    "pyarrow.Table": _table,
    "pyarrow.RecordBatch": _table,
    "pyarrow.Array": _column,
    "pyarrow.ChunkedArray": _column,
    "pyarrow.Scalar": lambda value, inner: inner(value.as_py()),
    "PIL.Image": _image,
}
