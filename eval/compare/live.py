"""Methods in which members see each other's text: run live, each row written as it arrives."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import dspy
from rich.console import Console

from dspy_mux import AllMembersFailed, ConfigurationError, Member, MuxError, Turn
from dspy_mux.sampling.causes import is_error
from dspy_mux.sampling.usage import DrawMeter
from programs.tasks import Task

from ..runs.folder import errors_of
from .draw import in_threads
from .methods import Method, Options
from .score import Metric, Scores

#: A run ends if its first questions all end in errors: this many, or twice those in flight.
_FIRST_QUESTIONS = 5


@dataclass(frozen=True)
class Discussion:
    """A discussion method, ready to run.

    Attributes:
        in_flight: calls that one question has in flight at once.
    """

    module: dspy.Module
    in_flight: int

    @classmethod
    def of(
        cls,
        method: Method,
        task: Task,
        members: Sequence[Member],
        accuracies: Mapping[str, float],
        options: Options,
    ) -> Discussion:
        """Build the method's module with its declared settings."""
        from dspy_mux.baselines import LLMDebate, MixtureOfAgents, MultiAgentVerification
        from dspy_mux.baselines.verification import Verify

        shared: dict[str, Any] = {
            "equivalence": task.equivalence,
            "accuracies": accuracies,
            "timeout": options.timeout,
            "num_threads": options.num_threads,
        }
        program = task.program()
        declared = method.settings
        if method.id == "mixture_of_agents":
            shared |= {name: declared[name] for name in ("layers", "temperature")}
            return cls(MixtureOfAgents(program, members, **shared), len(members))
        if method.id == "llm_debate":
            shared |= {name: declared[name] for name in ("agents", "rounds", "temperature")}
            return cls(LLMDebate(program, members, **shared), declared["agents"])
        if method.id == "multi_agent_verification":
            shared |= {name: declared[name] for name in ("n", "aspects", "temperature")}
            # Members verify in as many tokens as they answer in: a verifier reasons only where the
            # program does.
            verifier = dspy.ChainOfThought(Verify) if _reasons(program) else dspy.Predict(Verify)
            return cls(
                MultiAgentVerification(program, members, verifier=verifier, **shared),
                declared["n"] * len(declared["aspects"]),
            )
        raise ConfigurationError(f"{method.id!r} is not a discussion method.")


def _reasons(program: dspy.Module) -> bool:
    return any(
        "reasoning" in predictor.signature.output_fields for predictor in program.predictors()
    )


def run_live(
    discussion: Discussion,
    examples: Sequence[dspy.Example],
    metric: Metric,
    append: Callable[[dspy.Example, dict[str, Any]], None],
    *,
    title: str,
    console: Console,
    num_threads: int,
    again: Container[str] = (),
) -> None:
    """Ask every question, several at a time; hand each answer to `append` from its own thread.

    Args:
        num_threads: calls in flight at once.
        again: `question_id` of questions that met errors before.

    Raises:
        MetricFailed: the metric raised or gave no number; what has arrived is kept.
        MuxError: the first questions all ended in errors, as when a server is down. A table would
            blame the method.
    """
    at_once = max(1, num_threads // discussion.in_flight)
    watch = _FirstQuestions(max(_FIRST_QUESTIONS, 2 * at_once), title)

    def ask(example: dspy.Example) -> None:
        row = answered(discussion.module, example, metric)
        append(example, row)
        # A question that failed before may fail for reasons of its own: it is not counted.
        watch.check(row, counts=str(example.get("question_id")) not in again)

    in_threads(ask, examples, title=title, console=console, num_threads=at_once)


class _FirstQuestions:
    """Ends a run whose first questions all end in errors."""

    def __init__(self, limit: int, title: str):
        self._limit, self._title = limit, title
        self._lost = 0  # -1 once a question has ended in an answer
        self._lock = threading.Lock()

    def check(self, row: Mapping[str, Any], *, counts: bool) -> None:
        with self._lock:
            if not decided_by_errors(row):
                self._lost = -1
            elif self._lost >= 0 and counts:
                self._lost += 1
            down = self._lost >= self._limit
        if down:
            last = errors_of(row["turns"])[-1]
            raise MuxError(
                f"{self._title}: the first {self._limit} questions all ended in errors ({last}): "
                "fix that and compare again with --retry-failed, or leave the method out."
            )


def decided_by_errors(row: Mapping[str, Any]) -> bool:
    """Whether every turn of the last round, or every verification, ended in an error."""
    last = max((turn["round"] for turn in row["turns"]), default=0)
    final = [turn for turn in row["turns"] if turn["round"] == last]
    panels = [turn for turn in final if turn["approvals"]]
    judged = [turn for turn in panels if len(errors_of([turn])) < len(turn["approvals"])]
    spoken = [turn for turn in final if turn["cause"] is None or not is_error(turn["cause"])]
    return bool(final) and (not spoken or (bool(panels) and not judged))


def answered(module: dspy.Module, example: dspy.Example, metric: Metric) -> dict[str, Any]:
    """Ask one question; return the row's fields: answer, every turn with its score, and usage."""
    meter = DrawMeter()
    began = time.perf_counter()
    try:
        with dspy.context(usage_tracker=meter, caller_modules=[meter]):
            prediction = module(**example.inputs())
    except AllMembersFailed as failure:
        spent, score_of = meter.spent(), Scores(example, metric, module.answer_field)
        return {
            "cause": str(failure),
            "turns": _turns(failure.turns, score_of),
            "calls": spent.calls + spent.cached_calls,
            "prompt_tokens": spent.prompt_tokens,
            "completion_tokens": spent.completion_tokens,
            "cost": spent.cost,
            "seconds": time.perf_counter() - began,
        }
    seconds = time.perf_counter() - began
    verdict = prediction.verdict
    score_of = Scores(example, metric, module.answer_field)
    row = verdict.model_dump(mode="json", exclude={"turns"})
    # The metric scores the answers as the objects they are, not as JSON.
    for shown, ballot in zip(row["ballots"], verdict.ballots, strict=True):
        for answer, counted in zip(shown["answers"], ballot.answers, strict=True):
            answer["score"] = score_of(counted.answer)
    return {
        "score": score_of.prediction(prediction),
        "answer": row["answer"],
        "member": row["member"],
        "confidence": row["confidence"],
        "tie_break": row["tie_break"],
        "calls": verdict.calls + verdict.cached_calls,
        "prompt_tokens": verdict.prompt_tokens,
        "completion_tokens": verdict.completion_tokens,
        "cost": verdict.cost,
        "seconds": seconds,
        "ballots": row["ballots"],
        "turns": _turns(verdict.turns, score_of),
    }


def _turns(turns: Sequence[Turn], score_of: Scores) -> list[dict[str, Any]]:
    return [{**turn.model_dump(mode="json"), "score": score_of(turn.answer)} for turn in turns]
