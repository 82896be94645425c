"""Draw once on a set of examples, and see what each rule decides on the same draws."""

from __future__ import annotations

import contextvars
import math
import queue
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import dspy
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from dspy_mux import AllMembersFailed, Ballot, Rule, SLMMux, Verdict
from dspy_mux.sampling.interrupt import Interrupt, exit_at_once
from dspy_mux.sampling.threads import take
from dspy_mux.text import visible

from .score import Metric, Scores

Item = TypeVar("Item")
Outcome = TypeVar("Outcome")


@dataclass(frozen=True)
class Drawn:
    """A question's draws: each member's ballot, and the answers that the metric counts as correct.

    Attributes:
        example: the question.
        verdict: the mux's verdict; None if every member abstained.
        correct: (member, group) of the answers that score 1 or more.
        right: whether the verdict's answer scores 1 or more.
        failure: what the mux raised if every member abstained.
    """

    example: dspy.Example
    verdict: Verdict | None
    correct: frozenset[tuple[str, int]]
    right: bool = False
    failure: AllMembersFailed | None = None

    def single_draws(self, member: str) -> float:
        """Return the share of the member's draws that are correct."""
        votes = self.votes(member)
        return sum((member, vote) in self.correct for vote in votes) / len(votes) if votes else 0.0

    def plurality(self, member: str) -> bool:
        """Whether the member's plurality answer is correct."""
        group = Ballot(member, tuple(self.votes(member))).plurality
        return group is not None and (member, group) in self.correct

    def union(self, members: Sequence[str]) -> bool:
        """Whether some member's plurality answer is correct."""
        return any(self.plurality(member) for member in members)

    def choice(self, rule: Rule, accuracies: Mapping[str, float]) -> tuple[str, float, bool] | None:
        """Return the member a rule picks, its confidence, and whether its answer is correct.

        None if no member has an answer.
        """
        if self.verdict is None:
            return None
        ballots = [
            Ballot(b.member, tuple(b.votes), accuracies.get(b.member)) for b in self.verdict.ballots
        ]
        choice = rule.choose(ballots)
        if choice is None:
            return None
        member = ballots[choice.ballot].member
        return member, choice.confidence, (member, choice.answer) in self.correct

    def votes(self, member: str) -> list[int | None]:
        """Return the member's votes; none if every member abstained."""
        if self.verdict is None:
            return []
        return next(ballot.votes for ballot in self.verdict.ballots if ballot.member == member)


def draw_all(
    mux: SLMMux,
    examples: Sequence[dspy.Example],
    metric: Metric,
    *,
    title: str,
    console: Console,
    num_threads: int = 8,
) -> list[Drawn]:
    """Ask `mux` every question, several at a time, with progress; in the order of `examples`.

    DSPy's cache keeps draws as they arrive, so an interrupted run resumes without a second call.

    Raises:
        AllMembersFailed: on every question. A table of zeros would say nothing about the models.
    """
    drawn = in_threads(
        lambda example: _draw(mux, example, metric),
        examples,
        title=title,
        console=console,
        num_threads=num_threads,
    )
    failures = [each.failure for each in drawn if each.failure is not None]
    if failures and len(failures) == len(examples):
        raise failures[0]
    return drawn


def in_threads(
    work: Callable[[Item], Outcome],
    items: Sequence[Item],
    *,
    title: str,
    console: Console,
    num_threads: int,
) -> list[Outcome]:
    """Call `work` on every item, several at a time, with progress; in the order of `items`.

    An error or Ctrl-C starts no further item, and waits for those under way. A second Ctrl-C ends
    the process at once: an embedded model that reads a prompt cannot be stopped. What those under
    way have not handed on by then is lost, with their calls.
    """
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    pool = ThreadPoolExecutor(num_threads)
    settled: queue.SimpleQueue[Future[Outcome] | None] = queue.SimpleQueue()
    error: BaseException | None = None
    with Progress(*columns, console=console) as progress, Interrupt() as interrupt:
        interrupt.on_ask(partial(settled.put, None))
        bar = progress.add_task(visible(title), total=len(items))
        jobs = [pool.submit(contextvars.copy_context().run, work, item) for item in items]
        for job in jobs:
            job.add_done_callback(settled.put)
        under_way = set(jobs)
        while under_way:
            done = take(settled, math.inf)
            if done is None:  # Ctrl-C
                pool.shutdown(wait=False, cancel_futures=True)
                _say_interrupted(progress, interrupt)
                continue
            under_way.remove(done)
            if done.cancelled() or done.exception() is None:
                progress.advance(bar, advance=not done.cancelled())
                continue
            error = error or done.exception()
            pool.shutdown(wait=False, cancel_futures=True)
        pool.shutdown()
        if error is not None:
            raise error
    return [job.result() for job in jobs]


def _say_interrupted(progress: Progress, interrupt: Interrupt) -> None:
    if interrupt.insisted:
        progress.stop()
        progress.console.print("Interrupted: gave up what was under way; finished rows are kept.")
        exit_at_once()
    progress.console.print(
        "Interrupted: finishing what is under way (press Ctrl-C again to give it up)."
    )


def grouped_by(examples: Sequence[dspy.Example], field: str | None) -> list[dspy.Example]:
    """Sort the examples by a field, such as their sub-task; leave them as they are for None.

    Questions of one sub-task share their demos, which llama.cpp then reads once for all of them.
    """
    return (
        list(examples)
        if field is None
        else sorted(examples, key=lambda example: str(example.get(field)))
    )


def abstained(drawn: Sequence[Drawn], member: str, k: int) -> float:
    """Return the share of the member's draws that abstained."""
    answered = sum(vote is not None for each in drawn for vote in each.votes(member))
    return 1 - answered / (k * len(drawn))


def _draw(mux: SLMMux, example: dspy.Example, metric: Metric) -> Drawn:
    try:
        verdict = mux(**example.inputs()).verdict
    except AllMembersFailed as failure:
        return Drawn(example, None, frozenset(), failure=failure)
    score_of = Scores(example, metric, mux.answer_field)
    correct = {
        (ballot.member, counted.group)
        for ballot in verdict.ballots
        for counted in ballot.answers
        if score_of(counted.answer) >= 1
    }
    return Drawn(example, verdict, frozenset(correct), score_of(verdict.answer) >= 1)
