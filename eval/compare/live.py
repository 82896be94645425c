"""Methods in which members see each other's text: run live, several questions at a time, each row written as its answer arrives."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Container, Mapping, Sequence
from typing import Any

import dspy
from rich.console import Console

from dspy_mux import AllMembersFailed, ConfigurationError, Member, MuxError, Turn
from dspy_mux.sampling.abstention import is_error
from dspy_mux.sampling.usage import DrawMeter
from programs.tasks import Task

from ..runs.folder import errors_of
from .draw import in_threads
from .methods import Method, Options
from .score import Scores

#: Where so many questions, and twice those in flight, come to nothing but errors before one comes to more, servers are out of
#: order, and the run ends.
_LOST_AT_FIRST = 5


def discussion(
    method: Method,
    task: Task,
    members: Sequence[Member],
    accuracies: Mapping[str, float],
    options: Options,
) -> tuple[dspy.Module, int]:
    """The module of a discussion method, and how many calls of one question it has in flight at once."""
    from dspy_mux.baselines import LLMDebate, MixtureOfAgents, MultiAgentVerification
    from dspy_mux.baselines.verification import Verify

    shared: dict[str, Any] = {
        "equivalence": task.equivalence,
        "accuracies": accuracies,
        "timeout": options.timeout,
        "num_threads": options.num_threads,
    }
    declared, program = method.settings, task.program()
    if method.id == "mixture_of_agents":
        layers, temperature = declared["layers"], declared["temperature"]
        return MixtureOfAgents(
            program, members, layers=layers, temperature=temperature, **shared
        ), len(members)
    if method.id == "llm_debate":
        agents, rounds, temperature = (
            declared["agents"],
            declared["rounds"],
            declared["temperature"],
        )
        return LLMDebate(
            program, members, agents=agents, rounds=rounds, temperature=temperature, **shared
        ), agents
    if method.id == "multi_agent_verification":
        n, aspects, temperature = declared["n"], declared["aspects"], declared["temperature"]
        reasons = any(
            "reasoning" in predictor.signature.output_fields for predictor in program.predictors()
        )
        # Members have as many tokens to verify in as to answer in: a verifier reasons where the program does.
        shared["verifier"] = dspy.ChainOfThought(Verify) if reasons else dspy.Predict(Verify)
        return MultiAgentVerification(
            program, members, n=n, aspects=aspects, temperature=temperature, **shared
        ), n * len(aspects)
    raise ConfigurationError(f"{method.id!r} is no discussion method.")


def run_live(
    module: dspy.Module,
    examples: Sequence[dspy.Example],
    metric: Callable[..., Any],
    append: Callable[[dspy.Example, dict[str, Any]], None],
    *,
    what: str,
    console: Console,
    at_once: int,
    again: Container[str] = (),
) -> None:
    """Ask `module` every question, `at_once` at a time, and hand each answer to `append` from the thread it arrives in.

    Args:
        again: `question_id` of those that met errors before.

    Raises:
        MetricFailed: the metric raised, or gave no number; what has arrived is kept.
        MuxError: the first questions came to nothing but errors, as where a server is down: a table would make that the method's.
    """
    at_first = max(_LOST_AT_FIRST, 2 * at_once)
    lost, counting = 0, threading.Lock()  # -1 once a question has come to more

    def ask(example: dspy.Example) -> None:
        nonlocal lost
        row = answered(module, example, metric)
        append(example, row)
        with counting:
            if not decided_by_errors(row):
                lost = -1
            elif (
                lost >= 0 and str(example.get("question_id")) not in again
            ):  # those may be out of order by themselves
                lost += 1
            out_of_order = lost >= at_first
        if out_of_order:
            last = errors_of(row["turns"])[-1]
            raise MuxError(
                f"{what}: the first {at_first} questions all came to nothing but errors ({last}): mend that and "
                "compare again with --retry-failed, or leave the method out."
            )

    in_threads(ask, examples, what=what, console=console, num_threads=at_once)


def decided_by_errors(row: Mapping[str, Any]) -> bool:
    """Whether every turn of the last round, or every verification, ended in an error."""
    last = max((turn["round"] for turn in row["turns"]), default=0)
    final = [turn for turn in row["turns"] if turn["round"] == last]
    panels = [turn for turn in final if turn["approvals"]]
    judged = [turn for turn in panels if len(errors_of([turn])) < len(turn["approvals"])]
    spoken = [turn for turn in final if turn["cause"] is None or not is_error(turn["cause"])]
    return bool(final) and (not spoken or (bool(panels) and not judged))


def answered(
    module: dspy.Module, example: dspy.Example, metric: Callable[..., Any]
) -> dict[str, Any]:
    """The verdict-like part of a row: what the method answers, every turn with its score, and what it took."""
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
    told = verdict.model_dump(mode="json", exclude={"turns"})
    # Scored as the objects they are, not as JSON tells them.
    for ballot, its_ballot in zip(told["ballots"], verdict.ballots, strict=True):
        for answer, counted in zip(ballot["answers"], its_ballot.answers, strict=True):
            answer["score"] = score_of(counted.answer)
    return {
        "score": score_of.prediction(prediction),
        "answer": told["answer"],
        "member": told["member"],
        "confidence": told["confidence"],
        "tie_break": told["tie_break"],
        "calls": verdict.calls + verdict.cached_calls,
        "prompt_tokens": verdict.prompt_tokens,
        "completion_tokens": verdict.completion_tokens,
        "cost": verdict.cost,
        "seconds": seconds,
        "ballots": told["ballots"],
        "turns": _turns(verdict.turns, score_of),
    }


def _turns(turns: Sequence[Turn], score_of: Scores) -> list[dict[str, Any]]:
    return [{**turn.model_dump(mode="json"), "score": score_of(turn.answer)} for turn in turns]
