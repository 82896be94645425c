"""Run the trials that a study lacks, in threads and processes that share it.

They take turns at beginning a trial, so that together they begin as many as were asked for.
"""

from __future__ import annotations

import math
import os
import threading
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from ..sampling.interrupt import Interrupt
from .options import StudyOptions
from .storage import StudyLock

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial, Trial

#: Seconds after which a trial that another process began counts as abandoned, at least.
ABANDONED_S = 10.0
#: Or this many times the longest trial here: it takes about as long elsewhere.
_TIMES_LONGEST = 3.0
_PAUSE_S = 0.05

Value = float | tuple[float, float]


class Turns:
    """The trials that a study lacks.

    Args:
        counts: whether a complete trial is one of those asked for.
        options: how many the study shall have, and for how long to begin trials.
        interrupt: once asked for, no further trial begins.
    """

    def __init__(
        self,
        study: optuna.Study,
        lock: StudyLock,
        counts: Callable[[FrozenTrial], bool],
        options: StudyOptions,
        interrupt: Interrupt,
    ):
        self._study, self._lock, self._counts, self._options = study, lock, counts, options
        self._wanted, seconds = options.n_trials, options.timeout
        self._deadline = math.inf if seconds is None else time.monotonic() + seconds
        self._interrupt = interrupt
        self._longest = 0.0
        self._error: BaseException | None = None

    def missing(self) -> int:
        """Return how many trials are neither complete nor under way."""
        finished, running = self._trials()
        return self._wanted - finished - len(running)

    def run(self, objective: Callable[[Trial], Value]) -> None:
        """Run trials until the study has those it lacks."""
        jobs = self._options.n_jobs
        if jobs == 1:
            self._work(objective)
            return

        def work() -> None:
            self._study.sampler.reseed_rng()
            try:
                self._work(objective)
            except BaseException as error:  # noqa: BLE001  (raised below)
                self._error = self._error or error

        threads = [
            threading.Thread(target=work, name="dspy-mux-trial", daemon=True)
            for _ in range(jobs if jobs > 0 else os.cpu_count() or 1)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if self._error is not None:
            raise self._error

    def _work(self, objective: Callable[[Trial], Value]) -> None:
        from optuna.exceptions import TrialPruned, UpdateFinishedTrialError

        def run(trial: Trial) -> Value:
            self._lock.release()  # the trial has begun, and shows in the storage
            began = time.monotonic()
            try:
                return objective(trial)
            except KeyboardInterrupt as error:
                if self._interrupt.insisted:
                    raise TrialPruned from error  # Optuna would log it at length
                raise
            finally:
                self._longest = max(self._longest, time.monotonic() - began)

        def go_on(study: optuna.Study, trial: FrozenTrial) -> None:
            if not self._take():
                study.stop()

        while self._take():
            left = self._deadline - time.monotonic()
            try:
                self._study.optimize(
                    run,
                    timeout=None if left == math.inf else max(0.0, left),
                    callbacks=[*self._options.callbacks, go_on],
                )
                return
            except UpdateFinishedTrialError:
                continue  # another process took the trial for abandoned
            finally:
                self._lock.release()

    def _take(self) -> bool:
        """Wait for the turn to begin a trial, and keep the lock; return False if none is needed."""
        seen: dict[int, float] = {}
        while not self._ended():
            self._lock.acquire()
            finished, running = self._trials()
            if finished + len(running) < self._wanted:
                return True
            if finished < self._wanted:
                self._abandon(running, seen)
            self._lock.release()
            if finished >= self._wanted:
                return False
            time.sleep(_PAUSE_S)
        return False

    def _ended(self) -> bool:
        return (
            self._interrupt.asked or self._error is not None or time.monotonic() >= self._deadline
        )

    def _trials(self) -> tuple[int, list[FrozenTrial]]:
        """Return how many trials asked for are complete, and those under way."""
        trials = self._study.get_trials(deepcopy=False)
        return (
            sum(trial.state.name == "COMPLETE" and self._counts(trial) for trial in trials),
            [trial for trial in trials if trial.state.name == "RUNNING"],
        )

    def _abandon(self, running: Sequence[FrozenTrial], seen: dict[int, float]) -> None:
        """Fail trials that have been under way for too long, as those of a killed process are."""
        from optuna.exceptions import UpdateFinishedTrialError
        from optuna.trial import TrialState

        now = time.monotonic()
        patience = max(ABANDONED_S, _TIMES_LONGEST * self._longest)
        for trial in running:
            if now - seen.setdefault(trial.number, now) > patience:
                try:
                    self._study.tell(trial.number, state=TrialState.FAIL)
                except (UpdateFinishedTrialError, ValueError):
                    continue  # it has finished after all
