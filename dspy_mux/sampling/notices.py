"""Log abstentions through the logger `dspy_mux`: each member's causes, without flooding the log."""

from __future__ import annotations

import logging
import os
import re
import threading
import time
from dataclasses import dataclass
from weakref import finalize

from .causes import REMEDIES
from .members import Member

logger = logging.getLogger("dspy_mux")

#: Seconds between two warnings of one member and cause.
PAUSE_S = 60.0
#: Causes that are told apart for one member; a server may put anything into its errors.
_MOST_CAUSES = 100


@dataclass
class _Seen:
    """When a cause was last logged, and how many draws it has cost since."""

    at: float
    since: int = 0


#: The `id` of a member's LM, which all copies of a mux share and which may have no hash →
#: the causes seen.
_seen: dict[int, dict[tuple[str, str], _Seen]] = {}
_lock = threading.Lock()


def _after_in_child() -> None:
    global _lock
    _lock = threading.Lock()  # a thread of the parent may have held it


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_in_child)


def warn_of_abstention(member: Member, cause: str) -> None:
    """Log a draw that abstains: the first of a member and cause, then once a minute with a count.

    Causes that differ in their numbers alone, such as a request's, are one cause.
    """
    key = member.label, re.sub(r"\d+", "#", cause)
    now = time.monotonic()
    with _lock:
        causes = _causes(member.lm)
        seen = causes.get(key)
        if seen is not None and now - seen.at < PAUSE_S:
            seen.since += 1
            return
        more = 0 if seen is None else seen.since + 1
        if seen is None and len(causes) >= _MOST_CAUSES:
            del causes[next(iter(causes))]
        seconds = 0.0 if seen is None else now - seen.at
        causes[key] = _Seen(now)
    remedy = f" ({REMEDIES[cause]})" if cause in REMEDIES else ""
    if more:
        draws = "1 more draw" if more == 1 else f"{more} more draws"
        logger.warning(
            "Member %r abstained in %s of the last %.0f s: %s%s.",
            member.label,
            draws,
            seconds,
            cause.rstrip("."),
            remedy,
        )
    else:
        logger.warning("Member %r abstains: %s%s.", member.label, cause.rstrip("."), remedy)


def _causes(lm: object) -> dict[tuple[str, str], _Seen]:
    if id(lm) not in _seen:
        _seen[id(lm)] = {}
        finalize(lm, _seen.pop, id(lm), None).atexit = False
    return _seen[id(lm)]
