"""Questions that begin while the server is busy would all be late: they wait their turn."""

from __future__ import annotations

import asyncio
import time

from dspy_mux.serve.door import LATE_S, Door


async def test_nobody_enters_while_the_loop_is_late():
    busy, entered = True, []

    async def work():
        nonlocal busy
        for _ in range(5):
            time.sleep(3 * LATE_S)
            await asyncio.sleep(0)
        busy = False

    async def enter(name):
        await door.enter()
        entered.append((name, busy))

    door = Door()
    await asyncio.gather(work(), *(enter(name) for name in "abc"))
    assert entered == [("a", False), ("b", False), ("c", False)]


async def test_who_gives_up_holds_nobody_back():
    door = Door()
    first, second = (asyncio.ensure_future(door.enter()) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    await second
    assert first.cancelled()
