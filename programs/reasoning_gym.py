"""Procedural tasks of reasoning-gym, by name: made on the spot, offline, scored by the task's own rules (Stojanovski et al. 2025).

    task("reasoning_gym:basic_arithmetic")    # or "reasoning_gym" for a mixture of short ones

Needs the `reasoning` extra. An answer is right where the task gives it full marks; the part marks that some tasks give to steer a
training count as wrong. A few tasks hand the answer to Python's `eval` or to sympy's parser, which evaluates too: there an answer
is only ever compared as text, or must be of characters that can do nothing but calculate.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator
from difflib import get_close_matches
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import dspy

from dspy_mux.errors import ConfigurationError

from . import sources
from .sources import Split
from .tasks import Task, takes_no_file

logger = logging.getLogger(__name__)

#: How many items the splits have; those after them are the demos.
SIZES = {"train": 50, "validation": 200, "test": 500}
DEMOS = 3
#: What "reasoning_gym" alone stands for: short answers, of different sorts.
MIXTURE = (
    "basic_arithmetic",
    "chain_sum",
    "count_bits",
    "family_relationships",
    "gcd",
    "letter_counting",
    "number_sequence",
    "spell_backward",
)
#: No task: it puts others together, which `MIXTURE` does here.
_NO_TASKS = frozenset({"composite"})
_LONGEST = 10_000

#: Tasks that would evaluate an answer only to give part marks for another form of it: full marks are for the very text.
_AS_TEXT = frozenset({"binary_matrix", "n_queens", "spiral_matrix", "string_insertion"})
_CALCULATES = re.compile(r"(?!.*\*\s*\*)[\d\s.+\-*/()]{1,200}")
#: Terms in one letter, with exponents of one or two digits and a few functions by name.
_TERMS = re.compile(
    r"(?!.*\*\*\s*(?:\(|-?\d{3}|-?\d+\s*\*\s*\*))(?:[\d\s.+\-*/()]|(?<![A-Za-z])[A-Za-z](?![A-Za-z])|sin|cos|tan|exp|log|sqrt|asin|acos|atan){1,300}"
)
#: Tasks that parse an answer with sympy → what it may hold.
_PARSED = {
    "countdown": _CALCULATES,
    "puzzle24": _CALCULATES,
    "intermediate_integration": _TERMS,
    "polynomial_multiplication": _TERMS,
    "simple_integration": _TERMS,
}


class ReasoningGym(dspy.Signature):
    """Solve the puzzle. Give the answer alone, in the form that the question asks for."""

    question: str = dspy.InputField(desc="a puzzle that says what form its answer must have")
    answer: str = dspy.OutputField(desc="the final answer in that form, with nothing beside it")


def names() -> list[str]:
    """The tasks that there are.

    Raises:
        ConfigurationError: reasoning-gym is not installed.
    """
    return sorted(set(_factory().DATASETS) - _NO_TASKS)


def program(name: str = "") -> dspy.Module:
    """`dspy.ChainOfThought` with demos of the task (of the first tasks, for the mixture), of items that are in no split."""
    solve = dspy.ChainOfThought(ReasoningGym)
    parts = [name] * DEMOS if name else MIXTURE[:DEMOS]
    start = sum(SIZES.values())
    items = [_item(part, 0, start + number) for number, part in enumerate(parts)]
    solve.predict.demos = [dspy.Example(question=item["question"], answer=str(item["answer"])) for item in items if item["answer"]]
    return solve


def examples(name: str = "", split: Split | None = None, *, seed: int = 0, limit: int | None = None) -> list[dspy.Example]:
    """The items of a split: input `question`, gold `answer` (None where a task has none to show), `question_id` and `task`.

    Splits are of different items; `seed` makes other items altogether. In the mixture the tasks take turns.

    Raises:
        ConfigurationError: a split that there is not, or a limit below 1.
    """
    sources.check(f"reasoning_gym:{name}" if name else "reasoning_gym", tuple(SIZES), split, limit)
    wanted = [split] if split is not None else list(SIZES)
    found = (example for each in wanted for example in _examples(name, each, seed))
    return [example for example, _ in zip(found, range(limit), strict=False)] if limit is not None else list(found)


def metric(example: dspy.Example, pred: Any, trace: Any = None) -> bool:
    """Whether the task gives `pred.answer` full marks."""
    answer = getattr(pred, "answer", None)
    if not isinstance(answer, str) or not answer.strip() or len(answer) > _LONGEST:
        return False
    name, seed, at = example.origin
    entry, answer = _item(name, seed, at), answer.strip()
    if name in _AS_TEXT:
        return answer == entry["answer"] or answer in entry["metadata"].get("valid_answers", ())
    if name in _PARSED and not _PARSED[name].fullmatch(answer):
        return False
    try:
        return float(_dataset(name, seed).score_answer(answer, entry)) >= 1
    except Exception as error:  # noqa: BLE001  (the task's own rules, on a text they do not expect)
        logger.warning("reasoning_gym:%s could not score %.80r (%s): it counts as wrong.", name, answer, type(error).__name__)
        return False


def task(file: Path | None = None, name: str = "") -> Task:
    """One of reasoning-gym's tasks; without a name the mixture.

    Raises:
        ConfigurationError: an unknown name, a file, or no reasoning-gym.
    """
    takes_no_file("reasoning_gym", file)
    if name and name not in names():
        close = get_close_matches(name, names(), n=3)
        raise ConfigurationError(
            f"reasoning-gym has no task {name!r}: {'perhaps ' + ', '.join(close) if close else 'such as ' + ', '.join(MIXTURE)}; "
            "its page lists all."
        )
    _factory()
    told = f"reasoning_gym:{name}" if name else "reasoning_gym"
    make: Callable[..., list[dspy.Example]] = partial(examples, name)
    return Task(told, partial(program, name), make, metric, context=None if name else "task")


def _examples(name: str, split: str, seed: int) -> Iterator[dspy.Example]:
    before = sum(size for each, size in SIZES.items() if list(SIZES).index(each) < list(SIZES).index(split))
    asked: set[str] = set()
    for number in range(SIZES[split]):
        part = name or MIXTURE[number % len(MIXTURE)]
        item = _item(part, seed, before + number)
        if item["question"] in asked:
            continue
        asked.add(item["question"])
        yield dspy.Example(
            question=item["question"],
            answer=item["answer"],
            question_id=f"{part}-{seed}-{before + number}",
            task=part,
            origin=(part, seed, before + number),
        ).with_inputs("question")


@lru_cache(maxsize=4096)
def _item(name: str, seed: int, at: int) -> dict[str, Any]:
    item: dict[str, Any] = _dataset(name, seed)[at]
    return item


@lru_cache(maxsize=128)
def _dataset(name: str, seed: int) -> Any:
    # Items of neighbouring seeds overlap: each seed of ours is a stretch of its own.
    return _factory().create_dataset(name, seed=seed * 100_003 % 2**31, size=sum(SIZES.values()) + DEMOS)


def _factory() -> Any:
    try:
        import reasoning_gym
    except ImportError as error:
        raise ConfigurationError(
            "reasoning-gym is not installed, which makes these questions: pip install 'dspy-mux[reasoning]'."
        ) from error
    return reasoning_gym.factory
