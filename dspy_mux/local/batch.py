"""Gather the draws of one question into one llama.cpp request.

A mux asks the same question k times with seeds s, s+1, …. Asked once for n answers with seed s,
llama.cpp reads the prompt once and returns the answers of those n single requests (to the last bit
for some quantisations, up to rounding that depends on the rest of the batch for others). Requests
that differ only in their seed are gathered

- for a few milliseconds, because many threads send the draws of a question at almost the same time;
- and for as long as the slots are busy, which is when sharing pays most.

Whole groups start in the order in which their first draw arrived, and never more draws at once than
llama.cpp has slots. So no draw waits where it could no longer be joined or cancelled.
"""

from __future__ import annotations

import json
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TypeAlias

from .wire import Body

#: A group starts when no draw has joined it for GAP_S, at the latest WINDOW_S after its first draw.
GAP_S = 0.004
WINDOW_S = 0.030

#: (payload, n, first seed or None, "is any draw still wanted?") → n bodies in the order of seeds.
Generate: TypeAlias = Callable[[Body, int, "int | None", Callable[[], bool]], Sequence[Body]]


@dataclass(eq=False)
class _PendingDraw:
    seed: int | None
    future: Future[Body] = field(default_factory=Future)


@dataclass(eq=False)
class _Group:
    """Waiting draws of one payload."""

    payload: Body
    arrived: float
    joined: float
    draws: list[_PendingDraw] = field(default_factory=list)


@dataclass(eq=False)
class _Launch:
    """One request to llama.cpp: `takers[i]` wait for body i; draws of equal seed share one."""

    group: _Group
    seed: int | None
    takers: list[list[_PendingDraw]]

    def wanted(self) -> bool:
        return any(not draw.future.cancelled() for takers in self.takers for draw in takers)

    def settle(self, outcomes: Sequence[Body | BaseException]) -> None:
        """Give every taker its body, or raise the error where the body is awaited."""
        for takers, outcome in zip(self.takers, outcomes, strict=True):
            for draw in takers:
                if not draw.future.set_running_or_notify_cancel():
                    continue
                if isinstance(outcome, BaseException):
                    draw.future.set_exception(outcome)
                else:
                    draw.future.set_result(outcome)


class Batcher:
    """Gathers, orders and runs the draws of one model.

    Args:
        generate: runs one request of up to `slots` draws, on a thread of its own; its draws raise
            what it raises.
        slots: draws that may run at once.
    """

    def __init__(self, generate: Generate, *, slots: int) -> None:
        self._generate = generate
        self._slots = slots
        self._changed = threading.Condition()
        self._waiting: OrderedDict[str, _Group] = OrderedDict()
        self._free_slots = slots
        self._running: dict[_Launch, threading.Thread] = {}
        self._closing = False
        self._scheduler: threading.Thread | None = None

    def submit(self, payload: Body, *, seed: int | None) -> Future[Body]:
        """Queue one draw; its future can be cancelled at any time.

        Args:
            payload: the request without its seed; equal payloads may be gathered.
            seed: the draw's seed; None for any.

        Raises:
            RuntimeError: the batcher is closed, or its thread cannot be started.
        """
        key = json.dumps(payload, sort_keys=True)
        now = time.monotonic()
        draw = _PendingDraw(seed)
        with self._changed:
            if self._closing:
                raise RuntimeError("the local model is closed: the interpreter is exiting")
            if self._scheduler is None:
                scheduler = threading.Thread(
                    target=self._schedule, name="dspy-mux-batcher", daemon=True
                )
                scheduler.start()
                self._scheduler = scheduler
            group = self._waiting.get(key)
            if group is None:
                group = self._waiting[key] = _Group(payload, now, now)
            group.draws.append(draw)
            group.joined = now
            self._changed.notify_all()
        return draw.future

    def close(self, timeout: float) -> bool:
        """Start nothing more, and stop running requests at their next token.

        For the end of the interpreter. Daemon threads that still wait are left waiting: one that
        woke up to print a traceback now could crash the interpreter.

        Returns:
            Whether all requests have ended.
        """
        with self._changed:
            self._closing = True
            self._waiting.clear()
            running = list(self._running.values())
            self._changed.notify_all()
        deadline = time.monotonic() + timeout
        for thread in running:
            thread.join(max(0.0, deadline - time.monotonic()))
        return not any(thread.is_alive() for thread in running)

    def _schedule(self) -> None:
        with self._changed:
            while not self._closing:
                pause = self._until_next()
                if pause != 0:
                    self._changed.wait(pause)
                    continue
                launch = self._take()
                thread = threading.Thread(
                    target=self._run, args=(launch,), name="dspy-mux-draws", daemon=True
                )
                try:
                    thread.start()
                except Exception as error:  # noqa: BLE001 - no thread: these draws fail, later ones may not
                    launch.settle([error] * len(launch.takers))
                    continue
                self._running[launch] = thread
                self._free_slots -= len(launch.takers)

    def _until_next(self) -> float | None:
        """Return the seconds until the first group may start; None until draws come or go."""
        while self._waiting:
            key, group = next(iter(self._waiting.items()))
            group.draws = [draw for draw in group.draws if not draw.future.cancelled()]
            if not group.draws:
                del self._waiting[key]
                continue
            now = time.monotonic()
            ready = min(group.joined + GAP_S, group.arrived + WINDOW_S)
            if ready > now and len(group.draws) < self._slots:
                return ready - now  # younger groups start no earlier
            _, takers = self._first_run(group)
            # Whole groups in order: if smaller ones overtook, a large k would starve.
            return 0 if len(takers) <= self._free_slots else None
        return None

    def _first_run(self, group: _Group) -> tuple[int | None, list[list[_PendingDraw]]]:
        """Return the largest request with the group's oldest draw: its first seed and takers."""
        oldest = group.draws[0]
        if oldest.seed is None:
            return None, [[draw] for draw in group.draws if draw.seed is None][: self._slots]
        by_seed: dict[int, list[_PendingDraw]] = {}
        for draw in group.draws:
            if draw.seed is not None:
                by_seed.setdefault(draw.seed, []).append(draw)
        first = last = oldest.seed
        while last - first + 1 < self._slots and last + 1 in by_seed:
            last += 1
        while last - first + 1 < self._slots and first - 1 in by_seed:
            first -= 1
        return first, [by_seed[seed] for seed in range(first, last + 1)]

    def _take(self) -> _Launch:
        key, group = next(iter(self._waiting.items()))
        seed, takers = self._first_run(group)
        taken = {id(draw) for draws in takers for draw in draws}
        group.draws = [draw for draw in group.draws if id(draw) not in taken]
        if not group.draws:
            del self._waiting[key]
        return _Launch(group, seed, takers)

    def _run(self, launch: _Launch) -> None:
        outcomes: Sequence[Body | BaseException]
        try:
            outcomes = self._generate(
                launch.group.payload,
                len(launch.takers),
                launch.seed,
                lambda: not self._closing and launch.wanted(),
            )
        except BaseException as error:  # noqa: BLE001 - raised where the results are awaited
            outcomes = [error] * len(launch.takers)
        if not self._closing:
            launch.settle(outcomes)
        with self._changed:
            del self._running[launch]
            self._free_slots += len(launch.takers)
            self._changed.notify_all()
