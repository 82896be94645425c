"""Word pairs that others gathered: eight short-answer tasks for models of 100 million parameters.

Todd et al. 2024, "Function Vectors in Large Language Models" (ICLR), MIT licence:
https://github.com/ericwtodd/function_vectors, folder `dataset_files/abstractive`, one JSON file per
task of `{"input": …, "output": …}`. The eight here share no task with `everyday`. A question is the
input as it stands ("Patrick Roy"); what is asked of it shows in five examples of the same task.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache, partial
from itertools import zip_longest
from pathlib import Path
from typing import Any

import dspy

from dspy_mux.errors import ConfigurationError, DataError

from . import sources
from .everyday import fold
from .sources import Split
from .tasks import Task

#: The tasks: files of the folder, without their ending.
CATEGORIES = (
    "english-french",
    "english-spanish",
    "landmark-country",
    "national_parks",
    "person-instrument",
    "person-occupation",
    "person-sport",
    "product-company",
)
DEMOS = 5
VALIDATION_PER_CATEGORY = 20


class WordPair(dspy.Signature):
    """Give the answer alone, as in the examples."""

    question: str = dspy.InputField(desc="a word or a name")
    answer: str = dspy.OutputField(desc="the word or name that goes with it")


class WordPairs(dspy.Module):
    """One `dspy.Predict(WordPair)` per task, with demos of that task; `category` names the task."""

    def __init__(self, folder: Path):
        super().__init__()
        self.tasks = {category: dspy.Predict(WordPair) for category in CATEGORIES}
        for example in examples("train", file=folder):
            self.tasks[example.category].demos.append(
                dspy.Example(question=example.question, answer=example.answer)
            )

    def forward(self, question: str, category: str) -> dspy.Prediction:
        return self.tasks[category](question=question)

    async def aforward(self, question: str, category: str) -> dspy.Prediction:
        return await self.tasks[category].acall(question=question)


def metric(example: dspy.Example, pred: Any, trace: Any = None) -> bool:
    """Return whether `pred.answer` is one of `example.accepted`, both folded as in `everyday`."""
    answer = getattr(pred, "answer", None)
    return isinstance(answer, str) and fold(answer) in map(fold, example.accepted)


def examples(
    split: Split | None = None, *, seed: int = 0, limit: int | None = None, file: Path
) -> list[dspy.Example]:
    """Return the questions of a split, or of all three in the order train, validation, test.

    Per task, train has 5 rows (the demos), validation 20, test the rest, in the order of a hash of
    seed and question id. Within a split the tasks take turns, so the first `limit` are balanced.

    Args:
        file: the folder of the tasks' files.

    Returns:
        Examples with the inputs `question` and `category`, and `answer`, `accepted` (every output
        that the file pairs with the question, `answer` first) and a stable `question_id`.

    Raises:
        ConfigurationError: a file is missing, an unknown split, or a limit below 1.
        DataError: a file cannot be read or understood.
    """
    return [row.copy() for row in sources.front("word_pairs", _splits(file, seed), split, limit)]


def task(file: Path | None = None) -> Task:
    """Return the task "word_pairs" from the folder of its files; its sub-tasks are the files.

    Raises:
        ConfigurationError: no folder is given, or it does not exist.
    """
    if file is None or not file.is_dir():
        raise ConfigurationError(
            "word_pairs reads a folder: name dataset_files/abstractive of a clone of "
            "github.com/ericwtodd/function_vectors with --file."
        )
    return Task(
        "word_pairs",
        partial(WordPairs, file),
        partial(examples, file=file),
        metric,
        context="category",
    )


@lru_cache(maxsize=4)
def _splits(folder: Path, seed: int) -> dict[str, list[dspy.Example]]:
    parts: dict[str, list[list[dspy.Example]]] = {"train": [], "validation": [], "test": []}
    for category in CATEGORIES:
        rows = sources.ordered(_pairs(folder / f"{category}.json", category), seed)
        held_out = rows[DEMOS:]
        parts["train"].append(rows[:DEMOS])
        parts["validation"].append(held_out[:VALIDATION_PER_CATEGORY])
        parts["test"].append(held_out[VALIDATION_PER_CATEGORY:])
    # A category's rows are a column; reading line by line lets the categories take turns.
    return {
        name: [row for turn in zip_longest(*part) for row in turn if row]
        for name, part in parts.items()
    }


def _pairs(file: Path, category: str) -> list[dspy.Example]:
    """Return a file's questions; one that occurs more than once has all its answers."""
    accepted: dict[str, list[str]] = {}
    for row in sources.read_rows(file):
        accepted.setdefault(row.text("input").strip(), []).append(row.text("output").strip())
    if len(accepted) <= DEMOS:
        raise DataError(f"{file} has {len(accepted)} questions: more than {DEMOS} are needed.")
    return [
        dspy.Example(
            question=question,
            answer=answers[0],
            accepted=list(dict.fromkeys(answers)),
            category=category,
            question_id=f"{category}-{hashlib.sha256(question.encode()).hexdigest()[:12]}",
        ).with_inputs("question", "category")
        for question, answers in accepted.items()
    ]
