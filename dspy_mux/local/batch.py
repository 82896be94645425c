"""Draws of one question become one llama.cpp request.

A mux asks the same question k times with seeds s, s+1, …; llama.cpp, asked once for n answers with seed s, reads the
prompt once and gives the answers of those n single requests (to the last bit for some quantisations, up to rounding
that depends on the company in a batch for others). So requests that differ only in their seed are
gathered here:

- for a few milliseconds, because the draws of a question are sent from many threads almost, but not quite, at once;
- and for as long as the slots are busy, which is when sharing pays most.

Whole groups start in the order their first draw arrived, never more draws at once than llama.cpp has slots, so nothing
queues where it could no longer be joined or cancelled.
"""

from __future__ import annotations

import json
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

#: A group starts when no draw has joined it for GAP_S, at the latest WINDOW_S after its first draw.
GAP_S = 0.004
WINDOW_S = 0.030

Choice = dict[str, Any]
#: (payload, n, first seed or None, "does anybody still want this?") → n choices, in the order of their seeds.
Generate = Callable[[dict[str, Any], int, "int | None", Callable[[], bool]], Sequence[Choice]]


@dataclass(eq=False)
class _Draw:
    seed: int | None
    future: Future[Choice] = field(default_factory=Future)


@dataclass(eq=False)
class _Group:
    """Waiting draws of one payload."""

    payload: dict[str, Any]
    arrived: float
    joined: float
    draws: list[_Draw] = field(default_factory=list)


@dataclass(eq=False)
class _Launch:
    """One request to llama.cpp: `takers[i]` wait for choice i; draws of equal seed share one."""

    group: _Group
    seed: int | None
    takers: list[list[_Draw]]

    def wanted(self) -> bool:
        return any(not draw.future.cancelled() for takers in self.takers for draw in takers)

    def settle(self, outcomes: Sequence[Choice | BaseException]) -> None:
        """Give every taker its choice, or raise it where the choice is awaited."""
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
        generate: runs one request of up to `slots` draws; called from threads of its own, raises what its draws shall
            raise.
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

    def submit(self, payload: dict[str, Any], *, seed: int | None) -> Future[Choice]:
        """One draw; the future can be cancelled at any time and gives the choice, or raises what `generate` did.

        Args:
            payload: the request without its seed; equal payloads may be gathered.
            seed: the draw's own; None for any.

        Raises:
            RuntimeError: the batcher is closed, or its thread cannot be started.
        """
        key = json.dumps(payload, sort_keys=True)
        now = time.monotonic()
        draw = _Draw(seed)
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
        """Starts nothing more and stops what runs at its next token; True when nothing runs any more.

        For the interpreter's end: whoever still waits is a daemon thread, and one that woke up now, to print a traceback
        while the interpreter is taken apart, could crash it. So they are left to wait.
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
                except Exception as error:  # noqa: BLE001 - no thread to be had: these draws fail, later ones may not
                    launch.settle([error] * len(launch.takers))
                    continue
                self._running[launch] = thread
                self._free_slots -= len(launch.takers)

    def _until_next(self) -> float | None:
        """Seconds until the first group may start: 0 now, None where only another draw, come or gone, changes that."""
        while self._waiting:
            key, group = next(iter(self._waiting.items()))
            group.draws = [draw for draw in group.draws if not draw.future.cancelled()]
            if not group.draws:
                del self._waiting[key]
                continue
            now = time.monotonic()
            ready = min(group.joined + GAP_S, group.arrived + WINDOW_S)
            if ready > now and len(group.draws) < self._slots:
                return ready - now  # younger groups are no readier
            _, takers = self._first_run(group)
            # In order, whole groups: a smaller one does not overtake, or large k would starve.
            return 0 if len(takers) <= self._free_slots else None
        return None

    def _first_run(self, group: _Group) -> tuple[int | None, list[list[_Draw]]]:
        """The largest request that holds the group's oldest draw: its first seed and who takes which choice."""
        oldest = group.draws[0]
        if oldest.seed is None:
            return None, [[draw] for draw in group.draws if draw.seed is None][: self._slots]
        by_seed: dict[int, list[_Draw]] = {}
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
        taken = {id(draw) for each in takers for draw in each}
        group.draws = [draw for draw in group.draws if id(draw) not in taken]
        if not group.draws:
            del self._waiting[key]
        return _Launch(group, seed, takers)

    def _run(self, launch: _Launch) -> None:
        outcomes: Sequence[Choice | BaseException]
        try:
            outcomes = self._generate(
                launch.group.payload,
                len(launch.takers),
                launch.seed,
                lambda: not self._closing and launch.wanted(),
            )
        except BaseException as error:  # noqa: BLE001 - every draw must end; raised where its result is awaited
            outcomes = [error] * len(launch.takers)
        if not self._closing:
            launch.settle(outcomes)
        with self._changed:
            del self._running[launch]
            self._free_slots += len(launch.takers)
            self._changed.notify_all()
