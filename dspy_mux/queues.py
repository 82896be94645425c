"""Waiting at a queue for a while."""

from __future__ import annotations

import math
import queue
from typing import TypeVar

Item = TypeVar("Item")

#: Before Python 3.13, `SimpleQueue.get` waits for ever if its time is up before it has begun to wait: so never for less than this.
SHORTEST_S = 0.02


def take(items: queue.SimpleQueue[Item], patience: float) -> Item:
    """The next item, for the one thread that takes from this queue.

    Args:
        patience: seconds to wait for it; infinity is for ever, 0 or less not at all.

    Raises:
        queue.Empty: none came in that time (or in `SHORTEST_S`, if that is longer).
    """
    if patience <= 0:
        return items.get_nowait()
    return items.get(timeout=None if patience == math.inf else max(patience, SHORTEST_S))
