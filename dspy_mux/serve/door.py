"""The door behind which questions wait while the server is busy with those before them.

Draws have a deadline from when they begin. Were all questions of a crowd begun at once, the draws
of all would end late, and none be answered.
"""

from __future__ import annotations

import asyncio

#: Seconds between two looks at the event loop, and by how much it may be late.
LOOK_S, LATE_S = 0.005, 0.05


class Door:
    """Lets questions in one by one, first come, first served, while the event loop is on time."""

    def __init__(self) -> None:
        self._queue = asyncio.Lock()

    async def enter(self) -> None:
        """Wait until all before are in, and the event loop is on time again."""
        async with self._queue:
            loop = asyncio.get_running_loop()
            while True:
                due = loop.time() + LOOK_S
                await asyncio.sleep(LOOK_S)
                if loop.time() - due <= LATE_S:
                    return
