"""Wait for a database server that restarts, rather than lose what has been paid for."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from ..errors import StorageError
from .sample_bank import SampleBank

#: Seconds to wait before each further try: a server may take half a minute to fail over.
PAUSES_S = (0.5, 2.0, 5.0, 10.0, 20.0)
#: Seconds until a request to end is noticed.
_NOTICE_S = 0.1

Result = TypeVar("Result")


def patiently(
    bank: SampleBank, act: Callable[[], Result], wanted: Callable[[], bool] = lambda: True
) -> Result:
    """Return what `act` returns; try again for a while where the bank's server is out of reach.

    An SQLite file that cannot be used stays so, and is not tried again.

    Args:
        act: leaves nothing half done where it fails.
        wanted: asked while waiting; False ends the wait.

    Raises:
        StorageError: the bank cannot be used.
    """
    for pause in PAUSES_S if bank.path is None else ():
        try:
            return act()
        except StorageError:
            until = time.monotonic() + pause
            while time.monotonic() < until and wanted():
                time.sleep(min(pause, _NOTICE_S))
            if not wanted():
                raise
    return act()
