"""Wait for an event, for as long as a busy machine may need."""

from __future__ import annotations

import time
from collections.abc import Callable

#: Only a test that fails waits for so long.
PATIENCE_S = 60.0


def until(condition: Callable[[], object], seconds: float = PATIENCE_S) -> None:
    """Wait until `condition` holds; fail where it does not in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.01)
