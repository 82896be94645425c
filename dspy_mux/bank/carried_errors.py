"""Carry an error from a process to its parent, as text: errors of others may not pickle."""

from __future__ import annotations

import builtins
import traceback
from typing import TypedDict

from .. import errors
from ..errors import MuxError


class ErrorText(TypedDict):
    """An error: the names of its classes, its own first; its message; its traceback."""

    kinds: list[str]
    message: str
    traceback: str


class ChildTraceback(Exception):
    """Where an error was raised in a child process; the cause of the parent's error."""


def error_text(error: BaseException) -> ErrorText:
    """Return what is carried of an error."""
    return {
        "kinds": [kind.__name__ for kind in type(error).__mro__],
        "message": str(error),
        "traceback": "".join(traceback.format_exception(type(error), error, error.__traceback__)),
    }


def restored(text: ErrorText) -> BaseException:
    """Return the error: of its own class, or of the nearest one that the message alone makes.

    >>> restored(error_text(errors.DataError("The bank is damaged.")))
    DataError('The bank is damaged.')
    >>> restored(error_text(KeyboardInterrupt()))
    KeyboardInterrupt()
    """
    error = _restored(text["kinds"], text["message"])
    error.__cause__ = ChildTraceback("\n" + text["traceback"])
    return error


def _restored(kinds: list[str], message: str) -> BaseException:
    own = [message] if message else []
    for name in kinds:
        kind = getattr(errors, name, None) or getattr(builtins, name, None)
        if kind in (Exception, BaseException, object, None):
            continue
        try:
            made: BaseException = kind(*own)
        except TypeError:  # it takes more than a message
            continue
        # A class between that is lost, such as a provider's own, is named.
        return made if name == kinds[0] or isinstance(made, MuxError) else kind(_named(kinds, own))
    return MuxError(_named(kinds, own))


def _named(kinds: list[str], message: list[str]) -> str:
    return ": ".join([kinds[0], *message])
