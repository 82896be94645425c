"""Conduct a collection on a Ray cluster: start workers, feed them units, replace the dead.

Ray places the workers and starts machines; the bank remembers. The driver hands out units as
workers have room, and concludes from what it hears alone: a unit is done once its last draw is
recorded.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from contextlib import suppress
from typing import Any

from ..bank.claims import Unit
from ..bank.conductor import Conductor
from ..bank.limits import Budget
from ..bank.session import Session
from ..bank.units import Units
from ..errors import BankError, MuxError
from ..sampling.interrupt import Interrupt
from ..text import first_line
from .budget import BudgetKeeper
from .kinds import Kind, RayWorker, kinds_of
from .ray_module import ray_module
from .setup import Setup
from .worker import POLL_S, SILENCE_S, Worker

logger = logging.getLogger(__name__)

#: Seconds to wait for reports at a time.
LOOK_S = 0.1
#: Workers that may die with the same unit in hand.
_MOST_DEATHS = 3
#: Seconds after which it is said that workers wait for resources.
_NOTICE_S = 20.0
#: Seconds between two looks for machines that could hold weights too.
GROW_S = 5.0
#: How Ray says that it is a worker's process that has ended, rather than its machine.
_PROCESS_DIED = "worker process has died"


class RayWorkers(Conductor[RayWorker]):
    """The workers of a collection on Ray; they run within the block.

    Args:
        workers: for the members on servers.
        runtime_env: of Ray, for the workers.
        only_node: the one node that the workers may run on; None for all.
    """

    def __init__(
        self,
        session: Session,
        units: Units,
        interrupt: Interrupt,
        *,
        workers: int,
        runtime_env: dict[str, Any] | None,
        only_node: str | None,
    ):
        super().__init__(session, units, interrupt)
        self._ray = ray_module()
        self._runtime_env, self._only_node = runtime_env, only_node
        self._kinds = kinds_of(session, units, workers)
        self._setup = Setup.of(session, units.k)
        self._keeper: Any = None
        self._payload: Any = None
        self._up: set[str] = set()
        self._deaths_with: Counter[Unit] = Counter()
        self._began = self._grown = time.monotonic()
        self._said_pending = False

    def __enter__(self) -> RayWorkers:
        budget = self._session.budget
        self._payload = self._ray.put(self._setup.pickled())
        if isinstance(budget, Budget):
            # On the driver's machine, or that of another would end the collection with its own.
            here = self._on(self._ray.get_runtime_context().get_node_id())
            keeper = self._ray.remote(BudgetKeeper).options(num_cpus=0, scheduling_strategy=here)
            self._keeper = keeper.remote(budget.max_calls, budget.max_cost, budget.longest)
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self.living:
            self._end(worker)
        if self._keeper is not None:
            self._ray.kill(self._keeper)

    def run(self) -> None:
        try:
            for kind in self._kinds:  # one of each, before Ray has no room for a second one
                self._start(kind)
            super().run()
        except self._ray.exceptions.RayError as error:
            raise MuxError(
                f"Ray has ended the collection: {first_line(error)}. What had arrived is recorded: "
                "correct that, and start it again."
            ) from error

    # --- workers

    def _start(self, kind: Kind, node: str | None = None) -> None:
        """Start a worker of a kind; on this node, or where Ray has room."""
        slot = 0 if kind.embedded else kind.free_slot()
        if slot is None:
            return
        placement: Any = "SPREAD"
        if (at := self._only_node or node) is not None:
            placement = self._on(at)
        actor = self._ray.remote(Worker).options(
            num_cpus=kind.resources.num_cpus,
            num_gpus=kind.resources.num_gpus,
            scheduling_strategy=placement,
            # It ends by itself once its driver has, and what it had under way is recorded.
            lifetime="detached",
            max_restarts=0,
            max_task_retries=-1,
            max_concurrency=8,
            runtime_env=self._runtime_env,
        )
        number = len(self._all) + 1
        worker = RayWorker(number, actor.remote(number, self._keeper, SILENCE_S), kind, slot)
        cpus = kind.resources.num_cpus if kind.embedded else 0
        up = sorted(self._up)
        worker.actor.begin.remote(self._payload, kind.threads[slot], up, cpus)
        self._poll(worker)
        self._all.append(worker)
        kind.workers.append(worker)

    def _on(self, node: str) -> Any:
        """Return Ray's way to say that an actor runs on this node alone."""
        affinity = self._ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy
        return affinity(node, soft=False)

    def _end(self, worker: RayWorker) -> None:
        worker.ended = True
        worker.kill()

    def _bury(self, worker: RayWorker, cause: Exception) -> None:
        """Take note that a worker has died, and have others make its draws."""
        worker.ended = True
        self._deaths += 1
        if self._keeper is not None:
            self._keeper.close.remote(worker.number)
        with suppress(BankError):
            self._count_written(worker)
        if self._is_over:
            return
        process = _PROCESS_DIED in str(cause)
        what = "process of a worker" if process else "machine of a worker"
        logger.warning("The %s of the collection has ended. Others make its draws.", what)
        if process:  # a machine may only be cut off: its claims lapse once it shows no life
            self._release(worker)
        left = [*worker.hand, *worker.elsewhere]
        worker.kind.requeue(left)
        self._deaths_with.update(list(worker.hand))
        if any(self._deaths_with[unit] >= _MOST_DEATHS for unit in worker.hand):
            self._fail(
                MuxError(
                    f"{_MOST_DEATHS} workers of the collection have died with the same questions "
                    "in hand: what had arrived is recorded; look whether memory is short, or "
                    "whether the metric ends the process, and start it again."
                )
            )

    # --- reports

    def _listen(self, living: list[RayWorker]) -> None:
        now = time.monotonic()
        for worker in living:
            if worker.polled is None and not worker.idle and now >= worker.again:
                self._poll(worker)
        by_reference = {worker.polled: worker for worker in living if worker.polled is not None}
        references = list(by_reference)
        ready: list[Any] = []
        if references:
            ready, _ = self._ray.wait(references, num_returns=len(references), timeout=LOOK_S)
        elif not any(worker.idle for worker in living):  # all are cut off
            time.sleep(LOOK_S)
        for reference in ready:
            self._read(by_reference[reference], reference)

    def _read(self, worker: RayWorker, reference: Any) -> None:
        errors = self._ray.exceptions
        try:
            reports = self._ray.get(reference)
        except errors.ActorUnavailableError:  # cut off for a moment, or about to be dead
            worker.polled, worker.again = None, time.monotonic() + POLL_S
            return
        except (errors.RayActorError, errors.ActorUnschedulableError) as error:
            self._bury(worker, error)
            return
        for number, kind, details in reports:
            if number > worker.seen:
                worker.seen = number
                self._take(worker, kind, details)
        # An idle worker says no more; a call under way when it is ended would seem to fail.
        worker.polled = None
        if not worker.idle:
            self._poll(worker)

    def _poll(self, worker: RayWorker) -> None:
        worker.polled = worker.actor.reports.remote(worker.seen)

    def _take(self, process: RayWorker, kind: str, details: dict[str, Any]) -> None:
        if kind == "done":
            for unit in map(tuple, details["units"]):
                process.hand.pop(unit, None)
        elif kind == "elsewhere":
            for unit in map(tuple, details["units"]):
                process.hand.pop(unit, None)
                process.elsewhere[unit] = None
        elif kind == "node":
            process.node = details["node"]
        elif kind == "stopped":
            assert self._session.budget is not None
            self._session.budget.stopped = details["limit"]
        elif kind == "lost":
            self._fail(
                MuxError(
                    "The process that keeps the collection's limits has ended, or is out of reach "
                    f"({details['cause']}): what had arrived is recorded; look whether memory is "
                    "short on this machine, and start it again."
                )
            )
        else:
            if kind == "up":
                self._up.update(details["members"])
            super()._take(process, kind, details)

    # --- orders

    def _conduct(self) -> None:
        for kind in self._kinds:
            if not self._is_over:
                self._staff(kind)
                self._feed(kind)
            for worker in kind.living:
                over = self._is_over or not (kind.queue or worker.hand)
                if worker.idle or (over and worker.node is None):
                    self._end(worker)
                elif over:
                    worker.finish()
        self._say_pending()

    def _staff(self, kind: Kind) -> None:
        """Start workers where there is more to draw than those at work have in hand soon."""
        if kind.queue and not kind.fed:
            self._start(kind)
        if kind.embedded:
            self._replicate(kind)
            return
        while kind.free_slot() is not None and len(kind.queue) > sum(
            kind.filling(worker.slot) for worker in kind.fed if not worker.hand
        ):
            self._start(kind)

    def _replicate(self, kind: Kind) -> None:
        """Start a worker on each node that has room for the weights and does not hold them."""
        now = time.monotonic()
        if now - self._grown < GROW_S or any(worker.node is None for worker in self.living):
            return
        self._grown = now
        holding = {worker.node for worker in kind.living}
        free = self._ray._private.state.available_resources_per_node()
        for node, resources in free.items():
            if self._only_node not in (None, node):
                continue
            enough = (
                resources.get("CPU", 0) >= kind.resources.num_cpus
                and resources.get("GPU", 0) >= kind.resources.num_gpus
            )
            if enough and node not in holding and len(kind.queue) > kind.filling(0):
                self._start(kind, node)
                return

    def _feed(self, kind: Kind) -> None:
        for worker in kind.fed:
            room = kind.room(worker)
            if not kind.queue or worker.node is None or room < kind.filling(worker.slot):
                continue
            units = [kind.queue.popleft() for _ in range(min(room, len(kind.queue)))]
            worker.hand.update(dict.fromkeys(units))
            questions = dict.fromkeys(question for question, _ in units)
            examples, scored_by = self._session.examples, self._session.scorer.scored_by
            worker.order(
                "feed",
                units=units,
                failed=self._units.to_retry(units),
                examples={question: examples[question] for question in questions},
                scored_by={
                    question: scored_by[question] for question in questions if question in scored_by
                },
            )

    def _say_pending(self) -> None:
        """Say once that workers wait for room in the cluster."""
        living = self.living
        waiting = sum(worker.node is None for worker in living)
        if self._said_pending or not waiting or time.monotonic() - self._began < _NOTICE_S:
            return
        self._said_pending = True
        logger.warning(
            "%d of %d workers wait for room in the Ray cluster: `ray status` says what it lacks.",
            waiting,
            len(living),
        )
