"""One round of draws over a set of examples, and what every rule makes of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from typing import Any

import dspy
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from dspy_mux import AllMembersFailed, Ballot, Rule, SLMMux, Verdict

Metric = Callable[..., Any]


@dataclass(frozen=True)
class Drawn:
    """A question's draws: each member's ballot, and which groups of equivalent answers the metric counts as correct.

    Attributes:
        example: the question.
        verdict: the mux's verdict; None where every member abstained.
        failure: what the mux raised then.
        correct: (member, group) of the answers that score 1 or more.
    """

    example: dspy.Example
    verdict: Verdict | None
    correct: frozenset[tuple[str, int]]
    failure: AllMembersFailed | None = None

    def single_draws(self, member: str) -> float:
        """Share of the member's draws that are correct."""
        votes = self.votes(member)
        return sum((member, vote) in self.correct for vote in votes) / len(votes) if votes else 0.0

    def plurality(self, member: str) -> bool:
        group = Ballot(member, tuple(self.votes(member))).plurality
        return group is not None and (member, group) in self.correct

    def union(self, members: Sequence[str]) -> bool:
        return any(self.plurality(member) for member in members)

    def choice(self, rule: Rule, accuracies: Mapping[str, float]) -> tuple[str, float, bool] | None:
        """The member a rule picks, its confidence, and whether the answer is correct; None where it finds no answer."""
        if self.verdict is None:
            return None
        ballots = [Ballot(b.member, tuple(b.votes), accuracies.get(b.member)) for b in self.verdict.ballots]
        choice = rule.choose(ballots)
        if choice is None:
            return None
        member = ballots[choice.ballot].member
        return member, choice.confidence, (member, choice.answer) in self.correct

    def votes(self, member: str) -> list[int | None]:
        if self.verdict is None:
            return []
        return next(ballot.votes for ballot in self.verdict.ballots if ballot.member == member)


def draw_all(
    mux: SLMMux, examples: Sequence[dspy.Example], metric: Metric, *, what: str, console: Console, num_threads: int = 8
) -> list[Drawn]:
    """Ask `mux` every question, several at a time, with progress; in the order of `examples`.

    Draws are kept by DSPy's cache as they arrive, so an interrupted run goes on where it stopped and pays nothing twice.

    Raises:
        AllMembersFailed: on every question alike; a table of zeros would say nothing about the models.
    """
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    pool = ThreadPoolExecutor(num_threads)
    with Progress(*columns, console=console) as progress:
        bar = progress.add_task(what, total=len(examples))
        try:
            jobs = {pool.submit(_draw, mux, example, metric): index for index, example in enumerate(examples)}
            drawn: dict[int, Drawn] = {}
            for job in as_completed(jobs):
                drawn[jobs[job]] = job.result()
                progress.advance(bar)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
    failures = [each.failure for each in drawn.values() if each.failure is not None]
    if failures and len(failures) == len(examples):
        raise failures[0]
    return [drawn[index] for index in range(len(examples))]


def abstained(drawn: Sequence[Drawn], member: str, k: int) -> float:
    """Share of the member's draws that abstained."""
    answered = sum(vote is not None for each in drawn for vote in each.votes(member))
    return 1 - answered / (k * len(drawn))


def _draw(mux: SLMMux, example: dspy.Example, metric: Metric) -> Drawn:
    try:
        verdict = mux(**example.inputs()).verdict
    except AllMembersFailed as failure:
        return Drawn(example, None, frozenset(), failure)
    correct = {
        (ballot.member, counted.group)
        for ballot in verdict.ballots
        for counted in ballot.answers
        if float(metric(example, dspy.Prediction(**{mux.answer_field: counted.answer}))) >= 1
    }
    return Drawn(example, verdict, frozenset(correct))
