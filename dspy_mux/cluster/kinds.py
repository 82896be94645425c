"""The workers of a cluster's collection by kind: what they draw, and what they take of a machine.

All members on servers are of one kind, whose workers are light; each embedded model is a kind of
its own, whose workers hold its weights, one to a machine.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from ..bank.claims import Unit
from ..bank.conductor import DrawKey
from ..bank.session import Session, Tallies
from ..bank.units import Units
from ..local import is_embedded
from ..sampling.members import Resources
from .ray_module import ray_module

#: Units that a worker has in hand at most, in fillings of its draws in flight.
FILLINGS = 4


@dataclass(eq=False)
class RayWorker:
    """A worker, as the driver knows it (`bank.conductor.Process`).

    Attributes:
        number: of the worker in its collection.
        actor: its Ray handle.
        hand: the units that it was fed and has not done.
        elsewhere: those of them that another collection has claimed.
        finishing: whether it is fed no more.
        polled: the Ray reference of the reports that are awaited; None while none are.
        again: when to ask for them next, where it was out of reach.
        seen: the last report's number.
        node: the id of its Ray node; None until it has started.
    """

    number: int
    actor: Any
    kind: Kind
    slot: int
    tallies: Tallies = field(default_factory=Tallies)
    unwritten: dict[DrawKey, tuple[bool, bool]] = field(default_factory=dict)
    owner: str | None = None
    idle: bool = False
    ended: bool = False
    hand: dict[Unit, None] = field(default_factory=dict)
    elsewhere: dict[Unit, None] = field(default_factory=dict)
    finishing: bool = False
    polled: Any = None
    again: float = 0.0
    seen: int = 0
    node: str | None = None
    _orders: int = 0

    def order(self, order: str, **details: Any) -> None:
        self._orders += 1
        self.actor.obey.remote(self._orders, order, details)

    def kill(self) -> None:
        ray_module().kill(self.actor)

    def finish(self) -> None:
        """Have it end once all in hand is drawn."""
        if not self.finishing:
            self.finishing = True
            self.order("finish")


@dataclass(eq=False)
class Kind:
    """Workers that draw the same members.

    Attributes:
        name: for messages.
        programs: of its members.
        resources: that each worker takes.
        threads: draws in flight of each worker, by slot.
        k: the most draws of a unit.
        embedded: whether it holds weights.
        queue: the units that no worker has.
        workers: all that were started.
    """

    name: str
    programs: frozenset[int]
    resources: Resources
    threads: list[int]
    k: int
    embedded: bool
    queue: deque[Unit] = field(default_factory=deque)
    workers: list[RayWorker] = field(default_factory=list)

    @property
    def living(self) -> list[RayWorker]:
        return [worker for worker in self.workers if not worker.ended]

    @property
    def fed(self) -> list[RayWorker]:
        """The living workers that may be fed."""
        return [worker for worker in self.living if not worker.finishing]

    def filling(self, slot: int) -> int:
        """Return how many units a worker draws at a time."""
        return max(1, math.ceil(self.threads[slot] / self.k))

    def room(self, worker: RayWorker) -> int:
        """Return how many units more a worker may have in hand.

        Little where little is left, so that all workers come to an end together.
        """
        filling = self.filling(worker.slot)
        share = math.ceil(len(self.queue) / (2 * len(self.fed)))
        return min(FILLINGS * filling, max(filling, share)) - len(worker.hand)

    def free_slot(self) -> int | None:
        """Return a slot that no living worker has."""
        taken = {worker.slot for worker in self.living}
        return next((slot for slot in range(len(self.threads)) if slot not in taken), None)

    def requeue(self, units: Iterable[Unit]) -> None:
        """Take units back from a worker that has died."""
        self.queue.extendleft(units)


def kinds_of(session: Session, units: Units, workers: int) -> list[Kind]:
    """Return the kinds that have something to draw, embedded models first.

    Args:
        workers: of the members on servers; they share the session's threads.
    """
    k: dict[int, int] = dict.fromkeys(session.programs, 1)
    for (_, program), left in units.missing.items():
        k[program] = max(k[program], len(left))
    servers, found = set(), []
    for program, member in zip(session.programs, session.mux.members, strict=True):
        if not is_embedded(member.lm):
            servers.add(program)
            continue
        at_once = max(member.lm.engine.slots, k[program])
        resources = member.resources or Resources()
        found.append(
            Kind(member.label, frozenset({program}), resources, [at_once], k[program], True)
        )
    if servers:
        each, rest = divmod(session.num_threads, workers)
        threads = [each + (slot < rest) for slot in range(workers)]
        most = max(k[program] for program in servers)
        found.append(Kind("servers", frozenset(servers), Resources(), threads, most, False))
    for kind in found:
        kind.queue.extend(
            unit for unit, left in units.missing.items() if left and unit[1] in kind.programs
        )
    return [kind for kind in found if kind.queue]
