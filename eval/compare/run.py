"""`python -m eval compare`: every method on the same questions of every task, with the same members.

Methods that are functions of independent draws share one bank: each draw is made once, and a rule decides. Discussion methods run
live. Nothing is answered from DSPy's cache, so that calls, tokens and seconds are what a method really takes; what is drawn or
answered once is in the run folder, and a re-run goes on from there.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import platform
import time
from collections.abc import Callable, Container, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import dspy
from rich.console import Console

from dspy_mux import ConfigurationError, Member, SampleBank, SLMMux, __version__
from dspy_mux.adapters.formats import adapter_name
from dspy_mux.bank.collect import collect, recorded
from dspy_mux.bank.fingerprint import fingerprint_inputs, fingerprint_member, jsonable
from dspy_mux.mux.code_hash import hash_callable
from dspy_mux.text import visible
from programs.tasks import Task

from ..runs.folder import VERSION, Run, errors_in
from ..runs.schema import VALIDATION
from .draw import grouped_by
from .live import discussion, run_live
from .methods import MOST_ACCURATE, Method, Options, chosen, registry
from .offline import Draws, Measured, decide, decider

#: What a row holds where the method gave no answer, or did not discuss.
_BLANK: dict[str, Any] = {
    "score": 0.0,
    "answer": None,
    "member": None,
    "confidence": None,
    "tie_break": None,
    "cause": None,
    "ballots": [],
    "turns": [],
}


def run(
    tasks: Sequence[Task],
    members_of: Callable[[str], Sequence[Member]],
    options: Options,
    *,
    out: Path,
    bank: str | Path | None = None,
    command: str = "",
    console: Console | None = None,
) -> Run:
    """Compare methods; the finished run.

    Args:
        tasks: each is reported on its own.
        members_of: task name → its members, the same ones for every task; they may differ in how long their replies may be.
        out: the run folder; one that is there goes on where it stopped.
        bank: where draws are kept; None for the run's own.
        command: what the manifest says made it.
        console: where progress is shown; None for no progress.

    Raises:
        ConfigurationError: options, tasks or members that do not fit one another, or the folder's run.
        MetricFailed, BankError, MuxError: as `collect` raises them; what was drawn and answered is kept.
    """
    if options.split == VALIDATION:
        raise ConfigurationError(
            "The validation split measures the members and fits the rules: report another one."
        )
    console = console or Console(quiet=True)
    comparisons = [_Task(task, members_of(task.name), options) for task in tasks]
    if len({task.task.name for task in comparisons}) < len(comparisons) or not comparisons:
        raise ConfigurationError("Name each task once, and at least one.")
    methods, notes = chosen(comparisons[0].names, options)
    for task in comparisons:
        task.check(methods)
        notes += task.notes
    manifest = {
        "version": VERSION,
        "command": command,
        "created": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "versions": _versions(),
        "seed": options.seed,
        "split": options.split,
        "limit": options.limit,
        "validation_limit": options.validation_limit,
        "k": options.k,
        "temperature": options.temperature,
        "pool": [_told_member(member) for member in comparisons[0].mux.members],
        "tasks": [task.manifest() for task in comparisons],
        "methods": [method.as_dict() for method in methods],
        "num_threads": options.num_threads,
        "notes": notes,
    }
    with Run.start(out, manifest) as run:
        shared = SampleBank(bank if bank is not None else run.bank)
        try:
            for task in comparisons:
                task.compare(methods, run, shared, console)
        finally:
            shared.close()
    return run


class _Task:
    """One task under comparison."""

    def __init__(self, task: Task, members: Sequence[Member], options: Options):
        self.task, self.options = task, options
        # A comparison measures what methods take: no call may be answered from another's cache entry.
        self.members = [
            dataclasses.replace(member, lm=member.lm.copy(cache=False), k=None)
            for member in members
        ]
        self.mux = SLMMux(
            task.program(),
            self.members,
            k=options.k,
            temperature=options.temperature,
            equivalence=task.equivalence,
            timeout=options.timeout,
        )
        self.names = [member.label for member in self.mux.members]
        self.notes: list[str] = []
        self.reported = self._examples(options.split, options.limit)
        self.validation = self._examples(VALIDATION, options.validation_limit)
        inputs = {_fingerprint(example) for example in self.reported}
        apart = [example for example in self.validation if _fingerprint(example) not in inputs]
        if shared := len(self.validation) - len(apart):
            self.notes.append(
                f"{task.name}: {shared} validation questions are also reported, and measure nothing."
            )
        self.validation = apart
        if not self.reported or not self.validation:
            raise ConfigurationError(
                f"The task {task.name!r} has no questions left to report, or none to measure its members on."
            )
        fields = self.reported[0].inputs().toDict()
        #: The sub-task that the calibrated rule may weigh by: only one that a mux is told too.
        self.weighs_by = task.context if task.context in fields else None

    def check(self, methods: Sequence[Method]) -> None:
        """Raises ConfigurationError for choices that no discussion could be run with, before anything is drawn."""
        for method in methods:
            if method.discussion:
                discussion(method, self.task, self.members, {}, self.options)

    def manifest(self) -> dict[str, Any]:
        asked = [
            [_fingerprint(example), _labels(example)]
            for example in (*self.reported, *self.validation)
        ]
        return {
            "name": self.task.name,
            "questions": len(self.reported),
            "validation_questions": len(self.validation),
            "context": self.task.context,
            "fingerprint": _hash(asked),
            "max_tokens": {
                member.label: member.lm.kwargs.get("max_tokens") for member in self.mux.members
            },
            "accuracies": {},
            "choices": {},
            "settings": {},
        }

    def compare(
        self, methods: Sequence[Method], run: Run, bank: SampleBank, console: Console
    ) -> None:
        """Draw what the bank lacks, and answer every question under every method that has not answered it yet."""
        name, k = self.task.name, self.options.k
        self._collect(self.mux, self.validation, bank, console, VALIDATION, k)
        self._collect(self.mux, self.reported, bank, console, self.options.split, k)
        measured = Measured.of(recorded(self.mux, self.validation, bank, dataset=name, k=k))
        told = run.task(name)
        # Deciding is free: what the run decided before is decided on the same draws as what is asked for now.
        named = {method.id for method in methods}
        before = [
            each
            for each in registry(self.names, self.options)
            if each.id in told["settings"] and each.id not in named
        ]
        methods = [*methods, *(method for method in before if not method.discussion)]
        deciders = {
            method.id: decider(method, measured, k, self.weighs_by)
            for method in methods
            if not method.discussion
        }
        if (equal := deciders.get("self_consistency_equal")) is not None:
            self._collect(
                self.mux.subset(equal.members),
                self.reported,
                bank,
                console,
                self.options.split,
                equal.k,
            )
        draws = Draws(bank, name, self.mux)
        metric = hash_callable(self.task.metric)
        made_by = [fingerprint_member(self.mux, at)[0] for at in range(len(self.names))]
        told["accuracies"] = measured.accuracies
        for method in methods:
            # What is decided from draws is decided again for another metric, for nothing.
            shaped_by = (
                {**deciders[method.id].settings, "metric": metric} if method.id in deciders else {}
            )
            settings = [
                method.settings,
                shaped_by,
                self.names,
                made_by,
                _asks_for(method, measured),
            ]
            told["settings"][method.id] = _hash(settings)
            if method.id in deciders and deciders[method.id].choice:
                told["choices"][method.id] = deciders[method.id].choice
        notes = []
        if told.setdefault("metric", metric) != metric:
            notes.append(
                f"{name}: the metric was changed in between; what was discussed before is scored by the one it had then."
            )
        if unmeasured := draws.unmeasured():
            notes.append(
                f"{name}: {unmeasured} draws tell no tokens, as they came from DSPy's cache or a server that reports none."
            )
        run.manifest["notes"] = list(dict.fromkeys([*run.manifest["notes"], *notes]))
        run.save()
        done = run.done()
        for method in methods:
            settings = told["settings"][method.id]
            errors = {
                _id(each): done.get((name, method.id, settings, _id(each)))
                for each in self.reported
            }
            if method.id in deciders:
                for example in self.reported:
                    if errors[_id(example)] == []:
                        continue
                    row = decide(deciders[method.id], draws, example, measured.accuracies)
                    row = self._row(method, settings, example, row)
                    if errors_in(row) != errors[_id(example)]:
                        run.append(row)
                continue
            again = {
                question for question, met in errors.items() if met and self.options.retry_failed
            }
            if left := [
                each for each in self.reported if errors[_id(each)] is None or _id(each) in again
            ]:
                self._discuss(method, settings, left, again, measured, run, console)

    def _discuss(
        self,
        method: Method,
        settings: str,
        left: Sequence[dspy.Example],
        again: Container[str],
        measured: Measured,
        run: Run,
        console: Console,
    ) -> None:
        accuracies = {name: value for name, value in measured.accuracies.items() if 0 <= value <= 1}
        module, in_flight = discussion(method, self.task, self.members, accuracies, self.options)
        run_live(
            module,
            left,
            self.task.metric,
            lambda example, row: run.append(self._row(method, settings, example, row)),
            what=f"{self.task.name}: {method.title}",
            console=console,
            at_once=max(1, self.options.num_threads // in_flight),
            again=again,
        )

    def _row(
        self, method: Method, settings: str, example: dspy.Example, answered: dict[str, Any]
    ) -> dict[str, Any]:
        return {
            "task": self.task.name,
            "method": method.id,
            "settings": settings,
            "question_id": _id(example),
            "inputs": jsonable(example.inputs().toDict()),
            "gold": jsonable(example.get("answer")),
            "context": None
            if self.task.context is None
            else jsonable(example.get(self.task.context)),
            **_BLANK,
            **answered,
        }

    def _collect(
        self,
        mux: SLMMux,
        examples: Sequence[dspy.Example],
        bank: SampleBank,
        console: Console,
        split: str,
        k: int,
    ) -> None:
        told = f"{self.task.name}, {split}: {len(examples)} questions × {len(mux.members)} members × {k} draws"
        console.print(visible(told), style="dim", markup=False, highlight=False)
        done = collect(
            mux,
            examples,
            self.task.metric,
            bank,
            dataset=self.task.name,
            k=k,
            fields={"split": split},
            num_threads=self.options.num_threads,
            retry_failed=self.options.retry_failed,
            console=None if console.quiet else console,
        )
        if done.missing:
            raise ConfigurationError(
                f"Another process is making {done.missing} of the draws: compare again when it is done."
            )

    def _examples(self, split: str, limit: int | None) -> list[dspy.Example]:
        """The first questions of a split, sub-task by sub-task; of several with the same inputs, the first."""
        found = self.task.examples(split, seed=self.options.seed, limit=limit)
        distinct = list({_fingerprint(example): example for example in reversed(found)}.values())[
            ::-1
        ]
        if len(distinct) < len(found):
            self.notes.append(
                f"{self.task.name}, {split}: {len(found) - len(distinct)} questions have the inputs of others and are asked once."
            )
        if len({_id(example) for example in distinct}) < len(distinct):
            raise ConfigurationError(
                f"The task {self.task.name!r} has two questions of one question_id: give each its own."
            )
        return grouped_by(distinct, self.task.context)


def _id(example: dspy.Example) -> str:
    return str(example.question_id)


def _asks_for(method: Method, measured: Measured) -> Any:
    """What a method asks validation for. No discussion is held again for accuracies that do not shape it."""
    if not method.discussion:
        return measured.accuracies
    return measured.best if MOST_ACCURATE in method.settings.values() else None


def _fingerprint(example: dspy.Example) -> str:
    return fingerprint_inputs(example.inputs().toDict())


def _labels(example: dspy.Example) -> dict[str, Any]:
    """What an example holds beside its inputs: its id, and all that its answers are scored by."""
    return {
        name: value
        for name, value in example.labels().toDict().items()
        if not name.startswith("dspy_")
    }  # DSPy's own


def _told_member(member: Member) -> dict[str, Any]:
    return {
        "name": member.label,
        "model": member.lm.model,
        "adapter": adapter_name(member.adapter) if member.adapter is not None else None,
        "temperature": member.temperature,
        "max_tokens": member.lm.kwargs.get("max_tokens"),
    }


def _versions() -> dict[str, str]:
    return {
        "dspy_mux": __version__,
        "dspy": version("dspy"),
        "python": platform.python_version(),
        "platform": platform.platform(),
    }


def _hash(value: Any) -> str:
    told = json.dumps(jsonable(value), sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(told.encode()).hexdigest()[:16]
