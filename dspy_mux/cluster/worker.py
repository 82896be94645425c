"""A worker of a cluster's collection: a Ray actor that makes the draws it is given.

It outlives its driver, to record the draws that are under way when that is killed, and ends by
itself. What it reports is kept until the driver has it, and orders are numbered, so that a call
that Ray makes twice, or late, does no harm.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from typing import Any

import dspy

from ..bank.carried_errors import error_text
from ..bank.child import Child, Link, forward_logs
from ..bank.claims import Unit
from ..bank.limits import Budget
from ..bank.session import Session, Tallies
from ..bank.units import Failure, Units
from ..local.cores import THREADS_VARIABLE
from ..text import first_line
from .ray_module import ray_module
from .setup import Setup

#: (number, kind, details).
Report = tuple[int, str, dict[str, Any]]

#: Seconds that the driver waits for a report.
POLL_S = 1.0
#: Seconds without a word from the driver until it counts as dead.
SILENCE_S = 20.0
#: Seconds that draws under way then have to end.
ORPHAN_S = 300.0
#: Seconds until a request to end is noticed.
_NOTICE_S = 0.1


class _Post(Link):
    """A worker's reports, which the driver fetches, and its questions to the budget."""

    def __init__(self, number: int, budget: Any):
        self._number, self._budget = number, budget
        self._changed = threading.Condition(threading.RLock())
        self._reports: deque[Report] = deque()
        self._count = 0
        self._stopped = self._lost = False

    def tell(self, kind: str, **details: Any) -> None:
        with self._changed:
            if kind == "tallies" and self._reports and self._reports[-1][1] == kind:
                self._reports.pop()  # the later one says it all
            self._count += 1
            self._reports.append((self._count, kind, details))
            self._changed.notify_all()

    def after(self, seen: int) -> list[Report]:
        """Return the reports after one, waiting for it a moment; forget those before."""
        with self._changed:
            while self._reports and self._reports[0][0] <= seen:
                self._reports.popleft()
            if not self._reports:
                self._changed.wait(POLL_S)
            return list(self._reports)

    def ask(self, question: str, **details: Any) -> dict[str, Any]:
        ray = ray_module()
        try:
            reply: dict[str, Any] = ray.get(
                self._budget.answer.remote(self._number, question, details)
            )
        except ray.exceptions.RayError as error:
            # It has ended, with its driver or alone. Where it is only out of reach for a moment,
            # nobody knows whether it has counted this, and nothing may be counted twice.
            if not self._lost:
                self._lost = True
                self.tell("lost", cause=first_line(error))
            raise EOFError from error
        if reply["stopped"] is not None and not self._stopped:
            self._stopped = True
            self.tell("stopped", limit=reply["stopped"])
        return reply


class _Part(Child):
    """A worker's part of a collection: the units that the driver feeds it, one after the other."""

    def __init__(self, session: Session, units: Units, link: Link):
        super().__init__(session, units, link, waits=True)
        self._fed: deque[Unit] = deque()
        self._arrival = threading.Event()
        self._finishing = False
        self._done: list[Unit] = []
        units.on_done, units.on_elsewhere = self._note_done, self._note_elsewhere

    def obey(self, order: str, **details: Any) -> None:
        if order == "feed":
            self._feed(**details)
        elif order == "finish":
            self.finish()
        else:
            super().obey(order, **details)

    def finish(self, *, waits: bool = True) -> None:
        """End once what was fed is drawn.

        Args:
            waits: whether to wait for what other collections have claimed; where not, what has not
                begun is left too.
        """
        self.waits = waits
        if not waits:
            self._fed.clear()
        self._finishing = True
        self._arrival.set()
        self.interrupt.wake()

    def wanted(self) -> Iterator[Unit | None]:
        gathering = False  # units that are to be claimed together
        while not self.interrupt.asked:
            self._arrival.clear()
            if (unit := self._next()) is not None:
                gathering = True
                yield unit
            elif self._finishing:
                return
            elif gathering or self.session.in_flight:
                gathering = False
                yield None
            else:
                self._arrival.wait(_NOTICE_S)

    def _next(self) -> Unit | None:
        try:
            return self._fed.popleft()
        except IndexError:
            return None

    def _feed(
        self,
        units: Sequence[Unit],
        failed: Iterable[tuple[Failure, float]],
        examples: dict[int, dspy.Example],
        scored_by: dict[int, str],
    ) -> None:
        self._forget()
        for question, example in examples.items():
            self._examples[question] = example
        self.session.scorer.scored_by.update(scored_by)
        self.units.assign(units, failed)
        self._fed.extend(units)
        self._arrival.set()
        self.interrupt.wake()

    def _forget(self) -> None:
        """Forget what was done before the last feed."""
        done, self._done = self._done, []
        self.units.drop(done)
        needed = {question for question, _ in list(self.units.missing)}
        for question in [question for question, _ in done if question not in needed]:
            self._examples.pop(question, None)
            self.session.scorer.scored_by.pop(question, None)

    @property
    def _examples(self) -> dict[int, dspy.Example]:
        examples = self.session.examples
        assert isinstance(examples, dict)
        return examples

    def _note_done(self, units: Sequence[Unit]) -> None:
        if units:
            self._done += units
            self.link.tell("done", units=list(units))

    def _note_elsewhere(self, units: Sequence[Unit]) -> None:
        self.link.tell("elsewhere", units=list(units))


class Worker:
    """The class of the Ray actor.

    Args:
        number: of the worker in its collection.
        budget: the `BudgetKeeper`; None without a limit.
        silence: seconds without a word from the driver until it counts as dead.
    """

    def __init__(self, number: int, budget: Any, silence: float):
        self._post, self._silence = _Post(number, budget), silence
        self._part: _Part | None = None
        self._begun = False
        self._ready = False
        self._obeyed, self._early = 0, dict[int, tuple[str, dict[str, Any]]]()
        self._lock = threading.Lock()
        self._heard = time.monotonic()
        self._over = threading.Event()
        threading.Thread(target=self._watch, name="dspy-mux-driver", daemon=True).start()

    def begin(self, setup: bytes, num_threads: int, up: Sequence[str], cpus: float) -> None:
        """Begin to draw, on a thread.

        Args:
            setup: a pickled `Setup`.
            num_threads: draws in flight at once.
            up: members that are known to be up.
            cpus: cores that an embedded model may use; 0 where there is none.
        """
        with self._lock:
            if self._begun:
                return
            self._begun = True
        arguments = setup, num_threads, up, cpus
        threading.Thread(
            target=self._run, args=arguments, name="dspy-mux-worker", daemon=True
        ).start()

    def obey(self, number: int, order: str, details: dict[str, Any]) -> None:
        """Take an order; orders are obeyed by their numbers, each once.

        Those that come before all is set up are kept: whoever waited here would keep a thread of
        the actor from `reports`.
        """
        with self._lock:
            if number > self._obeyed:
                self._early[number] = (order, details)
            if self._ready:
                self._obey_known()

    def reports(self, seen: int) -> list[Report]:
        """Return the reports after number `seen`, waiting for one a moment."""
        self._heard = time.monotonic()
        return self._post.after(seen)

    def _obey_known(self) -> None:
        while (known := self._early.pop(self._obeyed + 1, None)) is not None:
            self._obeyed += 1
            if self._part is not None:
                try:
                    self._part.obey(known[0], **known[1])
                except Exception as error:  # noqa: BLE001  (the driver raises it)
                    self._part.tell_idle(error)

    def _run(self, setup: bytes, num_threads: int, up: Sequence[str], cpus: float) -> None:
        try:
            ray = ray_module()
            self._post.tell("node", node=ray.get_runtime_context().get_node_id())
            if cpus and not os.environ.get(THREADS_VARIABLE):
                os.environ[THREADS_VARIABLE] = str(max(1, int(cpus)))
            loaded = Setup.loaded(setup)
            session = loaded.session(num_threads)
            if loaded.limited:  # the part asks the keeper instead
                session.limit_by(Budget(None, loaded.max_cost, {}))
            units = Units(session.bank, [], loaded.k, retry_failed=False)
            self._part = _Part(session, units, self._post)
            self._part.obey("up", members=up)
            forward_logs(self._post)
        except BaseException as error:  # noqa: BLE001  (the driver raises it)
            self._post.tell("idle", tallies=asdict(Tallies()), error=error_text(error))
            return
        finally:
            with self._lock:
                self._ready = True
                self._obey_known()
        self._part.run()
        self._over.set()

    def _watch(self) -> None:
        """End the process once its driver has ended, and what is under way is recorded."""
        while time.monotonic() - self._heard < self._silence:
            time.sleep(min(POLL_S, self._silence))
        part = self._part
        if part is not None:
            part.finish(waits=False)
            part.obey("end")
            self._over.wait(ORPHAN_S)
        os._exit(0)
