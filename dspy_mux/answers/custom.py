"""The user's own equivalence: a function that returns an answer's key, or compares two answers.

Models answer anything, so a function may raise on an answer that it cannot read: that answer, not
the call, is at fault. A function with a bug raises on every answer, so what it raises is logged.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any

from .equivalence import AnswerKind, WrappingKind
from .structured import AnyKind

logger = logging.getLogger(__name__)

#: What functions raised that is logged: they run once per answer or pair of answers. A redefined
#: function is another place in the code.
_logged: set[tuple[str, ...]] = set()


def _log_once(error: Exception, message: str, *answers: Any) -> None:
    """Log the first error of each type and place in the code, with its traceback."""
    where = error.__traceback__
    while where is not None and where.tb_next is not None:
        where = where.tb_next
    code = None if where is None else where.tb_frame.f_code
    place = () if code is None or where is None else (code.co_filename, str(where.tb_lineno))
    kind = (type(error).__module__, type(error).__qualname__, *place)
    if kind not in _logged:
        _logged.add(kind)
        logger.warning(
            f"{message} Further errors of this kind are not logged.", *answers, exc_info=error
        )


def _is_hashable(value: object) -> bool:
    try:
        hash(value)
    except TypeError:  # a list, or a tuple that holds one
        return False
    return True


def _equals_itself(key: Any) -> bool:
    """Return False for NaN and for what holds one: such a key never equals another."""
    return (
        all(map(_equals_itself, key)) if isinstance(key, (tuple, frozenset)) else bool(key == key)
    )


@dataclass(frozen=True)
class KeyKind(WrappingKind):
    """Answers are the same when a function of one answer returns equal keys.

    None, or an exception, is an abstention. The first exception of each kind is logged.
    """

    function: Callable[[Any], Any]
    base: AnswerKind
    name = "key function"

    def key(self, value: Any) -> Hashable | None:
        if value is None:
            return None
        try:
            key = self.function(value)
        except Exception as error:  # noqa: BLE001  (the user's code, on a model's text)
            _log_once(
                error, "The key function raised on %.80r, which counts as an abstention.", value
            )
            return None
        return key if _is_hashable(key) and _equals_itself(key) else AnyKind().key(key)


@dataclass(frozen=True)
class PairKind(WrappingKind):
    """Answers are the same when they are equal, or a function of two answers says so.

    The function is asked in both orders. Answers on which it raises are different; the first
    exception of each kind is logged.
    """

    function: Callable[[Any, Any], Any]
    base: AnswerKind
    name = "pair function"

    def key(self, value: Any) -> Hashable | None:
        if self.base.key(value) is None:
            return None
        return value if _is_hashable(value) else repr(value)

    def alike(self, a: Any, b: Any) -> bool:
        return self._is_same(a, b) or self._is_same(b, a)

    def _is_same(self, a: Any, b: Any) -> bool:
        try:
            return bool(self.function(a, b))
        except Exception as error:  # noqa: BLE001  (the user's code, on models' texts)
            _log_once(
                error, "The equivalence raised on %.80r and %.80r, which count as different.", a, b
            )
            return False
