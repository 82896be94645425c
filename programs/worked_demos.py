"""Chain-of-thought programs with worked demos, shared by gsm8k, math500, gpqa and reasoning_gym."""

from __future__ import annotations

from collections.abc import Iterable

import dspy


def chain_of_thought(
    signature: type[dspy.Signature], demos: Iterable[dspy.Example]
) -> dspy.ChainOfThought:
    """Return `dspy.ChainOfThought` of a signature, with demos."""
    solve = dspy.ChainOfThought(signature)
    solve.predict.demos = list(demos)
    return solve


def worked_demos(
    problems: Iterable[tuple[str, str, str | float]],
) -> list[dspy.Example]:
    """Return demos (question, reasoning, answer) of worked problems."""
    return [
        dspy.Example(question=question, reasoning=reasoning, answer=answer)
        for question, reasoning, answer in problems
    ]
