"""The user's own equivalence: a function that returns an answer's key, or compares two answers."""

from __future__ import annotations

import logging
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any

from .equivalence import AnswerKind, WrappingKind
from .structured import AnyKind

logger = logging.getLogger(__name__)


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

    None, or an exception, is an abstention.
    """

    function: Callable[[Any], Any]
    base: AnswerKind
    name = "key function"

    def key(self, value: Any) -> Hashable | None:
        if value is None:
            return None
        try:
            key = self.function(value)
        except Exception:
            logger.warning(
                "The key function raised on %.80r, which counts as an abstention.",
                value,
                exc_info=True,
            )
            return None
        return key if _is_hashable(key) and _equals_itself(key) else AnyKind().key(key)


@dataclass(frozen=True)
class PairKind(WrappingKind):
    """Answers are the same when they are equal, or a function of two answers says so.

    The function is asked in both orders.
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
        except Exception:
            logger.warning(
                "The equivalence raised on %.80r and %.80r, which count as different.",
                a,
                b,
                exc_info=True,
            )
            return False
