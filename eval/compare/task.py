"""One task under comparison: collect its draws, decide or discuss each method, write the rows."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Container, Mapping, Sequence
from typing import Any

import dspy
from rich.console import Console

from dspy_mux import ConfigurationError, Member, MuxError, SampleBank, SLMMux
from dspy_mux.bank.collect import collect
from dspy_mux.bank.fingerprint import (
    content_of_labels,
    fingerprint_inputs,
    fingerprint_member,
    jsonable,
)
from dspy_mux.bank.questions import questions_of
from dspy_mux.bank.score import recorded
from dspy_mux.mux.code_hash import hash_callable
from dspy_mux.text import visible
from programs.tasks import Task

from ..runs.folder import Run, errors_in
from ..runs.schema import VALIDATION
from .draw import grouped_by
from .escalated import Escalating, Large, check_apart
from .live import Discussion, run_live
from .methods import MOST_ACCURATE, Method, Options, registry
from .offline import Banked, Deciding, Draws, Measured, decider

#: A row's fields if the method gave no answer, or did not discuss.
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


class TaskComparison:
    """One task under comparison.

    Attributes:
        mux: the members, over the task's program.
        names: the members' names.
        notes: sentences on questions that were left out.
        reported, validation: the questions that are reported, and those that measure members.
        context: the input that the calibrated rule may weigh by; None unless it is an input, which
            a mux has too.
        large: the large model, asked once and greedily; None without one.
    """

    def __init__(
        self,
        task: Task,
        members: Sequence[Member],
        options: Options,
        large: Member | None = None,
    ):
        self.task, self.options = task, options
        self.members = [_uncached(member) for member in members]
        self.mux = self._mux(
            self.members, k=options.k, temperature=options.temperature, logprobs=True
        )
        self.names = [member.label for member in self.mux.members]
        self.large: SLMMux | None = None
        if large is not None:
            check_apart(large.label, self.names)
            self.large = self._mux([_uncached(large)], k=1, temperature=0.0)
        self.notes: list[str] = []
        self.reported = self._examples(options.split, options.limit)
        self.validation = self._unreported(self._examples(VALIDATION, options.validation_limit))
        if not self.reported or not self.validation:
            raise ConfigurationError(
                f"The task {task.name!r} has no questions left to report, or none to measure its "
                "members on."
            )
        inputs = self.reported[0].inputs().toDict()
        self.context = task.context if task.context in inputs else None

    def _mux(self, members: Sequence[Member], **drawing: Any) -> SLMMux:
        return SLMMux(
            self.task.program(),
            list(members),
            equivalence=self.task.equivalence,
            timeout=self.options.timeout,
            **drawing,
        )

    def check(self, methods: Sequence[Method]) -> None:
        """Raise ConfigurationError for a discussion that cannot run, before anything is drawn."""
        for method in methods:
            if method.discussion:
                self._discussion(method, {})

    def manifest(self) -> dict[str, Any]:
        """Return the task's entry in the manifest, before anything is measured."""
        questions = [
            [_fingerprint(example), content_of_labels(example)]
            for example in (*self.reported, *self.validation)
        ]
        return {
            "name": self.task.name,
            "questions": len(self.reported),
            "validation_questions": len(self.validation),
            "context": self.task.context,
            "fingerprint": _hash(questions),
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
        """Draw what the bank lacks, and answer every question that a method has not answered."""
        name, k = self.task.name, self.options.k
        self._collect(self.mux, self.validation, VALIDATION, k, bank, console)
        self._collect(self.mux, self.reported, self.options.split, k, bank, console)
        measured = Measured.of(
            recorded(self.mux, self.validation, self.task.metric, bank, dataset=name, k=k)
        )
        methods = [*methods, *self._decided_before(methods, run)]
        if not measured.has_probabilities:
            methods = [method for method in methods if not method.needs_probabilities]
        banked = {
            method.id: decider(method, measured, k, self.context)
            for method in methods
            if not method.discussion and not method.asks_large
        }
        if (equal := banked.get("self_consistency_equal")) is not None:
            mux = self.mux.subset(equal.members)
            self._collect(mux, self.reported, self.options.split, equal.k, bank, console)
        asking = [method for method in methods if method.asks_large]
        if asking and self.large is not None:
            self._collect(self.large, self.reported, self.options.split, 1, bank, console)
        draws = Draws(bank, name, self.mux)
        deciders: dict[str, Deciding] = {
            own: Banked(decider, draws, measured.accuracies) for own, decider in banked.items()
        }
        deciders |= self._asking_large(asking, measured, draws, bank)
        self._declare(methods, deciders, measured, draws, run)
        done = run.done()
        for method in methods:
            settings = run.task(name)["settings"][method.id]
            errors = {
                _id(example): done.get((name, method.id, settings, _id(example)))
                for example in self.reported
            }
            if method.id in deciders:
                self._decide(deciders[method.id], errors, run)
            else:
                self._discuss(method, measured, errors, run, console)

    def _asking_large(
        self, methods: Sequence[Method], measured: Measured, draws: Draws, bank: SampleBank
    ) -> dict[str, Deciding]:
        """Return the methods that ask the large model, by id."""
        if self.large is None:
            return {}
        large = Large.of(self.large, Draws(bank, self.task.name, self.large))
        return {
            method.id: Escalating.of(method, measured, self.validation, draws, large, self.context)
            if method.escalates
            else large.alone(method)
            for method in methods
        }

    def _decided_before(self, methods: Sequence[Method], run: Run) -> list[Method]:
        """Return the banked methods of earlier calls.

        Deciding costs no call, so they are decided again on the same draws as the methods that are
        compared now.
        """
        named = {method.id for method in methods}
        settings = run.task(self.task.name)["settings"]
        return [
            method
            for method in registry(self.names, self.options)
            if method.id in settings and method.id not in named and not method.discussion
        ]

    def _declare(
        self,
        methods: Sequence[Method],
        deciders: Mapping[str, Deciding],
        measured: Measured,
        draws: Draws,
        run: Run,
    ) -> None:
        """Write into the manifest what each method's rows depend on."""
        name, entry = self.task.name, run.task(self.task.name)
        metric = hash_callable(self.task.metric)
        made_by = [fingerprint_member(self.mux, at)[0] for at in range(len(self.names))]
        entry["accuracies"] = measured.accuracies
        for method in methods:
            decider = deciders.get(method.id)
            # Banked methods are decided again under another metric, because it costs no call.
            decided = {} if decider is None else {**decider.settings, "metric": metric}
            entry["settings"][method.id] = _hash(
                [
                    method.settings,
                    decided,
                    self.names,
                    made_by,
                    _measured_for(method, measured),
                ]
            )
            if decider is not None and decider.choice:
                entry["choices"][method.id] = decider.choice
        notes = [
            f"{name}: {decider.note}" for decider in deciders.values() if decider.note is not None
        ]
        if entry.setdefault("metric", metric) != metric:
            notes.append(
                f"{name}: the metric has changed; earlier discussions keep the scores of the old "
                "one."
            )
        if unmeasured := draws.unmeasured():
            notes.append(
                f"{name}: {unmeasured} draws have no token counts, because they came from DSPy's "
                "cache or a server that reports none."
            )
        run.manifest["notes"] = list(dict.fromkeys([*run.manifest["notes"], *notes]))
        run.save()

    def _decide(
        self,
        decider: Deciding,
        errors: Mapping[str, list[str] | None],
        run: Run,
    ) -> None:
        """Decide the questions that have no row yet, or one with errors that draws have replaced.

        Args:
            errors: question id → the errors in its row; None without a row.
        """
        for example in self.reported:
            known = errors[_id(example)]
            if known == []:
                continue
            row = self._row(decider.method, example, decider.answer(example), run)
            if errors_in(row) != known:
                run.append(row)

    def _discuss(
        self,
        method: Method,
        measured: Measured,
        errors: Mapping[str, list[str] | None],
        run: Run,
        console: Console,
    ) -> None:
        """Hold the discussions that have no row yet, or had errors and are to be retried."""
        again = {question for question, met in errors.items() if met and self.options.retry_failed}
        left = [
            example
            for example in self.reported
            if errors[_id(example)] is None or _id(example) in again
        ]
        if not left:
            return
        accuracies = {name: value for name, value in measured.accuracies.items() if 0 <= value <= 1}
        run_live(
            self._discussion(method, accuracies),
            left,
            self.task.metric,
            lambda example, answered: run.append(self._row(method, example, answered, run)),
            title=f"{self.task.name}: {method.title}",
            console=console,
            num_threads=self.options.num_threads,
            again=again,
        )

    def _discussion(self, method: Method, accuracies: Mapping[str, float]) -> Discussion:
        return Discussion.of(method, self.task, self.members, accuracies, self.options)

    def _row(
        self, method: Method, example: dspy.Example, answered: Mapping[str, Any], run: Run
    ) -> dict[str, Any]:
        context = None if self.task.context is None else example.get(self.task.context)
        return {
            "task": self.task.name,
            "method": method.id,
            "settings": run.task(self.task.name)["settings"][method.id],
            "question_id": _id(example),
            "inputs": jsonable(example.inputs().toDict()),
            "gold": jsonable(example.get("answer")),
            "context": None if context is None else jsonable(context),
            **_BLANK,
            **answered,
        }

    def _collect(
        self,
        mux: SLMMux,
        examples: Sequence[dspy.Example],
        split: str,
        k: int,
        bank: SampleBank,
        console: Console,
    ) -> None:
        title = (
            f"{self.task.name}, {split}: {len(examples)} questions × "
            f"{len(mux.members)} members × {k} draws"
        )
        console.print(visible(title), style="dim", markup=False, highlight=False)
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
            cluster=self.options.cluster,
            console=None if console.quiet else console,
        )
        if done.given_up:
            one = done.given_up[0]
            raise MuxError(
                f"The server of {one.member!r} is down ({one.cause}): compare again with "
                "--retry-failed when it is up."
            )
        if done.missing:
            raise ConfigurationError(
                f"Another process is making {done.missing} of the draws: compare again when it is "
                "done."
            )

    def _examples(self, split: str, limit: int | None) -> list[dspy.Example]:
        """Return the first questions of a split, grouped by sub-task, each input once."""
        found = self.task.examples(split, seed=self.options.seed, limit=limit)
        asked = questions_of(found, within=f"the task {self.task.name!r}")
        by_input = {
            question.key: example
            for question, example in zip(reversed(asked), reversed(found), strict=True)
        }
        distinct = list(by_input.values())[::-1]
        if repeated := len(found) - len(distinct):
            self.notes.append(
                f"{self.task.name}, {split}: {repeated} questions have the inputs of others and "
                "are asked once."
            )
        if len({_id(example) for example in distinct}) < len(distinct):
            raise ConfigurationError(
                f"The task {self.task.name!r} has two questions of one question_id: give each its "
                "own."
            )
        return grouped_by(distinct, self.task.context)

    def _unreported(self, validation: list[dspy.Example]) -> list[dspy.Example]:
        """Return the validation questions whose inputs are not reported too."""
        reported: Container[str] = {_fingerprint(example) for example in self.reported}
        apart = [example for example in validation if _fingerprint(example) not in reported]
        if shared := len(validation) - len(apart):
            self.notes.append(
                f"{self.task.name}: {shared} validation questions are also reported, and measure "
                "nothing."
            )
        return apart


def _uncached(member: Member) -> Member:
    """Return a member that no cache answers for: a comparison measures what methods really take."""
    return dataclasses.replace(member, lm=member.lm.copy(cache=False), k=None)


def _id(example: dspy.Example) -> str:
    return str(example.question_id)


def _measured_for(method: Method, measured: Measured) -> object:
    """Return the part of validation's accuracies that shapes the method.

    A discussion is held again only if this part changes.
    """
    if not method.discussion:
        return measured.accuracies
    return measured.best if MOST_ACCURATE in method.settings.values() else None


def _fingerprint(example: dspy.Example) -> str:
    return fingerprint_inputs(example.inputs().toDict())


def _hash(value: object) -> str:
    text = json.dumps(jsonable(value), sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
