"""Everyday knowledge in six short-answer tasks, easy enough for models of 100 million parameters.

capital (country → its capital), city (city → its country), opposite, past (simple past of a verb),
spanish (Spanish word → English) and plural. The rows are in `everyday.csv`: category, subject,
answer, and other true answers separated by `|`; the question is the category's template around the
subject. All rows were written for this project.
"""

from __future__ import annotations

import csv
import hashlib
import re
import unicodedata
from collections import Counter
from functools import lru_cache
from itertools import zip_longest
from pathlib import Path
from typing import Any, NamedTuple

import dspy

from .sources import Split, front
from .tasks import Task, takes_no_file

QUESTIONS = {
    "capital": "Which city is the capital of {}?",
    "city": "Which country is the city of {} in?",
    "opposite": 'What is the opposite of the word "{}"?',
    "past": 'Which word is the past tense of "{}"?',
    "spanish": 'What does the Spanish word "{}" mean in English?',
    "plural": 'Which word is the plural of "{}"?',
}
TRAIN_PER_CATEGORY = 5
VALIDATION_PER_CATEGORY = 20


class Everyday(dspy.Signature):
    """Answer the everyday-knowledge question with the answer alone, in one word or a short name."""

    question: str = dspy.InputField(desc="a short question about geography or words")
    answer: str = dspy.OutputField(desc="one word or a short name, with no explanation")


class EverydayTasks(dspy.Module):
    """One `dspy.Predict(Everyday)` per task, with demos of that task; `category` names the task."""

    def __init__(self, *, seed: int = 0):
        super().__init__()
        self.tasks = {category: dspy.Predict(Everyday) for category in QUESTIONS}
        for category, predict in self.tasks.items():
            predict.demos = demos(category, seed=seed)

    def forward(self, question: str, category: str) -> dspy.Prediction:
        return self.tasks[category](question=question)

    async def aforward(self, question: str, category: str) -> dspy.Prediction:
        return await self.tasks[category].acall(question=question)


def program(*, seed: int = 0) -> dspy.Module:
    """Return the six tasks as one program of the inputs `question` and `category`.

    Each has five demos, all from the training split.
    """
    return EverydayTasks(seed=seed)


def demos(category: str, *, seed: int = 0) -> list[dspy.Example]:
    """Return the few-shot demos (question, answer) of a task: its rows of the training split."""
    return [
        dspy.Example(question=example.question, answer=example.answer)
        for example in examples("train", seed=seed)
        if example.category == category
    ]


def metric(example: dspy.Example, pred: Any, trace: Any = None) -> bool:
    """Return whether `pred.answer` is one of `example.accepted`, both folded by `fold`.

    The whole answer has to match. A right answer inside a longer text ("Paris, Texas", "Paris is
    the capital") or on the first of several lines is wrong; the adapter extracts the answer, not
    the metric. A missing or non-text answer is wrong.
    """
    answer = getattr(pred, "answer", None)
    return isinstance(answer, str) and fold(answer) in {
        fold(accepted) for accepted in example.accepted
    }


def examples(
    split: Split | None = None, *, seed: int = 0, limit: int | None = None
) -> list[dspy.Example]:
    """Return the questions of a split, or of all three in the order train, validation, test.

    Per category, train has 5 rows, validation 20, test the rest; a hash of seed and question id
    orders a category, so a row added later moves few of the others. Training rows share no country
    and no word with any other row, so neither they nor the demos give away a held-out answer.
    Within a split the categories take turns: the first `limit` examples are balanced while every
    category lasts.

    Args:
        split: "train", "validation", "test", or None for all.
        seed: selects the split and the demos.
        limit: at most this many examples, from the front.

    Returns:
        Examples with the inputs `question` and `category`, and `answer`, `accepted` (all true
        answers, `answer` first) and a stable `question_id`, such as "capital-france".

    Raises:
        ConfigurationError: an unknown split, or a limit below 1.
    """
    return [row.example() for row in front("everyday", _splits(seed), split, limit)]


def task(file: Path | None = None) -> Task:
    """Return the task "everyday", whose sub-tasks are its categories.

    Raises:
        ConfigurationError: a file is given.
    """
    takes_no_file("everyday", file)
    return Task("everyday", program, examples, metric, context="category")


def fold(text: str) -> str:
    """Fold case, accents, periods, apostrophes, surrounding punctuation and a leading the/a/an/to.

    Hyphens become spaces.
    """
    text = "".join(
        char for char in unicodedata.normalize("NFKD", text) if not unicodedata.combining(char)
    ).casefold()
    text = re.sub(r"[-‐‑–—\s]+", " ", re.sub(r"[.'’]", "", text))
    return re.sub(r"^(the|an|a|to) ", "", re.sub(r"^[\W_]+|[\W_]+$", "", text))


class Fact(NamedTuple):
    """One line of `everyday.csv`."""

    category: str
    subject: str
    accepted: tuple[str, ...]

    @property
    def question_id(self) -> str:
        return f"{self.category}-{fold(self.subject).replace(' ', '-')}"

    @property
    def topics(self) -> set[str]:
        """Return the folded words and names that the row asks about or accepts."""
        return {fold(self.subject), *map(fold, self.accepted)}

    def example(self) -> dspy.Example:
        return dspy.Example(
            question=QUESTIONS[self.category].format(self.subject),
            answer=self.accepted[0],
            accepted=list(self.accepted),
            category=self.category,
            question_id=self.question_id,
        ).with_inputs("question", "category")


@lru_cache(maxsize=1)
def _rows() -> tuple[Fact, ...]:
    with Path(__file__).with_name("everyday.csv").open(newline="", encoding="utf-8") as file:
        return tuple(
            Fact(
                line["category"],
                line["subject"],
                (line["answer"], *filter(None, line["also"].split("|"))),
            )
            for line in csv.DictReader(file)
        )


@lru_cache(maxsize=16)
def _splits(seed: int) -> dict[str, list[Fact]]:
    uses = Counter(topic for row in _rows() for topic in row.topics)
    parts: dict[str, list[list[Fact]]] = {"train": [], "validation": [], "test": []}
    for category in QUESTIONS:
        rows = sorted(
            (row for row in _rows() if row.category == category),
            key=lambda row: hashlib.sha256(f"{seed}:{row.question_id}".encode()).digest(),
        )
        train = [row for row in rows if all(uses[topic] == 1 for topic in row.topics)][
            :TRAIN_PER_CATEGORY
        ]
        held_out = [row for row in rows if row not in train]
        parts["train"].append(train)
        parts["validation"].append(held_out[:VALIDATION_PER_CATEGORY])
        parts["test"].append(held_out[VALIDATION_PER_CATEGORY:])
    # A category's rows are a column; reading line by line lets the categories take turns.
    return {
        name: [row for turn in zip_longest(*part) for row in turn if row]
        for name, part in parts.items()
    }
