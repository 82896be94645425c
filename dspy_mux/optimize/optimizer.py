"""MuxOptimizer: a DSPy optimizer that decides members, draws and rule of a mux from recorded draws, by an Optuna study."""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dspy
import numpy as np
from dspy.teleprompt import Teleprompter
from rich.console import Console

from ..bank.collect import Collected, Metric, collect, recorded
from ..bank.fingerprint import fingerprint_inputs
from ..bank.record import Record, _joined
from ..bank.sample_bank import SampleBank
from ..errors import ConfigurationError
from ..mux.slm_mux import SLMMux
from ..replay.splits import Split
from ..voting import calibrated
from ..voting.ballot import Rule
from ..voting.early_stopping import fit_budgeted
from ..voting.rules import rule_of
from ..voting.tally import Tally
from .report import MuxReport
from .tune import STUDY_NAME, Setting, Tuned, tune

if TYPE_CHECKING:
    import optuna

logger = logging.getLogger(__name__)

_SPLIT = "mux_split"


class MuxOptimizer(Teleprompter):
    """Choose a mux's members, draws and rule on labelled examples.

        best = MuxOptimizer(metric=metric, bank=SampleBank("runs/task.sqlite")).compile(mux, trainset=train, valset=val)
        best.report; best.save("mux.json")

    Every member is drawn from `k_max` times on every example, once; all else is decided from the record. The compiled mux is a copy
    with the chosen members, their k, their accuracies on the training split, the rule, fitted there too, and a `report`.

    Args:
        metric: `(example, prediction, trace=None)` → bool or number.
        bank: where draws are kept, and found again (a `SampleBank`, or its path or URL); None for one that is
            dropped afterwards (DSPy's own cache still has them).
        max_members, min_members: sizes to try.
        k_max: draws per member, at most; None for the mux's own largest k.
        n_trials, seed, sampler, storage, study_name, study, n_jobs, timeout, callbacks: the Optuna study's.
        rules: which to try beside the paper's.
        context: an input of the examples, such as a category, by which the calibrated rule may weigh; the mux is asked with it too.
        threshold: the score from which an answer counts as correct, by which members are chosen and rules fitted; a graded metric
            needs one that good answers reach.
        bound: let the compiled mux spare draws (`schedule="frugal"`): those that cannot change the answer and, where the rule is
            the calibrated one, those that change it with a chance below this bound (`budget.py`); None for all draws.
        minimize, budget: a second objective ("calls_per_question" or "cost_per_question"), and the most that may be spent of it.
        num_threads, max_calls, max_cost, retry_failed: of the drawing, as for `collect`.
        progress: show the drawing's progress on stderr.
    """

    def __init__(
        self,
        metric: Metric,
        *,
        bank: SampleBank | str | os.PathLike[str] | None = None,
        max_members: int = 3,
        min_members: int = 1,
        k_max: int | None = None,
        n_trials: int = 100,
        rules: Sequence[str] = ("consistency", "pooled", "calibrated"),
        context: str | None = None,
        threshold: float = 1.0,
        bound: float | None = None,
        seed: int = 0,
        sampler: optuna.samplers.BaseSampler | None = None,
        storage: Any = None,
        study_name: str = STUDY_NAME,
        study: optuna.Study | None = None,
        n_jobs: int = 1,
        timeout: float | None = None,
        callbacks: Sequence[Callable[..., None]] = (),
        minimize: str | None = None,
        budget: float | None = None,
        num_threads: int = 16,
        max_calls: int | None = None,
        max_cost: float | None = None,
        retry_failed: bool = False,
        progress: bool = False,
    ):
        super().__init__()
        self.metric, self.k_max, self.context, self.threshold = metric, k_max, context, threshold
        self.bank = bank if bank is None or isinstance(bank, SampleBank) else SampleBank(bank)
        self.max_members, self.progress, self.bound = max_members, progress, bound
        if bound is not None and not 0 <= bound <= 1:
            raise ConfigurationError(
                f"bound must be a chance between 0 and 1, or None, not {bound!r}."
            )
        self._drawing: dict[str, Any] = {
            "num_threads": num_threads,
            "max_calls": max_calls,
            "max_cost": max_cost,
            "retry_failed": retry_failed,
        }
        self._study: dict[str, Any] = {
            "max_members": max_members,
            "min_members": min_members,
            "n_trials": n_trials,
            "rules": rules,
            "context": context,
            "threshold": threshold,
            "seed": seed,
            "sampler": sampler,
            "storage": storage,
            "study_name": study_name,
            "study": study,
            "n_jobs": n_jobs,
            "timeout": timeout,
            "callbacks": callbacks,
            "minimize": minimize,
            "budget": budget,
        }

    def compile(
        self,
        student: SLMMux,
        *,
        trainset: list[dspy.Example],
        teacher: dspy.Module | None = None,
        valset: list[dspy.Example] | None = None,
    ) -> SLMMux:
        """A copy of `student`, decided; `student` stays as it was.

        Args:
            trainset: measures members, fits the rule and searches the subset.
            valset: scores the trials; without one they are cross-fitted on `trainset`.
            teacher: has no meaning here.

        Raises:
            ConfigurationError: the student is no SLMMux, there is a teacher, the context is no input, or the settings leave nothing
                to choose, as a threshold does that no draw reaches.
            MetricFailed: the metric raised; what was drawn is kept.
        """
        if not isinstance(student, SLMMux) or student.method != SLMMux.method:
            raise ConfigurationError(
                f"MuxOptimizer compiles an SLMMux, not {type(student).__name__}."
            )
        if teacher is not None:
            raise ConfigurationError(
                "MuxOptimizer learns from the members' own draws: leave the teacher out."
            )
        if not trainset:
            raise ConfigurationError("The trainset is empty.")
        if self.bank is not None:
            return self._compiled(student, trainset, valset, self.bank)
        with tempfile.TemporaryDirectory() as folder:
            bank = SampleBank(Path(folder) / "bank.sqlite")
            try:
                return self._compiled(student, trainset, valset, bank)
            finally:
                bank.close()

    def _compiled(
        self,
        student: SLMMux,
        trainset: list[dspy.Example],
        valset: list[dspy.Example] | None,
        bank: SampleBank,
    ) -> SLMMux:
        self._check_context([*trainset, *(valset or [])])
        k = self.k_max or max(member.k or 1 for member in student.members)
        inputs = {fingerprint_inputs(example.inputs().toDict()) for example in trainset}
        if shared := sum(
            fingerprint_inputs(example.inputs().toDict()) in inputs for example in valset or []
        ):
            raise ConfigurationError(
                f"{shared} examples are in both trainset and valset, which would flatter what is chosen: part them."
            )
        console = Console(stderr=True) if self.progress else None
        collected, records = [], []
        for name, examples in (("train", trainset), ("validation", valset or [])):
            if not examples:
                continue
            done = collect(
                student,
                examples,
                self.metric,
                bank,
                dataset=_SPLIT,
                k=k,
                console=console,
                **self._drawing,
            )
            if done.missing:
                why = (
                    "another process is at work on them"
                    if done.stopped is None
                    else f"{done.stopped} was reached"
                )
                raise ConfigurationError(
                    f"{done.missing} draws of the {name} split are missing, as {why}: compile again when that is changed, what is "
                    "drawn is kept."
                )
            if done.errors is not None:
                logger.warning("%s split: %s", name, done.errors)
            collected.append(done)
            records.append(recorded(student, examples, bank, dataset=_SPLIT, k=k))
        record = records[0] if len(records) == 1 else _joined(records)
        count = len(records[0].questions)
        splits = (
            None
            if len(records) == 1
            else [Split(np.arange(count), np.arange(count, len(record.questions)))]
        )
        tuned = tune(record, splits=splits, **self._study)
        return self._built(student, records[0], tuned, collected)

    def _check_context(self, examples: Sequence[dspy.Example]) -> None:
        """A rule fitted by what the mux is never told would only seem to weigh by it."""
        told = next(
            (list(inputs) for e in examples if self.context not in (inputs := e.inputs().toDict())),
            None,
        )
        if self.context is not None and told is not None:
            raise ConfigurationError(
                f"context={self.context!r} is no input of every example (one has {', '.join(told) or 'none'}), and a mux is told "
                "inputs alone: name one of them, or make it one with with_inputs."
            )

    def _built(
        self, student: SLMMux, train: Record, tuned: Tuned, collected: list[Collected]
    ) -> SLMMux:
        best = tuned.best
        part = train.of(best.members, None)[0].first(best.k)
        plain = student.deepcopy()
        plain.pool.rule = rule_of(
            "consistency"
        )  # the student's own may be fitted for other members
        mux = plain.subset(best.members)
        mux.pool.members = [replace(member, k=best.k) for member in mux.members]
        tally = Tally(part.votes)
        measured = tally.plurality_scores(part.scores).mean(axis=0)
        mux.pool.accuracies = {
            name: float(value)
            for name, value in zip(best.members, measured, strict=True)
            if 0 <= value <= 1
        }
        mux.pool.rule = self._rule(best, part, tally)
        if self.bound is not None:
            mux.pool.settings.schedule = "frugal"
        mux.report = MuxReport(tuned, dict(mux.pool.accuracies), collected, self.bound)
        return mux

    def _rule(self, best: Setting, part: Record, tally: Tally) -> Rule:
        if best.rule != "calibrated":
            return rule_of(best.rule)
        settings: dict[str, Any] = {
            "members": part.members,
            "contexts": None if self.context is None else part.field(self.context),
            "context": self.context,
            "threshold": self.threshold,
        }
        if not self.bound:
            return calibrated.fit(tally, part.scores, **settings)
        return fit_budgeted(tally, part.scores, bound=self.bound, **settings)
