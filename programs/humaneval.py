"""HumanEval: Python functions to write from a signature and a docstring.

Chen et al. 2021, "Evaluating Large Language Models Trained on Code". The release has the columns
task_id, prompt, entry_point, canonical_solution and test; on the Hugging Face hub it is
openai/openai_humaneval. An answer is right if it passes the given tests, which run only in the
sandbox of `code/sandbox.py`.
"""

from __future__ import annotations

from functools import lru_cache, partial
from pathlib import Path
from typing import Annotated, Any

import dspy

from . import sources
from .code import sandbox
from .code.behaviour import BehaviourKind, CodeKind
from .code.completion import complete, parsed, unfinished
from .sources import Split
from .tasks import Task

HUB = sources.Hub("openai/openai_humaneval")


class HumanEval(dspy.Signature):
    __doc__ = (
        "Write the Python function that the prompt begins, so that it does what its docstring "
        "says. Give code alone: the whole\nfunction and the imports it needs."
    )

    prompt: str = dspy.InputField(desc="a function's signature and docstring")
    answer: Annotated[str, CodeKind()] = dspy.OutputField(desc="the whole function in Python")


class WriteFunction(dspy.Module):
    """Writes the function, and completes the answer to code that runs: prompt, then function."""

    def __init__(self) -> None:
        super().__init__()
        self.write = dspy.Predict(HumanEval)
        self.write.demos = demos()

    def forward(self, prompt: str) -> dspy.Prediction:
        return _completed(prompt, self.write(prompt=prompt))

    async def aforward(self, prompt: str) -> dspy.Prediction:
        return _completed(prompt, await self.write.acall(prompt=prompt))


def program() -> dspy.Module:
    """Return the program from `prompt` to `answer`, with two demos.

    The answer is None if a model wrote no code.
    """
    return WriteFunction()


def demos() -> list[dspy.Example]:
    """Return functions (prompt, answer) written for this project; HumanEval has none of them."""
    return [dspy.Example(prompt=prompt, answer=answer) for prompt, answer in _DEMOS]


def metric(example: dspy.Example, pred: Any, trace: Any = None) -> bool:
    """Return whether `pred.answer` passes the example's tests.

    An answer that is only the function's body is completed by the prompt.

    Raises:
        SandboxUnavailable: this machine has no sandbox.
    """
    answer = getattr(pred, "answer", None)
    source = complete(example.prompt, answer) if isinstance(answer, str) else None
    return source is not None and _passes(source, example.entry_point, example.test, example.prompt)


def examples(
    split: Split | None = None, *, seed: int = 0, limit: int | None = None, file: Path | None = None
) -> list[dspy.Example]:
    """Return the functions of a split, as `sources.examples` divides them.

    Each has the input `prompt`, the canonical solution as a whole function in `answer`,
    `entry_point`, `test` and `question_id`.
    """
    return sources.examples("humaneval", _example, HUB, split, seed=seed, limit=limit, file=file)


def task(file: Path | None = None) -> Task:
    """Return the task "humaneval", from a local file or the hub.

    Raises:
        SandboxUnavailable: this machine has no sandbox, and so no way to grade.
    """
    sandbox.check()
    return Task(
        "humaneval", program, partial(examples, file=file), metric, equivalence=BehaviourKind()
    )


def _completed(prompt: str, prediction: dspy.Prediction) -> dspy.Prediction:
    answer = prediction.answer
    prediction.answer = complete(prompt, answer) if isinstance(answer, str) else None
    return prediction


@lru_cache(maxsize=4096)  # draws repeat
def _passes(source: str, function: str, tests: str, prompt: str) -> bool:
    return sandbox.failure(source, function, tests, context=prompt) is None


def _example(row: sources.Row) -> dspy.Example:
    prompt, function = row.text("prompt"), row.text("entry_point")
    asked = unfinished(parsed(prompt))
    if asked is None or asked.name != function:
        raise row.fault("prompt", f"which must be Python with an unfinished function {function!r}")
    gold = complete(prompt, row.text("canonical_solution"))
    if gold is None:
        raise row.fault("canonical_solution", "which must be the function or its body")
    return dspy.Example(
        prompt=prompt,
        answer=gold,
        entry_point=function,
        test=row.text("test"),
        question_id=row.text("task_id").replace("/", "-").lower(),
    ).with_inputs("prompt")


_DEMOS = [
    (
        '''def longest_run(values: list[int]) -> int:
    """Return how often the same number stands in a row at most; 0 for an empty list.
    >>> longest_run([4, 4, 1, 1, 1, 4])
    3
    """
''',
        """def longest_run(values: list[int]) -> int:
    longest = run = 0
    for at, value in enumerate(values):
        run = run + 1 if at and value == values[at - 1] else 1
        longest = max(longest, run)
    return longest
""",
    ),
    (
        '''def initials(name: str, separator: str) -> str:
    """Return the capital first letter of each word of a name, with the separator in between.
    >>> initials("ada king lovelace", ".")
    'A.K.L'
    """
''',
        """def initials(name: str, separator: str) -> str:
    return separator.join(word[0].upper() for word in name.split())
""",
    ),
]
