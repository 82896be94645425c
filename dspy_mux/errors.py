"""The errors dspy-mux raises: one root, a leaf per kind of cause.

    MuxError
    ├── ConfigurationError     a setting or argument that cannot work (also a ValueError)
    │   └── PoolMismatch       a saved mux that belongs to another pool
    ├── MissingExtra           an optional dependency that is not installed (also an ImportError)
    ├── BankError              recorded data that cannot be used; either
    │   ├── DataError          a file, row or saved state that cannot be read or understood
    │   │                      (also a ValueError), or
    │   └── StorageError       a database or disk that cannot be reached or written
    ├── MetricFailed           the user's metric raised; the draws are kept without a score
    ├── AllMembersFailed       no member produced an answer; carries each member's causes
    │                          (voting/verdict.py)
    └── LocalModelError        weights that cannot be found, fetched, verified or loaded

Every message is one sentence that names the thing at fault and says what to do.
"""

from __future__ import annotations

import difflib
import importlib
import numbers
import re
from collections.abc import Iterable, Sequence
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import ValidationError


class MuxError(Exception):
    """Root of every error that dspy-mux raises on purpose."""


class ConfigurationError(MuxError, ValueError):
    """A mux, member, pool file or argument cannot work as given.

    Raised before any LM call where possible. Some mistakes only show once there are answers, such
    as a custom rule that chooses an answer no member drew.
    """


class PoolMismatch(ConfigurationError):
    """A saved mux was loaded into a mux with other members."""


class MissingExtra(MuxError, ImportError):
    """An optional dependency is not installed; the message names the extra to install."""


def extra_module(name: str, need: str, extra: str) -> ModuleType:
    """Import a module of an extra.

    Args:
        need: what needs which library, as a sentence begins: "Parquet needs pyarrow".

    Raises:
        MissingExtra: it is not installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise MissingExtra(
            f"{need}, which is not installed: pip install 'dspy-mux[{extra}]'."
        ) from error


class BankError(MuxError):
    """Recorded data cannot be used: the base of `DataError` and `StorageError`."""


class DataError(BankError, ValueError):
    """A file, a row, a saved mux or a recorded draw cannot be read or understood."""


class StorageError(BankError):
    """A database or disk cannot be reached, read or written."""


class MetricFailed(MuxError):
    """The user's metric raised on an example; its draws are recorded without a score."""


class LocalModelError(MuxError):
    """Weights of an embedded model cannot be found, fetched, verified or loaded."""


def check_number(name: str, value: object, example: object, *, whole: bool = False) -> None:
    """Raise ConfigurationError unless this is a number; None is none.

    Args:
        example: what it could be, for the message.
        whole: whether it must be a whole number.

    >>> check_number("max_risk", "5%", 0.05)
    Traceback (most recent call last):
    dspy_mux.errors.ConfigurationError: max_risk must be a number such as 0.05, not '5%'.
    """
    kind = numbers.Integral if whole else numbers.Real
    if not isinstance(value, kind) or isinstance(value, bool):
        a_number = "a whole number" if whole else "a number"
        raise ConfigurationError(f"{name} must be {a_number} such as {example}, not {value!r}.")


def first_mistake(
    error: ValidationError, known: Iterable[str] = (), items: Sequence[str | None] = ()
) -> str:
    """Return pydantic's first mistake as the end of a sentence that begins with the thing at fault.

    Args:
        known: names of settings to suggest for an unknown one.
        items: names of the items of the one list there is, where they have one that can be shown.
    """
    mistakes = error.errors(include_url=False)
    first = mistakes[0]
    if first["type"] == "missing":
        # The missing setting may be there under a misspelt name, which says more.
        misspelt = (mistake for mistake in mistakes if mistake["type"] == "extra_forbidden")
        first = next(misspelt, first)
    where, name, whose = "", "", ""
    for part in first["loc"]:
        if isinstance(part, int) and part < len(items) and items[part]:
            whose = f" ({items[part]})"
        # A key may be any text.
        name = str(part) if re.fullmatch(r"[\w/-]{1,40}", str(part)) else repr(str(part)[:40])
        where += f"[{part + 1}]" if isinstance(part, int) else f".{name}" if where else name
    if first["type"] == "extra_forbidden":
        meant = difflib.get_close_matches(name, known, n=1)
        hint = f": did you mean {meant[0]}?" if meant else "."
        return f"has an unknown setting {where}{whose}{hint}"
    reason = str(first["msg"]).removeprefix("Value error, ").removesuffix(".")
    return f"is wrong at {where or 'its top level'}{whose}: {reason}."
