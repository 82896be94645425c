"""Waits at a queue last no longer than they should."""

from __future__ import annotations

import math
import queue
import threading
import time

import pytest

from dspy_mux.sampling.threads import SHORTEST_WAIT_S, take


def test_the_next_item_is_taken():
    items = queue.SimpleQueue()
    items.put(1)
    items.put(2)
    assert (take(items, 0), take(items, math.inf)) == (1, 2)


def test_an_item_that_comes_in_time_is_taken():
    items = queue.SimpleQueue()
    threading.Timer(0.05, items.put, (1,)).start()
    assert take(items, 30) == 1


@pytest.mark.parametrize("patience", [0.05, SHORTEST_WAIT_S / 2])
def test_a_wait_without_an_item_ends_empty(patience):
    began = time.monotonic()
    with pytest.raises(queue.Empty):
        take(queue.SimpleQueue(), patience)
    assert time.monotonic() - began >= patience


@pytest.mark.parametrize(("patience", "times"), [(0, 5000), (-1, 5000), (1e-7, 20)])
def test_no_wait_is_for_ever_among_many_threads(patience, times):
    def waits():
        for _ in range(times):
            items = queue.SimpleQueue()
            items.put(1)
            items.get()
            with pytest.raises(queue.Empty):
                take(items, patience)

    threads = [threading.Thread(target=waits, daemon=True) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not any(thread.is_alive() for thread in threads)
